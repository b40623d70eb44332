#include "shield/store/disk.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "shield/store/disk_format.h"
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

/* ---- the log ---- */

struct told {
    atomic_int times, err;
};

static void on_done(void *ctx, int err)
{
    struct told *told = ctx;
    atomic_store(&told->err, err);
    atomic_fetch_add(&told->times, 1);
}

static bool is_told(const void *ctx)
{
    const struct told *told = ctx;
    return atomic_load(&told->times) > 0;
}

static int add(struct rig *r, const struct purge_record *records, size_t n)
{
    struct told told = {0};
    assert_int_equal(disk_purge_add(r->disk, records, n, on_done, &told), 0);
    rig_until(is_told, &told);
    assert_int_equal(told.times, 1);
    return told.err;
}

static struct purge_record a_record(uint64_t number)
{
    return (struct purge_record){.number = number, .kind = PURGE_TAG, .at_ms = 5000, .what = SPAN("tag")};
}

static int add_one(struct rig *r, uint64_t number)
{
    struct purge_record record = a_record(number);
    return add(r, &record, 1);
}

struct loaded {
    size_t n;
    struct purge_record records[64];
    char text[64][64];
};

static int take(void *ctx, const struct purge_record *r)
{
    struct loaded *all = ctx;
    assert_true(all->n < ARRAY_LEN(all->records) && r->what.len < 32 && r->reference.len < 32);
    char *text = all->text[all->n];
    memcpy(text, r->what.p, r->what.len);
    memcpy(text + 32, r->reference.p, r->reference.len);
    all->records[all->n] = *r;
    all->records[all->n].what.p = text;
    all->records[all->n++].reference.p = text + 32;
    return 0;
}

/* Its texts are good until the next call. */
static struct loaded load(struct rig *r)
{
    static struct loaded all;
    all.n = 0;
    assert_int_equal(disk_purge_load(r->disk, take, &all), 0);
    return all;
}

static void expect_record(const struct purge_record *got, const struct purge_record *want)
{
    assert_int_equal(got->number, want->number);
    assert_int_equal(got->kind, want->kind);
    assert_int_equal(got->is_soft, want->is_soft);
    assert_int_equal(got->at_ms, want->at_ms);
    assert_int_equal(got->over_ms, want->over_ms);
    assert_true(span_eq(got->what, want->what));
    assert_true(span_eq(got->reference, want->reference));
}

/* Two orders in one call, another before: given back by number, each thing of an order in its place. */
static void records_survive(void **state)
{
    struct rig *r = *state;
    const struct purge_record two[] = {
        {.number = 7,
         .kind = PURGE_URL,
         .is_soft = true,
         .at_ms = -1,
         .what = SPAN("default\nhost\n/a"),
         .reference = SPAN("deploy-1")},
        {.number = 7,
         .kind = PURGE_PREFIX,
         .is_soft = true,
         .at_ms = -1,
         .what = SPAN("host/p"),
         .reference = SPAN("deploy-1")},
        {.number = 9, .kind = PURGE_ALL, .at_ms = INT64_MAX, .over_ms = UINT64_MAX},
    };
    struct purge_record first = a_record(3);
    rig_open(r);
    assert_int_equal(disk_purge_newest(r->disk), 0);
    assert_int_equal(add(r, two, 3), 0);
    assert_int_equal(add(r, &first, 1), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(disk_purge_newest(r->disk), 9);
        struct loaded all = load(r);
        assert_int_equal(all.n, 4);
        expect_record(&all.records[0], &first);
        for (int k = 0; k < 3; k++)
            expect_record(&all.records[1 + k], &two[k]);
        rig_reopen(r);
    }
}

static int refuse(void *ctx, const struct purge_record *record)
{
    (void)record;
    return ++*(int *)ctx == 2 ? ERR_NOMEM : 0;
}

static void loading_ends_with_the_first_error(void **state)
{
    struct rig *r = *state;
    int calls = 0;
    rig_open(r);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(add_one(r, i), 0);
    assert_int_equal(disk_purge_load(r->disk, refuse, &calls), ERR_NOMEM);
    assert_int_equal(calls, 2);
}

static int add_and_die(struct rig *r)
{
    rig_open(r);
    return add_one(r, 5);
}

