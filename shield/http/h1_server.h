/* h1_server - HTTP/1.0 and 1.1 clients of one loop: requests in, one exchange at a time, answers out in
 * order.
 *
 *   GREETING --PROXY header--> IDLE (only of peers in edges.proxy_protocol; the others begin there)
 *   IDLE --head--> BUSY (an exchange runs; content is handed to it, pipelined requests wait) --> IDLE ...
 *     `--bad head--> answer, LINGERING (no more from us; what the client still sends is dropped) --> closed
 *
 * An idle connection owns no buffer: heads are parsed where the loop read them, and copied only when
 * incomplete. */
#ifndef SHIELD_HTTP_H1_SERVER_H
#define SHIELD_HTTP_H1_SERVER_H

#include "shield/http/address_limits.h"
#include "shield/http/room.h"
#include "shield/request/exchange.h"

/* What the servers of all loops share; lives longer than they do. */
struct h1_shared {
    _Atomic uint64_t n_clients;
    struct rooms rooms;
    struct address_limits *addresses;
};

struct h1_server {
    struct exchange_env *env;
    struct h1_shared *shared;
    struct room room;
    struct list_node clients;
    uint32_t n_clients;
    bool draining;
    uint64_t quiet_until_ms;               /* the log has been told of a bad PROXY header */
    void (*on_empty)(struct h1_server *s); /* while draining: the last client has gone */
};

void h1_server_init(struct h1_server *s, struct exchange_env *env, struct h1_shared *shared,
                    void (*on_empty)(struct h1_server *s));

/* Take `fd`, which a listener has accepted. Beyond client.max_connections one leaves for it that is waiting
 * for nothing, else it is answered 503; beyond client.max_connections_per_ip 429. Of those who are turned
 * away like this only so many get the answer at a time, the others are reset. */
void h1_server_accept(struct h1_server *s, int fd, bool is_unix);

/* There is no descriptor for the next client: let an idle one go. False when there is none. */
bool h1_server_give_way(struct h1_server *s);

/* No more requests: idle connections close, busy ones after their answer. on_empty follows, from a later turn
 * at the earliest. */
void h1_server_drain(struct h1_server *s);

/* Cut every connection that is left. */
void h1_server_abort(struct h1_server *s);

#endif
