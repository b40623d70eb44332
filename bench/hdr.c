#include "bench/hdr.h"

#include "common/check.h"

enum {
    COOKIE = 0x1c849313,            /* V2, counts as ZigZag LEB128 */
    COMPRESSED_COOKIE = 0x1c849314, /* the same behind zlib */
    SIGNIFICANT_DIGITS = 2,
    STORED_BLOCK_MAX = 65535,
    ADLER_PRIME = 65521,
};

static void put_byte(struct buf *out, uint64_t v)
{
    char c = (char)(v & 0xFF);
    buf_put(out, &c, 1);
}

static void put_big_endian(struct buf *out, uint64_t v, int bytes)
{
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8)
        put_byte(out, v >> shift);
}

/* ---- counts */

/* The ninth byte has all its eight bits. */
static void put_zigzag(struct buf *out, int64_t v)
{
    uint64_t rest = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
    for (int i = 0; i < 8 && rest >= 0x80; i++) {
        put_byte(out, (rest & 0x7F) | 0x80);
        rest >>= 7;
    }
    put_byte(out, rest);
}

/* Counts as they are, runs of more than one zero as their negative length; nothing behind the last count. */
static void put_counts(struct buf *out, const struct hist *h)
{
    int64_t zeros = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t n = atomic_load(&h->counts[i]);
        if (n == 0) {
            zeros++;
            continue;
        }
        if (zeros > 0)
            put_zigzag(out, zeros > 1 ? -zeros : 0);
        zeros = 0;
        put_zigzag(out, (int64_t)n);
    }
}

static void put_payload(struct buf *out, const struct hist *h)
{
    struct buf counts = {0};
    put_counts(&counts, h);
    put_big_endian(out, COOKIE, 4);
    put_big_endian(out, counts.len, 4);
    put_big_endian(out, 0, 4); /* normalising offset */
    put_big_endian(out, SIGNIFICANT_DIGITS, 4);
    put_big_endian(out, 1, 8);                                    /* lowest discernible value */
    put_big_endian(out, (UINT64_C(1) << HIST_RANGE_BITS) - 1, 8); /* highest trackable value */
    put_big_endian(out, UINT64_C(0x3FF0000000000000), 8);         /* 1.0: integers are not scaled */
    buf_put_span(out, buf_span(&counts));
    out->failed |= counts.failed;
    buf_fini(&counts);
}

/* ---- zlib (RFC 1950) in stored blocks (RFC 1951 section 3.2.4): the counts are short already */

static uint32_t adler32(struct span s)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < s.len; i++) {
        a = (a + (unsigned char)s.p[i]) % ADLER_PRIME;
        b = (b + a) % ADLER_PRIME;
    }
    return b << 16 | a;
}

static void put_zlib(struct buf *out, struct span s)
{
    put_big_endian(out, 0x7801, 2);
    struct span rest = s;
    do {
        size_t n = MIN(rest.len, (size_t)STORED_BLOCK_MAX);
        put_byte(out, n == rest.len); /* the last block */
        put_byte(out, n);
        put_byte(out, n >> 8);
        put_byte(out, ~n);
        put_byte(out, ~n >> 8);
        buf_put(out, rest.p, n);
        rest = span_from(rest, n);
    } while (rest.len > 0);
    put_big_endian(out, adler32(s), 4);
}

static void put_base64(struct buf *out, struct span s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < s.len; i += 3) {
        size_t n = MIN(s.len - i, (size_t)3);
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (unsigned char)s.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_put(out, k <= n ? &digits[v >> (18 - 6 * k) & 63] : "=", 1);
    }
}

/* ---- the log */

void hdr_put_head(struct buf *out, double began_s)
{
    buf_printf(out,
               "#[Histogram log format version 1.3]\n#[StartTime: %.3f (seconds since epoch)]\n"
               "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
               began_s);
}

void hdr_put_interval(struct buf *out, const char *tag, double length_s, const struct hist *h)
{
    struct buf payload = {0}, zlib = {0}, whole = {0};
    put_payload(&payload, h);
    put_zlib(&zlib, buf_span(&payload));
    put_big_endian(&whole, COMPRESSED_COOKIE, 4);
    put_big_endian(&whole, zlib.len, 4);
    buf_put_span(&whole, buf_span(&zlib));
    buf_printf(out, "Tag=%s,0.000,%.3f,%llu,", tag, length_s, (unsigned long long)atomic_load(&h->max));
    put_base64(out, buf_span(&whole));
    buf_put_lit(out, "\n");
    out->failed |= payload.failed || zlib.failed || whole.failed;
    buf_fini(&payload);
    buf_fini(&zlib);
    buf_fini(&whole);
}
