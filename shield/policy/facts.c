#include "shield/policy/facts.h"

#include <math.h>

#include "common/check.h"

/* Times on disk or from a clock that jumped may be anything: neither sum may overflow (RFC 9111
 * section 1.2.2). */
static int64_t saturating_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return b > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static int64_t saturating_sub(int64_t a, int64_t b)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference))
        return b < 0 ? INT64_MAX : INT64_MIN;
    return difference;
}

int64_t facts_age_ms(const struct response_facts *f, int64_t now_ms)
{
    int64_t resident_ms = MAX(saturating_sub(now_ms, f->response_ms), 0);
    return MAX(saturating_add(f->initial_age_ms, resident_ms), 0);
}

int64_t facts_ttl_ms(const struct response_facts *f, int64_t now_ms)
{
    return saturating_sub(f->lifetime_ms, facts_age_ms(f, now_ms));
}

const char *facts_lifetime_source(const struct response_facts *f)
{
    static const char *const names[] = {
#define X(name, text) text,
        LIFETIME_SOURCES(X)
#undef X
    };
    uint32_t source = (f->flags & FACT_SOURCE_MASK) >> FACT_SOURCE_SHIFT;
    return names[source < LIFETIME_SOURCES_COUNT ? source : LIFETIME_UNTOLD];
}

const char *facts_lifetime_field(const struct response_facts *f)
{
    static const char *const names[] = {
#define X(name, text) text,
        LIFETIME_FIELDS(X)
#undef X
    };
    switch ((f->flags & FACT_SOURCE_MASK) >> FACT_SOURCE_SHIFT) {
    case LIFETIME_S_MAXAGE:
    case LIFETIME_MAX_AGE:
    case LIFETIME_MALFORMED:
        return names[(f->flags & FACT_FIELD_MASK) >> FACT_FIELD_SHIFT];
    default:
        return NULL;
    }
}

bool facts_reusable(const struct response_facts *f, int64_t now_ms)
{
    return !(f->flags & FACT_NO_CACHE) && facts_ttl_ms(f, now_ms) > 0;
}

bool facts_due_early(const struct response_facts *f, int64_t now_ms, double beta, double chance)
{
    double cost_ms = (double)MAX(saturating_sub(f->response_ms, f->request_ms), 1);
    return cost_ms * beta * -log(chance) >= (double)facts_ttl_ms(f, now_ms);
}

void facts_expire(struct response_facts *f, int64_t since_ms)
{
    f->lifetime_ms = MIN(f->lifetime_ms, facts_age_ms(f, since_ms) - 1);
}

void facts_jitter(struct response_facts *f, unsigned percent, uint64_t dice)
{
    double share = (double)(dice >> 11) / 0x1p53; /* in [0, 1) */
    f->lifetime_ms -= (int64_t)((double)f->lifetime_ms * share * percent / 100.0);
}
