/* How an edge judges what it is given: every answer in one piece, and split at every byte. */
#include "bench/edge_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "bench/body.h"
#include "bench/demo.h"
#include "common/check.h"

/* One answer: `first` to `last` of the object's bytes stand where the head ends. */
struct row {
    const char *head;
    uint64_t first, last; /* first == last: no content */
    int flip;             /* the byte of the content that is wrong, -1: none */
    const char *tail;     /* what stands behind the content */
    enum edge_answer_status status;
    enum edge_error fault; /* when the answer is whole */
    enum edge_cache cache;
};

#define OBJECT "%s" /* the Bench-Object field of /o, 100 bytes */
#define OK200  "HTTP/1.1 200 OK\r\n"

static const struct row rows[] = {
    {OK200 OBJECT "Content-Length: 100\r\n\r\n", 0, 100, -1, "", ANSWER_END, EDGE_OK, CACHE_NONE},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK200 OBJECT "Content-Length: 100\r\n\r\n", 0, 100, -1, "",
     ANSWER_END, EDGE_OK, CACHE_NONE},
    {OK200 OBJECT "Content-Length: 100\r\n\r\n", 0, 100, 0, "", ANSWER_END, EDGE_WRONG_BODY, CACHE_NONE},
    {OK200 OBJECT "Content-Length: 100\r\n\r\n", 0, 100, 99, "", ANSWER_END, EDGE_WRONG_BODY, CACHE_NONE},
    {OK200 OBJECT "Content-Length: 100\r\n\r\n", 0, 50, -1, "", ANSWER_MORE, EDGE_OK, CACHE_NONE},
    {OK200 OBJECT "Content-Length: 50\r\n\r\n", 0, 50, -1, "", ANSWER_END, EDGE_TRUNCATED, CACHE_NONE},
    {OK200 OBJECT "Transfer-Encoding: chunked\r\n\r\n64\r\n", 0, 100, -1, "\r\n0\r\n\r\n", ANSWER_END,
     EDGE_OK, CACHE_NONE},
    {OK200 OBJECT "Transfer-Encoding: chunked\r\n\r\n32\r\n", 0, 50, -1, "\r\n0\r\n\r\n", ANSWER_END,
     EDGE_TRUNCATED, CACHE_NONE},
    {OK200 OBJECT "Transfer-Encoding: chunked\r\n\r\nxx\r\n", 0, 0, -1, "", ANSWER_BAD, EDGE_OK, CACHE_NONE},
    {"HTTP/1.1 503 No\r\n" OBJECT "Content-Length: 0\r\n\r\n", 0, 0, -1, "", ANSWER_END, EDGE_STATUS,
     CACHE_NONE},
    {OK200 "Content-Length: 100\r\n\r\n", 0, 100, -1, "", ANSWER_END, EDGE_UNVERIFIABLE, CACHE_NONE},
    {OK200 "Bench-Object: key=0; version=1; size=100; seed=0\r\nContent-Length: 100\r\n\r\n", 0, 100, -1, "",
     ANSWER_END, EDGE_WRONG_BODY, CACHE_NONE},
    {OK200 OBJECT "Cache-Status: x; hit, shield; fwd=uri-miss; collapsed\r\nContent-Length: 100\r\n\r\n", 0,
     100, -1, "", ANSWER_END, EDGE_OK, CACHE_COLLAPSED},
    {OK200 OBJECT
     "Cache-Status: x; fwd=miss\r\nCache-Status: shield; hit; ttl=-3\r\nContent-Length: 100\r\n\r\n",
     0, 100, -1, "", ANSWER_END, EDGE_OK, CACHE_HIT},
    {OK200 OBJECT "Cache-Status: shield; fwd=uri-miss; collapsed=?0\r\nContent-Length: 100\r\n\r\n", 0, 100,
     -1, "", ANSWER_END, EDGE_OK, CACHE_MISS},
    {OK200 OBJECT "Cache-Status: shield; fwd=stale; fwd-status=304\r\nContent-Length: 100\r\n\r\n", 0, 100,
     -1, "", ANSWER_END, EDGE_OK, CACHE_STALE},
    {OK200 OBJECT "Cache-Status: hit; fwd=bypass\r\nContent-Length: 100\r\n\r\n", 0, 100, -1, "", ANSWER_END,
     EDGE_OK, CACHE_OTHER},
    {"HTTP/1.1 200 OK\nContent-Length: 1\n\n", 0, 0, -1, "", ANSWER_BAD, EDGE_OK, CACHE_NONE},
};

