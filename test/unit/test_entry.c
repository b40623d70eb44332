#include "shield/cache/entry.h"

#include "test/unit/object_rig.h"
#include "test/unit/policy_heads.h"

#include "shield/policy/vary.h"
#include "test/unit/alloc_fail.h"

static struct entry *add(struct shard *s, const char *key)
{
    struct entry *e = shard_find_or_add(s, hash_of_key(key), span_of(key));
    assert_non_null(e);
    return e;
}

/* An object that varies on `names` as a request with `lines` selects it. */
static struct object *living(const char *names, const char *lines, int64_t lifetime_ms)
{
    struct config cfg = policy_config();
    struct test_head t;
    struct buf variant = {0};
    policy_vary_key(&cfg, span_of(names), request_head(&t, "GET", lines), &variant);
    buf_put(&variant, "", 1);
    struct stored_head_parts parts = {.facts = {.status = 200, .lifetime_ms = lifetime_ms},
                                      .block = SPAN("HTTP/1.1 200 OK\r\n"),
                                      .key = SPAN("k"),
                                      .names = span_of(names),
                                      .variant = {variant.p, variant.len - 1}};
    struct stored_head *h = stored_head_new(&parts);
    assert_non_null(h);
    struct object *o = object_new(h, 0);
    assert_non_null(o);
    object_seal(o);
    buf_fini(&variant);
    return o;
}

static struct object *varying(const char *names, const char *lines)
{
    return living(names, lines, 0);
}

/* Put it; what falls out is counted and dropped. */
static int put(struct entry *e, struct object *o, uint32_t max)
{
    struct object *fallen[2];
    assert_true(entry_put_variant(e, o, max, fallen));
    int n = (fallen[0] != NULL) + (fallen[1] != NULL);
    object_unref(&fallen[0]);
    object_unref(&fallen[1]);
    return n;
}

static struct object *find(struct entry *e, const char *lines)
{
    struct config cfg = policy_config();
    struct test_head t;
    struct buf scratch = {0};
    struct object *o = entry_find_variant(e, &cfg, request_head(&t, "GET", lines), 0, &scratch);
    buf_fini(&scratch);
    return o;
}

/* ---- the table ---- */

static void keys_are_compared_whole(void **state)
{
    struct shard s;
    assert_true(shard_init(&s));
    struct entry *a = shard_find_or_add(&s, 1 << 8, SPAN("a"));
    struct entry *b = shard_find_or_add(&s, 1 << 8, SPAN("b")); /* the same hash */
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(shard_find_or_add(&s, 1 << 8, SPAN("a")), a);
    assert_ptr_equal(shard_find(&s, 1 << 8, SPAN("b")), b);
    assert_null(shard_find(&s, 1 << 8, SPAN("ab")));
    assert_null(shard_find(&s, 2 << 8, SPAN("a")));
    assert_int_equal(s.n_entries, 2);
    shard_tidy(&s, a, 0);
    assert_null(shard_find(&s, 1 << 8, SPAN("a")));
    assert_ptr_equal(shard_find(&s, 1 << 8, SPAN("b")), b);
    shard_fini(&s);
}

enum { MANY = 3000 };

static void fill_table(void *ctx)
{
    struct shard s;
    char key[16];
    unsigned made = 0;
    bool ok = shard_init(&s);
    for (int i = 0; ok && i < MANY; i++) {
        snprintf(key, sizeof key, "k%d", i);
        made += shard_find_or_add(&s, hash_of_key(key), span_of(key)) != NULL;
    }
    assert_int_equal(s.n_entries, made);
    assert_true(!ok || made >= MANY - 1);
    unsigned found = 0;
    for (int i = 0; ok && i < MANY; i++) {
        snprintf(key, sizeof key, "k%d", i);
        found += shard_find(&s, hash_of_key(key), span_of(key)) != NULL;
    }
    assert_int_equal(found, made);
    if (ctx != NULL)
        *(uint32_t *)ctx = s.n_buckets;
    shard_fini(&s);
}

static void the_table_grows(void **state)
{
    uint32_t n_buckets = 0;
    fill_table(&n_buckets);
    assert_true(n_buckets >= MANY / 2);
    assert_int_equal(n_buckets & (n_buckets - 1), 0);
}

/* ---- variants ---- */

