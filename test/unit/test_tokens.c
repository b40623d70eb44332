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
#include "shield/ops/tokens.h"

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
        struct tokens *t = NULL;
        struct buf errors = {0};
        int err = tokens_parse(&t, TOKENS_BEARER, "x.token_file", "f", span_of(files[i].text), &errors);
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
        tokens_free(&t);
        assert_null(t);
        buf_fini(&errors);
    }
}

/* What edges send is somebody else's to choose. */
static void test_values(void **state)
{
    static const char text[] = "# rotated in May\n old: \"secret\"!  \n\tx\n" SIXTEEN "\n";
    static const char *const faulty[] = {"x\n" LONGEST "0\n", "x\n\xc3\xa4\n", "x\ny\x01z\n", "x\ny\x7fz\n"};
    struct tokens *t = NULL;
    struct buf errors = {0};
    assert_int_equal(tokens_parse(&t, TOKENS_VALUE, "edges.secret", "f", span_of(text), &errors), 0);
    assert_true(tokens_allow(t, SPAN("old: \"secret\"!")));
    assert_true(tokens_allow(t, SPAN("x")));
    assert_true(tokens_allow(t, SPAN(SIXTEEN)));
    assert_false(tokens_allow(t, SPAN("")));
    assert_false(tokens_allow(t, SPAN("X")));
    assert_false(tokens_allow(t, SPAN("xx")));
    assert_false(tokens_allow(t, SPAN("old:")));
    assert_false(tokens_allow(t, SPAN("# rotated in May")));
    assert_false(tokens_allow(t, (struct span){"x\0", 2})); /* it would be equal to the padding */
    tokens_free(&t);
    for (size_t i = 0; i < ARRAY_LEN(faulty); i++) {
        errors.len = 0;
        assert_int_equal(tokens_parse(&t, TOKENS_VALUE, "edges.secret", "f", span_of(faulty[i]), &errors),
                         ERR_SYNTAX);
        assert_true(span_starts(buf_span(&errors), SPAN("f:2: the token ")));
    }
    buf_fini(&errors);
}

static void test_a_nul_is_no_part_of_a_token(void **state)
{
    static const char text[] = "0123456789\0abcdef";
    struct tokens *t = NULL;
    struct buf errors = {0};
    assert_int_equal(
        tokens_parse(&t, TOKENS_BEARER, "x.token_file", "f", (struct span){text, sizeof text - 1}, &errors),
        ERR_SYNTAX);
    buf_fini(&errors);
}

static void test_too_many(void **state)
{
    for (int n = TOKENS_MAX; n <= TOKENS_MAX + 1; n++) {
        struct tokens *t = NULL;
        struct buf text = {0}, errors = {0};
        for (int i = 0; i < n; i++)
            buf_printf(&text, "token-number-%05d\n", i);
        assert_int_equal(tokens_parse(&t, TOKENS_BEARER, "x.token_file", "f", buf_span(&text), &errors),
                         n > TOKENS_MAX ? ERR_SYNTAX : 0);
        if (t != NULL) {
            assert_true(tokens_allow(t, SPAN("token-number-00000")));
            assert_true(tokens_allow(t, SPAN("token-number-00255")));
            assert_false(tokens_allow(t, SPAN("token-number-00256")));
        }
        tokens_free(&t);
        buf_fini(&text);
        buf_fini(&errors);
    }
}

static void test_reading_a_file(void **state)
{
    char path[] = "/tmp/shield_tokens_XXXXXX";
    struct tokens *t = NULL;
    struct buf errors = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SIXTEEN "\n", 17), 17);
    assert_int_equal(tokens_read(&t, TOKENS_BEARER, "x.token_file", path, &errors), 0);
    assert_true(tokens_allow(t, SPAN(SIXTEEN)));
    tokens_free(&t);

    assert_int_equal(ftruncate(fd, 1024 * 1024), 0); /* far more than any list of tokens */
    assert_int_equal(tokens_read(&t, TOKENS_BEARER, "x.token_file", path, &errors), ERR_SYNTAX);
    close(fd);
    unlink(path);
    errors.len = 0;
    assert_int_equal(tokens_read(&t, TOKENS_BEARER, "x.token_file", path, &errors), ERR_SYNTAX);
    buf_put(&errors, "", 1);
    assert_non_null(strstr(errors.p, "cannot be read: No such file"));
    buf_fini(&errors);
}

static void test_no_tokens_allow_nobody(void **state)
{
    assert_false(tokens_allow(NULL, SPAN(SIXTEEN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_a_nul_is_no_part_of_a_token),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_no_tokens_allow_nobody),
        cmocka_unit_test(test_reading_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
