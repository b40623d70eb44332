#include "common/http_range.h"

#include "common/http_chars.h"
#include "common/http_head.h"

/* 1*DIGIT off the front of `s`. What does not fit becomes UINT64_MAX: an offset behind any content (RFC 9110
 * section 14.1.2 demands that large numbers do no harm). */
static bool take_number(struct span *s, uint64_t *out)
{
    size_t i = 0;
    uint64_t v = 0;
    for (; i < s->len && http_char_is(s->p[i], CHAR_DIGIT); i++) {
        unsigned digit = (unsigned)(s->p[i] - '0');
        v = v > (UINT64_MAX - digit) / 10 ? UINT64_MAX : v * 10 + digit;
    }
    *s = span_from(*s, i);
    *out = v;
    return i > 0;
}

static bool take_byte(struct span *s, char c)
{
    if (s->len == 0 || s->p[0] != c)
        return false;
    *s = span_from(*s, 1);
    return true;
}

/* Range units are case-insensitive (RFC 9110 section 14.1). */
static bool take_unit(struct span *s, char end)
{
    if (s->len < 6 || !span_eq_nocase((struct span){s->p, 5}, SPAN("bytes")))
        return false;
    *s = span_from(*s, 5);
    return take_byte(s, end);
}

static bool parse_spec(struct span s, struct http_range_spec *out)
{
    *out = (struct http_range_spec){.last = UINT64_MAX};
    if (take_byte(&s, '-')) {
        out->is_suffix = true;
        return take_number(&s, &out->suffix) && s.len == 0;
    }
    if (!take_number(&s, &out->first) || !take_byte(&s, '-'))
        return false;
    if (s.len == 0)
        return true;
    return take_number(&s, &out->last) && s.len == 0 && out->first <= out->last;
}

int http_range_parse(struct span value, struct http_range_spec *out, int cap)
{
    struct span item;
    int n = 0;
    if (!take_unit(&value, '='))
        return 0;
    while (http_list_next(&value, &item)) {
        struct http_range_spec spec;
        if (!parse_spec(item, &spec))
            return 0;
        if (n < cap)
            out[n] = spec;
        n += n <= cap;
    }
    return n <= cap ? n : -1;
}

bool http_range_resolve(const struct http_range_spec *spec, uint64_t length, uint64_t *first, uint64_t *last)
{
    /* A suffix of empty content is satisfiable by section 14.1.2, but no Content-Range can say it. */
    if (length == 0 || (spec->is_suffix ? spec->suffix == 0 : spec->first >= length))
        return false;
    if (spec->is_suffix) {
        *first = spec->suffix < length ? length - spec->suffix : 0;
        *last = length - 1;
        return true;
    }
    *first = spec->first;
    *last = spec->last < length ? spec->last : length - 1;
    return true;
}

/* Put `r` in the place of the first of those that it meets, and take out the others. What stands in out[]
 * meets nothing else there, so what `r` has taken in brings it no new neighbour. Ends are below a length: one
 * more than an end does not overflow. */
static int add_range(struct http_range *out, int n, struct http_range r)
{
    int kept = 0, place = -1;
    for (int i = 0; i < n; i++) {
        if (out[i].first > r.last + 1 || r.first > out[i].last + 1) {
            out[kept++] = out[i];
            continue;
        }
        r.first = out[i].first < r.first ? out[i].first : r.first;
        r.last = out[i].last > r.last ? out[i].last : r.last;
        if (place < 0)
            place = kept++;
    }
    if (place < 0)
        place = kept++;
    out[place] = r;
    return kept;
}

int http_range_settle(const struct http_range_spec *specs, int n, uint64_t length, struct http_range *out)
{
    int n_out = 0;
    for (int i = 0; i < n; i++) {
        struct http_range r;
        if (http_range_resolve(&specs[i], length, &r.first, &r.last))
            n_out = add_range(out, n_out, r);
    }
    return n_out;
}

/* A number that is really one: UINT64_MAX and more mean that it was too large. */
static bool take_position(struct span *s, uint64_t *out)
{
    return take_number(s, out) && *out != UINT64_MAX;
}

bool http_content_range_parse(struct span value, uint64_t *first, uint64_t *last, uint64_t *length,
                              bool *unsatisfied)
{
    *first = *last = 0;
    *length = UINT64_MAX;
    *unsatisfied = false;
    if (!take_unit(&value, ' '))
        return false;
    if (take_byte(&value, '*')) {
        *unsatisfied = true;
        return take_byte(&value, '/') && take_position(&value, length) && value.len == 0;
    }
    if (!take_position(&value, first) || !take_byte(&value, '-') || !take_position(&value, last) ||
        !take_byte(&value, '/') || *first > *last)
        return false;
    if (take_byte(&value, '*'))
        return value.len == 0;
    return take_position(&value, length) && value.len == 0 && *last < *length;
}
