#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/admin/purge_json.h"

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

static bool read_text(const char *text, struct purge_draft *d)
{
    struct purge_words words = {.content = span_of(text)};
    return purge_ours.read(&words, d);
}

static const struct {
    const char *text;
    size_t counts[PURGE_KINDS]; /* urls, prefixes, tags, hosts, all */
    bool is_soft;
    uint64_t over_ms;
    const char *reference;
} good[] = {
    {"{\"urls\":[\"http://a/b\"]}", {1}, false, 0, ""},
    {" {\"urls\":[\"http://a/b\",\"http://a/b\"],\"prefixes\":[\"a/\"],\"tags\":[\"t\"],\"hosts\":[\"h\"]}\n",
     {2, 1, 1, 1},
     false,
     0,
     ""},
    {"{\"urls\":[],\"prefixes\":[],\"tags\":[],\"hosts\":[],\"all\":true,\"soft\":false}",
     {[PURGE_ALL] = 1},
     false,
     0,
     ""},
    {"{\"tags\":[\"t\"],\"soft\":true,\"reference\":\"v 42\"}", {[PURGE_TAG] = 1}, true, 0, "v 42"},
    {"{\"all\":true,\"over\":\"10m\"}", {[PURGE_ALL] = 1}, true, 600000, ""},
    {"{\"soft\":false,\"all\":true,\"over\":\"1h\"}", {[PURGE_ALL] = 1}, false, 3600000, ""},
    {"{\"all\":true,\"over\":\"0\"}", {[PURGE_ALL] = 1}, false, 0, ""},
    {"{\"all\":true,\"over\":\"30d\"}", {[PURGE_ALL] = 1}, true, 2592000000, ""},
};

static void test_orders(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct purge_draft d;
        struct purge_order o;
        purge_draft_init(&d, cfg);
        if (!read_text(good[i].text, &d) || !purge_draft_order(&d, &o))
            fail_msg("%s: %.*s", good[i].text, SPAN_FMT(buf_span(&d.why)));
        for (int k = 0; k < PURGE_KINDS; k++)
            assert_int_equal(purge_draft_count(&d, (enum purge_kind)k), good[i].counts[k]);
        assert_int_equal(o.is_soft, good[i].is_soft);
        assert_int_equal(o.over_ms, good[i].over_ms);
        assert_true(span_eq(o.reference, span_of(good[i].reference)));
        purge_draft_fini(&d);
    }
}

static const struct {
    const char *text, *fault;
} bad[] = {
    {"", "the request has no content; write {"},
    {" \t ", "the request has no content"},
    {"\n", "no JSON"},
    {"{", "line 1, column 1: no JSON"},
    {"{\"tags\":[\"t\"]}x", "line 1, column 15: no JSON"},
    {"\n\n{\"tags\":[\"t\",]}", "line 3"},
    {"[]", "the content is a list; write an object"},
    {"\"all\"", "no JSON"},
    {"{}", "nothing to purge"},
    {"{\"urls\":[],\"all\":false}", "nothing to purge"},
    {"{\"soft\":true}", "nothing to purge"},
    {"{\"url\":[\"http://a/\"]}", "'url' is not known; there are urls, prefixes, tags"},
    {"{\"tags\":[\"t\"],\"Soft\":true}", "'Soft' is not known"},
    {"{\"tags\":[\"t\"],\"tags\":[\"u\"]}", "no JSON: duplicate"},
    {"{\"urls\":\"http://a/\"}", "urls: a string; write a list of strings"},
    {"{\"urls\":null}", "urls: null; write a list"},
    {"{\"urls\":[\"http://a/\",7]}", "urls[1]: a number; write a string"},
    {"{\"urls\":[\"http://a/\",\"/b\"]}", "urls[1]: '/b' is no absolute URL"},
    {"{\"tags\":[\"t\",[\"u\"]]}", "tags[1]: a list; write a string"},
    {"{\"tags\":{\"t\":1}}", "tags: an object; write a list"},
    {"{\"hosts\":[\"http://a/\"]}", "hosts[0]: 'http://a/' is no host"},
    {"{\"prefixes\":[\"/a\"]}", "prefixes[0]:"},
    {"{\"all\":1}", "all: a number; write true or false"},
    {"{\"all\":\"true\"}", "all: a string; write true or false"},
    {"{\"all\":true,\"soft\":null}", "soft: null; write true or false"},
    {"{\"all\":true,\"over\":600}", "over: write a string as \"30s\""},
    {"{\"all\":true,\"over\":\"600\"}", "over: write a string"},
    {"{\"all\":true,\"over\":\"31d\"}", "at most \"30d\""},
    {"{\"all\":true,\"over\":\"-1s\"}", "over: write a string"},
    {"{\"all\":true,\"reference\":7}", "reference: a number; write a string"},
    {"{\"all\":true,\"reference\":\"\"}", "a reference is 1 to 256"},
    {"{\"tags\":[\"a\\u0000b\"]}", "no JSON"},
    {"{\"tags\":[\"a\\nb\"]}", "is no tag"},
    {"{\"tags\":[\"\xff\"]}", "no JSON"},
};

static void test_faults(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct purge_draft d;
        struct purge_order o;
        purge_draft_init(&d, cfg);
        assert_false(read_text(bad[i].text, &d) && purge_draft_order(&d, &o));
        assert_int_equal(d.err, ERR_SYNTAX);
        buf_put(&d.why, "", 1);
        if (strstr(d.why.p, bad[i].fault) == NULL)
            fail_msg("%s: %s", bad[i].text, d.why.p);
        purge_draft_fini(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_orders, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
