#include "test/unit/policy_heads.h"

#include <stdio.h>

#include "common/check.h"
#include "shield/policy/vary.h"

static const struct {
    const char *rfc, *lines, *names; /* NULL: never matches */
} names[] = {
    {"9111 4.1: none", "", ""},
    {"9111 4.1: empty", "Vary:\n", ""},
    {"9110 12.5.5: one", "Vary: Accept-Language\n", "accept-language"},
    {"9110 12.5.5: sorted, in lower case, each once", "Vary: b, A, a,B, C\n", "a,b,c"},
    {"9110 5.3: lines combine", "Vary: x-b\nVary: x-a\n", "x-a,x-b"},
    {"9110 5.6.1: empty elements", "Vary: ,, a ,\t,b,\n", "a,b"},
    {"a prefix comes first", "Vary: ab, a, abc\n", "a,ab,abc"},
    {"9111 4.1: *", "Vary: *\n", NULL},
    {"9111 4.1: * at the end", "Vary: a, *\n", NULL},
    {"9111 4.1: * in another line", "Vary: a\nVary: *\n", NULL},
    {"what is no name matches nothing", "Vary: a b\n", NULL},
    {"an encoded response varies on it", "Content-Encoding: gzip\n", "accept-encoding"},
    {"once", "Content-Encoding: br\nVary: Accept-Encoding, x\n", "accept-encoding,x"},
    {"identity is no coding", "Content-Encoding: identity\n", ""},
};

static void test_names(void **state)
{
    static const struct config_route route;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct test_head t;
        struct buf out = {0};
        const struct http_head *response = response_head(&t, 200, names[i].lines);
        bool is_usable = policy_vary_names(&route, response, &out);
        if (is_usable != (names[i].names != NULL) ||
            strcmp(text_of(&out), is_usable ? names[i].names : "") != 0)
            fail_msg("%s: %d %s", names[i].rfc, is_usable, text_of(&out));
        assert_int_equal(policy_varies_always(response), !is_usable);
        buf_fini(&out);
    }
}

/* What every request of a key has in common selects nothing among its responses. */
static void test_settled_names(void **state)
{
    static struct config_class device = {.name = (char *)"device"};
    const struct config_route route = {.key = {.scheme = true,
                                               .headers = {(char *[]){(char *)"x-tenant"}, 1},
                                               .cookies = {(char *[]){(char *)"plan"}, 1},
                                               .classes = &device,
                                               .n_classes = 1}};
    struct test_head t;
    struct buf out = {0};
    assert_true(
        policy_vary_names(&route,
                          response_head(&t, 200,
                                        "Vary: Cookie, X-Tenant, accept, X-Forwarded-Proto, X_Host\n"
                                        "Vary: Shield-Class-Device, user-agent, Shield-Class-Other\n"),
                          &out));
    assert_string_equal(text_of(&out), "accept,shield-class-other,user-agent");
    out.len = 0;
    assert_true(policy_vary_names(&route, response_head(&t, 200, "Vary: Cookie\n"), &out));
    assert_int_equal(out.len, 0);
    assert_false(policy_vary_names(&route, response_head(&t, 200, "Vary: Cookie, *\n"), &out));
    buf_fini(&out);
}

static void test_many_names(void **state)
{
    static char line[2048];
    size_t n = (size_t)sprintf(line, "Vary: ");
    for (int i = 0; i < VARY_MAX_NAMES; i++)
        n += (size_t)sprintf(line + n, "x-%d,x-%d,", i, i);
    struct test_head t;
    strcpy(line + n, "\n");
    assert_false(policy_varies_always(response_head(&t, 200, line)));
    strcpy(line + n, "y\n");
    assert_true(policy_varies_always(response_head(&t, 200, line)));
}

