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
    return mdb_txn_begin(d->file.env, NULL, 0, &t->txn);
}

static void txn_free(struct disk_txn *t)
{
    t->txn = NULL;
    free(t->orphans.list);
    t->orphans = (struct orphans){0};
    buf_fini(&t->record);
    buf_fini(&t->gone);
}

void disk_txn_abort(struct disk_txn *t)
{
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
        show(d, pages, stat.ms_entries);
        metric_move(d->metrics, EVICTIONS_DISK, (int64_t)t->evicted);
        metric_add(&d->metrics->limits[LIMIT_MAX_VARIANTS], (int64_t)t->variants_dropped);
        for (uint32_t i = 0; i < t->orphans.n; i++)
            disk_orphans_adopt(d, t->orphans.list[i].id, t->orphans.list[i].touched_ms);
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

bool disk_orphans_add(struct orphans *all, uint64_t id, uint64_t touched_ms)
{
    if (all->n == all->cap) {
        uint32_t cap = MAX(16u, all->cap * 2);
        struct orphan *list = realloc(all->list, cap * sizeof *list);
        if (list == NULL)
            return false;
        all->list = list;
        all->cap = cap;
    }
    all->list[all->n++] = (struct orphan){id, touched_ms};
    return true;
}

void disk_orphans_adopt(struct disk *d, uint64_t id, uint64_t touched_ms)
{
    pthread_mutex_lock(&d->lock);
    if (disk_orphans_add(&d->orphans, id, touched_ms))
        atomic_store(&d->has_orphans, true);
    else
        log_warn("store: no memory to remember a replaced body: its space is free again after a restart");
    pthread_mutex_unlock(&d->lock);
}

uint64_t disk_orphans_take_due(struct disk *d, uint64_t now_ms)
{
    uint64_t id = 0;
    struct orphans *all = &d->orphans;
    if (!atomic_load(&d->has_orphans))
        return 0;
    pthread_mutex_lock(&d->lock);
    for (uint32_t i = 0; i < all->n && id == 0; i++) {
        if (all->list[i].touched_ms + DISK_ORPHAN_MS <= now_ms) {
            id = all->list[i].id;
            all->list[i] = all->list[--all->n];
        }
    }
    atomic_store(&d->has_orphans, all->n > 0);
    pthread_mutex_unlock(&d->lock);
    return id;
}

void disk_orphans_touch(struct disk *d, uint64_t id)
{
    if (!atomic_load_explicit(&d->has_orphans, memory_order_relaxed))
        return;
    pthread_mutex_lock(&d->lock);
    for (uint32_t i = 0; i < d->orphans.n; i++)
        if (d->orphans.list[i].id == id)
            d->orphans.list[i].touched_ms = clock_mono_ms();
    pthread_mutex_unlock(&d->lock);
}
