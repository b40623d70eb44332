/* fetch - one blocking request on a connection of its own: for control and statistics, not for load. */
#ifndef BENCH_FETCH_H
#define BENCH_FETCH_H

#include <stdint.h>

#include "bench/flags.h"
#include "common/buf.h"
#include "common/netaddr.h"

struct fetch_request {
    const struct netaddr *to;
    struct span host;
    const char *method, *path;      /* method NULL: GET */
    const struct flag_list *fields; /* lines of "Name: value"; may be NULL */
    struct span content;
};

/* The answer's content goes into `content` (an empty buf of the caller's). Returns NULL with *status set, or
 * static text. */
const char *fetch(const struct fetch_request *q, int *status, struct buf *content);

#endif
