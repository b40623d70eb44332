#include "shield/policy/cache_control.h"

#include <stddef.h>

#include "common/check.h"
#include "common/sf.h"

enum form {
    FORM_FLAG,    /* restricts: counts with any argument */
    FORM_PERMIT,  /* permits: counts only without one */
    FORM_FIELDS,  /* restricts; an argument lists field names */
    FORM_SECONDS, /* delta-seconds; the smaller of several wins, an invalid one is 0 */
    FORM_AT_LEAST /* delta-seconds; the greater wins, an invalid one is the greatest */
};

static const struct known {
    struct span name;
    enum form form;
    uint32_t flag, fields_flag;
    size_t seconds;
    int64_t when_bare; /* the seconds without an argument */
} known[] = {
#define NAME(text)             \
    {                          \
        text, sizeof(text) - 1 \
    }
#define SECONDS(m) .seconds = offsetof(struct cache_control, m)
    {NAME("max-age"), FORM_SECONDS, SECONDS(max_age_s)},
    {NAME("s-maxage"), FORM_SECONDS, SECONDS(s_maxage_s)},
    {NAME("no-store"), FORM_FLAG, .flag = CC_NO_STORE},
    {NAME("no-cache"), FORM_FIELDS, .flag = CC_NO_CACHE, .fields_flag = CC_NO_CACHE_FIELDS},
    {NAME("private"), FORM_FIELDS, .flag = CC_PRIVATE, .fields_flag = CC_PRIVATE_FIELDS},
    {NAME("public"), FORM_PERMIT, .flag = CC_PUBLIC},
    {NAME("must-revalidate"), FORM_FLAG, .flag = CC_MUST_REVALIDATE},
    {NAME("proxy-revalidate"), FORM_FLAG, .flag = CC_PROXY_REVALIDATE},
    {NAME("must-understand"), FORM_FLAG, .flag = CC_MUST_UNDERSTAND},
    {NAME("stale-while-revalidate"), FORM_SECONDS, SECONDS(stale_while_revalidate_s)},
    {NAME("stale-if-error"), FORM_SECONDS, SECONDS(stale_if_error_s)},
    {NAME("min-fresh"), FORM_AT_LEAST, SECONDS(min_fresh_s), .when_bare = CC_DELTA_MAX},
    {NAME("max-stale"), FORM_SECONDS, SECONDS(max_stale_s), .when_bare = CC_DELTA_MAX},
    {NAME("only-if-cached"), FORM_FLAG, .flag = CC_ONLY_IF_CACHED},
#undef SECONDS
#undef NAME
};

bool delta_seconds_parse(struct span text, int64_t *out)
{
    if (text.len == 0)
        return false;
    int64_t v = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        v = MIN(v * 10 + (text.p[i] - '0'), CC_DELTA_MAX);
    }
    *out = v;
    return true;
}

/* The closing quote of the string that opens at s.p[at], or s.len. */
static size_t quote_end(struct span s, size_t at)
{
    for (size_t i = at + 1; i < s.len; i++) {
        if (s.p[i] == '"')
            return i;
        if (s.p[i] == '\\')
            i++;
    }
    return s.len;
}

/* Where the element that starts at s.p[0] ends: at a comma outside of quoted strings, or at the end. A quote
 * that nothing closes is a byte like others, so that it cannot hide the directives behind it. */
static size_t element_end(struct span s, bool *is_open)
{
    *is_open = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == ',')
            return i;
        if (s.p[i] != '"')
            continue;
        size_t end = quote_end(s, i);
        if (end < s.len)
            i = end;
        else
            *is_open = true;
    }
    return s.len;
}

static void read_argument(struct span text, struct cc_directive *out)
{
    out->has_argument = true;
    out->argument = text;
    if (text.len == 0 || text.p[0] != '"')
        return;
    size_t end = quote_end(text, 0);
    if (end != text.len - 1) {
        out->is_malformed = true;
        return;
    }
    out->is_quoted = true;
    out->argument = (struct span){text.p + 1, end - 1};
}

bool cache_control_next(struct span *rest, struct cc_directive *out)
{
    struct span item = {0};
    *out = (struct cc_directive){0};
    while (item.len == 0) {
        if (rest->len == 0)
            return false;
        size_t n = element_end(*rest, &out->is_open);
        out->is_malformed = out->is_open;
        item = span_trim((struct span){rest->p, n});
        *rest = span_from(*rest, n + 1);
    }

    const char *equals = memchr(item.p, '=', item.len);
    if (equals == NULL) {
        out->name = item;
        return true;
    }
    struct span name = {item.p, (size_t)(equals - item.p)};
    struct span argument = {equals + 1, item.len - name.len - 1};
    out->name = span_trim(name);
    if (out->name.len != name.len || span_trim(argument).len != argument.len)
        out->is_malformed = true;
    read_argument(span_trim(argument), out);
    return true;
}

static int64_t *seconds_of(struct cache_control *cc, const struct known *k)
{
    return (int64_t *)((char *)cc + k->seconds);
}

static bool has_seconds(const struct known *k)
{
    return k->form == FORM_SECONDS || k->form == FORM_AT_LEAST;
}

static void apply_seconds(const struct known *k, const struct cc_directive *d, int64_t *slot)
{
    int64_t v = k->when_bare;
    if (d->has_argument && (d->is_malformed || !delta_seconds_parse(d->argument, &v)))
        v = k->form == FORM_AT_LEAST ? CC_DELTA_MAX : 0;
    if (*slot == CC_ABSENT)
        *slot = v;
    else
        *slot = k->form == FORM_AT_LEAST ? MAX(*slot, v) : MIN(*slot, v);
}

