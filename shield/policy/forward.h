/* forward - the heads that leave us, rebuilt from parsed parts (RFC 9110 section 7.6, RFC 9111 section 3.2).
 * Pure.
 *
 * Nothing is ever forwarded as raw bytes: hop-by-hop fields go, Via and CDN-Loop are added, framing is ours.
 */
#ifndef SHIELD_POLICY_FORWARD_H
#define SHIELD_POLICY_FORWARD_H

#include "common/buf.h"
#include "common/http1.h"
#include "common/http_head.h"
#include "shield/ops/config.h"
#include "shield/policy/change_fields.h"

enum forward_mode {
    FORWARD_SHARED, /* a flight's: no Range, If-*, Authorization, content; unkeyed inputs dropped */
    FORWARD_ALONE,  /* one client's GET or HEAD: its conditions and range go along; unkeyed inputs dropped */
    FORWARD_PASS,   /* any method: everything end-to-end goes along, with content */
};

struct forward_request {
    const struct http_head *head;
    const struct config_route *route; /* what it keys goes along as it is keyed: see policy/key.h */
    enum forward_mode mode;
    struct span method;              /* "GET", "HEAD" or the client's own */
    struct span host;                /* for Host, after origins.NAME.host has been applied */
    struct span path_query;          /* exactly as the key has it */
    struct span etag, last_modified; /* when validating a stored response: If-None-Match, If-Modified-Since */
    bool resumes;                    /* Range: bytes=N- with If-Range: the validator above */
    uint64_t resume_at;              /* N */
    enum http1_framing content;      /* FORWARD_PASS: BODY_NONE, BODY_LENGTH or BODY_CHUNKED */
    uint64_t content_length;
    struct span client_ip; /* as struct peer has it: appended to X-Forwarded-For where it is an address */
    struct span upgrade;   /* FORWARD_PASS: the protocol to ask for, or empty */
};

/* Whether `request` has a field by which an origin may answer differently, and that no key tells apart
 * (DESIGN.md section 9): it goes along with unsafe methods only. */
bool policy_has_unkeyed_input(const struct http_head *request);

/* A complete request head into `out`, empty line included. `cfg` is the one that r->route and the key are of.
 * Of the unkeyed inputs and, where the route keys cookies, of the cookies only what is keyed goes upstream
 * with cacheable methods. X-Forwarded-Proto (key.scheme) and Shield-Class-NAME are ours. */
void policy_forward_request(struct buf *out, const struct config *cfg, const struct forward_request *r);

/* The stored form of a response head: status line and end-to-end fields, each with CRLF, and no empty line.
 * Without hop-by-hop fields, Content-Length, Age, what is withheld
 * (withheld.h) and (when told) Set-Cookie; with a Date if it had none
 * (`now_s`) and "Via: 1.1 shield" behind upstream's. */
void policy_store_block(struct buf *out, const struct config *cfg, const struct http_head *response,
                        bool strip_set_cookie, int64_t now_s);

/* A whole 1xx head, empty line included, as it goes on to clients (RFC 9110 sections 7.6 and 15.2): without
 * hop-by-hop fields and Content-Length, with "Via: 1.1 shield" behind upstream's. */
void policy_interim_head(struct buf *out, const struct config *cfg, const struct http_head *interim);

/* The head of a 101 as it goes on to its client: the same, with Upgrade and Connection as ours and our member
 * of Cache-Status behind upstream's. */
void policy_switching_head(struct buf *out, const struct config *cfg, const struct http_head *answer,
                           struct span protocol);

/* The stored block updated by a 304 or by the answer to a HEAD (RFC 9111 section 3.2: every field of it but
 * Content-Length, Content-Encoding, Content-Range, and hop-by-hop ones, replaces its namesakes; Date is
 * `now_s` where it has none). The status line stays. */
void policy_update_block(struct buf *out, const struct config *cfg, const struct http_head *stored,
                         const struct http_head *not_modified, int64_t now_s);

/* The stored block without what a 304 may have brought into policy_update_block's result, where judge has to
 * see it first: what is withheld (withheld.h), and Set-Cookie when told. */
void policy_strip_block(struct buf *out, const struct http_head *stored, bool strip_set_cookie);

/* The value of one Cache-Status member of ours (RFC 9211), e.g. "shield; hit; ttl=55". */
enum cache_status_fwd {
    FWD_NONE,
    FWD_BYPASS,
    FWD_METHOD,
    FWD_URI_MISS,
    FWD_VARY_MISS,
    FWD_MISS,
    FWD_REQUEST,
    FWD_STALE,
    FWD_PARTIAL
};
struct cache_status {
    bool hit;
    enum cache_status_fwd fwd;
    int fwd_status; /* 0: not told */
    bool has_ttl;
    int64_t ttl_s; /* may be negative */
    bool stored;
    int collapsed;      /* 0: not told, 1: collapsed, -1: collapsed=?0 */
    struct span key;    /* shown as it is; empty: not told */
    const char *detail; /* token or NULL */
};
void policy_put_cache_status(struct buf *out, const struct config *cfg, const struct cache_status *s);

/* "Proxy-Status: shield; error=..." (RFC 9209 section 2.3) and a fitting Retry-After for an answer of our own
 * with `err`; fields with CRLF. retry_after_s 0: the field is left out. `details`: text without quotes or
 * NULL. */
void policy_put_own_error(struct buf *out, const struct config *cfg, int err, uint32_t retry_after_s,
                          const char *details);

#endif
