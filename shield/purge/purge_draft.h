/* purge_draft - an order on its way from a caller's words to the purger: owns its texts, judges each item.
 *
 * The first fault stays and ends it: what cannot be read as a whole purges nothing. */
#ifndef SHIELD_PURGE_PURGE_DRAFT_H
#define SHIELD_PURGE_PURGE_DRAFT_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/http_head.h"
#include "shield/ops/config.h"
#include "shield/purge/purge.h"

enum { PURGE_REFERENCE_MAX = 256 };                 /* bytes */
#define PURGE_OVER_MAX_MS (30 * UINT64_C(86400000)) /* 30 days */

enum purge_draft_limit { DRAFT_WITHIN, DRAFT_MAX_ITEMS, DRAFT_MAX_ITEM_BYTES };

struct purge_draft {
    bool is_soft;
    uint64_t over_ms;
    struct span reference;        /* purge_draft_refer */
    int err;                      /* 0, ERR_SYNTAX, ERR_CONTENT_TOO_LARGE or ERR_NOMEM */
    enum purge_draft_limit limit; /* which one ERR_CONTENT_TOO_LARGE is about */
    struct buf why;               /* of the other two: what is wrong, and what would be right */
    struct arena arena;           /* for what has to live as long as the draft */
    uint64_t max_items, max_item_bytes;
    struct buf items; /* private: struct purge_item each, texts in `arena` */
};

/* Empty; purge.max_items and purge.max_item_bytes are read now. purge_draft_fini it. */
void purge_draft_init(struct purge_draft *d, const struct config *cfg);
void purge_draft_fini(struct purge_draft *d);

size_t purge_draft_count(const struct purge_draft *d, enum purge_kind kind);

/* One thing more; `what` is copied. `where` and `index` ("urls[2]"; a negative index: "urls") tell the caller
 * which one is wrong. False with d->err:
 *
 * PURGE_URL     an absolute http or https URL
 * PURGE_PREFIX  the beginning of one; without scheme it is taken for http, and without path for all of the
 *               host: the item says so
 * PURGE_TAG     printable, no blank at either end
 * PURGE_HOST    host or host:port, without pattern
 * PURGE_ALL     `what` is not looked at */
bool purge_draft_add(struct purge_draft *d, enum purge_kind kind, struct span what, const char *where,
                     int index);

/* The caller's name for the order, copied; a second one has to be the same. False with d->err. */
bool purge_draft_refer(struct purge_draft *d, struct span reference);

/* The same by the field Idempotency-Key, where there is one (draft-ietf-httpapi-idempotency-key-header: a
 * structured string; what is none counts as it stands). */
bool purge_draft_refer_by(struct purge_draft *d, const struct http_head *head);

/* What is wrong with it, in words, unless something already is. Always false. */
bool purge_draft_fault(struct purge_draft *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool purge_draft_nomem(struct purge_draft *d);

/* The order, which lives as long as the draft. False with d->err: a fault before, or nothing to purge. */
bool purge_draft_order(struct purge_draft *d, struct purge_order *out);

#endif
