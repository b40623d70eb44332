#include "test/unit/policy_heads.h"

#include <stdio.h>

#include "common/check.h"
#include "common/err.h"
#include "common/sf.h"
#include "shield/policy/forward.h"

/* What every request upstream ends with, after the client's own fields. */
#define TAIL     "Via: 1.1 shield\r\nCDN-Loop: shield-host-1\r\n"
#define IDENTITY "Accept-Encoding: identity\r\n"
#define START    "GET /a?b HTTP/1.1\r\nHost: o.example\r\n"

static const struct request_row {
    const char *rfc, *lines;
    enum forward_mode mode;
    struct forward_request r; /* what is not the same in every row */
    const char *sent;         /* all after START, without the empty line */
} requests[] = {
    {"nothing to forward", "Host: c\n", FORWARD_SHARED, {0}, IDENTITY TAIL},
    {"unknown fields and their order",
     "x-b: 1\nX-A: 2\nX-B: 3\n",
     FORWARD_SHARED,
     {0},
     "x-b: 1\r\nX-A: 2\r\nX-B: 3\r\n" IDENTITY TAIL},
    {"9110 7.6.1: hop-by-hop",
     "Connection: X-A, close\nX-A: 1\nKeep-Alive: 5\nUpgrade: x\nTE: trailers\nTrailer: x\n"
     "Proxy-Connection: x\nProxy-Authorization: x\n",
     FORWARD_PASS,
     {0},
     TAIL},
    {"9111 5.2: directives go through",
     "Cache-Control: no-cache, x=y\nPragma: no-cache\nCookie: a=b\n",
     FORWARD_SHARED,
     {0},
     "Cache-Control: no-cache, x=y\r\nPragma: no-cache\r\nCookie: a=b\r\n" IDENTITY TAIL},
    {"9110 10.1.1: Expect ends here", "Expect: 100-continue\n", FORWARD_PASS, {0}, TAIL},

    {"a flight's has no range, condition or credentials",
     "Range: bytes=0-1\nIf-Range: \"a\"\nIf-Match: *\nIf-None-Match: \"a\"\nIf-Modified-Since: x\n"
     "If-Unmodified-Since: x\nAuthorization: x\n",
     FORWARD_SHARED,
     {0},
     IDENTITY TAIL},
    {"one client's own has them",
     "Range: bytes=0-1\nIf-Range: \"a\"\nIf-Match: *\nAuthorization: x\n",
     FORWARD_ALONE,
     {0},
     "Range: bytes=0-1\r\nIf-Range: \"a\"\r\nIf-Match: *\r\nAuthorization: x\r\n" IDENTITY TAIL},
    {"9111 4.3.1: ours take the place of the client's validators",
     "If-None-Match: \"x\"\nIf-Modified-Since: x\nIf-Range: x\nRange: bytes=0-1\nIf-Match: *\n",
     FORWARD_ALONE,
     {.etag = {"\"a\"", 3}, .last_modified = {"yesterday", 9}},
     "If-Match: *\r\n" IDENTITY TAIL "If-None-Match: \"a\"\r\nIf-Modified-Since: yesterday\r\n"},
    {"9111 4.3.1: by date alone",
     "",
     FORWARD_SHARED,
     {.last_modified = {"yesterday", 9}},
     IDENTITY TAIL "If-Modified-Since: yesterday\r\n"},
    {"9110 13.1.5: the rest of a broken transfer",
     "If-Match: *\nRange: bytes=0-1\n",
     FORWARD_ALONE,
     {.etag = {"\"a\"", 3}, .last_modified = {"yesterday", 9}, .resumes = true, .resume_at = 70000},
     IDENTITY TAIL "Range: bytes=70000-\r\nIf-Range: \"a\"\r\n"},
    {"from its first byte on",
     "",
     FORWARD_SHARED,
     {.etag = {"\"a\"", 3}, .resumes = true},
     IDENTITY TAIL "Range: bytes=0-\r\nIf-Range: \"a\"\r\n"},
    {"by date",
     "",
     FORWARD_SHARED,
     {.last_modified = {"yesterday", 9}, .resumes = true, .resume_at = 1},
     IDENTITY TAIL "Range: bytes=1-\r\nIf-Range: yesterday\r\n"},

    {"Accept-Encoding in normal form",
     "Accept-Encoding: gzip;q=0.5, zstd, br\n",
     FORWARD_SHARED,
     {0},
     "Accept-Encoding: br, gzip\r\n" TAIL},
    {"in its own when passed",
     "Accept-Encoding: zstd\n",
     FORWARD_PASS,
     {0},
     "Accept-Encoding: zstd\r\n" TAIL},
    {"unkeyed inputs",
     "X-Forwarded-Host: x\nX-Forwarded-Proto: x\nX-Forwarded-Scheme: x\nX-Forwarded-Port: "
     "x\nX-Forwarded-Prefix: x\n"
     "X-Forwarded-Server: x\nX-Host: x\nX-Original-URL: x\nX-Rewrite-URL: x\nX-HTTP-Method-Override: "
     "x\nForwarded: x\n",
     FORWARD_ALONE,
     {0},
     IDENTITY TAIL},
    {"nor others of their kind, in whatever spelling",
     "X-HTTP-Method: x\nX-Method-Override: x\nX-Original-Host: x\nx_forwarded_host: x\nX.Rewrite-URL: x\n"
     "X_HTTP_Method_Override: x\nIf_None_Match: *\nAccept_Encoding: x\nX_Method-Override: x\nX_Own: x\n",
     FORWARD_SHARED,
     {0},
     "X_Own: x\r\n" IDENTITY TAIL},
    {"9112 6: framing in no spelling",
     "Content_Length: 5\nTransfer_Encoding: chunked\nTransfer.Encoding: chunked\nCdn_Loop: x\n",
     FORWARD_PASS,
     {0},
     TAIL},
    {"nor in a GET with content",
     "X-Forwarded-Host: x\n",
     FORWARD_PASS,
     {.content = BODY_LENGTH, .content_length = 3},
     "Content-Length: 3\r\n" TAIL},
    {"nor a class that nobody gave",
     "Shield-Class-device: phone\nShield-Class: x\n",
     FORWARD_SHARED,
     {0},
     "Shield-Class: x\r\n" IDENTITY TAIL},

    {"9110 7.6.3 and 8586 2: ours go last",
     "Via: 1.0 a, 1.1 b (c)\nCDN-Loop: x; y=\"z\"\nVia: 2 d\nCDN-Loop: shield-host-2\n",
     FORWARD_PASS,
     {0},
     "Via: 1.0 a, 1.1 b (c), 2 d, 1.1 shield\r\nCDN-Loop: x; y=\"z\", shield-host-2, shield-host-1\r\n"},
    {"X-Forwarded-For is extended",
     "X-Forwarded-For: 10.0.0.1\nX-Forwarded-For: 10.0.0.2\n",
     FORWARD_SHARED,
     {.client_ip = {"10.0.0.3", 8}},
     IDENTITY TAIL "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3\r\n"},
    {"or begun", "", FORWARD_SHARED, {.client_ip = {"::1", 3}}, IDENTITY TAIL "X-Forwarded-For: ::1\r\n"},
    {"or as it is, by who has no address",
     "X-Forwarded-For: 10.0.0.1\n",
     FORWARD_SHARED,
     {.client_ip = {"unix:", 5}},
     "X-Forwarded-For: 10.0.0.1\r\n" IDENTITY TAIL},
    {"or left alone",
     "X-Forwarded-For: 10.0.0.1\n",
     FORWARD_SHARED,
     {0},
     "X-Forwarded-For: 10.0.0.1\r\n" IDENTITY TAIL},

    {"9112 6: framing is ours",
     "Transfer-Encoding: chunked\n",
     FORWARD_PASS,
     {.content = BODY_CHUNKED},
     "Transfer-Encoding: chunked\r\n" TAIL},
    {"9112 6: length",
     "Content-Length: 0005\n",
     FORWARD_PASS,
     {.content = BODY_LENGTH, .content_length = 5},
     "Content-Length: 5\r\n" TAIL},
    {"9110 8.6: told to be empty",
     "Content-Length: 0\n",
     FORWARD_PASS,
     {.content = BODY_NONE},
     "Content-Length: 0\r\n" TAIL},
};

