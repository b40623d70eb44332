#include "bench/report.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/json.h"
#include "common/check.h"

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};

enum { N_PERCENTILES = sizeof percentiles / sizeof percentiles[0] };

void report_put_time(struct buf *out, uint64_t us)
{
    double v = (double)us;
    const char *unit = "us";
    if (us >= 1000000) {
        v /= 1e6;
        unit = "s";
    } else if (us >= 1000) {
        v /= 1e3;
        unit = "ms";
    }
    buf_printf(out, "%.*f %s", us < 1000 || v >= 100 ? 0 : v >= 10 ? 1 : 2, v, unit);
}

void report_put_machine(struct buf *out)
{
    struct utsname u = {0};
    uname(&u);
    buf_printf(out, "%s %s %s, %ld processors", u.sysname, u.release, u.machine,
               sysconf(_SC_NPROCESSORS_ONLN));
}

static double a_second(uint64_t n, uint64_t elapsed_us)
{
    return elapsed_us > 0 ? (double)n * 1e6 / (double)elapsed_us : 0;
}

static void put_time_row(struct buf *out, const char *name, const struct hist *h)
{
    buf_printf(out, "%-14s", name);
    for (int i = 0; i < N_PERCENTILES; i++) {
        struct buf cell = {0};
        if (atomic_load(&h->total) > 0)
            report_put_time(&cell, hist_percentile(h, percentiles[i].percent));
        else
            buf_put_lit(&cell, "-");
        buf_printf(out, " %11.*s", SPAN_FMT(buf_span(&cell)));
        buf_fini(&cell);
    }
    buf_put_lit(out, "\n");
}

static void put_statuses(struct buf *out, const struct edges_report *r)
{
    buf_put_lit(out, "status        ");
    for (unsigned status = 0; status < ARRAY_LEN(r->statuses); status++)
        if (r->statuses[status] > 0)
            buf_printf(out, " %u: %" PRIu64, status, r->statuses[status]);
    buf_put_lit(out, "\ncache-status  ");
    for (int i = 0; i < CACHE_COUNT; i++)
        if (r->caches[i] > 0)
            buf_printf(out, " %s: %" PRIu64 " (%.2f %%)", edge_cache_name((enum edge_cache)i), r->caches[i],
                       100.0 * (double)r->caches[i] / (double)r->finished);
    buf_put_lit(out, "\n");
}

static void put_errors(struct buf *out, const struct edges_report *r)
{
    for (int i = EDGE_OK + 1; i < EDGE_ERROR_COUNT; i++)
        if (r->errors[i] > 0)
            buf_printf(out, "error          %s: %" PRIu64 " (%s)\n", edge_error_name((enum edge_error)i),
                       r->errors[i], edge_error_text((enum edge_error)i));
}

/* The last byte for hits, for those who waited for another's fetch, for those whose fetch it was. */
static void put_class_rows(struct buf *out, const struct edges_report *r)
{
    size_t classes = 0;
    for (int i = 0; i < CACHE_COUNT; i++)
        classes += atomic_load(&r->by_cache_us[i].total) > 0;
    for (int i = 0; i < CACHE_COUNT && classes > 1; i++) {
        char name[32];
        snprintf(name, sizeof name, "  of %s", edge_cache_name((enum edge_cache)i));
        if (atomic_load(&r->by_cache_us[i].total) > 0)
            put_time_row(out, name, &r->by_cache_us[i]);
    }
}

/* What the others got later than the first of them is what it cost to wait. */
static void put_wait_rows(struct buf *out, const struct edges_report *r)
{
    put_time_row(out, "waiters' first", &r->wait_first_us);
    put_time_row(out, "waiters' last", &r->wait_last_us);
}

/* What the clients did on purpose, and an open loop's queue. */
static void put_habits(struct buf *out, const struct edges_config *config, const struct edges_report *r)
{
    if (config->slow > 0)
        buf_printf(out, "slow readers   %" PRIu64 " requests, not timed\n", r->slow);
    if (config->abort > 0)
        buf_printf(out, "aborted        %" PRIu64 " requests\n", r->aborted);
    if (r->skipped > 0)
        buf_printf(out, "targets        %" PRIu64 " lines skipped\n", r->skipped);
    if (r->waited > 0)
        buf_printf(out, "queued         %" PRIu64 " requests found no free connection when they were due\n",
                   r->waited);
}

