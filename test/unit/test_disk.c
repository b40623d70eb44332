#include "shield/store/disk.h"

#include "test/unit/disk_rig.h"

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    rig_init(r);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    rig_fini(*state);
    free(*state);
    return 0;
}

/* Lengths around every border: tiny bodies and tails in meta, whole pages, whole chunks, the large chunks. */
static void comes_back_after_a_restart(void **state)
{
    struct rig *r = *state;
    static const uint64_t lengths[] = {0,      1,       100,     1536,    1537,    4079,   4080,  4081,
                                       5000,   5104,    5105,    16384,   65519,   65520,  65521, 65520 * 2,
                                       200000, 1048576, 1048577, 4194303, 4194304, 5000000};
    char keys[ARRAY_LEN(lengths)][32];
    rig_open(r);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
            snprintf(keys[i], sizeof keys[i], "default\nhost\n/%u", (unsigned)i);
            struct thing t = {.key = keys[i], .bytes = lengths[i], .unknown_length = i % 2};
            if (round == 0)
                rig_store(r, &t);
            else
                rig_expect(r, &t);
        }
        if (round == 0)
            rig_reopen(r);
    }
    rig_expect_miss(r, "default\nhost\n/nothing");
    assert_int_equal(metrics_total(METRIC_STORE_ERRORS), 0);
}

static void says_when_it_is_durable(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 100000};
    rig_open(r);
    struct object *o = rig_put(r, &t);
    assert_true(object_flags(o) & (OBJECT_STORING | OBJECT_ON_DISK));
    rig_settle();
    assert_int_equal(object_flags(o), OBJECT_ON_DISK);
    assert_int_not_equal(object_disk_id(o), 0);
    assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), 1);
    assert_true(metrics_total(METRIC_STORE_BYTES) >= 100000);
    rig_expect(r, &t);
    object_unref(&o);
}

static void bodies_up_to_a_mebibyte_come_whole(void **state)
{
    struct rig *r = *state;
    struct thing small = {.key = "small", .bytes = 1 << 20}, large = {.key = "large", .bytes = (1 << 20) + 1};
    int err;
    rig_open(r);
    rig_store(r, &small);
    rig_store(r, &large);
    rig_settle();
    struct object *o = rig_get(r, "small", &err);
    assert_true(object_is_resident(o));
    object_unref(&o);
    o = rig_get(r, "large", &err);
    assert_false(object_is_resident(o));
    struct chunk *first = object_chunk(o, 0), *last = object_chunk(o, object_chunk_count(o) - 1);
    assert_non_null(first);
    assert_null(last);
    chunk_unref(&first);
    object_unref(&o);
}

/* ---- streaming ---- */

static bool is_all_committed(const void *o)
{
    return disk_fill_uncommitted(o) < CHUNK_LARGE;
}

static void chunks_leave_memory_while_it_fills(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "big", .bytes = 24 << 20, .not_resident = true};
    rig_open(r);
    struct object *o = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    for (uint64_t to = 6 << 20; to <= t.bytes; to += 6 << 20) {
        object_grow(r, o, &t, to);
        rig_until(is_all_committed, o);
        assert_true(object_ram_bytes(o) < (2 << 20)); /* the first MiB may be loaded, by the check below */
        assert_int_equal(rig_check(r, o, &t, 1 << 20), 0); /* from disk, though it has no record yet */
        rig_expect_miss(r, "big");
    }
    object_seal(o);
    disk_fill_seal(r->disk, o);
    rig_settle();
    assert_int_equal(object_flags(o), OBJECT_ON_DISK);
    object_unref(&o);
    rig_reopen(r);
    rig_expect(r, &t);
}

static void what_was_committed_leaves_when_it_need_not_stay(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "big", .bytes = 12 << 20};
    rig_open(r);
    struct object *o = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, 6 << 20);
    rig_until(is_all_committed, o);
    assert_true(object_ram_bytes(o) > 5 << 20);
    object_set_resident(o, false); /* it has grown too large for memory */
    object_grow(r, o, &t, t.bytes);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    rig_settle();
    disk_close(&r->disk);
    assert_true(object_ram_bytes(o) < 1 << 20);
    object_unref(&o);
    rig_open(r);
    rig_expect(r, &t);
}

