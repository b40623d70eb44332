/* tier - something that keeps objects: the RAM tier and the disk tier as the shield has them, and an ideal
 * LRU to compare them with. */
#ifndef BENCH_HITS_TIER_H
#define BENCH_HITS_TIER_H

#include <stdbool.h>
#include <stdint.h>

struct tier {
    /* A request for `object` of so many bytes: whether it was there. It is there afterwards. */
    bool (*ask)(struct tier *t, uint32_t object, uint64_t bytes);
    void (*free)(struct tier *t);
};

/* Each keeps up to `bytes`, of objects numbered below `n_objects`. Without memory, or a place for the file,
 * the program ends. */
typedef struct tier *tier_maker(uint64_t bytes, uint32_t n_objects, const char *dir);
tier_maker lru_new, ram_tier_new;
/* In a new file below `dir`. What waits for its commit counts as there, as for a shield, which has it in
 * memory; that is held below a 32nd part. */
tier_maker disk_tier_new;

#endif
