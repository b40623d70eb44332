/* Keys of anybody's requests: what goes upstream has the very key that it was asked under, so that a shield
 * behind a shield, and an origin that looks at nothing else, see one request for one key. The first line of
 * the input is the target, the others are lines of Cookie. */
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shield/policy/key_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_LINES = 16 };

static char utm[] = "utm_*", b_x[] = "b*x", a_any[] = "a*", empty[] = "", plan[] = "plan", lang[] = "l";
static char *ignored[] = {utm, b_x}, *allowed[] = {a_any, b_x, empty}, *cookies[] = {plan, lang};

static const struct config_route routes[] = {
    {.key = {.cookies = {cookies, 2}}},
    {.key = {.drop_query = true}},
    {.key = {.sort_query = true}},
    {.key = {.query_ignore = {ignored, 2}, .sort_query = true, .cookies = {cookies, 2}}},
    {.key = {.query_allow = {allowed, 3}}},
};

static struct config cfg = {.origins = {{.name = (char *)"o"}}};

static void put_key(struct buf *out, const struct config_route *route, const struct http_head *head,
                    struct span target)
{
    struct key_request r = {.config = &cfg, .route = route, .head = head, .target = {SPAN("h"), target}};
    if (!policy_key(out, &r))
        out->len = 0;
    REQUIRE(!out->failed);
}

/* The key of what is sent upstream under `key`. */
static void check_upstream(const struct config_route *route, const struct http_head *head,
                           const struct buf *key)
{
    struct buf line = {0}, again = {0};
    struct http_field field = {SPAN("Cookie"), SPAN(""), FIELD_COOKIE};
    struct http_head sent = {.fields = &field};
    policy_put_keyed_cookies(&line, route, head);
    if (line.len > 0) {
        field.value = (struct span){line.p + 8, line.len - 10};
        sent.n_fields = 1;
        sent.present = UINT64_C(1) << FIELD_COOKIE;
    }
    put_key(&again, route, route->key.cookies.n > 0 ? &sent : head, policy_key_path_query(buf_span(key)));
    REQUIRE(span_eq(buf_span(key), buf_span(&again)));
    buf_fini(&line);
    buf_fini(&again);
}

/* Where nothing is left out, two keys are one only when the two requests are. */
static void check_apart(const struct http_head *head, struct span one, struct span other)
{
    struct buf a = {0}, b = {0};
    put_key(&a, &routes[0], head, one);
    put_key(&b, &routes[0], head, other);
    REQUIRE(a.len == 0 || b.len == 0 || span_eq(buf_span(&a), buf_span(&b)) == span_eq(one, other));
    buf_fini(&a);
    buf_fini(&b);
}

static uint32_t take_lines(char *p, size_t n, struct span lines[MAX_LINES])
{
    struct span rest = {p, n};
    uint32_t taken = 0;
    while (taken < MAX_LINES) {
        const char *end = rest.len > 0 ? memchr(rest.p, '\n', rest.len) : NULL;
        lines[taken++] = (struct span){rest.p, end != NULL ? (size_t)(end - rest.p) : rest.len};
        if (end == NULL)
            break;
        rest = span_from(rest, lines[taken - 1].len + 1);
    }
    return taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size + 1); /* the end of the input is the end of the allocation */
    struct span lines[MAX_LINES];
    struct http_field fields[MAX_LINES];
    REQUIRE(exact != NULL);
    if (size > 0)
        memcpy(exact + 1, data, size);
    uint32_t n = take_lines(exact + 1, size, lines);
    struct http_head head = {.fields = fields, .n_fields = n - 1};
    for (uint32_t i = 1; i < n; i++)
        fields[i - 1] = (struct http_field){SPAN("Cookie"), span_trim(lines[i]), FIELD_COOKIE};
    if (n > 1)
        head.present = UINT64_C(1) << FIELD_COOKIE;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        struct buf key = {0};
        put_key(&key, &routes[i], &head, lines[0]);
        if (key.len > 0)
            check_upstream(&routes[i], &head, &key);
        buf_fini(&key);
    }
    check_apart(&head, lines[0], lines[n - 1]);
    free(exact);
    return 0;
}
