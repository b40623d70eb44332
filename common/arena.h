/* arena - memory of one request or one parse: many small pieces, gone in one call. Not thread-safe. */
#ifndef COMMON_ARENA_H
#define COMMON_ARENA_H

#include <stddef.h>

#include "common/span.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used_bytes; /* over all blocks, for accounting */
};

void *arena_alloc(struct arena *a, size_t n); /* aligned to 16, not zeroed; NULL without memory */
char *arena_copy(struct arena *a, const char *p, size_t n); /* n bytes and a NUL behind them */
void arena_fini(struct arena *a);                           /* frees all, leaves an empty arena */

static inline struct span arena_span(struct arena *a, struct span s)
{
    char *p = arena_copy(a, s.p, s.len);
    return (struct span){p, p != NULL ? s.len : 0};
}

#endif
