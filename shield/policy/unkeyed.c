#include "shield/policy/unkeyed.h"

#include "common/check.h"

enum { NAME_BYTES = 32 }; /* of the longest that is known */

#define BIT_OF(id) (UINT64_C(1) << FIELD_##id)

const uint64_t unkeyed_fields =
    BIT_OF(FORWARDED) | BIT_OF(X_FORWARDED_HOST) | BIT_OF(X_FORWARDED_PROTO) | BIT_OF(X_FORWARDED_SCHEME) |
    BIT_OF(X_FORWARDED_PORT) | BIT_OF(X_FORWARDED_PREFIX) | BIT_OF(X_FORWARDED_SERVER) | BIT_OF(X_HOST) |
    BIT_OF(X_ORIGINAL_URL) | BIT_OF(X_REWRITE_URL) | BIT_OF(X_HTTP_METHOD_OVERRIDE);

#define NAME(text)                \
    {                             \
        "" text, sizeof(text) - 1 \
    }

/* Of the same kind, each obeyed by some framework: another method, another URL, another host or scheme.
 * (CGI hands "Proxy" on as HTTP_PROXY, which its heirs ask through.) */
static const struct span others[] = {
    NAME("Base-Url"),
    NAME("CloudFront-Forwarded-Proto"),
    NAME("Front-End-Https"),
    NAME("Host-Override"),
    NAME("Http-Url"),
    NAME("Proxy"),
    NAME("Proxy-Host"),
    NAME("Proxy-Url"),
    NAME("Request-Uri"),
    NAME("Script-Name"),
    NAME("Uri"),
    NAME("Url"),
    NAME("X-Arr-Ssl"),
    NAME("X-Backend-Host"),
    NAME("X-Context-Path"),
    NAME("X-Envoy-Original-Path"),
    NAME("X-Forwarded"),
    NAME("X-Forwarded-Base-Url"),
    NAME("X-Forwarded-By"),
    NAME("X-Forwarded-Context"),
    NAME("X-Forwarded-Host-Override"),
    NAME("X-Forwarded-Method"),
    NAME("X-Forwarded-Path"),
    NAME("X-Forwarded-Protocol"),
    NAME("X-Forwarded-Root"),
    NAME("X-Forwarded-Ssl"),
    NAME("X-Forwarded-Uri"),
    NAME("X-Forwarded-Url"),
    NAME("X-Host-Override"),
    NAME("X-HTTP-DestinationURL"),
    NAME("X-HTTP-Host-Override"),
    NAME("X-HTTP-Method"),
    NAME("X-HTTP-Path-Override"),
    NAME("X-Invoke-Path"),
    NAME("X-Invoke-Query"),
    NAME("X-Invoke-Status"),
    NAME("X-Matched-Path"),
    NAME("X-Method-Override"),
    NAME("X-Middleware-Prefetch"),
    NAME("X-Middleware-Subrequest"),
    NAME("X-MS-Original-URL"),
    NAME("X-Now-Route-Matches"),
    NAME("X-Original-Host"),
    NAME("X-Original-Method"),
    NAME("X-Original-Scheme"),
    NAME("X-Original-Uri"),
    NAME("X-Override-Url"),
    NAME("X-Path-Info"),
    NAME("X-Port"),
    NAME("X-Proto"),
    NAME("X-Proxy-Url"),
    NAME("X-Request-Uri"),
    NAME("X-Rewrite-Uri"),
    NAME("X-Scheme"),
    NAME("X-Script-Name"),
    NAME("X-Server"),
    NAME("X-Url-Scheme"),
};

/* Who has asked, beside X-Forwarded-For. */
static const struct span askers[] = {
    NAME("CF-Connecting-IP"),
    NAME("Client-IP"),
    NAME("Fastly-Client-IP"),
    NAME("Forwarded-For"),
    NAME("True-Client-IP"),
    NAME("X-Client-IP"),
    NAME("X-Real-IP"),
    NAME("X-Cluster-Client-IP"),
    NAME("X-Envoy-External-Address"),
    NAME("X-Forwarder-For"),
    NAME("X-Original-Forwarded-For"),
    NAME("X-Originating-IP"),
    NAME("X-ProxyUser-IP"),
    NAME("X-Remote-Addr"),
    NAME("X-Remote-IP"),
};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* The name with "-" for all that is neither letter nor digit; empty when it is too long to be known. */
static struct span plain_name(struct span name, char room[NAME_BYTES])
{
    if (name.len > NAME_BYTES)
        return (struct span){room, 0};
    for (size_t i = 0; i < name.len; i++)
        room[i] = is_alnum(name.p[i]) ? name.p[i] : '-';
    return (struct span){room, name.len};
}

bool unkeyed_same_name(struct span name, struct span known)
{
    if (name.len != known.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        bool is_same =
            is_alnum(known.p[i]) ? ascii_lower(name.p[i]) == ascii_lower(known.p[i]) : !is_alnum(name.p[i]);
        if (!is_same)
            return false;
    }
    return true;
}

static bool is_among(struct span name, const struct span *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (unkeyed_same_name(name, names[i]))
            return true;
    return false;
}

bool unkeyed_input(const struct http_field *f)
{
    if (f->id != FIELD_OTHER)
        return unkeyed_fields >> f->id & 1;
    return unkeyed_fields >> unkeyed_spelling(f->name) & 1 || is_among(f->name, others, ARRAY_LEN(others));
}

static bool is_hearsay(const struct http_field *f)
{
    if (f->id != FIELD_OTHER)
        return f->id == FIELD_X_FORWARDED_FOR;
    return unkeyed_same_name(f->name, SPAN("X-Forwarded-For")) ||
           is_among(f->name, askers, ARRAY_LEN(askers));
}

void unkeyed_drop_hearsay(struct http_head *request)
{
    for (uint32_t i = 0; i < request->n_fields;)
        if (is_hearsay(&request->fields[i]))
            http_remove_name(request, request->fields[i].name);
        else
            i++;
}

enum http_field_id unkeyed_spelling(struct span name)
{
    char room[NAME_BYTES];
    enum http_field_id meant = http_field_id(plain_name(name, room));
    return meant == http_field_id(name) ? FIELD_OTHER : meant;
}
