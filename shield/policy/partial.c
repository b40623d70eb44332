#include "shield/policy/partial.h"

#include "common/http_range.h"

bool policy_may_resume(const struct http_head *response, const struct validators *v)
{
    if (response->status != 200 || !policy_is_strong(v))
        return false;
    return v->etag.len > 0 || http_has(response, FIELD_DATE); /* the stored head has a Date of ours else */
}

static bool has_same_validator(const struct validators *first, const struct http_head *answer, int64_t now_s)
{
    struct validators v;
    validators_of(answer, now_s, &v);
    if (first->etag.len > 0)
        return span_eq(first->etag, v.etag); /* strong as it is */
    v.etag = (struct span){0};               /* what the first did not have tells nothing */
    return policy_is_strong(&v) && v.last_modified_s == first->last_modified_s;
}

static bool has_same_coding(const struct part_wanted *want, const struct http_head *answer)
{
    uint32_t then = http_count(want->first, FIELD_CONTENT_ENCODING);
    uint32_t now = http_count(answer, FIELD_CONTENT_ENCODING);
    if (now == 0)
        return then == 0 || want->validators->etag.len > 0;
    return then == 1 && now == 1 &&
           span_eq_nocase(http_value(want->first, FIELD_CONTENT_ENCODING),
                          http_value(answer, FIELD_CONTENT_ENCODING));
}

static bool is_multipart(const struct http_head *answer)
{
    struct span type = http_value(answer, FIELD_CONTENT_TYPE), prefix = SPAN("multipart/byteranges");
    return type.len >= prefix.len && span_eq_nocase((struct span){type.p, prefix.len}, prefix);
}

const char *policy_part_refusal(const struct part_wanted *want, const struct http_head *answer,
                                uint64_t content_length, int64_t now_s, struct part *out)
{
    uint64_t first, last, length;
    bool unsatisfied;
    if (answer->status != 206)
        return "the answer is no 206";
    if (is_multipart(answer))
        return "the 206 is of many parts";
    if (http_count(answer, FIELD_CONTENT_RANGE) != 1 ||
        !http_content_range_parse(http_value(answer, FIELD_CONTENT_RANGE), &first, &last, &length,
                                  &unsatisfied) ||
        unsatisfied)
        return "the 206 has no valid Content-Range";
    if (first != want->from)
        return "the 206 begins elsewhere";
    if (length == UINT64_MAX || (want->length != UINT64_MAX && length != want->length))
        return "the 206 is of another length";
    if (content_length != UINT64_MAX && content_length != last - first + 1)
        return "the 206 does not agree with its own range";
    if (!has_same_validator(want->validators, answer, now_s))
        return "the validator has changed or is missing";
    if (!has_same_coding(want, answer))
        return "the content coding has changed";
    *out = (struct part){.end = last + 1, .length = length};
    return NULL;
}
