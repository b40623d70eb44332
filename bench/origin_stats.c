#include "bench/origin_stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "bench/json.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"

struct origin_key {
    uint64_t hash;
    struct origin_counts counts;
    uint64_t marks_ns[MARK_COUNT];
    int64_t fresh_until_s;  /* of an object: the end of its epoch */
    uint64_t epoch_fetches; /* of an object: in this epoch */
    size_t path_len;
    char path[];
};

static struct origin_key **slot_of(struct origin_key **slots, uint32_t n_slots, uint64_t hash,
                                   struct span path)
{
    for (uint32_t i = (uint32_t)hash;; i++) {
        struct origin_key **slot = &slots[i & (n_slots - 1)];
        if (*slot == NULL ||
            ((*slot)->hash == hash && span_eq((struct span){(*slot)->path, (*slot)->path_len}, path)))
            return slot;
    }
}

static int grow(struct origin_table *t)
{
    uint32_t n = MAX(1024u, t->n_slots * 2);
    struct origin_key **slots = calloc(n, sizeof(struct origin_key *));
    if (slots == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < t->n_slots; i++) {
        struct origin_key *k = t->slots[i];
        if (k != NULL)
            *slot_of(slots, n, k->hash, (struct span){k->path, k->path_len}) = k;
    }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n;
    return 0;
}

static struct origin_key *find_or_add(struct origin_table *t, struct span path)
{
    if ((t->n + 1) * 2 > t->n_slots && grow(t) != 0)
        return NULL;
    uint64_t hash = XXH64(path.p, path.len, 0);
    struct origin_key **slot = slot_of(t->slots, t->n_slots, hash, path);
    if (*slot != NULL)
        return *slot;
    struct origin_key *k = calloc(1, sizeof *k + path.len);
    if (k == NULL)
        return NULL;
    k->hash = hash;
    k->path_len = path.len;
    memcpy(k->path, path.p, path.len);
    t->n++;
    return *slot = k;
}

static void begin_counts(struct origin_counts *c)
{
    c->fetches++;
    c->running++;
    c->running_max = MAX(c->running_max, c->running);
}

int origin_fetch_begin(struct origin_stats *s, struct span path, struct origin_fetch *out, uint64_t *nth)
{
    struct origin_key *k = find_or_add(&s->keys, path);
    if (k == NULL)
        return ERR_NOMEM;
    begin_counts(&k->counts);
    begin_counts(&s->total);
    *out = (struct origin_fetch){k, s->resets};
    *nth = k->counts.fetches;
    return 0;
}

static bool is_current(const struct origin_stats *s, const struct origin_fetch *f)
{
    return f->key != NULL && f->resets == s->resets;
}

static void count_status(struct origin_counts *c, int status)
{
    c->not_modified += status == 304;
    c->partial += status == 206;
    c->errors += status >= 400;
}

void origin_fetch_status(struct origin_stats *s, struct origin_fetch *f, int status)
{
    if (!is_current(s, f))
        return;
    count_status(&f->key->counts, status);
    count_status(&s->total, status);
}

void origin_fetch_bytes(struct origin_stats *s, struct origin_fetch *f, uint64_t n)
{
    if (!is_current(s, f))
        return;
    f->key->counts.body_bytes += n;
    s->total.body_bytes += n;
}

static void count_epoch(struct origin_counts *c, const struct origin_key *object)
{
    c->epochs += object->epoch_fetches == 1;
    c->epoch_fetches++;
    c->epoch_fetches_max = MAX(c->epoch_fetches_max, object->epoch_fetches);
}

int origin_fetch_epoch(struct origin_stats *s, struct origin_fetch *f, uint64_t seed, int64_t now_s,
                       int64_t fresh_until_s)
{
    if (fresh_until_s == 0 || !is_current(s, f))
        return 0;
    struct origin_key *object = find_or_add(&s->objects, (struct span){(const char *)&seed, sizeof seed});
    if (object == NULL)
        return ERR_NOMEM;
    if (now_s >= object->fresh_until_s) {
        object->fresh_until_s = fresh_until_s;
        object->epoch_fetches = 0;
    }
    object->epoch_fetches++;
    count_epoch(&f->key->counts, object);
    count_epoch(&s->total, object);
    return 0;
}

