#include "shield/store/disk_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum {
    TRIES = 5, /* of a batch, with more evicted before each, and in smaller pieces */
    PIECES_KEPT = 32, /* batches until larger pieces are tried again */
    EVICT_STEPS = 8192,   /* of one transaction */
    EVICT_ROUNDS = 8,     /* transactions that do nothing else, before each try ... */
    EVICT_CAREFULLY = 64, /* ... with so few steps first: deleting takes free pages, too */
    BACKOFF_LEAST_MS = 1000,
    BACKOFF_MOST_MS = 30000,
    PRESSED_MS = 5000, /* without room, a replaced body waits only so long for a reader */
    TIDY_MS = 20,
    ORPHANS_MS = 1000,
    TIDY_BODIES = 64, /* leftovers deleted per commit */
    HELD_MAX = 100000,
    ITEM_PAGES = 3,   /* tree pages that an item may add, about */
    BATCH_PAGES = 16, /* and a commit as such */
};

/* ---- one batch in one transaction ---- */

static struct object *renewed_of(struct disk_fill *f)
{
    return f->renewed != NULL ? f->renewed : f->object;
}

static int write_chunks(struct disk_txn *t, struct disk_fill *f, uint32_t from, uint32_t to, bool *missing)
{
    int rc = 0;
    for (uint32_t i = from; i < to && rc == 0; i++) {
        struct chunk *c = object_chunk(f->object, i);
        if (c == NULL) {
            *missing = true;
            return 0;
        }
        rc = disk_put_chunk(t, f->id, i, (struct span){c->data, c->len});
        chunk_unref(&c);
    }
    return rc;
}

static int drop_fill(struct disk_txn *t, struct batch_item *item, struct disk_fill *f)
{
    item->dropped = true;
    return item->is_last && f->loose ? disk_delete_body(t, f->id) : 0;
}

static int write_fill(struct disk_txn *t, struct batch_item *item, struct disk_fill *f)
{
    bool missing = false, unwanted = item->is_last && (object_flags(f->object) & OBJECT_UNWANTED);
    if (f->aborted || unwanted || atomic_load(&f->shed))
        return drop_fill(t, item, f);
    if (f->id == 0) {
        f->id = t->d->next_id++;
        object_set_disk_id(f->object, f->id);
    }
    int rc = write_chunks(t, f, item->from, item->to, &missing);
    if (rc == 0 && !missing && item->is_last) {
        rc = disk_put_object(t, f->id, renewed_of(f), f->loose);
        if (rc != MDB_NOTFOUND)
            return rc;
        missing = true;
    }
    if (rc == 0 && !missing)
        return f->loose ? 0 : disk_put_loose(t, f->id);
    if (!missing)
        return rc;
    disk_fill_shed(t->d, f); /* its owner gave up chunks that were not written yet; some may be now */
    f->loose = true;
    rc = drop_fill(t, item, f);
    return rc == 0 && !item->is_last ? disk_put_loose(t, f->id) : rc;
}

static int write_item(struct disk_txn *t, struct batch_item *item)
{
    item->dropped = false;
    switch (item->op->kind) {
    case OP_FILL:
        return write_fill(t, item, disk_fill_of(item->op));
    case OP_HEAD: {
        struct object *o = container_of(item->op, struct disk_head_op, op)->object;
        bool skip = object_disk_id(o) == 0 || (object_flags(o) & OBJECT_UNWANTED);
        return skip ? 0 : disk_rewrite_head(t, o);
    }
    case OP_DELETE: {
        const struct disk_delete_op *op = container_of(item->op, struct disk_delete_op, op);
        return disk_delete_key(t, (struct span){op->key, op->len});
    }
    case OP_VERIFY:
        return disk_drop_record(t, container_of(item->op, struct disk_drop_op, op));
    case OP_DAMAGE:
        return 0;
    }
    return 0;
}

static uint64_t pages_for(const struct disk *d, const struct batch *b)
{
    return b->charge / d->file.page_bytes + b->n * (uint64_t)ITEM_PAGES + BATCH_PAGES;
}

static int try_batch(struct disk *d, struct batch *b)
{
    struct disk_txn t;
    bool made = false;
    int rc = disk_txn_begin(&t, d);
    if (rc == 0)
        rc = disk_make_room(&t, pages_for(d, b), EVICT_STEPS, &made);
    if (rc == 0 && !made) { /* what was evicted is a step forward */
        rc = disk_txn_commit(&t);
        return rc == 0 ? MDB_MAP_FULL : rc;
    }
    for (uint32_t i = 0; i < b->n && rc == 0; i++)
        rc = write_item(&t, &b->items[i]);
    if (rc == 0)
        return disk_txn_commit(&t);
    disk_txn_abort(&t);
    return rc;
}

