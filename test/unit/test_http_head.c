#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/check.h"
#include "test/unit/http1_agree.h"

static const struct http1_limits limits = {.max_head = 4000, .max_fields = 60, .max_url = 100};

/* A response head with these fields; the run is to be finished. */
static void response(struct agree_run *r, const char *fields)
{
    struct buf in = {0};
    buf_printf(&in, "HTTP/1.1 200 Fine\r\n%s\r\n", fields);
    agree_parse(r, false, &limits, buf_span(&in), in.len, 1);
    assert_int_equal(r->result.status, HTTP1_HEAD);
    buf_fini(&in);
}

static void field_ids(void **state)
{
    for (int id = 1; id < FIELD_COUNT; id++) {
        struct span name = http_field_name(id);
        char text[40];
        assert_int_equal(http_field_id(name), id);
        for (size_t i = 0; i < name.len; i++) { /* in either case, and not when any byte differs */
            memcpy(text, name.p, name.len);
            text[i] = ascii_lower(text[i]);
            assert_int_equal(http_field_id((struct span){text, name.len}), id);
            text[i] ^= text[i] == '-' ? 0 : 0x20;
            assert_int_equal(http_field_id((struct span){text, name.len}), id);
            for (int c = 0; c < 256; c++) {
                text[i] = (char)c;
                bool same = ascii_lower((char)c) == ascii_lower(name.p[i]);
                enum http_field_id got = http_field_id((struct span){text, name.len});
                if (same != (got == (enum http_field_id)id))
                    fail_msg("%.*s with byte %d at %zu", SPAN_FMT(name), c, i);
            }
        }
        memcpy(text, name.p, name.len);
        text[name.len] = 's';
        assert_int_not_equal(http_field_id((struct span){text, name.len + 1}), id);
        assert_int_not_equal(http_field_id((struct span){text, name.len - 1}), id);
    }
    assert_int_equal(http_field_id(SPAN("")), FIELD_OTHER);
    assert_int_equal(http_field_id(SPAN("X")), FIELD_OTHER);
    assert_int_equal(http_field_id(SPAN("A-Name-Longer-Than-Any-That-We-Know-Of")), FIELD_OTHER);
}

static void methods(void **state)
{
    assert_int_equal(http_method_id(SPAN("GET")), METHOD_GET);
    assert_int_equal(http_method_id(SPAN("PURGE")), METHOD_PURGE);
    assert_int_equal(http_method_id(SPAN("get")), METHOD_OTHER);
    assert_int_equal(http_method_id(SPAN("GETS")), METHOD_OTHER);
    assert_int_equal(http_method_id(SPAN("GE")), METHOD_OTHER);
    assert_int_equal(http_method_id(SPAN("")), METHOD_OTHER);
}

static void reasons(void **state)
{
    assert_true(span_eq(http_reason(200), SPAN("OK")));
    assert_true(span_eq(http_reason(431), SPAN("Request Header Fields Too Large")));
    assert_int_equal(http_reason(299).len, 0);
}

static void lookup(void **state)
{
    struct agree_run r;
    response(&r, "Vary: a\r\nX-A: 1\r\nvary: b\r\nAge:\r\nx-a: 2\r\n");
    assert_true(span_eq(http_value(&r.head, FIELD_VARY), SPAN("a")));
    assert_int_equal(http_count(&r.head, FIELD_VARY), 2);
    assert_int_equal(http_count(&r.head, FIELD_AGE), 1);
    assert_int_equal(http_count(&r.head, FIELD_DATE), 0);
    assert_non_null(http_value(&r.head, FIELD_AGE).p);
    assert_null(http_value(&r.head, FIELD_DATE).p);
    assert_null(http_find(&r.head, FIELD_DATE));
    assert_ptr_equal(http_find_name(&r.head, SPAN("VARY")), &r.fields[0]);
    assert_ptr_equal(http_find_name(&r.head, SPAN("X-a")), &r.fields[1]);
    assert_null(http_find_name(&r.head, SPAN("X-b")));
    assert_null(http_find_name(&r.head, SPAN("Date")));
    agree_fini(&r);
}

