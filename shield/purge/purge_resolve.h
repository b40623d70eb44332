/* purge_resolve - from what a caller names to what the log matches (DESIGN.md section 7). Pure.
 *
 * A URL is one that clients ask for; what is stored lies under a key, which the route has a say in: it may
 * choose another origin, leave out or sort parameters, rewrite the path. So a URL is taken through every
 * route that a GET or HEAD of it may take, and a prefix through every rewriting. What a URL is by another
 * spelling of its path is another URL, as it is another key. */
#ifndef SHIELD_PURGE_PURGE_RESOLVE_H
#define SHIELD_PURGE_PURGE_RESOLVE_H

#include "common/arena.h"
#include "common/buf.h"
#include "shield/ops/config.h"
#include "shield/purge/purge.h"

/* Append the records (struct purge_record each) of `o` to `records`, number and at_ms left 0; their spans
 * live in `a`. Gives 0, ERR_NOMEM or ERR_SYNTAX:
 *
 * PURGE_URL     "http://HOST/PATH?QUERY" or https; what is behind "#" does not count
 * PURGE_PREFIX  the beginning of one, or of one without scheme; without a path: the whole host. What stands
 *               behind a "?" counts only where no route alters queries
 * PURGE_TAG     any but the empty one
 * PURGE_HOST    host or host:port
 */
int purge_resolve(const struct config *cfg, const struct purge_order *o, struct arena *a,
                  struct buf *records);

#endif
