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
    static struct config cfg = {.origins = {{.name = (char *)"default"}}};
    struct key_request base = {
        .config = &cfg, .route = &cfg.fallback, .target = {SPAN("Edge.test"), SPAN("/a/b/c?q=1")}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        buf_put_lit(&out, "kept");
        bool good = policy_reference_key(&out, &base, span_of(rows[i].reference));
        buf_put(&out, "", 1);
        const char *expected = rows[i].key != NULL ? rows[i].key : "";
        if (good != (rows[i].key != NULL) || strcmp(out.p + 4, expected) != 0)
            fail_msg("\"%s\" gives %d \"%s\"", rows[i].reference, good, out.p + 4);
        buf_fini(&out);
    }
}

/* The reference has the key that a request for it would have, by the route that this one would take. */
static void test_by_route(void **state)
{
    static char *paths[] = {(char *)"/a/*"};
    static struct config_route route = {.match.paths = {.items = paths, .n = 1},
                                        .origin = 1,
                                        .rewrite_from = (char *)"/a/*",
                                        .rewrite_to = (char *)"/b/*",
                                        .key = {.drop_query = true}};
    static struct config cfg = {
        .origins = {{.name = (char *)"default"}, {.name = (char *)"other"}}, .routes = &route, .n_routes = 1};
    static const struct http_head head = {.method = METHOD_GET, .method_text = {"GET", 3}};
    struct key_request bases[] = {
        {.config = &cfg, .route = &route, .head = &head, .target = {SPAN("h"), SPAN("/a/x?q")}},
        {.config = &cfg, .route = &cfg.fallback, .head = &head, .target = {SPAN("h"), SPAN("/form")}},
    };
    const struct span references[] = {SPAN("y?z"), SPAN("a/y?z")};
    for (size_t i = 0; i < 2; i++) {
        struct buf out = {0};
        assert_true(policy_reference_key(&out, &bases[i], references[i]));
        assert_int_equal(out.len, strlen("other\nh\n/b/y"));
        assert_memory_equal(out.p, "other\nh\n/b/y", out.len);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_references), cmocka_unit_test(test_by_route)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
