#include "shield/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/admin/admin.h"
#include "shield/ops/access_log.h"
#include "shield/ops/log.h"
#include "shield/ops/privileges.h"
#include "shield/purge/purger.h"
#include "shield/worker.h"

enum { FD_RESERVE = 512, STORE_READERS = 2 };

enum { SIGNALS = 5 };
static const int signal_numbers[SIGNALS] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1};

struct service {
    struct config *config;       /* the one in force */
    struct config *first_config; /* the store keeps to this one's key rules */
    const struct cli *cli;
    struct disk *disk;
    struct admission *admission;
    struct cache *cache;
    struct h1_shared clients;
    struct purge_log *purges;
    struct purger *purger;
    struct gate *gates[CONFIG_MAX_ORIGINS];
    struct listen_socket sockets[CONFIG_MAX_LISTEN];
    uint32_t n_sockets;
    struct warmer *warmer;
    struct worker *workers;
    struct warm_env *warm_envs[LOOP_MAX];
    struct loop *loops[LOOP_MAX];
    unsigned n_workers, n_started;
    struct admin *admin;

    /* the admin loop's: this thread */
    struct loop loop;
    uv_signal_t signals[SIGNALS];
    uv_timer_t drain_timer;
    bool ready, draining, cut;
    struct service_empty {
        struct mail mail;
        struct service *service;
    } empties[LOOP_MAX];
    unsigned n_empty;
};

/* ---- stopping ---- */

static void cut_what_is_left(struct service *s)
{
    if (s->cut)
        return;
    s->cut = true;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_abort(&s->workers[i]);
}

static void on_drain_timeout(uv_timer_t *t)
{
    struct service *s = container_of(t, struct service, drain_timer);
    log_warn("drain_timeout: cutting the connections that are left");
    metric_limit(s->loop.metrics, DRAIN_TIMEOUT);
    cut_what_is_left(s);
}

/* A second TERM or INT does not wait any longer. */
static void drain(struct service *s, bool to_the_end)
{
    if (s->draining) {
        if (!to_the_end)
            cut_what_is_left(s);
        return;
    }
    s->draining = true;
    log_info("draining%s", to_the_end ? " to the end" : "");
    if (!to_the_end)
        uv_timer_start(&s->drain_timer, on_drain_timeout, s->config->drain_timeout_ms, 0);
    warmer_stop(s->warmer);
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_drain(&s->workers[i]);
}

/* All workers are empty: nobody waits on another's flight any more. */
static void deliver_empty(struct mail *m)
{
    struct service *s = container_of(m, struct service_empty, mail)->service;
    if (++s->n_empty < s->n_workers)
        return;
    for (unsigned i = 0; i < s->n_workers; i++)
        worker_stop(&s->workers[i]);
    loop_stop(&s->loop);
}

/* On the worker's thread. */
static void on_worker_empty(void *ctx)
{
    struct service_empty *e = ctx;
    e->mail.deliver = deliver_empty;
    loop_post(&e->service->loop, &e->mail);
}

/* Descriptors that are not for clients: what the process holds itself, and what the origins may take. */
static uint64_t reserve_of(const struct config *cfg)
{
    uint64_t n = FD_RESERVE;
    for (uint32_t i = 0; i < cfg->n_origins; i++)
        n += cfg->origins[i].max_concurrent;
    return n;
}

/* The descriptor limit to its hard limit; where that is too small, fewer connections, but at least half of
 * it. */
static void fit_descriptors(struct config *cfg)
{
    uint64_t reserve = reserve_of(cfg);
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0)
        return;
    lim.rlim_cur = lim.rlim_max;
    setrlimit(RLIMIT_NOFILE, &lim);
    if (lim.rlim_max == RLIM_INFINITY)
        return;
    uint64_t most = lim.rlim_max > 2 * reserve ? lim.rlim_max - reserve : lim.rlim_max / 2;
    if (cfg->client.max_connections > most) {
        log_warn("client.max_connections: lowered from %llu to %llu: the descriptor limit is %llu; raise it "
                 "(ulimit -Hn, LimitNOFILE=)",
                 (unsigned long long)cfg->client.max_connections, (unsigned long long)most,
                 (unsigned long long)lim.rlim_max);
        cfg->client.max_connections = most;
    }
}

