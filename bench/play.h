/* play - one scenario against one peer, between an origin of its own and our edges. */
#ifndef BENCH_PLAY_H
#define BENCH_PLAY_H

#include "bench/edges.h"
#include "bench/peer.h"
#include "bench/scenario.h"

/* What the origin was asked for while the load ran. */
struct play_origin {
    uint64_t fetches, not_modified, body_bytes, running_max;
    uint64_t epochs, epoch_fetches, epoch_fetches_max;
    char worst[128]; /* a key with epoch_fetches_max, when that is above 1 */
};

enum { PLAY_SAMPLES_MAX = 600, PLAY_SAMPLE_MS = 50 };

/* What had happened so long after the load began. */
struct play_sample {
    uint32_t at_ms;
    uint64_t answers, fetches;
};

struct play_result {
    struct edges_report edges;
    struct play_origin origin;
    uint64_t cpu_us; /* of the peer, while the load ran */
    uint64_t rss_kb; /* of the peer, after it */
    /* The first round, by time. */
    struct play_sample samples[PLAY_SAMPLES_MAX];
    uint32_t n_samples;
    /* A stampede on one object that the origin sent slowly: when the slowest client had half of it, against
     * when the origin had sent half, both from the origin's first byte; the worst round. 0: not such a load.
     */
    double streaming;
    const char *trouble; /* an event that could not be done; NULL: none */
};

struct play_options {
    const char *self, *scratch; /* this program; a directory of ours */
    unsigned workers;
    uint64_t seed;
    void (*on_progress)(uint64_t finished, uint64_t of, uint64_t elapsed_ms);
};

/* Adds what was seen to `into`. Returns NULL, or text that says what hindered it. */
const char *play(const struct scenario *s, struct peer *peer, const struct play_options *options,
                 struct play_result *into);

#endif
