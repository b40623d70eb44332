#include "shield/store/disk_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum {
    BACKOFF_LEAST_MS = 1000,
    BACKOFF_MOST_MS = 30000,
    TIDY_MS = 20,
    ORPHANS_MS = 1000,
    TIDY_BODIES = 64, /* leftovers deleted per commit */
    HELD_MAX = 100000,
};

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
    if (!object_is_resident(o) &&
        object_is_pinned(o)) /* a reader may come for them, whatever becomes of it */
        disk_saw_reader(d, f->id);
    if (!object_is_resident(o)) /* it may have been until now */
        while (f->let_go < to)
            object_chunk_committed(o, f->let_go++);
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
    case OP_VERIFY: {
        struct disk_drop_op *drop = container_of(op, struct disk_drop_op, op);
        atomic_fetch_sub(&d->deletes[drop->key_hash % DISK_DELETE_SLOTS], 1);
        free(drop);
        return;
    }
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
    d->sweep = (struct disk_sweep){.is_running = false};
}

/* Close the file and open it, or a new one, in its place. */
static bool reopen(struct disk *d, const char *set_aside_why)
{
    struct disk_info known = d->file.info;
    known.next_id = d->next_id;
    known.purge_number = MAX(known.purge_number, disk_purge_newest(d));
    forget_written(d); /* opening may find that it has to set the file aside, too */
    pthread_rwlock_wrlock(&d->file_lock);
    d->generation++;
    disk_file_close(&d->file);
    int err = set_aside_why == NULL || disk_file_set_aside(d->opt.path, set_aside_why)
                  ? disk_file_open(&d->file, d->opt.path, d->opt.size_bytes, d->opt.readers, &known)
                  : ERR_SYSTEM;
    if (err == 0)
        atomic_store(&d->purge_floor, d->file.info.purge_floor);
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

/* Run `commit`, once more where the file is found damaged: on the new one. 0, or the LMDB code. */
static int commit_on_file(struct disk *d, int (*commit)(struct disk *d, struct batch *b), struct batch *b)
{
    int rc = d->file.env != NULL || reopen(d, NULL) ? commit(d, b) : MDB_PANIC;
    if (disk_rc_is_damage(rc) && reopen(d, mdb_strerror(rc)))
        rc = commit(d, b);
    if (rc == MDB_PANIC) /* LMDB refuses all further work once it could not write a meta page */
        reopen(d, NULL);
    return rc;
}

static void write_purges(struct disk *d)
{
    disk_purges_take(d);
    bool lost = atomic_exchange(&d->purges_lost, false);
    if (lost)
        lost = !reopen(d, "purges were ordered that its log does not have");
    if (!lost && list_empty(&d->behind) && !atomic_load(&d->purges_behind))
        return;
    int rc = lost ? EIO : commit_on_file(d, disk_purges_commit, NULL);
    if (rc == 0) {
        disk_purges_committed(d);
        leave_trouble(d);
        return;
    }
    enter_trouble(d, rc);
    disk_purges_failed(d, rc);
    if (lost)
        atomic_store(&d->purges_lost, true);
}

static bool catch_up_with_purges(struct disk *d)
{
    if (atomic_load(&d->purges_behind))
        write_purges(d);
    return !atomic_load(&d->purges_behind);
}

static void write_batch(struct disk *d, struct batch *b)
{
    if (in_trouble(d) && clock_mono_ms() < d->retry_at_ms && !d->closing) {
        batch_failed(d, b);
        return;
    }
    if (asks_for_repair(d, b))
        reopen(d, "a page of it is damaged");
    if (!catch_up_with_purges(d)) {
        batch_failed(d, b);
        return;
    }
    int rc = commit_on_file(d, disk_commit, b);
    if (rc == 0) {
        batch_committed(d, b);
        leave_trouble(d);
        return;
    }
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
        rc = disk_delete_orphans(&t, DISK_UNREAD_MS, &deleted);
    if (rc == 0)
        rc = disk_make_room(&t, 0, DISK_EVICT_STEPS / 16, &made);
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
    if (!catch_up_with_purges(d))
        return d->retry_at_ms;
    int rc = tidy(d, &next_ms);
    if (rc == 0)
        rc = disk_sweep(d);
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
    planned_ms = MIN(planned_ms, disk_sweep_at(d));
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
        case WORK_PURGES:
            write_purges(d);
            break;
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
