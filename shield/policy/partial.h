/* partial - going on with a response that broke off (RFC 9110 sections 13.1.5, 14.4 and 15.3.7). Pure. */
#ifndef SHIELD_POLICY_PARTIAL_H
#define SHIELD_POLICY_PARTIAL_H

#include "common/http_head.h"
#include "shield/policy/conditional.h"

/* Whether the rest of `response` may be asked for, should it break off: a 200 that names one strong
 * validator, as `v` has it. A Last-Modified is strong only beside the origin's own Date, and counts only
 * where there is no entity tag (sections 8.8.2.2 and 13.1.5). */
bool policy_may_resume(const struct http_head *response, const struct validators *v);

/* What is here of a response, and what is missing. */
struct part_wanted {
    const struct http_head *first; /* the 200 */
    const struct validators *validators;
    uint64_t from;   /* the first byte that is missing */
    uint64_t length; /* of the whole; UINT64_MAX: not known */
};

/* What an accepted answer brings: the bytes from `from` to `end` (exclusive) of `length`. */
struct part {
    uint64_t end, length;
};

/* Hold an answer to "Range: bytes=from-" with If-Range against what was wanted. `content_length` is that of
 * its content, UINT64_MAX when it announces none; `now_s` is the wall clock, for dates.
 *
 * returns  NULL and *out when it goes on with the very same representation, else why not: static text
 * spec     section 15.3.7.3: the same strong validator, present in both. Sections 14.4 and 15.3.7.1: one
 * part, which begins where the first broke off and agrees with its own length and with that of the whole. A
 * Content-Encoding may be missing beside the same strong entity tag (section 15.3.7: a 206 to an If-Range
 * need not repeat it); a date says nothing of codings, so there it must be the same */
const char *policy_part_refusal(const struct part_wanted *want, const struct http_head *answer,
                                uint64_t content_length, int64_t now_s, struct part *out);

#endif
