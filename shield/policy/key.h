/* key - the primary cache key of a request (DESIGN.md section 9), and what of it the origin is asked with.
 * Pure.
 *
 * What is keyed reaches the origin as it is keyed, and what a route leaves out of the key does not reach it:
 * an answer that is shared cannot depend on what only one of its clients sent. */
#ifndef SHIELD_POLICY_KEY_H
#define SHIELD_POLICY_KEY_H

#include "common/buf.h"
#include "common/http1.h"
#include "shield/ops/config.h"

/* What a key is made of. */
struct key_request {
    const struct config *config;
    const struct config_route *route; /* of config */
    const struct http_head *head;
    struct http1_target target; /* of head, or of what it refers to */
    struct span client_ip;      /* of who has connected: whether it is trusted; empty: not */
};

enum { POLICY_KEY_PARTS_MAX = 4096 };

/* "ORIGIN\nHOST\nPATH?QUERY" and the parts that the route adds: origin's name; host in lower case without the
 * default port (and a trailing dot kept); path and query as policy_path_query gives them for a GET. A newline
 * ends this, the URI's own part, which all keys of one URI begin with; then comes for each part
 *
 *     a letter: r route, s scheme, h header, k cookie, c class; its name; "\n"; four bytes of length; that
 * many bytes
 *
 * with a length of all ones for what is absent. Appended to `out`; unambiguous, since neither a name nor the
 * URI's part may hold a newline, and what a client chooses freely has its length before it. False, and only
 * the URI's part in `out`, when the parts would exceed POLICY_KEY_PARTS_MAX bytes: such a request has no key
 * of its own, and its answer is for nobody else. Without memory out->failed is set. */
bool policy_key(struct buf *out, const struct key_request *r);

/* Of a key: the URI's part, without the newline that ends it, and path and query in it. */
struct span policy_key_uri(struct span key);
struct span policy_key_path_query(struct span key);

/* The host as a key has it: lower case, without the default port. */
void policy_put_host(struct buf *out, struct span host);
struct span policy_key_host(struct span key); /* of a key */

/* "//HOST/PATH?QUERY" of a key, for logs and /flights; nothing of the other parts, which may be secrets. */
void policy_key_show(struct buf *out, struct span key);

/* Path and query as `route` asks the origin for them: the path rewritten where the route says so, and of a
 * GET or HEAD the query by key.drop_query, query_ignore, query_allow and sort_query; the query of other
 * methods is no key's and stays whole.
 *
 * Parameters end at "&" alone, and one that is kept is never altered. With one of the three latter rules
 * empty ones ("&&") go, for they say nothing. Names are what stands before the first "=", compared as a form
 * has them: escapes decoded and "+" a space, so that no other spelling of an ignored name is another key.
 * Order is as sent; key.sort_query orders by name and leaves values of one name in theirs, which means
 * something to origins. Without a parameter left there is no "?". Appends to `out`; n log n, and memory in
 * proportion to the query. */
void policy_path_query(struct buf *out, const struct config_route *route, enum http_method method,
                       struct span path_query);

/* Whether `route` asks with all paths and queries as they were sent. */
static inline bool policy_keeps_target(const struct config_route *route)
{
    return !route->key.drop_query && !route->key.sort_query && route->rewrite_from == NULL &&
           route->key.query_ignore.n == 0 && route->key.query_allow.n == 0;
}

/* Path and query as sent, with the slash that a bare query lacks. */
void policy_put_path(struct buf *out, struct span path_query);

#endif
