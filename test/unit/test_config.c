#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/check.h"
#include "shield/ops/config_load.h"

#define ORIGIN "origins: {default: {servers: [http://o]}}\n"

static const struct config_override one_origin = {"origin", "http://127.0.0.1:8000"};

/* Load `yaml` as file "f" with the overrides; the problems and warnings go to *errors. */
static struct config *load(const char *yaml, const struct config_override *o, size_t n, struct buf *errors)
{
    struct config *c = NULL;
    int err =
        config_load_text(&c, "f", yaml != NULL ? span_of(yaml) : (struct span){NULL, 0}, o, n, true, errors);
    assert_int_equal(err == 0, c != NULL);
    return c;
}

static struct config *load_ok(const char *yaml, const struct config_override *o, size_t n)
{
    struct buf errors = {0};
    struct config *c = load(yaml, o, n, &errors);
    if (c == NULL || errors.len > 0)
        fail_msg("%.*s", SPAN_FMT(errors));
    buf_fini(&errors);
    return c;
}

/* The names and defaults of DESIGN.md section 2, typed anew: what outside checks rely on. */
static void test_defaults(void **state)
{
    struct config *c = load_ok(NULL, &one_origin, 1);
    const struct {
        const char *name;
        uint64_t value, expected;
    } numbers[] = {
        {"drain_timeout", c->drain_timeout_ms, 10000},
        {"store.size", c->store_size, 1u << 30},
        {"store.ram", c->store_ram, 256u << 20},
        {"store.object_max", c->store_object_max, 0},
        {"connect_timeout", c->origins[0].connect_timeout_ms, 3000},
        {"connect_attempts", c->origins[0].connect_attempts, 3},
        {"origin head_timeout", c->origins[0].head_timeout_ms, 30000},
        {"origin body_timeout", c->origins[0].body_timeout_ms, 15000},
        {"max_concurrent", c->origins[0].max_concurrent, 200},
        {"max_tunnels", c->origins[0].max_tunnels, 100},
        {"max_queued", c->origins[0].max_queued, 5000},
        {"queue_timeout", c->origins[0].queue_timeout_ms, 30000},
        {"origin idle_timeout", c->origins[0].idle_timeout_ms, 60000},
        {"down_after", c->origins[0].down_after, 5},
        {"client.idle_timeout", c->client.idle_timeout_ms, 60000},
        {"client.head_timeout", c->client.head_timeout_ms, 10000},
        {"client.body_timeout", c->client.body_timeout_ms, 15000},
        {"client.write_timeout", c->client.write_timeout_ms, 30000},
        {"client.tunnel_timeout", c->client.tunnel_timeout_ms, 60000},
        {"client.min_rate", c->client.min_rate, 65536},
        {"client.max_connections", c->client.max_connections, 100000},
        {"client.max_head", c->client.max_head, 65536},
        {"client.max_fields", c->client.max_fields, 256},
        {"client.max_url", c->client.max_url, 16384},
        {"client.max_pipelined", c->client.max_pipelined, 32},
        {"client.cache_control", (uint64_t)c->client.cache_control, CLIENT_CC_IGNORE},
        {"http.max_1xx", c->http.max_1xx, 16},
        {"http.forward_1xx", c->http.forward_1xx, true},
        {"http.max_chunk_ext", c->http.max_chunk_ext, 1024},
        {"http.max_trailers", c->http.max_trailers, 8192},
        {"http.max_ranges", c->http.max_ranges, 16},
        {"flight.max_waiters", c->flight.max_waiters, 100000},
        {"flight.max_waiters_total", c->flight.max_waiters_total, 200000},
        {"flight.max_flights", c->flight.max_flights, 50000},
        {"flight.window", c->flight.window, 16u << 20},
        {"flight.max_bytes_total", c->flight.max_bytes_total, 512u << 20},
        {"flight.waiter_timeout", c->flight.waiter_timeout_ms, 90000},
        {"flight.error_ttl", c->flight.error_ttl_ms, 1000},
        {"flight.error_ttl_max", c->flight.error_ttl_max_ms, 30000},
        {"flight.retry_after_max", c->flight.retry_after_max_ms, 60000},
        {"flight.uncacheable_ttl", c->flight.uncacheable_ttl_ms, 120000},
        {"flight.finish", (uint64_t)c->flight.finish, FINISH_CACHEABLE},
        {"cache.set_cookie", (uint64_t)c->cache.set_cookie, SET_COOKIE_REFUSE},
        {"cache.heuristic", c->cache.heuristic, true},
        {"cache.normalise_encoding", c->cache.normalise_encoding, true},
        {"cache.normalise_language", c->cache.normalise_language, false},
        {"cache.max_variants", c->cache.max_variants, 64},
        {"cache.max_uncacheable", c->cache.max_uncacheable, 100000},
        {"stale.if_disconnected", c->stale.if_disconnected_ms, 86400000},
        {"stale.if_overloaded", c->stale.if_overloaded_ms, 0},
        {"stale.obey_s_maxage", c->stale.obey_s_maxage, true},
        {"limits.max_head", c->http_limits.max_head, 65536},
        {"limits.max_fields", c->http_limits.max_fields, 256},
        {"limits.max_url", c->http_limits.max_url, 16384},
        {"limits.max_chunk_ext", c->http_limits.max_chunk_ext, 1024},
        {"limits.max_trailers", c->http_limits.max_trailers, 8192},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (numbers[i].value != numbers[i].expected)
            fail_msg("%s is %llu", numbers[i].name, (unsigned long long)numbers[i].value);
    assert_string_equal(c->user, "");
    assert_string_equal(c->access_log, "off");
    assert_string_equal(c->store_path, "");
    assert_string_equal(c->debug_token_file, "");
    assert_string_equal(c->edges_secret, "");
    assert_string_equal(c->edges_secret_header, "shield-edge-secret");
    assert_string_equal(c->admin_token_file, "");
    assert_string_equal(c->origins[0].name, "default");
    assert_string_equal(c->origins[0].host, "");
    assert_int_equal(c->n_listen, 1);
    assert_string_equal(c->listen[0].text, "0.0.0.0:8080");
    assert_string_equal(c->admin.text, "127.0.0.1:9090");
    assert_null(c->hosts[0]);
    assert_int_equal(c->edges_allow.n + c->edges_trusted.n + c->purge_allow.n, 0);
    assert_in_range(c->workers, 1, 64);
    config_unref(&c);
    assert_null(c);
}

/* Each row's name stands in DESIGN.md; each row's bounds hold its default. */
static void test_table_is_sound(void **state)
{
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        assert_true(strlen(d->help) > 10 && d->help[strlen(d->help) - 1] == '.');
        for (size_t j = 0; j < i; j++)
            assert_false(d->scope == directives[j].scope && strcmp(d->name, directives[j].name) == 0);
        assert_int_equal(d->min != NULL, d->type == D_COUNT || d->type == D_BYTES || d->type == D_TIME ||
                                             d->type == D_TIME_OR || d->type == D_STATUS);
    }
    assert_int_equal(directive_count, 138);
}

