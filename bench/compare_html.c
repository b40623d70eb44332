#include "bench/compare.h"

#include <math.h>
#include <stdio.h>

#include "bench/plot.h"
#include "common/check.h"

enum { CURVE_POINTS = 120, NAME_BYTES = 48 };

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>shield-bench compare</title>\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    "body{font:14px/1.45 system-ui,sans-serif;margin:1.5em auto;max-width:1300px;padding:0 1em;color:#222}\n"
    "h2{margin:1.6em 0 .2em;border-top:1px solid #ccc;padding-top:.8em}\n"
    "pre{background:#f6f6f6;padding:.8em;overflow-x:auto;font-size:12px}\n"
    ".plots{display:flex;flex-wrap:wrap;gap:8px}\nsvg{max-width:100%;height:auto}\n"
    "svg text{font:11px system-ui,sans-serif;fill:#444}\nsvg "
    ".title{font-weight:600;font-size:12px;fill:#222}\n"
    "svg .grid{stroke:#e3e3e3}\nsvg line.mark{stroke:#b00;stroke-dasharray:3 3}\nsvg "
    "text.mark{fill:#b00;font-size:10px}\n"
    "</style></head><body>\n<h1>shield-bench compare</h1>\n";

void compare_html_begin(struct buf *out)
{
    buf_put(out, head, sizeof head - 1);
}

void compare_html_end(struct buf *out)
{
    buf_put_lit(out, "</body></html>\n");
}

/* ---- rates over time */

/* Requests a second between neighbouring samples, told at the later one; below one they are drawn as one,
 * which is the bottom of a logarithmic scale. */
static size_t rates(const struct witness *r, bool of_origin, struct plot_point *out)
{
    size_t n = 0;
    for (uint32_t i = 1; i < r->n_samples; i++) {
        const struct witness_sample *a = &r->samples[i - 1], *b = &r->samples[i];
        uint64_t done = of_origin ? b->fetches - a->fetches : b->answers - a->answers;
        if (b->at_ms > a->at_ms)
            out[n++] =
                (struct plot_point){b->at_ms / 1000.0, fmax(1, (double)done * 1000 / (b->at_ms - a->at_ms))};
    }
    return n;
}

static size_t marks(const struct scenario *s, struct plot_mark *out)
{
    static const char *const names[] = {[EVENT_ORIGIN] = "origin",
                                        [EVENT_REFUSE] = "refuse",
                                        [EVENT_PURGE] = "purge",
                                        [EVENT_RESTART] = "restart"};
    for (uint32_t i = 0; i < s->n_events; i++) {
        struct span rest = s->events[i].rest;
        out[i].x = (double)s->events[i].at_ms / 1000;
        out[i].text = rest.len > 0 && rest.len < NAME_BYTES ? rest : span_of(names[s->events[i].what]);
    }
    return s->n_events;
}

static void put_rates(struct buf *out, const struct scenario *s, const struct compare_seat *seat)
{
    static struct plot_point client[WITNESS_SAMPLES_MAX], origin[WITNESS_SAMPLES_MAX];
    struct plot_mark events[SCENARIO_EVENTS_MAX];
    const struct plot_line lines[] = {{"client rate", client, rates(&seat->result->origin, false, client)},
                                      {"origin rate", origin, rates(&seat->result->origin, true, origin)}};
    char title[NAME_BYTES + 32];
    snprintf(title, sizeof title, "%s: clients against origin", seat->peer.name);
    const struct plot p = {.title = title,
                           .x_unit = "seconds",
                           .y_unit = "1/s",
                           .y_scale = PLOT_LOG,
                           .lines = lines,
                           .n_lines = ARRAY_LEN(lines),
                           .marks = events,
                           .n_marks = marks(s, events)};
    plot_put(out, &p);
}

/* ---- latency by percentile */

static size_t curve(const struct hist *h, struct plot_point *out)
{
    uint64_t total = atomic_load(&h->total);
    size_t n = 0;
    for (size_t i = 0; i < CURVE_POINTS && total > 0; i++) {
        double tail = 5.0 * (double)i / CURVE_POINTS, percent = 100 * (1 - pow(10, -tail));
        if (i > 0 && (double)total * (1 - percent / 100) < 1)
            break;
        out[n++] = (struct plot_point){percent, (double)hist_percentile(h, percent) / 1000};
    }
    return n;
}

static void put_latencies(struct buf *out, const struct compare *c, bool last, const char *title)
{
    static struct plot_point points[COMPARE_SEATS_MAX][CURVE_POINTS];
    struct plot_line lines[COMPARE_SEATS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct edges_report *e = &c->seats[i].result->edges;
        if (c->seats[i].left_out != NULL)
            continue;
        lines[n] = (struct plot_line){c->seats[i].peer.name, points[n],
                                      curve(last ? &e->last_us : &e->first_us, points[n])};
        n++;
    }
    const struct plot p = {.title = title,
                           .x_unit = "percentile",
                           .y_unit = "ms",
                           .x_scale = PLOT_TAIL,
                           .y_scale = PLOT_LOG,
                           .lines = lines,
                           .n_lines = n};
    plot_put(out, &p);
}

void compare_html_scenario(struct buf *out, const struct compare *c, const struct scenario *s,
                           struct span table)
{
    buf_put_lit(out, "<h2>");
    plot_put_text(out, s->name);
    buf_put_lit(out, "</h2>\n<pre>");
    plot_put_text(out, span_trim(table));
    buf_put_lit(out, "</pre>\n<div class=\"plots\">\n");
    put_latencies(out, c, true, "last byte");
    put_latencies(out, c, false, "first byte");
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].left_out == NULL)
            put_rates(out, s, &c->seats[i]);
    buf_put_lit(out, "</div>\n<details><summary>scenario</summary><pre>");
    plot_put_text(out, buf_span(&s->text));
    buf_put_lit(out, "</pre></details>\n");
}
