#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"
#include "common/http1.h"
#include "shield/admin/purge_dialect.h"
#include "test/unit/alloc_fail.h"

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

/* "t:KEY" and so on, one after the other with blanks between. */
static void put_items(const struct purge_order *o, struct buf *out)
{
    for (size_t i = 0; i < o->n_items; i++)
        buf_printf(out, "%s%c:%.*s", i > 0 ? " " : "", "upth*"[o->items[i].kind], SPAN_FMT(o->items[i].what));
    buf_put(out, "", 1);
}

/* `head` is "METHOD target" and fields, each line without its end. */
static bool read_words(const struct purge_dialect *dialect, const char *const *lines, const char *content,
                       struct purge_draft *d, struct purge_order *o)
{
    struct buf text = {0};
    struct http_field fields[16];
    struct http_head head = {.fields = fields, .cap_fields = ARRAY_LEN(fields)};
    struct http1_scan scan = {0};
    buf_printf(&text, "%s HTTP/1.1\r\nHost: a\r\n", lines[0]);
    for (size_t i = 1; lines[i] != NULL; i++)
        buf_printf(&text, "%s\r\n", lines[i]);
    buf_put_lit(&text, "\r\n");
    struct http1_result got = http1_parse_request(&scan, text.p, text.len, &cfg->http_limits, &head);
    assert_int_equal(got.status, HTTP1_HEAD);
    struct purge_words words = {.target = head.target, .head = &head, .content = span_of(content)};
    purge_draft_init(d, cfg);
    bool ok = dialect->read(&words, d) && purge_draft_order(d, o);
    buf_fini(&text);
    return ok;
}

enum { LINES = 4 };

struct order_case {
    const char *lines[LINES], *content;
    const char *items; /* what is ordered, or what stands in the fault */
    bool is_soft;
};

static void check_orders(const struct purge_dialect *dialect, const struct order_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct purge_draft d;
        struct purge_order o;
        struct buf items = {0};
        if (!read_words(dialect, cases[i].lines, cases[i].content, &d, &o))
            fail_msg("%s %s: %.*s", cases[i].lines[0], cases[i].content, SPAN_FMT(buf_span(&d.why)));
        put_items(&o, &items);
        assert_string_equal(items.p, cases[i].items);
        assert_int_equal(o.is_soft, cases[i].is_soft);
        assert_int_equal(o.over_ms, 0);
        buf_fini(&items);
        purge_draft_fini(&d);
    }
}

static void check_faults(const struct purge_dialect *dialect, const struct order_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct purge_draft d;
        struct purge_order o;
        assert_false(read_words(dialect, cases[i].lines, cases[i].content, &d, &o));
        assert_int_equal(d.err, ERR_SYNTAX);
        buf_put(&d.why, "", 1);
        if (strstr(d.why.p, cases[i].items) == NULL)
            fail_msg("%s %s: %s", cases[i].lines[0], cases[i].content, d.why.p);
        purge_draft_fini(&d);
    }
}

/* ---- Cloudflare ---- */

#define ZONE "POST /client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache"

static const struct order_case cloudflare_orders[] = {
    {{ZONE}, "{\"files\":[\"http://a/x\",\"https://a/y?z\"]}", "u:http://a/x u:https://a/y?z", false},
    {{ZONE},
     "{\"files\":[{\"url\":\"http://a/x\",\"headers\":{\"CF-Device-Type\":\"mobile\"}},{\"url\":\"http://a/"
     "y\"}]}",
     "u:http://a/x u:http://a/y",
     false},
    {{ZONE}, "{\"tags\":[\"t\",\"u\"]}", "t:t t:u", false},
    {{ZONE}, "{\"prefixes\":[\"www.a/x\"],\"hosts\":[\"www.a\"]}", "p:http://www.a/x h:www.a", false},
    {{ZONE}, "{\"purge_everything\":true}", "*:", false},
    {{ZONE}, "{\"purge_everything\":false,\"tags\":[\"t\"]}", "t:t", false},
};