static void what_was_told_durable_survives_a_death(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_in_child(r, add_and_die), 0);
    rig_open(r);
    assert_int_equal(load(r).n, 1);
    assert_int_equal(disk_purge_newest(r->disk), 5);
}

/* A store as full as it gets still takes it. */
static void a_full_store_takes_it(void **state)
{
    struct rig *r = *state;
    r->opt.size_bytes = 2 << 20;
    rig_open(r);
    for (unsigned i = 0; i < 300; i++) {
        char key[32];
        snprintf(key, sizeof key, "k%u", i);
        struct thing t = {.key = key, .bytes = 3000 + i * 97 % 50000};
        rig_store(r, &t);
        if (i % 10 == 9) {
            assert_int_equal(add_one(r, i), 0);
            assert_null(disk_trouble(r->disk));
        }
    }
    rig_reopen(r);
    assert_int_equal(load(r).n, 30);
}

/* ---- trouble ---- */

static void limit_file(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* No page can be written, but the lock file's first bytes can. */
static void stop_writing(void)
{
    signal(SIGXFSZ, SIG_IGN);
    limit_file(4096);
}

static bool is_well(const void *disk)
{
    return disk_trouble(disk) == NULL;
}

static void while_it_is_behind_nothing_is_found(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 50000};
    rig_open(r);
    rig_store(r, &t);
    rig_settle();
    rig_expect(r, &t);
    stop_writing();
    assert_int_equal(add_one(r, 1), ERR_IO);
    assert_int_equal(add_one(r, 2), ERR_IO);
    rig_expect_miss(r, "k");
    assert_non_null(disk_trouble(r->disk));
    assert_int_equal(disk_purge_newest(r->disk), 2);
    limit_file(RLIM_INFINITY);
    rig_until(is_well, r->disk);
    rig_expect(r, &t); /* what it purged is for others to judge */
    assert_int_equal(load(r).n, 2);
    rig_reopen(r);
    rig_expect(r, &t);
    assert_int_equal(load(r).n, 2);
    assert_false(rig_has_file(r, "data.mdb.broken-1"));
}

static int die_behind(struct rig *r)
{
    rig_open(r);
    rig_store(r, &(struct thing){.key = "k", .bytes = 50000});
    rig_settle();
    if (add_one(r, 1) != 0)
        return 1;
    stop_writing();
    return add_one(r, 2) == ERR_IO ? 0 : 2;
}

static void a_death_behind_sets_the_file_aside(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_in_child(r, die_behind), 0);
    for (int i = 0; i < 2; i++) {
        rig_open(r);
        rig_expect_miss(r, "k");
        assert_int_equal(load(r).n, 0);
        disk_close(&r->disk);
        assert_true(rig_has_file(r, "data.mdb.broken-1"));
        assert_false(rig_has_file(r, "data.mdb.broken-2"));
    }
    rig_open(r);
}

static void a_stop_behind_sets_the_file_aside(void **state)
{
    struct rig *r = *state;
    rig_open(r);
    rig_store(r, &(struct thing){.key = "k", .bytes = 50000});
    rig_settle();
    stop_writing();
    assert_int_equal(add_one(r, 1), ERR_IO);
    disk_close(&r->disk);
    limit_file(RLIM_INFINITY);
    rig_open(r);
    rig_expect_miss(r, "k");
    assert_true(rig_has_file(r, "data.mdb.broken-1"));
}

/* ---- damage ---- */

static void damaged_log_is_set_aside(struct rig *r, void (*damage)(char *at, void *ctx), const char *what)
{
    struct thing t = {.key = "k", .bytes = 50000, .purge_number = 11};
    int changed = 0;
    const struct purge_record records[] = {
        {.number = 11, .kind = PURGE_TAG, .what = SPAN("a-very-rare-tag")},
        {.number = 11, .kind = PURGE_TAG, .what = SPAN("another-rare-tag")}};
    rig_open(r);
    rig_store(r, &t);
    rig_settle();
    assert_int_equal(add(r, records, 2), 0);
    disk_close(&r->disk);
    assert_true(rig_change(r, what, strlen(what), damage, &changed) >= 1);
    rig_open(r);
    rig_expect_miss(r, "k");
    assert_int_equal(load(r).n, 0);
    assert_int_equal(disk_purge_newest(r->disk), 11); /* no number is given out twice */
    assert_true(rig_has_file(r, "data.mdb.broken-1"));
    rig_store(r, &t);
    rig_reopen(r);
    rig_expect(r, &t);
}

