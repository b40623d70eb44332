#include "bench/edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "bench/body.h"
#include "bench/edge_answer.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

enum {
    RETRY_CONNECT_MS = 50, /* after a refusal */
    RETRY_BACKLOG_MS = 1,  /* a Unix socket whose backlog is full says EAGAIN at once */
};

static const char *const methods[] = {[EDGE_GET] = "GET", [EDGE_HEAD] = "HEAD"};

static struct edge_run *run_of(const struct edge *e)
{
    return e->thread->run;
}

static void shut(struct edge *e)
{
    if (e->io.fd >= 0)
        ev_close(&e->thread->ev, &e->io);
}

static void done(struct edge *e)
{
    e->state = E_DONE;
    edge_thread_done(e);
}

static void retry_in(struct edge *e, uint64_t ms)
{
    shut(e);
    e->state = E_RETRYING;
    if (ev_timer_start(&e->thread->ev, &e->retry, e->thread->ev.now_ns + ms * 1000000) != 0)
        done(e);
}

/* ---- which request */

static uint64_t mix(uint64_t seed, uint64_t i)
{
    char word[8];
    uint64_t v;
    body_fill(seed, i * 8, word, sizeof word);
    memcpy(&v, word, sizeof v);
    return v;
}

/* The next of the run's requests; which key it asks for depends on its number alone, not on threads and
 * timing. */
static bool claim(struct edge *e)
{
    const struct edges_config *config = run_of(e)->config;
    uint64_t i = atomic_fetch_add_explicit(&run_of(e)->claimed, 1, memory_order_relaxed);
    if (config->requests > 0 && i >= config->requests)
        return false;
    e->n = (config->order == ORDER_RANDOM ? mix(config->seed, i) : i) % config->keys;
    /* A stampede counts from the release, not from when this connection's turn in the loop came. */
    e->start_ns = config->stampede ? e->thread->released_ns : clock_ns(CLOCK_MONOTONIC);
    return e->has_claim = true;
}

/* ---- the end of a request */

static void count(struct edge *e)
{
    struct edges_report *r = &e->thread->report;
    r->finished++;
    r->errors[e->fault]++;
    r->body_bytes += e->received;
    if (e->fault == EDGE_OK) {
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        hist_record(&r->first_us, (e->first_ns - e->start_ns) / 1000);
        hist_record(&r->last_us, (now_ns - e->start_ns) / 1000);
    }
    atomic_fetch_add_explicit(&run_of(e)->finished, 1, memory_order_relaxed);
    e->has_claim = false;
}

/* The request has ended, well or not; the connection stays if it may. */
static void finish(struct edge *e, enum edge_error fault)
{
    if (e->fault == EDGE_OK)
        e->fault = fault;
    count(e);
    e->answers++;
    if (run_of(e)->config->stampede) {
        done(e); /* stays open: a thousand closes would stand in the way of those who still read */
        return;
    }
    if (e->fault != EDGE_OK && e->fault != EDGE_STATUS)
        e->keep = false;
    if (e->keep) {
        e->state = E_READY;
        edge_ask(e);
    } else {
        shut(e);
        edge_open(e);
    }
}

static void connect_failed(struct edge *e)
{
    bool stampede = run_of(e)->config->stampede, claimed = e->has_claim || claim(e);
    shut(e);
    if (claimed) {
        e->fault = EDGE_CONNECT;
        e->received = 0;
        count(e);
    }
    if (claimed && !stampede) {
        retry_in(e, RETRY_CONNECT_MS);
        return;
    }
    done(e);
    if (stampede && !e->settled)
        edge_thread_settled(e);
}

/* The connection has ended while an answer was due. */
static void ended(struct edge *e)
{
    if (e->got_head && http1_body_finish(&e->body)) {
        e->keep = false;
        edge_answer_end(e);
        finish(e, EDGE_OK);
    } else if (!e->got_byte && e->answers > 0) {
        /* RFC 9112 section 9.3.1: a kept connection may close at any time, and the request goes on another
         * one. */
        e->thread->report.resends++;
        shut(e);
        edge_open(e);
    } else {
        e->keep = false;
        finish(e, e->got_head ? EDGE_TRUNCATED : EDGE_RESET);
    }
}

/* ---- asking */

