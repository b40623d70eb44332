/* fetch - one blocking GET on a connection of its own: for control and statistics, not for load. */
#ifndef BENCH_FETCH_H
#define BENCH_FETCH_H

#include <stdint.h>

#include "common/buf.h"
#include "common/netaddr.h"

/* GET `path` from `to`; the content goes into `content` (an empty buf of the caller's). Returns NULL with
 * *status set, or static text. */
const char *fetch(const struct netaddr *to, const char *path, int *status, struct buf *content);

#endif
