#include "shield/store/disk_format.h"

#include <endian.h>
#include <xxhash.h>

#include "common/check.h"
#include "common/err.h"

/* ---- integers ---- */

static char *put32(char *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static char *put64(char *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static uint32_t take32(const char **at)
{
    uint32_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le32toh(v);
}

static uint64_t take64(const char **at)
{
    uint64_t v;
    memcpy(&v, *at, sizeof v);
    *at += sizeof v;
    return le64toh(v);
}

static char *put_span(char *at, struct span s)
{
    if (s.len > 0)
        memcpy(at, s.p, s.len);
    return at + s.len;
}

static struct span take_span(const char **at, size_t n)
{
    struct span s = {*at, n};
    *at += n;
    return s;
}

/* ---- version and checksum, first in every record ---- */

enum { HEADER_BYTES = 4 + 4 + 8 }; /* version, the record's length, checksum of what follows */

static void put_header(char *record, size_t len, uint64_t seed)
{
    char *at = put32(record, DISK_FORMAT_VERSION);
    at = put32(at, (uint32_t)len);
    put64(at, XXH3_64bits_withSeed(record + HEADER_BYTES, len - HEADER_BYTES, seed));
}

static int check_header(struct span record, size_t least, uint64_t seed)
{
    if (record.len < HEADER_BYTES)
        return ERR_CORRUPT;
    const char *at = record.p;
    if (take32(&at) != DISK_FORMAT_VERSION)
        return ERR_NOT_FOUND;
    if (take32(&at) != record.len || record.len < least)
        return ERR_CORRUPT;
    return take64(&at) == XXH3_64bits_withSeed(at, record.len - HEADER_BYTES, seed) ? 0 : ERR_CORRUPT;
}

/* ---- info ---- */

void disk_info_encode(const struct disk_info *info, char out[DISK_INFO_BYTES])
{
    char *at = out + HEADER_BYTES;
    at = put64(at, info->seed);
    at = put64(at, info->purge_number);
    at = put64(at, info->purge_floor);
    at = put64(at, info->purges);
    at = put64(at, info->purges_sum);
    at = put64(at, info->next_id);
    at = put64(at, info->next_seq);
    at = put64(at, info->queue_bytes[QUEUE_SMALL]);
    at = put64(at, info->queue_bytes[QUEUE_MAIN]);
    ENSURE(at == out + DISK_INFO_BYTES);
    put_header(out, DISK_INFO_BYTES, 0);
}

int disk_info_decode(struct span record, struct disk_info *out)
{
    int err = check_header(record, DISK_INFO_BYTES, 0);
    if (err != 0)
        return err;
    const char *at = record.p + HEADER_BYTES;
    out->seed = take64(&at);
    out->purge_number = take64(&at);
    out->purge_floor = take64(&at);
    out->purges = take64(&at);
    out->purges_sum = take64(&at);
    out->next_id = take64(&at);
    out->next_seq = take64(&at);
    out->queue_bytes[QUEUE_SMALL] = take64(&at);
    out->queue_bytes[QUEUE_MAIN] = take64(&at);
    return 0;
}

/* ---- keys ---- */

void disk_id_key(uint64_t id, char out[DISK_ID_KEY_BYTES])
{
    id = htobe64(id);
    memcpy(out, &id, sizeof id);
}

uint64_t disk_id_of_key(const void *key)
{
    uint64_t id;
    memcpy(&id, key, sizeof id);
    return be64toh(id);
}

void disk_index_key(uint64_t seed, struct span key, char out[DISK_INDEX_KEY_BYTES])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(key.p, key.len, seed));
    memcpy(out, canonical.digest, DISK_INDEX_KEY_BYTES);
}

void disk_chunk_key(uint64_t id, uint32_t index, uint16_t piece, uint64_t sum, char out[DISK_CHUNK_KEY_BYTES])
{
    id = htobe64(id);
    index = htobe32(index);
    piece = htobe16(piece);
    sum = htobe64(sum);
    memcpy(out, &id, 8);
    memcpy(out + 8, &index, 4);
    memcpy(out + 12, &piece, 2);
    memcpy(out + DISK_CHUNK_PREFIX_BYTES, &sum, 8);
}

