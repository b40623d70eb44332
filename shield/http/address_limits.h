/* address_limits - what one client's address may take: connections at once, requests a second.
 *
 * One table for all loops, in shards with a lock each. An IPv6 client is its /64, since whoever has one
 * address has that many; IPv4 in IPv6 clothes is IPv4. Unix sockets and edges.trusted are not counted, and
 * nobody is while both limits are 0.
 *
 * An address is in the table while it has connections, and behind them until what it owes to its rate is paid
 * off. client.max_addresses bounds the table: then who has been away longest is forgotten first. Where
 * everybody in it is connected, a newcomer is served uncounted, so that a sweep through addresses costs no
 * memory and locks nobody out; client.max_connections holds for it all the same. */
#ifndef SHIELD_HTTP_ADDRESS_LIMITS_H
#define SHIELD_HTTP_ADDRESS_LIMITS_H

#include "common/netaddr.h"
#include "shield/net/loop.h"

struct address_limits;
struct address; /* one that is in the table; whoever has entered has a share of it */

/* For all loops. `seed` is random, or clients could choose addresses that collide. NULL without memory. */
struct address_limits *address_limits_new(uint64_t seed);
void address_limits_free(struct address_limits **slot); /* everybody has left */

/* A connection from `peer`, on loop `l`, whose config is asked. *out: its address, to be left in the end;
 * NULL when it is not counted. *n: how many connections that address has now, this one included. Returns 0,
 * or ERR_ADDRESS_CONNECTIONS beyond client.max_connections_per_ip (counted in limit_reached_total): then too
 * it has entered, and has to leave. */
int address_enter(struct address_limits *t, struct loop *l, const struct netaddr_cidr *peer,
                  struct address **out, uint32_t *n);
void address_leave(struct loop *l, struct address **slot); /* NULL does nothing */

/* One request of an address, which may be NULL: takes a token out of its bucket, which holds
 * client.requests_burst_per_ip and gets client.max_requests_per_ip a second. Returns 0, or in how many whole
 * seconds there will be one (RFC 9110 section 10.2.3; counted in limit_reached_total). */
uint32_t address_take(struct loop *l, struct address *a);

/* How many addresses are in the table; for tests. */
uint64_t address_limits_count(struct address_limits *t);

#endif
