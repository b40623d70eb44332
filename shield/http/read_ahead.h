/* read_ahead - how many requests a connection has sent ahead of its answers.
 *
 * It goes over the bytes that wait behind the running request, each once, and counts the heads that are whole
 * in them; content is stepped over, so that what looks like a head in there is none. Pure but for its own
 * struct. */
#ifndef SHIELD_HTTP_READ_AHEAD_H
#define SHIELD_HTTP_READ_AHEAD_H

#include "common/http1.h"

struct read_ahead {
    size_t counted;    /* bytes gone over, from the first that waits */
    uint32_t requests; /* whole heads in them */
    bool in_content;   /* private, like the rest */
    bool is_over;      /* what follows is refused: nothing behind it is a request */
    struct http1_scan scan;
    struct http1_body body;
};

/* Begin at the first byte that waits. `running` is the body of the running request where those bytes begin
 * within it (copied), NULL where they begin with a head. */
void read_ahead_init(struct read_ahead *a, const struct http1_body *running);

/* Go on over p[0..len), whose first a->counted bytes are known, until `most` requests are counted. `fields`
 * is scratch for limits->max_fields of them. */
void read_ahead_count(struct read_ahead *a, const char *p, size_t len, const struct http1_limits *limits,
                      struct http_field *fields, uint32_t most);

/* The first `bytes` have been taken, `requests` heads with them. False when that is more than was gone over:
 * begin anew. */
bool read_ahead_take(struct read_ahead *a, size_t bytes, uint32_t requests);

#endif
