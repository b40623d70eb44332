#include "shield/flight/flight_impl.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http_date.h"
#include "common/units.h"
#include "shield/flight/flight_storing.h"
#include "shield/policy/stale.h"

/* The flight's talk with the origin: the request, the head that decides, the body and its pace. */

enum { SOON_WHOLE_BYTES = 1024 * 1024 };

/* ---- the head decides ---- */

static bool is_storable(enum verdict_use use)
{
    return use == USE_SHARE || use == USE_VALIDATE;
}

/* The request went as its client sent it, so an answer to its conditions or its range is its client's alone.
 */
static bool answers_client_conditions(const struct flight *f, int status)
{
    return f->what.mode != FORWARD_SHARED && flight_validating(f) == NULL &&
           (status == 304 || status == 206 || status == 412 || status == 416);
}

static void judge(struct flight *f, const struct http_head *head)
{
    struct verdict *v = &f->verdict;
    flight_judge(f, head, v);
    if (f->what.mode == FORWARD_PASS && f->what.method != METHOD_POST) {
        v->use = USE_ALONE;
        v->is_kept = false;
        v->reason = UNCACHEABLE_METHOD;
    } else if (answers_client_conditions(f, head->status)) {
        v->use = USE_ALONE;
        v->is_kept = false;
        v->reason = UNCACHEABLE_REQUEST;
    }
}

static enum flight_news news_of_verdict(const struct flight *f)
{
    switch (f->verdict.use) {
    case USE_SHARE:
    case USE_SHARE_ONCE:
        return NEWS_HEAD;
    case USE_ERROR_ALONE:
        return NEWS_ERROR_ALONE;
    case USE_VALIDATE:
    case USE_ALONE:
        break;
    }
    return NEWS_HEAD_ALONE;
}

/* What has to be validated releases its waiters to conditional requests, which they can only make of
 * something that is stored. A small body is worth waiting for: it is here in no time. */
static bool is_soon_whole(const struct flight *f)
{
    return f->verdict.use == USE_VALIDATE && f->storing && object_state(f->object) == OBJECT_FILLING &&
           object_length(f->object) <= SOON_WHOLE_BYTES;
}

/* The head is known and `f->object` made: tell the table, then the waiters. */
static void settle(struct flight *f)
{
    const struct verdict *v = &f->verdict;
    struct flight_table *t = &f->env->table;
    f->kept = f->storing;
    f->kept_to_last = f->storing && (f->env->disk == NULL || f->filling_disk);
    if (f->shared) {
        bool joinable = v->use == USE_SHARE; /* what is not kept: until its first chunk leaves memory */
        if (!joinable)
            flight_ledger_leave(f);
        t->settled(t->ctx, f, v, f->storing ? f->object : NULL, joinable);
        f->attached = joinable;
    } else {
        t->settled(t->ctx, f, v, f->storing ? f->object : NULL, false);
    }
    if (!f->storing && object_state(f->object) == OBJECT_FILLING && object_length(f->object) > 0)
        flight_start_pacing(f);
    flight_enter(f, F_BODY);
    f->deferred = is_soon_whole(f);
    flight_publish(f, f->deferred ? NEWS_HEAD_LEADER : news_of_verdict(f));
    flight_check(f); /* a refresh has nobody who waits */
}

/* A server error is no answer where stale is a better one (RFC 5861 section 4), nor when nobody waits for it.
 */
static bool is_to_be_hidden(struct flight *f, int status)
{
    return policy_is_server_error(status) &&
           (flight_may_fall_back(f, ERR_SERVER_ERROR) || atomic_load(&f->waiters) == 0);
}

static bool nobody_may_have_it(const struct flight *f)
{
    return !is_storable(f->verdict.use) && news_of_verdict(f) != NEWS_HEAD && f->leader == NULL;
}

/* The leader wants a few bytes of what will not be kept: let everyone ask for his own part. */
static bool is_not_for_ranges(const struct flight *f)
{
    return f->shared && !f->storing && !f->validated && f->what.method == METHOD_GET &&
           f->verdict.facts.status == 200 && f->leader != NULL && f->leader->wants_range;
}

static void release_all(struct flight *f)
{
    struct flight_table *t = &f->env->table;
    origin_call_cancel(&f->call);
    flight_ledger_leave(f);
    if (f->shared)
        t->settled(t->ctx, f, &f->verdict, NULL, false);
    f->attached = false;
    if (f->leader != NULL)
        f->leader->is_leader = false;
    if (object_state(f->object) == OBJECT_FILLING)
        object_fail(f->object, ERR_GONE);
    flight_enter(f, F_BODY);
    flight_enter(f, F_FAILED);
    flight_publish(f, f->verdict.use == USE_ERROR_ALONE ? NEWS_ERROR_ALONE : NEWS_HEAD_ALONE);
    flight_retire(f);
}

