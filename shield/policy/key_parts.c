#include "shield/policy/key_parts.h"

#include "common/netaddr.h"
#include "shield/policy/pattern.h"
#include "shield/policy/unkeyed.h"
#include "shield/policy/vary.h"

#define CLASS_FIELD "Shield-Class-"

/* ---- the scheme ---- */

static bool is_trusted(const struct config *cfg, struct span client_ip)
{
    struct netaddr_cidr peer;
    return cfg->edges_trusted.n > 0 && netaddr_cidr_parse(client_ip, &peer) == NULL &&
           config_cidrs_have(&cfg->edges_trusted, &peer);
}

/* More than one is no word to trust: a client's may stand beside the edge's. */
struct span policy_scheme(const struct config *cfg, const struct http_head *request, struct span client_ip)
{
    bool is_told = http_count(request, FIELD_X_FORWARDED_PROTO) == 1 && is_trusted(cfg, client_ip);
    bool is_https = is_told && span_eq_nocase(http_value(request, FIELD_X_FORWARDED_PROTO), SPAN("https"));
    return is_https ? SPAN("https") : SPAN("http");
}

/* ---- headers ---- */

bool policy_keys_header(const struct config_route *route, struct span name)
{
    for (uint32_t i = 0; i < route->key.headers.n; i++)
        if (span_eq_nocase(span_of(route->key.headers.items[i]), name))
            return true;
    return false;
}

/* ---- cookies ---- */

/* The next cookie called `name` on a line of Cookie, as sent (RFC 6265 section 4.2.1); false at its end. */
static bool take_cookie(struct span *line, struct span name, struct span *cookie)
{
    while (line->len > 0) {
        const char *end = memchr(line->p, ';', line->len);
        struct span pair = {line->p, end != NULL ? (size_t)(end - line->p) : line->len};
        *line = span_from(*line, pair.len + 1);
        *cookie = span_trim(pair);
        if (cookie->len > name.len && span_starts(*cookie, name) && cookie->p[name.len] == '=')
            return true;
    }
    return false;
}

/* All cookies called `name`, "; " between them and before the first as `so_far` says; true when there was
 * one. A name that came twice counts twice: which one the origin reads is not known here. */
static bool put_cookies(struct buf *out, const struct http_head *request, struct span name, bool so_far)
{
    bool is_present = false;
    if (!http_has(request, FIELD_COOKIE))
        return false;
    for (uint32_t i = 0; i < request->n_fields; i++) {
        struct span line = request->fields[i].value, cookie;
        while (request->fields[i].id == FIELD_COOKIE && take_cookie(&line, name, &cookie)) {
            if (so_far || is_present)
                buf_put_lit(out, "; ");
            buf_put_span(out, cookie);
            is_present = true;
        }
    }
    return is_present;
}

void policy_put_keyed_cookies(struct buf *out, const struct config_route *route,
                              const struct http_head *request)
{
    size_t start = out->len;
    bool is_present = false;
    buf_put_lit(out, "Cookie: ");
    for (uint32_t i = 0; i < route->key.cookies.n; i++)
        is_present |= put_cookies(out, request, span_of(route->key.cookies.items[i]), is_present);
    if (is_present)
        buf_put_lit(out, "\r\n");
    else
        out->len = start;
}

/* ---- classes ---- */

/* All lines of the field as they go upstream, combined (RFC 9110 section 5.3); nothing for none. */
static void put_value(struct buf *out, const struct http_head *request, struct span name)
{
    bool is_first = true;
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const struct http_field *f = &request->fields[i];
        if (!span_eq_nocase(f->name, name) || http_is_hop_by_hop(request, f))
            continue;
        if (!is_first)
            buf_put_lit(out, ", ");
        buf_put_span(out, f->value);
        is_first = false;
    }
}

static struct span class_of(struct buf *out, const struct config_class *c, const struct http_head *request)
{
    struct buf value = {0};
    struct span found = SPAN("");
    put_value(&value, request, span_of(c->header));
    for (uint32_t i = 0; i < c->patterns.n; i++) {
        if (pattern_matches(span_of(c->patterns.items[i].value), buf_span(&value))) {
            found = span_of(c->patterns.items[i].name);
            break;
        }
    }
    out->failed |= value.failed;
    buf_fini(&value);
    return found;
}

