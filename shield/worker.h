/* worker - one thread that serves: a loop with its listeners, clients, flights and origin connections. */
#ifndef SHIELD_WORKER_H
#define SHIELD_WORKER_H

#include "shield/http/h1_server.h"
#include "shield/net/listener.h"
#include "shield/warm/warm_fetch.h"

struct worker {
    struct loop loop;
    struct upstream_pool pool;
    struct flight_env flights;
    struct exchange_env exchanges;
    struct warm_env warms;
    struct h1_server server;
    struct listener listeners[CONFIG_MAX_LISTEN];
    uint32_t n_listeners;
    uv_thread_t thread;
    void (*on_empty)(void *ctx); /* on the worker's thread: drained */
    void *ctx;
    struct mail drain_mail, abort_mail, stop_mail;
};

struct worker_options {
    unsigned id;
    struct config *config;
    struct loop **loops; /* of all workers */
    unsigned n_loops;
    struct gate **gates;
    struct cache *cache;
    struct disk *disk;
    struct admission *admission; /* NULL without a disk */
    struct h1_shared *clients;
    struct purge_log *purges;
    struct purger *purger;
    void (*on_empty)(void *ctx);
    void *ctx;
};

/* Prepare, before any thread runs. Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int worker_init(struct worker *w, const struct worker_options *o);
int worker_listen(struct worker *w, struct listen_socket *s); /* its socket of `s` */
int worker_start(struct worker *w);

/* Any thread. Drain: no new connections, answers come to their end, then on_empty (once). Abort: cut what is
 * left. Stop: after on_empty of all workers: the thread ends. */
void worker_drain(struct worker *w);
void worker_abort(struct worker *w);
void worker_stop(struct worker *w);
void worker_reload(struct worker *w, struct config *config); /* takes its own reference */

/* On its own thread: a purge has come into force; see flight_env_fence. */
void worker_pass_purge(struct worker *w);

/* After the thread has ended and the store is closed. */
void worker_fini(struct worker *w);

#endif
