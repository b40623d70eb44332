#include "shield/store/disk.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "shield/store/disk_format.h"
#include "shield/store/disk_impl.h"
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

static char key_text[64];

static struct thing numbered(unsigned i, uint64_t bytes)
{
    snprintf(key_text, sizeof key_text, "default\nhost\n/n/%u", i);
    return (struct thing){.key = key_text, .bytes = bytes};
}

static uint64_t file_bytes(struct rig *r)
{
    struct stat st;
    assert_int_equal(stat(rig_path(r, "data.mdb"), &st), 0);
    return (uint64_t)st.st_size;
}

/* ---- room ---- */

static bool is_found(struct rig *r, unsigned i, uint64_t bytes)
{
    struct thing t = numbered(i, bytes);
    int err;
    struct object *o = rig_get(r, t.key, &err);
    if (o == NULL) {
        assert_int_equal(err, ERR_NOT_FOUND);
        return false;
    }
    assert_int_equal(rig_check(r, o, &t, bytes), 0);
    object_unref(&o);
    return true;
}

/* Ten times as much as fits, of all sizes: the file stays within its size, the newest are there, nothing is
 * shed. */
static void evicts_to_stay_within_its_size(void **state)
{
    struct rig *r = *state;
    static const uint64_t sizes[] = {1000, 16384, 70000, 300000, 1500000};
    enum { N = 900 };
    uint64_t sum = 0;
    unsigned found = 0;
    int64_t shed = metrics_total(METRIC_STORE_SHED), evicted = metrics_total(METRIC_EVICTIONS_DISK);
    r->opt.size_bytes = 32 << 20;
    rig_open(r);
    for (unsigned i = 0; i < N; i++) {
        struct thing t = numbered(i, sizes[i % ARRAY_LEN(sizes)]);
        rig_store(r, &t);
        sum += t.bytes;
        if (i % 30 == 29)
            rig_settle();
        assert_true(metrics_total(METRIC_STORE_BYTES) <= 32 << 20);
    }
    rig_settle();
    assert_true(sum > 10 * r->opt.size_bytes);
    assert_true(file_bytes(r) <= r->opt.size_bytes);
    assert_int_equal(metrics_total(METRIC_STORE_SHED), shed);
    assert_true(metrics_total(METRIC_EVICTIONS_DISK) > evicted);
    assert_null(disk_trouble(r->disk));
    for (unsigned i = N - 5; i < N; i++)
        assert_true(is_found(r, i, sizes[i % ARRAY_LEN(sizes)]));
    for (unsigned i = 0; i < N; i++)
        found += is_found(r, i, sizes[i % ARRAY_LEN(sizes)]);
    assert_int_equal(found, metrics_total(METRIC_STORE_OBJECTS));
    assert_true(metrics_total(METRIC_STORE_BYTES) > 16 << 20); /* it does use its room */
    rig_reopen(r);
    assert_true(is_found(r, N - 1, sizes[(N - 1) % ARRAY_LEN(sizes)]));
}

/* One batch that is larger than what is free, again and again, with bodies that need long runs of pages. */
static void recovers_from_a_full_map(void **state)
{
    struct rig *r = *state;
    int64_t shed = metrics_total(METRIC_STORE_SHED);
    r->opt.size_bytes = 16 << 20;
    rig_open(r);
    for (unsigned i = 0; i < 400; i++) { /* many small holes */
        struct thing t = numbered(i, 20000 + i % 7 * 4096);
        rig_store(r, &t);
    }
    for (unsigned i = 1000; i < 1030; i++) {
        struct thing t = numbered(i, 4 << 20); /* chunks of 256 KiB */
        rig_store(r, &t);
        rig_settle();
        assert_true(is_found(r, i, t.bytes));
    }
    assert_int_equal(metrics_total(METRIC_STORE_SHED), shed);
    assert_true(file_bytes(r) <= r->opt.size_bytes);
}

/* Bodies of all sizes replace each other until the free pages lie scattered: long runs are not to be had any
 * more. */
