/* entry - what a shard of the cache knows of one key. Everything here runs under the shard's lock. */
#ifndef SHIELD_CACHE_ENTRY_H
#define SHIELD_CACHE_ENTRY_H

#include <pthread.h>

#include "shield/flight/flight.h"

/* A stored response; newest first in its entry. */
struct variant {
    struct variant *next;
    struct object *object;
};

enum mark_kind { MARK_NONE, MARK_UNCACHEABLE, MARK_TOO_LARGE, MARK_ERROR, MARK_KINDS };

struct entry {
    struct entry *next; /* in its bucket */
    uint64_t hash;
    struct span key;
    struct span names; /* what the newest response varies on; allocated */
    bool names_known;
    struct variant *variants;
    uint32_t n_variants;
    struct list_node flights;
    /* remembered for a while: that the key is uncacheable, too large to be kept, or that the origin gave no
     * answer that can be used */
    enum mark_kind mark;
    int mark_err;
    uint64_t mark_number;                /* purges up to here do not concern it */
    uint64_t mark_until_ms, mark_ttl_ms; /* monotonic; the last error's ttl, for doubling */
    struct list_node mark_link;          /* in the shard's list of its kind */
};

struct shard {
    pthread_mutex_t lock;
    struct entry **buckets;
    uint32_t n_buckets, n_entries, n_marks;
    struct list_node marks[MARK_KINDS]; /* oldest first, which is also who expires first */
};

bool shard_init(struct shard *s);
void shard_fini(struct shard *s); /* drops all references */

struct entry *shard_find(struct shard *s, uint64_t hash, struct span key);
struct entry *shard_find_or_add(struct shard *s, uint64_t hash, struct span key); /* NULL without memory */
/* Remove the entry if nothing is left in it. */
void shard_tidy(struct shard *s, struct entry *e, uint64_t now_ms);

bool entry_set_names(struct entry *e, struct span names);

/* The variant that `request` selects, or NULL: the newest that matches, one with a Vary before one without
 * (RFC 9111 section 4.1). `now_ms` is wall time. `scratch` is overwritten. */
struct object *entry_find_variant(const struct entry *e, const struct config *cfg,
                                  const struct http_head *request, int64_t now_ms, struct buf *scratch);
/* Put `o` in the place of the same variant, or in front; gives the references that fall out (at most two: the
 * replaced one, and the oldest above max_variants). Takes a reference to `o`. Returns false without memory.
 */
bool entry_put_variant(struct entry *e, struct object *o, uint32_t max_variants, struct object *fallen[2]);
/* Take the object out; true and the index's reference in *out when it was there. */
bool entry_take_variant(struct entry *e, const struct object *o, struct object **out);

void shard_mark(struct shard *s, struct entry *e, enum mark_kind kind, int err, uint64_t now_ms,
                uint64_t ttl_ms);
void shard_unmark(struct shard *s, struct entry *e);
bool entry_is_marked(const struct entry *e, enum mark_kind kind, uint64_t now_ms);
/* Drop expired marks from the front, and the oldest above `max`; true when the bound was reached. */
bool shard_trim_marks(struct shard *s, uint64_t now_ms, uint32_t max);

#endif
