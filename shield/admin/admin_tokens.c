#include "shield/admin/admin_tokens.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "common/netaddr.h"

enum { HOST_MAX = 64 };

static const char directive[] = "admin.token_file";

struct admin_tokens {
    struct tokens *tokens;
    struct admin_right rights[TOKENS_MAX]; /* of the token with the same index */
};

/* ---- scopes ---- */

#define LACKS(scope)     "the token lacks the scope " scope "; see admin.token_file"
#define CHALLENGE(scope) "WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"" scope "\"\r\n"

static const struct scope {
    const char *name;
    enum admin_scope bit;
    const char *fault, *challenge;
} scopes[] = {
    {"read", SCOPE_READ, LACKS("read"), CHALLENGE("read")},
    {"purge:url", SCOPE_PURGE_URL, LACKS("purge:url"), CHALLENGE("purge:url")},
    {"purge:tag", SCOPE_PURGE_TAG, LACKS("purge:tag"), CHALLENGE("purge:tag")},
    {"purge:all", SCOPE_PURGE_ALL, LACKS("purge:all"), CHALLENGE("purge:all")},
    {"config", SCOPE_CONFIG, LACKS("config"), CHALLENGE("config")},
};

static const struct scope *find_scope(enum admin_scope bit)
{
    const struct scope *s = scopes;
    while (s->bit != bit)
        s++;
    return s;
}

const char *admin_scope_fault(enum admin_scope scope)
{
    return find_scope(scope)->fault;
}

const char *admin_scope_challenge(enum admin_scope scope)
{
    return find_scope(scope)->challenge;
}

/* ---- the file ---- */

/* Up to one of the bytes that part, which is taken off with it. */
static struct span take_until(struct span *rest, const char *parts)
{
    size_t n = 0;
    while (n < rest->len && strchr(parts, rest->p[n]) == NULL)
        n++;
    struct span one = {rest->p, n};
    *rest = span_from(*rest, n + 1);
    return one;
}

static const char *read_scopes(struct span list, struct admin_right *out)
{
    if (out->scopes != 0)
        return "scopes are a list with commas and without blanks, and a name is name=NAME";
    while (list.len > 0) {
        struct span name = take_until(&list, ",");
        unsigned bit = 0;
        for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
            if (span_eq(name, span_of(scopes[i].name)))
                bit = scopes[i].bit;
        if (bit == 0)
            return "a scope is not known; there are read, purge:url, purge:tag, purge:all and config";
        out->scopes |= bit;
    }
    return NULL;
}

static const char *read_name(struct span name, struct admin_right *out)
{
    bool is_good = name.len > 0 && name.len <= ADMIN_NAME_MAX && out->name_len == 0;
    for (size_t i = 0; i < name.len && is_good; i++) {
        char c = ascii_lower(name.p[i]);
        is_good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.", c) != NULL;
    }
    if (!is_good)
        return "a name is given once, as name=NAME, with 1 to 64 of letters, digits and -_.";
    memcpy(out->name, name.p, name.len);
    out->name_len = name.len;
    return NULL;
}

/* NULL, or what is wrong with the words behind a token. */
static const char *read_words(struct span words, unsigned line, struct admin_right *out)
{
    static const struct span name_is = {"name=", 5};
    const char *fault = NULL;
    while (words.len > 0 && fault == NULL) {
        struct span word = take_until(&words, " \t");
        if (span_starts(word, name_is))
            fault = read_name(span_from(word, name_is.len), out);
        else if (word.len > 0)
            fault = read_scopes(word, out);
    }
    if (out->scopes == 0)
        out->scopes = SCOPE_EVERYTHING;
    if (out->name_len == 0)
        out->name_len = (size_t)snprintf(out->name, sizeof out->name, "token-%u", line);
    return fault;
}

/* Takes over `tokens`. */
static int read_rights(struct admin_tokens **out, struct tokens *tokens, const char *name, struct buf *errors)
{
    struct admin_tokens *t = calloc(1, sizeof *t);
    if (t == NULL) {
        tokens_free(&tokens);
        return ERR_NOMEM;
    }
    t->tokens = tokens;
    for (size_t i = 0; i < tokens_count(tokens); i++) {
        unsigned line = tokens_line(tokens, i);
        const char *fault = read_words(tokens_words(tokens, i), line, &t->rights[i]);
        if (fault != NULL) {
            buf_printf(errors, "%s:%u: %s\n", name, line, fault);
            admin_tokens_free(&t);
            return ERR_SYNTAX;
        }
    }
    *out = t;
    return 0;
}

int admin_tokens_parse(struct admin_tokens **out, const char *name, struct span text, struct buf *errors)
{
    struct tokens *tokens;
    int err = tokens_parse(&tokens, TOKENS_SCOPED, directive, name, text, errors);
    return err != 0 ? err : read_rights(out, tokens, name, errors);
}

int admin_tokens_read(struct admin_tokens **out, const char *path, struct buf *errors)
{
    struct tokens *tokens;
    int err = tokens_read(&tokens, TOKENS_SCOPED, directive, path, errors);
    return err != 0 ? err : read_rights(out, tokens, path, errors);
}

void admin_tokens_free(struct admin_tokens **slot)
{
    struct admin_tokens *t = *slot;
    *slot = NULL;
    if (t == NULL)
        return;
    tokens_free(&t->tokens);
    free(t);
}

/* ---- asking ---- */

static bool take_scheme(struct span *value)
{
    static const struct span scheme = {"Bearer", 6};
    if (value->len <= scheme.len || value->p[scheme.len] != ' ' ||
        !span_eq_nocase((struct span){value->p, scheme.len}, scheme))
        return false;
    *value = span_trim(span_from(*value, scheme.len));
    return true;
}

static bool take_other(const struct http_head *head, const char *name, struct span *token)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < head->n_fields; i++)
        if (span_eq_nocase(head->fields[i].name, span_of(name))) {
            *token = head->fields[i].value;
            n++;
        }
    return n == 1;
}

const struct admin_right *admin_tokens_find(const struct admin_tokens *t, const struct http_head *head,
                                            const char *other, bool *is_given)
{
    struct span token = http_value(head, FIELD_AUTHORIZATION);
    if (http_has(head, FIELD_AUTHORIZATION))
        *is_given = http_count(head, FIELD_AUTHORIZATION) == 1 && take_scheme(&token);
    else
        *is_given = other != NULL && take_other(head, other, &token);
    int i = *is_given ? tokens_find(t->tokens, token) : -1;
    return i >= 0 ? &t->rights[i] : NULL;
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
