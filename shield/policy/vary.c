#include "shield/policy/vary.h"

#include "common/check.h"
#include "shield/policy/key_parts.h"
#include "shield/policy/language.h"

/* Orders names as if in lower case. */
static int compare_names(struct span a, struct span b)
{
    size_t n = MIN(a.len, b.len);
    for (size_t i = 0; i < n; i++) {
        unsigned char ca = (unsigned char)ascii_lower(a.p[i]), cb = (unsigned char)ascii_lower(b.p[i]);
        if (ca != cb)
            return ca < cb ? -1 : 1;
    }
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

struct name_set {
    struct span names[VARY_MAX_NAMES]; /* sorted, each once */
    uint32_t n;
};

static bool add_name(struct name_set *set, struct span name)
{
    uint32_t at = 0;
    while (at < set->n && compare_names(set->names[at], name) < 0)
        at++;
    if (at < set->n && compare_names(set->names[at], name) == 0)
        return true;
    if (set->n == VARY_MAX_NAMES)
        return false;
    memmove(&set->names[at + 1], &set->names[at], (set->n - at) * sizeof set->names[0]);
    set->names[at] = name;
    set->n++;
    return true;
}

static bool is_encoded(const struct http_head *response)
{
    struct http_list_it it = {0};
    struct span coding;
    while (http_list_each(response, FIELD_CONTENT_ENCODING, &it, &coding))
        if (!span_eq_nocase(coding, SPAN("identity")))
            return true;
    return false;
}

/* False where policy_varies_always. */
static bool collect(const struct http_head *response, struct name_set *set)
{
    set->n = 0;
    struct http_list_it it = {0};
    struct span name;
    while (http_list_each(response, FIELD_VARY, &it, &name))
        if (span_eq(name, SPAN("*")) || !http_is_token(name) || !add_name(set, name))
            return false;
    return !is_encoded(response) || add_name(set, SPAN("accept-encoding"));
}

bool policy_varies_always(const struct http_head *response)
{
    struct name_set set;
    return !collect(response, &set);
}

bool policy_vary_names(const struct config_route *route, const struct http_head *response, struct buf *out)
{
    struct name_set set;
    if (!collect(response, &set))
        return false;
    bool is_first = true;
    for (uint32_t i = 0; i < set.n; i++) {
        if (policy_key_settles(route, set.names[i]))
            continue;
        if (!is_first)
            buf_put_lit(out, ",");
        is_first = false;
        if (!buf_reserve(out, set.names[i].len))
            return true; /* out->failed tells */
        for (size_t k = 0; k < set.names[i].len; k++)
            out->p[out->len++] = ascii_lower(set.names[i].p[k]);
    }
    return true;
}

/* qvalue (RFC 9110 section 12.4.2): whether "q=..." among the parameters says 0. */
static bool has_q_zero(struct span parameters)
{
    while (parameters.len > 0) {
        const char *end = memchr(parameters.p, ';', parameters.len);
        struct span one = {parameters.p, end != NULL ? (size_t)(end - parameters.p) : parameters.len};
        parameters = span_from(parameters, one.len + 1);
        one = span_trim(one);
        if (one.len < 3 || ascii_lower(one.p[0]) != 'q' || one.p[1] != '=' || one.p[2] != '0')
            continue;
        size_t i = 3;
        while (i < one.len && (one.p[i] == '.' || one.p[i] == '0'))
            i++;
        return i == one.len;
    }
    return false;
}

enum acceptance { UNTOLD, REFUSED, ACCEPTED };

/* Of several words about the same coding, a refusal counts. */
static void tell(enum acceptance *a, bool is_refused)
{
    if (is_refused)
        *a = REFUSED;
    else if (*a == UNTOLD)
        *a = ACCEPTED;
}

struct span policy_accept_encoding(const struct http_head *request)
{
    enum acceptance br = UNTOLD, gzip = UNTOLD, any = UNTOLD;
    struct http_list_it it = {0};
    struct span item;
    while (http_list_each(request, FIELD_ACCEPT_ENCODING, &it, &item)) {
        const char *semicolon = memchr(item.p, ';', item.len);
        size_t n = semicolon != NULL ? (size_t)(semicolon - item.p) : item.len;
        struct span coding = span_trim((struct span){item.p, n});
        bool is_refused = has_q_zero(span_from(item, n + 1));
        if (span_eq_nocase(coding, SPAN("br")))
            tell(&br, is_refused);
        else if (span_eq_nocase(coding, SPAN("gzip")) || span_eq_nocase(coding, SPAN("x-gzip")))
            tell(&gzip, is_refused);
        else if (span_eq(coding, SPAN("*")))
            tell(&any, is_refused);
    }
    bool wants_br = (br == UNTOLD ? any : br) == ACCEPTED;
    bool wants_gzip = (gzip == UNTOLD ? any : gzip) == ACCEPTED;
    if (wants_br)
        return wants_gzip ? SPAN("br, gzip") : SPAN("br");
    return wants_gzip ? SPAN("gzip") : SPAN("identity");
}

/* Fields whose values are lists of case-insensitive members, or at least lists: there white space around
 * commas, and in the former case too, means nothing (RFC 9111 section 4.1). */
enum likeness { LIKE_BYTES, LIKE_LIST, LIKE_LIST_NOCASE };

static enum likeness likeness_of(struct span name)
{
    static const struct {
        struct span name;
        enum likeness likeness;
    } known[] = {
#define NAME(text) {text, sizeof(text) - 1}
        {NAME("accept"), LIKE_LIST},
        {NAME("accept-charset"), LIKE_LIST_NOCASE},
        {NAME("accept-encoding"), LIKE_LIST_NOCASE},
        {NAME("accept-language"), LIKE_LIST_NOCASE},
        {NAME("prefer"), LIKE_LIST},
#undef NAME
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (span_eq(known[i].name, name))
            return known[i].likeness;
    return LIKE_BYTES;
}

static void put_list(struct span line, enum likeness likeness, bool *is_first, struct buf *out)
{
    struct span item;
    while (http_list_next(&line, &item)) {
        if (!*is_first)
            buf_put_lit(out, ",");
        *is_first = false;
        size_t at = out->len;
        buf_put_span(out, item);
        if (likeness == LIKE_LIST_NOCASE)
            for (; at < out->len; at++)
                out->p[at] = ascii_lower(out->p[at]);
    }
}

/* All lines called `name`, combined (RFC 9110 section 5.3). False when there is none. What is not forwarded
 * selects nothing: the origin has answered as if it were absent (RFC 9110 section 7.6.1). */
static bool put_combined(const struct http_head *request, struct span name, struct buf *out)
{
    enum http_field_id id = http_field_id(name);
    enum likeness likeness = likeness_of(name);
    bool is_first = true, is_present = false;
    for (uint32_t i = 0; i < request->n_fields; i++) {
        const struct http_field *f = &request->fields[i];
        if (f->id != id || (id == FIELD_OTHER && !span_eq_nocase(f->name, name)))
            continue;
        if (http_is_hop_by_hop(request, f))
            continue;
        if (likeness != LIKE_BYTES) {
            put_list(f->value, likeness, &is_first, out);
        } else {
            if (is_present)
                buf_put_lit(out, ", ");
            buf_put_span(out, f->value);
        }
        is_present = true;
    }
    return is_present;
}

/* The value by which a variant is chosen, as it goes upstream. False when there is none. */
static bool put_selecting_value(const struct config *cfg, struct span name, const struct http_head *request,
                                struct buf *out)
{
    if (cfg->cache.normalise_encoding && span_eq(name, SPAN("accept-encoding"))) {
        buf_put_span(out, policy_accept_encoding(request));
        return true;
    }
    bool is_language = cfg->cache.normalise_language && span_eq(name, SPAN("accept-language"));
    return (is_language && policy_put_languages(request, out)) || put_combined(request, name, out);
}

/* One field of a variant key: four bytes of length, or of ones when absent, then the value. */
static void put_field_key(const struct config *cfg, struct span name, const struct http_head *request,
                          struct buf *out)
{
    size_t at = out->len;
    uint32_t length = UINT32_MAX;
    buf_put(out, &length, sizeof length);
    if (!put_selecting_value(cfg, name, request, out))
        return;
    if (out->failed)
        return;
    length = (uint32_t)(out->len - at - sizeof length);
    memcpy(out->p + at, &length, sizeof length);
}

static struct span take_name(struct span *names)
{
    const char *comma = memchr(names->p, ',', names->len);
    struct span name = {names->p, comma != NULL ? (size_t)(comma - names->p) : names->len};
    *names = span_from(*names, name.len + 1);
    return name;
}

void policy_vary_key(const struct config *cfg, struct span names, const struct http_head *request,
                     struct buf *out)
{
    while (names.len > 0)
        put_field_key(cfg, take_name(&names), request, out);
}

bool policy_vary_next(struct span *names, struct span *variant, struct span *name, struct span *value)
{
    uint32_t length;
    if (names->len == 0 || variant->len < sizeof length)
        return false;
    *name = take_name(names);
    memcpy(&length, variant->p, sizeof length);
    *variant = span_from(*variant, sizeof length);
    *value = (struct span){NULL, 0};
    if (length == UINT32_MAX)
        return true;
    if (length > variant->len)
        return false;
    *value = (struct span){variant->p, length};
    *variant = span_from(*variant, length);
    return true;
}