/* Whether two requests match (RFC 9111 section 4.1). */
static const struct {
    const char *rfc, *names, *a, *b;
    bool is_match;
} pairs[] = {
    {"9111 4.1: the same", "x", "X: 1\n", "x: 1\n", true},
    {"9111 4.1: another", "x", "X: 1\n", "X: 2\n", false},
    {"9111 4.1: case counts in an unknown field", "x", "X: a\n", "X: A\n", false},
    {"9111 4.1: other fields do not", "x", "X: 1\nY: 1\n", "X: 1\nY: 2\n", true},
    {"9111 4.1: absent both", "x", "", "", true},
    {"9111 4.1: absent is not empty", "x", "", "X:\n", false},
    {"9111 4.1: lines combine", "x", "X: 1\nX: 2\n", "X: 1, 2\n", true},
    {"9111 4.1: their order counts", "x", "X: 1\nX: 2\n", "X: 2, 1\n", false},
    {"two fields do not run together", "x,y", "X: 1\nY: 2\n", "X: 12\nY:\n", false},
    {"nor does presence", "x,y", "X: 1\n", "Y: 1\n", false},
    {"a known field", "cookie", "Cookie: a\n", "Cookie: b\n", false},
    {"9111 4.1: white space in a list", "accept-language", "Accept-Language: en,de\n",
     "Accept-Language: en , de\n", true},
    {"9111 4.1: lines of a list", "accept-language", "Accept-Language: en\nAccept-Language: de\n",
     "Accept-Language: en,de\n", true},
    {"9111 4.1: case of languages", "accept-language", "Accept-Language: EN\n", "Accept-Language: en\n",
     true},
    {"order of languages", "accept-language", "Accept-Language: en, de\n", "Accept-Language: de, en\n",
     false},
    {"9111 4.1: white space in Accept", "accept", "Accept: a/b,c/d\n", "Accept: a/b, c/d\n", true},
    {"absent Accept is not empty", "accept", "", "Accept:\n", false},
    {"Accept-Encoding in normal form", "accept-encoding", "Accept-Encoding: gzip, deflate, br;q=0.5\n",
     "Accept-Encoding: br, zstd, x-gzip\n", true},
    {"Accept-Encoding absent", "accept-encoding", "", "Accept-Encoding: identity\n", true},
    {"9110 7.6.1: what goes no further selects nothing", "x-a", "Connection: x-a\nX-A: 1\n", "", true},
    {"9110 7.6.1: nor does one line of it", "x-a", "X-A: 1\nConnection: close, X-a\n", "X-A: 1\n", false},
    {"9110 7.6.1: TE", "te", "TE: trailers\n", "", true},
    {"gzip refused", "accept-encoding", "Accept-Encoding: gzip;q=0\n", "Accept-Encoding: gzip\n", false},
};

static void test_pairs(void **state)
{
    struct config cfg = policy_config();
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct test_head a, b;
        struct buf ka = {0}, kb = {0};
        policy_vary_key(&cfg, span_of(pairs[i].names), request_head(&a, "GET", pairs[i].a), &ka);
        policy_vary_key(&cfg, span_of(pairs[i].names), request_head(&b, "GET", pairs[i].b), &kb);
        if (span_eq(buf_span(&ka), buf_span(&kb)) != pairs[i].is_match)
            fail_msg("%s", pairs[i].rfc);
        buf_fini(&ka);
        buf_fini(&kb);
    }
}

static void test_raw_encoding(void **state)
{
    struct config cfg = policy_config();
    struct test_head a, b;
    struct buf ka = {0}, kb = {0};
    cfg.cache.normalise_encoding = false;
    policy_vary_key(&cfg, SPAN("accept-encoding"), request_head(&a, "GET", "Accept-Encoding: gzip, br\n"),
                    &ka);
    policy_vary_key(&cfg, SPAN("accept-encoding"), request_head(&b, "GET", "Accept-Encoding: br, gzip\n"),
                    &kb);
    assert_false(span_eq(buf_span(&ka), buf_span(&kb)));
    buf_fini(&ka);
    buf_fini(&kb);
    policy_vary_key(&cfg, SPAN(""), &a.head, &ka);
    assert_int_equal(ka.len, 0);
}

static void test_normal_languages(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_match;
    } rows[] = {
        {"EN, de;q=0.5", "de;q=0.50, en", true},
        {"en, de;q=0.5", "en, de;q=0.4", false},
        {"en, de", "de, en", false},
        {"en, *_", "en,*_", true}, /* in no normal form */
        {"en, *_", "en", false},
    };
    struct config cfg = policy_config();
    cfg.cache.normalise_language = true;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_head a, b;
        struct buf ka = {0}, kb = {0};
        char line[128];
        snprintf(line, sizeof line, "Accept-Language: %s\n", rows[i].a);
        policy_vary_key(&cfg, SPAN("accept-language"), request_head(&a, "GET", line), &ka);
        snprintf(line, sizeof line, "Accept-Language: %s\n", rows[i].b);
        policy_vary_key(&cfg, SPAN("accept-language"), request_head(&b, "GET", line), &kb);
        if (span_eq(buf_span(&ka), buf_span(&kb)) != rows[i].is_match)
            fail_msg("%s", rows[i].a);
        buf_fini(&ka);
        buf_fini(&kb);
    }
}

