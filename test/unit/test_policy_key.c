#include "test/unit/policy_heads.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/check.h"
#include "shield/policy/key.h"

static const struct {
    const char *why, *host, *path_query, *key, *shown;
} rows[] = {
    {"plain", "example.com", "/a?b=1", "default\nexample.com\n/a?b=1", "//example.com/a?b=1"},
    {"9110 4.2.3: host in any case", "EXAMPLE.Com", "/A?B", "default\nexample.com\n/A?B",
     "//example.com/A?B"},
    {"9110 4.2.3: default port", "example.com:80", "/", "default\nexample.com\n/", "//example.com/"},
    {"9110 4.2.3: empty port", "example.com:", "/", "default\nexample.com\n/", "//example.com/"},
    {"another port", "example.com:8080", "/", "default\nexample.com:8080\n/", "//example.com:8080/"},
    {"a port that ends like it", "example.com:180", "/", "default\nexample.com:180\n/", "//example.com:180/"},
    {"address", "[::1]:80", "/", "default\n[::1]\n/", "//[::1]/"},
    {"address without port", "[::80]", "/", "default\n[::80]\n/", "//[::80]/"},
    {"a trailing dot is kept", "example.com.", "/", "default\nexample.com.\n/", "//example.com./"},
    {"path exactly as sent", "h", "/%7E/../%41//?a=2&a=1", "default\nh\n/%7E/../%41//?a=2&a=1",
     "//h/%7E/../%41//?a=2&a=1"},
    {"an empty query is a query", "h", "/?", "default\nh\n/?", "//h/?"},
    {"HTTP/1.0 without Host", "", "/", "default\n\n/", "///"},
};

static struct config cfg = {.origins = {{.name = (char *)"default"}, {.name = (char *)"img"}}};
static const struct http_head no_head;

static void test_keys(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf key = {0}, shown = {0};
        struct key_request r = {.config = &cfg,
                                .route = &cfg.fallback,
                                .head = &no_head,
                                .target = {span_of(rows[i].host), span_of(rows[i].path_query)}};
        buf_put_lit(&key, "x");
        assert_true(policy_key(&key, &r));
        if (strcmp(text_of(&key) + 1, rows[i].key) != 0)
            fail_msg("%s: %s", rows[i].why, text_of(&key));
        policy_key_show(&shown, span_of(rows[i].key));
        assert_string_equal(text_of(&shown), rows[i].shown);
        buf_fini(&key);
        buf_fini(&shown);
    }
}

/* ---- path and query ---- */

#define TEXTS(...)                                                                \
    {                                                                             \
        (char *[]){__VA_ARGS__}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *) \
    }
static char utm[] = "utm_*", fbclid[] = "fbclid", a_[] = "a", b_[] = "b", any[] = "*", filter[] = "filter[*]",
            odd[] = "*x y";

static const struct config_route drop = {.key = {.drop_query = true}};
static const struct config_route sorted = {.key = {.sort_query = true}};
static const struct config_route ignore = {.key = {.query_ignore = TEXTS(utm, fbclid, filter, odd)}};
static const struct config_route allow = {.key = {.query_allow = TEXTS(a_, filter)}};
static const struct config_route both = {
    .key = {.query_allow = TEXTS(any), .query_ignore = TEXTS(b_), .sort_query = true}};
static const struct config_route none = {.key = {.query_ignore = TEXTS(any)}};
static const struct config_route moved = {.rewrite_from = (char *)"/old/*", .rewrite_to = (char *)"/new/*"};
static const struct config_route bare = {
    .rewrite_from = (char *)"/x*", .rewrite_to = (char *)"*", .key = {.drop_query = true}};

