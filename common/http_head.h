/* http_head - the head of one HTTP message, as spans into the bytes it was parsed from (RFC 9110 section 6).
 *
 * The same struct serves requests and responses, in both directions, in the proxy and in the bench. It owns
 * only its field array; http_head_copy moves head and bytes into an arena when they must live longer. */
#ifndef COMMON_HTTP_HEAD_H
#define COMMON_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/span.h"

/* Fields that code asks for by id: the parser recognises them once, in any case. */
#define HTTP_FIELDS(X)                                        \
    X(ACCEPT_ENCODING, "Accept-Encoding")                     \
    X(ACCEPT_LANGUAGE, "Accept-Language")                     \
    X(ACCEPT_RANGES, "Accept-Ranges")                         \
    X(AGE, "Age")                                             \
    X(AUTHORIZATION, "Authorization")                         \
    X(CACHE_CONTROL, "Cache-Control")                         \
    X(CACHE_STATUS, "Cache-Status")                           \
    X(CDN_CACHE_CONTROL, "CDN-Cache-Control")                 \
    X(CDN_LOOP, "CDN-Loop")                                   \
    X(CONNECTION, "Connection")                               \
    X(CONTENT_ENCODING, "Content-Encoding")                   \
    X(CONTENT_LENGTH, "Content-Length")                       \
    X(CONTENT_LOCATION, "Content-Location")                   \
    X(CONTENT_RANGE, "Content-Range")                         \
    X(CONTENT_TYPE, "Content-Type")                           \
    X(COOKIE, "Cookie")                                       \
    X(DATE, "Date")                                           \
    X(ETAG, "ETag")                                           \
    X(EXPECT, "Expect")                                       \
    X(EXPIRES, "Expires")                                     \
    X(FORWARDED, "Forwarded")                                 \
    X(HOST, "Host")                                           \
    X(IF_MATCH, "If-Match")                                   \
    X(IF_MODIFIED_SINCE, "If-Modified-Since")                 \
    X(IF_NONE_MATCH, "If-None-Match")                         \
    X(IF_RANGE, "If-Range")                                   \
    X(IF_UNMODIFIED_SINCE, "If-Unmodified-Since")             \
    X(KEEP_ALIVE, "Keep-Alive")                               \
    X(LAST_MODIFIED, "Last-Modified")                         \
    X(LOCATION, "Location")                                   \
    X(MAX_FORWARDS, "Max-Forwards")                           \
    X(PRAGMA, "Pragma")                                       \
    X(PROXY_AUTHENTICATE, "Proxy-Authenticate")               \
    X(PROXY_AUTHENTICATION_INFO, "Proxy-Authentication-Info") \
    X(PROXY_AUTHORIZATION, "Proxy-Authorization")             \
    X(PROXY_CONNECTION, "Proxy-Connection")                   \
    X(PROXY_STATUS, "Proxy-Status")                           \
    X(RANGE, "Range")                                         \
    X(RETRY_AFTER, "Retry-After")                             \
    X(SERVER, "Server")                                       \
    X(SET_COOKIE, "Set-Cookie")                               \
    X(SHIELD_CACHE_CONTROL, "Shield-Cache-Control")           \
    X(SHIELD_DEBUG, "Shield-Debug")                           \
    X(SURROGATE_CONTROL, "Surrogate-Control")                 \
    X(TE, "TE")                                               \
    X(TRAILER, "Trailer")                                     \
    X(TRANSFER_ENCODING, "Transfer-Encoding")                 \
    X(UPGRADE, "Upgrade")                                     \
    X(VARY, "Vary")                                           \
    X(VIA, "Via")                                             \
    X(X_FORWARDED_FOR, "X-Forwarded-For")                     \
    X(X_FORWARDED_HOST, "X-Forwarded-Host")                   \
    X(X_FORWARDED_PORT, "X-Forwarded-Port")                   \
    X(X_FORWARDED_PREFIX, "X-Forwarded-Prefix")               \
    X(X_FORWARDED_PROTO, "X-Forwarded-Proto")                 \
    X(X_FORWARDED_SCHEME, "X-Forwarded-Scheme")               \
    X(X_FORWARDED_SERVER, "X-Forwarded-Server")               \
    X(X_HOST, "X-Host")                                       \
    X(X_HTTP_METHOD_OVERRIDE, "X-HTTP-Method-Override")       \
    X(X_ORIGINAL_URL, "X-Original-URL")                       \
    X(X_REWRITE_URL, "X-Rewrite-URL")

