/* admin_tokens - who may ask the admin port for what: bearer tokens (RFC 6750) with scopes, or a
 * browser-proof loopback. Pure but for reading the file.
 *
 * A line of the file is TOKEN [SCOPE[,SCOPE]...] [name=NAME]: without scopes it may do everything, without a
 * name it is called token-LINE. */
#ifndef SHIELD_ADMIN_ADMIN_TOKENS_H
#define SHIELD_ADMIN_ADMIN_TOKENS_H

#include "common/http_head.h"
#include "shield/ops/tokens.h"

enum admin_scope {
    SCOPE_READ = 1,      /* read: metrics, stats, flights, explain */
    SCOPE_PURGE_URL = 2, /* purge:url: single URLs */
    SCOPE_PURGE_TAG = 4, /* purge:tag */
    SCOPE_PURGE_ALL = 8, /* purge:all: every purge, also of prefixes, hosts and everything */
    SCOPE_CONFIG = 16,   /* config: what changes how the shield runs */
    SCOPE_EVERYTHING = 31,
};

enum { ADMIN_NAME_MAX = 64 };

/* What somebody may do, and his name for the audit. */
struct admin_right {
    unsigned scopes; /* enum admin_scope */
    size_t name_len;
    char name[ADMIN_NAME_MAX];
};

struct admin_tokens;

/* As tokens_parse and tokens_read, for admin.token_file. */
int admin_tokens_parse(struct admin_tokens **out, const char *name, struct span text, struct buf *errors);
int admin_tokens_read(struct admin_tokens **out, const char *path, struct buf *errors);
void admin_tokens_free(struct admin_tokens **slot); /* NULL is fine */

/* The right of the token that `head` carries: once in Authorization as `Bearer TOKEN`, else once, bare, in
 * the field `other` (NULL: there is none). NULL for none of the file's; *is_given says whether there was one
 * at all. As tokens_allow. */
const struct admin_right *admin_tokens_find(const struct admin_tokens *t, const struct http_head *head,
                                            const char *other, bool *is_given);

/* What is said of a right that lacks `scope`: text, and the field WWW-Authenticate (RFC 6750 section 3.1). */
const char *admin_scope_fault(enum admin_scope scope);
const char *admin_scope_challenge(enum admin_scope scope);

/* Whether `host` (host[:port]) is "localhost" or a loopback address as a literal. Any other name could be an
 * attacker's, pointed at this address to make a browser's page and this port the same origin (DNS rebinding).
 */
bool admin_host_is_loopback(struct span host);

#endif
