#include "common/http_path.h"

#include "common/http_chars.h"

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

bool http_path_is_plain(struct span path)
{
    char last = '\0';
    for (size_t i = 0; i < path.len; i++) {
        char c = path.p[i];
        if (c == '%' || c == '\\' || c == ';' || (last == '/' && (c == '/' || c == '.')))
            return false;
        last = c;
    }
    return true;
}

static bool is_escape(struct span s)
{
    return s.len >= 3 && s.p[0] == '%' && http_char_is(s.p[1], CHAR_HEX) && http_char_is(s.p[2], CHAR_HEX);
}

size_t http_path_plain(char *out, struct span path)
{
    static const char digits[] = "0123456789ABCDEF";
    char *to = out;
    while (path.len > 0) {
        if (!is_escape(path)) {
            *to++ = path.p[0];
            path = span_from(path, 1);
            continue;
        }
        unsigned high = http_hex_value(path.p[1]), low = http_hex_value(path.p[2]);
        char c = (char)(high << 4 | low);
        if (http_char_is(c, CHAR_TARGET) && c != '%' && c != '*' && c != '?') {
            *to++ = c;
        } else {
            *to++ = '%';
            *to++ = digits[high];
            *to++ = digits[low];
        }
        path = span_from(path, 3);
    }
    return (size_t)(to - out);
}

/* The next segment off `*rest`, which begins with a slash. */
static struct span next_segment(struct span *rest, bool without_params)
{
    struct span segment = {rest->p + 1, 0};
    while (1 + segment.len < rest->len && !is_slash(segment.p[segment.len]))
        segment.len++;
    *rest = span_from(*rest, 1 + segment.len);
    const char *params = without_params && segment.len > 0 ? memchr(segment.p, ';', segment.len) : NULL;
    if (params != NULL)
        segment.len = (size_t)(params - segment.p);
    return segment;
}

size_t http_path_resolved(char *out, struct span plain, bool without_params)
{
    if (plain.len == 0 || !is_slash(plain.p[0])) {
        memcpy(out, plain.p, plain.len);
        return plain.len;
    }
    size_t n = 0;
    bool is_open = false; /* a slash is due at the end */
    while (plain.len > 0) {
        struct span segment = next_segment(&plain, without_params);
        bool up = span_eq(segment, SPAN(".."));
        is_open = up || segment.len == 0 || span_eq(segment, SPAN("."));
        while (up && n > 0 && out[--n] != '/')
            ;
        if (is_open)
            continue;
        out[n++] = '/';
        memcpy(out + n, segment.p, segment.len);
        n += segment.len;
    }
    if (is_open)
        out[n++] = '/';
    return n;
}
