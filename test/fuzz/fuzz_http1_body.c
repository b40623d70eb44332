#include "test/unit/http1_body_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http1_body fresh_body(bool chunked, bool is_response, bool by_length)
{
    static const struct http1_limits limits = {.max_chunk_ext = 20, .max_trailers = 30};
    struct http_field f = {SPAN("Transfer-Encoding"), SPAN("chunked"), FIELD_TRANSFER_ENCODING};
    if (!chunked)
        f = (struct http_field){SPAN("Content-Length"), SPAN("9"), FIELD_CONTENT_LENGTH};
    struct http_head head = {.minor = 1, .fields = &f, .n_fields = chunked || by_length, .cap_fields = 1};
    head.present = head.n_fields > 0 ? UINT64_C(1) << f.id : 0;
    head.status = is_response ? 200 : 0;
    struct http1_body b;
    REQUIRE((is_response ? http1_body_for_response(&b, &head, METHOD_GET, &limits)
                         : http1_body_for_request(&b, &head, &limits)) == 0);
    return b;
}

/* What was decoded, encoded again in other chunks, must decode to the same and end where it should. */
static void check_again(const struct http1_body *fresh, const struct body_run *run, size_t chunk)
{
    struct buf out = {0};
    struct body_run again;
    char prefix[18];
    for (size_t at = 0; at < run->payload.len; at += chunk) {
        size_t n = MIN(chunk, run->payload.len - at);
        buf_put(&out, prefix, http1_chunk_prefix(prefix, n));
        buf_put(&out, run->payload.p + at, n);
        buf_put_lit(&out, "\r\n");
    }
    buf_put_lit(&out, "0\r\n\r\nrest");
    body_run_all(&again, fresh, buf_span(&out), out.len, 1);
    REQUIRE(again.status == BODY_END && again.consumed == out.len - 4);
    REQUIRE(span_eq(buf_span(&again.payload), buf_span(&run->payload)));
    body_run_fini(&again);
    buf_fini(&out);
}

/* The first byte picks the framing and the first split, the rest is the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t pick = data[0];
    struct http1_body fresh = fresh_body((pick & 3) != 0, (pick & 4) != 0, (pick & 8) != 0);
    struct span in = {(const char *)data + 1, size - 1};
    struct body_run whole, split, bytes;

    body_run_all(&whole, &fresh, in, in.len, 1);
    body_run_all(&split, &fresh, in, pick >> 4, in.len);
    body_run_all(&bytes, &fresh, in, 1, 1);
    REQUIRE(body_run_same(&whole, &split) && body_run_same(&whole, &bytes));
    REQUIRE((whole.status == BODY_BAD) == (whole.body.why != NULL));
    if (whole.status == BODY_END && fresh.framing == BODY_CHUNKED)
        check_again(&fresh, &whole, (size_t)(pick >> 4) + 1);
    REQUIRE(http1_body_finish(&whole.body) ==
            (whole.status == BODY_END || (fresh.framing == BODY_UNTIL_CLOSE && whole.status != BODY_BAD)));
    body_run_fini(&whole);
    body_run_fini(&split);
    body_run_fini(&bytes);
    return 0;
}
