#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/hist.h"

static int set_up(void **state)
{
    *state = calloc(2, sizeof(struct hist));
    return *state == NULL;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

/* What the histogram calls a value that stands below a larger one: the upper edge of its bucket. */
static uint64_t edge_of(uint64_t value)
{
    struct hist *h = calloc(1, sizeof *h);
    assert_non_null(h);
    hist_record(h, value);
    hist_record(h, value * 2 + 1);
    uint64_t edge = hist_percentile(h, 50);
    free(h);
    return edge;
}

static void check_value(uint64_t value)
{
    uint64_t edge = edge_of(value);
    if (edge < value || (edge - value) * 100 > value)
        fail_msg("%llu is shown as %llu", (unsigned long long)value, (unsigned long long)edge);
    if (value < 256)
        assert_int_equal(edge, value);
}

static void test_exact_to_one_percent(void **state)
{
    for (uint64_t v = 0; v < 2000; v++)
        check_value(v);
    for (unsigned bit = 11; bit < HIST_RANGE_BITS - 1; bit++) { /* each power's edges, where widths change */
        uint64_t power = 1ull << bit;
        uint64_t near[] = {power - 1,
                           power,
                           power + 1,
                           power + power / 128,
                           power + power / 128 - 1,
                           power + power / 3,
                           2 * power - power / 128};
        for (size_t i = 0; i < ARRAY_LEN(near); i++)
            check_value(near[i]);
    }
}

static void test_beyond_the_range(void **state)
{
    struct hist *h = *state;
    hist_record(h, UINT64_MAX);
    hist_record(h, 1ull << HIST_RANGE_BITS);
    hist_record(h, 5);
    assert_int_equal(h->total, 3);
    assert_int_equal(hist_percentile(h, 100), UINT64_MAX);
    assert_int_equal(hist_percentile(h, 1), 5);
    assert_int_equal(hist_count_below(h, 1ull << 40), 1);
    assert_int_equal(hist_count_below(h, UINT64_MAX), 3);
}

static void test_percentiles(void **state)
{
    struct hist *h = *state;
    assert_int_equal(hist_percentile(h, 50), 0);
    for (uint64_t v = 1; v <= 200; v++)
        hist_record(h, v);
    assert_int_equal(hist_percentile(h, 0), 1);
    assert_int_equal(hist_percentile(h, 0.5), 1);
    assert_int_equal(hist_percentile(h, 50), 100);
    assert_int_equal(hist_percentile(h, 99), 198);
    assert_int_equal(hist_percentile(h, 99.9), 200);
    assert_int_equal(hist_percentile(h, 100), 200);
    hist_record(h, 1000001);
    assert_int_equal(hist_percentile(h, 100), 1000001); /* capped at the true maximum */
    assert_int_equal(h->sum, 200 * 201 / 2 + 1000001);
}

/* 99.9 is no binary fraction: 1,998 of 2,000 are 99.9 %, whatever the product of doubles says. */
static void test_a_rank_that_is_whole(void **state)
{
    struct hist *h = *state;
    for (unsigned n = 1; n <= 2000; n++)
        hist_record(h, n <= 1998 ? 10 : 200);
    assert_int_equal(hist_percentile(h, 99.9), 10);
    assert_int_equal(hist_percentile(h, 99.95), 200);
}

static void test_count_below(void **state)
{
    struct hist *h = *state;
    hist_record(h, 0);
    hist_record(h, 500);
    hist_record(h, 1000);
    hist_record(h, 1020); /* 2 % above */
    hist_record(h, 60000000);
    assert_int_equal(hist_count_below(h, 0), 1);
    assert_int_equal(hist_count_below(h, 490), 1);
    assert_int_equal(hist_count_below(h, 500), 2);
    assert_int_equal(hist_count_below(h, 1000), 3);
    assert_int_equal(hist_count_below(h, 30000000), 4);
    assert_int_equal(hist_count_below(h, 60000000), 5);
}

static void test_merge(void **state)
{
    struct hist *a = *state, *b = a + 1;
    for (uint64_t v = 0; v < 10000; v += 3)
        hist_record(a, v);
    for (uint64_t v = 5000; v < 20000; v += 7)
        hist_record(b, v);
    uint64_t below = hist_count_below(a, 6000) + hist_count_below(b, 6000), total = a->total + b->total,
             sum = a->sum + b->sum;
    hist_merge(a, b);
    assert_int_equal(a->total, total);
    assert_int_equal(a->sum, sum);
    assert_int_equal(a->max, b->max);
    assert_int_equal(hist_count_below(a, 6000), below);
    assert_int_equal(hist_count_below(a, UINT64_MAX), total);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_exact_to_one_percent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_beyond_the_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_percentiles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_rank_that_is_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_count_below, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_merge, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
