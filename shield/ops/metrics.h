/* metrics - what Shield counts, in tables; one slot of counters for each thread that counts.
 *
 * A row is one series. Counting is a relaxed add to the thread's own slot (no shared cache line on the
 * request path); the scrape adds the slots up. Gauges are sums of ups and downs: any thread may move them. */
#ifndef SHIELD_OPS_METRICS_H
#define SHIELD_OPS_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/hist.h"
#include "shield/ops/config.h"
#include "shield/policy/judge.h"

/* How a request ended: one name for the access log, requests_total{result} and
 * request_duration_seconds{result}. */
#define REQUEST_RESULTS(X)        \
    X(HIT, "hit")                 \
    X(MISS, "miss")               \
    X(COLLAPSED, "collapsed")     \
    X(STALE, "stale")             \
    X(REVALIDATED, "revalidated") \
    X(PASS, "pass")               \
    X(ERROR, "error")             \
    X(REFUSED, "refused")

/* A waiter's fate: a closed list (DESIGN.md section 4). */
#define WAITER_FATES(X)     \
    X(SERVED, "served")     \
    X(STALE, "stale")       \
    X(RELEASED, "released") \
    X(VARIED, "varied")     \
    X(ERROR, "error")       \
    X(TIMEOUT, "timeout")   \
    X(REFUSED, "refused")   \
    X(CUT, "cut")           \
    X(GONE, "gone")

/* Why the origin was asked. */
#define ORIGIN_KINDS(X)         \
    X(MISS, "miss")             \
    X(REVALIDATE, "revalidate") \
    X(REFRESH, "refresh")       \
    X(PASS, "pass")             \
    X(RESUME, "resume")         \
    X(PROBE, "probe")           \
    X(RETRY, "retry")

/* Why a lookup found nothing to serve at once. */
#define MISS_REASONS(X)               \
    X(ABSENT, "absent")               \
    X(UNADMITTED, "unadmitted")       \
    X(VARY, "vary")                   \
    X(EXPIRED, "expired")             \
    X(NO_CACHE, "no_cache")           \
    X(UNCACHEABLE, "uncacheable")     \
    X(AUTHORIZATION, "authorization") \
    X(CONDITION, "condition")         \
    X(WINDOW, "window")               \
    X(REQUEST, "request")

/* Why we answered with an error of our own making: a mistake of the client's by the error's name, or one of
 * our bounds by its own. What the origin did wrong is none of these. */
#define REFUSAL_REASONS(X)                                  \
    X(NONE, "none")                                         \
    X(BAD_REQUEST, "bad_request")                           \
    X(CLIENT_TIMEOUT, "client_timeout")                     \
    X(HEAD_TOO_LARGE, "head_too_large")                     \
    X(TOO_MANY_FIELDS, "too_many_fields")                   \
    X(URI_TOO_LONG, "uri_too_long")                         \
    X(CONTENT_TOO_LARGE, "content_too_large")               \
    X(VERSION, "version")                                   \
    X(NOT_IMPLEMENTED, "not_implemented")                   \
    X(METHOD, "method")                                     \
    X(EXPECTATION, "expectation")                           \
    X(MISDIRECTED, "misdirected")                           \
    X(FORBIDDEN, "edges.allow")                             \
    X(EDGE_SECRET, "edges.secret")                          \
    X(ROUTE, "route")                                       \
    X(LOOP, "loop")                                         \
    X(NOMEM, "no_memory")                                   \
    X(PURGED, "purge")                                      \
    X(CONNECTIONS, "client.max_connections")                \
    X(ADDRESS_CONNECTIONS, "client.max_connections_per_ip") \
    X(ADDRESS_REQUESTS, "client.max_requests_per_ip")       \
    X(MAX_TUNNELS, "origins.max_tunnels")                   \
    X(MAX_FLIGHTS, "flight.max_flights")                    \
    X(MAX_WAITERS, "flight.max_waiters")                    \
    X(MAX_WAITERS_TOTAL, "flight.max_waiters_total")        \
    X(MAX_BYTES_TOTAL, "flight.max_bytes_total")            \
    X(MAX_QUEUED, "origins.max_queued")                     \
    X(QUEUE_TIMEOUT, "origins.queue_timeout")

