#include "shield/ops/config_route_parts.h"

#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/http_chars.h"
#include "common/http_head.h"
#include "common/http_path.h"
#include "common/units.h"
#include "shield/ops/config_parts.h"

static const char no_memory[] = "does not fit into memory";
static const char too_many[] = "one too many: 256 are the most";

static int refuse(const char **what, int err, const char *text)
{
    *what = text;
    return err;
}

/* ---- single texts ---- */

/* What may stand in a path, and so in a pattern of paths: no query, no fragment, whole escapes. */
static const char *path_problem(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '?')
            return "a query: only the path is looked at";
        if (!http_char_is(s.p[i], CHAR_TARGET))
            return "no path: blanks, '#' and non-ASCII bytes are written as %20, %23, %C3%A9";
        if (s.p[i] == '%' &&
            (s.len - i < 3 || !http_char_is(s.p[i + 1], CHAR_HEX) || !http_char_is(s.p[i + 2], CHAR_HEX)))
            return "a '%' without two hexadecimal digits; '%25' is one by itself";
    }
    return NULL;
}

/* A pattern matches paths in plain form, which is why it is kept in plain form itself. */
static const char *put_path_pattern(struct span s, struct buf *kept)
{
    if (s.len == 0 || (s.p[0] != '/' && s.p[0] != '*'))
        return "can match no path: it begins with neither '/' nor '*'";
    const char *problem = path_problem(s);
    if (problem != NULL || !buf_reserve(kept, 2 * s.len))
        return problem;
    size_t n = http_path_plain(kept->p + kept->len, s);
    struct span plain = {kept->p + kept->len, n};
    char *resolved = kept->p + kept->len + s.len;
    if (http_path_resolved(resolved, plain, false) != n || memcmp(resolved, plain.p, n) != 0)
        return "can match no path: a '.' or '..' segment, a '\\' or an empty segment, which are resolved "
               "first";
    kept->len += n;
    return NULL;
}

static const char *put_host_pattern(struct span s, struct buf *kept)
{
    bool literal = s.len > 0 && s.p[0] == '[';
    for (size_t i = 0; i < s.len; i++)
        if (!http_char_is(s.p[i], CHAR_REGNAME) && !(literal && memchr(":[]", s.p[i], 3) != NULL))
            return s.p[i] == ':' ? "can match no host: hosts are matched without their port"
                                 : "can match no host";
    if (s.len == 0 || s.p[s.len - 1] == '.')
        return "can match no host: it is empty, or has a dot at its end, which is not looked at";
    for (size_t i = 0; i < s.len && buf_reserve(kept, 1); i++)
        kept->p[kept->len++] = ascii_lower(s.p[i]);
    return NULL;
}

/* Of names and values: what can stand there, and no blanks at the ends, which are not part of them. */
static const char *value_problem(struct span s)
{
    if (!http_is_value(s) || !config_is_text(s, false))
        return "control bytes, or not UTF-8: no field's value (RFC 9110 section 5.5)";
    if (span_trim(s).len != s.len)
        return "blanks at its ends, which are no part of a value";
    return NULL;
}

static const char *put_value(struct span s, struct buf *kept, bool may_be_empty)
{
    const char *problem = s.len == 0 && !may_be_empty ? "empty" : value_problem(s);
    buf_put_span(kept, s);
    return problem;
}

static const char *url_problem(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!http_char_is(s.p[i], CHAR_TARGET) && s.p[i] != '#')
            return "blanks, control bytes and non-ASCII bytes are not for a URL";
    bool known =
        span_starts(s, SPAN("http://")) || span_starts(s, SPAN("https://")) || span_starts(s, SPAN("/"));
    return known ? NULL : "neither absolute nor a path";
}

static const char *put_label(struct span s, struct buf *kept)
{
    struct span number = s;
    if (span_starts(s, SPAN("routes[")) && s.p[s.len - 1] == ']')
        number = (struct span){s.p + 7, s.len - 8};
    uint64_t v;
    buf_put_span(kept, s);
    return config_is_name(s) || (number.len < s.len && units_parse_uint(number, &v)) ? NULL : "not a name";
}