static const char *forwarded(const struct config *cfg, struct forward_request *r)
{
    struct buf out = {0};
    if (r->route == NULL)
        r->route = &cfg->fallback;
    policy_forward_request(&out, cfg, r);
    const char *text = text_of(&out);
    buf_fini(&out);
    return text;
}

static void test_requests(void **state)
{
    struct config cfg = policy_config();
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct test_head t;
        struct forward_request r = requests[i].r;
        r.head = request_head(&t, "GET", requests[i].lines);
        r.mode = requests[i].mode;
        r.method = SPAN("GET");
        r.host = SPAN("o.example");
        r.path_query = SPAN("/a?b");
        char expected[4096];
        snprintf(expected, sizeof expected, START "%s\r\n", requests[i].sent);
        const char *text = forwarded(&cfg, &r);
        if (strcmp(text, expected) != 0)
            fail_msg("%s:\n%s\nand not:\n%s", requests[i].rfc, text, expected);
    }
}

static void test_other_methods(void **state)
{
    struct config cfg = policy_config();
    struct test_head t;
    struct forward_request r = {.mode = FORWARD_PASS, .host = SPAN("h"), .path_query = SPAN("*")};

    r.head = request_head(&t, "OPTIONS", "Max-Forwards: 7\n"); /* RFC 9110 section 7.6.2 */
    r.method = SPAN("OPTIONS");
    assert_string_equal(forwarded(&cfg, &r),
                        "OPTIONS * HTTP/1.1\r\nHost: h\r\nMax-Forwards: 6\r\n" TAIL "\r\n");
    r.head = request_head(&t, "OPTIONS", "Max-Forwards: x\n");
    assert_non_null(strstr(forwarded(&cfg, &r), "\r\nMax-Forwards: x\r\n"));

    r.head = request_head(&t, "POST",
                          "Max-Forwards: 7\nX-Forwarded-Host: x\nIf-None-Match: *\nRange: bytes=0-1\n");
    r.method = SPAN("POST");
    r.path_query = SPAN("/");
    t.head.minor = 0; /* the version that the client spoke, and the one that we speak */
    assert_string_equal(
        forwarded(&cfg, &r),
        "POST / HTTP/1.1\r\nHost: h\r\nMax-Forwards: 7\r\nX-Forwarded-Host: x\r\nIf-None-Match: *\r\n"
        "Range: bytes=0-1\r\nVia: 1.0 shield\r\nCDN-Loop: shield-host-1\r\n\r\n");

    r.path_query = SPAN("?q"); /* RFC 9112 section 3.2.1 */
    r.head = request_head(&t, "GET", "Accept-Encoding: zstd\n");
    r.mode = FORWARD_SHARED;
    r.method = SPAN("GET");
    cfg.cache.normalise_encoding = false;
    assert_string_equal(forwarded(&cfg, &r),
                        "GET /?q HTTP/1.1\r\nHost: h\r\nAccept-Encoding: zstd\r\n" TAIL "\r\n");
}

