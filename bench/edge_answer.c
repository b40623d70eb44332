#include "bench/edge_answer.h"

#include <stdio.h>

#include "bench/body.h"
#include "bench/edge_request.h"
#include "common/clock.h"
#include "common/http_range.h"
#include "common/units.h"

enum { MAX_FIELDS = 256 };

static const struct http1_limits limits = {.max_head = 65536,
                                           .max_fields = MAX_FIELDS,
                                           .max_url = 16384,
                                           .max_chunk_ext = 1024,
                                           .max_trailers = 8192};

static void blame(struct edge *e, enum edge_error fault)
{
    if (e->fault == EDGE_OK)
        e->fault = fault;
}

/* ---- Cache-Status */

/* The next ";name=value" of a list member; an inner ';' of a quoted string would be split, which no parameter
 * that we ask for contains. */
static bool next_parameter(struct span *rest, struct span *out)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->p, ';', rest->len);
    *out = span_trim((struct span){rest->p, end != NULL ? (size_t)(end - rest->p) : rest->len});
    *rest = end != NULL ? span_from(*rest, (size_t)(end - rest->p) + 1) : (struct span){0};
    return true;
}

enum edge_cache edge_cache_of(const struct http_head *head, struct span *member)
{
    struct http_list_it it = {0};
    struct span item, parameter;
    bool found = false;
    while (http_list_each(head, FIELD_CACHE_STATUS, &it, &item)) {
        *member = item;
        found = true;
    }
    if (!found)
        return CACHE_NONE;
    enum edge_cache cache = CACHE_OTHER;
    struct span rest = *member;
    (void)next_parameter(&rest, &parameter); /* the name of the cache, which may be called anything */
    while (next_parameter(&rest, &parameter)) {
        if (span_eq(parameter, SPAN("hit")))
            return CACHE_HIT;
        if (span_eq(parameter, SPAN("collapsed")))
            return CACHE_COLLAPSED;
        if (span_eq(parameter, SPAN("fwd=stale")))
            cache = CACHE_STALE;
        else if (span_eq(parameter, SPAN("fwd=miss")) || span_eq(parameter, SPAN("fwd=uri-miss")) ||
                 span_eq(parameter, SPAN("fwd=vary-miss")))
            cache = CACHE_MISS;
    }
    return cache;
}

static void note_cache(struct edge *e, const struct http_head *head)
{
    struct edges_report *r = &e->thread->report;
    struct span member = {0};
    e->cache = edge_cache_of(head, &member);
    r->caches[e->cache]++;
    if (member.len > 0 && r->cache_status[0] == '\0')
        snprintf(r->cache_status, sizeof r->cache_status, "%.*s", SPAN_FMT(member));
}

/* ---- the head */

static bool is_expected(const struct edges_config *config, int status)
{
    return config->expect > 0 ? (uint64_t)status == config->expect : status >= 200 && status < 300;
}

/* The simulator's Set-Cookie has another value in each answer: one that comes twice went to two clients. */
static void check_cookie(struct edge *e, const struct http_head *head)
{
    const struct http_field *field = http_find_name(head, SPAN("Set-Cookie"));
    _Atomic uint64_t *seen = e->thread->run->cookies;
    uint64_t serial;
    if (seen == NULL || field == NULL || !span_starts(field->value, SPAN("bench=")) ||
        !units_parse_uint(span_from(field->value, 6), &serial))
        return;
    serial %= EDGE_COOKIES;
    uint64_t bit = UINT64_C(1) << serial % 64;
    if (atomic_fetch_or_explicit(&seen[serial / 64], bit, memory_order_relaxed) & bit)
        blame(e, EDGE_COOKIE);
}

/* Does the answer vary by nothing but the field whose values take turns? Then its value selects the variant,
 * and `variant` is what the origin makes of it. */
static bool put_own_variant(const struct edge *e, const struct http_head *head, struct buf *variant)
{
    struct span name, value, varies, other;
    struct http_list_it it = {0};
    if (!edge_request_variant(e, &name, &value) || !http_list_each(head, FIELD_VARY, &it, &varies) ||
        !span_eq_nocase(varies, name) || http_list_each(head, FIELD_VARY, &it, &other))
        return false;
    buf_put_span(variant, value);
    buf_put_lit(variant, "\n");
    return true;
}

