/* disk_impl - what the disk*.c files share; nobody else includes it.
 *
 *   disk.c          life, and the calls that loops make
 *   disk_fill.c     an object on its way to the file: the loop's half
 *   disk_queue.c    what waits for the writer; batches are taken from it
 *   disk_writer.c   the writer thread: who is told what, tidying
 *   disk_trouble.c  what went wrong, and another file where that helps
 *   disk_commit.c   one group commit, retried until it fits
 *   disk_txn.c      one write transaction; bodies that nothing points to
 *   disk_records.c  what it does to objects
 *   disk_evict.c    room in the file: S3-FIFO order, marks, ghosts
 *   disk_reader.c   the reader threads: jobs, and what may befall them
 *   disk_read.c     what a job reads in its transaction
 *   disk_purge.c    the log of purges
 *   disk_sweep.c    how old purges are forgotten
 *   disk_file.c     the LMDB environment: open, set aside
 *   disk_lock.c     who owns the directory, and whether purges are missing in it
 *   disk_crash.c    remembers that a store thread died in the file
 *   disk_format.c   records as bytes
 *
 * Locks: `file_lock` is held shared by a reader for one job, and exclusively while the writer replaces the
 * file. `lock` guards the queue and the fills, `read_lock` the readers' jobs; both are leaves and cover no
 * I/O. LMDB codes stay inside these files, as `rc`. */
#ifndef SHIELD_STORE_DISK_IMPL_H
#define SHIELD_STORE_DISK_IMPL_H

#include <lmdb.h>
#include <pthread.h>

#include "shield/store/disk.h"
#include "shield/store/disk_format.h"

enum {
    DISK_BATCH_MS = 100,        /* a commit waits so long for company */
    DISK_BATCH_BYTES = 8 << 20, /* or until it has so much */
    DISK_BATCH_ITEMS = 4096,
    DISK_WHOLE_BYTES = 1 << 20, /* bodies of up to so much are loaded whole */
    DISK_UNREAD_MS = 30000,     /* a replaced body that nobody has read for so long is deleted */
    DISK_DELETE_SLOTS = 1 << 16,
    DISK_LOAD_BUCKETS = 64,
    DISK_SEEN_SLOTS = 4096,
    DISK_EVICT_STEPS = 8192,  /* entries that one transaction looks at */
    DISK_PURGE_PAGES = 64,    /* kept free for a commit of purges */
    DISK_PURGES_MANY = 50000, /* records that are not kept for their age alone */
    DISK_MAX_PATH = 4096,
};

/* ---- disk_file.c ---- */

struct disk_file {
    MDB_env *env; /* NULL while the file cannot be opened */
    MDB_dbi index, meta, chunks, loose, info_db, purges;
    MDB_dbi order[QUEUE_COUNT];
    uint32_t page_bytes;
    uint64_t limit_pages; /* live pages stay below */
    uint64_t batch_bytes;
    uint64_t reserved_to;  /* bytes for which the device has room */
    struct disk_info info; /* as committed; the writer's */
};

/* Open data.mdb in `path`; what is damaged or of another version is set aside, and a new file begun that goes
 * on from `known` (NULL: none). 0, ERR_SYSTEM, ERR_NOMEM; logs why. */
int disk_file_open(struct disk_file *f, const char *path, uint64_t size_bytes, unsigned readers,
                   const struct disk_info *known);
void disk_file_close(struct disk_file *f);
void disk_file_sync_name(const char *path); /* of a new file: before anything in it is called durable */
/* Rename data.mdb to data.mdb.broken-N; the one before goes. False: it is still there; logs why. */
bool disk_file_set_aside(const char *path, const char *why);
bool disk_join(char out[DISK_MAX_PATH], const char *path, const char *name);

bool disk_rc_is_damage(int rc); /* the file itself is bad */
int disk_err_of_rc(int rc);

/* ENOENT when the open file is not the one that has the name any more; else 0. */
int disk_file_is_there(const struct disk_file *f, const char *path);
/* Room on the device for a commit of purges behind the end of the file, and for `more` bytes: 0 or errno.
 * What a batch that did not fit has taken of it is there for the next commit. */
