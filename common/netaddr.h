/* netaddr - ADDR as the command line knows it: 127.0.0.1:8080, [::]:8080, :8080, unix:/run/shield.sock. Pure.
 */
#ifndef COMMON_NETADDR_H
#define COMMON_NETADDR_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/buf.h"
#include "common/span.h"

struct netaddr {
    struct sockaddr_storage ss; /* AF_INET, AF_INET6 or AF_UNIX */
    socklen_t len;
};

/* Parse ADDR with numeric addresses only; ":8080" is 0.0.0.0. Returns NULL, or static text: what is wrong. */
const char *netaddr_parse(struct span text, struct netaddr *out);

/* The same form back, with the real port: "127.0.0.1:8080", "[::1]:8080", "unix:/path". */
void netaddr_put(struct buf *out, const struct sockaddr *sa);

bool netaddr_is_loopback(const struct sockaddr *sa); /* 127/8, ::1, ::ffff:127/104, or a Unix socket */

/* CIDR blocks: "10.0.0.0/8", "::1/128", a bare address, or "unix:": whoever comes over a Unix socket. */
struct netaddr_cidr {
    int family; /* AF_INET, AF_INET6 or AF_UNIX; 0 is in no block */
    unsigned char addr[16];
    unsigned bits;
};
const char *netaddr_cidr_parse(struct span text, struct netaddr_cidr *out);
/* The block of this one address: a v4-mapped one is IPv4, and any Unix socket is "unix:". False for other
 * families. */
bool netaddr_cidr_of(const struct sockaddr *sa, struct netaddr_cidr *out);
/* As netaddr_cidr_parse reads it; a block of one address without its prefix length where `bare`. */
void netaddr_cidr_put(struct buf *out, const struct netaddr_cidr *c, bool bare);
/* Whether all addresses of `inner`, which may be a bare one, are in `c`. */
bool netaddr_cidr_covers(const struct netaddr_cidr *c, const struct netaddr_cidr *inner);

#endif
