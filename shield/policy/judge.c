#include "shield/policy/judge.h"

#include "common/check.h"
#include "common/http_date.h"
#include "shield/policy/cache_control.h"
#include "shield/policy/conditional.h"
#include "shield/policy/forward.h"
#include "shield/policy/reference.h"
#include "shield/policy/vary.h"
#include "shield/policy/withheld.h"

#define HEURISTIC_MAX_S INT64_C(86400)

const char *uncacheable_reason_name(enum uncacheable_reason r)
{
    static const char *const names[] = {
#define X(name, text) text,
        UNCACHEABLE_REASONS(X)
#undef X
    };
    REQUIRE((unsigned)r < UNCACHEABLE_COUNT);
    return names[r];
}

/* All that the steps below ask about one response. */
struct judgement {
    const struct config *cfg;
    const struct config_route *route;
    const struct http_head *request, *response;
    struct cache_control cc; /* of the field that governs the response */
    enum http_field_id governing;
    bool obeys_expires; /* that is Cache-Control, and there is an Expires beside it */
    struct validators validators;
    int64_t request_ms, response_ms;
    int64_t date_s;   /* Date, or when the response was received: RFC 9110 section 6.6.1 */
    bool is_explicit; /* the origin gave a lifetime, valid or not */
};

/* Heuristically cacheable: RFC 9110 section 15.1, without 206, which is not stored here. */
static bool is_heuristic_status(int status)
{
    switch (status) {
    case 200:
    case 203:
    case 204:
    case 300:
    case 301:
    case 308:
    case 404:
    case 405:
    case 410:
    case 414:
    case 501:
        return true;
    default:
        return false;
    }
}

/* The final statuses of RFC 9110 section 15 whose caching needs nothing of its own: RFC 9111 section 5.2.2.3.
 */
static bool is_understood_status(int status)
{
    switch (status) {
    case 200 ... 205:
    case 300 ... 303:
    case 305:
    case 307:
    case 308:
    case 400 ... 417:
    case 421:
    case 422:
    case 426:
    case 500 ... 505:
        return true;
    default:
        return false;
    }
}

/* What the fault was may be in fields that no key tells apart, a long one say: an answer to one request,
 * whatever lifetime the origin gives to it; who may ask, or what is acceptable, is one client's too. RFC 6585
 * forbids to store 428, 429, 431 and 511. */
static bool blames_the_request(int status)
{
    switch (status) {
    case 400:
    case 401:
    case 406 ... 408:
    case 411 ... 413:
    case 415 ... 417:
    case 421:
    case 425:
    case 426:
    case 428:
    case 429:
    case 431:
    case 511:
        return true;
    default:
        return false;
    }
}

/* Answers that those who wait share even when nobody may keep them (DESIGN.md section 4). */
static bool is_shared_failure(int status)
{
    return status == 404 || status == 410 || status >= 500;
}

static bool auth_may_share(const struct cache_control *cc) /* RFC 9111 section 3.5 */
{
    return (cc->flags & (CC_PUBLIC | CC_MUST_REVALIDATE)) || cc->s_maxage_s != CC_ABSENT;
}

/* Whether no-store stands: a cache that understands the status ignores it beside must-understand, and one
 * that does not may not store at all (RFC 9111 sections 3 and 5.2.2.3). */
static bool forbids_storing(const struct judgement *j)
{
    if (j->cc.flags & CC_MUST_UNDERSTAND)
        return !is_understood_status(j->response->status);
    return j->cc.flags & CC_NO_STORE;
}

/* Why the response is its own client's alone, whatever its lifetime; UNCACHEABLE_NONE when it is not. */
static enum uncacheable_reason why_private(const struct judgement *j)
{
    if (forbids_storing(j))
        return UNCACHEABLE_NO_STORE;
    if (j->cc.flags & CC_PRIVATE)
        return UNCACHEABLE_PRIVATE;
    if (http_has(j->response, FIELD_SET_COOKIE) && j->route->set_cookie == SET_COOKIE_REFUSE)
        return UNCACHEABLE_SET_COOKIE;
    if (policy_varies_always(j->response))
        return UNCACHEABLE_VARY_STAR;
    if (http_has(j->request, FIELD_AUTHORIZATION) && !auth_may_share(&j->cc))
        return UNCACHEABLE_AUTHORIZATION;
    return UNCACHEABLE_NONE;
}

