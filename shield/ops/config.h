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
#include "shield/ops/tokens.h"

enum { CONFIG_MAX_ORIGINS = 64, CONFIG_MAX_SERVERS = 32, CONFIG_MAX_LISTEN = 32, CONFIG_MAX_CIDRS = 256 };
enum {
    CONFIG_MAX_ROUTES = 256,
    CONFIG_MAX_ROUTE_ITEMS = 256,    /* of each of its lists and maps */
    CONFIG_MAX_ROUTE_TEXT = 4096,    /* bytes of a pattern, a value, a URL */
    CONFIG_MAX_ROUTE_CONTENT = 65536 /* bytes of answer.body */
};

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
    uint64_t connect_attempts, max_concurrent, max_tunnels, max_queued, down_after;
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

enum config_cache_mode { CACHE_HONOUR, CACHE_OFF, CACHE_FORCE };
enum config_preset { PRESET_NONE, PRESET_STATIC, PRESET_HTML, PRESET_API, PRESET_MICROCACHE, PRESET_VIDEO };
enum config_action { ACTION_PROXY, ACTION_REDIRECT, ACTION_ANSWER, ACTION_DENY };

/* Texts and pairs of a route's lists, in the order of the file. */
struct config_texts {
    char **items;
    uint32_t n;
};
struct config_pair {
    char *name, *value; /* names of fields to match in lower case, those to send as written */
};
struct config_pairs {
    struct config_pair *items;
    uint32_t n;
};
/* One status or a class: 404, or 5xx as 500 to 599. Single ones stand before classes: the first that fits
 * counts. */
struct config_status_ttl {
    uint16_t first, last;
    uint64_t ttl_ms;
};
/* Requests in few classes: the first pattern that `header` matches names the class, "" when none does. The
 * header's name is in lower case. */
struct config_class {
    char *name, *header;
    struct config_pairs patterns; /* class and pattern */
};

/* What becomes of the requests that a route matches; everything is effective: what the file leaves out has
 * come from the preset, the section of the same name, or the default. A time of -1 is not given. */
struct config_route {
    char *name; /* as given, else "routes[N]", N from 0; "default" of the one behind all others */
    struct {
        struct config_texts hosts, paths, methods, cookies; /* one of each list that is not empty */
        struct config_pairs headers;                        /* all of them: name and pattern */
    } match; /* patterns of hosts are in lower case, of paths plain as http_path.h has it */

    int preset;                      /* enum config_preset; its values are in the other fields */
    uint32_t origin;                 /* index in config.origins */
    char *origin_name;               /* of that one */
    int action;                      /* enum config_action */
    uint32_t status;                 /* of ACTION_REDIRECT, ACTION_ANSWER, ACTION_DENY */
    char *text;                      /* where to, or the content; */
    char *content_type;              /* of ACTION_ANSWER */
    char *rewrite_from, *rewrite_to; /* of the path: a pattern, and what stands for it, each '*' for what that
                                      * of the same place in the pattern matched; NULL: as it is */

    int cache;                   /* enum config_cache_mode */
    bool collapse;               /* off: every miss asks for itself */
    struct config_texts upgrade; /* protocols that a request may switch to; empty: none */
    int set_cookie;              /* enum config_set_cookie */
    bool heuristic;
    int64_t ttl_ms, ttl_min_ms, ttl_max_ms, ttl_default_ms, edge_ttl_ms;
    struct config_status_ttl *ttl_by_status;
    uint32_t n_ttl_by_status;
    uint64_t early_refresh, ttl_jitter, admit_after;
    struct {
        int64_t while_revalidate_ms, if_error_ms; /* -1: what the response says */
        uint64_t if_disconnected_ms, if_overloaded_ms;
        bool obey_s_maxage;
    } stale;

    struct {
        bool drop_query, sort_query, scheme;
        struct config_texts query_ignore, query_allow; /* patterns of parameter names; allow empty: all */
        struct config_texts headers, cookies;          /* whose values are part of the key */
        struct config_class *classes;
        uint32_t n_classes;
    } key;

    struct config_pairs request_set, request_add, response_set, response_add;
    struct config_texts request_remove, response_remove;
};

struct config {
    atomic_uint refs; /* private: config_ref, config_unref */

