/* html - the page that `run` and `compare` write: text, and plots of what was measured. It needs nothing
 * else, not even a network, and is readable on a phone and in the dark. */
#ifndef BENCH_HTML_H
#define BENCH_HTML_H

#include "bench/plot.h"
#include "bench/witness.h"
#include "common/hist.h"

enum { HTML_CURVES_MAX = 16 };

void html_begin(struct buf *out, const char *title);
void html_end(struct buf *out);

void html_put_heading(struct buf *out, struct span text);
void html_put_table(struct buf *out, struct span text); /* as it is on a terminal */

void html_begin_plots(struct buf *out);
void html_end_plots(struct buf *out);

/* Microseconds by percentile; a histogram without values gives no line, and no line no plot. */
struct html_curve {
    const char *name;
    const struct hist *us;
    unsigned colour;
};
void html_put_curves(struct buf *out, const char *title, const struct html_curve *curves, size_t n);

/* The rates of clients and origin, the mean of the rounds; nothing for a load too short to have any. */
void html_put_rates(struct buf *out, const char *title, const struct witness *w,
                    const struct plot_mark *marks, size_t n_marks);

#endif
