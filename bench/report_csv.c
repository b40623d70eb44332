#include "bench/report.h"

#include <inttypes.h>

#include "common/check.h"

static const struct {
    const char *name;
    size_t at;
} times[] = {
    {"first", offsetof(struct edges_report, first_us)},
    {"last", offsetof(struct edges_report, last_us)},
    {"wait_first", offsetof(struct edges_report, wait_first_us)},
    {"wait_last", offsetof(struct edges_report, wait_last_us)},
};

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};

void report_put_csv_head(struct buf *out)
{
    buf_put_lit(out, "requests,ok,failed,body_bytes,elapsed_us,requests_per_s");
    for (size_t t = 0; t < ARRAY_LEN(times); t++)
        for (size_t p = 0; p < ARRAY_LEN(percentiles); p++)
            buf_printf(out, ",%s_%s_us", times[t].name, percentiles[p].name);
    for (int i = EDGE_OK + 1; i < EDGE_ERROR_COUNT; i++)
        buf_printf(out, ",error_%s", edge_error_name((enum edge_error)i));
    buf_put_lit(out, ",fetches,epochs,fetches_per_epoch,epoch_fetches_max,collapse,streaming");
}

void report_put_csv(struct buf *out, const struct edges_report *r, const struct witness *w)
{
    buf_printf(out, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.1f", r->finished,
               r->errors[EDGE_OK], edges_failed(r), r->body_bytes, r->elapsed_us,
               r->elapsed_us > 0 ? (double)r->finished * 1e6 / (double)r->elapsed_us : 0);
    for (size_t t = 0; t < ARRAY_LEN(times); t++)
        for (size_t p = 0; p < ARRAY_LEN(percentiles); p++) {
            const struct hist *h = (const struct hist *)((const char *)r + times[t].at);
            if (atomic_load(&h->total) > 0)
                buf_printf(out, ",%" PRIu64, hist_percentile(h, percentiles[p].percent));
            else
                buf_put_lit(out, ",");
        }
    for (int i = EDGE_OK + 1; i < EDGE_ERROR_COUNT; i++)
        buf_printf(out, ",%" PRIu64, r->errors[i]);
    if (w == NULL)
        buf_put_lit(out, ",,,,,,");
    else
        buf_printf(out, ",%" PRIu64 ",%" PRIu64 ",%.4f,%" PRIu64 ",%.2f,%.3f", w->fetches, w->epochs,
                   witness_per_epoch(w), w->epoch_fetches_max, witness_collapse(w, r), w->streaming);
}
