/* judge - what a response may be used for (RFC 9111 section 3, DESIGN.md sections 4 and 9). Pure. */
#ifndef SHIELD_POLICY_JUDGE_H
#define SHIELD_POLICY_JUDGE_H

#include "common/http_head.h"
#include "shield/ops/config.h"
#include "shield/policy/facts.h"

enum verdict_use {
    USE_SHARE,       /* storable and reusable without validation: everyone goes on with it */
    USE_VALIDATE,    /* storable, but validated before each use: stored, waiters released */
    USE_SHARE_ONCE,  /* for those who wait now: 404, 410, 5xx that are not stored, and what is stale when it
                        arrives since its origin took as long as it lives */
    USE_ERROR_ALONE, /* 5xx with private, no-store or Set-Cookie: its own client's; the others get a 502 or
                        503 */
    USE_ALONE,       /* not storable: its own client's; the others are released, the key remembered */
};

/* Why not USE_SHARE; `uncacheable_total{reason}` has the same names. */
#define UNCACHEABLE_REASONS(X)        \
    X(NONE, "none")                   \
    X(METHOD, "method")               \
    X(STATUS, "status")               \
    X(NO_STORE, "no_store")           \
    X(PRIVATE, "private")             \
    X(NO_CACHE, "no_cache")           \
    X(SET_COOKIE, "set_cookie")       \
    X(VARY_STAR, "vary_star")         \
    X(AUTHORIZATION, "authorization") \
    X(NO_LIFETIME, "no_lifetime")     \
    X(EXPIRED, "expired")             \
    X(PARTIAL, "partial")             \
    X(ERROR, "error")                 \
    X(TOO_LARGE, "too_large")         \
    X(UNADMITTED, "unadmitted")       \
    X(REQUEST, "request")

enum uncacheable_reason {
#define X(name, text) UNCACHEABLE_##name,
    UNCACHEABLE_REASONS(X)
#undef X
        UNCACHEABLE_COUNT
};

const char *uncacheable_reason_name(enum uncacheable_reason r);

struct verdict {
    enum verdict_use use;
    enum uncacheable_reason reason;
    bool remember_briefly; /* Set-Cookie or Vary: * : the uncacheable mark lasts 10 s, not uncacheable_ttl */
    bool is_kept;          /* USE_SHARE_ONCE: stored for validation all the same */
    bool strip_set_cookie; /* cache.set_cookie: strip */
    bool is_suspicious;    /* public and Set-Cookie in one answer: probably a mistake of the origin */
    struct response_facts facts;
};

/* Judge a final response to `request`: GET or HEAD; the answer to a POST is USE_SHARE where it may serve
 * later GETs (RFC 9110 section 9.3.3), anything else USE_ALONE. Times are wall ms: when the request was sent,
 * and when the response head arrived. For a 304 to our validation, pass the updated head.
 */
void policy_judge(const struct config *cfg, const struct config_route *route, const struct http_head *request,
                  const struct http_head *response, int64_t request_ms, int64_t response_ms,
                  struct verdict *out);

/* Whether a stored response with `facts` may answer `request` at all, freshness aside: Authorization (RFC
 * 9111 section 3.5). */
bool policy_may_answer(const struct http_head *request, const struct response_facts *facts);

/* What `request` itself asks of a cache, by client.cache_control: obey (RFC 9111 sections 5.2.1 and 5.4; all
 * of it is advice). */
enum request_wish {
    WISH_NONE,      /* whatever the response allows */
    WISH_VALIDATED, /* not this one without asking the origin: no-cache, max-age, min-fresh, max-stale */
    WISH_STALE,     /* it is stale, and welcome still where nothing forbids it: max-stale */
};
enum request_wish policy_wish(const struct config *cfg, const struct http_head *request,
                              const struct response_facts *facts, int64_t now_ms);

/* Whether it wants no answer but a stored one (RFC 9111 section 5.2.1.7). */
bool policy_only_if_cached(const struct config *cfg, const struct http_head *request);

enum request_kind {
    REQUEST_LOOKUP, /* GET or HEAD that may join: ask the cache */
    REQUEST_SOLO, /* GET or HEAD that may be answered from the store but never joins (Authorization, If-Match,
                   * a no-store that is obeyed) */
    REQUEST_PASS, /* straight to the origin: other methods, GET or HEAD with content */
    REQUEST_OPTIONS, /* OPTIONS that may go no further: answered here (RFC 9110 section 7.6.2) */
    REQUEST_FIXED,   /* answered here with what its route has ready */
    REQUEST_REFUSE,  /* answered here with err: CONNECT, TRACE, a loop */
};

/* Why a request goes past the cache, to the origin and shared with nobody; `passes_total{reason}` has the
 * same names. */
#define PASS_REASONS(X)               \
    X(NONE, "none")                   \
    X(METHOD, "method")               \
    X(CONTENT, "content")             \
    X(AUTHORIZATION, "authorization") \
    X(CONDITION, "condition")         \
    X(NO_STORE, "no_store")           \
    X(ROUTE, "route")                 \
    X(UPGRADE, "upgrade")             \
    X(COLLAPSE, "collapse")           \
    X(KEY, "key")                     \
    X(UNCACHEABLE, "uncacheable")     \
    X(RANGE, "range")

enum pass_reason {
#define X(name, text) PASSED_##name,
    PASS_REASONS(X)
#undef X
        PASSED_COUNT
};

struct request_verdict {
    enum request_kind kind;
    enum pass_reason why; /* REQUEST_SOLO, REQUEST_PASS */
    int err;              /* REQUEST_REFUSE: ERR_METHOD, ERR_EXPECTATION, ERR_LOOP, ERR_MISDIRECTED */
    struct span upgrade; /* REQUEST_PASS: the protocol that it may switch to, as its route has it; or empty */
};

/* Sort a request; `has_content` tells whether a body follows its head. */
void policy_sort_request(const struct config *cfg, const struct http_head *request, bool has_content,
                         struct request_verdict *out);

/* What its route makes of a sorted request: an answer that is ready (redirect, answer, deny), or a pass
 * (cache: off, or an upgrade that the route allows). */
void policy_sort_by_route(const struct config_route *route, const struct http_head *request,
                          struct request_verdict *v);

/* What would be looked up is passed instead: the cache has no place for it. */
void policy_pass_by(struct request_verdict *v, enum pass_reason why);

/* Whether a non-error response to `request_method` invalidates what is stored for the URI (RFC 9111
 * section 4.4). */
bool policy_invalidates(enum http_method request_method, int status);

#endif
