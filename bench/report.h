/* report - what a run measured, for people and for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/edges.h"
#include "bench/witness.h"
#include "common/buf.h"

void report_put_table(struct buf *out, const struct edges_config *config, const struct edges_report *r);
/* More rows of the table: what the origin saw. */
void report_put_witness(struct buf *out, const struct edges_report *r, const struct witness *w);

/* `w` is what the origin saw, or NULL. */
void report_put_json(struct buf *out, const struct edges_config *config, const struct edges_report *r,
                     const struct witness *w);

/* The names of the columns, and a line of them without its end; what only the origin knows is empty without
 * `w`. */
void report_put_csv_head(struct buf *out);
void report_put_csv(struct buf *out, const struct edges_report *r, const struct witness *w);

/* The system and its processors: "Linux 6.1 x86_64, 2 processors". */
void report_put_machine(struct buf *out);

/* Write all of `text` to a file. False: it could not be, which is told on stderr. */
bool report_write(struct span file, const struct buf *text);

/* Before a load: could the file, which an empty name is not, be written? It is made, and what is in it stays.
 * False as above. */
bool report_may_write(struct span file);

/* "12.3 ms", "850 us", "1.20 s": three digits. */
void report_put_time(struct buf *out, uint64_t us);

#endif
