/* units - sizes, counts and times as people write them: 64k 10m 2g, 100k, 250ms 10s 5m 1h 1d 1y. Pure. */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/span.h"

/* Each parses all of `s` or returns false; *out is untouched then. Overflow is a false. */
bool units_parse_uint(struct span s, uint64_t *out);        /* digits only */
bool units_parse_count(struct span s, uint64_t *out);       /* 0, 500, 100k, 2m (powers of 1000) */
bool units_parse_bytes(struct span s, uint64_t *out);       /* 0, 512, 64k, 10m, 2g, 1t (powers of 1024) */
bool units_parse_duration_ms(struct span s, uint64_t *out); /* 0, 250ms, 10s, 5m, 1h, 1d, 1w, 1y (365d) */

/* The shortest exact form that the parser above reads back. */
void units_put_count(struct buf *out, uint64_t count);
void units_put_bytes(struct buf *out, uint64_t bytes);
void units_put_duration_ms(struct buf *out, uint64_t ms);

#endif
