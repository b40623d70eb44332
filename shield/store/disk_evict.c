#include "shield/store/disk_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/check.h"

/* S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). New objects enter a
 * small queue with a tenth of the bytes; what is hit there twice moves to the main queue, the rest leaves,
 * and its key is remembered as a ghost: if it comes again, it enters the main queue. The main queue gives
 * another round for each hit, up to three.
 *
 * On disk this has one virtue above LRU: a hit writes nothing. It only marks a byte in memory. Marks and
 * ghosts are lost with the process, which costs one round of the queues. */

enum {
    HITS_MAX = 3,
    HITS_TO_MAIN = 2,
    SMALL_PERCENT = 10,
    MARKS_LEAST = 1 << 16,
    MARKS_MOST = 1 << 24,
    BYTES_PER_MARK = 8192,
};

/* ---- what memory knows: marks and ghosts ---- */

struct ghost {
    uint32_t print; /* of the key hash; 0 is nobody */
    uint32_t when;  /* evictions counted at its own */
};

struct disk_order_marks {
    uint64_t mask;
    uint32_t evictions;
    struct ghost *ghosts;   /* the writer's; a slot per hash, the newer ghost takes it */
    _Atomic uint8_t hits[]; /* by hash of the id: two objects that share a byte share their luck */
};

struct disk_order_marks *disk_marks_new(uint64_t size_bytes)
{
    uint64_t n = MARKS_LEAST;
    while (n < MARKS_MOST && n < size_bytes / BYTES_PER_MARK)
        n *= 2;
    struct disk_order_marks *m = calloc(1, sizeof *m + n);
    if (m == NULL)
        return NULL;
    m->mask = n - 1;
    m->ghosts = calloc(n / 4, sizeof *m->ghosts);
    if (m->ghosts == NULL) {
        free(m);
        return NULL;
    }
    return m;
}

void disk_marks_free(struct disk_order_marks *m)
{
    if (m == NULL)
        return;
    free(m->ghosts);
    free(m);
}

