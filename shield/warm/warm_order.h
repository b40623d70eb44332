/* warm_order - what is to be warmed, on its way from a caller's words to the warmer: owns its texts, judges
 * each item.
 *
 * The first fault stays and ends it: what cannot be read as a whole warms nothing. */
#ifndef SHIELD_WARM_WARM_ORDER_H
#define SHIELD_WARM_WARM_ORDER_H

#include "common/arena.h"
#include "common/buf.h"
#include "shield/ops/config.h"

enum { WARM_PACE = 50, WARM_PACE_MAX = 10000, WARM_VARIANTS_MAX = 16 }; /* pace: requests a second */

struct warm_order {
    uint64_t pace;
    int err;        /* 0, ERR_SYNTAX, ERR_CONTENT_TOO_LARGE (warm.max_urls) or ERR_NOMEM */
    struct buf why; /* of the first two: what is wrong, and what would be right */
    struct arena arena;
    struct buf urls;   /* struct span each, texts in `arena` */
    struct buf maps;   /* the same: sitemaps that are to be fetched, whose URLs come behind */
    size_t n_variants; /* at least 1 */
    struct span variants[WARM_VARIANTS_MAX]; /* field lines with CRLF; the texts in `arena` */
    const struct config *config;             /* whose bounds hold */
    bool has_variants;                       /* private */
};

/* Empty, with the pace that is meant where none is given. `cfg` outlives the reading. warm_order_fini it. */
void warm_order_init(struct warm_order *o, const struct config *cfg);
void warm_order_fini(struct warm_order *o);

/* One set of fields more, with which each URL is asked for: `lines` as of warm_request_make (copied). Before
 * the first URL. False with o->err. */
bool warm_order_add_variant(struct warm_order *o, struct span lines);

/* One URL more (copied). `where` and `index` ("urls[2]") tell the caller which one is wrong. False with
 * o->err. */
bool warm_order_add_url(struct warm_order *o, struct span url, const char *where, size_t index);

/* The same for a sitemap. */
bool warm_order_add_map(struct warm_order *o, struct span url, const char *where, size_t index);

/* All that a sitemap's `text` lists: its URLs, and of an index its sitemaps. False with o->err. */
bool warm_order_add_listed(struct warm_order *o, struct span text);

size_t warm_order_urls(const struct warm_order *o);
size_t warm_order_requests(const struct warm_order *o); /* each URL with each variant */
struct span warm_order_url(const struct warm_order *o, size_t i);
size_t warm_order_maps(const struct warm_order *o);
struct span warm_order_map(const struct warm_order *o, size_t i);

/* What is wrong with it, in words, unless something already is. Always false. */
bool warm_order_fault(struct warm_order *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool warm_order_nomem(struct warm_order *o);

#endif
