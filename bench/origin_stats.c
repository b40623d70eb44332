#include "bench/origin_stats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

#include "bench/json.h"
#include "common/check.h"
#include "common/err.h"

struct origin_key {
    uint64_t hash;
    struct origin_counts counts;
    size_t path_len;
    char path[];
};

/* Open addressing, at most half full; `n_slots` is a power of two. */
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

static int grow(struct origin_stats *s)
{
    uint32_t n = MAX(1024u, s->n_slots * 2);
    struct origin_key **slots = calloc(n, sizeof(struct origin_key *));
    if (slots == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->n_slots; i++) {
        struct origin_key *k = s->slots[i];
        if (k != NULL)
            *slot_of(slots, n, k->hash, (struct span){k->path, k->path_len}) = k;
    }
    free(s->slots);
    s->slots = slots;
    s->n_slots = n;
    return 0;
}

static struct origin_key *find_or_add(struct origin_stats *s, struct span path)
{
    if ((s->n_keys + 1) * 2 > s->n_slots && grow(s) != 0)
        return NULL;
    uint64_t hash = XXH64(path.p, path.len, 0);
    struct origin_key **slot = slot_of(s->slots, s->n_slots, hash, path);
    if (*slot != NULL)
        return *slot;
    struct origin_key *k = calloc(1, sizeof *k + path.len);
    if (k == NULL)
        return NULL;
    k->hash = hash;
    k->path_len = path.len;
    memcpy(k->path, path.p, path.len);
    s->n_keys++;
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
    struct origin_key *k = find_or_add(s, path);
    if (k == NULL)
        return ERR_NOMEM;
    begin_counts(&k->counts);
    begin_counts(&s->total);
    *out = (struct origin_fetch){k, s->epoch};
    *nth = k->counts.fetches;
    return 0;
}

static bool is_current(const struct origin_stats *s, const struct origin_fetch *f)
{
    return f->key != NULL && f->epoch == s->epoch;
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

void origin_stats_reset(struct origin_stats *s)
{
    for (uint32_t i = 0; i < s->n_slots; i++)
        free(s->slots[i]);
    free(s->slots);
    *s = (struct origin_stats){
        .epoch = s->epoch + 1, .connections = s->connections, .connections_max = s->connections};
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
               ",\"running\":%" PRIu64 ",\"running_max\":%" PRIu64,
               c->fetches, c->not_modified, c->partial, c->errors, c->aborted, c->body_bytes, c->running,
               c->running_max);
}

void origin_stats_put(const struct origin_stats *s, bool totals_only, struct buf *out)
{
    buf_put_lit(out, "{\"schema\":\"shield-bench/origin/1\",\"total\":{");
    put_counts(out, &s->total);
    buf_printf(out,
               ",\"keys\":%u,\"connections\":%" PRIu64 ",\"connections_max\":%" PRIu64
               ",\"connections_total\":%" PRIu64 "}",
               s->n_keys, s->connections, s->connections_max, s->connections_total);
    if (!totals_only) {
        const char *comma = "";
        buf_put_lit(out, ",\"keys\":{");
        for (uint32_t i = 0; i < s->n_slots; i++) {
            const struct origin_key *k = s->slots[i];
            if (k == NULL)
                continue;
            buf_printf(out, "%s\n", comma);
            json_put_text(out, (struct span){k->path, k->path_len});
            buf_put_lit(out, ":{");
            put_counts(out, &k->counts);
            buf_put_lit(out, "}");
            comma = ",";
        }
        buf_put_lit(out, "}");
    }
    buf_put_lit(out, "}\n");
}
