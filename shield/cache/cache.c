#include "shield/cache/cache.h"

#include <stdlib.h>

#include <xxhash.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/cache/cache_impl.h"
#include "shield/policy/stale.h"
#include "shield/policy/vary.h"
#include "shield/purge/purge_object.h"

enum { BRIEF_MARK_MS = 10 * 1000 };

/* What a fetch brings is as old as its start: it is kept only if its key was not invalidated since. Keys that
 * share a slot cost each other a store, never a wrong byte. */
static uint32_t *epoch_of(struct cache *c, uint64_t hash)
{
    return &c->epochs[hash % EPOCHS];
}

uint64_t cache_hash(const struct cache *c, struct span key)
{
    return XXH3_64bits_withSeed(key.p, key.len, c->seed);
}

/* ---- the RAM tier ---- */

static void forget(struct cache *c, struct object *o)
{
    const struct stored_head *h = object_head(o);
    struct shard *s = shard_of(c, h->key_hash);
    struct object *taken = NULL;
    pthread_mutex_lock(&s->lock);
    struct entry *e = shard_find(s, h->key_hash, h->key);
    if (e != NULL && entry_take_variant(e, o, &taken))
        shard_tidy(s, e, clock_mono_ms());
    pthread_mutex_unlock(&s->lock);
    object_unref(&taken);
}

/* Into the RAM tier; what has to go for it leaves the index. Without a lock held. */
static void keep_in_ram(struct cache *c, struct object *o)
{
    struct list_node victims;
    list_init(&victims);
    ram_insert(c->ram, o, &victims);
    while (!list_empty(&victims)) {
        struct object_ram *m = container_of(victims.next, struct object_ram, link);
        struct object *victim = object_of_ram(m);
        list_remove(&m->link);
        forget(c, victim);
        object_unref(&victim);
    }
}

static void drop_fallen(struct cache *c, struct object *fallen[2])
{
    for (int i = 0; i < 2; i++) {
        if (fallen[i] != NULL)
            ram_remove(c->ram, fallen[i]);
        object_unref(&fallen[i]);
    }
}

/* ---- asking ---- */

static bool flight_fits(struct flight *f, const struct config *cfg, const struct http_head *head,
                        bool only_stored, struct buf *scratch)
{
    const struct flight_request *what = flight_what(f);
    if (what->only_stored && !only_stored) /* it will not ask the origin */
        return false;
    if (what->method != head->method && !(what->method == METHOD_GET && head->method == METHOD_HEAD))
        return false;
    if (!what->variant_known || what->names.len == 0)
        return true;
    scratch->len = 0;
    policy_vary_key(cfg, what->names, head, scratch);
    return !scratch->failed && span_eq(buf_span(scratch), what->variant);
}

struct flight *cache_find_flight(const struct entry *e, const struct config *cfg,
                                 const struct http_head *head, bool only_stored, struct buf *scratch)
{
    if (e == NULL)
        return NULL;
    list_each (n, &e->flights) {
        struct flight *f = flight_of_table_link(n);
        if (!flight_is_purged(f) && flight_fits(f, cfg, head, only_stored, scratch))
            return f;
    }
    return NULL;
}

struct http_head cache_head_as_get(const struct http_head *head)
{
    struct http_head get = *head;
    get.method = METHOD_GET;
    get.method_text = SPAN("GET");
    return get;
}

bool cache_may_start(const struct cache *c, const struct config *cfg, enum limit_name *limit)
{
    *limit = LIMIT_MAX_FLIGHTS;
    if (atomic_load(&c->flights) >= cfg->flight.max_flights)
        return false;
    *limit = LIMIT_MAX_BYTES_TOTAL;
    return !flight_is_air_full(cfg);
}

static void unlink_flight(struct cache *c, struct flight *f)
{
    if (flight_slot(f) == NULL)
        return;
    list_remove(flight_table_link(f));
    flight_set_slot(f, NULL);
    atomic_fetch_sub(&c->flights, 1);
}

