#include "shield/store/disk_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum { BEHIND_MAX = 100000 }; /* records kept for a log that cannot be written; beyond, the file goes */

struct disk_purge_op {
    struct list_node link;
    void (*done)(void *ctx, int err); /* NULL once it was called */
    void *ctx;
    size_t n;
    struct purge_record records[]; /* what they name stands behind them */
};

/* ---- the loops' side ---- */

static struct disk_purge_op *copy_of(const struct purge_record *records, size_t n)
{
    struct disk_purge_op *op;
    size_t bytes = sizeof *op + n * sizeof *records;
    for (size_t i = 0; i < n; i++)
        bytes += records[i].what.len + records[i].reference.len;
    op = malloc(bytes);
    if (op == NULL)
        return NULL;
    *op = (struct disk_purge_op){.n = n};
    list_init(&op->link);
    char *at = (char *)&op->records[n];
    for (size_t i = 0; i < n; i++) {
        struct purge_record *r = &op->records[i];
        *r = records[i];
        struct span *texts[] = {&r->what, &r->reference};
        for (size_t k = 0; k < ARRAY_LEN(texts); k++) {
            if (texts[k]->len > 0)
                memcpy(at, texts[k]->p, texts[k]->len);
            texts[k]->p = at;
            at += texts[k]->len;
        }
    }
    return op;
}

int disk_purge_add(struct disk *d, const struct purge_record *records, size_t n,
                   void (*done)(void *ctx, int err), void *ctx)
{
    struct disk_purge_op *op = copy_of(records, n);
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < n; i++)
        if (records[i].number > atomic_load(&d->purge_newest))
            atomic_store(&d->purge_newest, records[i].number);
    if (op != NULL) {
        op->done = done;
        op->ctx = ctx;
        list_add_tail(&d->purges, &op->link);
    } else {
        atomic_store(&d->purges_lost, true);
        atomic_store(&d->purges_behind, true);
    }
    d->purges_due = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    return op != NULL ? 0 : ERR_NOMEM;
}

uint64_t disk_purge_newest(const struct disk *d)
{
    return atomic_load(&d->purge_newest);
}

/* ---- reading ---- */