static void test_languages(void **state)
{
    struct config cfg = policy_config();
    struct test_head t;
    struct forward_request r = {.method = SPAN("GET"), .host = SPAN("o.example"), .path_query = SPAN("/a?b")};
    r.head = request_head(&t, "GET", "Accept-Language: de;q=0.5\nX: 1\nAccept-Language: EN\n");
    assert_string_equal(forwarded(&cfg, &r), START
                        "Accept-Language: de;q=0.5\r\nX: 1\r\nAccept-Language: EN\r\n" IDENTITY TAIL "\r\n");
    cfg.cache.normalise_language = true;
    assert_string_equal(forwarded(&cfg, &r),
                        START "Accept-Language: en, de;q=0.5\r\nX: 1\r\n" IDENTITY TAIL "\r\n");
    r.head = request_head(&t, "GET", "Accept-Language: EN_us\n");
    assert_string_equal(forwarded(&cfg, &r), START "Accept-Language: EN_us\r\n" IDENTITY TAIL "\r\n");
}

static const struct config_route keyed_headers = {
    .key = {.headers = {(char *[]){(char *)"x-forwarded-host", (char *)"x-tenant"}, 2}}};
static const struct config_route keyed_cookies = {
    .key = {.cookies = {(char *[]){(char *)"plan", (char *)"lang"}, 2}}};
