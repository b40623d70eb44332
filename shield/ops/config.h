/* config - the effective configuration: one typed table, filled from defaults, file, flags and --set.
 *
 * A directive is one row of the table in config_table.c: name, type, default, range, reloadability, help.
 * Parser, reload, -T, --help and the README read the same rows. A loaded config is immutable and counted:
 * loops keep a reference and swap it on reload. */
#ifndef SHIELD_OPS_CONFIG_H
#define SHIELD_OPS_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/http1.h"
#include "common/netaddr.h"

enum { CONFIG_MAX_ORIGINS = 64, CONFIG_MAX_SERVERS = 32, CONFIG_MAX_LISTEN = 32, CONFIG_MAX_CIDRS = 256 };

/* One server of an origin: scheme, host (lower case, no brackets) and port of its URL. */
struct config_server {
    char *url;  /* as written */
    char *host; /* for DNS, the Host field when no other is known, and logs */
    uint16_t port;
    char *unix_path; /* of http+unix:///path or NULL; host is "localhost" and port 80 then */
};

struct config_origin {
    char *name;
    struct config_server servers[CONFIG_MAX_SERVERS];
    uint32_t n_servers;
    char *host; /* the Host to send upstream, lower case; "" sends the client's */
    uint64_t connect_timeout_ms, head_timeout_ms, body_timeout_ms, queue_timeout_ms, idle_timeout_ms;
    uint64_t connect_attempts, max_concurrent, max_queued, down_after;
};

struct config_listen {
    char *text;
    struct netaddr addr;
};

struct config_cidrs {
    struct netaddr_cidr *items;
    uint32_t n;
};

enum config_set_cookie { SET_COOKIE_REFUSE, SET_COOKIE_STRIP, SET_COOKIE_STORE };
enum config_client_cc { CLIENT_CC_IGNORE, CLIENT_CC_OBEY };
enum config_finish { FINISH_NEVER, FINISH_CACHEABLE, FINISH_ALWAYS };

struct config {
    atomic_uint refs; /* private: config_ref, config_unref */

    char *node_name; /* as configured; "" when not: then node_id has the random suffix */
    char *node_id;   /* what CDN-Loop and Cache-Status carry: "shield" or "shield-NAME"; see node_pseudonym */
    char *node_pseudonym; /* our CDN-Loop id: "shield-NAME", NAME by default host name and random suffix */
    uint64_t workers;     /* never 0 after load: auto is resolved */
    uint64_t drain_timeout_ms;
    char *access_log; /* "off", "stdout" or a path */
    char *debug_token_file;
    char **hosts; /* lower case; NULL-terminated, never NULL; empty: all */
    struct config_cidrs edges_allow, edges_trusted, purge_allow;

    struct config_listen listen[CONFIG_MAX_LISTEN];
    uint32_t n_listen;
    struct config_listen admin;
    char *admin_token_file;

    char *store_path; /* "": memory only */
    uint64_t store_size, store_ram;
    uint64_t store_object_max; /* 0: a quarter of the tier that would hold it */

    struct config_origin origins[CONFIG_MAX_ORIGINS]; /* "default" is [0], the others as first named */
    uint32_t n_origins;

    struct {
        uint64_t idle_timeout_ms, head_timeout_ms, body_timeout_ms, write_timeout_ms, min_rate;
        uint64_t max_connections, max_head, max_fields, max_url, max_pipelined;
        int cache_control; /* enum config_client_cc */
    } client;
    struct {
        uint64_t max_1xx, max_chunk_ext, max_trailers, max_ranges;
    } http;
    struct {
        uint64_t max_waiters, max_waiters_total, max_flights, window, max_bytes_total, waiter_timeout_ms;
        uint64_t error_ttl_ms, error_ttl_max_ms, retry_after_max_ms, uncacheable_ttl_ms;
        int finish; /* enum config_finish */
    } flight;
    struct {
        int set_cookie; /* enum config_set_cookie */
        bool heuristic, normalise_encoding, normalise_language;
        uint64_t max_variants, max_uncacheable, early_refresh, ttl_jitter;
    } cache;
    struct {
        uint64_t if_disconnected_ms, if_overloaded_ms;
        bool obey_s_maxage;
    } stale;

    struct http1_limits http_limits; /* derived: client.* and http.* as the parser takes them */
};

/* What main takes from the command line; see config_cli.h for its parser. Names are dotted, as after --set,
 * or "listen", "origin", "admin", "store", "--workers" for the flags. A list's value has its items with
 * commas; the first "listen" or "origin" replaces the file's, the next ones append. */
struct config_override {
    const char *name, *value;
};

/* Load: defaults, then `file` (may be NULL), then the overrides in order. On success *out has one reference.
 * On failure returns ERR_SYNTAX, ERR_RANGE, ERR_SYSTEM or ERR_NOMEM and appends to `errors` one line per
 * problem, each "FILE:LINE:COLUMN: what is wrong; what would be right" (or "--set NAME: ..."). Warnings go to
 * `errors` too with success. A config without a server for the origin "default" does not load. Any thread;
 * reads files. */
int config_load(struct config **out, const char *file, const struct config_override *overrides, size_t n,
                struct buf *errors);

/* The same for -T: a config that has no origin yet loads too. Not to be served with. */
int config_load_for_dump(struct config **out, const char *file, const struct config_override *overrides,
                         size_t n, struct buf *errors);

/* Defaults and one origin; for tests. Never fails but by abort. */
struct config *config_for_test(void);

struct config *config_ref(struct config *c);
void config_unref(struct config **slot);

/* -T: the effective configuration as YAML that config_load reads back to an equal one. */
void config_dump(const struct config *c, struct buf *out);

/* --help's and the README's table of directives: name, default, range, reload, help, a line each. */
void config_describe(struct buf *out);

/* The names of directives that differ between the two and need a restart, comma-separated; empty when a
 * reload may go on. */
void config_restart_needed(const struct config *running, const struct config *next, struct buf *out);

#endif
