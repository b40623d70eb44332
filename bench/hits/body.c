#include "bench/hits/body.h"

#include <stdio.h>

#include "common/check.h"

enum { PIECE = 65520 };

#define FACTOR         UINT64_C(0x9e3779b97f4a7c15)
#define FACTOR_INVERSE UINT64_C(0xf1de83e19937733d)

/* Bits as of any hash, which can be undone. */
static uint64_t hash_of(uint32_t number)
{
    uint64_t x = number * FACTOR;
    return (x ^ (x >> 32)) * FACTOR;
}

uint32_t body_number(uint64_t key_hash)
{
    uint64_t x = key_hash * FACTOR_INVERSE;
    return (uint32_t)((x ^ (x >> 32)) * FACTOR_INVERSE);
}

struct object *body_begin(uint32_t number, uint64_t bytes)
{
    char key[64];
    int n = snprintf(key, sizeof key, "default\nwww.example.com\n/objects/%08u", number);
    struct stored_head_parts parts = {
        .facts = {.lifetime_ms = 3600000, .swr_ms = -1, .sie_ms = -1, .last_modified_s = -1, .status = 200},
        .block =
            SPAN("HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nCache-Control: max-age=3600\r\n"
                 "Content-Type: application/octet-stream\r\nETag: \"0123456789abcdef\"\r\n"),
        .key = {key, (size_t)n},
        .key_hash = hash_of(number),
    };
    struct stored_head *h = stored_head_new(&parts);
    struct object *o = h != NULL ? object_new(h, bytes) : NULL;
    REQUIRE(o != NULL);
    return o;
}

uint64_t body_grow(struct object *o, uint64_t bytes)
{
    static const char zeros[PIECE];
    uint64_t n = MIN(bytes - object_ready(o), (uint64_t)PIECE);
    int err = object_append(o, zeros, n);
    REQUIRE(err == 0);
    return object_ready(o);
}