void origin_epochs_end(struct origin_stats *s)
{
    for (uint32_t i = 0; i < s->objects.n_slots; i++)
        if (s->objects.slots[i] != NULL)
            s->objects.slots[i]->fresh_until_s = 0;
}

void origin_fetch_mark(struct origin_stats *s, struct origin_fetch *f, enum origin_mark mark)
{
    if (!is_current(s, f))
        return;
    if (mark == MARK_ASKED)
        memset(f->key->marks_ns, 0, sizeof f->key->marks_ns);
    f->key->marks_ns[mark] = clock_ns(CLOCK_MONOTONIC);
}

static void end_counts(struct origin_counts *c, bool aborted)
{
    REQUIRE(c->running > 0);
    c->running--;
    c->aborted += aborted;
}

void origin_fetch_end(struct origin_stats *s, struct origin_fetch *f, bool aborted)
{
    if (is_current(s, f)) {
        end_counts(&f->key->counts, aborted);
        end_counts(&s->total, aborted);
    }
    f->key = NULL;
}

static void table_fini(struct origin_table *t)
{
    for (uint32_t i = 0; i < t->n_slots; i++)
        free(t->slots[i]);
    free(t->slots);
}

void origin_stats_reset(struct origin_stats *s)
{
    table_fini(&s->keys);
    table_fini(&s->objects);
    *s = (struct origin_stats){
        .resets = s->resets + 1, .connections = s->connections, .connections_max = s->connections};
}

void origin_stats_fini(struct origin_stats *s)
{
    origin_stats_reset(s);
}

static void put_counts(struct buf *out, const struct origin_counts *c)
{
    buf_printf(out,
               "\"fetches\":%" PRIu64 ",\"not_modified\":%" PRIu64 ",\"partial\":%" PRIu64
               ",\"errors\":%" PRIu64 ",\"aborted\":%" PRIu64 ",\"body_bytes\":%" PRIu64
               ",\"running\":%" PRIu64 ",\"running_max\":%" PRIu64 ",\"epochs\":%" PRIu64
               ",\"epoch_fetches\":%" PRIu64 ",\"epoch_fetches_max\":%" PRIu64,
               c->fetches, c->not_modified, c->partial, c->errors, c->aborted, c->body_bytes, c->running,
               c->running_max, c->epochs, c->epoch_fetches, c->epoch_fetches_max);
}

static void put_marks(struct buf *out, const uint64_t *marks_ns)
{
    static const char *const names[MARK_COUNT] = {"asked_ns", "first_ns", "half_ns", "last_ns"};
    buf_put_lit(out, ",\"latest\":{");
    for (int i = 0; i < MARK_COUNT; i++)
        buf_printf(out, "%s\"%s\":%" PRIu64, i > 0 ? "," : "", names[i], marks_ns[i]);
    buf_put_lit(out, "}");
}

void origin_stats_put(const struct origin_stats *s, bool totals_only, struct buf *out)
{
    buf_put_lit(out, "{\"schema\":\"shield-bench/origin/1\",\"total\":{");
    put_counts(out, &s->total);
    buf_printf(out,
               ",\"keys\":%u,\"connections\":%" PRIu64 ",\"connections_max\":%" PRIu64
               ",\"connections_total\":%" PRIu64 "}",
               s->keys.n, s->connections, s->connections_max, s->connections_total);
    if (!totals_only) {
        const char *comma = "";
        buf_put_lit(out, ",\"keys\":{");
        for (uint32_t i = 0; i < s->keys.n_slots; i++) {
            const struct origin_key *k = s->keys.slots[i];
            if (k == NULL)
                continue;
            buf_printf(out, "%s\n", comma);
            json_put_text(out, (struct span){k->path, k->path_len});
            buf_put_lit(out, ":{");
            put_counts(out, &k->counts);
            put_marks(out, k->marks_ns);
            buf_put_lit(out, "}");
            comma = ",";
        }
        buf_put_lit(out, "}");
    }
    buf_put_lit(out, "}\n");
}
