/* sitemap - the locations in a sitemap (sitemaps.org, protocol 0.9), and no more of XML than that takes.
 * Pure.
 */
#ifndef SHIELD_WARM_SITEMAP_H
#define SHIELD_WARM_SITEMAP_H

#include "common/span.h"

enum sitemap_item { SITEMAP_URL, SITEMAP_MAP };

/* Give each urlset/url/loc (SITEMAP_URL), or of an index each sitemapindex/sitemap/loc (SITEMAP_MAP), of
 * `text` (UTF-8) to `each`, decoded and trimmed, from index 0 on, until it returns false; the span is valid
 * during the call. `<loc>` of other namespaces (image:loc) and elsewhere are passed over.
 *
 * Gives NULL, or what is wrong with it, as the rest of a sentence: it breaks off, its tags do not nest, it
 * declares a document type, or has a reference that XML does not define by itself. Locations before that have
 * been given. */
const char *sitemap_each(struct span text,
                         bool (*each)(void *ctx, enum sitemap_item item, struct span url, size_t index),
                         void *ctx);

#endif
