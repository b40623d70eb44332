#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/http/h1_impl.h"

enum { LINGER_MS = 2000 };

static struct h1_client *client_of(struct conn *c)
{
    return container_of(c, struct h1_client, conn);
}

/* ---- closing ---- */

void h1_client_close(struct h1_client *c, bool abort)
{
    room_rise(&c->server->room, &c->seat);
    timer_stop(h1_loop(c), &c->timer);
    conn_close(&c->conn, abort);
}

/* Bytes that arrive after a close would reset the connection and take the answer with them: read them away
 * first. */
static void linger(struct h1_client *c)
{
    if (c->eof) {
        h1_client_close(c, false);
        return;
    }
    c->lingering = true;
    buf_fini(&c->in);
    conn_shutdown(&c->conn);
    conn_read_start(&c->conn);
    c->untaken = conn_untaken(&c->conn);
    c->moved_ms = loop_now_ms(h1_loop(c));
    timer_set(h1_loop(c), &c->timer, LINGER_MS);
}

/* A reset would throw away what the client has not taken yet: as long as it takes some, it has time. */
static void linger_on(struct h1_client *c)
{
    uint64_t now_ms = loop_now_ms(h1_loop(c));
    size_t untaken = conn_untaken(&c->conn);
    if (untaken < c->untaken)
        c->moved_ms = now_ms;
    c->untaken = untaken;
    bool patient = now_ms - c->moved_ms < h1_settings(c)->client.write_timeout_ms;
    if (untaken > 0 && patient)
        timer_set(h1_loop(c), &c->timer, LINGER_MS);
    else
        h1_client_close(c, untaken > 0);
}

static void on_closed(struct conn *conn)
{
    struct h1_client *c = client_of(conn);
    struct h1_server *s = c->server;
    buf_fini(&c->in);
    free(c->ahead);
    list_remove(&c->link);
    s->n_clients--;
    address_leave(h1_loop(c), &c->address);
    atomic_fetch_sub(&s->shared->n_clients, 1);
    metric_move(h1_loop(c)->metrics, CLIENT_CONNECTIONS, -1);
    free(c);
    if (s->draining && s->n_clients == 0)
        s->on_empty(s);
}

/* ---- requests ---- */

static size_t process(struct h1_client *c, const char *p, size_t n, uint32_t *requests);
static void wait_with_rest(struct h1_client *c);

static void forget_ahead(struct h1_client *c)
{
    free(c->ahead);
    c->ahead = NULL;
}

void h1_client_go_on(struct h1_client *c)
{
    struct buf own = c->in;
    uint32_t requests = 0;
    c->in = (struct buf){0};
    if (!c->eof) /* reading may have stopped because of them; whoever still has enough stops it again */
        conn_read_start(&c->conn);
    size_t used = process(c, own.p, own.len, &requests);
    bool done = c->conn.closing || c->lingering || used == own.len;
    if (done || (c->ahead != NULL && !read_ahead_take(c->ahead, used, requests)))
        forget_ahead(c);
    if (done) {
        buf_fini(&own);
        return;
    }
    buf_consume(&own, used);
    c->in = own;
    wait_with_rest(c);
}

void h1_client_wait(struct h1_client *c)
{
    if (c->in.len == 0 && (c->eof || c->server->draining)) {
        h1_client_close(c, false);
        return;
    }
    room_sit(&c->server->room, &c->seat, c->answered);
    timer_set(h1_loop(c), &c->timer, h1_settings(c)->client.idle_timeout_ms);
    if (!c->eof)
        conn_read_start(&c->conn);
}

static void on_over(void *ctx, bool keep_alive, bool abort)
{
    struct h1_client *c = ctx;
    c->exchange = NULL;
    c->answered = true;
    if (abort) {
        h1_client_close(c, true);
    } else if (!keep_alive) {
        linger(c);
    } else if (!c->processing) {
        if (c->in.len > 0)
            h1_client_go_on(c);
        else
            h1_client_wait(c);
    }
}

/* From now on: as long as we do not read, it is not the client who is slow. */
static void measure_content(struct h1_client *c)
{
    c->judged_ms = loop_now_ms(h1_loop(c));
    c->judged_bytes = 0;
}

