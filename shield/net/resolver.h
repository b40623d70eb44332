/* resolver - names to addresses through c-ares, on one loop, with the records' own TTL.
 *
 * An answer is kept for its TTL, within [1 s, 1 h]; when a name stops resolving, the last answer goes on
 * being used. Numeric addresses and localhost need no question. Own thread only. */
#ifndef SHIELD_NET_RESOLVER_H
#define SHIELD_NET_RESOLVER_H

#include "common/netaddr.h"
#include "shield/net/loop.h"

enum { RESOLVER_MAX_ADDRS = 16 };

struct resolver;

struct address_list {
    struct netaddr addrs[RESOLVER_MAX_ADDRS];
    unsigned n;
};

/* Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int resolver_open(struct resolver **out, struct loop *l);
/* Every running question ends with ERR_DNS from within. */
void resolver_close(struct resolver **slot);

/* A question: embed it; it stays until on_done or resolver_cancel. */
struct resolve {
    struct list_node link;
    void (*on_done)(struct resolve *q, int err, const struct address_list *addrs); /* 0 or ERR_DNS */
};

/* The addresses of `host` with `port`, if they are known and not over age: true, and *out filled. Else false:
 * ask. */
bool resolver_known(struct resolver *r, const char *host, uint16_t port, struct address_list *out);

/* Ask for `host`; on_done comes from a later turn. Questions for one name share one query. Returns 0 or
 * ERR_NOMEM (no on_done then). */
int resolver_ask(struct resolver *r, const char *host, uint16_t port, struct resolve *q);
void resolver_cancel(struct resolve *q);

#endif
