#include "bench/play.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

enum { READY_MS = 10000, TIMEOUT_MS = 30000 };

/* One play as it runs. */
struct stage {
    const struct scenario *scenario;
    struct peer *peer;
    const struct play_options *options;
    struct proc *origin;
    char origin_at[128];
    struct netaddr origin_addr;
    uint64_t version;       /* of all objects; a purge makes another */
    _Atomic uint64_t floor; /* the oldest version that may still be served */
    atomic_bool load_is_over;
    _Atomic uint64_t answers;             /* of the measured load */
    _Atomic uint64_t planned_ms, planned; /* time and requests of the load; 0: the other ends it */
    struct witness_samples samples;
    const char *trouble;
    struct play_result *into;
};

/* ---- the origin */

__attribute__((format(printf, 2, 3))) static const char *order(struct stage *t, const char *fmt, ...)
{
    char path[1024];
    struct buf content = {0};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof path, fmt, ap);
    va_end(ap);
    const char *why = witness_ask(&t->origin_addr, path, &content);
    if (why != NULL)
        fprintf(stderr, "%s: %.*s\n", path, SPAN_FMT(buf_span(&content)));
    buf_fini(&content);
    return why;
}

static const char *start_origin(struct stage *t)
{
    char *argv[] = {(char *)t->options->self, "origin", "--listen", "127.0.0.1:0", NULL};
    const char *why = proc_start(&t->origin, argv);
    const char *line = why == NULL ? proc_ready(t->origin, READY_MS) : NULL;
    if (line == NULL || !proc_ready_value(line, "listen", t->origin_at, sizeof t->origin_at))
        return "the origin did not get ready";
    return sock_resolve(span_of(t->origin_at), &t->origin_addr);
}

/* ---- events */

/* From its answer on nothing older may be served: the floor rises then, while the origin has the new version
 * from before. */
static const char *purge(struct stage *t, struct span what)
{
    const char *why = order(t, "/.bench/defaults?version=%llu", (unsigned long long)++t->version);
    if (why == NULL)
        why = peer_purge(t->peer, what);
    if (why == NULL)
        why = order(t, "/.bench/purged");
    if (why == NULL)
        atomic_store(&t->floor, t->version);
    return why;
}

static const char *happen(struct stage *t, enum scenario_event what, struct span rest)
{
    switch (what) {
    case EVENT_ORIGIN:
        return order(t, "/.bench/defaults?%.*s", SPAN_FMT(rest));
    case EVENT_REFUSE:
        return order(t, "/.bench/refuse?time=%.*s", SPAN_FMT(rest));
    case EVENT_PURGE:
        return purge(t, rest);
    case EVENT_RESTART:
        return peer_restart(t->peer, span_eq(rest, SPAN("TERM")) ? SIGTERM : SIGKILL);
    }
    return NULL;
}

/* For the plot and for who looks on; an origin that is too busy to say is left out. */
static void take_sample(struct stage *t, uint64_t at_ms)
{
    const struct play_options *options = t->options;
    struct play_now now = {.elapsed_ms = at_ms, .planned_ms = t->planned_ms, .of = t->planned};
    if (!witness_sample(&t->origin_addr, &now.fetches))
        return;
    now.answers = atomic_load(&t->answers);
    witness_note(&t->samples, at_ms, now.answers, now.fetches);
    if (options->on_progress != NULL)
        options->on_progress(options->progress_arg, &now);
}

static void note_event(struct play_result *r, uint32_t i, uint64_t at_ms, uint64_t took_ms)
{
    r->events[i].at_ms = at_ms;
    r->events[i].took_ms = MAX(r->events[i].took_ms, took_ms);
    r->n_events = MAX(r->n_events, i + 1);
}

