#include "shield/http/h1_server.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "common/proxy_protocol.h"
#include "shield/http/read_ahead.h"
#include "shield/ops/log.h"

enum { LINGER_MS = 2000, TELL_EACH_MS = 60 * 1000, TURNED_AWAY_MAX = 64 };

struct h1_client {
    struct conn conn;
    struct h1_server *server;
    struct list_node link;
    struct room_seat seat; /* while we wait for a request of its */
    struct loop_timer timer;
    struct address *address;            /* NULL: not counted */
    const struct config *entered_under; /* it may be gone: only to be compared */
    struct buf in; /* bytes that wait: an incomplete head, or what came behind a request that still runs */
    struct http1_scan scan;
    struct read_ahead *ahead; /* over `in`, while a request runs; NULL until there is something to count */
    struct http1_body body;   /* of the request whose content is coming in */
    struct exchange *exchange;
    uint64_t judged_ms, judged_bytes; /* content: since when its rate is measured, and what has come since */
    struct peer peer;                 /* from on_address on who it is, before that the socket's */
    bool in_greeting;                 /* a PROXY header comes first */
    bool in_head;                     /* head_timeout runs */
    bool in_content;                  /* content of the running request is still to come */
    bool held_back;                   /* and on_content_room says when there is room for it */
    bool processing;                  /* on_over must not start the next request: the loop below does */
    bool eof;                         /* the client has half-closed */
    bool answered;                    /* once at least */
    bool lingering;
    size_t untaken;    /* while lingering: what of our answer the client has not taken, at the last look */
    uint64_t moved_ms; /* and when that became less */
};

static struct h1_client *client_of(struct conn *c)
{
    return container_of(c, struct h1_client, conn);
}

static const struct config *settings(const struct h1_client *c)
{
    return c->server->env->loop->config;
}

static struct loop *loop_of(const struct h1_client *c)
{
    return c->server->env->loop;
}

/* ---- closing ---- */

static void close_client(struct h1_client *c, bool abort)
{
    room_rise(&c->server->room, &c->seat);
    timer_stop(loop_of(c), &c->timer);
    conn_close(&c->conn, abort);
}

/* Bytes that arrive after a close would reset the connection and take the answer with them: read them away
 * first. */
static void linger(struct h1_client *c)
{
    if (c->eof) {
        close_client(c, false);
        return;
    }
    c->lingering = true;
    buf_fini(&c->in);
    conn_shutdown(&c->conn);
    conn_read_start(&c->conn);
    c->untaken = conn_untaken(&c->conn);
    c->moved_ms = loop_now_ms(loop_of(c));
    timer_set(loop_of(c), &c->timer, LINGER_MS);
}

/* A reset would throw away what the client has not taken yet: as long as it takes some, it has time. */
static void linger_on(struct h1_client *c)
{
    uint64_t now_ms = loop_now_ms(loop_of(c));
    size_t untaken = conn_untaken(&c->conn);
    if (untaken < c->untaken)
        c->moved_ms = now_ms;
    c->untaken = untaken;
    bool patient = now_ms - c->moved_ms < settings(c)->client.write_timeout_ms;
    if (untaken > 0 && patient)
        timer_set(loop_of(c), &c->timer, LINGER_MS);
    else
        close_client(c, untaken > 0);
}

