#include "bench/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/json.h"
#include "bench/report.h"
#include "common/check.h"

/* ---- figures */

static double per_epoch(const struct play_result *r)
{
    return r->origin.epochs > 0 ? (double)r->origin.epoch_fetches / (double)r->origin.epochs : 0;
}

static double cpu_per_request(const struct play_result *r)
{
    return r->edges.finished > 0 ? (double)r->cpu_us / (double)r->edges.finished : 0;
}

/* Good answers for each fetch. */
static double collapse(const struct play_result *r)
{
    return r->origin.fetches > 0 ? (double)r->edges.errors[EDGE_OK] / (double)r->origin.fetches : 0;
}

static uint64_t wait_over_leader_us(const struct play_result *r)
{
    uint64_t first = hist_percentile(&r->edges.last_us, 0), p99 = hist_percentile(&r->edges.last_us, 99);
    return p99 > first ? p99 - first : 0;
}

/* ---- gates */

static bool gate_epochs(const struct scenario *s, const struct play_result *r)
{
    return s->fetches_per_epoch < 0 || per_epoch(r) <= s->fetches_per_epoch;
}

static bool gate_failed(const struct scenario *s, const struct play_result *r)
{
    return s->max_failed < 0 || (double)edges_failed(&r->edges) <= s->max_failed;
}

static bool gate_p99(const struct scenario *s, const struct play_result *r)
{
    return s->p99_ms == 0 || hist_percentile(&r->edges.last_us, 99) <= s->p99_ms * 1000;
}

static bool gate_events(const struct scenario *s, const struct play_result *r)
{
    return r->trouble == NULL;
}

static const struct {
    const char *name;
    bool (*holds)(const struct scenario *s, const struct play_result *r);
} gates[] = {
    {"fetches-per-epoch", gate_epochs},
    {"failed", gate_failed},
    {"p99", gate_p99},
    {"events", gate_events},
};

bool compare_gates_hold(const struct scenario *s, const struct play_result *r)
{
    bool holds = true;
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        holds &= gates[i].holds(s, r);
    return holds;
}

/* ---- the table */

static void put_time(struct buf *out, uint64_t us, int width)
{
    struct buf cell = {0};
    report_put_time(&cell, us);
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
        buf_printf(out, " %9.2f %6" PRIu64, per_epoch(r), r->origin.epoch_fetches_max);
    else
        buf_printf(out, " %9s %6s", "-", "-");
    put_time(out, hist_percentile(&e->first_us, 50), 8);
    put_time(out, hist_percentile(&e->last_us, 50), 8);
    put_time(out, hist_percentile(&e->last_us, 99), 8);
    put_time(out, hist_percentile(&e->last_us, 100), 8);
    put_time(out, wait_over_leader_us(r), 8);
    buf_printf(out, " %9.1f", cpu_per_request(r));
    if (first->cpu_us > 0)
        buf_printf(out, " %6.2fx", cpu_per_request(r) / cpu_per_request(first));
    else
        buf_printf(out, " %7s", "-");
    buf_printf(out, " %7.1f\n", (double)r->rss_kb / 1024);
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
    if (r->streaming > 0)
        buf_printf(out, "    %s: the slowest client had half of the body after %.2fx the origin's time\n",
                   seat->peer.name, r->streaming);
    if (r->trouble != NULL)
        buf_printf(out, "    %s: an event could not be done: it %s\n", seat->peer.name, r->trouble);
    if (edges_bottleneck(&r->edges) != NULL)
        buf_printf(out, "    %s: BOTTLENECK: this tool itself: %s\n", seat->peer.name,
                   edges_bottleneck(&r->edges));
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        if (!gates[i].holds(s, r))
            buf_printf(out, "    %s: gate %s does not hold\n", seat->peer.name, gates[i].name);
}

static void put_table(struct buf *out, const struct compare *c, const struct scenario *s)
{
    const struct play_result *first = c->seats[0].result;
    buf_printf(out, "\n%.*s - %.*s\n", SPAN_FMT(s->name), SPAN_FMT(s->about));
    buf_printf(out, "  %-13s %9s %7s %8s %9s %6s %8s %8s %8s %8s %8s %9s %7s %7s\n", "", "requests", "failed",
               "fetches", "per epoch", "worst", "first", "p50", "p99", "max", "99-min", "CPU us/rq", "ratio",
               "MiB");
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].left_out == NULL)
            put_row(out, &c->seats[i], first);
        else
            buf_printf(out, "  %-13s left out: %s\n", c->seats[i].peer.name, c->seats[i].left_out);
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].left_out == NULL)
            put_notes(out, s, &c->seats[i]);
}