/* ---- signals ---- */

/* All or nothing; false with `why`, which takes warnings too. */
static bool reload(struct service *s, struct buf *why)
{
    struct buf restart = {0};
    struct config *next = NULL;
    int err = config_load(&next, s->cli->config_file, s->cli->overrides, s->cli->n, why);
    if (err == 0)
        err = config_read_tokens(next, why);
    if (err == 0)
        config_restart_needed(s->config, next, &restart);
    if (err == 0 && restart.len == 0)
        err = admin_reload(s->admin, next, why);
    if (why->len > 0)
        log_warn("reload: %.*s", (int)why->len, why->p);
    bool done = err == 0 && restart.len == 0;
    if (err != 0) {
        log_error("reload: refused, the running configuration stays");
        if (privileges_user() != NULL)
            log_error("reload: files are read as user %s now, not as root", privileges_user());
    } else if (!done) {
        buf_printf(why, "these need a restart: %.*s", SPAN_FMT(buf_span(&restart)));
        log_error("reload: refused, the running configuration stays: these need a restart: %.*s",
                  (int)restart.len, restart.p);
    } else {
        fit_descriptors(next);
        for (unsigned i = 0; i < s->n_workers; i++)
            worker_reload(&s->workers[i], next);
        loop_set_config(&s->loop, next);
        ram_set_limit(cache_ram(s->cache), next->store_ram);
        config_unref(&s->config);
        s->config = config_ref(next);
        log_info("reload: done");
    }
    config_unref(&next);
    buf_fini(&restart);
    return done;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct service *s = handle->data;
    struct buf why = {0}; /* it is in the log */
    switch (number) {
    case SIGTERM:
    case SIGINT:
        drain(s, false);
        break;
    case SIGQUIT:
        drain(s, true);
        break;
    case SIGHUP:
        reload(s, &why);
        buf_fini(&why);
        break;
    case SIGUSR1:
        if (access_log_reopen() != 0)
            log_error("access log: cannot be reopened; the old file goes on");
        else
            log_info("access log: reopened");
        break;
    }
}

static void watch_signals(struct service *s)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond RLIMIT_FSIZE is an error of that file */
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&s->loop.uv, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, signal_numbers[i]);
    }
    uv_timer_init(&s->loop.uv, &s->drain_timer);
}

static void unwatch_signals(struct service *s)
{
    for (int i = 0; i < SIGNALS; i++) {
        uv_close((uv_handle_t *)&s->signals[i], NULL);
        signal(signal_numbers[i], SIG_IGN); /* one more while we are leaving changes nothing */
    }
    uv_close((uv_handle_t *)&s->drain_timer, NULL);
}

/* ---- starting ---- */

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    ssize_t n = getrandom(&seed, sizeof seed, 0);
    REQUIRE(n == sizeof seed);
    return seed;
}

static int open_store(struct service *s)
{
    const struct config *cfg = s->config;
    s->cache = cache_new(cfg->store_ram, random_seed());
    if (s->cache == NULL)
        return ERR_NOMEM;
    if (cfg->store_path[0] == '\0')
        return 0;
    struct disk_options options = {
        .path = cfg->store_path,
        .size_bytes = cfg->store_size,
        .queue_max_bytes = cfg->flight.max_bytes_total / 2,
        .readers = STORE_READERS,
        .keep_purges_ms = cfg->store_keep_purges_ms,
        .config = s->first_config,
        .may_evict = cache_may_evict,
        .ctx = s->cache,
    };
    int err = disk_open(&s->disk, &options);
    if (err != 0) {
        log_error("store: %s: %s", cfg->store_path, err_text(err));
        return err;
    }
    s->admission = admission_new(cfg->store_admit_keys);
    if (s->admission == NULL)
        return ERR_NOMEM;
    cache_set_disk(s->cache, s->disk, s->admission, disk_seed(s->disk));
    return 0;
}

