/* sock - sockets as the bench needs them: non-blocking, close-on-exec, without Nagle's delay. */
#ifndef BENCH_SOCK_H
#define BENCH_SOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/netaddr.h"
#include "common/span.h"

/* Listen on ADDR (port 0 picks one); `shared` lets several threads bind the same port. Returns the
 * descriptor, or -1 with *why set to static text. */
int sock_listen(struct span address, bool shared, const char **why);

/* The next connection of a listener, ready for ev; -1 when there is none now. */
int sock_accept(int listener);

/* What a connection is to be beyond the usual; zero for nothing. */
struct sock_wish {
    uint32_t source_v4; /* from this address, in host order */
    int receive_bytes;  /* a small buffer: what is not read stays with the sender */
};

/* Start to connect; the result shows when the socket is writable. Returns the descriptor, or -1 with errno.
 */
int sock_connect_start(const struct netaddr *to, struct sock_wish wish);
int sock_connect_result(int fd); /* 0, or the errno of the attempt */

/* Connect and wait for the result; the descriptor blocks from then on, giving up after `patience_ms` without
 * a byte. -1 with errno. */
int sock_connect(const struct netaddr *to, uint32_t patience_ms);

/* Resolve "host:port", "[v6]:port" or unix:PATH; names through the system's resolver. NULL, or static text.
 */
const char *sock_resolve(struct span host_port, struct netaddr *out);

/* The address that `fd` is bound to, as ADDR. */
void sock_put_name(struct buf *out, int fd);

/* Raise the soft limit of descriptors to the hard one; gives the limit now in force. */
uint64_t sock_raise_limit(void);

/* Whether errno says "later". */
bool sock_would_block(void);

#endif
