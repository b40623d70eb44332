#include "bench/schedule.h"

#include <math.h>

#include "bench/body.h"
#include "common/check.h"

enum { ZIPF_DRAWS = 64 };

uint64_t schedule_draw(const struct schedule *s, enum schedule_purpose purpose, uint64_t i)
{
    return body_word(body_word(s->seed, (uint64_t)purpose), i);
}

/* Above 0, at most 1. */
static double unit(uint64_t random)
{
    return (double)((random >> 11) + 1) / 9007199254740992.0;
}

bool schedule_is_among(const struct schedule *s, enum schedule_purpose purpose, uint64_t i, uint64_t percent)
{
    return percent > 0 && schedule_draw(s, purpose, i) % 100 < percent;
}

double schedule_gap(const struct schedule *s, uint64_t i)
{
    return -log(unit(schedule_draw(s, DRAW_GAP, i)));
}

/* ---- Zipf by rejection-inversion (Hoermann, Derflinger, "Rejection-inversion to generate variates from
 * monotone discrete distributions", ACM TOMACS 6, 1996): constant time and memory for any number of keys. */

static double weight(const struct schedule *s, double x)
{
    return exp(-s->exponent * log(x));
}

/* expm1(x) / x and log1p(x) / x, also at 0. */
static double expm1_over(double x)
{
    return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double log1p_over(double x)
{
    return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

static double integral(const struct schedule *s, double x)
{
    return expm1_over((1 - s->exponent) * log(x)) * log(x);
}

static double inverse(const struct schedule *s, double y)
{
    return exp(log1p_over(fmax(y * (1 - s->exponent), -1)) * y);
}

void schedule_init(struct schedule *s)
{
    REQUIRE(s->keys > 0 && s->exponent >= 0);
    s->integral_1 = integral(s, 1.5) - 1;
    s->integral_n = integral(s, (double)s->keys + 0.5);
    s->threshold = 2 - inverse(s, integral(s, 2.5) - weight(s, 2));
}

static uint64_t zipf(const struct schedule *s, uint64_t i)
{
    uint64_t stream = schedule_draw(s, DRAW_KEY, i), k = 1;
    for (uint64_t draw = 0; draw < ZIPF_DRAWS; draw++) { /* 1.1 on average */
        double y = s->integral_n + unit(body_word(stream, draw)) * (s->integral_1 - s->integral_n);
        double x = inverse(s, y);
        k = MIN(MAX((uint64_t)(x + 0.5), UINT64_C(1)), s->keys);
        if ((double)k - x <= s->threshold || y >= integral(s, (double)k + 0.5) - weight(s, (double)k))
            break;
    }
    return k - 1;
}

uint64_t schedule_key(const struct schedule *s, uint64_t i)
{
    switch (s->order) {
    case ORDER_SEQUENCE:
        break;
    case ORDER_RANDOM:
        return schedule_draw(s, DRAW_KEY, i) % s->keys;
    case ORDER_ZIPF:
        return zipf(s, i);
    }
    return i % s->keys;
}
