#include "common/err.h"
#include "common/proxy_protocol.h"
#include "shield/http/h1_impl.h"
#include "shield/ops/log.h"

enum { TELL_EACH_MS = 60 * 1000, TURNED_AWAY_MAX = 64 };

/* Counts the client with those of its address, by the settings of now. *n as address_enter has it. */
static int enter_address(struct h1_client *c, uint32_t *n)
{
    c->entered_under = h1_settings(c);
    return address_enter(c->server->shared->addresses, h1_loop(c), &c->peer.addr, &c->address, n);
}

uint32_t h1_wait_for_turn(struct h1_client *c)
{
    uint32_t n;
    if (c->address == NULL && c->entered_under != h1_settings(c))
        (void)enter_address(c, &n);
    return address_take(h1_loop(c), c->address);
}

/* Its answer is out before it has asked. Many at a time would take up what the limit is there to keep. */
static void turn_away(struct h1_client *c, int err, uint64_t n_beyond, uint64_t most_answers)
{
    if (n_beyond <= MIN(most_answers, (uint64_t)TURNED_AWAY_MAX))
        h1_client_refuse(c, NULL, err);
    else
        h1_client_close(c, true);
}

/* Who has connected is known now: once in a connection's life, before anything of it is read as a request.
 * False when it has been turned away for its address. */
static bool on_address(struct h1_client *c, const struct netaddr_cidr *addr)
{
    uint64_t limit = h1_settings(c)->client.max_connections_per_ip;
    uint32_t n;
    peer_set(&c->peer, addr);
    c->in_greeting = false;
    int err = enter_address(c, &n);
    if (err != 0)
        turn_away(c, err, n - limit, limit / 2 + 4);
    return err == 0;
}

/* Whoever is to send a PROXY header may not be speaking HTTP at all. */
void h1_turn_away(struct h1_client *c, uint64_t n_beyond, uint64_t most_answers)
{
    struct netaddr_cidr addr;
    conn_peer(&c->conn, &addr);
    peer_set(&c->peer, &addr);
    if (addr.family == 0 || config_cidrs_have(&h1_settings(c)->edges_proxy_protocol, &addr))
        h1_client_close(c, true);
    else
        turn_away(c, ERR_CONNECTIONS, n_beyond, most_answers);
}

void h1_greet(struct h1_client *c)
{
    struct netaddr_cidr addr;
    conn_peer(&c->conn, &addr);
    if (addr.family == 0) { /* already reset: nobody is there to be answered */
        h1_client_close(c, true);
        return;
    }
    if (!config_cidrs_have(&h1_settings(c)->edges_proxy_protocol, &addr)) {
        if (on_address(c, &addr))
            h1_client_wait(c);
        return;
    }
    peer_set(&c->peer, &addr);
    c->in_greeting = true;
    room_sit(&c->server->room, &c->seat, false);
    timer_set(h1_loop(c), &c->timer, h1_settings(c)->client.head_timeout_ms);
    conn_read_start(&c->conn);
}

/* One line in a while will do: a proxy that is set up wrong does it with every connection. */
static void tell_of_greeting(struct h1_client *c)
{
    uint64_t now_ms = loop_now_ms(h1_loop(c));
    if (now_ms < c->server->quiet_until_ms)
        return;
    c->server->quiet_until_ms = now_ms + TELL_EACH_MS;
    log_warn("edges.proxy_protocol: %.*s sent no good PROXY header; such connections are closed",
             c->peer.text_len, c->peer.text);
}

void h1_greeting_refuse(struct h1_client *c)
{
    metric_count(h1_loop(c)->metrics, PROXY_HEADERS_REFUSED);
    tell_of_greeting(c);
    h1_client_close(c, true); /* without a word: what speaks there may be no HTTP at all */
}

/* What stands behind the header is the client's own. */
static void end_greeting(struct h1_client *c, const struct proxy_header *h)
{
    struct netaddr_cidr addr = h->has_source ? h->source : c->peer.addr;
    buf_consume(&c->in, h->bytes);
    if (!on_address(c, &addr)) {
        buf_fini(&c->in);
    } else if (c->in.len > 0) {
        h1_client_go_on(c);
    } else {
        buf_fini(&c->in);
        h1_client_wait(c);
    }
}

void h1_greeting_take(struct h1_client *c, const char *p, size_t n)
{
    struct proxy_header h;
    buf_put(&c->in, p, n);
    if (c->in.failed) {
        h1_client_close(c, true);
        return;
    }
    switch (proxy_header_parse(c->in.p, c->in.len, h1_settings(c)->client.max_proxy_header, &h)) {
    case PROXY_HEADER_MORE:
        break;
    case PROXY_HEADER_DONE:
        end_greeting(c, &h);
        break;
    case PROXY_HEADER_TOO_LONG:
        metric_limit(h1_loop(c)->metrics, MAX_PROXY_HEADER);
        h1_greeting_refuse(c);
        break;
    case PROXY_HEADER_BAD:
        h1_greeting_refuse(c);
        break;
    }
}
