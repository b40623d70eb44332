/* purge_audit - one line in the log for each order: what it was, who gave it, what became of it. */
#ifndef SHIELD_PURGE_PURGE_AUDIT_H
#define SHIELD_PURGE_PURGE_AUDIT_H

#include "shield/purge/purge.h"

/* "purge: number=7 by=deploy urls=2 tags=1 mode=soft over=10m durable=yes repeated=no reference="v42"", at
 * level info; a warning where it is not durable or failed. `who` is a token's name or an address, never a
 * token. Kinds of which there is none are left out, as are an empty reference and over=0. Any thread. */
void purge_audit(struct span who, const struct purge_order *o, const struct purge_receipt *r);

#endif
