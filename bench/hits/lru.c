#include <stdlib.h>

#include "bench/hits/tier.h"
#include "common/check.h"
#include "common/list.h"

/* The least that one can do without knowing the future: bodies only, no page is ever lost. */

struct kept {
    struct list_node link;
    uint64_t bytes;
};

struct lru {
    struct tier tier;
    uint64_t limit, used;
    struct list_node newest_last;
    struct kept objects[];
};

static bool ask(struct tier *tier, uint32_t object, uint64_t bytes)
{
    struct lru *l = container_of(tier, struct lru, tier);
    struct kept *k = &l->objects[object];
    bool was_there = list_linked(&k->link);
    if (was_there) {
        list_remove(&k->link);
    } else {
        k->bytes = bytes;
        l->used += bytes;
    }
    list_add_tail(&l->newest_last, &k->link);
    while (l->used > l->limit) {
        struct kept *oldest = container_of(l->newest_last.next, struct kept, link);
        list_remove(&oldest->link);
        l->used -= oldest->bytes;
    }
    return was_there;
}

static void lru_free(struct tier *tier)
{
    free(container_of(tier, struct lru, tier));
}

struct tier *lru_new(uint64_t bytes, uint32_t n_objects, const char *dir)
{
    (void)dir;
    struct lru *l = calloc(1, sizeof *l + n_objects * sizeof l->objects[0]);
    REQUIRE(l != NULL);
    l->tier = (struct tier){.ask = ask, .free = lru_free};
    l->limit = bytes;
    list_init(&l->newest_last);
    for (uint32_t i = 0; i < n_objects; i++)
        list_init(&l->objects[i].link);
    return &l->tier;
}