void policy_put_classes(struct buf *out, const struct config_route *route, const struct http_head *request)
{
    for (uint32_t i = 0; i < route->key.n_classes; i++) {
        struct span class = class_of(out, &route->key.classes[i], request);
        if (class.len == 0)
            continue;
        buf_put_lit(out, CLASS_FIELD);
        http_put_field(out, span_of(route->key.classes[i].name), class);
    }
}

bool policy_is_class_field(struct span name)
{
    size_t n = sizeof CLASS_FIELD - 1;
    return name.len > n && unkeyed_same_name((struct span){name.p, n}, SPAN(CLASS_FIELD));
}

bool policy_has_class_field(const struct config_route *route, struct span name)
{
    for (uint32_t i = 0; i < route->key.n_classes; i++)
        if (policy_is_class_field(name) &&
            span_eq_nocase(span_from(name, sizeof CLASS_FIELD - 1), span_of(route->key.classes[i].name)))
            return true;
    return false;
}

/* ---- the key ---- */

bool policy_key_settles(const struct config_route *route, struct span name)
{
    struct http_field field = {.name = name, .id = http_field_id(name)};
    return policy_keys_header(route, name) || policy_has_class_field(route, name) ||
           unkeyed_input(&field) || /* they have none of it */
           (route->key.cookies.n > 0 && span_eq_nocase(name, SPAN("Cookie"))) ||
           (route->key.scheme && span_eq_nocase(name, SPAN("X-Forwarded-Proto")));
}

bool policy_keys_route(const struct config_route *route)
{
    return (route->match.headers.n | route->match.cookies.n | route->request_set.n | route->request_add.n |
            route->request_remove.n) > 0 ||
           route->cache == CACHE_FORCE || route->set_cookie == SET_COOKIE_STORE;
}

static void begin_part(struct buf *out, const char *letter, struct span name)
{
    buf_put_lit(out, "\n");
    buf_put(out, letter, 1);
    buf_put_span(out, name);
    buf_put_lit(out, "\n");
}

static void put_part_value(struct buf *out, struct span value)
{
    uint32_t length = (uint32_t)value.len;
    buf_put(out, &length, sizeof length);
    buf_put_span(out, value);
}

static void put_cookie_part(struct buf *out, const struct http_head *request, struct span name)
{
    uint32_t length = UINT32_MAX;
    begin_part(out, "k", name);
    buf_put(out, &length, sizeof length);
    size_t at = out->len;
    if (!put_cookies(out, request, name, false) || out->failed)
        return;
    length = (uint32_t)(out->len - at);
    memcpy(out->p + at - sizeof length, &length, sizeof length);
}

bool policy_put_key_parts(struct buf *out, const struct key_request *r)
{
    const struct config_route *route = r->route;
    size_t start = out->len;
    if (policy_keys_route(route)) {
        begin_part(out, "r", span_of(route->name));
        put_part_value(out, SPAN(""));
    }
    if (route->key.scheme) {
        begin_part(out, "s", SPAN(""));
        put_part_value(out, policy_scheme(r->config, r->head, r->client_ip));
    }
    for (uint32_t i = 0; i < route->key.headers.n; i++) {
        struct span name = span_of(route->key.headers.items[i]);
        begin_part(out, "h", name);
        policy_vary_key(r->config, name, r->head, out); /* in the normal form that goes upstream */
    }
    for (uint32_t i = 0; i < route->key.cookies.n; i++)
        put_cookie_part(out, r->head, span_of(route->key.cookies.items[i]));
    for (uint32_t i = 0; i < route->key.n_classes; i++) {
        begin_part(out, "c", span_of(route->key.classes[i].name));
        put_part_value(out, class_of(out, &route->key.classes[i], r->head));
    }
    if (out->len - start <= POLICY_KEY_PARTS_MAX)
        return true;
    out->len = start;
    return false;
}