static int delete_orphans(struct disk_txn *t, uint64_t unread_ms, uint32_t *deleted)
{
    for (int n = 0; n < TIDY_BODIES; n++) {
        uint64_t id = disk_orphans_take(t->d, unread_ms);
        int rc = id != 0 ? disk_delete_body(t, id) : 0;
        if (id == 0 || rc != 0)
            return rc;
        ++*deleted;
    }
    return 0;
}

/* LMDB gives freed pages out again two commits later: an empty one follows the evictions. */
static int evict_only(struct disk *d, uint64_t pages)
{
    uint32_t deleted = 0;
    bool made = false;
    int rc = 0;
    for (int round = 0; round < EVICT_ROUNDS && rc == 0; round++) {
        struct disk_txn t;
        bool enough = made;
        rc = disk_txn_begin(&t, d);
        if (rc == 0 && !enough)
            rc = delete_orphans(&t, PRESSED_MS, &deleted);
        if (rc == 0 && !enough)
            rc = disk_make_room(&t, pages, (uint64_t)EVICT_CAREFULLY << round, &made);
        if (rc == 0)
            rc = disk_txn_commit(&t);
        else
            disk_txn_abort(&t);
        if (enough)
            break;
    }
    return rc;
}

/* ---- after the commit ---- */

static void sealed_ends(struct disk *d, struct disk_fill *f, unsigned set)
{
    object_set_flags(f->object, set, OBJECT_STORING);
    metric_move(d->metrics, STORE_PENDING, -1);
}

static void tell_committed(struct disk *d, const struct batch_item *item, struct disk_fill *f)
{
    struct object *o = f->object;
    uint64_t chunk_bytes = object_chunk_bytes(o);
    if (item->is_last)
        sealed_ends(d, f, OBJECT_ON_DISK);
    uint32_t to = item->is_last ? object_chunk_count(o) : item->to;
    for (uint32_t i = item->from; i < to; i++)
        object_chunk_committed(o, i);
    atomic_fetch_add(&f->committed, (item->to - item->from) * chunk_bytes);
    f->loose = true;
}

/* An object that is not stored after all. Where committed chunks have left memory it cannot be served from
 * the start. */
static void tell_dropped(struct disk *d, const struct batch_item *item, struct disk_fill *f)
{
    if (!item->is_last || !f->sealed)
        return;
    bool torn = atomic_load(&f->committed) > 0 && !object_is_resident(f->object);
    sealed_ends(d, f, torn ? OBJECT_UNWANTED : 0);
}

static void free_op(struct disk *d, struct disk_op *op)
{
    switch (op->kind) {
    case OP_FILL:
        disk_fill_free(d, disk_fill_of(op));
        return;
    case OP_HEAD: {
        struct disk_head_op *h = container_of(op, struct disk_head_op, op);
        metric_move(d->metrics, STORE_PENDING, -1);
        object_unref(&h->object);
        free(h);
        return;
    }
    case OP_DELETE: {
        struct disk_delete_op *del = container_of(op, struct disk_delete_op, op);
        atomic_fetch_sub(&d->deletes[del->key_hash % DISK_DELETE_SLOTS], 1);
        free(del);
        return;
    }
    case OP_VERIFY:
        free(container_of(op, struct disk_drop_op, op));
        return;
    case OP_DAMAGE:
        free(container_of(op, struct disk_damage_op, op));
        return;
    }
}

static void batch_committed(struct disk *d, struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct batch_item *item = &b->items[i];
        bool ends = item->op->kind != OP_FILL || item->is_last;
        if (item->op->kind == OP_FILL && item->dropped)
            tell_dropped(d, item, disk_fill_of(item->op));
        else if (item->op->kind == OP_FILL)
            tell_committed(d, item, disk_fill_of(item->op));
        if (ends)
            free_op(d, item->op);
    }
    disk_queue_settle(d, b);
}

/* A deletion is never given up: until it is done, disk_get does not trust its key. */
static void hold(struct disk *d, struct disk_op *op)
{
    if (d->n_held < HELD_MAX) {
        list_add_tail(&d->held, &op->link);
        d->n_held++;
    } else {
        free(container_of(op, struct disk_delete_op, op)); /* its count stays */
    }
}

static void batch_failed(struct disk *d, struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct batch_item *item = &b->items[i];
        if (item->op->kind == OP_DELETE) {
            hold(d, item->op);
            continue;
        }
        if (item->op->kind != OP_FILL) {
            free_op(d, item->op);
            continue;
        }
        struct disk_fill *f = disk_fill_of(item->op);
        if (!f->aborted)
            disk_fill_shed(d, f);
        if (!item->is_last)
            continue; /* its loop will see */
        if (f->loose)
            disk_orphans_adopt(d, f->id);
        tell_dropped(d, item, f);
        free_op(d, item->op);
    }
    disk_queue_settle(d, b);
}

