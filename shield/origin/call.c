#include "shield/origin/call_impl.h"

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
    [CALL_HEAD] =
        BIT(CALL_BODY) | BIT(CALL_SWITCHED) | BIT(CALL_RESOLVING) | BIT(CALL_CONNECTING) | BIT(CALL_ENDED),
    [CALL_BODY] = BIT(CALL_ENDED),
    [CALL_SWITCHED] = BIT(CALL_ENDED),
    [CALL_ENDED] = 0,
};

void call_enter(struct origin_call *c, enum call_state next)
{
    REQUIRE(moves[c->state] & BIT(next));
    c->state = next;
}

static struct servers *servers_of(const struct origin_call *c)
{
    return gate_servers(c->pool->gates[c->request.origin_index]);
}

/* ---- what a request says of its server ---- */

void call_praise(struct origin_call *c)
{
    servers_answered(servers_of(c), c->pool->loop, &c->turn);
    c->turn.probe = 0;
}

/* No final head, for `err`. What is not the server's fault counts for nothing, and so does all but the first
 * failure of one request. Nor does a broken answer, or a 1xx without one, but to a probe: else who knows one
 * URL that brings it could take the server from everybody. */
static void blame(struct origin_call *c, int err)
{
    uint32_t bit = BIT(c->turn.server);
    bool is_silent = err_is_silence(err) && c->n_1xx == 0;
    if (c->turn.probe != 0 ? err_is_no_answer(err) : is_silent && !(c->blamed & bit)) {
        c->blamed |= bit;
        servers_failed(servers_of(c), c->pool->loop, &c->turn, err);
    } else {
        servers_let_go(servers_of(c), c->pool->loop, &c->turn);
    }
    c->turn.probe = 0;
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
    servers_let_go(servers_of(c), c->pool->loop, &c->turn);
    gate_leave(&c->place);
    buf_fini(&c->in);
    buf_fini(&c->head);
}

void call_end(struct origin_call *c, int err, bool keep)
{
    if (c->state < CALL_BODY && c->has_turn)
        metric_add(&call_counters(c)->classes[0], 1);
    if (c->state == CALL_HEAD)
        blame(c, err);
    if (c->state >= CALL_HEAD)
        metric_origin_duration(c->pool->loop->metrics, c->request.origin_index, clock_mono_us() - c->sent_us);
    call_enter(c, CALL_ENDED);
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
    call_enter(c, CALL_ENDED);
    let_go(c, false);
}

void origin_call_hand_over(struct origin_call *c, struct origin_line *out, const struct upstream_owner *owner,
                           void *ctx)
{
    REQUIRE(c->state == CALL_SWITCHED);
    *out = (struct origin_line){c->upstream, c->place, c->in};
    upstream_give(out->upstream, owner, ctx);
    c->upstream = NULL;
    c->place = NULL;
    c->in = (struct buf){0};
    metric_origin_duration(c->pool->loop->metrics, c->request.origin_index, clock_mono_us() - c->sent_us);
    call_enter(c, CALL_ENDED);
    let_go(c, false);
}

/* ---- connecting: servers in turn, each time at the address that is its best ---- */

static void connect_to_server(struct origin_call *c);

static bool may_repeat(const struct origin_call *c)
{
    return http_method_is_safe(c->request.method) && c->request.content == BODY_NONE;
}

/* False: all servers are down. */
static bool take_turn(struct origin_call *c)
{
    if (!servers_next(servers_of(c), c->pool->loop, c->from, may_repeat(c), &c->turn))
        return false;
    c->has_turn = true;
    c->from = c->turn.server + 1;
    c->probed_addresses = 0;
    return true;
}

/* A probe that fails at one address asks the others of its server too. */
static bool has_more_to_probe(struct origin_call *c)
{
    return c->turn.probe != 0 && c->state == CALL_CONNECTING && ++c->probed_addresses < c->n_addresses;
}

