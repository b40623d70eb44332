#include "bench/origin_options.h"

#define AT(f) offsetof(struct origin_options, f)

static const struct flag rows[] = {
    {"size", 's', FLAG_BYTES, AT(size), "1k", "BYTES", "Size of the object."},
    {"version", 0, FLAG_UINT, AT(version), "1", "N",
     "Version of the object: another one has other bytes and validators."},
    {"status", 0, FLAG_UINT, AT(status), "200", "CODE", "Status of the answer."},
    {"delay", 0, FLAG_MS, AT(delay_ms), "0", "TIME", "Time from the request to the head."},
    {"drip", 0, FLAG_MS, AT(drip_ms), "0", "TIME", "Send the content evenly over this time."},
    {"tick", 0, FLAG_MS, AT(tick_ms), "10ms", "TIME", "A piece of dripped content each so often."},
    {"framing", 0, FLAG_CHOICE, AT(framing), "length", "length|chunked|close",
     "How the content is delimited."},
    {"cut", 0, FLAG_BYTES, AT(cut), "none", "BYTES", "Close the connection after so many bytes of content."},
    {"stall", 0, FLAG_BYTES, AT(stall), "none", "BYTES", "Send nothing more after so many bytes of content."},
    {"hang", 0, FLAG_BOOL, AT(hang), "off", "", "Never answer."},
    {"announce", 0, FLAG_BYTES, AT(announce), "none", "BYTES",
     "Say this in Content-Length, whatever is sent."},
    {"faulty", 0, FLAG_UINT, AT(faulty), "0", "N",
     "status, cut, stall, hang, announce: only for the first N fetches of a key (0: for all)."},
    {"cache-control", 0, FLAG_TEXT, AT(cache_control), "max-age=3600", "TEXT", "Cache-Control; empty: none."},
    {"etag", 0, FLAG_TEXT, AT(etag), "on", "on|off|weak|TEXT",
     "ETag: made from version and size, or as given."},
    {"last-modified", 0, FLAG_TEXT, AT(last_modified), "on", "on|off|DATE",
     "Last-Modified: made from the version, or as given."},
    {"vary", 0, FLAG_TEXT, AT(vary), "", "TEXT",
     "Vary; the content then differs with the values of these fields."},
    {"cookie", 0, FLAG_TEXT, AT(cookie), "", "unique|TEXT",
     "Set-Cookie; unique: another value in each answer."},
    {"type", 0, FLAG_TEXT, AT(type), "application/octet-stream", "TEXT", "Content-Type."},
    {"field", 0, FLAG_TEXT, AT(field), "", "'NAME: TEXT'", "One more field in the head."},
    {"ranges", 0, FLAG_BOOL, AT(ranges), "on", "", "Serve Range and If-Range."},
    {"conditional", 0, FLAG_BOOL, AT(conditional), "on", "", "Serve If-None-Match and If-Modified-Since."},
};

struct flags origin_option_flags(void)
{
    return FLAGS(rows);
}

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX and '+'. A broken escape stands for itself, a control byte becomes a space: it would split our
 * head. */
static struct span decode(struct span s, struct arena *a)
{
    if (memchr(s.p, '%', s.len) == NULL && memchr(s.p, '+', s.len) == NULL)
        return s;
    char *out = arena_alloc(a, s.len);
    if (out == NULL)
        return (struct span){0};
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i] == '+' ? ' ' : s.p[i];
        if (c == '%' && i + 2 < s.len && hex_digit(s.p[i + 1]) >= 0 && hex_digit(s.p[i + 2]) >= 0) {
            c = (char)(hex_digit(s.p[i + 1]) << 4 | hex_digit(s.p[i + 2]));
            i += 2;
        }
        out[n++] = (unsigned char)c < 0x20 || c == 0x7F ? ' ' : c;
    }
    return (struct span){out, n};
}

const char *origin_options_query(struct origin_options *o, struct span query, struct arena *a,
                                 struct span *name)
{
    while (query.len > 0) {
        const char *end = memchr(query.p, '&', query.len);
        struct span pair = {query.p, end != NULL ? (size_t)(end - query.p) : query.len};
        query = span_from(query, pair.len + 1);
        const char *equals = memchr(pair.p, '=', pair.len);
        *name = (struct span){pair.p, equals != NULL ? (size_t)(equals - pair.p) : pair.len};
        const struct flag *row = flags_find(origin_option_flags(), *name);
        if (row == NULL)
            continue;
        struct span value = equals != NULL ? decode(span_from(pair, name->len + 1), a) : SPAN("on");
        const char *why = flags_set(row, o, value);
        if (why != NULL)
            return why;
    }
    return NULL;
}
