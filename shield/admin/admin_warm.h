/* admin_warm - warming over the admin port: POST /warm, GET and DELETE of /warm/ID. */
#ifndef SHIELD_ADMIN_ADMIN_WARM_H
#define SHIELD_ADMIN_ADMIN_WARM_H

#include <jansson.h>

#include "shield/admin/admin_pages.h"

/* POST /warm begins a list: 202 with {"warm":ID,"urls":N}. The content is our JSON, a URL a line, or a
 * sitemap; what cannot be read as a whole warms nothing (400, 413). 503 while warm.max_lists run, and while
 * the process drains. */
bool admin_warm(struct admin_pages *p, const struct admin_request *r, struct admin_later *later,
                struct admin_reply *out);

/* GET /warm/ID shows how it stands, with its first failures; DELETE cancels it (scope config). */
bool admin_warm_one(struct admin_pages *p, const struct admin_request *r, struct admin_later *later,
                    struct admin_reply *out);

/* For /stats: all lists that are known, oldest first. NULL without memory. */
json_t *admin_warm_list(const struct warmer *w);

#endif