static void a_flipped_bit_in_the_log_sets_it_aside(void **state)
{
    damaged_log_is_set_aside(*state, flip_bit, "a-very-rare-tag");
}

/* LMDB has no checksum on its pages: a node that is gone is not missed by it. */
static void drop_last_node(char *at, void *changed)
{
    enum { PAGE = 4096, LOWER_AT = 12, HEADER = 16 };
    char *page =
        at - (uintptr_t)at % 16; /* the copy of the file is not aligned to pages: look for the header */
    uint16_t lower;
    for (; *(int *)changed == 0; page -= 16) {
        memcpy(&lower, page + LOWER_AT, 2);
        if (page[10] == 2 && page[11] == 0 && lower == HEADER + 2 * 2) {
            lower -= 2;
            memcpy(page + LOWER_AT, &lower, 2);
            ++*(int *)changed;
        }
    }
}

static void a_lost_record_sets_it_aside(void **state)
{
    damaged_log_is_set_aside(*state, drop_last_node, "another-rare-tag");
}

/* ---- forgetting ---- */

/* A log in memory: everything whose key begins with "gone" or "stale" is purged by the number `purged`. */
static struct {
    _Atomic uint64_t newest, purged, forgotten;
    atomic_int judged;
} fake;

static uint64_t fake_newest(void *ctx)
{
    return fake.newest;
}

static enum disk_verdict fake_judge(void *ctx, const struct stored_head_parts *head, int64_t *since_ms)
{
    atomic_fetch_add(&fake.judged, 1);
    *since_ms = 12000;
    if (head->purge_number >= fake.purged)
        return DISK_KEEP;
    if (span_starts(head->key, SPAN("gone")))
        return DISK_GONE;
    return span_starts(head->key, SPAN("stale")) ? DISK_STALE : DISK_KEEP;
}

static void fake_forget(void *ctx, uint64_t oldest)
{
    fake.forgotten = oldest;
}

static bool all_forgotten(const void *number)
{
    return fake.forgotten >= *(const uint64_t *)number;
}

static void open_judged(struct rig *r, uint64_t newest, uint64_t purged)
{
    fake.newest = newest;
    fake.purged = purged;
    fake.forgotten = 0;
    fake.judged = 0;
    rig_open(r);
    disk_set_judge(r->disk, &(struct disk_judge){fake_newest, fake_judge, fake_forget, NULL});
}

static void until_forgotten(struct rig *r, uint64_t number)
{
    rig_until(all_forgotten, &number);
}

static int64_t lifetime_of(struct rig *r, const char *key, uint64_t *number)
{
    int err;
    struct object *o = rig_get(r, key, &err);
    assert_non_null(o);
    int64_t lifetime_ms = object_head(o)->facts.lifetime_ms;
    *number = object_head(o)->purge_number;
    object_unref(&o);
    return lifetime_ms;
}

static void what_is_purged_goes_and_records_are_forgotten(void **state)
{
    struct rig *r = *state;
    uint64_t number;
    enum { N = 300 };
    rig_open(r);
    for (unsigned i = 0; i < N; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s%u", i % 3 == 0 ? "gone" : i % 3 == 1 ? "stale" : "kept", i);
        struct thing t = {.key = key, .bytes = 3000, .purge_number = i % 2};
        rig_store(r, &t);
    }
    rig_settle();
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(add_one(r, i), 0);
    disk_close(&r->disk);

    open_judged(r, 5, 4);
    until_forgotten(r, 5);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(metrics_total(METRIC_STORE_OBJECTS), N / 3 * 2);
        rig_expect_miss(r, "gone0");
        assert_int_equal(lifetime_of(r, "stale1", &number), 10000); /* from 2000 to 12000 */
        assert_int_equal(number, 5);
        assert_int_equal(lifetime_of(r, "kept299", &number), 60000);
        assert_int_equal(number, 5);
        assert_int_equal(load(r).n, 0);
        assert_int_equal(disk_purge_newest(r->disk), 5);
        rig_reopen(r);
    }
}