int disk_file_reserve(struct disk_file *f, uint64_t more);

/* ---- disk_lock.c ---- */

/* Lock the directory `path` (made if absent): 0 and *lock_fd, ERR_LOCKED, ERR_SYSTEM. Logs why. */
int disk_lock_take(const char *path, int *lock_fd);
void disk_lock_release(int lock_fd);
bool disk_lock_is_there(int lock_fd, const char *path);
/* A note that outlives the process: purges were ordered that the file's log does not have. note_behind is
 * false when it could not be written anywhere; note_whole gives 0, or errno: it may still be there. */
bool disk_lock_is_behind(int lock_fd, const char *path);
bool disk_lock_note_behind(int lock_fd, const char *path);
int disk_lock_note_whole(int lock_fd, const char *path);

/* ---- disk_crash.c ---- */

/* This thread works in the store at `path` (which must outlive it): when it dies by a signal of its own, a
 * mark is left in the directory. NULL: no longer. */
void disk_crash_watch(const char *path);
/* Run `work`: true when it was broken off because a page of a mapped file could not be read. */
bool disk_crash_faults(void (*work)(void *ctx), void *ctx);
bool disk_crash_take(const char *path); /* whether there was a mark; it is gone then */

/* ---- queue: disk_queue.c ---- */

enum disk_op_kind {
    OP_FILL,   /* struct disk_fill */
    OP_HEAD,   /* struct disk_head_op: a new head for a stored body */
    OP_DELETE, /* struct disk_delete_op: all variants of a key */
    OP_VERIFY, /* struct disk_drop_op: a record did not verify: remove it */
};

struct disk_op {
    struct list_node link;
    enum disk_op_kind kind;
    uint64_t charge; /* bytes of it that no batch has taken yet */
};

struct disk_head_op {
    struct disk_op op;
    struct object *object;
};

struct disk_delete_op {
    struct disk_op op;
    uint64_t key_hash;
    size_t len;
    char key[];
};

struct disk_drop_op {
    struct disk_op op;
    uint64_t id, key_hash;
    char index_key[DISK_INDEX_KEY_BYTES];
    bool whole_key; /* the index record itself is bad */
};

/* One object on its way to the file. The loop's until sealed or aborted, then the writer's, who frees it. */
struct disk_fill {
    struct disk_op op;    /* under disk.lock, as the next four lines */
    struct list_node all; /* of the disk's fills */
    bool sealed;
    atomic_bool aborted;
    uint32_t ready, taken;  /* chunks handed over; of these, those in batches */
    struct object *renewed; /* a later head for it, or NULL */

    struct object *object;
    atomic_bool shed;           /* by the writer or the queue's bound: not going to be stored */
    _Atomic uint64_t committed; /* bytes of the body */
    /* the writer's */
    uint64_t id;     /* 0 until the first write */
    bool loose;      /* committed chunks are in the file */
    uint32_t let_go; /* chunks below may have left memory */
};

struct batch_item {
    struct disk_op *op;
    uint32_t from, to; /* chunks of a fill */
    bool is_last;      /* the fill ends with this item */
    bool dropped;      /* nothing of it is written */
    uint64_t charge;
};

struct batch {
    struct batch_item items[DISK_BATCH_ITEMS];
    uint32_t n;
    uint64_t charge;
};

enum disk_work { WORK_REPAIR, WORK_PURGES, WORK_BATCH, WORK_BACKGROUND, WORK_END };

/* Under d->lock: add to the end if it is not in the queue, with so many bytes more. */
void disk_queue_add(struct disk *d, struct disk_op *op, uint64_t charge);
void disk_queue_remove(struct disk *d, struct disk_op *op); /* under d->lock too */
/* Wait for what is to be done next, and take it. */
enum disk_work disk_queue_wait(struct disk *d, struct batch *b, uint64_t background_at_ms);
void disk_queue_settle(struct disk *d, struct batch *b); /* the batch is done: its bytes no longer wait */

