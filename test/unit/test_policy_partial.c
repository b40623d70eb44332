#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/partial.h"

#define TAG   "ETag: \"a\"\n"
#define LM    "Last-Modified: " DATE_MINUS_1K "\n"
#define DATE  "Date: " DATE_NOW "\n"
#define RANGE "Content-Range: bytes 100-999/1000\n"

static const struct {
    const char *rfc;
    int status;
    const char *response;
    bool may;
} resumables[] = {
    {"a strong tag", 200, TAG, true},
    {"a weak tag", 200, "ETag: W/\"a\"\n", false},
    {"nothing", 200, DATE, false},
    {"8.8.2.2: a date a second older than Date", 200, LM DATE, true},
    {"8.8.2.2: a date as old as Date", 200, "Last-Modified: " DATE_NOW "\n" DATE, false},
    {"8.8.2.2: a date without Date", 200, LM, false},
    {"13.1.5: no date where there is a tag", 200, "ETag: W/\"a\"\n" LM DATE, false},
    {"two tags", 200, TAG "ETag: \"b\"\n", false},
    {"no tag", 200, "ETag: a\n", false},
    {"only a 200", 203, TAG, false},
    {"only a 200", 206, TAG RANGE, false},
    {"only a 200", 404, TAG, false},
};

/* The stored head's validators come with a Date of ours where the origin sent none. */
static void test_what_may_be_resumed(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(resumables); i++) {
        struct test_head a;
        struct validators v;
        validators_of(response_head(&a, resumables[i].status, resumables[i].response), NOW_S, &v);
        if (v.date_s < 0)
            v.date_s = NOW_S;
        if (policy_may_resume(&a.head, &v) != resumables[i].may)
            fail_msg("%s", resumables[i].rfc);
    }
}

#define UNKNOWN UINT64_MAX

static const struct {
    const char *rfc, *first;
    uint64_t length; /* of the whole, as far as it is known */
    int status;
    const char *answer;
    uint64_t content_length, end; /* end 0: refused */
} parts[] = {
    {"the rest", TAG, 1000, 206, TAG RANGE, 900, 1000},
    {"of what had no length", TAG, UNKNOWN, 206, TAG RANGE, 900, 1000},
    {"in chunks", TAG, 1000, 206, TAG RANGE, UNKNOWN, 1000},
    {"14.2: less than all of it", TAG, 1000, 206, TAG "Content-Range: bytes 100-199/1000\n", 100, 200},
    {"14.1: units are case-insensitive", TAG, 1000, 206, TAG "Content-Range: Bytes 100-999/1000\n", 900,
     1000},
    {"by date", LM DATE, 1000, 206, LM DATE RANGE, 900, 1000},
    {"by date, with a tag that was not there", LM DATE, 1000, 206, LM DATE RANGE TAG, 900, 1000},

    {"13.1.5: all of it", TAG, 1000, 200, TAG, 1000, 0},
    {"a 200 with a range", TAG, 1000, 200, TAG RANGE, 900, 0},
    {"15.5.17", TAG, 1000, 416, TAG "Content-Range: bytes */1000\n", 0, 0},
    {"15.5.17: all was here", TAG, UNKNOWN, 416, TAG "Content-Range: bytes */100\n", 0, 0},
    {"an error", TAG, 1000, 503, TAG RANGE, 900, 0},
    {"14.4: no range", TAG, 1000, 206, TAG, 900, 0},
    {"14.4: two ranges", TAG, 1000, 206, TAG RANGE RANGE, 900, 0},
    {"14.4: no part", TAG, 1000, 206, TAG "Content-Range: bytes */1000\n", 900, 0},
    {"14.4: another unit", TAG, 1000, 206, TAG "Content-Range: lines 100-999/1000\n", 900, 0},
    {"14.4: backwards", TAG, 1000, 206, TAG "Content-Range: bytes 100-99/1000\n", 0, 0},
    {"14.4: behind the end", TAG, UNKNOWN, 206, TAG "Content-Range: bytes 100-1000/1000\n", 901, 0},
    {"it begins earlier", TAG, 1000, 206, TAG "Content-Range: bytes 99-999/1000\n", 901, 0},
    {"it begins later", TAG, 1000, 206, TAG "Content-Range: bytes 101-999/1000\n", 899, 0},
    {"another length", TAG, 1000, 206, TAG "Content-Range: bytes 100-1000/1001\n", 901, 0},
    {"a length that it does not tell", TAG, 1000, 206, TAG "Content-Range: bytes 100-999/*\n", 900, 0},
    {"a length that nobody tells", TAG, UNKNOWN, 206, TAG "Content-Range: bytes 100-999/*\n", 900, 0},
    {"less content than its range", TAG, 1000, 206, TAG RANGE, 899, 0},
    {"more content than its range", TAG, 1000, 206, TAG RANGE, 901, 0},
    {"15.3.7.3: another tag", TAG, 1000, 206, "ETag: \"b\"\n" RANGE, 900, 0},
    {"15.3.7.3: the same tag, but weak", TAG, 1000, 206, "ETag: W/\"a\"\n" RANGE, 900, 0},
    {"15.3.7.3: no tag", TAG, 1000, 206, LM DATE RANGE, 900, 0},
    {"15.3.7.3: two tags", TAG, 1000, 206, TAG "ETag: \"b\"\n" RANGE, 900, 0},
    {"15.3.7.3: another date", LM DATE, 1000, 206, "Last-Modified: " DATE_MINUS_1Y "\n" DATE RANGE, 900, 0},
    {"15.3.7.3: no date", LM DATE, 1000, 206, DATE RANGE, 900, 0},
    {"15.3.7.3: a date that is weak now", LM DATE, 1000, 206, LM "Date: " DATE_MINUS_1K "\n" RANGE, 900, 0},
    {"15.3.7.2: many parts", TAG, 1000, 206, TAG RANGE "Content-Type: Multipart/Byteranges; boundary=x\n",
     900, 0},

    {"the same coding", TAG "Content-Encoding: gzip\n", 1000, 206, TAG RANGE "Content-Encoding: GZIP\n", 900,
     1000},
    {"15.3.7: it need not be told again", TAG "Content-Encoding: gzip\n", 1000, 206, TAG RANGE, 900, 1000},
    {"but a date says nothing of it", LM DATE "Content-Encoding: gzip\n", 1000, 206, LM DATE RANGE, 900, 0},
    {"a coding that was not there", TAG, 1000, 206, TAG RANGE "Content-Encoding: gzip\n", 900, 0},
    {"another coding", TAG "Content-Encoding: gzip\n", 1000, 206, TAG RANGE "Content-Encoding: br\n", 900, 0},
};

static void test_answers(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct test_head first, answer;
        struct validators v;
        struct part got = {0};
        validators_of(response_head(&first, 200, parts[i].first), NOW_S, &v);
        struct part_wanted want = {
            .first = &first.head, .validators = &v, .from = 100, .length = parts[i].length};
        const char *why = policy_part_refusal(&want, response_head(&answer, parts[i].status, parts[i].answer),
                                              parts[i].content_length, NOW_S, &got);
        if ((why == NULL) != (parts[i].end > 0) || got.end != parts[i].end ||
            got.length != (parts[i].end > 0 ? 1000 : 0))
            fail_msg("%s: %s", parts[i].rfc, why != NULL ? why : "accepted");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_may_be_resumed),
        cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
