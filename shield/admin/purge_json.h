/* purge_json - what the dialects that are JSON have in common, and ours:
 *
 *   {"urls":[],"prefixes":[],"tags":[],"hosts":[],"all":false,"soft":false,"over":"10m","reference":"v42"}
 *
 * All members may be left out, but something has to be ordered; "over" means soft unless "soft" is false by
 * the caller's own word. Pure. */
#ifndef SHIELD_ADMIN_PURGE_JSON_H
#define SHIELD_ADMIN_PURGE_JSON_H

#include "shield/admin/purge_dialect.h"

/* The JSON object that `text` is, or NULL with d->err; `example` shows what would be
 * right. A member that comes twice is a fault. */
json_t *purge_json_object(struct span text, const char *example, struct purge_draft *d);

/* A list of strings of one kind, called `name`. False with d->err. */
bool purge_json_list(const json_t *value, const char *name, enum purge_kind kind, struct purge_draft *d);

/* A member that is true or false. False with d->err. */
bool purge_json_bool(const json_t *value, const char *name, bool *out, struct purge_draft *d);

#endif