/* ---- disk_fill.c ---- */

static inline struct disk_fill *disk_fill_of(struct disk_op *op)
{
    return container_of(op, struct disk_fill, op);
}
void disk_fill_free(struct disk *d, struct disk_fill *f);
/* It will not be stored; counted once. */
void disk_fill_shed(struct disk *d, struct disk_fill *f);
void disk_fill_free_rest(struct disk *d); /* at the end: what no loop finished */

/* ---- large bodies and their readers: disk_txn.c ---- */

/* Bodies that nothing points to any more, but readers may be on; the writer's. */
struct orphans {
    uint64_t *ids;
    uint32_t n, cap;
};

/* When a large body was read last. A slot per id modulo the table: another body in it may end the grace of
 * the first. */
struct seen_body {
    _Atomic uint64_t id, at_ms;
};

/* ---- trouble ---- */

#define DISK_TROUBLES(X)                                                     \
    X(NONE, 0, NULL)                                                         \
    X(FULL, ERR_FULL, "the store is full and nothing in it may be evicted")  \
    X(NO_SPACE, ERR_IO, "no space left on the store's device")               \
    X(READ_ONLY, ERR_IO, "the store's file system is read-only")             \
    X(NO_MEMORY, ERR_NOMEM, "no memory for writing to the store")            \
    X(DAMAGED, ERR_IO, "the store's file is damaged and cannot be replaced") \
    X(GONE, ERR_IO, "the store's file is gone")                              \
    X(FAILING, ERR_IO, "the store's device fails")

enum disk_trouble_kind {
#define X(name, err, text) TROUBLE_##name,
    DISK_TROUBLES(X)
#undef X
};

/* A pass over all objects; the writer's. See disk_sweep.c. */
struct disk_sweep {
    bool is_running;
    uint64_t upto;          /* the number that the floor rises to */
    uint64_t next_id;       /* objects below have been looked at */
    uint64_t lowest_stored; /* number of what was stored meanwhile */
    uint64_t begun_ms, rest_until_ms, look_at_ms;
};

/* ---- the disk ---- */

struct disk {
    struct disk_options opt;    /* opt.path is our copy */
    uint64_t seed, batch_bytes; /* also of a file that takes the place of the first */
    struct metrics_slot *metrics;
    int lock_fd;
    pthread_rwlock_t file_lock;
    struct disk_file file;
    atomic_bool damage_told; /* a reader has asked for the file to be set aside */
    atomic_int trouble;      /* enum disk_trouble_kind */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list_node queue, fills;
    _Atomic uint64_t queued_bytes; /* waiting or in a batch; changed under lock */
    uint64_t waiting_bytes, waiting_since_ms;
    bool closing;
    pthread_t writer;
    struct list_node purges; /* struct disk_purge_op: not taken by the writer yet */
    bool purges_due;
    bool is_damaged; /* a reader met a bad page: the file has to go */
    struct disk_judge judge;
    atomic_bool has_judge;

    _Atomic uint64_t purge_newest;
    _Atomic uint64_t
        purge_floor;           /* as committed: no object in the file is subject to a purge up to this one */
    atomic_bool purges_behind; /* the log lacks some: nothing is found on disk */
    atomic_bool purges_lost;   /* and cannot get them any more: the file has to go */

    /* Keys with a deletion or a bad record's removal that is not committed yet, counted by hash: what is read
     * under them is not to be trusted. */
    _Atomic uint32_t deletes[DISK_DELETE_SLOTS];

    /* the writer's */
    uint32_t piece_bytes, piece_batches; /* chunks are cut so small, since so many batches */
    uint64_t next_id;                    /* never goes back, whatever is aborted */
    uint64_t first_id;                   /* of this process: what is loose below was left by another */
    uint64_t live_bytes, objects;        /* as last shown in the metrics */
    struct batch batch;
    struct list_node held; /* deletions that wait for the end of a trouble */
    uint32_t n_held;
    uint64_t retry_at_ms, backoff_ms, tidy_at_ms;
    struct list_node behind; /* struct disk_purge_op: not in the log yet */
    uint64_t n_behind;       /* their records */
    bool behind_marked;      /* the next process would know */
    struct disk_sweep sweep;