/* A pause is body_timeout's; this is for content that drips: it would hold a place at the origin for ever.
 * Judged in stretches of body_timeout. */
static bool is_dripping(struct h1_client *c, size_t n)
{
    uint64_t over_ms = loop_now_ms(h1_loop(c)) - c->judged_ms;
    c->judged_bytes += n;
    if (over_ms < h1_settings(c)->client.body_timeout_ms)
        return false;
    bool slow = c->judged_bytes < h1_settings(c)->client.drip_rate * over_ms / 1000;
    measure_content(c);
    return slow;
}

static void on_content_room(void *ctx)
{
    struct h1_client *c = ctx;
    if (c->processing)
        return;
    c->held_back = false;
    h1_client_go_on(c); /* without bytes too: the end of the content may be due */
    if (c->exchange == NULL || c->eof || c->held_back || c->in.len > 0)
        return;
    measure_content(c);
    conn_read_start(&c->conn);
}

static void on_tunnel(void *ctx)
{
    struct h1_client *c = ctx;
    struct buf early = c->in;
    c->in = (struct buf){0};
    c->in_tunnel = true;
    forget_ahead(c);
    exchange_tunnel(c->exchange, early.p, early.len, c->eof);
    buf_fini(&early);
}

static const struct exchange_owner exchange_events = {
    .on_over = on_over, .on_content_room = on_content_room, .on_tunnel = on_tunnel};

static struct exchange_request describe(struct h1_client *c, const struct http_head *head)
{
    return (struct exchange_request){
        .head = head,
        .conn = &c->conn,
        .peer = &c->peer,
        .owner = &exchange_events,
        .ctx = c,
    };
}

static void count_refusal(struct h1_client *c, int err)
{
    struct metrics_slot *m = h1_loop(c)->metrics;
    if (err == ERR_HEAD_TOO_LARGE && c->in_content)
        metric_limit(m, MAX_TRAILERS);
    else if (err == ERR_HEAD_TOO_LARGE)
        metric_limit(m, MAX_HEAD);
    else if (err == ERR_TOO_MANY_FIELDS)
        metric_limit(m, MAX_FIELDS);
    else if (err == ERR_URI_TOO_LONG)
        metric_limit(m, MAX_URL);
    else if (err == ERR_CONTENT_TOO_LARGE)
        metric_limit(m, MAX_CHUNK_EXT);
}

void h1_client_refuse(struct h1_client *c, const struct http_head *head, int err)
{
    struct exchange_request r = describe(c, head);
    count_refusal(c, err);
    room_rise(&c->server->room, &c->seat);
    conn_read_stop(&c->conn);
    timer_stop(h1_loop(c), &c->timer);
    exchange_refuse(c->server->env, &r, err, &c->exchange);
}

static void start_request(struct h1_client *c, const struct http_head *head)
{
    const struct http1_limits *limits = &h1_settings(c)->http_limits;
    int err = http1_body_for_request(&c->body, head, limits);
    if (err != 0) {
        h1_client_refuse(c, head, err);
        return;
    }
    struct exchange_request r = describe(c, head);
    bool has_content = c->body.framing == BODY_CHUNKED || c->body.length > 0;
    r.content = has_content ? c->body.framing : BODY_NONE; /* a length of 0 is none */
    r.content_length = c->body.length;
    r.retry_after_s = h1_wait_for_turn(c);
    if (r.retry_after_s > 0) {
        exchange_refuse(c->server->env, &r, ERR_ADDRESS_REQUESTS, &c->exchange);
        return;
    }
    c->in_content = has_content;
    c->held_back = false;
    if (c->in_content)
        timer_set(h1_loop(c), &c->timer, h1_settings(c)->client.body_timeout_ms);
    measure_content(c);
    exchange_start(c->server->env, &r, &c->exchange);
}

/* For a request that does not parse: its answer has no content where it is a HEAD (RFC 9110 section 9.3.2).
 */
static struct http_head what_it_seems(const char *p, size_t n)
{
    struct span s = {p, n};
    if (span_starts(s, SPAN("\r\n")))
        s = span_from(s, 2);
    return (struct http_head){.method = span_starts(s, SPAN("HEAD ")) ? METHOD_HEAD : METHOD_OTHER};
}

