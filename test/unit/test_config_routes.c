#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "test/unit/alloc_fail.h"
#include "common/check.h"
#include "shield/ops/config_load.h"

#define ORIGINS "origins: {default: {servers: [http://o]}, api: {servers: [http://a]}}\n"

/* Load `yaml` behind two origins; all problems and warnings go to *errors. */
static struct config *load(const char *yaml, struct buf *errors)
{
    struct buf text = {0};
    struct config *c = NULL;
    buf_put_span(&text, SPAN(ORIGINS));
    buf_put_span(&text, span_of(yaml));
    int err = config_load_text(&c, "f", buf_span(&text), NULL, 0, true, errors);
    assert_int_equal(err == 0, c != NULL);
    buf_fini(&text);
    return c;
}

static struct config *load_ok(const char *yaml)
{
    struct buf errors = {0};
    struct config *c = load(yaml, &errors);
    if (c == NULL || errors.len > 0)
        fail_msg("%s\n%.*s", yaml, SPAN_FMT(errors));
    buf_fini(&errors);
    return c;
}

static void test_a_route_that_says_nothing(void **state)
{
    struct config *c = load_ok("routes: [{}]\n"
                               "cache: {set_cookie: strip, heuristic: off, early_refresh: 2, ttl_jitter: 5}\n"
                               "store: {admit_after: 2}\n"
                               "stale: {if_disconnected: 3s, if_overloaded: 4s, obey_s_maxage: off}\n");
    assert_int_equal(c->n_routes, 1);
    const struct config_route *both[] = {&c->routes[0], &c->fallback};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        const struct config_route *r = both[i];
        assert_string_equal(r->name, i == 0 ? "routes[0]" : "default");
        assert_string_equal(r->origin_name, "default");
        assert_int_equal(r->origin, 0);
        assert_int_equal(r->preset, PRESET_NONE);
        assert_int_equal(r->action, ACTION_PROXY);
        assert_int_equal(r->cache, CACHE_HONOUR);
        assert_true(r->collapse);
        assert_int_equal(r->set_cookie, SET_COOKIE_STRIP);
        assert_false(r->heuristic);
        assert_int_equal(r->early_refresh, 2);
        assert_int_equal(r->ttl_jitter, 5);
        assert_int_equal(r->admit_after, 2);
        assert_int_equal(r->ttl_ms, -1);
        assert_int_equal(r->ttl_min_ms, -1);
        assert_int_equal(r->ttl_max_ms, -1);
        assert_int_equal(r->ttl_default_ms, -1);
        assert_int_equal(r->edge_ttl_ms, -1);
        assert_int_equal(r->stale.while_revalidate_ms, -1);
        assert_int_equal(r->stale.if_error_ms, -1);
        assert_int_equal(r->stale.if_disconnected_ms, 3000);
        assert_int_equal(r->stale.if_overloaded_ms, 4000);
        assert_false(r->stale.obey_s_maxage);
        assert_false(r->key.drop_query || r->key.sort_query || r->key.scheme);
        assert_null(r->rewrite_from);
        assert_null(r->text);
        assert_int_equal(r->match.paths.n + r->n_ttl_by_status + r->key.n_classes, 0);
    }
    config_unref(&c);
    c = load_ok("routes: []\n");
    assert_int_equal(c->n_routes, 0);
    config_unref(&c);
}

