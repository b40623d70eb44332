#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/check.h"
#include "test/unit/http1_agree.h"

static const struct http1_limits limits = {.max_head = 300, .max_fields = 6, .max_url = 100};

struct response_case {
    const char *name;
    struct span in;
    enum http1_status status;
    int code;
    const char *reason;
};

#define GOOD(name, text, code, reason)                           \
    {                                                            \
        name, {text, sizeof(text) - 1}, HTTP1_HEAD, code, reason \
    }
#define BAD(name, text)                                    \
    {                                                      \
        name, {text, sizeof(text) - 1}, HTTP1_BAD, 0, NULL \
    }
#define MORE(name, text)                                    \
    {                                                       \
        name, {text, sizeof(text) - 1}, HTTP1_MORE, 0, NULL \
    }
#define OK    "HTTP/1.1 200 OK\r\n"
#define FIFTY "01234567890123456789012345678901234567890123456789"

static const struct response_case cases[] = {
    GOOD("plain", OK "A: b\r\n\r\n", 200, "OK"),
    GOOD("no fields, body behind", OK "\r\nbody", 200, "OK"),
    GOOD("empty reason", "HTTP/1.1 404 \r\n\r\n", 404, ""),
    GOOD("reason with all that is allowed", "HTTP/1.0 599  a\t\x80\xff! \r\n\r\n", 599, " a\t\x80\xff! "),
    GOOD("informational", "HTTP/1.1 100 Continue\r\n\r\n", 100, "Continue"),
    GOOD("minor above 1", "HTTP/1.2 200 OK\r\n\r\n", 200, "OK"),
    GOOD("two Hosts are no matter here", OK "Host: a\r\nHost: b\r\n\r\n", 200, "OK"),
    BAD("no space behind the status", "HTTP/1.1 200\r\n\r\n"),
    BAD("empty line first", "\r\n" OK "\r\n"),
    BAD("version 2", "HTTP/2.0 200 OK\r\n\r\n"),
    BAD("version 0.9", "HTTP/0.9 200 OK\r\n\r\n"),
    BAD("version without minor", "HTTP/1 200 OK\r\n\r\n"),
    BAD("lower-case version", "http/1.1 200 OK\r\n\r\n"),
    BAD("not HTTP", "ICY 200 OK, and then some\r\n\r\n"),
    BAD("two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n"),
    BAD("tab before the status", "HTTP/1.1\t200 OK\r\n\r\n"),
    BAD("tab behind the status", "HTTP/1.1 200\tOK\r\n\r\n"),
    BAD("two digits", "HTTP/1.1 20 OK it is\r\n\r\n"),
    BAD("four digits", "HTTP/1.1 2000 OK\r\n\r\n"),
    BAD("no digits", "HTTP/1.1 2x0 OK\r\n\r\n"),
    BAD("sign", "HTTP/1.1 +20 OK\r\n\r\n"),
    BAD("below 100", "HTTP/1.1 099 OK\r\n\r\n"),
    BAD("above 599", "HTTP/1.1 600 OK\r\n\r\n"),
    BAD("control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n"),
    BAD("NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"),
    BAD("CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n"),
    BAD("bare LF", "HTTP/1.1 200 OK\n\n"),
    BAD("bare LF for the empty line", OK "A: b\r\n\n"),
    BAD("folding", OK "A: b\r\n c\r\n\r\n"),
    BAD("space before the colon", OK "A : b\r\n\r\n"),
    BAD("space before the first field", OK " A: b\r\n\r\n"),
    BAD("no colon", OK "A\r\n\r\n"),
    BAD("empty name", OK ":b\r\n\r\n"),
    BAD("NUL in a value", OK "A: b\0\r\n\r\n"),
    BAD("CR in a value", OK "A: b\rc\r\n\r\n"),
    BAD("CR for every line's end", "HTTP/1.1 200 OK\rA: b\r\r"),
    BAD("CR without LF, before the line ends", OK "A: b\rc"),
    BAD("CR, and then NUL", OK "A: \r\0\r\n"),
    BAD("NUL, and then CR", OK "A: \0\rb\r\n"),
    BAD("two CR at the end of a line", OK "A: b\r\r\n\r\n"),
    BAD("no HTTP, and no end of a line", "SSH-2.0-x"),
    BAD("not this HTTP, and no end of a line", "HTTP/2"),
    MORE("CR that may yet be a line's end", OK "A: b\r"),
    BAD("too many fields", OK "a:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n"),
    BAD("too large", OK "A: " FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY "\r\n\r\n"),
    BAD("status line without end", "HTTP/1.1 200 " FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY),
    MORE("nothing", ""),
    MORE("half a status line", "HTTP/1.1 2"),
    MORE("no empty line", OK "A: b\r\n"),
    MORE("half an empty line", OK "A: b\r\n\r"),
};

static void check_case(const struct response_case *c)
{
    struct agree_run whole;
    agree_parse(&whole, false, &limits, c->in, c->in.len, 1);
    if (whole.result.status != c->status)
        fail_msg("%s: status %d (%s)", c->name, whole.result.status,
                 whole.result.why != NULL ? whole.result.why : "-");
    if (c->status == HTTP1_BAD)
        assert_int_equal(whole.result.err, ERR_PROTOCOL);
    if (c->status == HTTP1_HEAD) {
        assert_int_equal(whole.head.status, c->code);
        assert_true(span_eq(whole.head.reason, span_of(c->reason)));
        assert_true(agree_rewritten(&whole, false));
    }
    for (size_t k = 0; k <= c->in.len; k++)
        if (!agree_with(&whole, false, &limits, c->in, k, c->in.len))
            fail_msg("%s: differs when split at %zu", c->name, k);
    if (!agree_with(&whole, false, &limits, c->in, 0, 1))
        fail_msg("%s: differs byte by byte", c->name);
    agree_fini(&whole);
}

static void table(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_case(&cases[i]);
}

/* A head that is cut is never a head: every true prefix of a good one wants more. */
static void cut_at_every_byte(void **state)
{
    struct span in = SPAN(OK "Content-Length: 5\r\nETag: \"x\"\r\n\r\n");
    for (size_t n = 0; n <= in.len; n++) {
        struct agree_run r;
        agree_parse(&r, false, &limits, (struct span){in.p, n}, n, 1);
        assert_int_equal(r.result.status, n < in.len ? HTTP1_MORE : HTTP1_HEAD);
        agree_fini(&r);
    }
}

static void keep_alive(void **state)
{
    static const struct {
        const char *in;
        bool keep;
    } rows[] = {
        {OK "\r\n", true},
        {OK "Connection: close\r\n\r\n", false},
        {"HTTP/1.0 200 OK\r\n\r\n", false},
        {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agree_run r;
        struct span in = span_of(rows[i].in);
        agree_parse(&r, false, &limits, in, in.len, 1);
        assert_int_equal(r.result.status, HTTP1_HEAD);
        assert_int_equal(http1_keep_alive(&r.head), rows[i].keep);
        agree_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(keep_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
