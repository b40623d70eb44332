/* edge_request - what a request of an edge asks for: all that its number and its connection decide. */
#ifndef BENCH_EDGE_REQUEST_H
#define BENCH_EDGE_REQUEST_H

#include "bench/edge.h"

/* After e->i is set: draws the key, whether it is given up, and the range. */
void edge_request_draw(struct edge *e);

/* The whole request, behind what is in `out`; out->failed without memory. */
void edge_request_put(const struct edge *e, struct buf *out);

/* Whether it has a Range, drawn or among the user's own fields. */
bool edge_request_asks_part(const struct edge *e);

/* The field of --vary, and the value whose turn it is. False: there is no such field. */
bool edge_request_variant(const struct edge *e, struct span *name, struct span *value);

#endif
