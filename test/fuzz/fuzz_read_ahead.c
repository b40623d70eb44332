#include "common/check.h"
#include "shield/http/read_ahead.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIELDS = 12, MOST = 1000 };

static const struct http1_limits limits = {
    .max_head = 400, .max_fields = FIELDS, .max_url = 100, .max_chunk_ext = 20, .max_trailers = 30};

/* However the bytes arrive it counts the same requests; taken from the front as a connection takes them, what
 * is left is the count of the rest. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field fields[FIELDS];
    const char *p = (const char *)data;
    struct read_ahead whole, grows;
    read_ahead_init(&whole, NULL);
    read_ahead_count(&whole, p, size, &limits, fields, MOST);
    REQUIRE(whole.counted <= size);

    read_ahead_init(&grows, NULL);
    size_t step = size > 600 ? 97 : 1;
    for (size_t n = 0; n < size; n += step)
        read_ahead_count(&grows, p, n, &limits, fields, MOST);
    read_ahead_count(&grows, p, size, &limits, fields, MOST);
    REQUIRE(grows.requests == whole.requests && grows.counted == whole.counted);

    struct http1_scan scan = {0};
    struct http_head head = {.fields = fields, .cap_fields = FIELDS};
    struct http1_result first = http1_parse_request(&scan, p, size, &limits, &head);
    if (whole.requests > 0) {
        REQUIRE(first.status == HTTP1_HEAD);
        REQUIRE(read_ahead_take(&grows, first.head_bytes, 1));
        read_ahead_count(&grows, p + first.head_bytes, size - first.head_bytes, &limits, fields, MOST);
        REQUIRE(grows.requests == whole.requests - 1);
    }
    return 0;
}
