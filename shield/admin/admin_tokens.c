#include "shield/admin/admin_tokens.h"

#include "common/check.h"
#include "common/netaddr.h"

enum { HOST_MAX = 64 };

static bool take_scheme(struct span *value)
{
    static const struct span scheme = {"Bearer", 6};
    if (value->len <= scheme.len || value->p[scheme.len] != ' ' ||
        !span_eq_nocase((struct span){value->p, scheme.len}, scheme))
        return false;
    *value = span_trim(span_from(*value, scheme.len));
    return true;
}

bool admin_tokens_allow(const struct tokens *t, struct span authorization)
{
    return take_scheme(&authorization) && tokens_allow(t, authorization);
}

bool admin_host_is_loopback(struct span host)
{
    char text[HOST_MAX];
    struct netaddr addr;
    bool bracketed = host.len > 0 && host.p[0] == '[';
    const char *colon = bracketed ? memchr(host.p, ']', host.len) : memchr(host.p, ':', host.len);
    size_t n = colon == NULL ? host.len : (size_t)(colon - host.p) + (bracketed ? 1 : 0);
    if (span_eq_nocase((struct span){host.p, n}, SPAN("localhost")))
        return true;
    if (n == 0 || n > sizeof text - sizeof ":0")
        return false;
    memcpy(text, host.p, n);
    memcpy(text + n, ":0", 2); /* a port is neither needed nor judged here */
    return netaddr_parse((struct span){text, n + 2}, &addr) == NULL && addr.ss.ss_family != AF_UNIX &&
           netaddr_is_loopback((const struct sockaddr *)&addr.ss);
}
