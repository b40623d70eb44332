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

#define FILE_TEXT "# a comment of the file\n" SIXTEEN "\nsecond-token-of-the-file read\n" LONGEST "\n"

static struct admin_tokens *parse(const char *text, int wanted, struct buf *errors)
{
    struct admin_tokens *t = NULL;
    int err = admin_tokens_parse(&t, "f", span_of(text), errors);
    if (err != wanted)
        fail_msg("%s: %d %.*s", text, err, SPAN_FMT(buf_span(errors)));
    return t;
}

static const struct admin_right *find(const struct admin_tokens *t, const char *name, const char *value,
                                      unsigned times, const char *other, bool *is_given)
{
    struct http_field fields[2] = {{span_of(name), span_of(value), http_field_id(span_of(name))}};
    fields[1] = fields[0];
    struct http_head head = {
        .fields = fields, .n_fields = times, .present = times > 0 ? UINT64_C(1) << fields[0].id : 0};
    return admin_tokens_find(t, &head, other, is_given);
}

static void test_values(void **state)
{
    struct buf errors = {0};
    struct admin_tokens *t = parse(FILE_TEXT, 0, &errors);
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        bool given;
        bool found = find(t, "Authorization", values[i].value, 1, NULL, &given) != NULL;
        if (found != values[i].allowed)
            fail_msg("'%s'", values[i].value);
        assert_false(found && !given);
        assert_null(find(t, "Authorization", values[i].value, 2, NULL, &given)); /* once is enough */
    }
    admin_tokens_free(&t);
    buf_fini(&errors);
}

static void test_other_fields(void **state)
{
    struct buf errors = {0};
    struct admin_tokens *t = parse(FILE_TEXT, 0, &errors);
    bool given;
    assert_non_null(find(t, "fastly-key", SIXTEEN, 1, "Fastly-Key", &given));
    assert_true(given);
    assert_null(find(t, "fastly-key", SIXTEEN, 2, "Fastly-Key", &given));
    assert_null(find(t, "fastly-key", "Bearer " SIXTEEN, 1, "Fastly-Key", &given));
    assert_true(given);
    assert_null(find(t, "fastly-key", SIXTEEN, 1, "X-Auth-Key", &given));
    assert_false(given);
    assert_null(find(t, "fastly-key", SIXTEEN, 1, NULL, &given));
    assert_false(given);
    assert_null(find(t, "Authorization", SIXTEEN, 0, "Fastly-Key", &given));
    assert_false(given);
    admin_tokens_free(&t);
    buf_fini(&errors);
}

static const struct {
    const char *words;
    unsigned scopes;
    const char *name;
} rights[] = {
    {"", SCOPE_EVERYTHING, "token-2"},
    {" read", SCOPE_READ, "token-2"},
    {"\tread,purge:url  name=ci.deploy-1", SCOPE_READ | SCOPE_PURGE_URL, "ci.deploy-1"},
    {" name=x purge:tag,purge:all,config ", SCOPE_PURGE_TAG | SCOPE_PURGE_ALL | SCOPE_CONFIG, "x"},
    {" name=x", SCOPE_EVERYTHING, "x"},
};

static void test_rights(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        struct buf errors = {0}, text = {0};
        bool given;
        buf_printf(&text, "first-token-of-it config\n" SIXTEEN "%s\n", rights[i].words);
        buf_put(&text, "", 1);
        struct admin_tokens *t = parse(text.p, 0, &errors);
        const struct admin_right *r = find(t, "Authorization", "Bearer " SIXTEEN, 1, NULL, &given);
        assert_int_equal(r->scopes, rights[i].scopes);
        assert_true(span_eq((struct span){r->name, r->name_len}, span_of(rights[i].name)));
        r = find(t, "Authorization", "Bearer first-token-of-it", 1, NULL, &given);
        assert_int_equal(r->scopes, SCOPE_CONFIG);
        admin_tokens_free(&t);
        buf_fini(&errors);
        buf_fini(&text);
    }
}

static const char *const bad_lines[][2] = {
    {SIXTEEN " purge", "f:1: a scope is not known; there are read,"},
    {SIXTEEN " READ", "f:1: a scope is not known"},
    {SIXTEEN " read,,config", "f:1: a scope is not known"},
    {SIXTEEN " ,", "f:1: a scope is not known"},
    {"#\n" SIXTEEN " read config", "f:2: scopes are a list with commas"},
    {SIXTEEN " read, config", "f:1: scopes are a list"},
    {SIXTEEN " name=", "f:1: a name is given once"},
    {SIXTEEN " name=a name=b", "f:1: a name is given once"},
    {SIXTEEN " name=a\"b", "f:1: a name is given once"},
    {SIXTEEN " name=" SIXTEEN SIXTEEN SIXTEEN SIXTEEN "0", "f:1: a name is given once"},
    {"short read", "f:1: the token is too short"},
    {SIXTEEN "\n" SIXTEEN " read", "f:2: the token stands in a line before"},
    {SIXTEEN " " LONGEST "0", "f:1: too much stands behind the token"},
    {"# read", "f: holds no token"},
};

static void test_bad_lines(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_lines); i++) {
        struct buf errors = {0};
        assert_null(parse(bad_lines[i][0], ERR_SYNTAX, &errors));
        buf_put(&errors, "", 1);
        if (strstr(errors.p, bad_lines[i][1]) != errors.p)
            fail_msg("%s: %s", bad_lines[i][0], errors.p);
        assert_null(strstr(errors.p, SIXTEEN)); /* never the secret */
        buf_fini(&errors);
    }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_other_fields),
                                       cmocka_unit_test(test_rights), cmocka_unit_test(test_bad_lines),
                                       cmocka_unit_test(test_hosts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
