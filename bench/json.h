/* json - puts text into JSON. Numbers and structure are plain buf_printf. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include "common/buf.h"
#include "common/span.h"

/* A quoted string. Bytes beyond ASCII stand as \u00XX: a path on the wire is bytes, not text. */
void json_put_text(struct buf *out, struct span s);

#endif