void report_put_table(struct buf *out, const struct edges_config *config, const struct edges_report *r)
{
    buf_printf(out, "requests       %" PRIu64 ", %" PRIu64 " good%s, in ", r->finished, r->errors[EDGE_OK],
               config->verify ? " and verified" : "");
    report_put_time(out, r->elapsed_us);
    buf_printf(out, " over %" PRIu64 " connections\n", config->connections);
    buf_printf(out, "throughput     %.0f requests/s, %.1f MiB/s of content\n",
               a_second(r->finished, r->elapsed_us), a_second(r->body_bytes, r->elapsed_us) / 1048576);
    buf_printf(out, "%-14s", "");
    for (int i = 0; i < N_PERCENTILES; i++)
        buf_printf(out, " %11s", percentiles[i].name);
    buf_put_lit(out, "\n");
    put_time_row(out, "first byte", &r->first_us);
    if (config->verify)
        put_time_row(out, "half of it", &r->half_us);
    put_time_row(out, "last byte", &r->last_us);
    put_class_rows(out, r);
    if (atomic_load(&r->wait_last_us.total) > 0)
        put_wait_rows(out, r);
    if (edges_is_open_loop(config))
        put_time_row(out, "sent late", &r->late_us);
    put_statuses(out, r);
    put_habits(out, config, r);
    put_errors(out, r);
    buf_put_lit(out, "this tool      CPU ");
    report_put_time(out, r->cpu_us);
    if (config->stampede) {
        buf_put_lit(out, ", all requests sent within ");
        report_put_time(out, r->release_us);
    }
    buf_printf(out, ", busiest thread %" PRIu64 " %%", r->busiest_percent);
    if (r->resends > 0)
        buf_printf(out, ", %" PRIu64 " resent on a new connection", r->resends);
    buf_put_lit(out, "\n");
    if (edges_bottleneck(r) != NULL)
        buf_printf(out, "BOTTLENECK     this tool itself: %s\n", edges_bottleneck(r));
}

void report_put_witness(struct buf *out, const struct edges_report *r, const struct witness *w)
{
    buf_printf(out,
               "origin         %" PRIu64 " fetches (%" PRIu64 " not modified), at most %" PRIu64 " at a time",
               w->fetches, w->not_modified, w->running_max);
    if (w->fetches > 0)
        buf_printf(out, "; collapse factor %.1f\n", witness_collapse(w, r));
    else
        buf_put_lit(out, ": all came from a store, or this is not the origin of that proxy\n");
    if (w->epochs > 0)
        buf_printf(out,
                   "               %.2f for each of %" PRIu64 " freshness epochs, at worst %" PRIu64 "%s%s\n",
                   witness_per_epoch(w), w->epochs, w->epoch_fetches_max, w->worst[0] != '\0' ? " of " : "",
                   w->worst);
    if (w->streaming > 0)
        buf_printf(out,
                   "               the slowest client had half of the body after %.2fx the origin's time\n",
                   w->streaming);
    witness_put_rates(out, w, "rates  ");
}

static void put_hist(struct buf *out, const char *name, const struct hist *h)
{
    buf_printf(out, ",\n \"%s\":{", name);
    for (int i = 0; i < N_PERCENTILES; i++)
        buf_printf(out, "\"%s\":%" PRIu64 ",", percentiles[i].name,
                   hist_percentile(h, percentiles[i].percent));
    uint64_t total = atomic_load(&h->total);
    buf_printf(out, "\"mean\":%" PRIu64 ",\"count\":%" PRIu64 "}",
               total > 0 ? atomic_load(&h->sum) / total : 0, total);
}

