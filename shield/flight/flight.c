#include "shield/flight/flight_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/flight/flight_storing.h"
#include "shield/policy/stale.h"
#include "shield/policy/vary.h"
#include "shield/purge/purge_object.h"

static const unsigned moves[] = {
    [F_NEW] = BIT(F_DISK) | BIT(F_HEAD) | BIT(F_FAILED),
    [F_DISK] = BIT(F_HEAD) | BIT(F_DONE) | BIT(F_FAILED),
    [F_HEAD] = BIT(F_BODY) | BIT(F_FAILED),
    [F_BODY] = BIT(F_RESUME) | BIT(F_DONE) | BIT(F_FAILED),
    [F_RESUME] = BIT(F_BODY) | BIT(F_RESUME) | BIT(F_FAILED),
    [F_DONE] = 0,
    [F_FAILED] = 0,
};

bool flight_is_over(const struct flight *f)
{
    return f->state == F_DONE || f->state == F_FAILED;
}

/* What holds after every move. */
static bool holds_together(const struct flight *f)
{
    enum flight_news news = (enum flight_news)atomic_load_explicit(&f->news, memory_order_relaxed);
    bool has_head =
        news == NEWS_HEAD || news == NEWS_HEAD_LEADER || news == NEWS_HEAD_ALONE || news == NEWS_ERROR_ALONE;
    return (f->state >= F_BODY || !has_head) && (!has_head || f->object != NULL) &&
           (!flight_is_over(f) || !f->attached) && (f->shared || !f->attached);
}

void flight_enter(struct flight *f, enum flight_state next)
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
    object_unref(&f->what.stored);
    config_unref(&f->what.config);
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
    to->config = config_ref(from->config);
    to->stored = NULL;
    if (http_head_copy(&f->request_head, from->head, a) != 0)
        return ERR_NOMEM;
    to->head = &f->request_head;
    struct span *parts[] = {&to->key,        &to->names,     &to->variant, &to->host,
                            &to->path_query, &to->client_ip, &to->upgrade};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        *parts[i] = arena_span(a, *parts[i]);
        if (parts[i]->p == NULL)
            return ERR_NOMEM;
    }
    if (from->stored != NULL)
        to->stored = object_ref(from->stored);
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
    atomic_init(&f->purge_number, FLIGHT_UNNUMBERED);
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

bool flight_is_air_full(const struct config *cfg)
{
    return object_air_bytes() >= cfg->flight.max_bytes_total;
}

bool flight_limit_bytes(struct loop *l)
{
    if (!flight_is_air_full(l->config))
        return false;
    metric_limit(l->metrics, MAX_BYTES_TOTAL);
    return true;
}

/* ---- the end ---- */

static void deliver_end(struct mail *m)
{
    flight_unref(container_of(m, struct flight, end_mail));
}

/* The owner's reference goes from a later turn: whoever ended the flight may still look at it. */
void flight_retire(struct flight *f)
{
    timer_stop(f->env->loop, &f->hold_timer);
    list_remove(&f->running_link);
    f->end_mail.deliver = deliver_end;
    loop_post(f->env->loop, &f->end_mail);
}

void flight_publish(struct flight *f, enum flight_news news)
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
static bool leave_table(struct flight *f, struct object *kept, int err)
{
    struct flight_table *t = &f->env->table;
    flight_ledger_leave(f); /* first: another may start as soon as it is out of the table */
    bool is_kept = t->ended(t->ctx, f, kept, err);
    f->attached = false;
    return is_kept;
}

bool flight_may_fall_back(const struct flight *f, int err)
{
    struct object *o = f->what.stored;
    struct response_facts facts;
    int64_t now_ms = clock_wall_ms();
    return o != NULL && !atomic_load(&f->fenced) &&
           purge_object_check(f->env->purges, o, now_ms, &facts) != PURGE_HARD &&
           policy_may_hide_error(f->what.route, &facts, now_ms, err);
}

/* Nothing usable came from the origin. What may be served stale is, and everyone gets it (DESIGN.md section
 * 4). */