/* One head off p[0..n): gives how many bytes it took, 0 when there is nothing more to do with them now. */
static size_t take_head(struct h1_client *c, const char *p, size_t n)
{
    const struct http1_limits *limits = &h1_settings(c)->http_limits;
    struct http_head head = {.fields = h1_loop(c)->fields, .cap_fields = limits->max_fields};
    struct http1_result r = http1_parse_request(&c->scan, p, n, limits, &head);
    if (r.status == HTTP1_MORE)
        return 0;
    c->scan = (struct http1_scan){0};
    c->in_head = false;
    room_rise(&c->server->room, &c->seat);
    if (r.status == HTTP1_BAD) {
        struct http_head seems = what_it_seems(p, n);
        h1_client_refuse(c, &seems, r.err);
        return 0;
    }
    start_request(c, &head);
    return r.head_bytes;
}

/* The content is broken or late, and nothing more of it is taken. */
static void end_content(struct h1_client *c, int err)
{
    c->in_content = false;
    conn_read_stop(&c->conn);
    exchange_on_bad_content(c->exchange, err);
}

/* Some content off p[0..n), for the running exchange: gives how many bytes it took. *stop: enough for now. */
static size_t take_content(struct h1_client *c, const char *p, size_t n, bool *stop)
{
    size_t used = 0;
    struct span data;
    switch (http1_body_feed(&c->body, p, n, &used, &data)) {
    case BODY_DATA:
        if (is_dripping(c, data.len)) {
            *stop = true;
            metric_limit(h1_loop(c)->metrics, DRIP_RATE);
            end_content(c, ERR_CLIENT_TIMEOUT);
            break;
        }
        timer_set(h1_loop(c), &c->timer, h1_settings(c)->client.body_timeout_ms);
        if (!exchange_content(c->exchange, data.p, data.len)) {
            conn_read_stop(&c->conn);
            *stop = c->held_back = true;
        }
        break;
    case BODY_MORE:
        *stop = true;
        if (c->eof) /* content that ends early is never shown to the origin as whole */
            exchange_on_gone(c->exchange);
        break;
    case BODY_END:
        c->in_content = false;
        timer_stop(h1_loop(c), &c->timer);
        exchange_content_end(c->exchange);
        break;
    case BODY_BAD:
        *stop = true;
        count_refusal(c, c->body.err);
        end_content(c, c->body.err);
        break;
    }
    return used;
}

static bool is_far_ahead(struct h1_client *c)
{
    const struct config *cfg = h1_settings(c);
    if (c->in.len >= cfg->client.max_head)
        return true;
    if (c->ahead == NULL) {
        c->ahead = malloc(sizeof *c->ahead);
        if (c->ahead == NULL)
            return true;
        read_ahead_init(c->ahead, c->in_content ? &c->body : NULL);
    }
    read_ahead_count(c->ahead, c->in.p, c->in.len, &cfg->http_limits, h1_loop(c)->fields,
                     (uint32_t)cfg->client.max_pipelined);
    return c->ahead->requests >= cfg->client.max_pipelined;
}

/* A request runs, and more stands behind it. A client that is far ahead is not read any further. */
static void look_ahead(struct h1_client *c)
{
    if (c->held_back)
        return;
    if (!is_far_ahead(c)) {
        if (!c->eof)
            conn_read_start(&c->conn);
    } else if (c->conn.reading) {
        metric_limit(h1_loop(c)->metrics, MAX_PIPELINED);
        conn_read_stop(&c->conn);
    }
}

/* c->in holds what cannot be taken now. */
static void wait_with_rest(struct h1_client *c)
{
    if (c->exchange != NULL) {
        look_ahead(c);
        return;
    }
    if (c->eof) { /* half a head, and no more to come */
        h1_client_close(c, false);
        return;
    }
    if (!c->in_head) { /* head_timeout runs from the first byte */
        room_sit(&c->server->room, &c->seat, false);
        timer_set(h1_loop(c), &c->timer, h1_settings(c)->client.head_timeout_ms);
    }
    c->in_head = true;
    conn_read_start(&c->conn);
}

static void keep_rest(struct h1_client *c, const char *p, size_t n)
{
    buf_put(&c->in, p, n);
    if (c->in.failed)
        h1_client_close(c, true);
    else
        wait_with_rest(c);
}

