/* gate - the origin's budget: at most max_concurrent requests at a time over all loops, a bounded queue
 * behind.
 *
 * Every request to an origin holds a place, whatever it is for: misses, passes, releases, revalidations. A
 * place that is given back goes to the first in the queue, by mail to its loop. */
#ifndef SHIELD_ORIGIN_GATE_H
#define SHIELD_ORIGIN_GATE_H

#include "shield/net/loop.h"

struct gate;
struct gate_place; /* one request's place, held or waited for */

struct gate *gate_new(unsigned origin_index); /* NULL without memory; for the life of the process */
void gate_free(struct gate **slot);

/* Ask for a place. Gives 0 with *out set: held at once when `*granted`, else queued: on_granted(ctx) follows
 * from a later turn of `l`. ERR_BUSY when max_concurrent and max_queued of the loop's config are reached,
 * ERR_NOMEM. */
int gate_enter(struct gate *g, struct loop *l, void (*on_granted)(void *ctx), void *ctx,
               struct gate_place **out, bool *granted);

/* Give the place back, or leave the queue; on_granted does not come any more. On the same loop. */
void gate_leave(struct gate_place **slot);

#endif
