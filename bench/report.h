/* report - what a run measured, for people and for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/edges.h"
#include "common/buf.h"

void report_put_table(struct buf *out, const struct edges_config *config, const struct edges_report *r);
void report_put_json(struct buf *out, const struct edges_config *config, const struct edges_report *r);

/* "12.3 ms", "850 us", "1.20 s": three digits. */
void report_put_time(struct buf *out, uint64_t us);

#endif
