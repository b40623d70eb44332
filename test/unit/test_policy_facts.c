#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/facts.h"

static const struct {
    const char *rfc;
    int64_t response_ms, initial_age_ms, lifetime_ms, now_ms; /* in */
    int64_t age_ms, ttl_ms;                                   /* out */
    uint32_t flags;
    bool is_reusable;
} rows[] = {
    {"9111 4.2.3: just arrived", 1000, 0, 60000, 1000, 0, 60000, 0, true},
    {"9111 4.2.3: resident time", 1000, 0, 60000, 11000, 10000, 50000, 0, true},
    {"9111 4.2.3: initial age", 1000, 5000, 60000, 11000, 15000, 45000, 0, true},
    {"9111 4.2: fresh means lifetime > age", 1000, 0, 60000, 61000, 60000, 0, 0, false},
    {"9111 4.2: a millisecond before", 1000, 0, 60000, 60999, 59999, 1, 0, true},
    {"9111 4.2: stale", 1000, 0, 60000, 91000, 90000, -30000, 0, false},
    {"9111 5.2.2.4: no-cache", 1000, 0, 60000, 1000, 0, 60000, FACT_NO_CACHE, false},
    {"a clock set back makes nobody younger", 9000, 2000, 60000, 1000, 2000, 58000, 0, true},
    {"9111 1.2.2: age saturates", 0, INT64_MAX - 5, 60000, 1000, INT64_MAX, 60000 - INT64_MAX, 0, false},
    {"9111 1.2.2: resident time saturates", INT64_MIN, 0, 60000, INT64_MAX, INT64_MAX, 60000 - INT64_MAX, 0,
     false},
    {"9111 1.2.2: a negative age is none", 0, -5000, 60000, 1000, 0, 60000, 0, true},
    {"9111 1.2.2: the rest saturates", 0, INT64_MAX, -5000, 0, INT64_MAX, INT64_MIN, 0, false},
};

static void test_arithmetic(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct response_facts f = {.response_ms = rows[i].response_ms,
                                   .initial_age_ms = rows[i].initial_age_ms,
                                   .lifetime_ms = rows[i].lifetime_ms,
                                   .flags = rows[i].flags};
        int64_t age_ms = facts_age_ms(&f, rows[i].now_ms), ttl_ms = facts_ttl_ms(&f, rows[i].now_ms);
        if (age_ms != rows[i].age_ms || ttl_ms != rows[i].ttl_ms ||
            facts_reusable(&f, rows[i].now_ms) != rows[i].is_reusable)
            fail_msg("%s: age %lld, ttl %lld", rows[i].rfc, (long long)age_ms, (long long)ttl_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arithmetic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
