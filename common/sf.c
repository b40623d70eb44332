#include "common/sf.h"

#include "common/check.h"
#include "common/http_chars.h"
#include "common/utf8.h"

enum { INTEGER_DIGITS = 15, WHOLE_DIGITS = 12, FRACTION_DIGITS = 3 };

static bool take_byte(struct span *s, char c)
{
    if (s->len == 0 || s->p[0] != c)
        return false;
    *s = span_from(*s, 1);
    return true;
}

static void skip_spaces(struct span *s)
{
    while (take_byte(s, ' '))
        ;
}

static void skip_ows(struct span *s)
{
    while (take_byte(s, ' ') || take_byte(s, '\t'))
        ;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower(ascii_lower(c));
}

static bool is_printable(char c) /* VCHAR or SP */
{
    return c >= 0x20 && c < 0x7f;
}

/* The first `n` bytes of `*s`, taken off. */
static struct span take(struct span *s, size_t n)
{
    struct span taken = {s->p, n};
    *s = span_from(*s, n);
    return taken;
}

/* Section 4.2.3.3. */
static bool take_key(struct span *s, struct span *out)
{
    size_t n = 0;
    if (s->len == 0 || !(is_lower(s->p[0]) || s->p[0] == '*'))
        return false;
    while (n < s->len && (is_lower(s->p[n]) || is_digit(s->p[n]) || s->p[n] == '_' || s->p[n] == '-' ||
                          s->p[n] == '.' || s->p[n] == '*'))
        n++;
    *out = take(s, n);
    return true;
}

static size_t take_digits(struct span *s, size_t most, int64_t *value)
{
    size_t n = 0;
    for (; n < s->len && is_digit(s->p[n]); n++)
        if (n < most)
            *value = *value * 10 + (s->p[n] - '0');
    *s = span_from(*s, n);
    return n;
}

/* Section 4.2.4. */
static bool take_number(struct span *s, struct sf_item *out)
{
    int64_t sign = take_byte(s, '-') ? -1 : 1, value = 0;
    size_t whole = take_digits(s, INTEGER_DIGITS, &value);
    if (whole == 0 || whole > INTEGER_DIGITS)
        return false;
    out->type = SF_INTEGER;
    if (take_byte(s, '.')) {
        size_t fraction = take_digits(s, FRACTION_DIGITS, &value);
        if (whole > WHOLE_DIGITS || fraction == 0 || fraction > FRACTION_DIGITS)
            return false;
        for (; fraction < FRACTION_DIGITS; fraction++)
            value *= 10;
        out->type = SF_DECIMAL;
    }
    out->number = sign * value;
    return true;
}

/* Section 4.2.5; `s` is behind the opening quote. */
static bool take_string(struct span *s, struct sf_item *out)
{
    out->type = SF_STRING;
    for (size_t i = 0; i < s->len; i++) {
        if (s->p[i] == '"') {
            out->text = take(s, i);
            return take_byte(s, '"');
        }
        if (!is_printable(s->p[i]))
            return false;
        if (s->p[i] == '\\' && (++i == s->len || (s->p[i] != '"' && s->p[i] != '\\')))
            return false;
    }
    return false;
}

/* Section 4.2.6; it begins with a letter or an asterisk. */
static bool take_token(struct span *s, struct sf_item *out)
{
    size_t n = 1;
    while (n < s->len && (http_char_is(s->p[n], CHAR_TOKEN) || s->p[n] == ':' || s->p[n] == '/'))
        n++;
    out->type = SF_TOKEN;
    out->text = take(s, n);
    return true;
}

/* Of base64 (RFC 4648 section 4): padding may be missing, but is never wrong. */
static bool is_base64(struct span s)
{
    size_t n = 0;
    while (n < s.len && (is_alpha(s.p[n]) || is_digit(s.p[n]) || s.p[n] == '+' || s.p[n] == '/'))
        n++;
    size_t padding = s.len - n;
    for (size_t i = n; i < s.len; i++)
        if (s.p[i] != '=')
            return false;
    return n % 4 != 1 && (padding == 0 || (padding <= 2 && s.len % 4 == 0));
}

