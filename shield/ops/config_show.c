#include <string.h>

#include "common/check.h"
#include "shield/ops/config_load.h"

/* The part of a name before its last dot. */
static struct span section_of(const struct directive *d)
{
    const char *dot = strrchr(d->name, '.');
    return (struct span){d->name, dot != NULL ? (size_t)(dot - d->name) : 0};
}

static void put_row(const struct directive *d, const void *base, const char *indent, struct buf *out)
{
    const char *dot = strrchr(d->name, '.');
    buf_printf(out, "%s%s: ", indent, dot != NULL ? dot + 1 : d->name);
    directive_put(d, base, out);
    buf_put_lit(out, "\n");
}

/* A route's rows that say something: what it cannot use would be refused when read back, and an empty list is
 * worth a line only where the preset has another. */
static bool is_shown(const struct directive *d, const struct config_route *r)
{
    if (d->scope != SCOPE_ROUTE || config_route_excludes(d, r) != NULL)
        return false;
    return !directive_is_empty(d, r) || config_preset_value((enum config_preset)r->preset, d) != NULL;
}

static void put_route(const struct config_route *r, struct buf *out)
{
    struct span section = {"", 0};
    const char *dash = "- ";
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (!is_shown(d, r))
            continue;
        if (!span_eq(section_of(d), section)) {
            section = section_of(d);
            if (section.len > 0)
                buf_printf(out, "    %.*s:\n", SPAN_FMT(section));
        }
        buf_printf(out, "  %s", dash);
        put_row(d, r, section.len > 0 ? "  " : "", out);
        dash = "  ";
    }
}

static void put_routes(const struct config *c, struct buf *out)
{
    if (c->n_routes == 0)
        buf_put_lit(out, "routes: []\n");
    else
        buf_put_lit(out, "routes:\n");
    for (uint32_t i = 0; i < c->n_routes; i++)
        put_route(&c->routes[i], out);
}

void config_dump(const struct config *c, struct buf *out)
{
    struct span section = {"", 0};
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope != SCOPE_GLOBAL)
            continue;
        if (!span_eq(section_of(d), section)) {
            section = section_of(d);
            buf_printf(out, "%.*s:\n", SPAN_FMT(section));
        }
        put_row(d, c, section.len > 0 ? "  " : "", out);
    }
    buf_put_lit(out, "origins:\n");
    for (uint32_t o = 0; o < c->n_origins; o++) {
        buf_printf(out, "  \"%s\":\n", c->origins[o].name);
        for (size_t i = 0; i < directive_count; i++)
            if (directives[i].scope == SCOPE_ORIGIN)
                put_row(&directives[i], &c->origins[o], "    ", out);
    }
    put_routes(c, out);
}

/* "16m to 64t", "refuse|strip|store" */
static void put_range(const struct directive *d, struct buf *out)
{
    if (d->min != NULL) {
        buf_printf(out, "%s to %s", d->min, d->max);
        return;
    }
    if (d->type == D_BOOL && d->words == NULL)
        buf_put_lit(out, "on|off");
    else if (d->type == D_ENUM || d->type == D_BOOL)
        for (size_t i = 0; directive_word(d->words, i).len > 0; i++) {
            buf_put_span(out, i > 0 ? SPAN("|") : SPAN(""));
            buf_put_span(out, directive_word(d->words, i));
        }
    else
        buf_put_span(out, directive_is_list(d)   ? SPAN("list")
                          : directive_is_map(d)  ? SPAN("map")
                          : d->type == D_ADDRESS ? SPAN("address")
                                                 : SPAN("text"));
}

void config_describe(struct buf *out)
{
    buf_printf(out, "%-29s  %-21s  %-22s  %-7s  %s\n", "NAME", "DEFAULT", "RANGE", "RELOAD", "WHAT IT IS");
    for (size_t i = 0; i < directive_count; i++) {
        static const char *const prefixes[] = {"", "origins.NAME.", "routes."};
        const struct directive *d = &directives[i];
        const char *prefix = prefixes[d->scope];
        struct buf range = {0};
        put_range(d, &range);
        buf_printf(out, "%s%-*s  %-21s  %-22.*s  %-7s  %s\n", prefix, 29 - (int)strlen(prefix), d->name,
                   d->def[0] != '\0' ? d->def : "-", SPAN_FMT(range),
                   d->reload == D_LIVE ? "live" : "restart", d->help);
        out->failed |= range.failed;
        buf_fini(&range);
    }
}

static void put_name(struct buf *out, const char *origin, const char *name)
{
    buf_put_span(out, out->len > 0 ? SPAN(", ") : SPAN(""));
    if (origin != NULL)
        buf_printf(out, "origins.%s.", origin);
    buf_put_span(out, span_of(name));
}

static bool differs(const struct directive *d, const void *a, const void *b)
{
    struct buf x = {0}, y = {0};
    directive_put(d, a, &x);
    directive_put(d, b, &y);
    bool same = !x.failed && !y.failed && span_eq(buf_span(&x), buf_span(&y));
    buf_fini(&x);
    buf_fini(&y);
    return !same; /* what cannot be compared may differ: then a restart is the safe answer */
}

/* Origins have numbers (metrics, pools), so their list is fixed while we run. */
static bool same_origins(const struct config *a, const struct config *b)
{
    if (a->n_origins != b->n_origins)
        return false;
    for (uint32_t o = 0; o < a->n_origins; o++)
        if (strcmp(a->origins[o].name, b->origins[o].name) != 0)
            return false;
    return true;
}

void config_restart_needed(const struct config *running, const struct config *next, struct buf *out)
{
    bool origins_fit = same_origins(running, next);
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->reload != D_RESTART)
            continue;
        if (d->scope == SCOPE_GLOBAL && differs(d, running, next))
            put_name(out, NULL, d->name);
        for (uint32_t o = 0; d->scope == SCOPE_ORIGIN && origins_fit && o < running->n_origins; o++)
            if (differs(d, &running->origins[o], &next->origins[o]))
                put_name(out, running->origins[o].name, d->name);
    }
    if (!origins_fit)
        put_name(out, NULL, "origins");
}
