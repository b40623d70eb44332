#include "shield/warm/sitemap.h"

#include <string.h>

#include "common/buf.h"
#include "common/check.h"
#include "common/units.h"

enum { DEPTH_MAX = 32 };

struct sitemap {
    struct span rest;
    struct span open[DEPTH_MAX]; /* names of the open elements */
    unsigned depth;
    bool has_root;
    struct buf text; /* of the loc that is open */
    const char *why;
    enum sitemap_item item; /* what its root holds */
    bool (*each)(void *ctx, enum sitemap_item item, struct span url, size_t index);
    void *ctx;
    size_t n;
    bool is_done;
};

static bool fault(struct sitemap *s, const char *why)
{
    s->why = why;
    return false;
}

/* Up to `end`, which is taken off with it; false when there is none. */
static bool take_to(struct sitemap *s, struct span end, struct span *out)
{
    const char *at = s->rest.len > 0 ? memmem(s->rest.p, s->rest.len, end.p, end.len) : NULL;
    if (at == NULL)
        return fault(s, "breaks off");
    *out = (struct span){s->rest.p, (size_t)(at - s->rest.p)};
    s->rest = span_from(s->rest, out->len + end.len);
    return true;
}

static bool is_in_location(const struct sitemap *s)
{
    struct span entry = s->item == SITEMAP_URL ? SPAN("url") : SPAN("sitemap");
    return s->depth == 3 && span_eq(s->open[1], entry) && span_eq(s->open[2], SPAN("loc"));
}

/* ---- text ---- */

/* A number of a URL's own bytes: others are percent-encoded in it, or it is none. */
static bool put_number(struct sitemap *s, struct span digits)
{
    uint64_t code = 0;
    bool is_hex = span_starts(digits, SPAN("x"));
    if (is_hex)
        digits = span_from(digits, 1);
    for (size_t i = 0; i < digits.len && code < 0x80; i++) {
        char c = digits.p[i];
        int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - 'A' + 10;
        bool is_digit = value >= 0 && value < (is_hex ? 16 : 10) && strchr("0123456789abcdefABCDEF", c);
        code = is_digit ? code * (is_hex ? 16 : 10) + (uint64_t)value : 0x80;
    }
    if (digits.len == 0 || code == 0 || code >= 0x80)
        return fault(s, "has a reference that stands for no character of a URL");
    buf_put(&s->text, &(char){(char)code}, 1);
    return true;
}

static bool put_reference(struct sitemap *s, struct span name)
{
    static const struct {
        struct span name;
        char byte;
    } known[] = {
        {{"amp", 3}, '&'}, {{"lt", 2}, '<'}, {{"gt", 2}, '>'}, {{"quot", 4}, '"'}, {{"apos", 4}, '\''}};
    if (span_starts(name, SPAN("#")))
        return put_number(s, span_from(name, 1));
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (span_eq(name, known[i].name)) {
            buf_put(&s->text, &known[i].byte, 1);
            return true;
        }
    }
    return fault(s, "has a reference that XML does not define; write & as &amp;");
}

static bool put_text(struct sitemap *s, struct span text)
{
    while (text.len > 0) {
        const char *ampersand = memchr(text.p, '&', text.len);
        size_t n = ampersand != NULL ? (size_t)(ampersand - text.p) : text.len;
        buf_put(&s->text, text.p, n);
        text = span_from(text, n);
        if (text.len == 0)
            break;
        const char *end = memchr(text.p, ';', text.len);
        if (end == NULL)
            return fault(s, "has a reference without its semicolon; write & as &amp;");
        if (!put_reference(s, (struct span){text.p + 1, (size_t)(end - text.p) - 1}))
            return false;
        text = span_from(text, (size_t)(end - text.p) + 1);
    }
    return true;
}

/* ---- tags ---- */

static struct span trim_white(struct span t)
{
    while (t.len > 0 && memchr(" \t\r\n", t.p[0], 4) != NULL)
        t = span_from(t, 1);
    while (t.len > 0 && memchr(" \t\r\n", t.p[t.len - 1], 4) != NULL)
        t.len--;
    return t;
}

