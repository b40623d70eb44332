#include "shield/store/object.h"

#include "test/unit/object_rig.h"

#include <pthread.h>

#include "test/unit/alloc_fail.h"

/* ---- filling ---- */

static const uint64_t lengths[] = {0,
                                   1,
                                   100,
                                   CHUNK_SMALL - 1,
                                   CHUNK_SMALL,
                                   CHUNK_SMALL + 1,
                                   3 * CHUNK_SMALL,
                                   3 * CHUNK_SMALL + 77,
                                   CHUNK_LARGE_FROM - 1,
                                   CHUNK_LARGE_FROM,
                                   CHUNK_LARGE_FROM + CHUNK_LARGE + 5};

static void fills_across_chunk_borders(void **state)
{
    static const size_t steps[] = {7777, CHUNK_SMALL, CHUNK_SMALL + 1, 300000};
    for (size_t i = 0; i < ARRAY_LEN(lengths) * 2; i++) {
        uint64_t n = lengths[i / 2];
        bool is_known = i % 2;
        for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
            struct object *o = object_for("k", is_known ? n : LENGTH_UNKNOWN);
            bool large = is_known && n >= CHUNK_LARGE_FROM;
            assert_int_equal(object_chunk_bytes(o), large ? CHUNK_LARGE : CHUNK_SMALL);
            assert_int_equal(object_state(o), OBJECT_FILLING);
            assert_int_equal(append_to(o, s, n, steps[s]), 0);
            assert_int_equal(object_ready(o), n);
            assert_int_equal(read_and_compare(o, s, 0, n), 0);
            assert_int_equal(object_length(o), is_known ? n : LENGTH_UNKNOWN);
            object_seal(o);
            assert_int_equal(object_state(o), OBJECT_SEALED);
            assert_int_equal(object_length(o), n);
            assert_int_equal(read_and_compare(o, s, 0, n), 0);
            object_unref(&o);
            assert_null(o);
        }
    }
}

static void byte_by_byte(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    assert_int_equal(append_to(o, 5, CHUNK_SMALL + 10, 1), 0);
    assert_int_equal(read_and_compare(o, 5, CHUNK_SMALL - 3, CHUNK_SMALL + 10), 0);
    object_unref(&o);
}

static void knows_its_chunks(void **state)
{
    struct object *o = sealed_object("k", 2 * CHUNK_SMALL + 9);
    assert_int_equal(object_chunk_count(o), 3);
    assert_int_equal(object_chunk_len(o, 0), CHUNK_SMALL);
    assert_int_equal(object_chunk_len(o, 2), 9);
    struct chunk *c = object_chunk(o, 2);
    assert_int_equal(c->len, 9);
    assert_null(object_chunk(o, 3));
    object_unref(&o);
    assert_true(bytes_fit(c->data, 1, 2 * CHUNK_SMALL, 9)); /* outlives the object */
    chunk_unref(&c);
    o = sealed_object("k", 0);
    assert_int_equal(object_chunk_count(o), 0);
    object_unref(&o);
}

static void a_known_length_takes_no_more_than_it_needs(void **state)
{
    struct object *o = sealed_object("k", 100), *empty = sealed_object("k", 0);
    assert_int_equal(object_ram_bytes(o) - object_ram_bytes(empty), 100);
    object_unref(&o);
    object_unref(&empty);
}

static void seal_gives_back_what_the_last_chunk_does_not_need(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    size_t bare = object_ram_bytes(o);
    append_to(o, 3, CHUNK_SMALL + 50, 1000);
    assert_int_equal(object_ram_bytes(o) - bare, 2 * CHUNK_SMALL);
    struct span s;
    struct chunk *hold;
    assert_int_equal(object_read(o, CHUNK_SMALL, &s, &hold), 0);
    object_seal(o);
    assert_int_equal(object_ram_bytes(o) - bare, CHUNK_SMALL + 50);
    assert_true(bytes_fit(s.p, 3, CHUNK_SMALL, s.len)); /* whoever read the old one still may */
    chunk_unref(&hold);
    assert_int_equal(read_and_compare(o, 3, 0, CHUNK_SMALL + 50), 0);
    object_unref(&o);
}

static void a_read_ends_at_its_chunk_or_at_what_is_ready(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    struct span s;
    struct chunk *hold;
    append_to(o, 1, CHUNK_SMALL + 10, 5000);
    assert_int_equal(object_read(o, CHUNK_SMALL - 4, &s, &hold), 0);
    assert_int_equal(s.len, 4);
    assert_non_null(hold); /* it may be replaced while it fills */
    chunk_unref(&hold);
    assert_int_equal(object_read(o, CHUNK_SMALL, &s, &hold), 0);
    assert_int_equal(s.len, 10);
    chunk_unref(&hold);
    object_seal(o);
    assert_int_equal(object_read(o, CHUNK_SMALL, &s, &hold), 0);
    assert_null(hold); /* sealed and resident: the object's own reference is enough */
    object_unref(&o);
}