/* The flight to be joined. Those that a purge has overtaken give way to a new one; their owners hear of it by
 * themselves. Each is asked about once: a purge may come at any moment, and whoever was not joined for one
 * must have left the table. */
static struct flight *fence_and_find(struct cache *c, struct entry *e, const struct config *cfg,
                                     const struct http_head *head, bool only_stored, struct buf *scratch)
{
    struct flight *found = NULL;
    if (e == NULL)
        return NULL;
    list_each_safe (n, &e->flights) {
        struct flight *f = flight_of_table_link(n);
        if (flight_is_purged(f)) {
            unlink_flight(c, f);
            flight_fence(f);
        } else if (found == NULL && flight_fits(f, cfg, head, only_stored, scratch)) {
            found = f;
        }
    }
    return found;
}

/* Under the lock: a flight for the question, in the table but without a waiter. */
static struct flight *make_flight(struct cache *c, struct shard *s, const struct cache_question *q,
                                  enum origin_kind kind, struct object *stored, int *err,
                                  enum limit_name *limit)
{
    struct loop *l = q->env->loop;
    struct buf *scratch = loop_scratch(l);
    struct flight_request what = q->what;
    *err = ERR_BUSY;
    if (!cache_may_start(c, l->config, limit)) {
        metric_add(&l->metrics->limits[*limit], 1);
        return NULL;
    }
    *err = ERR_NOMEM;
    struct entry *e = shard_find_or_add(s, what.key_hash, what.key);
    if (e == NULL)
        return NULL;
    what.kind = kind;
    what.mode = FORWARD_SHARED;
    what.content = BODY_NONE;
    what.may_store = true;
    what.only_stored = q->only_stored;
    what.epoch = *epoch_of(c, what.key_hash);
    what.stored = stored;
    if (e->names_known) {
        scratch->len = 0;
        policy_vary_key(l->config, e->names, what.head, scratch);
        what.names = e->names;
        what.variant = buf_span(scratch);
        what.variant_known = !scratch->failed;
    }
    struct flight *f = flight_new(q->env, &what, true);
    if (f == NULL) {
        shard_tidy(s, e, loop_now_ms(l));
        return NULL;
    }
    list_add_tail(&e->flights, flight_table_link(f));
    flight_set_slot(f, e);
    atomic_fetch_add(&c->flights, 1);
    *err = 0;
    return f;
}

/* Under the lock: a new flight, the question's waiter its leader. */
static struct flight *start_flight(struct cache *c, struct shard *s, const struct cache_question *q,
                                   struct object *stored, int *err, enum limit_name *limit)
{
    enum origin_kind kind = q->waiter->is_background ? KIND_REFRESH : KIND_MISS;
    struct flight *f = make_flight(c, s, q, kind, stored, err, limit);
    if (f == NULL)
        return NULL;
    q->waiter->is_leader = true;
    *err = flight_join(f, q->env->loop, q->waiter);
    if (*err != 0) {
        *limit = q->waiter->limit;
        struct entry *e = flight_slot(f);
        unlink_flight(c, f);
        flight_discard(&f);
        shard_tidy(s, e, loop_now_ms(q->env->loop));
    }
    return f;
}

/* Under the lock: a flight that nobody waits for, unless one is under way. It is always a GET, whoever came.
 */
static struct flight *start_refresh(struct cache *c, struct shard *s, const struct cache_question *q,
                                    struct entry *e, struct object *stored)
{
    struct http_head get = cache_head_as_get(q->what.head);
    struct cache_question as_get = *q;
    enum limit_name limit;
    int err;
    as_get.what.method = METHOD_GET;
    as_get.what.head = &get;
    as_get.only_stored = false;
    struct loop *l = q->env->loop;
    if (fence_and_find(c, e, l->config, &get, false, loop_scratch(l)) != NULL)
        return NULL;
    return make_flight(c, s, &as_get, KIND_REFRESH, stored, &err, &limit);
}

