#include "shield/store/disk_impl.h"

#include "common/check.h"
#include "common/err.h"

/* ---- jobs ---- */

static int begin(struct disk *d, struct disk_read_txn *t)
{
    *t = (struct disk_read_txn){.d = d, .purge_floor = atomic_load(&d->purge_floor)};
    if (d->file.env == NULL)
        return ERR_IO;
    return disk_read_rc(d, mdb_txn_begin(d->file.env, NULL, MDB_RDONLY, &t->txn));
}

static void deliver_get(struct mail *m)
{
    struct disk_get *job = container_of(m, struct disk_get, mail);
    job->on_done(job);
}

struct reading {
    struct disk *d;
    struct disk_read_txn t;
    struct disk_get *get;
    struct disk_load *load;
    int err;
};

static void read_job(void *ctx)
{
    struct reading *r = ctx;
    r->err = begin(r->d, &r->t);
    if (r->err != 0)
        return;
    if (r->load != NULL)
        r->err = disk_read_chunk(&r->t, r->load);
    else
        r->err = r->get->peek != NULL ? disk_read_look(&r->t, r->get) : disk_read_object(&r->t, r->get);
}

/* One job in a transaction of its own. */
static int in_transaction(struct reading *r)
{
    pthread_rwlock_rdlock(&r->d->file_lock);
    if (disk_crash_faults(read_job, r)) {
        disk_read_damage(r->d, "a page of the file cannot be read");
        r->err = ERR_IO;
        chunk_unref(&r->t.chunk);
        object_unref(&r->t.object);
        if (r->t.cursor != NULL)
            mdb_cursor_close(r->t.cursor);
    }
    if (r->t.txn != NULL)
        mdb_txn_abort(r->t.txn);
    pthread_rwlock_unlock(&r->d->file_lock);
    return r->err;
}

static void run_get(struct disk *d, struct disk_get *job)
{
    job->object = NULL;
    /* Asked before the transaction begins: a deletion that is no longer counted then, is seen by it. */
    if (atomic_load(&d->purges_behind) || atomic_load(&d->deletes[job->key_hash % DISK_DELETE_SLOTS]) > 0)
        job->err = ERR_NOT_FOUND;
    else
        job->err = in_transaction(&(struct reading){.d = d, .get = job});
    job->mail.deliver = deliver_get;
    loop_post(job->loop, &job->mail);
}

static void deliver_load(struct mail *m)
{
    struct disk_load *job = container_of(m, struct disk_load, mail);
    job->on_done(job);
}

static void finish_load(struct disk_load *job, int err, struct chunk *c)
{
    job->err = err;
    job->chunk = c;
    if (c != NULL) {
        atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
        struct chunk *there = object_chunk(job->object, job->index); /* another's object over the same body */
        if (there == NULL) {
            atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
            object_chunk_loaded(job->object, job->index, c);
        }
        chunk_unref(&there);
    }
    job->mail.deliver = deliver_load;
    loop_post(job->loop, &job->mail);
}

static void run_load(struct disk *d, struct disk_load *job)
{
    struct list_node followers;
    int err = in_transaction(&(struct reading){.d = d, .load = job});

    list_init(&followers);
    pthread_mutex_lock(&d->read_lock);
    list_remove(&job->in_table);
    list_splice_tail(&followers, &job->followers);
    pthread_mutex_unlock(&d->read_lock);
    struct chunk *c = err == 0 ? job->chunk : NULL;
    finish_load(job, err, c); /* from here on it is the loop's */
    while (!list_empty(&followers)) {
        struct disk_load *f = container_of(followers.next, struct disk_load, link);
        list_remove(&f->link);
        finish_load(f, err, c);
    }
    chunk_unref(&c);
}

void *disk_reader_main(void *disk)
{
    struct disk *d = disk;
    disk_crash_watch(d->opt.path);
    pthread_mutex_lock(&d->read_lock);
    for (bool loads_first = false;; loads_first = !loads_first) {
        while (list_empty(&d->gets) && list_empty(&d->loads) && !d->readers_stop)
            pthread_cond_wait(&d->read_wake, &d->read_lock);
        if (list_empty(&d->gets) && list_empty(&d->loads))
            break;
        bool is_load = list_empty(&d->gets) || (loads_first && !list_empty(&d->loads));
        struct list_node *n = is_load ? d->loads.next : d->gets.next;
        list_remove(n);
        pthread_mutex_unlock(&d->read_lock);
        if (is_load)
            run_load(d, container_of(n, struct disk_load, link));
        else
            run_get(d, container_of(n, struct disk_get, link));
        pthread_mutex_lock(&d->read_lock);
    }
    pthread_mutex_unlock(&d->read_lock);
    disk_crash_watch(NULL);
    return NULL;
}

/* ---- the loops' side ---- */

void disk_get(struct disk *d, struct disk_get *job)
{
    job->disk = d;
    list_init(&job->link);
    pthread_mutex_lock(&d->read_lock);
    list_add_tail(&d->gets, &job->link);
    pthread_cond_signal(&d->read_wake);
    pthread_mutex_unlock(&d->read_lock);
}

static struct disk_load *same_load(struct list_node *bucket, const struct disk_load *job)
{
    list_each (n, bucket) {
        struct disk_load *other = container_of(n, struct disk_load, in_table);
        if (other->id == job->id && other->index == job->index)
            return other;
    }
    return NULL;
}

void disk_load(struct disk *d, struct disk_load *job)
{
    job->disk = d;
    job->id = object_disk_id(job->object);
    job->chunk = NULL;
    list_init(&job->link);
    list_init(&job->in_table);
    list_init(&job->followers);
    disk_saw_reader(d, job->id);
    struct list_node *bucket = &d->loading[(job->id + job->index) % DISK_LOAD_BUCKETS];
    pthread_mutex_lock(&d->read_lock);
    struct disk_load *first = same_load(bucket, job);
    if (first != NULL) {
        list_add_tail(&first->followers, &job->link);
    } else {
        list_add_tail(bucket, &job->in_table);
        list_add_tail(&d->loads, &job->link);
        pthread_cond_signal(&d->read_wake);
    }
    pthread_mutex_unlock(&d->read_lock);
}