static void lists(void **state)
{
    static const struct {
        const char *list, *items; /* joined by '|' */
    } rows[] = {
        {"", ""},
        {" , ,\t", ""},
        {"a", "a"},
        {"a,b , c", "a|b|c"},
        {",a,, b,", "a|b"},
        {"a=\"b,c\", d", "a=\"b,c\"|d"},
        {"a=\"b\\\",c\", d", "a=\"b\\\",c\"|d"},
        {"a=\"b,c", "a=\"b,c"},
        {"a=\"b\\", "a=\"b\\"},
        {"a\\,b", "a\\|b"},
        {"W/\"x\",\"y\"", "W/\"x\"|\"y\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct span rest = span_of(rows[i].list), item;
        struct buf got = {0};
        while (http_list_next(&rest, &item)) {
            if (got.len > 0)
                buf_put_lit(&got, "|");
            buf_put_span(&got, item);
        }
        if (!span_eq(buf_span(&got), span_of(rows[i].items)))
            fail_msg("%s: %.*s", rows[i].list, SPAN_FMT(buf_span(&got)));
        buf_fini(&got);
    }
}

static void lists_over_fields(void **state)
{
    struct agree_run r;
    struct http_list_it it = {0};
    struct span item;
    response(&r, "Vary: a, b;q=1\r\nAge: 1\r\nVary:\r\nVary: ,\r\nVARY: c\r\n");
    assert_true(http_list_each(&r.head, FIELD_VARY, &it, &item) && span_eq(item, SPAN("a")));
    assert_true(http_list_each(&r.head, FIELD_VARY, &it, &item) && span_eq(item, SPAN("b;q=1")));
    assert_true(http_list_each(&r.head, FIELD_VARY, &it, &item) && span_eq(item, SPAN("c")));
    assert_false(http_list_each(&r.head, FIELD_VARY, &it, &item));
    assert_false(http_list_each(&r.head, FIELD_VARY, &it, &item));
    assert_true(http_list_has(&r.head, FIELD_VARY, SPAN("B")));
    assert_true(http_list_has(&r.head, FIELD_VARY, SPAN("C")));
    assert_false(http_list_has(&r.head, FIELD_VARY, SPAN("d")));
    assert_false(http_list_has(&r.head, FIELD_CONNECTION, SPAN("a")));
    agree_fini(&r);
}

static void hop_by_hop(void **state)
{
    static const struct {
        const char *name;
        bool alone, named;
    } rows[] = {
        {"Keep-Alive", true, true},
        {"Proxy-Connection", true, true},
        {"TE", true, true},
        {"Trailer", true, true},
        {"Transfer-Encoding", true, true},
        {"Upgrade", true, true},
        {"Proxy-Authenticate", true, true},
        {"Proxy-Authorization", true, true},
        {"Proxy-Authentication-Info", true, true},
        {"HTTP2-Settings", true, true},
        {"X-Own", false, true},
        {"X-Forwarded-For", false, true},
        {"User-Agent", false, true},
        {"Server", false, true},
        {"Host", false, false},
        {"Content-Length", false, false},
        {"Cache-Control", false, false},
        {"Vary", false, false},
        {"Age", false, false},
        {"Set-Cookie", false, false},
        {"Authorization", false, false},
        {"Cookie", false, false},
        {"Accept-Encoding", false, false},
        {"Content-Encoding", false, false},
        {"ETag", false, false},
        {"Expires", false, false},
        {"CDN-Loop", false, false},
        {"Via", false, false},
        {"Range", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agree_run r;
        char fields[200];
        snprintf(fields, sizeof fields, "Connection: close, x-other\r\n%s: 1\r\n", rows[i].name);
        response(&r, fields);
        assert_true(http_is_hop_by_hop(&r.head, &r.fields[0]));
        if (http_is_hop_by_hop(&r.head, &r.fields[1]) != rows[i].alone)
            fail_msg("%s", rows[i].name);
        agree_fini(&r);

        snprintf(fields, sizeof fields, "%s: 1\r\nConnection: a\r\nconnection: b ,%s\r\n", rows[i].name,
                 rows[i].name);
        response(&r, fields);
        if (http_is_hop_by_hop(&r.head, &r.fields[0]) != rows[i].named)
            fail_msg("%s, named", rows[i].name);
        agree_fini(&r);
    }
}

static void connection_options(void **state)
{
    struct agree_run r;
    response(&r, "Connection: \"a, b\\\r\nConnection: ,C ,, d\";e\r\n");
    assert_true(http_connection_has(&r.head, SPAN("b\\")));
    assert_true(http_connection_has(&r.head, SPAN("c")));
    assert_false(http_connection_has(&r.head, SPAN("a")));
    assert_false(http_connection_has(&r.head, SPAN("d")));
    agree_fini(&r);
}

static void copy(void **state)
{
    struct arena a = {0};
    struct agree_run r;
    struct http_head twin, empty = {0};
    response(&r, "Vary: a\r\nX-A:\r\nDate: x\r\n");
    assert_int_equal(http_head_copy(&twin, &r.head, &a), 0);
    assert_true(agree_same_head(&twin, &r.head));
    memset(r.bytes, 'z', r.result.head_bytes);
    memset(r.fields, 0, sizeof r.fields);
    assert_true(span_eq(twin.reason, SPAN("Fine")));
    assert_true(span_eq(twin.fields[0].name, SPAN("Vary")));
    assert_true(span_eq(http_value(&twin, FIELD_DATE), SPAN("x")));
    assert_int_equal(http_head_copy(&twin, &empty, &a), 0);
    assert_int_equal(twin.n_fields, 0);
    agree_fini(&r);
    arena_fini(&a);
}

static void tokens(void **state)
{
    const char *others = "!#$%&'*+-.^_`|~";
    for (int c = 0; c < 256; c++) {
        char text[2] = {'a', (char)c};
        bool is = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c != 0 && strchr(others, c) != NULL);
        assert_int_equal(http_is_token((struct span){text, 2}), is);
    }
    assert_false(http_is_token(SPAN("")));
}

/* Every byte, at every place of values of many lengths: the fast way must see what the slow one sees. */
static void value_bytes(void **state)
{
    for (size_t len = 1; len < 20; len++)
        for (size_t at = 0; at < len; at++)
            for (int c = 0; c < 256; c++) {
                char text[20];
                memset(text, 'x', sizeof text);
                text[at] = (char)c;
                struct buf in = {0};
                struct agree_run r;
                buf_put_lit(&in, "HTTP/1.1 200 OK\r\nA:");
                buf_put(&in, text, len);
                buf_put_lit(&in, "\r\n\r\n");
                agree_parse(&r, false, &limits, buf_span(&in), in.len, 1);
                bool is = c == '\t' || (c >= 0x20 && c != 0x7f);
                if ((r.result.status == HTTP1_HEAD) != is)
                    fail_msg("byte %d at %zu of %zu", c, at, len);
                agree_fini(&r);
                buf_fini(&in);
            }
}

static void put_field(void **state)
{
    struct buf out = {0};
    http_put_field(&out, SPAN("A"), SPAN("b c"));
    http_put_field(&out, SPAN("D"), SPAN(""));
    assert_true(span_eq(buf_span(&out), SPAN("A: b c\r\nD: \r\n")));
    buf_fini(&out);
}

static void test_remove(void **state)
{
    struct http_field fields[] = {{SPAN("Shield-Debug"), SPAN("1"), FIELD_SHIELD_DEBUG},
                                  {SPAN("X"), SPAN("2"), FIELD_OTHER},
                                  {SPAN("shield-debug"), SPAN("3"), FIELD_SHIELD_DEBUG},
                                  {SPAN("Age"), SPAN("4"), FIELD_AGE}};
    struct http_head h = {.fields = fields,
                          .n_fields = 4,
                          .cap_fields = 4,
                          .present = UINT64_C(1) << FIELD_SHIELD_DEBUG | UINT64_C(1) << FIELD_AGE};
    http_remove(&h, FIELD_SHIELD_DEBUG);
    assert_int_equal(h.n_fields, 2);
    assert_false(http_has(&h, FIELD_SHIELD_DEBUG));
    assert_true(span_eq(fields[0].value, SPAN("2")) && span_eq(http_value(&h, FIELD_AGE), SPAN("4")));
}

static void test_remove_by_name(void **state)
{
    struct http_field fields[] = {{SPAN("X-Secret"), SPAN("1"), FIELD_OTHER},
                                  {SPAN("Age"), SPAN("2"), FIELD_AGE},
                                  {SPAN("X-SECRET"), SPAN("3"), FIELD_OTHER},
                                  {SPAN("X-Secrets"), SPAN("4"), FIELD_OTHER}};
    struct http_head h = {
        .fields = fields, .n_fields = 4, .cap_fields = 4, .present = UINT64_C(1) << FIELD_AGE};
    assert_int_equal(http_remove_name(&h, SPAN("x-secret")), 2);
    assert_int_equal(http_remove_name(&h, SPAN("x-secret")), 0);
    assert_int_equal(h.n_fields, 2);
    assert_true(span_eq(fields[1].value, SPAN("4")) && http_has(&h, FIELD_AGE));
    assert_int_equal(http_remove_name(&h, SPAN("age")), 1);
    assert_false(http_has(&h, FIELD_AGE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_remove), cmocka_unit_test(test_remove_by_name),
        cmocka_unit_test(field_ids),   cmocka_unit_test(methods),
        cmocka_unit_test(reasons),     cmocka_unit_test(lookup),
        cmocka_unit_test(lists),       cmocka_unit_test(lists_over_fields),
        cmocka_unit_test(hop_by_hop),  cmocka_unit_test(connection_options),
        cmocka_unit_test(copy),        cmocka_unit_test(tokens),
        cmocka_unit_test(value_bytes), cmocka_unit_test(put_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