static void on_closed(struct conn *conn)
{
    struct h1_client *c = client_of(conn);
    struct h1_server *s = c->server;
    buf_fini(&c->in);
    free(c->ahead);
    list_remove(&c->link);
    s->n_clients--;
    address_leave(loop_of(c), &c->address);
    atomic_fetch_sub(&s->shared->n_clients, 1);
    metric_move(loop_of(c)->metrics, CLIENT_CONNECTIONS, -1);
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

/* Goes on with the bytes that wait. What is still not needed stays where it is: an incomplete head that grows
 * byte by byte is not copied each time. */
static void process_waiting(struct h1_client *c)
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

/* Between two requests. */
static void wait_for_request(struct h1_client *c)
{
    if (c->in.len == 0 && (c->eof || c->server->draining)) {
        close_client(c, false);
        return;
    }
    room_sit(&c->server->room, &c->seat, c->answered);
    timer_set(loop_of(c), &c->timer, settings(c)->client.idle_timeout_ms);
    if (!c->eof)
        conn_read_start(&c->conn);
}

static void on_over(void *ctx, bool keep_alive, bool abort)
{
    struct h1_client *c = ctx;
    c->exchange = NULL;
    c->answered = true;
    if (abort) {
        close_client(c, true);
    } else if (!keep_alive) {
        linger(c);
    } else if (!c->processing) {
        if (c->in.len > 0)
            process_waiting(c);
        else
            wait_for_request(c);
    }
}

/* From now on: as long as we do not read, it is not the client who is slow. */
static void measure_content(struct h1_client *c)
{
    c->judged_ms = loop_now_ms(loop_of(c));
    c->judged_bytes = 0;
}

/* A pause is body_timeout's; this is for content that drips: it would hold a place at the origin for ever.
 * Judged in stretches of body_timeout. */
static bool is_dripping(struct h1_client *c, size_t n)
{
    uint64_t over_ms = loop_now_ms(loop_of(c)) - c->judged_ms;
    c->judged_bytes += n;
    if (over_ms < settings(c)->client.body_timeout_ms)
        return false;
    bool slow = c->judged_bytes < settings(c)->client.drip_rate * over_ms / 1000;
    measure_content(c);
    return slow;
}

static void on_content_room(void *ctx)
{
    struct h1_client *c = ctx;
    if (c->processing)
        return;
    c->held_back = false;
    process_waiting(c); /* without bytes too: the end of the content may be due */
    if (c->exchange == NULL || c->eof || c->held_back || c->in.len > 0)
        return;
    measure_content(c);
    conn_read_start(&c->conn);
}

static const struct exchange_owner exchange_events = {.on_over = on_over, .on_content_room = on_content_room};

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
    struct metrics_slot *m = loop_of(c)->metrics;
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

static void refuse(struct h1_client *c, const struct http_head *head, int err)
{
    struct exchange_request r = describe(c, head);
    count_refusal(c, err);
    room_rise(&c->server->room, &c->seat);
    conn_read_stop(&c->conn);
    timer_stop(loop_of(c), &c->timer);
    exchange_refuse(c->server->env, &r, err, &c->exchange);
}

/* Counts the client with those of its address, by the settings of now. *n as address_enter has it. */
static int enter_address(struct h1_client *c, uint32_t *n)
{
    c->entered_under = settings(c);
    return address_enter(c->server->shared->addresses, loop_of(c), &c->peer.addr, &c->address, n);
}

/* In how many seconds its address may ask again; 0: now. Limits that have been set since it came hold for it
 * too, but nobody is cut for them. */
static uint32_t wait_for_turn(struct h1_client *c)
{
    uint32_t n;
    if (c->address == NULL && c->entered_under != settings(c))
        (void)enter_address(c, &n);
    return address_take(loop_of(c), c->address);
}

static void start_request(struct h1_client *c, const struct http_head *head)
{
    const struct http1_limits *limits = &settings(c)->http_limits;
    int err = http1_body_for_request(&c->body, head, limits);
    if (err != 0) {
        refuse(c, head, err);
        return;
    }
    struct exchange_request r = describe(c, head);
    bool has_content = c->body.framing == BODY_CHUNKED || c->body.length > 0;
    r.content = has_content ? c->body.framing : BODY_NONE; /* a length of 0 is none */
    r.content_length = c->body.length;
    r.retry_after_s = wait_for_turn(c);
    if (r.retry_after_s > 0) {
        exchange_refuse(c->server->env, &r, ERR_ADDRESS_REQUESTS, &c->exchange);
        return;
    }
    c->in_content = has_content;
    c->held_back = false;
    if (c->in_content)
        timer_set(loop_of(c), &c->timer, settings(c)->client.body_timeout_ms);
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
    const struct http1_limits *limits = &settings(c)->http_limits;
    struct http_head head = {.fields = loop_of(c)->fields, .cap_fields = limits->max_fields};
    struct http1_result r = http1_parse_request(&c->scan, p, n, limits, &head);
    if (r.status == HTTP1_MORE)
        return 0;
    c->scan = (struct http1_scan){0};
    c->in_head = false;
    room_rise(&c->server->room, &c->seat);
    if (r.status == HTTP1_BAD) {
        struct http_head seems = what_it_seems(p, n);
        refuse(c, &seems, r.err);
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
            metric_limit(loop_of(c)->metrics, DRIP_RATE);
            end_content(c, ERR_CLIENT_TIMEOUT);
            break;
        }
        timer_set(loop_of(c), &c->timer, settings(c)->client.body_timeout_ms);
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
        timer_stop(loop_of(c), &c->timer);
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
    const struct config *cfg = settings(c);
    if (c->in.len >= cfg->client.max_head)
        return true;
    if (c->ahead == NULL) {
        c->ahead = malloc(sizeof *c->ahead);
        if (c->ahead == NULL)
            return true;
        read_ahead_init(c->ahead, c->in_content ? &c->body : NULL);
    }
    read_ahead_count(c->ahead, c->in.p, c->in.len, &cfg->http_limits, loop_of(c)->fields,
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
        metric_limit(loop_of(c)->metrics, MAX_PIPELINED);
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
        close_client(c, false);
        return;
    }
    if (!c->in_head) { /* head_timeout runs from the first byte */
        room_sit(&c->server->room, &c->seat, false);
        timer_set(loop_of(c), &c->timer, settings(c)->client.head_timeout_ms);
    }
    c->in_head = true;
    conn_read_start(&c->conn);
}

static void keep_rest(struct h1_client *c, const char *p, size_t n)
{
    buf_put(&c->in, p, n);
    if (c->in.failed)
        close_client(c, true);
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
        wait_for_request(c);
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
            close_client(c, true);
        else
            process_waiting(c);
    }
}

