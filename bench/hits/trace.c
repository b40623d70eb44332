#include "bench/hits/trace.h"

#include <math.h>
#include <stdlib.h>

#include "common/check.h"

enum { SCAN_RUN = 1000, SIZE_LEAST = 1024 };

struct trace {
    struct trace_options opt;
    uint64_t random;
    uint32_t n_objects, loop_objects, scanned, in_scan, in_loop;
    double *share; /* of requests to the first n + 1 objects of the catalogue */
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* In [0, 1). */
static double as_fraction(uint64_t random)
{
    return (double)(random >> 11) / 0x1p53;
}

static double next_fraction(struct trace *t)
{
    t->random += UINT64_C(0x9e3779b97f4a7c15);
    return as_fraction(mix(t->random));
}

/* By the object alone: popular ones are neither small nor large. */
static uint64_t size_of(const struct trace *t, uint32_t object)
{
    double u = as_fraction(mix(object + UINT64_C(0x5851f42d4c957f2d)));
    double range = (double)t->opt.size_most / SIZE_LEAST, shape = t->opt.size_shape;
    double times = shape > 0 ? pow(1 - u * (1 - pow(range, -shape)), -1 / shape) : pow(range, u);
    return (uint64_t)(SIZE_LEAST * times);
}

static uint32_t loop_of(const struct trace *t)
{
    uint32_t n = 0;
    for (uint64_t bytes = 0; bytes < t->opt.loop_bytes; n++)
        bytes += size_of(t, t->opt.objects + n);
    return n;
}

struct trace *trace_new(const struct trace_options *options, uint32_t requests, uint64_t seed)
{
    struct trace *t = calloc(1, sizeof *t);
    double *share = calloc(options->objects, sizeof *share), sum = 0;
    REQUIRE(t != NULL && share != NULL);
    *t = (struct trace){.opt = *options, .random = seed, .share = share};
    t->loop_objects = loop_of(t);
    t->n_objects = options->objects + t->loop_objects + requests; /* any request may be a scan's */
    for (uint32_t i = 0; i < options->objects; i++)
        share[i] = sum += pow(i + 1.0, -options->alpha);
    for (uint32_t i = 0; i < options->objects; i++)
        share[i] /= sum;
    return t;
}

void trace_free(struct trace **slot)
{
    free((*slot)->share);
    free(*slot);
    *slot = NULL;
}

uint32_t trace_objects(const struct trace *t)
{
    return t->n_objects;
}

static uint32_t by_popularity(struct trace *t)
{
    double u = next_fraction(t);
    uint32_t low = 0, high = t->opt.objects - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (t->share[middle] > u)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint32_t choose(struct trace *t)
{
    const struct trace_options *o = &t->opt;
    double percent = next_fraction(t) * 100;
    if (t->in_scan == 0 && percent * SCAN_RUN < o->scan_percent * 100.0 / (100 - o->scan_percent))
        t->in_scan = SCAN_RUN;
    if (t->in_scan > 0) {
        t->in_scan--;
        return o->objects + t->loop_objects + t->scanned++;
    }
    if (next_fraction(t) * 100 < o->loop_percent)
        return o->objects + t->in_loop++ % t->loop_objects;
    return by_popularity(t);
}

struct trace_request trace_next(struct trace *t)
{
    uint32_t object = choose(t);
    return (struct trace_request){object, size_of(t, object)};
}
