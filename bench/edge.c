#include "bench/edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "bench/body.h"
#include "bench/edge_answer.h"
#include "bench/edge_request.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

enum {
    RETRY_CONNECT_MS = 50, /* after a refusal */
    RETRY_BACKLOG_MS = 1,  /* a Unix socket whose backlog is full says EAGAIN at once */
    PACE_MS = 50,          /* between the reads of a slow connection */
    SLOW_RECEIVE_BYTES = 32 * 1024,
};

static struct edge_run *run_of(const struct edge *e)
{
    return e->thread->run;
}

static void shut(struct edge *e)
{
    ev_timer_stop(&e->thread->ev, &e->pace);
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

static enum edge_claim claim_closed(struct edge *e)
{
    const struct edges_config *config = run_of(e)->config;
    e->i = atomic_fetch_add_explicit(&run_of(e)->claimed, 1, memory_order_relaxed);
    if (config->requests > 0 && e->i >= config->requests)
        return CLAIM_NONE;
    /* A stampede counts from the release, not from when this connection's turn in the loop came. */
    e->start_ns = config->stampede ? e->thread->released_ns : clock_ns(CLOCK_MONOTONIC);
    return CLAIM_TAKEN;
}

/* The next of the run's requests, and all that its number decides. */
static enum edge_claim claim(struct edge *e)
{
    enum edge_claim claimed = edges_is_open_loop(run_of(e)->config) ? edge_thread_claim(e) : claim_closed(e);
    if (claimed != CLAIM_TAKEN)
        return claimed;
    e->has_claim = true;
    e->fault = EDGE_OK;
    e->received = 0;
    edge_request_draw(e);
    return CLAIM_TAKEN;
}

/* ---- the end of a request */

static void tell_finished(struct edge *e)
{
    atomic_fetch_add_explicit(&run_of(e)->finished, 1, memory_order_relaxed);
    if (run_of(e)->config->watch != NULL)
        atomic_fetch_add_explicit(run_of(e)->config->watch, 1, memory_order_relaxed);
}

/* One who has waited for another's fetch. */
static void count_wait(struct edge *e, uint64_t now_ns)
{
    uint64_t late_us;
    if (e->wait.fetch == 0 || !waits_last(run_of(e)->waits, &e->wait, now_ns, &late_us))
        return;
    hist_record(&e->thread->report.wait_first_us, e->wait.late_us);
    hist_record(&e->thread->report.wait_last_us, late_us);
}

static void count(struct edge *e)
{
    struct edges_report *r = &e->thread->report;
    r->finished++;
    r->errors[e->fault]++;
    r->body_bytes += e->received;
    r->slow += e->slow;
    if (e->fault == EDGE_OK && !e->slow) {
        uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
        e->last_ns = run_of(e)->config->stampede ? now_ns : 0;
        hist_record(&r->first_us, (e->first_ns - e->start_ns) / 1000);
        hist_record(&r->last_us, (now_ns - e->start_ns) / 1000);
        hist_record(&r->by_cache_us[e->cache], (now_ns - e->start_ns) / 1000);
        if (e->half_ns > 0)
            hist_record(&r->half_us, (e->half_ns - e->start_ns) / 1000);
        count_wait(e, now_ns);
    }
    tell_finished(e);
    e->has_claim = false;
}

/* The request has ended, well or not; the connection stays if it may. */
static void finish(struct edge *e, enum edge_error fault)
{
    if (e->fault == EDGE_OK)
        e->fault = fault;
    count(e);
    e->answers++;
    ev_timer_stop(&e->thread->ev, &e->pace);
    if (e->left > 0 && --e->left == 0)
        e->keep = false;
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
    bool stampede = run_of(e)->config->stampede;
    enum edge_claim claimed = e->has_claim ? CLAIM_TAKEN : claim(e);
    shut(e);
    if (claimed == CLAIM_TAKEN) {
        e->fault = EDGE_CONNECT;
        count(e);
    }
    if (claimed != CLAIM_NONE && !stampede) {
        retry_in(e, RETRY_CONNECT_MS);
        return;
    }
    done(e);
    if (stampede && !e->settled)
        edge_thread_settled(e);
}

/* The client of this request has had enough: nothing to complain about, and nothing to time. */
static void give_up(struct edge *e)
{
    e->thread->report.aborted++;
    e->thread->report.finished++;
    e->thread->report.body_bytes += e->received;
    e->has_claim = false;
    tell_finished(e);
    shut(e);
    if (run_of(e)->config->stampede)
        done(e);
    else
        edge_open(e);
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
        finish(e, e->got_head ? EDGE_CUT : EDGE_RESET);
    }
}

/* ---- asking */

static void read_answer(struct edge *e, bool has_ended);

/* A connection that was reset while it was idle has had its event: only the read tells how it ended. */
static void flush(struct edge *e)
{
    ssize_t n = send(e->io.fd, e->out.p + e->out_sent, e->out.len - e->out_sent, MSG_NOSIGNAL);
    if (n >= 0) {
        e->out_sent += (size_t)n;
    } else if (!sock_would_block()) {
        e->out_sent = e->out.len;
        read_answer(e, true);
    }
}

