/* disk_format - the records of the store file: encode, decode, verify. Pure: bytes in, bytes out.
 *
 * One LMDB file, eight named databases. Integers in keys are big-endian, so that LMDB's order is theirs; in
 * values they are little-endian.
 *
 *   info    "info"         what the file is: format version, hash seed, purge numbers, counters
 *   index   hash128(key)   the primary key, and its variants, newest first: object id, names, variant key
 *   meta    id             one object: facts, lengths, place in the eviction order, key, names, variant,
 *                          tags, head, tail
 *   chunks  id, index,     the bytes of one chunk; in several pieces where the file had no run of free
 *           piece, sum64   pages that was long enough
 *   small,  sequence       id, key hash, bytes: the two queues of the eviction order, oldest first
 *   main
 *   loose   id             nothing points to this body: it is being written, or was replaced while readers
 *                          may be on it. What is left of these is deleted after the next start
 *   purges  number, index  one thing that was purged by the order of that number
 *
 * An object's id is given out once and never again, also after a crash. meta and index are written in the
 * commit that ends the object: without them nothing of it can be seen.
 *
 * A chunk's checksum stands in the key and not in the value, so that a full chunk is exactly whole overflow
 * pages, and can be verified without its meta, as for readers of an object that is still being written. The
 * last bytes of a body that would only begin another page live in meta as its `tail`, and so does the whole
 * of a tiny body.
 *
 * That a page of the log of purges is lost must not pass unseen, since what it purged would be served again:
 * info counts its records and adds up their checksums.
 *
 * info, index, meta and purges begin with a version, their length and a checksum, which are looked at before
 * anything else. */
#ifndef SHIELD_STORE_DISK_FORMAT_H
#define SHIELD_STORE_DISK_FORMAT_H

#include "common/buf.h"
#include "shield/purge/purge.h"
#include "shield/store/object.h"

enum {
    DISK_FORMAT_VERSION = 2,
    DISK_INDEX_KEY_BYTES = 16,
    DISK_ID_KEY_BYTES = 8,
    DISK_CHUNK_KEY_BYTES = 22,
    DISK_CHUNK_PREFIX_BYTES = 14, /* id, index and piece: what a lookup knows */
    DISK_PIECE_LEAST = 4080,      /* one page: there is room for it while there is any */
    DISK_ORDER_BYTES = 24,
    DISK_INFO_BYTES = 88,
    DISK_PURGE_KEY_BYTES = 12,
};

enum disk_queue { QUEUE_SMALL, QUEUE_MAIN, QUEUE_COUNT };

/* ---- info ---- */

struct disk_info {
    uint64_t seed;         /* of all hashes and checksums in this file */
    uint64_t purge_number; /* of the newest purge */
    uint64_t purge_floor;  /* no object is subject to a purge up to this one */
    uint64_t purges;       /* records in the log */
    uint64_t purges_sum;   /* of their checksums, by exclusive or */
    uint64_t next_id;
    uint64_t next_seq;                 /* in the eviction order */
    uint64_t queue_bytes[QUEUE_COUNT]; /* what the objects of each queue take */
};

void disk_info_encode(const struct disk_info *info, char out[DISK_INFO_BYTES]);
/* 0; ERR_NOT_FOUND: another version; ERR_CORRUPT. So all decoders. */
int disk_info_decode(struct span record, struct disk_info *out);

/* ---- keys ---- */

void disk_id_key(uint64_t id, char out[DISK_ID_KEY_BYTES]);
uint64_t disk_id_of_key(const void *key); /* of DISK_ID_KEY_BYTES or more */
void disk_index_key(uint64_t seed, struct span key, char out[DISK_INDEX_KEY_BYTES]);

/* With sum 0 it sorts before the chunk it looks for. */
void disk_chunk_key(uint64_t id, uint32_t index, uint16_t piece, uint64_t sum,
                    char out[DISK_CHUNK_KEY_BYTES]);
uint64_t disk_chunk_sum_of_key(const void *key);
/* Bound to the file and the place: bytes of another object, chunk or piece do not verify. */
uint64_t disk_chunk_sum(uint64_t seed, uint64_t id, uint32_t index, uint16_t piece, const void *bytes,
                        size_t n);

/* ---- order ---- */

struct disk_order {
    uint64_t id, key_hash, bytes;
};

void disk_order_encode(const struct disk_order *e, char out[DISK_ORDER_BYTES]);
int disk_order_decode(struct span record, struct disk_order *out);

/* ---- meta ---- */

struct disk_meta {
    uint64_t id;
    uint64_t seq;         /* where it stands in its queue */
    uint64_t bytes;       /* what it was charged there */
    uint32_t queue;       /* enum disk_queue */
    uint32_t chunk_bytes; /* payload of a full chunk */
    uint64_t length;      /* of the body, tail included */
    struct stored_head_parts head;
    struct span tail; /* the last bytes of the body */
};

size_t disk_meta_size(const struct disk_meta *m);
void disk_meta_encode(const struct disk_meta *m, uint64_t seed, char *out); /* disk_meta_size bytes */
/* The spans point into `record`. Lengths that do not fit together are ERR_CORRUPT too. */
int disk_meta_decode(struct span record, uint64_t seed, uint64_t id, struct disk_meta *out);

/* How much of a body's last chunk goes into meta when the record is `meta_bytes` long without it. */
uint32_t disk_tail_bytes(uint32_t last_chunk, size_t meta_bytes, uint32_t page_bytes);

/* Overflow pages that a value of n bytes takes; 0 for none. */
uint64_t disk_value_pages(size_t n, uint32_t page_bytes);

/* ---- purges ---- */

void disk_purge_key(uint64_t number, uint32_t index, char out[DISK_PURGE_KEY_BYTES]);
size_t disk_purge_size(const struct purge_record *r);
/* Gives the record's checksum, for disk_info.purges_sum. */
uint64_t disk_purge_encode(const struct purge_record *r, uint32_t index, uint64_t seed, char *out);
/* The spans point into `record`; `key` is what it stands under. */
int disk_purge_decode(struct span record, struct span key, uint64_t seed, struct purge_record *out,
                      uint64_t *sum);

/* ---- index ---- */

struct disk_variant {
    uint64_t id;
    struct span names, variant;
};

/* A decoded record, and a walk over its variants. */
struct disk_index {
    struct span key;
    uint32_t n_variants;
    struct span rest; /* private */
};

int disk_index_decode(struct span record, uint64_t seed, struct disk_index *out);
/* The next variant, newest first; false behind the last. */
bool disk_index_next(struct disk_index *it, struct disk_variant *out);

/* Build a record in an empty buf: begin, add (newest first), end. out->failed tells of missing memory. */
void disk_index_begin(struct buf *out, struct span key);
void disk_index_add(struct buf *out, const struct disk_variant *v);
void disk_index_end(struct buf *out, uint64_t seed);

#endif