/* The object of this request, as the origin makes it. False: the seed is only known from the answer, which
 * varies by fields that a proxy may have normalised. */
static bool make_own(struct edge *e, const struct http_head *head, const struct body_object *said,
                     struct body_object *own)
{
    struct buf path = {0}, variant = {0};
    bool is_known = put_own_variant(e, head, &variant) || !http_has(head, FIELD_VARY);
    target_put_path(&e->thread->run->target, e->n, &path);
    *own = body_object(body_path(buf_span(&path)), said->version, said->size, buf_span(&variant));
    if (path.failed || variant.failed)
        blame(e, EDGE_MEMORY);
    buf_fini(&path);
    buf_fini(&variant);
    return is_known;
}

/* What bytes must follow? */
static void expect_object(struct edge *e, const struct http_head *head)
{
    const struct http_field *field = http_find_name(head, SPAN(BODY_FIELD));
    struct body_object said, own;
    if (field == NULL || !body_parse_field(field->value, &said)) {
        blame(e, EDGE_UNVERIFIABLE);
        return;
    }
    bool knows_seed = make_own(e, head, &said, &own);
    if (own.key != said.key || (knows_seed && own.seed != said.seed))
        blame(e, EDGE_WRONG_BODY);
    if (said.version < e->floor)
        blame(e, EDGE_OUTDATED);

    uint64_t first = 0, last = 0, length = 0;
    bool unsatisfied = false;
    e->seed = said.seed;
    e->offset = 0;
    e->want = said.size;
    e->verifies = true;
    if (head->status != 206)
        return;
    if (!http_content_range_parse(http_value(head, FIELD_CONTENT_RANGE), &first, &last, &length,
                                  &unsatisfied) ||
        unsatisfied) {
        blame(e, EDGE_PROTOCOL);
        return;
    }
    if ((e->asks_range && (first != e->range_first || last > e->range_last)) ||
        (length != UINT64_MAX && length != said.size))
        blame(e, EDGE_WRONG_BODY);
    e->offset = first;
    e->want = last - first + 1;
}

/* Sent before the origin answered the fetch that this answer comes from: it has waited for it. What a clock
 * of another machine says is not believed. */
static void note_fetch(struct edge *e, const struct http_head *head)
{
    const struct http_field *field = http_find_name(head, SPAN(WAITS_FIELD));
    uint64_t fetch, sent_ns;
    if (field != NULL && waits_parse_field(field->value, &fetch, &sent_ns) &&
        sent_ns >= e->thread->run->began_ns && sent_ns <= clock_ns(CLOCK_MONOTONIC) && e->asked_ns < sent_ns)
        e->fetch = fetch;
}

static void judge_head(struct edge *e, const struct http_head *head)
{
    const struct edges_config *config = e->thread->run->config;
    e->status = head->status;
    if (head->status >= 0 && head->status < 600)
        e->thread->report.statuses[head->status]++;
    note_cache(e, head);
    if (!is_expected(config, head->status))
        blame(e, EDGE_STATUS);
    if (head->status == 206 && !edge_request_asks_part(e))
        blame(e, EDGE_PROTOCOL); /* RFC 9110 section 15.3.7: whoever did not ask takes it for the whole */
    check_cookie(e, head);
    if (e->asked_ns > 0)
        note_fetch(e, head);
    if (e->fault == EDGE_OK && config->verify && config->method == EDGE_GET &&
        (head->status == 200 || head->status == 206))
        expect_object(e, head);
}

