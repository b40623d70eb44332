#include "shield/cache/entry.h"

#include <stdlib.h>

#include "common/check.h"
#include "shield/policy/vary.h"

enum { BUCKETS_FIRST = 64 };

/* ---- shard: a chained hash table that doubles ---- */

bool shard_init(struct shard *s)
{
    pthread_mutex_init(&s->lock, NULL);
    for (int k = 0; k < MARK_KINDS; k++)
        list_init(&s->marks[k]);
    s->n_entries = s->n_marks = 0;
    s->n_buckets = BUCKETS_FIRST;
    s->buckets = calloc(s->n_buckets, sizeof(*s->buckets));
    return s->buckets != NULL;
}

static void free_entry(struct entry *e)
{
    while (e->variants != NULL) {
        struct variant *v = e->variants;
        e->variants = v->next;
        object_unref(&v->object);
        free(v);
    }
    free((char *)e->names.p);
    free(e);
}

void shard_fini(struct shard *s)
{
    for (uint32_t i = 0; s->buckets != NULL && i < s->n_buckets; i++) {
        while (s->buckets[i] != NULL) {
            struct entry *e = s->buckets[i];
            s->buckets[i] = e->next;
            free_entry(e);
        }
    }
    free(s->buckets);
    pthread_mutex_destroy(&s->lock);
}

static struct entry **bucket_of(struct shard *s, uint64_t hash)
{
    return &s->buckets[(hash >> 8) & (s->n_buckets - 1)]; /* the low bits chose the shard */
}

struct entry *shard_find(struct shard *s, uint64_t hash, struct span key)
{
    for (struct entry *e = *bucket_of(s, hash); e != NULL; e = e->next)
        if (e->hash == hash && span_eq(e->key, key))
            return e;
    return NULL;
}

static void grow(struct shard *s)
{
    uint32_t n = s->n_buckets * 2;
    struct entry **buckets = calloc(n, sizeof(*buckets));
    if (buckets == NULL)
        return; /* longer chains are no error */
    struct entry **old = s->buckets;
    uint32_t n_old = s->n_buckets;
    s->buckets = buckets;
    s->n_buckets = n;
    for (uint32_t i = 0; i < n_old; i++) {
        while (old[i] != NULL) {
            struct entry *e = old[i];
            old[i] = e->next;
            struct entry **b = bucket_of(s, e->hash);
            e->next = *b;
            *b = e;
        }
    }
    free(old);
}

struct entry *shard_find_or_add(struct shard *s, uint64_t hash, struct span key)
{
    struct entry *e = shard_find(s, hash, key);
    if (e != NULL)
        return e;
    e = calloc(1, sizeof *e + key.len);
    if (e == NULL)
        return NULL;
    memcpy(e + 1, key.p, key.len);
    e->key = (struct span){(char *)(e + 1), key.len};
    e->hash = hash;
    list_init(&e->flights);
    list_init(&e->mark_link);
    if (s->n_entries >= s->n_buckets)
        grow(s);
    struct entry **b = bucket_of(s, hash);
    e->next = *b;
    *b = e;
    s->n_entries++;
    return e;
}

/* A failed key is remembered for as long again: a failure that follows doubles the time. */
static bool is_forgotten(const struct entry *e, uint64_t now_ms)
{
    uint64_t longer_ms = e->mark == MARK_ERROR ? e->mark_ttl_ms : 0;
    return e->mark == MARK_NONE || now_ms >= e->mark_until_ms + longer_ms;
}

void shard_tidy(struct shard *s, struct entry *e, uint64_t now_ms)
{
    if (e->variants != NULL || !list_empty(&e->flights))
        return;
    if (!is_forgotten(e, now_ms))
        return;
    shard_unmark(s, e);
    struct entry **at = bucket_of(s, e->hash);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    s->n_entries--;
    free_entry(e);
}

/* ---- variants ---- */

bool entry_set_names(struct entry *e, struct span names)
{
    if (e->names_known && span_eq(e->names, names))
        return true;
    char *p = malloc(names.len + 1);
    if (p == NULL)
        return false;
    if (names.len > 0)
        memcpy(p, names.p, names.len);
    free((char *)e->names.p);
    e->names = (struct span){p, names.len};
    e->names_known = true;
    return true;
}