/* Answers that are right or wrong by what was asked for: a field of the user's own, and of --vary, of which
 * the first value's turn is. */
static const struct {
    const char *field, *vary;
    struct row row;
} asked[] = {
    {"Range: bytes=10-19",
     NULL,
     {"HTTP/1.1 206 Partial Content\r\n" OBJECT
      "Content-Range: bytes 10-19/100\r\nContent-Length: 10\r\n\r\n",
      10, 20, -1, "", ANSWER_END, EDGE_OK, CACHE_NONE}},
    {"Range: bytes=10-19",
     NULL,
     {"HTTP/1.1 206 Partial Content\r\n" OBJECT "Content-Range: bytes 10-19/*\r\nContent-Length: 10\r\n\r\n",
      10, 20, -1, "", ANSWER_END, EDGE_OK, CACHE_NONE}},
    {"Range: bytes=10-19",
     NULL,
     {"HTTP/1.1 206 Partial Content\r\n" OBJECT
      "Content-Range: bytes 10-19/101\r\nContent-Length: 10\r\n\r\n",
      10, 20, -1, "", ANSWER_END, EDGE_WRONG_BODY, CACHE_NONE}},
    {NULL,
     NULL,
     {"HTTP/1.1 206 Partial Content\r\n" OBJECT
      "Content-Range: bytes 10-19/100\r\nContent-Length: 10\r\n\r\n",
      10, 20, -1, "", ANSWER_END, EDGE_PROTOCOL, CACHE_NONE}},
    {"Range: bytes=10-19",
     NULL,
     {"HTTP/1.1 206 Partial Content\r\n" OBJECT
      "Content-Range: bytes 10-19/100\r\nContent-Length: 10\r\n\r\n",
      11, 21, -1, "", ANSWER_END, EDGE_WRONG_BODY, CACHE_NONE}},
    {NULL,
     NULL,
     {OK200 OBJECT "Vary: x-a\r\nContent-Length: 100\r\n\r\n", 0, 100, -1, "", ANSWER_END, EDGE_OK,
      CACHE_NONE}},
    {NULL,
     "X-A: de|fr",
     {OK200 OBJECT "Vary: x-a\r\nContent-Length: 100\r\n\r\n", 0, 100, -1, "", ANSWER_END, EDGE_WRONG_BODY,
      CACHE_NONE}}, /* the object's seed is of no variant */
    {NULL,
     "X-A: de|fr",
     {OK200 OBJECT "Vary: X-A, X-B\r\nContent-Length: 100\r\n\r\n", 0, 100, -1, "", ANSWER_END, EDGE_OK,
      CACHE_NONE}},
};

static void build(const struct row *row, struct buf *out)
{
    struct body_object o = body_object(SPAN("/o"), 1, 100, (struct span){0});
    struct buf field = {0};
    body_put_field(&field, &o);
    const char *at = strstr(row->head, OBJECT);
    if (at == NULL) {
        buf_put_span(out, span_of(row->head));
    } else {
        buf_put(out, row->head, (size_t)(at - row->head));
        buf_put_span(out, buf_span(&field));
        buf_put_span(out, span_of(at + strlen(OBJECT)));
    }
    size_t n = row->last - row->first;
    assert_true(buf_reserve(out, n + 1));
    body_fill(o.seed, row->first, out->p + out->len, n);
    if (row->flip >= 0)
        out->p[out->len + (size_t)row->flip] ^= 1;
    out->len += n;
    buf_put_span(out, span_of(row->tail));
    buf_fini(&field);
}

