#include "shield/store/disk_impl.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"
#include "shield/policy/vary.h"

/* A transaction lasts for one job, and copies out: while it is open, LMDB gives no page out again that it
 * could see. */
struct read_txn {
    struct disk *d;
    MDB_txn *txn;
    uint64_t purge_floor; /* from before it began: what that floor says, holds for all that it sees */
};

/* ---- what does not verify ---- */

static void tell_writer(struct disk *d, struct disk_op *op)
{
    list_init(&op->link);
    pthread_mutex_lock(&d->lock);
    disk_queue_add(d, op, 0);
    pthread_mutex_unlock(&d->lock);
}

/* Until it is removed, nothing is found under its key: a body whose bad chunk is far behind would cut one
 * client after the other. */
static void report_record(struct disk *d, const char index_key[DISK_INDEX_KEY_BYTES], uint64_t key_hash,
                          uint64_t id, int err)
{
    if (err == ERR_CORRUPT)
        metric_count(d->metrics, STORE_ERRORS);
    struct disk_drop_op *op = calloc(1, sizeof *op);
    if (op == NULL)
        return; /* whoever meets it next reports it */
    op->op.kind = OP_VERIFY;
    op->id = id;
    op->key_hash = key_hash;
    atomic_fetch_add(&d->deletes[key_hash % DISK_DELETE_SLOTS], 1);
    op->whole_key = id == 0;
    memcpy(op->index_key, index_key, sizeof op->index_key);
    tell_writer(d, &op->op);
}

/* The file has to go: once for each file is enough. */
static void report_damage(struct disk *d, const char *why)
{
    metric_count(d->metrics, STORE_ERRORS);
    if (atomic_exchange(&d->damage_told, true))
        return;
    log_error("store: %s: reading: %s", d->opt.path, why);
    struct disk_damage_op *op = calloc(1, sizeof *op);
    if (op != NULL) {
        op->op.kind = OP_DAMAGE;
        op->generation = d->generation;
        tell_writer(d, &op->op);
    }
}

static int report_rc(struct disk *d, int rc)
{
    if (disk_rc_is_damage(rc))
        report_damage(d, mdb_strerror(rc));
    else if (rc != 0 && rc != MDB_NOTFOUND)
        metric_count(d->metrics, STORE_ERRORS);
    return disk_err_of_rc(rc);
}

/* ---- values ---- */

static int read_meta(struct read_txn *t, uint64_t id, struct disk_meta *out)
{
    char id_key[DISK_ID_KEY_BYTES];
    disk_id_key(id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value;
    int rc = mdb_get(t->txn, t->d->file.meta, &key, &value);
    if (rc != 0)
        return report_rc(t->d, rc);
    int err = disk_meta_decode((struct span){value.mv_data, value.mv_size}, t->d->seed, id, out);
    if (err == 0)
        out->head.purge_number = MAX(out->head.purge_number, t->purge_floor);
    return err;
}

/* One read from the device instead of one per page fault. */
static void will_need(const struct disk *d, MDB_val v)
{
    uintptr_t page = d->file.page_bytes, from = (uintptr_t)v.mv_data & ~(page - 1);
    size_t n = (uintptr_t)v.mv_data + v.mv_size - from;
    if (n > page)
        madvise((void *)from, n, MADV_WILLNEED);
}

/* The next piece goes behind what is in the chunk already. */
static int copy_piece(struct read_txn *t, MDB_cursor *cursor, uint64_t id, uint32_t index, uint16_t piece,
                      struct chunk *c)
{
    char wanted[DISK_CHUNK_KEY_BYTES];
    MDB_val key = {sizeof wanted, wanted}, value;
    disk_chunk_key(id, index, piece, 0, wanted);
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc != 0)
        return report_rc(t->d, rc);
    if (key.mv_size != DISK_CHUNK_KEY_BYTES || memcmp(key.mv_data, wanted, DISK_CHUNK_PREFIX_BYTES) != 0)
        return ERR_NOT_FOUND;
    if (value.mv_size > c->cap - c->len)
        return ERR_CORRUPT;
    will_need(t->d, value);
    char *at = c->data + c->len;
    memcpy(at, value.mv_data, value.mv_size);
    c->len += (uint32_t)value.mv_size;
    uint64_t sum = disk_chunk_sum(t->d->seed, id, index, piece, at, value.mv_size);
    return sum == disk_chunk_sum_of_key(key.mv_data) ? 0 : ERR_CORRUPT;
}