static const struct config_route keyed_scheme = {.key = {.scheme = true}};
static struct config_class device = {
    (char *)"device",
    (char *)"user-agent",
    {(struct config_pair[]){{(char *)"phone", (char *)"*Mobile*"}, {(char *)"robot", (char *)"*bot*"}}, 2}};
static const struct config_route keyed_class_field = {
    .key = {.headers = {(char *[]){(char *)"shield-class-device"}, 1}}};
static const struct config_route keyed_class = {.key = {.classes = &device, .n_classes = 1}};

/* What a route keys goes upstream as it is keyed, and beside it nothing that is not. */
static const struct keyed_row {
    const char *why, *method, *lines, *client_ip;
    const struct config_route *route;
    enum forward_mode mode;
    const char *sent; /* as in the rows above, without Accept-Encoding and the tail */
} keyed[] = {
    {"a keyed input goes along, others do not", "GET", "X-Forwarded-Host: a\nX-Host: b\nX-Tenant: c\n", "",
     &keyed_headers, FORWARD_SHARED, "X-Forwarded-Host: a\r\nX-Tenant: c\r\n"},
    {"unless it is for us alone", "GET",
     "Connection: x-forwarded-host, x-tenant\nX-Forwarded-Host: a\nX-Tenant: c\n", "", &keyed_headers,
     FORWARD_SHARED, ""},
    {"only keyed cookies", "GET", "Cookie: id=7; lang=de; plan=pro\n", "", &keyed_cookies, FORWARD_SHARED,
     "Cookie: plan=pro; lang=de\r\n"},
    {"of all lines, all of one name, and no name that only begins like it", "HEAD",
     "Cookie: lang=de; language=x;lang=\nX: 1\nCookie:  xlang=1 ; lang; lang=\"a b\" ;planx=2\n", "",
     &keyed_cookies, FORWARD_ALONE, "X: 1\r\nCookie: lang=de; lang=; lang=\"a b\"\r\n"},
    {"the first of them alone", "GET", "Cookie: lang_=1; plan=pro\n", "", &keyed_cookies, FORWARD_SHARED,
     "Cookie: plan=pro\r\n"},
    {"none at all", "GET", "Cookie: id=7; LANG=de\n", "", &keyed_cookies, FORWARD_SHARED, ""},
    {"also in a GET that passes", "GET", "Cookie: id=7; lang=de\n", "", &keyed_cookies, FORWARD_PASS,
     "Cookie: lang=de\r\n"},
    {"all in another method", "POST", "Cookie: id=7; lang=de\n", "", &keyed_cookies, FORWARD_PASS,
     "Cookie: id=7; lang=de\r\n"},
    {"the listener's scheme", "GET", "X-Forwarded-Proto: https\n", "192.0.2.1", &keyed_scheme, FORWARD_SHARED,
     "X-Forwarded-Proto: http\r\n"},
    {"a trusted edge's scheme", "GET", "X-Forwarded-Proto: HTTPS\n", "10.1.2.3", &keyed_scheme,
     FORWARD_SHARED, "X-Forwarded-Proto: https\r\n"},
    {"ours with every method", "POST", "X-Forwarded-Proto: ftp\n", "10.1.2.3", &keyed_scheme, FORWARD_PASS,
     "X-Forwarded-Proto: http\r\n"},
    {"a class", "GET", "User-Agent: A Mobile bot\n", "", &keyed_class, FORWARD_SHARED,
     "User-Agent: A Mobile bot\r\nShield-Class-device: phone\r\n"},
    {"no class", "GET", "User-Agent: mobile\n", "", &keyed_class, FORWARD_SHARED, "User-Agent: mobile\r\n"},
    {"nobody says his own class", "GET", "Shield-Class-Device: tablet\nShield-Class-Other: x\n", "",
     &keyed_class, FORWARD_ALONE, ""},
    {"but by a route that keys it", "GET", "Shield-Class-Device: tablet\nShield-Class-Other: x\n", "",
     &keyed_class_field, FORWARD_SHARED, "Shield-Class-Device: tablet\r\n"},
    {"with no method", "POST", "Shield-Class-Device: tablet\nShield-Class-Other: x\n", "", &keyed_class,
     FORWARD_PASS, "Shield-Class-Other: x\r\n"},
};

