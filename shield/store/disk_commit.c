#include "shield/store/disk_impl.h"

#include <errno.h>

#include "common/check.h"
#include "common/clock.h"

enum {
    TRIES = 5,            /* of a batch, with more evicted before each, and in smaller pieces */
    PIECES_KEPT = 32,     /* batches until larger pieces are tried again */
    EVICT_ROUNDS = 8,     /* transactions that do nothing else, before each try ... */
    EVICT_CAREFULLY = 64, /* ... with so few steps first: deleting takes free pages, too */
    PRESSED_MS = 5000,    /* without room, a replaced body waits only so long for a reader */
    ITEM_PAGES = 3,       /* tree pages that an item may add, about */
    BATCH_PAGES = 16,     /* and a commit as such */
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

/* It is not stored. Who reads it on may have to load what has left memory, unless it has failed for everyone:
 * then the body stays in `loose` until nobody has read it for a while. */
static int drop_fill(struct disk_txn *t, struct batch_item *item, struct disk_fill *f)
{
    const struct object *o = f->object;
    item->dropped = true;
    if (!item->is_last || !f->loose)
        return 0;
    if (object_is_resident(o) || !object_is_pinned(o) || object_state(o) == OBJECT_FAILED)
        return disk_delete_body(t, f->id);
    disk_saw_reader(t->d, f->id);
    return disk_orphans_add(&t->orphans, f->id) ? 0 : ENOMEM;
}

static int write_fill(struct disk_txn *t, struct batch_item *item, struct disk_fill *f)
{
    bool missing = false, unwanted = item->is_last && (object_flags(f->object) & OBJECT_UNWANTED);
    if (item->is_last && object_head(renewed_of(f))->purge_number < t->info.purge_floor)
        disk_fill_shed(t->d, f); /* purges that it was never held against may have been forgotten */
    if (f->aborted || unwanted || atomic_load(&f->shed))
        return drop_fill(t, item, f);
    if (f->id == 0) {
        f->id = t->d->next_id++;
        object_set_disk_id(f->object, f->id);
    }
    int rc = write_chunks(t, f, item->from, item->to, &missing);
    if (rc == 0 && !missing && item->is_last) {
        rc = disk_put_object(t, f->id, renewed_of(f), f->loose);
        if (rc == 0) /* while it waited it had no id to be marked by */
            disk_marks_begin(t->d->marks, f->id, atomic_load(&object_ram(f->object)->hits));
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
        rc = disk_file_reserve(&d->file, pages_for(d, b) * d->file.page_bytes);
    if (rc == 0)
        rc = disk_make_room(&t, pages_for(d, b), DISK_EVICT_STEPS, &made);
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

/* LMDB gives freed pages out again two commits later: an empty one follows the evictions. */
int disk_evict_only(struct disk *d, uint64_t pages)
{
    uint32_t deleted = 0;
    bool made = false;
    int rc = 0;
    for (int round = 0; round < EVICT_ROUNDS && rc == 0; round++) {
        struct disk_txn t;
        bool enough = made;
        rc = disk_txn_begin(&t, d);
        if (rc == 0 && !enough)
            rc = disk_delete_orphans(&t, PRESSED_MS, &deleted);
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

/* ---- until it fits ---- */

/* The free pages of a mixed store lie scattered: a long run may not be found though there are pages enough.
 * Then chunks are cut to pieces of 16, 4 and at last 1 page, until it gets better. */
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

int disk_commit(struct disk *d, struct batch *b)
{
    uint64_t begun_us = clock_mono_us();
    int rc = try_batch(d, b);
    for (int n = 1; n < TRIES && (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL); n++) {
        if (n > 1)
            cut_smaller(d);
        rc = disk_evict_only(d, MIN(pages_for(d, b) * (uint64_t)(n + 1), d->file.limit_pages / 4));
        if (rc == 0)
            rc = try_batch(d, b);
    }
    if (rc != 0)
        return rc;
    cut_larger(d);
    hist_record(&d->metrics->hists[HIST_STORE_COMMIT], clock_mono_us() - begun_us);
    return 0;
}