/* One head off p[0..len), which is whole or grows with each call. */
static enum edge_answer_status take_head(struct edge *e, const char *p, size_t len, size_t *used)
{
    struct http_field fields[MAX_FIELDS];
    struct http_head head = {.fields = fields, .cap_fields = MAX_FIELDS};
    struct http1_result r = http1_parse_response(&e->scan, p, len, &limits, &head);
    *used = 0;
    if (r.status == HTTP1_MORE)
        return ANSWER_MORE;
    enum http_method method = e->thread->run->config->method == EDGE_HEAD ? METHOD_HEAD : METHOD_GET;
    if (r.status == HTTP1_BAD || http1_body_for_response(&e->body, &head, method, &limits) != 0)
        return ANSWER_BAD;
    *used = r.head_bytes;
    e->scan = (struct http1_scan){0};
    if (head.status < 200)
        return head.status == 101 ? ANSWER_BAD : ANSWER_END;
    e->got_head = true;
    e->keep = http1_keep_alive(&head) && e->body.framing != BODY_UNTIL_CLOSE;
    judge_head(e, &head);
    return ANSWER_END;
}

/* Interim answers (RFC 9110 section 15.2), then the final one. */
static enum edge_answer_status take_heads(struct edge *e, const char *p, size_t len, size_t *used)
{
    *used = 0;
    while (!e->got_head) {
        size_t n = 0;
        enum edge_answer_status status = take_head(e, p + *used, len - *used, &n);
        if (status != ANSWER_END)
            return status;
        *used += n;
    }
    return ANSWER_END;
}

/* ---- the content */

static void note_first(struct edge *e)
{
    e->first_ns = clock_ns(CLOCK_MONOTONIC);
    if (e->fetch > 0)
        waits_first(e->thread->run->waits, &e->wait, e->fetch, e->first_ns);
}

static void take_data(struct edge *e, struct span data)
{
    if (e->first_ns == 0)
        note_first(e);
    if (e->verifies && !body_matches(e->seed, e->offset, data.p, data.len))
        blame(e, EDGE_WRONG_BODY);
    e->offset += data.len;
    e->received += data.len;
    if (e->half_ns == 0 && e->verifies && e->received >= e->want / 2)
        e->half_ns = clock_ns(CLOCK_MONOTONIC);
}

static enum edge_answer_status take_content(struct edge *e, const char *p, size_t len, size_t *used)
{
    enum http1_body_status status = e->body.framing == BODY_NONE ? BODY_END : BODY_DATA;
    *used = 0;
    while (status == BODY_DATA) {
        size_t n = 0;
        struct span data = {0};
        status = http1_body_feed(&e->body, p + *used, len - *used, &n, &data);
        *used += n;
        if (status == BODY_DATA)
            take_data(e, data);
    }
    return status == BODY_MORE ? ANSWER_MORE : status == BODY_END ? ANSWER_END : ANSWER_BAD;
}

static enum edge_answer_status feed(struct edge *e, const char *p, size_t len, size_t *used)
{
    size_t of_head = 0;
    *used = 0;
    if (!e->got_head) {
        enum edge_answer_status status = take_heads(e, p, len, &of_head);
        *used = of_head;
        if (status != ANSWER_END)
            return status;
    }
    enum edge_answer_status status = take_content(e, p + of_head, len - of_head, used);
    *used += of_head;
    return status;
}

enum edge_answer_status edge_answer_feed(struct edge *e, const char *p, size_t len, size_t *used)
{
    if (e->got_head || e->in.len == 0) {
        enum edge_answer_status status = feed(e, p, len, used);
        if (status == ANSWER_MORE && !e->got_head) {
            buf_put(&e->in, p + *used, len - *used);
            *used = len;
        }
        return e->in.failed ? ANSWER_BAD : status;
    }
    size_t before = e->in.len;
    buf_put(&e->in, p, len);
    if (e->in.failed)
        return ANSWER_BAD;
    enum edge_answer_status status = feed(e, e->in.p, e->in.len, used);
    if (e->got_head) {
        *used = *used > before ? *used - before : 0;
        buf_fini(&e->in);
    } else {
        buf_consume(&e->in, *used);
        *used = len;
    }
    return status;
}

void edge_answer_end(struct edge *e)
{
    if (e->first_ns == 0)
        note_first(e);
    if (e->verifies && e->received < e->want)
        blame(e, EDGE_TRUNCATED);
    else if (e->verifies && e->received > e->want)
        blame(e, EDGE_WRONG_BODY);
}
