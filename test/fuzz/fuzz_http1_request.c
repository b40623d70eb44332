#include "common/check.h"
#include "test/unit/http1_agree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Split or whole, a request head is the same head or the same fault; and written again it is the same head.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http1_limits limits = {.max_head = 400, .max_fields = 12, .max_url = 100};
    struct span in = {(const char *)data, size};
    struct agree_run whole;

    agree_parse(&whole, true, &limits, in, size, 1);
    REQUIRE(whole.result.status != HTTP1_MORE || size < limits.max_head + 2);
    REQUIRE(agree_with(&whole, true, &limits, in, size / 2, size));
    REQUIRE(agree_with(&whole, true, &limits, in, size > 0 ? data[0] : 0, 7));
    if (size < 600)
        REQUIRE(agree_with(&whole, true, &limits, in, 0, 1));
    if (whole.result.status == HTTP1_HEAD) {
        struct http1_target target;
        struct http1_body body;
        REQUIRE(whole.result.head_bytes <= size);
        REQUIRE(agree_rewritten(&whole, true));
        http1_target(&whole.head, &target);
        REQUIRE(target.host.len > 0 || whole.head.minor == 0);
        int err = http1_body_for_request(&body, &whole.head, &limits);
        REQUIRE(err == 0 || body.why != NULL);
    }
    agree_fini(&whole);
    return 0;
}
