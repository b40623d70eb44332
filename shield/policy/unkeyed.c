#include "shield/policy/unkeyed.h"

#include "common/check.h"

enum { NAME_BYTES = 32 }; /* of the longest that is known */

#define BIT_OF(id) (UINT64_C(1) << FIELD_##id)

const uint64_t unkeyed_fields =
    BIT_OF(FORWARDED) | BIT_OF(X_FORWARDED_HOST) | BIT_OF(X_FORWARDED_PROTO) | BIT_OF(X_FORWARDED_SCHEME) |
    BIT_OF(X_FORWARDED_PORT) | BIT_OF(X_FORWARDED_PREFIX) | BIT_OF(X_FORWARDED_SERVER) | BIT_OF(X_HOST) |
    BIT_OF(X_ORIGINAL_URL) | BIT_OF(X_REWRITE_URL) | BIT_OF(X_HTTP_METHOD_OVERRIDE);

/* Of the same kind, each obeyed by some framework: another method, another URL, another host or scheme. */
static const char *const others[] = {
    "Front-End-Https", "X-Backend-Host",    "X-Forwarded-Method", "X-Forwarded-Path",  "X-Forwarded-Protocol",
    "X-Forwarded-Ssl", "X-Forwarded-Uri",   "X-Forwarded-Url",    "X-Host-Override",   "X-HTTP-Host-Override",
    "X-HTTP-Method",   "X-Method-Override", "X-Original-Host",    "X-Original-Method", "X-Original-Uri",
    "X-Override-Url",  "X-Rewrite-Uri",     "X-Url-Scheme",
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

bool unkeyed_input(const struct http_field *f)
{
    if (f->id != FIELD_OTHER)
        return unkeyed_fields >> f->id & 1;
    if (unkeyed_fields >> unkeyed_spelling(f->name) & 1)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (unkeyed_same_name(f->name, span_of(others[i])))
            return true;
    return false;
}

enum http_field_id unkeyed_spelling(struct span name)
{
    char room[NAME_BYTES];
    enum http_field_id meant = http_field_id(plain_name(name, room));
    return meant == http_field_id(name) ? FIELD_OTHER : meant;
}