static const struct order_case cloudflare_faults[] = {
    {{ZONE}, "", "the request has no content; write {\"files\"", false},
    {{ZONE}, "{}", "nothing to purge", false},
    {{ZONE}, "{\"purge_everything\":false}", "nothing to purge", false},
    {{ZONE}, "{\"purge_everything\":\"true\"}", "purge_everything: a string", false},
    {{ZONE}, "{\"urls\":[\"http://a/\"]}", "'urls' is not known; there are files, tags", false},
    {{ZONE}, "{\"files\":\"http://a/\"}", "files: write a list of URLs", false},
    {{ZONE}, "{\"files\":[\"a/x\"]}", "files[0]: 'a/x' is no absolute URL", false},
    {{ZONE}, "{\"files\":[\"http://a/x\",null]}", "files[1]: write a URL", false},
    {{ZONE}, "{\"files\":[{}]}", "files[0]: \"url\" is missing", false},
    {{ZONE}, "{\"files\":[{\"url\":\"/x\"}]}", "files[0]: '/x' is no absolute URL", false},
    {{ZONE}, "{\"files\":[{\"url\":\"http://a/\",\"header\":{}}]}", "files[0]: it has \"url\"", false},
    {{ZONE}, "{\"files\":[{\"url\":\"http://a/\",\"headers\":[]}]}", "files[0]: it has \"url\"", false},
};

static void test_cloudflare(void **state)
{
    check_orders(&purge_cloudflare, cloudflare_orders, ARRAY_LEN(cloudflare_orders));
    check_faults(&purge_cloudflare, cloudflare_faults, ARRAY_LEN(cloudflare_faults));
}

/* ---- Fastly ---- */

static const struct order_case fastly_orders[] = {
    {{"POST /service/S1/purge/key"}, "", "t:key", false},
    {{"PUT /service/S1/purge/key"}, "", "t:key", false},
    {{"POST /service/S1/purge/key", "Fastly-Soft-Purge: 1"}, "", "t:key", true},
    {{"POST /service/S1/purge/key", "Fastly-Soft-Purge: 0"}, "", "t:key", false},
    {{"POST /service/S1/purge/key?x=y"}, "ignored", "t:key", false},
    {{"POST /service/S1/purge/a%20b%2Fc%25"}, "", "t:a b/c%", false},
    {{"POST /service/S1/purge/a/b+c"}, "", "t:a/b+c", false},
    {{"POST /service/S1/purge/purge_all"}, "", "t:purge_all", false},
    {{"POST /service/S1/purge_all"}, "", "*:", false},
    {{"POST /service/S1/purge", "Surrogate-Key: a b  c"}, "", "t:a t:b t:c", false},
    {{"POST /service/S1/purge", "Surrogate-Key: a", "surrogate-key: b"}, "", "t:a t:b", false},
    {{"POST /service/S1/purge"}, "{\"surrogate_keys\":[\"a\",\"b c\"]}", "t:a t:b c", false},
    {{"POST /service/S1/purge", "Surrogate-Key: a"}, "{\"surrogate_keys\":[\"b\"]}", "t:a t:b", false},
    {{"POST /purge/www.a.example/x/y"}, "", "u:http://www.a.example/x/y", false},
    {{"PURGE /purge/a:81/x?y=%20&z"}, "", "u:http://a:81/x?y=%20&z", false},
    {{"POST /purge/a"}, "", "u:http://a", false},
    {{"POST /purge/https://a/x"}, "", "u:https://a/x", false},
};

static const struct order_case fastly_faults[] = {
    {{"POST /service/S1/purge/key", "Fastly-Soft-Purge: yes"}, "", "Fastly-Soft-Purge is 1", false},
    {{"POST /service/S1/purge/a%2"}, "", "not percent-encoded", false},
    {{"POST /service/S1/purge/a%0Ab"}, "", "not percent-encoded", false},
    {{"POST /service/S1/purge/%20"}, "", "is no tag", false},
    {{"POST /service/S1/purge"}, "", "the request has no content; write {\"surrogate_keys\"", false},
    {{"POST /service/S1/purge", "Surrogate-Key:"}, "", "nothing to purge", false},
    {{"POST /service/S1/purge"}, "{\"surrogate_keys\":[]}", "nothing to purge", false},
    {{"POST /service/S1/purge"}, "{\"keys\":[\"a\"]}", "'keys' is not known", false},
    {{"POST /purge/u@a/"}, "", "path: 'http://u@a/' is no absolute URL", false},
    {{"POST /purge//x"}, "", "is no absolute URL", false},
};

static void test_fastly(void **state)
{
    check_orders(&purge_fastly, fastly_orders, ARRAY_LEN(fastly_orders));
    check_faults(&purge_fastly, fastly_faults, ARRAY_LEN(fastly_faults));
}

/* ---- without memory ---- */

struct starved {
    const struct purge_dialect *dialect;
    struct purge_words words;
    const char *items;
    unsigned n_refused;
};

