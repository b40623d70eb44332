#include "common/netaddr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "common/check.h"
#include "common/units.h"

static const unsigned char v4_mapped[12] = {[10] = 0xff, [11] = 0xff};
static const struct span unix_scheme = {"unix:", 5};

static bool parse_port(struct span s, uint16_t *out)
{
    uint64_t port;
    if (s.len > 5 || !units_parse_uint(s, &port) || port > 65535)
        return false;
    *out = (uint16_t)port;
    return true;
}

/* inet_pton for a span: `text` has room for every numeric address. */
static bool parse_ip(int family, struct span s, void *out)
{
    char text[INET6_ADDRSTRLEN];
    if (s.len == 0 || s.len >= sizeof text || memchr(s.p, '\0', s.len) != NULL)
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, out) == 1;
}

static const char *parse_unix(struct span path, struct netaddr *out)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)&out->ss;
    if (path.len == 0)
        return "unix: without a path";
    if (path.len >= sizeof sun->sun_path)
        return "the path of the Unix socket is longer than 107 bytes";
    if (memchr(path.p, '\0', path.len) != NULL)
        return "the path of the Unix socket has a NUL byte";
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path.p, path.len);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return NULL;
}

static const char *parse_inet6(struct span text, struct netaddr *out)
{
    const char *close = memchr(text.p, ']', text.len);
    if (close == NULL)
        return "a [ without its ]";
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&out->ss;
    if (!parse_ip(AF_INET6, (struct span){text.p + 1, (size_t)(close - text.p) - 1}, &sin6->sin6_addr))
        return "not a numeric IPv6 address between the brackets";
    struct span rest = span_from(text, (size_t)(close - text.p) + 1);
    uint16_t port;
    if (rest.len == 0 || rest.p[0] != ':')
        return "no port behind the address";
    if (!parse_port(span_from(rest, 1), &port))
        return "the port is not a number from 0 to 65535";
    sin6->sin6_family = AF_INET6;
    sin6->sin6_port = htons(port);
    out->len = sizeof *sin6;
    return NULL;
}

static const char *parse_inet4(struct span text, struct netaddr *out)
{
    const char *colon = memchr(text.p, ':', text.len);
    if (colon == NULL)
        return "no port behind the address";
    struct sockaddr_in *sin = (struct sockaddr_in *)&out->ss;
    struct span host = {text.p, (size_t)(colon - text.p)};
    struct span rest = span_from(text, host.len + 1);
    if (memchr(rest.p, ':', rest.len) != NULL)
        return "an IPv6 address is written in brackets";
    if (host.len > 0 && !parse_ip(AF_INET, host, &sin->sin_addr))
        return "not a numeric IPv4 address";
    uint16_t port;
    if (!parse_port(rest, &port))
        return "the port is not a number from 0 to 65535";
    sin->sin_family = AF_INET;
    sin->sin_port = htons(port);
    out->len = sizeof *sin;
    return NULL;
}

const char *netaddr_parse(struct span text, struct netaddr *out)
{
    struct netaddr addr = {0};
    if (text.len == 0)
        return "an empty address";
    const char *wrong = span_starts(text, unix_scheme) ? parse_unix(span_from(text, unix_scheme.len), &addr)
                        : text.p[0] == '['             ? parse_inet6(text, &addr)
                                                       : parse_inet4(text, &addr);
    if (wrong == NULL)
        *out = addr;
    return wrong;
}

void netaddr_put(struct buf *out, const struct sockaddr *sa)
{
    char ip[INET6_ADDRSTRLEN];
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
        ENSURE(inet_ntop(AF_INET, &sin->sin_addr, ip, sizeof ip) != NULL);
        buf_printf(out, "%s:%u", ip, ntohs(sin->sin_port));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
        ENSURE(inet_ntop(AF_INET6, &sin6->sin6_addr, ip, sizeof ip) != NULL);
        buf_printf(out, "[%s]:%u", ip, ntohs(sin6->sin6_port));
    } else if (sa->sa_family == AF_UNIX) {
        const struct sockaddr_un *sun = (const struct sockaddr_un *)sa;
        buf_put_lit(out, "unix:");
        buf_put(out, sun->sun_path, strnlen(sun->sun_path, sizeof sun->sun_path));
    } else {
        buf_put_lit(out, "unknown");
    }
}