static const struct {
    const char *rfc, *lines, *normal;
} encodings[] = {
    {"9110 12.5.3: absent", "", "identity"},
    {"9110 12.5.3: empty", "Accept-Encoding:\n", "identity"},
    {"9110 12.5.3: both", "Accept-Encoding: gzip, br\n", "br, gzip"},
    {"9110 12.5.3: in two lines", "Accept-Encoding: gzip\nAccept-Encoding: br\n", "br, gzip"},
    {"9110 8.4.1: case", "Accept-Encoding: GZip, BR\n", "br, gzip"},
    {"9110 8.4.1.3: x-gzip", "Accept-Encoding: x-gzip\n", "gzip"},
    {"others are not asked for", "Accept-Encoding: deflate, zstd, compress\n", "identity"},
    {"9110 12.4.2: q=0", "Accept-Encoding: br;q=0, gzip;q=0.001\n", "gzip"},
    {"9110 12.4.2: q=0.000", "Accept-Encoding: br ; Q=0.000, gzip\n", "gzip"},
    {"9110 12.4.2: q=0.", "Accept-Encoding: br;q=0., gzip;q=1\n", "gzip"},
    {"9110 12.5.3: *", "Accept-Encoding: *\n", "br, gzip"},
    {"9110 12.5.3: * but", "Accept-Encoding: *, br;q=0\n", "gzip"},
    {"9110 12.5.3: *;q=0", "Accept-Encoding: gzip, *;q=0\n", "gzip"},
    {"9110 12.5.3: identity refused", "Accept-Encoding: gzip;q=1.0, identity; q=0.5, *;q=0\n", "gzip"},
    {"a refusal counts", "Accept-Encoding: gzip, gzip;q=0\n", "identity"},
    {"a longer name", "Accept-Encoding: brx, xgzip\n", "identity"},
};

static void test_accept_encoding(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
        struct test_head t;
        struct span normal = policy_accept_encoding(request_head(&t, "GET", encodings[i].lines));
        if (!span_eq(normal, span_of(encodings[i].normal)))
            fail_msg("%s: %.*s", encodings[i].rfc, SPAN_FMT(normal));
    }
}

static void test_a_key_is_taken_apart(void **state)
{
    struct config cfg = policy_config();
    struct test_head asked;
    struct buf key = {0};
    struct span left = SPAN("x-a,x-b,x-c"), name, value;
    policy_vary_key(&cfg, left, request_head(&asked, "GET", "X-C: \nX-A: 1\nX-A: 2\n"), &key);
    struct span variant = buf_span(&key);
    assert_true(policy_vary_next(&left, &variant, &name, &value));
    assert_true(span_eq(name, SPAN("x-a")) && span_eq(value, SPAN("1, 2")));
    assert_true(policy_vary_next(&left, &variant, &name, &value));
    assert_true(span_eq(name, SPAN("x-b")) && value.p == NULL); /* absent */
    assert_true(policy_vary_next(&left, &variant, &name, &value));
    assert_true(span_eq(name, SPAN("x-c")) && value.p != NULL && value.len == 0); /* empty */
    assert_false(policy_vary_next(&left, &variant, &name, &value));

    for (size_t n = 0; n < key.len; n++) { /* cut anywhere: it ends, and reads nothing behind */
        left = SPAN("x-a,x-b,x-c");
        variant = (struct span){key.p, n};
        int fields = 0;
        while (policy_vary_next(&left, &variant, &name, &value))
            fields++;
        assert_true(fields < 3);
    }
    buf_fini(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),           cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_pairs),           cmocka_unit_test(test_raw_encoding),
        cmocka_unit_test(test_accept_encoding), cmocka_unit_test(test_normal_languages),
        cmocka_unit_test(test_settled_names),   cmocka_unit_test(test_a_key_is_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
