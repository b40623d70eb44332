/* look - what a request would meet in the cache, without touching anything. Any thread. */
#ifndef SHIELD_CACHE_LOOK_H
#define SHIELD_CACHE_LOOK_H

#include "shield/cache/cache.h"
#include "shield/cache/choice.h"

enum { LOOK_VARIANTS = 64 };

struct cache_look {
    const struct config *config;
    const struct config_route *route;
    struct span key;
    uint64_t key_hash;
    const struct http_head *head;
    bool may_join, only_stored; /* as in cache_question */
    enum pass_reason why_alone;
    const struct stored_head *found; /* what the disk has for this request, or NULL */
};

struct cache_seen {
    struct choice choice;
    bool joins;           /* CHOICE_FETCH: a flight is there */
    bool is_refreshed;    /* a refresh that is due is under way already */
    bool asks_disk;       /* the fetch would begin there */
    bool validates;       /* CHOICE_FETCH: the origin would be asked about what is stored */
    int64_t now_ms;       /* that was reckoned with */
    bool counts_requests; /* the route's admit_after makes a difference */
    uint32_t asked;       /* then: requests for the key so far */
    enum mark_kind mark;  /* what is remembered of the key, while it is */
    int mark_err;
    uint64_t mark_left_ms;
    bool names_known;
    struct buf names;                       /* what the key's newest response varies on */
    struct object *variants[LOOK_VARIANTS]; /* in memory, newest first; a reference each */
    uint32_t n_variants, left_out;
    struct object *selected; /* what the request selects, or NULL; a reference too */
};

/* Fills *out in one step under the shard's lock; cache_seen_fini it. `scratch` is overwritten. */
void cache_look(struct cache *c, const struct cache_look *look, struct buf *scratch, struct cache_seen *out);
void cache_seen_fini(struct cache_seen *s);

#endif