static const struct {
    const struct config_route *route;
    const char *why, *sent, *upstream;
} queries[] = {
    {&drop, "without its query", "/a?b=1&c", "/a"},
    {&drop, "nor the mark alone", "/a?", "/a"},
    {&drop, "none", "/a", "/a"},
    {&drop, "9112 3.2.1: no path", "?b", "/"},
    {&drop, "a mark in the query", "/a?b?c", "/a"},

    {&sorted, "by name", "/?b=1&a=2&c", "/?a=2&b=1&c"},
    {&sorted, "values of one name in their order", "/?b=2&a=9&b=1&a=3", "/?a=9&a=3&b=2&b=1"},
    {&sorted, "one name in two spellings", "/?%62=2&c&b=1&a", "/?a&%62=2&b=1&c"},
    {&sorted, "a shorter name first", "/?ab=1&a=2&=3", "/?=3&a=2&ab=1"},
    {&sorted, "the name ends at the first =", "/?a=b=c&a", "/?a=b=c&a"},
    {&sorted, "nothing altered", "/?z=%2f+%20&%=%4&a=%26", "/?%=%4&a=%26&z=%2f+%20"},
    {&sorted, "; is of the value", "/?b=1;a=2&a", "/?a&b=1;a=2"},
    {&sorted, "empty ones say nothing", "/?&&b&&a&", "/?a&b"},
    {&sorted, "nothing but empty ones", "/?&&", "/"},
    {&sorted, "the mark alone", "/?", "/"},
    {&sorted, "9112 3.2.1: no path", "?b&a", "/?a&b"},

    {&ignore, "those ignored", "/a?utm_source=x&b=1&fbclid=2&c&utm_=", "/a?b=1&c"},
    {&ignore, "the order stays", "/a?c=1&b=2&fbclid", "/a?c=1&b=2"},
    {&ignore, "all of it", "/a?utm_a&fbclid=", "/a"},
    {&ignore, "names in full and case", "/a?xutm_=1&fbclids=2&UTM_a=3", "/a?xutm_=1&fbclids=2&UTM_a=3"},
    {&ignore, "no other spelling", "/a?%75tm%5Fsource=x&%66%62clid&ok=%75tm_", "/a?ok=%75tm_"},
    {&ignore, "no other spelling of brackets", "/a?filter%5Bx%5D=1&filter[y]=2&b", "/a?b"},
    {&ignore, "+ is a space", "/a?x+y=1&x%20y=2&ax+y&x%2By=3", "/a?x%2By=3"},
    {&ignore, "what is no escape stays", "/a?%7=1&%zz=2&utm_%=3&%75%=4", "/a?%7=1&%zz=2&%75%=4"},
    {&ignore, "%00 hides nothing", "/a?utm_%00=1&%00utm_=2", "/a?%00utm_=2"},
    {&ignore, "%26 parts nothing", "/a?b=1%26utm_a=2", "/a?b=1%26utm_a=2"},
    {&ignore, "; parts nothing", "/a?utm_a=1;b=2&c=3;utm_b=4", "/a?c=3;utm_b=4"},

    {&allow, "only those allowed", "/a?b=1&a=2&c&a=3&filter[z]", "/a?a=2&a=3&filter[z]"},
    {&allow, "in any spelling, and as sent", "/a?%61=1&filter%5bz%5d=2&aa&A", "/a?%61=1&filter%5bz%5d=2"},
    {&allow, "none of them", "/a?b", "/a"},
    {&both, "allowed, not ignored, sorted", "/a?c&b&a", "/a?a&c"},
    {&none, "every name, also the empty one", "/a?=1&b", "/a"},

    {&moved, "another path", "/old/a/b?q", "/new/a/b?q"},
    {&moved, "another path with the mark alone", "/old/?", "/new/?"},
    {&moved, "the path as it is", "/older?x=/old/a", "/older?x=/old/a"},
    {&moved, "9112 3.2.1: no path", "?q", "/?q"},
    {&bare, "a path begins with a slash", "/xyz?q", "/yz"},
    {&bare, "is never empty", "/x", "/"},
    {&bare, "and has no second one", "/x/y", "/y"},
};

static void test_queries(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        struct buf out = {0};
        buf_put_lit(&out, "x");
        policy_path_query(&out, queries[i].route, i % 2 == 0 ? METHOD_GET : METHOD_HEAD,
                          span_of(queries[i].sent));
        if (strcmp(text_of(&out) + 1, queries[i].upstream) != 0)
            fail_msg("%s: %s gives %s", queries[i].why, queries[i].sent, text_of(&out) + 1);
        struct key_request r = {.config = &cfg,
                                .route = queries[i].route,
                                .head = &no_head,
                                .target = {SPAN("h"), span_of(queries[i].sent)}};
        struct buf key = {0};
        assert_true(policy_key(&key, &r)); /* the origin is asked as it is keyed */
        assert_true(span_eq(policy_key_path_query(buf_span(&key)), span_of(queries[i].upstream)));
        buf_fini(&key);
        buf_fini(&out);
    }
}

/* What has no key of its own keeps its query; the path is another for all. */
static void test_other_methods(void **state)
{
    static const struct config_route route = {.rewrite_from = (char *)"*",
                                              .rewrite_to = (char *)"/x*",
                                              .key = {.drop_query = true, .sort_query = true}};
    struct buf out = {0};
    policy_path_query(&out, &route, METHOD_POST, SPAN("/a?b&&a"));
    buf_put_lit(&out, " ");
    policy_path_query(&out, &route, METHOD_OPTIONS, SPAN("*"));
    assert_string_equal(text_of(&out), "/x/a?b&&a *");
    buf_fini(&out);
}