static void test_names_of_this_node(void **state)
{
    struct config *a = load_ok(NULL, &one_origin, 1), *b = load_ok("node: {name: edge-7}\n", &one_origin, 1),
                  *again = load_ok(NULL, &one_origin, 1);
    assert_string_equal(a->node_id, "shield");
    assert_true(strlen(a->node_pseudonym) > strlen("shield--123456"));
    assert_memory_equal(a->node_pseudonym, "shield-", 7);
    assert_string_equal(a->node_pseudonym, again->node_pseudonym); /* kept for the process */
    assert_string_equal(b->node_id, "shield-edge-7");
    assert_string_equal(b->node_pseudonym, "shield-edge-7");
    config_unref(&a);
    config_unref(&b);
    config_unref(&again);
}

static const char everything[] =
    "# all shapes that a value may take\n"
    "workers: 3\n"
    "drain_timeout: 1m\n"
    "access_log: \"/var/log/a \\u00e9\\\"\\\\.json\"\n"
    "hosts: [A.example, b.example]\n"
    "listen:\n"
    "  - address: 127.0.0.1:0\n"
    "  - { address: '[::1]:8081' }\n"
    "  - unix:/run/shield.sock\n"
    "node: { name: n1 }\n"
    "admin: { address: 0.0.0.0:9999, token_file: /etc/tokens }\n"
    "debug.token_file: /etc/debug\n" /* a dotted key is the same as a nested one */
    "edges:\n"
    "  allow: [10.0.0.0/8, 2001:db8::/32]\n"
    "  trusted: 10.1.0.0/16\n" /* a list of one */
    "  secret: /etc/edges\n"
    "  secret_header: X-Origin-Verify\n"
    "purge: { allow: [127.0.0.1] }\n"
    "store: { path: /var/lib/shield, size: 50g, ram: 2g, object_max: 4m }\n"
    "client: { min_rate: 0, max_connections: 5k, cache_control: obey }\n"
    "http:\n"
    "flight: { finish: always, window: 1m, error_ttl: 250ms, error_ttl_max: 2s }\n"
    "cache: { set_cookie: strip, heuristic: off }\n"
    "stale: { if_disconnected: 1y }\n"
    "origins:\n"
    "  api:\n"
    "    servers: [http://API.example:8080/, 'http://[::1]', http+unix:///run/api.sock]\n"
    "    host: WWW.example\n"
    "  default: { servers: [http://10.0.0.1], max_queued: 0 }\n";

