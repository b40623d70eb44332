#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test/unit/http1_agree.h"
#include "test/unit/http1_body_agree.h"

static const struct http1_limits limits = {
    .max_head = 1000, .max_fields = 20, .max_url = 100, .max_chunk_ext = 20, .max_trailers = 30};

struct framing_case {
    const char *in;
    int err;
    enum http1_framing framing;
    uint64_t length;
};

#define POST(fields) "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define CL           "Content-Length: "
#define TE           "Transfer-Encoding: "
#define CHUNKED      "Transfer-Encoding: chunked\r\n"

static const struct framing_case requests[] = {
    {POST(""), 0, BODY_NONE, 0},
    {POST(CL "0\r\n"), 0, BODY_LENGTH, 0},
    {POST(CL "005\r\n"), 0, BODY_LENGTH, 5},
    {POST("content-LENGTH:\t5 \r\n"), 0, BODY_LENGTH, 5},
    {POST(CL "9223372036854775807\r\n"), 0, BODY_LENGTH, INT64_MAX},
    {POST(CHUNKED), 0, BODY_CHUNKED, 0},
    {POST("TRANSFER-encoding:Chunked\r\n"), 0, BODY_CHUNKED, 0},
    /* lengths */
    {POST(CL "\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "+5\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "-5\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5 5\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5x\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "0x5\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5.0\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "\"5\"\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5, 5\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5,\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5, 6\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5\r\n" CL "5\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "5\r\nX: y\r\n" CL "6\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "9223372036854775808\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "18446744073709551616\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CL "99999999999999999999999999999999999999\r\n"), ERR_BAD_REQUEST, 0, 0},
    /* codings */
    {POST(CL "5\r\n" CHUNKED), ERR_BAD_REQUEST, 0, 0},
    {POST(CHUNKED CL "0\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(CHUNKED CHUNKED), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "chunked, chunked\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "gzip, chunked\r\n"), ERR_NOT_IMPLEMENTED, 0, 0},
    {POST(TE "gzip\r\n" CHUNKED), ERR_NOT_IMPLEMENTED, 0, 0},
    {POST(TE "chunked, gzip\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "chunked, identity\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "identity\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "gzip\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "xchunked\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "chunked;q=1\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "\"chunked\"\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE ",chunked\r\n"), ERR_BAD_REQUEST, 0, 0},
    {POST(TE "\r\n"), ERR_BAD_REQUEST, 0, 0},
    {"POST / HTTP/1.0\r\nHost: a\r\n" CHUNKED "\r\n", ERR_BAD_REQUEST, 0, 0},
};

struct response_framing_case {
    struct framing_case c;
    enum http_method method;
};

#define RESPONSE(status, fields) "HTTP/1.1 " status " x\r\n" fields "\r\n"

static const struct response_framing_case responses[] = {
    {{RESPONSE("200", ""), 0, BODY_UNTIL_CLOSE, 0}, METHOD_GET},
    {{RESPONSE("200", CL "5\r\n"), 0, BODY_LENGTH, 5}, METHOD_GET},
    {{RESPONSE("200", CHUNKED), 0, BODY_CHUNKED, 0}, METHOD_GET},
    {{"HTTP/1.0 200 x\r\n\r\n", 0, BODY_UNTIL_CLOSE, 0}, METHOD_GET},
    {{RESPONSE("200", CL "5\r\n"), 0, BODY_NONE, 0}, METHOD_HEAD},
    {{RESPONSE("200", CHUNKED), 0, BODY_NONE, 0}, METHOD_HEAD},
    {{RESPONSE("200", ""), 0, BODY_NONE, 0}, METHOD_HEAD},
    {{RESPONSE("204", CL "5\r\n"), 0, BODY_NONE, 0}, METHOD_GET},
    {{RESPONSE("304", CL "5\r\n"), 0, BODY_NONE, 0}, METHOD_GET},
    {{RESPONSE("304", CHUNKED), 0, BODY_NONE, 0}, METHOD_GET},
    {{RESPONSE("103", ""), 0, BODY_NONE, 0}, METHOD_GET},
    {{RESPONSE("205", ""), 0, BODY_UNTIL_CLOSE, 0}, METHOD_GET},
    {{RESPONSE("200", CL "5\r\n" CHUNKED), 0, BODY_NONE, 0}, METHOD_CONNECT},
    {{RESPONSE("403", CL "5\r\n"), 0, BODY_LENGTH, 5}, METHOD_CONNECT},
    {{RESPONSE("200", CL "5\r\n" CHUNKED), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("200", CL "5\r\n" CHUNKED), ERR_PROTOCOL, 0, 0}, METHOD_HEAD},
    {{RESPONSE("200", CL "5\r\n" CL "5\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("304", CL "5\r\n" CL "6\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("200", CL "5, 5\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("200", CL "x\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("200", TE "gzip\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("200", TE "gzip, chunked\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{RESPONSE("200", TE "chunked, gzip\r\n"), ERR_PROTOCOL, 0, 0}, METHOD_GET},
    {{"HTTP/1.0 200 x\r\n" CHUNKED "\r\n", ERR_PROTOCOL, 0, 0}, METHOD_GET},
};

static void check_framing(const struct framing_case *c, bool is_request, enum http_method method)
{
    struct agree_run r;
    struct http1_body b;
    struct span in = span_of(c->in);
    agree_parse(&r, is_request, &limits, in, in.len, 1);
    if (r.result.status != HTTP1_HEAD)
        fail_msg("no head: %s", c->in);
    int err = is_request ? http1_body_for_request(&b, &r.head, &limits)
                         : http1_body_for_response(&b, &r.head, method, &limits);
    if (err != c->err || b.err != err || (err != 0) != (b.why != NULL))
        fail_msg("%s: %s", c->in, err_name(err));
    if (err == 0 && (b.framing != c->framing || b.length != c->length || b.remaining != c->length))
        fail_msg("%s: framing %d, length %llu", c->in, b.framing, (unsigned long long)b.length);
    agree_fini(&r);
}

static void framing_of_requests(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        check_framing(&requests[i], true, METHOD_OTHER);
}

static void framing_of_responses(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(responses); i++)
        check_framing(&responses[i].c, false, responses[i].method);
}

struct chunk_case {
    const char *name;
    struct span in;
    enum http1_body_status status;
    int err;
    const char *payload;
    size_t left; /* bytes behind the end */
};

#define WHOLE(name, text, payload, left)                           \
    {                                                              \
        name, {text, sizeof(text) - 1}, BODY_END, 0, payload, left \
    }
#define PART(name, text, payload)                                \
    {                                                            \
        name, {text, sizeof(text) - 1}, BODY_MORE, 0, payload, 0 \
    }
#define BROKEN(name, text, payload)                                           \
    {                                                                         \
        name, {text, sizeof(text) - 1}, BODY_BAD, ERR_BAD_REQUEST, payload, 0 \
    }
#define LARGE(name, text, code)                               \
    {                                                         \
        name, {text, sizeof(text) - 1}, BODY_BAD, code, "", 0 \
    }

static const struct chunk_case chunks[] = {
    WHOLE("nothing", "0\r\n\r\n", "", 0),
    WHOLE("two chunks, next message behind", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET /", "hello!", 5),
    WHOLE("CRLF in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", 0),
    WHOLE("hex in both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a",
          0),
    WHOLE("leading zeros", "0000000000000003\r\nabc\r\n000\r\n\r\n", "abc", 0),
    WHOLE("extensions", "1;a\r\nx\r\n1 ;\ta = b\r\ny\r\n1;a=\"q;\\\"\t\"; b\r\nz\r\n0;a\r\n\r\n", "xyz", 0),
    WHOLE("extension at the limit", "1;234567890123456789a\r\nx\r\n0\r\n\r\n", "x", 0),
    WHOLE("extensions, limited one by one", "1;2345678901\r\nx\r\n1;2345678901\r\ny\r\n0\r\n\r\n", "xy", 0),
    WHOLE("trailers", "0\r\nA: b\r\nC:\x80\t\r\n\r\nX", "", 1),
    WHOLE("trailers at the limit", "0\r\nA: 567890123456789012345\r\nB:\r\n\r\n", "", 0),
    PART("no byte", "", ""),
    PART("half a size", "5", ""),
    PART("half the data", "5\r\nhel", "hel"),
    PART("data without CRLF", "5\r\nhello", "hello"),
    PART("no last chunk", "5\r\nhello\r\n", "hello"),
    PART("no empty line", "5\r\nhello\r\n0\r\n", "hello"),
    PART("half an empty line", "0\r\n\r", ""),
    PART("no end of trailers", "0\r\nA: b\r\n", ""),
    BROKEN("no size", "\r\n", ""),
    BROKEN("no size but extension", ";a\r\n", ""),
    BROKEN("not hex", "g\r\n", ""),
    BROKEN("0x", "0x5\r\nhello\r\n", ""),
    BROKEN("sign", "+5\r\nhello\r\n", ""),
    BROKEN("negative", "-1\r\n", ""),
    BROKEN("space before", " 5\r\nhello\r\n", ""),
    BROKEN("space behind", "5 \r\nhello\r\n", ""),
    BROKEN("tab behind", "5\t\r\nhello\r\n", ""),
    BROKEN("underscore", "1_0\r\n", ""),
    BROKEN("seventeen digits", "00000000000000005\r\nhello\r\n", ""),
    BROKEN("overflow", "10000000000000005\r\nhello\r\n", ""),
    BROKEN("top bit", "ffffffffffffffff\r\nhello\r\n", ""),
    BROKEN("bare LF behind the size", "5\nhello\r\n", ""),
    BROKEN("bare CR behind the size", "5\rhello\r\n", ""),
    BROKEN("CR CR LF behind the size", "5\r\r\nhello\r\n", ""),
    BROKEN("NUL behind the size", "5\0\r\nhello\r\n", ""),
    BROKEN("bare LF behind the data", "5\r\nhello\n0\r\n\r\n", "hello"),
    BROKEN("bare CR behind the data", "5\r\nhello\r0\r\n\r\n", "hello"),
    BROKEN("data too long", "5\r\nhello!\r\n0\r\n\r\n", "hello"),
    BROKEN("data too short", "5\r\nhell\r\n0\r\n\r\n", "hell\r"),
    BROKEN("bare LF in an extension", "5;a\nhello\r\n", ""),
    BROKEN("bare CR in an extension", "5;a\rb\r\nhello\r\n", ""),
    BROKEN("CRLF in quotes", "5;a=\"\r\n\"\r\nhello\r\n", ""),
    BROKEN("NUL in quotes", "5;a=\"\0\"\r\nhello\r\n", ""),
    BROKEN("quotes not closed", "5;a=\"b\r\nhello\r\n", ""),
    BROKEN("extension without name", "5;\r\nhello\r\n", ""),
    BROKEN("extension without value", "5;a=\r\nhello\r\n", ""),
    BROKEN("space behind an extension", "5;a \r\nhello\r\n", ""),
    BROKEN("extension is no token", "5;(\r\nhello\r\n", ""),
    LARGE("extension too long", "1;234567890123456789ab\r\nx\r\n", ERR_CONTENT_TOO_LARGE),
    LARGE("extension without end", "1;                                ", ERR_CONTENT_TOO_LARGE),
    LARGE("trailers too large", "0\r\nA: 567890123456789012345\r\nBC:\r\n\r\n", ERR_HEAD_TOO_LARGE),
    BROKEN("bare LF for the end", "0\r\n\n", ""),
    BROKEN("bare LF behind the last size", "0\n\r\n", ""),
    BROKEN("CR and something", "0\r\n\rx", ""),
    BROKEN("bare LF in the trailers", "0\r\nA: b\n\r\n", ""),
    BROKEN("CR in a trailer", "0\r\nA: b\rc\r\n\r\n", ""),
    BROKEN("folded trailer", "0\r\nA: b\r\n c\r\n\r\n", ""),
    BROKEN("space before the colon of a trailer", "0\r\nA : b\r\n\r\n", ""),
    BROKEN("trailer without name", "0\r\n: b\r\n\r\n", ""),
    BROKEN("trailer without colon", "0\r\nA\r\n\r\n", ""),
    BROKEN("NUL in a trailer", "0\r\nA: \0\r\n\r\n", ""),
};

static struct http1_body fresh_body(const char *request)
{
    struct agree_run r;
    struct http1_body b;
    struct span in = span_of(request);
    agree_parse(&r, true, &limits, in, in.len, 1);
    assert_int_equal(r.result.status, HTTP1_HEAD);
    assert_int_equal(http1_body_for_request(&b, &r.head, &limits), 0);
    agree_fini(&r);
    return b;
}

static void check_chunks(const struct http1_body *fresh, const struct chunk_case *c)
{
    struct body_run whole, split;
    body_run_all(&whole, fresh, c->in, c->in.len, 1);
    if (whole.status != c->status || whole.body.err != c->err)
        fail_msg("%s: status %d, %s (%s)", c->name, whole.status, err_name(whole.body.err),
                 whole.body.why != NULL ? whole.body.why : "-");
    if (!span_eq(buf_span(&whole.payload), span_of(c->payload)))
        fail_msg("%s: payload %.*s", c->name, SPAN_FMT(buf_span(&whole.payload)));
    if (c->status == BODY_END && c->in.len - whole.consumed != c->left)
        fail_msg("%s: consumed %zu", c->name, whole.consumed);
    for (size_t k = 0; k <= c->in.len; k++) {
        body_run_all(&split, fresh, c->in, k, c->in.len);
        if (!body_run_same(&whole, &split))
            fail_msg("%s: differs when split at %zu", c->name, k);
        body_run_fini(&split);
    }
    body_run_all(&split, fresh, c->in, 1, 1);
    if (!body_run_same(&whole, &split))
        fail_msg("%s: differs byte by byte", c->name);
    body_run_fini(&split);
    assert_int_equal(http1_body_finish(&whole.body), c->status == BODY_END);
    assert_int_equal(whole.body.err != 0, c->status != BODY_END);
    body_run_fini(&whole);
}

static void chunked(void **state)
{
    struct http1_body fresh = fresh_body(POST(CHUNKED));
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++)
        check_chunks(&fresh, &chunks[i]);
}

static void by_length(void **state)
{
    struct http1_body fresh = fresh_body(POST(CL "5\r\n"));
    struct span in = SPAN("helloGET /");
    for (size_t k = 0; k <= in.len; k++) {
        struct body_run r;
        body_run_all(&r, &fresh, (struct span){in.p, k}, k, 1);
        assert_int_equal(r.status, k < 5 ? BODY_MORE : BODY_END);
        assert_int_equal(r.consumed, MIN(k, 5));
        assert_true(span_eq(buf_span(&r.payload), (struct span){in.p, MIN(k, 5)}));
        assert_int_equal(http1_body_finish(&r.body), k >= 5);
        assert_int_equal(r.body.err, k < 5 ? ERR_BAD_REQUEST : 0);
        body_run_fini(&r);
        body_run_all(&r, &fresh, in, k, 1);
        assert_int_equal(r.status, BODY_END);
        assert_int_equal(r.consumed, 5);
        body_run_fini(&r);
    }
}

static void without_body(void **state)
{
    static const char *const heads[] = {POST(""), POST(CL "0\r\n")};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct http1_body fresh = fresh_body(heads[i]);
        struct body_run r;
        body_run_all(&r, &fresh, SPAN("GET /"), 5, 1);
        assert_int_equal(r.status, BODY_END);
        assert_int_equal(r.consumed, 0);
        assert_int_equal(r.payload.len, 0);
        assert_true(http1_body_finish(&r.body));
        body_run_fini(&r);
    }
}

static struct http1_body fresh_response_body(const char *response)
{
    struct agree_run r;
    struct http1_body b;
    struct span in = span_of(response);
    agree_parse(&r, false, &limits, in, in.len, 1);
    assert_int_equal(http1_body_for_response(&b, &r.head, METHOD_GET, &limits), 0);
    agree_fini(&r);
    return b;
}

static void until_close(void **state)
{
    struct http1_body fresh = fresh_response_body(RESPONSE("200", ""));
    struct body_run r;
    body_run_all(&r, &fresh, SPAN("hello"), 2, 1);
    assert_int_equal(r.status, BODY_MORE);
    assert_true(span_eq(buf_span(&r.payload), SPAN("hello")));
    assert_true(http1_body_finish(&r.body));
    body_run_fini(&r);
}

static void errors_of_responses(void **state)
{
    struct http1_body fresh = fresh_response_body(RESPONSE("200", CHUNKED));
    struct body_run r;
    body_run_all(&r, &fresh, SPAN("1;234567890123456789ab\r\n"), 30, 1);
    assert_int_equal(r.status, BODY_BAD);
    assert_int_equal(r.body.err, ERR_PROTOCOL);
    body_run_piece(&r, SPAN("0\r\n\r\n")); /* broken once, broken for good */
    assert_int_equal(r.status, BODY_BAD);
    assert_false(http1_body_finish(&r.body));
    assert_int_equal(r.body.err, ERR_PROTOCOL);
    body_run_fini(&r);

    body_run_all(&r, &fresh, SPAN("5\r\nhel"), 30, 1);
    assert_false(http1_body_finish(&r.body));
    assert_int_equal(r.body.err, ERR_TRUNCATED);
    body_run_fini(&r);
}

static void chunk_prefix(void **state)
{
    static const struct {
        uint64_t n;
        const char *text;
    } rows[] = {
        {0, "0\r\n"},   {9, "9\r\n"},        {15, "f\r\n"},
        {16, "10\r\n"}, {65520, "fff0\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[18];
        size_t len = http1_chunk_prefix(out, rows[i].n);
        assert_true(span_eq((struct span){out, len}, span_of(rows[i].text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(framing_of_requests),
        cmocka_unit_test(framing_of_responses),
        cmocka_unit_test(chunked),
        cmocka_unit_test(by_length),
        cmocka_unit_test(without_body),
        cmocka_unit_test(until_close),
        cmocka_unit_test(errors_of_responses),
        cmocka_unit_test(chunk_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
