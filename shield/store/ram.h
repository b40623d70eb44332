/* ram - which objects stay in memory within store.ram: S3-FIFO (Yang et al., SOSP 2023).
 *
 * Why this one: a hit costs one relaxed store and takes no lock, so hits on all loops stay independent;
 * one-hit wonders leave through a small queue without washing out what is hot; its hit ratio is at or above
 * LRU's on Zipf and scans. The tier holds one reference to each object in it. Any thread; never calls back.
 */
#ifndef SHIELD_STORE_RAM_H
#define SHIELD_STORE_RAM_H

#include "shield/store/object.h"

struct ram;

struct ram *ram_new(uint64_t limit_bytes); /* NULL without memory */
void ram_free(struct ram **slot);          /* drops all references */
void ram_set_limit(struct ram *r, uint64_t limit_bytes);

/* Add a sealed object (a reference is taken). Objects that have to go for it are moved to `victims` through
 * their object_ram link, each with the tier's reference: the caller takes them out of the index and drops it.
 * Objects that are being stored or read are passed by. */
void ram_insert(struct ram *r, struct object *o, struct list_node *victims);

/* Take it out (the reference is dropped), if it is in. */
void ram_remove(struct ram *r, struct object *o);

/* A hit. Lock-free. */
void ram_touch(struct object *o);

struct ram_stats {
    uint64_t bytes, objects, evicted;
};
void ram_get_stats(struct ram *r, struct ram_stats *out);

#endif
