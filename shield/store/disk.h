/* disk - the durable tier: LMDB behind one writer thread and a few reader threads (DESIGN.md section 5).
 *
 * Only these threads touch the map. Loops post jobs and get mail back. Everything here may be called on any
 * loop, and every result comes back on the loop named in the job, never from inside the call.
 *
 * Writing: a fill is begun when the flight's head is known to be storable, advanced as chunks complete, and
 * sealed or aborted. The writer commits in groups (8 MiB or 100 ms), synced. `meta` and the index record are
 * written in the commit that ends the object, so a torn object is never visible. When a commit is durable the
 * object's flags change (OBJECT_STORING off, OBJECT_ON_DISK on), its chunks may leave memory, and
 * METRIC_STORE_PENDING goes down. The store never hurts the traffic: when it is full, slow or failing, fills
 * are shed (counted, logged once per cause) and the object lives on in memory only. */
#ifndef SHIELD_STORE_DISK_H
#define SHIELD_STORE_DISK_H

#include "shield/net/loop.h"
#include "shield/purge/purge.h"
#include "shield/store/object.h"

struct disk;

struct disk_options {
    const char *path;            /* directory; made with mode 0750 when absent */
    uint64_t size_bytes;         /* what the directory may take, its lock files included */
    uint64_t queue_max_bytes;    /* chunks waiting for the writer; beyond it new fills are shed */
    unsigned readers;            /* reader threads */
    uint64_t keep_purges_ms;     /* how long a record of a purge is not forgotten */
    const struct config *config; /* for policy_vary_key and cache.max_variants; outlives the disk */
    /* Asked on the writer thread before a record is evicted: false keeps it for now (a reader has it open, a
     * flight works on its key). True also means: memory has forgotten that it is on disk. Takes no lock that
     * covers I/O. */
    bool (*may_evict)(void *ctx, uint64_t key_hash, uint64_t disk_id);
    void *ctx;
};

/* Open or create the store and start its threads: no scan, whatever the size. A file that does not open is
 * set aside (renamed NAME.broken-N) with a log line and a new one begun. Returns 0, ERR_LOCKED (another
 * process: the log says who), ERR_SYSTEM (the directory cannot be made or written), ERR_NOMEM. */
int disk_open(struct disk **out, const struct disk_options *options);

/* Write out everything that was sealed, stop the threads, close. */
void disk_close(struct disk **slot);

/* The hash seed kept in the file, so that key hashes mean the same after a restart. */
uint64_t disk_seed(const struct disk *d);

/* NULL when healthy, else static text: why nothing is being stored. */
const char *disk_trouble(const struct disk *d);

/* One variant of a key as the file has it, for a look. */
struct disk_peek {
    uint64_t id, length;
    const struct stored_head_parts *head; /* its spans last as long as the call */
    bool selected;                        /* what a disk_get for the same request would give */
};

/* Find the variant of `key` that `request` selects. The job is the caller's, and must stay until on_done. */
struct disk_get {
    struct mail mail;      /* private */
    struct list_node link; /* private */
    struct disk *disk;     /* private */
    struct loop *loop;     /* where on_done runs */
    struct span key;
    uint64_t key_hash;
    const struct http_head *request; /* lives until on_done */
    /* results */
    int err;               /* 0, ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO */
    struct object *object; /* sealed, one reference, the caller's; bodies of up to 1 MiB are loaded with it
                            * and stay resident, of larger ones the first chunk */
    bool names_known;      /* what the newest response of the key varies on, whether or not one was found */
    struct buf names;      /* the caller's to free */
    void (*on_done)(struct disk_get *job);
    /* Not NULL: only look. Called for each variant of the key, newest first, on a reader's thread; no object
     * is made, and the store's order hears nothing of it. */
    void (*peek)(struct disk_get *job, const struct disk_peek *variant);
};
void disk_get(struct disk *d, struct disk_get *job);

/* Load one chunk of `object` that object_read says is on disk. Loads of one chunk that run at the same time
 * share one read. After success object_read finds it (from within on_done: it may leave again later). */