static void flush(struct edge *e)
{
    ssize_t n = send(e->io.fd, e->out.p + e->out_sent, e->out.len - e->out_sent, MSG_NOSIGNAL);
    if (n >= 0)
        e->out_sent += (size_t)n;
    else if (!sock_would_block())
        e->out_sent = e->out.len; /* the read that follows tells how it ended */
}

static void send_request(struct edge *e)
{
    const struct edges_config *config = run_of(e)->config;
    e->state = E_ASKED;
    e->got_byte = e->got_head = e->verifies = false;
    e->scan = (struct http1_scan){0};
    e->fault = EDGE_OK;
    e->first_ns = e->offset = e->received = 0;
    e->in.len = e->out.len = e->out_sent = 0;
    target_put_request(&run_of(e)->target, methods[config->method], e->n, &config->fields, &e->out);
    if (e->out.failed) {
        e->keep = false;
        finish(e, EDGE_MEMORY);
        return;
    }
    flush(e);
}

void edge_ask(struct edge *e)
{
    if (e->state == E_DONE)
        return;
    if (!e->has_claim && !claim(e))
        done(e);
    else
        send_request(e);
}

/* ---- reading */

/* Bytes of the answer; false: the request has ended, and the connection may be another one by now. */
static bool take(struct edge *e, const char *p, size_t len)
{
    size_t used = 0;
    e->got_byte = true;
    enum edge_answer_status status = edge_answer_feed(e, p, len, &used);
    if (status == ANSWER_MORE)
        return true;
    if (status == ANSWER_END) {
        edge_answer_end(e);
        finish(e, used < len ? EDGE_PROTOCOL : EDGE_OK);
    } else {
        e->keep = false;
        finish(e, EDGE_PROTOCOL);
    }
    return false;
}

static void read_answer(struct edge *e, bool has_ended)
{
    char *scratch = e->thread->scratch;
    for (;;) {
        ssize_t n = recv(e->io.fd, scratch, EDGE_SCRATCH_BYTES, 0);
        if (n < 0 && sock_would_block())
            return;
        if (n <= 0) {
            ended(e);
            return;
        }
        if (!take(e, scratch, (size_t)n) || (n < EDGE_SCRATCH_BYTES && !has_ended))
            return; /* epoll(7): a short read has emptied it, what comes later is another event */
    }
}

static void connected(struct edge *e, uint32_t events)
{
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return;
    if (sock_connect_result(e->io.fd) != 0) {
        connect_failed(e);
        return;
    }
    e->thread->report.connects++;
    e->state = E_READY;
    e->answers = 0;
    e->keep = true;
    if (run_of(e)->config->stampede && e->thread->released_ns == 0)
        edge_thread_settled(e);
    else
        edge_ask(e);
}

static void on_ready(struct ev_io *io, uint32_t events)
{
    struct edge *e = container_of(io, struct edge, io);
    if (e->state == E_OPENING) {
        connected(e, events);
        return;
    }
    if (e->state != E_ASKED)
        return; /* an idle connection that ends is noticed by the next request */
    if (e->out_sent < e->out.len && (events & EPOLLOUT))
        flush(e);
    uint32_t ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (ends != 0 || (events & EPOLLIN))
        read_answer(e, ends != 0);
}

/* ---- connecting */

static void on_retry(struct ev_timer *t)
{
    edge_open(container_of(t, struct edge, retry));
}

void edge_open(struct edge *e)
{
    e->state = E_OPENING;
    if (!e->has_claim)
        e->start_ns = e->thread->ev.now_ns;
    e->retry.on_due = on_retry;
    e->io = (struct ev_io){.fd = sock_connect_start(&run_of(e)->to), .on_ready = on_ready};
    if (e->io.fd < 0 && errno == EAGAIN)
        retry_in(e, RETRY_BACKLOG_MS);
    else if (e->io.fd < 0 || ev_add(&e->thread->ev, &e->io) != 0)
        connect_failed(e);
}

void edge_check_time(struct edge *e, uint64_t now_ns)
{
    uint64_t patience_ns = run_of(e)->config->timeout_ms * 1000000;
    if (now_ns < e->start_ns + patience_ns)
        return;
    if (e->state == E_ASKED) {
        e->keep = false;
        finish(e, EDGE_TIMEOUT);
    } else if (e->state == E_OPENING) {
        connect_failed(e);
    }
}

void edge_fini(struct edge *e)
{
    shut(e);
    buf_fini(&e->out);
    buf_fini(&e->in);
}
