#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "common/http_range.h"
#include "shield/policy/conditional.h"

#define DATE  "Date: " DATE_NOW "\n"
#define LM_1K "Last-Modified: " DATE_MINUS_1K "\n"
#define INM   "If-None-Match: "
#define IMS   "If-Modified-Since: "
#define SEND  CONDITION_SEND
#define KNOWN CONDITION_NOT_MODIFIED

static const struct {
    const char *rfc, *method, *request;
    int status;
    const char *response;
    enum condition condition;
} conditions[] = {
    {"no condition", "GET", "", 200, "ETag: \"a\"\n" LM_1K DATE, SEND},
    {"9110 13.1.2: the same", "GET", INM "\"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 13.1.2: another", "GET", INM "\"b\"\n", 200, "ETag: \"a\"\n", SEND},
    {"9110 13.1.2: HEAD", "HEAD", INM "\"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 8.8.3.2: weak and weak", "GET", INM "W/\"a\"\n", 200, "ETag: W/\"a\"\n", KNOWN},
    {"9110 8.8.3.2: weak and strong", "GET", INM "W/\"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 8.8.3.2: strong and weak", "GET", INM "\"a\"\n", 200, "ETag: W/\"a\"\n", KNOWN},
    {"9110 8.8.3.2: weak and other", "GET", INM "W/\"b\"\n", 200, "ETag: W/\"a\"\n", SEND},
    {"9110 8.8.3: W is upper case", "GET", INM "w/\"a\"\n", 200, "ETag: \"a\"\n", SEND},
    {"9110 13.1.2: in a list", "GET", INM "\"x\", W/\"y\" ,\"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 13.1.2: in another line", "GET", INM "\"x\"\n" INM "\"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 8.8.3: a comma inside", "GET", INM "\"x\", \"a,b\"\n", 200, "ETag: \"a,b\"\n", KNOWN},
    {"9110 8.8.3: a part of one is none", "GET", INM "\"x,\"a\"\n", 200, "ETag: \"a\"\n", SEND},
    {"9110 8.8.3: a backslash is itself", "GET", INM "\"x\\\", \"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 8.8.3: empty tag", "GET", INM "\"\"\n", 200, "ETag: \"\"\n", KNOWN},
    {"9110 8.8.3: unquoted", "GET", INM "a\n", 200, "ETag: \"a\"\n", SEND},
    {"junk, then a tag", "GET", INM "junk, \"a\"\n", 200, "ETag: \"a\"\n", KNOWN},
    {"a tag with a tail", "GET", INM "\"a\"x\n", 200, "ETag: \"a\"\n", SEND},
    {"9110 5.6.1: empty elements", "GET", INM ",, \"a\",\n", 200, "ETag: \"a\"\n", KNOWN},
    {"9110 13.1.2: *", "GET", INM "*\n", 200, "", KNOWN},
    {"9110 13.1.2: * in a list is invalid", "GET", INM "\"x\", *\n", 200, "ETag: \"a\"\n", SEND},
    {"9110 13.1.2: two * are invalid", "GET", INM "*\n" INM "*\n", 200, "ETag: \"a\"\n", SEND},
    {"no ETag to match", "GET", INM "\"a\"\n", 200, LM_1K, SEND},
    {"two ETags are none", "GET", INM "\"a\"\n", 200, "ETag: \"a\"\nETag: \"b\"\n", SEND},
    {"9110 13.2.2: If-None-Match goes first", "GET", INM "\"b\"\n" IMS DATE_NOW "\n", 200,
     "ETag: \"a\"\n" LM_1K, SEND},
    {"9110 13.2.2: and alone", "GET", INM "\"a\"\n" IMS DATE_MINUS_1Y "\n", 200, "ETag: \"a\"\n" LM_1K,
     KNOWN},
    {"9110 13.1.3: equal", "GET", IMS DATE_MINUS_1K "\n", 200, LM_1K, KNOWN},
    {"9110 13.1.3: later", "GET", IMS DATE_NOW "\n", 200, LM_1K, KNOWN},
    {"9110 13.1.3: earlier", "GET", IMS DATE_MINUS_1Y "\n", 200, LM_1K, SEND},
    {"9110 13.1.3: HEAD", "HEAD", IMS DATE_MINUS_1K "\n", 200, LM_1K, KNOWN},
    {"9110 13.1.3: no other method", "POST", IMS DATE_MINUS_1K "\n", 200, LM_1K, SEND},
    {"9110 13.1.3: an invalid date", "GET", IMS "now\n", 200, LM_1K, SEND},
    {"9110 13.1.3: two dates", "GET", IMS DATE_NOW "\n" IMS DATE_NOW "\n", 200, LM_1K, SEND},
    {"9110 5.6.7: RFC 850", "GET", IMS "Tuesday, 14-Nov-23 21:56:40 GMT\n", 200, LM_1K, KNOWN},
    {"9110 5.6.7: asctime", "GET", IMS "Tue Nov 14 21:56:40 2023\n", 200, LM_1K, KNOWN},
    {"9111 4.3.2: the Date stands in", "GET", IMS DATE_NOW "\n", 200, DATE, KNOWN},
    {"9111 4.3.2: and is later", "GET", IMS DATE_MINUS_1K "\n", 200, DATE, SEND},
    {"nothing to compare", "GET", IMS DATE_NOW "\n", 200, "", SEND},
    {"9110 13.2.1: not for a 404", "GET", INM "*\n", 404, "ETag: \"a\"\n", SEND},
    {"9110 13.2.1: not for a redirect", "GET", IMS DATE_NOW "\n", 301, LM_1K, SEND},
    {"9111 4.3.2: If-Match is not ours", "GET", "If-Match: \"x\"\n", 200, "ETag: \"a\"\n", SEND},
    {"9111 4.3.2: nor is If-Unmodified-Since", "GET", "If-Unmodified-Since: " DATE_MINUS_1Y "\n", 200, LM_1K,
     SEND},
};

