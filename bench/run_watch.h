/* run_watch - looks at the simulated origin while `run` plays the edges. */
#ifndef BENCH_RUN_WATCH_H
#define BENCH_RUN_WATCH_H

#include "bench/witness.h"

struct run_watch;

/* Resets the origin's counts and begins to take samples; makes `config` count its answers for us. NULL, or
 * static text. */
const char *run_watch_begin(struct span origin, struct edges_config *config, struct run_watch **out);

/* No more samples; gives all that the origin has counted, which lives as long as the watch. NULL, or static
 * text: then *seen is left alone. */
const char *run_watch_end(struct run_watch *w, const struct edges_report *r, struct witness **seen);

void run_watch_free(struct run_watch *w); /* NULL is fine */

#endif