/* Expires minus Date; a value that is no date lies in the past, and of several the earliest counts (RFC 9111
 * sections 4.2.1 and 5.3). */
static int64_t expires_lifetime_s(const struct judgement *j)
{
    int64_t lifetime_s = CC_DELTA_MAX;
    for (uint32_t i = 0; i < j->response->n_fields; i++) {
        const struct http_field *f = &j->response->fields[i];
        int64_t expires_s;
        if (f->id != FIELD_EXPIRES)
            continue;
        if (!http_date_parse(f->value, j->response_ms / 1000, &expires_s))
            return 0;
        lifetime_s = MIN(lifetime_s, expires_s - j->date_s);
    }
    return MAX(lifetime_s, 0);
}

/* RFC 9111 section 4.2.2: a tenth of the time since the last change, a day at most. A request with Cookie
 * might have been answered for one person by an origin that says nothing about it. */
static int64_t heuristic_lifetime_s(const struct judgement *j)
{
    bool may_guess = is_heuristic_status(j->response->status) || (j->cc.flags & CC_PUBLIC);
    if (!may_guess || !j->route->heuristic || http_has(j->request, FIELD_COOKIE))
        return 0;
    if (j->validators.last_modified_s < 0 || j->date_s <= j->validators.last_modified_s)
        return 0;
    return MIN((j->date_s - j->validators.last_modified_s) / 10, HEURISTIC_MAX_S);
}

static void note_source(enum lifetime_source source, uint32_t *flags)
{
    *flags = (*flags & ~(uint32_t)FACT_SOURCE_MASK) | (uint32_t)source << FACT_SOURCE_SHIFT;
}

static int64_t come_from(enum lifetime_source source, int64_t seconds, uint32_t *flags)
{
    note_source(source, flags);
    return seconds;
}

static void note_field(enum http_field_id governing, uint32_t *flags)
{
    enum lifetime_field field = governing == FIELD_SHIELD_CACHE_CONTROL ? LIFETIME_IN_SHIELD_CACHE_CONTROL
                                : governing == FIELD_CDN_CACHE_CONTROL  ? LIFETIME_IN_CDN_CACHE_CONTROL
                                : governing == FIELD_SURROGATE_CONTROL  ? LIFETIME_IN_SURROGATE_CONTROL
                                                                        : LIFETIME_IN_CACHE_CONTROL;
    *flags |= (uint32_t)field << FACT_FIELD_SHIFT;
}

/* freshness_lifetime, RFC 9111 section 4.2.1. */
static int64_t lifetime_s(const struct judgement *j, uint32_t *flags)
{
    if (j->cc.flags & CC_MALFORMED)
        return come_from(LIFETIME_MALFORMED, 0, flags);
    if (j->cc.s_maxage_s != CC_ABSENT)
        return come_from(LIFETIME_S_MAXAGE, j->cc.s_maxage_s, flags);
    if (j->cc.max_age_s != CC_ABSENT)
        return come_from(LIFETIME_MAX_AGE, j->cc.max_age_s, flags);
    if (j->obeys_expires)
        return come_from(LIFETIME_EXPIRES, expires_lifetime_s(j), flags);
    int64_t guess_s = heuristic_lifetime_s(j);
    if (guess_s == 0)
        return 0;
    *flags |= FACT_HEURISTIC;
    return come_from(LIFETIME_HEURISTIC, guess_s, flags);
}

/* The Age field: of several members the first counts, an invalid one is ignored (RFC 9111 section 5.1). */
static int64_t age_value_s(const struct http_head *response)
{
    struct span first = http_value(response, FIELD_AGE);
    const char *comma = first.len > 0 ? memchr(first.p, ',', first.len) : NULL;
    if (comma != NULL)
        first.len = (size_t)(comma - first.p);
    int64_t age_s = 0;
    return delta_seconds_parse(span_trim(first), &age_s) ? age_s : 0;
}

