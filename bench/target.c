#include "bench/target.h"

#include <stdio.h>

#include "bench/sock.h"

static size_t find(struct span s, struct span what)
{
    const char *at = s.len > 0 ? memmem(s.p, s.len, what.p, what.len) : NULL;
    return at != NULL ? (size_t)(at - s.p) : s.len;
}

const char *target_parse(struct span url, struct target *out)
{
    *out = (struct target){0};
    if (span_starts(url, SPAN("https://")))
        return "https is not built yet";
    if (span_starts(url, SPAN("http://")))
        url = span_from(url, 7);
    else if (find(url, SPAN("://")) < url.len)
        return "is no URL such as http://127.0.0.1:8080/a";
    size_t slash = find(url, SPAN("/"));
    out->host = (struct span){url.p, slash};
    if (slash == 0)
        return "names no host";
    struct span path = span_from(url, slash);
    if (path.len == 0)
        path = SPAN("/");
    for (size_t i = 0; i < path.len; i++)
        if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 0x7F || path.p[i] == '#')
            return "has a byte in its path that must be percent-encoded";

    size_t n = find(path, SPAN("{n}"));
    out->has_n = n < path.len;
    out->before = (struct span){path.p, n};
    out->after = out->has_n ? span_from(path, n + 3) : (struct span){0};
    return find(out->after, SPAN("{n}")) < out->after.len ? "has {n} more than once" : NULL;
}

const char *target_resolve(const struct target *t, struct span unix_path, struct netaddr *out)
{
    if (unix_path.len == 0)
        return sock_resolve(t->host, out);
    struct buf address = {0};
    buf_put_lit(&address, "unix:");
    buf_put_span(&address, unix_path);
    const char *why = address.failed ? "no memory" : netaddr_parse(buf_span(&address), out);
    buf_fini(&address);
    return why;
}

void target_put_path(const struct target *t, uint64_t n, struct buf *out)
{
    if (t->paths != NULL) {
        buf_put_span(out, t->paths[n]);
        return;
    }
    buf_put_span(out, t->before);
    if (t->has_n)
        buf_put_uint(out, n);
    buf_put_span(out, t->after);
}

static bool names_host(struct span field)
{
    return field.len > 5 && span_eq_nocase((struct span){field.p, 5}, SPAN("host:"));
}

void target_put_request(const struct target *t, const char *method, uint64_t n,
                        const struct flag_list *fields, struct span more, struct buf *out)
{
    struct span host = t->host;
    for (uint32_t i = 0; i < fields->n; i++)
        if (names_host(fields->item[i]))
            host = span_trim(span_from(fields->item[i], 5));
    buf_put_span(out, span_of(method));
    buf_put_lit(out, " ");
    target_put_path(t, n, out);
    buf_put_lit(out, " HTTP/1.1\r\nHost: ");
    buf_put_span(out, host);
    buf_put_lit(out, "\r\n");
    for (uint32_t i = 0; i < fields->n; i++) {
        if (names_host(fields->item[i]))
            continue;
        buf_put_span(out, fields->item[i]);
        buf_put_lit(out, "\r\n");
    }
    buf_put_span(out, more);
    buf_put_lit(out, "\r\n");
}
