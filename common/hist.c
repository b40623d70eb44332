#include "common/hist.h"

#include "common/check.h"

static size_t bucket_of(uint64_t value)
{
    if (value >> HIST_RANGE_BITS != 0)
        return HIST_BUCKETS - 1;
    if (value >> HIST_SUB_BITS == 0)
        return (size_t)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
    return ((size_t)shift << HIST_SUB_BITS) +
           (size_t)(value >> shift); /* value >> shift has its top bit set */
}

static uint64_t upper_edge(size_t bucket)
{
    if (bucket >> HIST_SUB_BITS == 0)
        return bucket;
    if (bucket == HIST_BUCKETS - 1)
        return UINT64_MAX;
    unsigned shift = (unsigned)(bucket >> HIST_SUB_BITS) - 1;
    uint64_t top = (bucket & ((1u << HIST_SUB_BITS) - 1)) | 1u << HIST_SUB_BITS;
    return ((top + 1) << shift) - 1;
}

static uint64_t get(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

/* Not a read-modify-write: there is one writer, and a locked add costs ten times as much. */
static void add(_Atomic uint64_t *p, uint64_t n)
{
    atomic_store_explicit(p, get(p) + n, memory_order_relaxed);
}

static void raise_to(_Atomic uint64_t *p, uint64_t floor)
{
    if (floor > get(p))
        atomic_store_explicit(p, floor, memory_order_relaxed);
}

void hist_record(struct hist *h, uint64_t value)
{
    add(&h->counts[bucket_of(value)], 1);
    add(&h->total, 1);
    add(&h->sum, value);
    raise_to(&h->max, value);
}

void hist_merge(struct hist *into, const struct hist *from)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t n = get(&from->counts[i]);
        if (n == 0)
            continue;
        seen += n;
        add(&into->counts[i], n);
    }
    add(&into->total, seen);
    add(&into->sum, get(&from->sum));
    raise_to(&into->max, get(&from->max));
}

uint64_t hist_percentile(const struct hist *h, double percent)
{
    REQUIRE(percent >= 0 && percent <= 100);
    uint64_t total = get(&h->total), max = get(&h->max);
    if (total == 0)
        return 0;
    double exact = percent * (double)total / 100;
    exact -= exact * 1e-12; /* 99.9 is a little more than itself: a whole rank must not become the next one */
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0)
        rank++;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += get(&h->counts[i]);
        if (seen >= rank)
            return MIN(upper_edge(i), max);
    }
    return max;
}

uint64_t hist_count_below(const struct hist *h, uint64_t limit)
{
    uint64_t n = 0;
    for (size_t i = 0, last = bucket_of(limit); i <= last; i++)
        n += get(&h->counts[i]);
    return n;
}
