#include "shield/policy/withheld.h"

#include "common/sf.h"

/* Set-Cookie has a rule of its own (cache.set_cookie), which names in directives do not change. */
static bool may_be_withheld(struct span name)
{
    enum http_field_id id = http_field_id(name);
    return http_is_token(name) && (id == FIELD_OTHER || id == FIELD_SERVER || id == FIELD_SET_COOKIE);
}

/* "a, b" of one directive. */
static bool add_names(struct withheld *w, struct span list)
{
    struct span name;
    while (http_list_next(&list, &name)) {
        if (w->n == WITHHELD_MAX || !may_be_withheld(name))
            return false;
        w->names[w->n++] = name;
    }
    return true;
}

static bool takes_names(struct span directive)
{
    return span_eq_nocase(directive, SPAN("no-cache")) || span_eq_nocase(directive, SPAN("private"));
}

static bool read_dictionary(const struct http_head *response, enum http_field_id id, struct withheld *out)
{
    struct span name = http_field_name(id);
    struct sf_it it = {0};
    struct sf_member m;
    while (sf_next(response, name, SF_DICTIONARY, &it, &m))
        if (takes_names(m.key) && m.value.type == SF_STRING && !add_names(out, m.value.text))
            return false;
    return true;
}

static bool read_lines(const struct http_head *response, enum http_field_id id, struct withheld *out)
{
    for (uint32_t i = 0; i < response->n_fields; i++) {
        struct span rest = response->fields[i].value;
        struct cc_directive d;
        while (response->fields[i].id == id && cache_control_next(&rest, &d))
            if (takes_names(d.name) && !add_names(out, d.argument))
                return false;
    }
    return true;
}

bool withheld_read(const struct http_head *response, struct withheld *out)
{
    struct cache_control cc;
    enum http_field_id by = cache_control_govern(response, &cc);
    bool is_dictionary = by == FIELD_SHIELD_CACHE_CONTROL || by == FIELD_CDN_CACHE_CONTROL;
    out->n = 0;
    if (!(cc.flags & (CC_NO_CACHE_FIELDS | CC_PRIVATE_FIELDS)))
        return true;
    bool good = is_dictionary ? read_dictionary(response, by, out) : read_lines(response, by, out);
    if (!good || (cc.flags & CC_MALFORMED))
        out->n = 0;
    return good && !(cc.flags & CC_MALFORMED);
}

bool withheld_has(const struct withheld *w, const struct http_field *f)
{
    for (unsigned i = 0; i < w->n; i++)
        if (span_eq_nocase(w->names[i], f->name))
            return true;
    return false;
}

void withheld_put(struct buf *out, const struct http_head *response)
{
    struct withheld w;
    withheld_read(response, &w);
    for (uint32_t i = 0; w.n > 0 && i < response->n_fields; i++) {
        const struct http_field *f = &response->fields[i];
        if (withheld_has(&w, f) && !http_is_hop_by_hop(response, f))
            http_put_field(out, f->name, f->value);
    }
}
