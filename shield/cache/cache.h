/* cache - the index of stored responses and the table of flights, in one.
 *
 * Sharded by key; a shard has one lock for both, so that "look up, else join, else start" is one step and at
 * most one shareable fetch of a key is a proof, not a hope. No lock is held across I/O or a callback. Any
 * loop may ask. */
#ifndef SHIELD_CACHE_CACHE_H
#define SHIELD_CACHE_CACHE_H

#include "shield/flight/flight.h"
#include "shield/store/ram.h"

struct cache;

/* `seed` keys the hashes. NULL without memory. */
struct cache *cache_new(uint64_t ram_bytes, uint64_t seed);
void cache_free(struct cache **slot); /* after all loops have ended */

/* Flights of an env that has this table report to the cache. */
struct flight_table cache_flight_table(struct cache *c);

/* For disk_options.may_evict, with the cache as ctx. */
bool cache_may_evict(void *cache, uint64_t key_hash, uint64_t disk_id);

/* Once, before any loop runs: behind it stands `d`, whose file has its own seed; requests are counted in
 * `admission`, or not where that is NULL. */
void cache_set_disk(struct cache *c, struct disk *d, struct admission *admission, uint64_t seed);
/* The same: what is found is held against `log`. */
void cache_set_purges(struct cache *c, struct purge_log *log);
struct ram *cache_ram(struct cache *c);

uint64_t cache_hash(const struct cache *c, struct span key);

enum cache_answer {
    CACHE_HIT,    /* object: one reference, the caller's */
    CACHE_WAIT,   /* the waiter has joined a flight, or started one: see waiter.is_leader */
    CACHE_ALONE,  /* fetch alone; `object` may hold a stored response to validate */
    CACHE_STALE,  /* object: stale, and to be served as such, since the answer would be err; err is 0 while it
                   * is  being refreshed (stale-while-revalidate) */
    CACHE_FAILED, /* answer err: the origin gave none a moment ago, or a limit is reached */
};

struct cache_question {
    struct flight_env *env;     /* of the calling loop */
    struct flight_request what; /* config, route, key, key_hash, method, head, host, path_query, origin_index;
                                 * kind and the rest are set here */
    struct flight_waiter *waiter;
    bool may_join; /* false: Authorization and the like; answered from the store or CACHE_ALONE */
    enum pass_reason why_alone; /* without may_join */
    bool only_stored;           /* answered from what is stored, or ERR_NOT_STORED */
    bool looked;                /* it has asked before: with only_stored, the disk had nothing a moment ago */
    bool only_new;   /* released before: do not join, but a conditional request may still spare bytes */
    bool only_fresh; /* no stale answer is of use but in the place of an error */
};

struct cache_reply {
    enum cache_answer answer;
    struct object *object;
    uint32_t epoch;          /* with CACHE_ALONE: for flight_request */
    enum miss_reason reason; /* when not a hit */
    enum pass_reason passed; /* with CACHE_ALONE */
    int err;
    enum limit_name limit;  /* with ERR_BUSY */
    uint32_t retry_after_s; /* with ERR_UNAVAILABLE */
};

void cache_ask(struct cache *c, const struct cache_question *q, struct cache_reply *out);

/* Nothing stored for the key may be served without validation any more (RFC 9111 section 4.4): forgets all
 * variants, in memory and on disk. */
void cache_invalidate(struct cache *c, struct flight_env *env, struct span key);

struct cache_stats {
    uint64_t entries, marks, flights;
};
void cache_get_stats(struct cache *c, struct cache_stats *out);

#endif
