#include "shield/store/disk_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"

/* What an object costs the queue and the file beside its body, about. */
enum { RECORD_BYTES = 2048 };

static int refuses(struct disk *d)
{
    static const int errs[] = {
#define X(name, err, text) err,
        DISK_TROUBLES(X)
#undef X
    };
    int err = errs[atomic_load_explicit(&d->trouble, memory_order_relaxed)];
    if (err != 0)
        return err;
    return atomic_load_explicit(&d->queued_bytes, memory_order_relaxed) > d->opt.queue_max_bytes ? ERR_BUSY
                                                                                                 : 0;
}

static struct disk_fill *fill_new(struct object *o)
{
    struct disk_fill *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    list_init(&f->op.link);
    f->op.kind = OP_FILL;
    f->object = object_ref(o);
    return f;
}

int disk_fill_begin(struct disk *d, struct object *o)
{
    REQUIRE(object_fill(o) == NULL);
    int err = refuses(d);
    struct disk_fill *f = err == 0 ? fill_new(o) : NULL;
    if (f == NULL) {
        metric_count(d->metrics, STORE_SHED);
        return err != 0 ? err : ERR_NOMEM;
    }
    pthread_mutex_lock(&d->lock);
    list_add_tail(&d->fills, &f->all);
    object_set_fill(o, f);
    pthread_mutex_unlock(&d->lock);
    object_set_flags(o, OBJECT_STORING, 0);
    return 0;
}

void disk_fill_free(struct disk *d, struct disk_fill *f)
{
    pthread_mutex_lock(&d->lock);
    list_remove(&f->all);
    pthread_mutex_unlock(&d->lock);
    object_unref(&f->renewed);
    object_unref(&f->object);
    free(f);
}

void disk_fill_shed(struct disk *d, struct disk_fill *f)
{
    if (!atomic_exchange(&f->shed, true))
        metric_count(d->metrics, STORE_SHED);
}

/* The loop lets go of the fill. What the writer has never seen needs no trip to it. */
static void give_up(struct disk *d, struct object *o, struct disk_fill *f)
{
    object_set_flags(o, 0, OBJECT_STORING);
    pthread_mutex_lock(&d->lock);
    object_set_fill(o, NULL);
    f->aborted = true;
    bool unseen = f->taken == 0;
    if (unseen)
        disk_queue_remove(d, &f->op);
    else
        disk_queue_add(d, &f->op, 0);
    pthread_mutex_unlock(&d->lock);
    if (unseen)
        disk_fill_free(d, f);
}

void disk_fill_advance(struct disk *d, struct object *o)
{
    struct disk_fill *f = object_fill(o);
    if (f == NULL)
        return;
    uint32_t ready = (uint32_t)(object_ready(o) / object_chunk_bytes(o));
    if (ready > f->ready &&
        atomic_load_explicit(&d->queued_bytes, memory_order_relaxed) > d->opt.queue_max_bytes)
        disk_fill_shed(d, f);
    if (atomic_load(&f->shed)) {
        give_up(d, o, f);
        return;
    }
    if (ready == f->ready)
        return;
    pthread_mutex_lock(&d->lock);
    uint64_t charge = (uint64_t)(ready - f->ready) * object_chunk_bytes(o);
    f->ready = ready;
    disk_queue_add(d, &f->op, charge);
    pthread_mutex_unlock(&d->lock);
}

/* Under d->lock: it is sealed, and what the queue does not have of it yet is added. */
static void queue_rest(struct disk *d, struct disk_fill *f)
{
    const struct object *o = f->object;
    uint32_t chunk_bytes = object_chunk_bytes(o);
    uint64_t charge =
        object_length(o) - (uint64_t)f->ready * chunk_bytes + object_head(o)->block.len + RECORD_BYTES;
    f->ready = (uint32_t)(object_length(o) / chunk_bytes);
    f->sealed = true;
    disk_queue_add(d, &f->op, charge);
}

void disk_fill_seal(struct disk *d, struct object *o)
{
    struct disk_fill *f = object_fill(o);
    if (f == NULL)
        return;
    REQUIRE(object_state(o) == OBJECT_SEALED);
    if (atomic_load(&f->shed)) {
        give_up(d, o, f);
        return;
    }
    metric_move(d->metrics, STORE_PENDING, 1);
    pthread_mutex_lock(&d->lock);
    object_set_fill(o, NULL);
    list_remove(&f->op.link); /* behind a deletion that came since its last chunk */
    queue_rest(d, f);
    pthread_mutex_unlock(&d->lock);
}

