#include "shield/policy/stale.h"

#include "common/check.h"
#include "test/unit/policy_heads.h"

enum { S = 1000 };

static const struct may_row {
    const char *what;
    uint32_t flags;
    int64_t stale_s, sie_s, swr_s; /* -1: absent */
    enum stale_cause cause;
    bool obey_s_maxage, may;
} may_rows[] = {
    {"9: disconnected, within stale.if_disconnected", 0, 60, -1, -1, STALE_DISCONNECTED, true, true},
    {"9: beyond it", 0, 101, -1, -1, STALE_DISCONNECTED, true, false},
    {"5861 4: stale-if-error reaches further", 0, 101, 200, -1, STALE_DISCONNECTED, true, true},
    {"9111 5.2.2.2: must-revalidate", FACT_MUST_REVALIDATE, 1, 200, 200, STALE_DISCONNECTED, true, false},
    {"9111 5.2.2.4: no-cache", FACT_NO_CACHE, 1, 200, 200, STALE_DISCONNECTED, true, false},
    {"9111 5.2.2.10: s-maxage", FACT_S_MAXAGE, 1, 200, 200, STALE_DISCONNECTED, true, false},
    {"9: stale.obey_s_maxage off", FACT_S_MAXAGE, 1, -1, -1, STALE_DISCONNECTED, false, true},
    {"5861 3: stale-while-revalidate", 0, 10, -1, 10, STALE_REVALIDATING, true, true},
    {"5861 3: beyond it", 0, 11, 20, 10, STALE_REVALIDATING, true, false},
    {"5861 3: without it", 0, 1, 20, -1, STALE_REVALIDATING, true, false},
    {"9111 5.2.2.10: s-maxage, stale-while-revalidate", FACT_S_MAXAGE, 1, -1, 10, STALE_REVALIDATING, true,
     false},
    {"9111 5.2.2.2: must-revalidate", FACT_MUST_REVALIDATE, 1, -1, 10, STALE_REVALIDATING, true, false},
    {"5861 4: stale-if-error on a 5xx", 0, 10, 10, -1, STALE_ERROR, true, true},
    {"5861 4: beyond it", 0, 11, 10, 20, STALE_ERROR, true, false},
    {"9: without a directive never on a 5xx", 0, 1, -1, 20, STALE_ERROR, true, false},
    {"9111 4.2.4: the client's max-stale", 0, 9999999, -1, -1, STALE_WANTED, true, true},
    {"9111 4.2.4: not with no-cache", FACT_NO_CACHE, 1, -1, -1, STALE_WANTED, true, false},
    {"9111 4.2.4: nor must-revalidate", FACT_MUST_REVALIDATE, 1, -1, -1, STALE_WANTED, true, false},
    {"9111 5.2.2.10: nor s-maxage", FACT_S_MAXAGE, 1, -1, -1, STALE_WANTED, true, false},
    {"overloaded: not by default", 0, 1, -1, -1, STALE_OVERLOADED, true, false},
    {"5861 3: overloaded, stale-while-revalidate", 0, 1, -1, 10, STALE_OVERLOADED, true, true},
    {"5861 3: beyond it", 0, 11, -1, 10, STALE_OVERLOADED, true, false},
};

static void test_may(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(may_rows); i++) {
        const struct may_row *r = &may_rows[i];
        struct config cfg = policy_config();
        cfg.stale.if_disconnected_ms = 100 * S;
        cfg.stale.if_overloaded_ms = 0;
        cfg.stale.obey_s_maxage = r->obey_s_maxage;
        struct response_facts facts = {.response_ms = NOW_MS - r->stale_s * S,
                                       .flags = r->flags,
                                       .sie_ms = r->sie_s < 0 ? -1 : r->sie_s * S,
                                       .swr_ms = r->swr_s < 0 ? -1 : r->swr_s * S};
        struct config_route route;
        config_route_defaults(&cfg, &route);
        if (policy_may_serve_stale(&route, &facts, NOW_MS, r->cause) != r->may)
            fail_msg("%s", r->what);
    }
}

static const struct {
    const char *stored, *leaves;
} blocks[] = {
    {"Date: d\nCache-Control: public, max-age=60, s-maxage=9\nX: 1\n",
     "Date: d\r\nCache-Control: max-age=0, public\r\nX: 1\r\n"},
    {"Date: d\nCache-Control: max-age=60\nCache-Control: stale-while-revalidate=5, x=\"a, max-age=1\"\n",
     "Date: d\r\nCache-Control: max-age=0, x=\"a, max-age=1\"\r\n"},
    {"Date: d\nExpires: e\n", "Date: d\r\nExpires: d\r\nCache-Control: max-age=0\r\n"},
    {"Date: d\nCDN-Cache-Control: max-age=600\nSurrogate-Control: max-age=600, content=\"x\"\nCache-Control: "
     "Max-Age=1\n",
     "Date: d\r\nCDN-Cache-Control: max-age=0\r\nSurrogate-Control: max-age=0, content=\"x\"\r\n"
     "Cache-Control: max-age=0\r\n"},
    {"Date: d\nx-accel-expires: 3600\nCache-Control: max-age=1\nX-Accel-Expires: @9999999999\nX: 1\n",
     "Date: d\r\nCache-Control: max-age=0\r\nX: 1\r\n"},
    {"Date: d\nCDN-Cache-Control: max-age=9;x=1, max-age;y, stale-if-error=9;z, private;max-age=9\n"
     "Surrogate-Control: max-age=60+30, max-age=9;abc\n",
     "Date: d\r\nCDN-Cache-Control: max-age=0, private;max-age=9\r\nSurrogate-Control: max-age=0\r\n"
     "Cache-Control: max-age=0\r\n"},
};

static void test_blocks(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
        struct test_head t;
        struct buf out = {0}, expected = {0};
        policy_stale_block(&out, response_head(&t, 200, blocks[i].stored));
        buf_printf(&expected, "HTTP/1.1 200 %.*s\r\n%sX-Accel-Expires: @1\r\n", SPAN_FMT(t.head.reason),
                   blocks[i].leaves);
        if (!span_eq(buf_span(&out), buf_span(&expected)))
            fail_msg("row %zu gives\n%.*s", i, SPAN_FMT(buf_span(&out)));
        buf_fini(&out);
        buf_fini(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_may), cmocka_unit_test(test_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