static void pace_again(struct edge *e, uint64_t ms)
{
    struct ev *ev = &e->thread->ev;
    (void)ev_timer_start(ev, &e->pace,
                         ev->now_ns + ms * 1000000); /* without memory the sweep ends the request */
}

static void on_pace(struct ev_timer *t)
{
    struct edge *e = container_of(t, struct edge, pace);
    if (e->state != E_ASKED)
        return;
    if (e->aborts) {
        give_up(e);
        return;
    }
    e->budget = MAX(run_of(e)->config->slow_rate * PACE_MS / 1000, UINT64_C(1));
    pace_again(e, PACE_MS);
    read_answer(e, true);
}

static void start_pace(struct edge *e)
{
    e->pace.on_due = on_pace;
    e->budget = 0;
    if (e->slow)
        pace_again(e, PACE_MS);
    else if (e->aborts)
        pace_again(e, run_of(e)->config->abort_ms);
}

static void send_request(struct edge *e)
{
    const struct edges_config *config = run_of(e)->config;
    e->state = E_ASKED;
    e->got_byte = e->got_head = e->verifies = false;
    e->scan = (struct http1_scan){0};
    e->fault = EDGE_OK;
    e->first_ns = e->half_ns = e->offset = e->received = e->fetch = 0;
    e->wait = (struct wait){0};
    e->in.len = e->out.len = e->out_sent = 0;
    e->floor = config->floor != NULL ? atomic_load(config->floor) : 0;
    edge_request_put(e, &e->out);
    if (e->out.failed) {
        e->keep = false;
        finish(e, EDGE_MEMORY);
        return;
    }
    start_pace(e);
    e->asked_ns = run_of(e)->waits != NULL ? clock_ns(CLOCK_MONOTONIC) : 0;
    flush(e); /* last: may end the request */
}

/* An open loop's request that nobody could take before its time was over. */
static bool is_too_late(struct edge *e)
{
    return edges_is_open_loop(run_of(e)->config) &&
           e->thread->ev.now_ns >= e->start_ns + run_of(e)->config->timeout_ms * 1000000;
}

void edge_ask(struct edge *e)
{
    if (e->state == E_DONE)
        return;
    enum edge_claim claimed = e->has_claim ? CLAIM_TAKEN : claim(e);
    while (claimed == CLAIM_TAKEN && is_too_late(e)) {
        e->fault = EDGE_TIMEOUT;
        count(e);
        claimed = claim(e);
    }
    if (claimed == CLAIM_TAKEN)
        send_request(e);
    else if (claimed == CLAIM_LATER)
        edge_thread_idle(e);
    else
        done(e);
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
        size_t want = e->slow ? MIN(e->budget, (uint64_t)EDGE_SCRATCH_BYTES) : EDGE_SCRATCH_BYTES;
        if (want == 0)
            return; /* until `pace` */
        ssize_t n = recv(e->io.fd, scratch, want, 0);
        if (n < 0 && sock_would_block())
            return;
        if (n <= 0) {
            ended(e);
            return;
        }
        if (e->slow)
            e->budget -= (uint64_t)n;
        if (!take(e, scratch, (size_t)n) || ((size_t)n < want && !has_ended))
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
    const struct edges_config *config = run_of(e)->config;
    uint64_t draw = body_word(config->seed ^ e->number, e->opens);
    e->left = config->churn > 0 ? 1 + draw % (2 * config->churn - 1) : 0;
    if (config->stampede && e->thread->released_ns == 0)
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
    if (e->state != E_ASKED)
        return;
    uint32_t ends = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (ends != 0 || (events & EPOLLIN))
        read_answer(e, ends != 0);
}

/* ---- connecting */

static void on_retry(struct ev_timer *t)
{
    edge_open(container_of(t, struct edge, retry));
}

/* Identities come from addresses of their own where the machine has them: on loopback. */
static struct sock_wish wish_of(const struct edge *e)
{
    const struct edges_config *config = run_of(e)->config;
    const struct sockaddr_in *to = (const struct sockaddr_in *)&run_of(e)->to.ss;
    struct sock_wish wish = {.receive_bytes = e->slow ? SLOW_RECEIVE_BYTES : 0};
    if (config->identities > 0 && to->sin_family == AF_INET && ntohl(to->sin_addr.s_addr) >> 24 == 127) {
        uint64_t identity = (e->number + e->opens * config->connections) % config->identities;
        wish.source_v4 = (127u << 24 | 1u << 16) + 1 + (uint32_t)(identity % 65000); /* 127.1.0.1 and on */
    }
    return wish;
}

void edge_open(struct edge *e)
{
    e->state = E_OPENING;
    if (!e->has_claim)
        e->start_ns = e->thread->ev.now_ns;
    e->retry.on_due = on_retry;
    e->io = (struct ev_io){.fd = sock_connect_start(&run_of(e)->to, wish_of(e)), .on_ready = on_ready};
    e->opens++;
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
