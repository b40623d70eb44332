#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/netaddr.h"

#define PATH_107                                                                                             \
    "/23456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012" \
    "34567"

static const struct {
    const char *text;
    const char *back; /* NULL: refused */
    bool loopback;
} addresses[] = {
    {"127.0.0.1:8080", "127.0.0.1:8080", true},
    {"127.255.0.9:0", "127.255.0.9:0", true},
    {"0.0.0.0:1", "0.0.0.0:1", false},
    {"10.1.2.3:65535", "10.1.2.3:65535", false},
    {":8080", "0.0.0.0:8080", false},
    {"[::]:8080", "[::]:8080", false},
    {"[::1]:80", "[::1]:80", true},
    {"[::ffff:127.0.0.1]:80", "[::ffff:127.0.0.1]:80", true},
    {"[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.1]:80", false},
    {"[2001:DB8::1]:443", "[2001:db8::1]:443", false},
    {"unix:/run/shield.sock", "unix:/run/shield.sock", true},
    {"unix:relative", "unix:relative", true},
    {"unix:" PATH_107, "unix:" PATH_107, true},
    {"unix:" PATH_107 "8", NULL, false},
    {"unix:", NULL, false},
    {"", NULL, false},
    {":", NULL, false},
    {"127.0.0.1", NULL, false},
    {"127.0.0.1:", NULL, false},
    {"127.0.0.1:65536", NULL, false},
    {"127.0.0.1:000080", NULL, false},
    {"127.0.0.1:+80", NULL, false},
    {"127.0.0.1:80 ", NULL, false},
    {"127.1:80", NULL, false},
    {"256.0.0.1:80", NULL, false},
    {"localhost:80", NULL, false},
    {"::1:80", NULL, false},
    {"[::1", NULL, false},
    {"[::1]", NULL, false},
    {"[::1]80", NULL, false},
    {"[]:80", NULL, false},
    {"[127.0.0.1]:80", NULL, false},
    {"[fe80::1%eth0]:80", NULL, false},
};

static void test_addresses(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct netaddr a;
        const char *wrong = netaddr_parse(span_of(addresses[i].text), &a);
        if ((wrong == NULL) != (addresses[i].back != NULL))
            fail_msg("'%s': %s", addresses[i].text, wrong != NULL ? wrong : "taken");
        if (wrong != NULL)
            continue;
        struct buf out = {0};
        netaddr_put(&out, (struct sockaddr *)&a.ss);
        if (!span_eq(buf_span(&out), span_of(addresses[i].back)))
            fail_msg("'%s' is written %.*s", addresses[i].text, SPAN_FMT(out));
        buf_fini(&out);
        if (netaddr_is_loopback((struct sockaddr *)&a.ss) != addresses[i].loopback)
            fail_msg("'%s': loopback is wrong", addresses[i].text);
    }
}

static void test_unknown_family(void **state)
{
    struct sockaddr sa = {.sa_family = AF_UNSPEC};
    struct buf out = {0};
    netaddr_put(&out, &sa);
    assert_true(span_eq(buf_span(&out), SPAN("unknown")));
    assert_false(netaddr_is_loopback(&sa));
    buf_fini(&out);
}

static const struct {
    const char *cidr, *ip;
    bool inside;
} blocks[] = {
    {"10.0.0.0/8", "10.255.0.1", true},
    {"10.0.0.0/8", "11.0.0.1", false},
    {"0.0.0.0/0", "203.0.113.9", true},
    {"0.0.0.0/0", "[2001:db8::1]", false},
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"192.0.2.0/25", "192.0.2.127", true},
    {"192.0.2.0/25", "192.0.2.128", false},
    {"192.0.2.254/31", "192.0.2.255", true},
    {"192.0.2.254/31", "192.0.2.253", false},
    {"10.0.0.0/8", "[::ffff:10.1.1.1]", true},
    {"::ffff:10.0.0.0/104", "10.1.1.1", true},
    {"::ffff:10.0.0.0/104", "[::ffff:10.1.1.1]", true},
    {"::ffff:10.0.0.0/104", "11.1.1.1", false},
    {"::1", "[::1]", true},
    {"::1/128", "[::2]", false},
    {"2001:db8::/32", "[2001:db8:ffff::1]", true},
    {"2001:db8::/32", "[2001:db9::1]", false},
    {"2001:db8::/33", "[2001:db8:8000::1]", false},
    {"::/0", "[2001:db8::1]", true},
};

