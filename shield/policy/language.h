/* language - Accept-Language in normal form (RFC 9110 section 12.5.4). Pure. */
#ifndef SHIELD_POLICY_LANGUAGE_H
#define SHIELD_POLICY_LANGUAGE_H

#include "common/buf.h"
#include "common/http_head.h"

/* More languages than this in one request, and it is left as it came. */
enum { LANGUAGES_MAX = 32 };

/* Append Accept-Language in normal form: tags in lower case, each once, sorted by quality (among equals in
 * their order, which origins look at); qualities without what adds nothing; q=0 dropped where no other range
 * covers the tag. It means the same as what came (RFC 9111 section 4.1). False, and nothing appended, when
 * the request has none, or one that is not well formed: that goes as it came. Used for the variant key and
 * for the request upstream (cache.normalise_language). */
bool policy_put_languages(const struct http_head *request, struct buf *out);

#endif
