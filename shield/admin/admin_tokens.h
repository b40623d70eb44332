/* admin_tokens - who may ask the admin port: bearer tokens (RFC 6750), or a browser-proof loopback. Pure. */
#ifndef SHIELD_ADMIN_ADMIN_TOKENS_H
#define SHIELD_ADMIN_ADMIN_TOKENS_H

#include "shield/ops/tokens.h"

/* Whether an Authorization value is `Bearer TOKEN` with one of them; as tokens_allow. */
bool admin_tokens_allow(const struct tokens *t, struct span authorization);

/* Whether `host` (host[:port]) is "localhost" or a loopback address as a literal. Any other name could be an
 * attacker's, pointed at this address to make a browser's page and this port the same origin (DNS rebinding).
 */
bool admin_host_is_loopback(struct span host);

#endif