/* RFC 9110 section 10.2.3: seconds or a date; held down to flight.retry_after_max. */
static uint32_t retry_after_s(const struct flight *f, const struct http_head *head)
{
    struct span value = http_value(head, FIELD_RETRY_AFTER);
    uint64_t s = 0;
    int64_t at_s, now_s = clock_wall_ms() / 1000;
    if (!units_parse_uint(value, &s) && http_date_parse(value, now_s, &at_s) && at_s > now_s)
        s = (uint64_t)(at_s - now_s);
    return (uint32_t)MIN(s, f->env->loop->config->flight.retry_after_max_ms / 1000);
}

/* Whether a 304 may come: to our validation, or to the client's own (RFC 9110 section 15.4.5). */
static bool was_asked_conditionally(const struct flight *f)
{
    const struct http_head *r = &f->request_head;
    return flight_validating(f) != NULL ||
           (f->what.mode != FORWARD_SHARED &&
            (http_has(r, FIELD_IF_NONE_MATCH) || http_has(r, FIELD_IF_MODIFIED_SINCE)));
}

/* A part that neither the client nor the route asked for (RFC 9110 section 15.3.7). With methods that have no
 * ranges it is the client's to judge. */
static bool is_unasked_part(const struct flight *f, int status)
{
    struct field_changes by_route = policy_request_changes(f->what.route);
    bool asked = (f->what.mode != FORWARD_SHARED && flight_validating(f) == NULL &&
                  http_has(&f->request_head, FIELD_RANGE)) ||
                 field_changes_drop(&by_route, SPAN("Range"));
    return status == 206 && !asked && f->what.method == METHOD_GET;
}

static void on_interim(struct origin_call *c, const struct http_head *head)
{
    flight_take_interim(container_of(c, struct flight, call), head);
}

static void on_switched(struct origin_call *c, const struct http_head *head)
{
    struct flight *f = container_of(c, struct flight, call);
    struct buf *text = loop_scratch(f->env->loop);
    policy_switching_head(text, f->env->loop->config, head, f->what.upgrade);
    f->switching_head = arena_span(&f->arena, buf_span(text));
    if (text->failed || f->switching_head.p == NULL)
        flight_fail(f, ERR_NOMEM);
    else
        flight_publish(f, NEWS_SWITCHED);
}

static void on_head(struct origin_call *c, const struct http_head *head)
{
    struct flight *f = container_of(c, struct flight, call);
    int err;
    if (flight_is_purged(f) || (head->status == 304 && flight_stored_is_purged(f))) {
        flight_overtake(f);
        return;
    }
    f->retry_after_s = retry_after_s(f, head);
    if (c->body.framing == BODY_LENGTH)
        f->announced_length = c->body.length;
    else if (c->body.framing == BODY_NONE && http_has(head, FIELD_CONTENT_LENGTH))
        units_parse_uint(http_value(head, FIELD_CONTENT_LENGTH), &f->announced_length);

    if (is_to_be_hidden(f, head->status)) {
        flight_fail(f, ERR_SERVER_ERROR);
        return;
    }
    if ((head->status == 304 && !was_asked_conditionally(f)) || is_unasked_part(f, head->status)) {
        flight_fail(f, ERR_PROTOCOL);
        return;
    }
    if (head->status == 304 && flight_validating(f) != NULL) {
        err = flight_take_renewed(f, head);
    } else {
        judge(f, head);
        uint64_t length = c->body.framing == BODY_NONE     ? 0
                          : c->body.framing == BODY_LENGTH ? c->body.length
                                                           : LENGTH_UNKNOWN;
        err = flight_take_object(f, head, length);
        if (err == 0)
            flight_note_resumable(f, head);
        if (err == 0 && f->what.stored != NULL && f->what.method == METHOD_HEAD)
            flight_freshen(f, head);
    }
    if (err != 0)
        flight_fail(f, err);
    else if (flight_is_purged(f)) /* its tags are known now */
        flight_overtake(f);
    else if (nobody_may_have_it(f) || is_not_for_ranges(f))
        release_all(f);
    else
        settle(f);
}

static uint64_t window_of(const struct flight *f)
{
    const struct config *cfg = f->env->loop->config;
    if (object_air_bytes() >= cfg->flight.max_bytes_total)
        return object_chunk_bytes(f->object);
    return f->shared ? cfg->flight.window
                     : cfg->flight.window / 16; /* one client's own: as many as the origin's limit allows */
}

/* How much of the body only memory has, and would lose: what the slowest reader has not read of an object
 * that nobody keeps, or what the store has not committed of one that only it will keep. */
