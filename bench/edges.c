#include "bench/edges.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "bench/edge.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

enum {
    SWEEP_MS = 250,
    SPARE_DESCRIPTORS = 64,
};

const char *edge_error_name(enum edge_error e)
{
    static const char *const names[] = {"ok",
#define X(id, name, text) name,
                                        EDGE_ERRORS(X)
#undef X
    };
    return names[e];
}

const char *edge_error_text(enum edge_error e)
{
    static const char *const texts[] = {"whole and as expected",
#define X(id, name, text) text,
                                        EDGE_ERRORS(X)
#undef X
    };
    return texts[e];
}

const char *edge_cache_name(enum edge_cache c)
{
    static const char *const names[] = {
#define X(id, name) name,
        EDGE_CACHES(X)
#undef X
    };
    return names[c];
}

/* ---- one thread */

static void gate_opens_if_all_here(struct edge_gate *g, uint64_t settle_ms)
{
    if (g->here < g->expected)
        return;
    g->release_ns = clock_ns(CLOCK_MONOTONIC) + settle_ms * 1000000;
    pthread_cond_broadcast(&g->all_here);
}

static uint64_t gate_pass(struct edge_run *run)
{
    struct edge_gate *g = &run->gate;
    pthread_mutex_lock(&g->lock);
    g->here++;
    gate_opens_if_all_here(g, run->config->settle_ms);
    while (g->release_ns == 0)
        pthread_cond_wait(&g->all_here, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return g->release_ns;
}

/* A thread that could not run will not come. */
static void gate_give_up(struct edge_run *run)
{
    pthread_mutex_lock(&run->gate.lock);
    run->gate.expected--;
    gate_opens_if_all_here(&run->gate, run->config->settle_ms);
    pthread_mutex_unlock(&run->gate.lock);
}

/* All connections of this thread stand: wait for the other threads, agree on an instant. The settle time lets
 * the other side accept what the kernel has connected, as connections of real edges would be. */
static void prepare_release(struct edge_thread *t)
{
    if (ev_timer_start(&t->ev, &t->release, gate_pass(t->run)) != 0) {
        t->failed = "out of memory";
        ev_stop(&t->ev);
    }
}

static void on_release(struct ev_timer *timer)
{
    struct edge_thread *t = container_of(timer, struct edge_thread, release);
    t->released_ns = ev_refresh(&t->ev);
    for (uint32_t i = 0; i < t->n_edges; i++)
        edge_ask(&t->edges[i]);
    t->report.release_us = (clock_ns(CLOCK_MONOTONIC) - t->released_ns) / 1000;
}

void edge_thread_settled(struct edge *e)
{
    struct edge_thread *t = e->thread;
    e->settled = true;
    if (++t->n_settled == t->n_edges)
        prepare_release(t);
}

void edge_thread_done(struct edge *e)
{
    struct edge_thread *t = e->thread;
    if (++t->n_done == t->n_edges)
        ev_stop(&t->ev);
}

static void on_sweep(struct ev_timer *timer)
{
    struct edge_thread *t = container_of(timer, struct edge_thread, sweep);
    const struct edges_config *config = t->run->config;
    for (uint32_t i = 0; i < t->n_edges; i++)
        edge_check_time(&t->edges[i], t->ev.now_ns);
    if (t->tells_progress && config->on_progress != NULL)
        config->on_progress(atomic_load_explicit(&t->run->finished, memory_order_relaxed), config->requests,
                            (t->ev.now_ns - t->run->began_ns) / 1000000);
    (void)ev_timer_start(&t->ev, &t->sweep, t->ev.now_ns + SWEEP_MS * UINT64_C(1000000));
}

static void on_deadline(struct ev_timer *timer)
{
    ev_stop(&container_of(timer, struct edge_thread, deadline)->ev);
}

static bool start_timers(struct edge_thread *t)
{
    const struct edges_config *config = t->run->config;
    t->sweep.on_due = on_sweep;
    t->deadline.on_due = on_deadline;
    t->release.on_due = on_release;
    int err = ev_timer_start(&t->ev, &t->sweep, t->ev.now_ns + SWEEP_MS * UINT64_C(1000000));
    if (err == 0 && config->duration_ms > 0)
        err = ev_timer_start(&t->ev, &t->deadline, t->ev.now_ns + config->duration_ms * 1000000);
    return err == 0;
}

static void *thread_main(void *arg)
{
    struct edge_thread *t = arg;
    if (ev_init(&t->ev) != 0 || !start_timers(t)) {
        t->failed = "no epoll to be had";
        gate_give_up(t->run);
        return NULL;
    }
    for (uint32_t i = 0; i < t->n_edges; i++)
        edge_open(&t->edges[i]);
    if (t->n_done < t->n_edges && t->failed == NULL)
        ev_run(&t->ev);
    return NULL;
}

/* ---- all threads */

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static struct edge_thread *thread_new(struct edge_run *run, uint32_t n_edges)
{
    struct edge_thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->run = run;
    t->ev.epfd = -1;
    t->n_edges = n_edges;
    t->edges = calloc(n_edges, sizeof *t->edges);
    if (t->edges == NULL) {
        free(t);
        return NULL;
    }
    for (uint32_t i = 0; i < n_edges; i++) {
        t->edges[i].io.fd = -1;
        t->edges[i].thread = t;
    }
    return t;
}

static void thread_free(struct edge_thread *t)
{
    if (t == NULL)
        return;
    for (uint32_t i = 0; i < t->n_edges; i++)
        edge_fini(&t->edges[i]);
    free(t->edges);
    ev_fini(&t->ev);
    free(t);
}

static void merge(struct edges_report *into, const struct edges_report *from)
{
    into->finished += from->finished;
    for (int i = 0; i < EDGE_ERROR_COUNT; i++)
        into->errors[i] += from->errors[i];
    for (int i = 0; i < CACHE_COUNT; i++)
        into->caches[i] += from->caches[i];
    for (size_t i = 0; i < ARRAY_LEN(into->statuses); i++)
        into->statuses[i] += from->statuses[i];
    into->body_bytes += from->body_bytes;
    into->connects += from->connects;
    into->resends += from->resends;
    into->release_us = MAX(into->release_us, from->release_us);
    hist_merge(&into->first_us, &from->first_us);
    hist_merge(&into->last_us, &from->last_us);
    if (into->cache_status[0] == '\0')
        memcpy(into->cache_status, from->cache_status, sizeof into->cache_status);
}

static const char *run_threads(struct edge_run *run, struct edge_thread **threads, uint32_t n,
                               struct edges_report *out)
{
    const char *why = NULL;
    uint64_t cpu_before_us = cpu_us();
    run->began_ns = clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < n; i++) {
        threads[i]->tells_progress = i == 0;
        threads[i]->started = pthread_create(&threads[i]->id, NULL, thread_main, threads[i]) == 0;
        if (!threads[i]->started)
            gate_give_up(run);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!threads[i]->started) {
            why = "no thread to be had";
            continue;
        }
        pthread_join(threads[i]->id, NULL);
        why = threads[i]->failed != NULL ? threads[i]->failed : why;
        merge(out, &threads[i]->report);
    }
    uint64_t from_ns = run->gate.release_ns > 0 ? run->gate.release_ns : run->began_ns;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC); /* before the release when no connection lived to see it */
    out->elapsed_us = now_ns > from_ns ? (now_ns - from_ns) / 1000 : 0;
    out->cpu_us = cpu_us() - cpu_before_us;
    return why;
}

