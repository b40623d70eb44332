/* upstream - one HTTP/1.1 connection to a server of an origin, and the loop's pool of idle ones.
 *
 *   CONNECTING --> READY --> BUSY (a call owns it) --> IDLE (in the pool) --> BUSY ...
 *        `------------`---------`-----------------------`--> closed
 *
 * An idle connection is watched: a byte or an end on it closes it, so that nothing is ever read as an answer
 * to a later request. Own loop only. */
#ifndef SHIELD_ORIGIN_UPSTREAM_H
#define SHIELD_ORIGIN_UPSTREAM_H

#include "common/http1.h"
#include "shield/net/conn.h"
#include "shield/net/resolver.h"
#include "shield/origin/gate.h"

/* What one loop needs to talk to all origins. */
struct upstream_pool {
    struct loop *loop;
    struct resolver *resolver;
    struct gate **gates; /* one for each origin, shared by all loops */
    uint32_t cap_fields;
    struct http_field *fields;                 /* scratch for response heads */
    struct list_node idle[CONFIG_MAX_ORIGINS]; /* most recently used first */
    struct list_node open;                     /* all connections of this loop, for the end */
    uint32_t next_server;                      /* round robin over the servers of an origin */
};

int upstream_pool_init(struct upstream_pool *p, struct loop *l,
                       struct gate **gates); /* 0, ERR_NOMEM, ERR_SYSTEM */
/* Make room for heads of `config`, which the loop is about to take. Returns 0 or ERR_NOMEM. */
int upstream_pool_resize(struct upstream_pool *p, const struct config *config);
/* The loop has taken another config: let the origins' queues go by it. */
void upstream_pool_reload(struct upstream_pool *p);
void upstream_pool_fini(
    struct upstream_pool *p); /* closes all; the loop must still turn until they are gone */

struct upstream;

/* What the owner of a busy connection hears. */
struct upstream_owner {
    void (*on_connected)(void *ctx, int err); /* err: the connection is gone already */
    void (*on_data)(void *ctx, const char *p, size_t n);
    void (*on_eof)(void *ctx);
    void (*on_broken)(void *ctx, int err);
    void (*on_drained)(void *ctx);
};

/* A server of an origin, by its number in the config. */
struct upstream_target {
    unsigned origin_index;
    uint32_t server;
};

/* Take a connection that has been idle for at most max_idle_ms, or NULL; none to the servers in the bit set
 * `avoid`. Idle connections from before a server last went down are closed: a
 * probe on a new one says nothing of them. */
struct upstream *upstream_take(struct upstream_pool *p, unsigned origin_index, uint32_t avoid,
                               uint64_t max_idle_ms, const struct upstream_owner *owner, void *ctx);
/* Connect to `to`, an address of `at`. Returns 0: on_connected follows from a later turn; ERR_CONNECT when it
 * cannot be reached, ERR_NOMEM without memory or descriptors. */
int upstream_connect(struct upstream **out, struct upstream_pool *p, struct upstream_target at,
                     const struct netaddr *to, const struct upstream_owner *owner, void *ctx);

struct conn *upstream_conn(struct upstream *u);
uint32_t upstream_server(const struct upstream *u); /* its number */

/* Another owner, from now on. */
void upstream_give(struct upstream *u, const struct upstream_owner *owner, void *ctx);

/* Back into the pool: it may carry another request. */
void upstream_keep(struct upstream **slot);
/* Away with it, at once; no event follows. */
void upstream_drop(struct upstream **slot);
/* The same with a reset: what was sent last is not to be taken for the end. */
void upstream_cut(struct upstream **slot);

#endif
