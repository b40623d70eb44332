/* trace - synthetic requests: which object, and how large it is. The same seed gives the same ones. */
#ifndef BENCH_HITS_TRACE_H
#define BENCH_HITS_TRACE_H

#include <stdint.h>

struct trace_options {
    uint32_t objects;      /* of the catalogue, asked for by Zipf's law */
    double alpha;          /* its exponent */
    uint32_t scan_percent; /* of the requests: each to an object that is asked for once only, 1000 in a row */
    uint32_t loop_percent; /* of the requests: round and round through objects of their own ... */
    uint64_t loop_bytes;   /* ... of so many bytes together */
    uint64_t size_most;    /* sizes are from 1 KiB to this ... */
    double size_shape;     /* ... bounded Pareto of this shape (small ones are many); 0: log-uniform */
};

struct trace_request {
    uint32_t object; /* below trace_objects */
    uint64_t bytes;
};

struct trace;
struct trace *trace_new(const struct trace_options *options, uint32_t requests, uint64_t seed);
void trace_free(struct trace **slot);
uint32_t trace_objects(const struct trace *t); /* how many different ones at most */
struct trace_request trace_next(struct trace *t);

#endif
