#include "shield/ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "shield/ctl/ctl_screen.h"
#include "shield/ctl/ctl_show.h"

/* Two looks at /stats, and what was done between them. */
struct looks {
    json_t *before, *now;
    uint64_t before_us, now_us;
};

static int64_t sum_of(const json_t *object)
{
    const char *key;
    json_t *value;
    int64_t sum = 0;
    json_object_foreach((json_t *)object, key, value) sum += json_integer_value(value);
    return sum;
}

/* ---- rates ---- */

static double seconds(const struct looks *l)
{
    return (double)(l->now_us - l->before_us) / 1e6;
}

/* How much the counter, or the sum of the counters, at `path` has grown. After a restart of the shield it
 * counts from there. */
static double growth(const json_t *before, const json_t *now, const char *path)
{
    const json_t *a = show_find(before, path), *b = show_find(now, path);
    int64_t was = json_is_object(a) ? sum_of(a) : json_integer_value(a);
    int64_t is = json_is_object(b) ? sum_of(b) : json_integer_value(b);
    return (double)(is >= was ? is - was : is);
}

static double rate(const struct looks *l, const char *path)
{
    return growth(l->before, l->now, path) / seconds(l);
}

static json_t *json_share(double part, double all)
{
    return all > 0 ? json_real(part / all) : json_null();
}

static json_t *json_results(const struct looks *l)
{
    json_t *rates = json_object();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)show_find(l->now, "metrics/requests_total"), name, value)
    {
        char path[128];
        snprintf(path, sizeof path, "metrics/requests_total/%s", name);
        json_object_set_new(rates, name, json_real(rate(l, path)));
    }
    return rates;
}

static json_t *json_origins(const struct looks *l)
{
    json_t *origins = json_object();
    const json_t *before = show_find(l->before, "metrics/origins");
    const char *name;
    json_t *origin;
    json_object_foreach((json_t *)show_find(l->now, "metrics/origins"), name, origin)
    {
        double asked = growth(json_object_get(before, name), origin, "requests") / seconds(l);
        json_object_set_new(origins, name,
                            json_pack("{s:f,s:I,s:I,s:I}", "requests_per_s", asked, "inflight",
                                      (json_int_t)show_int(origin, "inflight"), "queue_depth",
                                      (json_int_t)show_int(origin, "queue_depth"), "p99_us",
                                      (json_int_t)show_int(origin, "duration_us/p99")));
    }
    return origins;
}

/* Everything that is shown, as JSON; NULL without memory. */
static json_t *json_view(const struct looks *l)
{
    double hits = rate(l, "metrics/requests_total/hit") + rate(l, "metrics/requests_total/stale");
    double joined = rate(l, "metrics/requests_total/collapsed");
    double led = rate(l, "metrics/requests_total/miss") + rate(l, "metrics/requests_total/revalidated");
    double all = rate(l, "metrics/requests_total");
    const json_t *metrics = show_find(l->now, "metrics");
    return json_pack(
        "{s:f,s:f,s:o,s:o,s:o,s:f,s:f,s:I,s:f,s:I,s:o,s:O}", "interval_s", seconds(l), "requests_per_s", all,
        "hit_ratio", json_share(hits, all), "collapse_ratio", json_share(joined, joined + led),
        "results_per_s", json_results(l), "client_bytes_per_s", rate(l, "metrics/client_bytes_total"),
        "origin_bytes_per_s", rate(l, "metrics/origin_bytes_total"), "flights",
        (json_int_t)show_int(metrics, "flights"), "flights_per_s", rate(l, "metrics/flights_started_total"),
        "waiters", (json_int_t)show_int(metrics, "waiters"), "origins", json_origins(l), "warm",
        show_find(l->now, "warm"));
}

/* ---- text ---- */

static double real(const json_t *v, const char *path)
{
    return json_number_value(show_find(v, path));
}

static void put_share(struct buf *out, const json_t *v, const char *path)
{
    if (json_is_real(show_find(v, path)))
        buf_printf(out, "%.1f %%", 100 * real(v, path));
    else
        buf_put_lit(out, "-");
}

