#include "shield/request/exchange_impl.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"

/* DRIP_OVER write_timeouts: who takes nothing at all has been cut for that long before. */
enum { WRITE_BYTES_MAX = 512 * 1024, LOOK_MS = 1000, RATE_OVER_US = 5 * 1000 * 1000, DRIP_OVER = 4 };

/* ---- pins: what is read from disk may not be evicted meanwhile ---- */

static bool stays_in_memory(const struct object *o)
{
    return object_state(o) == OBJECT_SEALED &&
           object_is_resident(o); /* while it fills it may have to leave */
}

static void pin(struct exchange *ex)
{
    if (stays_in_memory(ex->object))
        return;
    ex->pinned = true;
    object_pin(ex->object);
}

static void unpin(struct exchange *ex)
{
    if (ex->pinned)
        object_unpin(ex->object);
    ex->pinned = false;
}

static void release_holds(struct exchange *ex)
{
    for (unsigned i = 0; i < ex->n_holds; i++)
        chunk_unref(&ex->holds[i]);
    ex->n_holds = 0;
}

void reader_stop(struct exchange *ex)
{
    release_holds(ex);
    chunk_unref(&ex->loaded);
    unpin(ex);
}

/* ---- chunks that are on disk only ---- */

static void on_loaded(struct disk_load *job)
{
    struct exchange *ex = container_of(job, struct exchange, load);
    ex->loading = false;
    object_unref(&job->object);
    if (ex->owner == NULL) { /* over meanwhile */
        chunk_unref(&job->chunk);
        exchange_release_memory(ex);
        return;
    }
    chunk_unref(&ex->loaded);
    ex->loaded = job->chunk;
    ex->loaded_index = job->index;
    if (job->err == 0) {
        reader_pump(ex);
        return;
    }
    object_set_flags(ex->object, OBJECT_UNWANTED, 0); /* nobody else is to find it */
    if (ex->head_sent)
        exchange_fail(ex, job->err);
    else
        exchange_retry(ex);
}

static void load_chunk(struct exchange *ex)
{
    if (exchange_keep_request(ex) != 0) {
        exchange_fail(ex, ERR_NOMEM);
        return;
    }
    chunk_unref(&ex->loaded); /* no write may use it when the next one takes its place */
    ex->loading = true;
    ex->load = (struct disk_load){.loop = ex->env->loop,
                                  .object = object_ref(ex->object),
                                  .index = (uint32_t)(ex->position / object_chunk_bytes(ex->object)),
                                  .on_done = on_loaded};
    disk_load(ex->env->flights->disk, &ex->load);
}

static bool take_loaded(struct exchange *ex, uint64_t at, struct span *out)
{
    uint32_t chunk_bytes = object_chunk_bytes(ex->object);
    if (ex->loaded == NULL || at / chunk_bytes != ex->loaded_index)
        return false;
    uint32_t from = (uint32_t)(at % chunk_bytes);
    *out = (struct span){ex->loaded->data + from, ex->loaded->len - from};
    return true;
}

/* ---- gathering what can be sent now ---- */

struct batch {
    uv_buf_t bufs[CONN_IOV];
    unsigned n;
    uint64_t content_bytes, part_text_bytes; /* of the object; of what stands between its parts */
    bool last;                               /* the answer is complete with it */
    bool missing;                            /* the next chunk is on disk */
    int err;
};

static void gather_content(struct exchange *ex, struct batch *b, uint64_t limit, unsigned room)
{
    uint64_t at = ex->position;
    while (b->n < room && b->content_bytes < WRITE_BYTES_MAX && at < limit) {
        struct span s;
        struct chunk *hold = NULL;
        if (!take_loaded(ex, at, &s)) {
            int err = object_read(ex->object, at, &s, &hold);
            if (err != 0) {
                b->missing = err == ERR_NOT_FOUND && b->content_bytes == 0;
                b->err = err == ERR_GONE && b->content_bytes == 0 ? ERR_TRUNCATED : 0;
                return;
            }
        }
        if (hold != NULL)
            ex->holds[ex->n_holds++] = hold;
        s.len = (size_t)MIN((uint64_t)s.len, limit - at);
        b->bufs[b->n++] = uv_buf_init((char *)s.p, (unsigned)s.len);
        b->content_bytes += s.len;
        at += s.len;
    }
}

static void gather_chunked(struct exchange *ex, struct batch *b, uint64_t limit, bool sealed)
{
    unsigned line_at = b->n++;
    gather_content(ex, b, limit, CONN_IOV - 1);
    bool ends = sealed && ex->position + b->content_bytes == limit;
    if (b->content_bytes == 0) {
        b->n = line_at;
        if (ends)
            b->bufs[b->n++] = uv_buf_init((char *)"0\r\n\r\n", 5);
    } else {
        size_t n = http1_chunk_prefix(ex->chunk_line, b->content_bytes);
        b->bufs[line_at] = uv_buf_init(ex->chunk_line, (unsigned)n);
        b->bufs[b->n++] = ends ? uv_buf_init((char *)"\r\n0\r\n\r\n", 7) : uv_buf_init((char *)"\r\n", 2);
    }
    b->last = ends;
}

