#include "bench/origin_reply.h"

#include <stdio.h>

#include "bench/waits.h"
#include "common/check.h"
#include "common/err.h"
#include "common/http1.h"
#include "common/http_date.h"
#include "common/http_range.h"
#include "common/units.h"

/* 2024-01-01: Last-Modified of version 0; each version is a day younger. */
#define FIRST_MODIFIED_S INT64_C(1704067200)

/* The validators that this answer names; empty when it has none. */
struct validators {
    char etag_text[64], modified_text[HTTP_DATE_BYTES];
    struct span etag, modified;
};

static void make_validators(const struct origin_options *o, int64_t now_s, struct validators *v)
{
    bool weak = span_eq(o->etag, SPAN("weak"));
    if (span_eq(o->etag, SPAN("on")) || weak) {
        int n = snprintf(v->etag_text, sizeof v->etag_text, "%s\"%llu-%llx\"", weak ? "W/" : "",
                         (unsigned long long)o->version, (unsigned long long)o->size);
        v->etag = (struct span){v->etag_text, (size_t)n};
    } else if (!span_eq(o->etag, SPAN("off"))) {
        v->etag = o->etag;
    }
    if (span_eq(o->last_modified, SPAN("on"))) {
        int64_t at_s = FIRST_MODIFIED_S + (int64_t)(o->version % 100000) * 86400;
        http_date_format(v->modified_text, at_s < now_s ? at_s : now_s);
        v->modified = (struct span){v->modified_text, HTTP_DATE_BYTES};
    } else if (!span_eq(o->last_modified, SPAN("off"))) {
        v->modified = o->last_modified;
    }
}

static struct span opaque_tag(struct span etag)
{
    return span_starts(etag, SPAN("W/")) ? span_from(etag, 2) : etag;
}

/* RFC 9110 section 13.1.2: any of the list, compared weakly, or "*". */
static bool none_match_hits(const struct http_head *h, struct span etag)
{
    struct http_list_it it = {0};
    struct span item;
    while (http_list_each(h, FIELD_IF_NONE_MATCH, &it, &item))
        if (span_eq(item, SPAN("*")) || (etag.len > 0 && span_eq(opaque_tag(item), opaque_tag(etag))))
            return true;
    return false;
}

/* RFC 9110 section 13.2.2: If-Modified-Since counts only without If-None-Match. */
static bool is_not_modified(const struct http_head *h, const struct validators *v, int64_t now_s)
{
    if (http_has(h, FIELD_IF_NONE_MATCH))
        return none_match_hits(h, v->etag);
    int64_t since_s, modified_s;
    return v->modified.len > 0 && http_date_parse(http_value(h, FIELD_IF_MODIFIED_SINCE), now_s, &since_s) &&
           http_date_parse(v->modified, now_s, &modified_s) && modified_s <= since_s;
}

/* RFC 9110 section 13.1.5: a strong comparison; a weak tag on either side never matches. */
static bool if_range_holds(const struct http_head *h, const struct validators *v)
{
    if (!http_has(h, FIELD_IF_RANGE))
        return true;
    struct span want = http_value(h, FIELD_IF_RANGE);
    if (want.len > 0 && want.p[0] == '"')
        return span_eq(want, v->etag);
    return v->modified.len > 0 && span_eq(want, v->modified);
}

/* Decides among 200, 206 and 416; several ranges are answered with the whole (RFC 9110 section 14.2). */
static void apply_range(const struct http_head *h, const struct origin_options *o, const struct validators *v,
                        struct origin_reply *out)
{
    struct http_range_spec spec;
    if (!o->ranges || h->method != METHOD_GET || !http_has(h, FIELD_RANGE) || !if_range_holds(h, v) ||
        http_range_parse(http_value(h, FIELD_RANGE), &spec, 1) != 1)
        return;
    uint64_t first, last;
    if (http_range_resolve(&spec, o->size, &first, &last)) {
        out->status = 206;
        out->at = first;
        out->end = last + 1;
    } else {
        out->status = 416;
        out->end = 0;
    }
}

/* The values of the fields that Vary names: what a variant's content depends on. */
static void put_variant(struct buf *out, const struct http_head *h, struct span vary)
{
    struct span name;
    while (http_list_next(&vary, &name)) {
        const struct http_field *f = http_find_name(h, name);
        buf_put_span(out, f != NULL ? f->value : (struct span){0});
        buf_put_lit(out, "\n");
    }
}

static void put_text_field(struct buf *out, const char *name, struct span value)
{
    if (value.len > 0)
        http_put_field(out, span_of(name), value);
}

