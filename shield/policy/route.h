/* route - which route a request takes: the first that matches, else the fallback. Pure.
 *
 * A pattern is literal bytes and '*', which stands for any run of bytes, also none, also over slashes. Hosts
 * are compared without case, port and final dot; methods exactly; a header when one of its lines matches; a
 * cookie by its name in any Cookie field, whatever its value (RFC 6265 section 4.2.1, read leniently).
 *
 * One path has many spellings, and the origin decides what they mean; what goes upstream is what came. So two
 * readings are compared (http_path.h): plain, with escapes decoded; and resolved, with dot segments and
 * double slashes gone too. A route that forbids (deny, or cache: off) matches when any reading does, also the
 * one without the parameters of segments: /%61dmin/, /x/../admin/, //admin/ and /admin;x/ do not get around a
 * route for /admin/(star). Every other route matches only when both readings do: what is for /static/(star)
 * is not for /static/../account, nor for /account/../static/x, which some origins take for the account. */
#ifndef SHIELD_POLICY_ROUTE_H
#define SHIELD_POLICY_ROUTE_H

#include "common/http1.h"
#include "shield/ops/config.h"

/* The route of `request`, whose target is `target`; part of `cfg`. Costs nothing when there are no routes,
 * and time in proportion to the request's length and the patterns otherwise. Without memory for the readings
 * of a long path the routes that forbid match, and no other. */
const struct config_route *policy_route(const struct config *cfg, const struct http_head *request,
                                        const struct http1_target *target);

/* The routes that a GET or HEAD of `target` may take, whatever its fields: into `out`, which has room for
 * cfg->n_routes + 1; gives how many, at least one. */
uint32_t policy_routes_of(const struct config *cfg, const struct http1_target *target,
                          const struct config_route **out);

#endif