void report_put_json(struct buf *out, const struct edges_config *config, const struct edges_report *r,
                     const struct witness *w)
{
    struct buf machine = {0};
    report_put_machine(&machine);
    buf_put_lit(out, "{\"schema\":\"shield-bench/run/1\",\n \"machine\":");
    json_put_text(out, buf_span(&machine));
    buf_fini(&machine);
    buf_put_lit(out, ",\"url\":");
    json_put_text(out, config->url);
    buf_printf(out,
               ",\"mode\":\"%s\",\"connections\":%" PRIu64 ",\"threads\":%" PRIu64 ",\"verified\":%s,\n"
               " \"requests\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"body_bytes\":%" PRIu64
               ",\"elapsed_us\":%" PRIu64
               ",\"requests_per_s\":%.1f,\"body_bytes_per_s\":%.0f,\n \"errors\":{",
               config->stampede             ? "stampede"
               : edges_is_open_loop(config) ? "open"
                                            : "closed",
               config->connections, config->threads, config->verify ? "true" : "false", r->finished,
               r->errors[EDGE_OK], r->body_bytes, r->elapsed_us, a_second(r->finished, r->elapsed_us),
               a_second(r->body_bytes, r->elapsed_us));
    for (int i = EDGE_OK + 1; i < EDGE_ERROR_COUNT; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i > EDGE_OK + 1 ? "," : "", edge_error_name((enum edge_error)i),
                   r->errors[i]);
    buf_put_lit(out, "},\n \"status\":{");
    const char *comma = "";
    for (unsigned i = 0; i < ARRAY_LEN(r->statuses); i++) {
        if (r->statuses[i] == 0)
            continue;
        buf_printf(out, "%s\"%u\":%" PRIu64, comma, i, r->statuses[i]);
        comma = ",";
    }
    buf_put_lit(out, "},\n \"cache\":{");
    for (int i = 0; i < CACHE_COUNT; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", edge_cache_name((enum edge_cache)i),
                   r->caches[i]);
    buf_put_lit(out, "}");
    put_hist(out, "first_byte_us", &r->first_us);
    put_hist(out, "half_us", &r->half_us);
    put_hist(out, "last_byte_us", &r->last_us);
    put_hist(out, "late_us", &r->late_us);
    if (atomic_load(&r->wait_last_us.total) > 0) {
        put_hist(out, "wait_first_us", &r->wait_first_us);
        put_hist(out, "wait_last_us", &r->wait_last_us);
    }
    for (int i = 0; i < CACHE_COUNT; i++) {
        char name[48];
        snprintf(name, sizeof name, "last_byte_us_of_%s", edge_cache_name((enum edge_cache)i));
        if (atomic_load(&r->by_cache_us[i].total) > 0)
            put_hist(out, name, &r->by_cache_us[i]);
    }
    buf_printf(out,
               ",\n \"aborted\":%" PRIu64 ",\"slow\":%" PRIu64 ",\"waited\":%" PRIu64 ",\"skipped\":%" PRIu64
               ",\"rate\":%.1f,\"seed\":%" PRIu64 ",\"busiest_percent\":%" PRIu64 ",\"bottleneck\":%s",
               r->aborted, r->slow, r->waited, r->skipped, config->rate, config->seed, r->busiest_percent,
               edges_bottleneck(r) != NULL ? "true" : "false");
    if (w != NULL) {
        buf_put_lit(out, ",\n ");
        witness_put_json(out, w, r);
    }
    buf_printf(out,
               ",\n \"connects\":%" PRIu64 ",\"resends\":%" PRIu64 ",\"release_us\":%" PRIu64
               ",\"release_ns\":%" PRIu64 ",\"tool_cpu_us\":%" PRIu64 "}\n",
               r->connects, r->resends, r->release_us, r->release_ns, r->cpu_us);
}

static bool write_file(struct span file, const char *mode, const struct buf *text)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.*s", SPAN_FMT(file));
    FILE *out = fopen(name, mode);
    bool holds = out != NULL && !text->failed && fwrite(text->p, 1, text->len, out) == text->len;
    if (out != NULL && fclose(out) != 0)
        holds = false;
    if (!holds)
        fprintf(stderr, "%s: cannot be written\n", name);
    return holds;
}

bool report_write(struct span file, const struct buf *text)
{
    return write_file(file, "we", text);
}

bool report_may_write(struct span file)
{
    static const struct buf nothing = {.p = ""};
    return file.len == 0 || write_file(file, "ae", &nothing);
}