static void apply(const struct known *k, const struct cc_directive *d, struct cache_control *out)
{
    switch (k->form) {
    case FORM_FLAG:
        out->flags |= k->flag;
        break;
    case FORM_PERMIT:
        if (!d->has_argument)
            out->flags |= k->flag;
        break;
    case FORM_FIELDS: /* an empty or broken list of names restricts no single field: it means them all */
        out->flags |= span_trim(d->argument).len > 0 && !d->is_malformed ? k->fields_flag : k->flag;
        break;
    case FORM_SECONDS:
    case FORM_AT_LEAST:
        apply_seconds(k, d, seconds_of(out, k));
        break;
    }
}

static const struct known *find_known(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (span_eq_nocase(name, known[i].name))
            return &known[i];
    return NULL;
}

static void start(struct cache_control *out)
{
    *out = (struct cache_control){.max_age_s = CC_ABSENT,
                                  .s_maxage_s = CC_ABSENT,
                                  .stale_while_revalidate_s = CC_ABSENT,
                                  .stale_if_error_s = CC_ABSENT,
                                  .min_fresh_s = CC_ABSENT,
                                  .max_stale_s = CC_ABSENT};
}

static void read_line(struct span value, struct cache_control *out)
{
    struct cc_directive d;
    while (cache_control_next(&value, &d)) {
        const struct known *k = find_known(d.name);
        if (d.is_open)
            out->flags |= CC_MALFORMED;
        if (k != NULL)
            apply(k, &d, out);
    }
}

void cache_control_read(const struct http_head *head, struct cache_control *out)
{
    start(out);
    if (!http_has(head, FIELD_CACHE_CONTROL))
        return;
    for (uint32_t i = 0; i < head->n_fields; i++)
        if (head->fields[i].id == FIELD_CACHE_CONTROL)
            read_line(head->fields[i].value, out);
}

/* ---- targeted fields ---- */

/* A value of another type than the directive's is not taken for what it resembles (RFC 9213 section 2.1): a
 * lifetime is then 0, a restriction holds unless it says false, a permission does not. */
static void apply_member(const struct known *k, const struct sf_item *v, struct cache_control *out)
{
    bool is_true = v->type == SF_BOOLEAN && v->number == 1;
    bool is_false = v->type == SF_BOOLEAN && v->number == 0;
    bool has_names = v->type == SF_STRING && span_trim(v->text).len > 0;
    out->flags &= ~(k->flag | k->fields_flag); /* of several the last counts: RFC 9651 section 4.2.2 */
    if (has_seconds(k))
        *seconds_of(out, k) = v->type == SF_INTEGER && v->number >= 0 ? MIN(v->number, CC_DELTA_MAX) : 0;
    else if (k->form == FORM_FIELDS && has_names)
        out->flags |= k->fields_flag;
    else if (k->form == FORM_PERMIT ? is_true : !is_false)
        out->flags |= k->flag;
}

static bool read_targeted(const struct http_head *response, enum http_field_id id, struct cache_control *out)
{
    struct span name = http_field_name(id);
    struct sf_it it = {0};
    struct sf_member m;
    if (!http_has(response, id) || sf_count(response, name, SF_DICTIONARY) <= 0)
        return false;
    start(out);
    while (sf_next(response, name, SF_DICTIONARY, &it, &m)) {
        const struct known *k = find_known(m.key);
        if (k != NULL)
            apply_member(k, &m.value, out);
    }
    return true;
}

/* "60+30" of Surrogate-Control's max-age: fresh for the first, and then usable though stale for the second.
 */
static void apply_extended(struct cc_directive *d, struct cache_control *out)
{
    const char *plus = d->argument.len > 0 ? memchr(d->argument.p, '+', d->argument.len) : NULL;
    int64_t stale_s;
    if (plus == NULL)
        return;
    size_t n = (size_t)(plus - d->argument.p);
    if (delta_seconds_parse(span_from(d->argument, n + 1), &stale_s)) {
        out->stale_while_revalidate_s = out->stale_if_error_s = stale_s;
        d->argument.len = n;
    }
}

static bool has_semicolon(struct span s)
{
    return s.len > 0 && memchr(s.p, ';', s.len) != NULL;
}

static bool read_surrogate(const struct http_head *response, struct cache_control *out)
{
    bool found = false;
    start(out);
    for (uint32_t i = 0; i < response->n_fields; i++) {
        struct span rest = response->fields[i].value;
        struct cc_directive d;
        while (response->fields[i].id == FIELD_SURROGATE_CONTROL && cache_control_next(&rest, &d)) {
            const struct known *k = find_known(d.name);
            if (d.is_open)
                out->flags |= CC_MALFORMED;
            if (k == NULL || has_semicolon(d.argument)) /* ";token": for the device of that name */
                continue;
            if (k->seconds == offsetof(struct cache_control, max_age_s))
                apply_extended(&d, out);
            apply(k, &d, out);
            found = true;
        }
    }
    return found;
}

enum http_field_id cache_control_govern(const struct http_head *response, struct cache_control *out)
{
    static const enum http_field_id targeted[] = {FIELD_SHIELD_CACHE_CONTROL, FIELD_CDN_CACHE_CONTROL};
    for (size_t i = 0; i < ARRAY_LEN(targeted); i++)
        if (read_targeted(response, targeted[i], out))
            return targeted[i];
    if (http_has(response, FIELD_SURROGATE_CONTROL) && read_surrogate(response, out))
        return FIELD_SURROGATE_CONTROL;
    cache_control_read(response, out);
    return FIELD_CACHE_CONTROL;
}
