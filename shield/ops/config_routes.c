#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/ops/config_load.h"

/* ---- what a route has that says nothing ---- */

static size_t plain_size(enum directive_type type)
{
    switch (type) {
    case D_COUNT:
    case D_BYTES:
    case D_TIME:
    case D_TIME_OR:
        return sizeof(uint64_t);
    case D_BOOL:
        return sizeof(bool);
    case D_ENUM:
        return sizeof(int);
    default:
        return 0; /* owns memory, or (D_STATUS) belongs to one of several rows */
    }
}

static void set_default(const struct directive *d, const struct config *c, struct config_route *r)
{
    const struct directive *global = directive_find(SCOPE_GLOBAL, span_of(d->def));
    if (global == NULL) {
        struct buf why = {0};
        ENSURE(directive_add(d, r, span_of(d->def), &why) == 0);
        buf_fini(&why);
        return;
    }
    REQUIRE(global->type == d->type);
    memcpy((char *)r + d->offset, (const char *)c + global->offset, plain_size(d->type));
}

void config_route_defaults(const struct config *c, struct config_route *out)
{
    *out = (struct config_route){.name = (char *)"default", .origin_name = c->origins[0].name};
    for (size_t i = 0; i < directive_count; i++)
        if (directives[i].scope == SCOPE_ROUTE && plain_size(directives[i].type) > 0)
            set_default(&directives[i], c, out);
}

/* ---- presets ---- */

#define TRACKING "utm_*,gclid,gbraid,wbraid,dclid,fbclid,msclkid,ttclid,mc_cid,mc_eid"

static const struct preset_value {
    enum config_preset preset;
    const char *name, *value;
} preset_values[] = {
    {PRESET_STATIC, "ttl_default", "1d"},
    {PRESET_STATIC, "ttl_jitter", "10"},
    {PRESET_STATIC, "stale_while_revalidate", "1d"},
    {PRESET_STATIC, "stale_if_error", "1d"},
    {PRESET_STATIC, "stale_if_disconnected", "7d"},
    {PRESET_STATIC, "key.query_sort", "on"},
    {PRESET_STATIC, "key.query_ignore", TRACKING},
    {PRESET_HTML, "heuristic", "off"},
    {PRESET_HTML, "ttl_max", "10m"},
    {PRESET_HTML, "early_refresh", "1"},
    {PRESET_HTML, "stale_while_revalidate", "30s"},
    {PRESET_HTML, "stale_if_error", "1d"},
    {PRESET_HTML, "key.query_ignore", TRACKING},
    {PRESET_API, "heuristic", "off"},
    {PRESET_API, "ttl_max", "5m"},
    {PRESET_API, "stale_if_disconnected", "1m"},
    {PRESET_API, "key.query_sort", "on"},
    {PRESET_MICROCACHE, "heuristic", "off"},
    {PRESET_MICROCACHE, "ttl", "1s"},
    {PRESET_MICROCACHE, "stale_while_revalidate", "10s"},
    {PRESET_MICROCACHE, "stale_if_error", "1m"},
    {PRESET_MICROCACHE, "stale_if_overloaded", "1m"},
    {PRESET_VIDEO, "ttl_default", "7d"},
    {PRESET_VIDEO, "ttl_jitter", "10"},
    {PRESET_VIDEO, "stale_while_revalidate", "1d"},
    {PRESET_VIDEO, "stale_if_error", "7d"},
    {PRESET_VIDEO, "stale_if_disconnected", "30d"},
    {PRESET_VIDEO, "key.query_sort", "on"},
};

const char *config_preset_value(enum config_preset preset, const struct directive *d)
{
    for (size_t i = 0; i < ARRAY_LEN(preset_values); i++)
        if (preset_values[i].preset == preset && strcmp(preset_values[i].name, d->name) == 0)
            return preset_values[i].value;
    return NULL;
}

static bool starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

const char *config_route_excludes(const struct directive *d, const struct config_route *r)
{
    static const char *const own[] = {"redirect.", "answer.", "deny"};
    static const enum config_action actions[] = {ACTION_REDIRECT, ACTION_ANSWER, ACTION_DENY};
    static const char *const lifetimes[] = {"ttl", "stale_", "heuristic", "early_refresh", "admit_after"};
    static const char *const query[] = {"key.query_sort", "key.query_ignore", "key.query_allow"};
    const char *name = d->name;
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (starts(name, own[i]))
            return r->action == (int)actions[i] ? NULL : "the route does not answer so";
    if (strcmp(name, "name") == 0 || starts(name, "match.") || starts(name, "response."))
        return NULL;
    if (r->action != ACTION_PROXY)
        return "the route answers by itself (redirect, answer or deny)";
    for (size_t i = 0; i < ARRAY_LEN(lifetimes) && r->cache == CACHE_OFF; i++)
        if (starts(name, lifetimes[i]))
            return "nothing is kept with cache: off";
    for (size_t i = 0; i < ARRAY_LEN(query) && r->key.drop_query; i++)
        if (strcmp(name, query[i]) == 0)
            return "key.query: drop leaves no parameter";
    return NULL;
}