/* The same as an insertion sort that nobody can get wrong, on queries of few names. */
static void test_sort_by_chance(void **state)
{
    unsigned seed = 20;
    for (int round = 0; round < 2000; round++) {
        char sent[256] = "/?", names[40];
        int n = 1 + (int)((seed = seed * 1103515245 + 12345) >> 16) % 40;
        for (int i = 0; i < n; i++) {
            names[i] = "abc"[((seed = seed * 1103515245 + 12345) >> 16) % 3];
            sprintf(sent + strlen(sent), "%s%c=%d", i > 0 ? "&" : "", names[i], i);
        }
        char expected[256] = "/";
        for (char c = 'a'; c <= 'c'; c++)
            for (int i = 0; i < n; i++)
                if (names[i] == c)
                    sprintf(expected + strlen(expected), "%s%c=%d", expected[1] == '\0' ? "?" : "&", c, i);
        struct buf out = {0};
        policy_path_query(&out, &sorted, METHOD_GET, span_of(sent));
        assert_string_equal(text_of(&out), expected);
        buf_fini(&out);
    }
}

static void test_long_query(void **state)
{
    struct buf sent = {0}, out = {0};
    buf_put_lit(&sent, "/?");
    for (int i = 0; i < 2000; i++)
        buf_printf(&sent, "&%c%c=", 'z' - i % 26, 'a' + i / 77);
    assert_true(sent.len > 8000);
    policy_path_query(&out, &sorted, METHOD_GET, buf_span(&sent));
    assert_false(out.failed);
    assert_int_equal(out.len, sent.len - 1); /* the empty one before the first */
    for (size_t i = 3; i + 4 < out.len; i += 4)
        assert_true(memcmp(out.p + i - 1, out.p + i + 3, 2) <= 0);
    buf_fini(&sent);
    buf_fini(&out);
}

/* ---- parts behind the URI's ---- */

static char x_a[] = "x-a", x_b[] = "x-b", accept_encoding[] = "accept-encoding", lang[] = "lang",
            plan[] = "plan";
static struct config_class classes[] = {
    {(char *)"device",
     (char *)"user-agent",
     {(struct config_pair[]){{(char *)"phone", (char *)"*Mobile*"}, {(char *)"robot", (char *)"*bot*"}}, 2}},
    {(char *)"tongue", (char *)"accept-language", {(struct config_pair[]){{(char *)"de", (char *)"de*"}}, 1}},
};
static const struct config_route by_headers = {.key = {.headers = TEXTS(x_a, x_b)}};
static const struct config_route by_encoding = {.key = {.headers = TEXTS(accept_encoding)}};
static const struct config_route by_cookies = {.key = {.cookies = TEXTS(lang, plan)}};
static const struct config_route by_classes = {.key = {.classes = classes, .n_classes = 2}};
static const struct config_route by_scheme = {.key = {.scheme = true}};
static const struct config_route by_all = {
    .origin = 1,
    .key = {
        .headers = TEXTS(x_a), .cookies = TEXTS(lang), .classes = classes, .n_classes = 1, .scheme = true}};

static struct buf key_of(const struct config_route *route, const char *lines, const char *client_ip)
{
    struct test_head t;
    struct buf key = {0};
    struct key_request r = {.config = &cfg,
                            .route = route,
                            .head = request_head(&t, "GET", lines),
                            .target = {SPAN("h"), SPAN("/p?q")},
                            .client_ip = span_of(client_ip)};
    assert_true(policy_key(&key, &r));
    assert_false(key.failed);
    return key;
}

