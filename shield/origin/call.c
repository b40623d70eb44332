#include "shield/origin/call.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum { UNSAFE_IDLE_MS = 1000 };

static const unsigned moves[] = {
    [CALL_IDLE] = BIT(CALL_QUEUED) | BIT(CALL_ENDED),
    [CALL_QUEUED] = BIT(CALL_RESOLVING) | BIT(CALL_CONNECTING) | BIT(CALL_HEAD) | BIT(CALL_ENDED),
    [CALL_RESOLVING] = BIT(CALL_CONNECTING) | BIT(CALL_RESOLVING) | BIT(CALL_ENDED),
    [CALL_CONNECTING] = BIT(CALL_CONNECTING) | BIT(CALL_RESOLVING) | BIT(CALL_HEAD) | BIT(CALL_ENDED),
    [CALL_HEAD] = BIT(CALL_BODY) | BIT(CALL_RESOLVING) | BIT(CALL_CONNECTING) | BIT(CALL_ENDED),
    [CALL_BODY] = BIT(CALL_ENDED),
    [CALL_ENDED] = 0,
};

static void enter(struct origin_call *c, enum call_state next)
{
    REQUIRE(moves[c->state] & BIT(next));
    c->state = next;
}

static const struct config_origin *settings(const struct origin_call *c)
{
    return &c->pool->loop->config->origins[c->request.origin_index];
}

static struct metrics_origin *counters(const struct origin_call *c)
{
    return &c->pool->loop->metrics->origins[c->request.origin_index];
}

/* ---- the end ---- */

static void let_go(struct origin_call *c, bool keep)
{
    timer_stop(c->pool->loop, &c->timer);
    if (c->asking)
        resolver_cancel(&c->question);
    c->asking = false;
    if (c->upstream != NULL && keep)
        upstream_keep(&c->upstream);
    else
        upstream_drop(&c->upstream);
    gate_leave(&c->place);
    buf_fini(&c->in);
    buf_fini(&c->head);
}

static void end(struct origin_call *c, int err, bool keep)
{
    if (c->state < CALL_BODY)
        metric_add(&counters(c)->classes[0], 1);
    if (c->state >= CALL_HEAD)
        metric_origin_duration(c->pool->loop->metrics, c->request.origin_index, clock_mono_us() - c->sent_us);
    enter(c, CALL_ENDED);
    let_go(c, keep);
    c->ops->on_end(c, err);
}

/* For failures found while the caller is still in here. */
static void end_later(struct origin_call *c, int err)
{
    c->pending_err = err;
    timer_set(c->pool->loop, &c->timer, 0);
}

void origin_call_cancel(struct origin_call *c)
{
    if (c->state == CALL_IDLE || c->state == CALL_ENDED) {
        buf_fini(&c->head);
        return;
    }
    enter(c, CALL_ENDED);
    let_go(c, false);
}

/* ---- connecting: servers in turn, then their next addresses ---- */

static void try_connect(struct origin_call *c);

static const struct config_server *server_of_attempt(const struct origin_call *c)
{
    const struct config_origin *o = settings(c);
    return &o->servers[(c->first_server + c->attempt) % o->n_servers];
}

static void on_attempt_failed(struct origin_call *c, int err)
{
    const struct config_server *s = server_of_attempt(c);
    log_warn("origin: %s: %s: %s (attempt %u of %u)", settings(c)->name, s->url, err_text(err),
             c->attempt + 1, (unsigned)settings(c)->connect_attempts);
    upstream_drop(&c->upstream);
    if (++c->attempt < settings(c)->connect_attempts)
        try_connect(c);
    else
        end(c, err, false);
}

static void on_connected(void *ctx, int err);
static void on_data(void *ctx, const char *p, size_t n);
static void on_eof(void *ctx);
static void on_broken(void *ctx, int err);
static void on_drained(void *ctx);

static const struct upstream_owner upstream_events = {.on_connected = on_connected,
                                                      .on_data = on_data,
                                                      .on_eof = on_eof,
                                                      .on_broken = on_broken,
                                                      .on_drained = on_drained};

static void connect_to(struct origin_call *c, const struct address_list *addrs)
{
    unsigned round = c->attempt / settings(c)->n_servers;
    enter(c, CALL_CONNECTING);
    c->upstream = upstream_connect(c->pool, c->request.origin_index, &addrs->addrs[round % addrs->n],
                                   &upstream_events, c);
    if (c->upstream == NULL)
        end_later(c, ERR_CONNECT);
    else
        timer_set(c->pool->loop, &c->timer, settings(c)->connect_timeout_ms);
}

