/* key_parts - what a route keys beyond the URI, and how that goes upstream (DESIGN.md section 9). Pure. */
#ifndef SHIELD_POLICY_KEY_PARTS_H
#define SHIELD_POLICY_KEY_PARTS_H

#include "common/http_head.h"
#include "shield/policy/key.h"

/* Whether the route's name is part of its keys: another route may have the same URI upstream, since a header
 * or a cookie chooses between them or one rewrites its paths, and this one asks with other fields, or keeps
 * what an origin calls private (force, and Set-Cookie). */
bool policy_keys_route(const struct config_route *route);

/* The parts of policy_key behind the URI's: the route, by policy_keys_route; scheme, headers, cookies,
 * classes, each as the route has them, in this order. False, and nothing appended, beyond
 * POLICY_KEY_PARTS_MAX. */
bool policy_put_key_parts(struct buf *out, const struct key_request *r);

/* "http" or "https": what the one X-Forwarded-Proto of a peer in edges.trusted says, else the listener's. */
struct span policy_scheme(const struct config *cfg, const struct http_head *request, struct span client_ip);

/* Whether the value of the field `name` (any case) is part of the route's keys. */
bool policy_keys_header(const struct config_route *route, struct span name);

/* Whether all requests with one key by this route have the same field `name` (any case) upstream. */
bool policy_key_settles(const struct config_route *route, struct span name);

/* The cookies that the route keys as one field: "Cookie: a=1; b=2" and CRLF, by the order of the route and
 * nothing else but what is keyed; nothing where none of them came. */
void policy_put_keyed_cookies(struct buf *out, const struct config_route *route,
                              const struct http_head *request);

/* "Shield-Class-NAME: CLASS" and CRLF for each of the route's classes that the request is in. */
void policy_put_classes(struct buf *out, const struct config_route *route, const struct http_head *request);

/* Whether a field is called Shield-Class-something, and whether it is one that the route itself sends. */
bool policy_is_class_field(struct span name);
bool policy_has_class_field(const struct config_route *route, struct span name);

#endif
