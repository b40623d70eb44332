#include "bench/origin_conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bench/sock.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http1.h"

enum {
    MAX_FIELDS = 128,
    SENDS_A_TURN = 4, /* so that one big answer does not hold up the others */
    LINGER_MS = 2000,
};

static const struct http1_limits limits = {.max_head = 65536,
                                           .max_fields = MAX_FIELDS,
                                           .max_url = 16384,
                                           .max_chunk_ext = 1024,
                                           .max_trailers = 8192};

/*  HEAD --> CONTENT --> WAIT --> SEND --> HEAD ...   one request after the other
 *                         `--> HUNG                  never answers, or stopped half way
 *  any --> LINGER                                    all is said: wait for the client to close */
enum conn_state { C_HEAD, C_CONTENT, C_WAIT, C_SEND, C_HUNG, C_LINGER };

struct conn {
    struct ev_io io;
    struct ev_timer timer;
    struct list_node link;
    struct origin_server *server;
    enum conn_state state;
    bool readable, peer_ended;
    struct buf in;
    struct http1_scan scan;
    struct http1_body content; /* of the request */
    struct origin_fetch fetch;
    struct origin_reply reply;
    size_t framing_sent;             /* of reply.head, which carries chunk framing after the head has left */
    uint64_t first, piece, began_ns; /* where the content begins; what is left of the piece being sent */
};

static void conn_close(struct conn *c)
{
    struct origin_server *s = c->server;
    origin_fetch_end(&s->stats, &c->fetch, true);
    s->stats.connections--;
    ev_timer_stop(&s->ev, &c->timer);
    ev_close(&s->ev, &c->io);
    list_remove(&c->link);
    buf_fini(&c->in);
    buf_fini(&c->reply.head);
    free(c);
}

static uint64_t in_ms(struct conn *c, uint64_t ms)
{
    return c->server->ev.now_ns + ms * 1000000;
}

/* ---- reading */

/* Decides the answer as soon as the head is here: its texts are spans into c->in, which moves later. */
static int plan(struct conn *c, const struct http_head *head)
{
    struct origin_server *s = c->server;
    if (span_starts(head->target, SPAN("/.bench/")))
        return origin_control(s, head, &c->reply);

    struct arena decoded = {0};
    struct origin_options o = s->defaults;
    struct span path = body_path(head->target), name = {0};
    uint64_t nth = 0;
    int err = origin_fetch_begin(&s->stats, path, &c->fetch, &nth);
    const char *why = origin_options_query(&o, span_from(head->target, path.len + 1), &decoded, &name);
    if (err == 0 && why != NULL) {
        struct buf text = {0};
        buf_printf(&text, "%.*s %s\n", SPAN_FMT(name), why);
        err = origin_reply_text(&c->reply, 400, "text/plain", buf_span(&text), head->method == METHOD_HEAD,
                                !http1_keep_alive(head));
        buf_fini(&text);
    } else if (err == 0) {
        struct origin_request q = {.head = head,
                                   .nth = nth,
                                   .serial = ++s->serial,
                                   .now_s = time(NULL),
                                   .now_ns = clock_ns(CLOCK_MONOTONIC),
                                   .others = s->stats.total.running - 1};
        err = origin_reply_plan(&q, &o, &c->reply);
        if (err == 0)
            err = origin_fetch_epoch(&s->stats, &c->fetch, c->reply.seed, q.now_s, c->reply.fresh_until_s);
    }
    origin_fetch_status(&s->stats, &c->fetch, c->reply.status);
    origin_fetch_mark(&s->stats, &c->fetch, MARK_ASKED);
    arena_fini(&decoded);
    return err;
}

static int refuse(struct conn *c, int status, const char *why)
{
    c->reply.head.len = 0;
    return origin_reply_text(&c->reply, status, "text/plain", span_of(why), false, true);
}

static void begin_answer(struct conn *c)
{
    c->first = c->reply.at;
    c->piece = 0;
    c->framing_sent = 0;
    c->state = c->reply.hang ? C_HUNG : c->reply.delay_ms > 0 ? C_WAIT : C_SEND;
    c->began_ns = c->server->ev.now_ns;
    if (c->state == C_WAIT && ev_timer_start(&c->server->ev, &c->timer, in_ms(c, c->reply.delay_ms)) != 0)
        c->state = C_SEND;
}

static void tell_to_continue(struct conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    (void)send(c->io.fd, text, sizeof text - 1, MSG_NOSIGNAL); /* a client that misses it sends anyway */
}

