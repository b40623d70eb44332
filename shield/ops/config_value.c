#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/units.h"
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

static int set_bool(const struct directive *d, bool *out, struct span text, struct buf *why)
{
    bool on = span_eq(text, directive_word(directive_bool_words(d), 1));
    if (!on && !span_eq(text, directive_word(directive_bool_words(d), 0)))
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

static int set_text(const struct directive *d, char **out, struct span text, struct buf *why)
{
    if (d->type == D_TEXT && !config_is_text(text, false))
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
    case D_FIELD_NAME:
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
    case D_FIELD_NAME:
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