/* Section 4.2.7; `s` is behind the first colon. */
static bool take_bytes(struct span *s, struct sf_item *out)
{
    const char *end = s->len > 0 ? memchr(s->p, ':', s->len) : NULL;
    if (end == NULL)
        return false;
    out->type = SF_BYTES;
    out->text = take(s, (size_t)(end - s->p));
    return take_byte(s, ':') && is_base64(out->text);
}

static bool take_boolean(struct span *s, struct sf_item *out) /* section 4.2.8 */
{
    out->type = SF_BOOLEAN;
    out->number = take_byte(s, '1');
    return out->number == 1 || take_byte(s, '0');
}

static bool take_date(struct span *s, struct sf_item *out) /* section 4.2.9 */
{
    bool is_whole = take_number(s, out) && out->type == SF_INTEGER;
    out->type = SF_DATE;
    return is_whole;
}

static bool is_lower_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* The next byte that a display string says; false at its end, `*good` cleared where it is malformed. */
static bool take_display_byte(struct span *s, char *out, bool *good)
{
    *good = s->len > 0 && is_printable(s->p[0]);
    if (!*good || s->p[0] == '"')
        return false;
    if (!take_byte(s, '%')) {
        *out = *take(s, 1).p;
        return true;
    }
    *good = s->len >= 2 && is_lower_hex(s->p[0]) && is_lower_hex(s->p[1]);
    if (!*good)
        return false;
    *out = (char)(http_hex_value(s->p[0]) << 4 | http_hex_value(s->p[1]));
    *s = span_from(*s, 2);
    return true;
}

/* Section 4.2.10; `s` is behind the percent sign. What it says is decoded in a window of four bytes, the
 * longest that UTF-8 has. */
static bool take_display(struct span *s, struct sf_item *out)
{
    char window[4];
    size_t n = 0;
    bool good = take_byte(s, '"'), more = good;
    const char *start = s->p;
    while (more || n > 0) {
        while (more && n < sizeof window) {
            more = take_display_byte(s, &window[n], &good);
            n += more;
        }
        uint32_t code_point;
        size_t used = good && n > 0 ? utf8_decode((struct span){window, n}, &code_point) : 0;
        if (n > 0 && used == 0)
            return false;
        n -= used;
        memmove(window, window + used, n);
    }
    out->type = SF_DISPLAY;
    out->text = (struct span){start, (size_t)(s->p - start)};
    return good && take_byte(s, '"');
}

/* Section 4.2.3.1. */
static bool take_bare_item(struct span *s, struct sf_item *out)
{
    *out = (struct sf_item){0};
    if (s->len == 0)
        return false;
    if (is_digit(s->p[0]) || s->p[0] == '-')
        return take_number(s, out);
    if (is_alpha(s->p[0]) || s->p[0] == '*')
        return take_token(s, out);
    switch (*take(s, 1).p) {
    case '"':
        return take_string(s, out);
    case ':':
        return take_bytes(s, out);
    case '?':
        return take_boolean(s, out);
    case '@':
        return take_date(s, out);
    case '%':
        return take_display(s, out);
    default:
        return false;
    }
}

/* "key" or "key=value" of a parameter. */
static bool take_parameter(struct span *s, struct sf_member *out)
{
    out->value = (struct sf_item){.type = SF_BOOLEAN, .number = 1};
    return take_key(s, &out->key) && (!take_byte(s, '=') || take_bare_item(s, &out->value));
}

/* Section 4.2.3.2. */
static bool take_parameters(struct span *s, struct span *out)
{
    const char *start = s->p;
    while (take_byte(s, ';')) {
        struct sf_member ignored;
        skip_spaces(s);
        if (!take_parameter(s, &ignored))
            return false;
    }
    *out = (struct span){start, (size_t)(s->p - start)};
    return true;
}

static bool take_item(struct span *s, struct sf_item *out) /* section 4.2.3 */
{
    return take_bare_item(s, out) && take_parameters(s, &out->parameters);
}