/* It was never given to the store, is all in memory, and not so old that purges which it was held against may
 * have been forgotten. */
static bool may_be_kept(const struct disk *d, const struct object *o)
{
    return object_disk_id(o) == 0 && object_is_resident(o) &&
           (object_flags(o) & (OBJECT_ON_DISK | OBJECT_STORING | OBJECT_UNWANTED)) == 0 &&
           object_head(o)->purge_number >= atomic_load_explicit(&d->purge_floor, memory_order_relaxed);
}

/* Of what is in memory anyway, nothing is shed for it. */
static bool has_room(struct disk *d, const struct object *o)
{
    uint64_t queued = atomic_load_explicit(&d->queued_bytes, memory_order_relaxed);
    return refuses(d) == 0 && (queued == 0 || queued + object_length(o) <= d->opt.queue_max_bytes / 2);
}

void disk_keep(struct disk *d, struct object *o)
{
    REQUIRE(object_state(o) == OBJECT_SEALED);
    struct disk_fill *f = may_be_kept(d, o) && has_room(d, o) ? fill_new(o) : NULL;
    if (f == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    bool is_first = may_be_kept(d, o);
    if (is_first) {
        metric_move(d->metrics, STORE_PENDING, 1);
        object_set_flags(o, OBJECT_STORING, 0);
        list_add_tail(&d->fills, &f->all);
        queue_rest(d, f);
    }
    pthread_mutex_unlock(&d->lock);
    if (!is_first) {
        object_unref(&f->object);
        free(f);
    }
}

void disk_fill_abort(struct disk *d, struct object *o)
{
    struct disk_fill *f = object_fill(o);
    if (f != NULL)
        give_up(d, o, f);
}

uint64_t disk_fill_committed(const struct object *o)
{
    const struct disk_fill *f = object_fill(o);
    return f == NULL ? 0 : atomic_load_explicit(&f->committed, memory_order_relaxed);
}

uint64_t disk_fill_uncommitted(const struct object *o)
{
    const struct disk_fill *f = object_fill(o);
    return f == NULL ? 0
                     : (uint64_t)f->ready * object_chunk_bytes(o) -
                           atomic_load_explicit(&f->committed, memory_order_relaxed);
}

void disk_put_head(struct disk *d, struct object *o)
{
    struct disk_head_op *h = calloc(1, sizeof *h);
    struct object *mine = object_ref(o);
    pthread_mutex_lock(&d->lock);
    struct disk_fill *f = object_fill(o);
    if (f != NULL) { /* its record is not written yet: it will be with this head */
        struct object *before = f->renewed;
        f->renewed = mine;
        mine = before;
    } else if (h != NULL && atomic_load(&d->queued_bytes) <= d->opt.queue_max_bytes) {
        h->object = mine;
        mine = NULL;
        list_init(&h->op.link);
        h->op.kind = OP_HEAD;
        metric_move(d->metrics, STORE_PENDING, 1);
        disk_queue_add(d, &h->op, object_head(o)->block.len + RECORD_BYTES);
        h = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    object_unref(&mine);
    free(h);
}

void disk_delete(struct disk *d, struct span key, uint64_t key_hash)
{
    atomic_fetch_add(&d->deletes[key_hash % DISK_DELETE_SLOTS], 1);
    struct disk_delete_op *op = malloc(sizeof *op + key.len);
    if (op == NULL) /* the count stays: what is on disk under such hashes is not used until the next start */
        return;
    *op = (struct disk_delete_op){.op.kind = OP_DELETE, .key_hash = key_hash, .len = key.len};
    memcpy(op->key, key.p, key.len);
    list_init(&op->op.link);
    pthread_mutex_lock(&d->lock);
    disk_queue_add(d, &op->op, RECORD_BYTES);
    pthread_mutex_unlock(&d->lock);
}

void disk_fill_free_rest(struct disk *d)
{
    while (!list_empty(&d->fills)) {
        struct disk_fill *f = container_of(d->fills.next, struct disk_fill, all);
        object_set_flags(f->object, 0, OBJECT_STORING);
        object_set_fill(f->object, NULL);
        disk_fill_free(d, f);
    }
}