/* False: the connection is to be closed. */
static bool take_head(struct conn *c)
{
    struct http_field fields[MAX_FIELDS];
    struct http_head head = {.fields = fields, .cap_fields = MAX_FIELDS};
    struct http1_result r = http1_parse_request(&c->scan, c->in.p, c->in.len, &limits, &head);
    if (r.status == HTTP1_MORE)
        return true;
    c->reply.head.len = 0;
    int err = r.status == HTTP1_BAD ? r.err : http1_body_for_request(&c->content, &head, &limits);
    if (err != 0) {
        if (refuse(c, err_status(err), err_text(err)) != 0)
            return false;
        begin_answer(c);
        return true;
    }
    if (plan(c, &head) != 0)
        return false;
    if (c->content.framing != BODY_NONE && http_has(&head, FIELD_EXPECT))
        tell_to_continue(c);
    buf_consume(&c->in, r.head_bytes);
    c->scan = (struct http1_scan){0};
    c->state = C_CONTENT;
    return true;
}

static bool take_content(struct conn *c)
{
    size_t at = 0, used = 0;
    struct span data;
    enum http1_body_status status = c->content.framing == BODY_NONE ? BODY_END : BODY_DATA;
    while (status == BODY_DATA) {
        status = http1_body_feed(&c->content, c->in.p + at, c->in.len - at, &used, &data);
        at += used;
    }
    buf_consume(&c->in, at);
    if (status == BODY_BAD)
        return false;
    if (status == BODY_END)
        begin_answer(c);
    return true;
}

/* One read; false: the connection is to be closed. Clears `readable` when there is no more. */
static bool read_some(struct conn *c)
{
    char *scratch = c->server->scratch;
    ssize_t n = recv(c->io.fd, scratch, ORIGIN_SCRATCH_BYTES, 0);
    if (n < 0) {
        c->readable = false;
        return sock_would_block();
    }
    if (n == 0)
        return false;
    c->readable = n == ORIGIN_SCRATCH_BYTES || c->peer_ended; /* epoll(7): a short read has emptied it */
    buf_put(&c->in, scratch, (size_t)n);
    return !c->in.failed;
}

/* ---- sending */

/* How much of the content may have left by now. */
static uint64_t allowed(const struct conn *c)
{
    const struct origin_reply *r = &c->reply;
    uint64_t n = r->end - c->first;
    if (r->drip_ms > 0) {
        uint64_t passed_us = (c->server->ev.now_ns - c->began_ns) / 1000, whole_us = r->drip_ms * 1000;
        if (passed_us < whole_us)
            n = (uint64_t)((double)n * (double)passed_us / (double)whole_us);
    }
    return MIN(n, MIN(r->cut, r->stall));
}

static void put_chunk_prefix(struct buf *out, uint64_t n)
{
    if (buf_reserve(out, 18))
        out->len += http1_chunk_prefix(out->p + out->len, n);
}

/* Gives the next bytes to send: framing in reply.head, content as c->piece. False when there is nothing now.
 */
static bool next_piece(struct conn *c)
{
    struct buf *framing = &c->reply.head;
    uint64_t may = allowed(c), sent = c->reply.at - c->first;
    if (c->framing_sent == framing->len)
        framing->len = c->framing_sent = 0;
    if (c->piece == 0 && may > sent) {
        c->piece = may - sent;
        if (c->reply.framing == FRAMING_CHUNKED)
            put_chunk_prefix(framing, c->piece);
    }
    return c->piece > 0 || framing->len > 0;
}

/* `n` bytes of content have left, up to reply.at. */
static void note_sent(struct conn *c, uint64_t n)
{
    struct origin_stats *stats = &c->server->stats;
    const struct origin_reply *r = &c->reply;
    uint64_t half = c->first + (r->end - c->first) / 2, before = r->at - n;
    if (n == 0)
        return;
    origin_fetch_bytes(stats, &c->fetch, n);
    if (before == c->first)
        origin_fetch_mark(stats, &c->fetch, MARK_FIRST);
    if (before < half && r->at >= half)
        origin_fetch_mark(stats, &c->fetch, MARK_HALF);
    if (r->at == r->end)
        origin_fetch_mark(stats, &c->fetch, MARK_LAST);
}

