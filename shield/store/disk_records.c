#include "shield/store/disk_impl.h"

#include <string.h>

#include "common/check.h"
#include "common/err.h"

static struct span span_of_val(MDB_val v)
{
    return (struct span){v.mv_data, v.mv_size};
}

/* ---- meta ---- */

int disk_get_meta(struct disk_txn *t, uint64_t id, struct disk_meta *out)
{
    char id_key[DISK_ID_KEY_BYTES];
    disk_id_key(id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value;
    int rc = mdb_get(t->txn, t->d->file.meta, &key, &value);
    if (rc == 0 && disk_meta_decode(span_of_val(value), t->info.seed, id, out) != 0)
        rc = MDB_NOTFOUND;
    return rc;
}

static int put_new_meta(struct disk_txn *t, const struct disk_meta *m)
{
    char id_key[DISK_ID_KEY_BYTES];
    disk_id_key(m->id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value = {disk_meta_size(m), NULL};
    int rc = disk_txn_put_ordered(t, t->d->file.meta, &key, &value, MDB_RESERVE);
    if (rc == 0)
        disk_meta_encode(m, t->info.seed, value.mv_data);
    return rc;
}

int disk_put_changed_meta(struct disk_txn *t, const struct disk_meta *m)
{
    char id_key[DISK_ID_KEY_BYTES];
    size_t n = disk_meta_size(m);
    t->record.len = 0;
    if (!buf_reserve(&t->record, n))
        return ENOMEM;
    disk_meta_encode(m, t->info.seed, t->record.p);
    disk_id_key(m->id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value = {n, t->record.p};
    return mdb_put(t->txn, t->d->file.meta, &key, &value, 0);
}

int disk_set_place(struct disk_txn *t, uint64_t id, enum disk_queue queue, uint64_t seq)
{
    struct disk_meta m;
    int rc = disk_get_meta(t, id, &m);
    if (rc != 0)
        return rc;
    m.queue = queue;
    m.seq = seq;
    return disk_put_changed_meta(t, &m);
}

/* ---- bodies ---- */

static int put_piece(struct disk_txn *t, uint64_t id, uint32_t index, uint16_t piece, struct span bytes)
{
    char chunk_key[DISK_CHUNK_KEY_BYTES];
    uint64_t sum = disk_chunk_sum(t->info.seed, id, index, piece, bytes.p, bytes.len);
    disk_chunk_key(id, index, piece, sum, chunk_key);
    MDB_val key = {sizeof chunk_key, chunk_key}, value = {bytes.len, (void *)bytes.p};
    return disk_txn_put_ordered(t, t->d->file.chunks, &key, &value, 0);
}

int disk_put_chunk(struct disk_txn *t, uint64_t id, uint32_t index, struct span bytes)
{
    int rc = 0;
    for (uint16_t piece = 0; bytes.len > 0 && rc == 0; piece++) {
        size_t n = MIN(bytes.len, (size_t)t->d->piece_bytes);
        rc = put_piece(t, id, index, piece, (struct span){bytes.p, n});
        bytes = span_from(bytes, n);
    }
    return rc;
}

int disk_put_loose(struct disk_txn *t, uint64_t id)
{
    char id_key[DISK_ID_KEY_BYTES];
    disk_id_key(id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value = {0, NULL};
    return disk_txn_put_ordered(t, t->d->file.loose, &key, &value, 0);
}

int disk_first_loose(struct disk_txn *t, uint64_t *id)
{
    MDB_cursor *c;
    MDB_val key, value;
    int rc = mdb_cursor_open(t->txn, t->d->file.loose, &c);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(c, &key, &value, MDB_FIRST);
    if (rc == 0)
        *id = key.mv_size == DISK_ID_KEY_BYTES ? disk_id_of_key(key.mv_data) : 0;
    mdb_cursor_close(c);
    return rc;
}

static int delete_id(struct disk_txn *t, MDB_dbi dbi, uint64_t id)
{
    char id_key[DISK_ID_KEY_BYTES];
    disk_id_key(id, id_key);
    MDB_val key = {sizeof id_key, id_key};
    int rc = mdb_del(t->txn, dbi, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int delete_chunks(struct disk_txn *t, uint64_t id)
{
    char chunk_key[DISK_CHUNK_KEY_BYTES];
    MDB_cursor *c;
    MDB_val key = {sizeof chunk_key, chunk_key}, value;
    int rc = mdb_cursor_open(t->txn, t->d->file.chunks, &c);
    if (rc != 0)
        return rc;
    disk_chunk_key(id, 0, 0, 0, chunk_key);
    rc = mdb_cursor_get(c, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size == DISK_CHUNK_KEY_BYTES && disk_id_of_key(key.mv_data) == id) {
        rc = mdb_cursor_del(c, 0);
        if (rc == 0)
            rc = mdb_cursor_get(c, &key, &value, MDB_NEXT); /* after a deletion: what has moved up */
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int disk_delete_body(struct disk_txn *t, uint64_t id)
{
    int rc = delete_chunks(t, id);
    if (rc == 0)
        rc = delete_id(t, t->d->file.meta, id);
    return rc == 0 ? delete_id(t, t->d->file.loose, id) : rc;
}

/* The object is no longer in the index: its body goes now, or, where a reader may need it chunk by chunk,
 * later. */
static int release_body(struct disk_txn *t, uint64_t id)
{
    struct disk_meta m;
    int rc = disk_get_meta(t, id, &m);
    if (rc == MDB_NOTFOUND)
        return disk_delete_body(t, id); /* the order forgets it when it comes to it */
    if (rc != 0)
        return rc;
    bool is_read = disk_was_read(t->d, id, DISK_UNREAD_MS);
    rc = disk_order_remove(t, (enum disk_queue)m.queue, m.seq);
    if (rc != 0)
        return rc;
    if (!is_read)
        return disk_delete_body(t, id);
    rc = disk_put_loose(t, id);
    return rc == 0 && !disk_orphans_add(&t->orphans, id) ? ENOMEM : rc;
}

static int release_gone(struct disk_txn *t)
{
    int rc = 0;
    for (size_t at = 0; at < t->gone.len && rc == 0; at += sizeof(uint64_t)) {
        uint64_t id;
        memcpy(&id, t->gone.p + at, sizeof id);
        rc = release_body(t, id);
    }
    return rc;
}

/* ---- index ---- */

/* MDB_NOTFOUND also for what does not decode. */
static int get_index(struct disk_txn *t, const char index_key[DISK_INDEX_KEY_BYTES], struct disk_index *out)
{
    MDB_val key = {DISK_INDEX_KEY_BYTES, (void *)index_key}, value;
    int rc = mdb_get(t->txn, t->d->file.index, &key, &value);
    if (rc == 0 && disk_index_decode(span_of_val(value), t->info.seed, out) != 0)
        rc = MDB_NOTFOUND;
    return rc;
}

static int put_index(struct disk_txn *t, const char index_key[DISK_INDEX_KEY_BYTES])
{
    disk_index_end(&t->record, t->info.seed);
    if (t->record.failed)
        return ENOMEM;
    MDB_val key = {DISK_INDEX_KEY_BYTES, (void *)index_key}, value = {t->record.len, t->record.p};
    return mdb_put(t->txn, t->d->file.index, &key, &value, 0);
}

static int delete_index(struct disk_txn *t, const char index_key[DISK_INDEX_KEY_BYTES])
{
    MDB_val key = {DISK_INDEX_KEY_BYTES, (void *)index_key};
    int rc = mdb_del(t->txn, t->d->file.index, &key, NULL);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static bool begin_record(struct disk_txn *t, struct span key)
{
    t->record.len = t->gone.len = 0;
    disk_index_begin(&t->record, key);
    return !t->record.failed;
}

/* `v` becomes the newest of its key; what it replaces, and the oldest beyond the limit, is gone. */
static int put_variant(struct disk_txn *t, struct span key, const struct disk_variant *v)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    struct disk_index old = {0};
    struct disk_variant other;
    uint64_t kept = 1, most = MAX(t->d->opt.config->cache.max_variants, 1u);
    disk_index_key(t->info.seed, key, index_key);
    int rc = get_index(t, index_key, &old);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    if (!begin_record(t, key))
        return ENOMEM;
    disk_index_add(&t->record, v);
    bool same_key = span_eq(old.key, key);
    while (rc == 0 && disk_index_next(&old, &other)) {
        bool replaced =
            other.id == v->id || (span_eq(other.names, v->names) && span_eq(other.variant, v->variant));
        if (same_key && !replaced && kept < most) {
            disk_index_add(&t->record, &other);
            kept++;
        } else if (other.id != v->id) {
            buf_put(&t->gone, &other.id, sizeof other.id);
            t->variants_dropped += same_key && !replaced;
        }
    }
    if (t->gone.failed)
        return ENOMEM;
    rc = put_index(t, index_key);
    return rc == 0 ? release_gone(t) : rc;
}

static int remove_variant(struct disk_txn *t, const char index_key[DISK_INDEX_KEY_BYTES], uint64_t id)
{
    struct disk_index old;
    struct disk_variant v;
    int rc = get_index(t, index_key, &old);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (!begin_record(t, old.key))
        return ENOMEM;
    uint32_t kept = 0, n = old.n_variants;
    while (disk_index_next(&old, &v)) {
        if (v.id == id)
            continue;
        disk_index_add(&t->record, &v);
        kept++;
    }
    if (kept == n)
        return 0;
    return kept == 0 ? delete_index(t, index_key) : put_index(t, index_key);
}

int disk_delete_key(struct disk_txn *t, struct span key)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    struct disk_index old;
    struct disk_variant v;
    disk_index_key(t->info.seed, key, index_key);
    int rc = get_index(t, index_key, &old);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (!span_eq(old.key, key))
        return 0;
    t->gone.len = 0;
    while (disk_index_next(&old, &v))
        buf_put(&t->gone, &v.id, sizeof v.id);
    if (t->gone.failed)
        return ENOMEM;
    rc = delete_index(t, index_key);
    return rc == 0 ? release_gone(t) : rc;
}

/* ---- objects ---- */

static struct stored_head_parts parts_of(const struct stored_head *h)
{
    return (struct stored_head_parts){.facts = h->facts,
                                      .block = h->block,
                                      .key = h->key,
                                      .names = h->names,
                                      .variant = h->variant,
                                      .tags = h->tags,
                                      .purge_number = h->purge_number,
                                      .key_hash = h->key_hash};
}

/* The last chunk, when it is not a full one, is cut: whole pages to `chunks`, what remains to the tail. */
static int put_last_chunk(struct disk_txn *t, struct disk_meta *m, struct object *o, struct chunk **last)
{
    uint32_t index = (uint32_t)(m->length / m->chunk_bytes), len = (uint32_t)(m->length % m->chunk_bytes);
    if (len == 0)
        return 0;
    *last = object_chunk(o, index);
    if (*last == NULL || (*last)->len != len)
        return MDB_NOTFOUND;
    uint32_t tail = disk_tail_bytes(len, disk_meta_size(m), t->d->file.page_bytes);
    m->tail = (struct span){(*last)->data + len - tail, tail};
    m->bytes += disk_value_pages(len - tail, t->d->file.page_bytes) * t->d->file.page_bytes;
    return len == tail ? 0 : disk_put_chunk(t, m->id, index, (struct span){(*last)->data, len - tail});
}

int disk_put_object(struct disk_txn *t, uint64_t id, struct object *o, bool was_loose)
{
    enum { RECORDS_BYTES = 256 }; /* keys, order and index entries, about */
    const struct stored_head *h = object_head(o);
    struct chunk *last = NULL;
    struct disk_meta m = {
        .id = id, .length = object_length(o), .chunk_bytes = object_chunk_bytes(o), .head = parts_of(h)};
    uint64_t full = m.length / m.chunk_bytes;
    m.bytes = full * disk_value_pages(m.chunk_bytes, t->d->file.page_bytes) * t->d->file.page_bytes;
    int rc = put_last_chunk(t, &m, o, &last);
    if (rc != 0)
        goto let_go;
    t->d->sweep.lowest_stored = MIN(t->d->sweep.lowest_stored, h->purge_number);
    m.bytes += disk_meta_size(&m) + RECORDS_BYTES;
    m.queue = disk_marks_admit(t->d->marks, h->key_hash);
    rc = disk_order_put(t, (enum disk_queue)m.queue, &(struct disk_order){id, h->key_hash, m.bytes}, &m.seq);
    if (rc == 0)
        rc = put_new_meta(t, &m);
    if (rc == 0)
        rc = put_variant(t, h->key, &(struct disk_variant){id, h->names, h->variant});
    if (rc == 0 && was_loose)
        rc = delete_id(t, t->d->file.loose, id);
let_go:
    chunk_unref(&last);
    return rc;
}

/* Whether the index still leads to `id`: a replaced body must not come back. */
static int index_has(struct disk_txn *t, struct span key, uint64_t id, bool *has)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    struct disk_index record;
    struct disk_variant v;
    *has = false;
    disk_index_key(t->info.seed, key, index_key);
    int rc = get_index(t, index_key, &record);
    while (rc == 0 && !*has && disk_index_next(&record, &v))
        *has = v.id == id;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int disk_rewrite_head(struct disk_txn *t, struct object *o)
{
    const struct stored_head *h = object_head(o);
    struct disk_meta m;
    int rc = disk_get_meta(t, object_disk_id(o), &m);
    if (rc != 0 || !span_eq(m.head.key, h->key))
        return rc == MDB_NOTFOUND ? 0 : rc; /* evicted or replaced meanwhile */
    if (h->purge_number < t->info.purge_floor)
        return 0; /* what the sweep has changed in the record is newer */
    bool varies_else = !span_eq(m.head.names, h->names) || !span_eq(m.head.variant, h->variant);
    if (varies_else)
        rc = index_has(t, h->key, m.id, &varies_else);
    if (rc != 0)
        return rc;
    m.head = parts_of(h);
    rc = disk_put_changed_meta(t, &m);
    if (rc == 0 && varies_else)
        rc = put_variant(t, h->key, &(struct disk_variant){m.id, h->names, h->variant});
    return rc;
}

int disk_release_object(struct disk_txn *t, uint64_t id)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    struct disk_meta m;
    int rc = disk_get_meta(t, id, &m);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    disk_index_key(t->info.seed, m.head.key, index_key);
    rc = remove_variant(t, index_key, id);
    return rc == 0 ? release_body(t, id) : rc;
}

int disk_delete_object(struct disk_txn *t, uint64_t id)
{
    char index_key[DISK_INDEX_KEY_BYTES];
    struct disk_meta m;
    int rc = disk_get_meta(t, id, &m);
    if (rc == 0) {
        disk_index_key(t->info.seed, m.head.key, index_key);
        rc = remove_variant(t, index_key, id);
    }
    return rc == 0 || rc == MDB_NOTFOUND ? disk_delete_body(t, id) : rc;
}

int disk_drop_record(struct disk_txn *t, const struct disk_drop_op *op)
{
    struct disk_meta m;
    if (op->whole_key)
        return delete_index(t, op->index_key); /* its objects leave when the order comes to them */
    int rc = remove_variant(t, op->index_key, op->id);
    if (rc != 0)
        return rc;
    rc = disk_get_meta(t, op->id, &m);
    if (rc == 0)
        rc = disk_order_remove(t, (enum disk_queue)m.queue, m.seq);
    return rc == 0 || rc == MDB_NOTFOUND ? disk_delete_body(t, op->id) : rc;
}

int disk_delete_orphans(struct disk_txn *t, uint64_t unread_ms, uint32_t *deleted)
{
    enum { MOST = 64 }; /* large ones: a commit should not grow with them */
    for (int n = 0; n < MOST; n++) {
        uint64_t id = disk_orphans_take(t->d, unread_ms);
        int rc = id != 0 ? disk_delete_body(t, id) : 0;
        if (id == 0 || rc != 0)
            return rc;
        ++*deleted;
    }
    return 0;
}
