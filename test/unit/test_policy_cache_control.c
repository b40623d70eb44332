#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/cache_control.h"

#define NONE CC_ABSENT
#define MOST CC_DELTA_MAX

static const struct {
    const char *rfc, *lines;
    uint32_t flags;
    int64_t max_age, s_maxage;
} rows[] = {
    {"9111 5.2: none", "", 0, NONE, NONE},
    {"9111 5.2: empty", "Cache-Control:\n", 0, NONE, NONE},
    {"9111 5.2: case", "Cache-Control: MAX-Age=5, No-Store\n", CC_NO_STORE, 5, NONE},
    {"9111 5.2: lines are one list", "Cache-Control: max-age=5\nCache-Control: s-maxage=6\n", 0, 5, 6},
    {"9110 5.6.1: empty elements", "Cache-Control: ,, max-age=5 ,\t,private,\n", CC_PRIVATE, 5, NONE},
    {"9111 5.2: unknown ones are ignored", "Cache-Control: max-age=5, foo, bar=1, baz=\"q\"\n", 0, 5, NONE},
    {"9111 5.2: a longer name is another", "Cache-Control: max-ages=5, xno-store, no-stored\n", 0, NONE,
     NONE},
    {"9111 5.2: both forms are accepted", "Cache-Control: max-age=\"5\", s-maxage=7\n", 0, 5, 7},
    {"9111 5.2: quoted text holds no directive", "Cache-Control: a=\"no-store, max-age=9\", max-age=5\n", 0,
     5, NONE},
    {"9110 5.6.4: an escaped quote", "Cache-Control: a=\"x\\\", no-store, \\\"\", max-age=5\n", 0, 5, NONE},
    {"9111 4.2.1: not a number", "Cache-Control: max-age=abc\n", 0, 0, NONE},
    {"9111 4.2.1: a sign", "Cache-Control: max-age=-5\n", 0, 0, NONE},
    {"9111 4.2.1: plus sign", "Cache-Control: max-age=+5\n", 0, 0, NONE},
    {"9111 4.2.1: a fraction", "Cache-Control: max-age=5.5\n", 0, 0, NONE},
    {"9111 4.2.1: a tail", "Cache-Control: max-age=5s\n", 0, 0, NONE},
    {"9111 4.2.1: semicolon", "Cache-Control: max-age=5; s-maxage=6\n", 0, 0, NONE},
    {"9111 4.2.1: single quotes", "Cache-Control: max-age='5'\n", 0, 0, NONE},
    {"9111 4.2.1: no value", "Cache-Control: max-age=, s-maxage\n", 0, 0, 0},
    {"9111 4.2.1: space before the equals sign", "Cache-Control: max-age =5\n", 0, 0, NONE},
    {"9111 4.2.1: space behind it", "Cache-Control: max-age= 5\n", 0, 0, NONE},
    {"9111 4.2.1: bytes behind the string", "Cache-Control: max-age=\"5\"0\n", 0, 0, NONE},
    {"9111 4.2.1: the smaller of two", "Cache-Control: max-age=9, max-age=5\n", 0, 5, NONE},
    {"9111 4.2.1: in any order", "Cache-Control: max-age=5\nCache-Control: max-age=9\n", 0, 5, NONE},
    {"9111 4.2.1: an invalid one of two", "Cache-Control: max-age=5, max-age=x\n", 0, 0, NONE},
    {"9111 1.2.2: leading zeros", "Cache-Control: max-age=00060\n", 0, 60, NONE},
    {"9111 1.2.2: 2^31", "Cache-Control: max-age=2147483648\n", 0, MOST, NONE},
    {"9111 1.2.2: more", "Cache-Control: max-age=2147483649, s-maxage=4294967297\n", 0, MOST, MOST},
    {"9111 1.2.2: more than 64 bits", "Cache-Control: max-age=99999999999999999999999999\n", 0, MOST, NONE},
    {"9111 5.2.2.4: unqualified", "Cache-Control: no-cache\n", CC_NO_CACHE, NONE, NONE},
    {"9111 5.2.2.4: names", "Cache-Control: no-cache=\"a, b\"\n", CC_NO_CACHE_FIELDS, NONE, NONE},
    {"9111 5.2.2.4: token form", "Cache-Control: no-cache=a\n", CC_NO_CACHE_FIELDS, NONE, NONE},
    {"9111 5.2.2.4: no names", "Cache-Control: no-cache=\"\"\n", CC_NO_CACHE, NONE, NONE},
    {"9111 5.2.2.4: both", "Cache-Control: no-cache=a, no-cache\n", CC_NO_CACHE | CC_NO_CACHE_FIELDS, NONE,
     NONE},
    {"9111 5.2.2.7: unqualified", "Cache-Control: private\n", CC_PRIVATE, NONE, NONE},
    {"9111 5.2.2.7: names", "Cache-Control: private=\"set-cookie\"\n", CC_PRIVATE_FIELDS, NONE, NONE},
    {"9111 5.2.2.7: odd spacing", "Cache-Control: private = \"x\"\n", CC_PRIVATE, NONE, NONE},
    {"9111 5.2.2.5: an argument restricts no less", "Cache-Control: no-store=x\n", CC_NO_STORE, NONE, NONE},
    {"9111 5.2.2.9: an argument permits nothing", "Cache-Control: public=x\n", 0, NONE, NONE},
    {"9111 5.2.2.9: public", "Cache-Control: public\n", CC_PUBLIC, NONE, NONE},
    {"9111 5.2.2", "Cache-Control: must-revalidate, proxy-revalidate, must-understand\n",
     CC_MUST_REVALIDATE | CC_PROXY_REVALIDATE | CC_MUST_UNDERSTAND, NONE, NONE},
    {"9111 5.2.1.7", "Cache-Control: only-if-cached\n", CC_ONLY_IF_CACHED, NONE, NONE},
    {"an open string hides nothing", "Cache-Control: a=\"b, no-store, max-age=5\n",
     CC_NO_STORE | CC_MALFORMED, 5, NONE},
    {"an open string ends with its line", "Cache-Control: a=\"b\nCache-Control: private=\"x\"\n",
     CC_PRIVATE_FIELDS | CC_MALFORMED, NONE, NONE},
    {"an open list of names means all", "Cache-Control: private=\"x, y\n", CC_PRIVATE | CC_MALFORMED, NONE,
     NONE},
    {"a quote that a backslash eats", "Cache-Control: a=\"\\\", no-store\n", CC_NO_STORE | CC_MALFORMED, NONE,
     NONE},
};

