#include "shield/policy/route.h"

#include <stdlib.h>

#include "common/http_path.h"
#include "shield/policy/pattern.h"

/* ---- patterns ---- */

/* Most patterns of a list differ from the text within a few bytes. */
static bool matches_text(const char *pattern, struct span text)
{
    size_t i = 0;
    while (i < text.len && pattern[i] == text.p[i] && pattern[i] != '*' && pattern[i] != '\0')
        i++;
    if (pattern[i] == '*')
        return pattern_matches(span_of(pattern + i), span_from(text, i));
    return pattern[i] == '\0' && i == text.len;
}

static bool any_matches(const struct config_texts *patterns, struct span text)
{
    for (uint32_t i = 0; i < patterns->n; i++)
        if (matches_text(patterns->items[i], text))
            return true;
    return false;
}

/* ---- the request, as patterns see it ---- */

enum { PLAIN, RESOLVED, BARE, READINGS, STACK_BYTES = 2048 };

struct view {
    struct span paths[READINGS]; /* BARE: resolved and without the parameters of segments */
    struct span host;
    bool blind; /* no memory for a path this long */
    char *memory;
    char stack[STACK_BYTES];
};

static struct span path_of(const struct http1_target *target)
{
    struct span path = target->path_query;
    const char *query = path.len > 0 ? memchr(path.p, '?', path.len) : NULL;
    if (query == path.p && query != NULL) /* absolute-form without a path: RFC 9112 section 3.2.1 */
        return SPAN("/");
    return query != NULL ? (struct span){path.p, (size_t)(query - path.p)} : path;
}

static struct span without_port(struct span host)
{
    const char *colon = host.len > 0 ? memrchr(host.p, ':', host.len) : NULL;
    const char *bracket = host.len > 0 ? memrchr(host.p, ']', host.len) : NULL;
    if (colon != NULL && (bracket == NULL || bracket < colon))
        host.len = (size_t)(colon - host.p);
    if (host.len > 1 && host.p[host.len - 1] == '.')
        host.len--;
    return host;
}

static void look_at(struct view *v, const struct http1_target *target)
{
    struct span path = path_of(target), host = without_port(target->host);
    bool plain = http_path_is_plain(path);
    size_t room = host.len + (plain ? 0 : READINGS * path.len);
    char *to = v->stack;
    v->memory = NULL;
    if (room > sizeof v->stack)
        to = v->memory = malloc(room);
    v->blind = to == NULL;
    if (v->blind)
        return;
    v->host = (struct span){to, http_path_plain(to, host)};
    for (size_t i = 0; i < v->host.len; i++)
        to[i] = ascii_lower(to[i]);
    to += v->host.len;
    if (plain) {
        for (unsigned i = 0; i < READINGS; i++)
            v->paths[i] = path;
        return;
    }
    v->paths[PLAIN] = (struct span){to, http_path_plain(to, path)};
    to += v->paths[PLAIN].len;
    v->paths[RESOLVED] = (struct span){to, http_path_resolved(to, v->paths[PLAIN], false)};
    to += v->paths[RESOLVED].len;
    v->paths[BARE] = (struct span){to, http_path_resolved(to, v->paths[PLAIN], true)};
}

/* ---- one route ---- */

static bool forbids(const struct config_route *r)
{
    return r->action == ACTION_DENY || r->cache == CACHE_OFF;
}

static bool path_matches(const struct config_route *r, const struct view *v)
{
    const struct config_texts *patterns = &r->match.paths;
    if (patterns->n == 0)
        return true;
    bool plain = any_matches(patterns, v->paths[PLAIN]);
    if (v->paths[RESOLVED].p == v->paths[PLAIN].p) /* there is but one reading */
        return plain;
    if (!forbids(r))
        return plain && any_matches(patterns, v->paths[RESOLVED]);
    return plain || any_matches(patterns, v->paths[RESOLVED]) || any_matches(patterns, v->paths[BARE]);
}