/* Fields that are not a route's to touch, and why. */
static const struct {
    struct span name;
    bool of_request, of_response;
    const char *reason;
} forbidden[] = {
    {SPAN("host"), true, true, "the origin's host is origins.NAME.host"},
    {SPAN("content-length"), true, true, "the framing is the shield's"},
    {SPAN("transfer-encoding"), true, true, "the framing is the shield's"},
    {SPAN("connection"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("keep-alive"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("proxy-connection"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("te"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("trailer"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("upgrade"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("http2-settings"), true, true, "hop-by-hop: the shield writes its own"},
    {SPAN("proxy-authenticate"), true, true, "hop-by-hop: not for the next one"},
    {SPAN("proxy-authorization"), true, true, "hop-by-hop: not for the next one"},
    {SPAN("proxy-authentication-info"), true, true, "hop-by-hop: not for the next one"},
    {SPAN("via"), true, true, "every proxy on the way adds its own (RFC 9110 section 7.6.3)"},
    {SPAN("cdn-loop"), true, false, "it is what ends loops (RFC 8586)"},
    {SPAN("expect"), true, false, "the shield answers it"},
    {SPAN("range"), true, false, "ranges are answered here"},
    {SPAN("if-range"), true, false, "ranges are answered here"},
    {SPAN("if-match"), true, false, "conditions are evaluated here"},
    {SPAN("if-none-match"), true, false, "conditions are evaluated here"},
    {SPAN("if-modified-since"), true, false, "conditions are evaluated here"},
    {SPAN("if-unmodified-since"), true, false, "conditions are evaluated here"},
    {SPAN("content-range"), false, true, "ranges are answered here"},
    {SPAN("age"), false, true, "it is the shield's to say (RFC 9111 section 5.1)"},
};

/* Fields that a key cannot have, besides those. */
static const struct {
    struct span name;
    const char *reason;
} keyless[] = {
    {SPAN("authorization"), "requests that have it share nothing (RFC 9111 section 3.5), leave it out"},
    {SPAN("x-forwarded-for"), "it differs for each client, and the shield adds to it, leave it out"},
    {SPAN("shield-debug"), "it is for the shield alone, and ends here, leave it out"},
};

static const char no_field_name[] = "not a field's name (RFC 9110 section 5.1)";

static const char *put_lower_token(struct span s, struct buf *kept)
{
    for (size_t i = 0; i < s.len && buf_reserve(kept, 1); i++)
        kept->p[kept->len++] = ascii_lower(s.p[i]);
    return http_is_token(s) ? NULL : no_field_name;
}

static const char *put_field_name(const struct directive *d, struct span s, struct buf *kept)
{
    bool response = span_starts(span_of(d->name), SPAN("response."));
    bool key = span_starts(span_of(d->name), SPAN("key."));
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
        if ((response ? forbidden[i].of_response : forbidden[i].of_request) &&
            span_eq_nocase(s, forbidden[i].name))
            return forbidden[i].reason;
    for (size_t i = 0; i < ARRAY_LEN(keyless); i++)
        if (key && span_eq_nocase(s, keyless[i].name))
            return keyless[i].reason;
    if (d->type != D_FIELDS)
        return put_lower_token(s, kept);
    buf_put_span(kept, s); /* as it will leave */
    return http_is_token(s) ? NULL : no_field_name;
}

static const char *put_token(const struct directive *d, struct span s, struct buf *kept)
{
    bool is_method = span_eq(span_of(d->name), SPAN("match.method"));
    buf_put_span(kept, s);
    for (size_t i = 0; i < s.len && is_method; i++)
        if (s.p[i] >= 'a' && s.p[i] <= 'z')
            return "a method in small letters, which nobody sends: their case counts (RFC 9110 section 9.1)";
    return http_is_token(s) ? NULL : "not a token (RFC 9110 section 5.6.2)";
}

int config_keep_text(const struct directive *d, struct span text, struct buf *kept, const char **what)
{
    if (text.len > (d->type == D_CONTENT ? CONFIG_MAX_ROUTE_CONTENT : CONFIG_MAX_ROUTE_TEXT))
        return refuse(what, ERR_RANGE, d->type == D_CONTENT ? "longer than 64k" : "longer than 4k");
    const char *problem = NULL;
    switch (d->type) {
    case D_LABEL:
        problem = put_label(text, kept);
        break;
    case D_PATTERN:
    case D_PATH_PATTERNS:
        problem = put_path_pattern(text, kept);
        break;
    case D_PATH:
        problem =
            text.len == 0 || text.p[0] != '/' ? "no path: it does not begin with '/'" : path_problem(text);
        buf_put_span(kept, text);
        break;
    case D_URL:
        problem = url_problem(text);
        buf_put_span(kept, text);
        break;
    case D_VALUE:
    case D_PATTERNS:
    case D_HEADER_PATTERNS:
        problem = put_value(text, kept, d->type == D_HEADER_PATTERNS);
        break;
    case D_FIELDS:
        problem = put_value(text, kept, true);
        break;
    case D_HOST_PATTERNS:
        problem = put_host_pattern(text, kept);
        break;
    case D_TOKENS:
        problem = put_token(d, text, kept);
        break;
    case D_FIELD_NAME:
    case D_FIELD_NAMES:
        problem = put_field_name(d, text, kept);
        break;
    default:
        REQUIRE(d->type == D_CONTENT);
        problem = config_is_text(text, true) ? NULL : "control bytes, or not UTF-8";
        buf_put_span(kept, text);
        break;
    }
    if (problem != NULL)
        return refuse(what, ERR_SYNTAX, problem);
    buf_put(kept, "", 1);
    kept->len--;
    return kept->failed ? refuse(what, ERR_NOMEM, no_memory) : 0;
}

/* ---- lists and maps ---- */

/* Room for one more of `size` bytes behind the n that are there; the room is zeroed. */
static void *grow(void *items, uint32_t n, size_t size)
{
    char *grown = realloc(items, (n + 1) * size);
    if (grown != NULL)
        memset(grown + n * size, 0, size);
    return grown;
}

int config_add_text(const struct directive *d, struct config_texts *list, struct span text, const char **what)
{
    if (list->n == CONFIG_MAX_ROUTE_ITEMS)
        return refuse(what, ERR_RANGE, too_many);
    struct buf kept = {0};
    int err = config_keep_text(d, text, &kept, what);
    char **grown = err == 0 ? grow(list->items, list->n, sizeof *grown) : NULL;
    if (grown == NULL) {
        buf_fini(&kept);
        return err != 0 ? err : refuse(what, ERR_NOMEM, no_memory);
    }
    list->items = grown;
    grown[list->n++] = kept.p;
    return 0;
}

static int add_pair(struct config_pairs *list, struct span key, struct span value, const char **what)
{
    if (list->n == CONFIG_MAX_ROUTE_ITEMS)
        return refuse(what, ERR_RANGE, too_many);
    struct config_pair *grown = grow(list->items, list->n, sizeof *grown);
    if (grown == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    list->items = grown;
    grown[list->n] = (struct config_pair){strndup(key.p, key.len), strndup(value.p, value.len)};
    if (grown[list->n].name == NULL || grown[list->n].value == NULL) {
        free(grown[list->n].name);
        free(grown[list->n].value);
        return refuse(what, ERR_NOMEM, no_memory);
    }
    list->n++;
    return 0;
}

int config_add_pair(const struct directive *d, struct config_pairs *list, struct span key, struct span value,
                    bool *key_is_wrong, const char **what)
{
    struct buf name = {0}, kept = {0};
    const char *problem = d->type == D_FIELDS ? put_field_name(d, key, &name) : put_lower_token(key, &name);
    if (problem == NULL && key.len > CONFIG_MAX_ROUTE_TEXT)
        problem = "longer than 4k";
    *key_is_wrong = problem != NULL;
    int err = problem != NULL ? refuse(what, ERR_SYNTAX, problem) : config_keep_text(d, value, &kept, what);
    if (err == 0)
        err = name.failed ? refuse(what, ERR_NOMEM, no_memory)
                          : add_pair(list, buf_span(&name), kept.len > 0 ? buf_span(&kept) : SPAN(""), what);
    buf_fini(&name);
    buf_fini(&kept);
    return err;
}

/* "404", or "5xx" for all of a class. */
static bool parse_status(struct span s, struct config_status_ttl *out)
{
    if (s.len != 3 || s.p[0] < '2' || s.p[0] > '5')
        return false;
    uint64_t status;
    if (units_parse_uint(s, &status)) {
        out->first = out->last = (uint16_t)status;
        return true;
    }
    out->first = (uint16_t)((s.p[0] - '0') * 100);
    out->last = (uint16_t)(out->first + 99);
    return s.p[1] == 'x' && s.p[2] == 'x';
}

int config_add_status_ttl(struct config_route *r, struct span key, struct span value, bool *key_is_wrong,
                          const char **what)
{
    static const uint64_t longest_ms = UINT64_C(10) * 365 * 86400 * 1000;
    struct config_status_ttl row = {0};
    *key_is_wrong = true;
    if (!parse_status(key, &row))
        return refuse(what, ERR_SYNTAX, "neither a final status nor a class");
    uint32_t at = 0; /* single ones before classes */
    for (uint32_t i = 0; i < r->n_ttl_by_status; i++) {
        const struct config_status_ttl *other = &r->ttl_by_status[i];
        if (other->first == row.first && other->last == row.last)
            return refuse(what, ERR_SYNTAX, "given twice");
        at += other->first == other->last || row.first != row.last;
    }
    *key_is_wrong = false;
    if (!units_parse_duration_ms(value, &row.ttl_ms))
        return refuse(what, ERR_SYNTAX, "not a time such as 10s");
    if (row.ttl_ms > longest_ms)
        return refuse(what, ERR_RANGE, "too large");
    if (r->n_ttl_by_status == CONFIG_MAX_ROUTE_ITEMS)
        return refuse(what, ERR_RANGE, too_many);
    struct config_status_ttl *grown = grow(r->ttl_by_status, r->n_ttl_by_status, sizeof *grown);
    if (grown == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    r->ttl_by_status = grown;
    memmove(grown + at + 1, grown + at, (r->n_ttl_by_status - at) * sizeof *grown);
    grown[at] = row;
    r->n_ttl_by_status++;
    return 0;
}

int config_add_class(struct config_route *r, struct span name, const char **what)
{
    if (!config_is_name(name))
        return refuse(what, ERR_SYNTAX, "not a name");
    for (uint32_t i = 0; i < r->key.n_classes; i++)
        if (span_eq(span_of(r->key.classes[i].name), name))
            return refuse(what, ERR_SYNTAX, "given twice");
    if (r->key.n_classes == CONFIG_MAX_ROUTE_ITEMS)
        return refuse(what, ERR_RANGE, too_many);
    struct config_class *grown = grow(r->key.classes, r->key.n_classes, sizeof *grown);
    if (grown == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    r->key.classes = grown;
    grown[r->key.n_classes].name = strndup(name.p, name.len);
    if (grown[r->key.n_classes].name == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    r->key.n_classes++;
    return 0;
}

int config_set_class_header(struct config_class *c, struct span header, const char **what)
{
    struct buf name = {0};
    const char *problem = put_lower_token(header, &name);
    char *copy = problem == NULL && !name.failed ? strndup(name.p, name.len) : NULL;
    buf_fini(&name);
    if (copy == NULL)
        return refuse(what, problem != NULL ? ERR_SYNTAX : ERR_NOMEM, problem != NULL ? problem : no_memory);
    free(c->header);
    c->header = copy;
    return 0;
}

int config_add_class_pattern(struct config_class *c, struct span value, struct span pattern,
                             bool *key_is_wrong, const char **what)
{
    *key_is_wrong = !config_is_name(value);
    if (*key_is_wrong)
        return refuse(what, ERR_SYNTAX, "not a name");
    const char *problem = value_problem(pattern);
    if (problem != NULL)
        return refuse(what, ERR_SYNTAX, problem);
    if (pattern.len > CONFIG_MAX_ROUTE_TEXT)
        return refuse(what, ERR_RANGE, "longer than 4k");
    return add_pair(&c->patterns, value, pattern, what);
}

void config_clear_texts(struct config_texts *list)
{
    for (uint32_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct config_texts){0};
}

void config_clear_pairs(struct config_pairs *list)
{
    for (uint32_t i = 0; i < list->n; i++) {
        free(list->items[i].name);
        free(list->items[i].value);
    }
    free(list->items);
    *list = (struct config_pairs){0};
}

void config_clear_status_ttls(struct config_route *r)
{
    free(r->ttl_by_status);
    r->ttl_by_status = NULL;
    r->n_ttl_by_status = 0;
}

void config_clear_classes(struct config_route *r)
{
    for (uint32_t i = 0; i < r->key.n_classes; i++) {
        free(r->key.classes[i].name);
        free(r->key.classes[i].header);
        config_clear_pairs(&r->key.classes[i].patterns);
    }
    free(r->key.classes);
    r->key.classes = NULL;
    r->key.n_classes = 0;
}
