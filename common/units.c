#include "common/units.h"

#include "common/check.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Each table goes from the smallest unit to the largest; a name "" is a number without a unit. */
static const struct unit count_units[] = {{"", 1}, {"k", 1000}, {"m", 1000000}};

static const struct unit byte_units[] = {
    {"", 1}, {"k", 1ull << 10}, {"m", 1ull << 20}, {"g", 1ull << 30}, {"t", 1ull << 40},
};

static const struct unit duration_units[] = {
    {"ms", 1},          {"s", 1000},         {"m", 60000},          {"h", 3600000},
    {"d", 86400000ull}, {"w", 604800000ull}, {"y", 31536000000ull},
};

/* The digits that `s` begins with; gives their number, 0 for none or for more than fits. */
static size_t parse_digits(struct span s, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < s.len && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (unsigned)(s.p[i] - '0'), &v))
            return 0;
    *out = v;
    return i;
}

bool units_parse_uint(struct span s, uint64_t *out)
{
    uint64_t v;
    size_t n = parse_digits(s, &v);
    if (n == 0 || n != s.len)
        return false;
    *out = v;
    return true;
}

static bool parse_with_units(struct span s, const struct unit *units, size_t n_units, uint64_t *out)
{
    uint64_t v;
    size_t n = parse_digits(s, &v);
    if (n == 0)
        return false;
    struct span name = span_from(s, n);
    if (name.len == 0 && v == 0) { /* nothing is nothing in every unit */
        *out = 0;
        return true;
    }
    for (size_t i = 0; i < n_units; i++) {
        if (!span_eq(name, span_of(units[i].name)))
            continue;
        if (__builtin_mul_overflow(v, units[i].factor, &v))
            return false;
        *out = v;
        return true;
    }
    return false;
}

bool units_parse_count(struct span s, uint64_t *out)
{
    return parse_with_units(s, count_units, ARRAY_LEN(count_units), out);
}

bool units_parse_bytes(struct span s, uint64_t *out)
{
    return parse_with_units(s, byte_units, ARRAY_LEN(byte_units), out);
}

bool units_parse_duration_ms(struct span s, uint64_t *out)
{
    return parse_with_units(s, duration_units, ARRAY_LEN(duration_units), out);
}

static void put_with_units(struct buf *out, uint64_t v, const struct unit *units, size_t n_units)
{
    if (v == 0) {
        buf_put_lit(out, "0");
        return;
    }
    size_t i = n_units - 1;
    while (v % units[i].factor != 0)
        i--; /* ends at the smallest unit, whose factor is 1 */
    buf_put_uint(out, v / units[i].factor);
    buf_put_span(out, span_of(units[i].name));
}

void units_put_count(struct buf *out, uint64_t count)
{
    put_with_units(out, count, count_units, ARRAY_LEN(count_units));
}

void units_put_bytes(struct buf *out, uint64_t bytes)
{
    put_with_units(out, bytes, byte_units, ARRAY_LEN(byte_units));
}

void units_put_duration_ms(struct buf *out, uint64_t ms)
{
    put_with_units(out, ms, duration_units, ARRAY_LEN(duration_units));
}
