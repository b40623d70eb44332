/* purge_tags - the tags of a response: what groups it belongs to that may be purged together. Pure.
 *
 * They come from Surrogate-Key (separated by blanks), Cache-Tag (by commas) and Cache-Groups (RFC 9875), of
 * which the last belong to the origin of the response's URI as well, and are purged by that name where an
 * origin's Cache-Group-Invalidation asks for it. */
#ifndef SHIELD_PURGE_PURGE_TAGS_H
#define SHIELD_PURGE_PURGE_TAGS_H

#include "common/buf.h"
#include "common/http_head.h"

enum { PURGE_TAG_BYTES = 8 }; /* of a tag as an object keeps it: a hash that is the same in every process */

/* Append the tags of `response`, PURGE_TAG_BYTES each; `host` is that of its key. False when there are more
 * than `max`: then what stands in `out` matches every purge by tag. out->failed without memory. */
bool purge_tags_put(struct buf *out, const struct http_head *response, struct span host, uint64_t max);

/* The hash of one tag as a purge names it, and the i-th of an object's. Never 0 but for what matches all. */
uint64_t purge_tag_hash(struct span tag);
uint64_t purge_tag_at(struct span tags, size_t i);

/* How a purge names a cache group of `host`: appended to `out`. */
void purge_tags_put_group(struct buf *out, struct span host, struct span group);

#endif