/* ---- who it is ---- */

/* Its answer is out before it has asked. Many at a time would take up what the limit is there to keep. */
static void turn_away(struct h1_client *c, int err, uint64_t n_beyond, uint64_t most_answers)
{
    if (n_beyond <= MIN(most_answers, (uint64_t)TURNED_AWAY_MAX))
        refuse(c, NULL, err);
    else
        close_client(c, true);
}

/* Who has connected is known now: once in a connection's life, before anything of it is read as a request.
 * False when it has been turned away for its address. */
static bool on_address(struct h1_client *c, const struct netaddr_cidr *addr)
{
    uint64_t limit = settings(c)->client.max_connections_per_ip;
    uint32_t n;
    peer_set(&c->peer, addr);
    c->in_greeting = false;
    int err = enter_address(c, &n);
    if (err != 0)
        turn_away(c, err, n - limit, limit / 2 + 4);
    return err == 0;
}

/* Who it is has not been looked at. Whoever is to send a PROXY header may not be speaking HTTP at all. */
static void turn_away_unknown(struct h1_client *c, uint64_t n_beyond, uint64_t most_answers)
{
    struct netaddr_cidr addr;
    conn_peer(&c->conn, &addr);
    peer_set(&c->peer, &addr);
    if (addr.family == 0 || config_cidrs_have(&settings(c)->edges_proxy_protocol, &addr))
        close_client(c, true);
    else
        turn_away(c, ERR_CONNECTIONS, n_beyond, most_answers);
}

/* Whoever is to send a PROXY header is not spoken to without one. */
static void greet(struct h1_client *c)
{
    struct netaddr_cidr addr;
    conn_peer(&c->conn, &addr);
    if (addr.family == 0) { /* already reset: nobody is there to be answered */
        close_client(c, true);
        return;
    }
    if (!config_cidrs_have(&settings(c)->edges_proxy_protocol, &addr)) {
        if (on_address(c, &addr))
            wait_for_request(c);
        return;
    }
    peer_set(&c->peer, &addr);
    c->in_greeting = true;
    room_sit(&c->server->room, &c->seat, false);
    timer_set(loop_of(c), &c->timer, settings(c)->client.head_timeout_ms);
    conn_read_start(&c->conn);
}

/* One line in a while will do: a proxy that is set up wrong does it with every connection. */
static void tell_of_greeting(struct h1_client *c)
{
    uint64_t now_ms = loop_now_ms(loop_of(c));
    if (now_ms < c->server->quiet_until_ms)
        return;
    c->server->quiet_until_ms = now_ms + TELL_EACH_MS;
    log_warn("edges.proxy_protocol: %.*s sent no good PROXY header; such connections are closed",
             c->peer.text_len, c->peer.text);
}

static void refuse_greeting(struct h1_client *c)
{
    metric_count(loop_of(c)->metrics, PROXY_HEADERS_REFUSED);
    tell_of_greeting(c);
    close_client(c, true); /* without a word: what speaks there may be no HTTP at all */
}

/* What stands behind the header is the client's own. */
static void end_greeting(struct h1_client *c, const struct proxy_header *h)
{
    struct netaddr_cidr addr = h->has_source ? h->source : c->peer.addr;
    buf_consume(&c->in, h->bytes);
    if (!on_address(c, &addr)) {
        buf_fini(&c->in);
    } else if (c->in.len > 0) {
        process_waiting(c);
    } else {
        buf_fini(&c->in);
        wait_for_request(c);
    }
}

static void take_greeting(struct h1_client *c, const char *p, size_t n)
{
    struct proxy_header h;
    buf_put(&c->in, p, n);
    if (c->in.failed) {
        close_client(c, true);
        return;
    }
    switch (proxy_header_parse(c->in.p, c->in.len, settings(c)->client.max_proxy_header, &h)) {
    case PROXY_HEADER_MORE:
        break;
    case PROXY_HEADER_DONE:
        end_greeting(c, &h);
        break;
    case PROXY_HEADER_TOO_LONG:
        metric_limit(loop_of(c)->metrics, MAX_PROXY_HEADER);
        refuse_greeting(c);
        break;
    case PROXY_HEADER_BAD:
        refuse_greeting(c);
        break;
    }
}

/* ---- the connection's events ---- */

static void on_data(struct conn *conn, const char *p, size_t n)
{
    struct h1_client *c = client_of(conn);
    if (c->in_greeting)
        take_greeting(c, p, n);
    else if (!c->lingering)
        take_bytes(c, p, n);
}