static bool fall_back(struct flight *f, int err)
{
    struct object *o = f->what.stored;
    if (f->object != NULL || !flight_may_fall_back(f, err))
        return false;
    f->object = object_ref(o);
    f->stale = f->kept = true;
    f->announced_length = object_length(o);
    return true;
}

static void tell_end(struct flight *f)
{
    if (f->deferred)
        flight_publish(f, NEWS_HEAD_ALONE);
    else
        flight_broadcast(f);
}

void flight_fail(struct flight *f, int err)
{
    origin_call_cancel(&f->call);
    f->err = err;
    if (f->rest.tries > 0)
        metric_count(f->env->loop->metrics, RESUMES_FAILED);
    if (fall_back(f, err)) {
        leave_table(f, NULL, err);
        flight_enter(f, F_FAILED);
        flight_publish(f, NEWS_HEAD);
        flight_retire(f);
        return;
    }
    if (f->object != NULL) {
        if (object_state(f->object) == OBJECT_FILLING)
            object_fail(f->object, err);
        flight_stop_storing(f);
    }
    leave_table(f, NULL, err);
    flight_enter(f, F_FAILED);
    if (f->object != NULL)
        tell_end(f);
    else if (err ==
             ERR_SERVER_ERROR) /* a refresh that nobody waited for; who has come since looks up again */
        flight_publish(f, NEWS_AGAIN);
    else
        flight_publish(f, NEWS_FAILED);
    flight_retire(f);
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
    flight_enter(f, F_FAILED);
    if (f->object == NULL)
        flight_publish(f, NEWS_AGAIN);
    else
        tell_end(f);
    flight_retire(f);
}

void flight_finish(struct flight *f)
{
    struct object *kept = NULL;
    if (f->rest.tries > 0)
        metric_count(f->env->loop->metrics, RESUMES_OK);
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
    if (!leave_table(f, kept, 0)) { /* not wanted any more: invalidated meanwhile */
        flight_stop_storing(f);
        object_unref(&f->freshened);
    }
    flight_finish_storing(f);
    flight_enter(f, F_DONE);
    tell_end(f);
    flight_retire(f);
}

/* ---- the disk ---- */

/* Before the origin is asked: what the disk knows of the key lets other variants fly beside this one. */
static void learn_variant(struct flight *f, const struct object *found)
{
    struct span names = found != NULL ? object_head(found)->names : buf_span(&f->get.names);
    bool is_news = !f->what.variant_known && (found != NULL || f->get.names_known) && names.len > 0;
    if (is_news)
        f->env->table.learned(f->env->table.ctx, f, names);
    if (f->asked_names.len > 0)
        flight_publish(f, NEWS_VARIANT);
}

static void on_disk_done(struct disk_get *get)
{
    struct flight *f = container_of(get, struct flight, get);
    struct flight_table *t = &f->env->table;
    struct object *o = get->object;
    enum flight_found found = o != NULL ? t->found(t->ctx, f, o) : FOUND_VALIDATE;
    if (found == FOUND_ANSWER) {
        f->object = o;
        f->from_disk = f->kept = true;
        f->announced_length = object_length(o);
        f->attached = false;
        flight_enter(f, F_DONE);
        flight_publish(f, NEWS_HEAD);
        flight_retire(f);
    } else if (found == FOUND_AGAIN) {
        object_unref(&o);
        f->attached = false;
        flight_enter(f, F_FAILED);
        flight_publish(f, NEWS_AGAIN);
        flight_retire(f);
    } else {
        if (atomic_load(&f->fenced) || found == FOUND_PURGED)
            object_unref(&o);
        f->what.stored = o;
        learn_variant(f, o);
        if (atomic_load(&f->waiters) == 0 || f->what.only_stored)
            abandon(f);
        else
            flight_ask_origin(f);
    }
    buf_fini(&get->names);
    flight_unref(f); /* the job's */
}

static void ask_disk(struct flight *f)
{
    flight_enter(f, F_DISK);
    flight_ref(f);
    f->get = (struct disk_get){.loop = f->env->loop,
                               .key = f->what.key,
                               .key_hash = f->what.key_hash,
                               .request = &f->request_head,
                               .on_done = on_disk_done};
    disk_get(f->env->disk, &f->get);
}