/* Lets the events happen, and looks at what goes on, until the load is over. */
static void look_on(struct stage *t)
{
    const struct scenario *s = t->scenario;
    uint64_t began_ms = clock_mono_ms(), next_ms = 0;
    uint32_t event = 0;
    while (!atomic_load(&t->load_is_over)) {
        uint64_t at_ms = clock_mono_ms() - began_ms;
        if (at_ms >= next_ms) {
            take_sample(t, at_ms);
            next_ms = at_ms - at_ms % WITNESS_SAMPLE_MS + WITNESS_SAMPLE_MS;
        }
        if (event < s->n_events && t->trouble == NULL && at_ms >= s->events[event].at_ms) {
            t->trouble = happen(t, s->events[event].what, s->events[event].rest);
            note_event(t->into, event++, at_ms, clock_mono_ms() - began_ms - at_ms);
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    take_sample(t, clock_mono_ms() - began_ms);
}

/* ---- loads */

/* What a report tells about a load. */
static struct edges_config numbers_of(const struct edges_config *c)
{
    return (struct edges_config){.connections = c->connections,
                                 .threads = c->threads,
                                 .rate = c->rate,
                                 .replay = c->replay,
                                 .seed = c->seed,
                                 .stampede = c->stampede,
                                 .verify = c->verify};
}

static const char *load(struct stage *t, struct span line, bool is_measured, struct edges_report *out)
{
    char *text = strndup(line.p, line.len), url[1100];
    struct edges_config config = {0};
    struct flag_list rest = {0};
    const char *why = text == NULL ? "out of memory" : scenario_parse_load(text, &config, &rest);
    if (why == NULL) {
        snprintf(url, sizeof url, "http://127.0.0.1:%u%.*s", t->peer->port, SPAN_FMT(config.url));
        config.url = span_of(url);
        config.verify = true;
        config.timeout_ms = TIMEOUT_MS;
        config.seed += t->options->seed;
        config.floor = &t->floor;
        config.watch = is_measured ? &t->answers : NULL;
        t->planned_ms = config.duration_ms;
        t->planned = config.requests;
        if (is_measured)
            t->into->load = numbers_of(&config);
        why = edges_run(&config, out);
    }
    free(text);
    return why;
}

static const char *warm(struct stage *t, struct span line)
{
    struct edges_report *r = calloc(1, sizeof *r);
    const char *why = r != NULL ? load(t, line, false, r) : "out of memory";
    free(r);
    return why;
}

struct load_job {
    struct stage *stage;
    struct span line;
    struct edges_report *report;
    const char *why;
};

static void *run_load(void *arg)
{
    struct load_job *job = arg;
    job->why = load(job->stage, job->line, true, job->report);
    atomic_store(&job->stage->load_is_over, true);
    return NULL;
}

/* The load has a thread, and events happen in this one: a restarted peer lives as long as the thread that has
 * started it (PR_SET_PDEATHSIG). */
static const char *run_measured(struct stage *t, struct span line, struct edges_report *r)
{
    struct load_job job = {.stage = t, .line = line, .report = r};
    pthread_t id;
    uint64_t cpu_us = peer_cpu_us(t->peer);
    if (pthread_create(&id, NULL, run_load, &job) != 0)
        return "no thread to be had";
    look_on(t);
    pthread_join(id, NULL);
    edges_report_merge(&t->into->edges, r);
    witness_add_round(&t->into->origin, &t->samples);
    t->into->cpu_us += peer_cpu_us(t->peer) - cpu_us;
    t->into->rss_kb = MAX(t->into->rss_kb, peer_rss_kb(t->peer));
    t->into->trouble = t->trouble != NULL ? t->trouble : t->into->trouble;
    if (job.why == NULL && t->trouble == NULL && peer_has_ended(t->peer))
        return "ended by itself while the load ran";
    return job.why == NULL ? witness_read(&t->origin_addr, r, &t->into->origin) : job.why;
}

static const char *measure(struct stage *t, struct span line)
{
    struct edges_report *r = calloc(1, sizeof *r);
    const char *why = r != NULL ? order(t, "/.bench/reset") : "out of memory";
    if (why == NULL)
        why = run_measured(t, line, r);
    free(r);
    return why;
}

/* ---- the play */

static const char *do_step(struct stage *t, uint32_t i)
{
    struct span rest = t->scenario->steps[i].rest;
    uint64_t ms = t->scenario->steps[i].wait_ms;
    switch (t->scenario->steps[i].verb) {
    case VERB_ORIGIN:
        return order(t, "/.bench/defaults?%.*s", SPAN_FMT(rest));
    case VERB_WARM:
        return warm(t, rest);
    case VERB_WAIT:
        nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)}, NULL);
        return NULL;
    case VERB_LOAD:
        return measure(t, rest);
    }
    return NULL;
}

const char *play(const struct scenario *s, struct peer *peer, const struct play_options *options,
                 struct play_result *into)
{
    struct stage t = {.scenario = s, .peer = peer, .options = options, .version = 1, .into = into};
    const char *why = start_origin(&t);
    if (why == NULL)
        why = peer_start(peer, options->scratch, t.origin_at, options->workers);
    for (uint32_t i = 0; i < s->n_steps && why == NULL; i++)
        why = do_step(&t, i);
    peer_stop(peer);
    proc_free(t.origin);
    return why;
}
