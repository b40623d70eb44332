#include "shield/request/exchange_impl.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http_date.h"
#include "shield/policy/change_fields.h"
#include "shield/policy/key.h"
#include "shield/policy/stale.h"
#include "shield/policy/stored_block.h"

/* The head of an answer is made of three parts: a prefix of ours (a status line that replaces the stored
 * one), the stored block as it is, and a tail of ours (Age, Cache-Status, framing). For a plain hit there is
 * no prefix, and nothing of the stored part is touched or copied. */

static void put_status_line(struct exchange *ex, int status)
{
    struct buf *out = &ex->out;
    out->len = 0;
    buf_put_lit(out, "HTTP/1.1 ");
    buf_put_uint(out, (uint64_t)status);
    buf_put_lit(out, " ");
    buf_put_span(out, http_reason(status));
    buf_put_lit(out, "\r\n");
    ex->prefix_bytes = out->len;
    ex->status = status;
}

static void put_date(struct exchange *ex)
{
    char date[HTTP_DATE_BYTES];
    http_date_format(date, clock_wall_ms() / 1000);
    http_put_field(&ex->out, SPAN("Date"), (struct span){date, sizeof date});
}

static size_t first_line_bytes(struct span block)
{
    const char *lf = memchr(block.p, '\n', block.len);
    return lf != NULL ? (size_t)(lf - block.p) + 1 : 0;
}

static void put_connection(struct exchange *ex)
{
    if (!ex->content_ended || ex->env->draining) /* what is left of the request would have to be read first */
        ex->keep_alive = false;
    if (!ex->keep_alive)
        buf_put_lit(&ex->out, "Connection: close\r\n");
    else if (ex->head.minor == 0)
        buf_put_lit(&ex->out, "Connection: keep-alive\r\n");
}

static void put_length(struct exchange *ex, uint64_t length)
{
    buf_put_lit(&ex->out, "Content-Length: ");
    buf_put_uint(&ex->out, length);
    buf_put_lit(&ex->out, "\r\n");
}

void answer_put_content_range(struct buf *out, struct http_range r, uint64_t length)
{
    buf_put_lit(out, "Content-Range: bytes ");
    buf_put_uint(out, r.first);
    buf_put_lit(out, "-");
    buf_put_uint(out, r.last);
    if (length == LENGTH_UNKNOWN) {
        buf_put_lit(out, "/*\r\n");
    } else {
        buf_put_lit(out, "/");
        buf_put_uint(out, length);
        buf_put_lit(out, "\r\n");
    }
}

/* What edges are told of an answer's lifetime is the route's to say, unless it is stale. */
static bool has_edge_ttl(const struct exchange *ex)
{
    return ex->route->edge_ttl_ms >= 0 && ex->is_kept && !ex->is_stale;
}

/* Age on everything from the store and on joined answers; else only what an upstream cache has added. */
static void put_age(struct exchange *ex)
{
    int64_t age_s = facts_age_ms(&object_head(ex->object)->facts, clock_wall_ms()) / 1000;
    if (has_edge_ttl(ex)) { /* counts from here */
        buf_put_lit(&ex->out, "Age: 0\r\n");
        return;
    }
    bool own_fetch =
        !ex->cache_status.hit && ex->cache_status.collapsed <= 0 && ex->cache_status.fwd_status != 304;
    if (own_fetch && age_s == 0)
        return;
    buf_put_lit(&ex->out, "Age: ");
    buf_put_uint(&ex->out, (uint64_t)MAX(age_s, 0));
    buf_put_lit(&ex->out, "\r\n");
}

/* For whoever carries a debug token: also why, under which key, what came from upstream and how long what is
 * shared will live. */
static struct cache_status debugged(const struct exchange *ex, struct buf *key)
{
    struct cache_status s = ex->cache_status;
    const struct response_facts *facts = &object_head(ex->object)->facts;
    policy_key_show(key, buf_span(&ex->key));
    s.key = key->failed ? (struct span){0} : buf_span(key);
    if (s.detail == NULL)
        s.detail = ex->reason;
    if (!s.hit && s.fwd_status == 0)
        s.fwd_status = facts->status;
    if (s.stored && !s.has_ttl) {
        s.has_ttl = true;
        s.ttl_s = exchange_ttl_s(facts, clock_wall_ms());
    }
    return s;
}

static void put_cache_status(struct exchange *ex)
{
    buf_put_lit(&ex->out, "Cache-Status: ");
    if (ex->is_debugged) {
        struct buf key = {0};
        struct cache_status told = debugged(ex, &key);
        policy_put_cache_status(&ex->out, ex->env->loop->config, &told);
        buf_fini(&key);
    } else {
        policy_put_cache_status(&ex->out, ex->env->loop->config, &ex->cache_status);
    }
    buf_put_lit(&ex->out, "\r\n");
}