static void one_without_vary_gives_way(void **state) /* RFC 9111 section 4.1 */
{
    static const struct {
        int64_t varied_ms, unvaried_ms;
        bool gives_way;
    } rows[] = {{9, 9, true}, {9, 0, true}, {0, 9, false}, {0, 0, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct shard s;
        struct object *varied = living("x", "X: 1\n", rows[i].varied_ms);
        struct object *unvaried = living("", "", rows[i].unvaried_ms);
        assert_true(shard_init(&s));
        struct entry *e = add(&s, "k");
        put(e, varied, 64);
        put(e, unvaried, 64);
        assert_ptr_equal(find(e, "X: 1\n"), rows[i].gives_way ? varied : unvaried);
        assert_ptr_equal(find(e, "X: 2\n"), unvaried);
        shard_fini(&s);
        object_unref(&varied);
        object_unref(&unvaried);
    }
}

static void each_request_finds_its_variant(void **state)
{
    static const struct {
        const char *lines;
        int found; /* index below; -1: none */
    } asks[] = {
        {"X: 1\n", 0}, {"X: 2\n", 1}, {"", 2}, {"X: 3\n", -1}, {"X:\n", -1}, {"x: 1\nY: 9\n", 0},
    };
    struct shard s;
    struct object *objects[] = {varying("x", "X: 1\n"), varying("x", "X: 2\n"), varying("x", "")};
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    assert_null(find(e, "X: 1\n"));
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        assert_int_equal(put(e, objects[i], 64), 0);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++)
        assert_ptr_equal(find(e, asks[i].lines), asks[i].found < 0 ? NULL : objects[asks[i].found]);
    for (size_t i = 0; i < ARRAY_LEN(objects); i++)
        object_unref(&objects[i]);
    shard_fini(&s);
}

/* RFC 9111 section 4.1: responses of one URL may vary on different fields; the newest that fits is taken. */
static void vary_may_change(void **state)
{
    struct shard s;
    struct object *by_x = varying("x", "X: 1\n"), *by_y = varying("y", "Y: 1\n"), *plain = varying("", "");
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    put(e, by_x, 64);
    put(e, by_y, 64);
    assert_ptr_equal(find(e, "X: 1\nY: 1\n"), by_y);
    assert_ptr_equal(find(e, "X: 1\n"), by_x);
    assert_null(find(e, "X: 2\nY: 2\n"));
    put(e, plain, 64);
    assert_ptr_equal(find(e, "X: 1\nY: 1\n"), plain);
    assert_int_equal(e->n_variants, 3);
    object_unref(&by_x);
    object_unref(&by_y);
    object_unref(&plain);
    shard_fini(&s);
}

static void the_same_variant_is_replaced(void **state)
{
    struct shard s;
    struct object *fallen[2];
    struct object *old = varying("x", "X: 1\n"), *other = varying("x", "X: 2\n"),
                  *new = varying("x", "X: 1\n");
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    put(e, old, 64);
    put(e, other, 64);
    assert_true(entry_put_variant(e, new, 64, fallen));
    assert_ptr_equal(fallen[0], old);
    assert_null(fallen[1]);
    object_unref(&fallen[0]);
    assert_ptr_equal(find(e, "X: 1\n"), new);
    assert_ptr_equal(find(e, "X: 2\n"), other);
    assert_int_equal(e->n_variants, 2);
    object_unref(&old);
    object_unref(&other);
    object_unref(&new);
    shard_fini(&s);
}

static void beyond_max_variants_the_oldest_goes(void **state)
{
    struct shard s;
    char lines[16];
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    for (int i = 0; i < 10; i++) {
        snprintf(lines, sizeof lines, "X: %d\n", i);
        struct object *o = varying("x", lines);
        assert_int_equal(put(e, o, 4), i < 4 ? 0 : 1);
        object_unref(&o);
        assert_int_equal(e->n_variants, MIN(i + 1, 4));
    }
    assert_null(find(e, "X: 5\n"));
    assert_non_null(find(e, "X: 6\n"));
    assert_non_null(find(e, "X: 9\n"));
    shard_fini(&s);
}

static void taking_out_gives_the_reference(void **state)
{
    struct shard s;
    struct object *a = varying("x", "X: 1\n"), *b = varying("x", "X: 2\n"), *out = NULL;
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    put(e, a, 64);
    put(e, b, 64);
    assert_true(entry_take_variant(e, a, &out));
    assert_ptr_equal(out, a);
    object_unref(&out);
    assert_false(entry_take_variant(e, a, &out));
    assert_int_equal(e->n_variants, 1);
    assert_ptr_equal(find(e, "X: 2\n"), b);
    shard_tidy(&s, e, 0);
    assert_int_equal(s.n_entries, 1); /* something is left in it */
    assert_true(entry_take_variant(e, b, &out));
    object_unref(&out);
    shard_tidy(&s, e, 0);
    assert_int_equal(s.n_entries, 0);
    object_unref(&a);
    object_unref(&b);
    shard_fini(&s);
}

static void names_are_kept(void **state)
{
    struct shard s;
    char names[] = "x,y";
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    assert_false(e->names_known);
    assert_true(entry_set_names(e, span_of(names)));
    names[0] = 'z';
    assert_true(e->names_known && span_eq(e->names, SPAN("x,y")));
    assert_true(entry_set_names(e, SPAN("")));
    assert_true(e->names_known);
    assert_int_equal(e->names.len, 0);
    shard_fini(&s);
}

/* ---- marks ---- */

