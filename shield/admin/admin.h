/* admin - the admin port: metrics, health, what flies, for operators and probes.
 *
 * Lives on a loop and thread of its own, so that traffic cannot starve it. GET and HEAD of /metrics, /livez,
 * /readyz, /healthz, /stats, /flights, /explain; POST /purge, /warm, /reload, /drain; GET and DELETE of
 * /warm/ID. Where tokens are configured
 * every path but /livez, /readyz and /healthz wants `Authorization: Bearer TOKEN`; where none are, Host has
 * to be a loopback address or localhost, so that no page in a browser can read it (DNS rebinding), and what
 * changes something may have no Origin, so that none can order it either. */
#ifndef SHIELD_ADMIN_ADMIN_H
#define SHIELD_ADMIN_ADMIN_H

#include "shield/cache/cache.h"
#include "shield/net/conn.h"
#include "shield/purge/purger.h"
#include "shield/warm/warmer.h"

struct admin;

/* What the admin port shows; called on its loop. */
struct admin_sources {
    struct cache *cache;
    struct disk *disk; /* NULL: memory only */
    struct purger *purger;
    struct warmer *warmer;
    bool (*is_ready)(void *ctx); /* all listeners are open */
    bool (*is_draining)(void *ctx);
    bool (*reload)(void *ctx, struct buf *why); /* as by HUP; false with lines that say why not */
    void (*drain)(void *ctx);                   /* as by TERM, but a second time changes nothing */
    void *ctx;
};

/* Read the tokens and bind the address of `l`'s config, which is all that may need root; port 0 picks a free
 * one. On failure a line that says why is appended to `errors`. Returns 0, ERR_SYSTEM (address in use, no
 * right), ERR_NOMEM, or ERR_SYNTAX (the token file). */
int admin_bind(struct admin **out, struct loop *l, struct buf *errors);

/* Begin to serve, on the loop's thread or before it runs. Returns 0 or ERR_SYSTEM; admin_close is due in
 * either case. */
int admin_open(struct admin *a, const struct admin_sources *sources);

/* The real address, as ADDR text. */
void admin_put_address(const struct admin *a, struct buf *out);

/* Read the token file that `next` names (HUP). Returns 0, ERR_NOMEM, or ERR_SYNTAX with a line in `errors`;
 * the old tokens stay in force then. */
int admin_reload(struct admin *a, const struct config *next, struct buf *errors);

/* Close the listener and all connections, on the loop's thread or after it has run; memory goes when the loop
 * has turned (loop_fini turns it). NULL is fine. */
void admin_close(struct admin **slot);

#endif
