#include "shield/cache/choice.h"

#include "common/check.h"
#include "common/err.h"
#include "test/unit/policy_heads.h"

enum { S = 1000, MONO_MS = 100 * S };

/* What is stored: nothing, or a response `stale_s` behind its lifetime (before it, when negative). */
struct stored {
    bool is_there;
    int64_t stale_s;
    uint32_t flags;
    int64_t swr_s, sie_s;
};
#define NONE              \
    {                     \
        false, 0, 0, 0, 0 \
    }
#define FRESH              \
    {                      \
        true, -60, 0, 0, 0 \
    }
#define STALE            \
    {                    \
        true, 1, 0, 0, 0 \
    }
#define SWR               \
    {                     \
        true, 1, 0, 60, 0 \
    }
#define SIE               \
    {                     \
        true, 1, 0, 0, 60 \
    }
#define FLAGGED(f)           \
    {                        \
        true, 1, (f), 60, 60 \
    }

enum {
    JOINS,
    ALONE_AUTH,
    ALONE_CONDITION,
    ALONE_NO_STORE,
    ONLY_NEW,
    ONLY_STORED,
    LOOKED,
    ONLY_FRESH,
    UNCOLLAPSED
};

static const struct row {
    const char *what;
    struct stored stored;
    int how;           /* it asks */
    const char *lines; /* of the request */
    enum mark_kind mark;
    int mark_err;
    enum choice_kind kind;
    enum miss_reason reason;
    enum pass_reason passed;
    int err;
    bool uses_stored, refreshes;
} rows[] = {
    {"nothing is known", NONE, JOINS, "", MARK_NONE, 0, CHOICE_FETCH, MISSED_ABSENT, PASSED_NONE, 0, false,
     false},
    {"fresh", FRESH, JOINS, "", MARK_NONE, 0, CHOICE_HIT, 0, PASSED_NONE, 0, true, false},
    {"fresh, whatever is remembered", FRESH, JOINS, "", MARK_UNCACHEABLE, 0, CHOICE_HIT, 0, PASSED_NONE, 0,
     true, false},
    {"9111 3.5: credentials", FRESH, ALONE_AUTH, "Authorization: a\n", MARK_NONE, 0, CHOICE_ALONE,
     MISSED_AUTHORIZATION, PASSED_AUTHORIZATION, 0, false, false},
    {"9111 4.3.2: If-Match", FRESH, ALONE_CONDITION, "If-Match: \"a\"\n", MARK_NONE, 0, CHOICE_ALONE,
     MISSED_CONDITION, PASSED_CONDITION, 0, false, false},
    {"released before", FRESH, ONLY_NEW, "", MARK_NONE, 0, CHOICE_ALONE, MISSED_UNCACHEABLE,
     PASSED_UNCACHEABLE, 0, true, false},
    {"expired", STALE, JOINS, "", MARK_NONE, 0, CHOICE_FETCH, MISSED_EXPIRED, PASSED_NONE, 0, true, false},
    {"no-cache", FLAGGED(FACT_NO_CACHE), JOINS, "", MARK_NONE, 0, CHOICE_FETCH, MISSED_NO_CACHE, PASSED_NONE,
     0, true, false},
    {"5861 3: while it is refreshed", SWR, JOINS, "", MARK_NONE, 0, CHOICE_STALE, MISSED_EXPIRED, PASSED_NONE,
     0, true, true},
    {"9111 5.2.2.10: s-maxage", FLAGGED(FACT_S_MAXAGE), JOINS, "", MARK_NONE, 0, CHOICE_FETCH, MISSED_EXPIRED,
     PASSED_NONE, 0, true, false},
    {"9111 5.2.1.4: the request wants it validated", FRESH, JOINS, "Cache-Control: no-cache\n", MARK_NONE, 0,
     CHOICE_FETCH, MISSED_REQUEST, PASSED_NONE, 0, true, false},
    {"and not stale while it is refreshed", SWR, JOINS, "Cache-Control: no-cache\n", MARK_NONE, 0,
     CHOICE_FETCH, MISSED_EXPIRED, PASSED_NONE, 0, true, false},
    {"9111 5.2.1.2: max-stale", STALE, JOINS, "Cache-Control: max-stale=9\n", MARK_NONE, 0, CHOICE_STALE,
     MISSED_EXPIRED, PASSED_NONE, 0, true, true},
    {"9111 5.2.1.5: no-store", NONE, ALONE_NO_STORE, "Cache-Control: no-store\n", MARK_NONE, 0, CHOICE_ALONE,
     MISSED_REQUEST, PASSED_NO_STORE, 0, false, false},
    {"9111 5.2.1.7: only if cached, and it is", FRESH, ONLY_STORED, "", MARK_NONE, 0, CHOICE_HIT, 0,
     PASSED_NONE, 0, true, false},
    {"the disk may have it", STALE, ONLY_STORED, "", MARK_NONE, 0, CHOICE_FETCH, MISSED_EXPIRED, PASSED_NONE,
     0, false, false},
    {"the disk has it not", STALE, LOOKED, "", MARK_NONE, 0, CHOICE_FAIL, MISSED_EXPIRED, PASSED_NONE,
     ERR_NOT_STORED, false, false},
    {"stale is stored, and nothing is refreshed for it", SWR, LOOKED, "", MARK_NONE, 0, CHOICE_STALE,
     MISSED_EXPIRED, PASSED_NONE, 0, true, false},
    {"collapse: off", STALE, UNCOLLAPSED, "", MARK_NONE, 0, CHOICE_ALONE, MISSED_EXPIRED, PASSED_COLLAPSE, 0,
     true, false},
    {"collapse: off, and a hit", FRESH, UNCOLLAPSED, "", MARK_NONE, 0, CHOICE_HIT, 0, PASSED_NONE, 0, true,
     false},
    {"warming: stale is of no use, and it is shared whatever the route says", SWR, ONLY_FRESH, "", MARK_NONE,
     0, CHOICE_FETCH, MISSED_EXPIRED, PASSED_NONE, 0, true, false},
    {"warming: nor is it while an error is remembered", SWR, ONLY_FRESH, "", MARK_ERROR, ERR_CONNECT,
     CHOICE_STALE, MISSED_EXPIRED, PASSED_NONE, ERR_CONNECT, true, false},
    {"remembered: uncacheable", NONE, JOINS, "", MARK_UNCACHEABLE, 0, CHOICE_ALONE, MISSED_UNCACHEABLE,
     PASSED_UNCACHEABLE, 0, false, false},
    {"remembered: too large", NONE, JOINS, "", MARK_TOO_LARGE, 0, CHOICE_FETCH, MISSED_WINDOW, PASSED_NONE, 0,
     false, false},
    {"remembered: too large, and a range", NONE, JOINS, "Range: bytes=0-1\n", MARK_TOO_LARGE, 0, CHOICE_ALONE,
     MISSED_UNCACHEABLE, PASSED_RANGE, 0, false, false},
    {"remembered: no answer", NONE, JOINS, "", MARK_ERROR, ERR_CONNECT, CHOICE_FAIL, MISSED_ABSENT,
     PASSED_NONE, ERR_CONNECT, false, false},
    {"remembered: no answer, but something stale", STALE, JOINS, "", MARK_ERROR, ERR_CONNECT, CHOICE_STALE,
     MISSED_EXPIRED, PASSED_NONE, ERR_CONNECT, true, false},
    {"no refresh while an error is remembered", SWR, JOINS, "", MARK_ERROR, ERR_CONNECT, CHOICE_STALE,
     MISSED_EXPIRED, PASSED_NONE, 0, true, false},
    {"4: an error that the origin sent is asked for again", STALE, JOINS, "", MARK_ERROR, ERR_SERVER_ERROR,
     CHOICE_FETCH, MISSED_EXPIRED, PASSED_NONE, 0, true, false},
    {"5861 4: unless stale may take its place", SIE, JOINS, "", MARK_ERROR, ERR_SERVER_ERROR, CHOICE_STALE,
     MISSED_EXPIRED, PASSED_NONE, ERR_SERVER_ERROR, true, false},
    {"10.2.3: Retry-After", NONE, JOINS, "", MARK_ERROR, ERR_UNAVAILABLE, CHOICE_FAIL, MISSED_ABSENT,
     PASSED_NONE, ERR_UNAVAILABLE, false, false},
};

