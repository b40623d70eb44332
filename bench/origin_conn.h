/* origin_conn - one connection of the simulated origin: requests in, planned answers out, one after the
 * other. */
#ifndef BENCH_ORIGIN_CONN_H
#define BENCH_ORIGIN_CONN_H

#include "bench/ev.h"
#include "bench/origin_reply.h"
#include "bench/origin_stats.h"
#include "common/list.h"

enum { ORIGIN_SCRATCH_BYTES = 256 * 1024 };

/* What the connections of one simulator share. */
struct origin_server {
    struct ev ev;
    struct origin_options defaults;
    struct arena kept; /* texts of defaults that came by /.bench/defaults */
    struct origin_stats stats;
    struct list_node conns;
    uint64_t serial;                    /* of requests */
    char scratch[ORIGIN_SCRATCH_BYTES]; /* bytes on their way in or out, never kept between calls */
};

/* Take over `fd`; it is closed when no memory is left. */
void origin_conn_open(struct origin_server *s, int fd);

/* End all connections at once. Not from a connection's callback. */
void origin_conn_close_all(struct origin_server *s);

/* Answer a request under /.bench/ (the answer is not counted). Returns 0 or ERR_NOMEM. */
int origin_control(struct origin_server *s, const struct http_head *head, struct origin_reply *out);

#endif
