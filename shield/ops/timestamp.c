#include "shield/ops/timestamp.h"

#include <string.h>

#include "common/check.h"

#define YEAR_0_MS     (-62167219200000)
#define YEAR_10000_MS 253402300800000

static void put_digits(char *out, unsigned n, unsigned value)
{
    while (n-- > 0) {
        out[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* The civil date of a day since 1970 (Howard Hinnant's days_from_civil, inverted): eras of 400 years from 1
 * March of year 0, so that a leap day is the last of its year. */
static void put_date(char *out, int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    unsigned doe = (unsigned)(z - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    unsigned month = mp < 10 ? mp + 3 : mp - 9;
    put_digits(out, 4, (unsigned)(era * 400 + yoe + (month <= 2)));
    put_digits(out + 5, 2, month);
    put_digits(out + 8, 2, doy - (153 * mp + 2) / 5 + 1);
}

void timestamp_format(char *out, int64_t wall_ms)
{
    wall_ms = MIN(MAX(wall_ms, YEAR_0_MS), YEAR_10000_MS - 1);
    int64_t days = wall_ms / 86400000, ms = wall_ms % 86400000;
    if (ms < 0) {
        ms += 86400000;
        days--;
    }
    memcpy(out, "0000-00-00T00:00:00.000Z", TIMESTAMP_BYTES);
    put_date(out, days);
    put_digits(out + 11, 2, (unsigned)(ms / 3600000));
    put_digits(out + 14, 2, (unsigned)(ms / 60000 % 60));
    put_digits(out + 17, 2, (unsigned)(ms / 1000 % 60));
    put_digits(out + 20, 3, (unsigned)(ms % 1000));
}