static void test_conditions(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        struct test_head q, a;
        struct validators v;
        validators_of(response_head(&a, conditions[i].status, conditions[i].response), NOW_S, &v);
        if (policy_condition(request_head(&q, conditions[i].method, conditions[i].request), &v) !=
            conditions[i].condition)
            fail_msg("%s", conditions[i].rfc);
    }
}

#define RANGE "Range: bytes=2-5\n"

static const struct {
    const char *rfc, *method, *request;
    int status;
    const char *response;
    int n; /* how many are wanted */
} ranges[] = {
    {"no range", "GET", "", 200, "", 0},
    {"9110 14.2", "GET", RANGE, 200, "", 1},
    {"9110 14.2: only GET", "HEAD", RANGE, 200, "", 0},
    {"9110 14.2: only of a 200", "GET", RANGE, 404, "", 0},
    {"9110 14.2: another unit", "GET", "Range: lines=2-5\n", 200, "", 0},
    {"9110 14.1.1: malformed", "GET", "Range: bytes=5-2\n", 200, "", 0},
    {"9110 14.2: several", "GET", "Range: bytes=2-5,7-8\n", 200, "", 2},
    {"more than there is room for", "GET", "Range: bytes=2-5,7-8,9-9\n", 200, "", -1},
    {"9110 14.1.1: one of several is malformed", "GET", "Range: bytes=2-5,8-7,9-9\n", 200, "", 0},
    {"9110 13.1.5: several, and another", "GET", "Range: bytes=2-5,7-8,9-9\nIf-Range: \"b\"\n", 200,
     "ETag: \"a\"\n", 0},
    {"two fields", "GET", RANGE RANGE, 200, "", 0},
    {"9110 13.1.5: strong", "GET", RANGE "If-Range: \"a\"\n", 200, "ETag: \"a\"\n", 1},
    {"9110 13.1.5: another", "GET", RANGE "If-Range: \"b\"\n", 200, "ETag: \"a\"\n", 0},
    {"9110 13.1.5: weak", "GET", RANGE "If-Range: W/\"a\"\n", 200, "ETag: W/\"a\"\n", 0},
    {"9110 13.1.5: weak here", "GET", RANGE "If-Range: \"a\"\n", 200, "ETag: W/\"a\"\n", 0},
    {"9110 13.1.5: no ETag", "GET", RANGE "If-Range: \"a\"\n", 200, "", 0},
    {"9110 13.1.5: the date exactly", "GET", RANGE "If-Range: " DATE_MINUS_1K "\n", 200, LM_1K DATE, 1},
    {"9110 13.1.5: not a later one", "GET", RANGE "If-Range: " DATE_NOW "\n", 200, LM_1K DATE, 0},
    {"9110 8.8.2.2: a weak date", "GET", RANGE "If-Range: " DATE_NOW "\n", 200,
     "Last-Modified: " DATE_NOW "\n" DATE, 0},
    {"9110 8.8.2.2: without Date", "GET", RANGE "If-Range: " DATE_MINUS_1K "\n", 200, LM_1K, 0},
    {"9110 13.1.5: junk", "GET", RANGE "If-Range: a\n", 200, "ETag: \"a\"\n" LM_1K DATE, 0},
    {"9110 13.1.5: two", "GET", RANGE "If-Range: \"a\"\nIf-Range: \"a\"\n", 200, "ETag: \"a\"\n", 0},
};