/* Whether something older than HTTP/1.1, which may not know Age, has handled the response. */
static bool came_through_http10(const struct http_head *response)
{
    if (response->minor == 0)
        return true;
    struct http_list_it it = {0};
    struct span hop;
    while (http_list_each(response, FIELD_VIA, &it, &hop)) {
        struct span version = span_starts(hop, SPAN("HTTP/")) ? span_from(hop, 5) : hop;
        if (span_starts(version, SPAN("1.0 ")) || span_starts(version, SPAN("0.9 ")))
            return true;
    }
    return false;
}

/* corrected_initial_age, RFC 9111 section 4.2.3. The apparent age counts only where an old cache may have
 * kept silent: elsewhere it would make an origin whose clock is slow uncacheable without a word. */
static int64_t initial_age_ms(const struct judgement *j)
{
    int64_t delay_ms = MAX(j->response_ms - j->request_ms, 0);
    int64_t corrected_ms = age_value_s(j->response) * 1000 + delay_ms;
    if (!came_through_http10(j->response))
        return corrected_ms;
    int64_t apparent_ms = j->response_ms - j->date_s * 1000;
    return MAX(corrected_ms, apparent_ms);
}

static int64_t optional_ms(int64_t seconds)
{
    return seconds == CC_ABSENT ? -1 : seconds * 1000;
}

static const struct config_status_ttl *ttl_of_status(const struct config_route *r, int status)
{
    for (uint32_t i = 0; i < r->n_ttl_by_status; i++)
        if (status >= r->ttl_by_status[i].first && status <= r->ttl_by_status[i].last)
            return &r->ttl_by_status[i];
    return NULL;
}

static bool has_lifetime(const struct judgement *j, const struct response_facts *f)
{
    return j->is_explicit || (f->flags & FACT_HEURISTIC);
}

/* The route's own lifetimes begin when the response arrives, whatever its age is then. */
static void set_own_lifetime(struct judgement *j, struct response_facts *f, enum lifetime_source source,
                             int64_t ttl_ms)
{
    f->lifetime_ms = f->initial_age_ms + ttl_ms;
    note_source(source, &f->flags);
    f->flags &= ~(uint32_t)FACT_HEURISTIC;
    j->is_explicit = true;
}

static void clamp_lifetime(const struct config_route *r, struct response_facts *f)
{
    int64_t least_ms = f->initial_age_ms + r->ttl_min_ms, most_ms = f->initial_age_ms + r->ttl_max_ms;
    if (r->ttl_min_ms >= 0 && f->status < 400 && f->lifetime_ms < least_ms) {
        f->lifetime_ms = least_ms;
        note_source(LIFETIME_TTL_MIN, &f->flags);
    }
    if (r->ttl_max_ms >= 0 && f->lifetime_ms > most_ms) {
        f->lifetime_ms = most_ms;
        note_source(LIFETIME_TTL_MAX, &f->flags);
    }
}

/* DESIGN.md section 9: ttl replaces, ttl_default is for what has none, ttl_min and ttl_max clamp. An error is
 * kept longer than the origin said only where ttl_by_status names it. */
static void set_route_lifetime(struct judgement *j, struct response_facts *f)
{
    const struct config_route *r = j->route;
    const struct config_status_ttl *by_status = ttl_of_status(r, f->status);
    if (by_status != NULL) {
        set_own_lifetime(j, f, LIFETIME_TTL_BY_STATUS, (int64_t)by_status->ttl_ms);
        return;
    }
    bool is_error = f->status >= 400;
    if (r->ttl_ms >= 0 && !is_error)
        set_own_lifetime(j, f, LIFETIME_TTL, r->ttl_ms);
    else if (r->ttl_default_ms >= 0 && !is_error && !has_lifetime(j, f))
        set_own_lifetime(j, f, LIFETIME_TTL_DEFAULT, r->ttl_default_ms);
    if (has_lifetime(j, f))
        clamp_lifetime(r, f);
}

