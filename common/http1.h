/* http1 - a strict, incremental HTTP/1 parser for both directions (RFC 9112).
 *
 * It refuses rather than repairs: what two implementations could read differently is an error here. Heads are
 * read line by line as they come (a byte is looked at a fixed number of times, however the bytes arrive) and
 * end as spans into contiguous bytes; bodies are decoded in place, giving spans of payload without copying.
 * Knows no connection and no cache. All functions are pure but for the struct they are given. */
#ifndef COMMON_HTTP1_H
#define COMMON_HTTP1_H

#include "common/err.h"
#include "common/http_head.h"

struct http1_limits {
    uint32_t max_head;      /* bytes from the start line to the empty line; over: ERR_HEAD_TOO_LARGE */
    uint32_t max_fields;    /* over: ERR_TOO_MANY_FIELDS */
    uint32_t max_url;       /* request target bytes; over: ERR_URI_TOO_LONG */
    uint32_t max_chunk_ext; /* bytes of chunk extensions of one chunk, and 16 times that
                             * what those of all chunks exceed the content by; over: ERR_CONTENT_TOO_LARGE */
    uint32_t max_trailers;  /* bytes of the trailer section; over: ERR_HEAD_TOO_LARGE */
};

/* Where the reading of a head stands. Zero it for each message. */
struct http1_scan {
    uint32_t done;       /* bytes looked at */
    uint32_t line;       /* private: where the unfinished line begins */
    uint32_t n_fields;   /* private: field lines read, over all calls */
    bool has_start_line; /* private */
};

enum http1_status {
    HTTP1_MORE = 0, /* the head is not complete: call again with the same bytes and more behind them */
    HTTP1_HEAD,     /* complete and valid: head_bytes says how long it was */
    HTTP1_BAD,      /* refused: see err */
};

struct http1_result {
    enum http1_status status;
    int err;         /* ERR_BAD_REQUEST, ERR_HEAD_TOO_LARGE, ERR_URI_TOO_LONG, ERR_VERSION, ... ; responses:
                      * always ERR_PROTOCOL */
    int cause;       /* the same, for responses too: tells which of the limits was reached */
    const char *why; /* static text, for logs: what was wrong */
    uint32_t head_bytes;
};

enum { HTTP1_CONNECTION_BYTES = 1024 }; /* of all Connection values in one head; over: ERR_HEAD_TOO_LARGE */

/* Find and parse a request (response) head at p[0..len). `head->fields` and `head->cap_fields` are the
 * caller's array; the spans point into p. A single CRLF before a request line is skipped and counted (RFC
 * 9112 2.2). Checks syntax only of what is in the head: request line, fields, and for requests exactly one
 * valid Host (RFC 9112 3.2; HTTP/1.0 may lack it) and a target in origin-, absolute-, authority- (CONNECT) or
 * asterisk-form (OPTIONS). Framing is http1_body_for_request's matter.
 *
 * Lines are judged in order, each as soon as it is whole, so that a client that says "GET /" and waits is
 * refused at once; so is, within a line, a NUL, and in a response a CR without LF and a beginning other than
 * "HTTP/1.". What is reported does not depend on how the bytes arrived. `head` is filled with
 * HTTP1_HEAD only. `p` may be another address in each call, as long as the bytes are the same. */
struct http1_result http1_parse_request(struct http1_scan *scan, const char *p, size_t len,
                                        const struct http1_limits *limits, struct http_head *head);
struct http1_result http1_parse_response(struct http1_scan *scan, const char *p, size_t len,
                                         const struct http1_limits *limits, struct http_head *head);

/* The parts of a valid request target (RFC 9112 section 3.2); absolute-form wins over Host (3.2.2).
 *
 * host        as sent, with port if there was one; empty only in HTTP/1.0 without Host
 * path_query  from the slash on: "/" where absolute-form had none; "*" for asterisk-form, and for OPTIONS in
 *             absolute-form without path and query (3.2.4); empty for CONNECT. Begins with '?' where
 *             absolute-form had a query but no path: put "/" before it (3.2.1) */
