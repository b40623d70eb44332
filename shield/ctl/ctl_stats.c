#include "shield/ctl/ctl.h"

#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "shield/ctl/ctl_show.h"

/* A row: its name, then columns from there on. */
static void put_name(struct buf *out, const char *indent, const char *name)
{
    struct buf text = {0};
    show_put_text(&text, span_of(name));
    buf_printf(out, "%s%-*.*s ", indent, 18 - (int)strlen(indent), SPAN_FMT(buf_span(&text)));
    out->failed |= text.failed;
    buf_fini(&text);
}

static void put_columns(struct buf *out, const char *const *titles, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%*s", 10, titles[i]);
    buf_put_lit(out, "\n");
}

static void put_number(struct buf *out, int64_t v)
{
    buf_printf(out, "%10" PRId64, v);
}

/* The percentiles of a histogram, or nothing while it is empty. */
static void put_times(struct buf *out, const json_t *hist)
{
    static const char *const marks[] = {"p50", "p99", "max"};
    if (show_int(hist, "count") == 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        struct buf time = {0};
        show_put_us(&time, (uint64_t)show_int(hist, marks[i]));
        buf_printf(out, "%*.*s", 10, SPAN_FMT(buf_span(&time)));
        out->failed |= time.failed;
        buf_fini(&time);
    }
}

static int64_t sum_of(const json_t *object)
{
    const char *key;
    json_t *value;
    int64_t sum = 0;
    json_object_foreach((json_t *)object, key, value) sum += json_integer_value(value);
    return sum;
}

static void put_summary(struct buf *out, const struct ctl *c, const json_t *s)
{
    buf_put_lit(out, "shield ");
    show_put_text(out, span_of(show_text(s, "version")));
    buf_printf(out, " at %s, up ", c->admin_text);
    show_put_age(out, (uint64_t)show_int(s, "uptime_s"));
    buf_printf(out, ", %s\n\n",
               json_is_true(show_find(s, "draining")) ? "draining"
               : json_is_true(show_find(s, "ready"))  ? "ready"
                                                      : "not ready");
}

static void put_requests(struct buf *out, const json_t *metrics)
{
    static const char *const titles[] = {"count", "share", "p50", "p99", "max"};
    const json_t *results = show_find(metrics, "requests_total");
    int64_t all = sum_of(results);
    const char *key;
    json_t *value;
    put_name(out, "", "requests");
    put_columns(out, titles, ARRAY_LEN(titles));
    json_object_foreach((json_t *)results, key, value)
    {
        int64_t n = json_integer_value(value);
        if (n == 0)
            continue;
        put_name(out, "  ", key);
        put_number(out, n);
        buf_printf(out, "%8.1f %%", 100.0 * (double)n / (double)all);
        put_times(out, json_object_get(show_find(metrics, "request_duration_us"), key));
        buf_put_lit(out, "\n");
    }
    put_name(out, "  ", "all");
    put_number(out, all);
    buf_put_lit(out, "\n\n");
}

static void put_origins(struct buf *out, const json_t *metrics)
{
    static const char *const titles[] = {"asked", "in flight", "queued", "p50", "p99", "max"};
    const char *name;
    json_t *origin;
    put_name(out, "", "origins");
    put_columns(out, titles, ARRAY_LEN(titles));
    json_object_foreach((json_t *)show_find(metrics, "origins"), name, origin)
    {
        put_name(out, "  ", name);
        put_number(out, sum_of(show_find(origin, "requests")));
        put_number(out, show_int(origin, "inflight"));
        put_number(out, show_int(origin, "queue_depth"));
        put_times(out, show_find(origin, "duration_us"));
        buf_put_lit(out, "\n");
    }
    buf_put_lit(out, "\n");
}

/* "served 3, timeout 1": the counters that are not 0. False when all are. */
static bool put_nonzero(struct buf *out, const json_t *counters)
{
    const char *key;
    json_t *value;
    bool any = false;
    json_object_foreach((json_t *)counters, key, value)
    {
        if (json_integer_value(value) == 0)
            continue;
        buf_printf(out, "%s%s %" PRId64, any ? ", " : "", key, (int64_t)json_integer_value(value));
        any = true;
    }
    return any;
}

