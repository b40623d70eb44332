/* tokens - files of secrets: who may ask the admin port, who may see why. Pure but for reading the file. */
#ifndef SHIELD_OPS_TOKENS_H
#define SHIELD_OPS_TOKENS_H

#include <stdbool.h>

#include "common/buf.h"

enum { TOKEN_MIN = 16, TOKEN_MAX = 256, TOKENS_MAX = 256, TOKEN_WORDS_MAX = 256 };

enum tokens_kind {
    TOKENS_BEARER, /* TOKEN_MIN to TOKEN_MAX bytes of RFC 6750's alphabet */
    TOKENS_SCOPED, /* the same; behind it in its line there may be words, see tokens_words */
    TOKENS_VALUE,  /* 1 to TOKEN_MAX bytes of printable ASCII: what somebody else's program may send */
};

struct tokens;

/* Read a token file: one token a line, blank lines and those that begin with '#' aside. A file without a
 * token is an error: somebody believes that it protects him. On failure "NAME:LINE: what is wrong; what would
 * be right" is appended to `errors`, never the token itself; `directive` (a literal) is the one that names
 * the file. Returns 0, ERR_SYNTAX, or ERR_NOMEM.
 */
int tokens_parse(struct tokens **out, enum tokens_kind kind, const char *directive, const char *name,
                 struct span text, struct buf *errors);

/* The same from a file; logs a warning when others may read it, or when one is shorter than TOKEN_MIN.
 * ERR_SYNTAX also when it cannot be read. */
int tokens_read(struct tokens **out, enum tokens_kind kind, const char *directive, const char *path,
                struct buf *errors);

void tokens_free(struct tokens **slot); /* wipes them; NULL is fine */

/* Whether `text` is one of them; never without tokens (NULL). The time taken depends neither on which token
 * it is nor on how much of one was guessed. Any thread. */
bool tokens_allow(const struct tokens *t, struct span text);

/* Which one it is, in the order of the file; -1: none. As tokens_allow. */
int tokens_find(const struct tokens *t, struct span text);

size_t tokens_count(const struct tokens *t);

/* Of TOKENS_SCOPED, 0 <= i < tokens_count: what stands behind the token, and in which line. */
struct span tokens_words(const struct tokens *t, size_t i);
unsigned tokens_line(const struct tokens *t, size_t i);

#endif
