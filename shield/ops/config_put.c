#include <string.h>

#include "common/check.h"
#include "common/units.h"
#include "common/utf8.h"
#include "shield/ops/config_parts.h"
#include "shield/ops/config_table.h"

static const void *field_const(const struct directive *d, const void *base)
{
    return (const char *)base + d->offset;
}

static void put_number(enum directive_type type, uint64_t v, struct buf *out)
{
    if (type == D_COUNT)
        units_put_count(out, v);
    else if (type == D_BYTES)
        units_put_bytes(out, v);
    else
        units_put_duration_ms(out, v);
}

static bool is_number(const struct directive *d)
{
    return d->type == D_COUNT || d->type == D_BYTES || d->type == D_TIME;
}

/* A double-quoted YAML scalar; what is not printable ASCII as an escape of its code point. */
static void put_string(struct buf *out, const char *text)
{
    buf_put_lit(out, "\"");
    for (struct span s = span_of(text != NULL ? text : ""); s.len > 0;) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s, &cp);
        ENSURE(n > 0); /* every setter refuses what is not UTF-8 */
        if (cp == '"' || cp == '\\')
            buf_printf(out, "\\%c", (char)cp);
        else if (cp >= 0x20 && cp < 0x7f)
            buf_put(out, s.p, 1);
        else
            buf_printf(out, "\\U%08x", (unsigned)cp);
        s = span_from(s, n);
    }
    buf_put_lit(out, "\"");
}

static void put_list(const struct directive *d, const void *base, struct buf *out)
{
    struct buf item = {0};
    buf_put_lit(out, "[");
    for (size_t i = 0; config_list_item(d, base, i, &item); i++) {
        buf_put_span(out, i > 0 ? SPAN(", ") : SPAN(""));
        buf_put_lit(&item, "\0");
        out->failed |= item.failed;
        if (!item.failed)
            put_string(out, item.p);
        item.len = 0;
    }
    buf_put_lit(out, "]");
    buf_fini(&item);
}

/* Neighbours of one name are one key with a list. */
static void put_pairs(const struct config_pairs *pairs, struct buf *out)
{
    buf_put_lit(out, "{");
    for (uint32_t i = 0, next; i < pairs->n; i = next) {
        const struct config_pair *first = &pairs->items[i];
        for (next = i + 1; next < pairs->n && strcmp(pairs->items[next].name, first->name) == 0;)
            next++;
        buf_put_span(out, i > 0 ? SPAN(", ") : SPAN(""));
        put_string(out, first->name);
        buf_put_span(out, next - i > 1 ? SPAN(": [") : SPAN(": "));
        for (uint32_t j = i; j < next; j++) {
            buf_put_span(out, j > i ? SPAN(", ") : SPAN(""));
            put_string(out, pairs->items[j].value);
        }
        buf_put_span(out, next - i > 1 ? SPAN("]") : SPAN(""));
    }
    buf_put_lit(out, "}");
}

static void put_status_ttls(const struct config_route *r, struct buf *out)
{
    buf_put_lit(out, "{");
    for (uint32_t i = 0; i < r->n_ttl_by_status; i++) {
        const struct config_status_ttl *row = &r->ttl_by_status[i];
        buf_put_span(out, i > 0 ? SPAN(", ") : SPAN(""));
        buf_printf(out, row->first == row->last ? "%d: " : "%dxx: ",
                   row->first == row->last ? row->first : row->first / 100);
        units_put_duration_ms(out, row->ttl_ms);
    }
    buf_put_lit(out, "}");
}

static void put_classes(const struct config_route *r, struct buf *out)
{
    buf_put_lit(out, "{");
    for (uint32_t i = 0; i < r->key.n_classes; i++) {
        const struct config_class *c = &r->key.classes[i];
        buf_put_span(out, i > 0 ? SPAN(", ") : SPAN(""));
        put_string(out, c->name);
        buf_put_lit(out, ": {header: ");
        put_string(out, c->header);
        buf_put_lit(out, ", values: ");
        put_pairs(&c->patterns, out);
        buf_put_lit(out, "}");
    }
    buf_put_lit(out, "}");
}

static void put_map(const struct directive *d, const void *base, struct buf *out)
{
    if (d->type == D_STATUS_TTL)
        put_status_ttls(base, out);
    else if (d->type == D_CLASSES)
        put_classes(base, out);
    else
        put_pairs(field_const(d, base), out);
}