/* What memory does not know of yet is not held against anything. */
static void the_floor_stays_below_what_memory_knows(void **state)
{
    struct rig *r = *state;
    open_judged(r, 2, 0);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(add_one(r, i), 0);
    until_forgotten(r, 2);
    assert_int_equal(load(r).n, 2);
    fake.newest = 4;
    until_forgotten(r, 4);
}

static void a_paced_record_stays_until_its_end(void **state)
{
    struct rig *r = *state;
    struct purge_record records[] = {a_record(1), a_record(2), a_record(2), a_record(3)};
    records[1].at_ms = records[2].at_ms = (int64_t)time(NULL) * 1000;
    records[2].over_ms = 3600000;
    open_judged(r, 3, 0);
    assert_int_equal(add(r, records, 4), 0);
    until_forgotten(r, 1);
    struct loaded all = load(r);
    assert_true(all.n >= 3);
    assert_int_equal(all.records[all.n - 3].number, 2);
}

static void records_are_kept_for_their_time(void **state)
{
    struct rig *r = *state;
    struct purge_record records[] = {a_record(1), a_record(2)};
    r->opt.keep_purges_ms = 3600000;
    records[1].at_ms = (int64_t)time(NULL) * 1000;
    rig_open(r);
    assert_int_equal(add(r, records, 2), 0);
    disk_close(&r->disk);
    open_judged(r, 2, 0);
    until_forgotten(r, 1);
    assert_int_equal(fake.forgotten, 1);
}

/* A fetch that began before holds the floor back while it is being stored, and is refused when it comes
 * later.
 */
static void the_floor_stays_below_what_is_being_stored(void **state)
{
    struct rig *r = *state;
    struct thing early = {.key = "early", .bytes = 300000, .purge_number = 2},
                 late = {.key = "late", .bytes = 1000, .purge_number = 2},
                 later = {.key = "later", .bytes = 1000, .purge_number = 4};
    open_judged(r, 4, 0);
    struct object *o = object_begin(r, &early);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &early, 200000);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(add_one(r, i), 0);
    until_forgotten(r, 2);
    assert_int_equal(fake.forgotten, 2);
    object_grow(r, o, &early, early.bytes);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    object_unref(&o);
    rig_settle();
    uint64_t number;
    lifetime_of(r, "early", &number);
    assert_true(number >= 2);
    until_forgotten(r, 4);
    int64_t shed = metrics_total(METRIC_STORE_SHED);
    rig_store(r, &late);
    rig_store(r, &later);
    rig_settle();
    rig_expect_miss(r, "late");
    assert_int_equal(metrics_total(METRIC_STORE_SHED), shed + 1);
    lifetime_of(r, "later", &number);
    assert_int_equal(number, 4);
}

/* What a purge of the old file named, could come to be stored in the new one. */
static void a_new_file_takes_nothing_from_before(void **state)
{
    struct rig *r = *state;
    struct thing before = {.key = "before", .bytes = 1000, .purge_number = 1};
    damaged_log_is_set_aside(r, flip_bit, "a-very-rare-tag");
    rig_store(r, &before);
    rig_settle();
    rig_expect_miss(r, "before");
    before.purge_number = 11;
    rig_store(r, &before);
    rig_settle();
    rig_expect(r, &before);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(records_survive),
        T(loading_ends_with_the_first_error),
        T(what_was_told_durable_survives_a_death),
        T(a_full_store_takes_it),
        T(while_it_is_behind_nothing_is_found),
        T(a_death_behind_sets_the_file_aside),
        T(a_stop_behind_sets_the_file_aside),
        T(a_flipped_bit_in_the_log_sets_it_aside),
        T(a_lost_record_sets_it_aside),
        T(what_is_purged_goes_and_records_are_forgotten),
        T(the_floor_stays_below_what_memory_knows),
        T(a_paced_record_stays_until_its_end),
        T(records_are_kept_for_their_time),
        T(the_floor_stays_below_what_is_being_stored),
        T(a_new_file_takes_nothing_from_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