/* ---- trouble ---- */

static const char *const trouble_text[] = {
#define X(name, err, text) text,
    DISK_TROUBLES(X)
#undef X
};

const char *disk_trouble(const struct disk *d)
{
    return trouble_text[atomic_load_explicit(&d->trouble, memory_order_relaxed)];
}

static enum disk_trouble_kind trouble_of_rc(int rc)
{
    switch (rc) {
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return TROUBLE_FULL;
    case ENOSPC:
    case EDQUOT:
        return TROUBLE_NO_SPACE;
    case EROFS:
        return TROUBLE_READ_ONLY;
    case ENOMEM:
        return TROUBLE_NO_MEMORY;
    default:
        return disk_rc_is_damage(rc) || rc == MDB_PANIC ? TROUBLE_DAMAGED : TROUBLE_FAILING;
    }
}

static void enter_trouble(struct disk *d, int rc)
{
    enum disk_trouble_kind kind = trouble_of_rc(rc);
    metric_count(d->metrics, STORE_ERRORS);
    if (atomic_exchange(&d->trouble, (int)kind) != (int)kind) /* once per cause */
        log_error("store: %s: %s (%s); traffic goes on from memory, writing is tried again", d->opt.path,
                  trouble_text[kind], mdb_strerror(rc));
    bool brief = kind == TROUBLE_FULL;
    d->backoff_ms = brief
                        ? BACKOFF_LEAST_MS
                        : MIN(MAX(d->backoff_ms * 2, (uint64_t)BACKOFF_LEAST_MS), (uint64_t)BACKOFF_MOST_MS);
    d->retry_at_ms = clock_mono_ms() + d->backoff_ms;
}

static bool in_trouble(const struct disk *d)
{
    return atomic_load_explicit(&d->trouble, memory_order_relaxed) != TROUBLE_NONE;
}

static void leave_trouble(struct disk *d)
{
    if (atomic_exchange(&d->trouble, TROUBLE_NONE) != TROUBLE_NONE)
        log_info("store: %s: writing works again", d->opt.path);
    d->backoff_ms = 0;
    if (d->n_held == 0)
        return;
    pthread_mutex_lock(&d->lock);
    while (!list_empty(&d->held)) {
        struct disk_op *op = container_of(d->held.prev, struct disk_op, link);
        list_remove(&op->link);
        list_add_head(&d->queue, &op->link); /* before what has come since */
    }
    d->n_held = 0;
    pthread_mutex_unlock(&d->lock);
}

/* What was written of unfinished objects is in the file that is left behind. */
static void forget_written(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    list_each (n, &d->fills) {
        struct disk_fill *f = container_of(n, struct disk_fill, all);
        if (f->id == 0)
            continue;
        disk_fill_shed(d, f);
        f->loose = false;
    }
    pthread_mutex_unlock(&d->lock);
    d->orphans.n = 0;
}

/* Close the file and open it, or a new one, in its place. */
static bool reopen(struct disk *d, const char *set_aside_why)
{
    struct disk_info known = d->file.info;
    known.next_id = d->next_id;
    forget_written(d); /* opening may find that it has to set the file aside, too */
    pthread_rwlock_wrlock(&d->file_lock);
    d->generation++;
    disk_file_close(&d->file);
    if (set_aside_why != NULL)
        disk_file_set_aside(d->opt.path, set_aside_why);
    int err = disk_file_open(&d->file, d->opt.path, d->opt.size_bytes, d->opt.readers, &known);
    atomic_store(&d->damage_told, false);
    pthread_rwlock_unlock(&d->file_lock);
    if (err != 0) {
        d->file.info = known;
        return false;
    }
    d->next_id = MAX(d->next_id, d->file.info.next_id);
    return true;
}

/* ---- the thread ---- */

static bool asks_for_repair(const struct disk *d, const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        const struct disk_op *op = b->items[i].op;
        if (op->kind == OP_DAMAGE && container_of(op, struct disk_damage_op, op)->generation == d->generation)
            return true;
    }
    return false;
}

/* The free pages of a mixed store lie scattered: a long run may not be found though there are pages enough. Then
 * chunks are cut to pieces of 16, 4 and at last 1 page, until it gets better. */
static void cut_smaller(struct disk *d)
{
    d->piece_bytes = MAX((d->piece_bytes + 16) / 4 - 16, (uint32_t)DISK_PIECE_LEAST);
    d->piece_batches = 0;
}

