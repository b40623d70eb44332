#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/admin/admin_tokens.h"

#define SIXTEEN "0123456789abcdef"
#define LONGEST                                                                                             \
    SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN \
        SIXTEEN SIXTEEN SIXTEEN

static const struct {
    const char *value;
    bool allowed;
} values[] = {
    {"Bearer " SIXTEEN, true},
    {"bearer " SIXTEEN, true},
    {"BEARER   " SIXTEEN, true},
    {"Bearer second-token-of-the-file", true},
    {"Bearer " LONGEST, true},
    {"Bearer " LONGEST "0", false},
    {"Bearer " SIXTEEN SIXTEEN, false},
    {"Bearer 0123456789abcdeF", false},
    {"Bearer 1123456789abcdef", false},
    {"Bearer 0123456789abcde", false},
    {"Bearer 0123456789abcdef0", false},
    {"Bearer " SIXTEEN " " SIXTEEN, false},
    {"Bearer " SIXTEEN "," SIXTEEN, false},
    {"Bearer" SIXTEEN, false},
    {"Bearer\t" SIXTEEN, false},
    {"Bearer ", false},
    {"Bearer", false},
    {"", false},
    {SIXTEEN, false},
    {"Basic " SIXTEEN, false},
    {"Bearer # a comment of the file", false},
};

static void test_values(void **state)
{
    struct tokens *t = NULL;
    struct buf errors = {0};
    struct span text = SPAN("# a comment of the file\n" SIXTEEN "\nsecond-token-of-the-file\n" LONGEST "\n");
    assert_int_equal(tokens_parse(&t, TOKENS_BEARER, "x.token_file", "f", text, &errors), 0);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (admin_tokens_allow(t, span_of(values[i].value)) != values[i].allowed)
            fail_msg("'%s'", values[i].value);
    tokens_free(&t);
    buf_fini(&errors);
}

static const struct {
    const char *host;
    bool loopback;
} hosts[] = {
    {"localhost", true},
    {"LocalHost:9090", true},
    {"127.0.0.1", true},
    {"127.0.0.1:9090", true},
    {"127.9.8.7:1", true},
    {"[::1]", true},
    {"[::1]:9090", true},
    {"[0:0:0:0:0:0:0:1]:9090", true},
    {"[::ffff:127.0.0.1]", true},
    {"127.0.0.1:", true},
    {"", false},
    {":9090", false},
    {"0.0.0.0:9090", false},
    {"[::]:9090", false},
    {"10.0.0.1", false},
    {"[2001:db8::1]", false},
    {"[::ffff:10.0.0.1]", false},
    {"attacker.example", false},
    {"127.0.0.1.attacker.example", false},
    {"127.0.0.1.nip.io:9090", false},
    {"localhost.attacker.example", false},
    {"localhost.attacker.example:9090", false},
    {"notlocalhost", false},
    {"unix", false},
    {"unix:x", false},
    {"[::1", false},
    {"[]", false},
    {"127.1", false},
    {"0000000000000000000000000000000000000000000000000000000000000000127.0.0.1", false},
};

static void test_hosts(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        if (admin_host_is_loopback(span_of(hosts[i].host)) != hosts[i].loopback)
            fail_msg("'%s'", hosts[i].host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_hosts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
