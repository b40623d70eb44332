/* stale - when a stale response may be served, and how it leaves (RFC 9111 section 4.2.4, RFC 5861). Pure. */
#ifndef SHIELD_POLICY_STALE_H
#define SHIELD_POLICY_STALE_H

#include "common/http_head.h"
#include "shield/ops/config.h"
#include "shield/policy/facts.h"

enum stale_cause {
    STALE_REVALIDATING, /* a refresh is under way, or about to be: stale-while-revalidate */
    STALE_ERROR,        /* the origin answers 500, 502, 503 or 504: stale-if-error */
    STALE_DISCONNECTED, /* no final head from the origin: stale.if_disconnected, stale-if-error */
    STALE_WANTED,       /* the client's max-stale, where it is obeyed: RFC 9111 section 5.2.1.2 */
    STALE_OVERLOADED,   /* a limit of ours: stale.if_overloaded, stale-while-revalidate, stale-if-error */
};

/* The FACT_ flags of `facts` that forbid serving it stale, whatever the cause; 0: none does. */
uint32_t policy_stale_forbidden(const struct config_route *route, const struct response_facts *facts);
/* How long behind its lifetime it may be served where nothing forbids that; -1: not at all. */
int64_t policy_stale_window_ms(const struct config_route *route, const struct response_facts *facts,
                               enum stale_cause cause);

/* Whether a stale response with `facts` may be served now. must-revalidate, proxy-revalidate, no-cache and
 * (unless stale.obey_s_maxage is off) s-maxage forbid it whatever the cause. */
bool policy_may_serve_stale(const struct config_route *route, const struct response_facts *facts,
                            int64_t now_ms, enum stale_cause cause);

/* The same where the answer would be an error of ours, `err`: false when none of the causes fits it. */
bool policy_may_hide_error(const struct config_route *route, const struct response_facts *facts,
                           int64_t now_ms, int err);

/* RFC 5861 section 4: the errors that stale-if-error is about. */
bool policy_is_server_error(int status);

/* The stored block as it leaves when stale, so that no cache behind us takes it for fresh (DESIGN.md section
 * 9): lifetimes in Cache-Control and the targeted fields replaced by max-age=0, s-maxage and stale-* removed,
 * Expires as Date, X-Accel-Expires (nginx's own) in the past; other directives stay. */
void policy_stale_block(struct buf *out, const struct http_head *stored);

/* The stored block as it leaves where a route has an edge_ttl: the lifetimes replaced by that one, which
 * counts from here. So does its Date, since some caches hold an old one against it (RFC 9111 section 4.2.3).
 */
void policy_edge_block(struct buf *out, const struct http_head *stored, uint64_t edge_ttl_ms, int64_t now_s);

/* The X-Accel-Expires that policy_stale_block writes, as another shield before us does too: it says nothing
 * of what a validation has made fresh again, while an X-Accel-Expires of the origin stays. */
bool policy_is_stale_mark(const struct http_field *field);

#endif
