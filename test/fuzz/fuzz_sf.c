/* Structured fields from anybody: the parser ends, stays inside, and the walk agrees with the count. Each
 * line of the input is one field line; the first is read as an item too. */
#include <stdlib.h>

#include "common/check.h"
#include "common/sf.h"

enum { MAX_LINES = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_item(const struct sf_item *item, struct span all)
{
    const char *end = all.p + all.len;
    REQUIRE(item->text.len == 0 || (item->text.p >= all.p && item->text.p + item->text.len <= end));
    REQUIRE(item->number >= -INT64_C(999999999999999) && item->number <= INT64_C(999999999999999));
    struct span rest = item->parameters;
    struct sf_member parameter;
    size_t left = rest.len + 1;
    while (sf_parameter_next(&rest, &parameter)) {
        REQUIRE(rest.len < left && parameter.key.len > 0 && parameter.value.type != SF_INNER_LIST);
        left = rest.len;
    }
    REQUIRE(rest.len == 0); /* what was valid as a whole is so in parts */
    if (item->type == SF_STRING) {
        char *copy = malloc(item->text.len + 1);
        REQUIRE(copy != NULL && sf_string_copy(item, copy) <= item->text.len);
        free(copy);
    }
    if (item->type == SF_INNER_LIST) {
        struct sf_item inner;
        for (rest = item->text; sf_inner_next(&rest, &inner);)
            check_item(&inner, all);
        REQUIRE(rest.len == 0);
    }
}

static void check_field(const struct http_head *h, enum sf_kind kind, struct span all)
{
    struct sf_it it = {0};
    struct sf_member m;
    int n = sf_count(h, SPAN("x"), kind);
    if (n < 0)
        return;
    for (; sf_next(h, SPAN("x"), kind, &it, &m); n--) {
        REQUIRE((m.key.len > 0) == (kind == SF_DICTIONARY));
        check_item(&m.value, all);
    }
    REQUIRE(n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field fields[MAX_LINES];
    struct http_head head = {.fields = fields};
    char *exact = malloc(size + 1); /* the end of the input is the end of the allocation */
    REQUIRE(exact != NULL);
    if (size > 0)
        memcpy(exact + 1, data, size);
    struct span all = {exact + 1, size}, rest = all;
    do {
        const char *newline = rest.len > 0 ? memchr(rest.p, '\n', rest.len) : NULL;
        size_t n = newline != NULL ? (size_t)(newline - rest.p) : rest.len;
        fields[head.n_fields++] = (struct http_field){.name = SPAN("X"), .value = {rest.p, n}};
        rest = span_from(rest, n + 1);
    } while (rest.len > 0 && head.n_fields < MAX_LINES);

    struct sf_item item;
    if (sf_item_parse(fields[0].value, &item))
        check_item(&item, all);
    check_field(&head, SF_LIST, all);
    check_field(&head, SF_DICTIONARY, all);
    free(exact);
    return 0;
}
