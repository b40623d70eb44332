/* Sitemaps from anybody: the reader ends, gives locations in order and within bounds, and says that one which
 * is good has broken off wherever it is cut before its last tag ends. */
#include <stdlib.h>

#include "common/check.h"
#include "shield/warm/sitemap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t n, bytes, stop_at;
};

static bool see(void *ctx, enum sitemap_item item, struct span url, size_t index)
{
    struct seen *s = ctx;
    REQUIRE(index == s->n++ && s->n <= s->stop_at);
    for (size_t i = 0; i < url.len; i++)
        s->bytes += url.p[i] != '\0';
    return s->n < s->stop_at;
}

/* The end of the input is the end of the allocation. */
static const char *read_exactly(const uint8_t *data, size_t size, struct seen *s)
{
    char *exact = malloc(size + 1);
    REQUIRE(exact != NULL);
    if (size > 0)
        memcpy(exact + 1, data, size);
    const char *why = sitemap_each((struct span){exact + 1, size}, see, s);
    free(exact);
    return why;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen all = {.stop_at = SIZE_MAX}, first = {.stop_at = 1}, cut = {.stop_at = SIZE_MAX};
    const char *why = read_exactly(data, size, &all);
    REQUIRE(all.bytes <= size);
    if (why != NULL)
        return 0;
    if (all.n > 0)
        REQUIRE(read_exactly(data, size, &first) == NULL && first.n == 1);
    size_t root_end = size; /* behind it come spaces, comments and instructions, or nothing */
    while (root_end > 0 && data[root_end - 1] != '>')
        root_end--;
    bool ends_in_tag = root_end >= 2 && data[root_end - 2] != '-' && data[root_end - 2] != '?';
    if (ends_in_tag)
        REQUIRE(read_exactly(data, root_end - 1, &cut) != NULL);
    return 0;
}