/* ---- another thread reads while it fills ---- */

struct reading {
    struct object *object;
    uint64_t salt;
    bool slow;
    int error;
};

static void *read_all(void *ctx)
{
    struct reading *r = ctx;
    uint64_t at = 0;
    for (;;) {
        enum object_state state = object_state(r->object);
        uint64_t ready = object_ready(r->object);
        r->error = read_and_compare(r->object, r->salt, at, ready);
        at = ready;
        if (r->error != 0 || (state != OBJECT_FILLING && at == object_ready(r->object)))
            break;
        if (r->slow)
            sched_yield();
    }
    if (r->error == 0 && object_state(r->object) == OBJECT_FAILED)
        r->error = object_error(r->object);
    object_unref(&r->object);
    return NULL;
}

static void is_read_while_it_fills(void **state)
{
    for (int fails = 0; fails < 2; fails++) {
        struct object *o = object_for("k", LENGTH_UNKNOWN);
        struct reading readers[3];
        pthread_t threads[3];
        for (int i = 0; i < 3; i++) {
            readers[i] = (struct reading){.object = object_ref(o), .salt = 9, .slow = i > 0};
            assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
        }
        for (uint64_t to = 0; to < 5000000; to += 16411)
            append_to(o, 9, to, 16411);
        if (fails)
            object_fail(o, ERR_TRUNCATED);
        else
            object_seal(o);
        object_unref(&o); /* the last reader frees it */
        for (int i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(readers[i].error, fails ? ERR_TRUNCATED : 0);
        }
    }
}

/* ---- failure ---- */

static void failing_keeps_what_is_there(void **state)
{
    struct object *o = object_for("k", 1000);
    append_to(o, 2, 300, 300);
    object_fail(o, ERR_BODY_TIMEOUT);
    assert_int_equal(object_state(o), OBJECT_FAILED);
    assert_int_equal(object_error(o), ERR_BODY_TIMEOUT);
    assert_int_equal(object_ready(o), 300);
    assert_int_equal(read_and_compare(o, 2, 0, 300), 0);
    object_unref(&o);
}

/* ---- what nobody keeps ---- */

static void drops_what_all_have_passed(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    size_t bare = object_ram_bytes(o);
    struct span s;
    struct chunk *hold, *early;
    object_set_resident(o, false);
    append_to(o, 4, 3 * CHUNK_SMALL + 10, 10000);
    assert_int_equal(object_read(o, 5, &s, &early), 0);
    object_drop_below(o, CHUNK_SMALL - 1); /* not a whole chunk yet */
    assert_int_equal(object_dropped(o), 0);
    assert_int_equal(object_ram_bytes(o) - bare, 4 * CHUNK_SMALL);
    object_drop_below(o, 2 * CHUNK_SMALL + 5);
    assert_int_equal(object_dropped(o), 2 * CHUNK_SMALL);
    assert_int_equal(object_ram_bytes(o) - bare, 2 * CHUNK_SMALL);
    assert_int_equal(object_read(o, 2 * CHUNK_SMALL - 1, &s, &hold), ERR_GONE);
    assert_int_equal(read_and_compare(o, 4, 2 * CHUNK_SMALL, 3 * CHUNK_SMALL + 10), 0);
    object_drop_below(o, 0); /* never back */
    assert_int_equal(object_dropped(o), 2 * CHUNK_SMALL);
    append_to(o, 4, 5 * CHUNK_SMALL, 10000);
    object_seal(o);
    assert_int_equal(read_and_compare(o, 4, 2 * CHUNK_SMALL, 5 * CHUNK_SMALL), 0);
    object_drop_below(o, 5 * CHUNK_SMALL);
    assert_int_equal(object_ram_bytes(o) - bare, 0);
    chunk_unref(&early);
    object_unref(&o);
}

/* ---- chunks that are on disk ---- */

static struct object *from_disk(uint64_t length, uint32_t chunk_bytes)
{
    struct object *o = object_from_disk(plain_head("k"), length, chunk_bytes, 77);
    assert_non_null(o);
    return o;
}

static void load(struct object *o, uint32_t index)
{
    uint32_t n = object_chunk_len(o, index);
    struct chunk *c = chunk_new(n);
    assert_non_null(c);
    c->len = n;
    put_bytes(c->data, 6, (uint64_t)index * object_chunk_bytes(o), n);
    object_chunk_loaded(o, index, c);
}

static bool is_loaded(struct object *o, uint32_t index)
{
    struct chunk *c = object_chunk(o, index);
    bool yes = c != NULL;
    chunk_unref(&c);
    return yes;
}

