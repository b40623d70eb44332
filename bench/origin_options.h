/* origin_options - how the simulated origin answers: defaults from the command line, changed for one request
 * by its query parameters of the same names. Pure. */
#ifndef BENCH_ORIGIN_OPTIONS_H
#define BENCH_ORIGIN_OPTIONS_H

#include "bench/flags.h"
#include "common/arena.h"

enum origin_framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

/* How a value is drawn around its mean. */
enum origin_spread { SPREAD_FIXED, SPREAD_UNIFORM, SPREAD_EXPONENTIAL, SPREAD_PARETO };

struct origin_options {
    uint64_t preset; /* an index for origin_preset */
    uint64_t size, size_spread, version, rolling, status;
    uint64_t delay_ms, delay_spread, think_ms, drip_ms, tick_ms;
    uint64_t framing;              /* enum origin_framing */
    uint64_t cut, stall, announce; /* bytes; FLAG_NONE: not */
    uint64_t faulty;               /* only so many fetches of a key fail; 0: all */
    bool hang, ranges, conditional;
    uint64_t groups;                               /* 0: none */
    struct span cache_control, vary, cookie, type; /* p is NULL: as the preset says */
    struct span etag, last_modified, field, tags;
};

/* Sets the fields that nobody has set from `o->preset`. */
void origin_options_settle(struct origin_options *o);

/* A value with this mean, drawn by `random`: uniform from 0 to twice the mean; exponential; Pareto with a
 * shape of 1.2 (a few are huge), cut at 1,000 times the mean. */
uint64_t origin_spread(uint64_t mean, enum origin_spread spread, uint64_t random);

struct flags origin_option_flags(void);

/* Change `o` by a query ("size=1m&delay=200ms"). Parameters with other names belong to somebody else and are
 * left alone. Values stay spans into the query, or into `a` when they had to be decoded. Returns NULL, or
 * static text: what is wrong, with *name set to the parameter. */
const char *origin_options_query(struct origin_options *o, struct span query, struct arena *a,
                                 struct span *name);

/* The same of an order, in which every parameter is ours: one with another name is refused. */
const char *origin_options_order(struct origin_options *o, struct span query, struct arena *a,
                                 struct span *name);

#endif
