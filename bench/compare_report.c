#include "bench/compare.h"

#include <inttypes.h>
#include <stdio.h>

#include "bench/hdr.h"
#include "bench/html.h"
#include "bench/json.h"
#include "bench/report.h"
#include "common/check.h"
#include "common/clock.h"

/* ---- figures */

static double cpu_per_request(const struct play_result *r)
{
    return r->edges.finished > 0 ? (double)r->cpu_us / (double)r->edges.finished : 0;
}

/* ---- gates */

enum { N_GATES = 5 };

struct gate {
    const char *name, *unit;
    double is, most; /* most < 0: the scenario has no such gate */
};

static void gates_of(const struct scenario *s, const struct play_result *r, struct gate out[N_GATES])
{
    double p99_ms = (double)hist_percentile(&r->edges.last_us, 99) / 1000;
    const struct gate gates[N_GATES] = {
        {"fetches-per-epoch", "", witness_per_epoch(&r->origin), s->fetches_per_epoch},
        {"fetches", "", (double)r->origin.fetches, s->max_fetches},
        {"failed", "", (double)edges_failed(&r->edges), s->max_failed},
        {"wrong", "", (double)edges_wrong(&r->edges), s->max_wrong},
        {"p99", " ms", p99_ms, s->p99_ms > 0 ? (double)s->p99_ms : -1},
    };
    memcpy(out, gates, sizeof gates);
}

static bool gate_holds(const struct gate *g)
{
    return g->most < 0 || g->is <= g->most;
}

bool compare_gates_hold(const struct scenario *s, const struct play_result *r)
{
    struct gate gates[N_GATES];
    bool holds = r->trouble == NULL;
    gates_of(s, r, gates);
    for (int i = 0; i < N_GATES; i++)
        holds &= gate_holds(&gates[i]);
    return holds;
}

static void put_gates(struct buf *out, const struct scenario *s, const struct compare_seat *seat)
{
    struct gate gates[N_GATES];
    gates_of(s, seat->result, gates);
    for (int i = 0; i < N_GATES; i++)
        if (!gate_holds(&gates[i]))
            buf_printf(out, "    %s: gate %s does not hold: %.6g%s, at most %.6g%s\n", seat->peer.name,
                       gates[i].name, gates[i].is, gates[i].unit, gates[i].most, gates[i].unit);
}

/* ---- the table */

/* Nothing was measured: no time, not one of zero. */
static void put_time(struct buf *out, const struct hist *h, double percent)
{
    const int width = 8;
    struct buf cell = {0};
    if (atomic_load(&h->total) > 0)
        report_put_time(&cell, hist_percentile(h, percent));
    else
        buf_put_lit(&cell, "-");
    buf_printf(out, " %*.*s", width, SPAN_FMT(buf_span(&cell)));
    buf_fini(&cell);
}

static void put_row(struct buf *out, const struct compare_seat *seat, const struct play_result *first)
{
    const struct play_result *r = seat->result;
    const struct edges_report *e = &r->edges;
    buf_printf(out, "  %-13s %9" PRIu64 " %7" PRIu64 " %8" PRIu64, seat->peer.name, e->finished,
               edges_failed(e), r->origin.fetches);
    if (r->origin.epochs > 0)
        buf_printf(out, " %10.2f %6" PRIu64, witness_per_epoch(&r->origin), r->origin.epoch_fetches_max);
    else
        buf_printf(out, " %10s %6s", "-", "-");
    if (r->origin.fetches > 0)
        buf_printf(out, " %9.1f", witness_collapse(&r->origin, e));
    else
        buf_printf(out, " %9s", "-");
    put_time(out, &e->first_us, 50);
    put_time(out, &e->last_us, 50);
    put_time(out, &e->last_us, 99);
    put_time(out, &e->last_us, 100);
    buf_printf(out, " %9.1f", cpu_per_request(r));
    if (first->cpu_us > 0)
        buf_printf(out, " %6.2fx", cpu_per_request(r) / cpu_per_request(first));
    else
        buf_printf(out, " %7s", "-");
    buf_printf(out, " %7.1f\n", (double)r->rss_kb / 1024);
}

