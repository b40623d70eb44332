/* schedule - which key request number i asks for, and when it is due. A function of the seed and the number
 * alone, not of threads and timing, so that a run can be repeated. Pure. */
#ifndef BENCH_SCHEDULE_H
#define BENCH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

enum schedule_order { ORDER_SEQUENCE, ORDER_RANDOM, ORDER_ZIPF };

/* What the random numbers of request i are for: each purpose has its own. */
enum schedule_purpose { DRAW_KEY, DRAW_GAP, DRAW_ABORT, DRAW_RANGE, DRAW_RANGE_FIRST, DRAW_RANGE_LENGTH };

struct schedule {
    uint64_t seed, keys;
    enum schedule_order order;
    double
        exponent; /* Zipf: key of rank k (from 1) has a weight of k to the power of -exponent; not below 0 */
    double integral_1, integral_n, threshold; /* private: of the Zipf sampler */
};

/* The first four fields are the caller's. */
void schedule_init(struct schedule *s);

uint64_t schedule_key(const struct schedule *s,
                      uint64_t i); /* 0 to keys-1; with Zipf 0 is the most popular */

uint64_t schedule_draw(const struct schedule *s, enum schedule_purpose purpose, uint64_t i);

/* Whether request i is among `percent` of 100. */
bool schedule_is_among(const struct schedule *s, enum schedule_purpose purpose, uint64_t i, uint64_t percent);

/* The gap before arrival i of a Poisson process, in units of its mean. */
double schedule_gap(const struct schedule *s, uint64_t i);

#endif