static double roll_the_dice(const struct cache_question *q)
{
    if (q->what.route->early_refresh == 0)
        return 1;
    uint64_t seed[2] = {q->what.key_hash, clock_mono_us()};
    return (double)((XXH3_64bits(seed, sizeof seed) >> 11) + 1) / 0x1p53; /* in (0, 1] */
}

/* What was chosen, as the caller hears it. */
static void put_reply(const struct cache_question *q, const struct choice *c, struct object *stored,
                      struct cache_reply *out)
{
    static const enum cache_answer answers[] = {
        [CHOICE_HIT] = CACHE_HIT,     [CHOICE_STALE] = CACHE_STALE, [CHOICE_FETCH] = CACHE_WAIT,
        [CHOICE_ALONE] = CACHE_ALONE, [CHOICE_FAIL] = CACHE_FAILED,
    };
    bool validates = c->kind == CHOICE_ALONE && c->uses_stored && q->what.method == METHOD_GET &&
                     (object_head(stored)->facts.flags & FACT_HAS_VALIDATOR);
    bool serves = c->kind == CHOICE_HIT || c->kind == CHOICE_STALE;
    *out = (struct cache_reply){.answer = answers[c->kind],
                                .object = serves || validates ? object_ref(stored) : NULL,
                                .reason = c->reason,
                                .passed = c->passed,
                                .err = c->err,
                                .limit = c->limit,
                                .retry_after_s = c->retry_after_s};
}

/* Under the lock: join the flight that fits, or start one and give it to be launched. */
static struct flight *join_or_start(struct cache *c, struct shard *s, const struct cache_question *q,
                                    const struct choice_question *asked, struct entry *e,
                                    struct object *stored, const struct response_facts *facts,
                                    struct choice *choice)
{
    struct loop *l = q->env->loop;
    struct object *renewed = choice->uses_stored ? stored : NULL;
    enum limit_name limit = 0;
    int err = 0;
    struct flight *f = fence_and_find(c, e, l->config, q->what.head, q->only_stored, loop_scratch(l));
    if (f != NULL) {
        q->waiter->is_leader = false;
        err = flight_join(f, l, q->waiter);
        limit = q->waiter->limit;
        f = NULL;
    } else {
        f = start_flight(c, s, q, renewed, &err, &limit);
    }
    if (err != 0)
        choice_deny(asked, facts, err, limit, choice);
    return f;
}

/* What is gone for good leaves the index at the first look, and is given to be let go without the lock: a
 * list, each with the index's reference. */
static struct variant *take_purged(struct cache *c, struct entry *e, int64_t now_ms)
{
    struct variant *taken = NULL;
    if (e == NULL || c->purges == NULL)
        return NULL;
    for (struct variant **at = &e->variants; *at != NULL;) {
        struct variant *v = *at;
        if (purge_object_check(c->purges, v->object, now_ms, NULL) != PURGE_HARD) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        v->next = taken;
        taken = v;
        e->n_variants--;
    }
    return taken;
}

/* Without the lock. The store gets to hear of it as of anything else that is not wanted. */
static void let_go(struct cache *c, struct variant *dropped)
{
    while (dropped != NULL) {
        struct variant *v = dropped;
        dropped = v->next;
        object_set_flags(v->object, OBJECT_UNWANTED, 0); /* also for the store, where it may be on its way */
        ram_remove(c->ram, v->object);
        object_unref(&v->object);
        free(v);
    }
}

/* That the key could not be shared, or that its fetch failed, is forgotten with what it was about. */
static void forget_purged_mark(struct cache *c, struct shard *s, struct entry *e, int64_t now_ms)
{
    if (e == NULL || e->mark == MARK_NONE)
        return;
    struct purge_subject subject = {.key = e->key, .number = e->mark_number};
    uint64_t number = purge_log_number(c->purges);
    if (purge_log_check(c->purges, &subject, now_ms, NULL, NULL) != PURGE_NONE)
        shard_unmark(s, e);
    else
        e->mark_number = number;
}

