/* admin_tokens - who may ask the admin port: bearer tokens (RFC 6750), or a browser-proof loopback. Pure but
 * for reading the file. */
#ifndef SHIELD_ADMIN_ADMIN_TOKENS_H
#define SHIELD_ADMIN_ADMIN_TOKENS_H

#include <stdbool.h>

#include "common/buf.h"

enum { TOKEN_MIN = 16, TOKEN_MAX = 256, TOKENS_MAX = 256 };

struct admin_tokens;

/* Read a token file: one token a line, blank lines and those that begin with '#' aside. A token has TOKEN_MIN
 * to TOKEN_MAX bytes of RFC 6750's alphabet. A file without a token is an error: somebody believes that it
 * protects him. On failure "NAME:LINE: what is wrong; what would be right" is appended to `errors`, never the
 * token itself. Returns 0, ERR_SYNTAX, or ERR_NOMEM. */
int admin_tokens_parse(struct admin_tokens **out, const char *name, struct span text, struct buf *errors);

/* The same from a file; logs a warning when others may read it. ERR_SYNTAX also when it cannot be read. */
int admin_tokens_read(struct admin_tokens **out, const char *path, struct buf *errors);

void admin_tokens_free(struct admin_tokens **slot); /* wipes them; NULL is fine */

/* Whether an Authorization value is `Bearer TOKEN` with one of them. The time taken depends neither on which
 * token it is nor on how much of one was guessed. */
bool admin_tokens_allow(const struct admin_tokens *t, struct span authorization);

/* Whether `host` (host[:port]) is "localhost" or a loopback address as a literal. Any other name could be an
 * attacker's, pointed at this address to make a browser's page and this port the same origin (DNS rebinding).
 */
bool admin_host_is_loopback(struct span host);

#endif
