#include "shield/store/disk_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum {
    TIDY_MS = 20,
    WATCH_MS = 1000,  /* whether the file is still there, whether it is over the limit */
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

/* ---- the thread ---- */

static void write_purges(struct disk *d)
{
    disk_purges_take(d);
    bool lost = atomic_exchange(&d->purges_lost, false);
    if (lost)
        lost = !disk_reopen(d, "purges were ordered that its log does not have");
    if (!lost && list_empty(&d->behind) && !atomic_load(&d->purges_behind))
        return;
    int rc = lost ? EIO : disk_commit_on_file(d, disk_purges_commit, NULL);
    if (rc == 0) {
        disk_purges_committed(d);
        disk_leave_trouble(d);
        return;
    }
    disk_enter_trouble(d, rc);
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
    if (disk_in_trouble(d) && clock_mono_ms() < d->retry_at_ms && !d->closing) {
        batch_failed(d, b);
        return;
    }
    if (!catch_up_with_purges(d)) {
        batch_failed(d, b);
        return;
    }
    int rc = disk_commit_on_file(d, disk_commit, b);
    if (rc == 0) {
        batch_committed(d, b);
        disk_leave_trouble(d);
        return;
    }
    disk_enter_trouble(d, rc);
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
 * lowered. In trouble, the commit itself is the work: it tells whether writing is possible again, and whether
 * there is room for more than itself. */
static int tidy(struct disk *d)
{
    struct disk_txn t;
    uint32_t deleted = 0;
    bool made = false;
    int rc = disk_txn_begin(&t, d);
    if (rc == 0 && disk_in_trouble(d))
        rc = disk_file_reserve(&d->file, d->batch_bytes);
    if (rc == 0)
        rc = delete_leftovers(&t, &deleted);
    if (rc == 0)
        rc = disk_delete_orphans(&t, DISK_UNREAD_MS, &deleted);
    if (rc == 0)
        rc = disk_make_room(&t, 0, DISK_EVICT_STEPS / 16, &made);
    bool worked = deleted > 0 || t.evicted > 0;
    if (rc != 0 || (!worked && !disk_in_trouble(d)))
        disk_txn_abort(&t);
    else
        rc = disk_txn_commit(&t);
    d->tidy_at_ms = clock_mono_ms() + (worked ? TIDY_MS : WATCH_MS);
    return rc;
}

static int tidy_and_sweep(struct disk *d, struct batch *unused)
{
    (void)unused;
    int rc = tidy(d);
    return rc == 0 ? disk_sweep(d) : rc;
}

/* Gives the time of the next call. */
static uint64_t background(struct disk *d)
{
    if (!catch_up_with_purges(d))
        return d->retry_at_ms;
    int rc = disk_commit_on_file(d, tidy_and_sweep, NULL);
    if (rc == 0) {
        disk_leave_trouble(d);
        return d->tidy_at_ms;
    }
    disk_enter_trouble(d, rc);
    return d->retry_at_ms;
}

static uint64_t earliest(const struct disk *d, uint64_t planned_ms)
{
    if (disk_in_trouble(d))
        return MIN(planned_ms, d->retry_at_ms);
    return MIN(planned_ms, disk_sweep_at(d));
}

void *disk_writer_main(void *disk)
{
    struct disk *d = disk;
    disk_crash_watch(d->opt.path);
    disk_file_sync_name(
        d->opt.path); /* not in disk_open: it takes milliseconds, and the first hit need not wait */
    uint64_t background_ms = clock_mono_ms() + TIDY_MS;
    for (;;) {
        switch (disk_queue_wait(d, &d->batch, background_ms)) {
        case WORK_REPAIR:
            if (!disk_reopen(d, "a page of it is damaged"))
                disk_enter_trouble(d, MDB_CORRUPTED);
            break;
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
