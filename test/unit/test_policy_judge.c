#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "common/err.h"
#include "shield/policy/judge.h"

#define DATE  "Date: " DATE_NOW "\n"
#define ETAG  "ETag: \"a\"\n"
#define LM_1K "Last-Modified: " DATE_MINUS_1K "\n"
#define CC(v) "Cache-Control: " v "\n"
#define AUTH  "Authorization: Basic eDp5\n"
#define SHARE USE_SHARE, UNCACHEABLE_NONE

struct row {
    const char *rfc, *request; /* lines of a GET */
    int status;
    const char *lines;
    enum verdict_use use;
    enum uncacheable_reason reason;
    int64_t lifetime_s, initial_age_s; /* -1: not looked at */
    uint32_t flags;
};

static const struct row rows[] = {
    /* lifetimes */
    {"9111 4.2.1: s-maxage first", "", 200, CC("max-age=5, s-maxage=7") DATE, SHARE, 7, 0,
     FACT_S_MAXAGE | FACT_AUTH_MAY_SHARE},
    {"9111 4.2.1: then max-age", "", 200, CC("max-age=5") "Expires: " DATE_PLUS_60 "\n" DATE, SHARE, 5, 0, 0},
    {"9111 5.3: max-age overrides a past Expires", "", 200, CC("max-age=5") "Expires: 0\n", SHARE, 5, 0, 0},
    {"9111 4.2.1: then Expires - Date", "", 200, "Expires: " DATE_PLUS_60 "\n" DATE, SHARE, 60, 0, 0},
    {"9111 4.2.1: without Date the time of receipt", "", 200, "Expires: " DATE_PLUS_60 "\n", SHARE, 60, 0, 0},
    {"9111 4.2.1: by the origin's clock", "", 200, "Expires: " DATE_NOW "\nDate: " DATE_MINUS_1K "\n", SHARE,
     1000, 0, 0},
    {"9111 5.3: Expires 0", "", 200, "Expires: 0\n" ETAG, USE_VALIDATE, UNCACHEABLE_EXPIRED, 0, 0,
     FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9111 5.3: an invalid Expires is past", "", 200, "Expires: tomorrow\n" LM_1K, USE_VALIDATE,
     UNCACHEABLE_EXPIRED, 0, 0, FACT_HAS_VALIDATOR},
    {"9111 4.2: another zone is invalid", "", 200, "Expires: Tue, 14 Nov 2023 22:14:20 PST\n", USE_ALONE,
     UNCACHEABLE_EXPIRED, 0, 0, 0},
    {"9111 4.2.1: the earlier of two Expires", "", 200,
     "Expires: " DATE_PLUS_60 "\nExpires: " DATE_MINUS_1K "\n" DATE ETAG, USE_VALIDATE, UNCACHEABLE_EXPIRED,
     0, 0, FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9111 4.2.1: an invalid s-maxage is stale", "", 200, CC("s-maxage=x, max-age=9"), USE_ALONE,
     UNCACHEABLE_EXPIRED, 0, 0, FACT_S_MAXAGE | FACT_AUTH_MAY_SHARE},
    {"9111 1.2.2: huge", "", 200, CC("max-age=99999999999999999999"), SHARE, INT64_C(2147483648), 0, 0},
    {"9111 4.2.1: an open string is stale", "", 200, CC("max-age=60, a=\"b"), USE_ALONE, UNCACHEABLE_EXPIRED,
     0, 0, 0},
    {"9111 5.4: Pragma means nothing here", "", 200, CC("max-age=60") "Pragma: no-cache\n", SHARE, 60, 0, 0},
    {"9213 2.2: a targeted field replaces Expires", "", 200,
     "CDN-Cache-Control: max-age=9\nExpires: 0\n" CC("no-store"), SHARE, 9, 0, 0},
    {"9213 2.2: even where it has no lifetime", "", 200,
     "CDN-Cache-Control: none\nExpires: " DATE_PLUS_60 "\n" CC("max-age=60") ETAG, USE_VALIDATE,
     UNCACHEABLE_NO_LIFETIME, 0, 0, FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9213 2.2: semantics are Cache-Control's", AUTH, 200,
     "Shield-Cache-Control: public, max-age=9\n" CC("private"), SHARE, 9, 0, FACT_AUTH_MAY_SHARE},
    {"9213 2.2: and it restricts", "", 200, "CDN-Cache-Control: private\n" CC("max-age=60"), USE_ALONE,
     UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"9213 2.1: invalid, as if it were not there", "", 200,
     "CDN-Cache-Control: max-age=9,\nExpires: " DATE_PLUS_60 "\n", SHARE, 60, 0, 0},
    {"8246 2: immutable changes no lifetime", "", 200, CC("max-age=60, immutable"), SHARE, 60, 0, 0},
    {"8246 2: nor gives one", "", 200, CC("immutable") ETAG, USE_VALIDATE, UNCACHEABLE_NO_LIFETIME, 0, 0,
     FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},

    /* heuristics: 1000 s since the change give 100 s */
    {"9111 4.2.2: a tenth", "", 200, LM_1K DATE, SHARE, 100, 0, FACT_HEURISTIC | FACT_HAS_VALIDATOR},
    {"9111 4.2.2: a day at most", "", 200, "Last-Modified: " DATE_MINUS_1Y "\n" DATE, SHARE, 86400, 0,
     FACT_HEURISTIC | FACT_HAS_VALIDATOR},
    {"9111 4.2.2: 404", "", 404, LM_1K DATE, SHARE, 100, 0, FACT_HEURISTIC | FACT_HAS_VALIDATOR},
    {"9111 4.2.2: 308", "", 308, LM_1K DATE, SHARE, 100, 0, FACT_HEURISTIC | FACT_HAS_VALIDATOR},
    {"9111 4.2.2: not 302", "", 302, LM_1K DATE, USE_ALONE, UNCACHEABLE_STATUS, 0, 0, FACT_HAS_VALIDATOR},
    {"9111 5.2.2.9: public makes 302 so", "", 302, CC("public") LM_1K DATE, SHARE, 100, 0,
     FACT_HEURISTIC | FACT_HAS_VALIDATOR | FACT_AUTH_MAY_SHARE},
    {"9111 3: public makes 302 storable", "", 302, CC("public") "ETag: W/\"a\"\n", USE_VALIDATE,
     UNCACHEABLE_NO_LIFETIME, 0, 0, FACT_HAS_VALIDATOR | FACT_AUTH_MAY_SHARE},
    {"9111 4.2.2: not with Expires", "", 200, "Expires: " DATE_MINUS_1K "\n" LM_1K DATE, USE_VALIDATE,
     UNCACHEABLE_EXPIRED, 0, 0, FACT_HAS_VALIDATOR},
    {"9111 4.2.2: changed in the future", "", 200, "Last-Modified: " DATE_PLUS_60 "\n" DATE, USE_VALIDATE,
     UNCACHEABLE_NO_LIFETIME, 0, 0, FACT_HAS_VALIDATOR},
    {"9111 4.2.2: an invalid Last-Modified", "", 200, "Last-Modified: x\n" DATE, USE_ALONE,
     UNCACHEABLE_NO_LIFETIME, 0, 0, 0},
    {"not for a request with Cookie", "Cookie: a=b\n", 200, LM_1K DATE, USE_VALIDATE, UNCACHEABLE_NO_LIFETIME,
     0, 0, FACT_HAS_VALIDATOR | FACT_REQUEST_COOKIE},
    {"but an explicit lifetime is", "Cookie: a=b\n", 200, CC("max-age=9"), SHARE, 9, 0, FACT_REQUEST_COOKIE},
    {"nothing to go by", "", 200, DATE, USE_ALONE, UNCACHEABLE_NO_LIFETIME, 0, 0, 0},
    {"an ETag alone", "", 200, "ETag: W/\"a\"\n" DATE, USE_VALIDATE, UNCACHEABLE_NO_LIFETIME, 0, 0,
     FACT_HAS_VALIDATOR},
    {"9110 8.8.3: an unquoted ETag is none", "", 200, "ETag: a\n" DATE, USE_ALONE, UNCACHEABLE_NO_LIFETIME, 0,
     0, 0},

    /* age */
    {"9111 4.2.3: Age", "", 200, CC("max-age=60") "Age: 10\n" DATE, SHARE, 60, 10, 0},
    {"9111 4.2.3: stale on arrival", "", 200, CC("max-age=60") "Age: 60\n" ETAG, USE_VALIDATE,
     UNCACHEABLE_EXPIRED, 60, 60, FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9111 4.2.3: and nothing to validate with", "", 200, CC("max-age=60") "Age: 61\n", USE_ALONE,
     UNCACHEABLE_EXPIRED, 60, 61, 0},
    {"9111 5.1: the first of a list", "", 200, CC("max-age=60") "Age: 10, 70\n", SHARE, 60, 10, 0},
    {"9111 5.1: the first of two lines", "", 200, CC("max-age=60") "Age: 10\nAge: 70\n", SHARE, 60, 10, 0},
    {"9111 5.1: an invalid one is ignored", "", 200, CC("max-age=60") "Age: 1h\n", SHARE, 60, 0, 0},
    {"9111 5.1: a negative one is ignored", "", 200, CC("max-age=60") "Age: -70\n", SHARE, 60, 0, 0},
    {"9111 1.2.2: a huge Age saturates", "", 200, CC("max-age=60") "Age: 99999999999999999999\n", USE_ALONE,
     UNCACHEABLE_EXPIRED, 60, INT64_C(2147483648), 0},
    {"9111 4.2.3: a slow clock ages nothing", "", 200, CC("max-age=60") "Date: " DATE_MINUS_1K "\n", SHARE,
     60, 0, 0},
    {"9111 4.2.3: apparent_age behind an old cache", "", 200,
     CC("max-age=60") "Via: 1.1 a, 1.0 b\nDate: " DATE_MINUS_1K "\n", USE_ALONE, UNCACHEABLE_EXPIRED, 60,
     1000, 0},
    {"9111 4.2.3: a fast clock is no negative age", "", 200,
     CC("max-age=60") "Via: 1.0 b\nDate: " DATE_PLUS_60 "\n", SHARE, 60, 0, 0},

    /* what forbids storing */
    {"9111 5.2.2.5", "", 200, CC("no-store, max-age=60") ETAG, USE_ALONE, UNCACHEABLE_NO_STORE, -1, 0, 0},
    {"9111 5.2.2.7", "", 200, CC("private, max-age=60"), USE_ALONE, UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"9111 5.2.2.7: with names the rest is everyone's", "", 200, CC("private=\"x\", max-age=60"), SHARE, 60,
     0, 0},
    {"9111 5.2.2.7: but not what we need ourselves", "", 200, CC("private=\"date\", max-age=60"), USE_ALONE,
     UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"9111 5.2.2.7: both forms", "", 200, CC("private=\"x\", private, max-age=60"), USE_ALONE,
     UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"Set-Cookie is refused though it is named", "", 200,
     CC("private=\"set-cookie\", max-age=60") "Set-Cookie: a\n", USE_ALONE, UNCACHEABLE_SET_COOKIE, -1, 0, 0},
    {"9111 5.2.2.7: beside public", "", 200, CC("public, private, max-age=60"), USE_ALONE,
     UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"9111 5.2.2.3: understood, no-store is ignored", "", 200, CC("must-understand, no-store, max-age=60"),
     SHARE, 60, 0, 0},
    {"9111 5.2.2.3: not understood", "", 299, CC("must-understand, max-age=60"), USE_ALONE,
     UNCACHEABLE_NO_STORE, -1, 0, 0},
    {"9111 3: any final status with a lifetime", "", 299, CC("max-age=60"), SHARE, 60, 0, 0},
    {"9111 3: 403 too", "", 403, CC("max-age=60"), SHARE, 60, 0, 0},
    {"9111 3: 206 is not stored here", "", 206, CC("max-age=60") "Content-Range: bytes 0-1/9\n", USE_ALONE,
     UNCACHEABLE_PARTIAL, -1, 0, 0},
    {"9111 3: 304 answers its own request", "", 304, CC("max-age=60"), USE_ALONE, UNCACHEABLE_STATUS, -1, 0,
     0},
    {"416 answers its own request", "", 416, CC("max-age=60"), USE_ALONE, UNCACHEABLE_STATUS, -1, 0, 0},
    {"412 answers its own request", "", 412, CC("max-age=60"), USE_ALONE, UNCACHEABLE_STATUS, -1, 0, 0},
    {"6585 3: never stored", "", 428, CC("public, max-age=60"), USE_ALONE, UNCACHEABLE_STATUS, -1, 0, 0},
    {"6585 4: never stored", "", 429, CC("public, max-age=60"), USE_ALONE, UNCACHEABLE_STATUS, -1, 0, 0},
    {"6585 5: never stored", "", 431, CC("public, max-age=60"), USE_ALONE, UNCACHEABLE_STATUS, -1, 0, 0},
    {"400 has its reason in one request", "", 400, CC("public, max-age=60"), USE_ALONE, UNCACHEABLE_STATUS,
     -1, 0, 0},
    {"414 has it in the key", "", 414, CC("max-age=60"), SHARE, 60, 0, 0},
    {"9111 3: 403 without a lifetime", "", 403, ETAG, USE_ALONE, UNCACHEABLE_STATUS, 0, 0,
     FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"Set-Cookie is refused", "", 200, CC("public, max-age=60") "Set-Cookie: a=b\n", USE_ALONE,
     UNCACHEABLE_SET_COOKIE, -1, 0, 0},
    {"9111 4.1: Vary *", "", 200, CC("max-age=60") "Vary: *\n", USE_ALONE, UNCACHEABLE_VARY_STAR, -1, 0, 0},
    {"9111 4.1: * in the list", "", 200, CC("max-age=60") "Vary: Accept\nVary: a, *\n", USE_ALONE,
     UNCACHEABLE_VARY_STAR, -1, 0, 0},
    {"another Vary", "", 200, CC("max-age=60") "Vary: Accept\n", SHARE, 60, 0, 0},
    {"9111 3.5: credentials", AUTH, 200, CC("max-age=60"), USE_ALONE, UNCACHEABLE_AUTHORIZATION, -1, 0, 0},
    {"9111 3.5: public", AUTH, 200, CC("public, max-age=60"), SHARE, 60, 0, FACT_AUTH_MAY_SHARE},
    {"9111 3.5: s-maxage", AUTH, 200, CC("s-maxage=60"), SHARE, 60, 0, FACT_S_MAXAGE | FACT_AUTH_MAY_SHARE},
    {"9111 3.5: must-revalidate", AUTH, 200, CC("must-revalidate, max-age=60"), SHARE, 60, 0,
     FACT_MUST_REVALIDATE | FACT_AUTH_MAY_SHARE},
    {"9111 3.5: proxy-revalidate is not enough", AUTH, 200, CC("proxy-revalidate, max-age=60"), USE_ALONE,
     UNCACHEABLE_AUTHORIZATION, -1, 0, 0},

    /* stored, and validated each time */
    {"9111 5.2.2.4", "", 200, CC("no-cache, max-age=60") ETAG, USE_VALIDATE, UNCACHEABLE_NO_CACHE, 60, 0,
     FACT_NO_CACHE | FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9111 5.2.2.4: with names the rest is fresh", "", 200, CC("no-cache=\"x\", max-age=60") LM_1K, SHARE, 60,
     0, FACT_HAS_VALIDATOR},
    {"9111 5.2.2.4: but not what we need ourselves", "", 200, CC("no-cache=\"etag\", max-age=60") ETAG,
     USE_VALIDATE, UNCACHEABLE_NO_CACHE, 60, 0, FACT_NO_CACHE | FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9111 5.2.2.4: nothing to validate with", "", 200, CC("no-cache, max-age=60"), USE_ALONE,
     UNCACHEABLE_NO_CACHE, 60, 0, FACT_NO_CACHE},
    {"9111 4.2.1: max-age=0", "", 200, CC("max-age=0") ETAG, USE_VALIDATE, UNCACHEABLE_EXPIRED, 0, 0,
     FACT_STRONG_ETAG | FACT_HAS_VALIDATOR},
    {"9111 5.2.2.8", "", 200, CC("max-age=60, proxy-revalidate"), SHARE, 60, 0, FACT_MUST_REVALIDATE},

    /* failures */
    {"404 with a lifetime", "", 404, CC("max-age=9"), SHARE, 9, 0, 0},
    {"404 without", "", 404, "", USE_SHARE_ONCE, UNCACHEABLE_NO_LIFETIME, 0, 0, 0},
    {"410 that has expired", "", 410, CC("max-age=0"), USE_SHARE_ONCE, UNCACHEABLE_EXPIRED, 0, 0, 0},
    {"404 that is private", "", 404, CC("private"), USE_ALONE, UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"404 with Set-Cookie", "", 404, "Set-Cookie: a=b\n", USE_ALONE, UNCACHEABLE_SET_COOKIE, -1, 0, 0},
    {"500 with a lifetime", "", 500, CC("max-age=9"), SHARE, 9, 0, 0},
    {"500 without", "", 500, "", USE_SHARE_ONCE, UNCACHEABLE_ERROR, 0, 0, 0},
    {"503 without", "", 503, "Retry-After: 5\n", USE_SHARE_ONCE, UNCACHEABLE_ERROR, 0, 0, 0},
    {"500 with no-store", "", 500, CC("no-store"), USE_ERROR_ALONE, UNCACHEABLE_NO_STORE, -1, 0, 0},
    {"502 that is private", "", 502, CC("private"), USE_ERROR_ALONE, UNCACHEABLE_PRIVATE, -1, 0, 0},
    {"500 with Set-Cookie", "", 500, "Set-Cookie: a=b\n", USE_ERROR_ALONE, UNCACHEABLE_SET_COOKIE, -1, 0, 0},
    {"400 is its own client's", "", 400, "", USE_ALONE, UNCACHEABLE_STATUS, 0, 0, 0},
};