static void what_is_on_disk_is_loaded(void **state)
{
    struct object *o = from_disk(20 * CHUNK_SMALL - 5, CHUNK_SMALL);
    size_t bare = object_ram_bytes(o);
    struct span s;
    struct chunk *hold = NULL;
    assert_int_equal(object_state(o), OBJECT_SEALED);
    assert_int_equal(object_flags(o), OBJECT_ON_DISK);
    assert_int_equal(object_disk_id(o), 77);
    assert_int_equal(object_chunk_count(o), 20);
    assert_false(object_is_resident(o));
    assert_int_equal(object_read(o, CHUNK_SMALL, &s, &hold), ERR_NOT_FOUND);
    load(o, 1);
    assert_int_equal(object_read(o, CHUNK_SMALL + 3, &s, &hold), 0);
    assert_non_null(hold); /* it may leave again */
    assert_int_equal(s.len, CHUNK_SMALL - 3);
    for (uint32_t i = 2; i < 20; i++)
        load(o, i);
    assert_false(is_loaded(o, 1));                          /* the latest few stay */
    assert_true(bytes_fit(s.p, 6, CHUNK_SMALL + 3, s.len)); /* but it is still held */
    chunk_unref(&hold);
    assert_true(is_loaded(o, 19));
    assert_true(is_loaded(o, 18));
    assert_true(object_ram_bytes(o) - bare <= 8 * CHUNK_SMALL);
    assert_int_equal(read_and_compare(o, 6, 19 * CHUNK_SMALL, 20 * CHUNK_SMALL - 5), 0);
    object_unref(&o);
}

static void small_ones_stay_whole(void **state)
{
    struct object *o = from_disk(5 * CHUNK_SMALL, CHUNK_SMALL);
    for (uint32_t i = 0; i < 5; i++)
        load(o, i);
    object_set_resident(o, true); /* the store has loaded it whole */
    assert_int_equal(read_and_compare(o, 6, 0, 5 * CHUNK_SMALL), 0);
    struct span s;
    struct chunk *hold;
    assert_int_equal(object_read(o, 0, &s, &hold), 0);
    assert_null(hold);
    object_unref(&o);
}

static void committed_chunks_leave_unless_resident(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    struct span s;
    struct chunk *hold;
    append_to(o, 1, 3 * CHUNK_SMALL, 50000);
    object_chunk_committed(o, 0);
    assert_true(is_loaded(o, 0));
    object_set_resident(o, false);
    object_chunk_committed(o, 0);
    object_chunk_committed(o, 99); /* nothing there */
    assert_false(is_loaded(o, 0));
    assert_int_equal(object_read(o, 10, &s, &hold), ERR_NOT_FOUND);
    assert_int_equal(read_and_compare(o, 1, CHUNK_SMALL, 3 * CHUNK_SMALL), 0);
    object_unref(&o);
}

/* The store's thread commits while the owner appends and others read. */
static void *commit_all(void *ctx)
{
    struct object *o = ctx;
    uint32_t next = 0;
    for (;;) {
        bool is_over = object_state(o) != OBJECT_FILLING;
        for (; (uint64_t)(next + 1) * CHUNK_SMALL <= object_ready(o); next++)
            object_chunk_committed(o, next);
        if (is_over)
            break;
        sched_yield();
    }
    object_unref(&o);
    return NULL;
}

static void commits_run_beside_appends(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    pthread_t writer;
    object_set_resident(o, false);
    assert_int_equal(pthread_create(&writer, NULL, commit_all, object_ref(o)), 0);
    for (uint64_t to = 0; to < 4000000; to += 10007) {
        append_to(o, 8, to, 10007);
        int err = to < CHUNK_SMALL ? 0 : read_and_compare(o, 8, to - 20000, to);
        assert_true(err == 0 || err == ERR_NOT_FOUND);
    }
    object_seal(o);
    pthread_join(writer, NULL);
    assert_false(is_loaded(o, 3));
    object_unref(&o);
}

/* ---- heads ---- */

static void a_new_head_shares_the_body(void **state)
{
    struct object *o = object_for("k", LENGTH_UNKNOWN);
    append_to(o, 7, 1000, 1000);
    struct object *renewed = object_with_head(o, plain_head("k"));
    assert_non_null(renewed);
    append_to(o, 7, CHUNK_SMALL + 1000, 5000);
    assert_int_equal(object_ready(renewed), CHUNK_SMALL + 1000);
    object_seal(o);
    object_set_flags(o, OBJECT_ON_DISK, 0);
    object_set_disk_id(o, 5);
    assert_int_equal(object_state(renewed), OBJECT_SEALED);
    assert_int_equal(object_flags(renewed), OBJECT_ON_DISK);
    assert_int_equal(object_disk_id(renewed), 5);
    assert_ptr_not_equal(object_head(o), object_head(renewed));
    object_unref(&o);
    assert_int_equal(read_and_compare(renewed, 7, 0, CHUNK_SMALL + 1000), 0);
    assert_ptr_equal(object_of_ram(object_ram(renewed)), renewed);
    object_unref(&renewed);
}