static void finds_room_among_scattered_pages(void **state)
{
    struct rig *r = *state;
    int64_t shed = metrics_total(METRIC_STORE_SHED);
    unsigned found = 0;
    r->opt.queue_max_bytes = 1 << 30;
    rig_open(r);
    for (unsigned i = 0; i < 6000; i++) {
        uint64_t x = rig_word(i, 1), share = x % 100, size = x / 128;
        size = share < 70   ? 500 + size % 20000
               : share < 95 ? size % 200000
               : share < 99 ? size % 1500000
                            : size % 6000000;
        struct thing t = numbered((unsigned)(x / 100 % 3000), size);
        rig_store(r, &t);
        if (i % 200 == 199)
            rig_settle();
    }
    rig_settle();
    assert_int_equal(metrics_total(METRIC_STORE_SHED), shed);
    assert_null(disk_trouble(r->disk));
    for (unsigned i = 0; i < 3000; i++) {
        struct thing t = numbered(i, 0);
        int err;
        struct object *o = rig_get(r, t.key, &err);
        assert_true(o != NULL || err == ERR_NOT_FOUND);
        if (o == NULL)
            continue;
        assert_int_equal(rig_check(r, o, &t, object_length(o)), 0);
        object_unref(&o);
        found++;
    }
    assert_true(found > 20);
}

static void what_is_hit_stays(void **state)
{
    struct rig *r = *state;
    enum { HOT = 40, COLD = 3000, BYTES = 16384 };
    struct object *hot[HOT];
    unsigned kept = 0;
    r->opt.size_bytes = 16 << 20;
    rig_open(r);
    for (unsigned i = 0; i < HOT; i++) {
        struct thing t = numbered(i, BYTES);
        hot[i] = rig_put(r, &t);
    }
    rig_settle();
    for (unsigned i = 0; i < COLD; i++) { /* a scan, four times as large as the store */
        struct thing t = numbered(10000 + i, BYTES);
        rig_store(r, &t);
        if (i % 100 == 0) {
            rig_settle();
            for (unsigned k = 0; k < HOT; k++)
                disk_note_hit(r->disk, hot[k]);
        }
    }
    rig_settle();
    for (unsigned i = 0; i < HOT; i++) {
        object_unref(&hot[i]);
        kept += is_found(r, i, BYTES);
    }
    assert_int_equal(kept, HOT);
    assert_false(is_found(r, 10000, BYTES));
}

static uint64_t protected_hash;
static atomic_uint refused;

static bool refuse_one(void *ctx, uint64_t key_hash, uint64_t disk_id)
{
    assert_non_null(ctx);
    assert_int_not_equal(disk_id, 0);
    atomic_fetch_add(&refused, key_hash == protected_hash);
    return key_hash != protected_hash;
}

static bool refuse_all(void *ctx, uint64_t key_hash, uint64_t disk_id)
{
    return false;
}

/* Makes room for so many pages more than there are, as the writer does, which has nothing to do meanwhile. */
static void make_room(struct rig *r, uint64_t more_pages, bool commits)
{
    struct disk_txn t;
    uint64_t live;
    bool made;
    assert_int_equal(disk_txn_begin(&t, r->disk), 0);
    assert_int_equal(disk_txn_live_pages(&t, &live), 0);
    assert_int_equal(disk_make_room(&t, r->disk->file.limit_pages - live + more_pages, 8192, &made), 0);
    if (commits)
        assert_int_equal(disk_txn_commit(&t), 0);
    else
        disk_txn_abort(&t);
}

/* A batch that does not fit is tried again: what it has moved in vain keeps its hits. */
static void an_aborted_move_costs_no_hits(void **state)
{
    struct rig *r = *state;
    struct thing hot = {.key = "hot", .bytes = 16384};
    char key[32];
    rig_open(r);
    rig_store(r, &hot);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "cold-%u", i);
        rig_store(r, &(struct thing){.key = key, .bytes = 16384});
    }
    rig_settle();
    rig_expect(r, &hot);
    rig_expect(r, &hot);
    make_room(r, 30, false);
    make_room(r, 30, true);
    assert_true(metrics_total(METRIC_STORE_OBJECTS) < 51);
    rig_expect(r, &hot);
}

static void asks_before_it_evicts(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "mine", .bytes = 100000};
    protected_hash = rig_hash("mine");
    refused = 0;
    r->opt.size_bytes = 16 << 20;
    r->opt.may_evict = refuse_one;
    r->opt.ctx = r;
    rig_open(r);
    rig_store(r, &t);
    for (unsigned i = 0; i < 600; i++) {
        struct thing other = numbered(i, 100000);
        rig_store(r, &other);
        if (i % 50 == 0)
            rig_settle();
    }
    rig_settle();
    assert_true(refused > 0);
    rig_expect(r, &t);
}

