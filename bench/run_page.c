#include "bench/run_page.h"

#include "bench/html.h"
#include "bench/report.h"
#include "common/check.h"

/* The same load again, by what Cache-Status said of each answer; nothing when all were of one kind. */
static void put_classes(struct buf *out, const struct edges_report *r)
{
    struct html_curve curves[CACHE_COUNT];
    size_t n = 0;
    for (unsigned i = 0; i < CACHE_COUNT; i++)
        if (atomic_load(&r->by_cache_us[i].total) > 0)
            curves[n++] = (struct html_curve){edge_cache_name((enum edge_cache)i), &r->by_cache_us[i], i};
    if (n > 1)
        html_put_curves(out, "last byte, by Cache-Status", curves, n);
}

void run_page_put(struct buf *out, const struct edges_config *config, const struct edges_report *r,
                  const struct witness *w, struct span table)
{
    const struct html_curve times[] = {{"first byte", &r->first_us, 0}, {"last byte", &r->last_us, 1}};
    const struct html_curve waits[] = {{"first byte", &r->wait_first_us, 0},
                                       {"last byte", &r->wait_last_us, 1}};
    struct buf echo = {0};
    html_begin(out, "shield-bench run");
    buf_printf(&echo, "%.*s; seed %llu\n", SPAN_FMT(config->url), (unsigned long long)config->seed);
    report_put_machine(&echo);
    html_put_table(out, buf_span(&echo));
    html_put_table(out, table);
    html_begin_plots(out);
    html_put_curves(out, "times by percentile", times, ARRAY_LEN(times));
    put_classes(out, r);
    html_put_curves(out, "waiters, later than their leader", waits, ARRAY_LEN(waits));
    if (w != NULL)
        html_put_rates(out, "clients against origin", w, NULL, 0);
    html_end_plots(out);
    html_end(out);
    buf_fini(&echo);
}