static void gather_facts(struct judgement *j, struct response_facts *f)
{
    *f = (struct response_facts){
        .request_ms = j->request_ms,
        .response_ms = j->response_ms,
        .initial_age_ms = initial_age_ms(j),
        .swr_ms = optional_ms(j->cc.stale_while_revalidate_s),
        .sie_ms = optional_ms(j->cc.stale_if_error_s),
        .last_modified_s = j->validators.last_modified_s,
        .status = j->response->status,
    };
    note_field(j->governing, &f->flags);
    f->lifetime_ms = lifetime_s(j, &f->flags) * 1000;
    set_route_lifetime(j, f);
    if (j->cc.flags & CC_NO_CACHE)
        f->flags |= FACT_NO_CACHE;
    if (j->cc.flags & (CC_MUST_REVALIDATE | CC_PROXY_REVALIDATE))
        f->flags |= FACT_MUST_REVALIDATE;
    if (j->cc.s_maxage_s != CC_ABSENT)
        f->flags |= FACT_S_MAXAGE;
    if (auth_may_share(&j->cc))
        f->flags |= FACT_AUTH_MAY_SHARE;
    if (policy_etag_is_strong(j->validators.etag))
        f->flags |= FACT_STRONG_ETAG;
    if (j->validators.etag.len > 0 || j->validators.last_modified_s >= 0)
        f->flags |= FACT_HAS_VALIDATOR;
    if (http_has(j->request, FIELD_COOKIE))
        f->flags |= FACT_REQUEST_COOKIE;
}

/* Names that cannot be kept apart from the rest: the directive is about all of it then (RFC 9111 sections
 * 5.2.2.4 and 5.2.2.7). */
static void widen_to_all(struct cache_control *cc)
{
    if (cc->flags & CC_PRIVATE_FIELDS)
        cc->flags |= CC_PRIVATE;
    if (cc->flags & CC_NO_CACHE_FIELDS)
        cc->flags |= CC_NO_CACHE;
}

static void gather(struct judgement *j, const struct config *cfg, const struct config_route *route,
                   const struct http_head *request, const struct http_head *response, int64_t request_ms,
                   int64_t response_ms)
{
    *j = (struct judgement){.cfg = cfg,
                            .route = route,
                            .request = request,
                            .response = response,
                            .request_ms = request_ms,
                            .response_ms = response_ms};
    j->governing = cache_control_govern(response, &j->cc);
    struct withheld withheld;
    if ((j->cc.flags & (CC_PRIVATE_FIELDS | CC_NO_CACHE_FIELDS)) && !withheld_read(response, &withheld))
        widen_to_all(&j->cc);
    if (route->cache == CACHE_FORCE)
        j->cc.flags &= ~(CC_NO_STORE | CC_PRIVATE | CC_PRIVATE_FIELDS | CC_NO_CACHE | CC_NO_CACHE_FIELDS);
    j->obeys_expires = j->governing == FIELD_CACHE_CONTROL && http_has(response, FIELD_EXPIRES);
    validators_of(response, response_ms / 1000, &j->validators);
    j->date_s = j->validators.date_s >= 0 ? j->validators.date_s : response_ms / 1000;
    j->is_explicit = j->cc.s_maxage_s != CC_ABSENT || j->cc.max_age_s != CC_ABSENT || j->obeys_expires;
}

static void settle(struct verdict *v, enum verdict_use use, enum uncacheable_reason reason)
{
    v->use = use;
    v->is_kept = false;
    v->reason = reason;
}

/* Whether Content-Location says that the content is what a GET of the target would bring (RFC 9110 section
 * 8.7). */
static bool is_about_target(const struct judgement *j)
{
    struct key_request target = {.config = j->cfg, .route = j->route, .head = j->request};
    struct buf own = {0}, named = {0};
    http1_target(j->request, &target.target);
    bool is_same = policy_key(&own, &target) && http_count(j->response, FIELD_CONTENT_LOCATION) == 1 &&
                   policy_reference_key(&named, &target, http_value(j->response, FIELD_CONTENT_LOCATION)) &&
                   !own.failed && span_eq(buf_span(&own), buf_span(&named));
    buf_fini(&own);
    buf_fini(&named);
    return is_same;
}

/* RFC 9110 section 9.3.3: the answer to a POST may serve later GETs. A POST goes upstream as its client sent
 * it: with inputs that no key tells apart its answer is its own, and when it varies, what it varies on is not
 * in the normal form that a GET would send. */
static bool stands_for_a_get(const struct judgement *j)
{
    return j->request->method == METHOD_POST && j->response->status == 200 && j->is_explicit &&
           !http_has(j->response, FIELD_VARY) && !http_has(j->response, FIELD_CONTENT_ENCODING) &&
           !policy_has_unkeyed_input(j->request) && is_about_target(j);
}

