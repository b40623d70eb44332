#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define MOST      1024
#define V4        "\xc0\x00\x02\x01\x0a\x00\x00\x01\x12\x34\x00\x50" /* 192.0.2.1 to 10.0.0.1 */
#define V6        "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"       /* 2001:db8::1 */
#define MAPPED    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"     /* ::ffff:192.0.2.1 */
#define PATHS     "/a" X106 "/b" X106
#define X106      X50 X50 "\0\0\0\0\0\0"
#define X50       X10 X10 X10 X10 X10
#define X10       "\0\0\0\0\0\0\0\0\0\0"
#define BYTES(s)         \
    {                    \
        s, sizeof(s) - 1 \
    }

static const struct row {
    const char *why;
    struct span bytes;
    enum proxy_header_status status;
    const char *source; /* NULL: none */
} rows[] = {
    {"2.1: IPv4", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"), PROXY_HEADER_DONE, "192.0.2.1"},
    {"the longest of IPv4", BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     PROXY_HEADER_DONE, "255.255.255.255"},
    {"ports of one digit", BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), PROXY_HEADER_DONE, "0.0.0.0"},
    {"IPv6", BYTES("PROXY TCP6 2001:DB8::1 ::1 1 2\r\n"), PROXY_HEADER_DONE, "2001:db8::1"},
    {"in full",
     BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "65535 65535\r\n"),
     PROXY_HEADER_DONE, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"a mapped one", BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), PROXY_HEADER_DONE, "192.0.2.1"},
    {"unknown", BYTES("PROXY UNKNOWN\r\n"), PROXY_HEADER_DONE, NULL},
    {"unknown, with what must be ignored", BYTES("PROXY UNKNOWN ffff::1 no such \x01\xff 1\r\n"),
     PROXY_HEADER_DONE, NULL},
    {"the longest line",
     BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "65535 65535\r\n"),
     PROXY_HEADER_DONE, NULL},
    {"one byte longer",
     BYTES("PROXY UNKNOWN  ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "65535 65535\r\n"),
     PROXY_HEADER_BAD, NULL},
    {"a bare LF", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n"), PROXY_HEADER_BAD, NULL},
    {"a bare CR", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2\rG"), PROXY_HEADER_BAD, NULL},
    {"a bare CR within", BYTES("PROXY UNKNOWN \r \r\n"), PROXY_HEADER_BAD, NULL},
    {"two CRs", BYTES("PROXY UNKNOWN\r\r\n"), PROXY_HEADER_BAD, NULL},
    {"a CR and then the end", BYTES("PROXY UNKNOWN\r"), PROXY_HEADER_MORE, NULL},
    {"nothing", BYTES(""), PROXY_HEADER_MORE, NULL},
    {"its beginning", BYTES("PROX"), PROXY_HEADER_MORE, NULL},
    {"in small letters", BYTES("proxy"), PROXY_HEADER_BAD, NULL},
    {"another word", BYTES("PROXYX"), PROXY_HEADER_BAD, NULL},
    {"a tab", BYTES("PROXY\tTCP4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"two blanks", BYTES("PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"two blanks later", BYTES("PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a blank behind", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n"), PROXY_HEADER_BAD, NULL},
    {"a word too many", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n"), PROXY_HEADER_BAD, NULL},
    {"one too few", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n"), PROXY_HEADER_BAD, NULL},
    {"no words", BYTES("PROXY \r\n"), PROXY_HEADER_BAD, NULL},
    {"another protocol", BYTES("PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"an unknown that goes on", BYTES("PROXY UNKNOWNS\r\n"), PROXY_HEADER_BAD, NULL},
    {"the other family", BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"the other way round", BYTES("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"mixed", BYTES("PROXY TCP6 ::1 192.0.2.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a leading zero", BYTES("PROXY TCP4 192.0.02.1 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"three numbers", BYTES("PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a block", BYTES("PROXY TCP4 192.0.2.0/24 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a scope", BYTES("PROXY TCP6 fe80::1%1 ::1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"two runs of zeros", BYTES("PROXY TCP6 1::2::3 ::1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a NUL in an address", BYTES("PROXY TCP4 192.0.2.1\0 10.0.0.1 1 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a port with a zero before", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a port too large", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n"), PROXY_HEADER_BAD, NULL},
    {"a signed port", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 +2\r\n"), PROXY_HEADER_BAD, NULL},
    {"no source port", BYTES("PROXY TCP4 192.0.2.1 10.0.0.1  2\r\n"), PROXY_HEADER_BAD, NULL},
    {"plain HTTP", BYTES("GET / HTTP/1.1\r\n"), PROXY_HEADER_BAD, NULL},
    {"a method that begins alike", BYTES("PROPFIND / HTTP/1.1\r\n"), PROXY_HEADER_BAD, NULL},
    {"TLS", BYTES("\x16\x03\x01"), PROXY_HEADER_BAD, NULL},

    {"2.2: IPv4", BYTES(SIGNATURE "\x21\x11\x00\x0c" V4), PROXY_HEADER_DONE, "192.0.2.1"},
    {"IPv6", BYTES(SIGNATURE "\x21\x21\x00\x24" V6 V6 "\0\x01\0\x02"), PROXY_HEADER_DONE, "2001:db8::1"},
    {"a mapped one", BYTES(SIGNATURE "\x21\x21\x00\x24" MAPPED V6 "\0\x01\0\x02"), PROXY_HEADER_DONE,
     "192.0.2.1"},
    {"a Unix socket there is not ours", BYTES(SIGNATURE "\x21\x31\x00\xd8" PATHS), PROXY_HEADER_DONE, NULL},
    {"no stream", BYTES(SIGNATURE "\x21\x12\x00\x0c" V4), PROXY_HEADER_DONE, NULL},
    {"unspecified", BYTES(SIGNATURE "\x21\x00\x00\x00"), PROXY_HEADER_DONE, NULL},
    {"unspecified, with bytes", BYTES(SIGNATURE "\x21\x00\x00\x02zz"), PROXY_HEADER_DONE, NULL},
    {"unspecified protocol", BYTES(SIGNATURE "\x21\x10\x00\x0c" V4), PROXY_HEADER_DONE, NULL},
    {"local", BYTES(SIGNATURE "\x20\x00\x00\x00"), PROXY_HEADER_DONE, NULL},
    {"local, with an address that does not count", BYTES(SIGNATURE "\x20\x11\x00\x0c" V4), PROXY_HEADER_DONE,
     NULL},
    {"local, its family ignored", BYTES(SIGNATURE "\x20\xff\x00\x03zzz"), PROXY_HEADER_DONE, NULL},
    {"TLVs",
     BYTES(SIGNATURE "\x21\x11\x00\x15" V4 "\x04\0\0\x05\0\x03"
                     "abc"),
     PROXY_HEADER_DONE, "192.0.2.1"},
    {"version 1 in its form", BYTES(SIGNATURE "\x11"), PROXY_HEADER_BAD, NULL},
    {"version 3", BYTES(SIGNATURE "\x31"), PROXY_HEADER_BAD, NULL},
    {"another command", BYTES(SIGNATURE "\x22"), PROXY_HEADER_BAD, NULL},
    {"another family", BYTES(SIGNATURE "\x21\x41"), PROXY_HEADER_BAD, NULL},
    {"another protocol", BYTES(SIGNATURE "\x21\x13"), PROXY_HEADER_BAD, NULL},
    {"too short for IPv4", BYTES(SIGNATURE "\x21\x11\x00\x0b" V4), PROXY_HEADER_BAD, NULL},
    {"too short for IPv6", BYTES(SIGNATURE "\x21\x21\x00\x0c" V4), PROXY_HEADER_BAD, NULL},
    {"too short for Unix", BYTES(SIGNATURE "\x21\x31\x00\x0c" V4), PROXY_HEADER_BAD, NULL},
    {"a TLV that is cut", BYTES(SIGNATURE "\x21\x11\x00\x0e" V4 "\x04\0"), PROXY_HEADER_BAD, NULL},
    {"a TLV beyond the end", BYTES(SIGNATURE "\x21\x11\x00\x10" V4 "\x04\0\x02z"), PROXY_HEADER_BAD, NULL},
    {"as long as may be", BYTES(SIGNATURE "\x21\x11\x03\xf0"), PROXY_HEADER_MORE, NULL},
    {"one byte longer", BYTES(SIGNATURE "\x21\x11\x03\xf1"), PROXY_HEADER_TOO_LONG, NULL},
    {"far longer, and local", BYTES(SIGNATURE "\x20\x00\xff\xff"), PROXY_HEADER_TOO_LONG, NULL},
    {"another signature", BYTES("\r\n\r\nG"), PROXY_HEADER_BAD, NULL},
    {"a request behind an empty line", BYTES("\r\nGET / HTTP/1.1\r\n"), PROXY_HEADER_BAD, NULL},
};

/* In memory of exactly its size. */
static enum proxy_header_status parse(const char *p, size_t n, struct proxy_header *out)
{
    char *exact = malloc(n + 1);
    assert_non_null(exact);
    if (n > 0)
        memcpy(exact + 1, p, n);
    enum proxy_header_status status = proxy_header_parse(exact + 1, n, MOST, out);
    free(exact);
    return status;
}

static void judge(const struct row *row)
{
    struct proxy_header h;
    enum proxy_header_status status = parse(row->bytes.p, row->bytes.len, &h);
    struct buf source = {0};
    if (status != row->status)
        fail_msg("%s: %d and not %d", row->why, status, row->status);
    if (status != PROXY_HEADER_DONE)
        return;
    if (h.bytes != row->bytes.len)
        fail_msg("%s: takes %zu bytes and not %zu", row->why, h.bytes, row->bytes.len);
    if (h.has_source)
        netaddr_cidr_put(&source, &h.source, true);
    if (!span_eq(buf_span(&source), span_of(row->source != NULL ? row->source : "")))
        fail_msg("%s: %.*s", row->why, SPAN_FMT(source));
    buf_fini(&source);
}

static void test_headers(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        judge(&rows[i]);
}

/* A good one wants more at every byte before its last, and takes nothing of what follows. */
static void test_splits(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_header h;
        char longer[MOST];
        size_t n = rows[i].bytes.len;
        if (rows[i].status != PROXY_HEADER_DONE)
            continue;
        for (size_t cut = 0; cut < n; cut++)
            if (parse(rows[i].bytes.p, cut, &h) != PROXY_HEADER_MORE)
                fail_msg("%s, after %zu bytes", rows[i].why, cut);
        memcpy(longer, rows[i].bytes.p, n);
        memcpy(longer + n, "GET", 3);
        assert_int_equal(parse(longer, n + 3, &h), PROXY_HEADER_DONE);
        assert_int_equal(h.bytes, n);
    }
}

/* What is wrong stays wrong whatever follows. */
static void test_bad_stays_bad(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_header h;
        char longer[MOST];
        size_t n = rows[i].bytes.len;
        if (rows[i].status != PROXY_HEADER_BAD && rows[i].status != PROXY_HEADER_TOO_LONG)
            continue;
        memcpy(longer, rows[i].bytes.p, n);
        memset(longer + n, '\r', sizeof longer - n);
        assert_int_equal(parse(longer, sizeof longer, &h), rows[i].status);
    }
}

/* The sum was made by another implementation; that of the ASCII digits 1 to 9 is e3069283 there. */
static void test_checksum(void **state)
{
    static const char good[] = SIGNATURE "\x21\x11\x00\x13" V4 "\x03\0\x04\xDE\xAD\xBE\xEF";
    enum { AT = sizeof good - 1 - 4 };
    struct proxy_header h;
    char bytes[sizeof good + 7];
    memcpy(bytes, good, sizeof good);
    assert_int_equal(parse(bytes, sizeof good - 1, &h), PROXY_HEADER_BAD);
    memcpy(bytes + AT, "\x3c\xfb\x2c\x11", 4);
    assert_int_equal(parse(bytes, sizeof good - 1, &h), PROXY_HEADER_DONE);
    bytes[16] ^= 1;
    assert_int_equal(parse(bytes, sizeof good - 1, &h), PROXY_HEADER_BAD);
    bytes[16] ^= 1;
    memcpy(bytes + 16 + 12, "\x03\0\x03", 3); /* of another length, with a byte behind it */
    assert_int_equal(parse(bytes, sizeof good - 1, &h), PROXY_HEADER_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_bad_stays_bad),
        cmocka_unit_test(test_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
