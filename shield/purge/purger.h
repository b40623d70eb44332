/* purger - carries out orders: number, log, durability, barrier, receipt (DESIGN.md section 7).
 *
 * An order is answered when its records are durable and every loop has passed its number: from then on no
 * response head is written of what it names and that was fetched before. Orders are carried out in the order
 * in which they come; those that wait for the disk together are made durable together. */
#ifndef SHIELD_PURGE_PURGER_H
#define SHIELD_PURGE_PURGER_H

#include "shield/net/loop.h"
#include "shield/purge/purge_log.h"
#include "shield/store/disk.h"

struct purger;

struct purger_options {
    struct purge_log *log; /* outlives it */
    struct disk *disk;     /* NULL: memory only, from where nothing comes back; is_durable is true then */
    struct loop **loops;   /* of all workers: who has to pass */
    unsigned n_loops;
    /* On each of them, when a number has come into force: fence what runs there. */
    void (*pass)(void *ctx, struct loop *here);
    void *ctx;
};

/* Takes the log up from the disk. Before the loops run. Returns 0, ERR_NOMEM, or what disk_purge_load gives.
 */
int purger_new(struct purger **out, const struct purger_options *options);
/* When the loops' threads have ended and the disk is closed: from here on no loop is sent anything. */
void purger_close(struct purger *p);
/* After loop_fini of all loops. Orders that were still under way get their receipts now, ERR_GONE where not
 * all have passed: such an order may be in force for the next process. */
void purger_free(struct purger **slot);

/* Purge what `o` names. Everything is copied. URLs are resolved through the routes of here's configuration:
 * all keys that a GET or HEAD of such a URL may have, whatever its other fields.
 *
 * thread   any loop, the admin loop too
 * receipt  `done` (NULL: nobody wants to know) is called on `here`, from a later turn, exactly once. err: 0;
 *          ERR_SYNTAX (an item is not what its kind demands), ERR_NOMEM, ERR_BUSY (too many paced orders are
 *          running): then nothing was purged. Not durable is no error: the purge is in force, is_durable
 *          tells that it would not outlive the process
 * repeat   with a reference that is known (the newest PURGER_REFERENCES of them, over a restart too) nothing
 *          is done, and the receipt is that of the first order, when that one is through
 * returns  0, or ERR_NOMEM: nothing was purged, and there is no memory for a receipt */
enum { PURGER_REFERENCES = 4096 };
int purger_order(struct purger *p, struct loop *here, const struct purge_order *o,
                 void (*done)(void *ctx, const struct purge_receipt *r), void *ctx);

#endif
