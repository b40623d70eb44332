/* http_chars - the character classes of HTTP and URI syntax, one table lookup per byte.
 *
 * Never the locale's: isdigit and its kin are not for bytes from the wire. */
#ifndef COMMON_HTTP_CHARS_H
#define COMMON_HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/span.h"

enum http_char {
    CHAR_TOKEN = 1u << 0, /* tchar, RFC 9110 section 5.6.2 */
    CHAR_VALUE =
        1u << 1, /* VCHAR, obs-text, SP and HTAB: what a field value may hold, RFC 9110 section 5.5 */
    CHAR_TARGET = 1u << 2,  /* visible ASCII but '#': what a request target may hold */
    CHAR_REGNAME = 1u << 3, /* unreserved and sub-delims, RFC 3986 section 2 */
    CHAR_DIGIT = 1u << 4,
    CHAR_HEX = 1u << 5,
};

extern const uint8_t http_chars[256];

static inline bool http_char_is(char c, unsigned classes)
{
    return (http_chars[(unsigned char)c] & classes) != 0;
}

/* The value of a byte that is CHAR_HEX. */
static inline unsigned http_hex_value(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

/* Whether every byte may stand in a field value or a reason phrase. */
bool http_is_value(struct span s);

/* 1*DIGIT that is at most INT64_MAX: nothing real is longer, and sums of two such lengths cannot overflow. */
bool http_parse_uint(struct span s, uint64_t *out);

#endif
