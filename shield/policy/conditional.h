/* conditional - conditional and range requests held against a response (RFC 9110 sections 13 and 14). Pure.
 */
#ifndef SHIELD_POLICY_CONDITIONAL_H
#define SHIELD_POLICY_CONDITIONAL_H

#include "common/http_head.h"

/* What of a response the conditions are held against. */
struct validators {
    struct span etag; /* with quotes and W/; empty when absent */
    struct span last_modified;
    int64_t last_modified_s; /* -1 when absent */
    int64_t date_s;          /* of the Date field, -1 when absent: for Last-Modified's strength (8.8.2.2) */
    int status;
};

void validators_of(const struct http_head *response, int64_t now_s, struct validators *out);

enum condition { CONDITION_SEND, CONDITION_NOT_MODIFIED };

/* RFC 9110 section 13.2.2, in its order of precedence; for a cache only If-None-Match and If-Modified-Since
 * count unless the response is ours to judge (If-Match and If-Unmodified-Since go to the origin: see
 * policy_has_origin_condition).
 * Any method but GET and HEAD gets CONDITION_SEND. */
enum condition policy_condition(const struct http_head *request, const struct validators *v);

/* If-Match or If-Unmodified-Since: a cache forwards these (RFC 9111 section 4.3.2). */
bool policy_has_origin_condition(const struct http_head *request);

/* Whether the request's Range applies: GET of a 200, bytes ranges that parse, and If-Range absent or strongly
 * matching (RFC 9110 sections 14.2 and 13.1.5). Gives the specs in out[] (room for cap) and how many they
 * are; 0 when the whole representation is wanted, -1 when more than cap parts of it are. */
struct http_range_spec;
int policy_wants_ranges(const struct http_head *request, const struct validators *v,
                        struct http_range_spec *out, int cap);

bool policy_etag_is_strong(struct span etag);

/* Whether the validators tell byte for byte which representation it is: a strong entity tag or, where there
 * is none, a Last-Modified at least a second older than the Date (RFC 9110 section 8.8.2.2). */
bool policy_is_strong(const struct validators *v);

#endif
