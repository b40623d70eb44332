/* buf - a growable run of bytes with one owner. Failing to grow sticks, so that a writer checks once. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/span.h"

struct buf {
    char *p;
    size_t len, cap;
    bool failed; /* an append found no memory: the content is not to be used */
};

void buf_fini(struct buf *b);              /* frees, and makes it an empty buf again */
bool buf_reserve(struct buf *b, size_t n); /* room for n more bytes; false (and failed) without memory */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_span(struct buf *b, struct span s);
void buf_put_uint(struct buf *b, uint64_t v); /* decimal */
void buf_put_int(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drops the first n bytes */

#define buf_put_lit(b, literal) buf_put((b), "" literal, sizeof(literal) - 1)

static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->p, b->len};
}

/* Decimal digits of v into out (at least 20 bytes); gives their number. */
size_t format_uint(char *out, uint64_t v);

#endif
