#include "shield/origin/upstream.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/policy/stored_block.h"

struct upstream {
    struct conn conn;
    struct upstream_pool *pool;
    struct upstream_target at;
    struct list_node idle_link, open_link;
    struct loop_timer idle_timer;
    uint64_t idle_since_ms;
    const struct upstream_owner *owner; /* NULL while idle or closing */
    void *ctx;
};

static struct upstream *upstream_of(struct conn *c)
{
    return container_of(c, struct upstream, conn);
}

static void close_or_cut(struct upstream *u, bool abort)
{
    u->owner = NULL;
    list_remove(&u->idle_link);
    timer_stop(u->pool->loop, &u->idle_timer);
    conn_close(&u->conn, abort);
}

static void close_upstream(struct upstream *u)
{
    close_or_cut(u, false);
}

/* ---- events: an owner hears them, an idle connection ends by them ---- */

static void on_connected(struct conn *c, int err)
{
    struct upstream *u = upstream_of(c);
    if (err == 0)
        conn_read_start(c);
    if (u->owner != NULL)
        u->owner->on_connected(u->ctx, err);
}

static void on_data(struct conn *c, const char *p, size_t n)
{
    struct upstream *u = upstream_of(c);
    metric_move(c->loop->metrics, ORIGIN_BYTES, (int64_t)n);
    if (u->owner != NULL)
        u->owner->on_data(u->ctx, p, n);
    else
        close_upstream(u);
}

static void on_eof(struct conn *c)
{
    struct upstream *u = upstream_of(c);
    if (u->owner != NULL)
        u->owner->on_eof(u->ctx);
    else
        close_upstream(u);
}

static void on_error(struct conn *c, int err)
{
    struct upstream *u = upstream_of(c);
    if (u->owner != NULL)
        u->owner->on_broken(u->ctx, err);
    else
        close_upstream(u);
}

static void on_drained(struct conn *c)
{
    struct upstream *u = upstream_of(c);
    if (u->owner != NULL)
        u->owner->on_drained(u->ctx);
}

static void on_closed(struct conn *c)
{
    struct upstream *u = upstream_of(c);
    list_remove(&u->open_link);
    free(u);
}

static const struct conn_ops conn_events = {.on_connected = on_connected,
                                            .on_data = on_data,
                                            .on_eof = on_eof,
                                            .on_error = on_error,
                                            .on_drained = on_drained,
                                            .on_closed = on_closed};

static void on_idle_due(struct loop_timer *t)
{
    close_upstream(container_of(t, struct upstream, idle_timer));
}

/* ---- taking and giving ---- */

struct upstream *upstream_take(struct upstream_pool *p, unsigned origin_index, uint32_t avoid,
                               uint64_t max_idle_ms, const struct upstream_owner *owner, void *ctx)
{
    const struct servers *servers = gate_servers(p->gates[origin_index]);
    uint32_t down = servers_down(servers, p->loop);
    list_each_safe (n, &p->idle[origin_index]) {
        struct upstream *u = container_of(n, struct upstream, idle_link);
        if (loop_now_ms(p->loop) - u->idle_since_ms > max_idle_ms)
            return NULL; /* the first of the list is the latest */
        if ((down & BIT(u->at.server)) || u->idle_since_ms <= servers_fell_ms(servers, u->at.server)) {
            close_upstream(u);
            continue;
        }
        if (avoid & BIT(u->at.server))
            continue;
        if (conn_has_news(&u->conn)) { /* the loop has only not come to it yet: RFC 9112 section 6.3, last */
            close_upstream(u);
            continue;
        }
        list_remove(&u->idle_link);
        timer_stop(p->loop, &u->idle_timer);
        u->owner = owner;
        u->ctx = ctx;
        return u;
    }
    return NULL;
}

int upstream_connect(struct upstream **out, struct upstream_pool *p, struct upstream_target at,
                     const struct netaddr *to, const struct upstream_owner *owner, void *ctx)
{
    struct upstream *u = calloc(1, sizeof *u);
    if (u == NULL)
        return ERR_NOMEM;
    u->pool = p;
    u->at = at;
    list_init(&u->idle_link);
    list_add_tail(&p->open, &u->open_link);
    timer_init(&u->idle_timer, on_idle_due);
    int err = conn_connect(&u->conn, p->loop, &conn_events, to);
    if (err != 0) {
        conn_close(&u->conn, false);
        return err;
    }
    u->owner = owner;
    u->ctx = ctx;
    *out = u;
    return 0;
}

struct conn *upstream_conn(struct upstream *u)
{
    return &u->conn;
}

uint32_t upstream_server(const struct upstream *u)
{
    return u->at.server;
}

void upstream_give(struct upstream *u, const struct upstream_owner *owner, void *ctx)
{
    u->owner = owner;
    u->ctx = ctx;
}

void upstream_keep(struct upstream **slot)
{
    struct upstream *u = *slot;
    *slot = NULL;
    uint64_t idle_ms = u->pool->loop->config->origins[u->at.origin_index].idle_timeout_ms;
    if (idle_ms == 0 || conn_is_writing(&u->conn)) {
        close_upstream(u);
        return;
    }
    u->owner = NULL;
    u->idle_since_ms = loop_now_ms(u->pool->loop);
    list_add_head(&u->pool->idle[u->at.origin_index], &u->idle_link);
    timer_set(u->pool->loop, &u->idle_timer, idle_ms);
    conn_read_start(&u->conn);
}

void upstream_drop(struct upstream **slot)
{
    struct upstream *u = *slot;
    *slot = NULL;
    if (u != NULL)
        close_upstream(u);
}

void upstream_cut(struct upstream **slot)
{
    struct upstream *u = *slot;
    *slot = NULL;
    close_or_cut(u, true);
}

/* ---- the pool ---- */

int upstream_pool_init(struct upstream_pool *p, struct loop *l, struct gate **gates)
{
    *p = (struct upstream_pool){.loop = l, .gates = gates};
    list_init(&p->open);
    for (int i = 0; i < CONFIG_MAX_ORIGINS; i++)
        list_init(&p->idle[i]);
    p->cap_fields = MIN(l->config->http_limits.max_fields, (uint32_t)RESPONSE_FIELDS_MAX);
    p->fields = calloc(p->cap_fields, sizeof *p->fields);
    if (p->fields == NULL)
        return ERR_NOMEM;
    int err = resolver_open(&p->resolver, l);
    if (err != 0)
        free(p->fields);
    return err;
}

int upstream_pool_resize(struct upstream_pool *p, const struct config *config)
{
    struct http_field *fields = calloc(config->http_limits.max_fields, sizeof *fields);
    if (fields == NULL)
        return ERR_NOMEM;
    free(p->fields);
    p->fields = fields;
    p->cap_fields = MIN(config->http_limits.max_fields, (uint32_t)RESPONSE_FIELDS_MAX);
    return 0;
}

void upstream_pool_reload(struct upstream_pool *p)
{
    for (uint32_t i = 0; i < p->loop->config->n_origins; i++)
        gate_reload(p->gates[i], p->loop);
}

void upstream_pool_fini(struct upstream_pool *p)
{
    list_each_safe (n, &p->open)
        close_upstream(container_of(n, struct upstream, open_link));
    resolver_close(&p->resolver);
    free(p->fields);
    p->fields = NULL;
}
