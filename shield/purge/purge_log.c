#include "shield/purge/purge_log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/policy/key.h"
#include "shield/purge/purge_tags.h"

enum {
    SLOTS_LEAST = 64,
    PACED_MAX = 64,           /* records that are being spread over time */
    PREFIX_BYTES_MAX = 32767, /* a longer one is cut: it purges more */
    FILTER_BITS = 4,
};

#define PACED_BIT (UINT64_C(1) << 63)

/* What was ordered of one thing: of each sort the newest, which says all that the ones before said. */
struct thing {
    uint64_t hard, soft;
    int64_t soft_at_ms;
    uint32_t n_paced; /* records in log->paced with its hash */
    uint16_t length;  /* of a prefix */
    uint8_t kind;
};

/* Open addressing, at most half full. Immutable but for the appender under the lock. Nearly all lookups find
 * nothing: a bit of `filter` says so from memory that stays near the processor. */
struct table {
    uint32_t n_slots, n_used; /* n_slots is a power of two */
    uint64_t *hashes;         /* 0: free */
    struct thing *things;
    uint64_t *filter; /* FILTER_BITS for each slot */
};

struct paced {
    uint64_t hash, number;
    int64_t at_ms;
    uint64_t over_ms;
    bool is_soft;
};

/* `lock` covers what readers look at; `appender` whoever changes it, so that a larger table can be made
 * without holding readers up. */
struct purge_log {
    _Atomic uint64_t stamp; /* the number, with PACED_BIT while a paced purge runs */
    _Atomic uint64_t live;
    pthread_mutex_t appender;
    pthread_rwlock_t lock;
    uint64_t seed, max_live;
    uint64_t number;
    uint64_t floor;               /* what is older counts as purged, hard */
    uint64_t newest[PURGE_KINDS]; /* number of the newest record of the kind */
    struct thing all;
    struct table table;
    uint8_t lengths[(PREFIX_BYTES_MAX + 1) / 8]; /* a bit for each length that a prefix has */
    uint32_t n_words;                            /* of `lengths`: none is set from here on */
    struct paced paced[PACED_MAX];
    uint32_t n_paced;
    int64_t paced_until_ms; /* all of them have come to their end then */
};

/* ---- hashes ---- */

static uint64_t hash_bytes(const struct purge_log *log, enum purge_kind kind, const void *p, size_t n)
{
    uint64_t h = XXH3_64bits_withSeed(p, n, log->seed + kind);
    return h != 0 ? h : 1;
}

/* A hash that gives the hashes of all prefixes on its way: eight bytes in each step, less at a prefix's end.
 */
