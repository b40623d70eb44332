#include "shield/origin/call_impl.h"

#include "common/check.h"
#include "common/err.h"
#include "common/http_chars.h"
#include "shield/ops/log.h"
#include "shield/policy/upgrade.h"

static void broke_protocol(struct origin_call *c, const char *why)
{
    log_warn("origin: %s: %s: %s", call_settings(c)->name, err_text(ERR_PROTOCOL), why);
    call_end(c, ERR_PROTOCOL, false);
}

/* `cause` is one of http1_limits' errors, or another. */
static void count_limit(struct origin_call *c, int cause)
{
    struct metrics_slot *m = c->pool->loop->metrics;
    if (cause == ERR_CONTENT_TOO_LARGE)
        metric_limit(m, MAX_CHUNK_EXT);
    else if (cause == ERR_TOO_MANY_FIELDS)
        metric_limit(m, MAX_FIELDS);
    else if (cause == ERR_HEAD_TOO_LARGE && c->state == CALL_BODY)
        metric_limit(m, MAX_TRAILERS);
    else if (cause == ERR_HEAD_TOO_LARGE)
        metric_limit(m, MAX_HEAD);
}

/* RFC 9110 section 8.6, RFC 9112 section 6.1: a 1xx and a 204 have no length and no coding. Who puts one
 * there may send the content too, and it would be read as the answer to the next request. (A 304 and the
 * answer to a HEAD may have both.) */
static bool promises_content(const struct http_head *head)
{
    uint64_t length = 0;
    if (head->status >= 200 && head->status != 204)
        return false;
    return http_has(head, FIELD_TRANSFER_ENCODING) ||
           (http_has(head, FIELD_CONTENT_LENGTH) &&
            !(http_parse_uint(http_value(head, FIELD_CONTENT_LENGTH), &length) && length == 0));
}

static void on_complete(struct origin_call *c, bool bytes_behind)
{
    bool keep = c->keep_alive && c->request.upgrade.len == 0 && c->content_done && !bytes_behind &&
                !c->promised_content && c->body.framing != BODY_UNTIL_CLOSE;
    call_end(c, 0, keep);
}

/* Whether the call still reads `u`. Each event may end it, and start it anew on another connection: that is
 * never `u`, which is gone then, or has been kept for others as the last thing done here. */
static bool is_at(const struct origin_call *c, enum call_state state, const struct upstream *u)
{
    return c->state == state && c->upstream == u;
}

/* Feeds what came behind the head, or later. */
static void feed_body(struct origin_call *c, const char *p, size_t n)
{
    struct upstream *u = c->upstream;
    while (is_at(c, CALL_BODY, u)) {
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
            count_limit(c, c->body.cause);
            broke_protocol(c, c->body.why);
            return;
        }
    }
}

/* RFC 9110 section 15.2.2. Before its request has left whole a 101 is no answer to it. */
static bool may_switch(const struct origin_call *c, const struct http_head *head)
{
    return c->request.upgrade.len > 0 && !conn_is_writing(upstream_conn(c->upstream)) &&
           upgrade_is_granted(head, c->request.upgrade);
}

static void switch_over(struct origin_call *c, const struct http_head *head)
{
    timer_stop(c->pool->loop, &c->timer);
    conn_read_stop(upstream_conn(c->upstream));
    call_praise(c);
    call_enter(c, CALL_SWITCHED);
    c->ops->on_switched(c, head);
}

/* 1xx are bounded in number (http.max_1xx), and together they may be as large as one head. */
static void take_interim(struct origin_call *c, const struct http_head *head, size_t head_bytes)
{
    const struct config *cfg = c->pool->loop->config;
    c->bytes_1xx += head_bytes;
    if (head->status == 101 && may_switch(c, head)) {
        switch_over(c, head);
    } else if (head->status == 101) {
        broke_protocol(c, "a 101 to what was not asked for");
    } else if (++c->n_1xx > cfg->http.max_1xx || c->bytes_1xx > cfg->http_limits.max_head) {
        metric_limit(c->pool->loop->metrics, MAX_1XX);
        broke_protocol(c, "too many 1xx responses");
    } else if (c->ops->on_interim != NULL) {
        c->ops->on_interim(c, head);
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
        count_limit(c, r.cause);
        broke_protocol(c, r.why);
        return 0;
    }
    c->scan = (struct http1_scan){0};
    metric_add(&call_counters(c)->classes[head.status / 100], 1);
    c->promised_content |= promises_content(&head);
    if (head.status < 200) {
        take_interim(c, &head, r.head_bytes);
        return r.head_bytes;
    }
    int err = http1_body_for_response(&c->body, &head, c->request.method, &cfg->http_limits);
    if (err != 0) {
        broke_protocol(c, c->body.why);
        return 0;
    }
    c->keep_alive = http1_keep_alive(&head);
    call_praise(c);
    call_enter(c, CALL_BODY);
    timer_set(c->pool->loop, &c->timer, call_settings(c)->body_timeout_ms);
    c->ops->on_head(c, &head);
    return r.head_bytes;
}

/* An incomplete head waits for more; without memory the call ends. */
static bool keep_part(struct origin_call *c, const char *p, size_t n)
{
    buf_put(&c->in, p, n);
    if (!c->in.failed)
        return true;
    call_end(c, ERR_NOMEM, false);
    return false;
}

static void feed_head(struct origin_call *c, const char *p, size_t n)
{
    struct upstream *u = c->upstream;
    bool buffered = c->in.len > 0;
    if (buffered && !keep_part(c, p, n))
        return;
    struct buf own = c->in; /* a call that ends frees its buffer while we still read from it */
    c->in = (struct buf){0};
    if (buffered)
        p = own.p, n = own.len;

    while (is_at(c, CALL_HEAD, u)) {
        size_t used = take_head(c, p, n);
        p += used;
        n -= used;
        if (used == 0)
            break;
    }
    if (is_at(c, CALL_BODY, u))
        feed_body(c, p, n);
    else if ((is_at(c, CALL_HEAD, u) || is_at(c, CALL_SWITCHED, u)) && n > 0)
        keep_part(c, p, n);
    buf_fini(&own);
}

void call_on_data(void *ctx, const char *p, size_t n)
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
        timer_set(c->pool->loop, &c->timer, call_settings(c)->body_timeout_ms);
    feed_body(c, p, n);
}

void call_on_eof(void *ctx)
{
    struct origin_call *c = ctx;
    if (c->state == CALL_BODY && http1_body_finish(&c->body))
        on_complete(c, false);
    else
        call_on_broken(c, ERR_RESET);
}

void call_on_broken(void *ctx, int err)
{
    struct origin_call *c = ctx;
    if (c->state == CALL_HEAD && c->in.len > 0)
        broke_protocol(c, "the head ended early");
    else
        call_lost(c, err);
}
