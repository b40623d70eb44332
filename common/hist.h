/* hist - a log-linear histogram of non-negative integers: exact to 1 %, fixed size, mergeable.
 *
 * Values below 256 have a bucket each; above that every power of two is cut into 128 buckets (HdrHistogram's
 * layout), so a bucket's upper edge is less than 1/128 above any value in it. Values from 2^48 on (nine years
 * of microseconds) share the last bucket. Recording is one atomic-free increment: one writer; a reader on
 * another thread may see counts of slightly different moments, which a merge of monotone counters tolerates.
 * Zero one to begin. */
#ifndef COMMON_HIST_H
#define COMMON_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_SUB_BITS   7
#define HIST_RANGE_BITS 48
#define HIST_BUCKETS    ((HIST_RANGE_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
    _Atomic uint64_t counts[HIST_BUCKETS]; /* written by one thread, relaxed */
    _Atomic uint64_t total, sum, max;
};

void hist_record(struct hist *h, uint64_t value);

/* Add `from` to `into`; the total grows by the counts seen, so that a merge agrees with itself. */
void hist_merge(struct hist *into, const struct hist *from);

/* The smallest value v so that `percent` (0..100) of the recorded values are <= v (upper edge of its bucket,
 * capped at max); 0 when empty. */
uint64_t hist_percentile(const struct hist *h, double percent);

/* How many recorded values are <= `limit`, up to bucket exactness (the limit's own bucket counts whole): for
 * Prometheus `le` buckets. */
uint64_t hist_count_below(const struct hist *h, uint64_t limit);

#endif
