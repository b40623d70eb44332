#include "shield/flight/flight_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http_date.h"
#include "common/units.h"
#include "shield/flight/flight_storing.h"
#include "shield/ops/log.h"
#include "shield/policy/stale.h"

static const unsigned moves[] = {
    [F_NEW] = BIT(F_DISK) | BIT(F_HEAD) | BIT(F_FAILED),
    [F_DISK] = BIT(F_HEAD) | BIT(F_DONE) | BIT(F_FAILED),
    [F_HEAD] = BIT(F_BODY) | BIT(F_FAILED),
    [F_BODY] = BIT(F_DONE) | BIT(F_FAILED),
    [F_DONE] = 0,
    [F_FAILED] = 0,
};

static bool is_over(const struct flight *f)
{
    return f->state == F_DONE || f->state == F_FAILED;
}

/* What holds after every move. */
static bool holds_together(const struct flight *f)
{
    enum flight_news news = (enum flight_news)atomic_load_explicit(&f->news, memory_order_relaxed);
    bool has_head = news == NEWS_HEAD || news == NEWS_HEAD_ALONE || news == NEWS_ERROR_ALONE;
    return (f->state >= F_BODY || !has_head) && (!has_head || f->object != NULL) && (!is_over(f) || !f->attached) &&
           (f->shared || !f->attached);
}

static void enter(struct flight *f, enum flight_state next)
{
    REQUIRE(loop_is_current(f->env->loop));
    REQUIRE(moves[f->state] & BIT(next));
    f->state = next;
    atomic_store(&f->shown_state, (unsigned char)next);
    ENSURE(holds_together(f));
}

struct flight *flight_ref(struct flight *f)
{
    unsigned before = atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    REQUIRE(before > 0);
    return f;
}

void flight_unref(struct flight *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    object_unref(&f->object);
    object_unref(&f->what.validating);
    object_unref(&f->what.freshens);
    object_unref(&f->freshened);
    arena_fini(&f->arena);
    buf_fini(&f->call.head);
    free(f);
}

/* ---- making ---- */

static int copy_request(struct flight *f, const struct flight_request *from)
{
    struct arena *a = &f->arena;
    struct flight_request *to = &f->what;
    *to = *from;
    to->validating = to->freshens = NULL;
    if (http_head_copy(&f->request_head, from->head, a) != 0)
        return ERR_NOMEM;
    to->head = &f->request_head;
    struct span *parts[] = { &to->key, &to->names, &to->variant, &to->host, &to->path_query, &to->client_ip };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        *parts[i] = arena_span(a, *parts[i]);
        if (parts[i]->p == NULL)
            return ERR_NOMEM;
    }
    if (from->validating != NULL)
        to->validating = object_ref(from->validating);
    if (from->freshens != NULL)
        to->freshens = object_ref(from->freshens);
    return 0;
}

struct flight *flight_new(struct flight_env *env, const struct flight_request *request, bool shared)
{
    struct flight *f = calloc(1, sizeof *f + env->n_loops * sizeof f->seats[0]);
    if (f == NULL)
        return NULL;
    atomic_init(&f->refs, 1);
    f->env = env;
    f->shared = f->attached = shared;
    f->started_us = clock_mono_us();
    f->announced_length = LENGTH_UNKNOWN;
    list_init(&f->running_link);
    list_init(&f->table_link);
    list_init(&f->ledger_link);
    for (unsigned i = 0; i < env->n_loops; i++) {
        f->seats[i].flight = f;
        f->seats[i].loop = env->loops[i];
        list_init(&f->seats[i].waiters);
    }
    if (copy_request(f, request) != 0) {
        flight_unref(f);
        return NULL;
    }
    return f;
}

void flight_discard(struct flight **slot)
{
    struct flight *f = *slot;
    *slot = NULL;
    REQUIRE(f->state == F_NEW);
    flight_unref(f);
}

/* ---- the end ---- */