uint64_t disk_chunk_sum_of_key(const void *key)
{
    return disk_id_of_key((const char *)key + DISK_CHUNK_PREFIX_BYTES);
}

uint64_t disk_chunk_sum(uint64_t seed, uint64_t id, uint32_t index, uint16_t piece, const void *bytes,
                        size_t n)
{
    uint64_t place = (id * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)index << 20) ^ piece;
    return XXH3_64bits_withSeed(bytes, n, seed ^ place);
}

/* ---- order ---- */

void disk_order_encode(const struct disk_order *e, char out[DISK_ORDER_BYTES])
{
    char *at = put64(out, e->id);
    at = put64(at, e->key_hash);
    put64(at, e->bytes);
}

int disk_order_decode(struct span record, struct disk_order *out)
{
    if (record.len != DISK_ORDER_BYTES)
        return ERR_CORRUPT;
    const char *at = record.p;
    out->id = take64(&at);
    out->key_hash = take64(&at);
    out->bytes = take64(&at);
    return 0;
}

/* ---- meta ---- */

enum {
    META_NUMBERS_BYTES = 5 * 8 + 2 * 4,   /* id to chunk_bytes, purge number */
    META_FACTS_BYTES = 7 * 8 + 2 * 4 + 8, /* and the key hash */
    META_LENGTHS_BYTES = 6 * 4,
    META_FIXED_BYTES = HEADER_BYTES + META_NUMBERS_BYTES + META_FACTS_BYTES + META_LENGTHS_BYTES,
};

size_t disk_meta_size(const struct disk_meta *m)
{
    const struct stored_head_parts *h = &m->head;
    return META_FIXED_BYTES + h->key.len + h->names.len + h->variant.len + h->tags.len + h->block.len +
           m->tail.len;
}

static char *put_facts(char *at, const struct response_facts *f)
{
    at = put64(at, (uint64_t)f->request_ms);
    at = put64(at, (uint64_t)f->response_ms);
    at = put64(at, (uint64_t)f->initial_age_ms);
    at = put64(at, (uint64_t)f->lifetime_ms);
    at = put64(at, (uint64_t)f->swr_ms);
    at = put64(at, (uint64_t)f->sie_ms);
    at = put64(at, (uint64_t)f->last_modified_s);
    at = put32(at, f->flags);
    return put32(at, (uint32_t)f->status);
}

static void take_facts(const char **at, struct response_facts *f)
{
    f->request_ms = (int64_t)take64(at);
    f->response_ms = (int64_t)take64(at);
    f->initial_age_ms = (int64_t)take64(at);
    f->lifetime_ms = (int64_t)take64(at);
    f->swr_ms = (int64_t)take64(at);
    f->sie_ms = (int64_t)take64(at);
    f->last_modified_s = (int64_t)take64(at);
    f->flags = take32(at);
    f->status = (int32_t)take32(at);
}

void disk_meta_encode(const struct disk_meta *m, uint64_t seed, char *out)
{
    const struct stored_head_parts *h = &m->head;
    char *at = out + HEADER_BYTES;
    at = put64(at, m->id);
    at = put64(at, m->seq);
    at = put64(at, m->bytes);
    at = put64(at, m->length);
    at = put64(at, h->purge_number);
    at = put32(at, m->queue);
    at = put32(at, m->chunk_bytes);
    at = put_facts(at, &h->facts);
    at = put64(at, h->key_hash);
    at = put32(at, (uint32_t)h->key.len);
    at = put32(at, (uint32_t)h->names.len);
    at = put32(at, (uint32_t)h->variant.len);
    at = put32(at, (uint32_t)h->tags.len);
    at = put32(at, (uint32_t)h->block.len);
    at = put32(at, (uint32_t)m->tail.len);
    at = put_span(at, h->key);
    at = put_span(at, h->names);
    at = put_span(at, h->variant);
    at = put_span(at, h->tags);
    at = put_span(at, h->block);
    at = put_span(at, m->tail);
    ENSURE(at == out + disk_meta_size(m));
    put_header(out, disk_meta_size(m), seed);
}

