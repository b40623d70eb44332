#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/units.h"
#include "common/utf8.h"
#include "shield/ops/config_parts.h"
#include "shield/ops/config_route_parts.h"
#include "shield/ops/config_table.h"

static void *field(const struct directive *d, void *base)
{
    return (char *)base + d->offset;
}

static const void *field_const(const struct directive *d, const void *base)
{
    return (const char *)base + d->offset;
}

/* What the problem line quotes: short, and never something that breaks the line. */
static void put_quoted(struct buf *why, struct span text)
{
    enum { SHOWN = 60 };
    buf_put_lit(why, "'");
    for (size_t i = 0; i < text.len && i < SHOWN; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f)
            buf_printf(why, "\\x%02x", c);
        else
            buf_put(why, text.p + i, 1);
    }
    buf_put_span(why, text.len > SHOWN ? SPAN("...'") : SPAN("'"));
}

static int wrong(const struct directive *d, struct span text, int err, const char *what, struct buf *why)
{
    put_quoted(why, text);
    buf_printf(why, ": %s; ", what);
    directive_put_allowed(d, why);
    return err;
}

static bool parse_number(enum directive_type type, struct span text, uint64_t *out)
{
    return type == D_COUNT   ? units_parse_count(text, out)
           : type == D_BYTES ? units_parse_bytes(text, out)
                             : units_parse_duration_ms(text, out);
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

static int parse_in_range(const struct directive *d, enum directive_type type, uint64_t *out,
                          struct span text, struct buf *why)
{
    uint64_t v, min, max;
    ENSURE(parse_number(type, span_of(d->min), &min) && parse_number(type, span_of(d->max), &max));
    if (!parse_number(type, text, &v))
        return wrong(d, text, ERR_SYNTAX,
                     type == D_COUNT   ? "not a number"
                     : type == D_BYTES ? "not a size such as 64m"
                                       : "not a time such as 10s",
                     why);
    if (v < min)
        return wrong(d, text, ERR_RANGE, "too small", why);
    if (v > max)
        return wrong(d, text, ERR_RANGE, "too large", why);
    *out = v;
    return 0;
}

static bool is_its_word(const struct directive *d, struct span text)
{
    return d->words != NULL && span_eq(text, span_of(d->words));
}

static int set_number(const struct directive *d, uint64_t *out, struct span text, struct buf *why)
{
    if (!is_its_word(d, text))
        return parse_in_range(d, d->type, out, text, why);
    *out = 0;
    return 0;
}

static int set_time_or(const struct directive *d, int64_t *out, struct span text, struct buf *why)
{
    uint64_t ms = 0;
    int err = is_its_word(d, text) ? 0 : parse_in_range(d, D_TIME, &ms, text, why);
    if (err == 0)
        *out = is_its_word(d, text) ? -1 : (int64_t)ms;
    return err;
}

static int set_status(const struct directive *d, uint32_t *out, struct span text, struct buf *why)
{
    uint64_t status = 0;
    int err = parse_in_range(d, D_COUNT, &status, is_its_word(d, text) ? span_of(d->def) : text, why);
    if (err == 0)
        *out = (uint32_t)status;
    return err;
}

static const char *bool_words(const struct directive *d)
{
    return d->words != NULL ? d->words : "off on";
}

static int set_bool(const struct directive *d, bool *out, struct span text, struct buf *why)
{
    bool on = span_eq(text, directive_word(bool_words(d), 1));
    if (!on && !span_eq(text, directive_word(bool_words(d), 0)))
        return wrong(d, text, ERR_SYNTAX, d->words != NULL ? "not one of the words" : "not a boolean", why);
    *out = on;
    return 0;
}

static int set_enum(const struct directive *d, int *out, struct span text, struct buf *why)
{
    for (size_t i = 0;; i++) {
        struct span word = directive_word(d->words, i);
        if (word.len == 0)
            return wrong(d, text, ERR_SYNTAX, "not one of the words", why);
        if (span_eq(word, text)) {
            *out = (int)i;
            return 0;
        }
    }
}

/* Texts are paths and names: one line of UTF-8, so that logs, -T and YAML can all carry them. */
static bool is_clean_text(struct span text)
{
    while (text.len > 0) {
        uint32_t cp = 0;
        size_t n = utf8_decode(text, &cp);
        if (n == 0 || cp < 0x20 || (cp >= 0x7f && cp <= 0x9f))
            return false;
        text = span_from(text, n);
    }
    return true;
}

static int set_text(const struct directive *d, char **out, struct span text, struct buf *why)
{
    if (d->type == D_TEXT && !is_clean_text(text))
        return wrong(d, text, ERR_SYNTAX, "control bytes, or not UTF-8", why);
    if (d->type == D_NAME && text.len > 0 && !config_is_name(text))
        return wrong(d, text, ERR_SYNTAX, "not a name", why);
    if (d->type == D_HOST && text.len > 0 && !config_is_host(text, true))
        return wrong(d, text, ERR_SYNTAX, "not a host", why);
    char *copy = d->type == D_HOST ? config_lower_copy(text) : strndup(text.len > 0 ? text.p : "", text.len);
    if (copy == NULL)
        return wrong(d, text, ERR_NOMEM, "does not fit into memory", why);
    free(*out);
    *out = copy;
    return 0;
}

/* A text of a route, in the form that it is kept in. */
static int set_kept(const struct directive *d, char **out, struct span text, struct buf *why)
{
    struct buf kept = {0};
    const char *what = NULL;
    int err = config_keep_text(d, text, &kept, &what);
    if (err != 0) {
        buf_fini(&kept);
        return wrong(d, text, err, what, why);
    }
    free(*out);
    *out = kept.p;
    return 0;
}

int directive_add(const struct directive *d, void *base, struct span text, struct buf *why)
{
    const char *what = NULL;
    int err = 0;
    switch (d->type) {
    case D_COUNT:
    case D_BYTES:
    case D_TIME:
        return set_number(d, field(d, base), text, why);
    case D_BOOL:
        return set_bool(d, field(d, base), text, why);
    case D_ENUM:
        return set_enum(d, field(d, base), text, why);
    case D_TEXT:
    case D_NAME:
    case D_HOST:
        return set_text(d, field(d, base), text, why);
    case D_TIME_OR:
        return set_time_or(d, field(d, base), text, why);
    case D_STATUS:
        return set_status(d, field(d, base), text, why);
    case D_LABEL:
    case D_PATTERN:
    case D_PATH:
    case D_URL:
    case D_VALUE:
    case D_CONTENT:
        return set_kept(d, field(d, base), text, why);
    case D_ADDRESS:
        err = config_set_address(field(d, base), text, &what);
        break;
    case D_LISTEN:
        err = config_add_listen(base, text, &what);
        break;
    case D_HOSTS:
        err = config_add_host(field(d, base), text, &what);
        break;
    case D_CIDRS:
        err = config_add_cidr(field(d, base), text, &what);
        break;
    case D_SERVERS:
        err = config_add_server(base, text, &what);
        break;
    case D_HOST_PATTERNS:
    case D_PATH_PATTERNS:
    case D_PATTERNS:
    case D_TOKENS:
    case D_FIELD_NAMES:
        err = config_add_text(d, field(d, base), text, &what);
        break;
    case D_HEADER_PATTERNS:
    case D_FIELDS:
    case D_STATUS_TTL:
    case D_CLASSES:
        REQUIRE(!"a single value or a list");
    }
    return err != 0 ? wrong(d, text, err, what, why) : 0;
}

int directive_add_pair(const struct directive *d, void *base, struct span key, struct span value,
                       bool *key_is_wrong, struct buf *why)
{
    const char *what = NULL;
    REQUIRE(directive_is_map(d) && d->type != D_CLASSES);
    int err = d->type == D_STATUS_TTL ? config_add_status_ttl(base, key, value, key_is_wrong, &what)
                                      : config_add_pair(d, field(d, base), key, value, key_is_wrong, &what);
    return err != 0 ? wrong(d, *key_is_wrong ? key : value, err, what, why) : 0;
}

int directive_add_class(const struct directive *d, struct config_route *r, struct span name, struct buf *why)
{
    const char *what = NULL;
    int err = config_add_class(r, name, &what);
    return err != 0 ? wrong(d, name, err, what, why) : 0;
}

int directive_set_class_header(const struct directive *d, struct config_class *c, struct span header,
                               struct buf *why)
{
    const char *what = NULL;
    int err = config_set_class_header(c, header, &what);
    return err != 0 ? wrong(d, header, err, what, why) : 0;
}

int directive_add_class_pattern(const struct directive *d, struct config_class *c, struct span value,
                                struct span pattern, bool *key_is_wrong, struct buf *why)
{
    const char *what = NULL;
    int err = config_add_class_pattern(c, value, pattern, key_is_wrong, &what);
    return err != 0 ? wrong(d, *key_is_wrong ? value : pattern, err, what, why) : 0;
}

void directive_clear(const struct directive *d, void *base)
{
    switch (d->type) {
    case D_COUNT:
    case D_BYTES:
    case D_TIME:
    case D_BOOL:
    case D_ENUM:
    case D_TIME_OR:
    case D_STATUS:
        break;
    case D_TEXT:
    case D_NAME:
    case D_HOST:
    case D_LABEL:
    case D_PATTERN:
    case D_PATH:
    case D_URL:
    case D_VALUE:
    case D_CONTENT: {
        char **text = field(d, base);
        free(*text);
        *text = NULL;
        break;
    }
    case D_ADDRESS:
        config_clear_address(field(d, base));
        break;
    case D_LISTEN:
        config_clear_listen(base);
        break;
    case D_HOSTS:
        config_clear_hosts(field(d, base));
        break;
    case D_CIDRS:
        config_clear_cidrs(field(d, base));
        break;
    case D_SERVERS:
        config_clear_servers(base);
        break;
    case D_HOST_PATTERNS:
    case D_PATH_PATTERNS:
    case D_PATTERNS:
    case D_TOKENS:
    case D_FIELD_NAMES:
        config_clear_texts(field(d, base));
        break;
    case D_HEADER_PATTERNS:
    case D_FIELDS:
        config_clear_pairs(field(d, base));
        break;
    case D_STATUS_TTL:
        config_clear_status_ttls(base);
        break;
    case D_CLASSES:
        config_clear_classes(base);
        break;
    }
}

bool directive_is_empty(const struct directive *d, const void *base)
{
    struct buf first = {0};
    bool empty = false;
    if (directive_is_list(d)) {
        empty = !config_list_item(d, base, 0, &first);
    } else if (d->type == D_STATUS_TTL) {
        empty = ((const struct config_route *)base)->n_ttl_by_status == 0;
    } else if (d->type == D_CLASSES) {
        empty = ((const struct config_route *)base)->key.n_classes == 0;
    } else if (directive_is_map(d)) {
        empty = ((const struct config_pairs *)field_const(d, base))->n == 0;
    } else if ((d->type >= D_LABEL && d->type <= D_CONTENT) || (d->type >= D_TEXT && d->type <= D_HOST)) {
        const char *text = *(char *const *)field_const(d, base);
        empty = text == NULL || text[0] == '\0';
    }
    buf_fini(&first);
    return empty;
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
        buf_put_span(out, directive_word(bool_words(d), *(const bool *)at));
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
        [D_CONTENT] = "UTF-8 text of at most 64k",
        [D_ADDRESS] = "127.0.0.1:8080, [::]:8080, :8080 or unix:/path",
        [D_LISTEN] = "127.0.0.1:8080, [::]:8080, :8080 or unix:/path",
        [D_HOSTS] = "host names without port, compared whole",
        [D_CIDRS] = "address blocks: 10.0.0.0/8, 192.0.2.1, 2001:db8::/32",
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