/* One system call; -1: the client is gone, 0: not now, 1: went on. */
static int send_piece(struct conn *c)
{
    struct buf *framing = &c->reply.head;
    size_t n = MIN(c->piece, (uint64_t)ORIGIN_SCRATCH_BYTES);
    body_fill(c->reply.seed, c->reply.at, c->server->scratch, n);
    struct iovec parts[2] = {{framing->p + c->framing_sent, framing->len - c->framing_sent},
                             {c->server->scratch, n}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(c->io.fd, &message, MSG_NOSIGNAL);
    if (sent < 0)
        return sock_would_block() ? 0 : -1;
    size_t of_framing = MIN((size_t)sent, parts[0].iov_len), of_content = (size_t)sent - of_framing;
    c->framing_sent += of_framing;
    c->reply.at += of_content;
    c->piece -= of_content;
    note_sent(c, of_content);
    if (of_content > 0 && c->piece == 0 && c->reply.framing == FRAMING_CHUNKED) {
        framing->len = c->framing_sent = 0;
        if (c->reply.at == c->reply.end)
            buf_put_lit(framing, "\r\n0\r\n\r\n");
        else
            buf_put_lit(framing, "\r\n");
    }
    return (size_t)sent == parts[0].iov_len + n ? 1 : 0;
}

static void linger(struct conn *c)
{
    shutdown(c->io.fd, SHUT_WR);
    c->state = C_LINGER;
    c->readable = true;
    if (ev_timer_start(&c->server->ev, &c->timer, in_ms(c, LINGER_MS)) != 0)
        (void)ev_timer_soon(&c->server->ev, &c->timer);
}

/* All that may leave now has left: what comes next? */
static void after_piece(struct conn *c)
{
    struct origin_reply *r = &c->reply;
    uint64_t sent = r->at - c->first;
    if (sent == r->cut) {
        origin_fetch_end(&c->server->stats, &c->fetch, false);
        linger(c);
    } else if (sent == r->stall) {
        c->state = C_HUNG;
    } else if (r->at < r->end) {
        (void)ev_timer_start(&c->server->ev, &c->timer, in_ms(c, MAX(r->tick_ms, 1u)));
    } else {
        origin_fetch_end(&c->server->stats, &c->fetch, false);
        c->state = C_HEAD;
        if (r->last)
            linger(c);
    }
}

/* An empty chunked body has no piece whose end would bring the last chunk. */
static void end_empty_chunked(struct conn *c)
{
    struct origin_reply *r = &c->reply;
    if (r->framing == FRAMING_CHUNKED && c->first == r->end && r->status >= 200 && r->status != 204 &&
        r->status != 304) {
        buf_put_lit(&r->head, "0\r\n\r\n");
        r->framing = FRAMING_LENGTH;
    }
}

/* False: the connection is to be closed. */
static bool send_some(struct conn *c)
{
    end_empty_chunked(c);
    for (int i = 0; next_piece(c); i++) {
        if (i == SENDS_A_TURN)
            return ev_timer_soon(&c->server->ev, &c->timer) == 0;
        int went = send_piece(c);
        if (went < 0 || c->reply.head.failed)
            return false;
        if (went == 0)
            return true;
    }
    after_piece(c);
    return true;
}

/* ---- the turn */

static void drain(struct conn *c)
{
    while (c->readable && recv(c->io.fd, c->server->scratch, ORIGIN_SCRATCH_BYTES, 0) > 0)
        ;
    c->readable = false;
}

enum step { STOP, AGAIN, GONE };

/* What is in c->in did not suffice. */
static enum step read_on(struct conn *c)
{
    if (!c->readable)
        return STOP;
    return read_some(c) ? AGAIN : GONE;
}

static enum step step(struct conn *c)
{
    switch (c->state) {
    case C_HEAD:
        if (c->in.len > 0 && !take_head(c))
            return GONE;
        return c->state == C_HEAD ? read_on(c) : AGAIN;
    case C_CONTENT:
        if (!take_content(c))
            return GONE;
        return c->state == C_CONTENT ? read_on(c) : AGAIN;
    case C_SEND:
        if (!send_some(c))
            return GONE;
        return c->state == C_SEND ? STOP : AGAIN;
    case C_LINGER:
        drain(c);
        return STOP;
    case C_WAIT:
    case C_HUNG:
        return STOP;
    }
    return STOP;
}

/* Works until nothing more can be done now; false: the connection is to be closed. */
static bool drive(struct conn *c)
{
    enum step went = step(c);
    while (went == AGAIN)
        went = step(c);
    return went == STOP;
}

static void on_ready(struct ev_io *io, uint32_t events)
{
    struct conn *c = container_of(io, struct conn, io);
    if (events & EPOLLIN)
        c->readable = true;
    if (events & EPOLLRDHUP)
        c->peer_ended = true;
    /* The clients of an origin are proxies, which do not half-close: who ends his side has left. */
    bool left =
        (events & (EPOLLHUP | EPOLLERR)) || (c->peer_ended && c->state != C_HEAD && c->state != C_CONTENT);
    if (left || !drive(c))
        conn_close(c);
}

static void on_due(struct ev_timer *t)
{
    struct conn *c = container_of(t, struct conn, timer);
    bool lives = c->state != C_LINGER;
    if (c->state == C_WAIT) {
        c->state = C_SEND;
        c->began_ns = c->server->ev.now_ns;
    }
    if (!lives || !drive(c))
        conn_close(c);
}

void origin_conn_open(struct origin_server *s, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->io = (struct ev_io){.fd = fd, .on_ready = on_ready};
    c->timer.on_due = on_due;
    c->server = s;
    list_add_tail(&s->conns, &c->link);
    s->stats.connections++;
    s->stats.connections_total++;
    s->stats.connections_max = MAX(s->stats.connections_max, s->stats.connections);
    if (ev_add(&s->ev, &c->io) != 0)
        conn_close(c);
}

void origin_conn_close_all(struct origin_server *s)
{
    list_each_safe (node, &s->conns) {
        conn_close(container_of(node, struct conn, link));
    }
}
