/* http1_agree - one head, parsed in one piece and in many: the answers must not differ. For unit tests and
 * fuzzing. */
#ifndef TEST_HTTP1_AGREE_H
#define TEST_HTTP1_AGREE_H

#include <stdlib.h>
#include <string.h>

#include "common/http1.h"

enum { AGREE_FIELDS = 64 };

struct agree_run {
    struct http1_result result;
    struct http_head head;
    struct http_field fields[AGREE_FIELDS];
    char *bytes; /* what the spans of `head` point into */
};

static inline void agree_fini(struct agree_run *r)
{
    free(r->bytes);
    r->bytes = NULL;
}

/* Every call sees a fresh allocation of exactly the bytes that have come: a sanitizer notices a read behind
 * them. */
static inline void agree_call(struct agree_run *r, struct http1_scan *scan, bool is_request,
                              const struct http1_limits *limits, struct span in)
{
    agree_fini(r);
    r->bytes = malloc(in.len);
    if (r->bytes == NULL && in.len > 0)
        abort();
    if (in.len > 0)
        memcpy(r->bytes, in.p, in.len);
    r->head.fields = r->fields;
    r->head.cap_fields = AGREE_FIELDS;
    r->result =
        (is_request ? http1_parse_request : http1_parse_response)(scan, r->bytes, in.len, limits, &r->head);
}

/* Gives `first` bytes, then `step` more with each call, until the parser has an answer. */
static inline void agree_parse(struct agree_run *r, bool is_request, const struct http1_limits *limits,
                               struct span in, size_t first, size_t step)
{
    struct http1_scan scan = {0};
    size_t n = first < in.len ? first : in.len;
    *r = (struct agree_run){0};
    agree_call(r, &scan, is_request, limits, (struct span){in.p, n});
    while (r->result.status == HTTP1_MORE && n < in.len) {
        n = in.len - n > step ? n + step : in.len;
        agree_call(r, &scan, is_request, limits, (struct span){in.p, n});
    }
}

static inline bool agree_same_head(const struct http_head *a, const struct http_head *b)
{
    if (a->method != b->method || !span_eq(a->method_text, b->method_text) ||
        !span_eq(a->target, b->target) || a->status != b->status || !span_eq(a->reason, b->reason) ||
        a->minor != b->minor || a->n_fields != b->n_fields || a->present != b->present)
        return false;
    for (uint32_t i = 0; i < a->n_fields; i++) {
        const struct http_field *f = &a->fields[i], *g = &b->fields[i];
        if (f->id != g->id || !span_eq(f->name, g->name) || !span_eq(f->value, g->value))
            return false;
    }
    return true;
}

static inline bool agree_same(const struct agree_run *a, const struct agree_run *b)
{
    const struct http1_result *x = &a->result, *y = &b->result;
    if (x->status != y->status || x->err != y->err || x->head_bytes != y->head_bytes)
        return false;
    if (x->status == HTTP1_BAD)
        return strcmp(x->why, y->why) == 0;
    return x->status != HTTP1_HEAD || agree_same_head(&a->head, &b->head);
}

/* Whether a parse that gets `first` bytes and then `step` at a time says the same as `whole`. */
static inline bool agree_with(const struct agree_run *whole, bool is_request,
                              const struct http1_limits *limits, struct span in, size_t first, size_t step)
{
    struct agree_run split;
    agree_parse(&split, is_request, limits, in, first, step);
    bool same = agree_same(whole, &split);
    agree_fini(&split);
    return same;
}

/* The head as bytes again, in canonical form. */
static inline void agree_write(struct buf *out, const struct http_head *h)
{
    if (h->status == 0) {
        buf_put_span(out, h->method_text);
        buf_put_lit(out, " ");
        buf_put_span(out, h->target);
        buf_printf(out, " HTTP/1.%d\r\n", h->minor);
    } else {
        buf_printf(out, "HTTP/1.%d %03d ", h->minor, h->status);
        buf_put_span(out, h->reason);
        buf_put_lit(out, "\r\n");
    }
    for (uint32_t i = 0; i < h->n_fields; i++)
        http_put_field(out, h->fields[i].name, h->fields[i].value);
    buf_put_lit(out, "\r\n");
}

/* Whether the head of `run`, written and parsed again, is the same head. */
static inline bool agree_rewritten(const struct agree_run *run, bool is_request)
{
    static const struct http1_limits ample = {1 << 24, AGREE_FIELDS, 1 << 24, 0, 0};
    struct buf out = {0};
    struct agree_run again;
    agree_write(&out, &run->head);
    agree_parse(&again, is_request, &ample, buf_span(&out), out.len, 1);
    bool same = again.result.status == HTTP1_HEAD && again.result.head_bytes == out.len &&
                agree_same_head(&run->head, &again.head);
    agree_fini(&again);
    buf_fini(&out);
    return same;
}

#endif
