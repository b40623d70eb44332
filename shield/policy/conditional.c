#include "shield/policy/conditional.h"

#include "common/http_date.h"
#include "common/http_range.h"

/* How many bytes of s are an entity-tag (RFC 9110 section 8.8.3); 0 when it does not start with one. A
 * backslash is a byte like others there: this is no quoted-string. */
static size_t entity_tag_bytes(struct span s)
{
    size_t open = span_starts(s, SPAN("W/")) ? 2 : 0;
    if (s.len <= open || s.p[open] != '"')
        return 0;
    for (size_t i = open + 1; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"')
            return i + 1;
        if (c < 0x21 || c == 0x7f)
            return 0;
    }
    return 0;
}

static bool is_entity_tag(struct span s)
{
    return s.len > 0 && entity_tag_bytes(s) == s.len;
}

bool policy_etag_is_strong(struct span etag)
{
    return is_entity_tag(etag) && etag.p[0] == '"';
}

/* RFC 9110 section 8.8.3.2. Both are entity-tags. */
static bool weakly_equal(struct span a, struct span b)
{
    return span_eq(a.p[0] == 'W' ? span_from(a, 2) : a, b.p[0] == 'W' ? span_from(b, 2) : b);
}

/* The date in the only field with `id`; -1 when there is none, no valid one, or more than one. */
static int64_t date_of(const struct http_head *head, enum http_field_id id, int64_t now_s)
{
    int64_t at_s;
    if (!http_has(head, id) || http_count(head, id) != 1)
        return -1;
    if (!http_date_parse(http_value(head, id), now_s, &at_s) || at_s < 0)
        return -1;
    return at_s;
}

void validators_of(const struct http_head *response, int64_t now_s, struct validators *out)
{
    *out = (struct validators){.status = response->status};
    struct span etag = http_value(response, FIELD_ETAG);
    if (is_entity_tag(etag) && http_count(response, FIELD_ETAG) == 1)
        out->etag = etag;
    out->last_modified_s = date_of(response, FIELD_LAST_MODIFIED, now_s);
    if (out->last_modified_s >= 0)
        out->last_modified = http_value(response, FIELD_LAST_MODIFIED);
    out->date_s = date_of(response, FIELD_DATE, now_s);
}

/* Whether one of the tags in a line of If-None-Match is `etag`. What is no tag matches nothing. */
static bool line_names_tag(struct span line, struct span etag)
{
    while (line.len > 0) {
        size_t n = entity_tag_bytes(line);
        struct span tag = {line.p, n};
        line = span_trim(span_from(line, n));
        bool is_whole = n > 0 && (line.len == 0 || line.p[0] == ',');
        if (is_whole && weakly_equal(tag, etag))
            return true;
        const char *comma = line.len > 0 ? memchr(line.p, ',', line.len) : NULL;
        line = comma != NULL ? span_trim(span_from(line, (size_t)(comma - line.p) + 1)) : (struct span){0};
    }
    return false;
}

/* RFC 9110 section 13.1.2: whether If-None-Match names the stored response. */
static bool names_stored(const struct http_head *request, const struct validators *v)
{
    if (http_count(request, FIELD_IF_NONE_MATCH) == 1 &&
        span_eq(http_value(request, FIELD_IF_NONE_MATCH), SPAN("*")))
        return true;
    if (v->etag.len == 0)
        return false;
    for (uint32_t i = 0; i < request->n_fields; i++)
        if (request->fields[i].id == FIELD_IF_NONE_MATCH && line_names_tag(request->fields[i].value, v->etag))
            return true;
    return false;
}

/* RFC 9110 section 13.1.3; without Last-Modified the Date stands in for it (RFC 9111 section 4.3.2). */
static bool is_unmodified_since(const struct http_head *request, const struct validators *v)
{
    int64_t changed_s = v->last_modified_s >= 0 ? v->last_modified_s : v->date_s;
    int64_t since_s = date_of(request, FIELD_IF_MODIFIED_SINCE, changed_s);
    return changed_s >= 0 && since_s >= 0 && changed_s <= since_s;
}

enum condition policy_condition(const struct http_head *request, const struct validators *v)
{
    if (request->method != METHOD_GET && request->method != METHOD_HEAD)
        return CONDITION_SEND;
    if (v->status < 200 || v->status > 299) /* RFC 9110 section 13.2.1 */
        return CONDITION_SEND;
    bool is_known;
    if (http_has(request, FIELD_IF_NONE_MATCH))
        is_known = names_stored(request, v);
    else
        is_known = http_has(request, FIELD_IF_MODIFIED_SINCE) && is_unmodified_since(request, v);
    return is_known ? CONDITION_NOT_MODIFIED : CONDITION_SEND;
}

bool policy_has_origin_condition(const struct http_head *request)
{
    return http_has(request, FIELD_IF_MATCH) || http_has(request, FIELD_IF_UNMODIFIED_SINCE);
}

static bool is_date_strong(const struct validators *v)
{
    return v->last_modified_s >= 0 && v->date_s > v->last_modified_s;
}

bool policy_is_strong(const struct validators *v)
{
    return v->etag.len > 0 ? policy_etag_is_strong(v->etag) : is_date_strong(v);
}

/* RFC 9110 section 13.1.5: an exact match of a strong validator. */
static bool if_range_holds(const struct http_head *request, const struct validators *v)
{
    if (!http_has(request, FIELD_IF_RANGE))
        return true;
    if (http_count(request, FIELD_IF_RANGE) != 1)
        return false;
    struct span value = http_value(request, FIELD_IF_RANGE);
    if (is_entity_tag(value))
        return policy_etag_is_strong(value) && span_eq(value, v->etag);
    int64_t date_s = date_of(request, FIELD_IF_RANGE, v->last_modified_s);
    return is_date_strong(v) && date_s == v->last_modified_s;
}

int policy_wants_ranges(const struct http_head *request, const struct validators *v,
                        struct http_range_spec *out, int cap)
{
    if (request->method != METHOD_GET || v->status != 200 || http_count(request, FIELD_RANGE) != 1)
        return 0; /* section 14.2 */
    return if_range_holds(request, v) ? http_range_parse(http_value(request, FIELD_RANGE), out, cap) : 0;
}
