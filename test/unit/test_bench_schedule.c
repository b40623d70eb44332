/* What is asked for, and when: the laws of the random orders, and targets from lists and logs. */
#include "bench/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "bench/paths.h"
#include "bench/paths_time.h"
#include "common/check.h"

enum { KEYS = 1000, DRAWS = 400000 };

/* Each rank comes as often as its weight says, within five standard deviations. */
static void check_zipf(double exponent)
{
    struct schedule s = {.seed = 3, .keys = KEYS, .order = ORDER_ZIPF, .exponent = exponent};
    double sum = 0;
    unsigned *counts = calloc(KEYS, sizeof *counts);
    assert_non_null(counts);
    schedule_init(&s);
    for (int k = 1; k <= KEYS; k++)
        sum += pow(k, -exponent);
    for (uint64_t i = 0; i < DRAWS; i++) {
        uint64_t key = schedule_key(&s, i);
        assert_true(key < KEYS);
        counts[key]++;
    }
    for (int k = 1; k <= KEYS; k++) {
        double want = DRAWS * pow(k, -exponent) / sum;
        if (fabs(counts[k - 1] - want) > 5 * sqrt(want) + 1)
            fail_msg("exponent %.2f: rank %d came %u times instead of %.0f", exponent, k, counts[k - 1],
                     want);
    }
    free(counts);
}

static void test_zipf(void **state)
{
    check_zipf(0);
    check_zipf(0.8);
    check_zipf(1);
    check_zipf(1.3);
}

static void test_one_key(void **state)
{
    for (int order = ORDER_SEQUENCE; order <= ORDER_ZIPF; order++) {
        struct schedule s = {.seed = 3, .keys = 1, .order = (enum schedule_order)order, .exponent = 1};
        schedule_init(&s);
        for (uint64_t i = 0; i < 100; i++)
            assert_int_equal(schedule_key(&s, i), 0);
    }
}

static void test_gaps(void **state)
{
    struct schedule s = {.seed = 1, .keys = 1};
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        double gap = schedule_gap(&s, i);
        assert_true(gap >= 0);
        sum += gap;
        squares += gap * gap;
    }
    assert_true(fabs(sum / DRAWS - 1) < 0.02);
    assert_true(fabs(squares / DRAWS - 2) < 0.1); /* of an exponential law */
}

static void test_shares(void **state)
{
    struct schedule s = {.seed = 1, .keys = 1};
    unsigned aborts = 0, both = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        bool is_abort = schedule_is_among(&s, DRAW_ABORT, i, 10);
        aborts += is_abort;
        both += is_abort && schedule_is_among(&s, DRAW_RANGE, i, 10);
        assert_false(schedule_is_among(&s, DRAW_ABORT, i, 0));
        assert_true(schedule_is_among(&s, DRAW_ABORT, i, 100));
    }
    assert_true(abs((int)aborts - DRAWS / 10) < 1000);
    assert_true(abs((int)both - DRAWS / 100) < 400); /* the purposes are independent */
}

static void test_paths(void **state)
{
    static const struct {
        const char *line, *path; /* NULL: skipped */
    } rows[] = {
        {"/a?b=c", "/a?b=c"},
        {"  http://host:80/x/y ", "/x/y"},
        {"https://host", "/"},
        {"a/b", NULL},
        {"/a b", NULL},
        {"1.2.3.4 - - [10/Oct/2024:13:55:36 +0000] \"GET /log?x=1 HTTP/1.1\" 200 5 \"http://r/\" \"curl\"",
         "/log?x=1"},
        {"1.2.3.4 - - [10/Oct/2024:13:55:36 +0000] \"HEAD /h HTTP/1.0\" 200 0", "/h"},
        {"1.2.3.4 - - [10/Oct/2024:13:55:36 +0000] \"POST /p HTTP/1.1\" 200 5", NULL},
        {"1.2.3.4 - - [10/Oct/2024:13:55:36 +0000] \"\\x16\\x03\" 400 5", NULL},
        {"{\"method\":\"GET\",\"uri\":\"/j\",\"status\":200}", "/j"},
        {"{\"request\":\"GET /r HTTP/1.1\"}", "/r"},
        {"{\"url\":\"http://h/u?v\"}", "/u?v"},
        {"{\"method\":\"POST\",\"uri\":\"/j\"}", NULL},
        {"{\"uri\":7}", NULL},
        {"{broken", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct paths p = {0};
        assert_int_equal(paths_add_line(&p, span_of(rows[i].line)), 0);
        if (p.n != (rows[i].path != NULL) || p.skipped != (rows[i].path == NULL) ||
            (p.n == 1 && !span_eq(p.path[0], span_of(rows[i].path))))
            fail_msg("%s", rows[i].line);
        paths_fini(&p);
    }
    struct paths p = {0};
    assert_int_equal(paths_add_line(&p, SPAN("# comment")), 0);
    assert_int_equal(paths_add_line(&p, SPAN("")), 0);
    assert_int_equal(p.n + p.skipped, 0);
    paths_fini(&p);
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        uint64_t at_ms;
    } rows[] = {
        {"10/Oct/2024:13:55:36 +0000", UINT64_C(1728568536000)},
        {"10/Oct/2024:15:55:36 +0200", UINT64_C(1728568536000)},
        {"2024-10-10T13:55:36Z", UINT64_C(1728568536000)},
        {"2024-10-10T13:55:36.250+00:00", UINT64_C(1728568536250)},
        {"2024-10-10T13:55:36", PATHS_NO_TIME},
        {"yesterday", PATHS_NO_TIME},
        {"", PATHS_NO_TIME},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (paths_time_of(span_of(rows[i].text)) != rows[i].at_ms)
            fail_msg("%s", rows[i].text);
}

static void test_replay(void **state)
{
    static const struct {
        const char *lines[4];
        uint64_t at_ms[4];
    } rows[] = {
        /* to the millisecond; written when a request ended, so one may be earlier than its forerunner */
        {{"{\"uri\":\"/a\",\"msec\":100.250}", "{\"uri\":\"/b\",\"ts\":\"101.000\"}",
          "{\"uri\":\"/c\",\"msec\":100.5}", "/d"},
         {0, 750, 750, 750}},
        /* whole seconds: three of one second, then one two seconds later */
        {{"h - - [10/Oct/2024:13:55:36 +0000] \"GET /a HTTP/1.1\" 200 5",
          "h - - [10/Oct/2024:13:55:36 +0000] \"GET /b HTTP/1.1\" 200 5",
          "h - - [10/Oct/2024:13:55:36 +0000] \"GET /c HTTP/1.1\" 200 5",
          "h - - [10/Oct/2024:13:55:38 +0000] \"GET /d HTTP/1.1\" 200 5"},
         {0, 333, 666, 2000}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct paths p = {0};
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(paths_add_line(&p, span_of(rows[i].lines[k])), 0);
        assert_null(paths_replay(&p));
        assert_int_equal(p.n, 4);
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(p.at_ms[k], rows[i].at_ms[k]);
        paths_fini(&p);
    }
    struct paths p = {0};
    assert_int_equal(paths_add_line(&p, SPAN("/a")), 0);
    assert_non_null(paths_replay(&p));
    paths_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf),   cmocka_unit_test(test_one_key), cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_shares), cmocka_unit_test(test_paths),   cmocka_unit_test(test_times),
        cmocka_unit_test(test_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
