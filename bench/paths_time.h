/* paths_time - when a line of an access log was logged. Pure. */
#ifndef BENCH_PATHS_TIME_H
#define BENCH_PATHS_TIME_H

#include <jansson.h>

#include "common/span.h"

#define PATHS_NO_TIME UINT64_MAX

/* Milliseconds since 1970 of "21/Nov/2026:11:20:15 +0000" or "2026-11-21T11:20:15.250Z" (or with an offset);
 * PATHS_NO_TIME when it is neither. */
uint64_t paths_time_of(struct span text);

/* The same of "... [21/Nov/2026:11:20:15 +0000] ...". */
uint64_t paths_time_of_nginx(struct span line);

/* The same of the first of the members msec ts time timestamp time_iso8601 time_local that is a time: text,
 * or a number of seconds. */
uint64_t paths_time_of_json(const json_t *object);

#endif