static struct verdict judge(const struct config *cfg, const char *method, const char *request, int status,
                            const char *lines)
{
    struct test_head asked, answered;
    struct verdict v;
    policy_judge(cfg, &cfg->fallback, request_head(&asked, method, request),
                 response_head(&answered, status, lines), NOW_MS, NOW_MS, &v);
    return v;
}

static void check_row(const struct row *r)
{
    struct config cfg = policy_config();
    struct verdict v = judge(&cfg, "GET", r->request, r->status, r->lines);
    if (v.use != r->use || v.reason != r->reason)
        fail_msg("%s: use %d, reason %s", r->rfc, v.use, uncacheable_reason_name(v.reason));
    bool is_brief = r->reason == UNCACHEABLE_SET_COOKIE || r->reason == UNCACHEABLE_VARY_STAR;
    if (v.remember_briefly != is_brief || v.strip_set_cookie)
        fail_msg("%s: briefly %d, strip %d", r->rfc, v.remember_briefly, v.strip_set_cookie);
    if (r->lifetime_s >= 0 && v.facts.lifetime_ms != r->lifetime_s * 1000)
        fail_msg("%s: lifetime %lld ms", r->rfc, (long long)v.facts.lifetime_ms);
    if (v.facts.initial_age_ms != r->initial_age_s * 1000)
        fail_msg("%s: age %lld ms", r->rfc, (long long)v.facts.initial_age_ms);
    if (r->lifetime_s >= 0 && (v.facts.flags & ~(uint32_t)(FACT_SOURCE_MASK | FACT_FIELD_MASK)) != r->flags)
        fail_msg("%s: flags %#x", r->rfc, v.facts.flags);
    assert_int_equal(v.facts.status, r->status);
}