static void test_blocks(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        struct netaddr_cidr c;
        struct netaddr a;
        char text[80];
        snprintf(text, sizeof text, "%s:80", blocks[i].ip);
        assert_null(netaddr_parse(span_of(text), &a));
        assert_null(netaddr_cidr_parse(span_of(blocks[i].cidr), &c));
        struct netaddr_cidr bare;
        assert_true(netaddr_cidr_of((struct sockaddr *)&a.ss, &bare));
        if (netaddr_cidr_covers(&c, &bare) != blocks[i].inside)
            fail_msg("%s in %s is wrong", blocks[i].ip, blocks[i].cidr);
        struct span ip = span_of(blocks[i].ip);
        if (ip.p[0] == '[')
            ip = (struct span){ip.p + 1, ip.len - 2};
        assert_null(netaddr_cidr_parse(ip, &bare));
        if (netaddr_cidr_covers(&c, &bare) != blocks[i].inside)
            fail_msg("%s covered by %s is wrong", blocks[i].ip, blocks[i].cidr);
    }
    struct netaddr_cidr wide, narrow;
    assert_null(netaddr_cidr_parse(SPAN("10.0.0.0/8"), &wide));
    assert_null(netaddr_cidr_parse(SPAN("10.0.0.0/9"), &narrow));
    assert_true(netaddr_cidr_covers(&wide, &narrow));
    assert_false(netaddr_cidr_covers(&narrow, &wide));
}

static void test_unix_sockets_are_one_block(void **state)
{
    struct netaddr_cidr all, ours, peer, nobody;
    struct sockaddr unix_peer = {.sa_family = AF_UNIX}, no_peer = {.sa_family = AF_UNSPEC};
    assert_null(netaddr_cidr_parse(SPAN("0.0.0.0/0"), &all));
    assert_null(netaddr_cidr_parse(SPAN("unix:"), &ours));
    assert_true(netaddr_cidr_of(&unix_peer, &peer));
    assert_true(netaddr_cidr_covers(&ours, &peer));
    assert_false(netaddr_cidr_covers(&all, &peer));
    assert_false(netaddr_cidr_of(&no_peer, &nobody));
    assert_false(netaddr_cidr_covers(&ours, &nobody));
    assert_false(netaddr_cidr_covers(&all, &nobody));
}

static void test_blocks_are_written_as_they_are_read(void **state)
{
    static const char *const texts[][2] = {
        {"10.0.0.0/8", "10.0.0.0/8"},       {"192.0.2.1", "192.0.2.1/32"},         {"::/0", "::/0"},
        {"2001:DB8::1", "2001:db8::1/128"}, {"::ffff:10.0.0.0/104", "10.0.0.0/8"}, {"unix:", "unix:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct netaddr_cidr c;
        struct buf out = {0};
        assert_null(netaddr_cidr_parse(span_of(texts[i][0]), &c));
        netaddr_cidr_put(&out, &c, false);
        assert_true(span_eq(buf_span(&out), span_of(texts[i][1])));
        out.len = 0;
        netaddr_cidr_put(&out, &c, true);
        assert_null(memchr(out.p, '/', out.len));
        buf_fini(&out);
    }
}

static void test_bad_blocks(void **state)
{
    static const char *const bad[] = {
        "",           "/8",          "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/-1",  "10.0.0.0/08x",
        "10.0.0.1/8", "::/129",      "::1/64",      "10.0.0/8",    "10.0.0.0/8/8", "host/8",
        "[::1]/128",  " 10.0.0.0/8", "::1%lo",      "10.0.0.0 /8",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct netaddr_cidr c;
        if (netaddr_cidr_parse(span_of(bad[i]), &c) == NULL)
            fail_msg("'%s' is taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_unknown_family),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_unix_sockets_are_one_block),
        cmocka_unit_test(test_blocks_are_written_as_they_are_read),
        cmocka_unit_test(test_bad_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
