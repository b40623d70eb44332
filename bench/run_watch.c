#include "bench/run_watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "bench/sock.h"
#include "common/clock.h"

struct run_watch {
    struct netaddr origin;
    struct witness_samples samples; /* the thread's, until it has been joined */
    struct witness seen;
    pthread_t thread;
    bool runs;
    atomic_bool is_over;
    _Atomic uint64_t answers;
};

static void take_sample(struct run_watch *w, uint64_t began_ms)
{
    uint64_t fetches;
    if (witness_sample(&w->origin, &fetches))
        witness_note(&w->samples, clock_mono_ms() - began_ms, atomic_load(&w->answers), fetches);
}

static void *look_on(void *arg)
{
    struct run_watch *w = arg;
    uint64_t began_ms = clock_mono_ms();
    while (!atomic_load(&w->is_over)) {
        take_sample(w, began_ms);
        nanosleep(&(struct timespec){.tv_nsec = WITNESS_SAMPLE_MS * 1000000}, NULL);
    }
    take_sample(w, began_ms);
    return NULL;
}

const char *run_watch_begin(struct span origin, struct edges_config *config, struct run_watch **out)
{
    struct buf content = {0};
    struct run_watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return "out of memory";
    const char *why = sock_resolve(origin, &w->origin);
    if (why == NULL)
        why = witness_ask(&w->origin, "/.bench/reset", &content);
    buf_fini(&content);
    if (why == NULL && pthread_create(&w->thread, NULL, look_on, w) != 0)
        why = "no thread to be had";
    if (why != NULL) {
        free(w);
        return why;
    }
    w->runs = true;
    config->watch = &w->answers;
    *out = w;
    return NULL;
}

static void stop(struct run_watch *w)
{
    atomic_store(&w->is_over, true);
    if (w->runs)
        pthread_join(w->thread, NULL);
    w->runs = false;
}

const char *run_watch_end(struct run_watch *w, const struct edges_report *r, struct witness **seen)
{
    stop(w);
    const char *why = witness_read(&w->origin, r, &w->seen);
    witness_add_round(&w->seen, &w->samples);
    if (why == NULL)
        *seen = &w->seen;
    return why;
}

void run_watch_free(struct run_watch *w)
{
    if (w == NULL)
        return;
    stop(w);
    free(w);
}
