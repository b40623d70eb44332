/* unkeyed - request fields by which an origin may answer differently, and that no key tells apart (DESIGN.md
 * section 9). Pure.
 *
 * With a GET or HEAD they stay here, unless a route keys them: what one client says with them would be
 * everybody's answer. */
#ifndef SHIELD_POLICY_UNKEYED_H
#define SHIELD_POLICY_UNKEYED_H

#include "common/http_head.h"

/* The ids among them, a bit each. */
extern const uint64_t unkeyed_fields;

/* Whether `f` is one of them, by its id or by a name that has none. */
bool unkeyed_input(const struct http_field *f);

/* Take out of a request what it says about who has asked: X-Forwarded-For, X-Real-IP and their like, however
 * spelt. Only a trusted edge is believed in that. */
void unkeyed_drop_hearsay(struct http_head *request);

/* Whether an origin may take `name` for `known`: CGI and its heirs write "_" for every byte of a name that is
 * neither letter nor digit, so that X_Forwarded_Host and X-Forwarded-Host are one to them. */
bool unkeyed_same_name(struct span name, struct span known);

/* The field with an id that an origin may so take `name` for; FIELD_OTHER when there is none, or it is spelt
 * as it should be. */
enum http_field_id unkeyed_spelling(struct span name);

#endif