static void test_keyed(void **state)
{
    static struct config cfg;
    cfg = policy_config();
    struct netaddr_cidr trusted;
    assert_null(netaddr_cidr_parse(SPAN("10.0.0.0/8"), &trusted));
    cfg.edges_trusted = (struct config_cidrs){&trusted, 1};
    cfg.cache.normalise_encoding = false;
    for (size_t i = 0; i < ARRAY_LEN(keyed); i++) {
        const struct keyed_row *row = &keyed[i];
        struct test_head t;
        struct forward_request r = {.head = request_head(&t, row->method, row->lines),
                                    .route = row->route,
                                    .mode = row->mode,
                                    .method = span_of(row->method),
                                    .host = SPAN("o"),
                                    .path_query = SPAN("/"),
                                    .client_ip = span_of(row->client_ip)};
        char expected[1024];
        bool from_ip = row->client_ip[0] != '\0';
        snprintf(expected, sizeof expected, "%s / HTTP/1.1\r\nHost: o\r\n%s" TAIL "%s%s%s\r\n", row->method,
                 row->sent, from_ip ? "X-Forwarded-For: " : "", row->client_ip, from_ip ? "\r\n" : "");
        const char *text = forwarded(&cfg, &r);
        if (strcmp(text, expected) != 0)
            fail_msg("%s:\n%s\nand not:\n%s", row->why, text, expected);
    }
}

static const struct {
    const char *rfc, *lines;
    int minor;
    bool strip;
    const char *block;
} blocks[] = {
    {"9110 6.6.1: a Date", "X: 1\n", 1, false, "X: 1\r\nDate: " DATE_NOW "\r\nVia: 1.1 shield\r\n"},
    {"or the origin's", "Date: " DATE_MINUS_1K "\n", 1, false,
     "Date: " DATE_MINUS_1K "\r\nVia: 1.1 shield\r\n"},
    {"9111 3.1: hop-by-hop and framing",
     "Date: x\nConnection: x-hop\nX-Hop: 1\nTransfer-Encoding: chunked\nContent-Length: 5\nAge: 7\nTrailer: "
     "x\n"
     "Proxy-Authenticate: x\nProxy-Authentication-Info: x\nKeep-Alive: x\n",
     1, false, "Date: x\r\nVia: 1.1 shield\r\n"},
    {"9110 7.6.3: Via", "Date: x\nVia: 1.1 a\nVia: 2 b\n", 0, false,
     "Date: x\r\nVia: 1.1 a, 2 b, 1.0 shield\r\n"},
    {"Set-Cookie", "Date: x\nSet-Cookie: a\nSet-Cookie: b\n", 1, false,
     "Date: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nVia: 1.1 shield\r\n"},
    {"Set-Cookie stripped", "Date: x\nSet-Cookie: a\nSet-Cookie: b\n", 1, true,
     "Date: x\r\nVia: 1.1 shield\r\n"},
    {"9111 3.1: what is withheld",
     "Date: x\nCache-Control: private=\"x-a\", no-cache=\"X-B\"\nX-A: 1\nX-B: 2\nX-C: 3\n", 1, false,
     "Date: x\r\nCache-Control: private=\"x-a\", no-cache=\"X-B\"\r\nX-C: 3\r\nVia: 1.1 shield\r\n"},
    {"9211 2: upstream's Cache-Status stays", "Date: x\nCache-Status: a; hit\n", 1, false,
     "Date: x\r\nCache-Status: a; hit\r\nVia: 1.1 shield\r\n"},
};

