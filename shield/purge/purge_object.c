#include "shield/purge/purge_object.h"

enum purge_verdict purge_object_check(struct purge_log *log, struct object *o, int64_t now_ms,
                                      struct response_facts *facts)
{
    const struct stored_head *h = object_head(o);
    struct purge_subject s = {.key = h->key, .tags = h->tags, .number = h->purge_number};
    int64_t since_ms = 0;
    enum purge_verdict v = purge_log_check(log, &s, now_ms, object_purge_seen(o), &since_ms);
    if (facts != NULL)
        *facts = h->facts;
    if (facts != NULL && v == PURGE_SOFT)
        facts_expire(facts, since_ms);
    return v;
}
