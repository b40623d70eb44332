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

static const struct {
    const char *what;
    int64_t cost_ms, ttl_ms;
    double beta, chance;
    bool is_due;
} early[] = {
    {"chance 1 never", 1000, 1, 100, 1, false},
    {"cost * beta * -ln(chance) is the ttl: -ln(0.36) = 1.02", 1000, 1000, 1, 0.36, true},
    {"just below: -ln(0.37) = 0.99", 1000, 1000, 1, 0.37, false},
    {"a larger beta reaches further", 1000, 10000, 10, 0.36, true},
    {"far from its end, a smaller chance is needed", 1000, 10000, 1, 0.0001, false},
    {"-ln(0.00004) = 10.1", 1000, 10000, 1, 0.00004, true},
    {"a fetch without cost counts a millisecond", 0, 1, 1, 0.36, true},
    {"a clock that ran backwards too", -5, 1000, 1, 0.36, false},
};

static void test_early(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(early); i++) {
        struct response_facts f = {
            .request_ms = 100000 - early[i].cost_ms, .response_ms = 100000, .lifetime_ms = early[i].ttl_ms};
        if (facts_due_early(&f, 100000, early[i].beta, early[i].chance) != early[i].is_due)
            fail_msg("%s", early[i].what);
    }
}

static void test_jitter(void **state)
{
    int64_t least = INT64_MAX, most = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        struct response_facts f = {.lifetime_ms = 100000};
        facts_jitter(&f, 20, i * (UINT64_MAX / 999));
        least = MIN(least, f.lifetime_ms);
        most = MAX(most, f.lifetime_ms);
    }
    assert_true(least >= 80000 && least < 80200 && most <= 100000 && most > 99800);
    struct response_facts f = {.lifetime_ms = INT64_MAX};
    facts_jitter(&f, 90, UINT64_MAX);
    assert_true(f.lifetime_ms >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_early),
                                       cmocka_unit_test(test_jitter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
