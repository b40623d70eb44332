#include "shield/warm/warm_request.h"

#include <stdlib.h>

#include "common/http_chars.h"

static bool is_absolute_url(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!http_char_is(s.p[i], CHAR_TARGET))
            return false;
    return s.len > 0 && s.p[0] != '/' && http1_valid_target(METHOD_GET, s);
}

/* In absolute-form, which wins over Host, and with the Host that goes with it (RFC 9112 section 3.2.2). */
static void put_text(struct buf *out, struct span url, struct span lines)
{
    const struct http_head bare = {.method = METHOD_GET, .target = url};
    struct http1_target target;
    http1_target(&bare, &target);
    buf_put_lit(out, "GET ");
    buf_put_span(out, url);
    buf_put_lit(out, " HTTP/1.1\r\n");
    http_put_field(out, SPAN("Host"), target.host);
    buf_put_span(out, lines);
    buf_put_lit(out, "\r\n");
}

int warm_request_make(struct warm_request *r, const struct http1_limits *limits, struct span url,
                      struct span lines, const char **why)
{
    struct http1_scan scan = {0};
    struct http1_body content;
    if (!is_absolute_url(url)) {
        *why = "is no absolute URL; write http://HOST/PATH, percent-encoded and without #fragment";
        return ERR_SYNTAX;
    }
    put_text(&r->text, url, lines);
    r->fields = calloc(limits->max_fields, sizeof *r->fields);
    if (r->text.failed || r->fields == NULL)
        return ERR_NOMEM;
    r->head = (struct http_head){.fields = r->fields, .cap_fields = limits->max_fields};
    struct http1_result got = http1_parse_request(&scan, r->text.p, r->text.len, limits, &r->head);
    if (got.status != HTTP1_HEAD) {
        *why = got.status == HTTP1_BAD ? got.why : err_text(ERR_HEAD_TOO_LARGE);
        return ERR_SYNTAX;
    }
    if (http1_body_for_request(&content, &r->head, limits) != 0 || content.framing != BODY_NONE) {
        *why = "is asked for without content; leave Content-Length and Transfer-Encoding out";
        return ERR_SYNTAX;
    }
    http1_target(&r->head, &r->target);
    return 0;
}

void warm_request_fini(struct warm_request *r)
{
    buf_fini(&r->text);
    free(r->fields);
    *r = (struct warm_request){0};
}