/* Bounds of the config that can be reached, by the same name. */
#define LIMITS(X)                                              \
    X(MAX_CONNECTIONS, "client.max_connections")               \
    X(MAX_CONNECTIONS_PER_IP, "client.max_connections_per_ip") \
    X(MAX_REQUESTS_PER_IP, "client.max_requests_per_ip")       \
    X(MAX_ADDRESSES, "client.max_addresses")                   \
    X(MAX_HEAD, "client.max_head")                             \
    X(MAX_FIELDS, "client.max_fields")                         \
    X(MAX_URL, "client.max_url")                               \
    X(MAX_PIPELINED, "client.max_pipelined")                   \
    X(MAX_PROXY_HEADER, "client.max_proxy_header")             \
    X(IDLE_TIMEOUT, "client.idle_timeout")                     \
    X(HEAD_TIMEOUT, "client.head_timeout")                     \
    X(BODY_TIMEOUT, "client.body_timeout")                     \
    X(WRITE_TIMEOUT, "client.write_timeout")                   \
    X(TUNNEL_TIMEOUT, "client.tunnel_timeout")                 \
    X(DRIP_RATE, "client.drip_rate")                           \
    X(MIN_RATE, "client.min_rate")                             \
    X(MAX_1XX, "http.max_1xx")                                 \
    X(MAX_CHUNK_EXT, "http.max_chunk_ext")                     \
    X(MAX_TRAILERS, "http.max_trailers")                       \
    X(MAX_RANGES, "http.max_ranges")                           \
    X(MAX_WAITERS, "flight.max_waiters")                       \
    X(MAX_WAITERS_TOTAL, "flight.max_waiters_total")           \
    X(MAX_FLIGHTS, "flight.max_flights")                       \
    X(WINDOW, "flight.window")                                 \
    X(MAX_BYTES_TOTAL, "flight.max_bytes_total")               \
    X(WAITER_TIMEOUT, "flight.waiter_timeout")                 \
    X(MAX_VARIANTS, "cache.max_variants")                      \
    X(MAX_UNCACHEABLE, "cache.max_uncacheable")                \
    X(OBJECT_MAX, "store.object_max")                          \
    X(ADMIT_AFTER, "store.admit_after")                        \
    X(ADMIT_KEYS, "store.admit_keys")                          \
    X(MAX_CONCURRENT, "origins.max_concurrent")                \
    X(MAX_TUNNELS, "origins.max_tunnels")                      \
    X(MAX_QUEUED, "origins.max_queued")                        \
    X(QUEUE_TIMEOUT, "origins.queue_timeout")                  \
    X(CONNECT_TIMEOUT, "origins.connect_timeout")              \
    X(ORIGIN_HEAD_TIMEOUT, "origins.head_timeout")             \
    X(ORIGIN_BODY_TIMEOUT, "origins.body_timeout")             \
    X(PURGE_MAX_LIVE, "purge.max_live")                        \
    X(PURGE_MAX_TAGS, "purge.max_tags")                        \
    X(ADMIN_MAX_CONTENT, "admin.max_content")                  \
    X(PURGE_MAX_ITEMS, "purge.max_items")                      \
    X(PURGE_MAX_ITEM_BYTES, "purge.max_item_bytes")            \
    X(WARM_MAX_URLS, "warm.max_urls")                          \
    X(WARM_MAX_LISTS, "warm.max_lists")                        \
    X(WARM_MAX_RUNNING, "warm.max_running")                    \
    X(WARM_MAX_SITEMAP, "warm.max_sitemap")                    \
    X(DRAIN_TIMEOUT, "drain_timeout")

/* What purges name: purge.h has the same, in the same order. */
#define PURGED_KINDS(X) \
    X(URL, "url")       \
    X(PREFIX, "prefix") \
    X(TAG, "tag")       \
    X(HOST, "host")     \
    X(ALL, "all")

/* One mended transfer may have broken off twice. */
#define RESUMES_HELP "Flights whose body broke off and was gone on with: mended once it is whole."

#define FENCED_HELP "Fetches and answers that a purge has overtaken, and that were begun again."

