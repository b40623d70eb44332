/* cache_impl - what the files of this folder share; nobody else includes it. */
#ifndef SHIELD_CACHE_CACHE_IMPL_H
#define SHIELD_CACHE_CACHE_IMPL_H

#include "shield/cache/cache.h"
#include "shield/cache/choice.h"

enum { SHARDS = 256, EPOCHS = SHARDS * 256 };

struct cache {
    struct shard shards[SHARDS];
    struct ram *ram;
    struct disk *disk;
    struct admission *admission;
    struct purge_log *purges; /* NULL: nothing is ever purged */
    uint64_t seed;
    _Atomic uint64_t flights;
    uint32_t epochs[EPOCHS]; /* counts invalidations by key hash; under the lock of the key's shard */
};

static inline struct shard *shard_of(struct cache *c, uint64_t hash)
{
    return &c->shards[hash % SHARDS];
}

/* Whether it matters how often a key was asked for. */
static inline bool cache_counts(const struct cache *c, const struct config_route *route)
{
    return c->admission != NULL && route->admit_after > 1;
}

/* Under the shard's lock, and where no purge has overtaken it: the flight that a request with `head` would
 * join, or NULL; `e` may be NULL. One that only looks on disk is for those alone who want nothing else,
 * `only_stored`. */
struct flight *cache_find_flight(const struct entry *e, const struct config *cfg,
                                 const struct http_head *head, bool only_stored, struct buf *scratch);
/* What a refresh asks for: it is always a GET, whoever came. */
struct http_head cache_head_as_get(const struct http_head *head);
/* Whether one more flight may begin; else *limit says which bound is reached. */
bool cache_may_start(const struct cache *c, const struct config *cfg, enum limit_name *limit);

#endif
