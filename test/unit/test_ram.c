#include "shield/store/ram.h"

#include "test/unit/object_rig.h"

#include <pthread.h>

#include "test/unit/alloc_fail.h"

enum { BODY = 10000 };

/* What one such object is charged with. */
static uint64_t cost_of_one(void)
{
    struct ram *r = ram_new(UINT64_MAX);
    struct list_node victims;
    struct ram_stats stats;
    struct object *o = sealed_object("k0", BODY);
    list_init(&victims);
    ram_insert(r, o, &victims);
    ram_get_stats(r, &stats);
    object_unref(&o);
    ram_free(&r);
    return stats.bytes;
}

static struct object *named(int number)
{
    char key[16];
    snprintf(key, sizeof key, "%d", number);
    return sealed_object(key, BODY);
}

static int number_of(const struct object *o)
{
    char key[16];
    struct span s = object_head(o)->key;
    memcpy(key, s.p, s.len);
    key[s.len] = '\0';
    return atoi(key);
}

/* The tier, and what a cache would know: which objects are in. */
enum { NUMBERS = 4096 };
struct tier {
    struct ram *ram;
    struct object *in[NUMBERS]; /* borrowed from the tier */
    uint64_t cost;
};

static struct tier *tier_of(uint64_t objects)
{
    struct tier *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->cost = cost_of_one() + 16; /* keys differ in length */
    t->ram = ram_new(t->cost * objects);
    assert_non_null(t->ram);
    return t;
}

static void tier_free(struct tier *t)
{
    ram_free(&t->ram);
    assert_null(t->ram);
    free(t);
}

static void drop_victims(struct tier *t, struct list_node *victims)
{
    while (!list_empty(victims)) {
        struct object_ram *m = container_of(victims->next, struct object_ram, link);
        struct object *o = object_of_ram(m);
        list_remove(&m->link);
        assert_false(m->linked);
        assert_ptr_equal(t->in[number_of(o)], o);
        t->in[number_of(o)] = NULL;
        object_unref(&o);
    }
}

static void insert(struct tier *t, struct object *o)
{
    struct list_node victims;
    list_init(&victims);
    t->in[number_of(o)] = o;
    ram_insert(t->ram, o, &victims);
    drop_victims(t, &victims);
}

static void put(struct tier *t, int number)
{
    struct object *o = named(number);
    insert(t, o);
    object_unref(&o);
}

static int count_in(const struct tier *t, int from, int to)
{
    int n = 0;
    for (int i = from; i < to; i++)
        n += t->in[i] != NULL;
    return n;
}

static void touch(struct tier *t, int number, int times)
{
    assert_non_null(t->in[number]);
    for (int i = 0; i < times; i++)
        ram_touch(t->in[number]);
}

/* ---- ---- */

static void the_limit_holds(void **state)
{
    struct tier *t = tier_of(50);
    struct ram_stats stats;
    for (int i = 0; i < 500; i++) {
        put(t, i);
        ram_get_stats(t->ram, &stats);
        assert_true(stats.bytes <= t->cost * 50);
        assert_int_equal(stats.objects, count_in(t, 0, 500));
        assert_int_equal(stats.evicted, i + 1 - (int)stats.objects);
    }
    assert_true(stats.objects >= 49);
    tier_free(t);
}

static void a_smaller_limit_counts_from_the_next_insertion(void **state)
{
    struct tier *t = tier_of(50);
    struct ram_stats stats;
    for (int i = 0; i < 50; i++)
        put(t, i);
    ram_set_limit(t->ram, t->cost * 10);
    put(t, 50);
    ram_get_stats(t->ram, &stats);
    assert_true(stats.bytes <= t->cost * 10);
    assert_true(stats.objects >= 9);
    tier_free(t);
}

static void the_oldest_goes_first(void **state)
{
    struct tier *t = tier_of(10);
    for (int i = 0; i < 15; i++)
        put(t, i);
    assert_int_equal(count_in(t, 0, 5), 0);
    assert_int_equal(count_in(t, 5, 15), 10);
    tier_free(t);
}

static void what_is_hot_survives_a_scan(void **state)
{
    struct tier *t = tier_of(100);
    for (int i = 0; i < 50; i++)
        put(t, i);
    for (int i = 0; i < 50; i++)
        touch(t, i, 3);
    for (int i = 1000; i < 3000; i++) /* each asked for once */
        put(t, i);
    assert_int_equal(count_in(t, 0, 50), 50);
    tier_free(t);
}

static void one_hit_is_not_hot(void **state)
{
    struct tier *t = tier_of(100);
    for (int i = 0; i < 50; i++)
        put(t, i);
    for (int i = 0; i < 50; i++)
        touch(t, i, 1);
    for (int i = 1000; i < 1200; i++)
        put(t, i);
    assert_int_equal(count_in(t, 0, 50), 0);
    tier_free(t);
}

/* As a cache does: a hit, or a miss and an insertion. */
static bool ask(struct tier *t, int number)
{
    bool hit = t->in[number] != NULL;
    if (hit)
        ram_touch(t->in[number]);
    else
        put(t, number);
    return hit;
}

/* Of what was hot once, the main queue keeps what is still asked for, beside newcomers that are asked for as
 * often. */
static void what_has_cooled_down_leaves(void **state)
{
    struct tier *t = tier_of(100);
    int misses = 0;
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < 80; i++)
            ask(t, i);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 40; i++)
            misses += !ask(t, i) && round >= 20;
        for (int i = 0; i < 5 * 4; i++)
            ask(t, 1000 + round * 5 + i / 4);
    }
    assert_int_equal(misses, 0);
    assert_int_equal(count_in(t, 40, 80), 0);
    tier_free(t);
}

