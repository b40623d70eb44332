#include "bench/edges.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "bench/edge.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

enum {
    SPARE_DESCRIPTORS = 64,
    LATE_SAMPLES = 100,
    LATE_US = 2000,       /* sends later than this, at the 99th percentile, spoil the latencies */
    BUSY_PERCENT = 90,    /* a thread busier than this may not keep up */
    BUSY_MIN_US = 200000, /* shorter runs tell nothing about that */
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

/* ---- all threads */

static uint64_t cpu_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* Of any number of connections the percentage, spread evenly; the first is one of them, so part of one is
 * one. */
static bool is_slow(const struct edges_config *config, uint64_t number)
{
    return ((number + 1) * config->slow + 99) / 100 > (number * config->slow + 99) / 100;
}

static struct edge_thread *thread_new(struct edge_run *run, uint32_t no, uint32_t n_edges)
{
    struct edge_thread *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->run = run;
    t->no = no;
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
        t->edges[i].number = (uint64_t)i * run->n_threads + no;
        t->edges[i].slow = is_slow(run->config, t->edges[i].number);
        list_init(&t->edges[i].idle);
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

void edges_report_merge(struct edges_report *into, const struct edges_report *from)
{
    into->finished += from->finished;
    for (int i = 0; i < EDGE_ERROR_COUNT; i++)
        into->errors[i] += from->errors[i];
    for (int i = 0; i < CACHE_COUNT; i++)
        into->caches[i] += from->caches[i];
    for (size_t i = 0; i < ARRAY_LEN(into->statuses); i++)
        into->statuses[i] += from->statuses[i];
    into->body_bytes += from->body_bytes;
    into->aborted += from->aborted;
    into->slow += from->slow;
    into->waited += from->waited;
    into->busiest_percent = MAX(into->busiest_percent, from->busiest_percent);
    into->connects += from->connects;
    into->resends += from->resends;
    into->skipped = MAX(into->skipped, from->skipped);
    into->elapsed_us += from->elapsed_us;
    into->cpu_us += from->cpu_us;
    into->release_us = MAX(into->release_us, from->release_us);
    hist_merge(&into->late_us, &from->late_us);
    hist_merge(&into->wait_first_us, &from->wait_first_us);
    hist_merge(&into->wait_last_us, &from->wait_last_us);
    hist_merge(&into->first_us, &from->first_us);
    hist_merge(&into->half_us, &from->half_us);
    hist_merge(&into->last_us, &from->last_us);
    for (int i = 0; i < CACHE_COUNT; i++)
        hist_merge(&into->by_cache_us[i], &from->by_cache_us[i]);
    if (into->cache_status[0] == '\0')
        memcpy(into->cache_status, from->cache_status, sizeof into->cache_status);
}

static const char *run_threads(struct edge_run *run, struct edge_thread **threads, uint32_t n,
                               struct edges_report *out)
{
    const char *why = NULL;
    uint64_t cpu_before_us = cpu_us();
    run->began_ns = clock_ns(CLOCK_MONOTONIC);
    run->schedule_ns = run->began_ns + run->config->settle_ms * 1000000;
    for (uint32_t i = 0; i < n; i++) {
        threads[i]->tells_progress = i == 0;
        threads[i]->started = pthread_create(&threads[i]->id, NULL, edge_thread_main, threads[i]) == 0;
        if (!threads[i]->started)
            edge_gate_give_up(run);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!threads[i]->started) {
            why = "no thread to be had";
            continue;
        }
        pthread_join(threads[i]->id, NULL);
        why = threads[i]->failed != NULL ? threads[i]->failed : why;
        edges_report_merge(out, &threads[i]->report);
    }
    out->release_ns = run->gate.release_ns;
    uint64_t from_ns = out->release_ns > 0               ? out->release_ns
                       : edges_is_open_loop(run->config) ? run->schedule_ns
                                                         : run->began_ns;
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

static const char *prepare(const struct edges_config *config, struct edge_run *run)
{
    const char *why = check(config, run);
    if (why == NULL && config->targets.len > 0)
        why = paths_load(&run->paths, config->targets);
    if (why == NULL && config->replay > 0)
        why = paths_replay(&run->paths);
    if (why != NULL)
        return why;
    run->target.paths = run->paths.path;
    run->schedule = (struct schedule){.seed = config->seed,
                                      .keys = run->paths.n > 0 ? run->paths.n : config->keys,
                                      .order = (enum schedule_order)config->order,
                                      .exponent = config->zipf};
    schedule_init(&run->schedule);
    run->n_threads = MIN(config->threads, config->connections);
    if (config->verify) {
        run->cookies = calloc(EDGE_COOKIES / 64, sizeof *run->cookies);
        run->waits = config->stampede ? NULL : waits_new();
        why = run->cookies == NULL || (run->waits == NULL && !config->stampede) ? "out of memory" : NULL;
    }
    return why;
}

static const char *run_all(struct edge_run *run, struct edges_report *out)
{
    const struct edges_config *config = run->config;
    const char *why = NULL;
    uint32_t n = (uint32_t)run->n_threads;
    struct edge_thread **threads = calloc(n, sizeof(struct edge_thread *));
    if (threads == NULL)
        return "out of memory";
    for (uint32_t i = 0; i < n; i++) {
        uint64_t share = config->connections / n + (i < config->connections % n);
        threads[i] = thread_new(run, i, (uint32_t)share);
        if (threads[i] == NULL)
            why = "out of memory";
    }
    if (why == NULL) {
        run->gate.expected = n;
        why = run_threads(run, threads, n, out);
    }
    if (why == NULL && config->stampede)
        why = edges_note_waits(threads, n, out);
    if (why == NULL && config->before_close != NULL)
        config->before_close(config->before_close_arg, out);
    for (uint32_t i = 0; i < n; i++)
        thread_free(threads[i]);
    free(threads);
    return why;
}

const char *edges_run(const struct edges_config *config, struct edges_report *out)
{
    struct edge_run run = {.config = config,
                           .gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .all_here = PTHREAD_COND_INITIALIZER}};
    const char *why = prepare(config, &run);
    out->skipped = run.paths.skipped;
    if (why == NULL)
        why = run_all(&run, out);
    paths_fini(&run.paths);
    waits_free(run.waits);
    free(run.cookies);
    return why;
}

bool edges_is_open_loop(const struct edges_config *config)
{
    return config->rate > 0 || config->replay > 0;
}

uint64_t edges_failed(const struct edges_report *r)
{
    return r->finished - r->errors[EDGE_OK] - r->aborted;
}

uint64_t edges_wrong(const struct edges_report *r)
{
    return r->errors[EDGE_PROTOCOL] + r->errors[EDGE_TRUNCATED] + r->errors[EDGE_WRONG_BODY] +
           r->errors[EDGE_COOKIE] + r->errors[EDGE_OUTDATED] + r->errors[EDGE_UNVERIFIABLE];
}

const char *edges_bottleneck(const struct edges_report *r)
{
    if (atomic_load(&r->late_us.total) > LATE_SAMPLES && hist_percentile(&r->late_us, 99) > LATE_US)
        return "requests were sent late";
    if (r->elapsed_us > BUSY_MIN_US && r->busiest_percent > BUSY_PERCENT)
        return "a thread had no time left (more threads: -t)";
    return NULL;
}