static const char everything[] =
    "routes:\n"
    "  - name: one\n"
    "    match: { host: [A.Example, '*.b.example'], path: [/a/%61*, '*.css', /%c3%a9], method: [GET, "
    "M-SEARCH],\n"
    "             cookie: [s_*], header: { X-A: '*b*', Accept: '*' } }\n"
    "    origin: api\n"
    "    rewrite: { from: /a/*, to: /b/* }\n"
    "    cache: force\n"
    "    collapse: off\n"
    "    set_cookie: store\n"
    "    heuristic: off\n"
    "    ttl: 1d\n"
    "    ttl_min: 1s\n"
    "    ttl_max: 1y\n"
    "    ttl_default: 0\n"
    "    edge_ttl: 10s\n"
    "    ttl_by_status: { 4xx: 1s, 404: 10s, 5xx: 0s, 410: 1d }\n"
    "    early_refresh: 1\n"
    "    ttl_jitter: 20\n"
    "    admit_after: 7\n"
    "    stale_while_revalidate: 0\n"
    "    stale_if_error: 2s\n"
    "    stale_if_disconnected: 3s\n"
    "    stale_if_overloaded: 4s\n"
    "    stale_obey_s_maxage: off\n"
    "    key:\n"
    "      query_sort: on\n"
    "      query_ignore: [utm_*, fbclid]\n"
    "      query_allow: id\n"
    "      headers: [Accept, X-Foo]\n"
    "      cookies: [Lang]\n"
    "      scheme: on\n"
    "      classes:\n"
    "        device: { header: User-Agent, values: { mobile: ['*Mobile*', '*Android*'], tablet: '*iPad*' } "
    "}\n"
    "        lang: { values: { de: 'de*' }, header: Accept-Language }\n"
    "    request: { set: { X-Key: s3cret }, add: { X-B: [1, 2] }, remove: Cookie }\n"
    "    response: { set: { X-Empty: '' }, add: { Link: \"</a>; rel=\\\"x\\\"\" }, remove: [Server, "
    "X-Powered-By] }\n"
    "  - { match: { path: /old/* }, redirect: { status: 301, to: 'https://x.example/?a#b' } }\n"
    "  - { match.path: /new, redirect.to: / }\n"
    "  - { match: { path: /robots.txt }, answer: { body: \"a: \\u00e9\\n\\t\\\"b\\\"\\n\" } }\n"
    "  - { match: { path: /gone }, answer: { status: 410, type: text/html } }\n"
    "  - { match: { path: /admin/* }, deny: on, response: { remove: Server } }\n"
    "  - { match: { method: TRACE }, deny: 405 }\n"
    "  - { match: { path: /p/* }, cache: off, preset: html }\n"
    "  - { match: { host: '[::1]' }, key: { query: drop }, preset: static, ttl_default: none }\n"
    "  - { preset: static, key: { query_ignore: [] }, stale_if_error: auto }\n";

