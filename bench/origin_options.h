/* origin_options - how the simulated origin answers: defaults from the command line, changed for one request
 * by its query parameters of the same names. Pure. */
#ifndef BENCH_ORIGIN_OPTIONS_H
#define BENCH_ORIGIN_OPTIONS_H

#include "bench/flags.h"
#include "common/arena.h"

enum origin_framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct origin_options {
    uint64_t size, version, status;
    uint64_t delay_ms, drip_ms, tick_ms;
    uint64_t framing;              /* enum origin_framing */
    uint64_t cut, stall, announce; /* bytes; FLAG_NONE: not */
    uint64_t faulty;               /* only so many fetches of a key fail; 0: all */
    bool hang, ranges, conditional;
    struct span cache_control, etag, last_modified, vary, cookie, type, field;
};

struct flags origin_option_flags(void);

/* Change `o` by a query ("size=1m&delay=200ms"). Parameters with other names belong to somebody else and are
 * left alone. Values stay spans into the query, or into `a` when they had to be decoded. Returns NULL, or
 * static text: what is wrong, with *name set to the parameter. */
const char *origin_options_query(struct origin_options *o, struct span query, struct arena *a,
                                 struct span *name);

#endif
