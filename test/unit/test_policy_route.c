#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "test/unit/alloc_fail.h"
#include "common/check.h"
#include "shield/ops/config_load.h"
#include "shield/policy/route.h"

#include "shield/policy/pattern.h"

static struct config *config_of(const char *routes)
{
    struct buf yaml = {0}, errors = {0};
    struct config *c = NULL;
    buf_put_span(&yaml, SPAN("origins: {default: {servers: [http://o]}}\nroutes:\n"));
    buf_put_span(&yaml, span_of(routes));
    if (config_load_text(&c, "f", buf_span(&yaml), NULL, 0, true, &errors) != 0 || errors.len > 0)
        fail_msg("%s%.*s", routes, SPAN_FMT(errors));
    buf_fini(&yaml);
    buf_fini(&errors);
    return c;
}

/* The name of the route that a request takes; `text` is its head without the empty line. */
static const char *route_of(const struct config *c, const char *text)
{
    static struct http_field fields[64];
    static const struct http1_limits limits = {
        .max_head = 1 << 20, .max_fields = 64, .max_url = 1 << 20, .max_chunk_ext = 1, .max_trailers = 1};
    struct http_head head = {.fields = fields, .cap_fields = 64};
    struct http1_scan scan = {0};
    struct http1_target target;
    struct buf request = {0};
    buf_printf(&request, "%s\r\n\r\n", text);
    struct http1_result r = http1_parse_request(&scan, request.p, request.len, &limits, &head);
    if (r.status != HTTP1_HEAD)
        fail_msg("%s: %s", text, r.why != NULL ? r.why : "incomplete");
    http1_target(&head, &target);
    const char *name = policy_route(c, &head, &target)->name;
    buf_fini(&request);
    return name;
}

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "ab", false},
        {"ab", "a", false},
        {"*", "", true},
        {"*", "a/b", true},
        {"**", "a", true},
        {"/a*", "/a", true},
        {"/a*", "/a/b/c", true},
        {"/a*", "/b", false},
        {"*.css", ".css", true},
        {"*.css", "/a/b.css", true},
        {"*.css", "/a.css/", false},
        {"/a/*/c", "/a/b/c", true},
        {"/a/*/c", "/a//c", true},
        {"/a/*/c", "/a/c", false},
        {"/a/*/c", "/a/b/x/c", true},
        {"a*a", "a", false},
        {"a*a", "aa", true},
        {"a*a*a", "aa", false},
        {"a*a*a", "aaa", true},
        {"*ab*ab", "abab", true},
        {"*ab*ab", "aab", false},
        {"*aba*ba", "ababa", true},
        {"*aba*ba", "abab", false},
        {"a*bc*d", "aXbcYbcZd", true},
        {"A", "a", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (pattern_matches(span_of(rows[i].pattern), span_of(rows[i].text)) != rows[i].matches)
            fail_msg("%s and %s", rows[i].pattern, rows[i].text);
}

/* By the book: try every run that a star may stand for. */
static bool matches_slowly(const char *p, const char *t)
{
    if (*p == '\0')
        return *t == '\0';
    if (*p == '*')
        return matches_slowly(p + 1, t) || (*t != '\0' && matches_slowly(p, t + 1));
    return *p == *t && matches_slowly(p + 1, t + 1);
}

/* All patterns of up to 5 of "ab*" with all texts of up to 6 of "ab". */
static void test_patterns_all_small_ones(void **state)
{
    static const unsigned patterns[] = {1, 3, 9, 27, 81, 243};
    for (unsigned np = 0; np < ARRAY_LEN(patterns); np++)
        for (unsigned ip = 0; ip < patterns[np]; ip++)
            for (unsigned nt = 0; nt <= 6; nt++)
                for (unsigned it = 0; it < 1u << nt; it++) {
                    char p[8] = "", t[8] = "";
                    for (unsigned i = 0, v = ip; i < np; i++, v /= 3)
                        p[i] = "ab*"[v % 3];
                    for (unsigned i = 0; i < nt; i++)
                        t[i] = "ab"[it >> i & 1];
                    if (pattern_matches(span_of(p), span_of(t)) != matches_slowly(p, t))
                        fail_msg("%s and %s", p, t);
                }
}

