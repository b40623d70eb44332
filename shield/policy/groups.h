/* groups - cache groups: responses that an origin wants forgotten together (RFC 9875). Pure.
 *
 * Groups belong to an origin: only responses of the same one may share them (section 2.1). */
#ifndef SHIELD_POLICY_GROUPS_H
#define SHIELD_POLICY_GROUPS_H

#include "common/buf.h"
#include "common/http_head.h"

/* Append the groups that `response` says it belongs to, each with a newline behind it, which none can hold.
 * A field that is not a list of strings says nothing. As many as a head can hold. */
void policy_groups(const struct http_head *response, struct buf *out);

/* The same for the groups whose stored responses it invalidates as an answer to `request_method`: none for a
 * safe one (section 3). */
void policy_invalidated_groups(enum http_method request_method, const struct http_head *response,
                               struct buf *out);

#endif