static void check_texts(const struct config_texts *list, const char *joined)
{
    char text[256] = "";
    for (uint32_t i = 0; i < list->n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", list->items[i]);
    assert_string_equal(text, joined);
}

static void check_pairs(const struct config_pairs *list, const char *joined)
{
    char text[256] = "";
    for (uint32_t i = 0; i < list->n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s=%s ", list->items[i].name,
                 list->items[i].value);
    assert_string_equal(text, joined);
}

static void check_first(const struct config_route *r)
{
    assert_string_equal(r->name, "one");
    check_texts(&r->match.hosts, "a.example *.b.example ");
    check_texts(&r->match.paths, "/a/a* *.css /%C3%A9 ");
    check_texts(&r->match.methods, "GET M-SEARCH ");
    check_texts(&r->match.cookies, "s_* ");
    check_pairs(&r->match.headers, "x-a=*b* accept=* ");
    assert_int_equal(r->origin, 1);
    assert_string_equal(r->rewrite_from, "/a/*");
    assert_string_equal(r->rewrite_to, "/b/*");
    assert_int_equal(r->cache, CACHE_FORCE);
    assert_false(r->collapse || r->heuristic || r->stale.obey_s_maxage);
    assert_int_equal(r->set_cookie, SET_COOKIE_STORE);
    assert_int_equal(r->ttl_ms, 86400000);
    assert_int_equal(r->ttl_min_ms, 1000);
    assert_int_equal(r->ttl_max_ms, 31536000000);
    assert_int_equal(r->ttl_default_ms, 0);
    assert_int_equal(r->edge_ttl_ms, 10000);
    assert_int_equal(r->early_refresh, 1);
    assert_int_equal(r->ttl_jitter, 20);
    assert_int_equal(r->admit_after, 7);
    assert_int_equal(r->stale.while_revalidate_ms, 0);
    assert_int_equal(r->stale.if_error_ms, 2000);
    assert_int_equal(r->stale.if_disconnected_ms, 3000);
    assert_int_equal(r->stale.if_overloaded_ms, 4000);
    static const struct config_status_ttl by_status[] = {
        {404, 404, 10000}, {410, 410, 86400000}, {400, 499, 1000}, {500, 599, 0}};
    assert_int_equal(r->n_ttl_by_status, ARRAY_LEN(by_status));
    for (size_t i = 0; i < ARRAY_LEN(by_status); i++) {
        assert_int_equal(r->ttl_by_status[i].first, by_status[i].first);
        assert_int_equal(r->ttl_by_status[i].last, by_status[i].last);
        assert_int_equal(r->ttl_by_status[i].ttl_ms, by_status[i].ttl_ms);
    }
    assert_true(r->key.sort_query && r->key.scheme && !r->key.drop_query);
    check_texts(&r->key.query_ignore, "utm_* fbclid ");
    check_texts(&r->key.query_allow, "id ");
    check_texts(&r->key.headers, "accept x-foo ");
    check_texts(&r->key.cookies, "Lang ");
    assert_int_equal(r->key.n_classes, 2);
    assert_string_equal(r->key.classes[0].name, "device");
    assert_string_equal(r->key.classes[0].header, "user-agent");
    check_pairs(&r->key.classes[0].patterns, "mobile=*Mobile* mobile=*Android* tablet=*iPad* ");
    assert_string_equal(r->key.classes[1].header, "accept-language");
    check_pairs(&r->key.classes[1].patterns, "de=de* ");
    check_pairs(&r->request_set, "X-Key=s3cret ");
    check_pairs(&r->request_add, "X-B=1 X-B=2 ");
    check_texts(&r->request_remove, "cookie ");
    check_pairs(&r->response_set, "X-Empty= ");
    check_pairs(&r->response_add, "Link=</a>; rel=\"x\" ");
    check_texts(&r->response_remove, "server x-powered-by ");
}

static void check_everything(const struct config *c)
{
    assert_int_equal(c->n_routes, 10);
    check_first(&c->routes[0]);
    assert_int_equal(c->routes[1].action, ACTION_REDIRECT);
    assert_int_equal(c->routes[1].status, 301);
    assert_string_equal(c->routes[1].text, "https://x.example/?a#b");
    assert_string_equal(c->routes[1].name, "routes[1]");
    assert_int_equal(c->routes[2].status, 302);
    check_texts(&c->routes[2].match.paths, "/new ");
    assert_int_equal(c->routes[3].action, ACTION_ANSWER);
    assert_int_equal(c->routes[3].status, 200);
    assert_string_equal(c->routes[3].text, "a: \xc3\xa9\n\t\"b\"\n");
    assert_string_equal(c->routes[3].content_type, "text/plain");
    assert_int_equal(c->routes[4].status, 410);
    assert_string_equal(c->routes[4].content_type, "text/html");
    assert_int_equal(c->routes[5].action, ACTION_DENY);
    assert_int_equal(c->routes[5].status, 403);
    check_texts(&c->routes[5].response_remove, "server ");
    assert_int_equal(c->routes[6].status, 405);
    assert_int_equal(c->routes[7].cache, CACHE_OFF);
    assert_true(c->routes[8].key.drop_query);
    assert_false(c->routes[8].key.sort_query); /* the preset's gives way */
    assert_int_equal(c->routes[8].key.query_ignore.n, 0);
    assert_int_equal(c->routes[8].ttl_default_ms, -1);
    assert_int_equal(c->routes[9].key.query_ignore.n, 0);
    assert_int_equal(c->routes[9].stale.if_error_ms, -1);
    assert_int_equal(c->routes[9].ttl_default_ms, 86400000);
}

static void test_everything_and_back(void **state)
{
    struct config *c = load_ok(everything);
    check_everything(c);
    struct buf first = {0}, second = {0}, errors = {0};
    config_dump(c, &first);
    struct config *back = NULL;
    if (config_load_text(&back, "f", buf_span(&first), NULL, 0, true, &errors) != 0 || errors.len > 0)
        fail_msg("%.*s\n%.*s", SPAN_FMT(errors), SPAN_FMT(first));
    check_everything(back);
    config_dump(back, &second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.p, second.p, first.len);
    config_restart_needed(c, back, &errors);
    struct config *none = load_ok("");
    config_restart_needed(c, none, &errors); /* routes come and go without a restart */
    assert_int_equal(errors.len, 0);
    config_unref(&none);
    config_unref(&back);
    config_unref(&c);
    buf_fini(&first);
    buf_fini(&second);
}

/* What README says of the presets. */
static void test_presets(void **state)
{
    static const struct {
        const char *preset;
        int64_t ttl, ttl_max, ttl_default, swr, sie, disconnected, overloaded;
        uint64_t jitter, early;
        bool heuristic, sort;
        uint32_t ignored;
    } rows[] = {
        {"static", -1, -1, 86400000, 86400000, 86400000, 604800000, 0, 10, 0, true, true, 10},
        {"html", -1, 600000, -1, 30000, 86400000, 86400000, 0, 0, 1, false, false, 10},
        {"api", -1, 300000, -1, -1, -1, 60000, 0, 0, 0, false, true, 0},
        {"microcache", 1000, -1, -1, 10000, 60000, 86400000, 60000, 0, 0, false, false, 0},
        {"video", -1, -1, 604800000, 86400000, 604800000, 2592000000, 0, 10, 0, true, true, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char yaml[64];
        snprintf(yaml, sizeof yaml, "routes: [{preset: %s}]\n", rows[i].preset);
        struct config *c = load_ok(yaml);
        const struct config_route *r = &c->routes[0];
        assert_int_equal(r->ttl_ms, rows[i].ttl);
        assert_int_equal(r->ttl_max_ms, rows[i].ttl_max);
        assert_int_equal(r->ttl_default_ms, rows[i].ttl_default);
        assert_int_equal(r->stale.while_revalidate_ms, rows[i].swr);
        assert_int_equal(r->stale.if_error_ms, rows[i].sie);
        assert_int_equal(r->stale.if_disconnected_ms, rows[i].disconnected);
        assert_int_equal(r->stale.if_overloaded_ms, rows[i].overloaded);
        assert_int_equal(r->ttl_jitter, rows[i].jitter);
        assert_int_equal(r->early_refresh, rows[i].early);
        assert_int_equal(r->heuristic, rows[i].heuristic);
        assert_int_equal(r->key.sort_query, rows[i].sort);
        assert_int_equal(r->key.query_ignore.n, rows[i].ignored);
        assert_int_equal(r->set_cookie, SET_COOKIE_REFUSE);
        assert_int_equal(r->cache, CACHE_HONOUR);
        config_unref(&c);
    }
}

/* A route's line is the file's second; the places of others are given. */
static const struct {
    const char *yaml, *errors;
} bad[] = {
    /* shape */
    {"routes: 5\n",
     "f:2:9: 'routes' is a list of maps; [{ match: { path: /x/* }, ttl: 1h }], or [] for none\n"},
    {"routes:\n",
     "f:2:8: 'routes' is a list of maps; [{ match: { path: /x/* }, ttl: 1h }], or [] for none\n"},
    {"routes: [a]\n", "f:2:10: a route is a map; { match: { path: /x/* }, ttl: 1h }\n"},
    {"routes: []\nroutes: []\n", "f:3:1: 'routes' is given twice; line 2 has the first\n"},
    {"routes.ttl: 1s\n",
     "f:2:1: 'routes.ttl': routes are a list in the file: routes: [{ match: { path: /x/* }, "
     "ttl: 1h }]\n"},
    /* names */
    {"routes: [{tll: 1s}]\n", "f:2:11: unknown directive 'tll' in a route; did you mean 'ttl'?\n"},
    {"routes: [{match: {pth: /a}}]\n",
     "f:2:19: unknown directive 'match.pth' in a route; did you mean 'match.path'?\n"},
    {"routes: [{path: /a}]\n", "f:2:11: unknown directive 'path' in a route; did you mean 'match.path'?\n"},
    {"routes: [{workers: 1}]\n", "f:2:11: unknown directive 'workers' in a route; --help lists all\n"},
    {"ttl_min: 1s\n", "f:2:1: unknown directive 'ttl_min'; --help lists all\n"},
    {"routes: [{match: /a}]\n", "f:2:18: 'match' is a section; a map of directives is expected\n"},
    {"routes: [{ttl: 1s, ttl: 2s}]\n", "f:2:20: 'ttl' is given twice; line 2 has the first\n"},
    {"routes: [{match: {}, match: {}}]\n", "f:2:22: 'match' is given twice; line 2 has the first\n"},
    {"routes: [{name: a}, {name: a}]\n", "f:2:28: 'a' is the name of routes[0] already; take another\n"},
    {"routes: [{name: default}]\n",
     "f:2:17: 'default' is the name of the route behind all others; take another\n"},
    {"routes: [{name: a b}]\n", "f:2:17: 'a b': not a name; 1 to 63 letters, digits, '.', '_' and '-'\n"},
    /* values */
    {"routes: [{ttl: 5}]\n",
     "f:2:16: '5': not a time such as 10s; a time from 0 to 10y (ms, s, m, h, d, w, y), or auto\n"},
    {"routes: [{ttl_max: 11y}]\n",
     "f:2:20: '11y': too large; a time from 0 to 10y (ms, s, m, h, d, w, y), or none\n"},
    {"routes: [{cache: of}]\n", "f:2:18: 'of': not one of the words; honour, off or force\n"},
    {"routes: [{preset: statik}]\n",
     "f:2:19: 'statik': not one of the words; none, static, html, api, microcache or video\n"},
    {"routes: [{collapse: yes}]\n", "f:2:21: 'yes': not a boolean; on or off\n"},
    {"routes: [{key: {query: on}}]\n", "f:2:24: 'on': not one of the words; keep or drop\n"},
    {"routes: [{deny: off}]\n", "f:2:17: 'off': not a number; a status from 400 to 599, or on\n"},
    {"routes: [{deny: 200}]\n", "f:2:17: '200': too small; a status from 400 to 599, or on\n"},
    {"routes: [{ttl_by_status: 404}]\n",
     "f:2:26: not a single value; a map such as { 404: 10s, 5xx: 0s }, times up to 10y\n"},
    {"routes: [{ttl_by_status: {40x: 1s}}]\n", "f:2:27: '40x': neither a final status nor a class; a map "
                                               "such as { 404: 10s, 5xx: 0s }, times up to 10y\n"},
    {"routes: [{ttl_by_status: {100: 1s}}]\n", "f:2:27: '100': neither a final status nor a class; a map "
                                               "such as { 404: 10s, 5xx: 0s }, times up to 10y\n"},
    {"routes: [{ttl_by_status: {404: x}}]\n",
     "f:2:32: 'x': not a time such as 10s; a map such as { 404: 10s, 5xx: 0s }, times up to 10y\n"},
    {"routes: [{ttl_by_status: {404: 1s, 404: 2s}}]\n",
     "f:2:36: '404' is given twice; line 2 has the first\n"},
    /* what can match nothing */
    {"routes: [{match: {path: []}}]\n",
     "f:2:25: 'match.path' is empty: nothing can match; leave it out to match all\n"},
    {"routes: [{match: {header: {}}}]\n",
     "f:2:27: 'match.header' is empty: nothing can match; leave it out to match all\n"},
    {"routes: [{match: {path: static/*}}]\n",
     "f:2:25: 'static/*': can match no path: it begins with neither '/' nor '*'; patterns of paths such as "
     "/static/*\n"},
    {"routes: [{match: {path: '/a?b=*'}}]\n",
     "f:2:25: '/a?b=*': a query: only the path is looked at; patterns of paths such as /static/*\n"},
    {"routes: [{match: {path: /a b}}]\n", "f:2:25: '/a b': no path: blanks, '#' and non-ASCII bytes are "
                                          "written as %20, %23, %C3%A9; patterns of paths "
                                          "such as /static/*\n"},
    {"routes: [{match: {path: /100%}}]\n", "f:2:25: '/100%': a '%' without two hexadecimal digits; '%25' is "
                                           "one by itself; patterns of paths such as "
                                           "/static/*\n"},
    {"routes: [{match: {path: /x/%2e%2e/a}}]\n",
     "f:2:25: '/x/%2e%2e/a': can match no path: a '.' or '..' segment, a '\\' or an empty segment, which are "
     "resolved first; patterns of paths such as /static/*\n"},
    {"routes: [{match: {path: //a}}]\n",
     "f:2:25: '//a': can match no path: a '.' or '..' segment, a '\\' or an empty segment, which are "
     "resolved first; patterns of paths such as /static/*\n"},
    {"routes: [{match: {host: 'a:80'}}]\n",
     "f:2:25: 'a:80': can match no host: hosts are matched without their port; patterns of hosts such as "
     "*.example.com\n"},
    {"routes: [{match: {host: a/b}}]\n",
     "f:2:25: 'a/b': can match no host; patterns of hosts such as *.example.com\n"},
    {"routes: [{match: {host: a.}}]\n", "f:2:25: 'a.': can match no host: it is empty, or has a dot at its "
                                        "end, which is not looked at; patterns of "
                                        "hosts such as *.example.com\n"},
    {"routes: [{match: {method: 'G T'}}]\n", "f:2:27: 'G T': not a token (RFC 9110 section 5.6.2); names\n"},
    {"routes: [{match: {method: get}}]\n", "f:2:27: 'get': a method in small letters, which nobody sends: "
                                           "their case counts (RFC 9110 section 9.1); names\n"},
    {"routes: [{match: {method: [GET, Post]}}]\n",
     "f:2:33: 'Post': a method in small letters, which nobody sends: their case counts (RFC 9110 section "
     "9.1); names\n"},
    {"routes: [{key: {headers: Host}}]\n",
     "f:2:26: 'Host': the origin's host is origins.NAME.host; names of fields that a route may touch\n"},
    {"routes: [{key: {headers: [X-A, range]}}]\n",
     "f:2:32: 'range': ranges are answered here; names of fields that a route may touch\n"},
    {"routes: [{key: {headers: If-None-Match}}]\n",
     "f:2:26: 'If-None-Match': conditions are evaluated here; names of fields that a route may touch\n"},
    {"routes: [{key: {headers: Authorization}}]\n",
     "f:2:26: 'Authorization': requests that have it share nothing (RFC 9111 section 3.5), leave it out; "
     "names of fields "
     "that a route may touch\n"},
    {"routes: [{key: {headers: X-Forwarded-For}}]\n",
     "f:2:26: 'X-Forwarded-For': it differs for each client, and the shield adds to it, leave it out; names "
     "of fields "
     "that a route may touch\n"},
    {"routes: [{match: {cookie: ''}}]\n", "f:2:27: '': empty; patterns of names such as utm_*\n"},
    {"routes: [{match: {header: {A: ' b'}}}]\n", "f:2:31: ' b': blanks at its ends, which are no part of a "
                                                 "value; a map of field names, each with a pattern\n"},
    {"routes: [{match: {header: {a b: c}}}]\n",
     "f:2:28: 'a b': not a field's name (RFC 9110 section 5.1); a map "
     "of field names, each with a pattern\n"},
    {"routes: [{match: {header: {A: [b, c]}}}]\n",
     "f:2:31: not a single value; a map of field names, each with a pattern\n"},
    {"routes: [{match: {header: {A: b, a: c}}}]\n", "f:2:34: 'a' is given twice; line 2 has the first\n"},
    /* fields */
    {"routes: [{request: {set: {Host: a}}}]\n", "f:2:27: 'Host': the origin's host is origins.NAME.host; a "
                                                "map of fields that a route may touch, each with a "
                                                "value or a list of them\n"},
    {"routes: [{response: {add: {Content-Length: 1}}}]\n",
     "f:2:28: 'Content-Length': the framing is the shield's; a map of fields that a route may touch, each "
     "with a "
     "value or a list of them\n"},
    {"routes: [{response: {remove: connection}}]\n",
     "f:2:30: 'connection': hop-by-hop: the shield writes its own; names of fields that a route may touch\n"},
    {"routes: [{key: {headers: [Range]}}]\n",
     "f:2:27: 'Range': ranges are answered here; names of fields that a route may touch\n"},
    {"routes: [{request: {set: {'X Y': a}}}]\n", "f:2:27: 'X Y': not a field's name (RFC 9110 section 5.1); "
                                                 "a map of fields that a route may touch, each with "
                                                 "a value or a list of them\n"},
    {"routes: [{request: {set: {X: \"a\\r\\nb: c\"}}}]\n",
     "f:2:30: 'a\\x0d\\x0ab: c': control bytes, or not UTF-8: no field's value (RFC 9110 section 5.5); a map "
     "of "
     "fields that a route may touch, each with a value or a list of them\n"},
    {"routes: [{request: {set: {X: }}}]\n", "f:2:30: not a single value; a map of fields that a route may "
                                            "touch, each with a value or a list of them\n"},
    {"routes: [{response: {set: {X: a}, remove: [x]}}]\n",
     "f:2:43: 'X' is set and removed; setting it is enough\n"},
    /* classes */
    {"routes: [{key: {classes: {d: {header: A}}}}]\n",
     "f:2:30: not a single value; a map such as { device: { header: User-Agent, values: { mobile: "
     "\"*Mobile*\" } } "
     "}\n"},
    {"routes: [{key: {classes: {a b: {}}}}]\n", "f:2:27: 'a b': not a name; a map such as { device: { "
                                                "header: User-Agent, values: { mobile: \"*Mobile*\" } } "
                                                "}\n"},
    /* answers */
    {"routes: [{deny: on, redirect: {to: /}}]\n",
     "f:2:17: 'deny': the route has an answer already; keep one of redirect, answer and deny\n"},
    {"routes: [{redirect: {status: 301}}]\n", "f:2:30: a redirect to nowhere; give redirect: { to: URL }\n"},
    {"routes: [{redirect: {status: 304, to: /}}]\n",
     "f:2:30: 304 is no redirect; 301, 302, 303, 307 or 308\n"},
    {"routes: [{redirect: {to: 'ftp://x'}}]\n",
     "f:2:26: 'ftp://x': neither absolute nor a path; http://host/path, https://host/path or /path\n"},
    {"routes: [{redirect: {to: \"/\\r\\nX: y\"}}]\n", "f:2:26: '/\\x0d\\x0aX: y': blanks, control bytes and "
                                                      "non-ASCII bytes are not for a URL; http://host/path, "
                                                      "https://host/path or /path\n"},
    {"routes: [{answer: {status: 204, body: x}}]\n",
     "f:2:39: 204 has no content (RFC 9110 section 15.3); leave one of the two out\n"},
    {"routes: [{answer: {status: 206}}]\n",
     "f:2:28: 206 is an answer to what was not asked; 200 would be right\n"},
    {"routes: [{answer: {body: \"a\\0\"}}]\n",
     "f:2:26: 'a\\x00': control bytes, or not UTF-8; UTF-8 text of at most 64k\n"},
    {"routes: [{answer: {type: ''}}]\n", "f:2:26: '': empty; a field's value\n"},
    {"routes: [{rewrite: {from: /a}}]\n", "f:2:27: half a rewrite; rewrite: { from: /old/*, to: /new/* }\n"},
    {"routes: [{rewrite: {from: /a/*, to: '/*/*'}}]\n",
     "f:2:37: more '*' than in rewrite.from, which they take their text from; 1 at most\n"},
    {"routes: [{rewrite: {from: /a, to: b}}]\n",
     "f:2:35: 'b': no path: it does not begin with '/'; a path such as /new/*\n"},
    /* against each other */
    {"routes: [{origin: apj}]\n", "f:2:19: no origin 'apj'; did you mean 'api'?\n"},
    {"routes: [{origin: other}]\n",
     "f:2:19: no origin 'other'; give origins: { other: { servers: [http://HOST:PORT] } }\n"},
    {"routes: [{ttl_min: 2s, ttl_max: 1s}]\n",
     "f:2:20: ttl_min is above ttl_max; it may be as much at most\n"},
    {"routes: [{preset: api, ttl_min: 6m}]\n",
     "f:2:33: ttl_min is above ttl_max; it may be as much at most\n"},
    {"routes: [{key: {query: drop, query_allow: [a]}}]\n",
     "f:2:43: 'key.query_allow' has no effect: key.query: drop leaves no parameter; leave one of the two "
     "out\n"},
    {"routes: [{cache: off, ttl: 1s}]\n",
     "f:2:28: 'ttl' has no effect: nothing is kept with cache: off; leave one of the two out\n"},
    {"routes: [{deny: on, origin: api}]\n", "f:2:29: 'origin' has no effect: the route answers by itself "
                                            "(redirect, answer or deny); leave one of the two out\n"},
    /* all of them, not only the first */
    {"routes:\n  - { ttl: x }\n  - { match: { path: a } }\n",
     "f:3:12: 'x': not a time such as 10s; a time from 0 to 10y (ms, s, m, h, d, w, y), or auto\n"
     "f:4:22: 'a': can match no path: it begins with neither '/' nor '*'; patterns of paths such as "
     "/static/*\n"},
};

static void test_bad(void **state)
{
    unsigned failed = 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf errors = {0};
        struct config *c = load(bad[i].yaml, &errors);
        if (c != NULL || !span_eq(buf_span(&errors), span_of(bad[i].errors))) {
            print_error("%s--- gives:\n%.*s--- not:\n%s\n", bad[i].yaml, SPAN_FMT(errors), bad[i].errors);
            failed++;
        }
        config_unref(&c);
        buf_fini(&errors);
    }
    assert_int_equal(failed, 0);
}

static void test_never_reached(void **state)
{
    static const struct {
        const char *yaml, *warning;
    } rows[] = {
        {"routes: [{ttl: 1s}, {match: {path: /a}}]\n",
         "f:2:21: warning: never reached: 'routes[0]' before it matches everything; move it up\n"},
        {"routes: [{name: all, match: {path: [/b, /*], host: '*'}}, {}]\n",
         "f:2:59: warning: never reached: 'all' before it matches everything; move it up\n"},
        {"routes: [{match: {path: /*, method: GET}}, {}]\n", ""},
        {"routes: [{match: {path: /*, host: a}}, {}]\n", ""},
        {"routes: [{match: {cookie: a}}, {match: {header: {A: '*'}}}, {}]\n", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf errors = {0};
        struct config *c = load(rows[i].yaml, &errors);
        assert_non_null(c);
        if (!span_eq(buf_span(&errors), span_of(rows[i].warning)))
            fail_msg("%s%.*s", rows[i].yaml, SPAN_FMT(errors));
        config_unref(&c);
        buf_fini(&errors);
    }
}

static void check_told(struct buf *yaml, const char *told)
{
    struct buf errors = {0};
    buf_put(yaml, "", 1);
    assert_null(load(yaml->p, &errors));
    buf_put(&errors, "", 1);
    if (strstr(errors.p, told) == NULL)
        fail_msg("%s, not %s", errors.p, told);
    buf_fini(&errors);
    yaml->len = 0;
}

static void put_many(struct buf *yaml, char c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_put(yaml, &c, 1);
}

static void test_bounds(void **state)
{
    struct buf yaml = {0};
    buf_put_lit(&yaml, "routes:\n");
    for (int i = 0; i <= CONFIG_MAX_ROUTES; i++)
        buf_printf(&yaml, "  - { match: { path: /%d } }\n", i);
    check_told(&yaml, "f:259:5: one route too many; 256 are the most\n");

    buf_put_lit(&yaml, "routes: [{match: {path: [");
    for (int i = 0; i <= CONFIG_MAX_ROUTE_ITEMS; i++)
        buf_printf(&yaml, "/%d, ", i);
    buf_put_lit(&yaml, "]}}]\n");
    check_told(&yaml, "'/256': one too many: 256 are the most; ");

    buf_put_lit(&yaml, "routes: [{request: {set: {");
    for (int i = 0; i <= CONFIG_MAX_ROUTE_ITEMS; i++)
        buf_printf(&yaml, "X%d: a, ", i);
    buf_put_lit(&yaml, "}}}]\n");
    check_told(&yaml, "257 items are too many; 256 are the most\n");

    buf_put_lit(&yaml, "routes: [{match: {path: /");
    put_many(&yaml, 'a', CONFIG_MAX_ROUTE_TEXT);
    buf_put_lit(&yaml, "}}]\n");
    check_told(&yaml, "longer than 4k; ");

    buf_put_lit(&yaml, "routes: [{answer: {body: ");
    put_many(&yaml, 'a', CONFIG_MAX_ROUTE_CONTENT + 1);
    buf_put_lit(&yaml, "}}]\n");
    check_told(&yaml, "longer than 64k; ");

    /* aliases make much of little, and every item is wrong */
    buf_put_lit(&yaml, "routes: [&r {match: {path: [");
    for (int i = 0; i < 255; i++)
        buf_put_lit(&yaml, "a,");
    buf_put_lit(&yaml, "b]}}");
    for (int i = 0; i < 200; i++)
        buf_put_lit(&yaml, ",*r");
    buf_put_lit(&yaml, "]\n");
    check_told(&yaml, "'b': can match no path");
    buf_fini(&yaml);
}

static void load_everything(void *ctx)
{
    struct buf errors = {0};
    struct config *c = NULL;
    struct span text = buf_span(ctx);
    int err = config_load_text(&c, "f", text, NULL, 0, true, &errors);
    alloc_armed = false;
    assert_int_equal(err == 0, c != NULL);
    assert_true(err == 0 || err == ERR_NOMEM);
    if (c != NULL) /* nothing is lost quietly */
        check_everything(c);
    config_unref(&c);
    buf_fini(&errors);
}

static void test_without_memory(void **state)
{
    struct buf text = {0};
    buf_put_span(&text, SPAN(ORIGINS));
    buf_put_span(&text, span_of(everything));
    assert_true(alloc_fail_each(load_everything, &text) > 50);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_that_says_nothing),
        cmocka_unit_test(test_everything_and_back),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_never_reached),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