    struct orphans orphans;

    struct seen_body seen[DISK_SEEN_SLOTS];

    struct disk_order_marks *marks;

    pthread_mutex_t read_lock;
    pthread_cond_t read_wake;
    struct list_node gets, loads;                /* jobs that wait */
    struct list_node loading[DISK_LOAD_BUCKETS]; /* loads that wait or run */
    bool readers_stop;
    unsigned n_readers;
    pthread_t *readers;
};

void *disk_writer_main(void *disk);
void *disk_reader_main(void *disk);

/* ---- disk_read.c ---- */

/* A transaction lasts for one job, and copies out: while it is open, LMDB gives no page out again that it
 * could see. */
struct disk_read_txn {
    struct disk *d;
    MDB_txn *txn;
    uint64_t purge_floor; /* from before it began: what that floor says, holds for all that it sees */
    /* what is being made: for when a page that cannot be read breaks it off */
    MDB_cursor *cursor;
    struct chunk *chunk;
    struct object *object;
};

/* What a disk_get is about: an object made of it, or each variant shown to job->peek; what a disk_load is
 * about. 0 or the job's error; what does not verify is told to the writer. */
int disk_read_object(struct disk_read_txn *t, struct disk_get *job);
int disk_read_look(struct disk_read_txn *t, struct disk_get *job);
int disk_read_chunk(struct disk_read_txn *t, struct disk_load *job);
/* The file has to go: the writer is told, once for each file. */
void disk_read_damage(struct disk *d, const char *why);
int disk_read_rc(struct disk *d, int rc); /* the code as an error of ours; damage is told */

/* ---- disk_txn.c: one write transaction; the writer only ---- */

struct disk_txn {
    struct disk *d;
    MDB_txn *txn;
    struct disk_info info;   /* becomes the file's with the commit */
    struct orphans orphans;  /* made by this transaction */
    struct buf record, gone; /* scratch of disk_records.c */
    struct buf marks;        /* what it has changed of them: as they were */
    uint64_t evicted, variants_dropped;
};

int disk_txn_begin(struct disk_txn *t, struct disk *d);
int disk_txn_commit(struct disk_txn *t); /* ends it, well or not */
void disk_txn_abort(struct disk_txn *t);
void disk_show_content(struct disk *d); /* in the metrics, of a file just opened */
/* Pages of everything in the file, free ones aside: read from the databases' own counters. */
int disk_txn_live_pages(struct disk_txn *t, uint64_t *pages);

/* put, without searching where the key is the last one, as it mostly is. */
int disk_txn_put_ordered(struct disk_txn *t, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags);

bool disk_orphans_add(struct orphans *all, uint64_t id); /* false without memory */
void disk_orphans_adopt(struct disk *d, uint64_t id);
/* An orphan that nobody has read for so long is taken off the list; 0 when there is none. */
uint64_t disk_orphans_take(struct disk *d, uint64_t unread_ms);
void disk_saw_reader(struct disk *d, uint64_t id); /* any thread */
bool disk_was_read(struct disk *d, uint64_t id, uint64_t within_ms);

/* ---- disk_records.c: what a write transaction does to objects ---- */

int disk_put_chunk(struct disk_txn *t, uint64_t id, uint32_t index, struct span bytes);
/* `out` points into the file: good until the next write. What does not decode is MDB_NOTFOUND. */
int disk_get_meta(struct disk_txn *t, uint64_t id, struct disk_meta *out);
/* `m` may point into the record that is being replaced. */
int disk_put_changed_meta(struct disk_txn *t, const struct disk_meta *m);
/* The last chunk if it is a partial one, meta, order and index of a body whose full chunks are written. An
 * older object of the key and variant is replaced. */
