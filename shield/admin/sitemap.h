/* sitemap - the locations in a sitemap (sitemaps.org, protocol 0.9), and no more of XML than that takes.
 * Pure.
 */
#ifndef SHIELD_ADMIN_SITEMAP_H
#define SHIELD_ADMIN_SITEMAP_H

#include "common/span.h"

/* Give each urlset/url/loc of `text` (UTF-8) to `each`, decoded and trimmed, from index 0 on, until it
 * returns false; the span is valid during the call. `<loc>` of other namespaces (image:loc) and elsewhere are
 * passed over.
 *
 * Gives NULL, or what is wrong with it, as the rest of a sentence: it breaks off, its tags do not nest, it is
 * an index (each of its sitemaps has to be given by itself), it declares a document type, or has a reference
 * that XML does not define by itself. Locations before that have been given. */
const char *sitemap_each(struct span text, bool (*each)(void *ctx, struct span url, size_t index), void *ctx);

#endif
