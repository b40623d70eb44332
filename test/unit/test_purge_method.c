#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/purge/purge_method.h"

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
    const char *head;  /* without the end of its last line */
    const char *items; /* "u:URL p:PREFIX t:TAG", or what is wrong */
    bool ok, is_soft;
} heads[] = {
    {"PURGE /a HTTP/1.1\r\nHost: h", "u:http://h/a", true, false},
    {"SOFTPURGE /a?b=%20 HTTP/1.1\r\nHost: H:81", "u:http://H:81/a?b=%20", true, true},
    {"PURGE http://o/a HTTP/1.1\r\nHost: h", "u:http://o/a", true, false},
    {"PURGE http://o?a HTTP/1.1\r\nHost: h", "u:http://o?a", true, false},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nSoft-Purge: 1", "u:http://h/", true, true},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nSoft-Purge: 0", "u:http://h/", true, false},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nFastly-Soft-Purge: 1", "u:http://h/", true, true},
    {"PURGE /a/* HTTP/1.1\r\nHost: h", "p:http://h/a/", true, false},
    {"PURGE /* HTTP/1.1\r\nHost: h", "p:http://h/", true, false},
    {"BAN /a* HTTP/1.1\r\nHost: h", "p:http://h/a", true, false},
    {"BAN /a/.* HTTP/1.1\r\nHost: h", "p:http://h/a/.", true, false},
    {"PURGE /a/.* HTTP/1.1\r\nHost: h\r\nX-Purge-Method: regex", "p:http://h/a/", true, false},
    {"PURGE /a HTTP/1.1\r\nHost: h\r\nX-Purge-Method: default", "u:http://h/a", true, false},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nxkey: a  b", "t:a t:b", true, false},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nXKey-SoftPurge: a", "t:a", true, true},
    {"BAN / HTTP/1.1\r\nHost: h\r\nSurrogate-Key: a,b c\r\nCache-Tag: d e, f", "t:a,b t:c t:d e t:f", true,
     false},
    {"BAN / HTTP/1.1\r\nHost: h\r\nCache-Tags: a:1 b|c,d", "t:a:1 t:b t:c t:d", true, false},
    {"BAN /a HTTP/1.1\r\nHost: h", "BAN wants tags", false, false},
    {"BAN / HTTP/1.1\r\nHost: h\r\nCache-Tags:", "nothing to purge", false, false},
    {"PURGE /a HTTP/1.1\r\nHost: h\r\nX-Purge-Method: regex", "of regular expressions", false, false},
    {"PURGE /a* HTTP/1.1\r\nHost: h\r\nX-Purge-Method: regex", "of regular expressions", false, false},
    {"PURGE /[ab].* HTTP/1.1\r\nHost: h\r\nX-Purge-Method: Regex", "of regular expressions", false, false},
    {"PURGE /.*/.* HTTP/1.1\r\nHost: h\r\nX-Purge-Method: regex", "of regular expressions", false, false},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nX-Magento-Tags-Pattern: .*", "X-Magento-Tags-Pattern", false, false},
    {"PURGE / HTTP/1.0", "target: 'http:///' is no absolute URL", false, false},
    {"PURGE / HTTP/1.1\r\nHost: *.h", "has a star", false, false},
    {"PURGE / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: \"a\"\r\nIdempotency-Key: b", "differ", false, false},
};

static void test_heads(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct http_field fields[8];
        struct http_head head = {.fields = fields, .cap_fields = ARRAY_LEN(fields)};
        struct http1_scan scan = {0};
        struct http1_target target;
        struct purge_draft d;
        struct purge_order o;
        struct buf text = {0}, said = {0};
        buf_printf(&text, "%s\r\n\r\n", heads[i].head);
        assert_int_equal(http1_parse_request(&scan, text.p, text.len, &cfg->http_limits, &head).status,
                         HTTP1_HEAD);
        http1_target(&head, &target);
        purge_draft_init(&d, cfg);
        bool ok = purge_method_read(&head, &target, &d) && purge_draft_order(&d, &o);
        for (size_t k = 0; ok && k < o.n_items; k++)
            buf_printf(&said, "%s%c:%.*s", k > 0 ? " " : "", "upth*"[o.items[k].kind],
                       SPAN_FMT(o.items[k].what));
        if (!ok)
            buf_put_span(&said, buf_span(&d.why));
        buf_put(&said, "", 1);
        bool fits = ok ? strcmp(said.p, heads[i].items) == 0 : strstr(said.p, heads[i].items) != NULL;
        if (ok != heads[i].ok || !fits || (ok && o.is_soft != heads[i].is_soft))
            fail_msg("%s: %s", heads[i].head, said.p);
        purge_draft_fini(&d);
        buf_fini(&text);
        buf_fini(&said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_heads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