/* ---- JSON and CSV */

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
    buf_printf(out,
               ",\"origin\":{\"fetches\":%" PRIu64 ",\"not_modified\":%" PRIu64 ",\"body_bytes\":%" PRIu64
               ",\"running_max\":%" PRIu64 ",\"epochs\":%" PRIu64 ",\"epoch_fetches\":%" PRIu64
               ",\"epoch_fetches_max\":%" PRIu64 ",\"fetches_per_epoch\":%.4f,\"worst\":",
               r->origin.fetches, r->origin.not_modified, r->origin.body_bytes, r->origin.running_max,
               r->origin.epochs, r->origin.epoch_fetches, r->origin.epoch_fetches_max, per_epoch(r));
    json_put_text(out, span_of(r->origin.worst));
    buf_printf(out,
               "},\"collapse\":%.2f,\"streaming\":%.3f,\"cpu_us\":%" PRIu64
               ",\"cpu_us_per_request\":%.2f,\"rss_kb\":%" PRIu64 ",\"gates_hold\":%s,\n\"edges\":",
               collapse(r), r->streaming, r->cpu_us, cpu_per_request(r), r->rss_kb,
               compare_gates_hold(s, r) ? "true" : "false");
    const struct edges_config config = {.url = s->name, .verify = true, .seed = c->seed};
    report_put_json(out, &config, &r->edges);
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
        const struct edges_report *e = &r->edges;
        if (c->seats[i].left_out != NULL)
            continue;
        buf_printf(out,
                   "%.*s,%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.4f,%" PRIu64 ",%" PRIu64 ",%" PRIu64
                   ",%" PRIu64 ",%" PRIu64 ",%.2f,%" PRIu64 "\n",
                   SPAN_FMT(s->name), c->seats[i].peer.name, e->finished, edges_failed(e), r->origin.fetches,
                   per_epoch(r), r->origin.epoch_fetches_max, hist_percentile(&e->first_us, 50),
                   hist_percentile(&e->last_us, 50), hist_percentile(&e->last_us, 99),
                   hist_percentile(&e->last_us, 100), cpu_per_request(r), r->rss_kb);
    }
}

/* ---- the frame */

static void print(struct buf *text)
{
    fwrite(text->p, 1, text->len, stdout);
    fflush(stdout);
    buf_fini(text);
}

static void put_machine(struct buf *out)
{
    struct utsname u = {0};
    uname(&u);
    buf_printf(out, "%s %s %s, %ld processors", u.sysname, u.release, u.machine,
               sysconf(_SC_NPROCESSORS_ONLN));
}

static void put_intro(struct buf *out, const struct compare *c, struct span machine, const char *before)
{
    buf_printf(out, "%s%.*s; %" PRIu64 " workers, %" PRIu64 " round(s), seed %" PRIu64 "\n", before,
               SPAN_FMT(machine), c->workers, c->rounds, c->seed);
    for (size_t i = 0; i < c->n_seats; i++)
        if (c->seats[i].missing == NULL)
            buf_printf(out, "  %-13s %s\n", c->seats[i].peer.name, c->seats[i].peer.version);
}

void compare_begin(struct compare *c)
{
    struct buf out = {0}, machine = {0};
    put_machine(&machine);
    compare_html_begin(&c->page);
    put_intro(&c->page, c, buf_span(&machine), "<pre>");
    buf_put_lit(&c->page, "</pre>\n");
    if (c->output == COMPARE_JSON) {
        buf_put_lit(&out, "{\"schema\":\"shield-bench/compare/1\",\"machine\":");
        json_put_text(&out, buf_span(&machine));
        buf_printf(&out,
                   ",\"rounds\":%" PRIu64 ",\"workers\":%" PRIu64 ",\"seed\":%" PRIu64 ",\"scenarios\":[\n",
                   c->rounds, c->workers, c->seed);
    } else if (c->output == COMPARE_CSV) {
        buf_put_lit(&out,
                    "scenario,peer,requests,failed,fetches,fetches_per_epoch,epoch_fetches_max,first_p50_us,"
                    "last_p50_us,last_p99_us,last_max_us,cpu_us_per_request,rss_kb\n");
    } else {
        put_intro(&out, c, buf_span(&machine), "");
    }
    buf_fini(&machine);
    print(&out);
}

void compare_report(struct compare *c, const struct scenario *s)
{
    struct buf out = {0}, table = {0};
    put_table(&table, c, s);
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
}

static bool write_page(const struct compare *c)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.*s", SPAN_FMT(c->html));
    FILE *out = fopen(name, "we");
    bool holds = out != NULL && !c->page.failed && fwrite(c->page.p, 1, c->page.len, out) == c->page.len;
    if (out != NULL && fclose(out) != 0)
        holds = false;
    if (!holds)
        fprintf(stderr, "%s: cannot be written\n", name);
    return holds;
}

bool compare_end(struct compare *c)
{
    if (c->output == COMPARE_JSON)
        puts("]}");
    compare_html_end(&c->page);
    bool holds = c->html.len == 0 || write_page(c);
    buf_fini(&c->page);
    return holds;
}
