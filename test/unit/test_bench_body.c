/* The bytes of simulated objects: any part equals the same part of the whole, and every wrong byte shows. */
#include "bench/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { WHOLE = 4096 + 5 };

/* Computed from the description in body.h by another program. */
static void test_known_values(void **state)
{
    struct body_object o = body_object(SPAN("/a"), 1, 20, (struct span){0});
    const unsigned char want[8] = {0x74, 0x3b, 0xf2, 0x62, 0xc9, 0x93, 0x34, 0x58};
    char have[8];
    assert_int_equal(o.key, UINT64_C(0x0bcfa9bbb5ba7e84));
    assert_int_equal(o.seed, UINT64_C(0x30edd0022335fa32));
    body_fill(o.seed, 0, have, sizeof have);
    assert_memory_equal(have, want, sizeof want);
}

static void test_parts_equal_the_whole(void **state)
{
    char whole[WHOLE], part[WHOLE];
    body_fill(42, 0, whole, WHOLE);
    for (size_t offset = 0; offset < 40; offset++)
        for (size_t n = 0; n < 40; n++) {
            body_fill(42, offset, part, n);
            assert_memory_equal(part, whole + offset, n);
            assert_true(body_matches(42, offset, whole + offset, n));
        }
    assert_true(body_matches(42, 0, whole, WHOLE));
}

static void test_every_wrong_byte_shows(void **state)
{
    char whole[67];
    for (size_t offset = 0; offset < 9; offset++)
        for (size_t i = 0; i < sizeof whole; i++) {
            body_fill(7, offset, whole, sizeof whole);
            whole[i] ^= 1;
            assert_false(body_matches(7, offset, whole, sizeof whole));
        }
}

static void test_key_version_and_variant_change_it(void **state)
{
    struct body_object a = body_object(SPAN("/a"), 1, 9, (struct span){0});
    assert_int_not_equal(a.seed, body_object(SPAN("/b"), 1, 9, (struct span){0}).seed);
    assert_int_not_equal(a.seed, body_object(SPAN("/a"), 2, 9, (struct span){0}).seed);
    assert_int_not_equal(a.seed, body_object(SPAN("/a"), 1, 9, SPAN("fr\n")).seed);
    assert_int_equal(a.key, body_object(SPAN("/a"), 2, 9, SPAN("fr\n")).key);
}

static void test_field_reads_back(void **state)
{
    struct body_object o = {UINT64_MAX, 3, 1u << 20, 0x10}, back = {0};
    struct buf b = {0};
    body_put_field(&b, &o);
    struct span value = span_trim(span_from(buf_span(&b), sizeof BODY_FIELD));
    value.len -= 2; /* CRLF */
    assert_true(body_parse_field(value, &back));
    assert_memory_equal(&o, &back, sizeof o);
    for (size_t n = 0; n < value.len - 16; n++)
        assert_false(body_parse_field((struct span){value.p, n}, &back));
    buf_fini(&b);
}

static void test_path_is_without_query(void **state)
{
    assert_true(span_eq(body_path(SPAN("/a?b=c?d")), SPAN("/a")));
    assert_true(span_eq(body_path(SPAN("/a")), SPAN("/a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_parts_equal_the_whole),
        cmocka_unit_test(test_every_wrong_byte_shows),
        cmocka_unit_test(test_key_version_and_variant_change_it),
        cmocka_unit_test(test_field_reads_back),
        cmocka_unit_test(test_path_is_without_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