static _Atomic uint8_t *hits_of(struct disk_order_marks *m, uint64_t id)
{
    return &m->hits[(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & m->mask];
}

void disk_marks_hit(struct disk_order_marks *m, uint64_t id)
{
    _Atomic uint8_t *hits = hits_of(m, id);
    uint8_t n = atomic_load_explicit(hits, memory_order_relaxed);
    if (n < HITS_MAX) /* two hits at once may count as one */
        atomic_store_explicit(hits, (uint8_t)(n + 1), memory_order_relaxed);
}

static uint8_t marked(struct disk_order_marks *m, uint64_t id)
{
    return atomic_load_explicit(hits_of(m, id), memory_order_relaxed);
}

static void mark(struct disk_order_marks *m, uint64_t id, uint8_t n)
{
    atomic_store_explicit(hits_of(m, id), n, memory_order_relaxed);
}

struct mark_before {
    uint64_t id;
    uint8_t hits;
};

/* A mark goes with a move: a hot object whose move was aborted, without its hits, would be evicted next. */
static void mark_with(struct disk_txn *t, uint64_t id, uint8_t hits)
{
    struct mark_before before = {id, marked(t->d->marks, id)};
    buf_put(&t->marks, &before, sizeof before);
    mark(t->d->marks, id, hits);
}

void disk_marks_restore(struct disk_txn *t)
{
    for (size_t at = t->marks.failed ? 0 : t->marks.len; at > 0; at -= sizeof(struct mark_before)) {
        struct mark_before before;
        memcpy(&before, t->marks.p + at - sizeof before, sizeof before);
        mark(t->d->marks, before.id, before.hits);
    }
}

void disk_marks_begin(struct disk_order_marks *m, uint64_t id, unsigned hits)
{
    if (hits > marked(m, id))
        mark(m, id, (uint8_t)MIN(hits, (unsigned)HITS_MAX));
}

static struct ghost *ghost_of(struct disk_order_marks *m, uint64_t key_hash)
{
    return &m->ghosts[key_hash & (m->mask >> 2)];
}

static uint32_t print_of(uint64_t key_hash)
{
    return (uint32_t)(key_hash >> 32) | 1;
}

static void remember_ghost(struct disk_order_marks *m, uint64_t key_hash)
{
    *ghost_of(m, key_hash) = (struct ghost){print_of(key_hash), ++m->evictions};
}

enum disk_queue disk_marks_admit(struct disk_order_marks *m, uint64_t key_hash)
{
    const struct ghost *g = ghost_of(m, key_hash);
    bool recent = m->evictions - g->when <= m->mask >> 2;
    return g->print == print_of(key_hash) && recent ? QUEUE_MAIN : QUEUE_SMALL;
}

/* ---- the queues in the file ---- */

static int put_at(struct disk_txn *t, enum disk_queue q, const struct disk_order *e, uint64_t seq)
{
    char seq_key[DISK_ID_KEY_BYTES], bytes[DISK_ORDER_BYTES];
    disk_id_key(seq, seq_key);
    disk_order_encode(e, bytes);
    MDB_val key = {sizeof seq_key, seq_key}, value = {sizeof bytes, bytes};
    return disk_txn_put_ordered(t, t->d->file.order[q], &key, &value, 0);
}

int disk_order_put(struct disk_txn *t, enum disk_queue q, const struct disk_order *e, uint64_t *seq)
{
    *seq = t->info.next_seq++;
    t->info.queue_bytes[q] += e->bytes;
    return put_at(t, q, e, *seq);
}

static void charge_off(struct disk_txn *t, enum disk_queue q, uint64_t bytes)
{
    t->info.queue_bytes[q] -= MIN(bytes, t->info.queue_bytes[q]);
}

int disk_order_remove(struct disk_txn *t, enum disk_queue q, uint64_t seq)
{
    char seq_key[DISK_ID_KEY_BYTES];
    struct disk_order e;
    disk_id_key(seq, seq_key);
    MDB_val key = {sizeof seq_key, seq_key}, value;
    int rc = mdb_get(t->txn, t->d->file.order[q], &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (disk_order_decode((struct span){value.mv_data, value.mv_size}, &e) == 0)
        charge_off(t, q, e.bytes);
    return mdb_del(t->txn, t->d->file.order[q], &key, NULL);
}

/* ---- one step: look at the oldest of a queue ---- */

/* The oldest entry, taken out. One that cannot be read is dropped: e->id is 0. */
static int take_oldest(struct disk_txn *t, enum disk_queue q, struct disk_order *e)
{
    MDB_cursor *c;
    MDB_val key, value;
    int rc = mdb_cursor_open(t->txn, t->d->file.order[q], &c);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(c, &key, &value, MDB_FIRST);
    if (rc == 0) {
        if (disk_order_decode((struct span){value.mv_data, value.mv_size}, e) != 0)
            *e = (struct disk_order){0};
        charge_off(t, q, e->bytes);
        rc = mdb_cursor_del(c, 0);
    }
    mdb_cursor_close(c);
    return rc;
}

static int move_to(struct disk_txn *t, enum disk_queue q, const struct disk_order *e)
{
    uint64_t seq;
    int rc = disk_order_put(t, q, e, &seq);
    if (rc == 0)
        rc = disk_set_place(t, e->id, q, seq);
    if (rc != MDB_NOTFOUND)
        return rc;
    rc = disk_order_remove(t, q, seq); /* its meta is gone or bad: nobody will ever find it */
    return rc == 0 ? disk_delete_object(t, e->id) : rc;
}

static int evict(struct disk_txn *t, enum disk_queue from, const struct disk_order *e)
{
    const struct disk_options *opt = &t->d->opt;
    if (opt->may_evict != NULL && !opt->may_evict(opt->ctx, e->key_hash, e->id))
        return move_to(t, from, e);
    if (from == QUEUE_SMALL)
        remember_ghost(t->d->marks, e->key_hash);
    mark_with(t, e->id, 0);
    t->evicted++;
    return disk_delete_object(t, e->id);
}

static int step(struct disk_txn *t, enum disk_queue q)
{
    struct disk_order_marks *m = t->d->marks;
    struct disk_order e;
    int rc = take_oldest(t, q, &e);
    if (rc != 0 || e.id == 0)
        return rc;
    uint8_t hits = marked(m, e.id);
    if (q == QUEUE_SMALL && hits >= HITS_TO_MAIN) {
        mark_with(t, e.id, 0);
        return move_to(t, QUEUE_MAIN, &e);
    }
    if (q == QUEUE_MAIN && hits > 0) {
        mark_with(t, e.id, hits - 1);
        return move_to(t, QUEUE_MAIN, &e);
    }
    return evict(t, q, &e);
}

/* ---- room ---- */

static int entries(struct disk_txn *t, enum disk_queue q, uint64_t *n)
{
    MDB_stat stat;
    int rc = mdb_stat(t->txn, t->d->file.order[q], &stat);
    *n = rc == 0 ? stat.ms_entries : 0;
    return rc;
}

static int choose_queue(struct disk_txn *t, enum disk_queue *q)
{
    uint64_t n_small, n_main;
    int rc = entries(t, QUEUE_SMALL, &n_small);
    if (rc == 0)
        rc = entries(t, QUEUE_MAIN, &n_main);
    if (rc != 0)
        return rc;
    uint64_t small = t->info.queue_bytes[QUEUE_SMALL], total = small + t->info.queue_bytes[QUEUE_MAIN];
    bool small_is_due = n_small > 0 && small >= total / 100 * SMALL_PERCENT;
    *q = small_is_due || n_main == 0 ? QUEUE_SMALL : QUEUE_MAIN;
    return n_small + n_main == 0 ? MDB_NOTFOUND : 0;
}

int disk_make_room(struct disk_txn *t, uint64_t pages, uint64_t most_steps, bool *made)
{
    uint64_t n_small, n_main, live;
    int rc = entries(t, QUEUE_SMALL, &n_small);
    if (rc == 0)
        rc = entries(t, QUEUE_MAIN, &n_main);
    /* Each entry loses a hit per round, so that so many steps have seen every one of them without any. */
    uint64_t steps = rc == 0 ? MIN((n_small + n_main) * (HITS_MAX + 2), most_steps) : 0;
    *made = false;
    while (rc == 0) {
        enum disk_queue q;
        rc = disk_txn_live_pages(t, &live);
        if (rc != 0)
            break;
        *made = live + pages <= t->d->file.limit_pages;
        if (*made || steps-- == 0)
            break;
        rc = choose_queue(t, &q);
        if (rc == 0)
            rc = step(t, q);
        else if (rc == MDB_NOTFOUND)
            return 0;
    }
    return rc;
}
