#include "shield/ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/units.h"
#include "shield/ctl/ctl_show.h"

/* ---- the order ---- */

static bool no_memory(void)
{
    fputs("shieldctl: out of memory\n", stderr);
    return false;
}

bool ctl_order_member(struct ctl *c, const char *name, json_t *value)
{
    if (c->order == NULL)
        c->order = json_object();
    return json_object_set_new(c->order, name, value) == 0 || no_memory();
}

bool ctl_order_item(struct ctl *c, const char *list, const char *text)
{
    json_t *one = json_string(text);
    if (one == NULL) {
        fprintf(stderr, "shieldctl: %s: what is given is no UTF-8; write it percent-encoded\n", list);
        return false;
    }
    if (json_object_get(c->order, list) == NULL && !ctl_order_member(c, list, json_array())) {
        json_decref(one);
        return false;
    }
    return json_array_append_new(json_object_get(c->order, list), one) == 0 || no_memory();
}

/* ---- purge ---- */

void ctl_purge_put(struct buf *out, const json_t *said)
{
    bool is_durable = json_is_true(show_find(said, "durable"));
    buf_printf(out, "purge %" PRId64 ": %s%s\n", show_int(said, "purge"),
               json_is_true(show_find(said, "repeated")) ? "ordered before; " : "",
               is_durable ? "in force" : "in force, but it would not survive a restart");
}

/* A paced purge has reached everything when its time is over. */
static void wait_for_end(const struct ctl *c)
{
    uint64_t over_ms = 0;
    const char *over = json_string_value(json_object_get(c->order, "over"));
    if (over != NULL && units_parse_duration_ms(span_of(over), &over_ms))
        for (uint64_t left_s = (over_ms + 999) / 1000; left_s > 0; left_s--)
            sleep(1);
}

/* What was said of a purge that is in force; NULL after saying that it is not. */
static json_t *conclude(const struct ctl *c, const struct ctl_answer *a)
{
    json_t *said = a->body.len > 0 ? json_loadb(a->body.p, a->body.len, 0, NULL) : NULL;
    if ((a->status == 200 || a->status == 507) && json_is_integer(show_find(said, "purge")))
        return said;
    ctl_say_refusal(c, "/purge", a);
    json_decref(said);
    return NULL;
}

json_t *ctl_purge_order(const struct ctl *c, bool *is_durable)
{
    struct ctl_answer a = {0};
    json_t *said = NULL;
    char *order = json_dumps(c->order, JSON_COMPACT);
    if (order == NULL)
        no_memory();
    else if (ctl_post(c, "/purge", span_of(order), &a))
        said = conclude(c, &a);
    buf_fini(&a.body);
    free(order);
    *is_durable = said != NULL && json_is_true(show_find(said, "durable"));
    if (said != NULL && !*is_durable)
        fprintf(stderr,
                "shieldctl: %s: the purge is in force but not durable; shieldctl ready says what ails the "
                "store\n",
                c->admin_text);
    return said;
}

enum ctl_exit ctl_purge(const struct ctl *c)
{
    bool is_durable;
    struct buf out = {0};
    json_t *said = ctl_purge_order(c, &is_durable);
    if (said == NULL)
        return CTL_FAILED;
    if (!c->json)
        ctl_purge_put(&out, said);
    enum ctl_exit result = c->json ? ctl_print_json(said) : ctl_print(&out);
    json_decref(said);
    if (result == CTL_OK && c->is_waiting)
        wait_for_end(c);
    return is_durable ? result : CTL_FAILED;
}

/* ---- what changes how it runs ---- */

static enum ctl_exit post_bare(const struct ctl *c, const char *target, const char *done)
{
    struct ctl_answer a;
    struct buf out = {0};
    bool ok = ctl_post(c, target, (struct span){NULL, 0}, &a);
    enum ctl_exit result = CTL_FAILED;
    if (ok && a.status == 200) {
        if (c->json)
            buf_put_span(&out, buf_span(&a.body));
        else
            buf_printf(&out, "%s\n", done);
        result = ctl_print(&out);
    } else if (ok) {
        ctl_say_refusal(c, target, &a);
    }
    buf_fini(&a.body);
    return result;
}

enum ctl_exit ctl_reload(const struct ctl *c)
{
    return post_bare(c, "/reload", "reloaded");
}

enum ctl_exit ctl_drain(const struct ctl *c)
{
    return post_bare(c, "/drain", "draining");
}