static void goes_on_when_nothing_may_be_evicted(void **state)
{
    struct rig *r = *state;
    int64_t shed = metrics_total(METRIC_STORE_SHED);
    r->opt.size_bytes = 16 << 20;
    r->opt.may_evict = refuse_all;
    rig_open(r);
    for (unsigned i = 0; i < 40; i++) {
        struct thing t = numbered(i, 1000000);
        struct object *o = object_begin(r, &t);
        int err = disk_fill_begin(r->disk, o);
        assert_true(err == 0 || err == ERR_FULL);
        object_grow(r, o, &t, t.bytes);
        object_seal(o);
        disk_fill_seal(r->disk, o);
        rig_settle();
        assert_int_equal(object_flags(o) & OBJECT_STORING, 0);
        object_unref(&o);
    }
    assert_true(metrics_total(METRIC_STORE_SHED) > shed);
    assert_non_null(disk_trouble(r->disk));
    assert_true(is_found(r, 0, 1000000));
}

static void a_smaller_size_evicts_down(void **state)
{
    struct rig *r = *state;
    rig_open(r);
    for (unsigned i = 0; i < 400; i++) {
        struct thing t = numbered(i, 100000);
        rig_store(r, &t);
    }
    disk_close(&r->disk);
    r->opt.size_bytes = 16 << 20;
    rig_open(r);
    while (metrics_total(METRIC_STORE_BYTES) > 16 << 20)
        sched_yield();
    assert_true(metrics_total(METRIC_STORE_OBJECTS) > 50);
}

/* ---- a writer that falls behind, and one that fails ---- */

static void sheds_beyond_the_queue(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 4 << 20};
    int64_t shed = metrics_total(METRIC_STORE_SHED);
    r->opt.queue_max_bytes = 200000;
    r->opt.size_bytes = UINT64_C(1) << 30;
    rig_open(r);
    struct object *o = object_begin(r, &t), *second = object_begin(r, &t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, &t, 600000); /* at once: the writer waits for company meanwhile */
    if (object_flags(o) & OBJECT_STORING)
        object_grow(r, o, &t, 3 << 20);
    assert_int_equal(object_flags(o) & OBJECT_STORING, 0);
    assert_true(metrics_total(METRIC_STORE_SHED) > shed);
    disk_fill_advance(r->disk, o);
    disk_fill_abort(r->disk, o); /* both do no harm any more */
    object_unref(&o);
    object_unref(&second);
    disk_close(&r->disk);
    rig_open(r);
    rig_expect_miss(r, "k");
}

static bool is_well(const void *disk)
{
    return disk_trouble(disk) == NULL;
}

static void limit_file(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void heals_when_writing_works_again(void **state)
{
    struct rig *r = *state;
    struct thing first = {.key = "first", .bytes = 50000}, second = {.key = "second", .bytes = 500000};
    signal(SIGXFSZ, SIG_IGN);
    rig_open(r);
    rig_store(r, &first);
    rig_settle();
    limit_file(file_bytes(r));
    struct object *o = rig_put(r, &second);
    rig_settle();
    assert_int_equal(object_flags(o), 0);
    assert_non_null(disk_trouble(r->disk));
    assert_int_not_equal(disk_fill_begin(r->disk, o), 0);
    object_unref(&o);
    rig_expect(r, &first);
    disk_delete(r->disk, SPAN("first"), rig_hash("first")); /* not to be forgotten over the trouble */
    rig_expect_miss(r, "first");
    limit_file(RLIM_INFINITY);
    rig_until(is_well, r->disk);
    rig_store(r, &second);
    rig_settle();
    rig_expect(r, &second);
    rig_reopen(r);
    rig_expect(r, &second);
    rig_expect_miss(r, "first");
}

/* ---- damage ---- */

static void a_flipped_bit_in_a_body_is_a_miss(void **state)
{
    struct rig *r = *state;
    static const uint64_t lengths[] = {16384, 300000, 3 << 20};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct thing t = {.key = "k", .bytes = lengths[i], .version = i},
                     other = {.key = "other", .bytes = 16384};
        int64_t errors = metrics_total(METRIC_STORE_ERRORS);
        char bytes[32];
        rig_open(r);
        rig_store(r, &t);
        rig_store(r, &other);
        disk_close(&r->disk);
        uint64_t at = lengths[i] / 2 / 8 * 8;
        rig_bytes(salt_of(&t), at, bytes, sizeof bytes);
        assert_true(rig_change(r, bytes, sizeof bytes, flip_bit, NULL) >= 1);
        rig_open(r);
        int err;
        struct object *o = rig_get(r, "k", &err);
        if (o != NULL) { /* too large to be read as a whole */
            assert_int_equal(rig_check(r, o, &t, t.bytes), ERR_CORRUPT);
            object_unref(&o);
            rig_get(r, "k", &err); /* before anything is committed: the next would be cut, too */
            assert_int_equal(err, ERR_NOT_FOUND);
        } else {
            assert_int_equal(err, ERR_CORRUPT);
        }
        assert_int_equal(metrics_total(METRIC_STORE_ERRORS), errors + 1);
        rig_reopen(r); /* the record is gone for good */
        rig_get(r, "k", &err);
        assert_int_equal(err, ERR_NOT_FOUND);
        rig_expect(r, &other);
        disk_close(&r->disk);
    }
}

