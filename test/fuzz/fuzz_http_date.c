#include <stdlib.h>

#include "common/check.h"
#include "common/http_date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever parses, formats to a date that parses to the same time; and no two-digit year is far ahead. */
static void check(struct span in, int64_t now_s)
{
    char out[HTTP_DATE_BYTES];
    int64_t at_s, back_s;
    if (!http_date_parse(in, now_s, &at_s))
        return;
    http_date_format(out, at_s);
    /* a leap second at the end of the year 9999 is the one time that has no four digits of a year */
    REQUIRE(http_date_parse((struct span){out, sizeof out}, now_s, &back_s));
    REQUIRE(back_s == at_s || at_s == INT64_C(253402300800));
    if (memchr(in.p, '-', in.len) != NULL)
        REQUIRE(at_s <= now_s + INT64_C(51) * 366 * 86400);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t nows_s[] = {0, 951782400, 1709164800, INT64_C(4070908800)};
    char *exact = malloc(size + 1); /* the end of the input is the end of the allocation */
    REQUIRE(exact != NULL);
    if (size > 0)
        memcpy(exact + 1, data, size);
    for (size_t i = 0; i < ARRAY_LEN(nows_s); i++)
        check((struct span){exact + 1, size}, nows_s[i]);
    free(exact);
    return 0;
}
