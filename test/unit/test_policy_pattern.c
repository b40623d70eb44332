#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/pattern.h"

static const struct {
    const char *pattern, *text;
    bool matches;
} rows[] = {
    {"", "", true},
    {"", "a", false},
    {"a", "", false},
    {"a", "a", true},
    {"a", "A", false},
    {"abc", "ab", false},
    {"*", "", true},
    {"*", "a/b?c", true},
    {"**", "", true},
    {"a*", "a", true},
    {"a*", "abc", true},
    {"a*", "ba", false},
    {"*a", "a", true},
    {"*a", "bca", true},
    {"*a", "ab", false},
    {"a*a", "a", false},
    {"a*a", "aa", true},
    {"a*a", "aba", true},
    {"*ab*", "xaab", true},
    {"*ab*ab*", "xab", false},
    {"*ab*ab*", "abab", true},
    {"*ab*ab", "abab", true},
    {"*ab*ab", "abxabx", false},
    {"a*b*c", "abxbxc", true},
    {"a*b*c", "acb", false},
    {"/x/*", "/x/", true},
    {"/x/*", "/x", false},
    {"utm_*", "utm_source", true},
};

static void test_matches(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (pattern_matches(span_of(rows[i].pattern), span_of(rows[i].text)) != rows[i].matches)
            fail_msg("\"%s\" and \"%s\"", rows[i].pattern, rows[i].text);
    assert_true(pattern_matches(SPAN("*"), (struct span){0}));
    assert_false(pattern_matches(SPAN("a*"), (struct span){0}));
}

/* What a star stands for is the leftmost that lets the rest match; a text that nearly matches everywhere
 * costs no more than one that does not. */
static void test_long_text(void **state)
{
    static char text[1 << 20];
    memset(text, 'a', sizeof text);
    assert_false(
        pattern_matches(SPAN("*aaaaaaaaaaaaaaab*aaaaaaaaaaaaaaab*c"), (struct span){text, sizeof text}));
    assert_true(pattern_matches(SPAN("*a*a*a*a*a*a*a*a*"), (struct span){text, sizeof text}));
    assert_false(pattern_matches(SPAN("*a*a*a*a*a*a*a*b"), (struct span){text, sizeof text}));
}

static const struct {
    const char *from, *to, *text, *out; /* out NULL: not of the pattern */
} rewrites[] = {
    {"/a", "/b", "/a", "/b"},
    {"/a", "/b", "/a/", NULL},
    {"/old/*", "/new/*", "/old/x/y", "/new/x/y"},
    {"/old/*", "/new/*", "/old/", "/new/"},
    {"/old/*", "/new/*", "/older", NULL},
    {"/*/v1/*", "/v1/*/of/*", "/a/v1/b/v1/c", "/v1/a/of/b/v1/c"},
    {"/*", "/", "/a", "/"},
    {"/*", "/*/*", "/a", "/a/"},
    {"*.php", "*", "/a.php.php", "/a.php"},
};

static void test_rewrites(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rewrites); i++) {
        struct buf out = {0};
        buf_put_lit(&out, "x");
        bool done = pattern_rewrite(&out, span_of(rewrites[i].from), span_of(rewrites[i].to),
                                    span_of(rewrites[i].text));
        const char *expected = rewrites[i].out != NULL ? rewrites[i].out : "";
        if (done != (rewrites[i].out != NULL) || strcmp(text_of(&out) + 1, expected) != 0)
            fail_msg("%s of %s: %s", rewrites[i].from, rewrites[i].text, text_of(&out));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matches), cmocka_unit_test(test_long_text),
                                       cmocka_unit_test(test_rewrites)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
