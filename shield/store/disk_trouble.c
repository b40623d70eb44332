#include "shield/store/disk_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum { BACKOFF_LEAST_MS = 1000, BACKOFF_MOST_MS = 30000 };

/* ---- what it is ---- */

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
    case ENOENT:
        return TROUBLE_GONE;
    case ENOMEM:
        return TROUBLE_NO_MEMORY;
    default:
        return disk_rc_is_damage(rc) || rc == MDB_PANIC ? TROUBLE_DAMAGED : TROUBLE_FAILING;
    }
}

void disk_enter_trouble(struct disk *d, int rc)
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

bool disk_in_trouble(const struct disk *d)
{
    return atomic_load_explicit(&d->trouble, memory_order_relaxed) != TROUBLE_NONE;
}

void disk_leave_trouble(struct disk *d)
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

/* ---- another file ---- */

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

bool disk_reopen(struct disk *d, const char *set_aside_why)
{
    struct disk_info known = d->file.info;
    known.next_id = d->next_id;
    known.purge_number = MAX(known.purge_number, disk_purge_newest(d));
    forget_written(d); /* opening may find that it has to set the file aside, too */
    pthread_rwlock_wrlock(&d->file_lock);
    disk_file_close(&d->file);
    int err = set_aside_why == NULL || disk_file_set_aside(d->opt.path, set_aside_why)
                  ? disk_file_open(&d->file, d->opt.path, d->opt.size_bytes, d->opt.readers, &known)
                  : ERR_SYSTEM;
    if (err == 0)
        atomic_store(&d->purge_floor, d->file.info.purge_floor);
    atomic_store(&d->damage_told, false);
    pthread_mutex_lock(&d->lock);
    d->is_damaged = false; /* that was about the file before */
    pthread_mutex_unlock(&d->lock);
    pthread_rwlock_unlock(&d->file_lock);
    if (err != 0) {
        d->file.info = known;
        return false;
    }
    d->next_id = MAX(d->next_id, d->file.info.next_id);
    disk_file_sync_name(d->opt.path);
    disk_show_content(d);
    return true;
}

/* The directory of a file that is not there is there again, empty or not: go on in it. */
static bool move_in(struct disk *d)
{
    struct stat st;
    int fd;
    if (stat(d->opt.path, &st) != 0 || !S_ISDIR(st.st_mode))
        return false;
    if (!disk_lock_is_there(d->lock_fd, d->opt.path)) {
        if (disk_lock_take(d->opt.path, &fd) != 0)
            return false;
        disk_lock_release(d->lock_fd);
        d->lock_fd = fd;
        d->behind_marked = false;
    }
    if (!disk_reopen(d, NULL))
        return false;
    log_error("store: %s: %s; a new one is begun", d->opt.path, trouble_text[TROUBLE_GONE]);
    return true;
}

/* What can be done about the code at once: true when it is worth another try. */
static bool repair(struct disk *d, int rc)
{
    if (disk_rc_is_damage(rc))
        return disk_reopen(d, mdb_strerror(rc));
    if (rc == MDB_PANIC) /* LMDB refuses all further work once it could not write a meta page */
        return disk_reopen(d, NULL);
    return rc == ENOENT && move_in(d);
}

struct committing {
    struct disk *d;
    int (*commit)(struct disk *d, struct batch *b);
    struct batch *b;
    int rc;
};

static void run_commit(void *ctx)
{
    struct committing *c = ctx;
    c->rc = c->commit(c->d, c->b);
}

/* A page that cannot be read breaks LMDB off anywhere: then its environment is left as it is, lock and all,
 * and nothing of it is used again. */
static struct left_as_it_is {
    struct left_as_it_is *next;
    MDB_env *env;
} * all_left; /* so that they are not taken for forgotten */

static int survive_commit(struct disk *d, int (*commit)(struct disk *d, struct batch *b), struct batch *b)
{
    struct committing c = {.d = d, .commit = commit, .b = b};
    if (!disk_crash_faults(run_commit, &c))
        return c.rc;
    struct left_as_it_is *left = calloc(1, sizeof *left);
    if (left != NULL)
        *left = (struct left_as_it_is){all_left, d->file.env};
    pthread_rwlock_wrlock(&d->file_lock);
    all_left = left;
    d->file.env = NULL;
    pthread_rwlock_unlock(&d->file_lock);
    return MDB_PAGE_NOTFOUND;
}

int disk_commit_on_file(struct disk *d, int (*commit)(struct disk *d, struct batch *b), struct batch *b)
{
    int rc = d->file.env != NULL || disk_reopen(d, NULL) ? survive_commit(d, commit, b) : MDB_PANIC;
    return repair(d, rc) && rc != MDB_PANIC ? survive_commit(d, commit, b) : rc;
}
