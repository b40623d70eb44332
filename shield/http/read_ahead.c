#include "shield/http/read_ahead.h"

#include "common/check.h"

void read_ahead_init(struct read_ahead *a, const struct http1_body *running)
{
    *a = (struct read_ahead){.in_content = running != NULL};
    if (running != NULL)
        a->body = *running;
}

/* Gives how many bytes it took, 0 when it needs more. */
static size_t step_over_content(struct read_ahead *a, const char *p, size_t len)
{
    size_t used = 0;
    struct span data;
    switch (http1_body_feed(&a->body, p, len, &used, &data)) {
    case BODY_END:
        a->in_content = false;
        break;
    case BODY_BAD:
        a->is_over = true;
        break;
    case BODY_DATA:
    case BODY_MORE:
        break;
    }
    return used;
}

static size_t count_head(struct read_ahead *a, const char *p, size_t len, const struct http1_limits *limits,
                         struct http_field *fields)
{
    struct http_head head = {.fields = fields, .cap_fields = limits->max_fields};
    struct http1_result r = http1_parse_request(&a->scan, p, len, limits, &head);
    if (r.status == HTTP1_MORE)
        return 0;
    a->scan = (struct http1_scan){0};
    a->is_over = r.status == HTTP1_BAD || http1_body_for_request(&a->body, &head, limits) != 0;
    if (a->is_over)
        return 0;
    a->requests++;
    a->in_content = true; /* which may be none: its end is found by the next step */
    return r.head_bytes;
}

void read_ahead_count(struct read_ahead *a, const char *p, size_t len, const struct http1_limits *limits,
                      struct http_field *fields, uint32_t most)
{
    REQUIRE(a->counted <= len);
    while (!a->is_over && a->requests < most) {
        bool was_in_content = a->in_content;
        const char *at = p + a->counted;
        size_t left = len - a->counted;
        size_t used =
            was_in_content ? step_over_content(a, at, left) : count_head(a, at, left, limits, fields);
        a->counted += used;
        if (used == 0 && a->in_content == was_in_content)
            return;
    }
}

bool read_ahead_take(struct read_ahead *a, size_t bytes, uint32_t requests)
{
    if (bytes > a->counted || requests > a->requests)
        return false;
    a->counted -= bytes;
    a->requests -= requests;
    return true;
}