static void on_resolved(struct resolve *q, int err, const struct address_list *addrs)
{
    struct origin_call *c = container_of(q, struct origin_call, question);
    c->asking = false;
    if (err != 0)
        on_attempt_failed(c, err);
    else
        connect_to(c, addrs);
}

static void try_connect(struct origin_call *c)
{
    const struct config_server *s = server_of_attempt(c);
    struct address_list addrs;
    c->reused = false;
    if (s->unix_path != NULL) {
        struct sockaddr_un *un = (struct sockaddr_un *)&addrs.addrs[0].ss;
        *un = (struct sockaddr_un){.sun_family = AF_UNIX};
        strncpy(un->sun_path, s->unix_path, sizeof un->sun_path - 1);
        addrs.addrs[0].len = sizeof *un;
        addrs.n = 1;
        connect_to(c, &addrs);
        return;
    }
    if (resolver_known(c->pool->resolver, s->host, s->port, &addrs)) {
        connect_to(c, &addrs);
        return;
    }
    enter(c, CALL_RESOLVING);
    timer_set(c->pool->loop, &c->timer, settings(c)->connect_timeout_ms);
    c->question.on_done = on_resolved;
    c->asking = resolver_ask(c->pool->resolver, s->host, s->port, &c->question) == 0;
    if (!c->asking)
        end_later(c, ERR_DNS);
}

/* ---- the request ---- */

static void wait_for_head(struct origin_call *c)
{
    timer_set(c->pool->loop, &c->timer, settings(c)->head_timeout_ms);
}

static void send_request(struct origin_call *c)
{
    enter(c, CALL_HEAD);
    c->sent_us = clock_mono_us();
    c->sent_wall_ms = clock_wall_ms();
    c->content_left = c->request.content_length;
    c->content_done = c->request.content == BODY_NONE;
    metric_add(&counters(c)->requests[c->retried ? KIND_RETRY : c->request.kind], 1);
    if (c->content_done)
        wait_for_head(c);
    else
        timer_stop(c->pool->loop, &c->timer); /* while content goes up, write_bufs watches the origin */
    uv_buf_t buf = uv_buf_init(c->head.p, (unsigned)c->head.len);
    if (conn_write(upstream_conn(c->upstream), &buf, 1) < 0)
        end_later(c, ERR_RESET);
}

static bool may_repeat(const struct origin_call *c)
{
    return http_method_is_safe(c->request.method) && c->request.content == BODY_NONE;
}

/* A place is held. A request that may not be repeated takes no connection that the origin is likely to be
 * closing: one that was busy a moment ago, or a new one. */
static void begin(struct origin_call *c)
{
    uint64_t max_idle_ms = may_repeat(c) ? UINT64_MAX : UNSAFE_IDLE_MS;
    c->upstream = upstream_take(c->pool, c->request.origin_index, max_idle_ms, &upstream_events, c);
    c->reused = c->upstream != NULL;
    if (c->reused)
        send_request(c);
    else
        try_connect(c);
}

static void on_granted(void *ctx)
{
    struct origin_call *c = ctx;
    begin(c);
    if (origin_call_has_room(c)) /* content has been waiting */
        c->ops->on_room(c);
}

static void on_connected(void *ctx, int err)
{
    struct origin_call *c = ctx;
    if (err != 0) {
        on_attempt_failed(c, err);
        return;
    }
    send_request(c);
    if (origin_call_has_room(c))
        c->ops->on_room(c);
}

static void lost(struct origin_call *c, int err);

static int timeout_error(struct origin_call *c)
{
    struct metrics_slot *m = c->pool->loop->metrics;
    switch (c->state) {
    case CALL_QUEUED:
        metric_limit(m, QUEUE_TIMEOUT);
        return ERR_QUEUE_TIMEOUT;
    case CALL_HEAD:
        metric_limit(m, ORIGIN_HEAD_TIMEOUT);
        return ERR_HEAD_TIMEOUT;
    case CALL_BODY:
        metric_limit(m, ORIGIN_BODY_TIMEOUT);
        return ERR_BODY_TIMEOUT;
    case CALL_RESOLVING:
        return ERR_DNS;
    default:
        metric_limit(m, CONNECT_TIMEOUT);
        return ERR_CONNECT_TIMEOUT;
    }
}

