/* loops_rig - loops on threads of their own, and a test on the main thread that directs them.
 *
 * The test does one thing after the other: it lets a loop run a function and waits for it, or waits until
 * something has come true on a loop. Nothing sleeps for order. */
#ifndef TEST_UNIT_LOOPS_RIG_H
#define TEST_UNIT_LOOPS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/net/loop.h"
#include "shield/ops/metrics_sum.h"
#include "shield/origin/upstream.h"

enum { RIG_LOOPS = 3, RIG_PATIENCE_S = 40 };

/* ---- waiting for what the loops do ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
} director __attribute__((unused)) = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

/* On a loop: `change` something that the test may wait for. */
#define TELL(change)                               \
    do {                                           \
        pthread_mutex_lock(&director.lock);        \
        change;                                    \
        pthread_cond_broadcast(&director.changed); \
        pthread_mutex_unlock(&director.lock);      \
    } while (0)

/* On the main thread: until `cond` is true. */
#define AWAIT(cond)                                                                     \
    do {                                                                                \
        struct timespec until_;                                                         \
        int late_ = 0;                                                                  \
        clock_gettime(CLOCK_REALTIME, &until_);                                         \
        until_.tv_sec += RIG_PATIENCE_S;                                                \
        pthread_mutex_lock(&director.lock);                                             \
        while (!(cond) && late_ == 0)                                                   \
            late_ = pthread_cond_timedwait(&director.changed, &director.lock, &until_); \
        pthread_mutex_unlock(&director.lock);                                           \
        if (late_ != 0)                                                                 \
            fail_msg("it did not come to: %s", #cond);                                  \
    } while (0)

/* For counters that tell nobody when they move. */
#define AWAIT_COUNT(value, wanted)                                                   \
    do {                                                                             \
        for (int ms_ = 0; (value) != (wanted) && ms_ < RIG_PATIENCE_S * 1000; ms_++) \
            usleep(1000);                                                            \
        assert_int_equal((value), (wanted));                                         \
    } while (0)

/* ---- a function on a loop ---- */

struct rig_job {
    struct mail mail;
    void (*run)(void *ctx);
    void *ctx;
    sem_t done;
};

static inline void deliver_job(struct mail *m)
{
    struct rig_job *job = container_of(m, struct rig_job, mail);
    job->run(job->ctx);
    sem_post(&job->done);
}

static inline void rig_on(struct loop *l, void (*run)(void *ctx), void *ctx)
{
    struct rig_job job = {.mail.deliver = deliver_job, .run = run, .ctx = ctx};
    sem_init(&job.done, 0, 0);
    loop_post(l, &job.mail);
    while (sem_wait(&job.done) != 0)
        ;
    sem_destroy(&job.done);
}

static inline void do_nothing(void *ctx)
{
}

/* ---- the loops, each with its pool of connections to one origin ---- */

struct loops_rig {
    struct config *config;
    struct gate *gates[CONFIG_MAX_ORIGINS];
    unsigned n;
    struct loop *loops[RIG_LOOPS];
    struct loop loop[RIG_LOOPS];
    struct upstream_pool pool[RIG_LOOPS];
    pthread_t threads[RIG_LOOPS];
};

/* `settings` ends with a row without a name; it has to name an origin where one is asked. */
static inline struct config *rig_config(const struct config_override *settings)
{
    struct config *c = NULL;
    struct buf errors = {0};
    size_t n = 0;
    while (settings[n].name != NULL)
        n++;
    if (config_load(&c, NULL, settings, n, &errors) != 0)
        fail_msg("%.*s", (int)errors.len, errors.p);
    buf_fini(&errors);
    return c;
}

static inline void *run_loop(void *ctx)
{
    loop_run(ctx);
    return NULL;
}

static inline void rig_start(struct loops_rig *r, unsigned n, const struct config_override *settings)
{
    memset(r, 0, sizeof *r);
    r->config = rig_config(settings);
    r->n = n;
    r->gates[0] = gate_new(0);
    assert_non_null(r->gates[0]);
    for (unsigned i = 0; i < n; i++) {
        r->loops[i] = &r->loop[i];
        assert_int_equal(loop_init(&r->loop[i], i, r->config), 0);
        assert_int_equal(upstream_pool_init(&r->pool[i], &r->loop[i], r->gates), 0);
    }
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pthread_create(&r->threads[i], NULL, run_loop, &r->loop[i]), 0);
}

static inline void stop_loop(void *ctx)
{
    struct upstream_pool *pool = ctx;
    upstream_pool_fini(pool);
    loop_stop(pool->loop);
}

static inline void rig_stop(struct loops_rig *r)
{
    for (unsigned i = 0; i < r->n; i++) {
        rig_on(&r->loop[i], stop_loop, &r->pool[i]);
        pthread_join(r->threads[i], NULL);
    }
    for (unsigned i = 0; i < r->n; i++)
        loop_fini(&r->loop[i]);
    gate_free(&r->gates[0]);
    config_unref(&r->config);
}

/* ---- what was counted ---- */

static inline int64_t count_of_limit(enum limit_name l)
{
    return metrics_sum(SLOT_AT(limits) + l * sizeof(int64_t));
}

static inline int64_t count_of_kind(enum origin_kind k)
{
    return metrics_sum(SLOT_AT(origins[0].requests) + k * sizeof(int64_t));
}

static inline int64_t origin_inflight(void)
{
    return metrics_sum(SLOT_AT(origins[0].inflight));
}

static inline int64_t origin_queue_depth(void)
{
    return metrics_sum(SLOT_AT(origins[0].queue_depth));
}

#endif