static void test_directives(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_head t;
        struct cache_control cc;
        cache_control_read(response_head(&t, 200, rows[i].lines), &cc);
        if (cc.flags != rows[i].flags || cc.max_age_s != rows[i].max_age || cc.s_maxage_s != rows[i].s_maxage)
            fail_msg("%s: flags %#x, max-age %lld, s-maxage %lld", rows[i].rfc, cc.flags,
                     (long long)cc.max_age_s, (long long)cc.s_maxage_s);
    }
}

static const struct {
    const char *rfc, *line;
    int64_t swr, sie, min_fresh, max_stale;
} more[] = {
    {"5861 3 and 4", "Cache-Control: stale-while-revalidate=3, stale-if-error=4\n", 3, 4, NONE, NONE},
    {"5861 3: no value", "Cache-Control: stale-while-revalidate, stale-if-error=x\n", 0, 0, NONE, NONE},
    {"9111 5.2.1.2", "Cache-Control: max-stale=10\n", NONE, NONE, NONE, 10},
    {"9111 5.2.1.2: of any age", "Cache-Control: max-stale\n", NONE, NONE, NONE, MOST},
    {"9111 5.2.1.2: invalid", "Cache-Control: max-stale=x\n", NONE, NONE, NONE, 0},
    {"9111 5.2.1.3", "Cache-Control: min-fresh=10, min-fresh=20\n", NONE, NONE, 20, NONE},
    {"9111 5.2.1.3: invalid", "Cache-Control: min-fresh=x\n", NONE, NONE, MOST, NONE},
};

static void test_more_seconds(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct test_head t;
        struct cache_control cc;
        cache_control_read(response_head(&t, 200, more[i].line), &cc);
        if (cc.stale_while_revalidate_s != more[i].swr || cc.stale_if_error_s != more[i].sie ||
            cc.min_fresh_s != more[i].min_fresh || cc.max_stale_s != more[i].max_stale)
            fail_msg("%s", more[i].rfc);
    }
}

