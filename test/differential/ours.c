#include "common/check.h"
#include "common/http1.h"
#include "test/differential/verdict.h"

enum { MAX_FIELDS = 256 };

static const struct http1_limits limits = {1 << 20, MAX_FIELDS, 1 << 20, 1 << 16, 1 << 16};

static void refuse(struct verdict *v, const char *why)
{
    v->outcome = REFUSED;
    v->why = why;
}

static void show_head(struct verdict *v, const struct http_head *h, bool is_request)
{
    if (is_request)
        buf_printf(&v->start, "%.*s %.*s 1.%d", SPAN_FMT(h->method_text), SPAN_FMT(h->target), h->minor);
    else
        buf_printf(&v->start, "1.%d %d", h->minor, h->status);
    for (uint32_t i = 0; i < h->n_fields; i++) {
        buf_put_span(&v->fields, h->fields[i].name);
        buf_put_lit(&v->fields, ":");
        buf_put_span(&v->fields, h->fields[i].value);
        buf_put_lit(&v->fields, "\n");
    }
}

static void read_body(struct verdict *v, struct http1_body *b, struct span in)
{
    for (;;) {
        struct span data;
        size_t used;
        enum http1_body_status status = http1_body_feed(b, in.p, in.len, &used, &data);
        v->consumed += used;
        in = span_from(in, used);
        if (status == BODY_DATA) {
            buf_put_span(&v->body, data);
            continue;
        }
        if (status == BODY_BAD)
            refuse(v, b->why);
        else
            v->outcome = status == BODY_END || b->framing == BODY_UNTIL_CLOSE ? WHOLE : CUT;
        return;
    }
}

void verdict_ours(struct verdict *v, bool is_request, struct span in)
{
    struct http_field fields[MAX_FIELDS];
    struct http_head head = {.fields = fields, .cap_fields = MAX_FIELDS};
    struct http1_scan scan = {0};
    struct http1_body body;
    struct http1_result got =
        (is_request ? http1_parse_request : http1_parse_response)(&scan, in.p, in.len, &limits, &head);
    v->outcome = CUT;
    if (got.status == HTTP1_BAD)
        refuse(v, got.why);
    if (got.status != HTTP1_HEAD)
        return;
    int err = is_request ? http1_body_for_request(&body, &head, &limits)
                         : http1_body_for_response(&body, &head, METHOD_GET, &limits);
    if (err != 0) {
        refuse(v, body.why);
        return;
    }
    v->consumed = got.head_bytes;
    show_head(v, &head, is_request);
    read_body(v, &body, span_from(in, got.head_bytes));
}