/* What this request and status never allow; false when they do. */
static bool judge_kind(const struct judgement *j, struct verdict *v)
{
    enum http_method method = j->request->method;
    int status = j->response->status;
    struct cache_control asked;

    if (method != METHOD_GET && method != METHOD_HEAD && !stands_for_a_get(j))
        settle(v, USE_ALONE, UNCACHEABLE_METHOD);
    else if (status == 206)
        settle(v, USE_ALONE, UNCACHEABLE_PARTIAL);
    else if (status < 200 || status == 304 || blames_the_request(status))
        settle(v, USE_ALONE, UNCACHEABLE_STATUS);
    else if (j->cfg->client.cache_control == CLIENT_CC_OBEY &&
             (cache_control_read(j->request, &asked), asked.flags & CC_NO_STORE))
        settle(v, USE_ALONE, UNCACHEABLE_REQUEST); /* RFC 9111 section 5.2.1.5 */
    else
        return false;
    return true;
}

/* Its origin took as long as it lives: stale when it arrives, and yet the newest there is. Whoever has waited
 * for it gets it, or all of them would ask an origin that is slow already. */
static bool is_only_late(const struct judgement *j, const struct response_facts *f)
{
    uint32_t strict = FACT_NO_CACHE | FACT_MUST_REVALIDATE | FACT_S_MAXAGE;
    int64_t delay_ms = MAX(j->response_ms - j->request_ms, 0);
    return !(f->flags & strict) && f->initial_age_ms - delay_ms < f->lifetime_ms;
}

/* What the response's freshness allows, once nothing forbids storing it. */
static void judge_freshness(const struct judgement *j, struct verdict *v)
{
    int status = j->response->status;
    enum uncacheable_reason why;

    if (facts_reusable(&v->facts, j->response_ms)) {
        settle(v, USE_SHARE, UNCACHEABLE_NONE);
        return;
    }
    if (v->facts.flags & FACT_NO_CACHE)
        why = UNCACHEABLE_NO_CACHE;
    else
        why = j->is_explicit || v->facts.lifetime_ms > 0 ? UNCACHEABLE_EXPIRED : UNCACHEABLE_NO_LIFETIME;

    if (is_shared_failure(status))
        settle(v, USE_SHARE_ONCE, status >= 500 ? UNCACHEABLE_ERROR : why);
    else if (is_only_late(j, &v->facts)) {
        settle(v, USE_SHARE_ONCE, UNCACHEABLE_EXPIRED);
        v->is_kept = true;
    } else if (!j->is_explicit && !(j->cc.flags & CC_PUBLIC) && !is_heuristic_status(status))
        settle(v, USE_ALONE, UNCACHEABLE_STATUS); /* RFC 9111 section 3, last point */
    else if (v->facts.flags & FACT_HAS_VALIDATOR)
        settle(v, USE_VALIDATE, why);
    else
        settle(v, USE_ALONE, why);
}

void policy_judge(const struct config *cfg, const struct config_route *route, const struct http_head *request,
                  const struct http_head *response, int64_t request_ms, int64_t response_ms,
                  struct verdict *out)
{
    struct judgement j;
    gather(&j, cfg, route, request, response, request_ms, response_ms);
    *out = (struct verdict){0};
    gather_facts(&j, &out->facts);

    if (judge_kind(&j, out))
        return;
    out->is_suspicious = (j.cc.flags & CC_PUBLIC) && http_has(response, FIELD_SET_COOKIE);
    enum uncacheable_reason reason = why_private(&j);
    if (reason != UNCACHEABLE_NONE) {
        settle(out, response->status >= 500 ? USE_ERROR_ALONE : USE_ALONE, reason);
        out->remember_briefly = reason == UNCACHEABLE_SET_COOKIE || reason == UNCACHEABLE_VARY_STAR;
        return;
    }
    judge_freshness(&j, out);
    if (request->method == METHOD_POST && out->use != USE_SHARE)
        settle(out, USE_ALONE, UNCACHEABLE_METHOD);
    out->strip_set_cookie = out->use != USE_ALONE && route->set_cookie == SET_COOKIE_STRIP &&
                            http_has(response, FIELD_SET_COOKIE);
}
