/* err - what can go wrong, in one table.
 *
 * What the world can do (a full disk, a rude origin) is a code from here, 0 is success. Each code knows the
 * status a client sees when nothing better can be served. Foreign codes are translated at the border. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include <stdbool.h>

/*    name      status  text */
#define ERRORS(X)                                                                          \
    X(NOMEM, 503, "out of memory")                                                         \
    X(BUSY, 503, "a configured limit is reached")                                          \
    X(CONNECTIONS, 503, "too many clients are connected")                                  \
    X(ADDRESS_CONNECTIONS, 429, "too many connections from this address")                  \
    X(ADDRESS_REQUESTS, 429, "too many requests from this address")                        \
    X(QUEUE_TIMEOUT, 503, "the origin's queue did not move in time")                       \
    X(WAIT_TIMEOUT, 504, "no answer within the time a request may wait")                   \
    X(HEAD_TIMEOUT, 504, "the origin sent no response head in time")                       \
    X(BODY_TIMEOUT, 504, "the origin stopped sending")                                     \
    X(CONNECT_TIMEOUT, 504, "the origin did not accept a connection in time")              \
    X(CONNECT, 502, "the origin refused the connection")                                   \
    X(RESET, 502, "the origin closed the connection")                                      \
    X(DNS, 502, "the origin's name did not resolve")                                       \
    X(DOWN, 503, "the origin is marked down")                                              \
    X(PROTOCOL, 502, "the origin broke HTTP framing or syntax")                            \
    X(TRUNCATED, 502, "the origin's body ended early")                                     \
    X(SERVER_ERROR, 502, "the origin answered with an error")                              \
    X(UNAVAILABLE, 503, "the origin asked to be left alone for a while")                   \
    X(PRIVATE_ERROR, 502, "the origin answered with an error that may not be shared")      \
    X(PRIVATE_UNAVAILABLE, 503, "the origin is unavailable; its answer may not be shared") \
    X(PURGED, 503, "purges overtook every answer to it")                                   \
    X(GONE, 499, "the client left")                                                        \
    X(CLIENT_TIMEOUT, 408, "the client took too long")                                     \
    X(BAD_REQUEST, 400, "the request is malformed")                                        \
    X(HEAD_TOO_LARGE, 431, "the request head is too large")                                \
    X(TOO_MANY_FIELDS, 431, "the request has too many fields")                             \
    X(URI_TOO_LONG, 414, "the request target is too long")                                 \
    X(CONTENT_TOO_LARGE, 413, "the content is too large")                                  \
    X(NOT_IMPLEMENTED, 501, "not implemented")                                             \
    X(METHOD, 405, "the method is not allowed here")                                       \
    X(EXPECTATION, 417, "the expectation cannot be met")                                   \
    X(VERSION, 505, "the HTTP version is not supported")                                   \
    X(MISDIRECTED, 421, "this host is not served here")                                    \
    X(FORBIDDEN, 403, "this address may not ask here")                                     \
    X(EDGE_SECRET, 403, "the edge's secret is missing or wrong")                           \
    X(LOOP, 508, "the request has passed here before")                                     \
    X(NOT_FOUND, 404, "not found")                                                         \
    X(NOT_STORED, 504, "nothing is stored, and the request wants nothing else")            \
    X(IO, 503, "the store could not be read or written")                                   \
    X(CORRUPT, 503, "a stored record does not verify")                                     \
    X(FULL, 503, "the store is full")                                                      \
    X(LOCKED, 503, "another process owns it")                                              \
    X(SYNTAX, 400, "not the expected syntax")                                              \
    X(RANGE, 400, "the value is out of range")                                             \
    X(SYSTEM, 500, "the operating system refused")

enum err {
    ERR_OK = 0,
#define X(name, status, text) ERR_##name,
    ERRORS(X)
#undef X
        ERR_COUNT
};

/* One sentence part for logs and error bodies; "success" for 0. Any thread. */
const char *err_text(int err);

/* The code's name as in the table ("HEAD_TIMEOUT"), for logs. Any thread. */
const char *err_name(int err);

/* Whether it says that the origin gave no final head: refused, reset, unresolved, too late, not HTTP, or not
 * asked because it is down. Any thread. */
bool err_is_no_answer(int err);

/* The same but for what answers, and not in HTTP: that says nothing of what else the origin would answer. Any
 * thread. */
bool err_is_silence(int err);

/* The status a client sees for `err` when nothing better can be served; 200 for 0. Any thread. */
int err_status(int err);

#endif
