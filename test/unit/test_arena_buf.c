#include "common/arena.h"
#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/check.h"
#include "test/unit/alloc_fail.h"

/* ---- arena ---- */

static void pieces_are_aligned_and_apart(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 17, 0, 4000, 4096, 5000, 100000, 3, 4064, 4065};
    struct arena a = {0};
    char *pieces[ARRAY_LEN(sizes)];
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        pieces[i] = arena_alloc(&a, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(pieces[i][at], i + 1);
    assert_true(a.used_bytes >= 100000 + 5000 + 4096 + 4000);
    arena_fini(&a);
    assert_int_equal(a.used_bytes, 0);
    assert_null(a.blocks);
    assert_non_null(arena_alloc(&a, 1)); /* empty, and usable again */
    arena_fini(&a);
}

static void copies_end_with_a_nul(void **state)
{
    struct arena a = {0};
    char *p = arena_copy(&a, "abcdef", 3);
    assert_string_equal(p, "abc");
    assert_string_equal(arena_copy(&a, NULL, 0), "");
    struct span s = arena_span(&a, (struct span){NULL, 0});
    assert_non_null(s.p); /* NULL is for no memory only */
    assert_int_equal(s.len, 0);
    arena_fini(&a);
}

static void no_piece_is_endless(void **state)
{
    struct arena a = {0};
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
    assert_int_equal(a.used_bytes, 0);
    arena_fini(&a);
}

static void fill_arena(void *ctx)
{
    struct arena a = {0};
    size_t got = 0;
    for (int i = 0; i < 100; i++)
        if (arena_span(&a, SPAN("0123456789012345678901234567890123456789012345678901234567890123456789"))
                .p != NULL)
            got++;
    assert_true(got >= 99);
    arena_fini(&a);
}

static void arena_survives_each_failure(void **state)
{
    assert_true(alloc_fail_each(fill_arena, NULL) >= 2);
}

/* ---- buf ---- */

static void grows_and_keeps_what_it_has(void **state)
{
    struct buf b = {0};
    for (int i = 0; i < 5000; i++)
        buf_put(&b, &(char){(char)i}, 1);
    assert_false(b.failed);
    assert_int_equal(b.len, 5000);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(b.p[i], (char)i);
    buf_put(&b, NULL, 0);
    assert_int_equal(b.len, 5000);
    buf_fini(&b);
    assert_null(b.p);
    assert_int_equal(b.len + b.cap, 0);
}

static const struct {
    uint64_t v;
    const char *text;
} uints[] = {
    {0, "0"},
    {9, "9"},
    {10, "10"},
    {99, "99"},
    {100, "100"},
    {4294967296, "4294967296"},
    {UINT64_MAX, "18446744073709551615"},
};

static const struct {
    int64_t v;
    const char *text;
} ints[] = {
    {0, "0"}, {-1, "-1"}, {42, "42"}, {INT64_MAX, "9223372036854775807"}, {INT64_MIN, "-9223372036854775808"},
};

static void numbers_are_decimal(void **state)
{
    struct buf b = {0};
    for (size_t i = 0; i < ARRAY_LEN(uints); i++) {
        b.len = 0;
        buf_put_uint(&b, uints[i].v);
        assert_true(span_eq(buf_span(&b), span_of(uints[i].text)));
    }
    for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
        b.len = 0;
        buf_put_int(&b, ints[i].v);
        assert_true(span_eq(buf_span(&b), span_of(ints[i].text)));
    }
    buf_fini(&b);
}

/* Every length around the borders of its growth, from every filling. */
static void prints_across_its_borders(void **state)
{
    char text[300];
    for (size_t before = 250; before < 260; before++) {
        for (size_t n = 0; n < sizeof text; n++) {
            struct buf b = {0};
            memset(text, 'x', n);
            text[n] = '\0';
            for (size_t i = 0; i < before; i++)
                buf_put_lit(&b, "-");
            buf_printf(&b, "%s", text);
            assert_int_equal(b.len, before + n);
            assert_memory_equal(b.p + before, text, n);
            buf_fini(&b);
            if (n > 12 && n < 240)
                n += 50;
        }
    }
}

static void consuming_moves_the_rest(void **state)
{
    struct buf b = {0};
    buf_put_lit(&b, "abcdef");
    buf_consume(&b, 0);
    assert_true(span_eq(buf_span(&b), SPAN("abcdef")));
    buf_consume(&b, 2);
    assert_true(span_eq(buf_span(&b), SPAN("cdef")));
    buf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void failing_to_grow_sticks(void **state)
{
    struct buf b = {0};
    buf_put_lit(&b, "abc");
    assert_false(buf_reserve(&b, SIZE_MAX));
    assert_true(b.failed);
    buf_put_lit(&b, "def");
    assert_true(b.failed);
    buf_fini(&b);
    assert_false(b.failed);
}

static void fill_buf(void *ctx)
{
    struct buf b = {0};
    bool *always_told = ctx;
    for (int i = 0; i < 200; i++) {
        size_t before = b.len;
        buf_printf(&b, "%d,", i * 1000);
        if (b.len == before && !b.failed)
            *always_told = false;
    }
    buf_fini(&b);
}

static void buf_survives_each_failure(void **state)
{
    bool always_told = true;
    assert_true(alloc_fail_each(fill_buf, &always_told) >= 3);
    assert_true(always_told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart), cmocka_unit_test(copies_end_with_a_nul),
        cmocka_unit_test(no_piece_is_endless),          cmocka_unit_test(arena_survives_each_failure),
        cmocka_unit_test(grows_and_keeps_what_it_has),  cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(prints_across_its_borders),    cmocka_unit_test(consuming_moves_the_rest),
        cmocka_unit_test(failing_to_grow_sticks),       cmocka_unit_test(buf_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