/* Gives how many bytes it took, and in *requests how many heads. */
static size_t process(struct h1_client *c, const char *p, size_t n, uint32_t *requests)
{
    size_t taken = 0;
    bool stop = false;
    c->processing = true;
    while (!stop && !c->conn.closing && !c->lingering) {
        size_t used;
        if (c->exchange != NULL && c->in_content) {
            used = take_content(c, p + taken, n - taken, &stop);
        } else if (c->exchange == NULL && taken < n) {
            c->in_content = false;
            used = take_head(c, p + taken, n - taken);
            stop = used == 0;
            *requests += !stop;
        } else {
            break;
        }
        taken += used;
    }
    c->processing = false;
    if (taken == n && c->exchange == NULL && !c->conn.closing && !c->lingering)
        h1_client_wait(c);
    return taken;
}

static void take_bytes(struct h1_client *c, const char *p, size_t n)
{
    uint32_t requests = 0;
    if (c->in.len == 0) {
        size_t used = process(c, p, n, &requests);
        if (used < n && !c->conn.closing && !c->lingering)
            keep_rest(c, p + used, n - used);
    } else if (c->exchange != NULL) {
        keep_rest(c, p, n);
    } else {
        buf_put(&c->in, p, n);
        if (c->in.failed)
            h1_client_close(c, true);
        else
            h1_client_go_on(c);
    }
}

/* ---- the connection's events ---- */

static void on_data(struct conn *conn, const char *p, size_t n)
{
    struct h1_client *c = client_of(conn);
    if (c->in_greeting)
        h1_greeting_take(c, p, n);
    else if (c->in_tunnel)
        exchange_tunnel(c->exchange, p, n, false);
    else if (!c->lingering)
        take_bytes(c, p, n);
}

static void on_eof(struct conn *conn)
{
    struct h1_client *c = client_of(conn);
    c->eof = true;
    if (c->in_greeting && c->in.len > 0) { /* who has sent nothing only looked whether we are there */
        h1_greeting_refuse(c);
        return;
    }
    if (c->exchange == NULL)
        h1_client_close(c, false);
    else if (c->in_tunnel)
        exchange_tunnel(c->exchange, NULL, 0, true);
    else if (c->in_content && !c->held_back)
        exchange_on_gone(
            c->exchange); /* content ends early; take_content finds out about what is held back */
}

static void on_error(struct conn *conn, int err)
{
    struct h1_client *c = client_of(conn);
    if (c->exchange != NULL)
        exchange_on_gone(c->exchange);
    else
        h1_client_close(c, true);
}

static void on_drained(struct conn *conn)
{
    struct h1_client *c = client_of(conn);
    if (c->exchange != NULL)
        exchange_on_drained(c->exchange);
}

const struct conn_ops h1_client_events = {.on_data = on_data,
                                          .on_eof = on_eof,
                                          .on_error = on_error,
                                          .on_drained = on_drained,
                                          .on_closed = on_closed};

void h1_client_on_timer(struct loop_timer *t)
{
    struct h1_client *c = container_of(t, struct h1_client, timer);
    struct metrics_slot *m = h1_loop(c)->metrics;
    if (c->lingering) {
        linger_on(c);
    } else if (c->in_greeting) {
        metric_limit(m, HEAD_TIMEOUT);
        h1_greeting_refuse(c);
    } else if (c->exchange != NULL) {
        if (!c->in_content)
            return;
        if (!c->conn.reading) { /* we are the ones who keep it waiting */
            timer_set(h1_loop(c), &c->timer, h1_settings(c)->client.body_timeout_ms);
            return;
        }
        metric_limit(m, BODY_TIMEOUT);
        end_content(c, ERR_CLIENT_TIMEOUT);
    } else if (c->in.len > 0) {
        metric_limit(m, HEAD_TIMEOUT);
        struct http_head seems = what_it_seems(c->in.p, c->in.len);
        buf_fini(&c->in);
        h1_client_refuse(c, &seems, ERR_CLIENT_TIMEOUT);
    } else {
        metric_limit(m, IDLE_TIMEOUT);
        h1_client_close(c, false);
    }
}
