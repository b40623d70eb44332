#include "bench/plot.h"

#include <math.h>

#include "common/check.h"

enum {
    WIDTH = 450, /* on a narrow screen it is not made much smaller, and with it its text */
    HEIGHT = 240,
    LEFT = 52,
    RIGHT = 14,
    TOP = 30,
    BOTTOM = 40,
    TICKS = 5,
    LETTER_TENTHS = 64, /* of the legend, in a wide font */
    LEGEND_LEFT = 10,
    LEGEND_ROW = 17,
    BAR_ROW = 24,
    BAR_LEFT = 105,
    BAR_NUMBER = 70,
};

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
        for (double power = a->low; power <= a->high + 0.01; power++) {
            put_tick(out, a, is_x, pow(10, power));
            for (int step = 2; step <= 5 && a->high - a->low <= 2 && power + 1 <= a->high + 0.01; step += 3)
                put_tick(out, a, is_x, step * pow(10, power));
        }
    } else {
        for (size_t i = 0; i < ARRAY_LEN(tails); i++)
            if (scaled(PLOT_TAIL, tails[i]) <= a->high + 0.01)
                put_tick(out, a, is_x, tails[i]);
    }
}

static void put_line(struct buf *out, const struct plot_line *line, const struct axis *x,
                     const struct axis *y)
{
    unsigned colour = line->colour % PLOT_COLOURS;
    if (line->n == 1 && is_drawn(x->scale, line->points[0].x) && is_drawn(y->scale, line->points[0].y))
        buf_printf(out, "<circle class='c%u' r='3' cx='%.1f' cy='%.1f'/>\n", colour,
                   place(x, line->points[0].x), place(y, line->points[0].y));
    buf_printf(out, "<polyline class='c%u' points='", colour);
    for (size_t k = 0; k < line->n; k++)
        if (is_drawn(x->scale, line->points[k].x) && is_drawn(y->scale, line->points[k].y))
            buf_printf(out, "%.1f,%.1f ", place(x, line->points[k].x), place(y, line->points[k].y));
    buf_put_lit(out, "'/>\n");
}

/* Names beside squares, in as many rows as they need below y; gives the height. Draws nothing without `out`.
 */
static int put_legend(struct buf *out, const struct plot *p, int y)
{
    int x = LEGEND_LEFT, rows = p->n_lines > 0;
    for (size_t i = 0; i < p->n_lines; i++) {
        int width = 14 + LETTER_TENTHS * (int)strlen(p->lines[i].name) / 10 + 8;
        if (x + width > WIDTH && x > LEGEND_LEFT) {
            x = LEGEND_LEFT;
            rows++;
        }
        int top = y + (rows - 1) * LEGEND_ROW;
        if (out != NULL) {
            buf_printf(out, "<rect x='%d' y='%d' width='10' height='10' class='c%u'/><text x='%d' y='%d'>", x,
                       top + 4, p->lines[i].colour % PLOT_COLOURS, x + 14, top + 13);
            plot_put_text(out, span_of(p->lines[i].name));
            buf_put_lit(out, "</text>\n");
        }
        x += width;
    }
    return rows * LEGEND_ROW;
}

static void put_frame(struct buf *out, int height, const char *title, int title_x)
{
    buf_printf(out, "<svg viewBox='0 0 %d %d' width='%d' height='%d' role='img'>\n<title>", WIDTH, height,
               WIDTH, height);
    plot_put_text(out, span_of(title));
    buf_printf(out, "</title>\n<text x='%d' y='16' class='title'>", title_x);
    plot_put_text(out, span_of(title));
    buf_put_lit(out, "</text>\n");
}

/* The text stands where there is more room, and lower for each mark, so that neighbours can be read. */
static void put_mark(struct buf *out, const struct plot_mark *m, const struct axis *x, size_t row)
{
    double at = place(x, m->x), to = fmin(place(x, fmax(m->to, m->x)), WIDTH - RIGHT);
    if (m->x > x->high) /* after the last sample */
        return;
    if (to - at >= 1)
        buf_printf(out, "<rect x='%.1f' y='%d' width='%.1f' height='%d' class='mark'/>", at, TOP, to - at,
                   HEIGHT - BOTTOM - TOP);
    bool is_right = at > LEFT + (WIDTH - LEFT) * 0.6;
    buf_printf(
        out, "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' class='mark'/><text x='%.1f' y='%zu' class='mark'%s>",
        at, at, TOP, HEIGHT - BOTTOM, is_right ? at - 3 : at + 3, TOP + 11 + row % 8 * 12,
        is_right ? " text-anchor='end'" : "");
    plot_put_text(out, m->text);
    buf_put_lit(out, "</text>\n");
}

void plot_put(struct buf *out, const struct plot *p)
{
    struct axis x = fit(p, true), y = fit(p, false);
    put_frame(out, HEIGHT + put_legend(NULL, p, 0), p->title, LEFT);
    buf_printf(
        out,
        "<text x='%d' y='16' text-anchor='end'>%s</text><text x='%d' y='%d' text-anchor='end'>%s</text>\n",
        LEFT - 5, p->y_unit, WIDTH - RIGHT, HEIGHT - BOTTOM + 30, p->x_unit);
    put_ticks(out, &x, true);
    put_ticks(out, &y, false);
    for (size_t i = 0; i < p->n_lines; i++)
        put_line(out, &p->lines[i], &x, &y);
    for (size_t i = 0; i < p->n_marks; i++)
        put_mark(out, &p->marks[i], &x, i);
    (void)put_legend(out, p, HEIGHT - 4);
    buf_put_lit(out, "</svg>\n");
}

void plot_put_bars(struct buf *out, const char *title, const struct plot_bar *bars, size_t n)
{
    double most = 0, room = WIDTH - BAR_LEFT - BAR_NUMBER;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, bars[i].value);
    put_frame(out, TOP + (int)n * BAR_ROW, title, LEGEND_LEFT);
    for (size_t i = 0; i < n; i++) {
        int y = TOP + (int)i * BAR_ROW;
        double width = most > 0 ? bars[i].value / most * room : 0;
        buf_printf(out, "<text x='%d' y='%d' text-anchor='end'>", BAR_LEFT - 6, y + 13);
        plot_put_text(out, span_of(bars[i].name));
        buf_printf(out,
                   "</text><rect x='%d' y='%d' width='%.1f' height='%d' class='c%u'/><text x='%.1f' "
                   "y='%d'>%.1f</text>\n",
                   BAR_LEFT, y, fmax(width, 1), BAR_ROW - 6, bars[i].colour % PLOT_COLOURS,
                   BAR_LEFT + width + 6, y + 13, bars[i].value);
    }
    buf_put_lit(out, "</svg>\n");
}