/* `stored` bytes of a chunk, in however many pieces they were written. */
static int copy_chunk(struct read_txn *t, uint64_t id, uint32_t index, uint32_t stored, struct chunk *c)
{
    MDB_cursor *cursor;
    int err = report_rc(t->d, mdb_cursor_open(t->txn, t->d->file.chunks, &cursor));
    if (err != 0)
        return err;
    for (uint16_t piece = 0; err == 0 && c->len < stored; piece++)
        err = copy_piece(t, cursor, id, index, piece, c);
    mdb_cursor_close(cursor);
    return err == ERR_NOT_FOUND && c->len > 0 ? ERR_CORRUPT : err;
}

/* The chunk as it was in memory; `tail` is what meta keeps of it. */
static int read_chunk(struct read_txn *t, uint64_t id, uint32_t index, uint32_t len, struct span tail,
                      struct chunk **out)
{
    if (tail.len > len)
        return ERR_CORRUPT;
    struct chunk *c = chunk_new(len);
    if (c == NULL)
        return ERR_NOMEM;
    int err = copy_chunk(t, id, index, len - (uint32_t)tail.len, c);
    if (err == 0 && c->len + tail.len != len)
        err = ERR_CORRUPT;
    if (err != 0) {
        chunk_unref(&c);
        return err;
    }
    if (tail.len > 0)
        memcpy(c->data + c->len, tail.p, tail.len);
    c->len = len;
    *out = c;
    return 0;
}

/* ---- get ---- */

/* Each variant is held against the request under the names that were valid when it came, the newest first. */
static uint64_t match_variant(struct read_txn *t, struct disk_get *job, struct disk_index *record)
{
    struct buf mine = {0};
    struct span names = {NULL, 0};
    struct disk_variant v;
    uint64_t id = 0;
    bool made = false;
    while (id == 0 && disk_index_next(record, &v)) {
        if (!job->names_known)
            buf_put_span(&job->names, v.names);
        job->names_known = !job->names.failed;
        if (!made || !span_eq(names, v.names)) {
            mine.len = 0;
            names = v.names;
            policy_vary_key(t->d->opt.config, names, job->request, &mine);
            made = true;
        }
        if (!mine.failed && span_eq(buf_span(&mine), v.variant))
            id = v.id;
    }
    buf_fini(&mine);
    return id;
}

static int find_object(struct read_txn *t, struct disk_get *job, const char index_key[DISK_INDEX_KEY_BYTES],
                       uint64_t *id)
{
    struct disk_index record;
    MDB_val key = {DISK_INDEX_KEY_BYTES, (void *)index_key}, value;
    int rc = mdb_get(t->txn, t->d->file.index, &key, &value);
    if (rc != 0)
        return report_rc(t->d, rc);
    int err = disk_index_decode((struct span){value.mv_data, value.mv_size}, t->d->seed, &record);
    if (err == ERR_CORRUPT)
        report_record(t->d, index_key, job->key_hash, 0, err);
    if (err != 0)
        return err;
    *id = span_eq(record.key, job->key) ? match_variant(t, job, &record) : 0;
    return *id != 0 ? 0 : ERR_NOT_FOUND;
}

static int load_body(struct read_txn *t, struct object *o, const struct disk_meta *m)
{
    uint32_t n = object_chunk_count(o);
    bool whole = m->length <= DISK_WHOLE_BYTES;
    if (!whole)
        disk_saw_reader(t->d, m->id);
    else
        object_set_resident(o, true); /* before the first chunk, so that none leaves for another */
    for (uint32_t i = 0; i < n && (whole || i == 0); i++) {
        struct chunk *c;
        struct span tail = i == n - 1 ? m->tail : (struct span){NULL, 0};
        int err = read_chunk(t, m->id, i, object_chunk_len(o, i), tail, &c);
        if (err == ERR_NOT_FOUND)
            err = ERR_CORRUPT; /* within one transaction meta and chunks go together */
        if (err != 0)
            return err;
        object_chunk_loaded(o, i, c);
    }
    return 0;
}