/* The numbers agree with each other: nothing that uses them has to ask again. */
static bool meta_makes_sense(const struct disk_meta *m)
{
    uint64_t chunks = m->chunk_bytes == 0 ? 0 : m->length / m->chunk_bytes;
    return m->queue < QUEUE_COUNT && (m->chunk_bytes == CHUNK_SMALL || m->chunk_bytes == CHUNK_LARGE) &&
           chunks < UINT32_MAX && m->tail.len <= m->length && m->tail.len <= m->chunk_bytes;
}

int disk_meta_decode(struct span record, uint64_t seed, uint64_t id, struct disk_meta *out)
{
    int err = check_header(record, META_FIXED_BYTES, seed);
    if (err != 0)
        return err;
    struct stored_head_parts *h = &out->head;
    const char *at = record.p + HEADER_BYTES;
    out->id = take64(&at);
    out->seq = take64(&at);
    out->bytes = take64(&at);
    out->length = take64(&at);
    h->purge_number = take64(&at);
    out->queue = take32(&at);
    out->chunk_bytes = take32(&at);
    take_facts(&at, &h->facts);
    h->key_hash = take64(&at);
    uint64_t key = take32(&at), names = take32(&at), variant = take32(&at), tags = take32(&at),
             block = take32(&at), tail = take32(&at);
    if (key + names + variant + tags + block + tail != record.len - META_FIXED_BYTES)
        return ERR_CORRUPT;
    h->key = take_span(&at, key);
    h->names = take_span(&at, names);
    h->variant = take_span(&at, variant);
    h->tags = take_span(&at, tags);
    h->block = take_span(&at, block);
    out->tail = take_span(&at, tail);
    return out->id == id && meta_makes_sense(out) ? 0 : ERR_CORRUPT;
}

/* ---- where the last bytes of a body go ---- */

enum {
    PAGE_HEADER_BYTES = 16,
    TINY_BODY = 1536,    /* such a body as a whole ... */
    TAIL_MAX = 1024,     /* ... or so much behind the last whole page, */
    META_IN_LEAF = 2000, /* while meta still shares a leaf page of 4 KiB with another */
};

uint64_t disk_value_pages(size_t n, uint32_t page_bytes)
{
    return n == 0 ? 0 : (n + PAGE_HEADER_BYTES + page_bytes - 1) / page_bytes;
}

uint32_t disk_tail_bytes(uint32_t last_chunk, size_t meta_bytes, uint32_t page_bytes)
{
    uint32_t over = (last_chunk + PAGE_HEADER_BYTES) % page_bytes;
    uint32_t tail = 0;
    if (last_chunk <= TINY_BODY)
        tail = last_chunk;
    else if (over > 0 && over <= TAIL_MAX)
        tail = over;
    return meta_bytes + tail <= META_IN_LEAF ? tail : 0;
}

/* ---- purges ---- */

enum {
    PURGE_FIXED_BYTES = HEADER_BYTES + 3 * 8 + 5 * 4,
    PURGE_SUM_AT = 8, /* in the header */
};

void disk_purge_key(uint64_t number, uint32_t index, char out[DISK_PURGE_KEY_BYTES])
{
    number = htobe64(number);
    index = htobe32(index);
    memcpy(out, &number, 8);
    memcpy(out + 8, &index, 4);
}

size_t disk_purge_size(const struct purge_record *r)
{
    return PURGE_FIXED_BYTES + r->what.len + r->reference.len;
}

uint64_t disk_purge_encode(const struct purge_record *r, uint32_t index, uint64_t seed, char *out)
{
    char *at = out + HEADER_BYTES;
    at = put64(at, r->number);
    at = put64(at, (uint64_t)r->at_ms);
    at = put64(at, r->over_ms);
    at = put32(at, index);
    at = put32(at, r->kind);
    at = put32(at, r->is_soft);
    at = put32(at, (uint32_t)r->what.len);
    at = put32(at, (uint32_t)r->reference.len);
    at = put_span(at, r->what);
    at = put_span(at, r->reference);
    ENSURE(at == out + disk_purge_size(r));
    put_header(out, disk_purge_size(r), seed);
    const char *sum = out + PURGE_SUM_AT;
    return take64(&sum);
}