/* What took time is told with it: a restart until it accepts, a purge until its answer. */
static void put_events(struct buf *out, const struct scenario *s, const struct compare_seat *seat)
{
    const struct play_result *r = seat->result;
    for (uint32_t i = 0; i < r->n_events; i++) {
        buf_printf(out, "    %s: at %.2f s %s %.*s", seat->peer.name, (double)r->events[i].at_ms / 1000,
                   scenario_event_name(s->events[i].what), SPAN_FMT(s->events[i].rest));
        if (r->events[i].took_ms > 0)
            buf_printf(out, ", took %" PRIu64 " ms", r->events[i].took_ms);
        buf_put_lit(out, "\n");
    }
}

static void put_notes(struct buf *out, const struct scenario *s, const struct compare_seat *seat)
{
    const struct play_result *r = seat->result;
    for (int i = EDGE_OK + 1; i < EDGE_ERROR_COUNT; i++)
        if (r->edges.errors[i] > 0)
            buf_printf(out, "    %s: %" PRIu64 " x %s (%s)\n", seat->peer.name, r->edges.errors[i],
                       edge_error_name((enum edge_error)i), edge_error_text((enum edge_error)i));
    if (r->origin.worst[0] != '\0')
        buf_printf(out, "    %s: %" PRIu64 " fetches in one epoch of %s\n", seat->peer.name,
                   r->origin.epoch_fetches_max, r->origin.worst);
    if (r->origin.streaming > 0)
        buf_printf(out, "    %s: the slowest client had half of the body after %.2fx the origin's time\n",
                   seat->peer.name, r->origin.streaming);
    put_events(out, s, seat);
    if (r->trouble != NULL)
        buf_printf(out, "    %s: an event could not be done: it %s\n", seat->peer.name, r->trouble);
    if (edges_bottleneck(&r->edges) != NULL)
        buf_printf(out, "    %s: BOTTLENECK: this tool itself: %s\n", seat->peer.name,
                   edges_bottleneck(&r->edges));
    put_gates(out, s, seat);
}

static void put_wait_cells(struct buf *out, const struct hist *h)
{
    static const double percents[] = {50, 99, 99.9, 100};
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        put_time(out, h, percents[i]);
}

/* What it cost to be one who waits. */
static void put_waits(struct buf *out, const struct compare *c)
{
    bool has_head = false;
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct edges_report *e = &c->seats[i].result->edges;
        if (c->seats[i].left_out != NULL || atomic_load(&e->wait_last_us.total) == 0)
            continue;
        if (!has_head)
            buf_printf(out,
                       "  waiters, later than their leader\n  %-13s %9s %8s %8s %8s %8s %10s %8s %8s %8s\n",
                       "", "waiters", "first p50", "p99", "p99.9", "max", "last p50", "p99", "p99.9", "max");
        has_head = true;
        buf_printf(out, "  %-13s %9" PRIu64 " ", c->seats[i].peer.name, atomic_load(&e->wait_last_us.total));
        put_wait_cells(out, &e->wait_first_us);
        buf_put_lit(out, "  ");
        put_wait_cells(out, &e->wait_last_us);
        buf_put_lit(out, "\n");
    }
}

static void put_rates(struct buf *out, const struct compare *c)
{
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct witness *w = &c->seats[i].result->origin;
        char indent[48];
        if (c->seats[i].left_out != NULL || w->samples.n < 3)
            continue;
        snprintf(indent, sizeof indent, "  %-13s ", c->seats[i].peer.name);
        witness_put_rates(out, w, indent);
    }
}