static void put_tail(struct exchange *ex)
{
    put_age(ex);
    if (ex->waiter.flight != NULL && flight_was_resumed(ex->waiter.flight))
        ex->cache_status.detail = "resumed";
    buf_put_span(&ex->out, ex->withheld);
    put_cache_status(ex);
    put_connection(ex);
    buf_put_lit(&ex->out, "\r\n");
}

enum span_choice { WHOLE, PART, PARTS, UNSATISFIABLE, WAIT };

/* How many ranges the client may have, and which. */
static int ranges_asked(struct exchange *ex, struct http_range_spec *specs)
{
    const struct loop *l = ex->env->loop;
    if (!ex->judged_here || ex->wants_whole || ex->status != 200)
        return 0;
    uint64_t cap = MAX(l->config->http.max_ranges, (uint64_t)1);
    REQUIRE(cap <= HTTP_RANGES_MAX);
    int n = policy_wants_ranges(&ex->head, &object_head(ex->object)->validators, specs, (int)cap);
    if (n < 0)
        metric_limit(l->metrics, MAX_RANGES);
    return MAX(n, 0);
}

static enum span_choice choose_parts(struct exchange *ex, const struct http_range_spec *specs, int n,
                                     struct http_range *part)
{
    struct http_range ranges[HTTP_RANGES_MAX];
    int left = http_range_settle(specs, n, object_length(ex->object), ranges);
    if (left == 0)
        return UNSATISFIABLE;
    *part = ranges[0];
    if (left == 1)
        return PART;
    return ranges_start(ex, ranges, (unsigned)left) ? PARTS : WHOLE;
}

/* Which part of the object the client gets (RFC 9110 section 14; DESIGN.md section 4 for an unknown length).
 */
static enum span_choice choose_span(struct exchange *ex, struct http_range *part)
{
    struct http_range_spec specs[HTTP_RANGES_MAX];
    int n = ranges_asked(ex, specs);
    if (n == 0)
        return WHOLE;
    if (object_length(ex->object) != LENGTH_UNKNOWN)
        return choose_parts(ex, specs, n, part);
    if (n > 1 || specs[0].is_suffix || specs[0].last == UINT64_MAX)
        return WHOLE;
    if (object_state(ex->object) != OBJECT_FAILED && object_ready(ex->object) <= specs[0].last)
        return WAIT;
    *part = (struct http_range){specs[0].first, specs[0].last};
    return PART;
}

static void frame_whole(struct exchange *ex)
{
    uint64_t length = object_length(ex->object);
    bool no_content = ex->status == 204 || ex->status == 304 || ex->status < 200;
    if (ex->head.method == METHOD_HEAD || no_content) {
        ex->framing = OUT_NONE;
        if (!no_content && ex->announced_length != LENGTH_UNKNOWN)
            put_length(ex, ex->announced_length);
    } else if (length != LENGTH_UNKNOWN) {
        ex->framing = OUT_LENGTH;
        ex->end = length;
        put_length(ex, length);
    } else if (ex->head.minor >= 1) {
        ex->framing = OUT_CHUNKED;
        buf_put_lit(&ex->out, "Transfer-Encoding: chunked\r\n");
    } else {
        ex->framing = OUT_UNTIL_CLOSE;
        ex->keep_alive = false;
    }
}

/* An answer of a status line and our own fields alone. */
static void compose_bare(struct exchange *ex, int status)
{
    put_status_line(ex, status);
    put_date(ex);
    buf_put_lit(&ex->out, "Via: 1.1 ");
    buf_put_span(&ex->out, span_of(ex->env->loop->config->node_id));
    buf_put_lit(&ex->out, "\r\n");
    ex->block_skip = ex->block.len;
    ex->framing = OUT_NONE;
    put_length(ex, 0);
}

static bool rewrite(struct exchange *ex, const struct http_head *stored, struct buf *out)
{
    struct field_changes changes = policy_response_changes(ex->route);
    struct stored_block parsed;
    struct http_head changed;
    struct buf relabelled = {0};
    bool ok = true;
    if (ex->is_stale)
        policy_stale_block(&relabelled, stored);
    else if (has_edge_ttl(ex))
        policy_edge_block(&relabelled, stored, (uint64_t)ex->route->edge_ttl_ms, clock_wall_ms() / 1000);
    if (relabelled.len > 0) {
        buf_put_lit(&relabelled, "\r\n");
        ok = !relabelled.failed && stored_block_parse(&parsed, buf_span(&relabelled));
        stored = &parsed.head;
    }
    ok = ok && policy_change_fields(&changed, stored, &changes, &ex->arena) == 0;
    if (ok)
        policy_put_block(out, &changed);
    buf_fini(&relabelled);
    return ok && !out->failed;
}

