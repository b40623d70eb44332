#include "shield/store/disk.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"
#include "shield/store/disk_impl.h"

static void init_lists(struct disk *d)
{
    struct list_node *heads[] = {&d->queue, &d->fills, &d->held, &d->purges, &d->behind, &d->gets, &d->loads};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        list_init(heads[i]);
    for (size_t i = 0; i < DISK_LOAD_BUCKETS; i++)
        list_init(&d->loading[i]);
}

static void init_locks(struct disk *d)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->wake, &attr);
    pthread_cond_init(&d->read_wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&d->lock, NULL);
    pthread_mutex_init(&d->read_lock, NULL);
    pthread_rwlockattr_t prefers_writer;
    pthread_rwlockattr_init(&prefers_writer);
    pthread_rwlockattr_setkind_np(&prefers_writer, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&d->file_lock, &prefers_writer);
    pthread_rwlockattr_destroy(&prefers_writer);
}

static struct disk *disk_new(const struct disk_options *options)
{
    struct disk *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->opt = *options;
    d->opt.readers = MAX(options->readers, 1u);
    d->opt.path = strdup(options->path);
    d->metrics = metrics_slot_new();
    d->marks = disk_marks_new(options->size_bytes);
    d->readers = calloc(d->opt.readers, sizeof *d->readers);
    init_lists(d);
    init_locks(d);
    return d;
}

static void disk_free(struct disk *d)
{
    while (!list_empty(&d->held)) {
        struct disk_op *op = container_of(d->held.next, struct disk_op, link);
        list_remove(&op->link);
        free(container_of(op, struct disk_delete_op, op));
    }
    disk_purges_free(d);
    pthread_rwlock_destroy(&d->file_lock);
    pthread_mutex_destroy(&d->read_lock);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->read_wake);
    pthread_cond_destroy(&d->wake);
    disk_marks_free(d->marks);
    free(d->orphans.ids);
    free(d->readers);
    free((char *)d->opt.path);
    free(d);
}

/* ---- threads ---- */

static void stop_readers(struct disk *d)
{
    pthread_mutex_lock(&d->read_lock);
    d->readers_stop = true;
    pthread_cond_broadcast(&d->read_wake);
    pthread_mutex_unlock(&d->read_lock);
    while (d->n_readers > 0)
        pthread_join(d->readers[--d->n_readers], NULL);
}

static void stop_writer(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->closing = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->writer, NULL);
}

/* Signals for the process are for its other threads to take. */
static int start_threads(struct disk *d)
{
    sigset_t all, before;
    sigfillset(&all);
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        sigdelset(&all, fatal[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&d->writer, NULL, disk_writer_main, d);
    if (rc == 0) {
        while (rc == 0 && d->n_readers < d->opt.readers) {
            rc = pthread_create(&d->readers[d->n_readers], NULL, disk_reader_main, d);
            d->n_readers += rc == 0;
        }
        if (rc != 0) {
            stop_readers(d);
            stop_writer(d);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        log_error("store: cannot start a thread: %s", strerror(rc));
    return rc == 0 ? 0 : ERR_SYSTEM;
}

/* ---- life ---- */

static void show_content(struct disk *d)
{
    disk_show_content(d);
    log_info("store: %s: %" PRIu64 " objects, %" PRIu64 " MiB in use", d->opt.path, d->objects,
             d->live_bytes >> 20);
}

/* LMDB may die of a bad page already here. */
static int open_file(struct disk *d)
{
    bool is_behind = disk_lock_is_behind(d->lock_fd, d->opt.path);
    if (is_behind && !disk_file_set_aside(d->opt.path, "purges were ordered that its log does not have"))
        return ERR_SYSTEM;
    if (is_behind)
        disk_lock_note_whole(d->lock_fd, d->opt.path);
    disk_crash_watch(d->opt.path);
    int err = disk_file_open(&d->file, d->opt.path, d->opt.size_bytes, d->opt.readers, NULL);
    disk_crash_watch(NULL);
    return err;
}

int disk_open(struct disk **out, const struct disk_options *options)
{
    REQUIRE(options->path != NULL && options->config != NULL);
    struct disk *d = disk_new(options);
    if (d == NULL)
        return ERR_NOMEM;
    int err = ERR_NOMEM;
    if (d->opt.path == NULL || d->metrics == NULL || d->marks == NULL || d->readers == NULL)
        goto free_disk;
    err = disk_lock_take(d->opt.path, &d->lock_fd);
    if (err != 0)
        goto free_disk;
    err = open_file(d);
    if (err != 0)
        goto unlock;
    d->purge_newest = d->file.info.purge_number;
    d->purge_floor = d->file.info.purge_floor;
    d->next_id = d->first_id = d->file.info.next_id;
    d->seed = d->file.info.seed;
    d->batch_bytes = d->file.batch_bytes;
    d->piece_bytes = CHUNK_LARGE;
    show_content(d);
    err = start_threads(d);
    if (err != 0)
        goto close_file;
    *out = d;
    return 0;

close_file:
    disk_file_close(&d->file);
unlock:
    disk_lock_release(d->lock_fd);
free_disk:
    disk_free(d);
    return err;
}

void disk_close(struct disk **slot)
{
    struct disk *d = *slot;
    *slot = NULL;
    if (d == NULL)
        return;
    stop_readers(d);
    stop_writer(d);
    disk_fill_free_rest(d);
    disk_file_close(&d->file);
    disk_lock_release(d->lock_fd);
    metric_move(d->metrics, STORE_BYTES, -(int64_t)d->live_bytes);
    metric_move(d->metrics, STORE_OBJECTS, -(int64_t)d->objects);
    disk_free(d);
}

uint64_t disk_seed(const struct disk *d)
{
    return d->seed;
}

void disk_note_hit(struct disk *d, const struct object *o)
{
    uint64_t id = object_disk_id(o);
    if (id != 0)
        disk_marks_hit(d->marks, id);
}