static void cut_larger(struct disk *d)
{
    if (d->piece_bytes == CHUNK_LARGE || ++d->piece_batches < PIECES_KEPT)
        return;
    d->piece_bytes = (d->piece_bytes + 16) * 4 - 16;
    d->piece_batches = 0;
}

static int commit_batch(struct disk *d, struct batch *b)
{
    uint64_t begun_us = clock_mono_us();
    int rc = try_batch(d, b);
    if (disk_rc_is_damage(rc) && reopen(d, mdb_strerror(rc)))
        rc = try_batch(d, b);
    for (int n = 1; n < TRIES && (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL); n++) {
        if (n > 1)
            cut_smaller(d);
        rc = evict_only(d, MIN(pages_for(d, b) * (uint64_t)(n + 1), d->file.limit_pages / 4));
        if (rc == 0)
            rc = try_batch(d, b);
    }
    if (rc != 0)
        return rc;
    cut_larger(d);
    hist_record(&d->metrics->hists[HIST_STORE_COMMIT], clock_mono_us() - begun_us);
    return 0;
}

static void write_batch(struct disk *d, struct batch *b)
{
    if (in_trouble(d) && clock_mono_ms() < d->retry_at_ms && !d->closing) {
        batch_failed(d, b);
        return;
    }
    if (asks_for_repair(d, b))
        reopen(d, "a page of it is damaged");
    int rc = d->file.env != NULL || reopen(d, NULL) ? commit_batch(d, b) : MDB_PANIC;
    if (rc == 0) {
        batch_committed(d, b);
        leave_trouble(d);
        return;
    }
    if (rc == MDB_PANIC)
        reopen(d,
               NULL); /* LMDB refuses all further work on an environment whose meta page it could not write */
    enter_trouble(d, rc);
    batch_failed(d, b);
}

static int delete_leftovers(struct disk_txn *t, uint32_t *deleted)
{
    uint64_t id;
    for (int n = 0; n < TIDY_BODIES; n++) {
        int rc = disk_first_loose(t, &id);
        if (rc == MDB_NOTFOUND || (rc == 0 && id >= t->d->first_id))
            return 0;
        if (rc == 0)
            rc = disk_delete_body(t, id);
        if (rc != 0)
            return rc;
        ++*deleted;
    }
    return 0;
}

/* Leftovers of an earlier process, bodies that no one reads any more, what is above the limit since it was
 * lowered. In trouble, the commit itself is the work: it tells whether writing is possible again. */
static int tidy(struct disk *d, uint64_t *next_ms)
{
    struct disk_txn t;
    uint32_t deleted = 0;
    bool made = false;
    int rc = disk_txn_begin(&t, d);
    if (rc == 0)
        rc = delete_leftovers(&t, &deleted);
    if (rc == 0)
        rc = delete_orphans(&t, DISK_UNREAD_MS, &deleted);
    if (rc == 0)
        rc = disk_make_room(&t, 0, EVICT_STEPS / 16, &made);
    bool worked = deleted > 0 || t.evicted > 0;
    if (rc != 0 || (!worked && !in_trouble(d)))
        disk_txn_abort(&t);
    else
        rc = disk_txn_commit(&t);
    uint64_t now = clock_mono_ms();
    *next_ms = worked ? now + TIDY_MS : made ? UINT64_MAX : now + BACKOFF_LEAST_MS;
    return rc;
}

/* Gives the time of the next call. */
static uint64_t background(struct disk *d)
{
    uint64_t next_ms = UINT64_MAX;
    if (d->file.env == NULL)
        reopen(d, NULL);
    int rc = tidy(d, &next_ms);
    if (rc == 0) {
        leave_trouble(d);
        return next_ms;
    }
    if (disk_rc_is_damage(rc))
        reopen(d, mdb_strerror(rc));
    else if (rc == MDB_PANIC)
        reopen(d, NULL);
    enter_trouble(d, rc);
    return d->retry_at_ms;
}

static uint64_t earliest(const struct disk *d, uint64_t planned_ms)
{
    if (in_trouble(d))
        return MIN(planned_ms, d->retry_at_ms);
    if (d->orphans.n > 0)
        return MIN(planned_ms, clock_mono_ms() + ORPHANS_MS);
    return planned_ms;
}

void *disk_writer_main(void *disk)
{
    struct disk *d = disk;
    disk_crash_watch(d->opt.path);
    uint64_t background_ms = clock_mono_ms() + TIDY_MS;
    for (;;) {
        switch (disk_queue_wait(d, &d->batch, background_ms)) {
        case WORK_BATCH:
            write_batch(d, &d->batch);
            break;
        case WORK_BACKGROUND:
            background_ms = background(d);
            break;
        case WORK_END:
            disk_crash_watch(NULL);
            return NULL;
        }
        background_ms = earliest(d, background_ms);
    }
}
