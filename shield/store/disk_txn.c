#include "shield/store/disk_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

int disk_txn_begin(struct disk_txn *t, struct disk *d)
{
    *t = (struct disk_txn){.d = d, .info = d->file.info};
    if (d->file.env == NULL)
        return MDB_PANIC;
    int rc = disk_file_is_there(&d->file, d->opt.path); /* else it would be written for nobody */
    if (rc == 0)
        rc = mdb_txn_begin(d->file.env, NULL, 0, &t->txn);
    uint64_t unused;
    return rc == 0 ? disk_txn_live_pages(t, &unused) : rc; /* what cannot be read breaks off here, mostly */
}

static void txn_free(struct disk_txn *t)
{
    t->txn = NULL;
    free(t->orphans.ids);
    t->orphans = (struct orphans){0};
    buf_fini(&t->record);
    buf_fini(&t->gone);
    buf_fini(&t->marks);
}

void disk_txn_abort(struct disk_txn *t)
{
    disk_marks_restore(t);
    if (t->txn != NULL)
        mdb_txn_abort(t->txn);
    txn_free(t);
}

int disk_txn_live_pages(struct disk_txn *t, uint64_t *pages)
{
    const struct disk_file *f = &t->d->file;
    enum { FREE_DBI = 0, MAIN_DBI = 1 }; /* LMDB's own: free pages, and the names of the others */
    MDB_dbi all[] = {FREE_DBI,
                     MAIN_DBI,
                     f->index,
                     f->meta,
                     f->chunks,
                     f->loose,
                     f->info_db,
                     f->purges,
                     f->order[QUEUE_SMALL],
                     f->order[QUEUE_MAIN]};
    MDB_stat stat;
    *pages = 2; /* the meta pages */
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        int rc = mdb_stat(t->txn, all[i], &stat);
        if (rc != 0)
            return rc;
        *pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    return 0;
}

static int put_info(struct disk_txn *t)
{
    char name[] = "info", bytes[DISK_INFO_BYTES];
    t->info.next_id = t->d->next_id;
    disk_info_encode(&t->info, bytes);
    MDB_val key = {sizeof name, name}, value = {sizeof bytes, bytes};
    return mdb_put(t->txn, t->d->file.info_db, &key, &value, 0);
}

static void show(struct disk *d, uint64_t pages, uint64_t objects)
{
    uint64_t bytes = pages * d->file.page_bytes;
    metric_move(d->metrics, STORE_BYTES, (int64_t)(bytes - d->live_bytes));
    metric_move(d->metrics, STORE_OBJECTS, (int64_t)(objects - d->objects));
    d->live_bytes = bytes;
    d->objects = objects;
}

void disk_show_content(struct disk *d)
{
    struct disk_txn t;
    uint64_t pages;
    MDB_stat stat;
    if (disk_txn_begin(&t, d) == 0 && disk_txn_live_pages(&t, &pages) == 0 &&
        mdb_stat(t.txn, d->file.meta, &stat) == 0)
        show(d, pages, stat.ms_entries);
    disk_txn_abort(&t);
}

int disk_txn_commit(struct disk_txn *t)
{
    struct disk *d = t->d;
    uint64_t pages = 0;
    MDB_stat stat = {0};
    int rc = put_info(t);
    if (rc == 0)
        rc = disk_txn_live_pages(t, &pages);
    if (rc == 0)
        rc = mdb_stat(t->txn, d->file.meta, &stat);
    if (rc != 0) {
        disk_txn_abort(t);
        return rc;
    }
    rc = mdb_txn_commit(t->txn);
    if (rc == 0) {
        d->file.info = t->info;
        atomic_store(&d->purge_floor, t->info.purge_floor);
        show(d, pages, stat.ms_entries);
        metric_move(d->metrics, EVICTIONS_DISK, (int64_t)t->evicted);
        metric_add(&d->metrics->limits[LIMIT_MAX_VARIANTS], (int64_t)t->variants_dropped);
        for (uint32_t i = 0; i < t->orphans.n; i++)
            disk_orphans_adopt(d, t->orphans.ids[i]);
    } else {
        disk_marks_restore(t);
    }
    txn_free(t);
    return rc;
}

int disk_txn_put_ordered(struct disk_txn *t, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags)
{
    int rc = mdb_put(t->txn, dbi, key, value, flags | MDB_APPEND);
    return rc == MDB_KEYEXIST ? mdb_put(t->txn, dbi, key, value, flags) : rc;
}

/* ---- bodies that nothing points to, but a reader may be on ----
 *
 * A reader of a large body loads chunk by chunk; when its object is replaced meanwhile, it must still find
 * the rest. So the body stays until it has not been read for a while. `loose` lists it, in case the process
 * ends before. */

bool disk_orphans_add(struct orphans *all, uint64_t id)
{
    if (all->n == all->cap) {
        uint32_t cap = MAX(16u, all->cap * 2);
        uint64_t *ids = realloc(all->ids, cap * sizeof *ids);
        if (ids == NULL)
            return false;
        all->ids = ids;
        all->cap = cap;
    }
    all->ids[all->n++] = id;
    return true;
}

void disk_orphans_adopt(struct disk *d, uint64_t id)
{
    if (!disk_orphans_add(&d->orphans, id))
        log_warn("store: no memory to remember a replaced body: its space is free again after a restart");
}

uint64_t disk_orphans_take(struct disk *d, uint64_t unread_ms)
{
    struct orphans *all = &d->orphans;
    for (uint32_t i = 0; i < all->n; i++) {
        uint64_t id = all->ids[i];
        if (disk_was_read(d, id, unread_ms))
            continue;
        all->ids[i] = all->ids[--all->n];
        return id;
    }
    return 0;
}

static struct seen_body *seen_slot(struct disk *d, uint64_t id)
{
    return &d->seen[id % DISK_SEEN_SLOTS];
}

void disk_saw_reader(struct disk *d, uint64_t id)
{
    struct seen_body *s = seen_slot(d, id);
    atomic_store_explicit(&s->at_ms, clock_mono_ms(), memory_order_relaxed);
    atomic_store_explicit(&s->id, id, memory_order_relaxed);
}

bool disk_was_read(struct disk *d, uint64_t id, uint64_t within_ms)
{
    struct seen_body *s = seen_slot(d, id);
    return atomic_load_explicit(&s->id, memory_order_relaxed) == id &&
           atomic_load_explicit(&s->at_ms, memory_order_relaxed) + within_ms > clock_mono_ms();
}