static void deliver_end(struct mail *m)
{
    flight_unref(container_of(m, struct flight, end_mail));
}

/* The owner's reference goes from a later turn: whoever ended the flight may still look at it. */
static void retire(struct flight *f)
{
    timer_stop(f->env->loop, &f->hold_timer);
    list_remove(&f->running_link);
    f->end_mail.deliver = deliver_end;
    loop_post(f->env->loop, &f->end_mail);
}

static void publish(struct flight *f, enum flight_news news)
{
    atomic_store_explicit(&f->news, news, memory_order_release);
    flight_broadcast(f);
}

void flight_detach(struct flight *f)
{
    if (!f->attached)
        return;
    flight_ledger_leave(f); /* first: another may start as soon as it is out of the table */
    f->env->table.detach(f->env->table.ctx, f);
    f->attached = false;
}

/* Off the table with what came of it; the origin's connection is closed or free already. */
static void leave_table(struct flight *f, struct object *kept, int err)
{
    struct flight_table *t = &f->env->table;
    flight_ledger_leave(f); /* first: another may start as soon as it is out of the table */
    t->ended(t->ctx, f, kept, err);
    f->attached = false;
}

/* Nothing came from the origin. What may be served stale is, and everyone gets it (DESIGN.md section 4). */
static bool fall_back(struct flight *f, int err)
{
    struct object *o = f->what.validating != NULL ? f->what.validating : f->what.freshens;
    const struct config *cfg = f->env->loop->config;
    bool disconnected = err_is_no_answer(err);
    if (f->object != NULL || o == NULL || !(disconnected || err == ERR_BUSY || err == ERR_QUEUE_TIMEOUT))
        return false;
    if (!policy_may_serve_stale(cfg, &object_head(o)->facts, clock_wall_ms(),
                                disconnected ? STALE_DISCONNECTED : STALE_OVERLOADED))
        return false;
    f->object = object_ref(o);
    f->stale = f->kept = true;
    f->announced_length = object_length(o);
    return true;
}

static void tell_end(struct flight *f)
{
    if (f->deferred)
        publish(f, NEWS_HEAD_ALONE);
    else
        flight_broadcast(f);
}

static void fail(struct flight *f, int err)
{
    origin_call_cancel(&f->call);
    f->err = err;
    if (fall_back(f, err)) {
        leave_table(f, NULL, err);
        enter(f, F_FAILED);
        publish(f, NEWS_HEAD);
        retire(f);
        return;
    }
    if (f->object != NULL) {
        if (object_state(f->object) == OBJECT_FILLING)
            object_fail(f->object, err);
        flight_stop_storing(f);
    }
    leave_table(f, NULL, err);
    enter(f, F_FAILED);
    if (f->object == NULL)
        publish(f, NEWS_FAILED);
    else
        tell_end(f);
    retire(f);
}

/* Nobody waits, and nothing is worth finishing. Who joined in this very moment looks up again. */
static void abandon(struct flight *f)
{
    origin_call_cancel(&f->call);
    if (f->object != NULL) {
        if (object_state(f->object) == OBJECT_FILLING)
            object_fail(f->object, ERR_GONE);
        flight_stop_storing(f);
    }
    leave_table(f, NULL, ERR_GONE);
    enter(f, F_FAILED);
    if (f->object == NULL)
        publish(f, NEWS_AGAIN);
    else
        tell_end(f);
    retire(f);
}

static void finish(struct flight *f)
{
    struct object *kept = NULL;
    if (atomic_load(&f->fenced)) {
        flight_stop_storing(f);
        object_unref(&f->freshened);
    }
    if (f->storing && object_state(f->object) == OBJECT_FILLING) {
        object_seal(f->object);
        kept = f->object;
    } else if (object_state(f->object) == OBJECT_FILLING) {
        object_seal(f->object);
    } else if (f->storing) { /* renewed by a 304 */
        kept = f->object;
    }
    if (f->freshened != NULL)
        kept = f->freshened;
    flight_finish_storing(f);
    leave_table(f, kept, 0);
    enter(f, F_DONE);
    tell_end(f);
    retire(f);
}

