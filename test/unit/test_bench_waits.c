/* Waits: the first of a fetch leads, the others are measured against it, and a fetch that is gone tells
 * nothing. */
#include "bench/waits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "common/check.h"

enum { US = 1000 };

static void test_one_fetch(void **state)
{
    struct waits *w = waits_new();
    struct wait leader = {0}, second = {0}, third = {0};
    uint64_t late_us;
    assert_non_null(w);
    waits_first(w, &leader, 7, 1000 * US);
    waits_first(w, &second, 7, 1030 * US);
    waits_first(w, &third, 7, 1050 * US);
    assert_true(leader.leads && !second.leads);
    assert_int_equal(second.late_us, 30);
    assert_int_equal(third.late_us, 50);

    assert_true(waits_last(w, &second, 2000 * US, &late_us)); /* served whole before the leader */
    assert_int_equal(late_us, 0);
    assert_false(waits_last(w, &leader, 2010 * US, &late_us));
    assert_true(waits_last(w, &third, 2200 * US, &late_us));
    assert_int_equal(late_us, 200);
    waits_free(w);
    (void)state;
}

static void test_what_is_not_known(void **state)
{
    struct waits *w = waits_new();
    struct wait none = {0}, old = {0}, late = {0}, newer = {0};
    uint64_t late_us;
    assert_false(waits_last(w, &none, 1, &late_us)); /* waited for no fetch */
    waits_first(w, &old, 3, 1000 * US);
    waits_first(w, &newer, 3 + (1 << 14), 2000 * US); /* takes its place */
    waits_first(w, &late, 3, 3000 * US);
    assert_int_equal(late.fetch, 0);
    assert_false(waits_last(w, &old, 3000 * US, &late_us));
    assert_false(waits_last(w, &late, 3000 * US, &late_us));
    waits_free(w);
    (void)state;
}

static void test_field(void **state)
{
    static const char *const bad[] = {"", "7", "7;", "7; sent=", "x; sent=1", "7; seen=1", "7; sent=1x"};
    struct buf b = {0};
    uint64_t fetch, sent_ns;
    waits_put_field(&b, 12, 3400);
    struct span value = span_trim(span_from(buf_span(&b), sizeof WAITS_FIELD));
    value.len -= 2; /* CRLF */
    assert_true(waits_parse_field(value, &fetch, &sent_ns));
    assert_int_equal(fetch, 12);
    assert_int_equal(sent_ns, 3400);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(waits_parse_field(span_of(bad[i]), &fetch, &sent_ns));
    buf_fini(&b);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_fetch),
        cmocka_unit_test(test_what_is_not_known),
        cmocka_unit_test(test_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