struct disk_load {
    struct mail mail;                           /* private */
    struct list_node link, in_table, followers; /* private */
    struct disk *disk;                          /* private */
    uint64_t id;                                /* private */
    struct loop *loop;
    struct object *object; /* the caller's reference, held until on_done */
    uint32_t index;
    struct chunk *chunk; /* result, one reference, the caller's; NULL on error */
    int err;             /* 0, ERR_NOT_FOUND (evicted), ERR_CORRUPT, ERR_IO */
    void (*on_done)(struct disk_load *job);
};
void disk_load(struct disk *d, struct disk_load *job);

/* One object on its way to the file; the owner's loop only. Each takes its own references.
 *
 * begin    sets OBJECT_STORING and returns 0, or ERR_BUSY, ERR_FULL, ERR_IO, ERR_NOMEM: not stored
 * advance  after each append: complete chunks are queued for the next commit. Clears OBJECT_STORING when the
 *          store has shed the object: then none of these calls does anything more
 * seal     after object_seal: replaces an older record of key and variant
 * abort    nothing of it stays */
int disk_fill_begin(struct disk *d, struct object *o);
void disk_fill_advance(struct disk *d, struct object *o);
void disk_fill_seal(struct disk *d, struct object *o);
void disk_fill_abort(struct disk *d, struct object *o);

/* Store `o`, sealed and whole in memory, unless it is stored already, was handed to the store before, or the
 * store is busy or in trouble: then nothing happens, and the next hit may ask again. Sets OBJECT_STORING. Any
 * thread; takes the queue's lock alone, and may be called under a shard's. */
void disk_keep(struct disk *d, struct object *o);

/* Bytes of whole chunks of `o` that are durable. */
uint64_t disk_fill_committed(const struct object *o);
/* Bytes of whole chunks of `o` that wait for a commit: handed to the fill and still only in memory. */
uint64_t disk_fill_uncommitted(const struct object *o);

/* `o` is object_with_head over a body that is on disk (or being stored): rewrite its record's head. */
void disk_put_head(struct disk *d, struct object *o);

/* Remove all variants of the key (invalidation). */
void disk_delete(struct disk *d, struct span key, uint64_t key_hash);

/* ---- the durable log of purges (DESIGN.md section 7) ----
 *
 * It lives in the same file as the objects: what is set aside takes its purges along. A record that cannot be
 * made durable is kept and tried again; until that works nothing is found on disk (disk_get: ERR_NOT_FOUND),
 * nothing is stored, and should the process end before, the next start sets the file aside. */

/* Put `n` records into the log in one transaction, ahead of everything else that waits for the writer. They
 * are copied. `done` is called on the writer's thread, exactly once, with 0 or ERR_IO, ERR_FULL, ERR_NOMEM:
 * not durable (yet). Any thread. Returns 0, or ERR_NOMEM: `done` is not called; the store is begun anew. */
int disk_purge_add(struct disk *d, const struct purge_record *records, size_t n,
                   void (*done)(void *ctx, int err), void *ctx);

/* Give every record of the log, by number; the spans last as long as the call of `take`. For the start,
 * before loops run: after disk_open the log is known to be whole. Returns 0, ERR_IO, or the first error of
 * `take`. */
int disk_purge_load(struct disk *d, int (*take)(void *ctx, const struct purge_record *r), void *ctx);

/* What the store asks about purges, on the writer's thread; none of it may block. */
enum disk_verdict {
    DISK_KEEP,
    DISK_STALE, /* since *since_ms, wall clock */
    DISK_GONE,
};
struct disk_judge {
    uint64_t (*newest)(void *ctx); /* the number up to which judge knows all */
    enum disk_verdict (*judge)(void *ctx, const struct stored_head_parts *head, int64_t *since_ms);
    /* No response on disk is older than `oldest`, and records up to there leave the log. What was read before
     * may still be on its way. */
    void (*forget)(void *ctx, uint64_t oldest);
    void *ctx;
};

/* From now on records that are old enough are forgotten: in the writer's idle time all that is stored is held
 * against the log, and what is purged goes. Responses that were read carry the number up to which that was
 * done, where it is higher than their own; what comes to be stored with a lower one is not. */
void disk_set_judge(struct disk *d, const struct disk_judge *judge);

/* The highest number that was ever put into the log, forgotten ones included; 0: none. Any thread. */
uint64_t disk_purge_newest(const struct disk *d);

/* A hit in memory on something that is on disk: keeps it from being evicted soon. Lock-free. disk_get
 * counts its own. */
void disk_note_hit(struct disk *d, const struct object *o);

#endif
