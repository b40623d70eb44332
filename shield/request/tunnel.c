#include "shield/request/exchange_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"

/* What a 101 makes of two connections (RFC 9110 section 7.8): bytes go both ways as they come. Each way holds
 * one read at most: while that is being written nothing more is read, so that who reads slowly slows down who
 * sends. An end is passed on as an end, and the other way goes on; a reset ends both with a reset. */

struct way {
    struct conn *from, *to;
    struct buf held; /* on its way out */
    bool ended;      /* `from` sends no more */
    enum metric counter;
};

struct tunnel {
    struct origin_line line;
    struct way up, down;
    size_t untaken; /* of both peers, when the timer looked last */
};

/* ---- how many ---- */

static _Atomic uint64_t counted[CONFIG_MAX_ORIGINS];

bool tunnel_count_in(struct exchange *ex)
{
    uint32_t origin = ex->route->origin;
    ex->counts_as_tunnel = true;
    if (atomic_fetch_add(&counted[origin], 1) < ex->config->origins[origin].max_tunnels)
        return true;
    ex->waiter.limit = LIMIT_MAX_TUNNELS;
    metric_limit(ex->env->loop->metrics, MAX_TUNNELS);
    return false;
}

/* ---- one way ---- */

static void cut(struct exchange *ex, int err)
{
    ex->err = err;
    exchange_end(ex, false, true);
}

static bool is_through(const struct way *w)
{
    return w->ended && !conn_is_writing(w->to);
}

static void note_progress(struct exchange *ex)
{
    struct loop *l = ex->env->loop;
    ex->tunnel->untaken = SIZE_MAX;
    timer_set(l, &ex->timer, l->config->client.tunnel_timeout_ms);
}

/* Send what is held; when it is out, read on or pass the end on. False when the exchange is over. */
static bool pump(struct exchange *ex, struct way *w)
{
    if (w->held.len > 0) {
        uv_buf_t buf = uv_buf_init(w->held.p, (unsigned)w->held.len);
        int sent = conn_write(w->to, &buf, 1);
        if (sent < 0) {
            cut(ex, ERR_GONE);
            return false;
        }
        if (sent == 0) {
            conn_read_stop(w->from);
            return true;
        }
        buf_fini(&w->held);
    }
    if (!w->ended) {
        conn_read_start(w->from);
        return true;
    }
    conn_shutdown(w->to);
    if (!is_through(&ex->tunnel->up) || !is_through(&ex->tunnel->down))
        return true;
    exchange_end(ex, false, false);
    return false;
}

static bool take(struct exchange *ex, struct way *w, const char *p, size_t n, bool ended)
{
    REQUIRE(!w->ended && (n == 0 || !conn_is_writing(w->to)));
    w->ended = ended;
    note_progress(ex);
    if (conn_is_writing(w->to)) /* on_drained goes on */
        return true;
    metric_add(&ex->env->loop->metrics->plain[w->counter], (int64_t)n);
    buf_put(&w->held, p, n);
    if (!w->held.failed)
        return pump(ex, w);
    cut(ex, ERR_NOMEM);
    return false;
}

static void on_out(struct exchange *ex, struct way *w)
{
    buf_fini(&w->held);
    note_progress(ex);
    pump(ex, w);
}

/* ---- from the client ---- */

void exchange_tunnel(struct exchange *ex, const char *p, size_t n, bool ended)
{
    take(ex, &ex->tunnel->up, p, n, ended);
}

void tunnel_on_drained(struct exchange *ex)
{
    on_out(ex, &ex->tunnel->down);
}

/* ---- from the origin ---- */

static bool take_down(struct exchange *ex, const char *p, size_t n, bool ended)
{
    ex->sent_bytes += n;
    ex->wire_bytes += n;
    return take(ex, &ex->tunnel->down, p, n, ended);
}

static void on_data(void *ctx, const char *p, size_t n)
{
    take_down(ctx, p, n, false);
}

static void on_eof(void *ctx)
{
    take_down(ctx, NULL, 0, true);
}

static void on_broken(void *ctx, int err)
{
    cut(ctx, err);
}

static void on_origin_drained(void *ctx)
{
    struct exchange *ex = ctx;
    on_out(ex, &ex->tunnel->up);
}

static const struct upstream_owner line_events = {
    .on_data = on_data, .on_eof = on_eof, .on_broken = on_broken, .on_drained = on_origin_drained};

/* ---- time ---- */

/* Nothing has come, and nothing pending has gone out. A peer that takes what the kernel holds for it moves
 * too. */
void tunnel_on_timer(struct exchange *ex)
{
    struct tunnel *t = ex->tunnel;
    struct loop *l = ex->env->loop;
    size_t untaken = conn_untaken(t->up.to) + conn_untaken(t->down.to);
    if (untaken > 0 && untaken < t->untaken) {
        t->untaken = untaken;
        timer_set(l, &ex->timer, l->config->client.tunnel_timeout_ms);
        return;
    }
    metric_limit(l->metrics, TUNNEL_TIMEOUT);
    cut(ex, ERR_CLIENT_TIMEOUT);
}

/* ---- the beginning and the end ---- */

/* The line is ours, and the flight is left. False without memory: then nothing has changed. */
static bool take_over(struct exchange *ex)
{
    struct flight *f = ex->waiter.flight;
    struct tunnel *t = calloc(1, sizeof *t);
    if (t == NULL)
        return false;
    ex->tunnel = t;
    buf_put_span(&t->down.held, flight_switching_head(f));
    ex->wire_bytes += t->down.held.len;
    flight_hand_over(f, &t->line, &line_events, ex);
    struct conn *origin = upstream_conn(t->line.upstream);
    t->up.to = t->down.from = origin;
    t->up.from = t->down.to = ex->conn;
    t->up.counter = METRIC_TUNNEL_BYTES_UP;
    t->down.counter = METRIC_TUNNEL_BYTES_DOWN;
    flight_set_on_room(f, NULL, NULL);
    flight_leave(&ex->waiter);
    metric_move(ex->env->loop->metrics, TUNNELS, 1);
    return true;
}

void tunnel_start(struct exchange *ex)
{
    if (!interim_send(ex))
        return;
    if (!take_over(ex)) {
        exchange_fail(ex, ERR_NOMEM);
        return;
    }
    ex->wait_us = (int64_t)(clock_mono_us() - ex->waiter.joined_us);
    ex->state = EX_TUNNEL;
    ex->result = RESULT_PASS;
    ex->status = 101;
    ex->head_sent = true;
    struct buf early = ex->tunnel->line.early;
    ex->tunnel->line.early = (struct buf){0};
    bool goes_on = take_down(ex, early.p, early.len, false);
    buf_fini(&early);
    if (goes_on)
        ex->owner->on_tunnel(ex->ctx);
}

void tunnel_stop(struct exchange *ex, bool abort)
{
    struct tunnel *t = ex->tunnel;
    if (ex->counts_as_tunnel)
        atomic_fetch_sub(&counted[ex->route->origin], 1);
    ex->counts_as_tunnel = false;
    if (t == NULL)
        return;
    ex->tunnel = NULL;
    if (abort)
        upstream_cut(&t->line.upstream);
    else
        upstream_drop(&t->line.upstream);
    gate_leave(&t->line.place);
    buf_fini(&t->up.held);
    buf_fini(&t->down.held);
    metric_move(ex->env->loop->metrics, TUNNELS, -1);
    free(t);
}
