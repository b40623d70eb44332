#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/check.h"
#include "test/unit/http1_agree.h"

static const struct http1_limits limits = {.max_head = 600, .max_fields = 12, .max_url = 100};

struct request_case {
    const char *name;
    struct span in;
    enum http1_status status;
    int err;
    const char *target; /* of a good one */
};

#define GOOD(name, text, target)                              \
    {                                                         \
        name, {text, sizeof(text) - 1}, HTTP1_HEAD, 0, target \
    }
#define BAD(name, text)                                                  \
    {                                                                    \
        name, {text, sizeof(text) - 1}, HTTP1_BAD, ERR_BAD_REQUEST, NULL \
    }
#define REFUSED(name, text, code)                             \
    {                                                         \
        name, {text, sizeof(text) - 1}, HTTP1_BAD, code, NULL \
    }
#define MORE(name, text)                                    \
    {                                                       \
        name, {text, sizeof(text) - 1}, HTTP1_MORE, 0, NULL \
    }
#define H       "Host: a\r\n\r\n"
#define TEN     "0123456789"
#define URL100  "/" TEN TEN TEN TEN TEN TEN TEN TEN TEN "012345678"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct request_case cases[] = {
    /* request line */
    GOOD("plain", "GET / HTTP/1.1\r\n" H, "/"),
    GOOD("more behind the head", "GET /x HTTP/1.1\r\n" H "GET /y", "/x"),
    GOOD("minor above 1", "GET / HTTP/1.9\r\n" H, "/"),
    GOOD("1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "/"),
    GOOD("method of another kind", "get!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" H, "/"),
    GOOD("one empty line first", "\r\nGET / HTTP/1.1\r\n" H, "/"),
    GOOD("query and odd bytes", "GET //a/../b?c=%zz&\"<>[]\\^`{|} HTTP/1.1\r\n" H,
         "//a/../b?c=%zz&\"<>[]\\^`{|}"),
    GOOD("target at the limit", "GET " URL100 " HTTP/1.1\r\n" H, URL100),
    BAD("two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n" H),
    BAD("empty line with bare LF first", "\nGET / HTTP/1.1\r\n" H),
    BAD("empty line with bare CR first", "\rGET / HTTP/1.1\r\n" H),
    BAD("0.9", "GET /\r\n"),
    BAD("0.9 with a version", "GET / HTTP/0.9\r\n" H),
    BAD("lower-case version", "GET / http/1.1\r\n" H),
    BAD("no minor", "GET / HTTP/1\r\n" H),
    BAD("two digits of minor", "GET / HTTP/1.10\r\n" H),
    BAD("two digits of major", "GET / HTTP/01.1\r\n" H),
    BAD("not a version", "GET / XTTP/1.1\r\n" H),
    BAD("minor is no digit", "GET / HTTP/1.x\r\n" H),
    REFUSED("2.0", "GET / HTTP/2.0\r\n" H, ERR_VERSION),
    REFUSED("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ERR_VERSION),
    BAD("two spaces before the target", "GET  / HTTP/1.1\r\n" H),
    BAD("two spaces behind the target", "GET /  HTTP/1.1\r\n" H),
    BAD("space behind the version", "GET / HTTP/1.1 \r\n" H),
    BAD("space before the method", " GET / HTTP/1.1\r\n" H),
    BAD("tab between", "GET\t/ HTTP/1.1\r\n" H),
    BAD("tab behind the target", "GET /\tHTTP/1.1\r\n" H),
    BAD("space in the target", "GET /a b HTTP/1.1\r\n" H),
    BAD("no method", "/ HTTP/1.1\r\n" H),
    BAD("method is no token", "GE(T / HTTP/1.1\r\n" H),
    BAD("method with a colon", "GET: / HTTP/1.1\r\n" H),
    BAD("no target", "GET HTTP/1.1\r\n" H),
    BAD("empty target", "GET  HTTP/1.1\r\n" H),
    BAD("bare LF behind the line", "GET / HTTP/1.1\n" H),
    BAD("bare CR in the line", "GET /\rx HTTP/1.1\r\n" H),
    BAD("CR CR LF", "GET / HTTP/1.1\r\r\n" H),
    BAD("CR ends no line", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
    /* target */
    BAD("control byte in the target", "GET /\x01 HTTP/1.1\r\n" H),
    BAD("DEL in the target", "GET /\x7f HTTP/1.1\r\n" H),
    BAD("NUL in the target", "GET /\0 HTTP/1.1\r\n" H),
    BAD("raw UTF-8 in the target", "GET /\xc3\xa9 HTTP/1.1\r\n" H),
    BAD("fragment", "GET /a#b HTTP/1.1\r\n" H),
    BAD("relative", "GET a HTTP/1.1\r\n" H),
    BAD("only a query", "GET ?a HTTP/1.1\r\n" H),
    GOOD("absolute", "GET http://b:80/c?d HTTP/1.1\r\n" H, "http://b:80/c?d"),
    GOOD("absolute, https, any case", "GET HTTPS://b HTTP/1.1\r\n" H, "HTTPS://b"),
    GOOD("at sign in the path", "GET http://b/@c HTTP/1.1\r\n" H, "http://b/@c"),
    BAD("userinfo", "GET http://u@b/ HTTP/1.1\r\n" H),
    BAD("userinfo with password", "GET http://u:p@b/ HTTP/1.1\r\n" H),
    BAD("empty host", "GET http:///a HTTP/1.1\r\n" H),
    BAD("empty host with port", "GET http://:80/a HTTP/1.1\r\n" H),
    BAD("no authority", "GET http:/a HTTP/1.1\r\n" H),
    BAD("other scheme", "GET ftp://b/a HTTP/1.1\r\n" H),
    BAD("absolute with a bad port", "GET http://b:8x/ HTTP/1.1\r\n" H),
    BAD("absolute without Host", "GET http://b/ HTTP/1.1\r\n\r\n"),
    BAD("absolute with a bad Host", "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
    GOOD("asterisk", "OPTIONS * HTTP/1.1\r\n" H, "*"),
    BAD("asterisk for GET", "GET * HTTP/1.1\r\n" H),
    BAD("asterisk and more", "OPTIONS ** HTTP/1.1\r\n" H),
    GOOD("authority", "CONNECT b:443 HTTP/1.1\r\n" H, "b:443"),
    BAD("authority without port", "CONNECT b HTTP/1.1\r\n" H),
    BAD("authority with an empty port", "CONNECT b: HTTP/1.1\r\n" H),
    BAD("authority with port 0", "CONNECT b:0 HTTP/1.1\r\n" H),
    BAD("authority for GET", "GET b:443 HTTP/1.1\r\n" H),
    BAD("path for CONNECT", "CONNECT / HTTP/1.1\r\n" H),
    /* Host */
    BAD("no Host", "GET / HTTP/1.1\r\n\r\n"),
    BAD("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    BAD("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\n" H),
    BAD("two Hosts in 1.0", "GET / HTTP/1.0\r\nHost: a\r\nhOST: a\r\n\r\n"),
    BAD("bad Host in 1.0", "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
    BAD("userinfo in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    BAD("list in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    /* fields */
    GOOD("value with tab and obs-text", "GET / HTTP/1.1\r\nX: a\t\x80\xff b\r\n" H, "/"),
    GOOD("empty value", "GET / HTTP/1.1\r\nX:\r\nY: \t \r\n" H, "/"),
    GOOD("no space behind the colon", "GET / HTTP/1.1\r\nHost:a\r\n\r\n", "/"),
    BAD("space before the colon", "GET / HTTP/1.1\r\nX : a\r\n" H),
    BAD("tab before the colon", "GET / HTTP/1.1\r\nX\t: a\r\n" H),
    BAD("empty name", "GET / HTTP/1.1\r\n: a\r\n" H),
    BAD("no colon", "GET / HTTP/1.1\r\nX\r\n" H),
    BAD("name is no token", "GET / HTTP/1.1\r\nX(a: b\r\n" H),
    BAD("name with a raw byte", "GET / HTTP/1.1\r\nX\xe9: b\r\n" H),
    BAD("folding", "GET / HTTP/1.1\r\nX: a\r\n b\r\n" H),
    BAD("folding with tab", "GET / HTTP/1.1\r\nX: a\r\n\tb\r\n" H),
    BAD("space before the first field", "GET / HTTP/1.1\r\n X: a\r\n" H),
    BAD("space in the empty line", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n"),
    BAD("NUL in a value", "GET / HTTP/1.1\r\nX: a\0b\r\n" H),
    BAD("NUL in a name", "GET / HTTP/1.1\r\nX\0: b\r\n" H),
    BAD("CR in a value", "GET / HTTP/1.1\r\nX: a\rb\r\n" H),
    BAD("CR at the end of a value", "GET / HTTP/1.1\r\nX: a\r\r\n" H),
    BAD("LF in a value", "GET / HTTP/1.1\r\nX: a\nY: b\r\n" H),
    BAD("control byte in a value", "GET / HTTP/1.1\r\nX: a\x1f\r\n" H),
    BAD("control byte far inside", "GET / HTTP/1.1\r\nX: " HUNDRED "\x0b" HUNDRED "\r\n" H),
    BAD("DEL in a value", "GET / HTTP/1.1\r\nX: 01234567\x7f\r\n" H),
    BAD("bare LF for the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    BAD("all bare LF", "GET / HTTP/1.1\nHost: a\n\n"),
    /* limits, and which fault wins */
    REFUSED("target above the limit", "GET " URL100 "x HTTP/1.1\r\n" H, ERR_URI_TOO_LONG),
    REFUSED("request line without end", "GET /" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED,
            ERR_URI_TOO_LONG),
    REFUSED("method without end", HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED, ERR_HEAD_TOO_LARGE),
    REFUSED("field without end", "GET / HTTP/1.1\r\nX: " HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED,
            ERR_HEAD_TOO_LARGE),
    REFUSED("thirteen fields",
            "GET / HTTP/1.1\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n" H,
            ERR_TOO_MANY_FIELDS),
    GOOD("twelve fields",
         "GET / HTTP/1.1\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\na:\r\n" H, "/"),
    BAD("NUL before the limit", "GET /\0" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED),
    BAD("NUL and a long target", "GET " URL100 "\0x HTTP/1.1\r\n" H),
    /* not yet */
    MORE("nothing", ""),
    MORE("only CR", "\r"),
    MORE("only CRLF", "\r\n"),
    MORE("half a line", "GET / HT"),
    MORE("no empty line", "GET / HTTP/1.1\r\nHost: a\r\n"),
    MORE("half an empty line", "GET / HTTP/1.1\r\nHost: a\r\n\r"),
};

static void check_case(const struct request_case *c)
{
    struct agree_run whole;
    agree_parse(&whole, true, &limits, c->in, c->in.len, 1);
    if (whole.result.status != c->status || whole.result.err != c->err)
        fail_msg("%s: status %d, %s (%s)", c->name, whole.result.status, err_name(whole.result.err),
                 whole.result.why != NULL ? whole.result.why : "-");
    if (c->target != NULL && !span_eq(whole.head.target, span_of(c->target)))
        fail_msg("%s: target %.*s", c->name, SPAN_FMT(whole.head.target));
    if (c->status == HTTP1_HEAD && !agree_rewritten(&whole, true))
        fail_msg("%s: rewritten, it is another head", c->name);
    for (size_t k = 0; k <= c->in.len; k++)
        if (!agree_with(&whole, true, &limits, c->in, k, c->in.len))
            fail_msg("%s: differs when split at %zu", c->name, k);
    for (size_t step = 1; step < 4; step++)
        if (!agree_with(&whole, true, &limits, c->in, 0, step))
            fail_msg("%s: differs %zu by %zu", c->name, step, step);
    agree_fini(&whole);
}

static void table(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_case(&cases[i]);
}

static void parts_of_a_head(void **state)
{
    struct span in =
        SPAN("\r\nPOST /p?q HTTP/1.1\r\nhost: Ex.org:80\r\nCONTENT-length:\t 5 \t\r\nX-Y: a  b\r\n\r\nhello");
    struct agree_run r;
    agree_parse(&r, true, &limits, in, in.len, 1);
    assert_int_equal(r.result.status, HTTP1_HEAD);
    assert_int_equal(r.result.head_bytes, in.len - 5);
    assert_int_equal(r.head.method, METHOD_POST);
    assert_int_equal(r.head.minor, 1);
    assert_int_equal(r.head.status, 0);
    assert_int_equal(r.head.n_fields, 3);
    assert_true(http_has(&r.head, FIELD_HOST) && http_has(&r.head, FIELD_CONTENT_LENGTH));
    assert_false(http_has(&r.head, FIELD_OTHER));
    assert_true(span_eq(http_value(&r.head, FIELD_CONTENT_LENGTH), SPAN("5")));
    assert_true(span_eq(r.head.fields[2].name, SPAN("X-Y")));
    assert_true(span_eq(r.head.fields[2].value, SPAN("a  b")));
    assert_int_equal(r.head.fields[2].id, FIELD_OTHER);
    agree_fini(&r);
}

/* A client that says something wrong and then waits is answered, not left to a timeout. */
static void refused_before_the_end(void **state)
{
    static const struct span early[] = {
        {"GET /\r\n", 7},
        {"GET / HTTP/1.1\n", 15},
        {"\x16\x03\x01\x00", 4},
        {"GET / HTTP/1.1\r\nBad Name: x\r\n", 29},
    };
    for (size_t i = 0; i < ARRAY_LEN(early); i++) {
        struct agree_run r;
        agree_parse(&r, true, &limits, early[i], early[i].len, 1);
        assert_int_equal(r.result.status, HTTP1_BAD);
        agree_fini(&r);
    }
}

static void head_exactly_at_the_limit(void **state)
{
    struct span in = SPAN("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http1_limits tight = limits;
    struct agree_run r;
    tight.max_head = (uint32_t)in.len - 2; /* the empty line in front does not count */
    agree_parse(&r, true, &tight, in, in.len, 1);
    assert_int_equal(r.result.status, HTTP1_HEAD);
    agree_fini(&r);
    tight.max_head--;
    agree_parse(&r, true, &tight, in, in.len, 1);
    assert_int_equal(r.result.err, ERR_HEAD_TOO_LARGE);
    agree_fini(&r);
}

static void large_connection(void **state)
{
    struct http1_limits ample = {1 << 16, 16, 1000, 0, 0};
    struct buf in = {0};
    struct agree_run r;
    for (int over = 0; over < 2; over++) {
        in.len = 0;
        buf_put_lit(&in, "GET / HTTP/1.1\r\nConnection: ");
        for (int i = 0; i < HTTP1_CONNECTION_BYTES - 1 + over; i++)
            buf_put_lit(&in, ",");
        buf_put_lit(&in, "\r\n" H);
        agree_parse(&r, true, &ample, buf_span(&in), in.len, 1);
        assert_int_equal(r.result.status, over ? HTTP1_BAD : HTTP1_HEAD);
        assert_int_equal(r.result.err, over ? ERR_HEAD_TOO_LARGE : 0);
        agree_fini(&r);
    }
    buf_fini(&in);
}

static void targets(void **state)
{
    static const struct {
        const char *in, *host, *path_query;
    } rows[] = {
        {"GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n", "h:1", "/a?b"},
        {"GET /a HTTP/1.0\r\n\r\n", "", "/a"},
        {"GET http://x:2/a?b HTTP/1.1\r\nHost: h\r\n\r\n", "x:2", "/a?b"},
        {"GET http://x HTTP/1.1\r\nHost: h\r\n\r\n", "x", "/"},
        {"GET http://x?b/c HTTP/1.1\r\nHost: h\r\n\r\n", "x", "?b/c"},
        {"OPTIONS http://x HTTP/1.1\r\nHost: h\r\n\r\n", "x", "*"},
        {"OPTIONS http://x/ HTTP/1.1\r\nHost: h\r\n\r\n", "x", "/"},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "h", "*"},
        {"CONNECT x:3 HTTP/1.1\r\nHost: h\r\n\r\n", "x:3", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agree_run r;
        struct http1_target t;
        struct span in = span_of(rows[i].in);
        agree_parse(&r, true, &limits, in, in.len, 1);
        assert_int_equal(r.result.status, HTTP1_HEAD);
        http1_target(&r.head, &t);
        assert_true(span_eq(t.host, span_of(rows[i].host)));
        assert_true(span_eq(t.path_query, span_of(rows[i].path_query)));
        agree_fini(&r);
    }
}

static void hosts(void **state)
{
    static const char *const good[] = {
        "a",     "a.b",      "A-1_~.x",          "1.2.3.4",           "999.1",    "a:80",
        "a:",    "a:0",      "a:65535",          "a:00080",           "%41b",     "a!$&'()*+;=",
        "[::1]", "[::1]:80", "[::ffff:1.2.3.4]", "[1:2:3:4:5:6:7:8]", "[v1.a:b]", "[vF.x]:1",
    };
    static const char *const bad[] = {
        "",
        ":",
        ":80",
        "a:65536",
        "a:8x",
        "a:-1",
        "a:80:80",
        "a b",
        " a",
        "u@a",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "%4",
        "%4g",
        "\xc3\xa9",
        "a\"",
        "a<",
        "[",
        "]",
        "[]",
        "[::1",
        "::1",
        "[::1]80",
        "[::1]a",
        "[[::1]]",
        "[1.2.3.4]",
        "[1:2:3:4:5:6:7]",
        "[1:2:3:4:5:6:7:8:9]",
        "[::1%25eth0]",
        "[::g]",
        "[v.a]",
        "[v1.]",
        "[v1a]",
        "[vg.a]",
        "a[::1]",
        "a,b",
        "a.test,",
        "a,b c",
        "[11111111111111111111111111111111111111111111111111]",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!http1_valid_host(span_of(good[i])))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (http1_valid_host(span_of(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    assert_false(http1_valid_host(SPAN("[::1\0]")));
    assert_false(http1_valid_host(SPAN("a\0")));
}

static void keep_alive(void **state)
{
    static const struct {
        const char *in;
        bool keep;
    } rows[] = {
        {"GET / HTTP/1.1\r\n" H, true},
        {"GET / HTTP/1.7\r\n" H, true},
        {"GET / HTTP/1.0\r\n" H, false},
        {"GET / HTTP/1.1\r\nConnection: Close\r\n" H, false},
        {"GET / HTTP/1.1\r\nConnection: x, close\r\n" H, false},
        {"GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n" H, false},
        {"GET / HTTP/1.1\r\nConnection: closer\r\n" H, true},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n" H, true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n" H, false},
        {"GET / HTTP/1.0\r\nKeep-Alive: 5\r\n" H, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct agree_run r;
        struct span in = span_of(rows[i].in);
        agree_parse(&r, true, &limits, in, in.len, 1);
        assert_int_equal(r.result.status, HTTP1_HEAD);
        assert_int_equal(http1_keep_alive(&r.head), rows[i].keep);
        agree_fini(&r);
    }
}

/* However a head comes in, no byte of it is looked at twice while it is incomplete: the next call goes on
 * behind the last byte, or at the line that it is in. */
static void a_head_in_single_bytes(void **state)
{
    enum { FIELDS = 6000, BYTES = 64 * 1024 };
    static struct http_field fields[FIELDS];
    const struct http1_limits wide = {.max_head = BYTES, .max_fields = FIELDS, .max_url = BYTES};
    struct http_head head = {.fields = fields, .cap_fields = FIELDS};
    struct http1_scan scan = {0};
    struct buf in = {0};
    buf_put_lit(&in, "GET / HTTP/1.1\r\n" H);
    in.len -= 2; /* the empty line */
    while (in.len + 14 <= BYTES)
        buf_put_lit(&in, "a: 3456789\r\n");
    buf_put_lit(&in, "\r\n");
    assert_false(in.failed);
    for (size_t n = 1; n < in.len; n++) {
        assert_int_equal(http1_parse_request(&scan, in.p, n, &wide, &head).status, HTTP1_MORE);
        if (scan.done != n || scan.line > n)
            fail_msg("behind %zu bytes it goes on at %u", n, (unsigned)scan.done);
    }
    assert_int_equal(http1_parse_request(&scan, in.p, in.len, &wide, &head).status, HTTP1_HEAD);
    assert_true(head.n_fields > 5000);
    buf_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(parts_of_a_head),
        cmocka_unit_test(refused_before_the_end),
        cmocka_unit_test(head_exactly_at_the_limit),
        cmocka_unit_test(large_connection),
        cmocka_unit_test(targets),
        cmocka_unit_test(hosts),
        cmocka_unit_test(keep_alive),
        cmocka_unit_test(a_head_in_single_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
