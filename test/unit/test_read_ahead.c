#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/check.h"
#include "shield/http/read_ahead.h"

static const struct http1_limits limits = {
    .max_head = 600, .max_fields = 12, .max_url = 100, .max_chunk_ext = 20, .max_trailers = 30};

#define GET   "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST  "POST / HTTP/1.1\r\nHost: a\r\n"
#define FIVE  POST "Content-Length: 5\r\n\r\n"
#define CHUNK POST "Transfer-Encoding: chunked\r\n\r\n"

static uint32_t count(struct read_ahead *a, struct span s, uint32_t most)
{
    struct http_field fields[12];
    read_ahead_count(a, s.p, s.len, &limits, fields, most);
    return a->requests;
}

static void counts(void **state)
{
    static const struct {
        const char *name;
        struct span in;
        uint32_t requests;
    } rows[] = {
#define ROW(name, text, n) {name, {text, sizeof(text) - 1}, n}
        ROW("nothing", "", 0),
        ROW("half a head", "GET / HTTP/1.1\r\nHost: a\r\n\r", 0),
        ROW("one", GET, 1),
        ROW("three", GET GET GET, 3),
        ROW("an empty line between", GET "\r\n" GET, 2),
        ROW("content to come", FIVE "12", 1),
        ROW("content and half a head", FIVE "12345GET /", 1),
        ROW("content like a head", FIVE "\r\n\r\nX" GET, 2),
        ROW("chunks", CHUNK "1b\r\n" GET "\r\n0\r\n\r\n" GET, 2),
        ROW("trailers", CHUNK "0\r\nX: y\r\n\r\n" GET, 2),
        ROW("a bad head", GET "GET  / HTTP/1.1\r\n\r\n" GET, 1),
        ROW("bad framing", GET POST "Content-Length: x\r\n\r\n" GET, 1),
        ROW("a bad chunk", CHUNK "x\r\n" GET, 1),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct read_ahead whole, grows;
        read_ahead_init(&whole, NULL);
        if (count(&whole, rows[i].in, 100) != rows[i].requests)
            fail_msg("%s", rows[i].name);
        read_ahead_init(&grows, NULL);
        for (size_t n = 0; n <= rows[i].in.len; n++)
            count(&grows, (struct span){rows[i].in.p, n}, 100);
        if (grows.requests != rows[i].requests)
            fail_msg("%s, byte by byte", rows[i].name);
    }
}

static void stops_at_most(void **state)
{
    struct span in = SPAN(GET GET GET GET);
    struct read_ahead a;
    read_ahead_init(&a, NULL);
    assert_int_equal(count(&a, in, 2), 2);
    assert_int_equal(a.counted, 2 * strlen(GET));
    assert_int_equal(count(&a, in, 3), 3);
}

static void taking(void **state)
{
    struct span in = SPAN(GET FIVE "12345" GET);
    size_t one = strlen(GET);
    struct read_ahead a;
    read_ahead_init(&a, NULL);
    assert_int_equal(count(&a, in, 2), 2);
    assert_true(read_ahead_take(&a, one, 1));
    assert_int_equal(count(&a, span_from(in, one), 9), 2);
    assert_false(read_ahead_take(&a, in.len, 2));
}

static void within_content(void **state)
{
    struct span in = SPAN("345" GET);
    struct read_ahead a;
    read_ahead_init(&a,
                    &(struct http1_body){.framing = BODY_LENGTH, .length = 5, .remaining = 3, .state = 1});
    assert_int_equal(count(&a, in, 9), 1);
    assert_int_equal(a.counted, in.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(stops_at_most),
        cmocka_unit_test(taking),
        cmocka_unit_test(within_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
