#include "shield/purge/purge_method.h"

#include "common/check.h"

/* ---- tags ---- */

static const struct tag_field {
    const char *name, *parts; /* the bytes between its tags */
    bool is_soft;
} tag_fields[] = {
    {"Surrogate-Key", " \t", false}, {"xkey", " \t", false},    {"xkey-purge", " \t", false},
    {"xkey-softpurge", " \t", true}, {"Cache-Tag", ",", false}, {"Cache-Tags", " \t,|", false},
};

static const struct tag_field *find_tag_field(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(tag_fields); i++)
        if (span_eq_nocase(name, span_of(tag_fields[i].name)))
            return &tag_fields[i];
    return NULL;
}

static bool add_tags(struct purge_draft *d, const struct tag_field *field, struct span value)
{
    while (value.len > 0) {
        size_t n = 0;
        while (n < value.len && strchr(field->parts, value.p[n]) == NULL)
            n++;
        struct span tag = span_trim((struct span){value.p, n});
        value = span_from(value, n + 1);
        if (tag.len > 0 && !purge_draft_add(d, PURGE_TAG, tag, field->name, -1))
            return false;
    }
    return true;
}

/* *found: there are some, or there should be. */
static bool read_tags(const struct http_head *head, struct purge_draft *d, bool *found)
{
    for (uint32_t i = 0; i < head->n_fields; i++) {
        const struct tag_field *field = find_tag_field(head->fields[i].name);
        if (field == NULL)
            continue;
        *found = true;
        d->is_soft |= field->is_soft;
        if (!add_tags(d, field, head->fields[i].value))
            return false;
    }
    return true;
}

/* ---- the path ---- */

static bool says(const struct http_head *head, const char *name, const char *value)
{
    const struct http_field *f = http_find_name(head, span_of(name));
    return f != NULL && span_eq_nocase(f->value, span_of(value));
}

static bool has_any(struct span s, const char *bytes)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr(bytes, s.p[i]) != NULL)
            return true;
    return false;
}

/* How many bytes of the path say "and all that begins so"; 0: none. */
static bool find_wildcard(const struct http_head *head, struct span path, size_t *bytes,
                          struct purge_draft *d)
{
    bool ends_in_star = path.len > 1 && path.p[path.len - 1] == '*';
    *bytes = ends_in_star ? 1 : 0;
    if (!says(head, "X-Purge-Method", "regex"))
        return true;
    *bytes = 2;
    if (ends_in_star && path.p[path.len - 2] == '.' &&
        !has_any((struct span){path.p, path.len - 2}, "*+?()[]{}|^$\\"))
        return true;
    return purge_draft_fault(d, "of regular expressions only a plain path with .* behind it is known");
}

static bool read_path(const struct http_head *head, const struct http1_target *target, struct purge_draft *d)
{
    size_t wildcard;
    struct buf url = {0};
    if (!find_wildcard(head, target->path_query, &wildcard, d))
        return false;
    if (wildcard == 0 && head->method == METHOD_BAN)
        return purge_draft_fault(d, "BAN wants tags, in Surrogate-Key or Cache-Tags, or a path with a star "
                                    "behind it; expressions are not known");
    buf_put_lit(&url, "http://");
    buf_put_span(&url, target->host);
    buf_put(&url, target->path_query.p, target->path_query.len - wildcard);
    bool ok = !url.failed &&
              purge_draft_add(d, wildcard > 0 ? PURGE_PREFIX : PURGE_URL, buf_span(&url), "target", -1);
    if (url.failed)
        purge_draft_nomem(d);
    buf_fini(&url);
    return ok;
}

bool purge_method_read(const struct http_head *head, const struct http1_target *target, struct purge_draft *d)
{
    bool has_tags = false;
    d->is_soft = head->method == METHOD_SOFTPURGE || says(head, "Soft-Purge", "1") ||
                 says(head, "Fastly-Soft-Purge", "1");
    if (http_find_name(head, SPAN("X-Magento-Tags-Pattern")) != NULL)
        return purge_draft_fault(d,
                                 "X-Magento-Tags-Pattern is an expression, and these are not known; name the "
                                 "tags in Surrogate-Key or Cache-Tags");
    if (!read_tags(head, d, &has_tags) || !purge_draft_refer_by(d, head))
        return false;
    return has_tags || read_path(head, target, d);
}