static void on_attempt_failed(struct origin_call *c, int err)
{
    const struct config_origin *o = call_settings(c);
    bool may_go_on = ++c->attempts < o->connect_attempts;
    log_warn("origin: %s: %s: %s (attempt %u of %u)", o->name, o->servers[c->turn.server].url, err_text(err),
             c->attempts, (unsigned)o->connect_attempts);
    upstream_drop(&c->upstream);
    if (c->state == CALL_CONNECTING)
        servers_address_failed(servers_of(c), c->turn.server, c->address);
    if (may_go_on && has_more_to_probe(c)) {
        connect_to_server(c);
        return;
    }
    blame(c, err);
    if (may_go_on && take_turn(c))
        connect_to_server(c);
    else
        call_end(c, err, false);
}

static void on_connected(void *ctx, int err);
static void on_drained(void *ctx);

static const struct upstream_owner upstream_events = {.on_connected = on_connected,
                                                      .on_data = call_on_data,
                                                      .on_eof = call_on_eof,
                                                      .on_broken = call_on_broken,
                                                      .on_drained = on_drained};

static void connect_to(struct origin_call *c, const struct address_list *addrs)
{
    struct upstream_target at = {c->request.origin_index, c->turn.server};
    c->address = servers_address(servers_of(c), at.server);
    c->n_addresses = addrs->n;
    call_enter(c, CALL_CONNECTING);
    int err = upstream_connect(&c->upstream, c->pool, at, &addrs->addrs[c->address % addrs->n],
                               &upstream_events, c);
    if (err != 0)
        end_later(c, err);
    else
        timer_set(c->pool->loop, &c->timer, call_settings(c)->connect_timeout_ms);
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

static void connect_to_server(struct origin_call *c)
{
    const struct config_server *s = &call_settings(c)->servers[c->turn.server];
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
    call_enter(c, CALL_RESOLVING);
    timer_set(c->pool->loop, &c->timer, call_settings(c)->connect_timeout_ms);
    c->question.on_done = on_resolved;
    int err = resolver_ask(c->pool->resolver, s->host, s->port, &c->question);
    c->asking = err == 0;
    if (!c->asking)
        end_later(c, err);
}

/* ---- the request ---- */

static void wait_for_head(struct origin_call *c)
{
    timer_set(c->pool->loop, &c->timer, call_settings(c)->head_timeout_ms);
}

static enum origin_kind kind_of(const struct origin_call *c)
{
    return c->turn.probe != 0 ? KIND_PROBE : c->retried ? KIND_RETRY : c->request.kind;
}

static void send_request(struct origin_call *c)
{
    call_enter(c, CALL_HEAD);
    c->sent_us = clock_mono_us();
    c->sent_wall_ms = clock_wall_ms();
    c->content_left = c->request.content_length;
    c->content_done = c->request.content == BODY_NONE;
    metric_add(&call_counters(c)->requests[kind_of(c)], 1);
    if (c->content_done)
        wait_for_head(c);
    else
        timer_stop(c->pool->loop, &c->timer); /* while content goes up, write_bufs watches the origin */
    uv_buf_t buf = uv_buf_init(c->head.p, (unsigned)c->head.len);
    if (conn_write(upstream_conn(c->upstream), &buf, 1) < 0)
        end_later(c, ERR_RESET);
}

/* Not the server that it has just been let down by, where there is another. */
static uint32_t servers_to_avoid(const struct origin_call *c)
{
    return c->request.next_to != 0 && call_settings(c)->n_servers > 1 ? BIT(c->request.next_to - 1) : 0;
}

/* A place is held. A probe goes on a connection of its own. A request that may not be repeated takes no
 * connection that the origin is likely to be closing: one that was busy a moment ago, or a new one. One for
 * an upgrade begins with it. False: all servers are down. */
static bool begin(struct origin_call *c)
{
    uint64_t max_idle_ms = may_repeat(c) ? UINT64_MAX : UNSAFE_IDLE_MS;
    if (!take_turn(c))
        return false;
    if (c->turn.probe == 0 && c->request.upgrade.len == 0)
        c->upstream = upstream_take(c->pool, c->request.origin_index, servers_to_avoid(c), max_idle_ms,
                                    &upstream_events, c);
    c->reused = c->upstream != NULL;
    if (c->reused) {
        c->turn.server = c->from = upstream_server(c->upstream); /* a repeat asks the same server */
        send_request(c);
    } else {
        connect_to_server(c);
    }
    return true;
}

/* In the queue: a place is there, or will not be. */
static void on_turn(void *ctx, int err)
{
    struct origin_call *c = ctx;
    if (err == 0 && !begin(c))
        err = ERR_DOWN;
    if (err != 0)
        call_end(c, err, false);
    else if (origin_call_has_room(c)) /* content has been waiting */
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
            call_lost(c, pending);
        return;
    }
    int err = timeout_error(c);
    if (c->state == CALL_CONNECTING || c->state == CALL_RESOLVING) {
        if (c->asking)
            resolver_cancel(&c->question);
        c->asking = false;
        on_attempt_failed(c, err);
    } else {
        call_end(c, err, false);
    }
}

