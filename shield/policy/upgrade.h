/* upgrade - requests that ask for another protocol, and what may be passed on of that (RFC 9110 section 7.8).
 * Pure.
 *
 * Upgrade is hop-by-hop: it goes upstream only where a route says which protocols may be spoken there, and
 * then as ours, with the one protocol that is allowed. A 101 counts only as the answer to that. */
#ifndef SHIELD_POLICY_UPGRADE_H
#define SHIELD_POLICY_UPGRADE_H

#include "common/buf.h"
#include "common/http_head.h"
#include "shield/ops/config.h"

/* Whether `request`, which has no content, is a GET of HTTP/1.1 that asks for a protocol that `route` allows:
 * the first of its list that does is *protocol then, as the route spells it; it lives as long as the route.
 * Names are compared without regard to case, a version ("x/2") is part of the name. */
bool upgrade_wanted(const struct config_route *route, const struct http_head *request, struct span *protocol);

/* Whether `answer`, a 101, switches to `protocol` and to nothing else, and promises no content. */
bool upgrade_is_granted(const struct http_head *answer, struct span protocol);

/* "Connection: upgrade" and "Upgrade: protocol", for a request or a 101. */
void upgrade_put(struct buf *out, struct span protocol);

#endif
