/* admin_purge - purges over the admin port: read in the caller's dialect, ordered, answered in the same. */
#ifndef SHIELD_ADMIN_ADMIN_PURGE_H
#define SHIELD_ADMIN_ADMIN_PURGE_H

#include "shield/admin/admin_pages.h"
#include "shield/admin/purge_dialect.h"

/* Read it, order it, answer when the receipt is there: 200 with what the dialect says of it, 507 where the
 * purge is in force but not durable; 400, 413 or 503 where nothing was purged. A reference may also be the
 * field Idempotency-Key (draft-ietf-httpapi-idempotency-key-header: a string; a bare word will do). As
 * admin_page_answer. */
bool admin_purge(struct admin_pages *p, const struct purge_dialect *dialect,
                 const struct admin_request *request, struct admin_later *later, struct admin_reply *out);

/* An error with `status` as the dialect's callers read it. */
void admin_purge_refuse(const struct purge_dialect *dialect, struct admin_reply *out, int status,
                        struct span why);

#endif