static void a_flipped_bit_in_a_record_is_a_miss(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "the-key", .bytes = 16384}, other = {.key = "other", .bytes = 5000};
    for (int i = 0; i < 2; i++) {
        const char *what = i == 0 ? "X-Version: " : "the-key"; /* in meta; in meta and the index */
        rig_open(r);
        rig_store(r, &t);
        rig_store(r, &other);
        disk_close(&r->disk);
        assert_true(rig_change(r, what, strlen(what), flip_bit, NULL) > i);
        rig_open(r);
        rig_expect_miss(r, "the-key");
        rig_store(r, &t);
        rig_settle();
        rig_expect(r, &t);
        if (i == 1)
            rig_expect(r, &other);
        disk_close(&r->disk);
    }
}

/* A meta record begins so far before its key. */
static void make_version_9(char *key_at, void *ctx)
{
    struct disk_meta none = {0};
    char *record = key_at - disk_meta_size(&none);
    if (record[0] == DISK_FORMAT_VERSION && record[1] == 0 && record[2] == 0 && record[3] == 0) {
        record[0] = 9;
        ++*(int *)ctx;
    }
}

static void a_record_of_another_version_is_a_miss(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "the-key", .bytes = 16384};
    int changed = 0, err;
    int64_t errors = metrics_total(METRIC_STORE_ERRORS);
    rig_open(r);
    rig_store(r, &t);
    disk_close(&r->disk);
    rig_change(r, "the-key", 7, make_version_9, &changed);
    assert_true(changed >= 1);
    rig_open(r);
    rig_get(r, "the-key", &err);
    assert_int_equal(err, ERR_NOT_FOUND);
    assert_int_equal(metrics_total(METRIC_STORE_ERRORS), errors);
    rig_store(r, &t);
    rig_settle();
    rig_expect(r, &t);
}

static void expect_new_store(struct rig *r, const char *aside)
{
    struct thing t = {.key = "new", .bytes = 20000};
    assert_true(rig_has_file(r, aside));
    rig_store(r, &t);
    rig_reopen(r);
    rig_expect(r, &t);
}

static void make_file_version_9(char *at, void *ctx)
{
    at[5] = 9; /* behind the key "info" and its NUL */
}

static void a_file_of_another_version_is_set_aside(void **state)
{
    struct rig *r = *state;
    static const char info[] = {'i', 'n', 'f', 'o', 0, DISK_FORMAT_VERSION, 0, 0, 0};
    rig_open(r);
    rig_store(r, &(struct thing){.key = "k", .bytes = 10});
    disk_close(&r->disk);
    assert_true(rig_change(r, info, sizeof info, make_file_version_9, NULL) >= 1);
    rig_open(r);
    rig_expect_miss(r, "k");
    expect_new_store(r, "data.mdb.broken-1");
}