/* One more chunk than a batch holds: the fill is cut, and what remains ends it. */
static void a_fill_that_fills_a_batch_leaves_nothing_loose(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k",
                      .bytes = (UINT64_C(8) << 20) / CHUNK_SMALL * CHUNK_SMALL + CHUNK_SMALL + 100,
                      .unknown_length = true};
    r->opt.size_bytes = UINT64_C(1) << 30;
    rig_open(r);
    struct object *o = object_begin(r, &t);
    char *body = malloc(t.bytes);
    assert_non_null(body);
    rig_bytes(salt_of(&t), 0, body, t.bytes);
    assert_int_equal(object_append(o, body, t.bytes), 0);
    free(body);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    object_unref(&o);
    for (int i = 0; i < 3; i++) { /* leftovers of the process before are deleted meanwhile */
        rig_reopen(r);
        rig_store(r, &(struct thing){.key = "other", .bytes = 10});
        rig_settle();
        rig_expect(r, &t);
    }
}

static int64_t empty_store_bytes(struct rig *r)
{
    rig_open(r);
    struct thing t = {.key = "one", .bytes = 10};
    rig_store(r, &t);
    rig_settle();
    int64_t bytes = metrics_total(METRIC_STORE_BYTES);
    disk_close(&r->disk);
    return bytes;
}

static bool store_is_small(const void *bytes)
{
    return metrics_total(METRIC_STORE_BYTES) <= *(const int64_t *)bytes;
}

static void nothing_stays_of_an_aborted_fill(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "big", .bytes = 12 << 20, .not_resident = true};
    int64_t small = empty_store_bytes(r) + 8 * 4096;
    rig_open(r);
    struct object *o = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, 6 << 20);
    rig_until(is_all_committed, o);
    assert_true(metrics_total(METRIC_STORE_BYTES) > 5 << 20);
    object_fail(o, ERR_TRUNCATED);
    disk_fill_abort(r->disk, o);
    assert_int_equal(object_flags(o) & OBJECT_STORING, 0);
    rig_until(store_is_small, &small);
    rig_expect_miss(r, "big");
    object_unref(&o);
}

/* Shed, or overtaken by a purge: who has been told of its head reads on, from where the rest of it is. */
static void a_reader_of_a_dropped_fill_reads_on(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "big", .bytes = 12 << 20, .not_resident = true};
    struct chunk *first;
    rig_open(r);
    struct object *o = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, 6 << 20);
    rig_until(is_all_committed, o);
    object_pin(o);
    disk_fill_abort(r->disk, o);
    object_grow(r, o, &t, t.bytes);
    object_seal(o);
    struct thing other = {.key = "other", .bytes = 5000};
    rig_store(r, &other); /* behind it in the queue */
    rig_settle();
    assert_int_equal(rig_load(r, o, 0, &first), 0);
    chunk_unref(&first);
    assert_int_equal(rig_check(r, o, &t, t.bytes), 0);
    object_unpin(o);
    object_unref(&o);
    rig_expect_miss(r, "big");
    rig_reopen(r);
    rig_expect_miss(r, "big");
}

static int die_in_the_middle(struct rig *r)
{
    struct thing whole = {.key = "whole", .bytes = 300000};
    struct thing torn = {.key = "torn", .bytes = 12 << 20, .not_resident = true};
    rig_open(r);
    rig_store(r, &whole);
    rig_settle();
    struct object *o = object_begin(r, &torn);
    if (disk_fill_begin(r->disk, o) != 0)
        return 1;
    object_grow(r, o, &torn, 6 << 20);
    rig_until(is_all_committed, o);
    return 42;
}

static void a_torn_object_is_never_seen(void **state)
{
    struct rig *r = *state;
    int64_t small = empty_store_bytes(r) + 300000 + 16 * 4096;
    assert_int_equal(rig_in_child(r, die_in_the_middle), 42);
    rig_open(r);
    rig_expect(r, &(struct thing){.key = "whole", .bytes = 300000});
    rig_expect_miss(r, "torn");
    rig_until(store_is_small, &small); /* what was left is deleted in the background */
    assert_false(rig_has_file(r, "data.mdb.broken-1"));
    rig_store(r, &(struct thing){.key = "torn", .bytes = 5 << 20});
    rig_settle();
    rig_expect(r, &(struct thing){.key = "torn", .bytes = 5 << 20});
}

/* ---- variants, replacement, deletion, heads ---- */