static void test_verdicts(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

static void test_heuristic_statuses(void **state) /* RFC 9110 section 15.1 */
{
    static const int cacheable[] = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501};
    struct config cfg = policy_config();
    for (int status = 200; status < 600; status++) {
        bool is_expected = false;
        for (size_t i = 0; i < ARRAY_LEN(cacheable); i++)
            is_expected |= cacheable[i] == status;
        struct verdict v = judge(&cfg, "GET", "", status, LM_1K DATE);
        if ((v.use == USE_SHARE) != is_expected)
            fail_msg("%d: use %d", status, v.use);
    }
}

#define HERE "Content-Location: /a?b\n"

/* RFC 9110 section 9.3.3: POST http://o.example/a?b */
static const struct {
    const char *what, *request, *lines;
    int status;
    enum verdict_use use;
    enum uncacheable_reason reason;
} posts[] = {
    {"9110 9.3.3", "", HERE CC("max-age=9"), 200, SHARE},
    {"9110 9.3.3: Expires is explicit too", "", HERE DATE "Expires: " DATE_PLUS_60 "\n", 200, SHARE},
    {"9110 8.7: absolute", "", "Content-Location: http://O.example:80/a?b\n" CC("max-age=9"), 200, SHARE},
    {"9110 9.3.3: without Content-Location", "", CC("max-age=9"), 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"9110 9.3.3: of another", "", "Content-Location: /a\n" CC("max-age=9"), 200, USE_ALONE,
     UNCACHEABLE_METHOD},
    {"9110 9.3.3: of another host", "", "Content-Location: http://p.example/a?b\n" CC("max-age=9"), 200,
     USE_ALONE, UNCACHEABLE_METHOD},
    {"9110 9.3.3: two of them", "", HERE HERE CC("max-age=9"), 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"9110 9.3.3: without a lifetime", "", HERE LM_1K DATE, 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"9110 9.3.3: nor is public one", "", HERE CC("public") LM_1K DATE, 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"stale on arrival", "", HERE CC("max-age=0") ETAG, 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"to be validated", "", HERE CC("max-age=9, no-cache") ETAG, 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"another status", "", HERE CC("max-age=9"), 201, USE_ALONE, UNCACHEABLE_METHOD},
    {"a failure", "", HERE CC("max-age=9"), 404, USE_ALONE, UNCACHEABLE_METHOD},
    {"9111 3: no-store", "", HERE CC("max-age=9, no-store"), 200, USE_ALONE, UNCACHEABLE_NO_STORE},
    {"9111 3: private", "", HERE CC("max-age=9, private"), 200, USE_ALONE, UNCACHEABLE_PRIVATE},
    {"Set-Cookie", "", HERE CC("max-age=9") "Set-Cookie: a\n", 200, USE_ALONE, UNCACHEABLE_SET_COOKIE},
    {"9111 3.5: credentials", AUTH, HERE CC("max-age=9"), 200, USE_ALONE, UNCACHEABLE_AUTHORIZATION},
    {"9111 3.5: public", AUTH, HERE CC("max-age=9, public"), 200, SHARE},
    {"it varies", "", HERE CC("max-age=9") "Vary: X\n", 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"it is coded", "", HERE CC("max-age=9") "Content-Encoding: gzip\n", 200, USE_ALONE, UNCACHEABLE_METHOD},
    {"unkeyed inputs", "X-Forwarded-Host: evil\n", HERE CC("max-age=9"), 200, USE_ALONE, UNCACHEABLE_METHOD},
};