enum http_field_id {
    FIELD_OTHER = 0,
#define X(id, text) FIELD_##id,
    HTTP_FIELDS(X)
#undef X
        FIELD_COUNT
};

_Static_assert(FIELD_COUNT <= 64, "http_head.present is 64 bits");

/* Methods that code asks for; any other token is METHOD_OTHER and passes with its text unchanged. */
#define HTTP_METHODS(X) \
    X(GET)              \
    X(HEAD) X(POST) X(PUT) X(DELETE) X(OPTIONS) X(TRACE) X(CONNECT) X(PATCH) X(PURGE) X(SOFTPURGE) X(BAN)

enum http_method {
    METHOD_OTHER = 0,
#define X(m) METHOD_##m,
    HTTP_METHODS(X)
#undef X
        METHOD_COUNT
};

struct http_field {
    struct span name, value; /* value is trimmed of OWS */
    enum http_field_id id;
};

struct http_head {
    /* request */
    enum http_method method;
    struct span method_text, target;
    /* response; status is 0 in a request */
    int status;
    struct span reason;
    /* both */
    int minor; /* HTTP/1.minor, 0 or 1 (a higher minor is read as 1) */
    struct http_field *fields;
    uint32_t n_fields, cap_fields;
    uint64_t present; /* bit per enum http_field_id that occurs */
};

static inline bool http_has(const struct http_head *h, enum http_field_id id)
{
    return (h->present >> id) & 1;
}

/* The first field with `id`, or NULL. */
const struct http_field *http_find(const struct http_head *h, enum http_field_id id);

/* The first field called `name` (any case), known or not, or NULL. */
const struct http_field *http_find_name(const struct http_head *h, struct span name);

/* The value of the first `id`; an empty span with p NULL when there is none. */
struct span http_value(const struct http_head *h, enum http_field_id id);

/* How often `id` occurs. */
uint32_t http_count(const struct http_head *h, enum http_field_id id);

/* Take all fields with `id`, or called `name` (any case), out of the caller's array; gives how many. */
uint32_t http_remove(struct http_head *h, enum http_field_id id);
uint32_t http_remove_name(struct http_head *h, struct span name);

/* The id of a field name in any case, FIELD_OTHER when unknown; and back. */
enum http_field_id http_field_id(struct span name);
struct span http_field_name(enum http_field_id id);

/* Methods are case-sensitive (RFC 9110 section 9.1). */
enum http_method http_method_id(struct span text);

static inline bool http_method_is_safe(enum http_method m) /* RFC 9110 section 9.2.1 */
{
    return m == METHOD_GET || m == METHOD_HEAD || m == METHOD_OPTIONS || m == METHOD_TRACE;
}

/* The registered reason phrase, "" for an unknown status. */
struct span http_reason(int status);

/* A deep copy of `from` (bytes and fields) in `a`. Returns 0 or ERR_NOMEM. */
int http_head_copy(struct http_head *to, const struct http_head *from, struct arena *a);

/* Whether the field is named in Connection, or is hop-by-hop by itself (RFC 9110 section 7.6.1: Connection,
 * Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade, HTTP2-Settings, Proxy-Auth*). Fields
 * that Connection may never remove (Host, Content-Length, Cache-Control, Vary and the like) are not
 * hop-by-hop even when named. */
bool http_is_hop_by_hop(const struct http_head *h, const struct http_field *f);

/* Walks a comma-separated list (RFC 9110 section 5.6.1), respecting quoted strings: takes the next non-empty
 * element off `*rest` into `*item`, trimmed. False at the end. */
bool http_list_next(struct span *rest, struct span *item);

/* The same over all fields with `id`, as one list. Start with *it = (struct http_list_it){0}. */
struct http_list_it {
    uint32_t field; /* index of the field after the one being walked */
    struct span rest;
};
bool http_list_each(const struct http_head *h, enum http_field_id id, struct http_list_it *it,
                    struct span *item);

/* Whether the list field `id` has `token` (any case) as an element, parameters aside. */
bool http_list_has(const struct http_head *h, enum http_field_id id, struct span token);

/* Whether Connection names `option` (any case). Its members are tokens (RFC 9110 section 7.6.1): every comma
 * parts them, and no quote hides one. */
bool http_connection_has(const struct http_head *h, struct span option);

bool http_is_token(struct span s); /* RFC 9110 section 5.6.2, at least one byte */

/* "Name: value\r\n" */
void http_put_field(struct buf *out, struct span name, struct span value);

#endif
