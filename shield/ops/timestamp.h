/* timestamp - wall time as logs write it: RFC 3339, UTC, milliseconds. Pure: no locale, no time zone lock. */
#ifndef SHIELD_OPS_TIMESTAMP_H
#define SHIELD_OPS_TIMESTAMP_H

#include <stdint.h>

enum { TIMESTAMP_BYTES = 24 }; /* "2026-01-31T10:20:30.456Z" */

/* Into out[TIMESTAMP_BYTES], not terminated. Years beyond 0 to 9999 are clamped. */
void timestamp_format(char *out, int64_t wall_ms);

#endif