static void put_table(struct buf *out, const struct compare *c, const struct scenario *s)
{
    const struct play_result *first = c->seats[0].result; /* of those that play */
    for (size_t i = 0; i + 1 < c->n_seats && c->seats[i].left_out != NULL; i++)
        first = c->seats[i + 1].result;
    buf_printf(out, "\n%.*s - %.*s\n", SPAN_FMT(s->name), SPAN_FMT(s->about));
    buf_printf(out, "  %-13s %9s %7s %8s %10s %6s %9s %8s %8s %8s %8s %9s %7s %7s\n", "", "requests",
               "failed", "fetches", "per epoch", "worst", "collapse", "first", "p50", "p99", "max",
               "CPU us/rq", "ratio", "MiB");
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].left_out == NULL)
            put_row(out, &c->seats[i], first);
        else
            buf_printf(out, "  %-13s left out: %s\n", c->seats[i].peer.name, c->seats[i].left_out);
    put_waits(out, c);
    put_rates(out, c);
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].left_out == NULL)
            put_notes(out, s, &c->seats[i]);
}

/* ---- JSON and CSV */

static void put_json_events(struct buf *out, const struct scenario *s, const struct play_result *r)
{
    buf_put_lit(out, ",\"events\":[");
    for (uint32_t i = 0; i < r->n_events; i++) {
        buf_printf(out, "%s{\"what\":\"%s\",\"of\":", i > 0 ? "," : "",
                   scenario_event_name(s->events[i].what));
        json_put_text(out, s->events[i].rest);
        buf_printf(out, ",\"at_ms\":%" PRIu64 ",\"took_ms\":%" PRIu64 "}", r->events[i].at_ms,
                   r->events[i].took_ms);
    }
    buf_put_lit(out, "]");
}

static void put_json_seat(struct buf *out, const struct compare *c, const struct scenario *s,
                          const struct compare_seat *seat)
{
    const struct play_result *r = seat->result;
    buf_put_lit(out, "{\"peer\":");
    json_put_text(out, span_of(seat->peer.name));
    buf_put_lit(out, ",\"version\":");
    json_put_text(out, span_of(seat->peer.version));
    if (seat->left_out != NULL) {
        buf_put_lit(out, ",\"left_out\":");
        json_put_text(out, span_of(seat->left_out));
        buf_put_lit(out, "}");
        return;
    }
    buf_put_lit(out, ",");
    witness_put_json(out, &r->origin, &r->edges);
    put_json_events(out, s, r);
    buf_printf(out,
               ",\"cpu_us\":%" PRIu64 ",\"cpu_us_per_request\":%.2f,\"rss_kb\":%" PRIu64
               ",\"gates_hold\":%s,\n\"edges\":",
               r->cpu_us, cpu_per_request(r), r->rss_kb, compare_gates_hold(s, r) ? "true" : "false");
    struct edges_config config = r->load;
    config.url = s->name;
    report_put_json(out, &config, &r->edges, NULL);
    buf_put_lit(out, "}");
}

static void put_json(struct buf *out, const struct compare *c, const struct scenario *s)
{
    buf_printf(out, "%s{\"scenario\":", c->has_reported ? ",\n" : "");
    json_put_text(out, s->name);
    buf_put_lit(out, ",\"text\":");
    json_put_text(out, buf_span(&s->text));
    buf_put_lit(out, ",\"peers\":[\n");
    for (size_t i = 0; i < c->n_seats; i++) {
        put_json_seat(out, c, s, &c->seats[i]);
        buf_printf(out, "%s", i + 1 < c->n_seats ? ",\n" : "]}");
    }
}

static void put_csv(struct buf *out, const struct compare *c, const struct scenario *s)
{
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct play_result *r = c->seats[i].result;
        if (c->seats[i].left_out != NULL)
            continue;
        buf_printf(out, "%.*s,%s,", SPAN_FMT(s->name), c->seats[i].peer.name);
        report_put_csv(out, &r->edges, &r->origin);
        buf_printf(out, ",%.2f,%" PRIu64 ",%d\n", cpu_per_request(r), r->rss_kb, compare_gates_hold(s, r));
    }
}

/* ---- the frame */

