#include "shield/policy/reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "common/check.h"

struct row {
    const char *reference, *key; /* key NULL: not ours to invalidate */
};

/* Base http://edge.test/a/b/c?q=1; the resolutions are those of RFC 3986 section 5.4. */
static const struct row rows[] = {
    {"http://edge.test/x", "default\nedge.test\n/x"},
    {"HTTP://EDGE.test/x", "default\nedge.test\n/x"},
    {"https://edge.test/x?y", "default\nedge.test\n/x?y"},
    {"http://edge.test:80/x", "default\nedge.test\n/x"},
    {"http://edge.test", "default\nedge.test\n/"},
    {"http://edge.test?z", "default\nedge.test\n/?z"},
    {"//edge.test/x", "default\nedge.test\n/x"},
    {"/x", "default\nedge.test\n/x"},
    {"/x#fragment", "default\nedge.test\n/x"},
    {"d", "default\nedge.test\n/a/b/d"},
    {"./d", "default\nedge.test\n/a/b/d"},
    {"../d", "default\nedge.test\n/a/d"},
    {"../../../d", "default\nedge.test\n/d"},
    {"..", "default\nedge.test\n/a/"},
    {".", "default\nedge.test\n/a/b/"},
    {"/x/../y/./z", "default\nedge.test\n/y/z"},
    {"d?e=/../f", "default\nedge.test\n/a/b/d?e=/../f"},
    {"?e", "default\nedge.test\n/a/b/c?e"},
    {"", "default\nedge.test\n/a/b/c?q=1"},
    {"#f", "default\nedge.test\n/a/b/c?q=1"},
    {"http://other.test/x", NULL},
    {"//other.test/x", NULL},
    {"http://edge.test:81/x", NULL},
    {"ftp://edge.test/x", NULL},
    {"http:/x", NULL},
    {"http://u@edge.test/x", NULL},
};

static void test_references(void **state)
{
    struct config_origin origin = {.name = (char *)"default"};
    struct http1_target base = {SPAN("Edge.test"), SPAN("/a/b/c?q=1")};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        buf_put_lit(&out, "kept");
        bool good = policy_reference_key(&out, &origin, &base, span_of(rows[i].reference));
        buf_put(&out, "", 1);
        const char *expected = rows[i].key != NULL ? rows[i].key : "";
        if (good != (rows[i].key != NULL) || strcmp(out.p + 4, expected) != 0)
            fail_msg("\"%s\" gives %d \"%s\"", rows[i].reference, good, out.p + 4);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
