/* verdict - what a parser makes of the first message in some bytes that nothing follows. */
#ifndef TEST_DIFFERENTIAL_VERDICT_H
#define TEST_DIFFERENTIAL_VERDICT_H

#include <stdbool.h>

#include "common/buf.h"
#include "common/span.h"

enum outcome { WHOLE, CUT, REFUSED }; /* CUT: it waits for more */

struct verdict {
    enum outcome outcome;
    const char *why;  /* REFUSED: static text */
    struct buf start; /* the start line, its parts with one space between them */
    struct buf fields;
    struct buf body;
    size_t consumed; /* bytes of the message */
};

/* Both start with an empty verdict, whose memory verdict_fini frees; a response is one to a GET. */
void verdict_ours(struct verdict *v, bool is_request, struct span in);
void verdict_theirs(struct verdict *v, bool is_request, struct span in);

static inline void verdict_fini(struct verdict *v)
{
    buf_fini(&v->start);
    buf_fini(&v->fields);
    buf_fini(&v->body);
    *v = (struct verdict){0};
}

#endif
