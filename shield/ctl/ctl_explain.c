#include "shield/ctl/ctl.h"

#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "shield/ctl/ctl_show.h"

/* ---- asking ---- */

static void put_encoded(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char b = (unsigned char)*text;
        bool is_plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                        strchr("-._~/:", b) != NULL;
        if (is_plain)
            buf_put(out, text, 1);
        else
            buf_printf(out, "%%%02X", b);
    }
}

static void put_target(struct buf *out, const struct ctl *c)
{
    buf_put_lit(out, "/explain?url=");
    put_encoded(out, c->url);
    if (c->method != NULL) {
        buf_put_lit(out, "&method=");
        put_encoded(out, c->method);
    }
    for (unsigned i = 0; i < c->n_headers; i++) {
        buf_put_lit(out, "&header=");
        put_encoded(out, c->headers[i]);
    }
    buf_put(out, "", 1);
}

/* ---- showing ---- */

static void put_text(struct buf *out, const json_t *value)
{
    if (json_is_string(value))
        show_put_text(out, span_of(json_string_value(value)));
    else if (json_is_integer(value))
        buf_put_int(out, json_integer_value(value));
    else if (json_is_real(value))
        buf_printf(out, "%.3f", json_real_value(value));
    else
        buf_put_lit(out, "-");
}

static void put_row(struct buf *out, const char *name, const json_t *root, const char *path)
{
    buf_printf(out, "%-12s ", name);
    put_text(out, show_find(root, path));
    buf_put_lit(out, "\n");
}

/* "alone: authorization" */
static void put_reasoned(struct buf *out, const char *name, const json_t *root, const char *what)
{
    buf_printf(out, "%-12s ", name);
    put_text(out, show_find(root, what));
    if (json_is_string(show_find(root, "why"))) {
        buf_put_lit(out, ": ");
        put_text(out, show_find(root, "why"));
    }
    if (json_is_integer(show_find(root, "status")))
        buf_printf(out, " (%" PRId64 ")", show_int(root, "status"));
    buf_put_lit(out, "\n");
}

static void put_remembered(struct buf *out, const json_t *mark)
{
    if (!json_is_object(mark))
        return;
    buf_printf(out, "%-12s ", "remembered");
    put_text(out, show_find(mark, "what"));
    if (json_is_string(show_find(mark, "error"))) {
        buf_put_lit(out, " ");
        put_text(out, show_find(mark, "error"));
    }
    buf_put_lit(out, ", for ");
    put_text(out, show_find(mark, "for_s"));
    buf_put_lit(out, " s\n");
}

static void put_flights(struct buf *out, const json_t *flights)
{
    size_t i;
    json_t *f;
    json_array_foreach((json_t *)flights, i, f)
    {
        buf_printf(out, "%-12s ", "in the air");
        put_text(out, show_find(f, "state"));
        buf_put_lit(out, " since ");
        put_text(out, show_find(f, "age_s"));
        buf_printf(out, " s, %" PRId64 " waiters, %" PRId64 " bytes\n", show_int(f, "waiters"),
                   show_int(f, "bytes"));
    }
}

static void put_members(struct buf *out, const char *indent, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        buf_put(out, indent, strlen(indent));
        show_put_text(out, span_of(key));
        buf_printf(out, "%*s ", MAX(24 - (int)strlen(key), 0), "");
        put_text(out, value);
        buf_put_lit(out, "\n");
    }
}

static void put_stale(struct buf *out, const json_t *stale)
{
    const char *key;
    size_t i;
    json_t *value, *name;
    json_array_foreach(json_object_get(stale, "forbidden_by"), i, name)
    {
        buf_put_lit(out, "    never stale: ");
        put_text(out, name);
        buf_put_lit(out, "\n");
    }
    json_object_foreach((json_t *)stale, key, value)
    {
        if (!json_is_string(show_find(value, "until")))
            continue;
        buf_put_lit(out, "    stale ");
        show_put_text(out, span_of(key));
        buf_put_lit(out, " for ");
        put_text(out, show_find(value, "window_s"));
        buf_put_lit(out, " s, until ");
        put_text(out, show_find(value, "until"));
        buf_put_lit(out, "\n");
    }
}

static void put_variant(struct buf *out, const json_t *v)
{
    bool in_memory = json_is_true(show_find(v, "in_memory")), on_disk = json_is_true(show_find(v, "on_disk"));
    buf_printf(out, "\n%s, status %" PRId64 ", ",
               json_is_true(show_find(v, "selected")) ? "selected" : "variant", show_int(v, "status"));
    put_text(out, show_find(v, "length"));
    buf_printf(out, " bytes, %s\n",
               in_memory && on_disk ? "in memory and on disk"
               : in_memory          ? "in memory"
                                    : "on disk");
    put_members(out, "  ", show_find(v, "vary"));
    put_members(out, "    ", show_find(v, "lifetime"));
    put_stale(out, show_find(v, "stale"));
}

static enum ctl_exit print_explained(const json_t *a)
{
    struct buf out = {0};
    size_t i;
    json_t *v;
    put_reasoned(&out, "would", a, "would");
    put_row(&out, "key", a, "key");
    put_row(&out, "route", a, "route");
    put_row(&out, "origin", a, "origin");
    put_reasoned(&out, "sorted", show_find(a, "sorted"), "as");
    put_remembered(&out, show_find(a, "remembered"));
    put_flights(&out, show_find(a, "flights"));
    json_array_foreach((json_t *)show_find(a, "variants"), i, v) put_variant(&out, v);
    return ctl_print(&out);
}

enum ctl_exit ctl_explain(const struct ctl *c)
{
    struct buf target = {0};
    put_target(&target, c);
    json_t *answer = target.failed ? NULL : ctl_get_json(c, target.p);
    buf_fini(&target);
    if (answer == NULL)
        return CTL_FAILED;
    enum ctl_exit result = c->json ? ctl_print_json(answer) : print_explained(answer);
    json_decref(answer);
    return result;
}