static void a_head_keeps_copies_and_finds_validators(void **state)
{
    char block[] = "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n";
    char key[] = "key";
    struct stored_head_parts parts = {.facts = {.status = 200, .response_ms = 5},
                                      .block = span_of(block),
                                      .key = span_of(key),
                                      .names = SPAN("a,b"),
                                      .variant = SPAN("v"),
                                      .purge_number = 12,
                                      .key_hash = 34};
    struct stored_head *h = stored_head_new(&parts);
    assert_non_null(h);
    memset(block, 'x', sizeof block - 1);
    memset(key, 'x', sizeof key - 1);
    assert_true(span_eq(h->key, SPAN("key")));
    assert_true(span_eq(h->names, SPAN("a,b")));
    assert_true(span_eq(h->variant, SPAN("v")));
    assert_true(span_starts(h->block, SPAN("HTTP/1.1 200 OK\r\nETag: ")));
    assert_true(span_eq(h->validators.etag, SPAN("\"v1\"")));
    assert_int_equal(h->validators.last_modified_s, 1700000000);
    assert_int_equal(h->purge_number, 12);
    assert_int_equal(h->key_hash, 34);
    stored_head_unref(&h);
    assert_null(h);
    parts.block = SPAN("not a head at all\r\n");
    h = stored_head_new(&parts);
    assert_int_equal(h->validators.etag.len, 0);
    assert_int_equal(h->validators.last_modified_s, -1);
    stored_head_unref(&h);
}

static void flags_are_set_and_cleared(void **state)
{
    struct object *o = object_for("k", 0);
    object_set_flags(o, OBJECT_STORING | OBJECT_UNWANTED, 0);
    object_set_flags(o, OBJECT_ON_DISK, OBJECT_STORING);
    assert_int_equal(object_flags(o), OBJECT_ON_DISK | OBJECT_UNWANTED);
    object_unref(&o);
}

/* ---- without memory ---- */

static void make_and_fill(void *ctx)
{
    struct stored_head *h = plain_head("k");
    if (h == NULL)
        return;
    struct object *o = object_new(h, LENGTH_UNKNOWN);
    if (o == NULL)
        return;
    int err = append_to(o, 3, 2 * CHUNK_SMALL + 100, 30000);
    if (err != 0) {
        assert_int_equal(err, ERR_NOMEM);
        assert_int_equal(read_and_compare(o, 3, 0, object_ready(o)), 0);
        assert_int_equal(append_to(o, 3, 2 * CHUNK_SMALL + 100, 30000), 0); /* where it stood */
    }
    object_seal(o);
    assert_int_equal(read_and_compare(o, 3, 0, 2 * CHUNK_SMALL + 100), 0);
    struct stored_head *other = plain_head("k");
    struct object *renewed = other != NULL ? object_with_head(o, other) : NULL;
    object_unref(&renewed);
    object_unref(&o);
}

static void make_from_disk(void *ctx)
{
    struct stored_head *h = plain_head("k");
    struct object *o = h != NULL ? object_from_disk(h, 10 * CHUNK_SMALL, CHUNK_SMALL, 1) : NULL;
    object_unref(&o);
}

static void object_survives_each_failure(void **state)
{
    assert_true(alloc_fail_each(make_and_fill, NULL) >= 9);
    assert_true(alloc_fail_each(make_from_disk, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_across_chunk_borders),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(knows_its_chunks),
        cmocka_unit_test(a_known_length_takes_no_more_than_it_needs),
        cmocka_unit_test(seal_gives_back_what_the_last_chunk_does_not_need),
        cmocka_unit_test(a_read_ends_at_its_chunk_or_at_what_is_ready),
        cmocka_unit_test(is_read_while_it_fills),
        cmocka_unit_test(failing_keeps_what_is_there),
        cmocka_unit_test(drops_what_all_have_passed),
        cmocka_unit_test(what_is_on_disk_is_loaded),
        cmocka_unit_test(small_ones_stay_whole),
        cmocka_unit_test(committed_chunks_leave_unless_resident),
        cmocka_unit_test(commits_run_beside_appends),
        cmocka_unit_test(a_new_head_shares_the_body),
        cmocka_unit_test(a_head_keeps_copies_and_finds_validators),
        cmocka_unit_test(flags_are_set_and_cleared),
        cmocka_unit_test(object_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
