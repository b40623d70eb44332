#include <stdlib.h>

#include "bench/hits/body.h"
#include "bench/hits/tier.h"
#include "common/check.h"
#include "shield/store/ram.h"

/* The tier itself, with objects as large as they say. What a cache does around it is here: an index. */

struct ram_tier {
    struct tier tier;
    struct ram *ram;
    struct object *index[]; /* borrowed from the tier */
};

static void drop_victims(struct ram_tier *r, struct list_node *victims)
{
    while (!list_empty(victims)) {
        struct object_ram *m = container_of(victims->next, struct object_ram, link);
        struct object *o = object_of_ram(m);
        list_remove(&m->link);
        r->index[body_number(object_head(o)->key_hash)] = NULL;
        object_unref(&o);
    }
}

static bool ask(struct tier *tier, uint32_t object, uint64_t bytes)
{
    struct ram_tier *r = container_of(tier, struct ram_tier, tier);
    struct list_node victims;
    if (r->index[object] != NULL) {
        ram_touch(r->index[object]);
        return true;
    }
    struct object *o = body_begin(object, bytes);
    while (body_grow(o, bytes) < bytes)
        ;
    object_seal(o);
    list_init(&victims);
    r->index[object] = o;
    ram_insert(r->ram, o, &victims);
    drop_victims(r, &victims);
    object_unref(&o);
    return false;
}

static void ram_tier_free(struct tier *tier)
{
    struct ram_tier *r = container_of(tier, struct ram_tier, tier);
    ram_free(&r->ram);
    free(r);
}

struct tier *ram_tier_new(uint64_t bytes, uint32_t n_objects, const char *dir)
{
    (void)dir;
    struct ram_tier *r = calloc(1, sizeof *r + n_objects * sizeof r->index[0]);
    REQUIRE(r != NULL);
    r->tier = (struct tier){.ask = ask, .free = ram_tier_free};
    r->ram = ram_new(bytes);
    REQUIRE(r->ram != NULL);
    return &r->tier;
}