/* ---- making, filling and freeing ---- */

bool loader_new_route(struct loader *l, struct place at, uint32_t *out)
{
    uint32_t n = l->c->n_routes;
    if (n == CONFIG_MAX_ROUTES) {
        loader_problem(l, ERR_RANGE, at, "one route too many; %d are the most", CONFIG_MAX_ROUTES);
        return false;
    }
    struct config_route *routes = realloc(l->c->routes, (n + 1) * sizeof *routes);
    if (routes != NULL)
        l->c->routes = routes;
    struct route_places *places = realloc(l->routes, (n + 1) * sizeof *places);
    if (places != NULL)
        l->routes = places;
    struct place *given = arena_alloc(&l->memory, directive_count * sizeof *given);
    if (routes == NULL || places == NULL || given == NULL) {
        loader_problem(l, ERR_NOMEM, at, "%s", err_text(ERR_NOMEM));
        return false;
    }
    memset(given, 0, directive_count * sizeof *given);
    routes[n] = (struct config_route){0};
    places[n] = (struct route_places){at, given};
    l->c->n_routes = n + 1;
    *out = n;
    return true;
}

void config_free_routes(struct config *c)
{
    for (uint32_t i = 0; i < c->n_routes; i++)
        for (size_t d = 0; d < directive_count; d++)
            if (directives[d].scope == SCOPE_ROUTE)
                directive_clear(&directives[d], &c->routes[i]);
    free(c->routes);
    c->routes = NULL;
    c->n_routes = 0;
}

static bool is_given(const struct loader *l, uint32_t route, const struct directive *d)
{
    return l->routes[route].given[d - directives].source != NULL;
}

static void fill(struct loader *l, uint32_t route, const struct directive *d, struct span text)
{
    struct target t = {.d = d, .route = route};
    if (directive_is_list(d)) {
        directive_clear(d, &l->c->routes[route]);
        loader_add_commas(l, &t, &l->c->routes[route], text, l->routes[route].at);
    } else {
        loader_add(l, &t, &l->c->routes[route], text, l->routes[route].at);
    }
}

static void fill_preset(struct loader *l, uint32_t route)
{
    const struct config_route *r = &l->c->routes[route];
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope != SCOPE_ROUTE || is_given(l, route, d) || config_route_excludes(d, r) != NULL)
            continue;
        const char *value = config_preset_value((enum config_preset)r->preset, d);
        if (value != NULL)
            fill(l, route, d, span_of(value));
    }
}

/* Which of redirect, answer and deny; a problem when there are several. */
static void choose_action(struct loader *l, uint32_t route)
{
    struct config_route *r = &l->c->routes[route];
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope != SCOPE_ROUTE || !is_given(l, route, d))
            continue;
        int action = starts(d->name, "redirect.") ? ACTION_REDIRECT
                     : starts(d->name, "answer.") ? ACTION_ANSWER
                     : starts(d->name, "deny")    ? ACTION_DENY
                                                  : ACTION_PROXY;
        if (action == ACTION_PROXY || action == r->action)
            continue;
        if (r->action == ACTION_PROXY)
            r->action = action;
        else
            loader_problem(l, ERR_SYNTAX, l->routes[route].given[i],
                           "'%s': the route has an answer already; keep one of redirect, answer and deny",
                           d->name);
    }
}

/* Everything that was not given: the sections' and the table's defaults, then what the preset says. */
void loader_fill_route(struct loader *l, uint32_t route, const struct config_route *defaults)
{
    struct config_route *r = &l->c->routes[route];
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope == SCOPE_ROUTE && plain_size(d->type) > 0 && !is_given(l, route, d))
            memcpy((char *)r + d->offset, (const char *)defaults + d->offset, plain_size(d->type));
    }
    choose_action(l, route);
    char name[32];
    int n = snprintf(name, sizeof name, "routes[%u]", route);
    if (r->name == NULL)
        fill(l, route, directive_find(SCOPE_ROUTE, SPAN("name")), (struct span){name, (size_t)n});
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope == SCOPE_ROUTE && plain_size(d->type) == 0 && !directive_is_list(d) &&
            !directive_is_map(d) && d->def[0] != '\0' && !is_given(l, route, d) &&
            (config_route_excludes(d, r) == NULL || d->type == D_NAME))
            fill(l, route, d, span_of(d->def));
    }
    fill_preset(l, route);
}
