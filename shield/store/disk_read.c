#include "shield/store/disk_impl.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"
#include "shield/policy/vary.h"

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

void disk_read_damage(struct disk *d, const char *why)
{
    metric_count(d->metrics, STORE_ERRORS);
    if (atomic_exchange(&d->damage_told, true))
        return;
    log_error("store: %s: reading: %s", d->opt.path, why);
    pthread_mutex_lock(&d->lock);
    d->is_damaged = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

int disk_read_rc(struct disk *d, int rc)
{
    if (disk_rc_is_damage(rc))
        disk_read_damage(d, mdb_strerror(rc));
    else if (rc != 0 && rc != MDB_NOTFOUND)
        metric_count(d->metrics, STORE_ERRORS);
    return disk_err_of_rc(rc);
}

/* ---- values ---- */

static int read_meta(struct disk_read_txn *t, uint64_t id, struct disk_meta *out)
{
    char id_key[DISK_ID_KEY_BYTES];
    disk_id_key(id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value;
    int rc = mdb_get(t->txn, t->d->file.meta, &key, &value);
    if (rc != 0)
        return disk_read_rc(t->d, rc);
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
static int copy_piece(struct disk_read_txn *t, MDB_cursor *cursor, uint64_t id, uint32_t index,
                      uint16_t piece, struct chunk *c)
{
    char wanted[DISK_CHUNK_KEY_BYTES];
    MDB_val key = {sizeof wanted, wanted}, value;
    disk_chunk_key(id, index, piece, 0, wanted);
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (rc != 0)
        return disk_read_rc(t->d, rc);
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
static int copy_chunk(struct disk_read_txn *t, uint64_t id, uint32_t index, uint32_t stored, struct chunk *c)
{
    MDB_stat unused;
    int rc = mdb_stat(t->txn, t->d->file.chunks,
                      &unused); /* reads the root, which may break off, without a cursor */
    if (rc == 0)
        rc = mdb_cursor_open(t->txn, t->d->file.chunks, &t->cursor);
    int err = disk_read_rc(t->d, rc);
    if (err != 0)
        return err;
    for (uint16_t piece = 0; err == 0 && c->len < stored; piece++)
        err = copy_piece(t, t->cursor, id, index, piece, c);
    mdb_cursor_close(t->cursor);
    t->cursor = NULL;
    return err == ERR_NOT_FOUND && c->len > 0 ? ERR_CORRUPT : err;
}

/* The chunk as it was in memory; `tail` is what meta keeps of it. */
static int read_chunk(struct disk_read_txn *t, uint64_t id, uint32_t index, uint32_t len, struct span tail,
                      struct chunk **out)
{
    if (tail.len > len)
        return ERR_CORRUPT;
    struct chunk *c = t->chunk = chunk_new(len);
    if (c == NULL)
        return ERR_NOMEM;
    int err = copy_chunk(t, id, index, len - (uint32_t)tail.len, c);
    if (err == 0 && c->len + tail.len != len)
        err = ERR_CORRUPT;
    if (err != 0) {
        chunk_unref(&t->chunk);
        return err;
    }
    if (tail.len > 0)
        memcpy(c->data + c->len, tail.p, tail.len);
    c->len = len;
    t->chunk = NULL;
    *out = c;
    return 0;
}

/* ---- get ---- */

/* Each variant is held against the request under the names that were valid when it came, the newest first. */
static uint64_t match_variant(struct disk_read_txn *t, struct disk_get *job, struct disk_index *record)
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

static int find_object(struct disk_read_txn *t, struct disk_get *job,
                       const char index_key[DISK_INDEX_KEY_BYTES], uint64_t *id)
{
    struct disk_index record;
    MDB_val key = {DISK_INDEX_KEY_BYTES, (void *)index_key}, value;
    int rc = mdb_get(t->txn, t->d->file.index, &key, &value);
    if (rc != 0)
        return disk_read_rc(t->d, rc);
    int err = disk_index_decode((struct span){value.mv_data, value.mv_size}, t->d->seed, &record);
    if (err == ERR_CORRUPT)
        report_record(t->d, index_key, job->key_hash, 0, err);
    if (err != 0)
        return err;
    *id = span_eq(record.key, job->key) ? match_variant(t, job, &record) : 0;
    return *id != 0 ? 0 : ERR_NOT_FOUND;
}

static int load_body(struct disk_read_txn *t, struct object *o, const struct disk_meta *m)
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

static int build_object(struct disk_read_txn *t, const struct disk_get *job, uint64_t id, struct object **out)
{
    struct disk_meta m;
    int err = read_meta(t, id, &m);
    if (err != 0)
        return err;
    if (!span_eq(m.head.key, job->key))
        return ERR_CORRUPT;
    struct stored_head *head = stored_head_new(&m.head);
    t->object = head != NULL ? object_from_disk(head, m.length, m.chunk_bytes, id) : NULL;
    if (t->object == NULL)
        return ERR_NOMEM;
    err = load_body(t, t->object, &m);
    if (err != 0)
        object_unref(&t->object);
    *out = t->object;
    t->object = NULL;
    return err;
}

int disk_read_object(struct disk_read_txn *t, struct disk_get *job)
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

static bool is_selected(struct disk_read_txn *t, const struct disk_get *job, const struct disk_variant *v)
{
    struct buf mine = {0};
    policy_vary_key(t->d->opt.config, v->names, job->request, &mine);
    bool same = !mine.failed && span_eq(buf_span(&mine), v->variant);
    buf_fini(&mine);
    return same;
}

int disk_read_look(struct disk_read_txn *t, struct disk_get *job)
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
static int load_chunk(struct disk_read_txn *t, struct disk_load *job)
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

int disk_read_chunk(struct disk_read_txn *t, struct disk_load *job)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    int err = load_chunk(t, job);
    if (err == ERR_CORRUPT) {
        disk_index_key(t->d->seed, object_head(job->object)->key, index_key);
        report_record(t->d, index_key, object_head(job->object)->key_hash, job->id, err);
    }
    return err;
}
