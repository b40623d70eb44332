/* origin_stats - what the simulated origin was asked for: for each path and in all. One thread. */
#ifndef BENCH_ORIGIN_STATS_H
#define BENCH_ORIGIN_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/span.h"

/* A path stands here from its first fetch until the reset; what is in flight then is not counted after it. */
struct origin_counts {
    uint64_t fetches;                       /* requests whose head was read */
    uint64_t not_modified, partial, errors; /* answers 304, 206, 4xx and 5xx */
    uint64_t aborted;                       /* the client left before the answer was out */
    uint64_t body_bytes;                    /* content handed to the kernel */
    uint64_t running, running_max;          /* fetches at the same time */
};

struct origin_key;

struct origin_stats {
    struct origin_counts total;
    uint64_t connections, connections_max, connections_total;
    struct origin_key **slots;
    uint32_t n_keys, n_slots;
    uint32_t epoch; /* number of resets: an answer that began before one does not end after it */
};

/* One fetch as it runs. Ends with origin_fetch_end, whatever happens. */
struct origin_fetch {
    struct origin_key *key; /* NULL: not counted */
    uint32_t epoch;
};

/* Begin a fetch of `path` (copied); its number is key's fetches, given in *nth. Returns 0 or ERR_NOMEM. */
int origin_fetch_begin(struct origin_stats *s, struct span path, struct origin_fetch *out, uint64_t *nth);
void origin_fetch_status(struct origin_stats *s, struct origin_fetch *f, int status);
void origin_fetch_bytes(struct origin_stats *s, struct origin_fetch *f, uint64_t n);
void origin_fetch_end(struct origin_stats *s, struct origin_fetch *f, bool aborted);

void origin_stats_reset(struct origin_stats *s);
void origin_stats_fini(struct origin_stats *s);

/* The JSON of /.bench/stats; without the keys when `totals_only`. */
void origin_stats_put(const struct origin_stats *s, bool totals_only, struct buf *out);

#endif
