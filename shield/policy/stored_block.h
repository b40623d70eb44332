/* stored_block - a stored response head, parsed again (see policy_store_block). Pure. */
#ifndef SHIELD_POLICY_STORED_BLOCK_H
#define SHIELD_POLICY_STORED_BLOCK_H

#include "common/http_head.h"

/* Of what we store; and of a response that comes in, so that there is room for what we add. */
enum { STORED_FIELDS_MAX = 1024, RESPONSE_FIELDS_MAX = STORED_FIELDS_MAX - 24 };

struct stored_block {
    struct http_field fields[STORED_FIELDS_MAX];
    struct http_head head; /* its spans lie in the block */
};

/* Parse a block with the empty line behind it. It is ours already, so no limit of the configuration applies.
 * False when it is no response head. */
bool stored_block_parse(struct stored_block *out, struct span block_and_crlf);

/* Takes the next line, with its CRLF, off `*rest`, which is a block or the end of one. `*id` is that of its
 * field (FIELD_OTHER for the status line), `*name` its name. False at the end. */
bool stored_block_next(struct span *rest, struct span *line, struct span *name, enum http_field_id *id);

#endif
