#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/units.h"

struct row {
    const char *text;
    bool ok;
    uint64_t value;
    const char *shortest; /* NULL: as `text` */
};

static const struct row counts[] = {
    {"0", true, 0, NULL},
    {"1", true, 1, NULL},
    {"999", true, 999, NULL},
    {"1000", true, 1000, "1k"},
    {"100k", true, 100000, NULL},
    {"2m", true, 2000000, NULL},
    {"1500", true, 1500, NULL},
    {"18446744073709551615", true, UINT64_MAX, NULL},
    {"18446744073709551616", false, 0, NULL},
    {"18446744073709552k", false, 0, NULL},
    {"", false, 0, NULL},
    {"k", false, 0, NULL},
    {"-1", false, 0, NULL},
    {"+1", false, 0, NULL},
    {" 1", false, 0, NULL},
    {"1 ", false, 0, NULL},
    {"1g", false, 0, NULL},
    {"1kk", false, 0, NULL},
};

static const struct row bytes[] = {
    {"0", true, 0, NULL},
    {"512", true, 512, NULL},
    {"64k", true, 65536, NULL},
    {"1024", true, 1024, "1k"},
    {"1023", true, 1023, NULL},
    {"10m", true, 10485760, NULL},
    {"2g", true, 2147483648, NULL},
    {"1t", true, 1099511627776, NULL},
    {"1025k", true, 1049600, NULL},
    {"0g", true, 0, "0"},
    {"16777216t", false, 0, NULL}, /* 2^64 */
    {"16777215t", true, 18446742974197923840u, NULL},
    {"1K", false, 0, NULL},
    {"1kb", false, 0, NULL},
    {"1.5m", false, 0, NULL},
    {"0x10", false, 0, NULL},
};

static const struct row durations[] = {
    {"0", true, 0, NULL},
    {"0s", true, 0, "0"},
    {"250ms", true, 250, NULL},
    {"10s", true, 10000, NULL},
    {"60s", true, 60000, "1m"},
    {"90s", true, 90000, NULL},
    {"5m", true, 300000, NULL},
    {"1h", true, 3600000, NULL},
    {"24h", true, 86400000, "1d"},
    {"1w", true, 604800000, NULL},
    {"1y", true, 31536000000, NULL},
    {"5", false, 0, NULL}, /* five what? */
    {"1h30m", false, 0, NULL},
    {"ms", false, 0, NULL},
    {"584942418y", false, 0, NULL},
    {"1 s", false, 0, NULL},
};

static void check(const struct row *r, bool (*parse)(struct span, uint64_t *),
                  void (*put)(struct buf *, uint64_t))
{
    uint64_t v = 4711;
    bool ok = parse(span_of(r->text), &v);
    if (ok != r->ok)
        fail_msg("'%s' is %s", r->text, ok ? "taken" : "refused");
    if (!ok) {
        assert_int_equal(v, 4711);
        return;
    }
    if (v != r->value)
        fail_msg("'%s' is %llu", r->text, (unsigned long long)v);
    struct buf out = {0};
    put(&out, v);
    if (!span_eq(buf_span(&out), span_of(r->shortest != NULL ? r->shortest : r->text)))
        fail_msg("'%s' is written %.*s", r->text, SPAN_FMT(out));
    buf_fini(&out);
}

static void test_counts(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        check(&counts[i], units_parse_count, units_put_count);
}

static void test_bytes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++)
        check(&bytes[i], units_parse_bytes, units_put_bytes);
}

static void test_durations(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(durations); i++)
        check(&durations[i], units_parse_duration_ms, units_put_duration_ms);
}

static void test_uint(void **state)
{
    uint64_t v = 7;
    assert_true(units_parse_uint(SPAN("0042"), &v));
    assert_int_equal(v, 42);
    assert_false(units_parse_uint(SPAN("1k"), &v));
    assert_false(units_parse_uint(SPAN(""), &v));
    assert_int_equal(v, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_uint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
