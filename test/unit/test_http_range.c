#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

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

/* Ranges of 100 bytes, and what is left of them. */
static void settle(void **state)
{
    static const struct {
        const char *in;
        int n;
        struct http_range left[4];
    } rows[] = {
        {"bytes=0-0", 1, {{0, 0}}},
        {"bytes=50-59,0-9,-1", 3, {{50, 59}, {0, 9}, {99, 99}}},
        {"bytes=100-,0-9,-0,101-102", 1, {{0, 9}}},
        {"bytes=100-,-0", 0, {{0}}},
        {"bytes=0-9,10-19", 1, {{0, 19}}},
        {"bytes=10-19,0-9", 1, {{0, 19}}},
        {"bytes=0-9,11-19", 2, {{0, 9}, {11, 19}}},
        {"bytes=0-9,30-39,5-15", 2, {{0, 15}, {30, 39}}},
        {"bytes=30-39,0-9,5-15", 2, {{30, 39}, {0, 15}}},
        {"bytes=0-9,20-29,40-49,10-39,60-60", 2, {{0, 49}, {60, 60}}},
        {"bytes=70-79,0-9,20-29,40-49,9-40", 2, {{70, 79}, {0, 49}}},
        {"bytes=0-,0-,-5,99-", 1, {{0, 99}}},
        {"bytes=0-9,95-99999999999999999999,-10", 2, {{0, 9}, {90, 99}}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_range_spec specs[8];
        struct http_range left[8];
        int n = http_range_parse(span_of(rows[i].in), specs, 8);
        if (http_range_settle(specs, n, 100, left) != rows[i].n ||
            memcmp(left, rows[i].left, (size_t)rows[i].n * sizeof left[0]) != 0)
            fail_msg("%s", rows[i].in);
    }
    struct http_range_spec all = {.last = END};
    struct http_range left;
    assert_int_equal(http_range_settle(&all, 1, 0, &left), 0);
    assert_int_equal(http_range_settle(&all, 1, END, &left), 1);
    assert_true(left.first == 0 && left.last == END - 1);
}

/* Whatever is asked for: every byte of it once, no other, and a gap between any two. */
static void settle_by_chance(void **state)
{
    enum { LENGTH = 40, MOST = 12 };
    srand(1);
    for (int round = 0; round < 20000; round++) {
        struct http_range_spec specs[MOST];
        struct http_range left[MOST];
        int n = 1 + rand() % MOST;
        int wanted[LENGTH + 1] = {0}, got[LENGTH + 1] = {0};
        for (int i = 0; i < n; i++) {
            uint64_t first = (uint64_t)(rand() % (LENGTH + 3)), last = first + (uint64_t)(rand() % 8);
            specs[i] = (struct http_range_spec){.first = first, .last = last};
            for (uint64_t at = first; at <= last && at < LENGTH; at++)
                wanted[at] = 1;
        }
        int n_left = http_range_settle(specs, n, LENGTH, left);
        for (int i = 0; i < n_left; i++) {
            assert_true(left[i].first <= left[i].last && left[i].last < LENGTH);
            for (uint64_t at = left[i].first; at <= left[i].last; at++)
                got[at]++;
            for (int k = 0; k < i; k++)
                assert_true(left[k].last + 1 < left[i].first || left[i].last + 1 < left[k].first);
        }
        assert_memory_equal(wanted, got, sizeof got);
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
        cmocka_unit_test(parse),         cmocka_unit_test(resolve),
        cmocka_unit_test(settle),        cmocka_unit_test(settle_by_chance),
        cmocka_unit_test(content_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
