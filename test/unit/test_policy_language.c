#include "test/unit/policy_heads.h"

#include <stdio.h>

#include "common/check.h"
#include "shield/policy/language.h"

static const struct {
    const char *rfc, *value, *normal; /* NULL: goes as it came */
} rows[] = {
    {"9110 12.5.4", "da, en-gb;q=0.8, en;q=0.7", "da, en-gb;q=0.8, en;q=0.7"},
    {"9110 12.5.4: by quality", "en;q=0.7, da, en-gb;q=0.8", "da, en-gb;q=0.8, en;q=0.7"},
    {"9110 12.5.4: equals stay in order", "en, de;q=0.5, da, fr;q=0.5", "en, da, de;q=0.5, fr;q=0.5"},
    {"5646 2.1.1: case", "EN-gb, De", "en-gb, de"},
    {"9110 5.6.1: white space", " en ,\t de ; q=0.5 ,,", "en, de;q=0.5"},
    {"9110 12.4.2: digits that add nothing", "a;q=1.000, b;q=0.500, c;Q=0.050, d;q=0.125, e;q=1.",
     "a, e, b;q=0.5, d;q=0.125, c;q=0.05"},
    {"9110 12.4.2: q=0", "en, de;q=0, fr;q=0.000", "en"},
    {"9110 12.4.2: q=0 of what * covers", "*, de;q=0", "*, de;q=0"},
    {"9110 12.4.2: q=0 of what another covers", "en, en-gb;q=0, eng;q=0", "en, en-gb;q=0"},
    {"4647 2.1: *", "*;q=0.5", "*;q=0.5"},
    {"each once", "en, EN;q=0.5, de, en;q=0", "en, de"},
    {"4647 2.1: digits", "zh-hans-cn, de-1996, sl-rozaj-1994", "zh-hans-cn, de-1996, sl-rozaj-1994"},
    {"nothing is left", "en;q=0", NULL},
    {"empty", "", NULL},
    {"9110 12.4.2: above 1", "en;q=1.001", NULL},
    {"9110 12.4.2: four digits", "en;q=0.1234", NULL},
    {"9110 12.4.2: no digit", "en;q=", NULL},
    {"9110 12.4.2: a point first", "en;q=.5", NULL},
    {"another parameter", "en;level=1", NULL},
    {"4647 2.1: a digit first", "1en", NULL},
    {"4647 2.1: nine letters", "abcdefghi", NULL},
    {"4647 2.1: an empty subtag", "en--gb", NULL},
    {"4647 2.1: ends with a hyphen", "en-", NULL},
    {"4647 2.1: underscore", "en_GB", NULL},
    {"4647 2.2: extended ranges are another thing", "*-gb", NULL},
};

static void test_normal_form(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_head t;
        struct buf out = {0};
        char line[256];
        snprintf(line, sizeof line, "Accept-Language: %s\n", rows[i].value);
        buf_put_lit(&out, "x");
        bool is_normal = policy_put_languages(request_head(&t, "GET", line), &out);
        if (is_normal != (rows[i].normal != NULL) ||
            strcmp(text_of(&out) + 1, is_normal ? rows[i].normal : "") != 0)
            fail_msg("%s: %d %s", rows[i].rfc, is_normal, text_of(&out));
        buf_fini(&out);
    }
}

static void test_lines(void **state)
{
    struct test_head t;
    struct buf out = {0};
    char line[1024];
    assert_false(policy_put_languages(request_head(&t, "GET", ""), &out));
    assert_true(policy_put_languages(
        request_head(&t, "GET", "Accept-Language: en;q=0.5\nX: 1\nAccept-Language: de\n"), &out));
    assert_string_equal(text_of(&out), "de, en;q=0.5");
    size_t n = (size_t)sprintf(line, "Accept-Language: ");
    for (int i = 0; i < LANGUAGES_MAX; i++)
        n += (size_t)sprintf(line + n, "a-%d,", i);
    strcpy(line + n, "\n");
    assert_true(policy_put_languages(request_head(&t, "GET", line), &out));
    strcpy(line + n, "b\n");
    assert_false(policy_put_languages(request_head(&t, "GET", line), &out));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_normal_form), cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
