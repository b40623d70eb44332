/* purge - what a caller wants gone, and how the log keeps it (DESIGN.md section 7).
 *
 * An *order* is what a caller gives in one call; it gets one number. A *record* is one thing of it, as the
 * log keeps it, in memory and on disk. A response keeps the number that was current when its fetch began, and
 * is valid while no record that matches it has a higher one. */
#ifndef SHIELD_PURGE_PURGE_H
#define SHIELD_PURGE_PURGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/span.h"

enum purge_kind { PURGE_URL, PURGE_PREFIX, PURGE_TAG, PURGE_HOST, PURGE_ALL, PURGE_KINDS };

/* As the caller names it: an absolute URL, the beginning of one, a tag, a host; empty for PURGE_ALL. */
struct purge_item {
    enum purge_kind kind;
    struct span what;
};

struct purge_order {
    const struct purge_item *items;
    size_t n_items;
    bool is_soft;     /* becomes stale; else it is gone */
    uint64_t over_ms; /* paced: each response at its own time within so long; 0: all at once */
    struct span
        reference; /* the caller's name for the order: a second with the same is the first; or empty */
};

struct purge_receipt {
    int err;         /* 0, or why nothing was purged */
    uint64_t number; /* of the order */
    bool is_durable; /* false: in force, but it would not survive the process */
    bool is_repeat;  /* the reference was known: the number is the earlier order's */
};

struct purge_record {
    uint64_t number;
    enum purge_kind kind;
    bool is_soft;
    int64_t at_ms; /* wall clock: when it was ordered */
    uint64_t over_ms;
    struct span what; /* as the log matches it: normal form, PURGE_URL the key's part of the URI */
    struct span reference;
};

#endif