static const struct {
    const char *why;
    const struct config_route *route;
    const char *a, *b;
    bool same;
} pairs[] = {
    {"absent and empty", &by_headers, "", "X-A:\n", false},
    {"values", &by_headers, "X-A: 1\n", "X-A: 2\n", false},
    {"names in any case, unkeyed fields", &by_headers, "X-A: 1\n", "x-a: 1\nX-C: 3\n", true},
    {"several lines are one", &by_headers, "X-A: 1\nX-A: 2\n", "X-A: 1, 2\n", true},
    {"in their order", &by_headers, "X-A: 1\nX-A: 2\n", "X-A: 2\nX-A: 1\n", false},
    {"one field's value in another", &by_headers, "X-A: 1\n", "X-B: 1\n", false},
    {"9110 7.6.1: not for the origin", &by_headers, "Connection: x-a\nX-A: 1\n", "", true},
    {"in the form that goes upstream", &by_encoding, "Accept-Encoding: gzip, br;q=0.1\n",
     "Accept-Encoding: br, gzip\n", true},
    {"a value that looks like a part", &by_headers, "X-A: 1\nX-B: 2\n", "X-A: 1\xff\xff\xff\xff\n", false},

    {"cookies that are not keyed", &by_cookies, "Cookie: lang=de; id=1\n", "Cookie: id=2;lang=de\n", true},
    {"cookies in any order", &by_cookies, "Cookie: lang=de; plan=x\n", "Cookie: plan=x; lang=de\n", true},
    {"on several lines", &by_cookies, "Cookie: lang=de\nCookie: plan=x\n", "Cookie: plan=x; lang=de\n", true},
    {"an absent cookie and an empty one", &by_cookies, "Cookie: id=1\n", "Cookie: lang=\n", false},
    {"no Cookie, none that is keyed", &by_cookies, "", "Cookie: id=1\n", true},
    {"values of cookies", &by_cookies, "Cookie: lang=de\n", "Cookie: lang=en\n", false},
    {"a cookie twice", &by_cookies, "Cookie: lang=de; lang=en\n", "Cookie: lang=de\n", false},
    {"a cookie twice, and the other way", &by_cookies, "Cookie: lang=de; lang=en\n",
     "Cookie: lang=en; lang=de\n", false},
    {"names of cookies have a case", &by_cookies, "Cookie: LANG=de\n", "", true},
    {"a cookie that is no pair", &by_cookies, "Cookie: lang\n", "", true},
    {"one cookie's value in another", &by_cookies, "Cookie: lang=x\n", "Cookie: plan=x\n", false},

    {"of one class", &by_classes, "User-Agent: A Mobile 1\n", "User-Agent: B Mobile bot\n", true},
    {"of two", &by_classes, "User-Agent: A Mobile 1\n", "User-Agent: bot\n", false},
    {"of none", &by_classes, "User-Agent: x\n", "", true},
    {"9110 7.6.1: of a header for us alone", &by_classes, "Connection: user-agent\nUser-Agent: Mobile\n", "",
     true},
    {"classes of two headers", &by_classes, "User-Agent: Mobile\n", "Accept-Language: de\n", false},
    {"a class of several lines", &by_classes, "Accept-Language: de\nAccept-Language: en\n",
     "Accept-Language: de-AT\n", true},
};

static void test_pairs(void **state)
{
    cfg.cache.normalise_encoding = true;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct buf a = key_of(pairs[i].route, pairs[i].a, ""), b = key_of(pairs[i].route, pairs[i].b, "");
        if (span_eq(buf_span(&a), buf_span(&b)) != pairs[i].same)
            fail_msg("%s: \"%s\" and \"%s\"", pairs[i].why, pairs[i].a, pairs[i].b);
        buf_fini(&a);
        buf_fini(&b);
    }
}

static void test_scheme(void **state)
{
    static const struct {
        const char *why, *lines, *client_ip;
        bool is_https;
    } schemes[] = {
        {"the listener's", "", "10.0.0.1", false},
        {"an edge's", "X-Forwarded-Proto: https\n", "10.0.0.1", true},
        {"an edge's in any case", "X-Forwarded-Proto: Https\n", "10.255.0.1", true},
        {"a v6 edge's", "X-Forwarded-Proto: https\n", "2001:db8::9", true},
        {"a mapped edge's", "X-Forwarded-Proto: https\n", "::ffff:10.0.0.1", true},
        {"an edge's http", "X-Forwarded-Proto: http\n", "10.0.0.1", false},
        {"nobody's", "X-Forwarded-Proto: https\n", "11.0.0.1", false},
        {"who has no address", "X-Forwarded-Proto: https\n", "", false},
        {"no scheme", "X-Forwarded-Proto: ftp\n", "10.0.0.1", false},
        {"two in one", "X-Forwarded-Proto: https, http\n", "10.0.0.1", false},
        {"two", "X-Forwarded-Proto: https\nX-Forwarded-Proto: https\n", "10.0.0.1", false},
    };
    struct netaddr_cidr trusted[2];
    assert_null(netaddr_cidr_parse(SPAN("10.0.0.0/8"), &trusted[0]));
    assert_null(netaddr_cidr_parse(SPAN("2001:db8::/32"), &trusted[1]));
    cfg.edges_trusted = (struct config_cidrs){trusted, 2};
    struct buf plain = key_of(&by_scheme, "", "");
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct buf key = key_of(&by_scheme, schemes[i].lines, schemes[i].client_ip);
        if (span_eq(buf_span(&key), buf_span(&plain)) == schemes[i].is_https)
            fail_msg("%s", schemes[i].why);
        buf_fini(&key);
    }
    buf_fini(&plain);
    cfg.edges_trusted = (struct config_cidrs){0};
}

