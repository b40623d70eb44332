/* origin_reply - what the simulated origin will answer to one request: decided at once, sent later. Pure. */
#ifndef BENCH_ORIGIN_REPLY_H
#define BENCH_ORIGIN_REPLY_H

#include "bench/body.h"
#include "bench/origin_options.h"
#include "common/http_head.h"

struct origin_reply {
    struct buf head;
    int status;
    enum origin_framing framing;
    uint64_t seed;
    uint64_t at, end;    /* the bytes of the object still to send */
    uint64_t cut, stall; /* how many of them to send before that happens; FLAG_NONE: never */
    uint64_t delay_ms, drip_ms, tick_ms;
    int64_t fresh_until_s; /* by Date and Cache-Control; 0: may not be shared, or is no good answer to keep */
    bool hang, last;       /* last: the connection ends with this answer */
};

/* One request, with what the origin knows beyond its head. */
struct origin_request {
    const struct http_head *head;
    uint64_t nth;    /* how often this key has been fetched, with this time: 1 for the first */
    uint64_t serial; /* another number for each request of this origin */
    uint64_t others; /* fetches that run at the same time */
    int64_t now_s;
    uint64_t now_ns; /* monotonic */
};

/* Fill `out`, whose head is an empty buf of the caller's; a buf that failed says ERR_NOMEM. */
int origin_reply_plan(const struct origin_request *request, const struct origin_options *o,
                      struct origin_reply *out);

/* An answer of the origin itself: a small text, nothing simulated. */
int origin_reply_text(struct origin_reply *out, int status, const char *type, struct span text,
                      bool head_only, bool last);

#endif