int disk_put_object(struct disk_txn *t, uint64_t id, struct object *o, bool was_loose);
int disk_put_loose(struct disk_txn *t, uint64_t id);
int disk_rewrite_head(struct disk_txn *t, struct object *o);
int disk_set_place(struct disk_txn *t, uint64_t id, enum disk_queue queue, uint64_t seq);
int disk_delete_key(struct disk_txn *t, struct span key);
int disk_drop_record(struct disk_txn *t, const struct disk_drop_op *op);
/* The object leaves index and order, its body too unless somebody reads it. */
int disk_release_object(struct disk_txn *t, uint64_t id);
/* Index entry, meta and chunks of an object that has left the order. */
int disk_delete_object(struct disk_txn *t, uint64_t id);
/* meta, chunks and the mark in `loose` of what nothing points to. */
int disk_delete_body(struct disk_txn *t, uint64_t id);
/* Some orphans that were not read for so long; counts them. */
int disk_delete_orphans(struct disk_txn *t, uint64_t unread_ms, uint32_t *deleted);
/* The first id in `loose`; MDB_NOTFOUND when there is none. */
int disk_first_loose(struct disk_txn *t, uint64_t *id);

/* ---- disk_commit.c ---- */

/* Write the batch and commit it, with whatever eviction that takes. 0, or the LMDB code for which it cannot
 * be done: then nothing of it is written. Items tell which were dropped. */
int disk_commit(struct disk *d, struct batch *b);

/* Evict for `pages`, without writing anything else. */
int disk_evict_only(struct disk *d, uint64_t pages);

/* ---- disk_purge.c: the writer's half ---- */

/* Whether the log is the one that info describes. */
bool disk_purges_verify(struct disk_file *f, MDB_txn *txn);
void disk_purges_take(struct disk *d); /* what waits is behind now */
/* Commit all that is behind: 0, or the LMDB code. */
int disk_purges_commit(struct disk *d, struct batch *unused);
/* Tell those who wait, and keep the note for the next process. */
void disk_purges_committed(struct disk *d);
void disk_purges_failed(struct disk *d, int rc);
void disk_purges_free(struct disk *d);

/* ---- disk_sweep.c ---- */

uint64_t disk_sweep_at(const struct disk *d); /* when there may be work for it, monotonic; or UINT64_MAX */
int disk_sweep(struct disk *d);               /* some of it, if it is time: 0, or the LMDB code */

/* ---- disk_trouble.c ---- */

bool disk_in_trouble(const struct disk *d);
/* Writing failed with this LMDB code or errno: logged once per cause, and d->retry_at_ms is set. */
void disk_enter_trouble(struct disk *d, int rc);
void disk_leave_trouble(struct disk *d); /* a commit went well */
/* Close the file and open it, or a new one, in its place; with a reason, it is set aside before. */
bool disk_reopen(struct disk *d, const char *set_aside_why);
/* Run `commit`, once more on a new file where the first is found damaged or gone. 0, or the LMDB code. */
int disk_commit_on_file(struct disk *d, int (*commit)(struct disk *d, struct batch *b), struct batch *b);

/* ---- disk_evict.c ---- */

struct disk_order_marks *disk_marks_new(uint64_t size_bytes);
void disk_marks_free(struct disk_order_marks *m);
void disk_marks_hit(struct disk_order_marks *m, uint64_t id);
void disk_marks_restore(struct disk_txn *t); /* it is aborted: nothing has moved */
/* It comes to the file with so many hits. */
void disk_marks_begin(struct disk_order_marks *m, uint64_t id, unsigned hits);
/* The queue that a new object goes to. */
enum disk_queue disk_marks_admit(struct disk_order_marks *m, uint64_t key_hash);

int disk_order_put(struct disk_txn *t, enum disk_queue q, const struct disk_order *e, uint64_t *seq);
int disk_order_remove(struct disk_txn *t, enum disk_queue q, uint64_t seq);
/* Evict until `pages` more fit; *made tells whether they do. Looks at `most_steps` entries at most: the next
 * transaction goes on where this one stops. Ends also when everything is refused. */
int disk_make_room(struct disk_txn *t, uint64_t pages, uint64_t most_steps, bool *made);

#endif