static void garbage_is_set_aside(void **state)
{
    struct rig *r = *state;
    for (int i = 1; i <= 3; i++) {
        char name[64], bytes[20000];
        int fd = open(rig_path(r, "data.mdb"), O_WRONLY | O_CREAT | O_TRUNC, 0640);
        rig_bytes((uint64_t)i, 0, bytes, sizeof bytes);
        size_t n = i == 3 ? 100 : sizeof bytes;
        assert_int_equal(write(fd, bytes, n), n);
        close(fd);
        rig_open(r);
        snprintf(name, sizeof name, "data.mdb.broken-%d", i);
        expect_new_store(r, name);
        snprintf(name, sizeof name, "data.mdb.broken-%d", i - 1);
        assert_false(rig_has_file(r, name)); /* one is kept */
        disk_close(&r->disk);
    }
}

/* The tail of the file is gone: what it had is missed, nothing crashes. */
static void a_cut_file_is_survived(void **state)
{
    struct rig *r = *state;
    rig_open(r);
    for (unsigned i = 0; i < 100; i++) {
        struct thing t = numbered(i, 100000);
        rig_store(r, &t);
    }
    disk_close(&r->disk);
    assert_int_equal(truncate(rig_path(r, "data.mdb"), 5 << 20), 0);
    if (disk_open(&r->disk, &r->opt) != 0)
        fail_msg("the store did not open");
    for (unsigned i = 0; i < 100; i++) {
        struct thing t = numbered(i, 100000);
        int err;
        struct object *o = rig_get(r, t.key, &err);
        if (o != NULL)
            assert_int_equal(rig_check(r, o, &t, t.bytes), 0);
        object_unref(&o);
    }
    struct thing t = numbered(1, 50000);
    rig_store(r, &t);
    rig_settle();
    rig_expect(r, &t);
}

static bool is_set_aside(const void *rig)
{
    return rig_has_file(rig, "data.mdb.broken-1");
}

/* Every leaf but the one that names the databases goes bad under a running store. */
static void bad_tree_pages_are_met_while_running(void **state)
{
    struct rig *r = *state;
    enum { PAGE = 4096, FLAGS_AT = 10, LEAF = 2 };
    struct thing t = {.key = "k", .bytes = 100000}, kept = {.key = "kept", .bytes = 3 << 20};
    struct chunk *c;
    int err, fd;
    rig_open(r);
    rig_store(r, &t);
    struct object *o = rig_put(r, &kept);
    rig_settle();
    uint64_t seed = disk_seed(r->disk), id = object_disk_id(o);
    fd = open(rig_path(r, "data.mdb"), O_RDWR);
    for (off_t at = 2 * PAGE; at < (off_t)file_bytes(r); at += PAGE) {
        char page[PAGE], zero[2] = {0};
        assert_int_equal(pread(fd, page, PAGE, at), PAGE);
        if (page[FLAGS_AT] == LEAF && page[FLAGS_AT + 1] == 0 && memmem(page, PAGE, "chunks", 6) == NULL)
            assert_int_equal(pwrite(fd, zero, 2, at + FLAGS_AT), 2);
    }
    close(fd);
    rig_get(r, "k", &err);
    assert_int_equal(err, ERR_CORRUPT);
    rig_until(is_set_aside, r);
    rig_store(r, &t);
    rig_settle();
    rig_expect(r, &t);
    assert_int_equal(disk_seed(r->disk), seed); /* hashes that memory holds go on meaning the same */
    assert_int_equal(rig_load(r, o, 3, &c), ERR_NOT_FOUND); /* and no id has come twice */
    assert_null(c);
    struct object *next = rig_put(r, &kept);
    rig_settle();
    assert_true(object_disk_id(next) > id);
    object_unref(&next);
    object_unref(&o);
}

static bool die(void *ctx, uint64_t key_hash, uint64_t disk_id)
{
    abort(); /* as LMDB does on a page that it does not understand */
}

static int die_in_a_store_thread(struct rig *r)
{
    signal(SIGABRT, SIG_DFL); /* the test frame's would not let it die */
    r->opt.size_bytes = 2 << 20;
    r->opt.may_evict = die;
    rig_open(r);
    for (unsigned i = 0; i < 100; i++) {
        struct thing t = numbered(i, 100000);
        rig_store(r, &t);
        rig_settle();
    }
    return 2;
}

