#include "bench/demo.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/fetch.h"
#include "bench/proc.h"
#include "bench/sock.h"
#include "common/clock.h"

enum {
    READY_MS = 20000,
    DURABLE_MS = 20000,
    POLL_MS = 10,
};

/* ---- programs */

const char *demo_find_programs(struct demo *d)
{
    if (!proc_self(d->self))
        return "the program does not find itself";
    if (d->shield.len > 0) {
        snprintf(d->shield_path, sizeof d->shield_path, "%.*s", SPAN_FMT(d->shield));
    } else {
        int dir = (int)(strrchr(d->self, '/') - d->self);
        int len = snprintf(d->shield_path, sizeof d->shield_path, "%.*s/shield", dir, d->self);
        if (len >= (int)sizeof d->shield_path)
            return "the path to the programs is too long";
    }
    return access(d->shield_path, X_OK) == 0
               ? NULL
               : "no shield to be found: build it with make, or name it with --shield";
}

static const char *start(struct demo_server *s, char *const argv[])
{
    uint64_t began_ms = clock_mono_ms();
    const char *why = proc_start(&s->proc, argv);
    if (why != NULL)
        return why;
    const char *line = proc_ready(s->proc, READY_MS);
    if (line == NULL)
        return "did not get ready";
    s->ready_ms = clock_mono_ms() - began_ms;
    if (!proc_ready_value(line, "listen", s->listen, sizeof s->listen))
        return "named no address in its ready line";
    (void)proc_ready_value(line, "admin", s->admin, sizeof s->admin);
    return NULL;
}

static const char *with_last_words(struct demo_server *s, const char *name, const char *why)
{
    if (why == NULL)
        return NULL;
    if (s->proc != NULL) {
        proc_end(s->proc, SIGKILL);
        fprintf(stderr, "%s %s; it said:\n%s\n", name, why, proc_last_words(s->proc));
    }
    return why;
}

const char *demo_start_origin(struct demo *d)
{
    char size[32], delay[32], drip[32];
    snprintf(size, sizeof size, "%llu", (unsigned long long)d->size);
    snprintf(delay, sizeof delay, "%llums", (unsigned long long)d->delay_ms);
    snprintf(drip, sizeof drip, "%llums", (unsigned long long)d->drip_ms);
    char *argv[] = {d->self,           "origin",       "--listen", "127.0.0.1:0", "--size", size,
                    "--delay",         delay,          "--drip",   drip,          "--tick", "20ms",
                    "--cache-control", "max-age=3600", NULL};
    return with_last_words(&d->origin, "the origin", start(&d->origin, argv));
}

const char *demo_start_shield(struct demo *d)
{
    char origin[160], workers[32];
    snprintf(origin, sizeof origin, "http://%s", d->origin.listen);
    snprintf(workers, sizeof workers, "%llu", (unsigned long long)d->workers);
    char *argv[] = {d->shield_path, "--origin",    origin,    "--listen", "127.0.0.1:0",
                    "--admin",      "127.0.0.1:0", "--store", d->store,   d->workers > 0 ? "--workers" : NULL,
                    workers,        NULL};
    proc_free(d->proxy.proc);
    d->proxy = (struct demo_server){0};
    return with_last_words(&d->proxy, "the shield", start(&d->proxy, argv));
}

void demo_fini(struct demo *d)
{
    proc_free(d->proxy.proc);
    proc_free(d->origin.proc);
    free(d->without.report);
    free(d->with.report);
    free(d->after.report);
    proc_remove_dir(d->store);
}

/* ---- what the servers say */

static const char *get(const char *address, const char *path, struct buf *content)
{
    struct netaddr at;
    int status = 0;
    const char *why = sock_resolve(span_of(address), &at);
    if (why == NULL)
        why = fetch(&(struct fetch_request){.to = &at, .host = span_of(address), .path = path}, &status,
                    content);
    return why == NULL && status != 200 ? "answered with an error" : why;
}

const char *demo_reset_counts(struct demo *d)
{
    struct buf content = {0};
    const char *why = get(d->origin.listen, "/.bench/reset", &content);
    buf_fini(&content);
    return why;
}

const char *demo_read_counts(struct demo *d, struct demo_counts *out)
{
    struct buf content = {0};
    const char *why = get(d->origin.listen, "/.bench/stats?keys=off", &content);
    json_t *stats = why == NULL ? json_loadb(content.p, content.len, 0, NULL) : NULL;
    json_t *total = json_object_get(stats, "total");
    if (why == NULL && total == NULL)
        why = "the origin's statistics are no JSON";
    out->fetches = (uint64_t)json_integer_value(json_object_get(total, "fetches"));
    out->body_bytes = (uint64_t)json_integer_value(json_object_get(total, "body_bytes"));
    json_decref(stats);
    buf_fini(&content);
    return why;
}

bool demo_metric(struct span text, const char *name, double *out)
{
    struct span want = span_of(name);
    while (text.len > 0) {
        const char *end = memchr(text.p, '\n', text.len);
        struct span line = {text.p, end != NULL ? (size_t)(end - text.p) : text.len};
        text = span_from(text, line.len + 1);
        if (!span_starts(line, want) || line.len <= want.len + 1 || line.p[want.len] != ' ')
            continue;
        char number[64];
        snprintf(number, sizeof number, "%.*s", SPAN_FMT(span_from(line, want.len + 1)));
        char *rest;
        *out = strtod(number, &rest);
        return rest != number;
    }
    return false;
}

/* Looks again and again: durability has no other sign than the gauge. */
const char *demo_wait_durable(struct demo *d)
{
    uint64_t began_ms = clock_mono_ms();
    for (;;) {
        double pending = 0, objects = 0;
        struct buf content = {0};
        const char *why = get(d->proxy.admin, "/metrics", &content);
        if (why == NULL && (!demo_metric(buf_span(&content), "shield_store_pending_objects", &pending) ||
                            !demo_metric(buf_span(&content), "shield_store_objects", &objects)))
            why = "/metrics does not name shield_store_pending_objects and shield_store_objects";
        buf_fini(&content);
        if (why != NULL)
            return why;
        d->durable_ms = clock_mono_ms() - began_ms;
        if (pending <= 0 && objects >= 1)
            return NULL;
        if (d->durable_ms > DURABLE_MS)
            return "the object did not become durable in time";
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000}, NULL);
    }
}
