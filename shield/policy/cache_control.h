/* cache_control - the directives of Cache-Control, in requests and responses (RFC 9111 section 5.2, RFC
 * 5861), and of the fields that take its place for us (RFC 9213). Pure.
 *
 * What restricts is believed in any form, what permits only in its proper one: a directive that cannot be
 * understood never makes a response live longer or go to more people. */
#ifndef SHIELD_POLICY_CACHE_CONTROL_H
#define SHIELD_POLICY_CACHE_CONTROL_H

#include "common/http_head.h"

/* The largest delta-seconds; greater ones become this (RFC 9111 section 1.2.2). */
#define CC_DELTA_MAX INT64_C(2147483648)
#define CC_ABSENT    INT64_C(-1)

enum cc_flag {
    CC_NO_STORE = 1u << 0,
    CC_NO_CACHE = 1u << 1,        /* without field names */
    CC_NO_CACHE_FIELDS = 1u << 2, /* no-cache="name, ..." */
    CC_PRIVATE = 1u << 3,         /* without field names */
    CC_PRIVATE_FIELDS = 1u << 4,  /* private="name, ..." */
    CC_PUBLIC = 1u << 5,
    CC_MUST_REVALIDATE = 1u << 6,
    CC_PROXY_REVALIDATE = 1u << 7,
    CC_MUST_UNDERSTAND = 1u << 8,
    CC_ONLY_IF_CACHED = 1u << 9,
    CC_MALFORMED = 1u << 10, /* a quoted string did not end: nobody can tell which directives were meant */
};

/* All directives of one message. Seconds are 0..CC_DELTA_MAX, or CC_ABSENT. An invalid value counts as 0 (for
 * min-fresh: as CC_DELTA_MAX), and of several the one that restricts most wins (RFC 9111 section 4.2.1). */
struct cache_control {
    uint32_t flags; /* enum cc_flag */
    int64_t max_age_s, s_maxage_s;
    int64_t stale_while_revalidate_s, stale_if_error_s; /* RFC 5861 */
    int64_t min_fresh_s, max_stale_s; /* requests; max-stale without a value is CC_DELTA_MAX */
};

/* Read all Cache-Control fields of `head` as one list. */
void cache_control_read(const struct http_head *head, struct cache_control *out);

/* Read the directives that govern a response for us: the first of Shield-Cache-Control, CDN-Cache-Control
 * (RFC 9213: a structured dictionary that is ignored when it is invalid or empty) and Surrogate-Control (W3C
 * Edge Architecture: when it has a directive that we know and that is not aimed at one device) that says
 * something, else Cache-Control. Gives the id of that field: with any other than FIELD_CACHE_CONTROL, neither
 * Cache-Control nor Expires counts. */
enum http_field_id cache_control_govern(const struct http_head *response, struct cache_control *out);

/* One directive: `argument` is without its quotes, but still with backslashes; empty when there is none. */
struct cc_directive {
    struct span name, argument;
    bool has_argument; /* an equals sign was there */
    bool is_quoted;
    bool is_open;      /* a quoted string in it does not end; it was cut at its first comma */
    bool is_malformed; /* that, white space around the equals sign, or bytes behind the quoted string */
};

/* Takes the next directive off `*rest`, the value of one field line. False at its end. */
bool cache_control_next(struct span *rest, struct cc_directive *out);

/* delta-seconds (RFC 9111 section 1.2.2): digits and nothing else; saturates. False when invalid. */
bool delta_seconds_parse(struct span text, int64_t *out);

#endif
