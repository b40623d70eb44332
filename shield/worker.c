#include "shield/worker.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

static void on_server_empty(struct h1_server *s)
{
    struct worker *w = container_of(s, struct worker, server);
    w->on_empty(w->ctx);
}

static void on_accepted(struct listener *n, int fd)
{
    struct worker *w = n->ctx;
    h1_server_accept(&w->server, fd, n->is_unix);
}

static bool on_shortage(struct listener *n)
{
    return h1_server_give_way(&((struct worker *)n->ctx)->server);
}

static const struct listener_ops listener_ops = {.on_accepted = on_accepted, .on_shortage = on_shortage};

int worker_init(struct worker *w, const struct worker_options *o)
{
    *w = (struct worker){.on_empty = o->on_empty, .ctx = o->ctx};
    int err = loop_init(&w->loop, o->id, o->config);
    if (err != 0)
        return err;
    err = upstream_pool_init(&w->pool, &w->loop, o->gates);
    if (err != 0) {
        loop_fini(&w->loop);
        return err;
    }
    w->flights = (struct flight_env){.loop = &w->loop,
                                     .loops = o->loops,
                                     .n_loops = o->n_loops,
                                     .pool = &w->pool,
                                     .disk = o->disk,
                                     .admission = o->admission,
                                     .purges = o->purges,
                                     .table = cache_flight_table(o->cache)};
    flight_env_init(&w->flights);
    exchange_env_init(&w->exchanges, &w->loop, o->cache, &w->flights, o->purger);
    warm_env_init(&w->warms, &w->loop, o->cache, &w->flights);
    h1_server_init(&w->server, &w->exchanges, o->clients, on_server_empty);
    return 0;
}

int worker_listen(struct worker *w, struct listen_socket *s)
{
    REQUIRE(w->n_listeners < CONFIG_MAX_LISTEN);
    return listener_open(&w->listeners[w->n_listeners++], &w->loop, s, w->loop.id, &listener_ops, w);
}

static void run(void *arg)
{
    struct worker *w = arg;
    loop_run(&w->loop);
}

int worker_start(struct worker *w)
{
    return uv_thread_create(&w->thread, run, w) == 0 ? 0 : ERR_SYSTEM;
}

/* ---- mail ---- */

static void deliver_drain(struct mail *m)
{
    struct worker *w = container_of(m, struct worker, drain_mail);
    warm_env_stop(&w->warms);
    for (uint32_t i = 0; i < w->n_listeners; i++)
        listener_close(&w->listeners[i]);
    h1_server_drain(&w->server);
}

static void deliver_abort(struct mail *m)
{
    h1_server_abort(&container_of(m, struct worker, abort_mail)->server);
}

static void deliver_stop(struct mail *m)
{
    struct worker *w = container_of(m, struct worker, stop_mail);
    flight_env_stop(&w->flights);
    upstream_pool_fini(&w->pool);
    loop_stop(&w->loop);
}

void worker_drain(struct worker *w)
{
    w->drain_mail.deliver = deliver_drain;
    loop_post(&w->loop, &w->drain_mail);
}

void worker_abort(struct worker *w)
{
    w->abort_mail.deliver = deliver_abort;
    loop_post(&w->loop, &w->abort_mail);
}

void worker_stop(struct worker *w)
{
    w->stop_mail.deliver = deliver_stop;
    loop_post(&w->loop, &w->stop_mail);
}

struct reload {
    struct mail mail;
    struct worker *worker;
    struct config *config;
};

static void deliver_reload(struct mail *m)
{
    struct reload *r = container_of(m, struct reload, mail);
    if (upstream_pool_resize(&r->worker->pool, r->config) != 0 ||
        loop_set_config(&r->worker->loop, r->config) != 0)
        log_error("reload: out of memory: worker %u keeps its configuration", r->worker->loop.id);
    else
        upstream_pool_reload(&r->worker->pool);
    config_unref(&r->config);
    free(r);
}

void worker_reload(struct worker *w, struct config *config)
{
    struct reload *r = malloc(sizeof *r);
    if (r == NULL) {
        log_error("reload: out of memory: worker %u keeps its configuration", w->loop.id);
        return;
    }
    *r = (struct reload){.mail.deliver = deliver_reload, .worker = w, .config = config_ref(config)};
    loop_post(&w->loop, &r->mail);
}

void worker_pass_purge(struct worker *w)
{
    flight_env_fence(&w->flights);
}

void worker_fini(struct worker *w)
{
    loop_fini(&w->loop);
    exchange_env_fini(&w->exchanges);
}