static int build_object(struct read_txn *t, const struct disk_get *job, uint64_t id, struct object **out)
{
    struct disk_meta m;
    int err = read_meta(t, id, &m);
    if (err != 0)
        return err;
    if (!span_eq(m.head.key, job->key))
        return ERR_CORRUPT;
    struct stored_head *head = stored_head_new(&m.head);
    struct object *o = head != NULL ? object_from_disk(head, m.length, m.chunk_bytes, id) : NULL;
    if (o == NULL)
        return ERR_NOMEM;
    err = load_body(t, o, &m);
    if (err != 0)
        object_unref(&o);
    *out = o;
    return err;
}

static int get_object(struct read_txn *t, struct disk_get *job)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    uint64_t id = 0;
    disk_index_key(t->d->seed, job->key, index_key);
    int err = find_object(t, job, index_key, &id);
    if (err != 0)
        return err;
    err = build_object(t, job, id, &job->object);
    if (err == ERR_CORRUPT || err == ERR_NOT_FOUND) /* the latter: of another version, or gone */
        report_record(t->d, index_key, job->key_hash, id, err);
    else if (err == 0)
        disk_marks_hit(t->d->marks, id);
    return err;
}

/* ---- look ---- */

static bool is_selected(struct read_txn *t, const struct disk_get *job, const struct disk_variant *v)
{
    struct buf mine = {0};
    policy_vary_key(t->d->opt.config, v->names, job->request, &mine);
    bool same = !mine.failed && span_eq(buf_span(&mine), v->variant);
    buf_fini(&mine);
    return same;
}

static int look(struct read_txn *t, struct disk_get *job)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    struct disk_index record;
    struct disk_variant v;
    struct disk_meta m;
    bool found = false;
    disk_index_key(t->d->seed, job->key, index_key);
    MDB_val key = {DISK_INDEX_KEY_BYTES, index_key}, value;
    int err = disk_err_of_rc(mdb_get(t->txn, t->d->file.index, &key, &value));
    if (err == 0)
        err = disk_index_decode((struct span){value.mv_data, value.mv_size}, t->d->seed, &record);
    if (err != 0 || !span_eq(record.key, job->key))
        return err != 0 ? err : ERR_NOT_FOUND;
    while (disk_index_next(&record, &v)) {
        if (read_meta(t, v.id, &m) != 0)
            continue;
        bool selected = !found && is_selected(t, job, &v);
        found |= selected;
        job->peek(job, &(struct disk_peek){v.id, m.length, &m.head, selected});
    }
    return 0;
}

/* ---- load ---- */

/* The tail is in meta; an object that is still filling has neither. */
static int load_chunk(struct read_txn *t, struct disk_load *job)
{
    struct object *o = job->object;
    bool sealed = object_state(o) == OBJECT_SEALED;
    uint32_t len = sealed ? object_chunk_len(o, job->index) : object_chunk_bytes(o);
    struct disk_meta m = {.tail = {NULL, 0}};
    if (sealed && job->index == object_chunk_count(o) - 1 && len < object_chunk_bytes(o)) {
        int err = read_meta(t, job->id, &m);
        if (err != 0)
            return err;
    }
    return read_chunk(t, job->id, job->index, len, m.tail, &job->chunk);
}

static int load(struct read_txn *t, struct disk_load *job)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    int err = load_chunk(t, job);
    if (err == ERR_CORRUPT) {
        disk_index_key(t->d->seed, object_head(job->object)->key, index_key);
        report_record(t->d, index_key, object_head(job->object)->key_hash, job->id, err);
    }
    return err;
}

/* ---- jobs ---- */

static int begin(struct disk *d, struct read_txn *t)
{
    *t = (struct read_txn){.d = d, .purge_floor = atomic_load(&d->purge_floor)};
    if (d->file.env == NULL)
        return ERR_IO;
    return report_rc(d, mdb_txn_begin(d->file.env, NULL, MDB_RDONLY, &t->txn));
}

static void deliver_get(struct mail *m)
{
    struct disk_get *job = container_of(m, struct disk_get, mail);
    job->on_done(job);
}

struct reading {
    struct disk *d;
    struct read_txn t;
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
        r->err = load(&r->t, r->load);
    else
        r->err = r->get->peek != NULL ? look(&r->t, r->get) : get_object(&r->t, r->get);
}

/* One job in a transaction of its own. */
static int in_transaction(struct reading *r)
{
    pthread_rwlock_rdlock(&r->d->file_lock);
    if (disk_crash_faults(read_job, r)) {
        report_damage(r->d, "a page of the file cannot be read");
        r->err = ERR_IO;
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