static struct response_facts facts_of(const struct stored *s)
{
    return (struct response_facts){.response_ms = NOW_MS - 1000 * S,
                                   .request_ms = NOW_MS - 1000 * S,
                                   .lifetime_ms = (1000 - s->stale_s) * S,
                                   .swr_ms = s->swr_s > 0 ? s->swr_s * S : -1,
                                   .sie_ms = s->sie_s > 0 ? s->sie_s * S : -1,
                                   .flags = s->flags};
}

struct asked {
    struct config cfg;
    struct config_route route;
    struct test_head head;
    struct entry entry;
    struct response_facts facts;
    struct choice_question q;
};

static void make(struct asked *a, const struct row *r)
{
    static const enum pass_reason why_alone[] = {[ALONE_AUTH] = PASSED_AUTHORIZATION,
                                                 [ALONE_CONDITION] = PASSED_CONDITION,
                                                 [ALONE_NO_STORE] = PASSED_NO_STORE,
                                                 [UNCOLLAPSED] = PASSED_NONE};
    *a = (struct asked){.cfg = policy_config()};
    a->cfg.client.cache_control = CLIENT_CC_OBEY;
    a->cfg.stale.if_disconnected_ms = 60 * S;
    a->cfg.stale.obey_s_maxage = true;
    config_route_defaults(&a->cfg, &a->route);
    a->route.collapse = r->how != UNCOLLAPSED && r->how != ONLY_FRESH;
    a->facts = facts_of(&r->stored);
    a->entry = (struct entry){.mark = r->mark, .mark_err = r->mark_err, .mark_until_ms = MONO_MS + 1500};
    a->q = (struct choice_question){
        .config = &a->cfg,
        .route = &a->route,
        .head = request_head(&a->head, "GET", r->lines),
        .may_join = why_alone[r->how] == PASSED_NONE,
        .only_stored = r->how == ONLY_STORED || r->how == LOOKED,
        .may_look = r->how == ONLY_STORED,
        .only_new = r->how == ONLY_NEW,
        .only_fresh = r->how == ONLY_FRESH,
        .wants_range = http_has(&a->head.head, FIELD_RANGE),
        .why_alone = why_alone[r->how],
        .mono_ms = MONO_MS,
        .now_ms = NOW_MS,
        .chance = 1,
    };
}

