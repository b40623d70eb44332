/* waits - who waited for a fetch of the origin, and how much later than the first of them each had the
 * answer.
 *
 * The simulated origin says in `Bench-Fetch` which of its fetches an answer comes from and when it answered
 * that one. A request that had been sent before, and got this answer, has waited for this fetch, whatever the
 * proxy calls it; a hit was sent later. The first to have a byte is the leader, all others are its waiters.
 * Times are of the monotonic clock, in nanoseconds: both sides must be on one machine. Any thread. */
#ifndef BENCH_WAITS_H
#define BENCH_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/span.h"

struct waits;

#define WAITS_FIELD "Bench-Fetch"

/* "N; sent=NS", and back. */
void waits_put_field(struct buf *out, uint64_t fetch, uint64_t sent_ns);
bool waits_parse_field(struct span value, uint64_t *fetch, uint64_t *sent_ns);

/* One request of a client. Embed it; zero it before each request. */
struct wait {
    uint64_t fetch;   /* 0: has waited for none */
    uint64_t late_us; /* its first byte, behind the leader's */
    bool leads;
};

struct waits *waits_new(void); /* NULL without memory */
void waits_free(struct waits *w);

/* The first byte of an answer of `fetch` is here; the caller has seen that its request was sent before the
 * fetch was answered. */
void waits_first(struct waits *w, struct wait *one, uint64_t fetch, uint64_t now_ns);

/* The last byte is here. True for a waiter: *late_us is how much later than the first of all to be served
 * whole. What is that far behind newer fetches that they have taken its place is not known any more, and
 * false. */
bool waits_last(struct waits *w, const struct wait *one, uint64_t now_ns, uint64_t *late_us);

#endif
