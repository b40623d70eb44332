/* object_rig - objects whose bytes can be foretold. */
#ifndef TEST_UNIT_OBJECT_RIG_H
#define TEST_UNIT_OBJECT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/store/object.h"

/* The byte of a body at an offset. */
static inline char byte_at(uint64_t salt, uint64_t at)
{
    return (char)(salt + at * 13 + (at >> 8) * 7 + (at >> 16));
}

static inline void put_bytes(char *out, uint64_t salt, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = byte_at(salt, from + i);
}

static inline bool bytes_fit(const char *p, uint64_t salt, uint64_t from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_at(salt, from + i))
            return false;
    return true;
}

static inline uint64_t hash_of_key(const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *key != '\0'; key++)
        h = (h ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
    return h;
}

/* NULL without memory. */
static inline struct stored_head *variant_head(const char *key, const char *names, const char *variant)
{
    struct stored_head_parts parts = {
        .facts = {.request_ms = 1000,
                  .response_ms = 2000,
                  .lifetime_ms = 60000,
                  .swr_ms = -1,
                  .sie_ms = -1,
                  .last_modified_s = -1,
                  .status = 200},
        .block = SPAN("HTTP/1.1 200 OK\r\nETag: \"one\"\r\n"),
        .key = span_of(key),
        .names = span_of(names),
        .variant = span_of(variant),
        .key_hash = hash_of_key(key),
    };
    return stored_head_new(&parts);
}

static inline struct stored_head *plain_head(const char *key)
{
    return variant_head(key, "", "");
}

static inline struct object *object_for(const char *key, uint64_t length)
{
    struct stored_head *h = plain_head(key);
    assert_non_null(h);
    struct object *o = object_new(h, length);
    assert_non_null(o);
    return o;
}

/* Append up to `to`, in pieces of `step`. Gives object_append's error. */
static inline int append_to(struct object *o, uint64_t salt, uint64_t to, size_t step)
{
    static _Thread_local char piece[300000];
    REQUIRE(step <= sizeof piece);
    while (object_ready(o) < to) {
        size_t n = (size_t)MIN((uint64_t)step, to - object_ready(o));
        put_bytes(piece, salt, object_ready(o), n);
        int err = object_append(o, piece, n);
        if (err != 0)
            return err;
    }
    return 0;
}

/* A sealed one of `length` bytes; the reference is the caller's. */
static inline struct object *sealed_object(const char *key, uint64_t length)
{
    struct object *o = object_for(key, length);
    assert_int_equal(append_to(o, 1, length, 100000), 0);
    object_seal(o);
    return o;
}

/* Reads [from, to) and compares. Gives object_read's error. */
static inline int read_and_compare(struct object *o, uint64_t salt, uint64_t from, uint64_t to)
{
    while (from < to) {
        struct span s;
        struct chunk *hold = NULL;
        int err = object_read(o, from, &s, &hold);
        if (err != 0)
            return err;
        size_t n = (size_t)MIN((uint64_t)s.len, to - from);
        REQUIRE(n > 0 && bytes_fit(s.p, salt, from, n));
        chunk_unref(&hold);
        from += n;
    }
    return 0;
}

#endif
