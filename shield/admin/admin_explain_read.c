#include "shield/admin/admin_explain_impl.h"

#include "common/err.h"
#include "shield/admin/admin_percent.h"

/* The authority of an absolute URL; empty when it is none. */
static struct span authority_of(struct span url)
{
    static const struct span schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < 2; i++) {
        if (url.len <= schemes[i].len || !span_eq_nocase((struct span){url.p, schemes[i].len}, schemes[i]))
            continue;
        struct span rest = span_from(url, schemes[i].len);
        size_t n = 0;
        while (n < rest.len && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
            n++;
        return (struct span){rest.p, n};
    }
    return (struct span){NULL, 0};
}

/* "Name: value" as a field line. */
static bool put_header(struct buf *lines, struct span line, struct buf *why)
{
    const char *colon = line.len > 0 ? memchr(line.p, ':', line.len) : NULL;
    struct span name = {line.p, colon != NULL ? (size_t)(colon - line.p) : 0};
    if (!http_is_token(name))
        buf_printf(why, "header '%.*s' is no field; write header=Name:%%20value", SPAN_FMT(line));
    else if (span_eq_nocase(name, SPAN("Host")))
        buf_printf(why, "the host is the one in url; leave header=Host out");
    else
        http_put_field(lines, name, span_trim(span_from(line, name.len + 1)));
    return why->len == 0;
}

struct parameters {
    struct buf url, method, lines;
};

static bool take_parameter(struct parameters *p, struct span name, struct span value, struct buf *why)
{
    struct buf text = {0};
    if (!admin_percent_decode(value, &text))
        buf_printf(why, "%.*s is not percent-encoded text of one line; write %% as %%25", SPAN_FMT(name));
    else if (span_eq(name, SPAN("header")))
        put_header(&p->lines, buf_span(&text), why);
    else if (span_eq(name, SPAN("url")) && p->url.len == 0)
        buf_put_span(&p->url, buf_span(&text));
    else if (span_eq(name, SPAN("method")) && p->method.len == 0)
        buf_put_span(&p->method, buf_span(&text));
    else
        buf_printf(why,
                   "parameter '%.*s' is not known, or came twice; there are url, method and (as often as "
                   "needed) header; write & in a URL as %%26",
                   SPAN_FMT(name));
    p->url.failed |= text.failed;
    buf_fini(&text);
    return why->len == 0;
}

/* What stands before the first `c`; all of it where there is none. */
static struct span before(struct span s, char c)
{
    const char *at = s.len > 0 ? memchr(s.p, c, s.len) : NULL;
    return (struct span){s.p, at != NULL ? (size_t)(at - s.p) : s.len};
}

static bool read_parameters(struct parameters *p, struct span query, struct buf *why)
{
    while (query.len > 0) {
        struct span one = before(query, '&');
        struct span name = before(one, '=');
        if (one.len > 0 && !take_parameter(p, name, span_from(one, name.len + 1), why))
            return false;
        query = span_from(query, one.len + 1);
    }
    struct span method = p->method.len > 0 ? buf_span(&p->method) : SPAN("GET");
    if (authority_of(buf_span(&p->url)).len == 0)
        buf_printf(why, "url is missing or not absolute; write url=http://HOST/PATH");
    else if (!http_is_token(method))
        buf_printf(why, "method '%.*s' is none; write method=GET", SPAN_FMT(method));
    return why->len == 0;
}

/* As a client would send it. */
static void put_request(const struct parameters *p, struct buf *out)
{
    buf_put_span(out, p->method.len > 0 ? buf_span(&p->method) : SPAN("GET"));
    buf_put_lit(out, " ");
    buf_put_span(out, buf_span(&p->url));
    buf_put_lit(out, " HTTP/1.1\r\n");
    http_put_field(out, SPAN("Host"), authority_of(buf_span(&p->url)));
    buf_put_span(out, buf_span(&p->lines));
    buf_put_lit(out, "\r\n");
    out->failed |= p->url.failed || p->method.failed || p->lines.failed;
}

static bool parse(struct explain *e, struct buf *why)
{
    const struct http1_limits *limits = &e->config->http_limits;
    struct http1_scan scan = {0};
    struct http1_body content;
    if (e->text.failed) {
        why->failed = true;
        return false;
    }
    e->head = (struct http_head){.fields = e->fields, .cap_fields = limits->max_fields};
    struct http1_result got = http1_parse_request(&scan, e->text.p, e->text.len, limits, &e->head);
    if (got.status != HTTP1_HEAD)
        buf_printf(why, "no client may send this: %s",
                   got.status == HTTP1_BAD ? got.why : err_text(ERR_HEAD_TOO_LARGE));
    else if (http1_body_for_request(&content, &e->head, limits) != 0)
        buf_printf(why, "no client may send this: %s", content.why);
    return why->len == 0;
}

bool explain_read(struct explain *e, struct span query, struct buf *why)
{
    struct parameters p = {0};
    bool ok = read_parameters(&p, query, why);
    if (ok)
        put_request(&p, &e->text);
    buf_fini(&p.url);
    buf_fini(&p.method);
    buf_fini(&p.lines);
    return ok && parse(e, why);
}
