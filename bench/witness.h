/* witness - what the simulated origin saw while a load ran: the other side of what the edges measured. */
#ifndef BENCH_WITNESS_H
#define BENCH_WITNESS_H

#include "bench/edges.h"
#include "common/buf.h"
#include "common/netaddr.h"

enum { WITNESS_SAMPLES_MAX = 600, WITNESS_SAMPLE_MS = 50 };

/* What had happened so long after the load began. */
struct witness_sample {
    uint32_t at_ms;
    uint64_t answers, fetches;
};

struct witness_samples { /* by time */
    struct witness_sample at[WITNESS_SAMPLES_MAX];
    uint32_t n;
};

struct witness {
    uint64_t fetches, not_modified, body_bytes, running_max;
    uint64_t epochs, epoch_fetches, epoch_fetches_max;
    char worst[128]; /* a key with epoch_fetches_max, when that is above 1 */
    /* A stampede on one object that the origin sent slowly: when the slowest client had half of it, against
     * when the origin had sent half, both from the origin's first byte; the worst round. 0: not such a load.
     */
    double streaming;
    struct witness_samples
        samples; /* of all rounds together: what they add up to so long after their begin */
    uint32_t rounds;
};

/* GET a path of the origin; its content is appended. Returns NULL, or static text. */
const char *witness_ask(const struct netaddr *origin, const char *path, struct buf *content);

/* Add what the origin has counted since its last reset, beside what the edges saw. NULL, or static text. */
const char *witness_read(const struct netaddr *origin, const struct edges_report *r, struct witness *into);

/* Ask how many fetches there have been; false when the origin is too busy to say. */
bool witness_sample(const struct netaddr *origin, uint64_t *fetches);

void witness_note(struct witness_samples *s, uint64_t at_ms, uint64_t answers, uint64_t fetches);

/* A round is over: add what was noted in it. */
void witness_add_round(struct witness *w, const struct witness_samples *round);

/* 1.00 is perfect; 0 without an epoch. */
double witness_per_epoch(const struct witness *w);

/* Good answers for each fetch; 0 without a fetch. */
double witness_collapse(const struct witness *w, const struct edges_report *r);

/* For people: the rates of clients and of the origin over time, the mean of the rounds, in two lines; nothing
 * for a load too short. */
void witness_put_rates(struct buf *out, const struct witness *w, const char *indent);

/* For programs: the members of an object, without its braces. */
void witness_put_json(struct buf *out, const struct witness *w, const struct edges_report *r);

#endif
