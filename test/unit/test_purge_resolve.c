#include "shield/purge/purge_resolve.h"

#include "test/unit/loops_rig.h"

#include "shield/policy/pattern.h"

static const char routes[] =
    "origins: { default: { servers: ['http://127.0.0.1:1'] }, b: { servers: ['http://127.0.0.1:2'] } }\n"
    "routes:\n"
    "  - { match: { method: POST }, origin: b }\n"
    "  - { match: { path: /maybe/*, header: { X: '*' } }, origin: b }\n"
    "  - { match: { path: /cookie/*, cookie: c }, origin: b, key: { query: drop } }\n"
    "  - { match: { path: /sort/* }, key: { query_sort: on } }\n"
    "  - { match: { path: /old/* }, rewrite: { from: /old/*, to: /new/* } }\n"
    "  - { match: { path: /two/* }, rewrite: { from: '/two/*/x/*', to: '/2/*/*' } }\n"
    "  - { match: { path: /one }, rewrite: { from: /one, to: /first } }\n"
    "  - { match: { host: b.test }, origin: b }\n";

static struct config *config_of(const char *text)
{
    char path[] = "/tmp/test_purge_resolve.XXXXXX";
    struct config *c = NULL;
    struct buf errors = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    if (config_load(&c, path, NULL, 0, &errors) != 0)
        fail_msg("%.*s", (int)errors.len, errors.p);
    unlink(path);
    buf_fini(&errors);
    return c;
}

/* The texts of the records, each with a "|" behind it and newlines as "^"; or the error's name. */
static void resolve(const struct config *c, enum purge_kind kind, const char *what, struct buf *out)
{
    struct purge_item item = {.kind = kind, .what = span_of(what)};
    struct purge_order order = {
        .items = &item, .n_items = 1, .is_soft = true, .over_ms = 5, .reference = SPAN("ref")};
    struct arena arena = {0};
    struct buf records = {0};
    out->len = 0;
    int err = purge_resolve(c, &order, &arena, &records);
    const struct purge_record *r = (const struct purge_record *)(const void *)records.p;
    for (size_t i = 0; err == 0 && i < records.len / sizeof *r; i++) {
        assert_true(r[i].kind == kind && r[i].is_soft && r[i].over_ms == 5 &&
                    span_eq(r[i].reference, SPAN("ref")));
        buf_put_span(out, r[i].what);
        buf_put_lit(out, "|");
    }
    for (size_t i = 0; i < out->len; i++)
        if (out->p[i] == '\n')
            out->p[i] = '^';
    if (err != 0)
        buf_put_span(out, span_of(err_name(err)));
    buf_put(out, "", 1);
    buf_fini(&records);
    arena_fini(&arena);
}

static void test_items(void **state)
{
    static const struct {
        enum purge_kind kind;
        const char *what, *records;
    } rows[] = {
        {PURGE_URL, "http://A.test/x", "default^a.test^/x|"},
        {PURGE_URL, "https://a.test:443", "default^a.test^/|"},
        {PURGE_URL, "http://a.test:443/", "default^a.test:443^/|"},
        {PURGE_URL, "http://a.test:80?q#f", "default^a.test^/?q|"},
        {PURGE_URL, "HTTP://[::1]:8080/x?y", "default^[::1]:8080^/x?y|"},
        {PURGE_URL, "http://b.test/x", "b^b.test^/x|"},
        {PURGE_URL, "http://a.test/maybe/x", "b^a.test^/maybe/x|default^a.test^/maybe/x|"},
        {PURGE_URL, "http://b.test/maybe/x", "b^b.test^/maybe/x|"},
        {PURGE_URL, "http://a.test/cookie/x?q", "b^a.test^/cookie/x|default^a.test^/cookie/x?q|"},
        {PURGE_URL, "http://a.test/sort/x?b&a", "default^a.test^/sort/x?a&b|"},
        {PURGE_URL, "http://a.test/old/x?b&a", "default^a.test^/new/x?b&a|"},
        {PURGE_URL, "http://a.test/one", "default^a.test^/first|"},
        {PURGE_URL, "a.test/x", "SYNTAX"},
        {PURGE_URL, "/x", "SYNTAX"},
        {PURGE_URL, "ftp://a.test/x", "SYNTAX"},
        {PURGE_URL, "http:///x", "SYNTAX"},
        {PURGE_URL, "http://a.test/a b", "SYNTAX"},
        {PURGE_URL, "http://u@a.test/", "SYNTAX"},
        {PURGE_PREFIX, "http://A.test/x/", "a.test^/x/|"},
        {PURGE_PREFIX, "a.test", "a.test^/|a.test^/new/|a.test^/2/|a.test^/first|"},
        {PURGE_PREFIX, "a.test/o", "a.test^/o|a.test^/new/|a.test^/first|"},
        {PURGE_PREFIX, "a.test/old/", "a.test^/old/|a.test^/new/|"},
        {PURGE_PREFIX, "a.test/old/img/", "a.test^/old/img/|a.test^/new/img/|"},
        {PURGE_PREFIX, "a.test/two/img/", "a.test^/two/img/|a.test^/2/|"},
        {PURGE_PREFIX, "a.test/one/", "a.test^/one/|"},
        {PURGE_PREFIX, "a.test/x?y", "a.test^/x|"},
        {PURGE_PREFIX, "", "SYNTAX"},
        {PURGE_HOST, "A.test:80", "a.test|"},
        {PURGE_HOST, "a.test:81", "a.test:81|"},
        {PURGE_HOST, "http://a.test", "SYNTAX"},
        {PURGE_HOST, "", "SYNTAX"},
        {PURGE_TAG, "A b", "A b|"},
        {PURGE_TAG, "", "SYNTAX"},
        {PURGE_ALL, "", "|"},
    };
    struct config *c = config_of(routes);
    struct buf got = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        resolve(c, rows[i].kind, rows[i].what, &got);
        if (strcmp(got.p, rows[i].records) != 0)
            fail_msg("%s: %s, not %s", rows[i].what, got.p, rows[i].records);
    }
    buf_fini(&got);
    config_unref(&c);
}

/* Whatever pattern_rewrite makes of a text begins with what is told of its beginning. */
static void test_prefixes_of_what_is_rewritten(void **state)
{
    static const char *const froms[] = {"/a*", "*", "/a/*/b", "/a", "*/b*", "/a*b*c"},
                             *const tos[] = {"/x*", "/x", "*", "/x*y*", "/*/*/*"},
                             *const texts[] = {"/a",    "/ab",    "/a/q/b", "/a/b/b",
                                               "/abbc", "/abcbc", "/q/b",   "/"};
    struct buf whole = {0}, start = {0};
    int n = 0;
    for (size_t f = 0; f < ARRAY_LEN(froms); f++)
        for (size_t t = 0; t < ARRAY_LEN(tos); t++)
            for (size_t i = 0; i < ARRAY_LEN(texts); i++)
                for (size_t len = 0; len <= strlen(texts[i]); len++) {
                    whole.len = start.len = 0;
                    if (!pattern_rewrite(&whole, span_of(froms[f]), span_of(tos[t]), span_of(texts[i])))
                        continue;
                    assert_true(pattern_rewrite_prefix(&start, span_of(froms[f]), span_of(tos[t]),
                                                       (struct span){texts[i], len}));
                    assert_true(span_starts(buf_span(&whole), buf_span(&start)));
                    n++;
                }
    assert_true(n > 300);
    buf_fini(&whole);
    buf_fini(&start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_prefixes_of_what_is_rewritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