static bool open_element(struct sitemap *s, struct span name)
{
    if (s->depth == 0 && s->has_root)
        return fault(s, "has something behind its end");
    bool is_index = span_eq(name, SPAN("sitemapindex"));
    if (s->depth == 0 && !is_index && !span_eq(name, SPAN("urlset")))
        return fault(s, "begins with neither <urlset> nor <sitemapindex>");
    if (s->depth == 0)
        s->item = is_index ? SITEMAP_MAP : SITEMAP_URL;
    if (s->depth == DEPTH_MAX)
        return fault(s, "nests too deeply");
    s->has_root = true;
    s->open[s->depth++] = name;
    s->text.len = 0;
    return true;
}

static bool close_element(struct sitemap *s, struct span name)
{
    if (s->depth == 0 || !span_eq(s->open[s->depth - 1], name))
        return fault(s, "has tags that do not nest");
    if (is_in_location(s)) {
        if (s->text.failed)
            return fault(s, "is too large for this host's memory");
        s->is_done = !s->each(s->ctx, s->item, trim_white(buf_span(&s->text)), s->n++);
    }
    s->depth--;
    return !s->is_done;
}

/* What stands between '<' and '>'. A '>' in an attribute's quotes is allowed by XML. */
static bool take_tag(struct sitemap *s)
{
    size_t n = 0;
    char quote = '\0';
    for (; n < s->rest.len && (quote != '\0' || s->rest.p[n] != '>'); n++) {
        char c = s->rest.p[n];
        if (quote == '\0' && (c == '"' || c == '\''))
            quote = c;
        else if (c == quote)
            quote = '\0';
    }
    if (n == s->rest.len)
        return fault(s, "breaks off");
    struct span tag = {s->rest.p, n};
    s->rest = span_from(s->rest, n + 1);
    if (span_starts(tag, SPAN("/")))
        return close_element(s, trim_white(span_from(tag, 1)));
    bool is_empty = tag.len > 0 && tag.p[tag.len - 1] == '/';
    size_t name_bytes = 0;
    while (name_bytes < tag.len && memchr(" \t\r\n/", tag.p[name_bytes], 5) == NULL)
        name_bytes++;
    struct span name = {tag.p, name_bytes};
    return open_element(s, name) && (!is_empty || close_element(s, name));
}

static bool take_markup(struct sitemap *s)
{
    struct span inside;
    if (span_starts(s->rest, SPAN("!--"))) {
        s->rest = span_from(s->rest, 3);
        return take_to(s, SPAN("-->"), &inside);
    }
    if (span_starts(s->rest, SPAN("?")))
        return take_to(s, SPAN("?>"), &inside);
    if (span_starts(s->rest, SPAN("![CDATA["))) {
        s->rest = span_from(s->rest, 8);
        if (!take_to(s, SPAN("]]>"), &inside))
            return false;
        if (is_in_location(s))
            buf_put_span(&s->text, inside);
        return true;
    }
    if (span_starts(s->rest, SPAN("!")))
        return fault(s, "declares a document type; leave <!DOCTYPE out");
    return take_tag(s);
}

static bool take_one(struct sitemap *s)
{
    const char *mark = memchr(s->rest.p, '<', s->rest.len);
    size_t n = mark != NULL ? (size_t)(mark - s->rest.p) : s->rest.len;
    struct span text = {s->rest.p, n};
    s->rest = span_from(s->rest, n + 1);
    if (is_in_location(s) && !put_text(s, text))
        return false;
    if (s->depth == 0 && trim_white(text).len > 0)
        return fault(s, s->has_root ? "has something behind its end" : "has something before its beginning");
    if (mark == NULL)
        return s->depth == 0 || fault(s, "breaks off");
    return take_markup(s);
}

const char *sitemap_each(struct span text,
                         bool (*each)(void *ctx, enum sitemap_item item, struct span url, size_t index),
                         void *ctx)
{
    struct sitemap s = {.rest = text, .each = each, .ctx = ctx};
    while (s.rest.len > 0 && take_one(&s))
        ;
    if (s.why == NULL && !s.is_done && (s.depth > 0 || !s.has_root))
        s.why = "breaks off";
    buf_fini(&s.text);
    return s.why;
}
