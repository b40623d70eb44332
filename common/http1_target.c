#include "common/http1.h"

#include <arpa/inet.h>

#include "common/check.h"
#include "common/http_chars.h"

enum { PORT_MAX = 65535 };

/* port = *DIGIT, and no number that no port can have. -1 for an empty one. */
static bool read_port(struct span s, int *port)
{
    *port = s.len == 0 ? -1 : 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!http_char_is(s.p[i], CHAR_DIGIT))
            return false;
        *port = *port * 10 + (s.p[i] - '0');
        if (*port > PORT_MAX)
            return false;
    }
    return true;
}

/* IPvFuture = "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ) */
static bool is_ip_future(struct span s)
{
    size_t i = 1;
    if (s.len == 0 || (s.p[0] != 'v' && s.p[0] != 'V'))
        return false;
    while (i < s.len && http_char_is(s.p[i], CHAR_HEX))
        i++;
    if (i == 1 || i == s.len || s.p[i] != '.')
        return false;
    size_t first = ++i;
    while (i < s.len && (http_char_is(s.p[i], CHAR_REGNAME) || s.p[i] == ':'))
        i++;
    return i == s.len && i > first;
}

static bool is_ip_literal(struct span inside)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (is_ip_future(inside))
        return true;
    if (inside.len == 0 || inside.len >= sizeof text || memchr(inside.p, '\0', inside.len) != NULL)
        return false;
    memcpy(text, inside.p, inside.len);
    text[inside.len] = '\0';
    return inet_pton(AF_INET6, text, &ignored) == 1;
}

/* reg-name, not empty; an IPv4 address is one by its characters. A comma would be allowed: but no name has
 * one, and two Hosts that somebody has joined to one line do. */
static bool is_reg_name(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (http_char_is(s.p[i], CHAR_REGNAME) && s.p[i] != ',')
            continue;
        if (s.p[i] != '%' || s.len - i < 3 || !http_char_is(s.p[i + 1], CHAR_HEX) ||
            !http_char_is(s.p[i + 2], CHAR_HEX))
            return false;
        i += 2;
    }
    return s.len > 0;
}

/* host[:port]; *port is -1 when there is none or an empty one. */
static bool read_authority(struct span s, int *port)
{
    const char *host_end;
    *port = -1;
    if (s.len > 0 && s.p[0] == '[') {
        host_end = memchr(s.p, ']', s.len);
        if (host_end == NULL || !is_ip_literal((struct span){s.p + 1, (size_t)(host_end - s.p) - 1}))
            return false;
        host_end++;
    } else {
        host_end = s.len > 0 ? memchr(s.p, ':', s.len) : NULL;
        host_end = host_end != NULL ? host_end : s.p + s.len;
        if (!is_reg_name((struct span){s.p, (size_t)(host_end - s.p)}))
            return false;
    }
    struct span rest = span_from(s, (size_t)(host_end - s.p));
    if (rest.len == 0)
        return true;
    return rest.p[0] == ':' && read_port(span_from(rest, 1), port);
}

bool http1_valid_host(struct span host)
{
    int port;
    return read_authority(host, &port);
}

/* Takes "http://authority" off an absolute-form target. Other schemes are for proxies that a client chose. */
static bool split_absolute(struct span target, struct span *authority, struct span *rest)
{
    static const struct span schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = schemes[i].len;
        if (target.len < n || !span_eq_nocase((struct span){target.p, n}, schemes[i]))
            continue;
        size_t end = n;
        while (end < target.len && target.p[end] != '/' && target.p[end] != '?')
            end++;
        *authority = (struct span){target.p + n, end - n};
        *rest = span_from(target, end);
        return true;
    }
    return false;
}

bool http1_valid_target(enum http_method method, struct span target)
{
    struct span authority, rest;
    int port;
    if (method == METHOD_CONNECT) /* RFC 9110 section 9.3.6: an empty or invalid port must be refused */
        return read_authority(target, &port) && port > 0;
    if (target.len > 0 && target.p[0] == '/')
        return true;
    if (span_eq(target, SPAN("*")))
        return method == METHOD_OPTIONS;
    return split_absolute(target, &authority, &rest) && read_authority(authority, &port);
}

void http1_target(const struct http_head *head, struct http1_target *out)
{
    struct span rest;
    if (head->method == METHOD_CONNECT) {
        *out = (struct http1_target){head->target, SPAN("")};
        return;
    }
    if (split_absolute(head->target, &out->host, &rest)) {
        struct span none = head->method == METHOD_OPTIONS ? SPAN("*") : SPAN("/");
        out->path_query = rest.len > 0 ? rest : none;
        return;
    }
    out->host = http_has(head, FIELD_HOST) ? http_value(head, FIELD_HOST) : SPAN("");
    out->path_query = head->target;
}
