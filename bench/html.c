#include "bench/html.h"

#include <math.h>

#include "common/check.h"

enum { CURVE_POINTS = 120 };

/* Colours can be told apart by the colour-blind too: Okabe and Ito, "Color universal design", 2008. In the
 * dark their yellow stands for their black. */
static const char style[] =
    ":root{--paper:#fff;--text:#222;--soft:#555;--grid:#e3e3e3;--box:#f6f6f6;--mark:#b00;\n"
    "--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e69f00;--c5:#222;--c6:#56b4e9;--c7:#999}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#16181a;--text:#e4e4e4;--soft:#aaa;--grid:#33373a;\n"
    "--box:#1f2225;--mark:#ff7b72;--c0:#4aa3df;--c5:#f0e442;--c6:#e4e4e4}}\n"
    "body{font:14px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:1420px;padding:0 12px;\n"
    "background:var(--paper);color:var(--text);color-scheme:light dark}\n"
    "h2{margin:1.6em 0 .4em;border-top:1px solid var(--grid);padding-top:.8em}\n"
    "pre{background:var(--box);padding:.8em;overflow-x:auto;font:12px/1.4 ui-monospace,monospace}\n"
    ".plots{display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start}\n"
    "svg{max-width:100%;height:auto}\n"
    "svg text{font:12px system-ui,sans-serif;fill:var(--soft)}\n"
    "svg .title{font-weight:600;font-size:13px;fill:var(--text)}\n"
    "svg .grid{stroke:var(--grid)}\n"
    "svg line.mark{stroke:var(--mark);stroke-dasharray:3 3}\n"
    "svg rect.mark{fill:var(--mark);opacity:.12}\n"
    "svg text.mark{fill:var(--mark);font-size:11px}\n"
    "svg polyline{fill:none;stroke-width:1.7;stroke-linejoin:round}\n";

void html_begin(struct buf *out, const char *title)
{
    buf_put_lit(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    plot_put_text(out, span_of(title));
    buf_put_lit(out, "</title>\n<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n");
    buf_put(out, style, sizeof style - 1);
    for (int i = 0; i < PLOT_COLOURS; i++)
        buf_printf(out, "polyline.c%d{stroke:var(--c%d)}rect.c%d,circle.c%d{fill:var(--c%d)}\n", i, i, i, i,
                   i);
    buf_put_lit(out, "</style></head><body>\n<h1>");
    plot_put_text(out, span_of(title));
    buf_put_lit(out, "</h1>\n");
}

void html_end(struct buf *out)
{
    buf_put_lit(out, "</body></html>\n");
}

void html_put_heading(struct buf *out, struct span text)
{
    buf_put_lit(out, "<h2>");
    plot_put_text(out, text);
    buf_put_lit(out, "</h2>\n");
}

void html_put_table(struct buf *out, struct span text)
{
    buf_put_lit(out, "<pre>");
    plot_put_text(out, span_trim(text));
    buf_put_lit(out, "</pre>\n");
}

void html_begin_plots(struct buf *out)
{
    buf_put_lit(out, "<div class=\"plots\">\n");
}

void html_end_plots(struct buf *out)
{
    buf_put_lit(out, "</div>\n");
}

/* ---- times by percentile */

/* Up to the percentile that one value stands for. A logarithmic scale has no 0: that is drawn as a
 * microsecond. */
static size_t curve(const struct hist *h, struct plot_point *out)
{
    uint64_t total = atomic_load(&h->total);
    size_t n = 0;
    for (size_t i = 0; i < CURVE_POINTS && total > 0; i++) {
        double tail = 5.0 * (double)i / CURVE_POINTS, percent = 100 * (1 - pow(10, -tail));
        if (i > 0 && (double)total * (1 - percent / 100) < 1)
            break;
        out[n++] = (struct plot_point){percent, fmax((double)hist_percentile(h, percent), 1) / 1000};
    }
    return n;
}

void html_put_curves(struct buf *out, const char *title, const struct html_curve *curves, size_t n)
{
    static struct plot_point points[HTML_CURVES_MAX][CURVE_POINTS];
    struct plot_line lines[HTML_CURVES_MAX];
    size_t n_lines = 0;
    REQUIRE(n <= HTML_CURVES_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t n_points = curve(curves[i].us, points[i]);
        if (n_points > 0)
            lines[n_lines++] = (struct plot_line){curves[i].name, points[i], n_points, curves[i].colour};
    }
    const struct plot p = {.title = title,
                           .x_unit = "percentile",
                           .y_unit = "ms",
                           .x_scale = PLOT_TAIL,
                           .y_scale = PLOT_LOG,
                           .lines = lines,
                           .n_lines = n_lines};
    if (n_lines > 0)
        plot_put(out, &p);
}

/* ---- rates over time */

/* Requests a second between neighbouring samples, as steps: where an origin could not be asked, a step is
 * long. Below one they are drawn as one, which is the bottom of a logarithmic scale. */
static size_t rates(const struct witness *w, bool of_origin, struct plot_point *out)
{
    size_t n = 0;
    for (uint32_t i = 1; i < w->samples.n; i++) {
        const struct witness_sample *a = &w->samples.at[i - 1], *b = &w->samples.at[i];
        uint64_t done = of_origin ? b->fetches - a->fetches : b->answers - a->answers;
        double length_s = (double)(b->at_ms - a->at_ms) / 1000 * MAX(w->rounds, 1u);
        if (b->at_ms <= a->at_ms)
            continue;
        out[n++] = (struct plot_point){a->at_ms / 1000.0, fmax(1, (double)done / length_s)};
        out[n] = out[n - 1];
        out[n++].x = b->at_ms / 1000.0;
    }
    return n;
}

void html_put_rates(struct buf *out, const char *title, const struct witness *w,
                    const struct plot_mark *marks, size_t n_marks)
{
    static struct plot_point client[2 * WITNESS_SAMPLES_MAX], origin[2 * WITNESS_SAMPLES_MAX];
    const struct plot_line lines[] = {{"clients", client, rates(w, false, client), 0},
                                      {"origin", origin, rates(w, true, origin), 1}};
    const struct plot p = {.title = title,
                           .x_unit = "seconds",
                           .y_unit = "1/s",
                           .y_scale = PLOT_LOG,
                           .lines = lines,
                           .n_lines = ARRAY_LEN(lines),
                           .marks = marks,
                           .n_marks = n_marks};
    if (lines[0].n > 0)
        plot_put(out, &p);
}