static const char *check(const struct edges_config *config, struct edge_run *run)
{
    const char *why = target_parse(config->url, &run->target);
    if (why == NULL)
        why = target_resolve(&run->target, config->unix_socket, &run->to);
    if (why == NULL && sock_raise_limit() < config->connections + SPARE_DESCRIPTORS)
        why = "needs more connections than the limit of descriptors permits (ulimit -n)";
    return why;
}

const char *edges_run(const struct edges_config *config, struct edges_report *out)
{
    struct edge_run run = {.config = config,
                           .gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .all_here = PTHREAD_COND_INITIALIZER}};
    const char *why = check(config, &run);
    if (why != NULL)
        return why;
    uint32_t n = (uint32_t)MIN(config->threads, config->connections);
    struct edge_thread **threads = calloc(n, sizeof(struct edge_thread *));
    if (threads == NULL)
        return "out of memory";
    for (uint32_t i = 0; i < n; i++) {
        uint64_t share = config->connections / n + (i < config->connections % n);
        threads[i] = thread_new(&run, (uint32_t)share);
        if (threads[i] == NULL)
            why = "out of memory";
    }
    if (why == NULL) {
        run.gate.expected = n;
        why = run_threads(&run, threads, n, out);
    }
    for (uint32_t i = 0; i < n; i++)
        thread_free(threads[i]);
    free(threads);
    return why;
}
