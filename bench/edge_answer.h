/* edge_answer - reading and judging one answer. Touches nothing but its edge and the thread's report. */
#ifndef BENCH_EDGE_ANSWER_H
#define BENCH_EDGE_ANSWER_H

#include "bench/edge.h"

enum edge_answer_status {
    ANSWER_MORE, /* all input taken, more is to come */
    ANSWER_END,  /* whole: *used says how much of the input was its */
    ANSWER_BAD,  /* broken syntax or framing */
};

enum edge_answer_status edge_answer_feed(struct edge *e, const char *p, size_t len, size_t *used);

/* The content is over, by framing or by a clean end of the connection: is it the whole object? Sets e->fault.
 */
void edge_answer_end(struct edge *e);

/* The last member of Cache-Status (RFC 9211), classified; *member is set to it when there is one. */
enum edge_cache edge_cache_of(const struct http_head *head, struct span *member);

#endif