static struct verdict judge_sent(const char *method, const char *request, int status, const char *lines)
{
    struct config cfg = policy_config();
    struct test_head asked, answered;
    struct verdict v;
    request_head(&asked, method, request);
    add_lines(&asked, "Host: o.example\n");
    asked.head.target = SPAN("/a?b");
    policy_judge(&cfg, &cfg.fallback, &asked.head, response_head(&answered, status, lines), NOW_MS, NOW_MS,
                 &v);
    return v;
}

static void test_posts(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(posts); i++) {
        struct verdict v = judge_sent("POST", posts[i].request, posts[i].status, posts[i].lines);
        if (v.use != posts[i].use || v.reason != posts[i].reason)
            fail_msg("%s: use %d, %s", posts[i].what, v.use, uncacheable_reason_name(v.reason));
    }
    assert_int_equal(judge_sent("PUT", "", 200, HERE CC("max-age=9")).use, USE_ALONE);
    assert_int_equal(judge_sent("QUERY", "", 200, HERE CC("max-age=9")).use, USE_ALONE);
}

static const struct {
    const char *lines;
    bool is_suspicious;
} suspects[] = {
    {CC("public, max-age=60") "Set-Cookie: a\n", true},
    {CC("public, private, no-store") "Set-Cookie: a\n", true},
    {"CDN-Cache-Control: public\nSet-Cookie: a\n", true},
    {CC("max-age=60") "Set-Cookie: a\n", false},
    {CC("public, max-age=60"), false},
};