static void put_flights(struct buf *out, const json_t *metrics)
{
    put_name(out, "", "flights");
    buf_printf(out, "%" PRId64 " now, %" PRId64 " started, %" PRId64 " requests collapsed\n",
               show_int(metrics, "flights"), show_int(metrics, "flights_started_total"),
               show_int(metrics, "collapsed_requests_total"));
    put_name(out, "", "waiters");
    buf_printf(out, "%" PRId64 " now; so far: ", show_int(metrics, "waiters"));
    if (!put_nonzero(out, show_find(metrics, "waiter_fates_total")))
        buf_put_lit(out, "none");
    buf_put_lit(out, "\n");
    put_name(out, "", "traffic");
    show_put_bytes(out, (uint64_t)show_int(metrics, "client_bytes_total"));
    buf_put_lit(out, " to clients, ");
    show_put_bytes(out, (uint64_t)show_int(metrics, "origin_bytes_total"));
    buf_put_lit(out, " from origins\n\n");
}

static void put_store(struct buf *out, const json_t *s)
{
    const json_t *metrics = show_find(s, "metrics");
    const char *trouble = show_text(s, "store/trouble");
    put_name(out, "", "memory");
    show_put_bytes(out, (uint64_t)show_int(s, "ram/bytes"));
    buf_printf(out, " in %" PRId64 " objects, %" PRId64 " evicted\n", show_int(s, "ram/objects"),
               show_int(s, "ram/evicted"));
    put_name(out, "", "disk");
    if (json_is_true(show_find(s, "store/on_disk"))) {
        show_put_bytes(out, (uint64_t)show_int(metrics, "store_bytes"));
        buf_printf(out,
                   " in %" PRId64 " objects, %" PRId64 " not durable yet, %" PRId64 " shed, %" PRId64
                   " errors\n",
                   show_int(metrics, "store_objects"), show_int(metrics, "store_pending_objects"),
                   show_int(metrics, "store_shed_total"), show_int(metrics, "store_errors_total"));
    } else {
        buf_put_lit(out, "none: the cache is in memory only\n");
    }
    if (trouble[0] != '\0') {
        put_name(out, "", "trouble");
        show_put_text(out, span_of(trouble));
        buf_put_lit(out, "\n");
    }
    put_name(out, "", "index");
    buf_printf(out, "%" PRId64 " keys, %" PRId64 " of them remembered as not to be shared\n",
               show_int(s, "cache/entries"), show_int(s, "cache/marks"));
}

/* What should not be there: shown only when it is. */
static void put_alarms(struct buf *out, const json_t *metrics)
{
    static const struct {
        const char *title, *path;
    } alarms[] = {{"limits reached", "limit_reached_total"},
                  {"broken promises", "invariant_violations_total"}};
    for (size_t i = 0; i < ARRAY_LEN(alarms); i++) {
        struct buf what = {0};
        if (put_nonzero(&what, show_find(metrics, alarms[i].path))) {
            put_name(out, "", alarms[i].title);
            buf_put_span(out, buf_span(&what));
            buf_put_lit(out, "\n");
        }
        out->failed |= what.failed;
        buf_fini(&what);
    }
}

enum ctl_exit ctl_stats(const struct ctl *c)
{
    json_t *s = ctl_get_json(c, "/stats");
    if (s == NULL)
        return CTL_FAILED;
    enum ctl_exit result;
    if (c->json) {
        result = ctl_print_json(s);
    } else {
        const json_t *metrics = show_find(s, "metrics");
        struct buf out = {0};
        put_summary(&out, c, s);
        put_requests(&out, metrics);
        put_origins(&out, metrics);
        put_flights(&out, metrics);
        put_store(&out, s);
        put_alarms(&out, metrics);
        result = ctl_print(&out);
    }
    json_decref(s);
    return result;
}