/* ---- the origin ---- */

static bool is_storable(enum verdict_use use)
{
    return use == USE_SHARE || use == USE_VALIDATE;
}

/* The request went as its client sent it, so an answer to its conditions or its range is its client's alone. */
static bool answers_client_conditions(const struct flight *f, int status)
{
    return f->what.mode != FORWARD_SHARED && f->what.validating == NULL &&
           (status == 304 || status == 206 || status == 412 || status == 416);
}

static void judge(struct flight *f, const struct http_head *head)
{
    struct verdict *v = &f->verdict;
    int64_t now_ms = clock_wall_ms();
    policy_judge(f->env->loop->config, &f->request_head, head, f->call.sent_wall_ms, now_ms, v);
    if (f->what.mode == FORWARD_PASS) {
        v->use = USE_ALONE;
        v->reason = UNCACHEABLE_METHOD;
    } else if (answers_client_conditions(f, head->status)) {
        v->use = USE_ALONE;
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

/* What has to be validated releases its waiters to conditional requests, which they can only make of something that is
 * stored. A small body is worth waiting for: it is here in no time. */
static bool is_soon_whole(const struct flight *f)
{
    return f->verdict.use == USE_VALIDATE && f->storing && object_state(f->object) == OBJECT_FILLING &&
           object_length(f->object) <= CHUNK_SMALL;
}

/* The head is known and `f->object` made: tell the table, then the waiters. */
static void settle(struct flight *f)
{
    const struct verdict *v = &f->verdict;
    struct flight_table *t = &f->env->table;
    f->kept = f->storing;
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
    enter(f, F_BODY);
    f->deferred = is_soon_whole(f);
    if (!f->deferred)
        publish(f, news_of_verdict(f));
}

static bool nobody_may_have_it(const struct flight *f)
{
    return !is_storable(f->verdict.use) && news_of_verdict(f) != NEWS_HEAD && f->leader == NULL;
}

/* The leader wants a few bytes of what will not be kept: let everyone ask for his own part. */
static bool is_too_large_for_range(const struct flight *f)
{
    return f->shared && f->verdict.reason == UNCACHEABLE_TOO_LARGE && f->leader != NULL && f->leader->wants_range;
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
    enter(f, F_BODY);
    enter(f, F_FAILED);
    publish(f, f->verdict.use == USE_ERROR_ALONE ? NEWS_ERROR_ALONE : NEWS_HEAD_ALONE);
    retire(f);
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

static void on_head(struct origin_call *c, const struct http_head *head)
{
    struct flight *f = container_of(c, struct flight, call);
    int err;
    f->retry_after_s = retry_after_s(f, head);
    if (c->body.framing == BODY_LENGTH)
        f->announced_length = c->body.length;
    else if (c->body.framing == BODY_NONE && http_has(head, FIELD_CONTENT_LENGTH))
        units_parse_uint(http_value(head, FIELD_CONTENT_LENGTH), &f->announced_length);

    if (head->status == 304 && f->what.validating != NULL) {
        err = flight_take_renewed(f, head);
    } else {
        judge(f, head);
        uint64_t length = c->body.framing == BODY_NONE     ? 0
                          : c->body.framing == BODY_LENGTH ? c->body.length
                                                           : LENGTH_UNKNOWN;
        err = flight_take_object(f, head, length);
        if (err == 0 && f->what.freshens != NULL)
            flight_freshen(f, head);
    }
    if (err != 0)
        fail(f, err);
    else if (nobody_may_have_it(f) || is_too_large_for_range(f))
        release_all(f);
    else
        settle(f);
}

static uint64_t window_of(const struct flight *f)
{
    uint64_t window = f->env->loop->config->flight.window;
    return f->shared ? window : window / 16; /* one client's own: as many as the origin's limit allows */
}

/* How much of the body only memory has, and would lose: what the slowest reader has not read of an object that nobody
 * keeps, or what the store has not committed of one that only it will keep. */
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

static void hold_or_go_on(struct flight *f)
{
    uint64_t window = window_of(f), behind = bytes_in_the_air(f);
    if (!f->holding && behind >= window) {
        f->holding = true;
        metric_limit(f->env->loop->metrics, WINDOW);
        origin_call_pause(&f->call);
        if (!atomic_load(&f->paced))
            timer_set(f->env->loop, &f->hold_timer, 0);
    } else if (f->holding && behind < window / 2) {
        f->holding = false;
        origin_call_resume(&f->call);
    }
}

static void on_hold_timer(struct loop_timer *t)
{
    struct flight *f = container_of(t, struct flight, hold_timer);
    hold_or_go_on(f);
    if (f->holding)
        timer_set(f->env->loop, t, 0);
}

static void on_body(struct origin_call *c, const char *p, size_t n)
{
    struct flight *f = container_of(c, struct flight, call);
    int err = object_append(f->object, p, n);
    if (err != 0) {
        fail(f, err);
        return;
    }
    flight_go_on_storing(f);
    flight_broadcast(f);
    hold_or_go_on(f);
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
    if (is_over(f))
        return;
    if (err == 0)
        finish(f);
    else
        fail(f, err);
}

static const struct origin_call_ops call_events = { .on_head = on_head, .on_body = on_body, .on_room = on_room,
                                                    .on_end = on_end };

static void put_request(struct flight *f)
{
    const struct flight_request *what = &f->what;
    struct forward_request r = {
        .head = what->head,
        .mode = what->mode,
        .method = what->head->method_text,
        .host = what->host,
        .path_query = what->path_query,
        .content = what->content,
        .content_length = what->content_length,
        .client_ip = what->client_ip,
    };
    if (what->validating != NULL) {
        const struct validators *v = &object_head(what->validating)->validators;
        r.mode = FORWARD_SHARED; /* the client's own conditions are held against what comes of it */
        r.etag = v->etag;
        r.last_modified = v->last_modified;
    }
    policy_forward_request(&f->call.head, f->env->loop->config, &r);
}

static void ask_origin(struct flight *f)
{
    const struct flight_request *what = &f->what;
    struct origin_call_request request = {
        .origin_index = what->origin_index,
        .kind = what->validating != NULL ? KIND_REVALIDATE : what->kind,
        .method = what->method,
        .content = what->content,
        .content_length = what->content_length,
    };
    atomic_store(&f->asked, true);
    enter(f, F_HEAD);
    if (f->shared) {
        flight_count_collapsed(f, f->env->loop);
        flight_ledger_enter(f);
        metric_count(f->env->loop->metrics, FLIGHTS_STARTED);
    }
    put_request(f);
    origin_call_start(&f->call, f->env->pool, &call_events, &request);
}

/* ---- the disk ---- */

static void on_disk_done(struct disk_get *get)
{
    struct flight *f = container_of(get, struct flight, get);
    struct flight_table *t = &f->env->table;
    struct object *o = get->object;
    bool answers = o != NULL && t->found(t->ctx, f, o);
    if (answers) {
        f->object = o;
        f->from_disk = f->kept = true;
        f->announced_length = object_length(o);
        f->attached = false;
        enter(f, F_DONE);
        publish(f, NEWS_HEAD);
        retire(f);
    } else {
        if (atomic_load(&f->fenced))
            object_unref(&o);
        if (f->what.method == METHOD_HEAD)
            f->what.freshens = o;
        else
            f->what.validating = o;
        if (atomic_load(&f->waiters) == 0)
            abandon(f);
        else
            ask_origin(f);
    }
    flight_unref(f); /* the job's */
}

static void ask_disk(struct flight *f)
{
    enter(f, F_DISK);
    flight_ref(f);
    f->get = (struct disk_get){ .loop = f->env->loop,
                                .key = f->what.key,
                                .key_hash = f->what.key_hash,
                                .request = &f->request_head,
                                .on_done = on_disk_done };
    disk_get(f->env->disk, &f->get);
}

void flight_launch(struct flight *f)
{
    REQUIRE(loop_is_current(f->env->loop));
    list_add_tail(&f->env->running, &f->running_link);
    timer_init(&f->hold_timer, on_hold_timer);
    list_each (n, &f->seats[f->env->loop->id].waiters) {
        struct flight_waiter *w = container_of(n, struct flight_waiter, link);
        if (w->is_leader)
            f->leader = w;
    }
    if (f->shared && f->env->disk != NULL && f->what.validating == NULL && f->what.freshens == NULL)
        ask_disk(f);
    else
        ask_origin(f);
}

/* ---- waiters have left or read on ---- */

static bool is_worth_finishing(const struct flight *f)
{
    switch (f->env->loop->config->flight.finish) {
    case FINISH_ALWAYS:
        return f->shared;
    case FINISH_CACHEABLE:
        return f->state == F_BODY && f->storing;
    default:
        return false;
    }
}

void flight_check(struct flight *f)
{
    if (is_over(f) || f->state == F_DISK || f->state == F_NEW) /* the disk's answer looks for itself */
        return;
    if (atomic_load(&f->waiters) == 0 && !is_worth_finishing(f)) {
        abandon(f);
        return;
    }
    if (f->state == F_BODY)
        hold_or_go_on(f);
}

void flight_env_init(struct flight_env *env)
{
    list_init(&env->running);
}

void flight_env_stop(struct flight_env *env)
{
    list_each_safe (n, &env->running) {
        struct flight *f = container_of(n, struct flight, running_link);
        if (f->state != F_DISK) /* the disk's mail still comes, and finds nobody waiting */
            abandon(f);
    }
}

/* ---- what others may see ---- */

struct object *flight_object(const struct flight *f)
{
    return f->object;
}

uint64_t flight_announced_length(const struct flight *f)
{
    return f->announced_length;
}

bool flight_was_validated(const struct flight *f)
{
    return f->validated;
}

bool flight_is_stale(const struct flight *f)
{
    return f->stale;
}

bool flight_came_from_disk(const struct flight *f)
{
    return f->from_disk;
}

bool flight_is_stored(const struct flight *f)
{
    return f->kept;
}

void flight_set_on_room(struct flight *f, void (*on_room_cb)(void *ctx), void *ctx)
{
    f->on_room = on_room_cb;
    f->room_ctx = ctx;
}

bool flight_has_room(const struct flight *f)
{
    return !is_over(f) && origin_call_has_room(&f->call);
}

void flight_write(struct flight *f, const char *p, size_t n)
{
    origin_call_write(&f->call, p, n);
}

void flight_finish_content(struct flight *f)
{
    origin_call_finish(&f->call);
}

void flight_fence(struct flight *f)
{
    atomic_store(&f->fenced, true);
    flight_ledger_leave(f);
}

void flight_adopt_variant(struct flight *f)
{
    const struct stored_head *h = object_head(f->object);
    bool was_known = f->what.variant_known;
    f->what.names = h->names; /* live as long as the object, and so as long as the flight */
    f->what.variant = h->variant;
    f->what.variant_known = true;
    if (!was_known)
        flight_ledger_rename(f);
}

struct list_node *flight_table_link(struct flight *f)
{
    return &f->table_link;
}

struct flight *flight_of_table_link(struct list_node *n)
{
    return container_of(n, struct flight, table_link);
}

const struct flight_request *flight_what(const struct flight *f)
{
    return &f->what;
}

void *flight_slot(const struct flight *f)
{
    return f->slot;
}

void flight_set_slot(struct flight *f, void *p)
{
    f->slot = p;
}