/* Counts the request for its key, once however often it asks, where its route wants to know. Gives how many
 * there are now. */
static uint32_t note_request(struct cache *c, const struct cache_question *q)
{
    bool forgot;
    if (!cache_counts(c, q->what.route))
        return 0;
    if (q->looked || q->only_new)
        return admission_asked(c->admission, q->what.key_hash);
    uint32_t before = admission_note(c->admission, q->what.key_hash, &forgot);
    if (forgot)
        metric_limit(q->env->loop->metrics, ADMIT_KEYS);
    return before + 1;
}

/* Under the lock, so that nothing takes its place before it is in the store's queue: a hit on what is in
 * memory alone, since its key was not asked for often enough, or the store was busy or in trouble. */
static void keep_on_disk(struct cache *c, const struct cache_question *q, struct object *o, uint32_t asked)
{
    bool is_admitted = !cache_counts(c, q->what.route) || asked >= q->what.route->admit_after;
    if (is_admitted && flight_may_be_on_disk(q->env->loop->config, object_length(o)))
        disk_keep(c->disk, o);
}

/* Everything that is decided under the lock, and done at once. Gives a flight to launch, or NULL. */
static struct flight *decide(struct cache *c, struct shard *s, const struct cache_question *q,
                             struct cache_reply *out, struct variant **purged)
{
    struct loop *l = q->env->loop;
    struct choice_question asked = {
        .config = l->config,
        .route = q->what.route,
        .head = q->what.head,
        .may_join = q->may_join,
        .only_new = q->only_new,
        .only_stored = q->only_stored,
        .only_fresh = q->only_fresh,
        .may_look = c->disk != NULL && !q->looked,
        .wants_range = q->waiter->wants_range,
        .why_alone = q->why_alone,
        .mono_ms = loop_now_ms(l),
        .now_ms = clock_wall_ms(),
        .chance = roll_the_dice(q),
    };
    struct choice choice;
    struct flight *launch = NULL;
    uint32_t epoch = *epoch_of(c, q->what.key_hash);
    struct entry *e = shard_find(s, q->what.key_hash, q->what.key);
    struct response_facts facts;
    uint32_t n_asked = note_request(c, q);
    asked.unadmitted = n_asked > 1 && n_asked <= q->what.route->admit_after;
    *purged = take_purged(c, e, asked.now_ms);
    forget_purged_mark(c, s, e, asked.now_ms);
    struct object *stored =
        e != NULL ? entry_find_variant(e, l->config, q->what.head, asked.now_ms, loop_scratch(l)) : NULL;
    const struct response_facts *known = stored != NULL ? &facts : NULL;
    if (stored != NULL) /* one that is purged in this moment is found out where the head is written */
        (void)purge_object_check(c->purges, stored, asked.now_ms, &facts);
    choice_make(&asked, e, known, &choice);
    if (choice.kind == CHOICE_FETCH)
        launch = join_or_start(c, s, q, &asked, e, stored, known, &choice);
    if (choice.kind == CHOICE_HIT && c->disk != NULL)
        keep_on_disk(c, q, stored, n_asked);
    put_reply(q, &choice, stored, out);
    out->epoch = epoch;
    if (choice.refreshes)
        launch = start_refresh(c, s, q, e, stored);
    if (*purged != NULL)
        shard_tidy(s, e, asked.mono_ms);
    return launch;
}

void cache_ask(struct cache *c, const struct cache_question *q, struct cache_reply *out)
{
    struct shard *s = shard_of(c, q->what.key_hash);
    pthread_mutex_lock(&s->lock);
    struct variant *purged;
    struct flight *launch = decide(c, s, q, out, &purged);
    pthread_mutex_unlock(&s->lock);
    let_go(c, purged);

    if (launch != NULL)
        flight_launch(launch);
    if (out->answer == CACHE_HIT) {
        ram_touch(out->object);
        if (c->disk != NULL)
            disk_note_hit(c->disk, out->object);
    }
}

