#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "shield/ops/config_load.h"
#include "shield/ops/config_parts.h"

static const struct span origins_prefix = {"origins.", 8};

/* Names that the contract has and this version does not. */
static const char *const later[] = {"tls"};

/* `name` is `what`, or lies in it: "tls", "tls.min". */
static bool is_or_in(struct span name, struct span what)
{
    return span_starts(name, what) && (name.len == what.len || name.p[what.len] == '.');
}

static bool is_origin_name(struct span name)
{
    return config_is_name(name) && memchr(name.p, '.', name.len) == NULL;
}

static enum name_kind resolve_in_origin(struct span rest, struct target *out)
{
    const char *dot = rest.len > 0 ? memchr(rest.p, '.', rest.len) : NULL;
    out->origin = (struct span){rest.p, dot != NULL ? (size_t)(dot - rest.p) : rest.len};
    if (!is_origin_name(out->origin))
        return NAME_BAD_ORIGIN;
    if (dot == NULL)
        return NAME_SECTION;
    struct span last = span_from(rest, out->origin.len + 1);
    if (is_or_in(last, SPAN("tls")))
        return NAME_LATER;
    out->d = directive_find(SCOPE_ORIGIN, last);
    return out->d != NULL ? NAME_DIRECTIVE : NAME_UNKNOWN;
}

static enum name_kind resolve_by_rows(enum directive_scope scope, struct span name, struct target *out)
{
    out->d = directive_find(scope, name);
    if (out->d != NULL)
        return NAME_DIRECTIVE;
    for (size_t i = 0; i < directive_count && name.len > 0; i++)
        if (directives[i].scope == scope && is_or_in(span_of(directives[i].name), name))
            return NAME_SECTION;
    return NAME_UNKNOWN;
}

enum name_kind loader_resolve(struct span name, struct target *out)
{
    *out = (struct target){0};
    if (span_eq(name, SPAN("origins")))
        return NAME_SECTION;
    if (span_starts(name, origins_prefix))
        return resolve_in_origin(span_from(name, origins_prefix.len), out);
    for (size_t i = 0; i < ARRAY_LEN(later); i++)
        if (is_or_in(name, span_of(later[i])))
            return NAME_LATER;
    if (is_or_in(name, SPAN("routes")))
        return NAME_ROUTES;
    return resolve_by_rows(SCOPE_GLOBAL, name, out);
}

enum name_kind loader_resolve_in_route(struct span name, uint32_t route, struct target *out)
{
    *out = (struct target){.route = route};
    enum name_kind kind = resolve_by_rows(SCOPE_ROUTE, name, out);
    return kind == NAME_UNKNOWN ? NAME_UNKNOWN_IN_ROUTE : kind;
}

/* Edit distance with transpositions of neighbours (optimal string alignment), the three last rows of its
 * matrix. */
size_t config_distance(struct span a, struct span b)
{
    size_t rows[3][CONFIG_MAX_NAME + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    REQUIRE(a.len <= CONFIG_MAX_NAME && b.len <= CONFIG_MAX_NAME);
    for (size_t j = 0; j <= b.len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t change = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
            now[j] = MIN(change, MIN(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                now[j] = MIN(now[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = now;
        now = oldest;
    }
    return last[b.len];
}

static struct span last_part(struct span name)
{
    const char *dot = name.len > 0 ? memrchr(name.p, '.', name.len) : NULL;
    return dot == NULL ? name : span_from(name, (size_t)(dot - name.p) + 1);
}

/* A row's full name as a user would write it, in the origin that `like` names or else in "default". */
static struct span full_name(const struct directive *d, struct span like,
                             char out[static 2 * CONFIG_MAX_NAME])
{
    if (d->scope != SCOPE_ORIGIN)
        return span_of(d->name);
    struct span origin = SPAN("default");
    struct target t;
    if (span_starts(like, origins_prefix) && loader_resolve(like, &t) != NAME_BAD_ORIGIN)
        origin = t.origin;
    int n = snprintf(out, 2 * CONFIG_MAX_NAME, "origins.%.*s.%s", SPAN_FMT(origin), d->name);
    return (struct span){out, (size_t)n};
}

/* A slip costs a few edits of the whole name; the right word in the wrong section counts as one more than
 * that allows, so that it is found where nothing is nearer. */
bool config_nearest(struct span name, bool in_route, struct buf *out)
{
    if (name.len == 0 || name.len > CONFIG_MAX_NAME)
        return false;
    size_t allowed = MAX((size_t)2, name.len / 4), best = allowed + 2;
    char best_name[2 * CONFIG_MAX_NAME];
    size_t best_len = 0;
    for (size_t i = 0; i < directive_count; i++) {
        char scratch[2 * CONFIG_MAX_NAME];
        struct span full = full_name(&directives[i], name, scratch);
        if (full.len > CONFIG_MAX_NAME || (directives[i].scope == SCOPE_ROUTE) != in_route)
            continue;
        size_t d = config_distance(name, full);
        if (d > allowed)
            d = span_eq(last_part(full), last_part(name)) ? allowed + 1 : best;
        if (d < best) {
            best = d;
            best_len = full.len;
            memcpy(best_name, full.p, full.len);
        }
    }
    buf_put(out, best_name, best_len);
    return best_len > 0;
}

void loader_bad_name(struct loader *l, enum name_kind kind, struct span name, struct place at)
{
    int shown = (int)MIN(name.len, (size_t)CONFIG_MAX_NAME);
    struct buf near = {0};
    switch (kind) {
    case NAME_LATER:
        loader_problem(l, ERR_SYNTAX, at, "'%.*s' is not built yet; leave it out", shown, name.p);
        break;
    case NAME_BAD_ORIGIN:
        loader_problem(l, ERR_SYNTAX, at,
                       "'%.*s': not an origin's name; 1 to 63 letters, digits, '_' and '-' are expected",
                       shown, name.p);
        break;
    case NAME_SECTION:
        loader_problem(l, ERR_SYNTAX, at, "'%.*s' is a section; name a directive in it, as --help lists them",
                       shown, name.p);
        break;
    case NAME_ROUTES:
        loader_problem(l, ERR_SYNTAX, at,
                       "'%.*s': routes are a list in the file: routes: [{ match: { path: /x/* }, ttl: 1h }]",
                       shown, name.p);
        break;
    case NAME_UNKNOWN:
    case NAME_UNKNOWN_IN_ROUTE:
    case NAME_DIRECTIVE: {
        bool in_route = kind == NAME_UNKNOWN_IN_ROUTE;
        const char *where = in_route ? " in a route" : "";
        if (config_nearest(name, in_route, &near))
            loader_problem(l, ERR_SYNTAX, at, "unknown directive '%.*s'%s; did you mean '%.*s'?", shown,
                           name.p, where, SPAN_FMT(near));
        else
            loader_problem(l, ERR_SYNTAX, at, "unknown directive '%.*s'%s; --help lists all", shown, name.p,
                           where);
        break;
    }
    }
    buf_fini(&near);
}