static void check_everything(const struct config *c)
{
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->drain_timeout_ms, 60000);
    assert_string_equal(c->access_log, "/var/log/a \xc3\xa9\"\\.json");
    assert_string_equal(c->hosts[0], "a.example");
    assert_string_equal(c->hosts[1], "b.example");
    assert_null(c->hosts[2]);
    assert_int_equal(c->n_listen, 3);
    assert_string_equal(c->listen[0].text, "127.0.0.1:0");
    assert_string_equal(c->listen[1].text, "[::1]:8081");
    assert_int_equal(c->listen[1].addr.ss.ss_family, AF_INET6);
    assert_int_equal(c->listen[2].addr.ss.ss_family, AF_UNIX);
    assert_string_equal(c->admin.text, "0.0.0.0:9999");
    assert_string_equal(c->admin_token_file, "/etc/tokens");
    assert_string_equal(c->debug_token_file, "/etc/debug");
    assert_int_equal(c->edges_allow.n, 2);
    assert_int_equal(c->edges_allow.items[1].bits, 32);
    assert_int_equal(c->edges_trusted.n, 1);
    assert_string_equal(c->edges_secret, "/etc/edges");
    assert_string_equal(c->edges_secret_header, "x-origin-verify");
    assert_int_equal(c->purge_allow.n, 1);
    assert_int_equal(c->store_size, 50ull << 30);
    assert_int_equal(c->store_object_max, 4u << 20);
    assert_int_equal(c->client.min_rate, 0);
    assert_int_equal(c->client.max_connections, 5000);
    assert_int_equal(c->client.cache_control, CLIENT_CC_OBEY);
    assert_int_equal(c->flight.finish, FINISH_ALWAYS);
    assert_int_equal(c->cache.set_cookie, SET_COOKIE_STRIP);
    assert_false(c->cache.heuristic);
    assert_int_equal(c->stale.if_disconnected_ms, 31536000000);
    assert_int_equal(c->n_origins, 2);
    assert_string_equal(c->origins[0].name, "default"); /* always the first */
    assert_string_equal(c->origins[0].servers[0].host, "10.0.0.1");
    assert_int_equal(c->origins[0].servers[0].port, 80);
    assert_int_equal(c->origins[0].max_queued, 0);
    const struct config_origin *api = &c->origins[1];
    assert_string_equal(api->name, "api");
    assert_string_equal(api->host, "www.example");
    assert_int_equal(api->n_servers, 3);
    assert_string_equal(api->servers[0].url, "http://API.example:8080/");
    assert_string_equal(api->servers[0].host, "api.example");
    assert_int_equal(api->servers[0].port, 8080);
    assert_string_equal(api->servers[1].host, "::1");
    assert_null(api->servers[1].unix_path);
    assert_string_equal(api->servers[2].unix_path, "/run/api.sock");
    assert_string_equal(api->servers[2].host, "localhost");
    assert_int_equal(api->max_queued, 5000);
}

static void test_everything(void **state)
{
    struct config *c = load_ok(everything, NULL, 0);
    check_everything(c);
    config_unref(&c);
}

static void test_round_trip(void **state)
{
    struct config *c = load_ok(everything, NULL, 0);
    struct buf first = {0}, second = {0}, restart = {0};
    config_dump(c, &first);
    buf_put(&first, "", 1);
    struct config *back = load_ok(first.p, NULL, 0);
    check_everything(back);
    config_dump(back, &second);
    buf_put(&second, "", 1);
    assert_string_equal(first.p, second.p);
    config_restart_needed(c, back, &restart);
    assert_int_equal(restart.len, 0);
    config_unref(&c);
    config_unref(&back);

    /* -T needs no origin, and what it prints is complete but for that */
    first.len = second.len = 0;
    assert_int_equal(config_load_for_dump(&c, NULL, NULL, 0, &first), 0);
    config_dump(c, &first);
    assert_int_equal(config_load_text(&back, "f", buf_span(&first), NULL, 0, false, &second), 0);
    config_dump(back, &second);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.p, second.p, first.len);
    config_unref(&c);
    config_unref(&back);
    buf_fini(&first);
    buf_fini(&second);
}