void origin_call_start(struct origin_call *c, struct upstream_pool *pool, const struct origin_call_ops *ops,
                       const struct origin_call_request *request)
{
    REQUIRE(loop_is_current(pool->loop) && c->state == CALL_IDLE && (c->head.len > 0 || c->head.failed));
    c->ops = ops;
    c->pool = pool;
    c->request = *request;
    c->from = request->next_to != 0 ? request->next_to : pool->next_server++; /* counted from 1: the next */
    timer_init(&c->timer, on_timer);
    call_enter(c, CALL_QUEUED);
    bool granted = false;
    int err = c->head.failed ? ERR_NOMEM : servers_any(servers_of(c), pool->loop) ? 0 : ERR_DOWN;
    if (err == 0)
        err = gate_enter(pool->gates[request->origin_index], pool->loop,
                         request->background ? GATE_BACKGROUND : GATE_INTERACTIVE, on_turn, c, &c->place,
                         &granted);
    if (err == 0 && granted && !begin(c))
        err = ERR_DOWN;
    if (err != 0) {
        gate_leave(&c->place);
        end_later(c, err);
    } else if (!granted) {
        timer_set(pool->loop, &c->timer, call_settings(c)->queue_timeout_ms);
    }
}

void origin_call_raise(struct origin_call *c)
{
    if (c->state == CALL_QUEUED && c->request.background && c->place != NULL)
        gate_raise(c->place);
    c->request.background = false;
}

unsigned origin_call_server(const struct origin_call *c)
{
    return c->has_turn ? c->turn.server + 1 : 0;
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
        timer_set(c->pool->loop, &c->timer, call_settings(c)->body_timeout_ms);
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

/* ---- a connection dies ---- */

/* RFC 9112 section 9.3.1: repeat on a new connection if nothing can have come of it. Of its server this says
 * nothing. */
void call_lost(struct origin_call *c, int err)
{
    if (c->state == CALL_HEAD && c->reused && !c->got_bytes && !c->retried && may_repeat(c)) {
        upstream_drop(&c->upstream);
        c->retried = true;
        c->pending_err = 0;
        if (take_turn(c)) {
            connect_to_server(c);
            return;
        }
    }
    call_end(c, c->state == CALL_BODY ? ERR_TRUNCATED : err, false);
}

/* ---- pace ---- */

void origin_call_pause(struct origin_call *c)
{
    if (c->paused || c->state != CALL_BODY)
        return;
    c->paused = true;
    conn_read_stop(upstream_conn(c->upstream));
    if (c->pending_err == 0)
        timer_stop(c->pool->loop, &c->timer); /* body_timeout counts the origin's silence, not ours */
}

void origin_call_resume(struct origin_call *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    if (c->state != CALL_BODY)
        return;
    if (c->pending_err == 0)
        timer_set(c->pool->loop, &c->timer, call_settings(c)->body_timeout_ms);
    conn_read_start(upstream_conn(c->upstream));
}