static void variants_are_told_apart(void **state)
{
    struct rig *r = *state;
    struct thing de = {.key = "k", .bytes = 2000, .version = 1, .names = "x-country", .value = "de"};
    struct thing fr = {.key = "k", .bytes = 3000, .version = 2, .names = "x-country", .value = "fr"};
    struct thing none = {.key = "k", .bytes = 4000, .version = 3, .names = "x-country", .value = NULL};
    int err;
    rig_open(r);
    rig_store(r, &de);
    rig_store(r, &fr);
    rig_store(r, &none);
    rig_reopen(r);
    rig_expect(r, &de);
    rig_expect(r, &fr);
    rig_expect(r, &none);
    rig_get_as(r, "k", "x-country", "it", &err);
    assert_int_equal(err, ERR_NOT_FOUND);
}

/* The origin varies on something else now: those stored before are still matched under their own names. */
static void each_variant_has_its_own_names(void **state)
{
    struct rig *r = *state;
    struct thing old = {.key = "k", .bytes = 2000, .version = 1, .names = "x-country", .value = "de"};
    struct thing new = {.key = "k", .bytes = 3000, .version = 2, .names = "x-device", .value = "phone"};
    rig_open(r);
    rig_store(r, &old);
    rig_store(r, &new);
    rig_settle();
    rig_expect(r, &old);
    rig_expect(r, &new);
}

static void the_oldest_variant_goes(void **state)
{
    struct rig *r = *state;
    char values[5][16];
    int err;
    r->config->cache.max_variants = 3;
    rig_open(r);
    for (int i = 0; i < 5; i++) {
        snprintf(values[i], sizeof values[i], "v%d", i);
        rig_store(r,
                  &(struct thing){
                      .key = "k", .bytes = 100, .version = (uint64_t)i, .names = "x-v", .value = values[i]});
    }
    rig_settle();
    for (int i = 0; i < 5; i++) {
        struct object *o = rig_get_as(r, "k", "x-v", values[i], &err);
        assert_int_equal(err, i < 2 ? ERR_NOT_FOUND : 0);
        object_unref(&o);
    }
    assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), 3);
}

static void a_newer_one_replaces(void **state)
{
    struct rig *r = *state;
    struct thing first = {.key = "k", .bytes = 100000, .version = 1},
                 second = {.key = "k", .bytes = 70000, .version = 2};
    rig_open(r);
    rig_store(r, &first);
    rig_settle();
    rig_store(r, &second);
    rig_settle();
    rig_expect(r, &second);
    assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), 1);
    assert_true(metrics_total(METRIC_STORE_BYTES) < 170000);
}

static void a_reader_of_a_replaced_body_reads_on(void **state)
{
    struct rig *r = *state;
    struct thing first = {.key = "k", .bytes = 3 << 20, .version = 1},
                 second = {.key = "k", .bytes = 3 << 20, .version = 2};
    int err;
    rig_open(r);
    rig_store(r, &first);
    rig_settle();
    struct object *reading = rig_get(r, "k", &err);
    rig_store(r, &second);
    rig_settle();
    assert_int_equal(rig_check(r, reading, &first, first.bytes), 0);
    object_unref(&reading);
    rig_expect(r, &second);
    rig_reopen(r);
    rig_expect(r, &second);
}

static void deletion_is_seen_at_once_and_stays(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 5000, .version = 1, .names = "x", .value = "1"};
    struct thing other = {.key = "k", .bytes = 5000, .version = 2, .names = "x", .value = "2"};
    struct thing later = {.key = "k", .bytes = 5000, .version = 3, .names = "x", .value = "1"};
    int err;
    rig_open(r);
    rig_store(r, &t);
    rig_store(r, &other);
    rig_settle();
    disk_delete(r->disk, SPAN("k"), rig_hash("k"));
    rig_get_as(r, "k", "x", "1", &err);
    assert_int_equal(err, ERR_NOT_FOUND);
    rig_get_as(r, "k", "x", "2", &err);
    assert_int_equal(err, ERR_NOT_FOUND);
    rig_store(r, &later); /* in the queue behind the deletion */
    rig_reopen(r);
    rig_expect(r, &later);
    rig_get_as(r, "k", "x", "2", &err);
    assert_int_equal(err, ERR_NOT_FOUND);
}

/* The order of the calls counts, also when the fill had been queued before the deletion. */
static void a_fill_sealed_after_the_deletion_stays(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 200000};
    rig_open(r);
    struct object *o = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, 150000);
    disk_delete(r->disk, SPAN("k"), rig_hash("k"));
    object_grow(r, o, &t, t.bytes);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    object_unref(&o);
    rig_reopen(r);
    rig_expect(r, &t);
}

