#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/http_path.h"

static const struct {
    const char *path, *plain, *resolved, *bare;
    bool is_plain;
} rows[] = {
    {"/", "/", "/", "/", true},
    {"/a/b.c", "/a/b.c", "/a/b.c", "/a/b.c", true},
    {"/a/b/", "/a/b/", "/a/b/", "/a/b/", true},
    {"*", "*", "*", "*", true},
    {"", "", "", "", true},
    /* escapes: RFC 3986 sections 6.2.2.1 and 6.2.2.2, and those of delimiters that origins decode too */
    {"/%61dmin/", "/admin/", "/admin/", "/admin/", false},
    {"/%7euser/%c3%A9", "/~user/%C3%A9", "/~user/%C3%A9", "/~user/%C3%A9", false},
    {"/a%2fb%2Fc", "/a/b/c", "/a/b/c", "/a/b/c", false},
    {"/%2561", "/%2561", "/%2561", "/%2561", false}, /* decoded once, never twice */
    {"/%2a%3f%23%20%00%7f", "/%2A%3F%23%20%00%7F", "/%2A%3F%23%20%00%7F", "/%2A%3F%23%20%00%7F", false},
    {"/100%", "/100%", "/100%", "/100%", false},
    {"/%4", "/%4", "/%4", "/%4", false},
    {"/%zz%4g", "/%zz%4g", "/%zz%4g", "/%zz%4g", false},
    /* dot segments: RFC 3986 section 5.2.4 */
    {"/x/../admin/", "/x/../admin/", "/admin/", "/admin/", false},
    {"/a/b/c/./../../g", "/a/b/c/./../../g", "/a/g", "/a/g", false},
    {"/../../a", "/../../a", "/a", "/a", false},
    {"/a/..", "/a/..", "/", "/", false},
    {"/a/b/..", "/a/b/..", "/a/", "/a/", false},
    {"/a/.", "/a/.", "/a/", "/a/", false},
    {"/.", "/.", "/", "/", false},
    {"/..", "/..", "/", "/", false},
    {"/.well-known/x", "/.well-known/x", "/.well-known/x", "/.well-known/x", false},
    {"/...", "/...", "/...", "/...", false},
    {"/x/%2e%2E/admin", "/x/../admin", "/admin", "/admin", false},
    {"/x%2f..%2fadmin", "/x/../admin", "/admin", "/admin", false},
    /* slashes */
    {"//admin///x", "//admin///x", "/admin/x", "/admin/x", false},
    {"/a//", "/a//", "/a/", "/a/", false},
    {"//../a", "//../a", "/a", "/a", false},
    {"/x\\..\\admin", "/x\\..\\admin", "/admin", "/admin", false},
    {"/x%5c..%5Cadmin", "/x\\..\\admin", "/admin", "/admin", false},
    /* parameters of segments */
    {"/admin;v=1/x", "/admin;v=1/x", "/admin;v=1/x", "/admin/x", false},
    {"/x/..;/admin", "/x/..;/admin", "/x/..;/admin", "/admin", false},
    {"/x/%2e.%3b/admin", "/x/..;/admin", "/x/..;/admin", "/admin", false},
    {"/a;b;c", "/a;b;c", "/a;b;c", "/a", false},
    {"/a/;x", "/a/;x", "/a/;x", "/a/", false},
};

static void check(const char *what, const char *path, const char *got, size_t n, const char *expected)
{
    if (!span_eq((struct span){got, n}, span_of(expected)))
        fail_msg("%s of %s: %.*s, not %s", what, path, (int)n, got, expected);
}

static void test_forms(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char plain[64], again[64], resolved[64], bare[64];
        struct span path = span_of(rows[i].path);
        size_t n = http_path_plain(plain, path);
        check("plain", rows[i].path, plain, n, rows[i].plain);
        check("plain again", rows[i].path, again, http_path_plain(again, (struct span){plain, n}),
              rows[i].plain);
        check("resolved", rows[i].path, resolved,
              http_path_resolved(resolved, (struct span){plain, n}, false), rows[i].resolved);
        check("bare", rows[i].path, bare, http_path_resolved(bare, (struct span){plain, n}, true),
              rows[i].bare);
        assert_int_equal(http_path_is_plain(path), rows[i].is_plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