#define SHIELD "Shield-Cache-Control: "
#define CDN    "CDN-Cache-Control: "
#define SURR   "Surrogate-Control: "
#define CC     "Cache-Control: "
#define BY(id) FIELD_##id##_CONTROL

/* Which field governs a response, and what it says. */
static const struct {
    const char *rfc, *lines;
    enum http_field_id by;
    uint32_t flags;
    int64_t max_age, s_maxage;
} targeted[] = {
    {"none", "", BY(CACHE), 0, NONE, NONE},
    {"9213 3.1: CDN before Cache-Control", CC "max-age=60, s-maxage=120\n" CDN "max-age=600\n", BY(CDN_CACHE),
     0, 600, NONE},
    {"9213 3.1: Cache-Control forbids in vain", CDN "max-age=600\n" CC "no-store\n", BY(CDN_CACHE), 0, 600,
     NONE},
    {"9213 3.1: a directive that nobody knows", CC "no-store\n" CDN "none\n", BY(CDN_CACHE), 0, NONE, NONE},
    {"9213 2.2: by priority", CDN "max-age=2\n" SHIELD "max-age=1\n" SURR "max-age=3\n", BY(SHIELD_CACHE), 0,
     1, NONE},
    {"9213 2.1: empty is ignored", SHIELD "\n" CDN "max-age=2\n", BY(CDN_CACHE), 0, 2, NONE},
    {"9213 2.1: invalid is ignored", SHIELD "max-age=1, &\n" CDN "max-age=2\n", BY(CDN_CACHE), 0, 2, NONE},
    {"9213 2.1: as if it were not there", CDN "max-age=60, no-store,\n" CC "max-age=5\n", BY(CACHE), 0, 5,
     NONE},
    {"9213 2.1: upper case is invalid", CDN "Max-Age=60\n" CC "max-age=5\n", BY(CACHE), 0, 5, NONE},
    {"9213 2.1: white space is invalid", CDN "max-age= 60\n" CC "max-age=5\n", BY(CACHE), 0, 5, NONE},
    {"9213 2.1: several lines", CDN "max-age=60\nX: 1\n" CDN "no-cache\n", BY(CDN_CACHE), CC_NO_CACHE, 60,
     NONE},
    {"9213 2.1: one bad line spoils all", CDN "max-age=60\n" CDN "no-cache,\n", BY(CACHE), 0, NONE, NONE},
    {"9213 2.2: what must be known",
     CDN "max-age=1, must-revalidate, no-store, no-cache, private, proxy-revalidate, public, s-maxage=2\n",
     BY(CDN_CACHE),
     CC_MUST_REVALIDATE | CC_NO_STORE | CC_NO_CACHE | CC_PRIVATE | CC_PROXY_REVALIDATE | CC_PUBLIC, 1, 2},
    {"9213 2.1: a string is no number", CDN "max-age=\"60\"\n", BY(CDN_CACHE), 0, 0, NONE},
    {"9213 2.1: nor is a decimal", CDN "max-age=60.0, s-maxage=60.9\n", BY(CDN_CACHE), 0, 0, 0},
    {"9213 2.1: nor a token, nor nothing", CDN "max-age=a, s-maxage\n", BY(CDN_CACHE), 0, 0, 0},
    {"9213 2.1: nor a date", CDN "max-age=@60\n", BY(CDN_CACHE), 0, 0, NONE},
    {"9111 4.2.1: negative", CDN "max-age=-60\n", BY(CDN_CACHE), 0, 0, NONE},
    {"9111 1.2.2: saturates", CDN "max-age=999999999999999\n", BY(CDN_CACHE), 0, MOST, NONE},
    {"9651 3.3.1: sixteen digits are invalid", CDN "max-age=9999999999999999\n", BY(CACHE), 0, NONE, NONE},
    {"9213 2.1: parameters are ignored", CDN "max-age=60;x=1;no-store, private;y\n", BY(CDN_CACHE),
     CC_PRIVATE, 60, NONE},
    {"9213 2.1: names", CDN "no-cache=\"a, b\", private=\"c\"\n", BY(CDN_CACHE),
     CC_NO_CACHE_FIELDS | CC_PRIVATE_FIELDS, NONE, NONE},
    {"names as a token, or none, restrict it all", CDN "no-cache=a, private=\"\"\n", BY(CDN_CACHE),
     CC_NO_CACHE | CC_PRIVATE, NONE, NONE},
    {"a restriction of another type holds", CDN "no-store=1, must-revalidate=(a b)\n", BY(CDN_CACHE),
     CC_NO_STORE | CC_MUST_REVALIDATE, NONE, NONE},
    {"but not one that says no", CDN "no-store=?0, no-cache=?0\n", BY(CDN_CACHE), 0, NONE, NONE},
    {"a permission of another type does not", CDN "public=1\n", BY(CDN_CACHE), 0, NONE, NONE},
    {"9651 4.2.2: the last of several counts", CDN "max-age=60, private, max-age=600, private=?0\n",
     BY(CDN_CACHE), 0, 600, NONE},

    {"Surrogate-Control", SURR "max-age=60\n" CC "no-store\n", BY(SURROGATE), 0, 60, NONE},
    {"its staleness", SURR "max-age=60+30\n", BY(SURROGATE), 0, 60, NONE},
    {"its staleness is a number", SURR "max-age=60+x\n", BY(SURROGATE), 0, 0, NONE},
    {"it forbids", SURR "no-store\n" CC "max-age=9\n", BY(SURROGATE), CC_NO_STORE, NONE, NONE},
    {"it is about content alone", SURR "content=\"ESI/1.0\"\n" CC "max-age=9\n", BY(CACHE), 0, 9, NONE},
    {"content beside a lifetime", SURR "content=\"ESI/1.0 a,no-store\", Max-Age=60\n", BY(SURROGATE), 0, 60,
     NONE},
    {"aimed at others", SURR "max-age=60;abc, no-store;abc\n" CC "max-age=9\n", BY(CACHE), 0, 9, NONE},
    {"aimed at others and at all", SURR "max-age=60;abc, max-age=6\n", BY(SURROGATE), 0, 6, NONE},
    {"an open string hides nothing", SURR "content=\"ESI, no-store, max-age=6\n", BY(SURROGATE),
     CC_NO_STORE | CC_MALFORMED, 6, NONE},
};