static void on_eof(struct conn *conn)
{
    struct h1_client *c = client_of(conn);
    c->eof = true;
    if (c->in_greeting && c->in.len > 0) { /* who has sent nothing only looked whether we are there */
        refuse_greeting(c);
        return;
    }
    if (c->exchange == NULL)
        close_client(c, false);
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
        close_client(c, true);
}

static void on_drained(struct conn *conn)
{
    struct h1_client *c = client_of(conn);
    if (c->exchange != NULL)
        exchange_on_drained(c->exchange);
}

static const struct conn_ops conn_events = {.on_data = on_data,
                                            .on_eof = on_eof,
                                            .on_error = on_error,
                                            .on_drained = on_drained,
                                            .on_closed = on_closed};

static void on_timer(struct loop_timer *t)
{
    struct h1_client *c = container_of(t, struct h1_client, timer);
    struct metrics_slot *m = loop_of(c)->metrics;
    if (c->lingering) {
        linger_on(c);
    } else if (c->in_greeting) {
        metric_limit(m, HEAD_TIMEOUT);
        refuse_greeting(c);
    } else if (c->exchange != NULL) {
        if (!c->in_content)
            return;
        if (!c->conn.reading) { /* we are the ones who keep it waiting */
            timer_set(loop_of(c), &c->timer, settings(c)->client.body_timeout_ms);
            return;
        }
        metric_limit(m, BODY_TIMEOUT);
        end_content(c, ERR_CLIENT_TIMEOUT);
    } else if (c->in.len > 0) {
        metric_limit(m, HEAD_TIMEOUT);
        struct http_head seems = what_it_seems(c->in.p, c->in.len);
        buf_fini(&c->in);
        refuse(c, &seems, ERR_CLIENT_TIMEOUT);
    } else {
        metric_limit(m, IDLE_TIMEOUT);
        close_client(c, false);
    }
}

/* ---- accepting and draining ---- */

static void on_leave(struct room_seat *seat)
{
    close_client(container_of(seat, struct h1_client, seat), false);
}

void h1_server_init(struct h1_server *s, struct exchange_env *env, struct h1_shared *shared,
                    void (*on_empty)(struct h1_server *s))
{
    *s = (struct h1_server){.env = env, .shared = shared, .on_empty = on_empty};
    list_init(&s->clients);
    room_init(&s->room, &shared->rooms, env->loop, on_leave);
}

/* Whether there is room for it, the n-th client, or somebody leaves for it. Else it is turned away. */
static bool find_room(struct h1_client *c, uint64_t n, int fd)
{
    struct h1_server *s = c->server;
    uint64_t kept, most = settings(c)->client.max_connections;
    uint64_t scarcity = conn_scarcity(fd, &kept);
    if (n <= most && scarcity == 0)
        return true;
    metric_limit(loop_of(c)->metrics, MAX_CONNECTIONS);
    if (scarcity > 0 ? room_make_here(&s->room) : room_make(&s->room)) /* a descriptor is needed now */
        return true;
    if (scarcity > 0)
        turn_away_unknown(c, scarcity, kept / 4);
    else
        turn_away_unknown(c, n - most, most / 2 + 4);
    return false;
}

void h1_server_accept(struct h1_server *s, int fd, bool is_unix)
{
    struct loop *l = s->env->loop;
    struct h1_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->server = s;
    timer_init(&c->timer, on_timer);
    room_seat_init(&c->seat);
    list_add_tail(&s->clients, &c->link);
    s->n_clients++;
    uint64_t n = atomic_fetch_add(&s->shared->n_clients, 1) + 1;
    metric_move(l->metrics, CLIENT_CONNECTIONS, 1);
    if (conn_accept(&c->conn, l, &conn_events, fd, is_unix) != 0 || !find_room(c, n, fd))
        return;
    metric_count(l->metrics, CLIENT_CONNECTIONS_TOTAL);
    greet(c);
}

bool h1_server_give_way(struct h1_server *s)
{
    metric_limit(s->env->loop->metrics, MAX_CONNECTIONS);
    return room_make_here(&s->room);
}

void h1_server_drain(struct h1_server *s)
{
    s->draining = s->env->draining = true;
    list_each_safe (n, &s->clients) {
        struct h1_client *c = container_of(n, struct h1_client, link);
        if (c->exchange == NULL && !c->lingering)
            close_client(c, false);
    }
    if (s->n_clients == 0)
        s->on_empty(s);
}

void h1_server_abort(struct h1_server *s)
{
    list_each_safe (n, &s->clients) {
        struct h1_client *c = container_of(n, struct h1_client, link);
        if (c->exchange != NULL)
            exchange_on_gone(c->exchange);
        else
            close_client(c, true);
    }
}