static void test_ranges(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        struct test_head q, a;
        struct validators v;
        struct http_range_spec specs[2];
        validators_of(response_head(&a, ranges[i].status, ranges[i].response), NOW_S, &v);
        const struct http_head *request = request_head(&q, ranges[i].method, ranges[i].request);
        int n = policy_wants_ranges(request, &v, specs, 2);
        if (n != ranges[i].n)
            fail_msg("%s: %d", ranges[i].rfc, n);
        if (n > 0)
            assert_true(specs[0].first == 2 && specs[0].last == 5 && !specs[0].is_suffix);
        if (n > 1)
            assert_true(specs[1].first == 7 && specs[1].last == 8 && !specs[1].is_suffix);
    }
}

static void test_validators(void **state)
{
    struct test_head a;
    struct validators v;
    validators_of(response_head(&a, 206, "ETag: W/\"a\"\n" LM_1K DATE), NOW_S, &v);
    assert_true(span_eq(v.etag, SPAN("W/\"a\"")));
    assert_true(span_eq(v.last_modified, SPAN(DATE_MINUS_1K)));
    assert_int_equal(v.last_modified_s, NOW_S - 1000);
    assert_int_equal(v.date_s, NOW_S);
    assert_int_equal(v.status, 206);
    validators_of(response_head(&a, 200, "ETag: a\nLast-Modified: yesterday\nDate: now\n"), NOW_S, &v);
    assert_int_equal(v.etag.len, 0);
    assert_int_equal(v.last_modified.len, 0);
    assert_int_equal(v.last_modified_s, -1);
    assert_int_equal(v.date_s, -1);
}

static void test_strength(void **state) /* RFC 9110 section 8.8.3 */
{
    assert_true(policy_etag_is_strong(SPAN("\"a\"")));
    assert_true(policy_etag_is_strong(SPAN("\"\"")));
    assert_true(policy_etag_is_strong(SPAN("\"\\\"")));
    assert_false(policy_etag_is_strong(SPAN("W/\"a\"")));
    assert_false(policy_etag_is_strong(SPAN("a")));
    assert_false(policy_etag_is_strong(SPAN("\"a")));
    assert_false(policy_etag_is_strong(SPAN("\"a b\"")));
    assert_false(policy_etag_is_strong(SPAN("\"a\"b\"")));
    assert_false(policy_etag_is_strong((struct span){0}));
}

static void test_origin_conditions(void **state)
{
    struct test_head q;
    assert_true(policy_has_origin_condition(request_head(&q, "GET", "If-Match: *\n")));
    assert_true(policy_has_origin_condition(request_head(&q, "GET", "If-Unmodified-Since: x\n")));
    assert_false(policy_has_origin_condition(request_head(&q, "GET", INM "*\n" IMS "x\nIf-Range: x\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions),        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_validators),        cmocka_unit_test(test_strength),
        cmocka_unit_test(test_origin_conditions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
