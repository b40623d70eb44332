#include "bench/edge.h"
#include "common/check.h"
#include "common/clock.h"

enum {
    SWEEP_MS = 250,
    WAITED_NS = 1000000, /* an open loop's request that is later than this had to wait for a connection */
};

/* ---- the gate of a stampede */

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

void edge_gate_give_up(struct edge_run *run)
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

/* ---- an open loop's schedule */

static uint64_t mean_gap_ns(const struct edge_thread *t)
{
    return (uint64_t)(1e9 * (double)t->run->n_threads / t->run->config->rate);
}

/* Sets when request k is due. Evenly, the threads take turns. */
static void set_due(struct edge_thread *t)
{
    const struct edges_config *config = t->run->config;
    uint64_t i = t->no + t->k * t->run->n_threads, from_ns = t->run->schedule_ns;
    const struct paths *log = &t->run->paths;
    if (config->replay > 0)
        t->due_ns = from_ns + (i < log->n ? (uint64_t)((double)log->at_ms[i] * 1e6 / config->replay) : 0);
    else if (config->arrivals == ARRIVALS_EVEN)
        t->due_ns = from_ns + (uint64_t)((double)i * 1e9 / config->rate);
    else
        t->due_ns =
            MAX(t->due_ns, from_ns) + (uint64_t)(schedule_gap(&t->run->schedule, i) * (double)mean_gap_ns(t));
    t->is_over = (config->replay > 0 && i >= log->n) || (config->requests > 0 && i >= config->requests) ||
                 (config->duration_ms > 0 && t->due_ns >= from_ns + config->duration_ms * 1000000);
}

enum edge_claim edge_thread_claim(struct edge *e)
{
    struct edge_thread *t = e->thread;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    if (t->is_over)
        return CLAIM_NONE;
    if (t->due_ns > now_ns)
        return CLAIM_LATER;
    t->report.waited += list_empty(&t->idle) && now_ns - t->due_ns > WAITED_NS;
    e->i = t->no + t->k++ * t->run->n_threads;
    e->start_ns = t->due_ns;
    set_due(t);
    return CLAIM_TAKEN;
}

void edge_thread_idle(struct edge *e)
{
    struct edge_thread *t = e->thread;
    e->state = E_READY;
    list_add_tail(&t->idle, &e->idle);
    if (t->arrival.slot == 0 && ev_timer_start(&t->ev, &t->arrival, t->due_ns) != 0) {
        t->failed = "out of memory";
        ev_stop(&t->ev);
    }
}

/* Requests are due, or no more will come: then the idle connections have no more to do. */
static void on_arrival(struct ev_timer *timer)
{
    struct edge_thread *t = container_of(timer, struct edge_thread, arrival);
    while (!list_empty(&t->idle) && (t->is_over || t->due_ns <= clock_ns(CLOCK_MONOTONIC))) {
        struct edge *e = container_of(t->idle.next, struct edge, idle);
        if (!t->is_over)
            hist_record(&t->report.late_us, (clock_ns(CLOCK_MONOTONIC) - t->due_ns) / 1000);
        list_remove(&e->idle);
        edge_ask(e);
    }
    if (!list_empty(&t->idle) && ev_timer_start(&t->ev, &t->arrival, t->due_ns) != 0)
        ev_stop(&t->ev);
}

/* ---- the thread */

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

/* Somebody wants the load to end. A thread that has not come to the gate lets the others pass. */
static void give_up(struct edge_thread *t)
{
    if (t->run->config->stampede && t->n_settled < t->n_edges)
        edge_gate_give_up(t->run);
    ev_stop(&t->ev);
}

static void on_sweep(struct ev_timer *timer)
{
    struct edge_thread *t = container_of(timer, struct edge_thread, sweep);
    const struct edges_config *config = t->run->config;
    if (config->stop != NULL && atomic_load(config->stop)) {
        give_up(t);
        return;
    }
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
    t->arrival.on_due = on_arrival;
    list_init(&t->idle);
    if (edges_is_open_loop(config))
        set_due(t);
    int err = ev_timer_start(&t->ev, &t->sweep, t->ev.now_ns + SWEEP_MS * UINT64_C(1000000));
    if (err == 0 && config->duration_ms > 0 && !edges_is_open_loop(config))
        err = ev_timer_start(&t->ev, &t->deadline, t->ev.now_ns + config->duration_ms * 1000000);
    return err == 0;
}

void *edge_thread_main(void *arg)
{
    struct edge_thread *t = arg;
    if (ev_init(&t->ev) != 0 || !start_timers(t)) {
        t->failed = "no epoll to be had";
        edge_gate_give_up(t->run);
        return NULL;
    }
    for (uint32_t i = 0; i < t->n_edges; i++)
        edge_open(&t->edges[i]);
    uint64_t from_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    if (t->n_done < t->n_edges && t->failed == NULL)
        ev_run(&t->ev);
    cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    t->report.busiest_percent = cpu_ns * 100 / MAX(clock_ns(CLOCK_MONOTONIC) - from_ns, UINT64_C(1));
    return NULL;
}