void flight_launch(struct flight *f)
{
    REQUIRE(loop_is_current(f->env->loop));
    list_add_tail(&f->env->running, &f->running_link);
    timer_init(&f->hold_timer, flight_on_hold_timer);
    list_each (n, &f->seats[f->env->loop->id].waiters) {
        struct flight_waiter *w = container_of(n, struct flight_waiter, link);
        if (w->is_leader)
            f->leader = w;
    }
    if (f->shared && f->env->disk != NULL && f->what.stored == NULL)
        ask_disk(f);
    else
        flight_ask_origin(f);
}

/* ---- waiters have left, read on, or come to a refresh ---- */

static bool is_worth_finishing(const struct flight *f)
{
    if (f->overtaken)
        return false;
    if (f->what.kind == KIND_REFRESH) /* it has never had a client */
        return f->state == F_HEAD || f->storing;
    switch (f->env->loop->config->flight.finish) {
    case FINISH_ALWAYS:
        return f->shared;
    case FINISH_CACHEABLE:
        return f->state >= F_BODY && f->storing;
    default:
        return false;
    }
}

bool flight_is_wanted(const struct flight *f)
{
    return atomic_load(&f->waiters) > 0 || is_worth_finishing(f);
}

void flight_check(struct flight *f)
{
    if (flight_is_over(f) || f->state == F_DISK || f->state == F_NEW) /* the disk's answer looks for itself */
        return;
    if (!flight_is_wanted(f)) {
        abandon(f);
        return;
    }
    if (!flight_is_background(f))
        origin_call_raise(&f->call);
    if (f->state >= F_BODY)
        flight_hold_or_go_on(f);
}

void flight_env_init(struct flight_env *env)
{
    list_init(&env->running);
    memset(env->told_until_ms, 0, sizeof env->told_until_ms);
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

uint32_t flight_retry_after_s(const struct flight *f)
{
    return f->retry_after_s;
}

struct span flight_withheld(const struct flight *f)
{
    return f->withheld;
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

bool flight_was_resumed(const struct flight *f)
{
    return atomic_load(&f->resumed);
}

bool flight_is_stored(const struct flight *f)
{
    return f->kept;
}

bool flight_is_stored_to_last(const struct flight *f)
{
    return f->kept_to_last;
}

bool flight_has_switched(const struct flight *f)
{
    return f->call.state == CALL_SWITCHED;
}

struct span flight_switching_head(const struct flight *f)
{
    return f->switching_head;
}

void flight_hand_over(struct flight *f, struct origin_line *out, const struct upstream_owner *owner,
                      void *ctx)
{
    origin_call_hand_over(&f->call, out, owner, ctx);
}

void flight_set_on_room(struct flight *f, void (*on_room_cb)(void *ctx), void *ctx)
{
    f->on_room = on_room_cb;
    f->room_ctx = ctx;
}

bool flight_has_room(const struct flight *f)
{
    return !flight_is_over(f) && origin_call_has_room(&f->call);
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

bool flight_learn_variant(struct flight *f, struct span names)
{
    struct loop *l = f->env->loop;
    struct buf *variant = loop_scratch(l);
    policy_vary_key(l->config, names, &f->request_head, variant);
    struct span kept_names = arena_span(&f->arena, names);
    struct span kept_variant = arena_span(&f->arena, buf_span(variant));
    if (variant->failed || kept_names.p == NULL || kept_variant.p == NULL)
        return false;
    f->what.names = f->asked_names = kept_names;
    f->what.variant = f->asked_variant = kept_variant;
    f->what.variant_known = true;
    return true;
}

void flight_set_epoch(struct flight *f, uint32_t epoch)
{
    f->what.epoch = epoch;
}

void flight_adopt_variant(struct flight *f)
{
    const struct stored_head *h = object_head(f->object);
    f->what.names = h->names; /* live as long as the object, and so as long as the flight */
    f->what.variant = h->variant;
    f->what.variant_known = true;
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
