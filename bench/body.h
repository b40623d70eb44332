/* body - the bytes of every simulated object: a pure function, so that any client can check them without the
 * origin.
 *
 *   seed    = XXH64(path, version), path as in the request target, without the query;
 *             with a variant: XXH64(variant text, seed)
 *   word i  = splitmix64 at (seed + (i + 1) * 0x9E3779B97F4A7C15), 8 bytes, little-endian
 *
 * Word i needs no word before it: a range is checked where it stands. Pure, any thread. */
#ifndef BENCH_BODY_H
#define BENCH_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/span.h"

/* What the field Bench-Object says about the object that a response carries. */
struct body_object {
    uint64_t key; /* XXH64(path, 0): a response that carries another object shows here */
    uint64_t version;
    uint64_t size; /* of the whole object, whatever the framing or the range */
    uint64_t seed; /* of the bytes */
};

/* `variant` is the text of the selecting request fields, empty when the object has no variants. */
struct body_object body_object(struct span path, uint64_t version, uint64_t size, struct span variant);

/* Word i of the stream of `seed`: also a source of random numbers that anybody can repeat. */
uint64_t body_word(uint64_t seed, uint64_t i);

void body_fill(uint64_t seed, uint64_t offset, char *out, size_t n);

/* Whether p[0..n) are the bytes from `offset` on. */
bool body_matches(uint64_t seed, uint64_t offset, const char *p, size_t n);

#define BODY_FIELD "Bench-Object"

/* "key=HEX; version=N; size=N; seed=HEX", and back. */
void body_put_field(struct buf *out, const struct body_object *o);
bool body_parse_field(struct span value, struct body_object *out);

/* The path of a request target: without the query. */
struct span body_path(struct span target);

#endif
