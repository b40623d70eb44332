/* Options as a table: what is taken, from where, and what is refused. */
#include "bench/flags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/check.h"

struct things {
    bool loud;
    uint64_t count, size, time_ms, kind;
    double share;
    struct span name;
    struct flag_list more;
};

#define AT(f) offsetof(struct things, f)

static const struct flag rows[] = {
    {"loud", 'l', FLAG_BOOL, AT(loud), "off", "", ""},
    {"count", 'c', FLAG_UINT, AT(count), "7", "N", ""},
    {"size", 0, FLAG_BYTES, AT(size), "1k", "BYTES", ""},
    {"time", 'd', FLAG_MS, AT(time_ms), "2s", "TIME", ""},
    {"kind", 0, FLAG_CHOICE, AT(kind), "one", "one|two|three", ""},
    {"share", 0, FLAG_REAL, AT(share), "0.5", "X", ""},
    {"name", 'n', FLAG_TEXT, AT(name), NULL, "TEXT", ""},
    {"more", 'H', FLAG_LIST, AT(more), NULL, "TEXT", ""},
};

static int parse(struct things *t, struct flag_list *rest, char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    const struct flag_group groups[] = {{"", FLAGS(rows), t}};
    return flags_parse(groups, 1, argc, argv, "", rest);
}

static void test_defaults(void **state)
{
    struct things t = {.loud = true};
    struct flag_list rest = {0};
    assert_int_equal(parse(&t, &rest, (char *[]){"x", NULL}), -1);
    assert_false(t.loud);
    assert_int_equal(t.count, 7);
    assert_int_equal(t.size, 1024);
    assert_int_equal(t.time_ms, 2000);
    assert_int_equal(t.kind, 0);
    assert_null(t.name.p);
}

static void test_every_form(void **state)
{
    struct things t = {0};
    struct flag_list rest = {0};
    char *argv[] = {
        "x",       "-l",           "-c12", "http://a", "--size=none", "-d",     "250ms", "--kind", "three",
        "--name=", "--share=1.25", "-H",   "A: b",     "-HC: d",      "--more", "-",     "-",      NULL};
    assert_int_equal(parse(&t, &rest, argv), -1);
    assert_true(t.loud);
    assert_int_equal(t.count, 12);
    assert_true(t.size == FLAG_NONE);
    assert_int_equal(t.time_ms, 250);
    assert_int_equal(t.kind, 2);
    assert_non_null(t.name.p);
    assert_int_equal(t.name.len, 0);
    assert_true(t.share == 1.25);
    assert_int_equal(t.more.n, 3);
    assert_true(span_eq(t.more.item[1], SPAN("C: d")));
    assert_int_equal(rest.n, 2);
    assert_true(span_eq(rest.item[0], SPAN("http://a")));
}

static void test_suffixes(void **state)
{
    static const struct {
        char *text;
        double value;
    } good[] = {{"5k", 5000}, {"0.5k", 500}, {"2m", 2e6}, {"3", 3}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct things t = {0};
        struct flag_list rest = {0};
        assert_int_equal(parse(&t, &rest, (char *[]){"x", "--share", good[i].text, NULL}), -1);
        assert_true(t.share == good[i].value);
    }
}

static void test_refusals(void **state)
{
    static char *const wrong[][2] = {
        {"--unknown", NULL},
        {"-z", NULL},
        {"--count", NULL},
        {"--count=", NULL},
        {"-c", "12x"},
        {"--size", "12q"},
        {"--time", "5"
                   "parsecs"},
        {"--kind", "tw"},
        {"--kind", "one|two"},
        {"--loud=maybe", NULL},
        {"--share", "1.2x"},
        {"--share", "k"},
        {"--share", "1kk"},
        {"--share", "-1"},
        {"--share", "nan"},
        {"--share=", NULL},
        {"-c-1", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct things t = {0};
        struct flag_list rest = {0};
        char *argv[] = {"x", wrong[i][0], wrong[i][1], NULL};
        assert_int_equal(parse(&t, &rest, argv), 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_suffixes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