static uint64_t bytes_in_the_air(struct flight *f)
{
    uint64_t ready = object_ready(f->object);
    if (!atomic_load(&f->paced))
        return f->filling_disk && !object_is_resident(f->object) ? disk_fill_uncommitted(f->object) : 0;
    uint64_t lowest = MIN(flight_lowest_position(f), ready);
    if (lowest >= object_chunk_bytes(f->object) && f->attached) {
        flight_detach(f); /* whoever joins from now on would miss the beginning */
        lowest = MIN(flight_lowest_position(f), ready);
    }
    object_drop_below(f->object, lowest);
    return ready - lowest;
}

void flight_hold_or_go_on(struct flight *f)
{
    uint64_t window = window_of(f), behind = bytes_in_the_air(f);
    if (!f->holding && behind >= window) {
        f->holding = true;
        metric_limit(f->env->loop->metrics, WINDOW);
        if (f->state == F_BODY) /* a head that is under way is waited for, whoever lags behind */
            origin_call_pause(&f->call);
        if (atomic_load(&f->paced))
            flight_broadcast(f); /* readers tell of each step from now on, and of where they are */
        else
            timer_set(f->env->loop, &f->hold_timer, 0);
    } else if (f->holding && behind < window / 2) {
        f->holding = false;
        origin_call_resume(&f->call);
    }
}

void flight_on_hold_timer(struct loop_timer *t)
{
    struct flight *f = container_of(t, struct flight, hold_timer);
    flight_hold_or_go_on(f);
    if (f->holding)
        timer_set(f->env->loop, t, 0);
}

void flight_take_body(struct flight *f, const char *p, size_t n)
{
    int err = object_append(f->object, p, n);
    if (err != 0) {
        flight_fail(f, err);
        return;
    }
    flight_go_on_storing(f);
    if (f->deferred && !f->storing) { /* it will not be there for validation: nobody waits for its end */
        f->deferred = false;
        flight_publish(f, NEWS_HEAD_ALONE);
    } else {
        flight_broadcast(f);
    }
    flight_hold_or_go_on(f);
}

static void on_body(struct origin_call *c, const char *p, size_t n)
{
    flight_take_body(container_of(c, struct flight, call), p, n);
}

static void on_room(struct origin_call *c)
{
    struct flight *f = container_of(c, struct flight, call);
    if (f->on_room != NULL)
        f->on_room(f->room_ctx);
}

static void on_end(struct origin_call *c, int err)
{
    struct flight *f = container_of(c, struct flight, call);
    if (flight_is_over(f))
        return;
    if (err == 0)
        flight_finish(f);
    else if (f->state == F_BODY)
        flight_broke_off(f, err);
    else
        flight_fail(f, err);
}

static const struct origin_call_ops call_events = {.on_interim = on_interim,
                                                   .on_switched = on_switched,
                                                   .on_head = on_head,
                                                   .on_body = on_body,
                                                   .on_room = on_room,
                                                   .on_end = on_end};

void flight_put_request(struct flight *f)
{
    const struct flight_request *what = &f->what;
    struct forward_request r = {
        .head = what->head,
        .route = what->route,
        .mode = what->mode,
        .method = what->head->method_text,
        .host = what->host,
        .path_query = what->path_query,
        .content = what->content,
        .content_length = what->content_length,
        .client_ip = what->client_ip,
        .upgrade = f->state == F_RESUME ? (struct span){"", 0} : what->upgrade,
    };
    const struct object *validating = flight_validating(f);
    if (validating != NULL) {
        const struct validators *v = &object_head(validating)->validators;
        r.mode = FORWARD_SHARED; /* the client's own conditions are held against what comes of it */
        r.etag = v->etag;
        r.last_modified = v->last_modified;
    }
    if (f->state == F_RESUME) {
        const struct validators *v = &object_head(f->object)->validators;
        r.etag = v->etag;
        r.last_modified = v->last_modified;
        r.resumes = true;
        r.resume_at = object_ready(f->object);
    }
    policy_forward_request(&f->call.head, what->config, &r); /* as the key was made, whatever was reloaded */
}

void flight_ask_origin(struct flight *f)
{
    const struct flight_request *what = &f->what;
    struct origin_call_request request = {
        .origin_index = what->origin_index,
        .method = what->method,
        .content = what->content,
        .content_length = what->content_length,
        .upgrade = what->upgrade,
        .background = flight_is_background(f),
    };
    atomic_store(&f->asked, true);
    atomic_store(&f->purge_number, purge_log_number(f->env->purges));
    if (flight_stored_is_purged(f)) /* since it was looked up */
        object_unref(&f->what.stored);
    request.kind = flight_validating(f) != NULL && what->kind != KIND_REFRESH ? KIND_REVALIDATE : what->kind;
    flight_enter(f, F_HEAD);
    if (f->shared) {
        flight_count_collapsed(f, f->env->loop);
        flight_ledger_enter(f);
        metric_count(f->env->loop->metrics, FLIGHTS_STARTED);
    }
    flight_put_request(f);
    origin_call_start(&f->call, f->env->pool, &call_events, &request);
}
