#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/check.h"
#include "common/http_range.h"

#define END UINT64_MAX

enum { CAP = 3 };

static const struct {
    const char *in;
    int n;
    struct http_range_spec specs[CAP];
} ranges[] = {
    {"bytes=0-0", 1, {{false, 0, 0, 0}}},
    {"bytes=0-499", 1, {{false, 0, 499, 0}}},
    {"BYTES=5-", 1, {{false, 5, END, 0}}},
    {"bytes=-500", 1, {{true, 0, END, 500}}},
    {"bytes=-0", 1, {{true, 0, END, 0}}},
    {"bytes= 0-9 ,\t20-, -1", 3, {{false, 0, 9, 0}, {false, 20, END, 0}, {true, 0, END, 1}}},
    {"bytes=,,1-2,", 1, {{false, 1, 2, 0}}},
    {"bytes=007-008", 1, {{false, 7, 8, 0}}},
    {"bytes=99999999999999999999-", 1, {{false, END, END, 0}}},
    {"bytes=1-99999999999999999999", 1, {{false, 1, END, 0}}},
    {"bytes=-99999999999999999999", 1, {{true, 0, END, END}}},
    {"bytes=0-0,1-1,2-2,3-3", -1, {{0}}},
    {"bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6", -1, {{0}}},
    {"bytes=0-0,1-1,2-2,3-3,x", 0, {{0}}},
    {"", 0, {{0}}},
    {"bytes", 0, {{0}}},
    {"bytes=", 0, {{0}}},
    {"bytes=,", 0, {{0}}},
    {"bytes=-", 0, {{0}}},
    {"bytes=--1", 0, {{0}}},
    {"bytes=1", 0, {{0}}},
    {"bytes=2-1", 0, {{0}}},
    {"bytes=0-1,2-1", 0, {{0}}},
    {"bytes=a-b", 0, {{0}}},
    {"bytes=0x1-2", 0, {{0}}},
    {"bytes=+1-2", 0, {{0}}},
    {"bytes=1 -2", 0, {{0}}},
    {"bytes=1- 2", 0, {{0}}},
    {"bytes=1-2-3", 0, {{0}}},
    {"bytes=1-2;3-4", 0, {{0}}},
    {"bytes =1-2", 0, {{0}}},
    {" bytes=1-2", 0, {{0}}},
    {"bytes:1-2", 0, {{0}}},
    {"byte=1-2", 0, {{0}}},
    {"items=1-2", 0, {{0}}},
    {"bytess=1-2", 0, {{0}}},
};

static void parse(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        struct http_range_spec got[CAP];
        int n = http_range_parse(span_of(ranges[i].in), got, CAP);
        if (n != ranges[i].n)
            fail_msg("%s: %d", ranges[i].in, n);
        for (int k = 0; k < n; k++) {
            const struct http_range_spec *want = &ranges[i].specs[k];
            if (got[k].is_suffix != want->is_suffix || got[k].first != want->first ||
                got[k].last != want->last || got[k].suffix != want->suffix)
                fail_msg("%s: spec %d", ranges[i].in, k);
        }
    }
}

static void resolve(void **state)
{
    static const struct {
        const char *in;
        uint64_t length;
        bool ok;
        uint64_t first, last;
    } rows[] = {
        {"bytes=0-0", 10, true, 0, 0},
        {"bytes=0-9", 10, true, 0, 9},
        {"bytes=0-10", 10, true, 0, 9},
        {"bytes=9-", 10, true, 9, 9},
        {"bytes=10-", 10, false, 0, 0},
        {"bytes=10-20", 10, false, 0, 0},
        {"bytes=-1", 10, true, 9, 9},
        {"bytes=-10", 10, true, 0, 9},
        {"bytes=-11", 10, true, 0, 9},
        {"bytes=-0", 10, false, 0, 0},
        {"bytes=0-", 0, false, 0, 0},
        {"bytes=-5", 0, false, 0, 0},
        {"bytes=99999999999999999999-", END, false, 0, 0},
        {"bytes=1-99999999999999999999", END, true, 1, END - 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_range_spec spec;
        uint64_t first = 0, last = 0;
        assert_int_equal(http_range_parse(span_of(rows[i].in), &spec, 1), 1);
        if (http_range_resolve(&spec, rows[i].length, &first, &last) != rows[i].ok ||
            first != rows[i].first || last != rows[i].last)
            fail_msg("%s of %llu", rows[i].in, (unsigned long long)rows[i].length);
    }
}

static void content_range(void **state)
{
    static const struct {
        const char *in;
        bool ok, unsatisfied;
        uint64_t first, last, length;
    } rows[] = {
        {"bytes 0-0/1", true, false, 0, 0, 1},
        {"bytes 42-1233/1234", true, false, 42, 1233, 1234},
        {"Bytes 42-1233/*", true, false, 42, 1233, END},
        {"bytes */1234", true, true, 0, 0, 1234},
        {"bytes */0", true, true, 0, 0, 0},
        {"bytes */*", false, false, 0, 0, 0},
        {"bytes 1-0/5", false, false, 0, 0, 0},
        {"bytes 0-5/5", false, false, 0, 0, 0},
        {"bytes 0-4/", false, false, 0, 0, 0},
        {"bytes 0-4", false, false, 0, 0, 0},
        {"bytes 0-/5", false, false, 0, 0, 0},
        {"bytes -4/5", false, false, 0, 0, 0},
        {"bytes  0-4/5", false, false, 0, 0, 0},
        {"bytes=0-4/5", false, false, 0, 0, 0},
        {"bytes 0-4/5 ", false, false, 0, 0, 0},
        {"bytes 0-4/5,0-4/5", false, false, 0, 0, 0},
        {"bytes 0 - 4/5", false, false, 0, 0, 0},
        {"bytes 0-4/99999999999999999999", false, false, 0, 0, 0},
        {"bytes 0-99999999999999999999/*", false, false, 0, 0, 0},
        {"items 0-4/5", false, false, 0, 0, 0},
        {"bytes", false, false, 0, 0, 0},
        {"", false, false, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t first, last, length;
        bool unsatisfied;
        bool ok = http_content_range_parse(span_of(rows[i].in), &first, &last, &length, &unsatisfied);
        if (ok != rows[i].ok)
            fail_msg("%s", rows[i].in);
        if (ok && (unsatisfied != rows[i].unsatisfied || first != rows[i].first || last != rows[i].last ||
                   length != rows[i].length))
            fail_msg("%s: values", rows[i].in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse),
        cmocka_unit_test(resolve),
        cmocka_unit_test(content_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
