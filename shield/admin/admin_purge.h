/* admin_purge - purges over the admin port: read in the caller's dialect, ordered, answered in the same. */
#ifndef SHIELD_ADMIN_ADMIN_PURGE_H
#define SHIELD_ADMIN_ADMIN_PURGE_H

#include "shield/admin/admin_pages.h"

/* POST /purge, see purge_json.h: {"purge":N,"durable":true} with 200, and "repeated":true where the reference
 * was known; 507 where it is in force but not durable; else {"error"} with 400, 413 or 503. A reference may
 * also be the field Idempotency-Key (draft-ietf-httpapi-idempotency-key-header: a string; a bare word will
 * do). As admin_page_answer. */
bool admin_purge(struct admin_pages *p, const struct admin_request *request, struct admin_later *later,
                 struct admin_reply *out);

/* {"error":why} with `status`, for what is wrong before the order is read. */
void admin_purge_refuse(struct admin_reply *out, int status, const char *why);

#endif