/* Reads a key's parts back: what can be read in one way only, no client can forge. Gives their number. */
static unsigned parts_of(struct span key, char letters[8], struct span names[8], struct span values[8])
{
    struct span rest = span_from(key, policy_key_uri(key).len);
    unsigned n = 0;
    while (rest.len > 0) {
        uint32_t length;
        assert_int_equal(rest.p[0], '\n');
        letters[n] = rest.p[1];
        const char *end = memchr(rest.p + 2, '\n', rest.len - 2);
        assert_non_null(end);
        names[n] = (struct span){rest.p + 2, (size_t)(end - rest.p) - 2};
        memcpy(&length, end + 1, sizeof length);
        rest = span_from(rest, (size_t)(end - rest.p) + 5);
        values[n] = (struct span){rest.p, length == UINT32_MAX ? 0 : length};
        assert_true(values[n].len <= rest.len);
        rest = span_from(rest, values[n++].len);
    }
    return n;
}

/* Bytes by chance, among them those that a key is written with. */
static void put_noise(char *out, unsigned *seed)
{
    static const char bytes[] = "shkc\xff\x01\x02\x04=;, &?/xlang-a";
    unsigned n = ((*seed = *seed * 1103515245 + 12345) >> 16) % 24;
    for (unsigned i = 0; i < n; i++)
        *out++ = bytes[((*seed = *seed * 1103515245 + 12345) >> 16) % (sizeof bytes - 1)];
    *out = '\0';
}

static void test_no_part_is_forged(void **state)
{
    unsigned seed = 7;
    for (int round = 0; round < 5000; round++) {
        char header[32], cookie[32], agent[32], lines[160], expected[64] = "lang=";
        put_noise(header, &seed);
        put_noise(cookie, &seed);
        put_noise(agent, &seed);
        cookie[strcspn(cookie, ";")] = '\0';
        snprintf(lines, sizeof lines, "X-A: %s\nCookie: lang=%s\nUser-Agent: %s\n", header, cookie, agent);
        struct buf key = key_of(&by_all, lines, "");
        char letters[8];
        struct span names[8], values[8];
        assert_int_equal(parts_of(buf_span(&key), letters, names, values), 4);
        assert_memory_equal(letters, "shkc", 4);
        assert_true(span_eq(names[1], SPAN("x-a")) && span_eq(names[2], SPAN("lang")) &&
                    span_eq(names[3], SPAN("device")));
        assert_true(span_eq(values[0], SPAN("http")) && values[3].len == 0);
        assert_true(span_eq(values[1], span_trim(span_of(header))));
        strcat(expected, cookie);
        assert_true(span_eq(values[2], span_trim(span_of(expected))));
        assert_true(span_eq(policy_key_uri(buf_span(&key)), SPAN("img\nh\n/p?q")));
        struct buf shown = {0};
        policy_key_show(&shown, buf_span(&key)); /* and it tells no secrets */
        assert_true(span_eq(buf_span(&shown), SPAN("//h/p?q")));
        buf_fini(&shown);
        buf_fini(&key);
    }
}

static void test_long_parts(void **state)
{
    static char lines[2 * POLICY_KEY_PARTS_MAX];
    struct test_head t;
    for (int too_long = 0; too_long < 2; too_long++) {
        struct buf key = {0};
        unsigned around = 2 * (2 + 3 + 1 + 4); /* "\nhx-a\n" and the length; X-B is absent */
        sprintf(lines, "X-A: %0*d\n", (int)(POLICY_KEY_PARTS_MAX - around) + too_long, 1);
        struct key_request r = {.config = &cfg,
                                .route = &by_headers,
                                .head = request_head(&t, "GET", lines),
                                .target = {SPAN("h"), SPAN("/")}};
        assert_int_equal(policy_key(&key, &r), !too_long);
        assert_int_equal(key.len, strlen("default\nh\n/") + (too_long ? 0 : POLICY_KEY_PARTS_MAX));
        buf_fini(&key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_queries),
        cmocka_unit_test(test_other_methods), cmocka_unit_test(test_sort_by_chance),
        cmocka_unit_test(test_long_query),    cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_scheme),        cmocka_unit_test(test_no_part_is_forged),
        cmocka_unit_test(test_long_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
