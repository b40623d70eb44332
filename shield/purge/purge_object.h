/* purge_object - a stored response held against the purges in force. */
#ifndef SHIELD_PURGE_PURGE_OBJECT_H
#define SHIELD_PURGE_PURGE_OBJECT_H

#include "shield/purge/purge_log.h"
#include "shield/store/object.h"

/* Whether `o` is purged at now_ms (wall clock). Where `facts` is not NULL they are o's, of a softly purged
 * one stale since its purge, so that the windows of stale answers count from there. `log` may be NULL: then
 * nothing is. Any thread. */
enum purge_verdict purge_object_check(struct purge_log *log, struct object *o, int64_t now_ms,
                                      struct response_facts *facts);

/* Whether there is no need to ask: purge_log_is_quiet. */
static inline bool purge_object_is_quiet(const struct purge_log *log, struct object *o)
{
    return purge_log_is_quiet(log, object_head(o)->purge_number, object_purge_seen(o));
}

#endif