static void test_flags_win(void **state)
{
    static const char file[] = "workers: 3\n"
                               "listen: [127.0.0.1:1, 127.0.0.1:2]\n"
                               "admin: {address: 127.0.0.1:3}\n"
                               "store: {path: /file, size: 2g}\n"
                               "hosts: [a, b]\n"
                               "origins: {default: {servers: [http://file], head_timeout: 1s}}\n";
    static const struct config_override overrides[] = {
        {"listen", "127.0.0.1:11"},
        {"origin", "http://one"},
        {"admin", "127.0.0.1:13"},
        {"listen", "127.0.0.1:12"},
        {"store", "/flag"},
        {"--workers", "2"},
        {"origin", "http://two:81"},
        {"store.size", "3g"},
        {"origins.default.head_timeout", "2s"},
        {"origins.b.servers", "http://b1,http://b2"},
        {"hosts", "x, y"},
        {"workers", "4"}, /* the last one wins */
        {"edges.allow", ""},
    };
    struct config *c = load_ok(file, overrides, ARRAY_LEN(overrides));
    assert_int_equal(c->n_listen, 2);
    assert_string_equal(c->listen[0].text, "127.0.0.1:11");
    assert_string_equal(c->listen[1].text, "127.0.0.1:12");
    assert_int_equal(c->origins[0].n_servers, 2);
    assert_string_equal(c->origins[0].servers[0].host, "one");
    assert_string_equal(c->origins[0].servers[1].host, "two");
    assert_int_equal(c->origins[0].head_timeout_ms, 2000);
    assert_string_equal(c->admin.text, "127.0.0.1:13");
    assert_string_equal(c->store_path, "/flag");
    assert_int_equal(c->store_size, 3ull << 30);
    assert_int_equal(c->workers, 4);
    assert_int_equal(c->n_origins, 2);
    assert_int_equal(c->origins[1].n_servers, 2);
    assert_string_equal(c->hosts[0], "x");
    assert_string_equal(c->hosts[1], "y");
    config_unref(&c);
}