struct object *entry_find_variant(const struct entry *e, const struct config *cfg,
                                  const struct http_head *request, int64_t now_ms, struct buf *scratch)
{
    struct span names = {0}; /* whose key `scratch` holds */
    struct object *unvaried = NULL;
    bool have_key = false;
    for (const struct variant *v = e->variants; v != NULL; v = v->next) {
        const struct stored_head *h = object_head(v->object);
        if (object_flags(v->object) & OBJECT_UNWANTED) /* the store gave it up after chunks had left memory */
            continue;
        if (h->names.len == 0) {
            unvaried = v->object; /* there is only one */
            continue;
        }
        if (!have_key || !span_eq(names, h->names)) {
            scratch->len = 0;
            policy_vary_key(cfg, h->names, request, scratch);
            names = h->names;
            have_key = !scratch->failed;
        }
        if (!have_key || !span_eq(buf_span(scratch), h->variant))
            continue;
        /* one that forgot its Vary gives way, but not to what is stale: an origin may have stopped to vary */
        if (unvaried == NULL || facts_reusable(&h->facts, now_ms))
            return v->object;
    }
    return unvaried;
}

static bool same_variant(const struct object *a, const struct object *b)
{
    const struct stored_head *x = object_head(a), *y = object_head(b);
    return span_eq(x->names, y->names) && span_eq(x->variant, y->variant);
}

bool entry_put_variant(struct entry *e, struct object *o, uint32_t max_variants, struct object *fallen[2])
{
    struct variant *fresh = malloc(sizeof *fresh);
    if (fresh == NULL)
        return false;
    fallen[0] = fallen[1] = NULL;
    for (struct variant **at = &e->variants; *at != NULL; at = &(*at)->next) {
        struct variant *v = *at;
        if (same_variant(v->object, o)) {
            *at = v->next;
            fallen[0] = v->object;
            free(v);
            e->n_variants--;
            break;
        }
    }
    *fresh = (struct variant){.next = e->variants, .object = object_ref(o)};
    e->variants = fresh;
    if (++e->n_variants > max_variants) {
        struct variant **last = &e->variants;
        while ((*last)->next != NULL)
            last = &(*last)->next;
        fallen[1] = (*last)->object;
        free(*last);
        *last = NULL;
        e->n_variants--;
    }
    return true;
}

bool entry_take_variant(struct entry *e, const struct object *o, struct object **out)
{
    for (struct variant **at = &e->variants; *at != NULL; at = &(*at)->next) {
        struct variant *v = *at;
        if (v->object == o) {
            *at = v->next;
            *out = v->object;
            free(v);
            e->n_variants--;
            return true;
        }
    }
    return false;
}

/* ---- marks ---- */

void shard_unmark(struct shard *s, struct entry *e)
{
    if (list_linked(&e->mark_link)) {
        list_remove(&e->mark_link);
        s->n_marks--;
    }
    e->mark = MARK_NONE;
    e->mark_ttl_ms = 0;
}

void shard_mark(struct shard *s, struct entry *e, enum mark_kind kind, int err, uint64_t now_ms,
                uint64_t ttl_ms)
{
    shard_unmark(s, e);
    if (ttl_ms == 0)
        return;
    e->mark = kind;
    e->mark_err = err;
    e->mark_ttl_ms = ttl_ms;
    e->mark_until_ms = now_ms + ttl_ms;
    list_add_tail(&s->marks[kind], &e->mark_link);
    s->n_marks++;
}

bool entry_is_marked(const struct entry *e, enum mark_kind kind, uint64_t now_ms)
{
    return e->mark == kind && now_ms < e->mark_until_ms;
}

bool shard_trim_marks(struct shard *s, uint64_t now_ms, uint32_t max)
{
    bool reached = false;
    for (int k = 0; k < MARK_KINDS; k++) {
        while (!list_empty(&s->marks[k])) {
            struct entry *e = container_of(s->marks[k].next, struct entry, mark_link);
            bool expired = is_forgotten(e, now_ms);
            if (!expired && s->n_marks <= max)
                break;
            reached |= !expired;
            shard_unmark(s, e);
            shard_tidy(s, e, now_ms);
        }
    }
    return reached;
}
