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

static void check_settled(struct span in)
{
    struct http_range_spec specs[CAP];
    struct http_range left[CAP];
    int n = http_range_parse(in, specs, CAP);
    int n_left = http_range_settle(specs, n > 0 ? n : 0, 1000, left);
    uint64_t bytes = 0;
    REQUIRE(n_left <= CAP);
    for (int i = 0; i < n_left; i++) {
        REQUIRE(left[i].first <= left[i].last && left[i].last < 1000);
        bytes += left[i].last - left[i].first + 1;
    }
    REQUIRE(bytes <= 1000);
}

static void check_content_range(struct span in)
{
    uint64_t first, last, length;
    bool unsatisfied;
    if (http_content_range_parse(in, &first, &last, &length, &unsatisfied) && !unsatisfied)
        REQUIRE(first <= last && last < length);
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