/* What was evicted a while ago and comes again is for the main queue at once: a scan does not wash it out. */
static void a_ghost_goes_to_main(void **state)
{
    struct tier *t = tier_of(100);
    put(t, 7);
    for (int i = 1000; i < 1200; i++)
        put(t, i);
    assert_null(t->in[7]);
    put(t, 7);
    put(t, 8); /* not known from before */
    for (int i = 1200; i < 1500; i++)
        put(t, i);
    assert_non_null(t->in[7]);
    assert_null(t->in[8]);
    tier_free(t);
}

static void what_is_read_or_being_stored_is_passed_by(void **state)
{
    struct tier *t = tier_of(20);
    for (int i = 0; i < 10; i++)
        put(t, i);
    for (int i = 0; i < 5; i++)
        object_pin(t->in[i]);
    for (int i = 5; i < 10; i++)
        object_set_flags(t->in[i], OBJECT_STORING, 0);
    for (int i = 100; i < 300; i++)
        put(t, i);
    assert_int_equal(count_in(t, 0, 10), 10);
    for (int i = 0; i < 5; i++)
        object_unpin(t->in[i]);
    for (int i = 5; i < 10; i++)
        object_set_flags(t->in[i], OBJECT_ON_DISK, OBJECT_STORING);
    for (int i = 300; i < 500; i++)
        put(t, i);
    assert_int_equal(count_in(t, 0, 10), 0);
    tier_free(t);
}

/* Nothing may leave: over the limit for a while, and no endless search. */
static void all_pinned_is_over_the_limit(void **state)
{
    struct tier *t = tier_of(5);
    struct ram_stats stats;
    for (int i = 0; i < 20; i++) {
        struct object *o = named(i);
        object_pin(o);
        insert(t, o);
        object_unref(&o);
    }
    ram_get_stats(t->ram, &stats);
    assert_int_equal(stats.objects, 20);
    assert_true(stats.bytes > 5 * t->cost);
    for (int i = 0; i < 20; i++)
        object_unpin(t->in[i]);
    put(t, 20);
    ram_get_stats(t->ram, &stats);
    assert_true(stats.bytes <= 5 * t->cost);
    tier_free(t);
}

static void removing_drops_the_reference(void **state)
{
    struct tier *t = tier_of(10);
    struct ram_stats stats;
    struct object *o = named(1), *stranger = named(2);
    insert(t, o);
    insert(t, o); /* twice is once */
    ram_get_stats(t->ram, &stats);
    assert_int_equal(stats.objects, 1);
    ram_remove(t->ram, stranger);
    ram_remove(t->ram, o);
    ram_remove(t->ram, o);
    ram_get_stats(t->ram, &stats);
    assert_int_equal(stats.objects + stats.bytes, 0);
    assert_int_equal(read_and_compare(o, 1, 0, BODY), 0); /* our own reference is the last */
    object_unref(&o);
    object_unref(&stranger);
    tier_free(t);
}

static void larger_than_the_tier(void **state)
{
    struct tier *t = tier_of(2);
    struct object *o = sealed_object("3", 100 * BODY);
    insert(t, o);
    assert_null(t->in[3]);
    object_unref(&o);
    tier_free(t);
}

/* ---- many threads ---- */

struct crowd {
    struct ram *ram;
    int first;
};

static void *come_and_go(void *ctx)
{
    struct crowd *c = ctx;
    struct object *mine[200];
    for (int i = 0; i < 200; i++) {
        struct list_node victims;
        list_init(&victims);
        mine[i] = named(c->first + i);
        ram_insert(c->ram, mine[i], &victims);
        while (!list_empty(&victims)) {
            struct object_ram *m = container_of(victims.next, struct object_ram, link);
            struct object *o = object_of_ram(m);
            list_remove(&m->link);
            object_unref(&o);
        }
        for (int k = 0; k <= i; k += 17)
            ram_touch(mine[k]);
        if (i % 3 == 0)
            ram_remove(c->ram, mine[i / 2]);
    }
    for (int i = 0; i < 200; i++)
        object_unref(&mine[i]);
    return NULL;
}

static void many_threads(void **state)
{
    uint64_t cost = cost_of_one() + 16;
    struct ram *ram = ram_new(cost * 60);
    struct crowd crowds[3];
    struct ram_stats stats;
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        crowds[i] = (struct crowd){ram, 1000 * i};
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowds[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ram_get_stats(ram, &stats);
    assert_true(stats.bytes <= cost * 60);
    ram_free(&ram);
}

static void make_ram(void *ctx)
{
    struct ram *r = ram_new(1000);
    ram_free(&r);
}

static void ram_survives_each_failure(void **state)
{
    assert_true(alloc_fail_each(make_ram, NULL) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(a_smaller_limit_counts_from_the_next_insertion),
        cmocka_unit_test(the_oldest_goes_first),
        cmocka_unit_test(what_is_hot_survives_a_scan),
        cmocka_unit_test(one_hit_is_not_hot),
        cmocka_unit_test(what_has_cooled_down_leaves),
        cmocka_unit_test(a_ghost_goes_to_main),
        cmocka_unit_test(what_is_read_or_being_stored_is_passed_by),
        cmocka_unit_test(all_pinned_is_over_the_limit),
        cmocka_unit_test(removing_drops_the_reference),
        cmocka_unit_test(larger_than_the_tier),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(ram_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