static void test_store_blocks(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        struct test_head t;
        struct buf out = {0};
        char expected[1024];
        const struct http_head *response = response_head(&t, 200, blocks[i].lines);
        t.head.minor = blocks[i].minor;
        struct config cfg = policy_config();
        policy_store_block(&out, &cfg, response, blocks[i].strip, NOW_S);
        snprintf(expected, sizeof expected, "HTTP/1.1 200 OK\r\n%s", blocks[i].block);
        if (strcmp(text_of(&out), expected) != 0)
            fail_msg("%s:\n%s", blocks[i].rfc, text_of(&out));
        buf_fini(&out);
    }
}

/* RFC 9110 sections 15.2 (forwarded), 7.6.1, 7.6.3, 8.6 and 5.3; no Date is added (6.6.1: a 1xx may have
 * one). */
static void test_interim_heads(void **state)
{
    struct test_head t;
    struct buf out = {0};
    struct config cfg = policy_config();
    policy_interim_head(
        &out, &cfg,
        response_head(&t, 103,
                      "Link: </a>\nConnection: x-hop, close\nX-Hop: 1\nKeep-Alive: x\nVia: 1.0 a\n"
                      "Transfer-Encoding: chunked\nContent-Length: 5\nLink: </b>\nSet-Cookie: a\n"));
    assert_string_equal(text_of(&out),
                        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nSet-Cookie: a\r\n"
                        "Via: 1.0 a, 1.1 shield\r\n\r\n");
    buf_fini(&out);
}

static const struct {
    const char *rfc, *stored, *not_modified, *block;
} updates[] = {
    {"9110 6.6.1: a 304 without Date gets one", "Date: x\nETag: \"a\"\n", "",
     "ETag: \"a\"\r\nDate: " DATE_NOW "\r\n"},
    {"9111 3.2: replaced", "Date: x\nETag: \"a\"\n", "Date: y\n", "ETag: \"a\"\r\nDate: y\r\n"},
    {"9111 3.2: added", "Date: x\n", "X-New: 1\nDate: y\n", "X-New: 1\r\nDate: y\r\n"},
    {"9111 3.2: all lines of a name", "X-A: 1\nx-a: 2\nX-B: 3\n", "X-a: 9\nX-A: 8\nDate: y\n",
     "X-B: 3\r\nX-a: 9\r\nX-A: 8\r\nDate: y\r\n"},
    {"9111 3.2: the bytes that are stored stay coded as they are", "Content-Encoding: b\nX: 1\n",
     "Content-Encoding: d\nContent-Length: 5\nContent-Range: e\nAge: 9\nDate: y\n",
     "Content-Encoding: b\r\nX: 1\r\nDate: y\r\n"},
    {"9111 3.2: Content- means nothing", "Content-Type: a\nContent-Language: b\nContent-Location: c\n",
     "Content-Type: d\nContent-Language: e\nContent-Location: f\nContent-Foo: g\nDate: y\n",
     "Content-Type: d\r\nContent-Language: e\r\nContent-Location: f\r\nContent-Foo: g\r\nDate: y\r\n"},
    {"9111 3.2: directives and validators too",
     "Cache-Control: max-age=1\nExpires: a\nETag: W/\"a\"\nVary: b\n",
     "Cache-Control: max-age=2\nExpires: c\nETag: \"a\"\nVary: d\nDate: y\n",
     "Cache-Control: max-age=2\r\nExpires: c\r\nETag: \"a\"\r\nVary: d\r\nDate: y\r\n"},
    {"9111 3.1: hop-by-hop fields replace nothing", "X-A: 1\n",
     "Connection: x-a\nX-A: 2\nKeep-Alive: 5\nProxy-Authenticate: x\nDate: y\n", "X-A: 1\r\nDate: y\r\n"},
    {"9110 7.6.3: Via with our own member", "Via: 1.1 old, 1.1 shield\nX: 1\n", "Via: 1.1 new\nDate: y\n",
     "X: 1\r\nDate: y\r\nVia: 1.1 new, 1.1 shield\r\n"},
    {"9110 7.6.3: the stored Via", "Via: 1.1 old, 1.1 shield\n", "X: 1\nDate: y\n",
     "Via: 1.1 old, 1.1 shield\r\nX: 1\r\nDate: y\r\n"},
    {"9: what another shield served stale is fresh again", "X-Accel-Expires: @1\nX: 1\n", "X: 2\nDate: y\n",
     "X: 2\r\nDate: y\r\n"},
    {"9: it is still stale", "X-Accel-Expires: @1\n", "X-Accel-Expires: @1\nDate: y\n",
     "X-Accel-Expires: @1\r\nDate: y\r\n"},
    {"9: the origin's own stays", "X-Accel-Expires: 9\n", "X: 1\nDate: y\n",
     "X-Accel-Expires: 9\r\nX: 1\r\nDate: y\r\n"},
    {"judge has to see a Set-Cookie", "X: 1\n", "Set-Cookie: a\nDate: y\n",
     "X: 1\r\nSet-Cookie: a\r\nDate: y\r\n"},
};

