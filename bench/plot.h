/* plot - lines over two axes, as SVG text. Pure. */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

enum { PLOT_COLOURS = 8 };

struct plot_point {
    double x, y;
};

struct plot_line {
    const char *name;
    const struct plot_point *points;
    size_t n;
    unsigned colour; /* modulo PLOT_COLOURS: the page's classes c0, c1 and on */
};

struct plot_mark { /* a vertical line at x; a band when `to` is beyond */
    double x, to;
    struct span text;
};

enum plot_scale {
    PLOT_LINEAR, /* from 0 */
    PLOT_LOG,    /* what is not above 0 is left out */
    PLOT_TAIL,   /* percentiles: x is 0 to 100, drawn so that 99, 99.9, 99.99 are equally far apart */
};

struct plot {
    const char *title, *x_unit, *y_unit;
    enum plot_scale x_scale, y_scale;
    const struct plot_line *lines;
    size_t n_lines;
    const struct plot_mark *marks;
    size_t n_marks;
};

void plot_put(struct buf *out, const struct plot *p);

struct plot_bar {
    const char *name;
    double value; /* not negative */
    unsigned colour;
};

/* Bars that lie, each with its name and number. */
void plot_put_bars(struct buf *out, const char *title, const struct plot_bar *bars, size_t n);

/* Text with & < > " as entities. */
void plot_put_text(struct buf *out, struct span text);

#endif
