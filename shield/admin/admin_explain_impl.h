/* admin_explain_impl - what the admin_explain*.c files share; nobody else includes it. */
#ifndef SHIELD_ADMIN_ADMIN_EXPLAIN_IMPL_H
#define SHIELD_ADMIN_ADMIN_EXPLAIN_IMPL_H

#include <jansson.h>

#include "shield/admin/admin_explain.h"
#include "shield/cache/look.h"

/* A variant as the disk has it. */
struct explain_record {
    struct stored_head *head;
    uint64_t id, length;
    bool selected;
};

struct explain {
    struct admin_later *later;
    struct config *config; /* of the turn it began in */
    struct cache *cache;
    struct loop *loop;

    /* the request, in `text` */
    struct buf text, key;
    struct http_field *fields;
    struct http_head head;
    struct http1_target target;
    const struct config_route *route;
    struct request_verdict verdict;

    struct disk_get get;
    struct explain_record records[LOOK_VARIANTS];
    uint32_t n_records, records_left_out;
    struct cache_seen seen;
};

/* admin_explain_read.c: the request that `query` describes into e->text and e->head. False with *why, the
 * text of which says what would be right. */
bool explain_read(struct explain *e, struct span query, struct buf *why);

/* admin_explain_show.c: everything as JSON; NULL without memory. */
json_t *explain_show(const struct explain *e);

#endif
