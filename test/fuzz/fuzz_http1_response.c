#include "common/check.h"
#include "test/unit/http1_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As for requests; every refusal is the origin's fault. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http1_limits limits = {.max_head = 400, .max_fields = 12, .max_url = 100};
    struct span in = {(const char *)data, size};
    struct agree_run whole;

    agree_parse(&whole, false, &limits, in, size, 1);
    REQUIRE(whole.result.status != HTTP1_BAD || whole.result.err == ERR_PROTOCOL);
    REQUIRE(whole.result.status != HTTP1_MORE || size < limits.max_head);
    REQUIRE(agree_with(&whole, false, &limits, in, size / 2, size));
    REQUIRE(agree_with(&whole, false, &limits, in, size > 0 ? data[size - 1] : 0, 7));
    if (size < 600)
        REQUIRE(agree_with(&whole, false, &limits, in, 0, 1));
    if (whole.result.status == HTTP1_HEAD) {
        struct http1_body body;
        REQUIRE(whole.result.head_bytes <= size);
        REQUIRE(agree_rewritten(&whole, false));
        int err = http1_body_for_response(&body, &whole.head, METHOD_GET, &limits);
        REQUIRE(err == 0 || err == ERR_PROTOCOL);
        for (uint32_t i = 0; i < whole.head.n_fields; i++)
            (void)http_is_hop_by_hop(&whole.head, &whole.head.fields[i]);
        (void)http1_keep_alive(&whole.head);
    }
    agree_fini(&whole);
    return 0;
}