int disk_purge_decode(struct span record, struct span key, uint64_t seed, struct purge_record *out,
                      uint64_t *sum)
{
    int err = check_header(record, PURGE_FIXED_BYTES, seed);
    if (err != 0)
        return err;
    const char *at = record.p + PURGE_SUM_AT;
    *sum = take64(&at);
    out->number = take64(&at);
    out->at_ms = (int64_t)take64(&at);
    out->over_ms = take64(&at);
    uint32_t index = take32(&at), kind = take32(&at), is_soft = take32(&at);
    uint64_t what = take32(&at), reference = take32(&at);
    if (what + reference != record.len - PURGE_FIXED_BYTES || kind >= PURGE_KINDS || is_soft > 1)
        return ERR_CORRUPT;
    out->kind = (enum purge_kind)kind;
    out->is_soft = is_soft;
    out->what = take_span(&at, what);
    out->reference = take_span(&at, reference);
    char wanted[DISK_PURGE_KEY_BYTES];
    disk_purge_key(out->number, index, wanted);
    return span_eq(key, (struct span){wanted, sizeof wanted}) ? 0 : ERR_CORRUPT;
}

/* ---- index ---- */

enum { VARIANT_FIXED_BYTES = 8 + 4 + 4, INDEX_FIXED_BYTES = HEADER_BYTES + 4 + 4 };

int disk_index_decode(struct span record, uint64_t seed, struct disk_index *out)
{
    int err = check_header(record, INDEX_FIXED_BYTES, seed);
    if (err != 0)
        return err;
    const char *at = record.p + HEADER_BYTES;
    out->n_variants = take32(&at);
    uint32_t key_len = take32(&at);
    if (key_len > record.len - INDEX_FIXED_BYTES)
        return ERR_CORRUPT;
    out->key = take_span(&at, key_len);
    out->rest = span_from(record, INDEX_FIXED_BYTES + key_len);

    struct disk_index walk = *out;
    struct disk_variant v;
    uint32_t n = 0;
    while (disk_index_next(&walk, &v))
        n++;
    return n == out->n_variants && walk.rest.len == 0 ? 0 : ERR_CORRUPT;
}

bool disk_index_next(struct disk_index *it, struct disk_variant *out)
{
    if (it->rest.len < VARIANT_FIXED_BYTES)
        return false;
    const char *at = it->rest.p;
    out->id = take64(&at);
    uint64_t names = take32(&at), variant = take32(&at);
    if (names + variant > it->rest.len - VARIANT_FIXED_BYTES)
        return false;
    out->names = take_span(&at, names);
    out->variant = take_span(&at, variant);
    it->rest = span_from(it->rest, VARIANT_FIXED_BYTES + names + variant);
    return true;
}

void disk_index_begin(struct buf *out, struct span key)
{
    char fixed[INDEX_FIXED_BYTES] = {0};
    put32(fixed + HEADER_BYTES + 4, (uint32_t)key.len);
    buf_put(out, fixed, sizeof fixed);
    buf_put_span(out, key);
}

void disk_index_add(struct buf *out, const struct disk_variant *v)
{
    char fixed[VARIANT_FIXED_BYTES];
    char *at = put64(fixed, v->id);
    at = put32(at, (uint32_t)v->names.len);
    put32(at, (uint32_t)v->variant.len);
    buf_put(out, fixed, sizeof fixed);
    buf_put_span(out, v->names);
    buf_put_span(out, v->variant);
    if (out->failed)
        return;
    const char *count = out->p + HEADER_BYTES;
    uint32_t n = take32(&count);
    put32(out->p + HEADER_BYTES, n + 1);
}

void disk_index_end(struct buf *out, uint64_t seed)
{
    if (!out->failed)
        put_header(out->p, out->len, seed);
}
