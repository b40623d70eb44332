#include "shield/policy/reference.h"

#include "shield/policy/route.h"

static size_t find_any(struct span s, const char *chars)
{
    size_t i = 0;
    while (i < s.len && strchr(chars, s.p[i]) == NULL)
        i++;
    return i;
}

/* RFC 3986 section 5.2.4: "." and ".." segments of an absolute path, its query left alone. */
static void put_without_dots(struct buf *out, struct span path_query)
{
    size_t start = out->len, path_bytes = find_any(path_query, "?");
    struct span path = {path_query.p, path_bytes};
    while (path.len > 0) {
        size_t n = 1 + find_any(span_from(path, 1), "/"); /* a segment with the slash before it */
        struct span segment = {path.p, n};
        bool last = n == path.len;
        if (span_eq(segment, SPAN("/.")) || span_eq(segment, SPAN("/.."))) {
            if (segment.len == 3)
                while (out->len > start && out->p[--out->len] != '/')
                    ;
            if (last)
                buf_put_lit(out, "/");
        } else {
            buf_put_span(out, segment);
        }
        path = span_from(path, n);
    }
    buf_put_span(out, span_from(path_query, path_bytes));
}

/* RFC 3986 section 5.2.3: a relative path takes the place of the base's last segment. */
static void put_merged(struct buf *out, struct span base, struct span relative)
{
    struct span path = {base.p, find_any(base, "?")};
    if (relative.len == 0 ||
        relative.p[0] == '?') { /* the same path; its query only when there is no other */
        buf_put_span(out, relative.len == 0 ? base : path);
    } else {
        while (path.len > 0 && path.p[path.len - 1] != '/')
            path.len--;
        buf_put_span(out, path);
    }
    buf_put_span(out, relative);
}

/* Takes "scheme://authority" or "//authority" off the reference; false for a scheme that is not http. */
static bool take_authority(struct span *reference, struct span *host)
{
    struct span scheme = {reference->p, find_any(*reference, ":/?#")};
    if (scheme.len < reference->len && reference->p[scheme.len] == ':') {
        if (!span_eq_nocase(scheme, SPAN("http")) && !span_eq_nocase(scheme, SPAN("https")))
            return false;
        *reference = span_from(*reference, scheme.len + 1);
        if (!span_starts(*reference, SPAN("//")))
            return false;
    }
    if (span_starts(*reference, SPAN("//"))) {
        struct span rest = span_from(*reference, 2);
        *host = (struct span){rest.p, find_any(rest, "/?#")};
        *reference = span_from(rest, host->len);
        return http1_valid_host(*host);
    }
    return true;
}

static struct span host_part(const struct buf *key, size_t from)
{
    struct span s = span_from(buf_span(key), from);
    s = span_from(s, find_any(s, "\n") + 1);
    return (struct span){s.p, find_any(s, "\n")};
}

bool policy_reference_key(struct buf *out, const struct key_request *base, struct span reference)
{
    struct buf merged = {0}, path = {0}, own = {0};
    struct key_request r = *base;
    struct span *host = &r.target.host;
    size_t before = out->len;
    reference.len = find_any(reference, "#");
    bool good = take_authority(&reference, host);
    if (good) {
        bool absolute = host->p != base->target.host.p || (reference.len > 0 && reference.p[0] == '/');
        if (absolute && (reference.len == 0 || reference.p[0] == '?'))
            buf_put_lit(&merged, "/");
        if (absolute)
            buf_put_span(&merged, reference);
        else
            put_merged(&merged, base->target.path_query, reference);
        put_without_dots(&path, buf_span(&merged));
        r.target.path_query = buf_span(&path);
        r.route = policy_route(r.config, r.head, &r.target);
        (void)policy_key(out, &r);
        (void)policy_key(&own, base);
        good = !merged.failed && !path.failed && !own.failed && !out->failed &&
               span_eq(host_part(out, before), host_part(&own, 0));
    }
    if (!good)
        out->len = before;
    buf_fini(&merged);
    buf_fini(&path);
    buf_fini(&own);
    return good;
}
