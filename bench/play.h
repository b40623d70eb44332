/* play - one scenario against one peer, between an origin of its own and our edges. */
#ifndef BENCH_PLAY_H
#define BENCH_PLAY_H

#include "bench/edges.h"
#include "bench/peer.h"
#include "bench/scenario.h"
#include "bench/witness.h"

/* When an event happened, of the latest round, and how long it took at most. */
struct play_event {
    uint64_t at_ms, took_ms;
};

struct play_result {
    struct edges_report edges;
    struct edges_config load; /* numbers only: its texts are gone */
    struct witness origin;
    uint64_t cpu_us;                               /* of the peer, while the load ran */
    uint64_t rss_kb;                               /* of the peer, after it */
    const char *trouble;                           /* an event that could not be done; NULL: none */
    struct play_event events[SCENARIO_EVENTS_MAX]; /* those of the scenario */
    uint32_t n_events;                             /* which happened */
};

/* How far a load is. */
struct play_now {
    uint64_t answers, fetches, elapsed_ms;
    uint64_t of, planned_ms; /* requests and time that end it; 0: the other does */
};

struct play_options {
    const char *self, *scratch; /* this program; a directory of ours */
    unsigned workers;
    uint64_t seed;
    /* Called while the measured load runs, some times a second; may be NULL. */
    void (*on_progress)(void *arg, const struct play_now *now);
    void *progress_arg;
};

/* Adds what was seen to `into`. Returns NULL, or text that says what hindered it. */
const char *play(const struct scenario *s, struct peer *peer, const struct play_options *options,
                 struct play_result *into);

#endif
