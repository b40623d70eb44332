#include "shield/ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/ctl/ctl_show.h"

/* ---- flights ---- */

static int by_age(const void *a, const void *b)
{
    double x = json_number_value(show_find(*(json_t *const *)a, "age_s"));
    double y = json_number_value(show_find(*(json_t *const *)b, "age_s"));
    return (x < y) - (x > y); /* oldest first: that is the one to look at */
}

static void put_flight(struct buf *out, const json_t *f)
{
    struct buf age = {0}, bytes = {0};
    show_put_us(&age, (uint64_t)(json_number_value(show_find(f, "age_s")) * 1e6));
    show_put_bytes(&bytes, (uint64_t)show_int(f, "bytes"));
    buf_printf(out, "%10.*s  %8" PRId64 "  %12.*s  %-5s  ", SPAN_FMT(buf_span(&age)), show_int(f, "waiters"),
               SPAN_FMT(buf_span(&bytes)), show_text(f, "state"));
    show_put_text(out, span_of(show_text(f, "key")));
    buf_put_lit(out, "\n");
    out->failed |= age.failed || bytes.failed;
    buf_fini(&age);
    buf_fini(&bytes);
}

static enum ctl_exit print_flights(const json_t *answer)
{
    const json_t *list = show_find(answer, "flights");
    size_t n = json_array_size(list);
    const json_t **sorted = calloc(n + 1, sizeof *sorted);
    struct buf out = {.failed = sorted == NULL};
    for (size_t i = 0; sorted != NULL && i < n; i++)
        sorted[i] = json_array_get(list, i);
    if (sorted != NULL)
        qsort(sorted, n, sizeof *sorted, by_age);
    buf_printf(&out, "%10s  %8s  %12s  %-5s  %s\n", "AGE", "WAITERS", "BYTES", "STATE", "KEY");
    for (size_t i = 0; sorted != NULL && i < n; i++)
        put_flight(&out, sorted[i]);
    int64_t left_out = show_int(answer, "left_out");
    if (left_out > 0)
        buf_printf(&out, "and %" PRId64 " more\n", left_out);
    free(sorted);
    return ctl_print(&out);
}

enum ctl_exit ctl_flights(const struct ctl *c)
{
    json_t *answer = ctl_get_json(c, "/flights");
    if (answer == NULL)
        return CTL_FAILED;
    enum ctl_exit result = c->json ? ctl_print_json(answer) : print_flights(answer);
    json_decref(answer);
    return result;
}

/* ---- metrics ---- */

enum ctl_exit ctl_metrics(const struct ctl *c)
{
    enum ctl_exit result = CTL_FAILED;
    if (c->json) {
        json_t *stats = ctl_get_json(c, "/stats");
        if (stats != NULL)
            result = ctl_print_json(show_find(stats, "metrics"));
        json_decref(stats);
        return result;
    }
    struct ctl_answer a;
    if (ctl_get(c, "/metrics", &a))
        return ctl_print(&a.body);
    buf_fini(&a.body);
    return result;
}

/* ---- ready ---- */

/* {"ready":true,"checks":["[+]listeners ok","[+]store ok"]} */
static enum ctl_exit print_ready_json(bool is_ready, struct span text)
{
    json_t *checks = json_array();
    while (text.len > 0) {
        const char *end = memchr(text.p, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.len;
        if (n > 0 && text.p[0] == '[')
            json_array_append_new(checks, json_stringn(text.p, n));
        text = span_from(text, n + 1);
    }
    json_t *all = json_pack("{s:b,s:o}", "ready", is_ready, "checks", checks);
    enum ctl_exit result = ctl_print_json(all);
    json_decref(all);
    return result;
}

/* Shows every check; CTL_FAILED when shield is not ready. */
enum ctl_exit ctl_ready(const struct ctl *c)
{
    struct ctl_answer a;
    bool is_ready = ctl_ask(c, "/readyz?verbose", &a) && a.status == 200;
    enum ctl_exit result = CTL_FAILED;
    if (a.status == 200 || a.status == 503)
        result = c->json ? print_ready_json(is_ready, buf_span(&a.body)) : ctl_print(&a.body);
    else if (a.status != 0)
        fprintf(stderr, "shieldctl: %s: /readyz gave status %d; is it shield's admin port?\n", c->admin_text,
                a.status);
    buf_fini(&a.body);
    return is_ready ? result : CTL_FAILED;
}

/* ---- version ---- */

enum ctl_exit ctl_version(const struct ctl *c)
{
    json_t *stats = ctl_get_json(c, "/stats");
    if (stats == NULL)
        return CTL_FAILED;
    const char *theirs = show_text(stats, "version");
    enum ctl_exit result;
    if (c->json) {
        json_t *both = json_pack("{s:s,s:s}", "shieldctl", ctl_own_version(), "shield", theirs);
        result = ctl_print_json(both);
        json_decref(both);
    } else {
        struct buf out = {0};
        buf_printf(&out, "shieldctl %s\nshield ", ctl_own_version());
        show_put_text(&out, span_of(theirs));
        buf_printf(&out, " at %s\n", c->admin_text);
        result = ctl_print(&out);
    }
    json_decref(stats);
    return result;
}
