/* listener - sockets that accept, one for each loop.
 *
 * TCP: each loop binds its own socket with SO_REUSEPORT; with port 0 the first bind decides and the rest
 * follow. A Unix socket has one descriptor that all loops poll; a stale file is replaced, a live one is an
 * error. */
#ifndef SHIELD_NET_LISTENER_H
#define SHIELD_NET_LISTENER_H

#include "common/netaddr.h"
#include "shield/net/loop.h"

/* A bound address, before any loop runs. */
struct listen_socket {
    struct netaddr addr; /* with the real port */
    int fds[LOOP_MAX];   /* one for each loop; of a Unix socket duplicates of one */
    unsigned n;
    bool bound; /* a Unix socket's file is ours to remove */
};

/* Bind `addr` for n loops and listen. On failure appends a line that says what and why. Returns 0 or
 * ERR_SYSTEM. */
int listen_socket_open(struct listen_socket *s, const struct netaddr *addr, unsigned n, struct buf *errors);
/* Removes the file of a Unix socket; descriptors that no listener has taken are closed. */
void listen_socket_close(struct listen_socket *s);

struct listener;

struct listener_ops {
    /* A connection: the descriptor, which does not block, is the callee's. */
    void (*on_accepted)(struct listener *n, int fd);
    /* There is no descriptor or memory for the next one. Gives whether something has been let go, so that it
     * is tried again. */
    bool (*on_shortage)(struct listener *n);
};

/* A few connections are accepted in each turn of the loop. In a shortage that on_shortage cannot end, one is
 * accepted on a descriptor that was kept for this, and after that none for a moment: the others wait in the
 * kernel's queue, and the loop goes on. */
struct listener {
    uv_poll_t poll; /* private, but for `is_unix` and `ctx` */
    struct loop *loop;
    struct loop_timer pause;
    int fd, spare;
    bool is_unix, open;
    const struct listener_ops *ops;
    void *ctx;
};

/* Accept on loop `l`, whose descriptor it takes from `s`. Returns 0 or ERR_SYSTEM. */
int listener_open(struct listener *n, struct loop *l, struct listen_socket *s, unsigned index,
                  const struct listener_ops *ops, void *ctx);
void listener_close(struct listener *n); /* the struct must stay until the loop has turned */

#endif
