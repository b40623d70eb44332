/* purge_dialect - the ways in which callers write a purge, and read its answer. Pure. */
#ifndef SHIELD_ADMIN_PURGE_DIALECT_H
#define SHIELD_ADMIN_PURGE_DIALECT_H

#include <jansson.h>

#include "common/http_head.h"
#include "shield/purge/purge_draft.h"

/* A request as a dialect sees it. */
struct purge_words {
    struct span target;           /* path and query */
    const struct http_head *head; /* NULL once it is being answered */
    struct span content;
};

struct purge_dialect {
    /* Into the draft. False with d->err. */
    bool (*read)(const struct purge_words *w, struct purge_draft *d);
    /* What the caller reads when the purge is in force, durable or not; `o` is what read has made. NULL
     * without memory. */
    json_t *(*receipt)(const struct purge_words *w, const struct purge_order *o,
                       const struct purge_receipt *r);
    json_t *(*error)(int status, struct span why); /* NULL without memory */
    const char *token_field; /* where its callers put the token, if not in Authorization; NULL: nowhere */
};

/* purge_json.c: POST /purge. {"purge":7,"durable":true}, {"error":"..."} */
extern const struct purge_dialect purge_ours;

/* purge_cloudflare.c: POST or DELETE /client/v4/zones/ID/purge_cache with "files" (URLs, or objects with
 * "url" and "headers": all variants go, whatever the headers), "tags", "prefixes", "hosts",
 * "purge_everything". ID is any: there is one zone. Answers in the envelope success, errors, messages,
 * result. */
extern const struct purge_dialect purge_cloudflare;

/* purge_fastly.c: POST or PUT /service/ID/purge/KEY, /service/ID/purge_all; POST /service/ID/purge with
 * Surrogate-Key or {"surrogate_keys":[]}; POST or PURGE /purge/HOST/PATH. `Fastly-Soft-Purge: 1` is soft. KEY
 * is all that stands behind purge/, percent-decoded. Answers {"status":"ok","id":"7"}, of several keys
 * {"KEY":"7"}, and {"msg","detail"}. */
extern const struct purge_dialect purge_fastly;

#endif