static void put_part_text(struct batch *b, struct span text)
{
    if (text.len == 0)
        return;
    b->bufs[b->n++] = uv_buf_init((char *)text.p, (unsigned)text.len);
    b->part_text_bytes += text.len;
}

/* At most one part: its head, what there is of it, and behind the last one the end of them all. */
static void gather_part(struct exchange *ex, struct batch *b, uint64_t ready)
{
    if (!ranges_begin(ex, ready))
        return;
    struct span head = ranges_head(ex);
    if (head.p == NULL) {
        b->err = ERR_NOMEM;
        return;
    }
    put_part_text(b, head);
    gather_content(ex, b, MIN(ex->end, ready), CONN_IOV - 1);
    struct span closing = ranges_closing(ex);
    b->last = closing.len > 0 && ex->position + b->content_bytes == ex->end;
    if (b->last)
        put_part_text(b, closing);
}

static void gather(struct exchange *ex, struct batch *b)
{
    *b = (struct batch){0};
    if (!ex->head_sent)
        b->n = answer_head_bufs(ex, b->bufs);
    if (ex->framing == OUT_NONE) {
        b->last = true;
        return;
    }
    enum object_state state =
        object_state(ex->object); /* before `ready`: what is sealed has grown to its end */
    bool sealed = state == OBJECT_SEALED;
    uint64_t ready = object_ready(ex->object);
    uint64_t limit = MIN(ex->end, ready);
    if (ex->framing == OUT_CHUNKED) {
        gather_chunked(ex, b, limit, sealed);
    } else if (ex->framing == OUT_PARTS) {
        gather_part(ex, b, ready);
    } else {
        gather_content(ex, b, limit, CONN_IOV);
        uint64_t end = ex->end != UINT64_MAX ? ex->end : sealed ? ready : UINT64_MAX;
        b->last = ex->position + b->content_bytes == end;
    }
    if (state == OBJECT_FAILED && !b->last && b->content_bytes == 0)
        b->err = object_error(ex->object);
}

/* ---- sending ---- */

static void leave_if_complete(struct exchange *ex)
{
    if (ex->waiter.flight != NULL && ex->object != NULL && object_state(ex->object) != OBJECT_FILLING)
        flight_leave(&ex->waiter);
}

static void note_sent(struct exchange *ex, const struct batch *b)
{
    ex->head_sent = true;
    ex->position += b->content_bytes;
    ex->sent_bytes += b->content_bytes + b->part_text_bytes;
    for (unsigned i = 0; i < b->n; i++)
        ex->wire_bytes += b->bufs[i].len;
    ex->last_chunk_sent = b->last;
    if (b->content_bytes + b->part_text_bytes > 0 && ex->framing == OUT_PARTS)
        ranges_note_sent(ex);
}

static uint64_t lowest_needed(const struct exchange *ex)
{
    return ex->framing == OUT_PARTS ? ranges_lowest(ex) : ex->position;
}

/* In the middle of a part, and a later one needs bytes before it: of an object that nobody keeps (any more)
 * the fetch would wait for us, and we for the fetch. Parts that are not begun are put in order instead; see
 * ranges_begin. */
static bool is_stuck(const struct exchange *ex)
{
    return ex->waiter.flight != NULL && flight_is_paced(ex->waiter.flight) &&
           lowest_needed(ex) < ex->position;
}

static void finish_write(struct exchange *ex)
{
    release_holds(ex);
    flight_waiter_read_to(&ex->waiter, lowest_needed(ex));
}

/* ---- slow clients ---- */

void reader_watch_write(struct exchange *ex)
{
    ex->pending_bytes = conn_untaken(ex->conn);
    ex->pending_us = ex->moved_us = clock_mono_us();
    timer_set(ex->env->loop, &ex->timer, MIN(LOOK_MS, ex->env->loop->config->client.write_timeout_ms));
}

static void cut_slow_client(struct exchange *ex)
{
    ex->err = ERR_CLIENT_TIMEOUT;
    exchange_settle_fate(ex, FATE_CUT);
    exchange_end(ex, false, true);
}

/* Only time in which it was the client that we waited for counts (the origin may be slow as well), in
 * stretches of `stretch_us`, so that what the socket's buffers took in at once does not last for ever. */