static void put_summary(struct buf *out, const struct ctl *c, const struct looks *l, const json_t *v)
{
    buf_put_lit(out, "shield ");
    show_put_text(out, span_of(show_text(l->now, "version")));
    buf_printf(out, " at %s, up ", c->admin_text);
    show_put_age(out, (uint64_t)show_int(l->now, "uptime_s"));
    buf_printf(out, ", %s\n\nrequests    %.1f/s, hits ",
               json_is_true(show_find(l->now, "draining")) ? "draining"
               : json_is_true(show_find(l->now, "ready"))  ? "ready"
                                                           : "not ready",
               real(v, "requests_per_s"));
    put_share(out, v, "hit_ratio");
    buf_put_lit(out, ", of the misses collapsed ");
    put_share(out, v, "collapse_ratio");
    buf_put_lit(out, "\n");
}

static void put_results(struct buf *out, const json_t *v)
{
    const char *name;
    json_t *value;
    bool any = false;
    buf_put_lit(out, "  of them   ");
    json_object_foreach((json_t *)show_find(v, "results_per_s"), name, value)
    {
        if (json_number_value(value) == 0)
            continue;
        buf_printf(out, "%s%s %.1f", any ? ", " : "", name, json_number_value(value));
        any = true;
    }
    buf_printf(out, "%s\n", any ? "" : "none");
}

static void put_flights(struct buf *out, const json_t *v)
{
    buf_printf(out, "flights     %" PRId64 " now, %.1f/s started; %" PRId64 " waiters\ntraffic     ",
               show_int(v, "flights"), real(v, "flights_per_s"), show_int(v, "waiters"));
    show_put_bytes(out, (uint64_t)real(v, "client_bytes_per_s"));
    buf_put_lit(out, "/s to clients, ");
    show_put_bytes(out, (uint64_t)real(v, "origin_bytes_per_s"));
    buf_put_lit(out, "/s from origins\n");
}

static void put_origins(struct buf *out, const json_t *v)
{
    const char *name;
    json_t *o;
    buf_printf(out, "\n%-18s %10s %10s %10s %10s\n", "origins", "asked/s", "in flight", "queued", "p99");
    json_object_foreach((json_t *)show_find(v, "origins"), name, o)
    {
        struct buf shown = {0}, p99 = {0};
        show_put_text(&shown, span_of(name));
        show_put_us(&p99, (uint64_t)show_int(o, "p99_us"));
        buf_printf(out, "  %-16.*s %10.1f %10" PRId64 " %10" PRId64 " %10.*s\n", SPAN_FMT(buf_span(&shown)),
                   real(o, "requests_per_s"), show_int(o, "inflight"), show_int(o, "queue_depth"),
                   SPAN_FMT(buf_span(&p99)));
        out->failed |= shown.failed || p99.failed;
        buf_fini(&shown);
        buf_fini(&p99);
    }
}

static void put_warming(struct buf *out, const json_t *v)
{
    const json_t *list = show_find(v, "warm");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_true(show_find(json_array_get(list, i), "running")))
            ctl_warm_put(out, json_array_get(list, i));
}

static bool show(const struct ctl *c, const struct looks *l)
{
    struct buf out = {0};
    json_t *v = json_view(l);
    if (c->json) {
        char *text = v != NULL ? json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
        buf_printf(&out, "%s\n", text != NULL ? text : "");
        out.failed |= text == NULL;
        free(text);
    } else {
        put_summary(&out, c, l, v);
        put_results(&out, v);
        put_flights(&out, v);
        put_origins(&out, v);
        put_warming(&out, v);
    }
    json_decref(v);
    bool ok = !out.failed && screen_show(buf_span(&out));
    buf_fini(&out);
    return ok;
}

/* ---- looking ---- */

static bool look(const struct ctl *c, struct looks *l)
{
    json_decref(l->before);
    l->before = l->now;
    l->before_us = l->now_us;
    l->now = ctl_get_json(c, "/stats");
    l->now_us = clock_mono_us();
    return l->now != NULL;
}

/* Until so many looks have been shown, or somebody wants the end. */
static enum ctl_exit watch(const struct ctl *c, struct looks *l)
{
    for (uint64_t shown = 0; c->looks == 0 || shown < c->looks;) {
        bool resized;
        if (!screen_wait(c->interval_ms, &resized))
            return CTL_OK;
        if (resized && l->before == NULL)
            continue;
        if (!resized && !look(c, l))
            return CTL_FAILED;
        if (!show(c, l))
            return CTL_FAILED;
        shown += !resized;
    }
    return CTL_OK;
}

enum ctl_exit ctl_top(const struct ctl *c)
{
    struct looks l = {0};
    if (!look(c, &l))
        return CTL_FAILED;
    if (!c->json)
        screen_open();
    enum ctl_exit result = watch(c, &l);
    screen_close();
    json_decref(l.before);
    json_decref(l.now);
    return result;
}
