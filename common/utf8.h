/* utf8 - where text is UTF-8 (RFC 3629) and where it is mere bytes. Pure. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdint.h>

#include "common/span.h"

/* The length (1 to 4) of the valid sequence that `s` begins with, its code point in *out; 0 when it is none:
 * a stray or missing continuation, an overlong form, a surrogate, beyond U+10FFFF, or nothing at all. */
static inline size_t utf8_decode(struct span s, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s.len == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xC0 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF8 ? 4 : 0;
    if (n == 0 || n > s.len)
        return 0;
    uint32_t cp = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        cp = cp << 6 | (p[i] & 0x3Fu);
    }
    if (cp < least[n] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        return 0;
    *out = cp;
    return n;
}

#endif
