/* vary - secondary keys (RFC 9111 section 4.1). Pure. */
#ifndef SHIELD_POLICY_VARY_H
#define SHIELD_POLICY_VARY_H

#include "common/buf.h"
#include "common/http_head.h"
#include "shield/ops/config.h"

/* A variant key has at most this many field names; what varies on more is never stored. */
enum { VARY_MAX_NAMES = 64 };

/* Whether no stored `response` can ever match another request: "*" anywhere in Vary (RFC 9111 section 4.1), a
 * member that is no field name, or more than VARY_MAX_NAMES of them. */
bool policy_varies_always(const struct http_head *response);

/* The field names that `response` varies on, canonical: lower case, sorted, each once, joined by commas;
 * empty when none. All Vary lines count; a response with Content-Encoding varies on accept-encoding too. Left
 * out are the fields whose every value upstream is part of the key by `route`: who has this key has sent the
 * same, whatever else stood in his Cookie. False, and `out` as it was, where policy_varies_always. */
bool policy_vary_names(const struct config_route *route, const struct http_head *response, struct buf *out);

/* The variant key of `request` for such names: appended to `out`, unambiguous (lengths and presence are part
 * of it). Absent differs from empty; several lines combine; Accept-Encoding is normalised by
 * cache.normalise_encoding, Accept-Language by cache.normalise_language. */
void policy_vary_key(const struct config *cfg, struct span names, const struct http_head *request,
                     struct buf *out);

/* Take a variant key apart again: the next of `names` and its value, which is as it was compared; p is NULL
 * when the request had no such field. False behind the last, and where the two do not fit together. */
bool policy_vary_next(struct span *names, struct span *variant, struct span *name, struct span *value);

/* Accept-Encoding in normal form: of br, gzip those accepted (q=0 honoured), in this order, joined by ", ";
 * "identity" when nothing else is left. Used for the variant key and for the request upstream. */
struct span policy_accept_encoding(const struct http_head *request);

#endif
