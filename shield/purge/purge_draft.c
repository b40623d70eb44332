#include "shield/purge/purge_draft.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/check.h"
#include "common/err.h"
#include "common/http1.h"
#include "common/http_chars.h"
#include "common/sf.h"

enum { FAULT_BYTES = 512, SHOWN_BYTES = 100 };

void purge_draft_init(struct purge_draft *d, const struct config *cfg)
{
    *d = (struct purge_draft){.max_items = cfg->purge.max_items, .max_item_bytes = cfg->purge.max_item_bytes};
}

void purge_draft_fini(struct purge_draft *d)
{
    arena_fini(&d->arena);
    buf_fini(&d->items);
    buf_fini(&d->why);
}

size_t purge_draft_count(const struct purge_draft *d, enum purge_kind kind)
{
    const struct purge_item *items = (const struct purge_item *)d->items.p;
    size_t n = 0;
    for (size_t i = 0; i < d->items.len / sizeof *items; i++)
        n += items[i].kind == kind;
    return n;
}

/* ---- faults ---- */

bool purge_draft_nomem(struct purge_draft *d)
{
    if (d->err == 0)
        d->err = ERR_NOMEM;
    return false;
}

bool purge_draft_fault(struct purge_draft *d, const char *fmt, ...)
{
    char text[FAULT_BYTES];
    if (d->err != 0)
        return false;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    d->err = ERR_SYNTAX;
    buf_put_span(&d->why, span_of(text));
    return false;
}

static bool too_much(struct purge_draft *d, enum purge_draft_limit limit, const char *why)
{
    purge_draft_fault(d, "%s", why);
    d->err = ERR_CONTENT_TOO_LARGE;
    d->limit = limit;
    return false;
}

/* ---- what an item may be ---- */

static bool is_printable(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

/* A star in the host or at the end is a pattern in its writer's mind, and would be a mere byte here. */
static bool looks_like_pattern(struct span url)
{
    const char *host = memchr(url.p, '/', url.len), *end = url.p + url.len;
    struct span rest = {host + 2, (size_t)(end - host - 2)}; /* behind the slashes of a valid URL */
    const char *star = memchr(rest.p, '*', rest.len), *slash = memchr(rest.p, '/', rest.len);
    return star != NULL && (end[-1] == '*' || slash == NULL || star < slash);
}

static bool is_absolute_url(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!http_char_is(s.p[i], CHAR_TARGET))
            return false;
    return s.len > 0 && s.p[0] != '/' && http1_valid_target(METHOD_GET, s);
}

static const char *url_fault(struct span s)
{
    if (!is_absolute_url(s))
        return "is no absolute URL; write http://HOST/PATH, percent-encoded and without #fragment";
    if (looks_like_pattern(s))
        return "has a star, and a URL is no pattern; prefixes take HOST/PATH up to the star";
    return NULL;
}

/* `s` with scheme and path, as the item has it. */
static const char *prefix_fault(struct span s)
{
    if (!is_absolute_url(s))
        return "is no beginning of a URL; write http://HOST/PATH or HOST/PATH, percent-encoded";
    if (looks_like_pattern(s))
        return "has a star, and a prefix is no pattern; name the host, and leave out a star at the end";
    return NULL;
}

static const char *host_fault(struct span s)
{
    if (!http1_valid_host(s) || memchr(s.p, '*', s.len) != NULL)
        return "is no host; write HOST or HOST:PORT, without scheme, path and star";
    return NULL;
}

static const char *tag_fault(struct span s)
{
    if (s.len == 0 || !is_printable(s) || s.p[0] == ' ' || s.p[s.len - 1] == ' ')
        return "is no tag; it has at least one character, no control characters, and no blank at its ends";
    return NULL;
}

static const char *fault_of(enum purge_kind kind, struct span s)
{
    switch (kind) {
    case PURGE_URL:
        return url_fault(s);
    case PURGE_PREFIX:
        return prefix_fault(s);
    case PURGE_TAG:
        return tag_fault(s);
    case PURGE_HOST:
        return host_fault(s);
    default:
        return NULL;
    }
}

/* ---- adding ---- */

static size_t scheme_bytes(struct span s)
{
    static const struct span schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (s.len >= schemes[i].len && span_eq_nocase((struct span){s.p, schemes[i].len}, schemes[i]))
            return schemes[i].len;
    return 0;
}

/* A prefix with the scheme and the slash that it may lack: "example.co" is not the beginning of example.com.
 * Another scheme stays, and is a fault. Without memory p is NULL. */
