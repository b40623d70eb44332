#include "shield/ops/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/ops/metrics_sum.h"

/* One family with one label of a closed set: every value is shown, 0 too, so that an alert can be written
 * before the first event. */
struct labelled {
    const char *name, *help, *label;
    const char *const *values;
    size_t n, offset;
    size_t first; /* values below it are no series */
};

static const struct labelled labelled[] = {
    {"shield_requests_total", "Requests answered, by result.", "result", result_names, RESULT_COUNT,
     SLOT_AT(results), 0},
    {"shield_waiter_fates_total", "How waiting on a flight ended.", "fate", fate_names, FATE_COUNT,
     SLOT_AT(fates), 0},
    {"shield_misses_total", "Lookups that found nothing to serve at once, by reason.", "reason", missed_names,
     MISSED_COUNT, SLOT_AT(missed), 0},
    {"shield_passes_total", "Requests sent on past the cache and shared with nobody, by reason.", "reason",
     passed_names, PASSED_COUNT, SLOT_AT(passed), PASSED_NONE + 1},
    {"shield_refusals_total", "Requests answered with an error of our own making, by reason.", "reason",
     refused_names, REFUSED_COUNT, SLOT_AT(refused), REFUSED_NONE + 1},
    {"shield_limit_reached_total", "Times a configured bound was reached, by its name.", "limit", limit_names,
     LIMIT_COUNT, SLOT_AT(limits), 0},
    {"shield_uncacheable_total", "Responses that could not be shared, by reason.", "reason",
     uncacheable_names, UNCACHEABLE_COUNT, SLOT_AT(uncacheable), UNCACHEABLE_NONE + 1},
};

static void put_family(struct buf *out, const char *name, size_t n, const char *type, const char *help)
{
    buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)n, name, help, (int)n, name, type);
}

static void put_plain(struct buf *out)
{
    const char *last = "";
    size_t last_n = 0;
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const struct metric_row *row = &metric_rows[i];
        size_t n = strcspn(row->name, "{"), offset = SLOT_AT(plain) + i * sizeof(int64_t);
        if (n != last_n || memcmp(row->name, last, n) != 0) /* rows of one family stand together */
            put_family(out, row->name, n, row->is_gauge ? "gauge" : "counter", row->help);
        last = row->name;
        last_n = n;
        buf_printf(out, "%s ", row->name);
        buf_put_int(out, row->is_gauge ? metrics_sum_gauge(offset) : metrics_sum(offset));
        buf_put_lit(out, "\n");
    }
}

static void put_labelled(struct buf *out, const struct labelled *f)
{
    put_family(out, f->name, strlen(f->name), "counter", f->help);
    for (size_t i = f->first; i < f->n; i++) {
        buf_printf(out, "%s{%s=\"%s\"} ", f->name, f->label, f->values[i]);
        buf_put_int(out, metrics_sum(f->offset + i * sizeof(int64_t)));
        buf_put_lit(out, "\n");
    }
}

/* The buckets that dashboards of HTTP services expect, up to the longest default timeout. */
static const struct {
    const char *text;
    uint64_t us;
} edges[] = {
    {"0.0005", 500}, {"0.001", 1000},  {"0.0025", 2500}, {"0.005", 5000},  {"0.01", 10000}, {"0.025", 25000},
    {"0.05", 50000}, {"0.1", 100000},  {"0.25", 250000}, {"0.5", 500000},  {"1", 1000000},  {"2.5", 2500000},
    {"5", 5000000},  {"10", 10000000}, {"30", 30000000}, {"60", 60000000},
};

/* `label` is "" or `name="value"`. Frees `h`; NULL spoils the page rather than showing half of it. */
static void put_hist(struct buf *out, const char *name, const char *label, struct hist *h)
{
    if (h == NULL) {
        out->failed = true;
        return;
    }
    const char *comma = label[0] != '\0' ? "," : "", *open = label[0] != '\0' ? "{" : "",
               *close = label[0] != '\0' ? "}" : "";
    uint64_t total = h->total, sum_us = h->sum;
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        buf_printf(out, "%s_bucket{%s%sle=\"%s\"} ", name, label, comma, edges[i].text);
        buf_put_uint(out, hist_count_below(h, edges[i].us));
        buf_put_lit(out, "\n");
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, label, comma, (unsigned long long)total);
    buf_printf(out, "%s_sum%s%s%s %llu.%06llu\n", name, open, label, close,
               (unsigned long long)(sum_us / 1000000), (unsigned long long)(sum_us % 1000000));
    buf_printf(out, "%s_count%s%s%s %llu\n", name, open, label, close, (unsigned long long)total);
    free(h);
}

static size_t purges_at(size_t kind, size_t mode)
{
    return SLOT_AT(purges) + (kind * ARRAY_LEN(purge_mode_names) + mode) * sizeof(int64_t);
}

