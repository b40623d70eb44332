/* change_fields - the fields that a route sets, adds and removes. Pure.
 *
 * They are for what leaves: whether a response is stored, and for how long, is decided on what the origin
 * said.
 */
#ifndef SHIELD_POLICY_CHANGE_FIELDS_H
#define SHIELD_POLICY_CHANGE_FIELDS_H

#include "common/arena.h"
#include "common/http_head.h"
#include "shield/ops/config.h"

struct field_changes {                    /* a list may be NULL */
    const struct config_pairs *set, *add; /* set: in the place of all of the name; add: one more */
    const struct config_texts *remove;
};

struct field_changes policy_request_changes(const struct config_route *route);
struct field_changes policy_response_changes(const struct config_route *route);

static inline bool field_changes_any(const struct field_changes *c)
{
    return c->set->n + c->add->n + c->remove->n > 0;
}

/* Whether a field of that name goes: it is removed, or set. */
bool field_changes_drop(const struct field_changes *c, struct span name);

/* `to` becomes `from` with the changes; the spans of both stay in use, the array of fields is in `a`. Returns
 * 0 or ERR_NOMEM. */
int policy_change_fields(struct http_head *to, const struct http_head *from,
                         const struct field_changes *changes, struct arena *a);

/* The fields that are set and added, for an answer that has no others. */
void policy_put_new_fields(struct buf *out, const struct field_changes *changes);

/* The stored form of a response's head: status line and fields, each with CRLF, and no empty line. */
void policy_put_block(struct buf *out, const struct http_head *response);

#endif