/* ---- what flights report ---- */

static bool put_object(struct cache *c, struct shard *s, struct object *o, uint32_t max_variants,
                       struct object *fallen[2])
{
    const struct stored_head *h = object_head(o);
    struct entry *e = shard_find_or_add(s, h->key_hash, h->key);
    if (e == NULL)
        return false;
    entry_set_names(e, h->names);
    if (!entry_put_variant(e, o, max_variants, fallen))
        return false;
    if (fallen[1] != NULL)
        metric_limit(loop_current()->metrics, MAX_VARIANTS);
    if (h->facts.lifetime_ms > 0)
        shard_unmark(s, e);
    return true;
}

static enum flight_found on_found(void *ctx, struct flight *f, struct object *o)
{
    struct cache *c = ctx;
    const struct flight_request *what = flight_what(f);
    const struct config *cfg = loop_current()->config;
    int64_t now_ms = clock_wall_ms();
    struct response_facts facts;
    if (purge_object_check(c->purges, o, now_ms, &facts) == PURGE_HARD)
        return FOUND_PURGED;
    enum request_wish wish = policy_wish(cfg, what->head, &facts, now_ms);
    bool usable = policy_may_answer(what->head, &facts) && wish != WISH_VALIDATED;
    enum flight_found found = FOUND_VALIDATE;
    struct shard *s = shard_of(c, what->key_hash);
    struct object *fallen[2] = {NULL, NULL};
    pthread_mutex_lock(&s->lock);
    bool fenced =
        flight_slot(f) == NULL; /* invalidated while the disk was read: this is what was invalidated */
    bool put = !fenced && put_object(c, s, o, (uint32_t)cfg->cache.max_variants, fallen);
    if (usable && !fenced && facts_reusable(&facts, now_ms))
        found = FOUND_ANSWER;
    else if (usable && put && choice_welcomes_stale(what->route, &facts, wish, now_ms))
        found = FOUND_AGAIN; /* to be served stale at once, and refreshed */
    if (found != FOUND_VALIDATE)
        unlink_flight(c, f);
    pthread_mutex_unlock(&s->lock);
    drop_fallen(c, fallen);
    if (put)
        keep_in_ram(c, o);
    return found;
}