/* Feeds the answer cut at `cut`, every piece in memory of exactly its size. */
static void judge(const struct row *row, const struct edges_config *config, struct span bytes, size_t cut)
{
    struct edge_run run = {.config = config};
    struct edge_thread *t = calloc(1, sizeof *t);
    assert_non_null(t);
    struct edge e = {.thread = t};
    t->run = &run;
    assert_null(target_parse(SPAN("http://x/o?size=100"), &run.target));

    struct span parts[2] = {{bytes.p, cut}, span_from(bytes, cut)};
    enum edge_answer_status status = ANSWER_MORE;
    for (int i = 0; i < 2 && status == ANSWER_MORE; i++) {
        char *copy = malloc(parts[i].len);
        size_t used = 0;
        if (parts[i].len == 0) {
            free(copy);
            continue;
        }
        memcpy(copy, parts[i].p, parts[i].len);
        status = edge_answer_feed(&e, copy, parts[i].len, &used);
        assert_int_equal(used == parts[i].len || status == ANSWER_BAD, true);
        free(copy);
    }
    if (status == ANSWER_END)
        edge_answer_end(&e);
    if (status != row->status || (status == ANSWER_END && e.fault != row->fault) ||
        (status != ANSWER_BAD && t->report.caches[row->cache] != 1))
        fail_msg("cut at %zu: status %d, fault %s: %s", cut, status, edge_error_name(e.fault), row->head);
    buf_fini(&e.in);
    free(t);
}

static void judge_split_everywhere(const struct row *row, const struct edges_config *config)
{
    struct buf bytes = {0};
    build(row, &bytes);
    for (size_t cut = 0; cut <= bytes.len; cut++)
        judge(row, config, buf_span(&bytes), cut);
    buf_fini(&bytes);
}

static void test_answers_split_everywhere(void **state)
{
    const struct edges_config config = {.verify = true, .method = EDGE_GET};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        judge_split_everywhere(&rows[i], &config);
}

static void test_what_was_asked_for(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct edges_config config = {.verify = true, .method = EDGE_GET};
        if (asked[i].field != NULL)
            config.fields.item[config.fields.n++] = span_of(asked[i].field);
        if (asked[i].vary != NULL)
            config.vary = span_of(asked[i].vary);
        judge_split_everywhere(&asked[i].row, &config);
    }
}

static void test_targets(void **state)
{
    static const struct {
        const char *url, *host, *path; /* path of key 42; NULL: refused */
    } urls[] = {
        {"http://a:80/x", "a:80", "/x"},
        {"a:80", "a:80", "/"},
        {"http://[::1]:1/x{n}?y", "[::1]:1", "/x42?y"},
        {"http://a/{n}", "a", "/42"},
        {"https://a/", NULL, NULL},
        {"ftp://a/", NULL, NULL},
        {"http:///x", NULL, NULL},
        {"/x", NULL, NULL},
        {"http://a/x y", NULL, NULL},
        {"http://a/{n}/{n}", NULL, NULL},
        {"http://a/x#y", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct target t;
        struct buf path = {0};
        const char *why = target_parse(span_of(urls[i].url), &t);
        assert_int_equal(why == NULL, urls[i].path != NULL);
        if (why == NULL) {
            target_put_path(&t, 42, &path);
            assert_true(span_eq(buf_span(&path), span_of(urls[i].path)));
            assert_true(span_eq(t.host, span_of(urls[i].host)));
        }
        buf_fini(&path);
    }
}

static void test_request_text(void **state)
{
    struct target t;
    struct buf out = {0};
    struct flag_list fields = {.item = {SPAN("A: b"), SPAN("HOST: other")}, .n = 2};
    assert_null(target_parse(SPAN("http://h:1/k{n}"), &t));
    target_put_request(&t, "GET", 7, &fields, SPAN("C: d\r\n"), &out);
    assert_true(span_eq(buf_span(&out), SPAN("GET /k7 HTTP/1.1\r\nHost: other\r\nA: b\r\nC: d\r\n\r\n")));
    buf_fini(&out);
}

static void test_ready_line_and_metric(void **state)
{
    char value[32];
    static const char line[] = "xlisten=no listen=127.0.0.1:1,[::1]:1 admin=127.0.0.1:2\n";
    assert_true(proc_ready_value(line, "listen", value, sizeof value));
    assert_string_equal(value, "127.0.0.1:1");
    assert_true(proc_ready_value(line, "admin", value, sizeof value));
    assert_string_equal(value, "127.0.0.1:2");
    assert_false(proc_ready_value(line, "store", value, sizeof value));

    double v = 0;
    static const char text[] = "# HELP shield_a 5\nshield_ab 1\nshield_a{x=\"y\"} 2\nshield_a 3\n";
    assert_true(demo_metric(span_of(text), "shield_a", &v));
    assert_true(v > 2.9 && v < 3.1);
    assert_false(demo_metric(span_of(text), "shield_b", &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_split_everywhere),
        cmocka_unit_test(test_what_was_asked_for),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_request_text),
        cmocka_unit_test(test_ready_line_and_metric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