    char *node_name; /* as configured; "" when not: then node_id has the random suffix */
    char *node_id;   /* what CDN-Loop and Cache-Status carry: "shield" or "shield-NAME"; see node_pseudonym */
    char *node_pseudonym; /* our CDN-Loop id: "shield-NAME", NAME by default host name and random suffix */
    uint64_t workers;     /* never 0 after load: auto is resolved */
    char *user;           /* "", NAME or NAME:GROUP; see privileges.h */
    uint64_t drain_timeout_ms;
    char *access_log; /* "off", "stdout" or a path */
    char *debug_token_file;
    struct tokens *debug_tokens; /* config_read_tokens; NULL: none */
    char **hosts;                /* lower case; NULL-terminated, never NULL; empty: all */
    struct config_cidrs edges_allow, edges_trusted, edges_proxy_protocol, purge_allow;
    char *edges_secret, *edges_secret_header; /* the file, and the field in lower case */
    struct tokens *edge_secrets;              /* config_read_tokens; NULL: none is asked for */

    struct config_listen listen[CONFIG_MAX_LISTEN];
    uint32_t n_listen;
    struct config_listen admin;
    char *admin_token_file;
    uint64_t admin_max_content;

    char *store_path; /* "": memory only */
    uint64_t store_size, store_ram;
    uint64_t store_admit_after, store_admit_keys;
    uint64_t store_keep_purges_ms;
    uint64_t store_object_max; /* 0: a quarter of the tier that would hold it */

    struct config_origin origins[CONFIG_MAX_ORIGINS]; /* "default" is [0], the others as first named */
    uint32_t n_origins;

    struct {
        uint64_t idle_timeout_ms, head_timeout_ms, body_timeout_ms, write_timeout_ms, tunnel_timeout_ms;
        uint64_t min_rate, drip_rate;
        uint64_t max_connections_per_ip, max_requests_per_ip; /* 0: no limit */
        uint64_t requests_burst_per_ip;                       /* 0: as max_requests_per_ip */
        uint64_t max_addresses;
        uint64_t max_connections, max_head, max_fields, max_url, max_pipelined, max_proxy_header;
        int cache_control; /* enum config_client_cc */
    } client;
    struct {
        uint64_t max_1xx, max_chunk_ext, max_trailers, max_ranges;
        bool forward_1xx;
    } http;
    struct {
        uint64_t max_waiters, max_waiters_total, max_flights, window, max_bytes_total, waiter_timeout_ms;
        uint64_t error_ttl_ms, error_ttl_max_ms, retry_after_max_ms, uncacheable_ttl_ms;
        int finish; /* enum config_finish */
    } flight;
    struct {
        uint64_t max_live, max_tags;
        uint64_t max_items, max_item_bytes;
    } purge;
    struct {
        uint64_t max_urls, max_lists, max_running, max_sitemap;
    } warm;
    struct {
        int set_cookie; /* enum config_set_cookie */
        bool heuristic, normalise_encoding, normalise_language;
        uint64_t max_variants, max_uncacheable, early_refresh, ttl_jitter;
    } cache;
    struct {
        uint64_t if_disconnected_ms, if_overloaded_ms;
        bool obey_s_maxage;
    } stale;

    struct config_route *routes; /* the first that matches wins */
    uint32_t n_routes;
    struct config_route fallback; /* what matches none */

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

/* Read debug.token_file and edges.secret into a config that was just loaded and nobody shares yet. Returns 0,
 * or ERR_SYNTAX or ERR_NOMEM as tokens_read, with lines in `errors`. */
int config_read_tokens(struct config *c, struct buf *errors);

/* The same for -T: a config that has no origin yet loads too. Not to be served with. */
int config_load_for_dump(struct config **out, const char *file, const struct config_override *overrides,
                         size_t n, struct buf *errors);

/* Defaults and one origin; for tests. Never fails but by abort. */
struct config *config_for_test(void);

/* A route that says nothing: the sections cache and stale as a route has them. Owns nothing: its texts live
 * as long as `c`. */
void config_route_defaults(const struct config *c, struct config_route *out);

/* Whether one of the blocks has `addr`, which is one address or of family 0. Any thread. */
bool config_cidrs_have(const struct config_cidrs *list, const struct netaddr_cidr *addr);

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