static void test_choice(void **state)
{
    struct config *c = config_of("  - { name: css, match: { path: ['*.css', /style/*] } }\n"
                                 "  - { name: host, match: { host: [A.example, '*.b.example', '[::1]'] } }\n"
                                 "  - { name: post, match: { method: [POST, PUT] } }\n"
                                 "  - { name: cookie, match: { cookie: [sid, wp_*] } }\n"
                                 "  - { name: header, match: { header: { X-A: 'v*', X-B: '*' } } }\n"
                                 "  - { name: all, match: { path: /all/*, host: h, method: GET, cookie: all, "
                                 "header: { X-All: 1 } } }\n"
                                 "  - { name: star, match: { path: '*', method: OPTIONS } }\n");
    static const struct {
        const char *request, *route;
    } rows[] = {
        {"GET /a.css HTTP/1.1\r\nHost: x", "css"},
        {"GET /a.css?v=1 HTTP/1.1\r\nHost: x", "css"},
        {"GET /a?v=.css HTTP/1.1\r\nHost: x", "default"}, /* the path alone */
        {"GET /style/ HTTP/1.1\r\nHost: x", "css"},
        {"GET /style HTTP/1.1\r\nHost: x", "default"},
        {"GET http://a.example/a.css HTTP/1.1\r\nHost: x", "css"}, /* the first wins */
        {"GET / HTTP/1.1\r\nHost: a.example", "host"},
        {"GET / HTTP/1.1\r\nHost: A.EXAMPLE:8080", "host"},
        {"GET / HTTP/1.1\r\nHost: a.example.", "host"},
        {"GET / HTTP/1.1\r\nHost: a.example.:80", "host"},
        {"GET http://a.example HTTP/1.1\r\nHost: x", "host"}, /* absolute-form wins: RFC 9112 section 3.2.2 */
        {"GET http://x?a HTTP/1.1\r\nHost: a.example", "default"},
        {"GET / HTTP/1.1\r\nHost: c.B.example", "host"},
        {"GET / HTTP/1.1\r\nHost: b.example", "default"},
        {"GET / HTTP/1.1\r\nHost: [::1]:80", "host"},
        {"GET / HTTP/1.1\r\nHost: [::1]", "host"},
        {"GET / HTTP/1.0", "default"},
        {"POST / HTTP/1.1\r\nHost: x", "post"},
        {"post / HTTP/1.1\r\nHost: x", "default"}, /* exactly: RFC 9110 section 9.1 */
        {"POSTS / HTTP/1.1\r\nHost: x", "default"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: sid=1", "cookie"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b; sid=1", "cookie"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b;sid", "cookie"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=b\r\nCookie: ;; sid = ", "cookie"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: wp_x=1", "cookie"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: a=sid", "default"},
        {"GET / HTTP/1.1\r\nHost: x\r\nCookie: SID=1; sidx=1; xsid=1; =sid", "default"},
        {"GET / HTTP/1.1\r\nHost: x\r\nX-Cookie: sid=1", "default"},
        {"GET / HTTP/1.1\r\nHost: x\r\nx-a: v1\r\nX-B:", "header"},
        {"GET / HTTP/1.1\r\nHost: x\r\nX-A: w\r\nx-a: v1\r\nX-B: b", "header"}, /* any of its lines */
        {"GET / HTTP/1.1\r\nHost: x\r\nX-A: v", "default"},                     /* all of them */
        {"GET / HTTP/1.1\r\nHost: x\r\nX-A: V\r\nX-B: b", "default"},
        {"GET /all/x HTTP/1.1\r\nHost: h\r\nCookie: all=\r\nX-All: 1", "all"},
        {"HEAD /all/x HTTP/1.1\r\nHost: h\r\nCookie: all=\r\nX-All: 1", "default"},
        {"GET /al/x HTTP/1.1\r\nHost: h\r\nCookie: all=\r\nX-All: 1", "default"},
        {"GET /all/x HTTP/1.1\r\nHost: i\r\nCookie: all=\r\nX-All: 1", "default"},
        {"GET /all/x HTTP/1.1\r\nHost: h\r\nX-All: 1", "default"},
        {"GET /all/x HTTP/1.1\r\nHost: h\r\nCookie: all=\r\nX-All: 11", "default"},
        {"OPTIONS * HTTP/1.1\r\nHost: x", "star"},
        {"CONNECT x:443 HTTP/1.1\r\nHost: x:443", "default"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(route_of(c, rows[i].request), rows[i].route) != 0)
            fail_msg("%s: %s", rows[i].request, route_of(c, rows[i].request));
    config_unref(&c);

    c = config_of("  []\n");
    assert_string_equal(route_of(c, "GET /a.css HTTP/1.1\r\nHost: x"), "default");
    config_unref(&c);
}

/* What forbids takes every reading of a path, what permits only what all readings agree on. */
static void test_evasion(void **state)
{
    struct config *deny = config_of("  - { name: admin, match: { path: /admin/* }, deny: on }\n");
    struct config *off = config_of("  - { name: admin, match: { path: /admin/* }, cache: off }\n");
    struct config *ttl = config_of("  - { name: admin, match: { path: /admin/* }, ttl: 1h }\n");
    static const struct {
        const char *path;
        bool forbidden, permitted;
    } rows[] = {
        {"/admin/", true, true},
        {"/admin/x?y", true, true},
        {"/admin", false, false},
        {"/Admin/", false, false}, /* paths have a case: RFC 3986 section 6.2.2.1 */
        {"/x?/admin/", false, false},
        {"/%61dmin/", true, true}, /* the same path in other letters */
        {"/%61%64%6D%69%6e/x", true, true},
        {"/admin%2fx", true, true},
        {"/%2561dmin/", false, false}, /* another path, to all who decode once */
        {"/admin/./x", true, true},
        {"/admin//x", true, true},
        {"/x/../admin/", true, false},
        {"/x/%2e%2e/admin/", true, false},
        {"/x/.%2E/admin/", true, false},
        {"/x%2f..%2fadmin/", true, false},
        {"/x\\..\\admin/", true, false},
        {"/x/..%5cadmin/", true, false},
        {"/./admin/", true, false},
        {"//admin/", true, false},
        {"/%2Fadmin/", true, false},
        {"/../../admin/", true, false},
        {"/admin/../x", true, false}, /* the origin may not resolve it */
        {"/admin/..%2fx", true, false},
        {"/admin;a=1/x", true, false},
        {"/x/..;/admin/", true, false},
        {"/admin/;a", true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char request[128];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x", rows[i].path);
        bool denied = strcmp(route_of(deny, request), "admin") == 0;
        bool uncached = strcmp(route_of(off, request), "admin") == 0;
        bool kept = strcmp(route_of(ttl, request), "admin") == 0;
        if (denied != rows[i].forbidden || uncached != rows[i].forbidden || kept != rows[i].permitted)
            fail_msg("%s: %d %d %d", rows[i].path, denied, uncached, kept);
    }
    config_unref(&deny);
    config_unref(&off);
    config_unref(&ttl);
}

static void test_escapes_in_patterns(void **state)
{
    struct config *c = config_of("  - { name: cafe, match: { path: /caf%c3%a9/* } }\n"
                                 "  - { name: star, match: { path: '/%2a' } }\n"
                                 "  - { name: what, match: { path: '/what%3f' } }\n");
    assert_string_equal(route_of(c, "GET /c%61f%C3%A9/x HTTP/1.1\r\nHost: x"), "cafe");
    assert_string_equal(route_of(c, "GET /%2A HTTP/1.1\r\nHost: x"), "star");
    assert_string_equal(route_of(c, "GET /x HTTP/1.1\r\nHost: x"), "default");
    assert_string_equal(route_of(c, "GET /what%3F HTTP/1.1\r\nHost: x"), "what");
    assert_string_equal(route_of(c, "GET /what? HTTP/1.1\r\nHost: x"), "default");
    config_unref(&c);
}

static void route_blindly(void *ctx)
{
    static struct http_field field;
    struct http_head head = {.fields = &field, .method_text = SPAN("GET"), .method = METHOD_GET};
    struct http1_target target = {.host = SPAN("x"), .path_query = buf_span(ctx)};
    static struct config *c;
    if (c == NULL) {
        alloc_armed = false;
        c = config_of("  - { name: kept, match: { path: '*', method: GET }, ttl: 1h }\n"
                      "  - { name: denied, match: { path: /admin/* }, deny: on }\n");
        alloc_armed = true;
    }
    const char *name = policy_route(c, &head, &target)->name;
    bool failed = atomic_load(&alloc_has_failed);
    alloc_armed = false;
    assert_string_equal(name, failed ? "denied" : "kept");
    if (!failed)
        config_unref(&c);
}

/* A path longer than the stack has room for, with escapes in it. */
static void test_long_paths(void **state)
{
    struct buf path = {0};
    buf_put_lit(&path, "/%41");
    for (int i = 0; i < 4000; i++)
        buf_put_lit(&path, "a");
    assert_int_equal(alloc_fail_each(route_blindly, &path), 1);
    buf_fini(&path);

    struct config *c = config_of("  - { name: end, match: { path: '/*/end' } }\n");
    struct buf request = {0};
    buf_put_lit(&request, "GET /");
    for (int i = 0; i < 20000; i++)
        buf_put_lit(&request, "%61%C3");
    buf_put_lit(&request, "/./end HTTP/1.1\r\nHost: x");
    buf_put(&request, "", 1);
    assert_string_equal(route_of(c, request.p), "end");
    config_unref(&c);
    buf_fini(&request);
}

/* Against a pattern of many stars and a path made for it: no more than a constant for each byte. */
static void test_hostile_paths_take_linear_time(void **state)
{
    struct buf pattern = {0}, text = {0};
    for (int i = 0; i < 1000; i++)
        buf_put_lit(&pattern, "*aab");
    for (int i = 0; i < 1 << 20; i++)
        buf_put_lit(&text, "a");
    for (int i = 0; i < 100; i++) /* a backtracking matcher would not come back */
        assert_false(pattern_matches(buf_span(&pattern), buf_span(&text)));
    buf_fini(&pattern);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_patterns_all_small_ones),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_evasion),
        cmocka_unit_test(test_escapes_in_patterns),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_hostile_paths_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