static void test_targeted(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(targeted); i++) {
        struct test_head t;
        struct cache_control cc;
        enum http_field_id by = cache_control_govern(response_head(&t, 200, targeted[i].lines), &cc);
        if (by != targeted[i].by)
            fail_msg("%s: by %s", targeted[i].rfc, http_field_name(by).p);
        if (cc.flags != targeted[i].flags || cc.max_age_s != targeted[i].max_age ||
            cc.s_maxage_s != targeted[i].s_maxage)
            fail_msg("%s: flags %#x, max-age %lld, s-maxage %lld", targeted[i].rfc, cc.flags,
                     (long long)cc.max_age_s, (long long)cc.s_maxage_s);
    }
}

static void test_targeted_stale(void **state)
{
    struct test_head t;
    struct cache_control cc;
    cache_control_govern(
        response_head(&t, 200, CDN "stale-while-revalidate=3, stale-if-error=4\n" CC "stale-if-error=9\n"),
        &cc);
    assert_true(cc.stale_while_revalidate_s == 3 && cc.stale_if_error_s == 4);
    cache_control_govern(response_head(&t, 200, SURR "max-age=60+30\n"), &cc);
    assert_true(cc.stale_while_revalidate_s == 30 && cc.stale_if_error_s == 30);
}

static void test_walk(void **state)
{
    struct span rest = SPAN(" a=\"b, \\\"c\" , d , e=f");
    struct cc_directive d;
    assert_true(cache_control_next(&rest, &d));
    assert_true(span_eq(d.name, SPAN("a")) && span_eq(d.argument, SPAN("b, \\\"c")) && d.is_quoted);
    assert_true(cache_control_next(&rest, &d));
    assert_true(span_eq(d.name, SPAN("d")) && !d.has_argument && !d.is_malformed);
    assert_true(cache_control_next(&rest, &d));
    assert_true(span_eq(d.name, SPAN("e")) && span_eq(d.argument, SPAN("f")) && !d.is_quoted);
    assert_false(cache_control_next(&rest, &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directives), cmocka_unit_test(test_more_seconds),
        cmocka_unit_test(test_targeted),   cmocka_unit_test(test_targeted_stale),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