static void test_updates(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(updates); i++) {
        struct test_head stored, fresh;
        struct buf out = {0};
        char expected[1024];
        struct config cfg = policy_config();
        policy_update_block(&out, &cfg, response_head(&stored, 200, updates[i].stored),
                            response_head(&fresh, 304, updates[i].not_modified), NOW_S);
        snprintf(expected, sizeof expected, "HTTP/1.1 200 OK\r\n%s", updates[i].block);
        if (strcmp(text_of(&out), expected) != 0)
            fail_msg("%s:\n%s", updates[i].rfc, text_of(&out));
        buf_fini(&out);
    }
}

static void test_strip(void **state)
{
    struct test_head t;
    struct buf out = {0};
    const struct http_head *h = response_head(
        &t, 404, "Set-Cookie: a\nX: 1\nset-cookie: b\nCache-Control: no-cache=\"x-a\"\nX-A: 1\n");
    policy_strip_block(&out, h, true);
    assert_string_equal(text_of(&out),
                        "HTTP/1.1 404 Not Found\r\nX: 1\r\nCache-Control: no-cache=\"x-a\"\r\n");
    buf_fini(&out);
    policy_strip_block(&out, h, false);
    assert_non_null(strstr(text_of(&out), "Set-Cookie: a\r\nX: 1\r\nset-cookie: b\r\n"));
    buf_fini(&out);
}

static const struct {
    struct cache_status status;
    const char *text;
} statuses[] = {
    /* DESIGN.md section 2, RFC 9211 section 2 */
    {{.hit = true, .has_ttl = true, .ttl_s = 55}, "shield; hit; ttl=55"},
    {{.hit = true, .has_ttl = true, .ttl_s = -3}, "shield; hit; ttl=-3"},
    {{.hit = true, .has_ttl = true}, "shield; hit; ttl=0"},
    {{.fwd = FWD_MISS, .stored = true}, "shield; fwd=miss; stored"},
    {{.fwd = FWD_MISS, .collapsed = 1}, "shield; fwd=miss; collapsed"},
    {{.fwd = FWD_URI_MISS, .collapsed = -1}, "shield; fwd=uri-miss; collapsed=?0"},
    {{.fwd = FWD_STALE, .fwd_status = 304}, "shield; fwd=stale; fwd-status=304"},
    {{.fwd = FWD_METHOD}, "shield; fwd=method"},
    {{.fwd = FWD_BYPASS}, "shield; fwd=bypass"},
    {{.fwd = FWD_VARY_MISS, .detail = "vary"}, "shield; fwd=vary-miss; detail=vary"},
    {{.hit = true, .key = {"//h/\"\\\x01\xc3\xa9", 9}}, "shield; hit; key=\"//h/\\\"\\\\%01%C3%A9\""},
    {{.fwd = FWD_REQUEST}, "shield; fwd=request"},
    {{.fwd = FWD_PARTIAL, .fwd_status = 206}, "shield; fwd=partial; fwd-status=206"},
};