static void a_new_head_over_the_old_body(void **state)
{
    struct rig *r = *state;
    static const uint64_t lengths[] = {100, 16384, 3 << 20};
    rig_open(r);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct thing t = {.key = "k", .bytes = lengths[i], .version = 10 * (i + 1)};
        struct object *o = rig_put(r, &t);
        rig_settle();
        struct thing renamed = t;
        renamed.version++;
        struct object *renewed = object_with_head(o, head_of(r, &renamed));
        disk_put_head(r->disk, renewed);
        object_unref(&renewed);
        object_unref(&o);
        rig_reopen(r);
        int err;
        o = rig_get(r, "k", &err);
        assert_int_equal(err, 0);
        struct stored_head *want = head_of(r, &renamed);
        assert_true(span_eq(object_head(o)->block, want->block));
        stored_head_unref(&want);
        assert_int_equal(rig_check(r, o, &t, t.bytes), 0);
        object_unref(&o);
    }
}

static void a_new_head_for_a_body_that_still_fills(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 200000, .version = 1}, renamed = {.key = "k", .version = 2};
    rig_open(r);
    struct object *o = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, 100000);
    struct object *renewed = object_with_head(o, head_of(r, &renamed));
    disk_put_head(r->disk, renewed);
    object_unref(&renewed);
    object_grow(r, o, &t, t.bytes);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    object_unref(&o);
    rig_reopen(r);
    int err;
    o = rig_get(r, "k", &err);
    struct stored_head *want = head_of(r, &renamed);
    assert_true(span_eq(object_head(o)->block, want->block));
    stored_head_unref(&want);
    assert_int_equal(rig_check(r, o, &t, t.bytes), 0);
    object_unref(&o);
}

/* ---- loads ---- */

static unsigned n_loaded;

static void count_loaded(struct disk_load *job)
{
    n_loaded++;
    loop_stop(job->loop);
}

static void loads_of_one_chunk_share_the_read(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 3 << 20};
    struct disk_load jobs[8];
    int err;
    rig_open(r);
    rig_store(r, &t);
    rig_settle();
    struct object *a = rig_get(r, "k", &err), *b = rig_get(r, "k", &err);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct disk_load){
            .loop = &r->loop, .object = i % 2 ? a : b, .index = 20, .on_done = count_loaded};
        disk_load(r->disk, &jobs[i]);
    }
    for (n_loaded = 0; n_loaded < 8;)
        loop_run(&r->loop);
    for (int i = 0; i < 8; i++) {
        char want[64];
        assert_int_equal(jobs[i].err, 0);
        rig_bytes(salt_of(&t), UINT64_C(20) * CHUNK_SMALL, want, sizeof want);
        assert_memory_equal(jobs[i].chunk->data, want, sizeof want);
        chunk_unref(&jobs[i].chunk);
    }
    struct object *both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        struct chunk *c = object_chunk(both[i], 20);
        assert_non_null(c);
        chunk_unref(&c);
        object_unref(&both[i]);
    }
}

/* ---- many ---- */

static int store_many(struct rig *r)
{
    char key[32];
    rig_open(r);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "default\nhost\n/many/%u", i);
        rig_store(r, &(struct thing){.key = key, .bytes = 16384});
    }
    rig_settle();
    return 42;
}

static void twenty_thousand_survive_a_kill(void **state)
{
    struct rig *r = *state;
    char key[32];
    r->opt.size_bytes = UINT64_C(1) << 30;
    r->opt.queue_max_bytes = UINT64_C(1) << 30;
    assert_int_equal(rig_in_child(r, store_many), 42);
    rig_open(r);
    assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), 20000);
    for (unsigned i = 0; i < 20000; i += i % 100 == 0 ? 1 : 33) {
        snprintf(key, sizeof key, "default\nhost\n/many/%u", i);
        rig_expect(r, &(struct thing){.key = key, .bytes = 16384});
    }
    assert_true(metrics_total(METRIC_STORE_BYTES) < INT64_C(20000) * 16384 * 108 / 100);
}

/* Its chunks left memory while somebody was on it, then its key was purged: the reader finds the rest. */
static void a_reader_keeps_the_body_of_what_is_deleted(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 300000, .not_resident = true},
                 other = {.key = "other", .bytes = 10};
    rig_open(r);
    struct object *o = object_begin(r, &t);
    object_pin(o);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, t.bytes);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    rig_settle();
    disk_delete(r->disk, SPAN("k"), rig_hash("k"));
    rig_store(r, &other);
    rig_settle();
    rig_expect_miss(r, "k");
    assert_null(object_chunk(o, 0));
    assert_int_equal(rig_check(r, o, &t, t.bytes), 0);
    object_unpin(o);
    object_unref(&o);
    rig_reopen(r);
    rig_expect_miss(r, "k");
}