/* Every kind of problem in a file, at its exact place. */
static const struct {
    const char *yaml, *errors;
} bad_files[] = {
    /* names */
    {"stor:\n  size: 1g\n" ORIGIN, "f:1:1: unknown directive 'stor'; --help lists all\n"},
    {"store:\n  sise: 1g\n" ORIGIN, "f:2:3: unknown directive 'store.sise'; did you mean 'store.size'?\n"},
    {"max_waiters: 5\n" ORIGIN,
     "f:1:1: unknown directive 'max_waiters'; did you mean 'flight.max_waiters'?\n"},
    {"workres: 5\n" ORIGIN, "f:1:1: unknown directive 'workres'; did you mean 'workers'?\n"},
    {"origins: {default: {servers: [http://o], head_timout: 1s}}\n",
     "f:1:42: unknown directive 'origins.default.head_timout'; did you mean "
     "'origins.default.head_timeout'?\n"},
    {"origins: {default: {servers: [http://o]}, \"a.b\": {host: x}}\n",
     "f:1:43: unknown directive 'origins.a.b'; --help lists all\n"},
    {"origins: {default: {servers: [http://o]}, a b: {host: x}}\n",
     "f:1:43: 'origins.a b': not an origin's name; 1 to 63 letters, digits, '_' and '-' are expected\n"},
    {"[a]: 1\n" ORIGIN, "f:1:1: a key is no name; the name of a directive is expected\n"},
    {"\"wor\\nkers\": 1\n" ORIGIN, "f:1:1: unknown directive 'wor?kers'; did you mean 'workers'?\n"},
    /* types and ranges */
    {"workers: many\n" ORIGIN, "f:1:10: 'many': not a number; a number from 1 to 64, or auto\n"},
    {"workers: 0\n" ORIGIN, "f:1:10: '0': too small; a number from 1 to 64, or auto\n"},
    {"workers:   65\n" ORIGIN, "f:1:12: '65': too large; a number from 1 to 64, or auto\n"},
    {"store:\n  size: 10\n" ORIGIN, "f:2:9: '10': too small; a size from 16m to 64t (k, m, g, t)\n"},
    {"store: {ram: 1G}\n" ORIGIN,
     "f:1:14: '1G': not a size such as 64m; a size from 1m to 16t (k, m, g, t)\n"},
    {"drain_timeout: 10\n" ORIGIN,
     "f:1:16: '10': not a time such as 10s; a time from 0 to 1d (ms, s, m, h, d, w, y)\n"},
    {"cache: {heuristic: yes}\n" ORIGIN, "f:1:20: 'yes': not a boolean; on or off\n"},
    {"cache: {set_cookie: keep}\n" ORIGIN, "f:1:21: 'keep': not one of the words; refuse, strip or store\n"},
    {"access_log: \"a\\nb\"\n" ORIGIN,
     "f:1:13: 'a\\x0ab': control bytes, or not UTF-8; one line of UTF-8 text\n"},
    {"access_log: ''\n" ORIGIN, "f:1:13: '': names no file; off, stdout or a path\n"},
    {"node: {name: a b}\n" ORIGIN, "f:1:14: 'a b': not a name; 1 to 63 letters, digits, '.', '_' and '-'\n"},
    {"node: {name: \"a\\0b\"}\n" ORIGIN,
     "f:1:14: 'a\\x00b': not a name; 1 to 63 letters, digits, '.', '_' and '-'\n"},
    {"workers: [1]\n" ORIGIN, "f:1:10: 'workers' takes a single value; a number from 1 to 64, or auto\n"},
    {"workers: {a: 1}\n" ORIGIN, "f:1:10: 'workers' takes a single value; a number from 1 to 64, or auto\n"},
    {"store: 5\n" ORIGIN, "f:1:8: 'store' is a section; a map of directives is expected\n"},
    {"hosts: [a, [b]]\n" ORIGIN, "f:1:12: not a single value; a list of single values is expected\n"},
    {"hosts: ['*.example']\n" ORIGIN,
     "f:1:9: '*.example': not a host name; host names without port, compared whole\n"},
    {"edges:\n  allow:\n" ORIGIN, "f:2:9: 'edges.allow' has no value; a list, or [] for none\n"},
    {"edges: {allow: [10.0.0.1/8]}\n" ORIGIN,
     "f:1:17: '10.0.0.1/8': the address has bits set beyond its prefix length; address blocks: 10.0.0.0/8, "
     "192.0.2.1, 2001:db8::/32; unix: for Unix sockets\n"},
    {"purge: {allow: all}\n" ORIGIN,
     "f:1:16: 'all': not a numeric address; address blocks: 10.0.0.0/8, 192.0.2.1, 2001:db8::/32; unix: for "
     "Unix sockets\n"},
    {"edges: {secret_header: 'a b'}\n" ORIGIN,
     "f:1:24: 'a b': not a field's name (RFC 9110 section 5.1); a field's name\n"},
    {"edges: {secret_header: ''}\n" ORIGIN,
     "f:1:24: '': not a field's name (RFC 9110 section 5.1); a field's name\n"},
    {"edges: {secret_header: Host}\n" ORIGIN,
     "f:1:24: 'Host': the origin's host is origins.NAME.host; a field's name\n"},
    /* twice */
    {"workers: 1\nstore: {}\nworkers: 2\n" ORIGIN, "f:3:1: 'workers' is given twice; line 1 has the first\n"},
    {"store: {}\n\nstore: {size: 1g}\n" ORIGIN, "f:3:1: 'store' is given twice; line 1 has the first\n"},
    {"store.size: 2g\nstore: {size: 1g}\n" ORIGIN,
     "f:2:9: 'store.size' is given twice; line 1 has the first\n"},
    {"origins:\n  default: {servers: [http://o]}\n  default: {host: a}\n",
     "f:3:3: 'origins.default' is given twice; line 2 has the first\n"},
    /* addresses */
    {"listen: [8080]\n" ORIGIN,
     "f:1:10: '8080': no port behind the address; 127.0.0.1:8080, [::]:8080, :8080 or unix:/path\n"},
    {"listen: []\n" ORIGIN, "f:1:9: nothing to listen on; give at least one address, like 0.0.0.0:8080\n"},
    {"listen:\n  - { adress: ':1' }\n" ORIGIN, "f:2:7: unknown key in listen; { address: 0.0.0.0:8080 }\n"
                                               "f:2:5: no address; { address: 0.0.0.0:8080 }\n"},
    {"listen:\n  - { address: ':1', address: ':2' }\n" ORIGIN,
     "f:2:22: a second address; one for each item of listen\n"},
    {"listen: [{ address: [a] }]\n" ORIGIN, "f:1:21: not a single value; an address like 0.0.0.0:8080\n"
                                            "f:1:10: no address; { address: 0.0.0.0:8080 }\n"},
    {"listen: ['127.0.0.1:1', '127.0.0.1:1']\n" ORIGIN,
     "f:1:9: '127.0.0.1:1' is listened on twice; once is enough\n"},
    {"admin: {address: '127.0.0.1:8'}\nlisten: '127.0.0.1:8'\n" ORIGIN,
     "f:1:18: '127.0.0.1:8' is for edges and for admin; give them different ports\n"},
    {"admin: {address: ':9090'}\n" ORIGIN, "f:1:18: ':9090' lets others than this host at the admin port; "
                                           "give admin.token_file too, or an address like "
                                           "127.0.0.1:9090\n"},
    /* origins */
    {"workers: 1\n",
     "no origin to ask; give --origin http://HOST:PORT, or in the file origins: { default: { servers: "
     "[http://HOST:PORT] } }\n"},
    {"origins:\n  default: {host: a}\n",
     "no origin to ask; give --origin http://HOST:PORT, or in the file origins: { default: { servers: "
     "[http://HOST:PORT] } }\n"},
    {"origins:\n  default: {servers: [http://o]}\n  b: {host: a}\n",
     "f:3:3: origin 'b' has no servers; give servers: [http://HOST:PORT]\n"},
    {"origins: {default: {servers: [http://o, ftp://x]}}\n",
     "f:1:41: 'ftp://x': not an http:// URL; http://host[:port], http://[::1]:80 or http+unix:///path\n"},
    {"origins: {default: {servers: [http://o/path]}}\n",
     "f:1:31: 'http://o/path': a path: a server is a host and a port only; http://host[:port], "
     "http://[::1]:80 or "
     "http+unix:///path\n"},
    {"origins: {default: {servers: [http://u:p@o]}}\n",
     "f:1:31: 'http://u:p@o': no valid host and port; http://host[:port], http://[::1]:80 or "
     "http+unix:///path\n"},
    {"origins: {default: {servers: [http://127.1]}}\n",
     "f:1:31: 'http://127.1': no valid host and port; http://host[:port], http://[::1]:80 or "
     "http+unix:///path\n"},
    {"origins: {default: {servers: [http://o:0]}}\n",
     "f:1:31: 'http://o:0': no valid host and port; http://host[:port], http://[::1]:80 or "
     "http+unix:///path\n"},
    {"origins: {default: {servers: [http+unix://rel]}}\n",
     "f:1:31: 'http+unix://rel': no absolute path of at most 107 plain bytes; http://host[:port], "
     "http://[::1]:80 or "
     "http+unix:///path\n"},
    {"origins: {default: {servers: [http://o], host: 'a b'}}\n",
     "f:1:48: 'a b': not a host; host or host:port\n"},
    /* not built yet */
    {"origins: {default: {servers: [https://o]}}\n",
     "f:1:31: 'https://o': not built yet: TLS to origins; http://host[:port], http://[::1]:80 or "
     "http+unix:///path\n"},
    {"listen:\n  - { address: ':1', tls: { key: k } }\n" ORIGIN,
     "f:2:22: 'listen.tls' is not built yet; leave it out\n"},
    {"tls: {min: 1.3}\n" ORIGIN, "f:1:1: 'tls' is not built yet; leave it out\n"},
    {"origins: {default: {servers: [http://o], tls: {ca: x}}}\n",
     "f:1:42: 'origins.default.tls' is not built yet; leave it out\n"},
    /* between directives */
    {"flight: {error_ttl: 31s}\n" ORIGIN,
     "f:1:21: flight.error_ttl is above flight.error_ttl_max; it may be as much at most\n"},
    {"flight:\n  error_ttl_max: 10ms\n" ORIGIN,
     "f:2:18: flight.error_ttl is above flight.error_ttl_max; it may be as much at most\n"},
    /* YAML itself */
    {"- a\n", "f:1:1: not a map; directives as 'name: value' are expected\n"},
    {ORIGIN "---\nworkers: 2\n", "f:2:1: a second document; one is expected\n"},
    {ORIGIN "a: b: c\n", "f:2:5: mapping values are not allowed in this context; YAML is expected\n"},
    {ORIGIN "workers: *no\n", "f:2:10: found undefined alias; YAML is expected\n"},
    {ORIGIN "hosts: [a\n",
     "f:3:1: did not find expected ',' or ']' while parsing a flow sequence; YAML is expected\n"},
    {ORIGIN "hosts: [a\xff]\n", "f:2:10: invalid leading UTF-8 octet; YAML in UTF-8 is expected\n"},
    {ORIGIN "\tworkers: 1\n",
     "f:2:1: found character that cannot start any token while scanning for the next token; "
     "YAML is expected\n"},
    /* all of them, not only the first */
    {"workers: 0\nstore: {size: x}\nhots: [a]\n" ORIGIN,
     "f:1:10: '0': too small; a number from 1 to 64, or auto\n"
     "f:2:15: 'x': not a size such as 64m; a size from 16m to 64t (k, m, g, t)\n"
     "f:3:1: unknown directive 'hots'; did you mean 'hosts'?\n"},
};

