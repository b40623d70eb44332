/* h1_server - HTTP/1.0 and 1.1 clients of one loop: requests in, one exchange at a time, answers out in
 * order.
 *
 *   IDLE --head--> BUSY (an exchange runs; content is handed to it, pipelined requests wait) --> IDLE ...
 *     `--bad head--> answer, LINGERING (no more from us; what the client still sends is dropped) --> closed
 *
 * An idle connection owns no buffer: heads are parsed where the loop read them, and copied only when
 * incomplete. */
#ifndef SHIELD_HTTP_H1_SERVER_H
#define SHIELD_HTTP_H1_SERVER_H

#include "shield/request/exchange.h"

struct h1_server {
    struct exchange_env *env;
    struct list_node clients;
    uint32_t n_clients;
    bool draining;
    void (*on_empty)(struct h1_server *s); /* while draining: the last client has gone */
};

void h1_server_init(struct h1_server *s, struct exchange_env *env, void (*on_empty)(struct h1_server *s));

/* Take the connection that `listener` has ready. Beyond client.max_connections it is closed at once, and
 * counted. */
void h1_server_accept(struct h1_server *s, uv_stream_t *listener);

/* No more requests: idle connections close, busy ones after their answer. on_empty follows, from a later turn
 * at the earliest. */
void h1_server_drain(struct h1_server *s);

/* Cut every connection that is left. */
void h1_server_abort(struct h1_server *s);

#endif
