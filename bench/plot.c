#include "bench/plot.h"

#include <math.h>

#include "common/check.h"

enum {
    WIDTH = 620,
    HEIGHT = 240,
    LEFT = 62,
    RIGHT = 12,
    TOP = 26,
    BOTTOM = 40,
    TICKS = 5,
    LEGEND_STEP = 110
};

/* Told apart by the colour-blind too: Okabe and Ito, "Color universal design", 2008. */
static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                      "#e69f00", "#56b4e9", "#000000", "#999999"};

void plot_put_text(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.p[i];
        if (c == '&')
            buf_put_lit(out, "&amp;");
        else if (c == '<')
            buf_put_lit(out, "&lt;");
        else if (c == '>')
            buf_put_lit(out, "&gt;");
        else if (c == '"')
            buf_put_lit(out, "&quot;");
        else
            buf_put(out, &c, 1);
    }
}

/* ---- from values to places */

struct axis {
    enum plot_scale scale;
    double low, high; /* of the scaled values */
    double from, to;  /* pixels */
};

static double scaled(enum plot_scale scale, double v)
{
    switch (scale) {
    case PLOT_LINEAR:
        return v;
    case PLOT_LOG:
        return log10(v);
    case PLOT_TAIL:
        return -log10(fmax(1 - v / 100, 1e-5));
    }
    return v;
}

static bool is_drawn(enum plot_scale scale, double v)
{
    return scale != PLOT_LOG || v > 0;
}

static double place(const struct axis *a, double v)
{
    double span = a->high - a->low;
    return a->from + (scaled(a->scale, v) - a->low) / (span > 0 ? span : 1) * (a->to - a->from);
}

/* 1, 2 or 5 times a power of ten, not below v. */
static double round_up(double v)
{
    double power = pow(10, floor(log10(v)));
    for (int i = 0; i < 3; i++)
        if (v <= (double[]){1, 2, 5}[i] * power)
            return (double[]){1, 2, 5}[i] * power;
    return 10 * power;
}

static struct axis fit(const struct plot *p, bool is_x)
{
    struct axis a = {.scale = is_x ? p->x_scale : p->y_scale,
                     .low = INFINITY,
                     .high = -INFINITY,
                     .from = is_x ? LEFT : HEIGHT - BOTTOM,
                     .to = is_x ? WIDTH - RIGHT : TOP};
    for (size_t i = 0; i < p->n_lines; i++)
        for (size_t k = 0; k < p->lines[i].n; k++) {
            double v = is_x ? p->lines[i].points[k].x : p->lines[i].points[k].y;
            if (!is_drawn(a.scale, v))
                continue;
            a.low = fmin(a.low, scaled(a.scale, v));
            a.high = fmax(a.high, scaled(a.scale, v));
        }
    if (!(a.low <= a.high))
        a.low = a.high = 0;
    if (a.scale == PLOT_LINEAR) {
        a.low = 0;
        a.high = a.high > 0 ? (is_x ? a.high : round_up(a.high)) : 1;
    } else if (a.scale == PLOT_LOG) {
        a.low = floor(a.low);
        a.high = fmax(ceil(a.high), a.low + 1);
    } else {
        a.low = 0;
    }
    return a;
}

/* ---- drawing */

static void put_number(struct buf *out, double v)
{
    if (v >= 1000000)
        buf_printf(out, "%gM", v / 1000000);
    else if (v >= 1000)
        buf_printf(out, "%gk", v / 1000);
    else
        buf_printf(out, "%g", v);
}

static void put_tick(struct buf *out, const struct axis *a, bool is_x, double v)
{
    double at = place(a, v);
    if (is_x)
        buf_printf(out,
                   "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='grid'/><text x='%.1f' y='%d' "
                   "text-anchor='middle'>",
                   at, at, TOP, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 14);
    else
        buf_printf(out,
                   "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' class='grid'/><text x='%d' y='%.1f' "
                   "text-anchor='end'>",
                   LEFT, WIDTH - RIGHT, at, at, LEFT - 5, at + 4);
    put_number(out, v);
    buf_put_lit(out, "</text>\n");
}

static void put_ticks(struct buf *out, const struct axis *a, bool is_x)
{
    static const double tails[] = {0, 50, 90, 99, 99.9, 99.99, 99.999};
    if (a->scale == PLOT_LINEAR) {
        double step = round_up(a->high / TICKS);
        for (double v = 0; v <= a->high * 1.0001; v += step)
            put_tick(out, a, is_x, v);
    } else if (a->scale == PLOT_LOG) {
        for (double power = a->low; power <= a->high + 0.01; power++)
            put_tick(out, a, is_x, pow(10, power));
    } else {
        for (size_t i = 0; i < ARRAY_LEN(tails); i++)
            if (scaled(PLOT_TAIL, tails[i]) <= a->high + 0.01)
                put_tick(out, a, is_x, tails[i]);
    }
}

static void put_line(struct buf *out, const struct plot *p, const struct axis *x, const struct axis *y,
                     size_t i)
{
    const struct plot_line *line = &p->lines[i];
    const char *colour = colours[i % ARRAY_LEN(colours)];
    size_t step = MIN((size_t)LEGEND_STEP, (WIDTH - LEFT) / p->n_lines);
    buf_printf(out, "<polyline fill='none' stroke='%s' stroke-width='1.6' points='", colour);
    for (size_t k = 0; k < line->n; k++)
        if (is_drawn(x->scale, line->points[k].x) && is_drawn(y->scale, line->points[k].y))
            buf_printf(out, "%.1f,%.1f ", place(x, line->points[k].x), place(y, line->points[k].y));
    buf_printf(out, "'/>\n<rect x='%zu' y='%d' width='10' height='10' fill='%s'/><text x='%zu' y='%d'>",
               LEFT + i * step, HEIGHT - 13, colour, LEFT + i * step + 14, HEIGHT - 4);
    plot_put_text(out, span_of(line->name));
    buf_put_lit(out, "</text>\n");
}

void plot_put(struct buf *out, const struct plot *p)
{
    struct axis x = fit(p, true), y = fit(p, false);
    buf_printf(out, "<svg viewBox='0 0 %d %d' width='%d' height='%d' role='img'>\n<title>", WIDTH, HEIGHT,
               WIDTH, HEIGHT);
    plot_put_text(out, span_of(p->title));
    buf_printf(out, "</title>\n<text x='%d' y='14' class='title'>", LEFT);
    plot_put_text(out, span_of(p->title));
    buf_printf(out, "</text><text x='4' y='14'>%s</text><text x='%d' y='%d' text-anchor='end'>%s</text>\n",
               p->y_unit, WIDTH - RIGHT, HEIGHT - BOTTOM + 26, p->x_unit);
    put_ticks(out, &x, true);
    put_ticks(out, &y, false);
    for (size_t i = 0; i < p->n_marks; i++) {
        double at = place(&x, p->marks[i].x);
        buf_printf(
            out,
            "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='mark'/><text x='%.1f' y='%zu' class='mark'>",
            at, at, TOP, HEIGHT - BOTTOM, at + 3, TOP + 10 + i % 3 * 12);
        plot_put_text(out, p->marks[i].text);
        buf_put_lit(out, "</text>\n");
    }
    for (size_t i = 0; i < p->n_lines; i++)
        put_line(out, p, &x, &y, i);
    buf_put_lit(out, "</svg>\n");
}
