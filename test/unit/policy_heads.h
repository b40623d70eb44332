/* policy_heads - heads for the policy's tests, written as lines. */
#ifndef TEST_UNIT_POLICY_HEADS_H
#define TEST_UNIT_POLICY_HEADS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/http_head.h"
#include "shield/ops/config.h"

#define NOW_S         INT64_C(1700000000)
#define NOW_MS        (NOW_S * 1000)
#define DATE_NOW      "Tue, 14 Nov 2023 22:13:20 GMT"
#define DATE_PLUS_60  "Tue, 14 Nov 2023 22:14:20 GMT"
#define DATE_MINUS_1K "Tue, 14 Nov 2023 21:56:40 GMT"
#define DATE_MINUS_1Y "Mon, 14 Nov 2022 22:13:20 GMT"

struct test_head {
    struct http_head head;
    struct http_field fields[160];
};

/* `lines` is "Name: value", each with \n behind it. */
static inline void add_lines(struct test_head *t, const char *lines)
{
    t->head.fields = t->fields;
    t->head.cap_fields = sizeof t->fields / sizeof t->fields[0];
    while (*lines != '\0') {
        const char *end = strchr(lines, '\n'), *colon = strchr(lines, ':');
        assert_non_null(end);
        assert_true(colon != NULL && colon < end);
        assert_true(t->head.n_fields < t->head.cap_fields);
        struct http_field *f = &t->fields[t->head.n_fields++];
        f->name = (struct span){lines, (size_t)(colon - lines)};
        f->value = span_trim((struct span){colon + 1, (size_t)(end - colon - 1)});
        f->id = http_field_id(f->name);
        if (f->id != FIELD_OTHER)
            t->head.present |= UINT64_C(1) << f->id;
        lines = end + 1;
    }
}

static inline const struct http_head *response_head(struct test_head *t, int status, const char *lines)
{
    *t = (struct test_head){.head = {.status = status, .minor = 1}};
    t->head.reason = http_reason(status);
    add_lines(t, lines);
    return &t->head;
}

static inline const struct http_head *request_head(struct test_head *t, const char *method, const char *lines)
{
    *t = (struct test_head){.head = {.minor = 1}};
    t->head.method_text = span_of(method);
    t->head.method = http_method_id(t->head.method_text);
    t->head.target = SPAN("/a?b");
    add_lines(t, lines);
    return &t->head;
}

/* The defaults that the policy reads. */
static inline struct config policy_config(void)
{
    struct config c = {
        .node_id = (char *)"shield",
        .node_pseudonym = (char *)"shield-host-1",
        .origins = {{.name = (char *)"default"}},
        .cache = {.set_cookie = SET_COOKIE_REFUSE, .heuristic = true, .normalise_encoding = true},
    };
    config_route_defaults(&c, &c.fallback);
    return c;
}

/* The bytes of `b` as a string that lives until the next call. */
static inline const char *text_of(const struct buf *b)
{
    static char text[16384];
    assert_false(b->failed);
    assert_true(b->len < sizeof text);
    if (b->len > 0)
        memcpy(text, b->p, b->len);
    text[b->len] = '\0';
    return text;
}

#endif