/* Section 4.2.1.2; `s` is behind the opening parenthesis. */
static bool take_inner_list(struct span *s, struct sf_item *out)
{
    const char *start = s->p;
    *out = (struct sf_item){.type = SF_INNER_LIST};
    for (;;) {
        struct sf_item member;
        skip_spaces(s);
        out->text = (struct span){start, (size_t)(s->p - start)};
        if (take_byte(s, ')'))
            return take_parameters(s, &out->parameters);
        if (!take_item(s, &member) || s->len == 0 || (s->p[0] != ' ' && s->p[0] != ')'))
            return false;
    }
}

static bool take_item_or_inner_list(struct span *s, struct sf_item *out) /* section 4.2.1.1 */
{
    return take_byte(s, '(') ? take_inner_list(s, out) : take_item(s, out);
}

static bool take_member(struct span *s, enum sf_kind kind, struct sf_member *out)
{
    out->key = (struct span){0};
    if (kind == SF_LIST)
        return take_item_or_inner_list(s, &out->value);
    if (!take_key(s, &out->key))
        return false;
    if (take_byte(s, '='))
        return take_item_or_inner_list(s, &out->value);
    out->value = (struct sf_item){.type = SF_BOOLEAN, .number = 1};
    return take_parameters(s, &out->value.parameters);
}

/* A member and the comma behind it, which another has to follow (sections 4.2.1 and 4.2.2). */
static bool take_member_and_comma(struct span *s, enum sf_kind kind, struct sf_member *out)
{
    if (!take_member(s, kind, out))
        return false;
    skip_ows(s);
    if (s->len == 0)
        return true;
    if (!take_byte(s, ','))
        return false;
    skip_ows(s);
    return s->len > 0;
}

/* The lines that make up a field, one after the other. */
static bool next_line(const struct http_head *h, struct span name, uint32_t *at, struct span *out)
{
    enum http_field_id id = http_field_id(name);
    if (id != FIELD_OTHER && !http_has(h, id))
        return false;
    while (*at < h->n_fields) {
        const struct http_field *f = &h->fields[(*at)++];
        if (f->id == id && (id != FIELD_OTHER || span_eq_nocase(f->name, name))) {
            *out = span_trim(f->value);
            return true;
        }
    }
    return false;
}

int sf_count(const struct http_head *h, struct span name, enum sf_kind kind)
{
    struct span line;
    int members = 0, lines = 0, empty = 0;
    for (uint32_t at = 0; next_line(h, name, &at, &line);) {
        lines++;
        empty += line.len == 0;
        while (line.len > 0) {
            struct sf_member ignored;
            if (!take_member_and_comma(&line, kind, &ignored))
                return -1;
            members++;
        }
    }
    return empty > 0 && lines > 1 ? -1 : members; /* joined with others it leaves a comma too many */
}

bool sf_next(const struct http_head *h, struct span name, enum sf_kind kind, struct sf_it *it,
             struct sf_member *out)
{
    while (it->rest.len == 0)
        if (!next_line(h, name, &it->field, &it->rest))
            return false;
    return take_member_and_comma(&it->rest, kind, out);
}

bool sf_item_parse(struct span value, struct sf_item *out)
{
    skip_spaces(&value);
    if (!take_item(&value, out))
        return false;
    skip_spaces(&value);
    return value.len == 0;
}

bool sf_parameter_next(struct span *rest, struct sf_member *out)
{
    if (!take_byte(rest, ';'))
        return false;
    skip_spaces(rest);
    return take_parameter(rest, out);
}

bool sf_inner_next(struct span *rest, struct sf_item *out)
{
    skip_spaces(rest);
    return rest->len > 0 && take_item(rest, out);
}

size_t sf_string_copy(const struct sf_item *item, char *out)
{
    size_t n = 0;
    REQUIRE(item->type == SF_STRING);
    for (size_t i = 0; i < item->text.len; i++) {
        i += item->text.p[i] == '\\';
        out[n++] = item->text.p[i];
    }
    return n;
}
