#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/admin/admin_tokens.h"

#define SIXTEEN "0123456789abcdef"
#define LONGEST                                                                                             \
    SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN \
        SIXTEEN SIXTEEN SIXTEEN

static const struct {
    const char *text;
    const char *fault; /* part of the message; NULL: it is read */
} files[] = {
    {SIXTEEN "\n", NULL},
    {SIXTEEN, NULL},
    {SIXTEEN "\r\n", NULL},
    {"# ours\n\n  " SIXTEEN "  \n\t\n#" SIXTEEN "\n", NULL},
    {LONGEST "\n", NULL},
    {"abcdEFGH09-._~+/==\n", NULL},
    {"", "f: holds no token"},
    {"\n# nothing\n", "f: holds no token"},
    {"0123456789abcde\n", "f:1: the token is too short"},
    {SIXTEEN "\nshort\n", "f:2: the token is too short"},
    {LONGEST "0\n", "f:1: the token is too long"},
    {"#\n#\n" SIXTEEN " two\n", "f:3: the token has a character"},
    {SIXTEEN "\xc3\xa4\n", "f:1: the token has a character"},
    {SIXTEEN "\"\n", "f:1: the token has a character"},
};

static void test_files(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct admin_tokens *t = NULL;
        struct buf errors = {0};
        int err = admin_tokens_parse(&t, "f", span_of(files[i].text), &errors);
        buf_put(&errors, "", 1);
        if (files[i].fault == NULL) {
            assert_int_equal(err, 0);
            assert_non_null(t);
            assert_string_equal(errors.p, "");
        } else {
            assert_int_equal(err, ERR_SYNTAX);
            assert_null(t);
            if (strstr(errors.p, files[i].fault) != errors.p)
                fail_msg("file %zu: %s", i, errors.p);
            assert_null(strstr(errors.p, SIXTEEN)); /* never the secret */
        }
        admin_tokens_free(&t);
        assert_null(t);
        buf_fini(&errors);
    }
}

static void test_a_nul_is_no_part_of_a_token(void **state)
{
    static const char text[] = "0123456789\0abcdef";
    struct admin_tokens *t = NULL;
    struct buf errors = {0};
    assert_int_equal(admin_tokens_parse(&t, "f", (struct span){text, sizeof text - 1}, &errors), ERR_SYNTAX);
    buf_fini(&errors);
}

static void test_too_many(void **state)
{
    for (int n = TOKENS_MAX; n <= TOKENS_MAX + 1; n++) {
        struct admin_tokens *t = NULL;
        struct buf text = {0}, errors = {0};
        for (int i = 0; i < n; i++)
            buf_printf(&text, "token-number-%05d\n", i);
        assert_int_equal(admin_tokens_parse(&t, "f", buf_span(&text), &errors),
                         n > TOKENS_MAX ? ERR_SYNTAX : 0);
        if (t != NULL) {
            assert_true(admin_tokens_allow(t, SPAN("Bearer token-number-00000")));
            assert_true(admin_tokens_allow(t, SPAN("Bearer token-number-00255")));
            assert_false(admin_tokens_allow(t, SPAN("Bearer token-number-00256")));
        }
        admin_tokens_free(&t);
        buf_fini(&text);
        buf_fini(&errors);
    }
}

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
    struct admin_tokens *t = NULL;
    struct buf errors = {0};
    struct span text = SPAN("# a comment of the file\n" SIXTEEN "\nsecond-token-of-the-file\n" LONGEST "\n");
    assert_int_equal(admin_tokens_parse(&t, "f", text, &errors), 0);
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (admin_tokens_allow(t, span_of(values[i].value)) != values[i].allowed)
            fail_msg("'%s'", values[i].value);
    admin_tokens_free(&t);
    buf_fini(&errors);
}

static void test_reading_a_file(void **state)
{
    char path[] = "/tmp/shield_tokens_XXXXXX";
    struct admin_tokens *t = NULL;
    struct buf errors = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SIXTEEN "\n", 17), 17);
    assert_int_equal(admin_tokens_read(&t, path, &errors), 0);
    assert_true(admin_tokens_allow(t, SPAN("Bearer " SIXTEEN)));
    admin_tokens_free(&t);

    assert_int_equal(ftruncate(fd, 1024 * 1024), 0); /* far more than any list of tokens */
    assert_int_equal(admin_tokens_read(&t, path, &errors), ERR_SYNTAX);
    close(fd);
    unlink(path);
    errors.len = 0;
    assert_int_equal(admin_tokens_read(&t, path, &errors), ERR_SYNTAX);
    buf_put(&errors, "", 1);
    assert_non_null(strstr(errors.p, "cannot be read: No such file"));
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),          cmocka_unit_test(test_a_nul_is_no_part_of_a_token),
        cmocka_unit_test(test_too_many),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_reading_a_file), cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