static void test_suspicious(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(suspects); i++)
        for (int set_cookie = SET_COOKIE_REFUSE; set_cookie <= SET_COOKIE_STORE; set_cookie++) {
            struct config cfg = policy_config();
            cfg.fallback.set_cookie = set_cookie;
            assert_int_equal(judge(&cfg, "GET", "", 200, suspects[i].lines).is_suspicious,
                             suspects[i].is_suspicious);
            assert_false(judge(&cfg, "POST", "", 200, suspects[i].lines).is_suspicious);
        }
}

static void test_request_methods(void **state)
{
    struct config cfg = policy_config();
    assert_int_equal(judge(&cfg, "HEAD", "", 200, CC("max-age=9")).use, USE_SHARE);
    struct verdict v = judge(&cfg, "POST", "", 200, CC("max-age=9"));
    assert_int_equal(v.use, USE_ALONE);
    assert_int_equal(v.reason, UNCACHEABLE_METHOD);
}

static void test_times(void **state) /* RFC 9111 section 4.2.3: the age counts from the request */
{
    struct config cfg = policy_config();
    struct test_head asked, answered;
    struct verdict v;
    const struct http_head *q = request_head(&asked, "GET", "");
    const struct http_head *a = response_head(
        &answered, 200, CC("max-age=60, stale-while-revalidate=3, stale-if-error=4") "Age: 10\n" LM_1K);
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS + 2500, &v);
    assert_int_equal(v.facts.initial_age_ms, 12500);
    assert_int_equal(v.facts.request_ms, NOW_MS);
    assert_int_equal(v.facts.response_ms, NOW_MS + 2500);
    assert_int_equal(v.facts.swr_ms, 3000);
    assert_int_equal(v.facts.sie_ms, 4000);
    assert_int_equal(v.facts.last_modified_s, NOW_S - 1000);
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS - 2500, &v); /* the clock was set back meanwhile */
    assert_int_equal(v.facts.initial_age_ms, 10000);
    a = response_head(&answered, 200, CC("max-age=60"));
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS, &v);
    assert_int_equal(v.facts.swr_ms, -1);
    assert_int_equal(v.facts.sie_ms, -1);
    assert_int_equal(v.facts.last_modified_s, -1);
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS + 60000, &v); /* it took as long as it lives */
    assert_int_equal(v.use, USE_SHARE_ONCE);
    assert_true(v.is_kept);
    a = response_head(&answered, 200, CC("max-age=60, must-revalidate"));
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS + 60000, &v);
    assert_int_equal(v.use, USE_ALONE);
    a = response_head(&answered, 200, CC("max-age=60") "Age: 60\n"); /* an older one */
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS + 1, &v);
    assert_int_equal(v.use, USE_ALONE);
    a = response_head(&answered, 200, CC("max-age=60"));
    answered.head.minor = 0; /* an HTTP/1.0 origin: apparent_age counts */
    add_lines(&answered, "Date: " DATE_MINUS_1K "\n");
    policy_judge(&cfg, &cfg.fallback, q, a, NOW_MS, NOW_MS, &v);
    assert_int_equal(v.facts.initial_age_ms, 1000000);
}

static void test_switches(void **state)
{
    const char *cookie = CC("max-age=60") "Set-Cookie: a=b\n";
    struct config cfg = policy_config();
    cfg.fallback.set_cookie = SET_COOKIE_STRIP;
    struct verdict v = judge(&cfg, "GET", "", 200, cookie);
    assert_int_equal(v.use, USE_SHARE);
    assert_true(v.strip_set_cookie);
    assert_false(judge(&cfg, "GET", "", 200, CC("max-age=60")).strip_set_cookie);
    v = judge(&cfg, "GET", "", 200, CC("private") "Set-Cookie: a=b\n");
    assert_int_equal(v.use, USE_ALONE);
    assert_false(v.strip_set_cookie); /* its own client gets it */
    v = judge(&cfg, "GET", "", 200, "Set-Cookie: a=b\n");
    assert_int_equal(v.reason, UNCACHEABLE_NO_LIFETIME);
    assert_false(v.strip_set_cookie); /* here too */

    cfg.fallback.set_cookie = SET_COOKIE_STORE;
    v = judge(&cfg, "GET", "", 200, cookie);
    assert_int_equal(v.use, USE_SHARE);
    assert_false(v.strip_set_cookie);

    cfg.fallback.heuristic = false;
    assert_int_equal(judge(&cfg, "GET", "", 200, LM_1K DATE).use, USE_VALIDATE);

    const char *asked = CC("no-store"); /* RFC 9111 section 5.2.1.5 */
    assert_int_equal(judge(&cfg, "GET", asked, 200, CC("max-age=60")).use, USE_SHARE);
    cfg.client.cache_control = CLIENT_CC_OBEY;
    v = judge(&cfg, "GET", asked, 200, CC("max-age=60"));
    assert_int_equal(v.use, USE_ALONE);
    assert_int_equal(v.reason, UNCACHEABLE_REQUEST);
}