static void on_timer(struct loop_timer *t)
{
    struct origin_call *c = container_of(t, struct origin_call, timer);
    int pending = c->pending_err;
    if (pending != 0) {
        c->pending_err = 0;
        if (c->state == CALL_CONNECTING || c->state == CALL_RESOLVING)
            on_attempt_failed(c, pending);
        else
            lost(c, pending);
        return;
    }
    int err = timeout_error(c);
    if (c->state == CALL_CONNECTING || c->state == CALL_RESOLVING) {
        if (c->asking)
            resolver_cancel(&c->question);
        c->asking = false;
        on_attempt_failed(c, err);
    } else {
        end(c, err, false);
    }
}

void origin_call_start(struct origin_call *c, struct upstream_pool *pool, const struct origin_call_ops *ops,
                       const struct origin_call_request *request)
{
    REQUIRE(loop_is_current(pool->loop) && c->state == CALL_IDLE && (c->head.len > 0 || c->head.failed));
    c->ops = ops;
    c->pool = pool;
    c->request = *request;
    c->first_server = pool->next_server++;
    timer_init(&c->timer, on_timer);
    enter(c, CALL_QUEUED);
    bool granted = false;
    int err = c->head.failed ? ERR_NOMEM
                             : gate_enter(pool->gates[request->origin_index], pool->loop, on_granted, c,
                                          &c->place, &granted);
    if (err != 0)
        end_later(c, err);
    else if (granted)
        begin(c);
    else
        timer_set(pool->loop, &c->timer, settings(c)->queue_timeout_ms);
}

/* ---- request content ---- */

bool origin_call_has_room(const struct origin_call *c)
{
    return (c->state == CALL_HEAD || c->state == CALL_BODY) && !c->content_done && c->pending_err == 0 &&
           !conn_is_writing(upstream_conn(c->upstream));
}

/* head_timeout runs from the last byte of the request; until then the origin must take what it is sent. */
static void write_bufs(struct origin_call *c, const uv_buf_t *bufs, unsigned n)
{
    int sent = conn_write(upstream_conn(c->upstream), bufs, n);
    if (sent < 0)
        end_later(c, ERR_RESET);
    else if (c->state == CALL_HEAD && c->content_done)
        wait_for_head(c);
    else if (c->state == CALL_HEAD && sent == 0)
        timer_set(c->pool->loop, &c->timer, settings(c)->body_timeout_ms);
}

void origin_call_write(struct origin_call *c, const char *p, size_t n)
{
    REQUIRE(origin_call_has_room(c) && n > 0);
    if (c->request.content == BODY_LENGTH) {
        REQUIRE(n <= c->content_left);
        c->content_left -= n;
        uv_buf_t buf = uv_buf_init((char *)p, (unsigned)n);
        write_bufs(c, &buf, 1);
        return;
    }
    size_t prefix = http1_chunk_prefix(c->chunk_line, n);
    uv_buf_t bufs[] = {uv_buf_init(c->chunk_line, (unsigned)prefix), uv_buf_init((char *)p, (unsigned)n),
                       uv_buf_init((char *)"\r\n", 2)};
    write_bufs(c, bufs, 3);
}

void origin_call_finish(struct origin_call *c)
{
    REQUIRE(origin_call_has_room(c));
    REQUIRE(c->request.content != BODY_LENGTH || c->content_left == 0);
    c->content_done = true;
    if (c->request.content == BODY_CHUNKED) {
        uv_buf_t buf = uv_buf_init((char *)"0\r\n\r\n", 5);
        write_bufs(c, &buf, 1);
    } else if (c->state == CALL_HEAD) {
        wait_for_head(c);
    }
}

static void on_drained(void *ctx)
{
    struct origin_call *c = ctx;
    if (c->state == CALL_HEAD && c->content_done)
        wait_for_head(c);
    else if (c->state == CALL_HEAD)
        timer_stop(c->pool->loop, &c->timer);
    if (origin_call_has_room(c))
        c->ops->on_room(c);
}

/* ---- the response ---- */

static void broke_protocol(struct origin_call *c, const char *why)
{
    log_warn("origin: %s: %s: %s", settings(c)->name, err_text(ERR_PROTOCOL), why);
    end(c, ERR_PROTOCOL, false);
}

static void on_complete(struct origin_call *c, bool bytes_behind)
{
    bool keep = c->keep_alive && c->content_done && !bytes_behind && c->body.framing != BODY_UNTIL_CLOSE;
    end(c, 0, keep);
}