/*    id, type (COUNTER, GAUGE), name, help */
#define PLAIN_METRICS(X)                                                                                    \
    X(CLIENT_CONNECTIONS, GAUGE, "shield_client_connections", "Open client connections.")                   \
    X(CLIENT_CONNECTIONS_TOTAL, COUNTER, "shield_client_connections_total", "Client connections accepted.") \
    X(PROXY_HEADERS_REFUSED, COUNTER, "shield_proxy_headers_refused_total",                                 \
      "Connections closed because their PROXY header was wrong, late or missing.")                          \
    X(TUNNELS, GAUGE, "shield_tunnels", "Connections that have switched to another protocol.")              \
    X(TUNNEL_BYTES_UP, COUNTER, "shield_tunnel_bytes_total{to=\"origin\"}", "Bytes through tunnels.")       \
    X(TUNNEL_BYTES_DOWN, COUNTER, "shield_tunnel_bytes_total{to=\"client\"}", "Bytes through tunnels.")     \
    X(CLIENT_BYTES, COUNTER, "shield_client_bytes_total", "Bytes sent to clients.")                         \
    X(ORIGIN_BYTES, COUNTER, "shield_origin_bytes_total", "Bytes read from origins.")                       \
    X(FLIGHTS, GAUGE, "shield_flights", "Shareable origin fetches running now.")                            \
    X(FLIGHTS_STARTED, COUNTER, "shield_flights_started_total", "Flights that asked the origin.")           \
    X(WAITERS, GAUGE, "shield_waiters", "Requests waiting on or reading from a flight.")                    \
    X(COLLAPSED, COUNTER, "shield_collapsed_requests_total", "Misses that joined a flight.")                \
    X(STORE_BYTES, GAUGE, "shield_store_bytes", "Bytes of the store file in use by live records.")          \
    X(STORE_OBJECTS, GAUGE, "shield_store_objects", "Objects in the store file.")                           \
    X(STORE_PENDING, GAUGE, "shield_store_pending_objects", "Sealed objects that are not durable yet.")     \
    X(STORE_RAM_BYTES, GAUGE, "shield_store_ram_bytes", "Memory held by stored objects.")                   \
    X(STORE_RAM_OBJECTS, GAUGE, "shield_store_ram_objects", "Objects in memory.")                           \
    X(STORE_ERRORS, COUNTER, "shield_store_errors_total", "Reads and writes of the store that failed.")     \
    X(STORE_SHED, COUNTER, "shield_store_shed_total", "Objects not stored because the store fell behind.")  \
    X(EVICTIONS_RAM, COUNTER, "shield_evictions_total{tier=\"ram\"}", "Objects evicted, by tier.")          \
    X(EVICTIONS_DISK, COUNTER, "shield_evictions_total{tier=\"disk\"}", "Objects evicted, by tier.")        \
    X(RESUMES_OK, COUNTER, "shield_resumes_total{outcome=\"mended\"}", RESUMES_HELP)                        \
    X(RESUMES_FAILED, COUNTER, "shield_resumes_total{outcome=\"failed\"}", RESUMES_HELP)                    \
    X(PURGE_RECORDS, GAUGE, "shield_purge_records", "Purges that something stored may still match.")        \
    X(FENCED_FLIGHTS, COUNTER, "shield_purge_fenced_total{what=\"flight\"}", FENCED_HELP)                   \
    X(FENCED_ANSWERS, COUNTER, "shield_purge_fenced_total{what=\"answer\"}", FENCED_HELP)                   \
    X(SUSPICIOUS_SET_COOKIE, COUNTER, "shield_suspicious_responses_total{kind=\"public_set_cookie\"}",      \
      "Responses that are probably a mistake of the origin, by kind.")                                      \
    X(VIOLATION_ONE_FLIGHT, COUNTER, "shield_invariant_violations_total{invariant=\"one_flight\"}",         \
      "Broken promises; anything but 0 is a bug.")

/*    id, name, help: histograms, recorded in microseconds, shown in seconds */
#define HIST_METRICS(X)                                                                \
    X(WAITER_WAIT, "shield_waiter_wait_seconds", "From joining a flight to its head.") \
    X(STORE_COMMIT, "shield_store_commit_seconds", "One synced group commit.")         \
    X(PURGE, "shield_purge_seconds", "From a purge's order to its answer.")            \
    X(OBJECT_AGE, "shield_object_age_seconds", "Age of objects when served from the cache.")

