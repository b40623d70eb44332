/* object - one stored response: its head and its body chunks.
 *
 *   FILLING  the loop that made it appends; a reader sees only bytes below object_ready
 *   SEALED   complete: any thread reads
 *   FAILED   the source broke off: readers cut their clients, nothing keeps it
 *   freed    by the last object_unref, on whatever thread that happens
 *
 * A hit and a joined miss are the same code: a reader on an object, sealed or not yet. Head and body are
 * counted apart, so that a 304 makes a new head over the same chunks. Chunks come and go: a chunk that the
 * store has committed may leave memory and be loaded again; a chunk of an object that nobody keeps leaves
 * when every reader has passed it. */
#ifndef SHIELD_STORE_OBJECT_H
#define SHIELD_STORE_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/http_head.h"
#include "common/list.h"
#include "shield/policy/conditional.h"
#include "shield/policy/facts.h"

/* Payload of a chunk, in memory as on disk: LMDB overflow pages less their 16 byte header. */
enum { CHUNK_SMALL = 65520, CHUNK_LARGE = 262128, CHUNK_LARGE_FROM = 4 * 1024 * 1024 };
enum { OBJECT_LOADED_KEPT = 8 }; /* chunks from disk that stay in memory of an object that is not resident */
#define LENGTH_UNKNOWN UINT64_MAX

struct chunk {
    atomic_uint refs;
    uint32_t cap, len; /* len grows only while its object is FILLING */
    char data[];
};
struct chunk *chunk_new(uint32_t cap); /* one reference; NULL without memory */
void chunk_unref(struct chunk **slot);

/* The head, immutable once in an object. */
struct stored_head {
    atomic_uint refs;
    struct response_facts facts;
    struct span block;   /* status line and fields, each with CRLF; no empty line; see policy_store_block */
    struct span key;     /* the primary key */
    struct span names;   /* what it varies on: policy_vary_names */
    struct span variant; /* the variant key under these names */
    struct span tags;    /* what it may be purged by: purge_tags_put */
    struct validators validators; /* spans into block */
    uint64_t purge_number;        /* when its fetch began: purge_log_number */
    uint64_t key_hash;            /* of `key`, seeded by the index */
    size_t size;                  /* of this allocation */
};

struct stored_head_parts {
    struct response_facts facts;
    struct span block, key, names, variant, tags;
    uint64_t purge_number, key_hash;
};
/* Copies everything. Parses `block` for validators. NULL without memory. */
struct stored_head *stored_head_new(const struct stored_head_parts *parts);
void stored_head_unref(struct stored_head **slot);

enum object_state { OBJECT_FILLING, OBJECT_SEALED, OBJECT_FAILED };

struct object;

/* A new FILLING object over `head` (whose reference it takes) with one reference; `length` may be
 * LENGTH_UNKNOWN. NULL without memory (the head's reference is dropped then too). */
struct object *object_new(struct stored_head *head, uint64_t length);
/* Another head over the body of `o`, in whatever state that is. Takes head's reference. */
struct object *object_with_head(struct object *o, struct stored_head *head);
struct object *object_ref(struct object *o);
void object_unref(struct object **slot);

const struct stored_head *object_head(const struct object *o);
enum object_state object_state(const struct object *o); /* acquire: what was appended before is visible */
uint64_t object_ready(const struct object *o);          /* acquire: bytes that may be read */
uint64_t object_length(const struct object *o);         /* LENGTH_UNKNOWN until sealed when not announced */
uint32_t object_chunk_bytes(const struct object *o);
size_t object_ram_bytes(const struct object *o); /* head and resident chunks, any thread */

/* Body bytes of all objects *in the air*: in memory, and no tier accounts for them. A body is in the air from
 * object_new until it has landed in a tier, or is freed. Any thread. */
uint64_t object_air_bytes(void);
void object_landed(struct object *o);

/* Owner only: append, end well, end badly. object_append: 0 or ERR_NOMEM; never beyond the announced length.
 */
int object_append(struct object *o, const char *p, size_t n);
void object_seal(struct object *o);
void object_fail(struct object *o, int err);
int object_error(const struct object *o); /* of a FAILED one */

/* Read at `offset` (below object_ready): a span up to the end of its chunk or of what is ready, and a
 * reference to the chunk in *hold (NULL when the object's own reference is enough: everything stays
 * resident). Any thread. Returns 0; ERR_NOT_FOUND when the chunk is on disk only (load it); ERR_GONE when it
 * was dropped. */
int object_read(struct object *o, uint64_t offset, struct span *out, struct chunk **hold);

/* Chunk table, for the store and the flight. */
struct chunk *object_chunk(struct object *o, uint32_t index); /* a new reference, or NULL when not resident */
uint32_t object_chunk_count(const struct object *o);          /* of a sealed one */
uint32_t object_chunk_len(const struct object *o, uint32_t index); /* of a sealed one */
/* A chunk loaded from disk enters the table (reference taken over); a few loaded chunks stay, older ones
 * leave. */
void object_chunk_loaded(struct object *o, uint32_t index, struct chunk *c);
/* The chunk is durable; it leaves memory unless the object is to stay resident. */
void object_chunk_committed(struct object *o, uint32_t index);
/* Chunks wholly below `offset` leave memory for good (an object that will not be kept). Owner only. */
void object_drop_below(struct object *o, uint64_t offset);
uint64_t object_dropped(const struct object *o); /* the first offset that can still be read or loaded */

/* Whether all chunks stay in memory as long as the object lives: the default while FILLING, off for what
 * comes from disk. Off is for good, but for the store, which may turn it on for an object that it has loaded
 * whole and still owns alone. */
void object_set_resident(struct object *o, bool resident);
bool object_is_resident(const struct object *o);

/* A sealed object whose chunks are all on disk: `length` is known; for disk_get. */
struct object *object_from_disk(struct stored_head *head, uint64_t length, uint32_t chunk_bytes,
                                uint64_t disk_id);

/* The store's notes on the object; atomic, any thread. */
enum {
    OBJECT_ON_DISK = 1u << 0, /* committed: found by disk_get after a crash */
    OBJECT_STORING = 1u << 1, /* handed to the writer, not durable yet: must stay in memory */
    OBJECT_UNWANTED = 1u << 2 /* purged, replaced or shed: no newcomer, no store */
};
unsigned object_flags(const struct object *o);
void object_set_flags(struct object *o, unsigned set, unsigned clear);
uint64_t object_disk_id(const struct object *o); /* 0: never given to the store */
void object_set_disk_id(struct object *o, uint64_t id);

/* The store's own state of a fill that is under way; NULL when there is none. */
struct disk_fill;
struct disk_fill *object_fill(const struct object *o);
void object_set_fill(struct object *o, struct disk_fill *f);

/* What the RAM tier and the readers keep on it; see store/ram.c and request/reader.c. */
struct object_ram {
    struct list_node link;
    uint8_t queue; /* enum in ram.c */
    bool linked;
    size_t charged;
    atomic_uchar hits; /* 0..3, S3-FIFO */
};
/* Open readers of the body, whatever head they read it under: it is not evicted meanwhile. Any thread. */
void object_pin(struct object *o);
void object_unpin(struct object *o);
bool object_is_pinned(const struct object *o);

/* For purge_log_check: what it has noted of this head. */
_Atomic uint64_t *object_purge_seen(struct object *o);

struct object_ram *object_ram(struct object *o);
struct object *object_of_ram(struct object_ram *r);

#endif
