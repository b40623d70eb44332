/* Cache-Control from anybody: it ends, stays in range, and nothing that is written hides a restriction behind
 * it. Each line of the input is one field line. */
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/policy/cache_control.h"

enum { MAX_LINES = 64 };

static void require_in_range(int64_t seconds)
{
    REQUIRE(seconds >= CC_ABSENT && seconds <= CC_DELTA_MAX);
}

static void read_all(struct http_field *fields, uint32_t n, struct cache_control *cc)
{
    struct http_head head = {.fields = fields, .n_fields = n, .present = UINT64_C(1) << FIELD_CACHE_CONTROL};
    cache_control_read(&head, cc);
    require_in_range(cc->max_age_s);
    require_in_range(cc->s_maxage_s);
    require_in_range(cc->stale_while_revalidate_s);
    require_in_range(cc->stale_if_error_s);
    require_in_range(cc->min_fresh_s);
    require_in_range(cc->max_stale_s);
}

static void walk(struct span line)
{
    struct cc_directive d;
    size_t left = line.len;
    const char *end = line.p + line.len;
    while (cache_control_next(&line, &d)) {
        REQUIRE(line.len < left || left == 0);
        left = line.len;
        REQUIRE(d.name.p >= end - 65536 && d.name.p + d.name.len <= end);
        REQUIRE(d.argument.len == 0 || d.argument.p + d.argument.len <= end);
        REQUIRE(!d.is_open || d.is_malformed);
    }
}

/* A restriction written behind a line, or in a line of its own, is seen whatever that line holds. */
static void require_no_hiding(struct http_field *fields, uint32_t n)
{
    static const char behind[] = ", no-store, max-age=0";
    struct span line = fields[n - 1].value;
    struct cache_control cc;
    char *longer = malloc(line.len + sizeof behind);
    REQUIRE(longer != NULL);
    memcpy(longer, line.p, line.len);
    memcpy(longer + line.len, behind, sizeof behind - 1);
    fields[n - 1].value = (struct span){longer, line.len + sizeof behind - 1};
    read_all(fields, n, &cc);
    REQUIRE((cc.flags & CC_NO_STORE) && cc.max_age_s == 0);
    free(longer);
    fields[n - 1].value = line;

    fields[n] = (struct http_field){.id = FIELD_CACHE_CONTROL, .value = SPAN("private,s-maxage=x")};
    read_all(fields, n + 1, &cc);
    REQUIRE((cc.flags & CC_PRIVATE) && cc.s_maxage_s == 0);
}

/* The same lines as a field that takes Cache-Control's place. */
static void read_as(enum http_field_id id, struct http_field *fields, uint32_t n)
{
    struct http_head head = {.fields = fields, .n_fields = n, .present = UINT64_C(1) << id};
    struct cache_control cc;
    for (uint32_t i = 0; i < n; i++)
        fields[i] = (struct http_field){.id = id, .name = http_field_name(id), .value = fields[i].value};
    enum http_field_id by = cache_control_govern(&head, &cc);
    REQUIRE(by == id || by == FIELD_CACHE_CONTROL);
    require_in_range(cc.max_age_s);
    require_in_range(cc.s_maxage_s);
    require_in_range(cc.stale_while_revalidate_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field fields[MAX_LINES + 1];
    struct cache_control cc;
    uint32_t n = 0;
    struct span rest = {(const char *)data, size};
    if (size > 65536)
        return 0;
    do {
        const char *newline = rest.len > 0 ? memchr(rest.p, '\n', rest.len) : NULL;
        size_t len = newline != NULL ? (size_t)(newline - rest.p) : rest.len;
        struct span line = span_trim((struct span){rest.p, len});
        fields[n++] = (struct http_field){.id = FIELD_CACHE_CONTROL, .value = line};
        if (line.len > 0)
            walk(line);
        rest = (struct span){rest.p + len + (newline != NULL), rest.len - len - (newline != NULL)};
    } while (rest.len > 0 && n < MAX_LINES);
    read_all(fields, n, &cc);
    if (size > 0)
        require_no_hiding(fields, n);
    read_as(FIELD_CDN_CACHE_CONTROL, fields, n);
    read_as(FIELD_SURROGATE_CONTROL, fields, n);
    return 0;
}