#define X_ID(id, ...) METRIC_##id,
enum metric { PLAIN_METRICS(X_ID) METRIC_COUNT };
#undef X_ID
#define X_ID(id, ...) HIST_##id,
enum metric_hist { HIST_METRICS(X_ID) HIST_COUNT };
#undef X_ID
#define X_ID(id, ...) RESULT_##id,
enum request_result { REQUEST_RESULTS(X_ID) RESULT_COUNT };
#undef X_ID
#define X_ID(id, ...) FATE_##id,
enum waiter_fate { WAITER_FATES(X_ID) FATE_COUNT };
#undef X_ID
#define X_ID(id, ...) KIND_##id,
enum origin_kind { ORIGIN_KINDS(X_ID) KIND_COUNT };
#undef X_ID
#define X_ID(id, ...) MISSED_##id,
enum miss_reason { MISS_REASONS(X_ID) MISSED_COUNT };
#undef X_ID
#define X_ID(id, ...) REFUSED_##id,
enum refusal_reason { REFUSAL_REASONS(X_ID) REFUSED_COUNT };
#undef X_ID
#define X_ID(id, ...) LIMIT_##id,
enum limit_name { LIMITS(X_ID) LIMIT_COUNT };
#undef X_ID
#define X_ID(id, ...) PURGED_##id,
enum purged_kind { PURGED_KINDS(X_ID) PURGED_COUNT };
#undef X_ID

/* What one origin counts; `inflight`, `queue_depth` and `servers_down` are gauges. classes[0] counts fetches
 * without an answer, 1 to 5 are 1xx to 5xx. */
struct metrics_origin {
    _Atomic int64_t requests[KIND_COUNT], classes[6], inflight, queue_depth, servers_down;
};

/* One thread's counters. */
struct metrics_slot {
    _Atomic int64_t plain[METRIC_COUNT];
    _Atomic int64_t results[RESULT_COUNT], fates[FATE_COUNT], missed[MISSED_COUNT], limits[LIMIT_COUNT];
    _Atomic int64_t uncacheable[UNCACHEABLE_COUNT], passed[PASSED_COUNT], refused[REFUSED_COUNT];
    _Atomic int64_t purges[PURGED_COUNT][2]; /* items of orders: hard, soft */
    struct metrics_origin origins[CONFIG_MAX_ORIGINS];
    struct hist hists[HIST_COUNT];                               /* microseconds */
    struct hist durations[RESULT_COUNT];                         /* microseconds */
    _Atomic(struct hist *) origin_durations[CONFIG_MAX_ORIGINS]; /* private: metric_origin_duration */
};

/* A new slot, registered for the scrape for good; NULL without memory. Any thread. */
struct metrics_slot *metrics_slot_new(void);

static inline void metric_add(_Atomic int64_t *m, int64_t n)
{
    atomic_fetch_add_explicit(m, n, memory_order_relaxed);
}

#define metric_count(slot, id)   metric_add(&(slot)->plain[METRIC_##id], 1)
#define metric_move(slot, id, n) metric_add(&(slot)->plain[METRIC_##id], (n))
#define metric_limit(slot, id)   metric_add(&(slot)->limits[LIMIT_##id], 1)

/* One exchange with origin number `origin`, from request sent to last byte read. On the slot's own thread;
 * without memory for that origin's first histogram the value is lost. */
void metric_origin_duration(struct metrics_slot *slot, uint32_t origin, uint64_t us);

const char *request_result_name(enum request_result r);
const char *waiter_fate_name(enum waiter_fate f);
const char *miss_reason_name(enum miss_reason r);
const char *pass_reason_name(enum pass_reason r);
const char *refusal_reason_name(enum refusal_reason r);

/* The refusal that answering with `err` is, `limit` telling which bound ERR_BUSY is about; REFUSED_NONE for
 * what the origin did. */
enum refusal_reason refusal_reason_of(int err, enum limit_name limit);

/* The sum of one plain metric over all slots. Any thread. */
int64_t metrics_total(enum metric m);

/* How many servers of origin number `origin` are down. Any thread. */
int64_t metrics_servers_down(uint32_t origin);

/* Everything in Prometheus' text format 0.0.4, with build_info. Origins are named by `cfg`. Any thread. */
void metrics_render(struct buf *out, const struct config *cfg);

/* The same totals as one JSON object, for /stats; times in microseconds, with percentiles. */
void metrics_render_json(struct buf *out, const struct config *cfg);

#endif