/* ---- what memory has and the disk has not ---- */

static struct object *in_memory(const struct rig *r, const struct thing *t)
{
    static char piece[100000];
    struct object *o = object_begin(r, t);
    while (object_ready(o) < t->bytes) {
        uint64_t n = MIN(sizeof piece, t->bytes - object_ready(o));
        rig_bytes(salt_of(t), object_ready(o), piece, n);
        assert_int_equal(object_append(o, piece, n), 0);
    }
    object_seal(o);
    return o;
}

static void what_is_kept_later_is_kept_as_well(void **state)
{
    struct rig *r = *state;
    static const uint64_t lengths[] = {0, 1, 5000, 65520, 300000, 5000000};
    rig_open(r);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        char key[32];
        snprintf(key, sizeof key, "late-%u", (unsigned)i);
        struct thing t = {.key = key, .bytes = lengths[i]};
        struct object *o = in_memory(r, &t);
        disk_keep(r->disk, o);
        assert_true(object_flags(o) & (OBJECT_STORING | OBJECT_ON_DISK));
        disk_keep(r->disk, o); /* a second hit meanwhile */
        rig_settle();
        assert_int_equal(object_flags(o), OBJECT_ON_DISK);
        disk_keep(r->disk, o);
        rig_settle();
        assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), i + 1);
        object_unref(&o);
        rig_expect(r, &t);
    }
}

static void what_may_not_be_kept_later_is_not(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 70000};
    rig_open(r);
    struct object *purged = in_memory(r, &t);
    object_set_flags(purged, OBJECT_UNWANTED, 0);
    disk_keep(r->disk, purged);
    assert_int_equal(object_flags(purged), OBJECT_UNWANTED);
    object_unref(&purged);

    struct object *torn = in_memory(r, &t); /* some of it may have left */
    object_set_resident(torn, false);
    disk_keep(r->disk, torn);
    assert_int_equal(object_flags(torn), 0);
    object_unref(&torn);

    struct object *dropped = in_memory(r, &t); /* purged when it is in the queue already */
    disk_keep(r->disk, dropped);
    object_set_flags(dropped, OBJECT_UNWANTED, 0);
    disk_delete(r->disk, SPAN("k"), rig_hash("k"));
    rig_settle();
    object_unref(&dropped);
    rig_expect_miss(r, "k");
    assert_int_equal(metrics_total(METRIC_STORE_SHED), 0);
}

/* The newer of two that are handed over in turn is the one that is found. */
static void a_kept_one_gives_way_to_its_successor(void **state)
{
    struct rig *r = *state;
    struct thing old = {.key = "k", .bytes = 200000}, new = {.key = "k", .bytes = 200000, .version = 1};
    rig_open(r);
    struct object *o = in_memory(r, &old), *n = object_begin(r, &new);
    assert_int_equal(disk_fill_begin(r->disk, n), 0);
    object_grow(r, n, &new, 100000); /* in the queue before it */
    disk_keep(r->disk, o);
    object_grow(r, n, &new, new.bytes);
    object_seal(n);
    disk_fill_seal(r->disk, n);
    object_unref(&o);
    object_unref(&n);
    rig_settle();
    rig_expect(r, &new);
    assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(comes_back_after_a_restart),
        T(says_when_it_is_durable),
        T(bodies_up_to_a_mebibyte_come_whole),
        T(chunks_leave_memory_while_it_fills),
        T(what_was_committed_leaves_when_it_need_not_stay),
        T(a_fill_that_fills_a_batch_leaves_nothing_loose),
        T(nothing_stays_of_an_aborted_fill),
        T(a_reader_of_a_dropped_fill_reads_on),
        T(a_torn_object_is_never_seen),
        T(variants_are_told_apart),
        T(each_variant_has_its_own_names),
        T(the_oldest_variant_goes),
        T(a_newer_one_replaces),
        T(a_reader_of_a_replaced_body_reads_on),
        T(deletion_is_seen_at_once_and_stays),
        T(a_fill_sealed_after_the_deletion_stays),
        T(a_new_head_over_the_old_body),
        T(a_new_head_for_a_body_that_still_fills),
        T(loads_of_one_chunk_share_the_read),
        T(twenty_thousand_survive_a_kill),
        T(a_reader_keeps_the_body_of_what_is_deleted),
        T(what_is_kept_later_is_kept_as_well),
        T(what_may_not_be_kept_later_is_not),
        T(a_kept_one_gives_way_to_its_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
