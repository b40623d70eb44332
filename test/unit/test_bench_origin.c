/* What the simulated origin answers: a request and a query in, a plan out; and what it counts. */
#include "bench/origin_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bench/origin_stats.h"
#include "common/check.h"
#include "common/http1.h"

static const struct http1_limits limits = {65536, 64, 16384, 1024, 8192};

static struct origin_reply plan(const char *request, uint64_t nth, struct buf *head)
{
    struct http_field fields[64];
    struct http_head h = {.fields = fields, .cap_fields = 64};
    struct http1_scan scan = {0};
    struct http1_result r = http1_parse_request(&scan, request, strlen(request), &limits, &h);
    assert_int_equal(r.status, HTTP1_HEAD);

    struct origin_options o = {0};
    struct arena a = {0};
    struct span name = {0};
    flags_defaults(origin_option_flags(), &o);
    assert_null(origin_options_query(&o, span_from(h.target, body_path(h.target).len + 1), &a, &name));
    struct origin_reply reply = {0};
    struct origin_request q = {.head = &h, .nth = nth, .serial = 5, .now_s = 1800000000};
    assert_int_equal(origin_reply_plan(&q, &o, &reply), 0);
    *head = reply.head;
    arena_fini(&a);
    return reply;
}

static void test_answers(void **state)
{
    static const struct {
        const char *target, *fields; /* the request */
        uint64_t nth;
        int status;
        uint64_t at, end;
        bool last;
        const char *says, *lacks; /* in the head */
    } rows[] = {
        {"/a", "", 1, 200, 0, 1024, false, "Content-Length: 1024\r\n", "Connection: close"},
        {"/a?size=10", "", 1, 200, 0, 10, false, "ETag: \"1-a\"\r\n", "Vary"},
        {"/a?size=10&other=1&other", "", 1, 200, 0, 10, false, "Content-Length: 10\r\n", NULL},
        {"/a?cache-control=max-age%3D5,+public", "", 1, 200, 0, 1024, false,
         "Cache-Control: max-age=5, public\r\n", NULL},
        {"/a?cache-control=", "", 1, 200, 0, 1024, false, NULL, "Cache-Control"},
        {"/a?field=X:%0d%0aY:1", "", 1, 200, 0, 1024, false, "X:  Y:1\r\n", "\r\nY"},
        {"/a?framing=chunked", "", 1, 200, 0, 1024, false, "Transfer-Encoding: chunked\r\n",
         "Content-Length"},
        {"/a?framing=close", "", 1, 200, 0, 1024, true, "Connection: close\r\n", "Content-Length"},
        {"/a?announce=2k", "", 1, 200, 0, 1024, true, "Content-Length: 2048\r\n", NULL},
        {"/a?status=204", "", 1, 204, 0, 0, false, NULL, "Content-Length"},
        {"/a?cookie=unique", "", 1, 200, 0, 1024, false, "Set-Cookie: bench=5\r\n", NULL},
        {"/a?status=503&faulty=2", "", 2, 503, 0, 1024, false, "HTTP/1.1 503 Service Unavailable\r\n", NULL},
        {"/a?status=503&faulty=2", "", 3, 200, 0, 1024, false, NULL, NULL},
        {"/a", "Connection: close\r\n", 1, 200, 0, 1024, true, "Connection: close\r\n", NULL},
        {"/a?rolling=2&size=10", "", 2, 200, 0, 10, false, "ETag: \"1-a\"\r\n", NULL},
        {"/a?rolling=2&size=10", "", 3, 200, 0, 10, false, "ETag: \"2-a\"\r\n", NULL},
        {"/a?tags=x+y&groups=1", "", 1, 200, 0, 1024, false,
         "Surrogate-Key: x y group-0\r\nCache-Tag: x,y,group-0\r\n", NULL},
        {"/a?groups=1", "", 1, 200, 0, 1024, false, "Surrogate-Key: group-0\r\n", NULL},
        {"/a", "", 1, 200, 0, 1024, false, "Cache-Control: max-age=3600\r\n", "Surrogate-Key"},
        {"/a?preset=html", "", 1, 200, 0, 1024, false, "Vary: Accept-Encoding\r\n", "Set-Cookie"},
        {"/a?vary=&preset=html", "", 1, 200, 0, 1024, false, "Content-Type: text/html\r\n", "Vary"},
        {"/a?preset=private", "", 1, 200, 0, 1024, false, "Set-Cookie: bench=5\r\n", NULL},
        /* conditional */
        {"/a", "If-None-Match: \"x\", W/\"1-400\"\r\n", 1, 304, 0, 0, false, "ETag: \"1-400\"\r\n",
         "Content-"},
        {"/a?version=2", "If-None-Match: \"1-400\"\r\n", 1, 200, 0, 1024, false, "ETag: \"2-400\"\r\n", NULL},
        {"/a", "If-None-Match: *\r\n", 1, 304, 0, 0, false, NULL, NULL},
        {"/a?etag=off", "If-None-Match: \"1-400\"\r\n", 1, 200, 0, 1024, false, NULL, "ETag"},
        {"/a?conditional=off", "If-None-Match: *\r\n", 1, 200, 0, 1024, false, NULL, NULL},
        {"/a", "If-Modified-Since: Tue, 02 Jan 2024 00:00:00 GMT\r\n", 1, 304, 0, 0, false,
         "Last-Modified: Tue, 02 Jan 2024 00:00:00 GMT\r\n", NULL},
        {"/a?version=2", "If-Modified-Since: Tue, 02 Jan 2024 00:00:00 GMT\r\n", 1, 200, 0, 1024, false, NULL,
         NULL},
        {"/a", "If-None-Match: \"x\"\r\nIf-Modified-Since: Tue, 02 Jan 2024 00:00:00 GMT\r\n", 1, 200, 0,
         1024, false, NULL, NULL},
        /* ranges */
        {"/a", "Range: bytes=10-19\r\n", 1, 206, 10, 20, false, "Content-Range: bytes 10-19/1024\r\n",
         "Accept-Ranges"},
        {"/a", "Range: bytes=-24\r\n", 1, 206, 1000, 1024, false, "Content-Length: 24\r\n", NULL},
        {"/a", "Range: bytes=1024-\r\n", 1, 416, 0, 0, false, "Content-Range: bytes */1024\r\n", NULL},
        {"/a", "Range: bytes=0-1,4-5\r\n", 1, 200, 0, 1024, false, NULL, "Content-Range"},
        {"/a?ranges=off", "Range: bytes=0-1\r\n", 1, 200, 0, 1024, false, NULL, "Accept-Ranges"},
        {"/a", "Range: bytes=0-1\r\nIf-Range: \"1-400\"\r\n", 1, 206, 0, 2, false, NULL, NULL},
        {"/a", "Range: bytes=0-1\r\nIf-Range: \"2-400\"\r\n", 1, 200, 0, 1024, false, NULL, NULL},
        {"/a?etag=weak", "Range: bytes=0-1\r\nIf-Range: W/\"1-400\"\r\n", 1, 200, 0, 1024, false,
         "ETag: W/\"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf request = {0}, head = {0};
        buf_printf(&request, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n%c", rows[i].target, rows[i].fields, '\0');
        struct origin_reply r = plan(request.p, rows[i].nth, &head);
        buf_put(&head, "", 1);
        if (r.status != rows[i].status || r.at != rows[i].at || r.end != rows[i].end ||
            r.last != rows[i].last || (rows[i].says != NULL && strstr(head.p, rows[i].says) == NULL) ||
            (rows[i].lacks != NULL && strstr(head.p, rows[i].lacks) != NULL))
            fail_msg("row %zu: %s %s: %d, %llu to %llu, last %d\n%s", i, rows[i].target, rows[i].fields,
                     r.status, (unsigned long long)r.at, (unsigned long long)r.end, r.last, head.p);
        buf_fini(&request);
        buf_fini(&head);
    }
}

static void test_head_and_old_versions(void **state)
{
    struct buf head = {0};
    struct origin_reply r = plan("HEAD /a?size=9 HTTP/1.1\r\nHost: x\r\n\r\n", 1, &head);
    assert_int_equal(r.end, r.at);
    assert_non_null(memmem(head.p, head.len, "Content-Length: 9\r\n", 19));
    buf_fini(&head);
    r = plan("GET /a?framing=chunked HTTP/1.0\r\n\r\n", 1, &head); /* RFC 9112 section 6.1 */
    assert_int_equal(r.framing, FRAMING_CLOSE);
    assert_true(r.last);
    buf_fini(&head);
}

static void test_variants_differ(void **state)
{
    static const char fr[] = "GET /a?vary=Accept-Language HTTP/1.1\r\nHost: x\r\nAccept-Language: fr\r\n\r\n";
    static const char de[] = "GET /a?vary=Accept-Language HTTP/1.1\r\nHost: x\r\naccept-language: de\r\n\r\n";
    struct buf head = {0};
    uint64_t a = plan(fr, 1, &head).seed;
    buf_fini(&head);
    uint64_t b = plan(de, 1, &head).seed;
    buf_fini(&head);
    assert_int_not_equal(a, b);
}

/* Until when a shared cache may reuse the answer; 0: it may not. */
static void test_freshness(void **state)
{
    static const struct {
        const char *query;
        int64_t lifetime_s;
    } rows[] = {
        {"", 3600},
        {"cache-control=max-age=5,s-maxage=7", 7},
        {"cache-control=s-maxage=0,max-age=5", 0},
        {"cache-control=max-age=5,private", 0},
        {"cache-control=", 0},
        {"delay=3s&cache-control=max-age=5", 8},
        {"status=503", 0},
        {"status=503&faulty=1", 0},
        {"cookie=unique", 0},
        {"cut=5", 0},
        {"vary=*", 0},
        {"preset=microcache", 1},
        {"preset=private", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf request = {0}, head = {0};
        buf_printf(&request, "GET /a?%s HTTP/1.1\r\nHost: x\r\n\r\n%c", rows[i].query, '\0');
        int64_t until_s = plan(request.p, 1, &head).fresh_until_s;
        if (until_s != (rows[i].lifetime_s > 0 ? 1800000000 + rows[i].lifetime_s : 0))
            fail_msg("%s: until %lld", rows[i].query, (long long)until_s);
        buf_fini(&request);
        buf_fini(&head);
    }
}

static void test_spreads(void **state)
{
    enum { DRAWS = 100000, MEAN = 1000 };
    for (int spread = SPREAD_FIXED; spread <= SPREAD_PARETO; spread++) {
        double sum = 0;
        uint64_t largest = 0;
        for (uint64_t i = 0; i < DRAWS; i++) {
            uint64_t v = origin_spread(MEAN, (enum origin_spread)spread, body_word(7, i));
            sum += (double)v;
            largest = MAX(largest, v);
        }
        double mean = sum / DRAWS; /* a Pareto of this shape comes near its own only slowly */
        assert_true(spread == SPREAD_PARETO ? mean > 600 && mean < 1400 : mean > 980 && mean < 1020);
        assert_int_equal(largest > 20 * MEAN, spread == SPREAD_PARETO);
    }
    struct buf head = {0};
    uint64_t once = plan("GET /a?size-spread=pareto HTTP/1.1\r\nHost: x\r\n\r\n", 1, &head).end;
    buf_fini(&head);
    assert_int_equal(plan("GET /a?size-spread=pareto HTTP/1.1\r\nHost: x\r\n\r\n", 9, &head).end, once);
    buf_fini(&head);
    assert_int_not_equal(plan("GET /b?size-spread=pareto HTTP/1.1\r\nHost: x\r\n\r\n", 1, &head).end, once);
    buf_fini(&head);
}

static void test_query_refusals(void **state)
{
    static const char *const wrong[] = {"size=x", "a=b&delay=5parsecs", "framing=odd", "status=abc"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct origin_options o = {0};
        struct arena a = {0};
        struct span name = {0};
        assert_non_null(origin_options_query(&o, span_of(wrong[i]), &a, &name));
        arena_fini(&a);
    }
}

static void test_counts(void **state)
{
    struct origin_stats s = {0};
    struct origin_fetch f[3];
    uint64_t nth = 0;
    assert_int_equal(origin_fetch_begin(&s, SPAN("/a\""), &f[0], &nth), 0);
    assert_int_equal(nth, 1);
    assert_int_equal(origin_fetch_begin(&s, SPAN("/a\""), &f[1], &nth), 0);
    assert_int_equal(nth, 2);
    origin_fetch_status(&s, &f[0], 206);
    origin_fetch_bytes(&s, &f[0], 100);
    origin_fetch_end(&s, &f[0], true);
    assert_int_equal(s.total.running, 1);
    struct buf json = {0};
    origin_stats_put(&s, false, &json);
    static const char want[] =
        "\"/a\\\"\":{\"fetches\":2,\"not_modified\":0,\"partial\":1,\"errors\":0,\"aborted\":1,"
        "\"body_bytes\":100,\"running\":1,\"running_max\":2,\"epochs\":0,\"epoch_fetches\":0,\"epoch_fetches_"
        "max\":0,\"latest\":{";
    assert_non_null(memmem(json.p, json.len, want, strlen(want)));
    buf_fini(&json);

    origin_stats_reset(&s); /* what began before is not counted after */
    origin_fetch_bytes(&s, &f[1], 100);
    origin_fetch_end(&s, &f[1], false);
    assert_int_equal(s.total.fetches, 0);
    assert_int_equal(s.total.body_bytes, 0);
    origin_stats_fini(&s);
}

/* The times of the latest fetch only, in the order in which they were reached. */
static void test_marks(void **state)
{
    struct origin_stats s = {0};
    struct origin_fetch f;
    uint64_t nth = 0;
    assert_int_equal(origin_fetch_begin(&s, SPAN("/a"), &f, &nth), 0);
    for (int i = 0; i < MARK_COUNT; i++)
        origin_fetch_mark(&s, &f, (enum origin_mark)i);
    struct buf json = {0};
    origin_stats_put(&s, false, &json);
    buf_put(&json, "", 1);
    const char *at = strstr(json.p, "\"latest\":{");
    unsigned long long t[MARK_COUNT] = {0};
    assert_non_null(at);
    assert_int_equal(
        sscanf(at, "\"latest\":{\"asked_ns\":%llu,\"first_ns\":%llu,\"half_ns\":%llu,\"last_ns\":%llu}",
               &t[0], &t[1], &t[2], &t[3]),
        MARK_COUNT);
    assert_true(t[0] > 0 && t[0] <= t[1] && t[1] <= t[2] && t[2] <= t[3]);
    buf_fini(&json);

    origin_fetch_mark(&s, &f, MARK_ASKED); /* a new fetch of the key: its content is still to come */
    origin_stats_put(&s, false, &json);
    static const char want[] = "\"first_ns\":0,\"half_ns\":0,\"last_ns\":0}";
    assert_non_null(memmem(json.p, json.len, want, strlen(want)));
    buf_fini(&json);
    origin_fetch_end(&s, &f, false);
    origin_stats_fini(&s);
}

static struct origin_counts fetch_at(struct origin_stats *s, uint64_t seed, int64_t now_s, int64_t until_s)
{
    struct origin_fetch f;
    uint64_t nth = 0;
    assert_int_equal(origin_fetch_begin(s, SPAN("/a"), &f, &nth), 0);
    assert_int_equal(origin_fetch_epoch(s, &f, seed, now_s, until_s), 0);
    origin_fetch_end(s, &f, false);
    return s->total;
}

static void test_epochs(void **state)
{
    struct origin_stats s = {0};
    assert_int_equal(fetch_at(&s, 1, 100, 110).epochs, 1);
    assert_int_equal(fetch_at(&s, 1, 109, 119).epochs, 1); /* still fresh: one too many */
    assert_int_equal(fetch_at(&s, 1, 110, 120).epochs, 2); /* the first answer's end counts */
    assert_int_equal(fetch_at(&s, 2, 110, 120).epochs, 3); /* another version or variant */
    assert_int_equal(fetch_at(&s, 3, 110, 0).epochs, 3);   /* not to be shared */
    assert_int_equal(s.total.epoch_fetches, 4);
    assert_int_equal(s.total.epoch_fetches_max, 2);
    origin_epochs_end(&s);
    assert_int_equal(fetch_at(&s, 1, 111, 121).epochs, 4);
    origin_stats_fini(&s);
}

static void test_many_keys(void **state)
{
    struct origin_stats s = {0};
    for (int round = 1; round <= 2; round++)
        for (int i = 0; i < 5000; i++) {
            struct origin_fetch f;
            uint64_t nth = 0;
            char path[32];
            snprintf(path, sizeof path, "/%d", i);
            assert_int_equal(origin_fetch_begin(&s, span_of(path), &f, &nth), 0);
            assert_int_equal(nth, round);
            origin_fetch_end(&s, &f, false);
        }
    assert_int_equal(s.keys.n, 5000);
    assert_int_equal(s.total.running_max, 1);
    origin_stats_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),         cmocka_unit_test(test_head_and_old_versions),
        cmocka_unit_test(test_variants_differ), cmocka_unit_test(test_query_refusals),
        cmocka_unit_test(test_freshness),       cmocka_unit_test(test_spreads),
        cmocka_unit_test(test_epochs),          cmocka_unit_test(test_marks),
        cmocka_unit_test(test_counts),          cmocka_unit_test(test_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
