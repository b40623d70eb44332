/* withheld - fields of a response that are not stored with it: private="name" and no-cache="name" (RFC 9111
 * sections 3.1, 5.2.2.4 and 5.2.2.7). Pure.
 *
 * Whoever the response was fetched for gets them; everyone else gets the rest. */
#ifndef SHIELD_POLICY_WITHHELD_H
#define SHIELD_POLICY_WITHHELD_H

#include "common/buf.h"
#include "shield/policy/cache_control.h"

enum { WITHHELD_MAX = 16 };

struct withheld {
    struct span names[WITHHELD_MAX];
    unsigned n;
};

/* The names in the directives that govern `response`. False, and none, when they cannot be kept apart: there
 * are more than WITHHELD_MAX, one is no field name, or names a field on which decisions of ours rest, or
 * that the content cannot be read without. Such a directive counts as if it had no names. */
bool withheld_read(const struct http_head *response, struct withheld *out);

bool withheld_has(const struct withheld *w, const struct http_field *f);

/* Append the fields that are withheld, each with CRLF. */
void withheld_put(struct buf *out, const struct http_head *response);

#endif