static void on_learned(void *ctx, struct flight *f, struct span names)
{
    struct cache *c = ctx;
    struct shard *s = shard_of(c, flight_what(f)->key_hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = flight_slot(f);
    if (e != NULL && flight_learn_variant(f, names))
        entry_set_names(e, names);
    pthread_mutex_unlock(&s->lock);
}

static void trim_marks(struct shard *s)
{
    struct loop *l = loop_current();
    uint32_t max = (uint32_t)MAX(1u, l->config->cache.max_uncacheable / SHARDS);
    if (shard_trim_marks(s, loop_now_ms(l), max))
        metric_limit(l->metrics, MAX_UNCACHEABLE);
}

/* What is remembered of the key is as old as the fetch that it is of. */
static void number_mark(struct cache *c, struct entry *e, const struct flight *f)
{
    e->mark_number = MIN(purge_log_number(c->purges), flight_purge_number(f));
}

/* What is too large to be kept is still shared by those who want all of it; only ranges go alone. */
static void mark_uncacheable(struct cache *c, struct shard *s, struct entry *e, const struct flight *f,
                             const struct verdict *v)
{
    enum mark_kind kind = v->reason == UNCACHEABLE_TOO_LARGE ? MARK_TOO_LARGE : MARK_UNCACHEABLE;
    struct loop *l = loop_current();
    uint64_t now_ms = loop_now_ms(l);
    uint64_t ttl_ms = l->config->flight.uncacheable_ttl_ms;
    if (v->remember_briefly)
        ttl_ms = MIN(ttl_ms, (uint64_t)BRIEF_MARK_MS);
    number_mark(c, e, f);
    shard_mark(s, e, kind, 0, now_ms, ttl_ms);
    trim_marks(s);
}

/* RFC 9110 section 10.2.3: the origin said how long it wants to be left alone, to everyone who hears of it.
 */
static void mark_unavailable(struct cache *c, struct shard *s, struct entry *e, const struct flight *f)
{
    struct loop *l = loop_current();
    number_mark(c, e, f);
    shard_mark(s, e, MARK_ERROR, ERR_UNAVAILABLE, loop_now_ms(l), flight_retry_after_s(f) * UINT64_C(1000));
    trim_marks(s);
}

/* The origin has something else there now, or nothing, and that is not stored: what is stored has had its
 * day. */
static bool is_superseded(const struct flight *f, const struct verdict *v, const struct object *object)
{
    const struct flight_request *what = flight_what(f);
    int status = v->facts.status;
    return what->stored != NULL && what->method == METHOD_GET && object == NULL && !flight_was_validated(f) &&
           (status < 400 || status == 404 || status == 410);
}

/* What is stored may not answer any more, neither from memory nor from disk. */
static void drop_stored(struct entry *e, const struct flight_request *what, struct object *fallen[2])
{
    object_set_flags(what->stored, OBJECT_UNWANTED, 0);
    if (e != NULL)
        entry_take_variant(e, what->stored, &fallen[0]);
}

/* ---- invalidation ---- */

/* Gives the epoch that begins with it. */
static uint32_t invalidate(struct cache *c, struct span key, uint64_t hash, uint64_t mono_ms)
{
    struct shard *s = shard_of(c, hash);
    struct variant *dropped = NULL;
    pthread_mutex_lock(&s->lock);
    uint32_t epoch = ++*epoch_of(c, hash);
    struct entry *e = shard_find(s, hash, key);
    if (e != NULL) {
        dropped = e->variants;
        e->variants = NULL;
        e->n_variants = 0;
        list_each_safe (
            n, &e->flights) { /* what they bring may be older than the change: nobody new joins them */
            struct flight *f = flight_of_table_link(n);
            unlink_flight(c, f);
            flight_fence(f);
        }
        shard_tidy(s, e, mono_ms);
    }
    pthread_mutex_unlock(&s->lock);
    let_go(c, dropped);
    if (c->disk != NULL)
        disk_delete(c->disk, key, hash);
    return epoch;
}

/* ---- what flights report of their heads ---- */

static void on_settled(void *ctx, struct flight *f, const struct verdict *v, struct object *object,
                       bool joinable)
{
    struct cache *c = ctx;
    struct loop *l = loop_current();
    const struct flight_request *what = flight_what(f);
    struct shard *s = shard_of(c, what->key_hash);
    struct object *fallen[2] = {NULL, NULL};
    bool superseded = is_superseded(f, v, object);
    if (v->reason != UNCACHEABLE_NONE && what->mode != FORWARD_PASS)
        metric_add(&l->metrics->uncacheable[v->reason], 1);
    if (what->mode == FORWARD_PASS) {
        if (object != NULL) /* stored as what a GET would bring: it is the first of a new epoch */
            flight_set_epoch(f, invalidate(c, what->key, what->key_hash, loop_now_ms(l)));
        return;
    }
    pthread_mutex_lock(&s->lock);
    struct entry *e = flight_slot(f);
    if (joinable && e != NULL) { /* e is NULL when it has been fenced */
        flight_adopt_variant(f);
        entry_set_names(e, what->names);
        shard_unmark(s, e); /* again below, when it is too large */
    } else {
        unlink_flight(c, f);
    }
    bool remember = v->use == USE_ALONE || v->reason == UNCACHEABLE_TOO_LARGE;
    if (e != NULL && e->mark == MARK_ERROR) /* any final head clears it */
        shard_unmark(s, e);
    if (superseded)
        drop_stored(shard_find(s, what->key_hash, what->key), what, fallen);
    if (e != NULL && remember && l->config->flight.uncacheable_ttl_ms > 0)
        mark_uncacheable(c, s, e, f, v);
    else if (e != NULL && v->use == USE_SHARE_ONCE && v->facts.status == 503 && flight_retry_after_s(f) > 0)
        mark_unavailable(c, s, e, f);
    else if (e != NULL && !joinable)
        shard_tidy(s, e, loop_now_ms(l));
    pthread_mutex_unlock(&s->lock);
    drop_fallen(c, fallen);
    if (superseded && c->disk != NULL)
        disk_delete(c->disk, what->key, what->key_hash);
}

static void on_detach(void *ctx, struct flight *f)
{
    struct cache *c = ctx;
    struct shard *s = shard_of(c, flight_what(f)->key_hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = flight_slot(f);
    unlink_flight(c, f);
    if (e != NULL)
        shard_tidy(s, e, clock_mono_ms());
    pthread_mutex_unlock(&s->lock);
}

/* No answer at all, by the origin's fault: remembered, so that the next stampede is not the next attempt. A
 * broken one is like an error of the origin's own, for those who waited. That all servers are down is
 * remembered with them already. */
static bool is_no_answer(const struct flight *f, int err)
{
    bool had_head = flight_object(f) != NULL && !flight_is_stale(f);
    return !had_head && flight_what(f)->mode == FORWARD_SHARED && err_is_silence(err) && err != ERR_DOWN;
}

static void mark_error(struct cache *c, struct shard *s, struct entry *e, const struct flight *f, int err)
{
    const struct config *cfg = loop_current()->config;
    uint64_t ttl_ms = e->mark == MARK_ERROR ? e->mark_ttl_ms * 2 : cfg->flight.error_ttl_ms;
    number_mark(c, e, f);
    shard_mark(s, e, MARK_ERROR, err, loop_now_ms(loop_current()), MIN(ttl_ms, cfg->flight.error_ttl_max_ms));
    trim_marks(s);
}

/* A 304 or a HEAD has renewed what is stored, and it may vary on something else now: the old head goes. */
static void drop_renewed(struct shard *s, const struct flight *f, struct object **was)
{
    const struct flight_request *what = flight_what(f);
    struct entry *e = shard_find(s, what->key_hash, what->key);
    if (what->stored != NULL && (flight_was_validated(f) || what->method == METHOD_HEAD))
        entry_take_variant(e, what->stored, was);
}

static bool on_ended(void *ctx, struct flight *f, struct object *object, int err)
{
    struct cache *c = ctx;
    struct loop *l = loop_current();
    const struct flight_request *what = flight_what(f);
    struct object *fallen[2] = {NULL, NULL}, *was[2] = {NULL, NULL};
    struct shard *s = shard_of(c, what->key_hash);
    bool put = false;
    bool dropped = object == NULL && err == 0 && flight_was_validated(f); /* a 304 forbids to keep it */
    if (what->mode == FORWARD_PASS && object == NULL)
        return false;
    pthread_mutex_lock(&s->lock);
    struct entry *e = shard_find(s, what->key_hash, what->key);
    bool current =
        what->epoch == *epoch_of(c, what->key_hash) &&
        (object == NULL || purge_object_check(c->purges, object, clock_wall_ms(), NULL) == PURGE_NONE);
    unlink_flight(c, f);
    if (object != NULL && current) /* in the index before the flight has left it: nobody finds neither */
        put = put_object(c, s, object, (uint32_t)l->config->cache.max_variants, fallen);
    else if (dropped)
        drop_stored(e, what, fallen);
    else if (e != NULL && err == ERR_SERVER_ERROR && flight_retry_after_s(f) > 0)
        mark_unavailable(c, s, e, f);
    else if (e != NULL && (err == ERR_SERVER_ERROR || is_no_answer(f, err)))
        mark_error(c, s, e, f, err);
    if (put)
        drop_renewed(s, f, &was[0]);
    e = shard_find(s, what->key_hash, what->key); /* marking may have tidied it away */
    if (e != NULL)
        shard_tidy(s, e, loop_now_ms(l));
    pthread_mutex_unlock(&s->lock);
    drop_fallen(c, fallen);
    drop_fallen(c, was);
    if (put)
        keep_in_ram(c, object);
    if (dropped && c->disk != NULL)
        disk_delete(c->disk, what->key, what->key_hash);
    return put;
}

struct flight_table cache_flight_table(struct cache *c)
{
    return (struct flight_table){.found = on_found,
                                 .learned = on_learned,
                                 .settled = on_settled,
                                 .detach = on_detach,
                                 .ended = on_ended,
                                 .ctx = c};
}

/* ---- the disk ---- */

static struct entry *entry_with_disk_id(struct shard *s, uint64_t hash, uint64_t disk_id, struct object **out)
{
    for (struct entry *e = s->buckets[(hash >> 8) & (s->n_buckets - 1)]; e != NULL; e = e->next) {
        if (e->hash != hash)
            continue;
        for (struct variant *v = e->variants; v != NULL; v = v->next) {
            if (object_disk_id(v->object) == disk_id) {
                *out = v->object;
                return e;
            }
        }
        if (!list_empty(&e->flights))
            return e;
    }
    *out = NULL;
    return NULL;
}

bool cache_may_evict(void *cache, uint64_t key_hash, uint64_t disk_id)
{
    struct cache *c = cache;
    struct shard *s = shard_of(c, key_hash);
    struct object *o = NULL, *taken = NULL;
    pthread_mutex_lock(&s->lock);
    struct entry *e = entry_with_disk_id(s, key_hash, disk_id, &o);
    bool may = e == NULL || list_empty(&e->flights);
    if (may && o != NULL) {
        if (object_is_pinned(o) || (object_flags(o) & OBJECT_STORING)) {
            may = false;
        } else if (object_is_resident(o)) {
            object_set_flags(o, 0, OBJECT_ON_DISK);
        } else if (entry_take_variant(e, o, &taken)) {
            shard_tidy(s, e, clock_mono_ms());
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (taken != NULL)
        ram_remove(c->ram, taken);
    object_unref(&taken);
    return may;
}

void cache_invalidate(struct cache *c, struct flight_env *env, struct span key)
{
    invalidate(c, key, cache_hash(c, key), loop_now_ms(env->loop));
}

/* ---- life ---- */

struct cache *cache_new(uint64_t ram_bytes, uint64_t seed)
{
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->seed = seed;
    c->ram = ram_new(ram_bytes);
    bool ok = c->ram != NULL;
    for (int i = 0; i < SHARDS; i++)
        ok &= shard_init(&c->shards[i]);
    if (!ok)
        cache_free(&c);
    return c;
}

void cache_free(struct cache **slot)
{
    struct cache *c = *slot;
    *slot = NULL;
    if (c == NULL)
        return;
    ram_free(&c->ram);
    for (int i = 0; i < SHARDS; i++)
        shard_fini(&c->shards[i]);
    free(c);
}

void cache_set_disk(struct cache *c, struct disk *d, struct admission *admission, uint64_t seed)
{
    c->disk = d;
    c->admission = admission;
    c->seed = seed;
}

void cache_set_purges(struct cache *c, struct purge_log *log)
{
    c->purges = log;
}

struct ram *cache_ram(struct cache *c)
{
    return c->ram;
}

void cache_get_stats(struct cache *c, struct cache_stats *out)
{
    *out = (struct cache_stats){.flights = atomic_load(&c->flights)};
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        out->entries += s->n_entries;
        out->marks += s->n_marks;
        pthread_mutex_unlock(&s->lock);
    }
}
