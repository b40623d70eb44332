/* Scenarios: what a file says, what is refused, and that every file in the tree is one. */
#include "bench/scenario.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "common/check.h"

static const char *parse(const char *text, struct scenario *s, uint32_t *line)
{
    struct buf b = {0};
    buf_put(&b, text, strlen(text));
    return scenario_parse(s, b, line);
}

static void test_whole(void **state)
{
    struct scenario s;
    uint32_t line;
    assert_null(parse("# cold - what it is for\n"
                      "needs purge-url\n"
                      "\n"
                      "origin size=64k\n"
                      "warm -n 1 /a\n"
                      "wait 2s\n"
                      "load --stampede -c 1000 /cold\n"
                      "at 1s origin status=503\n"
                      "at 2s purge url /cold\n"
                      "gate fetches-per-epoch 1.5\n"
                      "gate failed 0\n"
                      "gate fetches 3\n"
                      "gate p99 50ms",
                      &s, &line));
    assert_true(span_eq(s.name, SPAN("cold")));
    assert_true(span_eq(s.about, SPAN("what it is for")));
    assert_int_equal(s.needs.n, 1);
    assert_int_equal(s.n_steps, 4);
    assert_int_equal(s.steps[2].wait_ms, 2000);
    assert_true(span_eq(s.steps[3].rest, SPAN("--stampede -c 1000 /cold")));
    assert_int_equal(s.n_events, 2);
    assert_int_equal(s.events[1].what, EVENT_PURGE);
    assert_int_equal(s.events[1].at_ms, 2000);
    assert_true(span_eq(s.events[1].rest, SPAN("url /cold")));
    assert_true(s.fetches_per_epoch == 1.5 && s.max_failed == 0 && s.max_fetches == 3);
    assert_int_equal(s.p99_ms, 50);
    scenario_fini(&s);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        uint32_t line;
    } rows[] = {
        {"load /a\n", 1},
        {"# name\nload /a\n", 1},
        {"# a - b\nlaod /a\n", 2},
        {"# a - b\nload /a\nload /b\n", 3},
        {"# a - b\nload /a\nwait 2\n", 3},
        {"# a - b\nload /a\nat 2s origin size=1\nat 1s origin size=1\n", 4},
        {"# a - b\nload /a\nat 2s explode\n", 3},
        {"# a - b\nload /a\nat 2s purge uri /a\n", 3},
        {"# a - b\nload /a\nat 2s purge tag\n", 3},
        {"# a - b\nload /a\nat 2s restart HUP\n", 3},
        {"# a - b\nload /a\nat 2s origin sise=1k\n", 3},
        {"# a - b\norigin size=1q\nload /a\n", 2},
        {"# a - b\norigin size=1k&sise=1k\nload /a\n", 2},
        {"# a - b\nwarm --nn 1 /a\nload /a\n", 2},
        {"# a - b\nload -n 1\n", 2},
        {"# a - b\nload /a\ngate speed 3\n", 3},
        {"# a - b\nload /a\ngate failed few\n", 3},
        {"# a - b\nload /a\ngate fetches few\n", 3},
        {"# a - b\nneeds\nload /a\n", 2},
        {"# a - b\nload /a\nwarm /a\n", 4},
        {"# a - b\n", 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scenario s;
        uint32_t line = 0;
        if (parse(rows[i].text, &s, &line) == NULL || line != rows[i].line)
            fail_msg("row %zu: line %u", i, line);
        scenario_fini(&s);
    }
}

static void test_files_of_the_tree(void **state)
{
    glob_t found;
    assert_int_equal(glob("bench/scenarios/*", 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct scenario s;
        uint32_t line;
        const char *why = scenario_load(&s, found.gl_pathv[i], &line);
        if (why != NULL)
            fail_msg("%s:%u: %s", found.gl_pathv[i], line, why);
        assert_true(span_eq(s.name, span_of(strrchr(found.gl_pathv[i], '/') + 1)));
        scenario_fini(&s);
    }
    globfree(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_files_of_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
