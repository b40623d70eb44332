#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/purge/purge_draft.h"

static struct config *cfg;

static int set_up(void **state)
{
    cfg = config_for_test();
    return 0;
}

static int tear_down(void **state)
{
    config_unref(&cfg);
    return 0;
}

static const struct {
    enum purge_kind kind;
    const char *what, *item; /* NULL: as it is */
    const char *fault;       /* part of the message; NULL: it is taken */
} items[] = {
    {PURGE_URL, "http://a/", NULL, NULL},
    {PURGE_URL, "https://www.example.com:8443/a/b?c=d&e", NULL, NULL},
    {PURGE_URL, "HTTP://A", NULL, NULL},
    {PURGE_URL, "http://[::1]:80/", NULL, NULL},
    {PURGE_URL, "http://a/x%20y*z", NULL, NULL},
    {PURGE_URL, "", NULL, "is no absolute URL; write http://HOST/PATH"},
    {PURGE_URL, "/a", NULL, "is no absolute URL"},
    {PURGE_URL, "//a/b", NULL, "is no absolute URL"},
    {PURGE_URL, "a/b", NULL, "is no absolute URL"},
    {PURGE_URL, "a.example", NULL, "is no absolute URL"},
    {PURGE_URL, "ftp://a/b", NULL, "is no absolute URL"},
    {PURGE_URL, "http:///b", NULL, "is no absolute URL"},
    {PURGE_URL, "http://u@a/b", NULL, "is no absolute URL"},
    {PURGE_URL, "http://a/b#c", NULL, "is no absolute URL"},
    {PURGE_URL, "http://a/b c", NULL, "is no absolute URL"},
    {PURGE_URL, "http://a/b\r\nX: y", NULL, "is no absolute URL"},
    {PURGE_URL, "http://a/\xc3\xbc", NULL, "percent-encoded"},
    {PURGE_URL, "http://a:99999/", NULL, "is no absolute URL"},
    {PURGE_URL, "http://a/b/*", NULL, "has a star"},
    {PURGE_URL, "http://*.example/b", NULL, "has a star"},
    {PURGE_PREFIX, "http://a/b", NULL, NULL},
    {PURGE_PREFIX, "a.example/b/", "http://a.example/b/", NULL},
    {PURGE_PREFIX, "a.example", "http://a.example/", NULL},
    {PURGE_PREFIX, "a.example:81", "http://a.example:81/", NULL},
    {PURGE_PREFIX, "https://a.example", "https://a.example/", NULL},
    {PURGE_PREFIX, "", NULL, "is no beginning of a URL; write http://HOST/PATH or HOST/PATH"},
    {PURGE_PREFIX, "/b", NULL, "is no beginning of a URL"},
    {PURGE_PREFIX, "ftp://a/b", NULL, "is no beginning of a URL"},
    {PURGE_PREFIX, "http://a/b?c", NULL, NULL},
    {PURGE_PREFIX, "a?c", "http://a?c", NULL},
    {PURGE_PREFIX, "a/b/*", NULL, "has a star"},
    {PURGE_PREFIX, "*.example/b", NULL, "has a star"},
    {PURGE_PREFIX, "a/b*c/", "http://a/b*c/", NULL},
    {PURGE_TAG, "v42", NULL, NULL},
    {PURGE_TAG, "two words, even \"quoted\"", NULL, NULL},
    {PURGE_TAG, "\xc3\xbc", NULL, NULL},
    {PURGE_TAG, "", NULL, "is no tag"},
    {PURGE_TAG, " v42", NULL, "is no tag"},
    {PURGE_TAG, "v42 ", NULL, "is no tag"},
    {PURGE_TAG, "v\n42", NULL, "is no tag"},
    {PURGE_HOST, "a.example", NULL, NULL},
    {PURGE_HOST, "A.example:8080", NULL, NULL},
    {PURGE_HOST, "", NULL, "is no host; write HOST or HOST:PORT"},
    {PURGE_HOST, "http://a", NULL, "is no host"},
    {PURGE_HOST, "a/b", NULL, "is no host"},
    {PURGE_HOST, "*.example", NULL, "is no host"},
    {PURGE_ALL, "", NULL, NULL},
};

