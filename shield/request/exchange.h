/* exchange - one request with its answer.
 *
 *   ASKING --> WAITING (on a flight) --> READING (an object, onto the client's connection) --> over
 *      |          `-> ASKING again: another variant, or released: alone
 *      `--> READING (a hit)        from anywhere: an answer of our own, a cut, or the client is gone
 *
 *   WAITING --> TUNNEL (a 101 that was asked for) --> over
 *
 * The exchange writes to the client's connection itself and tells its owner (the connection's protocol side)
 * when it is over. Own loop only. */
#ifndef SHIELD_REQUEST_EXCHANGE_H
#define SHIELD_REQUEST_EXCHANGE_H

#include "shield/cache/cache.h"
#include "shield/net/conn.h"
#include "shield/net/peer.h"
#include "shield/purge/purger.h"

struct exchange;

/* What exchanges on one loop share. */
struct exchange_env {
    struct loop *loop;
    struct cache *cache;
    struct flight_env *flights;
    struct purger *purger;
    struct list_node idle; /* finished exchanges, to be used again */
    uint32_t n_idle;
    bool draining; /* answers say Connection: close */
};
void exchange_env_init(struct exchange_env *env, struct loop *l, struct cache *c, struct flight_env *flights,
                       struct purger *purger);
void exchange_env_fini(struct exchange_env *env);

/* What the owner hears, once each. */
struct exchange_owner {
    /* The answer is out. keep_alive: the connection may carry another request; else close it (abort: with a
     * reset). The exchange is gone. May come from inside exchange_start. */
    void (*on_over)(void *ctx, bool keep_alive, bool abort);
    /* More request content is welcome. */
    void (*on_content_room)(void *ctx);
    /* The connection is a tunnel from now on: what has come behind the request's head, and all that comes
     * later, goes to exchange_tunnel, which is also who reads on and stops. */
    void (*on_tunnel)(void *ctx);
};

struct exchange_request {
    const struct http_head *head; /* copied if needed */
    enum http1_framing content;
    uint64_t content_length;
    struct conn *conn;
    const struct peer *peer; /* outlives the exchange */
    uint32_t retry_after_s;  /* of exchange_refuse: 0: as the error has it */
    const struct exchange_owner *owner;
    void *ctx;
};

/* Start. The exchange is over when on_over has been called, perhaps before this returns; *out is NULL then.
 */
void exchange_start(struct exchange_env *env, const struct exchange_request *request, struct exchange **out);

/* Answer a request that could not be read, or is not to be served, with an error of our own; as
 * exchange_start, for a head that may be missing. The connection goes on where the head was whole, no content
 * follows it and the error lets it. */
void exchange_refuse(struct exchange_env *env, const struct exchange_request *request, int err,
                     struct exchange **out);

/* Decoded request content. False: enough for now, wait for on_content_room before giving more (what was given
 * is taken). */
bool exchange_content(struct exchange *ex, const char *p, size_t n);
void exchange_content_end(struct exchange *ex);

/* Bytes of the client in a tunnel, copied; ended: none will follow. May end the exchange. */
void exchange_tunnel(struct exchange *ex, const char *p, size_t n, bool ended);

/* The connection's events while the exchange runs. */
void exchange_on_drained(struct exchange *ex);
/* The request's content is broken or late: an answer with `err` if none is out, else a cut. */
void exchange_on_bad_content(struct exchange *ex, int err);
void exchange_on_gone(struct exchange *ex); /* reset or failed write: on_over follows at once */

#endif
