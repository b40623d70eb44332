/* gate - what all loops share of an origin: its budget, and its servers' state.
 *
 * At most max_concurrent requests are at the origin at a time over all loops, with a bounded queue behind.
 * Every request holds a place, whatever it is for: misses, passes, releases, revalidations, refreshes. A
 * place that becomes free goes to the first interactive request in the queue, and to the first in the
 * background only when no interactive one waits. So background work waits as long as clients do, at most its
 * caller's queue_timeout, and not a moment longer; what has a place keeps it. */
#ifndef SHIELD_ORIGIN_GATE_H
#define SHIELD_ORIGIN_GATE_H

#include "shield/net/loop.h"
#include "shield/origin/servers.h"

struct gate;
struct gate_place; /* one request's place, held or waited for */

struct gate *gate_new(unsigned origin_index); /* NULL without memory; for the life of the process */
void gate_free(struct gate **slot);

/* The state of the origin's servers; lives as long as the gate. Any thread. */
struct servers *gate_servers(struct gate *g);

enum gate_rank { GATE_INTERACTIVE, GATE_BACKGROUND, GATE_RANKS };

/* Ask for a place. Gives 0 with *out set: held at once when `*granted`, else queued: on_turn(ctx, 0) follows
 * from a later turn of `l` when it is held, or on_turn(ctx, ERR_BUSY) when a background request has given way
 * to an interactive one. ERR_BUSY when max_concurrent and max_queued (both ranks together) of the loop's
 * config are reached and nobody gives way; ERR_NOMEM. */
int gate_enter(struct gate *g, struct loop *l, enum gate_rank rank, void (*on_turn)(void *ctx, int err),
               void *ctx, struct gate_place **out, bool *granted);

/* A background request that waits is interactive from now on: the last of those in the queue. */
void gate_raise(struct gate_place *p);

/* Give the place back, or leave the queue; on_turn does not come any more. On the same loop; also after
 * on_turn with an error. */
void gate_leave(struct gate_place **slot);

/* The loop has another config: who waits goes on where it allows more. */
void gate_reload(struct gate *g, const struct loop *l);

#endif
