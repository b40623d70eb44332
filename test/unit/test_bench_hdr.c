/* The HdrHistogram log, decoded again by the rules of its format. */
#include "bench/hdr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/check.h"

static uint64_t big_endian(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static size_t decode_base64(const char *text, unsigned char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    uint32_t v = 0;
    for (int bits = 0; *text != '\0' && *text != '=' && *text != '\n'; text++) {
        const char *digit = strchr(digits, *text);
        assert_non_null(digit);
        v = v << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (unsigned char)(v >> bits);
        }
    }
    return n;
}

static int64_t take_zigzag(const unsigned char **p)
{
    uint64_t v = 0;
    for (int i = 0; i < 9; i++) {
        uint64_t byte = *(*p)++;
        v |= (i < 8 ? byte & 0x7F : byte) << (7 * i);
        if (i < 8 && byte < 0x80)
            break;
    }
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static void check(const struct hist *h)
{
    struct buf log = {0};
    hdr_put_interval(&log, "t", 1.5, h);
    buf_put(&log, "", 1);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "Tag=t,0.000,1.500,%llu,", (unsigned long long)h->max);
    assert_int_equal(strncmp(log.p, prefix, strlen(prefix)), 0);
    unsigned char *bytes = malloc(log.len);
    assert_non_null(bytes);
    size_t n = decode_base64(log.p + strlen(prefix), bytes);

    assert_int_equal(big_endian(bytes, 4), 0x1c849314);
    assert_int_equal(big_endian(bytes + 4, 4), n - 8);
    assert_int_equal(big_endian(bytes + 8, 2) % 31, 0); /* RFC 1950: the check of the header */
    assert_int_equal(bytes[10], 1);                     /* one stored block */
    size_t stored = bytes[11] | (size_t)bytes[12] << 8;
    assert_int_equal(stored, n - 8 - 2 - 5 - 4);
    const unsigned char *payload = bytes + 15, *at = payload + 40, *end = payload + stored;
    assert_int_equal(big_endian(payload, 4), 0x1c849313);
    assert_int_equal(big_endian(payload + 4, 4), stored - 40);
    assert_int_equal(big_endian(payload + 12, 4), 2);

    size_t bucket = 0;
    while (at < end) {
        int64_t v = take_zigzag(&at);
        for (; v < 0; v++)
            assert_int_equal(h->counts[bucket++], 0);
        if (v > 0 || at[-1] == 0)
            assert_int_equal(h->counts[bucket++], v);
    }
    while (bucket < HIST_BUCKETS)
        assert_int_equal(h->counts[bucket++], 0);
    free(bytes);
    buf_fini(&log);
}

static void test_round_trip(void **state)
{
    struct hist *h = calloc(1, sizeof *h);
    assert_non_null(h);
    check(h);
    for (uint64_t v = 1; v < (uint64_t)1 << 47; v = v * 3 + 1)
        hist_record(h, v);
    for (int i = 0; i < 100000; i++)
        hist_record(h, 300);
    check(h);
    hist_record(h, 0);
    hist_record(h, 2);
    check(h);
    free(h);
}

static void test_head(void **state)
{
    struct buf log = {0};
    hdr_put_head(&log, 12.5);
    buf_put(&log, "", 1);
    assert_non_null(strstr(log.p, "#[StartTime: 12.500 (seconds since epoch)]\n"));
    buf_fini(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
