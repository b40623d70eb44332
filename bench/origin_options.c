#include "bench/origin_options.h"

#include <math.h>

#include "common/check.h"

#define AT(f) offsetof(struct origin_options, f)

/* What sites send. The first is what the simulator does when nothing else is said. */
static const struct {
    const char *cache_control, *vary, *cookie, *type;
} presets[] = {
    {"max-age=3600", "", "", "application/octet-stream"},
    {"public, max-age=31536000, immutable", "", "", "application/javascript"},
    {"public, max-age=60, stale-while-revalidate=30, stale-if-error=86400", "Accept-Encoding", "",
     "text/html"},
    {"public, max-age=0, s-maxage=5, stale-while-revalidate=5", "Accept-Encoding", "", "application/json"},
    {"public, s-maxage=1, stale-while-revalidate=1", "", "", "text/html"},
    {"private, no-store", "", "unique", "text/html"},
};

#define SPREADS "fixed|uniform|exponential|pareto"

static const struct flag rows[] = {
    {"preset", 0, FLAG_CHOICE, AT(preset), "plain", "plain|static|html|api|microcache|private",
     "What cache-control, vary, cookie and type are unless given."},
    {"size", 's', FLAG_BYTES, AT(size), "1k", "BYTES",
     "Size of the object; with a spread, the mean over all keys."},
    {"size-spread", 0, FLAG_CHOICE, AT(size_spread), "fixed", SPREADS,
     "How sizes differ: a key keeps its size."},
    {"version", 0, FLAG_UINT, AT(version), "1", "N",
     "Version of the object: another one has other bytes and validators."},
    {"rolling", 0, FLAG_UINT, AT(rolling), "0", "N",
     "A new version after every N fetches of a key; 0: never."},
    {"status", 0, FLAG_UINT, AT(status), "200", "CODE", "Status of the answer."},
    {"delay", 0, FLAG_MS, AT(delay_ms), "0", "TIME", "Time from the request to the head."},
    {"delay-spread", 0, FLAG_CHOICE, AT(delay_spread), "fixed", SPREADS,
     "How delays differ: drawn anew each time."},
    {"think", 0, FLAG_MS, AT(think_ms), "0", "TIME",
     "More delay for each other fetch that runs at the same time."},
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
    {"cache-control", 0, FLAG_TEXT, AT(cache_control), NULL, "TEXT", "Cache-Control; empty: none."},
    {"etag", 0, FLAG_TEXT, AT(etag), "on", "on|off|weak|TEXT",
     "ETag: made from version and size, or as given."},
    {"last-modified", 0, FLAG_TEXT, AT(last_modified), "on", "on|off|DATE",
     "Last-Modified: made from the version, or as given."},
    {"vary", 0, FLAG_TEXT, AT(vary), NULL, "TEXT",
     "Vary; the content then differs with the values of these fields."},
    {"cookie", 0, FLAG_TEXT, AT(cookie), NULL, "unique|TEXT",
     "Set-Cookie; unique: another value in each answer."},
    {"type", 0, FLAG_TEXT, AT(type), NULL, "TEXT", "Content-Type."},
    {"tags", 0, FLAG_TEXT, AT(tags), "", "'A B'", "Purge tags, sent as Surrogate-Key and as Cache-Tag."},
    {"groups", 0, FLAG_UINT, AT(groups), "0", "N", "One more tag, group-K: each key is in one of N groups."},
    {"field", 0, FLAG_TEXT, AT(field), "", "'NAME: TEXT'", "One more field in the head."},
    {"ranges", 0, FLAG_BOOL, AT(ranges), "on", "", "Serve Range and If-Range."},
    {"conditional", 0, FLAG_BOOL, AT(conditional), "on", "", "Serve If-None-Match and If-Modified-Since."},
};

struct flags origin_option_flags(void)
{
    return FLAGS(rows);
}

static void settle(struct span *field, const char *preset)
{
    if (field->p == NULL)
        *field = span_of(preset);
}

void origin_options_settle(struct origin_options *o)
{
    REQUIRE(o->preset < ARRAY_LEN(presets));
    settle(&o->cache_control, presets[o->preset].cache_control);
    settle(&o->vary, presets[o->preset].vary);
    settle(&o->cookie, presets[o->preset].cookie);
    settle(&o->type, presets[o->preset].type);
}

uint64_t origin_spread(uint64_t mean, enum origin_spread spread, uint64_t random)
{
    const double shape = 1.2, cut = 1000;
    double u = (double)((random >> 11) + 1) / 9007199254740993.0; /* above 0, below 1 */
    double factor = 1;
    if (spread == SPREAD_UNIFORM)
        factor = 2 * u;
    else if (spread == SPREAD_EXPONENTIAL)
        factor = -log(u);
    else if (spread == SPREAD_PARETO)
        factor = fmin((shape - 1) / shape * pow(u, -1 / shape), cut);
    return (uint64_t)((double)mean * factor + 0.5);
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

static const char *take_query(struct origin_options *o, struct span query, struct arena *a, bool is_ours,
                              struct span *name)
{
    while (query.len > 0) {
        const char *end = memchr(query.p, '&', query.len);
        struct span pair = {query.p, end != NULL ? (size_t)(end - query.p) : query.len};
        query = span_from(query, pair.len + 1);
        const char *equals = memchr(pair.p, '=', pair.len);
        *name = (struct span){pair.p, equals != NULL ? (size_t)(equals - pair.p) : pair.len};
        const struct flag *row = flags_find(origin_option_flags(), *name);
        if (row == NULL && is_ours)
            return "is no parameter of the origin; origin --help lists them";
        if (row == NULL)
            continue;
        struct span value = equals != NULL ? decode(span_from(pair, name->len + 1), a) : SPAN("on");
        const char *why = flags_set(row, o, value);
        if (why != NULL)
            return why;
    }
    return NULL;
}

const char *origin_options_query(struct origin_options *o, struct span query, struct arena *a,
                                 struct span *name)
{
    return take_query(o, query, a, false, name);
}

const char *origin_options_order(struct origin_options *o, struct span query, struct arena *a,
                                 struct span *name)
{
    return take_query(o, query, a, true, name);
}
