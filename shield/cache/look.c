#include "shield/cache/look.h"

#include "common/clock.h"
#include "common/err.h"
#include "shield/cache/cache_impl.h"
#include "shield/purge/purge_object.h"

static void note_mark(const struct entry *e, uint64_t mono_ms, struct cache_seen *out)
{
    if (!entry_is_marked(e, e->mark, mono_ms))
        return;
    out->mark = e->mark;
    out->mark_err = e->mark_err;
    out->mark_left_ms = e->mark_until_ms - mono_ms;
}

static void note_entry(const struct entry *e, uint64_t mono_ms, struct cache_seen *out)
{
    note_mark(e, mono_ms, out);
    out->names_known = e->names_known;
    buf_put_span(&out->names, e->names);
    for (const struct variant *v = e->variants; v != NULL; v = v->next) {
        if (out->n_variants < LOOK_VARIANTS)
            out->variants[out->n_variants++] = object_ref(v->object);
        else
            out->left_out++;
    }
}

static bool has_validator(const struct response_facts *stored)
{
    return stored->flags & FACT_HAS_VALIDATOR;
}

/* What becomes of a fetch: cache.c does the same, and counts. */
static void note_fetch(struct cache *c, const struct choice_question *q, const struct entry *e,
                       const struct response_facts *stored, struct buf *scratch, struct cache_seen *out)
{
    enum limit_name limit;
    struct flight *f = cache_find_flight(e, q->config, q->head, q->only_stored, scratch);
    out->joins = f != NULL;
    bool may = f != NULL ? flight_may_join(f, q->config, &limit) : cache_may_start(c, q->config, &limit);
    if (!may)
        choice_deny(q, stored, ERR_BUSY, limit, &out->choice);
    out->validates = out->choice.kind == CHOICE_FETCH && out->choice.uses_stored && !out->joins &&
                     q->head->method == METHOD_GET && has_validator(stored);
}

/* Fills *facts as purge_object_check does. */
static bool is_gone(struct cache *c, const struct stored_head *h, int64_t now_ms,
                    struct response_facts *facts)
{
    struct purge_subject s = {.key = h->key, .tags = h->tags, .number = h->purge_number};
    int64_t since_ms = 0;
    enum purge_verdict v = purge_log_check(c->purges, &s, now_ms, NULL, &since_ms);
    *facts = h->facts;
    if (v == PURGE_SOFT)
        facts_expire(facts, since_ms);
    return v == PURGE_HARD;
}

static void choose(struct cache *c, const struct cache_look *look, struct choice_question *q,
                   const struct entry *e, struct buf *scratch, struct cache_seen *out)
{
    struct response_facts facts;
    const struct response_facts *stored = NULL;
    if (out->selected != NULL &&
        purge_object_check(c->purges, out->selected, q->now_ms, &facts) != PURGE_HARD)
        stored = &facts;
    choice_make(q, e, stored, &out->choice);
    out->asks_disk = c->disk != NULL && out->choice.kind == CHOICE_FETCH && !out->choice.uses_stored &&
                     cache_find_flight(e, q->config, q->head, q->only_stored, scratch) == NULL;
    if (out->asks_disk &&
        (look->found != NULL || q->only_stored)) { /* it would look again, with that in memory */
        stored = look->found != NULL && !is_gone(c, look->found, q->now_ms, &facts) ? &facts : NULL;
        q->may_look = false;
        choice_make(q, e, stored, &out->choice);
    }
    if (out->choice.kind == CHOICE_FETCH)
        note_fetch(c, q, e, stored, scratch, out);
    struct http_head get = cache_head_as_get(q->head);
    out->is_refreshed =
        out->choice.refreshes && cache_find_flight(e, q->config, &get, false, scratch) != NULL;
}

void cache_look(struct cache *c, const struct cache_look *look, struct buf *scratch, struct cache_seen *out)
{
    struct shard *s = shard_of(c, look->key_hash);
    struct choice_question q = {
        .config = look->config,
        .route = look->route,
        .head = look->head,
        .may_join = look->may_join,
        .only_stored = look->only_stored,
        .may_look = c->disk != NULL,
        .why_alone = look->why_alone,
        .wants_range = http_has(look->head, FIELD_RANGE),
        .mono_ms = clock_mono_ms(),
        .now_ms = clock_wall_ms(),
        .chance = 1,
    };
    *out = (struct cache_seen){.now_ms = q.now_ms, .counts_requests = cache_counts(c, look->route)};
    if (out->counts_requests)
        out->asked = admission_asked(c->admission, look->key_hash);
    q.unadmitted = out->asked > 0 && out->asked < look->route->admit_after;
    pthread_mutex_lock(&s->lock);
    struct entry *e = shard_find(s, look->key_hash, look->key);
    if (e != NULL) {
        note_entry(e, q.mono_ms, out);
        struct object *selected = entry_find_variant(e, look->config, look->head, q.now_ms, scratch);
        out->selected = selected != NULL ? object_ref(selected) : NULL;
    }
    choose(c, look, &q, e, scratch, out);
    pthread_mutex_unlock(&s->lock);
}

void cache_seen_fini(struct cache_seen *s)
{
    buf_fini(&s->names);
    object_unref(&s->selected);
    for (uint32_t i = 0; i < s->n_variants; i++)
        object_unref(&s->variants[i]);
}
