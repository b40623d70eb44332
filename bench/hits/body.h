/* body - objects for the tiers, of any bytes, each with a number. */
#ifndef BENCH_HITS_BODY_H
#define BENCH_HITS_BODY_H

#include "shield/store/object.h"

/* FILLING, with a head of the usual size; one reference. */
struct object *body_begin(uint32_t number, uint64_t bytes);
/* Some more of it: how much has come so far. */
uint64_t body_grow(struct object *o, uint64_t bytes);
/* Which it is, by the hash of its key. */
uint32_t body_number(uint64_t key_hash);

#endif