static void put_status_line(struct buf *out, int status, int64_t now_s)
{
    buf_printf(out, "HTTP/1.1 %d %.*s\r\nDate: ", status, SPAN_FMT(http_reason(status)));
    if (buf_reserve(out, HTTP_DATE_BYTES)) {
        http_date_format(out->p + out->len, now_s);
        out->len += HTTP_DATE_BYTES;
    }
    buf_put_lit(out, "\r\n");
}

static void put_cookie(struct buf *out, struct span cookie, uint64_t serial)
{
    if (span_eq(cookie, SPAN("unique")))
        buf_printf(out, "Set-Cookie: bench=%llu\r\n", (unsigned long long)serial);
    else
        put_text_field(out, "Set-Cookie", cookie);
}

static bool has_content(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

/* Surrogate-Key separates with spaces, Cache-Tag with commas. */
static void put_tags(struct buf *out, const struct origin_options *o, uint64_t key)
{
    static const struct {
        const char *name, *between;
    } forms[] = {{"Surrogate-Key", " "}, {"Cache-Tag", ","}};
    for (size_t i = 0; i < ARRAY_LEN(forms) && (o->tags.len > 0 || o->groups > 0); i++) {
        buf_printf(out, "%s: ", forms[i].name);
        for (size_t c = 0; c < o->tags.len; c++)
            buf_put(out, o->tags.p[c] == ' ' ? forms[i].between : &o->tags.p[c], 1);
        if (o->groups > 0)
            buf_printf(out, "%sgroup-%llu", o->tags.len > 0 ? forms[i].between : "",
                       (unsigned long long)(key % o->groups));
        buf_put_lit(out, "\r\n");
    }
}

static void put_framing(struct buf *out, const struct origin_reply *r, const struct origin_options *o,
                        uint64_t content_bytes)
{
    if (has_content(r->status) && r->framing == FRAMING_CHUNKED)
        buf_put_lit(out, "Transfer-Encoding: chunked\r\n");
    else if (has_content(r->status) && r->framing == FRAMING_LENGTH)
        buf_printf(out, "Content-Length: %llu\r\n",
                   (unsigned long long)(o->announce != FLAG_NONE ? o->announce : content_bytes));
    if (r->last)
        buf_put_lit(out, "Connection: close\r\n");
    buf_put_lit(out, "\r\n");
}

static void put_head(const struct origin_request *q, const struct origin_options *o,
                     const struct validators *v, const struct body_object *object, struct origin_reply *r)
{
    struct buf *out = &r->head;
    put_status_line(out, r->status, q->now_s + (int64_t)(r->delay_ms / 1000));
    put_text_field(out, "Cache-Control", o->cache_control);
    put_text_field(out, "ETag", v->etag);
    put_text_field(out, "Last-Modified", v->modified);
    put_text_field(out, "Vary", o->vary);
    put_cookie(out, o->cookie, q->serial);
    put_tags(out, o, object->key);
    if (o->field.len > 0) {
        buf_put_span(out, o->field);
        buf_put_lit(out, "\r\n");
    }
    if (r->status != 304)
        put_text_field(out, "Content-Type", o->type);
    if (o->ranges && r->status == 200)
        buf_put_lit(out, "Accept-Ranges: bytes\r\n");
    if (r->status == 206)
        buf_printf(out, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)r->at,
                   (unsigned long long)r->end - 1, (unsigned long long)o->size);
    if (r->status == 416)
        buf_printf(out, "Content-Range: bytes */%llu\r\n", (unsigned long long)o->size);
    body_put_field(out, object);
    waits_put_field(out, q->serial, q->now_ns + r->delay_ms * 1000000);
    put_framing(out, r, o, r->end - r->at);
}

/* The object as the options without their faults: a key that has failed often enough gets well. */
static struct origin_options without_faults(const struct origin_options *o, uint64_t nth)
{
    struct origin_options healthy = *o;
    if (o->faulty > 0 && nth > o->faulty) {
        healthy.status = 200;
        healthy.cut = healthy.stall = healthy.announce = FLAG_NONE;
        healthy.hang = false;
    }
    return healthy;
}

/* The lifetime that a shared cache may give the answer (RFC 9111 section 4.2.1), of the Cache-Control that we
 * send ourselves; 0: may not be reused. */