void directive_put(const struct directive *d, const void *base, struct buf *out)
{
    const void *at = field_const(d, base);
    if (directive_is_list(d)) {
        put_list(d, base, out);
    } else if (directive_is_map(d)) {
        put_map(d, base, out);
    } else if (d->type == D_TIME_OR) {
        int64_t ms = *(const int64_t *)at;
        if (ms < 0)
            buf_put_span(out, span_of(d->words));
        else
            units_put_duration_ms(out, (uint64_t)ms);
    } else if (d->type == D_STATUS) {
        buf_put_uint(out, *(const uint32_t *)at);
    } else if (is_number(d)) {
        uint64_t v = *(const uint64_t *)at;
        if (v == 0 && d->words != NULL)
            buf_put_span(out, span_of(d->words));
        else
            put_number(d->type, v, out);
    } else if (d->type == D_BOOL) {
        buf_put_span(out, directive_word(directive_bool_words(d), *(const bool *)at));
    } else if (d->type == D_ENUM) {
        buf_put_span(out, directive_word(d->words, (size_t) * (const int *)at));
    } else if (d->type == D_ADDRESS) {
        put_string(out, ((const struct config_listen *)at)->text);
    } else {
        put_string(out, *(char *const *)at);
    }
}

static void put_words(const char *words, struct buf *out)
{
    for (size_t i = 0; directive_word(words, i).len > 0; i++) {
        bool last = directive_word(words, i + 1).len == 0;
        buf_put_span(out, i == 0 ? SPAN("") : last ? SPAN(" or ") : SPAN(", "));
        buf_put_span(out, directive_word(words, i));
    }
}

void directive_put_allowed(const struct directive *d, struct buf *out)
{
    static const char *const texts[] = {
        [D_COUNT] = "a number",
        [D_BYTES] = "a size",
        [D_TIME] = "a time",
        [D_BOOL] = "on or off",
        [D_TEXT] = "one line of UTF-8 text",
        [D_NAME] = "1 to 63 letters, digits, '.', '_' and '-'",
        [D_HOST] = "host or host:port",
        [D_TIME_OR] = "a time",
        [D_STATUS] = "a status",
        [D_LABEL] = "1 to 63 letters, digits, '.', '_' and '-'",
        [D_PATTERN] = "a pattern of paths such as /old/*",
        [D_PATH] = "a path such as /new/*",
        [D_URL] = "http://host/path, https://host/path or /path",
        [D_VALUE] = "a field's value",
        [D_FIELD_NAME] = "a field's name",
        [D_CONTENT] = "UTF-8 text of at most 64k",
        [D_ADDRESS] = "127.0.0.1:8080, [::]:8080, :8080 or unix:/path",
        [D_LISTEN] = "127.0.0.1:8080, [::]:8080, :8080 or unix:/path",
        [D_HOSTS] = "host names without port, compared whole",
        [D_CIDRS] = "address blocks: 10.0.0.0/8, 192.0.2.1, 2001:db8::/32; unix: for Unix sockets",
        [D_SERVERS] = "http://host[:port], http://[::1]:80 or http+unix:///path",
        [D_HOST_PATTERNS] = "patterns of hosts such as *.example.com",
        [D_PATH_PATTERNS] = "patterns of paths such as /static/*",
        [D_PATTERNS] = "patterns of names such as utm_*",
        [D_TOKENS] = "names",
        [D_FIELD_NAMES] = "names of fields that a route may touch",
        [D_HEADER_PATTERNS] = "a map of field names, each with a pattern",
        [D_FIELDS] = "a map of fields that a route may touch, each with a value or a list of them",
        [D_STATUS_TTL] = "a map such as { 404: 10s, 5xx: 0s }, times up to 10y",
        [D_CLASSES] = "a map such as { device: { header: User-Agent, values: { mobile: \"*Mobile*\" } } }",
    };
    if (d->type == D_ENUM || (d->type == D_BOOL && d->words != NULL)) {
        put_words(d->words, out);
        return;
    }
    buf_put_span(out, span_of(texts[d->type]));
    if (d->min == NULL)
        return;
    buf_printf(out, " from %s to %s", d->min, d->max);
    if (d->type != D_COUNT && d->type != D_STATUS)
        buf_put_span(out, d->type == D_BYTES ? SPAN(" (k, m, g, t)") : SPAN(" (ms, s, m, h, d, w, y)"));
    if (d->words != NULL)
        buf_printf(out, ", or %s", d->words);
}