static void test_choices(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct asked a;
        struct choice c;
        make(&a, r);
        choice_make(&a.q, &a.entry, r->stored.is_there ? &a.facts : NULL, &c);
        if (c.kind != r->kind || c.reason != r->reason || c.passed != r->passed || c.err != r->err ||
            c.uses_stored != r->uses_stored || c.refreshes != r->refreshes)
            fail_msg("%s: kind %d, %s, %s, %s, %d %d", r->what, c.kind, miss_reason_name(c.reason),
                     pass_reason_name(c.passed), err_name(c.err), c.uses_stored, c.refreshes);
        if (r->mark == MARK_ERROR && c.kind != CHOICE_FETCH)
            assert_int_equal(c.retry_after_s, 2); /* in whole seconds, upwards */
    }
}

static void test_what_is_remembered_ends(void **state)
{
    static const struct row row = {.stored = NONE, .lines = "", .mark = MARK_UNCACHEABLE};
    struct asked a;
    struct choice c;
    make(&a, &row);
    a.q.mono_ms = a.entry.mark_until_ms;
    choice_make(&a.q, &a.entry, NULL, &c);
    assert_int_equal(c.kind, CHOICE_FETCH);
    choice_make(&a.q, NULL, NULL, &c); /* nor is anything known without an entry */
    assert_int_equal(c.kind, CHOICE_FETCH);
}

static void test_a_bound_is_reached(void **state)
{
    static const struct row fetches = {.stored = STALE, .lines = ""};
    struct asked a;
    struct choice c;
    make(&a, &fetches);
    choice_make(&a.q, NULL, &a.facts, &c);
    choice_deny(&a.q, &a.facts, ERR_BUSY, LIMIT_MAX_FLIGHTS, &c);
    assert_int_equal(c.kind, CHOICE_FAIL);
    assert_int_equal(c.limit, LIMIT_MAX_FLIGHTS);
    assert_int_equal(c.reason, MISSED_EXPIRED);

    a.route.stale.if_overloaded_ms = 60 * S;
    choice_make(&a.q, NULL, &a.facts, &c);
    choice_deny(&a.q, &a.facts, ERR_BUSY, LIMIT_MAX_FLIGHTS, &c);
    assert_int_equal(c.kind, CHOICE_STALE);
    assert_int_equal(c.err, ERR_BUSY);

    choice_make(&a.q, NULL, NULL, &c);
    choice_deny(&a.q, NULL, ERR_BUSY, LIMIT_MAX_FLIGHTS, &c);
    assert_int_equal(c.kind, CHOICE_FAIL);
}

static void test_early_refresh(void **state) /* XFetch */
{
    static const struct row fresh = {.stored = FRESH, .lines = ""};
    struct asked a;
    struct choice c;
    make(&a, &fresh);
    a.facts.request_ms = a.facts.response_ms - 30 * S; /* dear to fetch */
    a.q.chance = 0.01;
    choice_make(&a.q, NULL, &a.facts, &c);
    assert_false(c.refreshes); /* off */
    a.route.early_refresh = 1;
    choice_make(&a.q, NULL, &a.facts, &c);
    assert_true(c.kind == CHOICE_HIT && c.refreshes);
    a.q.chance = 1;
    choice_make(&a.q, NULL, &a.facts, &c);
    assert_false(c.refreshes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_what_is_remembered_ends),
        cmocka_unit_test(test_a_bound_is_reached),
        cmocka_unit_test(test_early_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
