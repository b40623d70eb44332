/* warm_request - a GET as a client would send it, made of a URL. Pure. */
#ifndef SHIELD_WARM_WARM_REQUEST_H
#define SHIELD_WARM_WARM_REQUEST_H

#include "common/http1.h"

/* Zero it; warm_request_fini it, whatever was returned. */
struct warm_request {
    struct buf text; /* what the spans below point into */
    struct http_field *fields;
    struct http_head head;
    struct http1_target target;
};

/* The request for `url` (absolute, http or https) with the fields in `lines` (with CRLF each; may be empty).
 * What nobody but us may say of a request (`Host`, content) is not for `lines`. Returns 0, ERR_NOMEM, or
 * ERR_SYNTAX with *why set to a static text that says what would be right. */
int warm_request_make(struct warm_request *r, const struct http1_limits *limits, struct span url,
                      struct span lines, const char **why);
void warm_request_fini(struct warm_request *r);

#endif