/* An order is whole, or none. */
static void read_starved(void *ctx)
{
    struct starved *t = ctx;
    struct purge_draft d;
    struct purge_order o;
    purge_draft_init(&d, cfg);
    bool ok = t->dialect->read(&t->words, &d) && purge_draft_order(&d, &o);
    alloc_armed = false;
    if (ok) {
        struct buf items = {0};
        put_items(&o, &items);
        assert_string_equal(items.p, t->items);
        buf_fini(&items);
    } else {
        assert_int_equal(d.err, ERR_NOMEM);
        t->n_refused++;
    }
    purge_draft_fini(&d);
}

static void test_without_memory(void **state)
{
    struct http_field field = {SPAN("Surrogate-Key"), SPAN("a b"), FIELD_OTHER};
    struct http_head head = {.fields = &field, .n_fields = 1};
    struct starved cases[] = {
        {&purge_ours,
         {SPAN("/purge"), &head,
          SPAN("{\"urls\":[\"http://a/\"],\"prefixes\":[\"a/b\"],\"reference\":\"r\"}")},
         "u:http://a/ p:http://a/b",
         0},
        {&purge_cloudflare,
         {SPAN("/client/v4/zones/z/purge_cache"), &head, SPAN("{\"hosts\":[\"a\"]}")},
         "h:a",
         0},
        {&purge_fastly,
         {SPAN("/service/s/purge"), &head, SPAN("{\"surrogate_keys\":[\"c\"]}")},
         "t:a t:b t:c",
         0},
        {&purge_fastly, {SPAN("/service/s/purge/a%20b"), &head, SPAN("")}, "t:a b", 0},
        {&purge_fastly, {SPAN("/purge/a/b"), &head, SPAN("")}, "u:http://a/b", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(alloc_fail_each(read_starved, &cases[i]) > 1);
        assert_true(cases[i].n_refused > 1);
    }
}

/* ---- answers ---- */

static const struct purge_item two_tags[] = {{PURGE_TAG, {"a", 1}}, {PURGE_TAG, {"\xff", 1}}};
static const struct purge_receipt durable = {.number = 7, .is_durable = true},
                                  repeated = {.number = 7, .is_durable = true, .is_repeat = true},
                                  shaky = {.number = 7};

static const struct {
    const struct purge_dialect *dialect;
    const char *target;
    const struct purge_receipt *receipt;
    const char *text;
} receipts[] = {
    {&purge_ours, "/purge", &durable, "{\"purge\":7,\"durable\":true}"},
    {&purge_ours, "/purge", &repeated, "{\"purge\":7,\"durable\":true,\"repeated\":true}"},
    {&purge_ours, "/purge", &shaky, "{\"purge\":7,\"durable\":false}"},
    {&purge_cloudflare, "/client/v4/zones/Z1/purge_cache", &durable,
     "{\"success\":true,\"errors\":[],\"messages\":[],\"result\":{\"id\":\"Z1\",\"purge\":7}}"},
    {&purge_cloudflare, "/client/v4/zones/Z1/purge_cache", &shaky,
     "{\"success\":false,\"errors\":[{\"code\":507,\"message\":\"purged, but it would not survive a restart: "
     "see the "
     "store\"}],\"messages\":[],\"result\":null}"},
    {&purge_fastly, "/service/S1/purge/key", &durable, "{\"status\":\"ok\",\"id\":\"7\"}"},
    {&purge_fastly, "/service/S1/purge_all", &durable, "{\"status\":\"ok\",\"id\":\"7\"}"},
    {&purge_fastly, "/purge/a/x", &repeated, "{\"status\":\"ok\",\"id\":\"7\"}"},
    {&purge_fastly, "/service/S1/purge?", &durable, "{\"a\":\"7\",\"%FF\":\"7\"}"},
    {&purge_fastly, "/service/S1/purge/a", &shaky,
     "{\"msg\":\"purged, but it would not survive a restart: see the store\",\"detail\":\"purged, but it "
     "would not "
     "survive a restart: see the store\"}"},
};

static void test_receipts(void **state)
{
    struct purge_order o = {.items = two_tags, .n_items = 2};
    for (size_t i = 0; i < ARRAY_LEN(receipts); i++) {
        struct purge_words words = {.target = span_of(receipts[i].target)};
        json_t *said = receipts[i].dialect->receipt(&words, &o, receipts[i].receipt);
        char *text = json_dumps(said, JSON_COMPACT);
        assert_string_equal(text, receipts[i].text);
        free(text);
        json_decref(said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cloudflare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fastly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_memory, set_up, tear_down),
        cmocka_unit_test(test_receipts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