/* Feeds what came behind the head, or later. Each event may end the call. */
static void feed_body(struct origin_call *c, const char *p, size_t n)
{
    struct upstream *u = c->upstream;
    while (c->state == CALL_BODY && c->upstream == u) {
        size_t used = 0;
        struct span data;
        enum http1_body_status s = http1_body_feed(&c->body, p, n, &used, &data);
        p += used;
        n -= used;
        switch (s) {
        case BODY_DATA:
            c->ops->on_body(c, data.p, data.len);
            break;
        case BODY_MORE:
            return;
        case BODY_END:
            on_complete(c, n > 0);
            return;
        case BODY_BAD:
            broke_protocol(c, c->body.why);
            return;
        }
    }
}

/* One head out of p[0..n): gives how many bytes it took, 0 when more are needed; ends the call on a bad one.
 */
static size_t take_head(struct origin_call *c, const char *p, size_t n)
{
    const struct config *cfg = c->pool->loop->config;
    struct http_head head = {.fields = c->pool->fields, .cap_fields = c->pool->cap_fields};
    struct http1_result r = http1_parse_response(&c->scan, p, n, &cfg->http_limits, &head);
    if (r.status == HTTP1_MORE)
        return 0;
    if (r.status == HTTP1_BAD) {
        broke_protocol(c, r.why);
        return 0;
    }
    c->scan = (struct http1_scan){0};
    metric_add(&counters(c)->classes[head.status / 100], 1);
    if (head.status < 200) {
        if (head.status == 101)
            broke_protocol(c, "101 without an Upgrade");
        else if (++c->n_1xx > cfg->http.max_1xx) {
            metric_limit(c->pool->loop->metrics, MAX_1XX);
            broke_protocol(c, "too many 1xx responses");
        }
        return r.head_bytes;
    }
    int err = http1_body_for_response(&c->body, &head, c->request.method, &cfg->http_limits);
    if (err != 0) {
        broke_protocol(c, c->body.why);
        return 0;
    }
    c->keep_alive = http1_keep_alive(&head);
    enter(c, CALL_BODY);
    timer_set(c->pool->loop, &c->timer, settings(c)->body_timeout_ms);
    c->ops->on_head(c, &head);
    return r.head_bytes;
}

static void feed_head(struct origin_call *c, const char *p, size_t n)
{
    bool buffered = c->in.len > 0;
    if (buffered) {
        buf_put(&c->in, p, n);
        if (c->in.failed) {
            end(c, ERR_NOMEM, false);
            return;
        }
    }
    struct buf own = c->in; /* a call that ends frees its buffer while we still read from it */
    c->in = (struct buf){0};
    if (buffered)
        p = own.p, n = own.len;

    while (c->state == CALL_HEAD) {
        size_t used = take_head(c, p, n);
        p += used;
        n -= used;
        if (used == 0)
            break;
    }
    if (c->state == CALL_BODY) {
        feed_body(c, p, n);
    } else if (c->state == CALL_HEAD && n > 0) {
        buf_put(&c->in, p, n);
    }
    buf_fini(&own);
}

static void on_data(void *ctx, const char *p, size_t n)
{
    struct origin_call *c = ctx;
    if (c->pending_err != 0)
        return;
    c->got_bytes = true;
    if (c->state == CALL_HEAD) {
        feed_head(c, p, n);
        return;
    }
    if (!c->paused)
        timer_set(c->pool->loop, &c->timer, settings(c)->body_timeout_ms);
    feed_body(c, p, n);
}

/* The connection died under a request. RFC 9112 section 9.3.1: repeat on a new connection if nothing can have
 * come of it. */
static void lost(struct origin_call *c, int err)
{
    if (c->state == CALL_HEAD && c->reused && !c->got_bytes && !c->retried && may_repeat(c)) {
        upstream_drop(&c->upstream);
        c->retried = true;
        c->pending_err = 0;
        try_connect(c);
        return;
    }
    end(c, c->state == CALL_BODY ? ERR_TRUNCATED : err, false);
}

static void on_eof(void *ctx)
{
    struct origin_call *c = ctx;
    if (c->state == CALL_BODY && http1_body_finish(&c->body))
        on_complete(c, false);
    else
        lost(c, ERR_RESET);
}

static void on_broken(void *ctx, int err)
{
    lost(ctx, err);
}

/* ---- pace ---- */

void origin_call_pause(struct origin_call *c)
{
    if (c->paused || c->upstream == NULL)
        return;
    c->paused = true;
    conn_read_stop(upstream_conn(c->upstream));
    timer_stop(c->pool->loop, &c->timer); /* body_timeout counts the origin's silence, not ours */
}

void origin_call_resume(struct origin_call *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    if (c->upstream == NULL)
        return;
    timer_set(c->pool->loop, &c->timer, settings(c)->body_timeout_ms);
    conn_read_start(upstream_conn(c->upstream));
}
