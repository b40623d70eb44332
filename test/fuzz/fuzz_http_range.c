#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/http_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CAP = 4 };

static void check_range(struct span in)
{
    static const uint64_t lengths[] = {0, 1, 1000, UINT64_MAX};
    struct http_range_spec specs[CAP];
    int n = http_range_parse(in, specs, CAP);
    REQUIRE(n >= -1 && n <= CAP);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < ARRAY_LEN(lengths); k++) {
            uint64_t first, last;
            REQUIRE(specs[i].is_suffix || specs[i].first <= specs[i].last);
            if (http_range_resolve(&specs[i], lengths[k], &first, &last))
                REQUIRE(first <= last && last < lengths[k]);
        }
}

enum { LENGTH = 1000 };

static void mark(bool wanted[LENGTH], uint64_t first, uint64_t last)
{
    REQUIRE(first <= last && last < LENGTH);
    for (uint64_t i = first; i <= last; i++)
        wanted[i] = true;
}

/* What is settled holds each byte that was asked for once, and no other. */
static void check_settled(struct span in)
{
    struct http_range_spec specs[CAP];
    struct http_range left[CAP];
    bool asked[LENGTH] = {0}, given[LENGTH] = {0};
    uint64_t first, last, bytes = 0, wanted = 0;
    int n = http_range_parse(in, specs, CAP);
    int n_left = http_range_settle(specs, n > 0 ? n : 0, LENGTH, left);
    REQUIRE(n_left <= CAP);
    for (int i = 0; i < n; i++)
        if (http_range_resolve(&specs[i], LENGTH, &first, &last))
            mark(asked, first, last);
    for (int i = 0; i < n_left; i++) {
        mark(given, left[i].first, left[i].last);
        bytes += left[i].last - left[i].first + 1;
    }
    for (size_t i = 0; i < LENGTH; i++) {
        REQUIRE(asked[i] == given[i]);
        wanted += asked[i];
    }
    REQUIRE(bytes == wanted);
}

static void check_content_range(struct span in)
{
    uint64_t first, last, length, again[3];
    bool unsatisfied;
    char out[96];
    if (!http_content_range_parse(in, &first, &last, &length, &unsatisfied) || unsatisfied)
        return;
    REQUIRE(first <= last && last < length);
    bool is_known = length != UINT64_MAX;
    int n = snprintf(out, sizeof out,
                     is_known ? "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 : "bytes %" PRIu64 "-%" PRIu64 "/*",
                     first, last, length);
    REQUIRE(http_content_range_parse((struct span){out, (size_t)n}, &again[0], &again[1], &again[2],
                                     &unsatisfied));
    REQUIRE(!unsatisfied && again[0] == first && again[1] == last && again[2] == length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size + 1); /* the end of the input is the end of the allocation */
    REQUIRE(exact != NULL);
    if (size > 0)
        memcpy(exact + 1, data, size);
    check_range((struct span){exact + 1, size});
    check_settled((struct span){exact + 1, size});
    check_content_range((struct span){exact + 1, size});
    free(exact);
    return 0;
}
