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

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    void (*on_ready)(struct listener *l, uv_stream_t *server); /* conn_accept it */
    void *ctx;
    bool open;
};

/* Accept on loop `l`, whose descriptor it takes from `s`. Returns 0 or ERR_SYSTEM. */
int listener_open(struct listener *n, struct loop *l, struct listen_socket *s, unsigned index,
                  void (*on_ready)(struct listener *l, uv_stream_t *server), void *ctx);
void listener_close(struct listener *n); /* the struct must stay until the loop has turned */

#endif
