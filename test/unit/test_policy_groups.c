#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/groups.h"

static const struct {
    const char *rfc, *values[2], *groups;
} rows[] = {
    {"9875 2", {"\"scripts\""}, "scripts\n"},
    {"9875 3: two", {"\"eurovision-results\", \"australia\""}, "eurovision-results\naustralia\n"},
    {"9875 2: lines are one list", {"\"a\"", "\"b\", \"c\""}, "a\nb\nc\n"},
    {"9875 2: parameters are ignored", {"\"a\";x=1, \"b\";y"}, "a\nb\n"},
    {"9875 2.1: case counts", {"\"A\", \"a\""}, "A\na\n"},
    {"9875 2.1: escapes do not", {"\"a\\\"b\\\\c\", \"\""}, "a\"b\\c\n\n"},
    {"9875 2: commas and spaces inside", {"\"a, b\""}, "a, b\n"},
    {"9875 2: absent", {NULL}, ""},
    {"9875 2: empty", {""}, ""},
    {"9875 2: a token is no string", {"\"a\", b"}, ""},
    {"9875 2: nor is a number", {"1"}, ""},
    {"9875 2: nor an inner list", {"(\"a\" \"b\")"}, ""},
    {"9651 4.2: invalid", {"\"a\", \"b"}, ""},
    {"9651 4.2: one bad line spoils all", {"\"a\"", "\"b\","}, ""},
};

static const char *groups_of(const char *name, const char *const values[2], enum http_method method)
{
    struct test_head t;
    struct buf lines = {0}, out = {0};
    for (int i = 0; i < 2 && values[i] != NULL; i++)
        buf_printf(&lines, "%s: %s\n", name, values[i]);
    buf_put(&lines, "", 1);
    const struct http_head *h = response_head(&t, 200, lines.p);
    if (method == METHOD_COUNT)
        policy_groups(h, &out);
    else
        policy_invalidated_groups(method, h, &out);
    const char *text = text_of(&out);
    buf_fini(&lines);
    buf_fini(&out);
    return text;
}

static void test_groups(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const *values = rows[i].values;
        if (strcmp(groups_of("cache-groups", values, METHOD_COUNT), rows[i].groups) != 0)
            fail_msg("%s: %s", rows[i].rfc, groups_of("cache-groups", values, METHOD_COUNT));
        assert_string_equal(groups_of("Cache-Group-Invalidation", values, METHOD_POST), rows[i].groups);
        assert_string_equal(groups_of("Cache-Group-Invalidation", values, METHOD_OTHER), rows[i].groups);
        assert_string_equal(groups_of("Cache-Group-Invalidation", values, METHOD_GET), "");
        assert_string_equal(groups_of("Cache-Groups", values, METHOD_POST), "");
    }
}

static void test_many(void **state) /* RFC 9875 section 2: 32 groups of 32 characters at least */
{
    struct buf value = {0}, expected = {0};
    for (int i = 0; i < 64; i++) {
        buf_printf(&value, "%s\"%064d\"", i > 0 ? ", " : "", i);
        buf_printf(&expected, "%064d\n", i);
    }
    buf_put(&value, "", 1);
    const char *const values[2] = {value.p, NULL};
    const char *groups = groups_of("Cache-Groups", values, METHOD_COUNT);
    assert_int_equal(strlen(groups), expected.len);
    assert_memory_equal(groups, expected.p, expected.len);
    buf_fini(&value);
    buf_fini(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups), cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
