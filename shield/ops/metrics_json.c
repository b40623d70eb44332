#include "shield/ops/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/ops/metrics_sum.h"

/* Every key here is one of our own names or an origin's, which config.h restricts: nothing needs escaping. */

static void put_int_member(struct buf *out, bool first, const char *key, size_t key_len, int64_t v)
{
    buf_printf(out, "%s\"%.*s\":", first ? "" : ",", (int)key_len, key);
    buf_put_int(out, v);
}

/* "evictions_total":{"ram":0,"disk":0} for rows whose names carry a label, else "flights":0. */
static void put_plain(struct buf *out)
{
    static const size_t prefix = sizeof "shield_" - 1;
    for (size_t i = 0; i < METRIC_COUNT;) {
        const char *name = metric_rows[i].name + prefix;
        size_t n = strcspn(name, "{");
        if (name[n] == '\0') {
            size_t offset = SLOT_AT(plain) + i * sizeof(int64_t);
            put_int_member(out, false, name, n,
                           metric_rows[i].is_gauge ? metrics_sum_gauge(offset) : metrics_sum(offset));
            i++;
            continue;
        }
        buf_printf(out, ",\"%.*s\":{", (int)n, name);
        for (size_t first = i; i < METRIC_COUNT && memcmp(metric_rows[i].name + prefix, name, n + 1) == 0;
             i++) {
            const char *value = strchr(metric_rows[i].name, '"') + 1;
            put_int_member(out, i == first, value, strcspn(value, "\""),
                           metrics_sum(SLOT_AT(plain) + i * sizeof(int64_t)));
        }
        buf_put_lit(out, "}");
    }
}

static void put_counters(struct buf *out, const char *key, const char *const *names, size_t first, size_t n,
                         size_t offset)
{
    buf_printf(out, "\"%s\":{", key);
    for (size_t i = first; i < n; i++)
        put_int_member(out, i == first, names[i], strlen(names[i]),
                       metrics_sum(offset + i * sizeof(int64_t)));
    buf_put_lit(out, "}");
}

static void put_purges(struct buf *out)
{
    size_t bytes = ARRAY_LEN(purge_mode_names) * sizeof(int64_t);
    buf_put_lit(out, "\"purges_total\":{");
    for (size_t kind = 0; kind < PURGED_COUNT; kind++) {
        buf_put_span(out, kind == 0 ? (struct span){"", 0} : SPAN(","));
        put_counters(out, purged_names[kind], purge_mode_names, 0, ARRAY_LEN(purge_mode_names),
                     SLOT_AT(purges) + kind * bytes);
    }
    buf_put_lit(out, "}");
}

/* Frees `h`; NULL spoils the page. */
static void put_hist(struct buf *out, const char *key, struct hist *h)
{
    static const struct {
        const char *name;
        double percent;
    } marks[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p999", 99.9}};
    if (h == NULL) {
        out->failed = true;
        return;
    }
    buf_printf(out, "\"%s\":{\"count\":", key);
    buf_put_uint(out, h->total);
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        buf_printf(out, ",\"%s\":", marks[i].name);
        buf_put_uint(out, hist_percentile(h, marks[i].percent));
    }
    buf_put_lit(out, ",\"max\":");
    buf_put_uint(out, h->max);
    buf_put_lit(out, "}");
    free(h);
}

static void put_origin(struct buf *out, const char *name, uint32_t o)
{
    size_t at = SLOT_AT(origins) + o * sizeof(struct metrics_origin);
    buf_printf(out, "\"%s\":{", name);
    put_counters(out, "requests", kind_names, 0, KIND_COUNT, at + offsetof(struct metrics_origin, requests));
    buf_put_lit(out, ",");
    put_counters(out, "responses", class_names, 0, ARRAY_LEN(class_names),
                 at + offsetof(struct metrics_origin, classes));
    buf_put_lit(out, ",\"inflight\":");
    buf_put_int(out, metrics_sum_gauge(at + offsetof(struct metrics_origin, inflight)));
    buf_put_lit(out, ",\"queue_depth\":");
    buf_put_int(out, metrics_sum_gauge(at + offsetof(struct metrics_origin, queue_depth)));
    buf_put_lit(out, ",\"servers_down\":");
    buf_put_int(out, metrics_servers_down(o));
    buf_put_lit(out, ",");
    put_hist(out, "duration_us", metrics_merge_origin(o));
    buf_put_lit(out, "}");
}

static void put_durations(struct buf *out)
{
    static const size_t prefix = sizeof "shield_" - 1, suffix = sizeof "_seconds" - 1;
    buf_put_lit(out, ",\"request_duration_us\":{");
    for (size_t i = 0; i < RESULT_COUNT; i++) {
        buf_put_span(out, i == 0 ? (struct span){"", 0} : SPAN(","));
        put_hist(out, result_names[i], metrics_merge(SLOT_AT(durations) + i * sizeof(struct hist)));
    }
    buf_put_lit(out, "}");
    for (size_t i = 0; i < HIST_COUNT; i++) {
        const char *name = hist_rows[i].name + prefix;
        char key[64];
        snprintf(key, sizeof key, "%.*s_us", (int)(strlen(name) - suffix), name);
        buf_put_lit(out, ",");
        put_hist(out, key, metrics_merge(SLOT_AT(hists) + i * sizeof(struct hist)));
    }
}

void metrics_render_json(struct buf *out, const struct config *cfg)
{
    buf_printf(out, "{\"version\":\"%s\"", metrics_version());
    put_plain(out);
    buf_put_lit(out, ",");
    put_counters(out, "requests_total", result_names, 0, RESULT_COUNT, SLOT_AT(results));
    buf_put_lit(out, ",");
    put_counters(out, "waiter_fates_total", fate_names, 0, FATE_COUNT, SLOT_AT(fates));
    buf_put_lit(out, ",");
    put_counters(out, "misses_total", missed_names, 0, MISSED_COUNT, SLOT_AT(missed));
    buf_put_lit(out, ",");
    put_counters(out, "passes_total", passed_names, PASSED_NONE + 1, PASSED_COUNT, SLOT_AT(passed));
    buf_put_lit(out, ",");
    put_counters(out, "refusals_total", refused_names, REFUSED_NONE + 1, REFUSED_COUNT, SLOT_AT(refused));
    buf_put_lit(out, ",");
    put_counters(out, "limit_reached_total", limit_names, 0, LIMIT_COUNT, SLOT_AT(limits));
    buf_put_lit(out, ",");
    put_counters(out, "uncacheable_total", uncacheable_names, UNCACHEABLE_NONE + 1, UNCACHEABLE_COUNT,
                 SLOT_AT(uncacheable));
    buf_put_lit(out, ",");
    put_purges(out);
    put_durations(out);
    buf_put_lit(out, ",\"origins\":{");
    for (uint32_t o = 0; o < cfg->n_origins; o++) {
        buf_put_span(out, o == 0 ? (struct span){"", 0} : SPAN(","));
        put_origin(out, cfg->origins[o].name, o);
    }
    buf_put_lit(out, "}}\n");
}
