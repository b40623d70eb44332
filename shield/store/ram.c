#include "shield/store/ram.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"

enum { Q_SMALL, Q_MAIN, QUEUES, GHOSTS = 1 << 16, HITS_MAX = 3, SMALL_PERCENT = 10, HEAD_ALLOWANCE = 512 };

struct ram {
    pthread_mutex_t lock;
    uint64_t limit;
    struct list_node queues[QUEUES]; /* oldest first */
    uint64_t bytes[QUEUES];
    uint64_t objects, evicted;
    /* What left the small queue lately, by key hash: a direct-mapped table that forgets by being overwritten.
     */
    uint64_t ghosts[GHOSTS];
};

struct ram *ram_new(uint64_t limit_bytes)
{
    struct ram *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    r->limit = limit_bytes;
    for (int q = 0; q < QUEUES; q++)
        list_init(&r->queues[q]);
    return r;
}

void ram_set_limit(struct ram *r, uint64_t limit_bytes)
{
    pthread_mutex_lock(&r->lock);
    r->limit = limit_bytes;
    pthread_mutex_unlock(&r->lock);
}

/* ---- under the lock ---- */

static void link_object(struct ram *r, struct object_ram *o, int queue)
{
    o->queue = (uint8_t)queue;
    o->linked = true;
    list_add_tail(&r->queues[queue], &o->link);
    r->bytes[queue] += o->charged;
    r->objects++;
}

static void unlink_object(struct ram *r, struct object_ram *o)
{
    list_remove(&o->link);
    o->linked = false;
    r->bytes[o->queue] -= o->charged;
    r->objects--;
}

static uint64_t ghost_of(const struct object_ram *o)
{
    return object_head(object_of_ram((struct object_ram *)o))->key_hash | 1;
}

static bool may_leave(struct object_ram *o)
{
    return !object_is_pinned(object_of_ram(o)) && !(object_flags(object_of_ram(o)) & OBJECT_STORING);
}

/* One look at the oldest of a queue: evict it, promote it, or give it another round. */
static void turn_oldest(struct ram *r, int queue, struct list_node *victims)
{
    struct object_ram *o = container_of(r->queues[queue].next, struct object_ram, link);
    unsigned hits = atomic_load_explicit(&o->hits, memory_order_relaxed);
    unlink_object(r, o);
    if (!may_leave(o)) {
        link_object(r, o, queue);
    } else if (queue == Q_SMALL && hits > 1) {
        atomic_store_explicit(&o->hits, 0, memory_order_relaxed);
        link_object(r, o, Q_MAIN);
    } else if (queue == Q_MAIN && hits > 0) {
        atomic_store_explicit(&o->hits, (unsigned char)(hits - 1), memory_order_relaxed);
        link_object(r, o, Q_MAIN);
    } else {
        if (queue == Q_SMALL)
            r->ghosts[ghost_of(o) % GHOSTS] = ghost_of(o);
        list_add_tail(victims, &o->link);
        r->evicted++;
    }
}

static void make_room(struct ram *r, struct list_node *victims)
{
    uint64_t looks = 4 * r->objects + 4; /* pinned objects only: give up, and be over the limit for a while */
    while (r->bytes[Q_SMALL] + r->bytes[Q_MAIN] > r->limit && r->objects > 0 && looks-- > 0) {
        bool small = r->bytes[Q_SMALL] > r->limit / 100 * SMALL_PERCENT || list_empty(&r->queues[Q_MAIN]);
        turn_oldest(r, small && !list_empty(&r->queues[Q_SMALL]) ? Q_SMALL : Q_MAIN, victims);
    }
}

/* Chunks of an object that does not stay resident leave when they are committed, but for a few. */
static size_t what_it_will_hold(const struct object *o)
{
    if (object_is_resident(o))
        return object_ram_bytes(o) + HEAD_ALLOWANCE;
    uint64_t chunks = (uint64_t)object_chunk_bytes(o) * OBJECT_LOADED_KEPT;
    return (size_t)MIN(object_length(o), chunks) + object_head(o)->size + HEAD_ALLOWANCE;
}

/* ---- doors ---- */

void ram_insert(struct ram *r, struct object *o, struct list_node *victims)
{
    struct object_ram *m = object_ram(o);
    object_landed(o);
    pthread_mutex_lock(&r->lock);
    if (!m->linked) {
        object_ref(o);
        m->charged = what_it_will_hold(o);
        uint64_t ghost = ghost_of(m);
        link_object(r, m, r->ghosts[ghost % GHOSTS] == ghost ? Q_MAIN : Q_SMALL);
    }
    make_room(r, victims);
    pthread_mutex_unlock(&r->lock);
}

void ram_remove(struct ram *r, struct object *o)
{
    struct object_ram *m = object_ram(o);
    pthread_mutex_lock(&r->lock);
    bool was_in = m->linked;
    if (was_in)
        unlink_object(r, m);
    pthread_mutex_unlock(&r->lock);
    if (was_in)
        object_unref(&o);
}

void ram_touch(struct object *o)
{
    struct object_ram *m = object_ram(o);
    unsigned hits = atomic_load_explicit(&m->hits, memory_order_relaxed);
    if (hits < HITS_MAX) /* two loops may count one hit: that is close enough */
        atomic_store_explicit(&m->hits, (unsigned char)(hits + 1), memory_order_relaxed);
}

void ram_get_stats(struct ram *r, struct ram_stats *out)
{
    pthread_mutex_lock(&r->lock);
    *out = (struct ram_stats){
        .bytes = r->bytes[Q_SMALL] + r->bytes[Q_MAIN], .objects = r->objects, .evicted = r->evicted};
    pthread_mutex_unlock(&r->lock);
}

void ram_free(struct ram **slot)
{
    struct ram *r = *slot;
    *slot = NULL;
    if (r == NULL)
        return;
    for (int q = 0; q < QUEUES; q++) {
        while (!list_empty(&r->queues[q])) {
            struct object_ram *m = container_of(r->queues[q].next, struct object_ram, link);
            struct object *o = object_of_ram(m);
            unlink_object(r, m);
            object_unref(&o);
        }
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}