static void test_items(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        struct purge_draft d;
        struct purge_order o;
        purge_draft_init(&d, cfg);
        bool ok = purge_draft_add(&d, items[i].kind, span_of(items[i].what), "list", 3);
        assert_int_equal(purge_draft_order(&d, &o), ok);
        if (ok != (items[i].fault == NULL))
            fail_msg("%zu: '%s': %.*s", i, items[i].what, SPAN_FMT(buf_span(&d.why)));
        if (ok) {
            struct span wanted = span_of(items[i].item != NULL ? items[i].item : items[i].what);
            assert_int_equal(o.n_items, 1);
            assert_int_equal(o.items[0].kind, items[i].kind);
            assert_true(span_eq(o.items[0].what, wanted));
        } else {
            buf_put(&d.why, "", 1);
            assert_int_equal(d.err, ERR_SYNTAX);
            if (strstr(d.why.p, items[i].fault) == NULL || strstr(d.why.p, "list[3]: '") != d.why.p)
                fail_msg("%zu: %s", i, d.why.p);
        }
        purge_draft_fini(&d);
    }
}

static void test_nothing_is_no_order(void **state)
{
    struct purge_draft d;
    struct purge_order o;
    purge_draft_init(&d, cfg);
    assert_false(purge_draft_order(&d, &o));
    assert_int_equal(d.err, ERR_SYNTAX);
    purge_draft_fini(&d);
}

static void test_bounds(void **state)
{
    char tag[64] = {0};
    struct purge_draft d;
    struct purge_order o;
    cfg->purge.max_items = 3;
    cfg->purge.max_item_bytes = 16;
    purge_draft_init(&d, cfg);
    memset(tag, 'x', 17);
    for (int i = 0; i < 3; i++)
        assert_true(purge_draft_add(&d, PURGE_TAG, (struct span){tag, 16}, "tags", i));
    assert_true(purge_draft_order(&d, &o));
    assert_int_equal(purge_draft_count(&d, PURGE_TAG), 3);
    assert_false(purge_draft_add(&d, PURGE_TAG, SPAN("y"), "tags", 3));
    assert_int_equal(d.err, ERR_CONTENT_TOO_LARGE);
    assert_int_equal(d.limit, DRAFT_MAX_ITEMS);
    assert_false(purge_draft_order(&d, &o));
    purge_draft_fini(&d);

    purge_draft_init(&d, cfg);
    assert_false(purge_draft_add(&d, PURGE_TAG, (struct span){tag, 17}, "tags", 0));
    assert_int_equal(d.err, ERR_CONTENT_TOO_LARGE);
    assert_int_equal(d.limit, DRAFT_MAX_ITEM_BYTES);
    assert_false(purge_draft_add(&d, PURGE_TAG, SPAN("y"), "tags", 1)); /* the first fault stays */
    assert_int_equal(d.limit, DRAFT_MAX_ITEM_BYTES);
    purge_draft_fini(&d);
}

static void test_references(void **state)
{
    char longest[PURGE_REFERENCE_MAX + 1];
    memset(longest, 'r', sizeof longest);
    static const char *const bad[] = {"", "a\"b", "a\\b", "a\nb", "\xc3\xbc", "a\x7f"};
    struct purge_draft d;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        purge_draft_init(&d, cfg);
        assert_false(purge_draft_refer(&d, span_of(bad[i])));
        assert_int_equal(d.err, ERR_SYNTAX);
        purge_draft_fini(&d);
    }
    purge_draft_init(&d, cfg);
    assert_false(purge_draft_refer(&d, (struct span){longest, sizeof longest}));
    purge_draft_fini(&d);
    purge_draft_init(&d, cfg);
    assert_true(purge_draft_refer(&d, (struct span){longest, sizeof longest - 1}));
    assert_true(purge_draft_refer(&d, (struct span){longest, sizeof longest - 1}));
    assert_false(purge_draft_refer(&d, SPAN("other")));
    assert_int_equal(d.err, ERR_SYNTAX);
    purge_draft_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_items, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_no_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_references, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