/* The bytes of an IP address, a v4-mapped one (RFC 4291 section 2.5.5.2) as IPv4; NULL for other families. */
static const unsigned char *ip_bytes(const struct sockaddr *sa, int *family)
{
    if (sa->sa_family == AF_INET) {
        *family = AF_INET;
        return (const unsigned char *)&((const struct sockaddr_in *)sa)->sin_addr;
    }
    if (sa->sa_family != AF_INET6)
        return NULL;
    const unsigned char *p = ((const struct sockaddr_in6 *)sa)->sin6_addr.s6_addr;
    bool mapped = memcmp(p, v4_mapped, sizeof v4_mapped) == 0;
    *family = mapped ? AF_INET : AF_INET6;
    return mapped ? p + sizeof v4_mapped : p;
}

bool netaddr_is_loopback(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_UNIX)
        return true;
    int family;
    const unsigned char *p = ip_bytes(sa, &family);
    if (p == NULL)
        return false;
    return family == AF_INET ? p[0] == 127 : memcmp(p, &in6addr_loopback, sizeof in6addr_loopback) == 0;
}

static bool bits_equal(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool has_host_bits(const struct netaddr_cidr *c)
{
    for (unsigned bit = c->bits; bit < (c->family == AF_INET ? 32 : 128); bit++)
        if ((c->addr[bit / 8] >> (7 - bit % 8) & 1) != 0)
            return true;
    return false;
}

const char *netaddr_cidr_parse(struct span text, struct netaddr_cidr *out)
{
    struct netaddr_cidr c = {0};
    if (span_eq(text, unix_scheme)) {
        *out = (struct netaddr_cidr){.family = AF_UNIX};
        return NULL;
    }
    const char *slash = text.len > 0 ? memchr(text.p, '/', text.len) : NULL;
    struct span host = {text.p, slash != NULL ? (size_t)(slash - text.p) : text.len};

    if (parse_ip(AF_INET, host, c.addr))
        c.family = AF_INET;
    else if (parse_ip(AF_INET6, host, c.addr))
        c.family = AF_INET6;
    else
        return "not a numeric address";

    uint64_t bits = c.family == AF_INET ? 32 : 128;
    if (slash != NULL) {
        uint64_t most = bits;
        if (!units_parse_uint(span_from(text, host.len + 1), &bits) || bits > most)
            return c.family == AF_INET ? "the prefix length is not a number from 0 to 32"
                                       : "the prefix length is not a number from 0 to 128";
    }
    c.bits = (unsigned)bits;
    if (has_host_bits(&c))
        return "the address has bits set beyond its prefix length";
    if (c.family == AF_INET6 && c.bits >= 96 && memcmp(c.addr, v4_mapped, sizeof v4_mapped) == 0) {
        memmove(c.addr, c.addr + sizeof v4_mapped, 4); /* as cidr_contains sees such a peer */
        memset(c.addr + 4, 0, 12);
        c.family = AF_INET;
        c.bits -= 96;
    }
    *out = c;
    return NULL;
}

bool netaddr_cidr_of(const struct sockaddr *sa, struct netaddr_cidr *out)
{
    int family;
    const unsigned char *p = ip_bytes(sa, &family);
    *out = (struct netaddr_cidr){.family = sa->sa_family == AF_UNIX ? AF_UNIX : 0};
    if (p == NULL)
        return out->family != 0;
    out->family = family;
    out->bits = family == AF_INET ? 32 : 128;
    memcpy(out->addr, p, out->bits / 8);
    return true;
}

void netaddr_cidr_put(struct buf *out, const struct netaddr_cidr *c, bool bare)
{
    char ip[INET6_ADDRSTRLEN];
    if (c->family == AF_UNIX) {
        buf_put_span(out, unix_scheme);
        return;
    }
    ENSURE(inet_ntop(c->family, c->addr, ip, sizeof ip) != NULL);
    buf_put_span(out, span_of(ip));
    if (!bare)
        buf_printf(out, "/%u", c->bits);
}

bool netaddr_cidr_covers(const struct netaddr_cidr *c, const struct netaddr_cidr *inner)
{
    return c->family == inner->family && c->bits <= inner->bits && bits_equal(inner->addr, c->addr, c->bits);
}