/* On a worker's loop. */
static void pass_purge(void *ctx, struct loop *here)
{
    struct service *s = ctx;
    worker_pass_purge(&s->workers[here->id]);
}

static int open_purges(struct service *s)
{
    s->purges = purge_log_new(s->config->purge.max_live, random_seed());
    if (s->purges == NULL)
        return ERR_NOMEM;
    cache_set_purges(s->cache, s->purges);
    struct purger_options options = {.log = s->purges,
                                     .disk = s->disk,
                                     .loops = s->loops,
                                     .n_loops = s->n_workers,
                                     .pass = pass_purge,
                                     .ctx = s};
    int err = purger_new(&s->purger, &options);
    if (err != 0)
        log_error("store: %s: the log of purges: %s", s->config->store_path, err_text(err));
    return err;
}

static int open_sockets(struct service *s, struct buf *errors)
{
    for (uint32_t i = 0; i < s->config->n_listen; i++) {
        int err = listen_socket_open(&s->sockets[i], &s->config->listen[i].addr, s->n_workers, errors);
        if (err != 0)
            return err;
        s->n_sockets++;
    }
    return 0;
}

static int make_workers(struct service *s)
{
    s->workers = calloc(s->n_workers, sizeof *s->workers);
    s->clients.addresses = address_limits_new(random_seed());
    if (s->workers == NULL || s->clients.addresses == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->config->n_origins; i++) {
        s->gates[i] = gate_new(i);
        if (s->gates[i] == NULL)
            return ERR_NOMEM;
    }
    for (unsigned i = 0; i < s->n_workers; i++) {
        s->empties[i].service = s;
        s->loops[i] = &s->workers[i].loop;
        s->warm_envs[i] = &s->workers[i].warms;
        struct worker_options options = {.id = i,
                                         .config = s->config,
                                         .loops = s->loops,
                                         .n_loops = s->n_workers,
                                         .gates = s->gates,
                                         .cache = s->cache,
                                         .disk = s->disk,
                                         .admission = s->admission,
                                         .clients = &s->clients,
                                         .purges = s->purges,
                                         .purger = s->purger,
                                         .on_empty = on_worker_empty,
                                         .ctx = &s->empties[i]};
        int err = worker_init(&s->workers[i], &options);
        for (uint32_t k = 0; err == 0 && k < s->n_sockets; k++)
            err = worker_listen(&s->workers[i], &s->sockets[k]);
        if (err != 0)
            return err;
    }
    s->warmer = warmer_new(&s->loop, s->warm_envs, s->n_workers);
    return s->warmer != NULL ? 0 : ERR_NOMEM;
}

static bool is_ready(void *ctx)
{
    return ((struct service *)ctx)->ready;
}

static bool is_draining(void *ctx)
{
    return ((struct service *)ctx)->draining;
}

static bool reload_by_admin(void *ctx, struct buf *why)
{
    return reload(ctx, why);
}

static void drain_by_admin(void *ctx)
{
    struct service *s = ctx;
    if (!s->draining)
        drain(s, false);
}

static int open_admin(struct service *s)
{
    struct admin_sources sources = {.cache = s->cache,
                                    .disk = s->disk,
                                    .purger = s->purger,
                                    .warmer = s->warmer,
                                    .is_ready = is_ready,
                                    .is_draining = is_draining,
                                    .reload = reload_by_admin,
                                    .drain = drain_by_admin,
                                    .ctx = s};
    return admin_open(s->admin, &sources);
}

/* For whoever waits for it to begin; in one write, and without time and level. */
static void say_ready(struct service *s)
{
    struct buf line = {0};
    buf_put_lit(&line, "ready listen=");
    for (uint32_t i = 0; i < s->n_sockets; i++) {
        if (i > 0)
            buf_put_lit(&line, ",");
        netaddr_put(&line, (const struct sockaddr *)&s->sockets[i].addr.ss);
    }
    buf_put_lit(&line, " admin=");
    admin_put_address(s->admin, &line);
    buf_put_lit(&line, "\n");
    fwrite(line.p, 1, line.len, stderr);
    buf_fini(&line);
}

