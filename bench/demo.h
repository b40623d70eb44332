/* demo - what the demonstration works on: two servers, one object, and what was seen. Private to demo*.c. */
#ifndef BENCH_DEMO_H
#define BENCH_DEMO_H

#include <limits.h>

#include "bench/edges.h"
#include "bench/proc.h"
#include "common/netaddr.h"

/* A server of the demonstration: its process, and the addresses that its ready line named. */
struct demo_server {
    struct proc *proc;
    char listen[128], admin[128];
    uint64_t ready_ms; /* from its start to the line */
};

/* What the origin was asked for since the last reset. */
struct demo_counts {
    uint64_t fetches, body_bytes;
};

/* One release of clients at one address. */
struct demo_round {
    struct edges_report *report;
    struct demo_counts origin;
};

struct demo {
    /* as asked for */
    struct span shield;
    uint64_t clients, size, delay_ms, drip_ms, workers;
    /* as found */
    char self[PATH_MAX], shield_path[PATH_MAX], store[PATH_MAX];
    struct demo_server origin, proxy;
    struct demo_round without, with, after;
    uint64_t durable_ms; /* from the last byte until everything was durable */
};

/* demo_world.c: each returns NULL, or static text. */
const char *demo_find_programs(struct demo *d);
const char *demo_start_origin(struct demo *d);
const char *demo_start_shield(struct demo *d);
const char *demo_reset_counts(struct demo *d);
const char *demo_read_counts(struct demo *d, struct demo_counts *out);
const char *demo_wait_durable(struct demo *d);
void demo_fini(struct demo *d);

/* The value of a plain series in Prometheus text; false when it is not there. */
bool demo_metric(struct span text, const char *name, double *out);

/* demo_show.c: the table at the end; true when all held. */
bool demo_show_summary(const struct demo *d);

#endif
