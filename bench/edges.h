/* edges - the clients' side: connections over threads that ask, measure and verify.
 *
 * Closed loop: each connection sends its next request when the last answer is complete.
 * Open loop (`rate`): requests are due by a schedule that no answer delays; times are taken from when a
 * request was due, so that a slow answer also counts for those that had to wait behind it (no coordinated
 * omission). Stampede: all connections are opened first, then every one sends one request at the same
 * instant, from which all times are taken. */
#ifndef BENCH_EDGES_H
#define BENCH_EDGES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/flags.h"
#include "bench/schedule.h"
#include "common/hist.h"

/* How a request failed: its first fault counts. The names are those of the report. */
#define EDGE_ERRORS(X)                                                                   \
    X(CONNECT, "connect", "no connection: does anybody listen there?")                   \
    X(RESET, "reset", "the connection ended before an answer")                           \
    X(TIMEOUT, "timeout", "no whole answer in time")                                     \
    X(PROTOCOL, "protocol", "broken syntax or framing, or a 206 nobody asked for")       \
    X(STATUS, "status", "another status than expected")                                  \
    X(CUT, "cut", "the connection ended before the content did")                         \
    X(TRUNCATED, "truncated", "a clean end, but less content than the object has")       \
    X(WRONG_BODY, "wrong_body", "other content than the object has, or another object")  \
    X(COOKIE, "cookie", "a Set-Cookie that another answer had too")                      \
    X(OUTDATED, "outdated", "a version from before a purge that had been answered")      \
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

enum edge_arrivals { ARRIVALS_EVEN, ARRIVALS_POISSON };
enum edge_method { EDGE_GET, EDGE_HEAD };

struct edges_report;

struct edges_config {
    struct span url, unix_socket;
    struct flag_list fields;
    uint64_t connections, threads;
    uint64_t requests;    /* 0: until the time is over */
    uint64_t duration_ms; /* 0: until the requests are made */
    uint64_t keys, order, seed, method;
    double zipf; /* exponent of ORDER_ZIPF */
    struct span
        targets;   /* file: what to ask for instead of the URL's path, see paths.h; `keys` is not used then */
    double rate;   /* open loop: requests a second over all threads; 0: closed loop */
    double replay; /* open loop: `targets` at the times of the log, so many times as fast; 0: not so */
    uint64_t arrivals;        /* enum edge_arrivals */
    uint64_t identities;      /* edges, each with its User-Agent and, on loopback, its address; 0: none */
    uint64_t churn;           /* a connection is closed after so many requests on average; 0: never */
    uint64_t slow, slow_rate; /* percent of the connections that read only so many bytes a second */
    uint64_t abort, abort_ms; /* percent of the requests that are given up after this time */
    uint64_t range, range_of; /* percent of the requests that ask for a part of the first so many bytes */
    const _Atomic uint64_t
        *floor; /* verify: the oldest version that a new request may be answered with; or NULL */
    uint64_t timeout_ms, settle_ms;
    uint64_t expect;  /* status; 0: 200 to 299 */
    struct span vary; /* "Name: A|B": one more field, its values in turn; empty: none */
    bool stampede, verify;
    const atomic_bool *stop; /* the load ends soon after this has become true; or NULL */
    _Atomic uint64_t *watch; /* counts the requests that ended, for somebody who looks on; or NULL */
    /* Called a few times a second by one of the threads; may be NULL. `of` is 0 when only the time ends the
     * run. */
    void (*on_progress)(uint64_t finished, uint64_t of, uint64_t elapsed_ms);
    /* Called when all is measured and the connections still stand; may be NULL. */
    void (*before_close)(void *arg, const struct edges_report *report);
    void *before_close_arg;
};

struct edges_report {
    uint64_t finished;                 /* answers, whole or failed */
    uint64_t errors[EDGE_ERROR_COUNT]; /* [EDGE_OK] counts the good ones */
    uint64_t caches[CACHE_COUNT];
    uint64_t statuses[600];
    uint64_t body_bytes;
    uint64_t aborted;           /* given up on purpose; among `finished` */
    uint64_t slow;              /* read slowly on purpose; their times are not recorded */
    uint64_t skipped;           /* lines of the targets' file that could not be used */
    uint64_t waited;            /* open loop: requests that no connection was free for when they were due */
    uint64_t busiest_percent;   /* CPU of the busiest thread against the time that it ran */
    uint64_t connects, resends; /* resends: a kept connection had ended before the request arrived */
    uint64_t elapsed_us, cpu_us;
    uint64_t release_us; /* stampede: from the first request sent to the last */
    uint64_t release_ns; /* stampede: when all were released, on the monotonic clock */
    /* Of good answers: to the first byte of content, to the last; of verified ones to the half. */
    struct hist first_us, half_us, last_us;
    struct hist late_us; /* open loop: how long after it was due a request was sent on a free connection */
    /* Later than the leader: in a stampede the first client of the object; else, with `verify`, of those who
     * waited for one fetch of the origin, see waits.h. */
    struct hist wait_first_us, wait_last_us;
    struct hist by_cache_us[CACHE_COUNT]; /* the last byte again, by what Cache-Status said */
    char cache_status[200];               /* of some answer, for people */
};

/* Runs to the end. Returns NULL, or text that says what hindered it; `out` is to be zeroed by the caller. */
const char *edges_run(const struct edges_config *config, struct edges_report *out);

/* Add `from` to `into`: threads of a run, or runs of the same load. */
void edges_report_merge(struct edges_report *into, const struct edges_report *from);

/* Requests that neither were good nor given up on purpose. */
uint64_t edges_failed(const struct edges_report *r);

/* Those of them that came, and were wrong: what no outage excuses. A connection that ends or cannot be had,
 * an answer that takes too long and another status are not among them. */
uint64_t edges_wrong(const struct edges_report *r);

/* Why the tool itself may have limited what was measured; NULL: it did not. */
const char *edges_bottleneck(const struct edges_report *r);

/* Whether requests are due by a schedule. */
bool edges_is_open_loop(const struct edges_config *config);

const char *edge_error_name(enum edge_error e);
const char *edge_error_text(enum edge_error e);
const char *edge_cache_name(enum edge_cache c);

#endif
