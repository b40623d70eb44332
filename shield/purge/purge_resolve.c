#include "shield/purge/purge_resolve.h"

#include "common/check.h"
#include "common/err.h"
#include "shield/policy/key.h"
#include "shield/policy/pattern.h"
#include "shield/policy/route.h"

struct work {
    const struct config *config;
    const struct purge_order *order;
    enum purge_kind kind;
    struct arena *arena;
    struct buf *records;
    size_t first; /* of the item's own: equal ones are put once */
};

static size_t count(const struct work *w)
{
    return w->records->len / sizeof(struct purge_record);
}

static int put(struct work *w, const struct buf *what)
{
    if (what->failed)
        return ERR_NOMEM;
    const struct purge_record *own = (const struct purge_record *)(const void *)w->records->p;
    for (size_t i = w->first; i < count(w); i++)
        if (span_eq(own[i].what, buf_span(what)))
            return 0;
    struct purge_record r = {.kind = w->kind,
                             .is_soft = w->order->is_soft,
                             .over_ms = w->order->over_ms,
                             .what = arena_span(w->arena, buf_span(what)),
                             .reference = w->order->reference};
    buf_put(w->records, &r, sizeof r);
    return r.what.p == NULL || w->records->failed ? ERR_NOMEM : 0;
}

/* ---- URLs ---- */

/* Bytes that no request target can have. */
static bool is_clean(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool take_start(struct span *s, struct span start)
{
    if (s->len < start.len || !span_eq_nocase((struct span){s->p, start.len}, start))
        return false;
    *s = span_from(*s, start.len);
    return true;
}

static size_t find_any(struct span s, const char *chars)
{
    size_t i = 0;
    while (i < s.len && strchr(chars, s.p[i]) == NULL)
        i++;
    return i;
}

/* Edges that speak https ask the shield for the host alone. */
static struct span without_https_port(struct span host)
{
    if (host.len > 4 && span_eq(span_from(host, host.len - 4), SPAN(":443")))
        host.len -= 4;
    return host;
}

static bool read_url(struct span url, bool needs_scheme, struct http1_target *out)
{
    bool https = take_start(&url, SPAN("https://"));
    if (!is_clean(url) || (!https && !take_start(&url, SPAN("http://")) && needs_scheme))
        return false;
    url.len = find_any(url, "#");
    out->host = (struct span){url.p, find_any(url, "/?")};
    out->path_query = span_from(url, out->host.len);
    if (!http1_valid_host(out->host))
        return false;
    if (https)
        out->host = without_https_port(out->host);
    if (out->path_query.len == 0)
        out->path_query = SPAN("/");
    return true;
}

static int put_url(struct work *w, struct span url)
{
    struct http1_target target;
    const struct config_route *routes[CONFIG_MAX_ROUTES + 1];
    struct http_head none = {.method = METHOD_GET, .method_text = SPAN("GET")};
    int err = 0;
    if (!read_url(url, true, &target))
        return ERR_SYNTAX;
    uint32_t n = policy_routes_of(w->config, &target, routes);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        struct buf key = {0};
        struct key_request r = {.config = w->config, .route = routes[i], .head = &none, .target = target};
        (void)policy_key(&key, &r);
        key.len = policy_key_uri(buf_span(&key)).len;
        err = put(w, &key);
        buf_fini(&key);
    }
    return err;
}

/* ---- prefixes ---- */

static bool alters_query(const struct config_route *r)
{
    return r->key.drop_query || r->key.sort_query || r->key.query_ignore.n > 0 || r->key.query_allow.n > 0;
}

static bool any_alters_query(const struct config *cfg)
{
    bool any = alters_query(&cfg->fallback);
    for (uint32_t i = 0; i < cfg->n_routes; i++)
        any |= alters_query(&cfg->routes[i]);
    return any;
}

static int put_prefix_of(struct work *w, struct span host, struct span path)
{
    struct buf what = {0};
    policy_put_host(&what, host);
    buf_put_lit(&what, "\n");
    buf_put_span(&what, path);
    int err = put(w, &what);
    buf_fini(&what);
    return err;
}

static int put_rewritten_prefix(struct work *w, const struct config_route *r, const struct http1_target *t)
{
    struct span path = {t->path_query.p, find_any(t->path_query, "?")};
    struct buf rewritten = {0};
    int err = 0;
    if (r->rewrite_from != NULL &&
        pattern_rewrite_prefix(&rewritten, span_of(r->rewrite_from), span_of(r->rewrite_to), path))
        err = rewritten.failed ? ERR_NOMEM : put_prefix_of(w, t->host, buf_span(&rewritten));
    buf_fini(&rewritten);
    return err;
}

static int put_prefix(struct work *w, struct span prefix)
{
    struct http1_target target;
    if (!read_url(prefix, false, &target))
        return ERR_SYNTAX;
    if (any_alters_query(w->config))
        target.path_query.len = find_any(target.path_query, "?");
    if (target.path_query.len == 0 || target.path_query.p[0] == '?')
        target.path_query = SPAN("/");
    int err = put_prefix_of(w, target.host, target.path_query);
    for (uint32_t i = 0; i < w->config->n_routes && err == 0; i++)
        err = put_rewritten_prefix(w, &w->config->routes[i], &target);
    return err;
}

/* ---- the rest ---- */

static int put_host(struct work *w, struct span host)
{
    struct buf what = {0};
    if (!http1_valid_host(host))
        return ERR_SYNTAX;
    policy_put_host(&what, host);
    int err = put(w, &what);
    buf_fini(&what);
    return err;
}

static int put_text(struct work *w, struct span text)
{
    struct buf what = {0};
    buf_put_span(&what, text);
    int err = put(w, &what);
    buf_fini(&what);
    return err;
}

static int put_item(struct work *w, const struct purge_item *item)
{
    switch (item->kind) {
    case PURGE_URL:
        return put_url(w, item->what);
    case PURGE_PREFIX:
        return put_prefix(w, item->what);
    case PURGE_HOST:
        return put_host(w, item->what);
    case PURGE_TAG:
        return item->what.len > 0 ? put_text(w, item->what) : ERR_SYNTAX;
    default:
        return put_text(w, SPAN(""));
    }
}

int purge_resolve(const struct config *cfg, const struct purge_order *o, struct arena *a, struct buf *records)
{
    struct work w = {.config = cfg, .order = o, .arena = a, .records = records};
    int err = o->n_items > 0 ? 0 : ERR_SYNTAX;
    for (size_t i = 0; i < o->n_items && err == 0; i++) {
        w.kind = o->items[i].kind;
        w.first = count(&w);
        err = put_item(&w, &o->items[i]);
    }
    return err;
}