/* RFC 9211 section 2 and RFC 9209 section 2: a list of one member, a token with parameters. */
static void require_one_token(const struct buf *field_line)
{
    struct test_head t;
    struct buf lines = {0};
    struct sf_it it = {0};
    struct sf_member m;
    buf_put_span(&lines, buf_span(field_line));
    buf_put(&lines, "", 1);
    const struct http_head *h = response_head(&t, 200, lines.p);
    assert_int_equal(sf_count(h, t.fields[0].name, SF_LIST), 1);
    assert_true(sf_next(h, t.fields[0].name, SF_LIST, &it, &m));
    assert_int_equal(m.value.type, SF_TOKEN);
    for (struct sf_member p; sf_parameter_next(&m.value.parameters, &p);)
        if (span_eq(p.key, SPAN("fwd")) || span_eq(p.key, SPAN("error")))
            assert_int_equal(p.value.type, SF_TOKEN);
        else if (span_eq(p.key, SPAN("ttl")) || span_eq(p.key, SPAN("fwd-status")))
            assert_int_equal(p.value.type, SF_INTEGER);
    buf_fini(&lines);
}

static void test_cache_status(void **state)
{
    struct config cfg = policy_config();
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct buf out = {0};
        policy_put_cache_status(&out, &cfg, &statuses[i].status);
        assert_string_equal(text_of(&out), statuses[i].text);
        struct buf line = {0};
        buf_printf(&line, "Cache-Status: %s\n", statuses[i].text);
        require_one_token(&line);
        buf_fini(&line);
        buf_fini(&out);
    }
    struct buf out = {0};
    cfg.node_id = (char *)"shield-fra";
    policy_put_cache_status(&out, &cfg, &statuses[0].status);
    assert_string_equal(text_of(&out), "shield-fra; hit; ttl=55");
    buf_fini(&out);
}

static void test_own_errors(void **state) /* RFC 9209 section 2.3 */
{
    static const struct {
        int err;
        uint32_t retry_after_s;
        const char *text;
    } rows[] = {
        {ERR_CONNECT, 0, "Proxy-Status: shield; error=connection_refused\r\n"},
        {ERR_CONNECT_TIMEOUT, 0, "Proxy-Status: shield; error=connection_timeout\r\n"},
        {ERR_DNS, 0, "Proxy-Status: shield; error=dns_error\r\n"},
        {ERR_PROTOCOL, 0, "Proxy-Status: shield; error=http_protocol_error\r\n"},
        {ERR_LOOP, 0, "Proxy-Status: shield; error=proxy_loop_detected\r\n"},
        {ERR_DOWN, 7, "Proxy-Status: shield; error=destination_unavailable\r\nRetry-After: 7\r\n"},
    };
    struct config cfg = policy_config();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        policy_put_own_error(&out, &cfg, rows[i].err, rows[i].retry_after_s, NULL);
        assert_string_equal(text_of(&out), rows[i].text);
        buf_fini(&out);
    }
    for (int err = 1; err < ERR_COUNT; err++) { /* each has a type */
        struct buf out = {0};
        policy_put_own_error(&out, &cfg, err, 0, NULL);
        out.len -= 2;
        buf_put_lit(&out, "\n");
        require_one_token(&out);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),     cmocka_unit_test(test_other_methods),
        cmocka_unit_test(test_store_blocks), cmocka_unit_test(test_updates),
        cmocka_unit_test(test_strip),        cmocka_unit_test(test_cache_status),
        cmocka_unit_test(test_own_errors),   cmocka_unit_test(test_languages),
        cmocka_unit_test(test_keyed),        cmocka_unit_test(test_interim_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
