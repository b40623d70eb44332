/* reference - what Location and Content-Location of an answer point at (RFC 3986 section 5.2). Pure. */
#ifndef SHIELD_POLICY_REFERENCE_H
#define SHIELD_POLICY_REFERENCE_H

#include "shield/policy/key.h"

/* Append the primary key that `base` would have, by the route it would take, if it were for `reference`,
 * resolved against its target.
 * False, and nothing appended, when it is of another host than the base (RFC 9111 section 4.4: nobody
 * invalidates what is not his), of another scheme than http and https, or not a URI. */
bool policy_reference_key(struct buf *out, const struct key_request *base, struct span reference);

#endif
