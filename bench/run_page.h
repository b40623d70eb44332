/* run_page - the HTML report of a `run`. */
#ifndef BENCH_RUN_PAGE_H
#define BENCH_RUN_PAGE_H

#include "bench/edges.h"
#include "bench/witness.h"
#include "common/buf.h"

/* `table` is the report as text; `w` is what the origin saw, or NULL. */
void run_page_put(struct buf *out, const struct edges_config *config, const struct edges_report *r,
                  const struct witness *w, struct span table);

#endif