static int64_t shared_lifetime_s(const struct origin_options *o)
{
    struct span rest = o->cache_control, item;
    uint64_t max_age = 0, s_maxage = 0, *value;
    bool has_s_maxage = false;
    while (http_list_next(&rest, &item)) {
        if (span_eq_nocase(item, SPAN("no-store")) || span_eq_nocase(item, SPAN("no-cache")) ||
            span_eq_nocase(item, SPAN("private")))
            return 0;
        bool is_shared = span_starts(item, SPAN("s-maxage="));
        if (!is_shared && !span_starts(item, SPAN("max-age=")))
            continue;
        value = is_shared ? &s_maxage : &max_age;
        has_s_maxage |= is_shared;
        (void)units_parse_uint(span_from(item, is_shared ? 9 : 8), value);
    }
    return (int64_t)MIN(has_s_maxage ? s_maxage : max_age, (uint64_t)INT32_MAX);
}

/* Whether a cache may be expected to keep this answer: whole, good, and not for one client alone. */
static bool is_shareable(const struct origin_request *q, const struct origin_options *o,
                         const struct origin_reply *r)
{
    return q->head->method == METHOD_GET && (r->status == 200 || r->status == 304) && o->cookie.len == 0 &&
           r->cut == FLAG_NONE && r->stall == FLAG_NONE && !r->hang && o->announce == FLAG_NONE &&
           !span_eq(o->vary, SPAN("*"));
}

static void decide(const struct origin_request *q, const struct origin_options *o, const struct validators *v,
                   struct origin_reply *out)
{
    const struct http_head *h = q->head;
    out->status = (int)o->status;
    out->at = 0;
    out->end = o->size;
    if (out->status == 200 && o->conditional && http_method_is_safe(h->method) &&
        is_not_modified(h, v, q->now_s))
        out->status = 304;
    else if (out->status == 200)
        apply_range(h, o, v, out);
    if (!has_content(out->status))
        out->end = out->at;
    out->framing = (enum origin_framing)o->framing;
    if (out->framing == FRAMING_CHUNKED && h->minor == 0) /* RFC 9112 section 6.1 */
        out->framing = FRAMING_CLOSE;
    out->cut = o->cut;
    out->stall = o->stall;
    out->delay_ms = origin_spread(o->delay_ms, (enum origin_spread)o->delay_spread, body_word(q->serial, 0)) +
                    o->think_ms * q->others;
    out->drip_ms = o->drip_ms;
    out->tick_ms = o->tick_ms;
    out->hang = o->hang;
}

int origin_reply_plan(const struct origin_request *request, const struct origin_options *options,
                      struct origin_reply *out)
{
    struct origin_options o = without_faults(options, request->nth);
    struct span path = body_path(request->head->target);
    origin_options_settle(&o);
    if (o.rolling > 0)
        o.version += (request->nth - 1) / o.rolling;
    o.size = origin_spread(o.size, (enum origin_spread)o.size_spread,
                           body_word(body_object(path, 0, 0, (struct span){0}).key, 1));
    struct validators v = {0};
    make_validators(&o, request->now_s, &v);
    decide(request, &o, &v, out);
    out->last = !http1_keep_alive(request->head) ||
                (has_content(out->status) && (out->framing == FRAMING_CLOSE || o.announce != FLAG_NONE));

    struct buf variant = {0};
    put_variant(&variant, request->head, o.vary);
    struct body_object object = body_object(path, o.version, o.size, buf_span(&variant));
    bool failed = variant.failed;
    buf_fini(&variant);
    out->seed = object.seed;
    int64_t lifetime_s = is_shareable(request, &o, out) ? shared_lifetime_s(&o) : 0;
    out->fresh_until_s = lifetime_s > 0 ? request->now_s + (int64_t)(out->delay_ms / 1000) + lifetime_s : 0;
    put_head(request, &o, &v, &object, out);
    if (request->head->method == METHOD_HEAD) {
        out->end = out->at;
        out->framing = FRAMING_LENGTH;
    }
    return failed || out->head.failed ? ERR_NOMEM : 0;
}

int origin_reply_text(struct origin_reply *out, int status, const char *type, struct span text,
                      bool head_only, bool last)
{
    struct buf *head = &out->head;
    *out = (struct origin_reply){
        .head = *head, .status = status, .cut = FLAG_NONE, .stall = FLAG_NONE, .last = last};
    buf_printf(head, "HTTP/1.1 %d %.*s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n", status,
               SPAN_FMT(http_reason(status)), type);
    buf_printf(head, "Content-Length: %zu\r\n%s\r\n", text.len, last ? "Connection: close\r\n" : "");
    if (!head_only)
        buf_put_span(head, text);
    return head->failed ? ERR_NOMEM : 0;
}
