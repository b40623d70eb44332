#include "bench/compare.h"

#include <stdio.h>

#include "bench/html.h"
#include "common/check.h"

enum { NAME_BYTES = 64 };

/* ---- over all peers; each has its colour in the whole page */

static size_t histogram(const struct edges_report *e, size_t at, const struct hist **out)
{
    *out = (const struct hist *)((const char *)e + at);
    return atomic_load(&(*out)->total);
}

static void put_times(struct buf *out, const struct compare *c, const char *title, size_t at)
{
    struct html_curve curves[COMPARE_SEATS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct compare_seat *seat = &c->seats[i];
        const struct hist *h;
        if (seat->left_out == NULL && histogram(&seat->result->edges, at, &h) > 0)
            curves[n++] = (struct html_curve){seat->peer.name, h, (unsigned)i};
    }
    html_put_curves(out, title, curves, n);
}

static void put_collapse(struct buf *out, const struct compare *c)
{
    struct plot_bar bars[COMPARE_SEATS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct compare_seat *seat = &c->seats[i];
        if (seat->left_out == NULL && seat->result->origin.fetches > 0)
            bars[n++] = (struct plot_bar){
                seat->peer.name, witness_collapse(&seat->result->origin, &seat->result->edges), (unsigned)i};
    }
    if (n > 0)
        plot_put_bars(out, "collapse factor: good answers for each fetch", bars, n);
}

/* ---- of one peer */

/* An event has the length that it was told to have, or took. */
static size_t marks(const struct scenario *s, const struct play_result *r, struct buf *texts,
                    struct plot_mark *out)
{
    size_t from[SCENARIO_EVENTS_MAX + 1] = {0};
    for (uint32_t i = 0; i < r->n_events; i++) {
        buf_printf(texts, "%s %.*s", scenario_event_name(s->events[i].what), SPAN_FMT(s->events[i].rest));
        from[i + 1] = texts->len;
    }
    for (uint32_t i = 0; i < r->n_events && !texts->failed; i++) {
        uint64_t length_ms = MAX(r->events[i].took_ms, s->events[i].length_ms);
        out[i] = (struct plot_mark){.x = (double)r->events[i].at_ms / 1000,
                                    .to = (double)(r->events[i].at_ms + length_ms) / 1000,
                                    .text = {texts->p + from[i], from[i + 1] - from[i]}};
    }
    return texts->failed ? 0 : r->n_events;
}

static void put_rates(struct buf *out, const struct scenario *s, const struct compare_seat *seat)
{
    struct plot_mark events[SCENARIO_EVENTS_MAX];
    struct buf texts = {0};
    char title[NAME_BYTES];
    size_t n = marks(s, seat->result, &texts, events);
    snprintf(title, sizeof title, "%s: clients against origin", seat->peer.name);
    html_put_rates(out, title, &seat->result->origin, events, n);
    buf_fini(&texts);
}

void compare_html_scenario(struct buf *out, const struct compare *c, const struct scenario *s,
                           struct span table)
{
    html_put_heading(out, s->name);
    html_put_table(out, table);
    html_begin_plots(out);
    put_times(out, c, "last byte", offsetof(struct edges_report, last_us));
    put_times(out, c, "first byte", offsetof(struct edges_report, first_us));
    put_collapse(out, c);
    put_times(out, c, "waiters' first byte, later than the leader's",
              offsetof(struct edges_report, wait_first_us));
    put_times(out, c, "waiters' last byte, later than the leader's",
              offsetof(struct edges_report, wait_last_us));
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].left_out == NULL)
            put_rates(out, s, &c->seats[i]);
    html_end_plots(out);
    buf_put_lit(out, "<details><summary>the scenario</summary>\n");
    html_put_table(out, buf_span(&s->text));
    buf_put_lit(out, "</details>\n");
}
