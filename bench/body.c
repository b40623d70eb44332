#include "bench/body.h"

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "common/check.h"
#include "common/units.h"

#define GOLDEN 0x9E3779B97F4A7C15u

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014: a counter and a mix,
 * so that any word can be had by itself. */
static inline uint64_t word(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * GOLDEN;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    z = __builtin_bswap64(z);
#endif
    return z;
}

struct span body_path(struct span target)
{
    const char *query = memchr(target.p, '?', target.len);
    return query != NULL ? (struct span){target.p, (size_t)(query - target.p)} : target;
}

struct body_object body_object(struct span path, uint64_t version, uint64_t size, struct span variant)
{
    struct body_object o = {.key = XXH64(path.p, path.len, 0), .version = version, .size = size};
    o.seed = XXH64(path.p, path.len, version);
    if (variant.len > 0)
        o.seed = XXH64(variant.p, variant.len, o.seed);
    return o;
}

/* The bytes of one word that a run starting at `offset` needs, at most n of them. */
static size_t part(uint64_t seed, uint64_t offset, char *out, size_t n)
{
    uint64_t w = word(seed, offset / 8);
    size_t skip = offset % 8, take = MIN(8 - skip, n);
    memcpy(out, (char *)&w + skip, take);
    return take;
}

uint64_t body_word(uint64_t seed, uint64_t i)
{
    return word(seed, i);
}

void body_fill(uint64_t seed, uint64_t offset, char *out, size_t n)
{
    if (offset % 8 != 0) {
        size_t head = part(seed, offset, out, n);
        out += head, offset += head, n -= head;
    }
    uint64_t i = offset / 8;
    for (; n >= 8; n -= 8, out += 8, i++) {
        uint64_t w = word(seed, i);
        memcpy(out, &w, 8);
    }
    if (n > 0)
        part(seed, i * 8, out, n);
}

static bool part_matches(uint64_t seed, uint64_t offset, const char *p, size_t n, size_t *taken)
{
    char want[8];
    *taken = part(seed, offset, want, n);
    return memcmp(want, p, *taken) == 0;
}

bool body_matches(uint64_t seed, uint64_t offset, const char *p, size_t n)
{
    size_t head = 0;
    if (offset % 8 != 0 && !part_matches(seed, offset, p, n, &head))
        return false;
    p += head, offset += head, n -= head;
    uint64_t i = offset / 8, differ = 0;
    for (; n >= 8; n -= 8, p += 8, i++) {
        uint64_t have;
        memcpy(&have, p, 8);
        differ |= have ^ word(seed, i);
    }
    return differ == 0 && (n == 0 || part_matches(seed, i * 8, p, n, &head));
}

void body_put_field(struct buf *out, const struct body_object *o)
{
    buf_printf(out,
               BODY_FIELD ": key=%016" PRIx64 "; version=%" PRIu64 "; size=%" PRIu64 "; seed=%016" PRIx64
                          "\r\n",
               o->key, o->version, o->size, o->seed);
}

static bool take_hex(struct span s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.len == 0 || s.len > 16)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.p[i]);
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

/* "; name=value" off the front of *rest. */
static bool take_pair(struct span *rest, struct span name, struct span *value)
{
    struct span s = span_trim(*rest);
    if (!span_starts(s, name) || s.len <= name.len || s.p[name.len] != '=')
        return false;
    s = span_from(s, name.len + 1);
    const char *end = memchr(s.p, ';', s.len);
    *value = (struct span){s.p, end != NULL ? (size_t)(end - s.p) : s.len};
    *rest = span_from(s, value->len + 1);
    return true;
}

bool body_parse_field(struct span value, struct body_object *out)
{
    struct span key, version, size, seed;
    return take_pair(&value, SPAN("key"), &key) && take_hex(key, &out->key) &&
           take_pair(&value, SPAN("version"), &version) && units_parse_uint(version, &out->version) &&
           take_pair(&value, SPAN("size"), &size) && units_parse_uint(size, &out->size) &&
           take_pair(&value, SPAN("seed"), &seed) && take_hex(seed, &out->seed) && value.len == 0;
}