/* A stale answer must look stale to the caches behind us, and a route may have its say. Without memory for it
 * the answer leaves without its fields. */
static void rewrite_block(struct exchange *ex)
{
    struct stored_block parsed;
    struct buf block = {0};
    bool ok = stored_block_parse(&parsed, (struct span){ex->block.p, ex->block.len + 2}) &&
              rewrite(ex, &parsed.head, &block);
    ex->block = ok ? arena_span(&ex->arena, buf_span(&block)) : (struct span){0};
    buf_fini(&block);
}

static bool is_rewritten(const struct exchange *ex)
{
    struct field_changes changes = policy_response_changes(ex->route);
    return ex->is_stale || has_edge_ttl(ex) || field_changes_any(&changes);
}

/* RFC 9110 section 15.4.5: a 304 does not describe again what its client has. Without memory it does. */
static void make_not_modified_block(struct exchange *ex)
{
    char *kept = arena_alloc(&ex->arena, ex->block.len + 1);
    size_t n = 0;
    if (kept == NULL)
        return;
    struct span left = ex->block, line, name;
    enum http_field_id id;
    while (stored_block_next(&left, &line, &name, &id)) {
        if (id == FIELD_CONTENT_TYPE || id == FIELD_CONTENT_ENCODING ||
            span_eq_nocase(name, SPAN("Content-Language")))
            continue;
        memcpy(kept + n, line.p, line.len);
        n += line.len;
    }
    ex->block = (struct span){kept, n};
}

bool answer_compose(struct exchange *ex)
{
    const struct stored_head *h = object_head(ex->object);
    struct http_range part = {0};
    ex->out.len = ex->prefix_bytes = ex->block_skip = 0;
    ex->position = 0; /* it may have been composed before, of an object that was no good */
    ex->end = UINT64_MAX;
    ex->status = h->facts.status;
    ex->block = h->block;
    if (is_rewritten(ex))
        rewrite_block(ex);
    enum condition condition = ex->judged_here ? policy_condition(&ex->head, &h->validators) : CONDITION_SEND;
    enum span_choice choice = condition == CONDITION_SEND ? choose_span(ex, &part) : WHOLE;
    if (choice == WAIT)
        return false;

    if (condition == CONDITION_NOT_MODIFIED) {
        put_status_line(ex, 304);
        make_not_modified_block(ex);
        ex->block_skip = first_line_bytes(ex->block);
        ex->framing = OUT_NONE;
    } else if (choice == UNSATISFIABLE) {
        compose_bare(ex, 416);
        buf_put_lit(&ex->out, "Content-Range: bytes */");
        buf_put_uint(&ex->out, object_length(ex->object));
        buf_put_lit(&ex->out, "\r\n");
    } else if (choice == PART) {
        put_status_line(ex, 206);
        ex->block_skip = first_line_bytes(ex->block);
        answer_put_content_range(&ex->out, part, object_length(ex->object));
        put_length(ex, part.last - part.first + 1);
        ex->framing = OUT_LENGTH;
        ex->position = part.first;
        ex->end = part.last + 1;
    } else if (choice == PARTS) {
        put_status_line(ex, 206);
        ex->block_skip = first_line_bytes(ex->block);
        ranges_put_type(ex);
        put_length(ex, ranges_content_bytes(ex));
        ex->framing = OUT_PARTS;
    } else {
        if (ex->block.len == 0)
            put_status_line(ex, ex->status);
        frame_whole(ex);
    }
    put_tail(ex);
    return true;
}

unsigned answer_head_bufs(struct exchange *ex, uv_buf_t *bufs)
{
    unsigned n = 0;
    if (ex->prefix_bytes > 0)
        bufs[n++] = uv_buf_init(ex->out.p, (unsigned)ex->prefix_bytes);
    struct span rest = span_from(ex->block, ex->block_skip);
    if (rest.len > 0)
        bufs[n++] = uv_buf_init((char *)rest.p, (unsigned)rest.len);
    if (ex->out.len > ex->prefix_bytes)
        bufs[n++] = uv_buf_init(ex->out.p + ex->prefix_bytes, (unsigned)(ex->out.len - ex->prefix_bytes));
    return n;
}

