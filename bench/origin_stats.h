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
    /* Freshness epochs: see origin_fetch_epoch. */
    uint64_t epochs, epoch_fetches, epoch_fetches_max;
};

/* The times of a key's latest fetch, on the monotonic clock, so that a client on the same machine can tell
 * how much later it had the same bytes. 0: not reached. */
enum origin_mark { MARK_ASKED, MARK_FIRST, MARK_HALF, MARK_LAST, MARK_COUNT };

struct origin_key;

/* Open addressing, at most half full; `n_slots` is a power of two. */
struct origin_table {
    struct origin_key **slots;
    uint32_t n, n_slots;
};

struct origin_stats {
    struct origin_counts total;
    uint64_t connections, connections_max, connections_total;
    struct origin_table keys;    /* by path */
    struct origin_table objects; /* by seed: one version, one variant */
    uint32_t resets;             /* an answer that began before one does not end after it */
};

/* One fetch as it runs. Ends with origin_fetch_end, whatever happens. */
struct origin_fetch {
    struct origin_key *key; /* NULL: not counted */
    uint32_t resets;
};

/* Begin a fetch of `path` (copied); its number is key's fetches, given in *nth. Returns 0 or ERR_NOMEM. */
int origin_fetch_begin(struct origin_stats *s, struct span path, struct origin_fetch *out, uint64_t *nth);
void origin_fetch_status(struct origin_stats *s, struct origin_fetch *f, int status);
void origin_fetch_bytes(struct origin_stats *s, struct origin_fetch *f, uint64_t n);
/* The answer can be shared until `fresh_until_s` (0: it cannot, and is counted nowhere here). A freshness
 * epoch of an object begins with such a fetch and ends when its answer is stale, or with origin_epochs_end;
 * all fetches of the object within it belong to it. One fetch for each epoch is perfect. Returns 0 or
 * ERR_NOMEM. */
int origin_fetch_epoch(struct origin_stats *s, struct origin_fetch *f, uint64_t seed, int64_t now_s,
                       int64_t fresh_until_s);

/* A purge: what is fetched from now on belongs to new epochs. */
void origin_epochs_end(struct origin_stats *s);

/* The fetch has got so far: head read; first byte, half, last byte of its content given to the kernel. */
void origin_fetch_mark(struct origin_stats *s, struct origin_fetch *f, enum origin_mark mark);
void origin_fetch_end(struct origin_stats *s, struct origin_fetch *f, bool aborted);

void origin_stats_reset(struct origin_stats *s);
void origin_stats_fini(struct origin_stats *s);

/* The JSON of /.bench/stats; without the keys when `totals_only`. */
void origin_stats_put(const struct origin_stats *s, bool totals_only, struct buf *out);

#endif
