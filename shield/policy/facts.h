/* facts - what the policy remembers of a stored response: plain data, written to disk as it is.
 *
 * All times are wall-clock milliseconds since 1970; durations are milliseconds; they saturate instead of
 * overflowing (RFC 9111 section 1.2.2). */
#ifndef SHIELD_POLICY_FACTS_H
#define SHIELD_POLICY_FACTS_H

#include <stdbool.h>
#include <stdint.h>

enum fact_flag {
    FACT_NO_CACHE = 1u << 0,        /* unqualified no-cache: validate before each use */
    FACT_MUST_REVALIDATE = 1u << 1, /* must-revalidate or proxy-revalidate: never stale */
    FACT_S_MAXAGE = 1u << 2,        /* s-maxage present: never stale either, RFC 9111 section 5.2.2.10 */
    FACT_AUTH_MAY_SHARE = 1u << 3,  /* public, s-maxage or must-revalidate: RFC 9111 section 3.5 */
    FACT_HEURISTIC = 1u << 4,       /* the lifetime is a guess: RFC 9111 section 4.2.2 */
    FACT_STRONG_ETAG = 1u << 5,
    FACT_HAS_VALIDATOR = 1u << 6,  /* an ETag or a Last-Modified */
    FACT_REQUEST_COOKIE = 1u << 7, /* the request that fetched it had Cookie */
};

/* Where the lifetime came from, the route's bounds by their names in the configuration: in the flags too,
 * above the others. */
#define LIFETIME_SOURCES(X)       \
    X(UNTOLD, "none")             \
    X(S_MAXAGE, "s-maxage")       \
    X(MAX_AGE, "max-age")         \
    X(EXPIRES, "Expires")         \
    X(HEURISTIC, "heuristic")     \
    X(MALFORMED, "malformed")     \
    X(TTL, "ttl")                 \
    X(TTL_DEFAULT, "ttl_default") \
    X(TTL_MIN, "ttl_min")         \
    X(TTL_MAX, "ttl_max")         \
    X(TTL_BY_STATUS, "ttl_by_status")

enum lifetime_source {
#define X(name, text) LIFETIME_##name,
    LIFETIME_SOURCES(X)
#undef X
        LIFETIME_SOURCES_COUNT
};
enum { FACT_SOURCE_SHIFT = 24, FACT_SOURCE_MASK = 0xf << FACT_SOURCE_SHIFT };

/* The field whose directives governed the response (RFC 9213), above that. */
#define LIFETIME_FIELDS(X)                          \
    X(CACHE_CONTROL, "Cache-Control")               \
    X(SHIELD_CACHE_CONTROL, "Shield-Cache-Control") \
    X(CDN_CACHE_CONTROL, "CDN-Cache-Control")       \
    X(SURROGATE_CONTROL, "Surrogate-Control")

enum lifetime_field {
#define X(name, text) LIFETIME_IN_##name,
    LIFETIME_FIELDS(X)
#undef X
};
enum { FACT_FIELD_SHIFT = 28, FACT_FIELD_MASK = 0x3 << FACT_FIELD_SHIFT };

struct response_facts {
    int64_t request_ms, response_ms; /* when the request left, when the head arrived */
    int64_t initial_age_ms;          /* corrected_initial_age, RFC 9111 section 4.2.3 */
    int64_t lifetime_ms;             /* freshness_lifetime, RFC 9111 section 4.2.1; 0: stale at once */
    int64_t swr_ms, sie_ms;          /* stale-while-revalidate, stale-if-error (RFC 5861); -1 when absent */
    int64_t last_modified_s;         /* -1 when absent or invalid */
    uint32_t flags;                  /* enum fact_flag */
    int32_t status;
};

/* current_age, RFC 9111 section 4.2.3; never negative. */
int64_t facts_age_ms(const struct response_facts *f, int64_t now_ms);

/* "s-maxage"; "none" also for what was stored before this was noted. */
const char *facts_lifetime_source(const struct response_facts *f);

/* "CDN-Cache-Control": of a lifetime that a directive gave, malformed or not, the field it was in; else
 * NULL. */
const char *facts_lifetime_field(const struct response_facts *f);

/* What is left of the lifetime; negative once stale. */
int64_t facts_ttl_ms(const struct response_facts *f, int64_t now_ms);

/* Fresh, and no unqualified no-cache: may be used without asking (RFC 9111 section 4). */
bool facts_reusable(const struct response_facts *f, int64_t now_ms);

/* XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015):
 * whether this request is the one that refreshes a fresh response early. `beta` above 1 favours earlier
 * refreshes; `chance` is uniform in (0, 1]. The cost of a fetch is the time from its request to its head. */
bool facts_due_early(const struct response_facts *f, int64_t now_ms, double beta, double chance);

/* It is stale from `since_ms` on, if not before. */
void facts_expire(struct response_facts *f, int64_t since_ms);

/* Shorten the lifetime by up to `percent` (at most 100) of it: by how much, `dice` decides. */
void facts_jitter(struct response_facts *f, unsigned percent, uint64_t dice);

#endif
