/* edges - the clients' side: connections over threads that ask, measure and verify.
 *
 * Closed loop: each connection sends its next request when the last answer is complete. Stampede: all
 * connections are opened first, then every one sends one request at the same instant, from which all times
 * are taken. */
#ifndef BENCH_EDGES_H
#define BENCH_EDGES_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/flags.h"
#include "common/hist.h"

/* How a request failed: its first fault counts. The names are those of the report. */
#define EDGE_ERRORS(X)                                                                   \
    X(CONNECT, "connect", "no connection to be had")                                     \
    X(RESET, "reset", "the connection ended before an answer")                           \
    X(TIMEOUT, "timeout", "no whole answer in time")                                     \
    X(PROTOCOL, "protocol", "broken syntax or framing")                                  \
    X(STATUS, "status", "another status than expected")                                  \
    X(TRUNCATED, "truncated", "less content than the object has")                        \
    X(WRONG_BODY, "wrong_body", "other content than the object has, or another object")  \
    X(UNVERIFIABLE, "unverifiable", "to be verified, but no Bench-Object in the answer") \
    X(MEMORY, "memory", "the bench found no memory")

enum edge_error {
    EDGE_OK = 0,
#define X(id, name, text) EDGE_##id,
    EDGE_ERRORS(X)
#undef X
        EDGE_ERROR_COUNT
};

/* What the last Cache-Status (RFC 9211) of an answer said. */
#define EDGE_CACHES(X) \
    X(NONE, "none")    \
    X(HIT, "hit") X(COLLAPSED, "collapsed") X(MISS, "miss") X(STALE, "stale") X(OTHER, "other")

enum edge_cache {
#define X(id, name) CACHE_##id,
    EDGE_CACHES(X)
#undef X
        CACHE_COUNT
};

enum edge_order { ORDER_SEQUENCE, ORDER_RANDOM };
enum edge_method { EDGE_GET, EDGE_HEAD };

struct edges_config {
    struct span url, unix_socket;
    struct flag_list fields;
    uint64_t connections, threads;
    uint64_t requests;    /* 0: until the time is over */
    uint64_t duration_ms; /* 0: until the requests are made */
    uint64_t keys, order, seed, method;
    uint64_t timeout_ms, settle_ms;
    uint64_t expect; /* status; 0: 200 to 299 */
    bool stampede, verify;
    /* Called a few times a second by one of the threads; may be NULL. */
    void (*on_progress)(uint64_t finished, uint64_t of, uint64_t elapsed_ms);
};

struct edges_report {
    uint64_t finished;                 /* answers, whole or failed */
    uint64_t errors[EDGE_ERROR_COUNT]; /* [EDGE_OK] counts the good ones */
    uint64_t caches[CACHE_COUNT];
    uint64_t statuses[600];
    uint64_t body_bytes;
    uint64_t connects, resends; /* resends: a kept connection had ended before the request arrived */
    uint64_t elapsed_us, cpu_us;
    uint64_t release_us;           /* stampede: from the first request sent to the last */
    struct hist first_us, last_us; /* of good answers: to the first byte of content, to the last */
    char cache_status[200];        /* of some answer, for people */
};

/* Runs to the end. Returns NULL, or text that says what hindered it; `out` is to be zeroed by the caller. */
const char *edges_run(const struct edges_config *config, struct edges_report *out);

const char *edge_error_name(enum edge_error e);
const char *edge_error_text(enum edge_error e);
const char *edge_cache_name(enum edge_cache c);

#endif