static bool is_below(struct exchange *ex, uint64_t rate, uint64_t stretch_us, size_t left, uint64_t now_us)
{
    uint64_t stalled_us = ex->stalled_us + (now_us - ex->pending_us);
    uint64_t taken = ex->sent_bytes - MIN(ex->sent_bytes, left);
    uint64_t over_us = stalled_us - ex->judged_us;
    if (over_us < stretch_us)
        return false;
    bool slow = taken - MIN(taken, ex->judged_bytes) < rate * (over_us / 1000) / 1000;
    ex->judged_us = stalled_us;
    ex->judged_bytes = taken;
    return slow;
}

void reader_on_timer(struct exchange *ex)
{
    struct loop *l = ex->env->loop;
    const struct config *cfg = l->config;
    size_t left = conn_untaken(ex->conn);
    uint64_t now_us = clock_mono_us(), timeout_ms = cfg->client.write_timeout_ms;
    bool holds_back = ex->waiter.flight != NULL && flight_is_paced(ex->waiter.flight);
    if (left < ex->pending_bytes) {
        ex->pending_bytes = left;
        ex->moved_us = now_us;
    }
    if (now_us - ex->moved_us >= timeout_ms * 1000) {
        metric_limit(l->metrics, WRITE_TIMEOUT);
        cut_slow_client(ex);
    } else if (holds_back && is_below(ex, cfg->client.min_rate, RATE_OVER_US, left, now_us)) {
        metric_limit(l->metrics, MIN_RATE);
        cut_slow_client(ex);
    } else if (!holds_back &&
               is_below(ex, cfg->client.drip_rate, timeout_ms * 1000 * DRIP_OVER, left, now_us)) {
        metric_limit(l->metrics, DRIP_RATE);
        cut_slow_client(ex);
    } else {
        timer_set(l, &ex->timer, MIN(LOOK_MS, timeout_ms));
    }
}

static void send_on(struct exchange *ex)
{
    while (!ex->last_chunk_sent) {
        struct batch b;
        gather(ex, &b);
        if (b.n == 0 && b.last && b.err == 0)
            break;
        if (b.n == 0 || b.err != 0 || b.missing) {
            release_holds(ex);
            if (b.err != 0)
                exchange_fail(ex, b.err);
            else if (b.missing && !ex->loading)
                load_chunk(ex);
            else if (!b.missing && is_stuck(ex))
                exchange_fail(ex, ERR_TRUNCATED);
            return;
        }
        note_sent(ex, &b);
        int sent = conn_write(ex->conn, b.bufs, b.n);
        if (sent < 0) {
            exchange_on_gone(ex);
            return;
        }
        if (sent == 0) {
            reader_watch_write(ex);
            if (exchange_keep_request(ex) != 0)
                exchange_fail(ex, ERR_NOMEM);
            return;
        }
        finish_write(ex);
    }
    exchange_end(ex, ex->keep_alive, false);
}

void reader_pump(struct exchange *ex)
{
    if (ex->state != EX_READING)
        return;
    if (conn_is_writing(ex->conn)) {
        if (ex->pending_us == 0) /* of an interim response, begun before there was anything else to send */
            reader_watch_write(ex);
        return;
    }
    if (!ex->head_sent && !interim_send(ex))
        return;
    if (ex->loading && !ex->head_sent) /* what comes is of this object: nothing else is begun before */
        return;
    if (!ex->head_sent && ex->object != NULL && exchange_is_overtaken(ex)) {
        exchange_look_again(ex);
        return;
    }
    if (ex->waits_for_range) {
        if (!answer_compose(ex)) {
            if (ex->waiter.flight == NULL || !flight_is_paced(ex->waiter.flight))
                return;
            if (!ex->alone) { /* the fetch would wait for us, and we for the fetch */
                exchange_release(ex);
                return;
            }
            ex->wants_whole = true;
            answer_compose(ex);
        }
        ex->waits_for_range = false;
    }
    if (ex->object != NULL && !ex->head_sent && object_state(ex->object) == OBJECT_FAILED) {
        exchange_fail(ex, object_error(ex->object)); /* nothing is out yet: an error instead of a cut */
        return;
    }
    leave_if_complete(ex);
    if (ex->pinned && stays_in_memory(ex->object))
        unpin(ex);
    send_on(ex);
}

void reader_start(struct exchange *ex)
{
    ex->state = EX_READING;
    pin(ex);
    ex->waits_for_range = !answer_compose(ex);
    reader_pump(ex);
}

void reader_on_drained(struct exchange *ex)
{
    timer_stop(ex->env->loop, &ex->timer);
    ex->stalled_us += clock_mono_us() - ex->pending_us;
    ex->pending_us = 0;
    finish_write(ex);
    if (ex->last_chunk_sent)
        exchange_end(ex, ex->keep_alive, false);
    else
        reader_pump(ex);
}