static int open_log(struct service *s, struct buf *errors)
{
    int err = access_log_open(s->config->access_log);
    if (err == 0)
        return 0;
    buf_printf(errors, "access_log: %s: cannot be opened for writing", s->config->access_log);
    if (privileges_user() != NULL)
        buf_printf(errors, " as user %s, who opens it again at USR1 too", privileges_user());
    return err;
}

/* What may need root comes first, then root goes, then what is opened with the rights that it will be opened
 * again with; the threads last. */
static int start(struct service *s, struct buf *errors)
{
    int err = open_sockets(s, errors);
    if (err == 0)
        err = admin_bind(&s->admin, &s->loop, errors);
    if (err == 0)
        err = privileges_drop(s->config, s->cli->config_file, errors);
    if (err == 0)
        err = open_log(s, errors);
    if (err == 0)
        err = open_store(s);
    if (err == 0)
        err = open_purges(s);
    if (err == 0)
        err = make_workers(s);
    if (err == 0)
        err = open_admin(s);
    for (; err == 0 && s->n_started < s->n_workers; s->n_started++)
        err = worker_start(&s->workers[s->n_started]);
    return err;
}

static void finish(struct service *s)
{
    for (unsigned i = 0; i < s->n_started; i++)
        uv_thread_join(&s->workers[i].thread);
    if (s->disk != NULL)
        disk_close(&s->disk); /* its last mail is delivered below */
    if (s->purger != NULL)
        purger_close(s->purger);
    for (unsigned i = 0; i < s->n_started; i++)
        worker_fini(&s->workers[i]);
    admin_close(&s->admin);
    unwatch_signals(s);
    for (uint32_t i = 0; i < s->n_sockets; i++)
        listen_socket_close(&s->sockets[i]);
    for (uint32_t i = 0; i < CONFIG_MAX_ORIGINS; i++)
        gate_free(&s->gates[i]);
    loop_fini(&s->loop);
    warmer_free(&s->warmer);
    purger_free(&s->purger);
    purge_log_free(&s->purges);
    cache_free(&s->cache);
    admission_free(&s->admission);
    address_limits_free(&s->clients.addresses);
    free(s->workers);
    config_unref(&s->first_config);
    config_unref(&s->config);
}

static void say_why_not(struct buf *errors, int err)
{
    while (errors->len > 0 && errors->p[errors->len - 1] == '\n')
        errors->len--;
    if (errors->len > 0)
        log_error("cannot start: %.*s", (int)errors->len, errors->p);
    else
        log_error("cannot start: %s", err_text(err));
    buf_fini(errors);
}

/* Nothing has been served yet; the exit closes what does not outlive the process. */
static void give_up(struct service *s)
{
    for (uint32_t i = 0; i < s->n_sockets; i++)
        listen_socket_close(&s->sockets[i]);
    admin_close(&s->admin);
    if (s->disk != NULL)
        disk_close(&s->disk);
}

int service_run(struct config *config, const struct cli *cli)
{
    static struct service service; /* as long as the process */
    struct service *s = &service;
    struct buf errors = {0};
    s->config = config;
    s->first_config = config_ref(config);
    s->cli = cli;
    s->n_workers = (unsigned)config->workers;
    fit_descriptors(config);
    if (loop_init(&s->loop, UINT32_MAX, config) != 0)
        return 1;
    watch_signals(s);
    sigset_t ours, before;
    sigemptyset(&ours);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&ours, signal_numbers[i]);
    pthread_sigmask(SIG_BLOCK, &ours, &before); /* the threads inherit it: signals are for this one */
    int err = start(s, &errors);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        say_why_not(&errors, err);
        give_up(s);
        return 1;
    }
    s->ready = true;
    say_ready(s);
    loop_run(&s->loop);
    finish(s);
    log_info("stopped");
    return 0;
}
