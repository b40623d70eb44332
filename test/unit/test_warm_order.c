#include "shield/warm/warm_order.h"

#include "common/check.h"
#include "common/err.h"
#include "test/unit/policy_heads.h"

static struct config small_config(void)
{
    struct config cfg = policy_config();
    cfg.warm.max_urls = 4;
    cfg.http_limits = (struct http1_limits){.max_head = 4096, .max_fields = 16, .max_url = 1024};
    return cfg;
}

static void test_each_url_with_each_variant(void **state)
{
    struct config cfg = small_config();
    struct warm_order o;
    warm_order_init(&o, &cfg);
    assert_int_equal(warm_order_requests(&o), 0);
    assert_true(warm_order_add_variant(&o, SPAN("Accept-Encoding: gzip\r\n")));
    assert_true(warm_order_add_variant(&o, SPAN("")));
    assert_true(warm_order_add_url(&o, SPAN("http://a/1"), "urls", 0));
    assert_true(warm_order_add_url(&o, SPAN("https://a/2"), "urls", 1));
    assert_int_equal(warm_order_urls(&o), 2);
    assert_int_equal(warm_order_requests(&o), 4);
    assert_true(span_eq(warm_order_url(&o, 1), SPAN("https://a/2")));
    assert_false(warm_order_add_url(&o, SPAN("http://a/3"), "urls", 2));
    assert_int_equal(o.err, ERR_CONTENT_TOO_LARGE);
    warm_order_fini(&o);
}

static const struct {
    const char *url, *lines;
    int err;
} rows[] = {
    {"http://a/", "", 0},
    {"HTTPS://a:8443/x?y=%20", "A: b\r\n", 0},
    {"http://[::1]/", "", 0},
    {"/x", "", ERR_SYNTAX},
    {"//a/x", "", ERR_SYNTAX},
    {"a/x", "", ERR_SYNTAX},
    {"http://a/ x", "", ERR_SYNTAX},
    {"http://a/#x", "", ERR_SYNTAX},
    {"http://a/\r\nX: 1", "", ERR_SYNTAX},
    {"http://a/ HTTP/1.1\r\nHost: b\r\n\r\nGET /", "", ERR_SYNTAX},
    {"http://u@a/", "", ERR_SYNTAX},
    {"http:///x", "", ERR_SYNTAX},
    {"ftp://a/", "", ERR_SYNTAX},
    {"", "", ERR_SYNTAX},
    {"http://a/", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", ERR_SYNTAX},
    {"http://a/", "Host: b\r\n", ERR_SYNTAX},
    {"http://a/", "No colon\r\n", ERR_SYNTAX},
};

static void test_what_no_client_may_send(void **state)
{
    struct config cfg = small_config();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct warm_order o;
        warm_order_init(&o, &cfg);
        bool ok = warm_order_add_variant(&o, span_of(rows[i].lines)) &&
                  warm_order_add_url(&o, span_of(rows[i].url), "urls", i);
        if (ok != (rows[i].err == 0) || o.err != rows[i].err)
            fail_msg("%s | %s: %s", rows[i].url, rows[i].lines, err_name(o.err));
        assert_true(ok || (o.why.len > 0 && !warm_order_add_url(&o, SPAN("http://a/"), "urls", 0)));
        warm_order_fini(&o);
    }
}

/* The first fault stays, and an order may be read on after it is forgotten. */
static void test_a_sitemap_into_an_order(void **state)
{
    struct config cfg = small_config();
    struct warm_order o;
    warm_order_init(&o, &cfg);
    assert_true(warm_order_add_listed(&o, SPAN("<urlset><url><loc>http://a/1</loc></url></urlset>")));
    assert_true(warm_order_add_listed(
        &o, SPAN("<sitemapindex><sitemap><loc>http://a/s</loc></sitemap></sitemapindex>")));
    assert_int_equal(warm_order_urls(&o), 1);
    assert_int_equal(warm_order_maps(&o), 1);
    assert_true(span_eq(warm_order_map(&o, 0), SPAN("http://a/s")));
    assert_false(warm_order_add_listed(&o, SPAN("<urlset><url><loc>http://a/2</loc></url>")));
    assert_int_equal(o.err, ERR_SYNTAX);
    assert_false(warm_order_fault(&o, "another"));
    assert_true(span_eq(buf_span(&o.why), SPAN("the sitemap breaks off")));
    warm_order_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_url_with_each_variant),
        cmocka_unit_test(test_what_no_client_may_send),
        cmocka_unit_test(test_a_sitemap_into_an_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