static const struct {
    const char *rfc, *lines;
    uint32_t flags;
    bool may;
} answers[] = {
    {"plain", "", 0, true},
    {"9111 3.5", AUTH, 0, false},
    {"9111 3.5: allowed", AUTH, FACT_AUTH_MAY_SHARE, true},
};

static void test_may_answer(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct response_facts f = {.flags = answers[i].flags};
        struct test_head asked;
        if (policy_may_answer(request_head(&asked, "GET", answers[i].lines), &f) != answers[i].may)
            fail_msg("%s", answers[i].rfc);
    }
}

/* A response that lives for 60 s, of two ages. */
static const struct {
    const char *rfc, *lines;
    int64_t age_s;
    enum request_wish wish;
    int64_t later_s;
    enum request_wish later;
} wishes[] = {
    {"nothing", "", 0, WISH_NONE, 61, WISH_NONE},
    {"9111 5.2.1.1: max-age", CC("max-age=10"), 10, WISH_NONE, 11, WISH_VALIDATED},
    {"9111 5.2.1.1: 0", CC("max-age=0"), 0, WISH_NONE, 1, WISH_VALIDATED},
    {"9111 5.2.1.1: nothing stale", CC("max-age=100"), 59, WISH_NONE, 60, WISH_VALIDATED},
    {"9111 5.2.1.1: invalid", CC("max-age=x"), 0, WISH_NONE, 1, WISH_VALIDATED},
    {"9111 5.2.1.2: max-stale", CC("max-stale=5"), 65, WISH_STALE, 66, WISH_VALIDATED},
    {"9111 5.2.1.2: while it is fresh", CC("max-stale=5"), 59, WISH_NONE, 60, WISH_STALE},
    {"9111 5.2.1.2: of any age", CC("max-stale"), 60, WISH_STALE, 6000000, WISH_STALE},
    {"9111 5.2.1.2: invalid", CC("max-stale=x"), 60, WISH_STALE, 61, WISH_VALIDATED},
    {"9111 5.2.1.2: with max-age", CC("max-age=100, max-stale=50"), 100, WISH_STALE, 101, WISH_VALIDATED},
    {"9111 5.2.1.3: min-fresh", CC("min-fresh=30"), 30, WISH_NONE, 31, WISH_VALIDATED},
    {"9111 5.2.1.3: contradicts max-stale", CC("min-fresh=0, max-stale=9"), 60, WISH_STALE, 61,
     WISH_VALIDATED},
    {"9111 5.2.1.4: no-cache", CC("no-cache"), 0, WISH_VALIDATED, 61, WISH_VALIDATED},
    {"9111 5.2.1.5: no-store is about storing", CC("no-store"), 0, WISH_NONE, 61, WISH_NONE},
    {"9111 5.2.1.6: no-transform is never done", CC("no-transform"), 0, WISH_NONE, 61, WISH_NONE},
    {"9111 5.2.1.7: only-if-cached", CC("only-if-cached"), 0, WISH_NONE, 61, WISH_NONE},
    {"9111 5.2.3: unknown", CC("x, y=\"no-cache\""), 0, WISH_NONE, 61, WISH_NONE},
    {"9111 5.4: Pragma", "Pragma: x, No-Cache\n", 0, WISH_VALIDATED, 61, WISH_VALIDATED},
    {"9111 5.4: beside Cache-Control", CC("max-age=60") "Pragma: no-cache\n", 0, WISH_NONE, 61,
     WISH_VALIDATED},
    {"9111 5.4: another", "Pragma: nocache\n", 0, WISH_NONE, 61, WISH_NONE},
};

static void test_wishes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(wishes); i++) {
        struct config cfg = policy_config();
        struct test_head asked;
        const struct http_head *request = request_head(&asked, "GET", wishes[i].lines);
        struct response_facts f = {.response_ms = NOW_MS, .lifetime_ms = 60000};
        int64_t now_ms = NOW_MS + wishes[i].age_s * 1000, later_ms = NOW_MS + wishes[i].later_s * 1000;
        assert_int_equal(policy_wish(&cfg, request, &f, now_ms),
                         WISH_NONE); /* an edge cannot force a refetch */
        assert_false(policy_only_if_cached(&cfg, request));
        cfg.client.cache_control = CLIENT_CC_OBEY;
        if (policy_wish(&cfg, request, &f, now_ms) != wishes[i].wish ||
            policy_wish(&cfg, request, &f, later_ms) != wishes[i].later)
            fail_msg("%s", wishes[i].rfc);
        bool only = strstr(wishes[i].lines, "only-if-cached") != NULL;
        assert_int_equal(policy_only_if_cached(&cfg, request), only);
    }
}