static void print(struct buf *text)
{
    fwrite(text->p, 1, text->len, stdout);
    fflush(stdout);
    buf_fini(text);
}

static void put_intro(struct buf *out, const struct compare *c, struct span machine)
{
    buf_printf(out, "%.*s; %" PRIu64 " workers, %" PRIu64 " round(s), seed %" PRIu64 "\n", SPAN_FMT(machine),
               c->workers, c->rounds, c->seed);
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].missing == NULL)
            buf_printf(out, "  %-13s %s\n", c->seats[i].peer.name, c->seats[i].peer.version);
}

/* All that there is so far, each time anew: who interrupts us has the scenarios before. */
static bool write_files(const struct compare *c)
{
    struct buf page = {0};
    buf_put_span(&page, buf_span(&c->page));
    html_end(&page);
    page.failed |= c->page.failed;
    bool holds = c->html.len == 0 || report_write(c->html, &page);
    holds &= c->hdr.len == 0 || report_write(c->hdr, &c->hdr_log);
    buf_fini(&page);
    return holds;
}

bool compare_begin(struct compare *c)
{
    struct buf out = {0}, machine = {0};
    report_put_machine(&machine);
    hdr_put_head(&c->hdr_log, (double)clock_wall_ms() / 1e3);
    html_begin(&c->page, "shield-bench compare");
    put_intro(&out, c, buf_span(&machine));
    html_put_table(&c->page, buf_span(&out));
    if (c->output != COMPARE_TABLE)
        out.len = 0;
    if (c->output == COMPARE_JSON) {
        buf_put_lit(&out, "{\"schema\":\"shield-bench/compare/1\",\"machine\":");
        json_put_text(&out, buf_span(&machine));
        buf_printf(&out,
                   ",\"rounds\":%" PRIu64 ",\"workers\":%" PRIu64 ",\"seed\":%" PRIu64 ",\"scenarios\":[\n",
                   c->rounds, c->workers, c->seed);
    } else if (c->output == COMPARE_CSV) {
        buf_put_lit(&out, "scenario,peer,");
        report_put_csv_head(&out);
        buf_put_lit(&out, ",cpu_us_per_request,rss_kb,gates_hold\n");
    }
    buf_fini(&machine);
    if (!write_files(c)) {
        buf_fini(&out);
        return false;
    }
    print(&out);
    return true;
}

/* Tags are SCENARIO.PEER.first_byte and .last_byte. */
static void put_hdr(struct compare *c, const struct scenario *s)
{
    for (size_t i = 0; i < c->n_seats; i++) {
        const struct edges_report *e = &c->seats[i].result->edges;
        char tag[256];
        if (c->seats[i].left_out != NULL)
            continue;
        double length_s = (double)e->elapsed_us / 1e6;
        snprintf(tag, sizeof tag, "%.*s.%s.first_byte", SPAN_FMT(s->name), c->seats[i].peer.name);
        hdr_put_interval(&c->hdr_log, tag, length_s, &e->first_us);
        snprintf(tag, sizeof tag, "%.*s.%s.last_byte", SPAN_FMT(s->name), c->seats[i].peer.name);
        hdr_put_interval(&c->hdr_log, tag, length_s, &e->last_us);
    }
}

bool compare_report(struct compare *c, const struct scenario *s)
{
    struct buf out = {0}, table = {0};
    put_table(&table, c, s);
    put_hdr(c, s);
    compare_html_scenario(&c->page, c, s, buf_span(&table));
    if (c->output == COMPARE_JSON)
        put_json(&out, c, s);
    else if (c->output == COMPARE_CSV)
        put_csv(&out, c, s);
    else
        buf_put_span(&out, buf_span(&table));
    buf_fini(&table);
    c->has_reported = true;
    print(&out);
    return write_files(c);
}

void compare_end(struct compare *c)
{
    if (c->output == COMPARE_JSON)
        puts("]}");
    buf_fini(&c->page);
    buf_fini(&c->hdr_log);
}
