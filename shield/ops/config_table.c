#include "shield/ops/config_table.h"

#include "common/check.h"

#define AT(field) false, offsetof(struct config, field)
#define OF(field) true, offsetof(struct config_origin, field)

/* Rows of one section stand together: -T prints them in this order. */
/* clang-format off */
const struct directive directives[] = {
    /* name, type, field, default, min, max, reload, words, help */
    { "workers", D_COUNT, AT(workers), "auto", "1", "64", D_RESTART, "auto",
      "Event loops; auto is one for each usable core." },
    { "drain_timeout", D_TIME, AT(drain_timeout_ms), "10s", "0", "1d", D_LIVE, NULL,
      "How long TERM waits for answers under way." },
    { "access_log", D_TEXT, AT(access_log), "off", NULL, NULL, D_RESTART, NULL,
      "off, stdout or a file: one JSON line per request." },
    { "hosts", D_HOSTS, AT(hosts), "", NULL, NULL, D_LIVE, NULL,
      "The hosts that are served here; empty serves all." },
    { "listen", D_LISTEN, AT(listen), "0.0.0.0:8080", NULL, NULL, D_RESTART, NULL,
      "Where edges connect: 127.0.0.1:8080, [::]:8080, :8080 or unix:/run/shield.sock; port 0 picks a free one." },

    { "node.name", D_NAME, AT(node_name), "", NULL, NULL, D_RESTART, NULL,
      "This node in Via, CDN-Loop and Cache-Status; empty: the host name and a random suffix." },
    { "admin.address", D_ADDRESS, AT(admin), "127.0.0.1:9090", NULL, NULL, D_RESTART, NULL,
      "Where metrics, health and purges are served; beyond loopback only with admin.token_file." },
    { "admin.token_file", D_TEXT, AT(admin_token_file), "", NULL, NULL, D_LIVE, NULL,
      "File with the tokens that the admin port accepts." },
    { "debug.token_file", D_TEXT, AT(debug_token_file), "", NULL, NULL, D_LIVE, NULL,
      "File with the tokens that the request field Shield-Debug accepts." },
    { "edges.allow", D_CIDRS, AT(edges_allow), "", NULL, NULL, D_LIVE, NULL,
      "Address blocks that may connect; empty lets all." },
    { "edges.trusted", D_CIDRS, AT(edges_trusted), "", NULL, NULL, D_LIVE, NULL,
      "Address blocks whose X-Forwarded-* fields are believed; empty believes nobody." },
    { "purge.allow", D_CIDRS, AT(purge_allow), "", NULL, NULL, D_LIVE, NULL,
      "Address blocks that may send PURGE to the data port; empty lets nobody." },

    { "store.path", D_TEXT, AT(store_path), "", NULL, NULL, D_RESTART, NULL,
      "Directory of the LMDB files; empty keeps the cache in memory." },
    { "store.size", D_BYTES, AT(store_size), "1g", "16m", "64t", D_RESTART, NULL,
      "The most that the store's file may take." },
    { "store.ram", D_BYTES, AT(store_ram), "256m", "1m", "16t", D_LIVE, NULL,
      "Memory for stored bodies; the rest lives on disk." },
    { "store.object_max", D_BYTES, AT(store_object_max), "auto", "1", "16t", D_LIVE, "auto",
      "The largest object that is kept; auto is a quarter of the tier that would hold it." },

    { "client.idle_timeout", D_TIME, AT(client.idle_timeout_ms), "60s", "1ms", "1d", D_LIVE, NULL,
      "How long a connection may stay open between requests." },
    { "client.head_timeout", D_TIME, AT(client.head_timeout_ms), "10s", "1ms", "1d", D_LIVE, NULL,
      "From a request's first byte to the end of its head." },
    { "client.body_timeout", D_TIME, AT(client.body_timeout_ms), "15s", "1ms", "1d", D_LIVE, NULL,
      "The longest pause in a request's content." },
    { "client.write_timeout", D_TIME, AT(client.write_timeout_ms), "30s", "1ms", "1d", D_LIVE, NULL,
      "How long a client may take nothing of an answer." },
    { "client.min_rate", D_BYTES, AT(client.min_rate), "64k", "0", "1g", D_LIVE, NULL,
      "Bytes a second below which a reader may not hold back others." },
    { "client.max_connections", D_COUNT, AT(client.max_connections), "100k", "1", "10m", D_LIVE, NULL,
      "Client connections open at once." },
    { "client.max_head", D_BYTES, AT(client.max_head), "64k", "256", "1m", D_LIVE, NULL,
      "Bytes of a head, from its first line to the empty one." },
    { "client.max_fields", D_COUNT, AT(client.max_fields), "256", "1", "4k", D_LIVE, NULL,
      "Fields of a head." },
    { "client.max_url", D_BYTES, AT(client.max_url), "16k", "16", "1m", D_LIVE, NULL,
      "Bytes of a request target." },
    { "client.max_pipelined", D_COUNT, AT(client.max_pipelined), "32", "1", "10k", D_LIVE, NULL,
      "Requests that a connection may send ahead of their answers." },
    { "client.cache_control", D_ENUM, AT(client.cache_control), "ignore", NULL, NULL, D_LIVE, "ignore obey",
      "Whether a request's Cache-Control counts; ignore: an edge cannot force a refetch." },

    { "http.max_1xx", D_COUNT, AT(http.max_1xx), "16", "0", "1k", D_LIVE, NULL,
      "Interim responses before a final one." },
    { "http.max_chunk_ext", D_BYTES, AT(http.max_chunk_ext), "1k", "0", "64k", D_LIVE, NULL,
      "Bytes of a chunk's extensions." },
    { "http.max_trailers", D_BYTES, AT(http.max_trailers), "8k", "0", "1m", D_LIVE, NULL,
      "Bytes of a trailer section." },
    { "http.max_ranges", D_COUNT, AT(http.max_ranges), "16", "0", "256", D_LIVE, NULL,
      "Ranges that one request may have parts for; with more, or with several at 0, it gets the whole." },

    { "flight.max_waiters", D_COUNT, AT(flight.max_waiters), "100k", "1", "10m", D_LIVE, NULL,
      "Requests that may wait for one fetch." },
    { "flight.max_waiters_total", D_COUNT, AT(flight.max_waiters_total), "200k", "1", "10m", D_LIVE, NULL,
      "Requests that may wait for all fetches." },
    { "flight.max_flights", D_COUNT, AT(flight.max_flights), "50k", "1", "10m", D_LIVE, NULL,
      "Shared fetches at once." },
    { "flight.window", D_BYTES, AT(flight.window), "16m", "64k", "16g", D_LIVE, NULL,
      "Uncommitted body that one flight may hold." },
    { "flight.max_bytes_total", D_BYTES, AT(flight.max_bytes_total), "512m", "64k", "1t", D_LIVE, NULL,
      "Bodies in memory that no tier accounts for, of all flights; beyond it no fetch is started." },
    { "flight.waiter_timeout", D_TIME, AT(flight.waiter_timeout_ms), "90s", "1ms", "1d", D_LIVE, NULL,
      "How long a request waits for the head of its answer." },
    { "flight.error_ttl", D_TIME, AT(flight.error_ttl_ms), "1s", "0", "1d", D_LIVE, NULL,
      "How long no answer is remembered for a key; doubles with each failure." },
    { "flight.error_ttl_max", D_TIME, AT(flight.error_ttl_max_ms), "30s", "0", "1d", D_LIVE, NULL,
      "Where the doubling of flight.error_ttl ends." },
    { "flight.retry_after_max", D_TIME, AT(flight.retry_after_max_ms), "60s", "0", "1d", D_LIVE, NULL,
      "The most that an origin's Retry-After holds for its key." },
    { "flight.uncacheable_ttl", D_TIME, AT(flight.uncacheable_ttl_ms), "2m", "0", "1d", D_LIVE, NULL,
      "How long a key is remembered as uncacheable, so that nobody waits in vain." },
    { "flight.finish", D_ENUM, AT(flight.finish), "cacheable", NULL, NULL, D_LIVE, "never cacheable always",
      "Which fetches go on when nobody waits any more." },

    { "cache.set_cookie", D_ENUM, AT(cache.set_cookie), "refuse", NULL, NULL, D_LIVE, "refuse strip store",
      "What becomes of a cacheable response with Set-Cookie." },
    { "cache.heuristic", D_BOOL, AT(cache.heuristic), "on", NULL, NULL, D_LIVE, NULL,
      "A lifetime from Last-Modified where the origin gives none." },
    { "cache.normalise_encoding", D_BOOL, AT(cache.normalise_encoding), "on", NULL, NULL, D_LIVE, NULL,
      "Accept-Encoding goes upstream in normal form." },
    { "cache.normalise_language", D_BOOL, AT(cache.normalise_language), "off", NULL, NULL, D_LIVE, NULL,
      "Accept-Language goes upstream in normal form." },
    { "cache.early_refresh", D_COUNT, AT(cache.early_refresh), "0", "0", "100", D_LIVE, NULL,
      "XFetch's beta: chance refreshes hot keys before they expire, the earlier the larger; 0 is off, 1 usual." },
    { "cache.ttl_jitter", D_COUNT, AT(cache.ttl_jitter), "0", "0", "90", D_LIVE, NULL,
      "Lifetimes are shortened by up to so many percent, so that keys filled together do not expire together." },
    { "cache.max_variants", D_COUNT, AT(cache.max_variants), "64", "1", "10k", D_LIVE, NULL,
      "Variants of one URL; the oldest goes." },
    { "cache.max_uncacheable", D_COUNT, AT(cache.max_uncacheable), "100k", "0", "10m", D_LIVE, NULL,
      "Keys that are remembered as uncacheable." },

    { "stale.if_disconnected", D_TIME, AT(stale.if_disconnected_ms), "1d", "0", "10y", D_LIVE, NULL,
      "How long past its lifetime an object may answer when the origin gives no final head." },
    { "stale.if_overloaded", D_TIME, AT(stale.if_overloaded_ms), "0s", "0", "10y", D_LIVE, NULL,
      "The same when one of our own limits is reached." },
    { "stale.obey_s_maxage", D_BOOL, AT(stale.obey_s_maxage), "on", NULL, NULL, D_LIVE, NULL,
      "s-maxage forbids stale answers (RFC 9111 section 5.2.2.10)." },

    { "servers", D_SERVERS, OF(servers), "", NULL, NULL, D_RESTART, NULL,
      "The origin's servers: http://host[:port] or http+unix:///path." },
    { "host", D_HOST, OF(host), "", NULL, NULL, D_LIVE, NULL,
      "The Host that goes upstream; empty: the client's." },
    { "connect_timeout", D_TIME, OF(connect_timeout_ms), "3s", "1ms", "1d", D_LIVE, NULL,
      "For each attempt to connect." },
    { "connect_attempts", D_COUNT, OF(connect_attempts), "3", "1", "100", D_LIVE, NULL,
      "Attempts to connect in all, over addresses and servers." },
    { "head_timeout", D_TIME, OF(head_timeout_ms), "30s", "1ms", "1d", D_LIVE, NULL,
      "From the request's last byte to a final head." },
    { "body_timeout", D_TIME, OF(body_timeout_ms), "15s", "1ms", "1d", D_LIVE, NULL,
      "The longest pause in a response's content." },
    { "max_concurrent", D_COUNT, OF(max_concurrent), "200", "1", "1m", D_LIVE, NULL,
      "Requests at the origin at once." },
    { "max_queued", D_COUNT, OF(max_queued), "5000", "0", "10m", D_LIVE, NULL,
      "Requests that may wait for a place at the origin." },
    { "queue_timeout", D_TIME, OF(queue_timeout_ms), "30s", "1ms", "1d", D_LIVE, NULL,
      "How long they wait." },
    { "idle_timeout", D_TIME, OF(idle_timeout_ms), "60s", "0", "1d", D_LIVE, NULL,
      "How long an unused connection is kept for the next request; 0 keeps none." },
    { "down_after", D_COUNT, OF(down_after), "5", "0", "1m", D_LIVE, NULL,
      "Failures in a row after which a server is down for flight.error_ttl, doubling; 0: never." },
};
/* clang-format on */

const size_t directive_count = ARRAY_LEN(directives);

struct span directive_word(const char *words, size_t i)
{
    struct span rest = words != NULL ? span_of(words) : (struct span){"", 0};
    for (;;) {
        const char *blank = rest.len > 0 ? memchr(rest.p, ' ', rest.len) : NULL;
        size_t n = blank != NULL ? (size_t)(blank - rest.p) : rest.len;
        if (i-- == 0 || n == 0)
            return (struct span){rest.p, n};
        rest = span_from(rest, n + 1);
    }
}
