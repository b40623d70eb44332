/* servers - which servers of an origin are down, as all loops see it.
 *
 *   UP --- down_after failures in a row ---> DOWN --- the interval is over ---> DOWN, with a probe
 *    ^                                         ^------ the probe failed: twice the interval --'|
 *    '------------------------ any final head, whoever asked for it ---------------------------'
 *
 * A failure is a request without a final head by the server's fault, counted once for a request and a server
 * however often it tried to connect. Intervals begin with flight.error_ttl and double up to
 * flight.error_ttl_max. While a server is down requests pass it by, but for one probe at a time: a request
 * like any other that finds the interval over. With down_after 0 or flight.error_ttl 0 no server is down.
 *
 * Any thread; `l` is the calling loop, for its config, its clock and its counters. The lock is innermost and
 * taken alone; while all servers answer nobody takes it. */
#ifndef SHIELD_ORIGIN_SERVERS_H
#define SHIELD_ORIGIN_SERVERS_H

#include "shield/net/loop.h"

struct servers;

struct servers *servers_new(unsigned origin_index); /* NULL without memory; for the life of the process */
void servers_free(struct servers **slot);

/* Which server a request goes to, and whether as its probe. What becomes of a probe must be told: by one of
 * servers_answered, servers_failed and servers_let_go. */
struct server_turn {
    uint32_t server; /* its number in the origin's config, from 0 */
    uint64_t probe;  /* 0: none; else its number */
};

/* The next server: a down one whose interval is over, as its probe; else the first from number `from` on
 * (round the end) that is up. A request that is not `safe` to lose is a probe only where nothing is up.
 * False: all are down, and no probe is due. */
bool servers_next(struct servers *s, const struct loop *l, uint32_t from, bool safe, struct server_turn *out);

/* Whether servers_next would give one now, to somebody. */
bool servers_any(struct servers *s, const struct loop *l);

/* A bit for each server that is down. */
uint32_t servers_down(const struct servers *s, const struct loop *l);

/* When it last went down, on loop_now_ms's scale; 0: never. */
uint64_t servers_fell_ms(const struct servers *s, uint32_t server);

/* A final head has come. */
void servers_answered(struct servers *s, const struct loop *l, const struct server_turn *t);
/* None came, for `err`, by the server's fault. Of those that fail while it is down only the probe counts. */
void servers_failed(struct servers *s, const struct loop *l, const struct server_turn *t, int err);
/* The request ended without telling anything of the server: a probe gives its right to the next. */
void servers_let_go(struct servers *s, const struct loop *l, const struct server_turn *t);

/* Which of a server's addresses to connect to, modulo their number: one that does not refuse is kept to. */
uint32_t servers_address(const struct servers *s, uint32_t server);
void servers_address_failed(struct servers *s, uint32_t server, uint32_t address);

#endif
