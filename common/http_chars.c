#include "common/http_chars.h"

#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define IS_ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define IS_HEX(c)   (IS_DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define IS_TOKEN(c)                                                                                      \
    (IS_DIGIT(c) || IS_ALPHA(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || (c) == '&' || \
     (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' || (c) == '_' ||  \
     (c) == '`' || (c) == '|' || (c) == '~')
#define IS_VALUE(c)  ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f))
#define IS_TARGET(c) ((c) > 0x20 && (c) < 0x7f && (c) != '#')
#define IS_REGNAME(c)                                                                                    \
    (IS_DIGIT(c) || IS_ALPHA(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' || (c) == '!' || \
     (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' || (c) == '*' || (c) == '+' ||  \
     (c) == ',' || (c) == ';' || (c) == '=')

#define CHAR(c)                                                                                           \
    ((IS_TOKEN(c) ? CHAR_TOKEN : 0) | (IS_VALUE(c) ? CHAR_VALUE : 0) | (IS_TARGET(c) ? CHAR_TARGET : 0) | \
     (IS_REGNAME(c) ? CHAR_REGNAME : 0) | (IS_DIGIT(c) ? CHAR_DIGIT : 0) | (IS_HEX(c) ? CHAR_HEX : 0))
#define CHARS4(c)  CHAR(c), CHAR((c) + 1), CHAR((c) + 2), CHAR((c) + 3)
#define CHARS16(c) CHARS4(c), CHARS4((c) + 4), CHARS4((c) + 8), CHARS4((c) + 12)
#define CHARS64(c) CHARS16(c), CHARS16((c) + 16), CHARS16((c) + 32), CHARS16((c) + 48)

const uint8_t http_chars[256] = {CHARS64(0), CHARS64(64), CHARS64(128), CHARS64(192)};

static bool all_value_bytes(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!http_char_is(p[i], CHAR_VALUE))
            return false;
    return true;
}

/* Eight bytes at once. HTAB takes the slow way, since it is rare. */
static bool word_is_value(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t x;
    memcpy(&x, p, sizeof x);
    uint64_t del = x ^ (ones * 0x7f);
    uint64_t suspect = ((x - ones * 0x20) & ~x) | ((del - ones) & ~del);
    return (suspect & highs) == 0 || all_value_bytes(p, sizeof x);
}

bool http_is_value(struct span s)
{
    if (s.len < 8)
        return all_value_bytes(s.p, s.len);
    for (size_t i = 0; i + 8 <= s.len; i += 8)
        if (!word_is_value(s.p + i))
            return false;
    return word_is_value(s.p + s.len - 8);
}

bool http_parse_uint(struct span s, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!http_char_is(s.p[i], CHAR_DIGIT))
            return false;
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (v > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return s.len > 0;
}