static void put_purges(struct buf *out)
{
    static const char name[] = "shield_purges_total";
    put_family(out, name, sizeof name - 1, "counter", "Things that purges have named, by kind and mode.");
    for (size_t kind = 0; kind < PURGED_COUNT; kind++)
        for (size_t mode = 0; mode < ARRAY_LEN(purge_mode_names); mode++) {
            buf_printf(out, "%s{kind=\"%s\",mode=\"%s\"} ", name, purged_names[kind], purge_mode_names[mode]);
            buf_put_int(out, metrics_sum(purges_at(kind, mode)));
            buf_put_lit(out, "\n");
        }
}

static void put_request_durations(struct buf *out)
{
    static const char name[] = "shield_request_duration_seconds";
    put_family(out, name, sizeof name - 1, "histogram",
               "From the request's first byte to the answer's last, by result.");
    for (size_t i = 0; i < RESULT_COUNT; i++) {
        char label[64];
        snprintf(label, sizeof label, "result=\"%s\"", result_names[i]);
        put_hist(out, name, label, metrics_merge(SLOT_AT(durations) + i * sizeof(struct hist)));
    }
}

static void put_hists(struct buf *out)
{
    for (size_t i = 0; i < HIST_COUNT; i++) {
        put_family(out, hist_rows[i].name, strlen(hist_rows[i].name), "histogram", hist_rows[i].help);
        put_hist(out, hist_rows[i].name, "", metrics_merge(SLOT_AT(hists) + i * sizeof(struct hist)));
    }
}

static size_t origin_at(uint32_t origin, size_t field)
{
    return SLOT_AT(origins) + origin * sizeof(struct metrics_origin) + field;
}

/* A family of counters by origin and one closed label. */
static void put_origin_counters(struct buf *out, const struct config *cfg, const char *name, const char *help,
                                const char *label, const char *const *values, size_t n, size_t field)
{
    put_family(out, name, strlen(name), "counter", help);
    for (uint32_t o = 0; o < cfg->n_origins; o++)
        for (size_t i = 0; i < n; i++) {
            buf_printf(out, "%s{origin=\"%s\",%s=\"%s\"} ", name, cfg->origins[o].name, label, values[i]);
            buf_put_int(out, metrics_sum(origin_at(o, field + i * sizeof(int64_t))));
            buf_put_lit(out, "\n");
        }
}

static void put_origin_gauge(struct buf *out, const struct config *cfg, const char *name, const char *help,
                             size_t field)
{
    put_family(out, name, strlen(name), "gauge", help);
    for (uint32_t o = 0; o < cfg->n_origins; o++) {
        buf_printf(out, "%s{origin=\"%s\"} ", name, cfg->origins[o].name);
        buf_put_int(out, metrics_sum_gauge(origin_at(o, field)));
        buf_put_lit(out, "\n");
    }
}

static void put_origins(struct buf *out, const struct config *cfg)
{
    static const char durations[] = "shield_origin_duration_seconds";
    put_origin_counters(out, cfg, "shield_origin_requests_total", "Requests sent to the origin, by why.",
                        "kind", kind_names, KIND_COUNT, offsetof(struct metrics_origin, requests));
    put_origin_counters(out, cfg, "shield_origin_responses_total",
                        "The origin's answers by status class; none: no final head came.", "class",
                        class_names, ARRAY_LEN(class_names), offsetof(struct metrics_origin, classes));
    put_family(out, durations, sizeof durations - 1, "histogram", "Request sent to last byte read.");
    for (uint32_t o = 0; o < cfg->n_origins; o++) {
        char label[128];
        snprintf(label, sizeof label, "origin=\"%s\"", cfg->origins[o].name);
        put_hist(out, durations, label, metrics_merge_origin(o));
    }
    put_origin_gauge(out, cfg, "shield_origin_inflight", "Requests at the origin now.",
                     offsetof(struct metrics_origin, inflight));
    put_origin_gauge(out, cfg, "shield_origin_queue_depth", "Requests that wait for a place at the origin.",
                     offsetof(struct metrics_origin, queue_depth));
    put_origin_gauge(out, cfg, "shield_origin_servers_down", "Servers that are passed by, but for probes.",
                     offsetof(struct metrics_origin, servers_down));
}

void metrics_render(struct buf *out, const struct config *cfg)
{
    static const char build[] = "shield_build_info";
    put_plain(out);
    for (size_t i = 0; i < ARRAY_LEN(labelled); i++)
        put_labelled(out, &labelled[i]);
    put_purges(out);
    put_request_durations(out);
    put_hists(out);
    put_origins(out, cfg);
    put_family(out, build, sizeof build - 1, "gauge", "What was built; always 1.");
    buf_printf(out, "%s{version=\"%s\",compiler=\"%s\"} 1\n", build, metrics_version(), __VERSION__);
}
