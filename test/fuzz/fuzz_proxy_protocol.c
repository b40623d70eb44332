#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT = 1024, LINE_MAX_BYTES = 107 };

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->bytes == b->bytes && a->has_source == b->has_source &&
           (!a->has_source ||
            (netaddr_cidr_covers(&a->source, &b->source) && a->source.bits == b->source.bits));
}

/* The header of the first n bytes, in memory of exactly their size. */
static enum proxy_header_status parse(const uint8_t *data, size_t n, struct proxy_header *out)
{
    char *exact = malloc(n + 1);
    REQUIRE(exact != NULL);
    if (n > 0)
        memcpy(exact + 1, data, n);
    enum proxy_header_status status = proxy_header_parse(exact + 1, n, LIMIT, out);
    free(exact);
    return status;
}

static void check_source(const struct proxy_header *h)
{
    struct buf text = {0};
    struct netaddr_cidr again;
    if (!h->has_source)
        return;
    REQUIRE(h->source.family == AF_INET || h->source.family == AF_INET6);
    REQUIRE(h->source.bits == (h->source.family == AF_INET ? 32u : 128u));
    netaddr_cidr_put(&text, &h->source, true);
    REQUIRE(netaddr_cidr_parse(buf_span(&text), &again) == NULL);
    REQUIRE(netaddr_cidr_covers(&again, &h->source) && again.bits == h->source.bits);
    buf_fini(&text);
}

/* Byte by byte: the first verdict is the whole's, and DONE comes with the header's last byte. */
static void check_split(const uint8_t *data, size_t size, enum proxy_header_status status,
                        const struct proxy_header *whole)
{
    for (size_t n = 0; n <= size && n <= LIMIT; n++) {
        struct proxy_header h;
        enum proxy_header_status now = parse(data, n, &h);
        if (now == PROXY_HEADER_MORE)
            continue;
        REQUIRE(now == status);
        REQUIRE(now != PROXY_HEADER_DONE || (is_same(&h, whole) && h.bytes == n));
        return;
    }
    REQUIRE(status == PROXY_HEADER_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h;
    enum proxy_header_status status = parse(data, size, &h);
    if (status == PROXY_HEADER_DONE) {
        REQUIRE(h.bytes <= size && h.bytes <= LIMIT);
        REQUIRE(data[0] != 'P' || (h.bytes <= LINE_MAX_BYTES && memcmp(data + h.bytes - 2, "\r\n", 2) == 0));
        check_source(&h);
    }
    REQUIRE(status != PROXY_HEADER_MORE || size < LIMIT);
    check_split(data, size, status, &h);
    return 0;
}