/* Whether the connection may go on after an error of ours: not when the request could not be read to its end,
 * nor with somebody who has no business here. Behind a CONNECT may stand what was meant for the tunnel. */
static bool survives(const struct exchange *ex, int err)
{
    if (ex->head.method == METHOD_CONNECT)
        return false;
    switch (err) {
    case ERR_BAD_REQUEST:
    case ERR_HEAD_TOO_LARGE:
    case ERR_TOO_MANY_FIELDS:
    case ERR_URI_TOO_LONG:
    case ERR_CONTENT_TOO_LARGE:
    case ERR_VERSION:
    case ERR_NOT_IMPLEMENTED:
    case ERR_CLIENT_TIMEOUT:
    case ERR_FORBIDDEN:
    case ERR_EDGE_SECRET:
        return false;
    default:
        return ex->content_ended;
    }
}

/* An answer that a route has ready: a redirect, a text, a refusal. */
void answer_compose_fixed(struct exchange *ex)
{
    const struct config_route *r = ex->route;
    struct buf *out = &ex->out;
    struct span content = r->action == ACTION_ANSWER ? span_of(r->text) : http_reason((int)r->status);
    out->len = 0;
    ex->block = (struct span){0};
    put_status_line(ex, (int)r->status);
    put_date(ex);
    if (r->action == ACTION_REDIRECT)
        http_put_field(out, SPAN("Location"), span_of(r->text));
    if (r->action == ACTION_DENY)
        buf_put_lit(out, "Cache-Control: no-store\r\n");
    bool has_content = r->status >= 200 && r->status != 204 && r->status != 304;
    if (has_content && content.len > 0)
        http_put_field(out, SPAN("Content-Type"),
                       r->content_type != NULL ? span_of(r->content_type)
                                               : SPAN("text/plain; charset=utf-8"));
    struct field_changes changes = policy_response_changes(r);
    policy_put_new_fields(out, &changes);
    if (has_content)
        put_length(ex, content.len);
    put_connection(ex);
    buf_put_lit(out, "\r\n");
    if (has_content && ex->head.method != METHOD_HEAD)
        buf_put_span(out, content);
    ex->prefix_bytes = out->len;
    ex->framing = OUT_NONE;
}

void answer_compose_text(struct exchange *ex, int status, const char *type, struct span content)
{
    ex->block = (struct span){0};
    put_status_line(ex, status);
    put_date(ex);
    http_put_field(&ex->out, SPAN("Content-Type"), span_of(type));
    buf_put_lit(&ex->out, "Cache-Control: no-store\r\n");
    put_length(ex, content.len);
    put_connection(ex);
    buf_put_lit(&ex->out, "\r\n");
    buf_put_span(&ex->out, content);
    ex->prefix_bytes = ex->out.len;
    ex->framing = OUT_NONE;
}

static void put_allow(struct buf *out)
{
    buf_put_lit(out, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
}

void answer_compose_options(struct exchange *ex)
{
    ex->block = (struct span){0};
    put_status_line(ex, 200);
    put_date(ex);
    put_allow(&ex->out);
    put_length(ex, 0);
    put_connection(ex);
    buf_put_lit(&ex->out, "\r\n");
    ex->prefix_bytes = ex->out.len;
    ex->framing = OUT_NONE;
}

/* What Proxy-Status says to whoever carries a debug token: the reason, or what the origin did. */
static const char *why_not(const struct exchange *ex, int err)
{
    bool refused = refusal_reason_of(err, ex->waiter.limit) != REFUSED_NONE;
    return refused ? ex->reason : err_text(err);
}

void answer_compose_own(struct exchange *ex, int err)
{
    struct buf *out = &ex->out;
    int status = err_status(err);
    out->len = 0;
    ex->block = (struct span){0};
    put_status_line(ex, status);
    put_date(ex);
    buf_put_lit(out, "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n");
    if (err == ERR_METHOD)
        put_allow(out);
    uint32_t retry_after_s = status == 503 || status == 429 ? MAX(ex->waiter.retry_after_s, 1u) : 0;
    policy_put_own_error(out, ex->env->loop->config, err, retry_after_s,
                         ex->is_debugged ? why_not(ex, err) : NULL);
    put_length(ex, strlen(err_text(err)) + 1);
    if (!survives(ex, err))
        ex->keep_alive = false;
    put_connection(ex);
    buf_put_lit(out, "\r\n");
    if (ex->head.method != METHOD_HEAD) {
        buf_put(out, err_text(err), strlen(err_text(err)));
        buf_put_lit(out, "\n");
    }
    ex->prefix_bytes = out->len;
    ex->framing = OUT_NONE;
}
