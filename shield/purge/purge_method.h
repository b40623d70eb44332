/* purge_method - purges as requests to the data port: PURGE, SOFTPURGE and BAN, as callers of Varnish, nginx
 * and Fastly write them. Pure.
 *
 *   PURGE /path          the URL of Host and target; SOFTPURGE, or a field Soft-Purge or Fastly-Soft-Purge of
 * 1, makes it stale PURGE /path*         all that begins so; BAN too, and PURGE /path.* with X-Purge-Method:
 * regex PURGE or BAN with tags, whatever the path: Surrogate-Key, xkey, xkey-purge and xkey-softpurge (blanks
 *                        between), Cache-Tag (commas), Cache-Tags (blanks, commas or bars)
 *
 * Regular expressions are not known, and whoever sends some other is told so. */
#ifndef SHIELD_PURGE_PURGE_METHOD_H
#define SHIELD_PURGE_PURGE_METHOD_H

#include "common/http1.h"
#include "shield/purge/purge_draft.h"

/* `head` with one of these methods, and its target, into the draft. False with d->err. */
bool purge_method_read(const struct http_head *head, const struct http1_target *target,
                       struct purge_draft *d);

#endif