struct http1_target {
    struct span host, path_query;
};
void http1_target(const struct http_head *head, struct http1_target *out);

/* Whether `target` has a form that `method` may use (RFC 9112 section 3.2); absolute-form with http and https
 * only. */
bool http1_valid_target(enum http_method method, struct span target);

enum http1_framing {
    BODY_NONE,        /* no content follows */
    BODY_LENGTH,      /* content_length bytes */
    BODY_CHUNKED,     /* until the last chunk and its trailers */
    BODY_UNTIL_CLOSE, /* responses only: ends with the connection */
};

/* The decoding of one body. Embed it; nothing to free. */
struct http1_body {
    enum http1_framing framing;
    uint64_t length;                                /* BODY_LENGTH: as announced */
    uint64_t remaining;                             /* of the length, or of the chunk */
    uint8_t state;                                  /* private */
    bool is_response;                               /* private */
    uint32_t ext_bytes, trailer_bytes, size_digits; /* private */
    uint64_t ext_excess;                            /* private: bytes of extensions above those of content */
    uint64_t max_chunk_ext, max_trailers;           /* from the limits */
    int err;         /* after an error: ERR_BAD_REQUEST or as http1_limits says; responses: ERR_PROTOCOL */
    int cause;       /* the same, for responses too: tells which of the limits was reached */
    const char *why; /* after an error: static text */
};

/* Decide the framing of the message after `head` (RFC 9112 section 6.3). Requests: ERR_BAD_REQUEST for
 * Content-Length with Transfer-Encoding, more than one length (the same or not) or a malformed one,
 * Transfer-Encoding in HTTP/1.0 or without a single final chunked; ERR_NOT_IMPLEMENTED for another coding
 * before that. Responses: ERR_PROTOCOL for all of these, body or not; `request_method` tells a HEAD (no body)
 * and CONNECT. 1xx, 204 and 304 have no body. On an error b->why says what was wrong. */
int http1_body_for_request(struct http1_body *b, const struct http_head *head,
                           const struct http1_limits *limits);
int http1_body_for_response(struct http1_body *b, const struct http_head *head,
                            enum http_method request_method, const struct http1_limits *limits);

enum http1_body_status {
    BODY_MORE = 0, /* all input consumed, nothing to give: feed more */
    BODY_DATA,     /* *data is payload, pointing into the input; call again with the rest */
    BODY_END,      /* the message is complete; bytes after `consumed` belong to the next message */
    BODY_BAD,      /* broken framing: b->why */
};

/* Decode some of in[0..len): sets *consumed, and *data when BODY_DATA. Call until BODY_MORE, BODY_END or
 * BODY_BAD, after BODY_DATA even when nothing is left: the end may be due. Trailers are checked, bounded and
 * dropped. */
enum http1_body_status http1_body_feed(struct http1_body *b, const char *in, size_t len, size_t *consumed,
                                       struct span *data);

/* The connection has ended: true when that is a proper end of this body (complete, or BODY_UNTIL_CLOSE). Else
 * err and why are set (ERR_TRUNCATED for a response). */
bool http1_body_finish(struct http1_body *b);

/* Whether the connection may carry another message after this head (RFC 9112 section 9.3). */
bool http1_keep_alive(const struct http_head *head);

/* host[:port] by the grammar of RFC 3986 section 3.2.2 (no userinfo; not empty; no comma; IP literals closed;
 * the port numeric, at most 65535, and possibly empty). */
bool http1_valid_host(struct span host);

/* "HEX\r\n" before a chunk of n bytes into out (at least 18 bytes); gives the length. The chunk's bytes and a
 * CRLF follow; the last chunk is "0\r\n\r\n". */
size_t http1_chunk_prefix(char *out, uint64_t n);

#endif
