#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/check.h"

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

bool buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->len >= n && b->p != NULL)
        return true;
    size_t cap = b->cap < 256 ? 256 : b->cap;
    while (cap - b->len < n) {
        if (cap > SIZE_MAX / 2) {
            b->failed = true;
            return false;
        }
        cap *= 2;
    }
    char *p = realloc(b->p, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

void buf_put_span(struct buf *b, struct span s)
{
    buf_put(b, s.p, s.len);
}

size_t format_uint(char *out, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

void buf_put_uint(struct buf *b, uint64_t v)
{
    char digits[20];
    buf_put(b, digits, format_uint(digits, v));
}

void buf_put_int(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_put(b, "-", 1);
    buf_put_uint(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    REQUIRE(n >= 0);
    if (!buf_reserve(b, (size_t)n + 1))
        return;
    va_start(ap, fmt);
    vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void buf_consume(struct buf *b, size_t n)
{
    REQUIRE(n <= b->len);
    b->len -= n;
    if (b->len > 0 && n > 0)
        memmove(b->p, b->p + n, b->len);
}