static struct span whole_prefix(struct purge_draft *d, struct span s)
{
    size_t scheme = scheme_bytes(s);
    struct span rest = span_from(s, scheme);
    const char *slash = rest.len > 0 ? memchr(rest.p, '/', rest.len) : NULL;
    bool has_path = slash != NULL || (rest.len > 0 && memchr(rest.p, '?', rest.len) != NULL);
    bool is_other_scheme = slash != NULL && slash > rest.p && slash[-1] == ':';
    struct buf whole = {0};
    if (scheme == 0 && !is_other_scheme)
        buf_put_lit(&whole, "http://");
    buf_put_span(&whole, s);
    if (!has_path)
        buf_put_lit(&whole, "/");
    struct span copy = whole.failed ? (struct span){0} : arena_span(&d->arena, buf_span(&whole));
    buf_fini(&whole);
    return copy;
}

static bool refuse_item(struct purge_draft *d, struct span what, const char *where, int index,
                        const char *fault)
{
    struct span shown = {what.p, MIN(what.len, (size_t)SHOWN_BYTES)};
    const char *more = shown.len < what.len ? "..." : "";
    if (index < 0)
        return purge_draft_fault(d, "%s: '%.*s%s' %s", where, SPAN_FMT(shown), more, fault);
    return purge_draft_fault(d, "%s[%d]: '%.*s%s' %s", where, index, SPAN_FMT(shown), more, fault);
}

bool purge_draft_add(struct purge_draft *d, enum purge_kind kind, struct span what, const char *where,
                     int index)
{
    if (d->err != 0)
        return false;
    if (d->items.len / sizeof(struct purge_item) >= d->max_items)
        return too_much(d, DRAFT_MAX_ITEMS, "too many for one call; split it, or raise purge.max_items");
    if (what.len > d->max_item_bytes)
        return too_much(d, DRAFT_MAX_ITEM_BYTES, "an item is too long; see purge.max_item_bytes");
    struct purge_item item = {.kind = kind};
    if (kind == PURGE_ALL)
        item.what = SPAN("");
    else
        item.what = kind == PURGE_PREFIX ? whole_prefix(d, what) : arena_span(&d->arena, what);
    if (item.what.p == NULL)
        return purge_draft_nomem(d);
    const char *fault = fault_of(kind, item.what);
    if (fault != NULL)
        return refuse_item(d, what, where, index, fault);
    buf_put(&d->items, &item, sizeof item);
    return !d->items.failed || purge_draft_nomem(d);
}

bool purge_draft_refer(struct purge_draft *d, struct span reference)
{
    bool is_clean = reference.len > 0 && reference.len <= PURGE_REFERENCE_MAX && is_printable(reference);
    for (size_t i = 0; is_clean && i < reference.len; i++)
        is_clean = (unsigned char)reference.p[i] < 0x7f && reference.p[i] != '"' && reference.p[i] != '\\';
    if (!is_clean)
        return purge_draft_fault(
            d, "a reference is 1 to %d printable ASCII characters without quote and backslash",
            PURGE_REFERENCE_MAX);
    if (d->reference.len > 0 && !span_eq(d->reference, reference))
        return purge_draft_fault(d, "two references differ, in the content and in Idempotency-Key; give one");
    d->reference = arena_span(&d->arena, reference);
    return d->reference.p != NULL || purge_draft_nomem(d);
}

static bool refer_by_value(struct purge_draft *d, struct span value)
{
    struct sf_item item;
    if (!sf_item_parse(value, &item) || item.type != SF_STRING)
        return purge_draft_refer(d, value);
    char *text = arena_alloc(&d->arena, item.text.len + 1);
    if (text == NULL)
        return purge_draft_nomem(d);
    return purge_draft_refer(d, (struct span){text, sf_string_copy(&item, text)});
}

bool purge_draft_refer_by(struct purge_draft *d, const struct http_head *head)
{
    bool ok = true;
    for (uint32_t i = 0; i < head->n_fields && ok; i++)
        if (span_eq_nocase(head->fields[i].name, SPAN("Idempotency-Key")))
            ok = refer_by_value(d, head->fields[i].value);
    return ok;
}

bool purge_draft_order(struct purge_draft *d, struct purge_order *out)
{
    size_t n = d->items.len / sizeof(struct purge_item);
    if (d->err == 0 && n == 0)
        purge_draft_fault(d,
                          "there is nothing to purge in it; name at least one URL, prefix, tag or host, or "
                          "order all");
    *out = (struct purge_order){.items = (const struct purge_item *)d->items.p,
                                .n_items = n,
                                .is_soft = d->is_soft,
                                .over_ms = d->over_ms,
                                .reference = d->reference};
    return d->err == 0;
}
