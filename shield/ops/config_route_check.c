#include <string.h>
#include <strings.h>

#include "common/check.h"
#include "shield/ops/config_load.h"

/* Where the route's directive was given; the route's own place when it was not. */
static struct place place_of(const struct loader *l, uint32_t route, const char *name)
{
    const struct directive *d = directive_find(SCOPE_ROUTE, span_of(name));
    REQUIRE(d != NULL);
    struct place at = l->routes[route].given[d - directives];
    return at.source != NULL ? at : l->routes[route].at;
}

static bool is_given(const struct loader *l, uint32_t route, const char *name)
{
    const struct directive *d = directive_find(SCOPE_ROUTE, span_of(name));
    REQUIRE(d != NULL);
    return l->routes[route].given[d - directives].source != NULL;
}

static void report_unknown_origin(struct loader *l, uint32_t route)
{
    struct span name = span_of(l->c->routes[route].origin_name), near = {"", 0};
    size_t best = 3;
    for (uint32_t i = 0; i < l->c->n_origins; i++) {
        struct span other = span_of(l->c->origins[i].name);
        size_t d = config_distance(name, other);
        if (d < best) {
            best = d;
            near = other;
        }
    }
    struct place at = place_of(l, route, "origin");
    if (near.len > 0)
        loader_problem(l, ERR_SYNTAX, at, "no origin '%.*s'; did you mean '%.*s'?", SPAN_FMT(name),
                       SPAN_FMT(near));
    else
        loader_problem(l, ERR_SYNTAX, at,
                       "no origin '%.*s'; give origins: { %.*s: { servers: [http://HOST:PORT] } }",
                       SPAN_FMT(name), SPAN_FMT(name));
}

static void find_origin(struct loader *l, uint32_t route)
{
    struct config_route *r = &l->c->routes[route];
    if (r->origin_name == NULL)
        return; /* refused, or no memory: told of */
    for (uint32_t i = 0; i < l->c->n_origins; i++)
        if (strcmp(l->c->origins[i].name, r->origin_name) == 0) {
            r->origin = i;
            return;
        }
    report_unknown_origin(l, route);
}

static void check_name(struct loader *l, uint32_t route)
{
    const char *name = l->c->routes[route].name;
    if (name == NULL)
        return;
    if (strcmp(name, "default") == 0)
        loader_problem(l, ERR_SYNTAX, place_of(l, route, "name"),
                       "'default' is the name of the route behind all others; take another");
    for (uint32_t i = 0; i < route; i++)
        if (l->c->routes[i].name != NULL && strcmp(l->c->routes[i].name, name) == 0)
            loader_problem(l, ERR_SYNTAX, place_of(l, route, "name"),
                           "'%s' is the name of routes[%u] already; take another", name, i);
}

static void check_match(struct loader *l, uint32_t route)
{
    for (size_t i = 0; i < directive_count && l->err == 0; i++) {
        const struct directive *d = &directives[i];
        if (d->scope == SCOPE_ROUTE && strncmp(d->name, "match.", 6) == 0 && is_given(l, route, d->name) &&
            directive_is_empty(d, &l->c->routes[route]))
            loader_problem(l, ERR_SYNTAX, place_of(l, route, d->name),
                           "'%s' is empty: nothing can match; leave it out to match all", d->name);
    }
}

/* What was given and can have no effect beside something else that was given. */
static void check_excluded(struct loader *l, uint32_t route)
{
    static const char *const own[] = {"redirect.", "answer.", "deny"}; /* choose_action has told of these */
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope != SCOPE_ROUTE || !is_given(l, route, d->name))
            continue;
        bool told = false;
        for (size_t o = 0; o < ARRAY_LEN(own); o++)
            told |= strncmp(d->name, own[o], strlen(own[o])) == 0;
        const char *why = told ? NULL : config_route_excludes(d, &l->c->routes[route]);
        if (why != NULL)
            loader_problem(l, ERR_SYNTAX, place_of(l, route, d->name),
                           "'%s' has no effect: %s; leave one of the two out", d->name, why);
    }
}

static void check_answer(struct loader *l, uint32_t route)
{
    const struct config_route *r = &l->c->routes[route];
    bool has_text = r->text != NULL && r->text[0] != '\0';
    if (r->action == ACTION_REDIRECT) {
        if (!has_text && !is_given(l, route, "redirect.to"))
            loader_problem(l, ERR_SYNTAX, place_of(l, route, "redirect.status"),
                           "a redirect to nowhere; give redirect: { to: URL }");
        if (r->status >= 304 && r->status <= 306)
            loader_problem(l, ERR_RANGE, place_of(l, route, "redirect.status"),
                           "%u is no redirect; 301, 302, 303, 307 or 308", r->status);
    }
    if (r->action == ACTION_ANSWER) {
        if (r->status == 206 || r->status == 304)
            loader_problem(l, ERR_RANGE, place_of(l, route, "answer.status"),
                           "%u is an answer to what was not asked; 200 would be right", r->status);
        else if ((r->status == 204 || r->status == 205) && has_text)
            loader_problem(l, ERR_SYNTAX, place_of(l, route, "answer.body"),
                           "%u has no content (RFC 9110 section 15.3); leave one of the two out", r->status);
    }
}