/* Reading the map beyond the end of the file is a SIGBUS. */
static void cut_to_meta_pages(struct rig *r)
{
    int fd = open(rig_path(r, "data.mdb"), O_RDWR);
    assert_int_equal(ftruncate(fd, 8192), 0);
    close(fd);
}

/* Whoever meets it lives through it, and the store goes on in a new file. */
static void a_page_that_cannot_be_read_sets_the_file_aside(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 3 << 20};
    struct chunk *c;
    int err;
    rig_open(r);
    rig_store(r, &t);
    rig_settle();
    struct object *o = rig_get(r, "k", &err);
    assert_non_null(o);
    cut_to_meta_pages(r);
    err = rig_load(r, o, 5, &c);
    assert_true(err == ERR_IO || err == ERR_NOT_FOUND); /* the writer may have met it before */
    rig_until(is_set_aside, r);
    object_unref(&o);
    rig_store(r, &t);
    rig_settle();
    rig_expect(r, &t);
    assert_false(rig_has_file(r, "shield.crashed"));
}

static void a_page_that_cannot_be_read_for_a_commit_sets_it_aside(void **state)
{
    struct rig *r = *state;
    struct thing t = {.key = "k", .bytes = 3 << 20};
    rig_open(r);
    rig_store(r, &t);
    rig_settle();
    cut_to_meta_pages(r);
    while (!is_set_aside(r)) {
        rig_store(r, &t);
        rig_settle();
    }
    rig_store(r, &t);
    rig_settle();
    rig_expect(r, &t);
    assert_null(disk_trouble(r->disk));
    rig_reopen(r);
    rig_expect(r, &t);
    assert_false(rig_has_file(r, "shield.crashed"));
}

static void a_death_in_the_file_sets_it_aside_next_time(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_in_child(r, die_in_a_store_thread), 1000 + SIGABRT);
    assert_true(rig_has_file(r, "shield.crashed"));
    rig_open(r);
    assert_false(rig_has_file(r, "shield.crashed"));
    expect_new_store(r, "data.mdb.broken-1");
}

/* ---- one owner ---- */

static int ready_pipe[2], stop_pipe[2];

static void a_second_process_is_told_who_has_it(void **state)
{
    struct rig *r = *state;
    char byte, text[32] = "";
    assert_int_equal(pipe(ready_pipe), 0);
    assert_int_equal(pipe(stop_pipe), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        rig_open(r);
        if (write(ready_pipe[1], "x", 1) != 1 || read(stop_pipe[0], &byte, 1) < 0)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(read(ready_pipe[0], &byte, 1), 1);
    assert_int_equal(disk_open(&r->disk, &r->opt), ERR_LOCKED);
    int fd = open(rig_path(r, "shield.lock"), O_RDONLY);
    assert_true(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    assert_int_equal(atoi(text), pid);
    assert_int_equal(write(stop_pipe[1], "x", 1), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < 2; i++) {
        close(ready_pipe[i]);
        close(stop_pipe[i]);
    }
    rig_open(r);
}

static void a_bad_directory_is_an_error(void **state)
{
    struct rig *r = *state;
    r->opt.path = "/dev/null/store";
    assert_int_equal(disk_open(&r->disk, &r->opt), ERR_SYSTEM);
    assert_null(r->disk);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(evicts_to_stay_within_its_size),
        T(recovers_from_a_full_map),
        T(finds_room_among_scattered_pages),
        T(what_is_hit_stays),
        T(an_aborted_move_costs_no_hits),
        T(asks_before_it_evicts),
        T(goes_on_when_nothing_may_be_evicted),
        T(a_smaller_size_evicts_down),
        T(sheds_beyond_the_queue),
        T(heals_when_writing_works_again),
        T(a_flipped_bit_in_a_body_is_a_miss),
        T(a_flipped_bit_in_a_record_is_a_miss),
        T(a_record_of_another_version_is_a_miss),
        T(a_file_of_another_version_is_set_aside),
        T(garbage_is_set_aside),
        T(a_cut_file_is_survived),
        T(bad_tree_pages_are_met_while_running),
        T(a_page_that_cannot_be_read_sets_the_file_aside),
        T(a_page_that_cannot_be_read_for_a_commit_sets_it_aside),
        T(a_death_in_the_file_sets_it_aside_next_time),
        T(a_second_process_is_told_who_has_it),
        T(a_bad_directory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
