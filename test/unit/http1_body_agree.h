/* http1_body_agree - one body, decoded in one piece and in many. For unit tests and fuzzing. */
#ifndef TEST_HTTP1_BODY_AGREE_H
#define TEST_HTTP1_BODY_AGREE_H

#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/http1.h"

struct body_run {
    struct http1_body body;
    enum http1_body_status status; /* the last one */
    size_t consumed;
    struct buf payload;
};

static inline void body_run_fini(struct body_run *r)
{
    buf_fini(&r->payload);
}

/* Feeds one piece to its end, from an allocation of exactly its size. */
static inline void body_run_piece(struct body_run *r, struct span piece)
{
    char *copy = malloc(piece.len + 1);
    REQUIRE(copy != NULL);
    char *at = copy + 1; /* the end of the piece is the end of the allocation */
    size_t left = piece.len;
    if (left > 0)
        memcpy(at, piece.p, left);
    do {
        struct span data;
        size_t used;
        r->status = http1_body_feed(&r->body, at, left, &used, &data);
        REQUIRE(used <= left);
        if (r->status == BODY_DATA) {
            REQUIRE(data.len > 0 && data.p >= at && data.p + data.len == at + used);
            buf_put_span(&r->payload, data);
        }
        REQUIRE(r->status != BODY_MORE || used == left);
        at += used;
        left -= used;
        r->consumed += used;
    } while (r->status == BODY_DATA);
    free(copy);
}

/* Gives `first` bytes, then `step` at a time, until the body ends or breaks. */
static inline void body_run_all(struct body_run *r, const struct http1_body *fresh, struct span in,
                                size_t first, size_t step)
{
    *r = (struct body_run){.body = *fresh};
    size_t n = MIN(first, in.len);
    for (size_t at = 0;;) {
        body_run_piece(r, (struct span){in.p + at, n});
        at += n;
        if (r->status != BODY_MORE || at == in.len)
            return;
        n = MIN(step, in.len - at);
    }
}

static inline bool body_run_same(const struct body_run *a, const struct body_run *b)
{
    return a->status == b->status && a->consumed == b->consumed && a->body.err == b->body.err &&
           span_eq(buf_span(&a->payload), buf_span(&b->payload));
}

#endif