static size_t count_stars(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '*';
    return n;
}

static void check_rewrite(struct loader *l, uint32_t route)
{
    const struct config_route *r = &l->c->routes[route];
    bool from = is_given(l, route, "rewrite.from"), to = is_given(l, route, "rewrite.to");
    if (from != to)
        loader_problem(l, ERR_SYNTAX, place_of(l, route, from ? "rewrite.from" : "rewrite.to"),
                       "half a rewrite; rewrite: { from: /old/*, to: /new/* }");
    else if (r->rewrite_from != NULL && r->rewrite_to != NULL &&
             count_stars(r->rewrite_to) > count_stars(r->rewrite_from))
        loader_problem(l, ERR_SYNTAX, place_of(l, route, "rewrite.to"),
                       "more '*' than in rewrite.from, which they take their text from; %zu at most",
                       count_stars(r->rewrite_from));
}

static bool among(const struct config_texts *list, const char *text)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (strcasecmp(list->items[i], text) == 0)
            return true;
    return false;
}

static void check_fields(struct loader *l, uint32_t route, const struct config_pairs *set,
                         const struct config_texts *removed, const char *remove_name)
{
    for (uint32_t i = 0; i < set->n; i++)
        if (among(removed, set->items[i].name))
            loader_problem(l, ERR_SYNTAX, place_of(l, route, remove_name),
                           "'%s' is set and removed; setting it is enough", set->items[i].name);
}

/* What is HTTP inside, or may be, would get around every rule there is. */
static const char *upgrade_problem(const char *protocol)
{
    static const char *const are_http[] = {"h2c", "h2", "h3", "http", "tls"};
    for (size_t i = 0; i < ARRAY_LEN(are_http); i++)
        if (strcasecmp(protocol, are_http[i]) == 0)
            return "is HTTP inside, past all routes and limits; name another protocol, as websocket";
    return strcasecmp(protocol, "off") == 0 ? "says none beside others; leave one of the two out" : NULL;
}

/* "off" alone is an empty list. */
static void check_upgrade(struct loader *l, uint32_t route)
{
    struct config_texts *list = &l->c->routes[route].upgrade;
    if (list->n == 1 && strcmp(list->items[0], "off") == 0)
        directive_clear(directive_find(SCOPE_ROUTE, SPAN("upgrade")), &l->c->routes[route]);
    for (uint32_t i = 0; i < list->n; i++) {
        const char *problem = upgrade_problem(list->items[i]);
        if (problem != NULL)
            loader_problem(l, ERR_SYNTAX, place_of(l, route, "upgrade"), "'%s' %s", list->items[i], problem);
    }
}

static bool has_any(const struct config_texts *list, const char *one, const char *other)
{
    return list->n == 0 || among(list, one) || among(list, other);
}

static bool matches_all(const struct config_route *r)
{
    return has_any(&r->match.hosts, "*", "*") && has_any(&r->match.paths, "*", "/*") &&
           r->match.methods.n == 0 && r->match.cookies.n == 0 && r->match.headers.n == 0;
}

static void check_reach(struct loader *l)
{
    uint32_t all = UINT32_MAX;
    for (uint32_t i = 0; i < l->c->n_routes && l->err == 0; i++) {
        if (all != UINT32_MAX)
            loader_warning(l, l->routes[i].at, "never reached: '%s' before it matches everything; move it up",
                           l->c->routes[all].name);
        else if (matches_all(&l->c->routes[i]))
            all = i;
    }
}

void loader_settle_routes(struct loader *l)
{
    struct config_route defaults;
    config_route_defaults(l->c, &defaults);
    for (uint32_t i = 0; i < l->c->n_routes; i++) {
        struct config_route *r = &l->c->routes[i];
        loader_fill_route(l, i, &defaults);
        find_origin(l, i);
        check_name(l, i);
        check_match(l, i);
        check_excluded(l, i);
        check_answer(l, i);
        check_rewrite(l, i);
        check_upgrade(l, i);
        check_fields(l, i, &r->request_set, &r->request_remove, "request.remove");
        check_fields(l, i, &r->response_set, &r->response_remove, "response.remove");
        if (r->ttl_min_ms >= 0 && r->ttl_max_ms >= 0 && r->ttl_min_ms > r->ttl_max_ms)
            loader_problem(l, ERR_RANGE, place_of(l, i, is_given(l, i, "ttl_min") ? "ttl_min" : "ttl_max"),
                           "ttl_min is above ttl_max; it may be as much at most");
    }
    check_reach(l);
}