static const struct {
    const char *why, *method, *lines;
    bool has_content;
    enum request_kind kind;
    int err;
} kinds[] = {
    {"GET", "GET", "", false, REQUEST_LOOKUP, 0},
    {"HEAD", "HEAD", "", false, REQUEST_LOOKUP, 0},
    {"GET with content", "GET", "", true, REQUEST_PASS, 0},
    {"credentials do not make content safe", "GET", AUTH, true, REQUEST_PASS, 0},
    {"credentials", "GET", AUTH, false, REQUEST_SOLO, 0},
    {"9111 4.3.2: If-Match", "GET", "If-Match: \"a\"\n", false, REQUEST_SOLO, 0},
    {"9111 4.3.2: If-Unmodified-Since", "HEAD", "If-Unmodified-Since: " DATE_NOW "\n", false, REQUEST_SOLO,
     0},
    {"9111 4.3.2: If-None-Match is ours", "GET", "If-None-Match: \"a\"\n", false, REQUEST_LOOKUP, 0},
    {"a range", "GET", "Range: bytes=0-1\n", false, REQUEST_LOOKUP, 0},
    {"POST", "POST", "", true, REQUEST_PASS, 0},
    {"DELETE", "DELETE", "", false, REQUEST_PASS, 0},
    {"9110 9.1: an unknown method", "PROPFIND", "", false, REQUEST_PASS, 0},
    {"9110 9.1: methods have a case", "get", "", false, REQUEST_PASS, 0},
    {"CONNECT", "CONNECT", "", false, REQUEST_REFUSE, ERR_METHOD},
    {"TRACE", "TRACE", "", false, REQUEST_REFUSE, ERR_METHOD},
    {"PURGE", "PURGE", "", false, REQUEST_REFUSE, ERR_METHOD},
    {"9110 7.6.2: OPTIONS", "OPTIONS", "Max-Forwards: 1\n", false, REQUEST_PASS, 0},
    {"9110 7.6.2: OPTIONS ends here", "OPTIONS", "Max-Forwards: 0\n", false, REQUEST_OPTIONS, 0},
    {"but a loop is one", "OPTIONS", "Max-Forwards: 0\nCDN-Loop: shield-host-1\n", false, REQUEST_REFUSE,
     ERR_LOOP},
    {"9110 7.6.2: only for OPTIONS", "GET", "Max-Forwards: 0\n", false, REQUEST_LOOKUP, 0},
    {"8586 2: another's id", "GET", "CDN-Loop: shield-host-2, shield\n", false, REQUEST_LOOKUP, 0},
    {"8586 2: our id", "GET", "CDN-Loop: a.example\nCDN-Loop: b; x=\"y\", shield-host-1; z=1\n", false,
     REQUEST_REFUSE, ERR_LOOP},
    {"8586 2: our id in any case", "POST", "CDN-Loop: Shield-Host-1\n", true, REQUEST_REFUSE, ERR_LOOP},
    {"8586 2: only as a cdn-id", "GET", "CDN-Loop: b; x=shield-host-1\n", false, REQUEST_LOOKUP, 0},
    {"8586 3: an open quote hides nothing", "GET", "CDN-Loop: a; b=\"c, shield-host-1\n", false,
     REQUEST_REFUSE, ERR_LOOP},
};

static void test_sort(void **state)
{
    struct config cfg = policy_config();
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct test_head asked;
        struct request_verdict v;
        policy_sort_request(&cfg, request_head(&asked, kinds[i].method, kinds[i].lines), kinds[i].has_content,
                            &v);
        if (v.kind != kinds[i].kind || v.err != kinds[i].err)
            fail_msg("%s: kind %d, %s", kinds[i].why, v.kind, err_name(v.err));
        assert_int_equal(v.why != PASSED_NONE, v.kind == REQUEST_SOLO || v.kind == REQUEST_PASS);
    }
}

static void test_sort_no_store(void **state) /* RFC 9111 section 5.2.1.5 */
{
    struct config cfg = policy_config();
    struct test_head asked;
    struct request_verdict v;
    const struct http_head *request = request_head(&asked, "GET", CC("no-store"));
    policy_sort_request(&cfg, request, false, &v);
    assert_int_equal(v.kind, REQUEST_LOOKUP);
    cfg.client.cache_control = CLIENT_CC_OBEY;
    policy_sort_request(&cfg, request, false, &v);
    assert_int_equal(v.kind, REQUEST_SOLO); /* others could not share what comes of it */
}

static void test_hosts(void **state)
{
    static const struct {
        const char *lines;
        int err;
    } hosts[] = {
        {"Host: www.example.com\n", 0},
        {"Host: WWW.Example.com:8080\n", 0},
        {"Host: [::1]:80\n", 0},
        {"Host: [::1]\n", 0},
        {"Host: example.com\n", ERR_MISDIRECTED},
        {"Host: www.example.com.evil\n", ERR_MISDIRECTED},
        {"", ERR_MISDIRECTED},
    };
    char *served[] = {(char *)"a.example", (char *)"www.example.com", (char *)"[::1]", NULL};
    struct config cfg = policy_config();
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct test_head asked;
        struct request_verdict v;
        const struct http_head *request = request_head(&asked, "GET", hosts[i].lines);
        cfg.hosts = served;
        policy_sort_request(&cfg, request, false, &v);
        if (v.err != hosts[i].err)
            fail_msg("%s", hosts[i].lines);
        cfg.hosts = served + 3; /* an empty list: all */
        policy_sort_request(&cfg, request, false, &v);
        assert_int_equal(v.err, 0);
    }
}

static void test_invalidates(void **state) /* RFC 9111 section 4.4 */
{
    assert_true(policy_invalidates(METHOD_POST, 200));
    assert_true(policy_invalidates(METHOD_PUT, 204));
    assert_true(policy_invalidates(METHOD_DELETE, 303));
    assert_true(policy_invalidates(METHOD_OTHER, 299));
    assert_false(policy_invalidates(METHOD_POST, 400));
    assert_false(policy_invalidates(METHOD_POST, 500));
    assert_false(policy_invalidates(METHOD_POST, 100));
    assert_false(policy_invalidates(METHOD_GET, 200));
    assert_false(policy_invalidates(METHOD_OPTIONS, 200));
}

