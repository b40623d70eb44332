#include "shield/policy/language.h"

#include "common/check.h"
#include "common/http_chars.h"

enum { BEST = 1000 }; /* a qvalue in thousandths */

struct range {
    struct span tag;
    unsigned quality;
};

/* qvalue (RFC 9110 section 12.4.2). */
static bool parse_quality(struct span s, unsigned *out)
{
    unsigned scale = BEST, value = 0;
    if (s.len == 0 || s.len > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.len > 1 && s.p[1] != '.'))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (i == 1)
            continue;
        if (!http_char_is(s.p[i], CHAR_DIGIT))
            return false;
        value += (unsigned)(s.p[i] - '0') * scale;
        scale /= 10;
    }
    *out = value;
    return value <= BEST;
}

static bool is_alpha(char c)
{
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

/* language-range (RFC 4647 section 2.1). */
static bool is_range(struct span tag)
{
    size_t n = 0; /* of the subtag */
    bool is_first = true;
    if (span_eq(tag, SPAN("*")))
        return true;
    for (size_t i = 0; i < tag.len; i++) {
        if (tag.p[i] == '-') {
            if (n == 0)
                return false;
            n = 0;
            is_first = false;
        } else if (!(is_alpha(tag.p[i]) || (!is_first && http_char_is(tag.p[i], CHAR_DIGIT))) || ++n > 8) {
            return false;
        }
    }
    return n > 0;
}

/* "tag" or "tag;q=0.5". */
static bool parse_range(struct span item, struct range *out)
{
    const char *semicolon = memchr(item.p, ';', item.len);
    struct span weight = {0};
    *out = (struct range){.tag = item, .quality = BEST};
    if (semicolon != NULL) {
        out->tag.len = (size_t)(semicolon - item.p);
        weight = span_trim(span_from(item, out->tag.len + 1));
        if (weight.len < 2 || ascii_lower(weight.p[0]) != 'q' || weight.p[1] != '=' ||
            !parse_quality(span_from(weight, 2), &out->quality))
            return false;
    }
    out->tag = span_trim(out->tag);
    return is_range(out->tag);
}

/* Whether `range` is about `tag` (RFC 4647 section 3.3.1). */
static bool covers(struct span range, struct span tag)
{
    if (span_eq(range, SPAN("*")))
        return true;
    struct span start = {tag.p, MIN(tag.len, range.len)};
    return span_eq_nocase(range, start) && (tag.len == range.len || tag.p[range.len] == '-');
}

/* Sorted by quality, behind its equals; a tag that is there already stays as it was. */
static void insert(struct range *ranges, unsigned *n, struct range r)
{
    unsigned at = *n;
    for (unsigned i = 0; i < *n; i++)
        if (span_eq_nocase(ranges[i].tag, r.tag))
            return;
    for (; at > 0 && ranges[at - 1].quality < r.quality; at--)
        ranges[at] = ranges[at - 1];
    ranges[at] = r;
    ++*n;
}

static bool says_nothing(const struct range *ranges, struct range r)
{
    if (r.quality > 0)
        return false;
    for (; ranges->quality > 0; ranges++) /* sorted: `r` itself is behind them */
        if (covers(ranges->tag, r.tag))
            return false;
    return true;
}

static void put_range(struct buf *out, struct range r)
{
    size_t at = out->len;
    buf_put_span(out, r.tag);
    for (; at < out->len; at++)
        out->p[at] = ascii_lower(out->p[at]);
    if (r.quality == BEST)
        return;
    buf_put_lit(out, ";q=0");
    for (unsigned rest = r.quality * 10, is_first = 1; rest > 0; rest = rest % BEST * 10, is_first = 0) {
        char digit = (char)('0' + rest / BEST);
        if (is_first)
            buf_put_lit(out, ".");
        buf_put(out, &digit, 1);
    }
}

bool policy_put_languages(const struct http_head *request, struct buf *out)
{
    struct range ranges[LANGUAGES_MAX];
    struct http_list_it it = {0};
    struct span item;
    unsigned n = 0, seen = 0;
    size_t before = out->len;
    while (http_list_each(request, FIELD_ACCEPT_LANGUAGE, &it, &item)) {
        struct range r;
        if (seen++ == LANGUAGES_MAX || !parse_range(item, &r))
            return false;
        insert(ranges, &n, r);
    }
    for (unsigned i = 0; i < n; i++) {
        if (says_nothing(ranges, ranges[i]))
            continue;
        if (out->len > before)
            buf_put_lit(out, ", ");
        put_range(out, ranges[i]);
    }
    return out->len > before;
}