static void marks_end_by_themselves(void **state)
{
    struct shard s;
    assert_true(shard_init(&s));
    struct entry *e = add(&s, "k");
    shard_mark(&s, e, MARK_ERROR, ERR_CONNECT, 1000, 50);
    assert_true(entry_is_marked(e, MARK_ERROR, 1049));
    assert_false(entry_is_marked(e, MARK_ERROR, 1050));
    assert_false(entry_is_marked(e, MARK_UNCACHEABLE, 1000));
    assert_int_equal(e->mark_err, ERR_CONNECT);
    shard_mark(&s, e, MARK_UNCACHEABLE, 0, 1000, 100); /* one of a kind */
    assert_int_equal(s.n_marks, 1);
    assert_true(entry_is_marked(e, MARK_UNCACHEABLE, 1099));
    shard_tidy(&s, e, 1099);
    assert_int_equal(s.n_entries, 1); /* a mark is something too */
    shard_tidy(&s, e, 1100);
    assert_int_equal(s.n_entries + s.n_marks, 0);
    e = add(&s, "k");
    shard_mark(&s, e, MARK_UNCACHEABLE, 0, 1000, 0); /* not remembered at all */
    assert_int_equal(s.n_marks, 0);
    shard_unmark(&s, e);
    shard_unmark(&s, e);
    shard_fini(&s);
}

static void trimming_drops_what_has_ended_and_the_oldest(void **state)
{
    struct shard s;
    char key[16];
    assert_true(shard_init(&s));
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "k%d", i);
        shard_mark(&s, add(&s, key), MARK_UNCACHEABLE, 0, (uint64_t)i, 100);
    }
    assert_false(shard_trim_marks(&s, 50, 10));
    assert_int_equal(s.n_marks, 10);
    assert_false(shard_trim_marks(&s, 103, 10)); /* by time: 0 to 3 */
    assert_int_equal(s.n_marks, 6);
    assert_int_equal(s.n_entries, 6);
    assert_true(shard_trim_marks(&s, 103, 4)); /* by number: the bound was reached */
    assert_int_equal(s.n_marks, 4);
    assert_null(shard_find(&s, hash_of_key("k5"), SPAN("k5")));
    assert_non_null(shard_find(&s, hash_of_key("k6"), SPAN("k6")));
    struct entry *e = add(&s, "k7");
    struct object *o = varying("", "");
    put(e, o, 64);
    object_unref(&o);
    shard_trim_marks(&s, 1000, 4);
    assert_int_equal(s.n_marks, 0);
    assert_int_equal(s.n_entries, 1); /* the response stays without its mark */
    shard_fini(&s);
}

/* ---- without memory ---- */

static void fill_entry(void *ctx)
{
    struct shard s;
    struct object *objects[3] = {((struct object **)ctx)[0], ((struct object **)ctx)[1],
                                 ((struct object **)ctx)[2]};
    if (!shard_init(&s)) {
        shard_fini(&s);
        return;
    }
    struct entry *e = shard_find_or_add(&s, 1, SPAN("k"));
    for (int i = 0; e != NULL && i < 3; i++) {
        struct object *fallen[2] = {NULL, NULL};
        uint32_t before = e->n_variants;
        entry_set_names(e, object_head(objects[i])->names);
        if (!entry_put_variant(e, objects[i], 2, fallen))
            assert_int_equal(e->n_variants, before);
        object_unref(&fallen[0]);
        object_unref(&fallen[1]);
    }
    shard_fini(&s);
}

static void entry_survives_each_failure(void **state)
{
    struct object *objects[3] = {varying("x", "X: 1\n"), varying("y", "Y: 1\n"), varying("x", "X: 1\n")};
    assert_true(alloc_fail_each(fill_entry, objects) >= 6);
    for (int i = 0; i < 3; i++)
        object_unref(&objects[i]);
}

static void a_table_without_memory_is_only_slower(void **state)
{
    for (int n = 0; n < 200; n += 9) { /* not every one: three thousand times three thousand */
        alloc_fail_after(n);
        alloc_armed = true;
        fill_table(NULL);
        alloc_armed = false;
        assert_true(alloc_calm());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_compared_whole),
        cmocka_unit_test(the_table_grows),
        cmocka_unit_test(one_without_vary_gives_way),
        cmocka_unit_test(each_request_finds_its_variant),
        cmocka_unit_test(vary_may_change),
        cmocka_unit_test(the_same_variant_is_replaced),
        cmocka_unit_test(beyond_max_variants_the_oldest_goes),
        cmocka_unit_test(taking_out_gives_the_reference),
        cmocka_unit_test(names_are_kept),
        cmocka_unit_test(marks_end_by_themselves),
        cmocka_unit_test(trimming_drops_what_has_ended_and_the_oldest),
        cmocka_unit_test(entry_survives_each_failure),
        cmocka_unit_test(a_table_without_memory_is_only_slower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