static uint64_t step(uint64_t h, uint64_t word)
{
    unsigned __int128 product = (unsigned __int128)(h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ word;
}

static uint64_t load_word(const char *p, size_t n)
{
    uint64_t word = 0;
    memcpy(&word, p, n);
    return word;
}

static uint64_t hash_prefix_end(const struct purge_log *log, uint64_t h, const char *tail, size_t n,
                                size_t length)
{
    uint64_t parts[3] = {h, load_word(tail, n), length};
    return hash_bytes(log, PURGE_PREFIX, parts, sizeof parts);
}

static uint64_t hash_prefix(const struct purge_log *log, struct span what)
{
    uint64_t h = log->seed;
    size_t at = 0;
    for (; what.len - at >= 8; at += 8)
        h = step(h, load_word(what.p + at, 8));
    return hash_prefix_end(log, h, what.p + at, what.len - at, what.len);
}

static uint64_t hash_tag(const struct purge_log *log, uint64_t tag)
{
    return hash_bytes(log, PURGE_TAG, &tag, sizeof tag);
}

static uint64_t hash_record(const struct purge_log *log, const struct purge_record *r)
{
    switch (r->kind) {
    case PURGE_PREFIX:
        return hash_prefix(log, (struct span){r->what.p, MIN(r->what.len, (size_t)PREFIX_BYTES_MAX)});
    case PURGE_TAG:
        return hash_tag(log, purge_tag_hash(r->what));
    case PURGE_ALL:
        return 0;
    default:
        return hash_bytes(log, r->kind, r->what.p, r->what.len);
    }
}

/* ---- the table ---- */

static uint64_t filter_bit(const struct table *t, uint64_t hash, size_t *word)
{
    uint64_t bit = (hash >> 24) & ((uint64_t)t->n_slots * FILTER_BITS - 1);
    *word = (size_t)(bit / 64);
    return UINT64_C(1) << bit % 64;
}

static struct thing *find(const struct table *t, uint64_t hash)
{
    size_t word;
    uint64_t bit = filter_bit(t, hash, &word);
    if (!(t->filter[word] & bit))
        return NULL;
    uint32_t at = (uint32_t)hash & (t->n_slots - 1);
    while (t->hashes[at] != hash && t->hashes[at] != 0)
        at = (at + 1) & (t->n_slots - 1);
    return t->hashes[at] != 0 ? &t->things[at] : NULL;
}

static struct thing *find_or_add(struct table *t, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (t->n_slots - 1);
    while (t->hashes[at] != hash && t->hashes[at] != 0)
        at = (at + 1) & (t->n_slots - 1);
    if (t->hashes[at] == 0) {
        size_t word;
        uint64_t bit = filter_bit(t, hash, &word);
        t->filter[word] |= bit;
        t->hashes[at] = hash;
        t->n_used++;
        REQUIRE(t->n_used <= t->n_slots / 2);
    }
    return &t->things[at];
}

static void table_fini(struct table *t)
{
    free(t->hashes);
    free(t->things);
    free(t->filter);
}

static int table_init(struct table *t, uint64_t n_things)
{
    uint64_t n = SLOTS_LEAST;
    while (n < n_things * 2)
        n *= 2;
    if (n > UINT32_MAX / 2)
        return ERR_NOMEM;
    *t = (struct table){.n_slots = (uint32_t)n,
                        .hashes = calloc(n, sizeof *t->hashes),
                        .things = calloc(n, sizeof *t->things),
                        .filter = calloc(n * FILTER_BITS / 64, sizeof *t->filter)};
    if (t->hashes != NULL && t->things != NULL && t->filter != NULL)
        return 0;
    table_fini(t);
    return ERR_NOMEM;
}

/* What is still worth knowing above `floor`, into *to, which has room. */
static void copy_things(struct table *to, const struct table *from, uint64_t floor)
{
    for (uint32_t i = 0; i < from->n_slots; i++) {
        const struct thing *t = &from->things[i];
        if (from->hashes[i] != 0 && (t->hard > floor || t->soft > floor || t->n_paced > 0))
            *find_or_add(to, from->hashes[i]) = *t;
    }
}

/* ---- life ---- */

struct purge_log *purge_log_new(uint64_t max_live, uint64_t seed)
{
    struct purge_log *log = calloc(1, sizeof *log);
    pthread_rwlockattr_t attr;
    if (log == NULL || table_init(&log->table, 0) != 0) {
        free(log);
        return NULL;
    }
    log->seed = seed;
    log->max_live = max_live;
    pthread_mutex_init(&log->appender, NULL);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&log->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    return log;
}

void purge_log_free(struct purge_log **slot)
{
    struct purge_log *log = *slot;
    *slot = NULL;
    if (log == NULL)
        return;
    table_fini(&log->table);
    pthread_rwlock_destroy(&log->lock);
    pthread_mutex_destroy(&log->appender);
    free(log);
}

uint64_t purge_log_number(const struct purge_log *log)
{
    return log != NULL ? atomic_load_explicit(&log->stamp, memory_order_acquire) & ~PACED_BIT : 0;
}

uint64_t purge_log_live(const struct purge_log *log)
{
    return atomic_load_explicit(&log->live, memory_order_relaxed);
}

void purge_log_begin(struct purge_log *log, uint64_t number)
{
    log->number = MAX(log->number, number);
    atomic_store(&log->stamp, log->number | (log->n_paced > 0 ? PACED_BIT : 0));
}

/* ---- checking ---- */

struct check {
    const struct purge_log *log;
    const struct purge_subject *subject;
    uint64_t seen; /* nothing up to here matched, paced ones aside */
    int64_t now_ms;
    bool is_hard, is_soft;
    int64_t since_ms;
};

static void note_soft(struct check *c, int64_t since_ms)
{
    c->since_ms = c->is_soft ? MIN(c->since_ms, since_ms) : since_ms;
    c->is_soft = true;
}

/* When it is this subject's turn: by the hash of its URI, so that all variants go together. */
static int64_t due_ms(const struct paced *p, const struct purge_subject *s)
{
    struct span uri = policy_key_uri(s->key);
    uint64_t share = XXH3_64bits(uri.p, uri.len);
    return p->at_ms + (int64_t)(uint64_t)(((unsigned __int128)share * p->over_ms) >> 64);
}

static void meet_paced(struct check *c, uint64_t hash)
{
    for (uint32_t i = 0; i < c->log->n_paced; i++) {
        const struct paced *p = &c->log->paced[i];
        if (p->hash != hash || p->number <= c->subject->number)
            continue;
        int64_t due = due_ms(p, c->subject);
        if (c->now_ms < due)
            continue;
        if (p->is_soft)
            note_soft(c, due);
        else
            c->is_hard = true;
    }
}

static void meet(struct check *c, const struct thing *t, uint64_t hash)
{
    if (t == NULL)
        return;
    c->is_hard |= t->hard > c->seen;
    if (t->soft > c->seen)
        note_soft(c, t->soft_at_ms);
    if (t->n_paced > 0)
        meet_paced(c, hash);
}

static void probe(struct check *c, uint64_t hash)
{
    meet(c, find(&c->log->table, hash), hash);
}

static void check_prefixes(struct check *c, struct span s)
{
    const struct purge_log *log = c->log;
    uint64_t h = log->seed;
    for (size_t word = 0; word < log->n_words && word * 8 <= s.len; word++) {
        size_t left = MIN(s.len - word * 8, (size_t)8);
        const char *p = s.p + word * 8;
        for (unsigned bits = log->lengths[word]; bits != 0; bits &= bits - 1) {
            size_t n = (size_t)__builtin_ctz(bits);
            if (n <= left)
                probe(c, hash_prefix_end(log, h, p, n, word * 8 + n));
        }
        if (left == 8)
            h = step(h, load_word(p, 8));
    }
}

/* Whether a record of the kind may match, by its number alone. */
static bool may_match(const struct check *c, enum purge_kind kind)
{
    return c->log->newest[kind] > c->seen ||
           (c->log->n_paced > 0 && c->log->newest[kind] > c->subject->number);
}

static void check_tags(struct check *c)
{
    struct span tags = c->subject->tags;
    for (size_t i = 0; i < tags.len / PURGE_TAG_BYTES; i++) {
        uint64_t tag = purge_tag_at(tags, i);
        if (tag == 0) /* it had more than it may have: it has them all */
            c->is_hard = true;
        else
            probe(c, hash_tag(c->log, tag));
    }
}

/* Under the read lock. A key is ORIGIN "\n" HOST "\n" PATH; prefixes begin with the host. */
static void check_all(struct check *c)
{
    const struct purge_log *log = c->log;
    struct span uri = policy_key_uri(c->subject->key);
    const char *origin_end = uri.len > 0 ? memchr(uri.p, '\n', uri.len) : NULL;
    struct span rest = span_from(uri, origin_end != NULL ? (size_t)(origin_end - uri.p) + 1 : 0);
    if (c->seen < log->floor)
        c->is_hard = true;
    if (may_match(c, PURGE_ALL))
        meet(c, &log->all, 0);
    if (may_match(c, PURGE_URL))
        probe(c, hash_bytes(log, PURGE_URL, uri.p, uri.len));
    if (may_match(c, PURGE_HOST)) {
        const char *host_end = rest.len > 0 ? memchr(rest.p, '\n', rest.len) : NULL;
        size_t n = host_end != NULL ? (size_t)(host_end - rest.p) : rest.len;
        probe(c, hash_bytes(log, PURGE_HOST, rest.p, n));
    }
    if (may_match(c, PURGE_PREFIX))
        check_prefixes(c, rest);
    if (may_match(c, PURGE_TAG))
        check_tags(c);
}

/* The paced ones that have come to their end are like any other, from here on. */
static void settle_paced(struct purge_log *log)
{
    for (uint32_t i = 0; i < log->n_paced; i++) {
        struct paced *p = &log->paced[i];
        struct thing *t = p->hash == 0 ? &log->all : find(&log->table, p->hash);
        t->n_paced--;
        if (!p->is_soft) {
            t->hard = MAX(t->hard, p->number);
        } else if (p->number > t->soft) {
            t->soft = p->number;
            t->soft_at_ms = p->at_ms + (int64_t)p->over_ms;
        }
    }
    log->n_paced = 0;
    atomic_store_explicit(&log->stamp, log->number, memory_order_release);
}

static void settle_paced_in_passing(struct purge_log *log, int64_t now_ms)
{
    if (pthread_mutex_trylock(&log->appender) != 0)
        return;
    pthread_rwlock_wrlock(&log->lock);
    if (log->n_paced > 0 && now_ms >= log->paced_until_ms)
        settle_paced(log);
    pthread_rwlock_unlock(&log->lock);
    pthread_mutex_unlock(&log->appender);
}

/* A paced record may match later what it does not match now: nothing is noted beyond the oldest. */
static uint64_t may_note(const struct purge_log *log)
{
    uint64_t number = log->number;
    for (uint32_t i = 0; i < log->n_paced; i++)
        number = MIN(number, log->paced[i].number - 1);
    return number;
}

bool purge_log_is_quiet(const struct purge_log *log, uint64_t number, const _Atomic uint64_t *seen)
{
    if (log == NULL)
        return true;
    uint64_t stamp = atomic_load_explicit(&log->stamp, memory_order_acquire);
    return number >= stamp || (seen != NULL && atomic_load_explicit(seen, memory_order_relaxed) >= stamp);
}

enum purge_verdict purge_log_check(struct purge_log *log, const struct purge_subject *s, int64_t now_ms,
                                   _Atomic uint64_t *seen, int64_t *since_ms)
{
    if (purge_log_is_quiet(log, s->number, seen))
        return PURGE_NONE;
    uint64_t noted = seen != NULL ? atomic_load_explicit(seen, memory_order_relaxed) : 0;
    struct check c = {.log = log, .subject = s, .seen = MAX(noted, s->number), .now_ms = now_ms};
    pthread_rwlock_rdlock(&log->lock);
    check_all(&c);
    uint64_t upto = may_note(log);
    bool is_over = log->n_paced > 0 && now_ms >= log->paced_until_ms;
    pthread_rwlock_unlock(&log->lock);
    if (is_over)
        settle_paced_in_passing(log, now_ms);
    if (c.is_hard)
        return PURGE_HARD;
    if (!c.is_soft && seen != NULL && upto > noted)
        atomic_store_explicit(seen, upto, memory_order_relaxed);
    if (c.is_soft && since_ms != NULL)
        *since_ms = c.since_ms;
    return c.is_soft ? PURGE_SOFT : PURGE_NONE;
}

/* ---- adding ---- */

static void note_prefix(struct purge_log *log, size_t length)
{
    log->lengths[length / 8] |= (uint8_t)(1u << length % 8);
    log->n_words = MAX(log->n_words, (uint32_t)(length / 8 + 1));
}

static void put_paced(struct purge_log *log, const struct purge_record *r, struct thing *t, uint64_t hash)
{
    uint64_t until_ms = (uint64_t)r->at_ms + r->over_ms;
    log->paced[log->n_paced++] = (struct paced){
        .hash = hash, .number = r->number, .at_ms = r->at_ms, .over_ms = r->over_ms, .is_soft = r->is_soft};
    log->paced_until_ms = MAX(log->n_paced > 1 ? log->paced_until_ms : 0, (int64_t)until_ms);
    t->n_paced++;
}

/* Under both locks; there is room. */
static void put_record(struct purge_log *log, const struct purge_record *r)
{
    uint64_t hash = hash_record(log, r);
    struct thing *t = r->kind == PURGE_ALL ? &log->all : find_or_add(&log->table, hash);
    t->kind = (uint8_t)r->kind;
    log->newest[r->kind] = MAX(log->newest[r->kind], r->number);
    if (r->kind == PURGE_PREFIX) {
        t->length = (uint16_t)MIN(r->what.len, (size_t)PREFIX_BYTES_MAX);
        note_prefix(log, t->length);
    }
    if (r->over_ms > 0) {
        put_paced(log, r, t, hash);
    } else if (!r->is_soft) {
        t->hard = MAX(t->hard, r->number);
    } else if (r->number > t->soft) {
        t->soft = r->number;
        t->soft_at_ms = r->at_ms;
    }
}

/* Put `fresh` in the place of the table; nobody looks at the old one then. */
static void change_table(struct purge_log *log, struct table *fresh, uint64_t floor)
{
    struct table old = log->table;
    pthread_rwlock_wrlock(&log->lock);
    log->table = *fresh;
    log->floor = floor;
    pthread_rwlock_unlock(&log->lock);
    table_fini(&old);
}

static int make_room(struct purge_log *log, size_t n)
{
    struct table fresh;
    if (log->table.n_used + n <= log->table.n_slots / 2)
        return 0;
    int err = table_init(&fresh, MAX((uint64_t)log->table.n_used * 2, log->table.n_used + n));
    if (err != 0)
        return err;
    copy_things(&fresh, &log->table, 0);
    change_table(log, &fresh, log->floor);
    return 0;
}

/* Under the appender's lock: drop what only concerns what is older than `floor`. Without memory the table
 * stays as it is, which is right too. */
static void raise_floor(struct purge_log *log, uint64_t floor)
{
    struct table fresh;
    if (floor <= log->floor)
        return;
    if (table_init(&fresh, log->table.n_used) != 0)
        return;
    copy_things(&fresh, &log->table, floor);
    change_table(log, &fresh, floor);
    pthread_rwlock_wrlock(&log->lock);
    memset(log->lengths, 0, sizeof log->lengths);
    log->n_words = 0;
    for (uint32_t i = 0; i < log->table.n_slots; i++)
        if (log->table.hashes[i] != 0 && log->table.things[i].kind == PURGE_PREFIX)
            note_prefix(log, log->table.things[i].length);
    pthread_rwlock_unlock(&log->lock);
    atomic_store(&log->live, log->table.n_used);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The number below which half of the things lie. */
static uint64_t middle_number(const struct purge_log *log)
{
    uint64_t *numbers = malloc(log->table.n_used * sizeof *numbers);
    uint64_t n = 0, middle = log->number;
    for (uint32_t i = 0; numbers != NULL && i < log->table.n_slots; i++)
        if (log->table.hashes[i] != 0)
            numbers[n++] = MAX(log->table.things[i].hard, log->table.things[i].soft);
    if (n > 0) {
        qsort(numbers, n, sizeof *numbers, by_value);
        middle = numbers[n / 2];
    }
    free(numbers);
    return middle;
}

static size_t count_paced(const struct purge_record *records, size_t n)
{
    size_t paced = 0;
    for (size_t i = 0; i < n; i++)
        paced += records[i].over_ms > 0;
    return paced;
}

static int reserve(struct purge_log *log, const struct purge_record *records, size_t n)
{
    return count_paced(records, n) > PACED_MAX - log->n_paced ? ERR_BUSY : make_room(log, n);
}

int purge_log_reserve(struct purge_log *log, const struct purge_record *records, size_t n)
{
    pthread_mutex_lock(&log->appender);
    int err = reserve(log, records, n);
    pthread_mutex_unlock(&log->appender);
    return err;
}

int purge_log_add(struct purge_log *log, const struct purge_record *records, size_t n, bool *collapsed)
{
    REQUIRE(n > 0);
    *collapsed = false;
    pthread_mutex_lock(&log->appender);
    int err = reserve(log, records, n);
    if (err == 0) {
        pthread_rwlock_wrlock(&log->lock);
        for (size_t i = 0; i < n; i++)
            put_record(log, &records[i]);
        log->number = MAX(log->number, records[0].number);
        atomic_store_explicit(&log->stamp, log->number | (log->n_paced > 0 ? PACED_BIT : 0),
                              memory_order_release);
        pthread_rwlock_unlock(&log->lock);
        atomic_store(&log->live, log->table.n_used);
        *collapsed = log->table.n_used > log->max_live;
    }
    if (*collapsed)
        raise_floor(log, middle_number(log));
    pthread_mutex_unlock(&log->appender);
    return err;
}

void purge_log_forget(struct purge_log *log, uint64_t oldest)
{
    pthread_mutex_lock(&log->appender);
    raise_floor(log, MIN(oldest, log->number));
    pthread_mutex_unlock(&log->appender);
}