static void test_bad_files(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_files); i++) {
        struct buf errors = {0};
        struct config *c = load(bad_files[i].yaml, NULL, 0, &errors);
        const char *expected = bad_files[i].errors;
        if (c != NULL || !span_eq(buf_span(&errors), span_of(expected)))
            fail_msg("%s\n--- gives:\n%.*s--- not:\n%s", bad_files[i].yaml, SPAN_FMT(errors), expected);
        config_unref(&c);
        buf_fini(&errors);
    }
}

static void test_bad_overrides(void **state)
{
    static const struct {
        struct config_override o;
        const char *error;
    } rows[] = {
        {{"store.size", "1"}, "--set store.size: '1': too small; a size from 16m to 64t (k, m, g, t)\n"},
        {{"stroe.size", "1g"},
         "--set stroe.size: unknown directive 'stroe.size'; did you mean 'store.size'?\n"},
        {{"origins.b.head_timeot", "1s"},
         "--set origins.b.head_timeot: unknown directive 'origins.b.head_timeot'; did you mean "
         "'origins.b.head_timeout'?\n"},
        {{"client", "1"},
         "--set client: 'client' is a section; name a directive in it, as --help lists them\n"},
        {{"routes", "1"},
         "--set routes: 'routes': routes are a list in the file: routes: [{ match: { path: /x/* }, ttl: 1h "
         "}]\n"},
        {{"routes.ttl", "1s"},
         "--set routes.ttl: 'routes.ttl': routes are a list in the file: routes: [{ match: { path: /x/* }, "
         "ttl: "
         "1h }]\n"},
        {{"ttl_min", "1s"}, "--set ttl_min: unknown directive 'ttl_min'; --help lists all\n"},
        {{"listen", "x"},
         "--listen: 'x': no port behind the address; 127.0.0.1:8080, [::]:8080, :8080 or unix:/path\n"},
        {{"--workers", "x"}, "--workers: 'x': not a number; a number from 1 to 64, or auto\n"},
        {{"origin", "https://o"},
         "--origin: 'https://o': not built yet: TLS to origins; http://host[:port], http://[::1]:80 or "
         "http+unix:///path\n"},
        {{"store", "a\xff"}, "--store: 'a\xff': control bytes, or not UTF-8; one line of UTF-8 text\n"},
        {{"admin", "192.0.2.1:9"},
         "--admin: '192.0.2.1:9' lets others than this host at the admin port; give admin.token_file too, "
         "or an address like 127.0.0.1:9090\n"},
        {{"origins.b.host", "h"},
         "--set origins.b.host: origin 'b' has no servers; give servers: "
         "[http://HOST:PORT]\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf errors = {0};
        struct config_override both[] = {one_origin, rows[i].o};
        struct config *c = load(NULL, both, 2, &errors);
        if (c != NULL || !span_eq(buf_span(&errors), span_of(rows[i].error)))
            fail_msg("%.*s--- not:\n%s", SPAN_FMT(errors), rows[i].error);
        buf_fini(&errors);
    }
}

static void test_limits_of_lists(void **state)
{
    struct buf yaml = {0}, errors = {0};
    buf_put_lit(&yaml, "hosts: [");
    for (int i = 0; i < 257; i++)
        buf_printf(&yaml, "h%d, ", i);
    buf_put_lit(&yaml, "]\nlisten: [");
    for (int i = 0; i < CONFIG_MAX_LISTEN + 1; i++)
        buf_printf(&yaml, "'127.0.0.1:%d', ", i + 1);
    buf_put_lit(&yaml, "]\nedges.allow: [");
    for (int i = 0; i < CONFIG_MAX_CIDRS + 1; i++)
        buf_printf(&yaml, "10.0.%d.0/24, ", i % 256);
    buf_put_lit(&yaml, "]\norigins:\n  default: {servers: [");
    for (int i = 0; i < CONFIG_MAX_SERVERS + 1; i++)
        buf_printf(&yaml, "'http://h%d', ", i);
    buf_put_lit(&yaml, "]}\n");
    for (int i = 0; i < CONFIG_MAX_ORIGINS; i++)
        buf_printf(&yaml, "  o%d: {servers: [http://o]}\n", i);
    buf_put(&yaml, "", 1);
    assert_null(load(yaml.p, NULL, 0, &errors));
    buf_put(&errors, "", 1);
    assert_non_null(strstr(errors.p, "one host too many"));
    assert_non_null(strstr(errors.p, "one address too many"));
    assert_non_null(strstr(errors.p, "one block too many"));
    assert_non_null(strstr(errors.p, "one server too many"));
    assert_non_null(strstr(errors.p, "one origin too many"));
    buf_fini(&yaml);
    buf_fini(&errors);
}

static void test_warnings(void **state)
{
    struct buf errors = {0};
    struct config *c = load("flight: {max_bytes_total: 1m}\n" ORIGIN, NULL, 0, &errors);
    assert_non_null(c);
    assert_true(span_starts(buf_span(&errors), SPAN("f:1:27: warning: flight.window is above")));
    config_unref(&c);
    buf_fini(&errors);
}

static void test_restart(void **state)
{
    struct config *running = load_ok(everything, NULL, 0);
    static const struct {
        struct config_override o;
        const char *names;
    } rows[] = {
        {{"store.ram", "1g"}, ""},
        {{"origins.api.head_timeout", "1s"}, ""},
        {{"store.size", "51g"}, "store.size"},
        {{"listen", "127.0.0.1:5"}, "listen"},
        {{"origins.api.servers", "http://b"}, "origins.api.servers"},
        {{"origins.new.servers", "http://b"}, "origins"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf names = {0};
        struct config *next = load_ok(everything, &rows[i].o, 1);
        config_restart_needed(running, next, &names);
        if (!span_eq(buf_span(&names), span_of(rows[i].names)))
            fail_msg("%s: %.*s", rows[i].o.name, SPAN_FMT(names));
        config_unref(&next);
        buf_fini(&names);
    }
    struct buf names = {0};
    static const struct config_override two[] = {{"store", "/x"}, {"workers", "9"}};
    struct config *next = load_ok(everything, two, 2);
    config_restart_needed(running, next, &names);
    assert_true(span_eq(buf_span(&names), SPAN("workers, store.path")));
    config_unref(&next);
    config_unref(&running);
    buf_fini(&names);
}

static void test_files(void **state)
{
    struct buf errors = {0};
    struct config *c = NULL;
    assert_int_equal(config_load(&c, "/nonexistent/shield.yaml", NULL, 0, &errors), ERR_SYSTEM);
    assert_true(span_starts(buf_span(&errors),
                            SPAN("/nonexistent/shield.yaml: cannot be read: No such file or directory; ")));
    errors.len = 0;
    assert_int_equal(config_load(&c, "/", NULL, 0, &errors), ERR_SYSTEM);
    assert_null(c);
    errors.len = 0;

    char path[] = "/tmp/test_config_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, everything, sizeof everything - 1), sizeof everything - 1);
    assert_int_equal(config_load(&c, path, NULL, 0, &errors), 0);
    assert_int_equal(errors.len, 0);
    check_everything(c);
    struct config *second = config_ref(c);
    config_unref(&c);
    check_everything(second);
    config_unref(&second);

    assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
    assert_int_equal(config_load(&c, path, NULL, 0, &errors), ERR_SYSTEM);
    close(fd);
    unlink(path);
    buf_fini(&errors);
}

static void test_describe(void **state)
{
    struct buf out = {0};
    config_describe(&out);
    buf_put(&out, "", 1);
    for (size_t i = 0; i < directive_count; i++) {
        char line[160];
        snprintf(line, sizeof line, "\n%s%s ",
                 directives[i].scope == SCOPE_ORIGIN  ? "origins.NAME."
                 : directives[i].scope == SCOPE_ROUTE ? "routes."
                                                      : "",
                 directives[i].name);
        assert_non_null(strstr(out.p, line));
        assert_non_null(strstr(out.p, directives[i].help));
    }
    buf_fini(&out);
}

static void test_for_test(void **state)
{
    struct config *c = config_for_test();
    assert_int_equal(c->origins[0].n_servers, 1);
    config_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_names_of_this_node),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_flags_win),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_overrides),
        cmocka_unit_test(test_limits_of_lists),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_for_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