static bool method_matches(const struct config_route *r, const struct http_head *request)
{
    for (uint32_t i = 0; i < r->match.methods.n; i++)
        if (span_eq(span_of(r->match.methods.items[i]), request->method_text))
            return true;
    return r->match.methods.n == 0;
}

static bool header_matches(const struct config_pair *wanted, const struct http_head *request)
{
    struct span name = span_of(wanted->name);
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const struct http_field *f = &request->fields[i];
        if (span_eq_nocase(f->name, name) && matches_text(wanted->value, f->value))
            return true;
    }
    return false;
}

static bool headers_match(const struct config_route *r, const struct http_head *request)
{
    for (uint32_t i = 0; i < r->match.headers.n; i++)
        if (!header_matches(&r->match.headers.items[i], request))
            return false;
    return true;
}

/* The names in one Cookie field: what stands before '=' in each piece between semicolons. */
static bool has_cookie(const struct config_texts *patterns, struct span field)
{
    while (field.len > 0) {
        const char *end = memchr(field.p, ';', field.len);
        struct span pair = {field.p, end != NULL ? (size_t)(end - field.p) : field.len};
        field = span_from(field, pair.len + 1);
        const char *equals = pair.len > 0 ? memchr(pair.p, '=', pair.len) : NULL;
        if (equals != NULL)
            pair.len = (size_t)(equals - pair.p);
        pair = span_trim(pair);
        if (pair.len > 0 && any_matches(patterns, pair))
            return true;
    }
    return false;
}

static bool cookies_match(const struct config_route *r, const struct http_head *request)
{
    if (r->match.cookies.n == 0)
        return true;
    for (uint32_t i = 0; i < request->n_fields && http_has(request, FIELD_COOKIE); i++)
        if (request->fields[i].id == FIELD_COOKIE && has_cookie(&r->match.cookies, request->fields[i].value))
            return true;
    return false;
}

static bool matches(const struct config_route *r, const struct view *v, const struct http_head *request)
{
    if (!method_matches(r, request))
        return false;
    if (v->blind)
        return forbids(r);
    return path_matches(r, v) && (r->match.hosts.n == 0 || any_matches(&r->match.hosts, v->host)) &&
           headers_match(r, request) && cookies_match(r, request);
}

const struct config_route *policy_route(const struct config *cfg, const struct http_head *request,
                                        const struct http1_target *target)
{
    if (cfg->n_routes == 0)
        return &cfg->fallback;
    struct view v;
    look_at(&v, target);
    const struct config_route *found = &cfg->fallback;
    for (uint32_t i = 0; i < cfg->n_routes && found == &cfg->fallback; i++)
        if (matches(&cfg->routes[i], &v, request))
            found = &cfg->routes[i];
    free(v.memory);
    return found;
}

/* ---- whatever the fields ---- */

static bool takes_method(const struct config_route *r, struct span method)
{
    struct http_head head = {.method_text = method};
    return method_matches(r, &head);
}

static bool may_take(const struct config_route *r, const struct view *v)
{
    if (!takes_method(r, SPAN("GET")) && !takes_method(r, SPAN("HEAD")))
        return false;
    return v->blind ||
           (path_matches(r, v) && (r->match.hosts.n == 0 || any_matches(&r->match.hosts, v->host)));
}

/* What matches it by target alone: no other comes behind it. */
static bool takes_all(const struct config_route *r, const struct view *v)
{
    return !v->blind && r->match.headers.n == 0 && r->match.cookies.n == 0 && takes_method(r, SPAN("GET")) &&
           takes_method(r, SPAN("HEAD"));
}

uint32_t policy_routes_of(const struct config *cfg, const struct http1_target *target,
                          const struct config_route **out)
{
    struct view v;
    uint32_t n = 0;
    bool done = false;
    look_at(&v, target);
    for (uint32_t i = 0; i < cfg->n_routes && !done; i++) {
        const struct config_route *r = &cfg->routes[i];
        if (!may_take(r, &v))
            continue;
        out[n++] = r;
        done = takes_all(r, &v);
    }
    if (!done)
        out[n++] = &cfg->fallback;
    free(v.memory);
    return n;
}
