/* key - the primary cache key of a request (DESIGN.md section 9). Pure. */
#ifndef SHIELD_POLICY_KEY_H
#define SHIELD_POLICY_KEY_H

#include "common/buf.h"
#include "common/http1.h"
#include "shield/ops/config.h"

/* "ORIGIN\nHOST\nPATH?QUERY": origin's name; host in lower case without the default port (and a trailing dot
 * kept); path and query exactly as they go upstream. Appended to `out`; unambiguous, since none may hold a
 * newline. */
void policy_key(struct buf *out, const struct config_origin *origin, const struct http1_target *target);

/* Path and query as key and upstream request both have them: as sent, with the slash that a bare query lacks.
 */
void policy_put_path(struct buf *out, struct span path_query);

/* "//HOST/PATH?QUERY" of a key, for logs and /flights. */
void policy_key_show(struct buf *out, struct span key);

#endif