/* What a route makes of a response; -1: the route does not say. */
static const struct {
    const char *what;
    int64_t ttl_s, min_s, max_s, default_s, by_404_s;
    int cache;
    int status;
    const char *response;
    enum verdict_use use;
    int64_t ttl_left_s; /* when the response arrives; -1: not looked at */
} routed[] = {
    {"ttl replaces", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, CC("max-age=5"), USE_SHARE, 100},
    {"ttl counts from here", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, CC("max-age=5") "Age: 50\n", USE_SHARE,
     100},
    {"ttl for what says nothing", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, "", USE_SHARE, 100},
    {"ttl overrides no no-store", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, CC("no-store"), USE_ALONE, -1},
    {"nor private", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, CC("private"), USE_ALONE, -1},
    {"nor no-cache", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, CC("no-cache") ETAG, USE_VALIDATE, -1},
    {"nor Set-Cookie", 100, -1, -1, -1, -1, CACHE_HONOUR, 200, "Set-Cookie: a=b\n", USE_ALONE, -1},
    {"force ignores no-store", 100, -1, -1, -1, -1, CACHE_FORCE, 200, CC("no-store"), USE_SHARE, 100},
    {"and private", 100, -1, -1, -1, -1, CACHE_FORCE, 200, CC("private=\"x\""), USE_SHARE, 100},
    {"and no-cache", -1, -1, -1, -1, -1, CACHE_FORCE, 200, CC("no-cache, max-age=7"), USE_SHARE, 7},
    {"but not Set-Cookie", 100, -1, -1, -1, -1, CACHE_FORCE, 200, "Set-Cookie: a=b\n", USE_ALONE, -1},
    {"nor Vary: *", 100, -1, -1, -1, -1, CACHE_FORCE, 200, "Vary: *\n", USE_ALONE, -1},
    {"an error keeps what the origin said", 100, 50, -1, 60, -1, CACHE_HONOUR, 404, CC("max-age=5"),
     USE_SHARE, 5},
    {"an error without a lifetime has none", 100, 50, -1, 60, -1, CACHE_HONOUR, 404, "", USE_SHARE_ONCE, -1},
    {"ttl_by_status", -1, -1, -1, -1, 10, CACHE_HONOUR, 404, "", USE_SHARE, 10},
    {"before ttl", 100, -1, -1, -1, 10, CACHE_HONOUR, 404, "", USE_SHARE, 10},
    {"0 does not store", -1, -1, -1, -1, 0, CACHE_HONOUR, 404, CC("max-age=60"), USE_SHARE_ONCE, -1},
    {"ttl_default for what has none", -1, -1, -1, 30, -1, CACHE_HONOUR, 200, "", USE_SHARE, 30},
    {"not for what has one", -1, -1, -1, 30, -1, CACHE_HONOUR, 200, CC("max-age=5"), USE_SHARE, 5},
    {"not for what is stale at once", -1, -1, -1, 30, -1, CACHE_HONOUR, 200, CC("max-age=0") ETAG,
     USE_VALIDATE, -1},
    {"ttl_min", -1, 20, -1, -1, -1, CACHE_HONOUR, 200, CC("max-age=5"), USE_SHARE, 20},
    {"ttl_min of what is stale at once", -1, 20, -1, -1, -1, CACHE_HONOUR, 200, CC("max-age=0"), USE_SHARE,
     20},
    {"ttl_min gives no lifetime", -1, 20, -1, -1, -1, CACHE_HONOUR, 200, "", USE_ALONE, -1},
    {"ttl_max", -1, -1, 20, -1, -1, CACHE_HONOUR, 200, CC("max-age=500"), USE_SHARE, 20},
    {"ttl_max with an Age", -1, -1, 20, -1, -1, CACHE_HONOUR, 200, CC("max-age=500") "Age: 100\n", USE_SHARE,
     20},
    {"ttl_max below what is left", -1, -1, 20, -1, -1, CACHE_HONOUR, 200, CC("max-age=110") "Age: 100\n",
     USE_SHARE, 10},
};

static void test_routes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(routed); i++) {
        struct config cfg = policy_config();
        struct config_status_ttl by_404 = {404, 404, (uint64_t)routed[i].by_404_s * 1000};
        struct config_route *r = &cfg.fallback;
        r->ttl_ms = routed[i].ttl_s < 0 ? -1 : routed[i].ttl_s * 1000;
        r->ttl_min_ms = routed[i].min_s < 0 ? -1 : routed[i].min_s * 1000;
        r->ttl_max_ms = routed[i].max_s < 0 ? -1 : routed[i].max_s * 1000;
        r->ttl_default_ms = routed[i].default_s < 0 ? -1 : routed[i].default_s * 1000;
        r->cache = routed[i].cache;
        r->ttl_by_status = &by_404;
        r->n_ttl_by_status = routed[i].by_404_s >= 0;
        struct verdict v = judge(&cfg, "GET", "", routed[i].status, routed[i].response);
        int64_t left_s = facts_ttl_ms(&v.facts, NOW_MS) / 1000;
        if (v.use != routed[i].use || (routed[i].ttl_left_s >= 0 && left_s != routed[i].ttl_left_s))
            fail_msg("%s: use %d, %lld s left", routed[i].what, v.use, (long long)left_s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),        cmocka_unit_test(test_heuristic_statuses),
        cmocka_unit_test(test_request_methods), cmocka_unit_test(test_suspicious),
        cmocka_unit_test(test_posts),           cmocka_unit_test(test_times),
        cmocka_unit_test(test_switches),        cmocka_unit_test(test_may_answer),
        cmocka_unit_test(test_wishes),          cmocka_unit_test(test_sort),
        cmocka_unit_test(test_sort_no_store),   cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_invalidates),     cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
