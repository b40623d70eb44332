#include "shield/request/exchange_impl.h"

#include "shield/policy/groups.h"
#include "shield/policy/reference.h"
#include "shield/policy/route.h"
#include "shield/policy/stored_block.h"
#include "shield/purge/purge_tags.h"

/* What is stored of the answer itself has taken the place of what it invalidates. */
static void invalidate(struct exchange *ex, struct span key)
{
    bool is_stored = flight_is_stored(ex->waiter.flight);
    if (!is_stored || !span_eq(key, buf_span(&ex->key)))
        cache_invalidate(ex->env->cache, ex->env->flights, key);
}

/* The value of the first field `name` in a stored block, which is ours: one field a line. */
static struct span block_value(struct span block, struct span name)
{
    while (block.len > 0) {
        const char *lf = memchr(block.p, '\n', block.len);
        size_t n = lf != NULL ? (size_t)(lf - block.p) + 1 : block.len;
        struct span line = {block.p, n};
        struct span start = {line.p, name.len < n ? name.len : n};
        if (line.len > name.len + 2 && line.p[name.len] == ':' && span_eq_nocase(start, name))
            return span_trim((struct span){line.p + name.len + 1, n - name.len - 3});
        block = span_from(block, n);
    }
    return (struct span){0};
}

/* The key that this request selects, and the URI's own where no part is behind it. */
static void invalidate_uri(struct exchange *ex, const struct buf *key)
{
    struct span all = buf_span(key), uri = policy_key_uri(all);
    invalidate(ex, all);
    if (uri.len < all.len)
        invalidate(ex, uri);
}

static void invalidate_reference(struct exchange *ex, const struct key_request *base, struct span name)
{
    struct span value = block_value(object_head(ex->object)->block, name);
    struct buf key = {0};
    if (value.len > 0 && policy_reference_key(&key, base, value))
        invalidate_uri(ex, &key);
    buf_fini(&key);
}

static void invalidate_target(struct exchange *ex, const struct key_request *get)
{
    struct buf key = {0};
    if (policy_key(&key, get) && !span_eq(buf_span(&key), buf_span(&ex->key)))
        invalidate_uri(ex, &key);
    buf_fini(&key);
}

static void order_group(struct exchange *ex, struct span group)
{
    struct buf host = {0}, name = {0};
    policy_put_host(&host, ex->target.host);
    purge_tags_put_group(&name, buf_span(&host), group);
    struct purge_item item = {.kind = PURGE_TAG, .what = buf_span(&name)};
    struct purge_order order = {.items = &item, .n_items = 1};
    if (!host.failed && !name.failed)
        (void)purger_order(ex->env->purger, ex->env->loop, &order, NULL, NULL);
    buf_fini(&host);
    buf_fini(&name);
}

/* RFC 9875 section 3: the groups of this origin that the answer names, as a purge by tag. Nobody waits for
 * it: it is bound to no moment. */
static void invalidate_groups(struct exchange *ex)
{
    const struct stored_head *h = object_head(ex->object);
    struct stored_block parsed;
    struct buf groups = {0};
    if (stored_block_parse(&parsed, (struct span){h->block.p, h->block.len + 2}))
        policy_invalidated_groups(ex->head.method, &parsed.head, &groups);
    struct span left = buf_span(&groups);
    while (left.len > 0 && !groups.failed) {
        const char *end = memchr(left.p, '\n', left.len);
        order_group(ex, (struct span){left.p, (size_t)(end - left.p)});
        left = span_from(left, (size_t)(end - left.p) + 1);
    }
    buf_fini(&groups);
}

void invalidate_after(struct exchange *ex)
{
    invalidate_groups(ex);
    if (!policy_invalidates(ex->head.method, object_head(ex->object)->facts.status))
        return;
    struct http_head head = ex->head; /* as a GET has it, which may take another route */
    struct key_request get = exchange_key_request(ex);
    head.method = METHOD_GET;
    head.method_text = SPAN("GET");
    get.head = &head;
    get.route = policy_route(ex->config, &head, &ex->target);
    invalidate_uri(ex, &ex->key);
    invalidate_target(ex, &get);
    invalidate_reference(ex, &get, SPAN("Location"));
    invalidate_reference(ex, &get, SPAN("Content-Location"));
}
