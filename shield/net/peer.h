/* peer - who is at the other end of a client's connection: the one address that lists, limits, logs and
 * X-Forwarded-For go by. It is the socket's, or what a PROXY header says in its place. */
#ifndef SHIELD_NET_PEER_H
#define SHIELD_NET_PEER_H

#include <netinet/in.h>

#include "common/netaddr.h"

struct peer {
    struct netaddr_cidr addr;    /* one address; AF_UNIX has none, and family 0 is not known and in no list */
    char text[INET6_ADDRSTRLEN]; /* without port; "unix:" for a Unix socket, empty when it is not known */
    uint8_t text_len;
};

/* Make it the peer at `addr`, which is one address or of family 0. */
void peer_set(struct peer *p, const struct netaddr_cidr *addr);

static inline struct span peer_text(const struct peer *p) /* as long as `p` */
{
    return (struct span){p->text, p->text_len};
}

#endif
