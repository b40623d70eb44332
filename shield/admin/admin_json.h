/* admin_json - pages that are JSON. */
#ifndef SHIELD_ADMIN_ADMIN_JSON_H
#define SHIELD_ADMIN_ADMIN_JSON_H

#include <jansson.h>

#include "shield/admin/admin_pages.h"

/* A page with `value` and status 200. Takes the reference; a NULL (no memory) spoils the page. */
void admin_reply_json(struct admin_reply *out, json_t *value);

/* A string of bytes: what is not UTF-8 in them is shown as %XX. NULL without memory. */
json_t *admin_json_bytes(struct span s);

#endif