/* All that is in the log goes into `sums`, what is not about to be forgotten to `take`. */
static int each_record(MDB_dbi purges, uint64_t seed, MDB_txn *txn, uint64_t floor,
                       int (*take)(void *ctx, const struct purge_record *r), void *ctx,
                       struct disk_info *sums)
{
    MDB_cursor *c;
    MDB_val key, value;
    struct purge_record r;
    uint64_t sum;
    int err = 0, rc = mdb_cursor_open(txn, purges, &c);
    if (rc != 0)
        return disk_err_of_rc(rc);
    while (err == 0 && (rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        err = disk_purge_decode((struct span){value.mv_data, value.mv_size},
                                (struct span){key.mv_data, key.mv_size}, seed, &r, &sum);
        if (err != 0)
            break;
        sums->purges++;
        sums->purges_sum ^= sum;
        sums->purge_number = r.number;
        if (take != NULL && r.number > floor)
            err = take(ctx, &r);
    }
    mdb_cursor_close(c);
    return err != 0 || rc == MDB_NOTFOUND ? err : disk_err_of_rc(rc);
}

bool disk_purges_verify(struct disk_file *f, MDB_txn *txn)
{
    struct disk_info sums = {0};
    return each_record(f->purges, f->info.seed, txn, 0, NULL, NULL, &sums) == 0 &&
           sums.purges == f->info.purges && sums.purges_sum == f->info.purges_sum &&
           sums.purge_number <= f->info.purge_number;
}

int disk_purge_load(struct disk *d, int (*take)(void *ctx, const struct purge_record *r), void *ctx)
{
    struct disk_info sums = {0};
    MDB_txn *txn;
    pthread_rwlock_rdlock(&d->file_lock);
    int err = ERR_IO;
    if (d->file.env != NULL && mdb_txn_begin(d->file.env, NULL, MDB_RDONLY, &txn) == 0) {
        err = each_record(d->file.purges, d->seed, txn, atomic_load(&d->purge_floor), take, ctx, &sums);
        mdb_txn_abort(txn);
    }
    pthread_rwlock_unlock(&d->file_lock);
    return err;
}

/* ---- the writer's side ---- */

/* A record that is there was committed by a try whose end the writer could not see. */
static int put_record(struct disk_txn *t, const struct purge_record *r, uint32_t index)
{
    char name[DISK_PURGE_KEY_BYTES];
    disk_purge_key(r->number, index, name);
    MDB_val key = {sizeof name, name}, value = {disk_purge_size(r), NULL};
    int rc = mdb_put(t->txn, t->d->file.purges, &key, &value, MDB_NOOVERWRITE | MDB_RESERVE);
    if (rc != 0)
        return rc == MDB_KEYEXIST ? 0 : rc;
    t->info.purges++;
    t->info.purges_sum ^= disk_purge_encode(r, index, t->info.seed, value.mv_data);
    t->info.purge_number = MAX(t->info.purge_number, r->number);
    return 0;
}

static int put_order(struct disk_txn *t, const struct disk_purge_op *op)
{
    int rc = 0;
    for (size_t i = 0, first = 0; i < op->n && rc == 0; i++) {
        if (op->records[i].number != op->records[first].number)
            first = i;
        rc = put_record(t, &op->records[i], (uint32_t)(i - first));
    }
    return rc;
}

static int try_commit(struct disk *d)
{
    struct disk_txn t;
    int rc = disk_txn_begin(&t, d);
    list_each (n, &d->behind) {
        if (rc == 0)
            rc = put_order(&t, container_of(n, struct disk_purge_op, link));
    }
    if (rc == 0)
        return disk_txn_commit(&t);
    disk_txn_abort(&t);
    return rc;
}

static uint64_t pages_of_behind(const struct disk *d)
{
    uint64_t bytes = 0;
    list_each (n, &d->behind) {
        const struct disk_purge_op *op = container_of(n, struct disk_purge_op, link);
        for (size_t i = 0; i < op->n; i++)
            bytes += 2 * (disk_purge_size(&op->records[i]) + DISK_PURGE_KEY_BYTES);
    }
    return bytes / d->file.page_bytes + DISK_PURGE_PAGES;
}

int disk_purges_commit(struct disk *d, struct batch *unused)
{
    (void)unused;
    enum { TRIES = 3 };
    int rc = try_commit(d);
    for (int n = 1; n < TRIES && (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL); n++) {
        rc = disk_evict_only(d, pages_of_behind(d) * (uint64_t)n);
        if (rc == 0)
            rc = try_commit(d);
    }
    return rc;
}

void disk_purges_take(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    list_each (n, &d->purges)
        d->n_behind += container_of(n, struct disk_purge_op, link)->n;
    list_splice_tail(&d->behind, &d->purges);
    d->purges_due = false;
    pthread_mutex_unlock(&d->lock);
}

static void tell(struct disk_purge_op *op, int err)
{
    if (op->done != NULL)
        op->done(op->ctx, err);
    op->done = NULL;
}

/* Those that have not been told yet are told `err`. */
static void forget_behind(struct disk *d, int err)
{
    while (!list_empty(&d->behind)) {
        struct disk_purge_op *op = container_of(d->behind.next, struct disk_purge_op, link);
        list_remove(&op->link);
        tell(op, err);
        free(op);
    }
    d->n_behind = 0;
}

void disk_purges_committed(struct disk *d)
{
    forget_behind(d, 0);
    if (!atomic_exchange(&d->purges_behind, false))
        return;
    int rc = disk_lock_note_whole(d->lock_fd, d->opt.path);
    if (rc != 0) /* the next start sets aside what need not go */
        log_warn("store: %s: cannot note that the log of purges is whole again: %s", d->opt.path,
                 strerror(rc));
    d->behind_marked = rc != 0;
    log_info("store: %s: the log of purges is whole again", d->opt.path);
}

void disk_purges_failed(struct disk *d, int rc)
{
    if (!atomic_exchange(&d->purges_behind, true))
        log_error("store: %s: a purge could not be made durable: nothing is served from disk until it is",
                  d->opt.path);
    if (!d->behind_marked)
        d->behind_marked = disk_lock_note_behind(d->lock_fd, d->opt.path);
    list_each (n, &d->behind)
        tell(container_of(n, struct disk_purge_op, link), disk_err_of_rc(rc));
    if (d->n_behind <= BEHIND_MAX)
        return;
    forget_behind(d, 0);
    atomic_store(&d->purges_lost, true);
}

void disk_purges_free(struct disk *d)
{
    forget_behind(d, 0);
}
