#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "common/check.h"
#include "common/http_date.h"

#define NOW_S INT64_C(1700000000) /* Tue, 14 Nov 2023 22:13:20 GMT */

static const struct {
    const char *in;
    int64_t at_s;
} good[] = {
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Sun Nov 06 08:49:37 1994", 784111777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Thu, 29 Feb 2024 00:00:00 GMT", 1709164800},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
    {"Tue, 19 Jan 2038 03:14:08 GMT", INT64_C(2147483648)},
    {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    {"Sat, 01 Jan 0000 00:00:00 GMT", INT64_C(-62167219200)},
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
    {"sun, 06 nOV 1994 08:49:37 gmt", 784111777},
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},
    /* two digits: at most 50 years ahead */
    {"Tuesday, 14-Nov-73 22:13:20 GMT", INT64_C(3277923200)},
    {"Tuesday, 14-Nov-73 22:13:21 GMT", 122163201},
    {"Tuesday, 01-Jan-74 00:00:00 GMT", 126230400},
    {"Tuesday, 01-Jan-23 00:00:00 GMT", 1672531200},
};

static const char *const bad[] = {
    "",
    "0",
    "-1",
    "784111777",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 06 Nov 1994 08:49:37 GMT+1",
    "Sun, 06 Nov 1994 08:49:37 GMT ",
    " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun, 06  Nov 1994 08:49:37 GMT",
    "Sun,06 Nov 1994 08:49:37 GMT",
    "Sun 06 Nov 1994 08:49:37 GMT",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 06-Nov-94 08:49:37 GMT",
    "Sunday, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-1994 08:49:37 GMT",
    "Sunday Nov  6 08:49:37 1994",
    "Sun Nov 6 08:49:37 1994",
    "Sun Nov  6 08:49:37 94",
    "Sun Nov  6 08:49:37 1994 GMT",
    "Xyz, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Xyz 1994 08:49:37 GMT",
    "06 Nov 1994 08:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 31 Nov 1994 08:49:37 GMT",
    "Sun, 29 Feb 2023 08:49:37 GMT",
    "Sun, 29 Feb 1900 08:49:37 GMT",
    "Sun, 30 Feb 2024 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:00 GMT",
    "Sun, 06 Nov 1994 08:49:60 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 08:49 GMT",
    "Sun, 06 Nov 19941 08:49:37 GMT",
    "Sun, -6 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08.49.37 GMT",
    "1994-11-06T08:49:37Z",
};

static void parse(void **state)
{
    int64_t at_s;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!http_date_parse(span_of(good[i].in), NOW_S, &at_s))
            fail_msg("refused: %s", good[i].in);
        if (at_s != good[i].at_s)
            fail_msg("%s: %lld", good[i].in, (long long)at_s);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http_date_parse(span_of(bad[i]), NOW_S, &at_s))
            fail_msg("accepted: %s", bad[i]);
}

/* No prefix of a date is one, and no date with another byte behind it. */
static void cut(void **state)
{
    int64_t at_s;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct span s = span_of(good[i].in);
        for (size_t n = 0; n < s.len; n++)
            assert_false(http_date_parse((struct span){s.p, n}, NOW_S, &at_s));
    }
}

static void two_digit_years_in_other_centuries(void **state)
{
    int64_t at_s;
    const int64_t in_1999_s = 915148800 + 86400, in_2099_s = INT64_C(4070908800) + 86400;
    assert_true(http_date_parse(SPAN("Monday, 03-Jan-05 00:00:00 GMT"), in_1999_s, &at_s));
    assert_int_equal(at_s, 1104710400); /* 2005 */
    assert_true(http_date_parse(SPAN("Monday, 03-Jan-01 00:00:00 GMT"), in_2099_s, &at_s));
    assert_int_equal(at_s, INT64_C(4134153600)); /* 2101 */
}

static void check_format(int64_t at_s)
{
    char out[HTTP_DATE_BYTES], want[HTTP_DATE_BYTES + 1];
    time_t t = at_s;
    struct tm tm;
    int64_t back_s;
    http_date_format(out, at_s);
    strftime(want, sizeof want, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
    if (memcmp(out, want, sizeof out) != 0)
        fail_msg("%lld: %.29s instead of %s", (long long)at_s, out, want);
    assert_true(http_date_parse((struct span){out, sizeof out}, NOW_S, &back_s));
    assert_int_equal(back_s, at_s);
}

static void format(void **state)
{
    for (int64_t day = 0; day < 200 * 366; day++) /* 1900 to 2100, odd times of the day */
        check_format(INT64_C(-2208988800) + day * 86400 + day * 7919 % 86400);
    check_format(784111777);
    check_format(INT64_C(253402300799));
}

static void format_beyond_four_digits(void **state)
{
    char out[HTTP_DATE_BYTES];
    http_date_format(out, INT64_MAX);
    assert_memory_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT", sizeof out);
    http_date_format(out, INT64_MIN);
    assert_memory_equal(out, "Sat, 01 Jan 0000 00:00:00 GMT", sizeof out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse),
        cmocka_unit_test(cut),
        cmocka_unit_test(two_digit_years_in_other_centuries),
        cmocka_unit_test(format),
        cmocka_unit_test(format_beyond_four_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
