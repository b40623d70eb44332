#include "shield/policy/key.h"

#include "shield/policy/key_parts.h"

/* The shield's listeners speak http, whose default port adds nothing to the host; nor does an empty one (RFC
 * 9110 section 4.2.3). */
static struct span without_default_port(struct span host)
{
    static const struct span endings[] = {{":80", 3}, {":", 1}};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = endings[i].len;
        if (host.len > n && memcmp(host.p + host.len - n, endings[i].p, n) == 0)
            return (struct span){host.p, host.len - n};
    }
    return host;
}

void policy_put_path(struct buf *out, struct span path_query)
{
    if (path_query.len > 0 &&
        path_query.p[0] == '?') /* absolute-form without a path: RFC 9112 section 3.2.1 */
        buf_put_lit(out, "/");
    buf_put_span(out, path_query);
}

void policy_put_host(struct buf *out, struct span host)
{
    host = without_default_port(host);
    if (!buf_reserve(out, host.len))
        return;
    for (size_t i = 0; i < host.len; i++)
        out->p[out->len++] = ascii_lower(host.p[i]);
}

static bool has_parts(const struct config_route *route)
{
    return (route->key.headers.n | route->key.cookies.n | route->key.n_classes) > 0 || route->key.scheme ||
           policy_keys_route(route);
}

bool policy_key(struct buf *out, const struct key_request *r)
{
    struct span name = span_of(r->config->origins[r->route->origin].name);
    if (!buf_reserve(out, name.len + r->target.host.len + r->target.path_query.len + 3))
        return true;
    buf_put_span(out, name);
    buf_put_lit(out, "\n");
    policy_put_host(out, r->target.host);
    buf_put_lit(out, "\n");
    if (policy_keeps_target(r->route)) /* a hit pays for a copy and no more */
        policy_put_path(out, r->target.path_query);
    else
        policy_path_query(out, r->route, METHOD_GET, r->target.path_query);
    return !has_parts(r->route) || policy_put_key_parts(out, r);
}

static struct span up_to_newline(struct span *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->p, '\n', rest->len) : NULL;
    struct span part = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->len};
    *rest = span_from(*rest, part.len + 1);
    return part;
}

struct span policy_key_host(struct span key)
{
    (void)up_to_newline(&key); /* the origin's name */
    return up_to_newline(&key);
}

struct span policy_key_path_query(struct span key)
{
    (void)up_to_newline(&key); /* the origin's name */
    (void)up_to_newline(&key); /* the host */
    return up_to_newline(&key);
}

struct span policy_key_uri(struct span key)
{
    struct span path_query = policy_key_path_query(key);
    return (struct span){key.p, (size_t)(path_query.p + path_query.len - key.p)};
}

void policy_key_show(struct buf *out, struct span key)
{
    (void)up_to_newline(&key);
    buf_put_lit(out, "//");
    buf_put_span(out, up_to_newline(&key));
    buf_put_span(out, up_to_newline(&key));
}
