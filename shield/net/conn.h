/* conn - one byte stream: TCP or a Unix socket today, TLS later. Nothing above it knows the difference.
 *
 * Lives on one loop and is used on that thread only. Closing is asynchronous and happens once; memory goes in
 * on_closed. Embed it as a member; nothing here allocates. */
#ifndef SHIELD_NET_CONN_H
#define SHIELD_NET_CONN_H

#include <sys/un.h>

#include "common/netaddr.h"
#include "shield/net/loop.h"

enum { CONN_IOV = 8 };

struct conn;

struct conn_ops {
    void (*on_connected)(struct conn *c, int err); /* after conn_connect: 0, ERR_CONNECT */
    /* Bytes came in; valid during the call only (they lie in the loop's read buffer). */
    void (*on_data)(struct conn *c, const char *p, size_t n);
    void (*on_eof)(struct conn *c);            /* the peer will send no more */
    void (*on_error)(struct conn *c, int err); /* ERR_RESET and the like: close it */
    /* All that conn_write left pending has been sent. */
    void (*on_drained)(struct conn *c);
    void (*on_closed)(struct conn *c); /* last call */
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    const struct conn_ops *ops;
    struct loop *loop;
    bool reading, writing, closing, is_pipe; /* writing: a write did not fit and is pending */
};

/* Take `fd`, which a listener has accepted, also where it fails. Returns 0, or ERR_SYSTEM: on_closed follows
 * all the same. */
int conn_accept(struct conn *c, struct loop *l, const struct conn_ops *ops, int fd, bool is_unix);

/* How far `fd` is into the descriptors that are kept for other than clients: 0 when it is not; *kept: how
 * many these are. The kernel gives the lowest number that is free, so all below it are taken. */
uint64_t conn_scarcity(int fd, uint64_t *kept);

/* Connect; on_connected tells how it went. Returns 0, or at once ERR_CONNECT (no way there) or ERR_NOMEM (no
 * memory or descriptor): on_closed follows all the same, after conn_close. */
int conn_connect(struct conn *c, struct loop *l, const struct conn_ops *ops, const struct netaddr *to);

void conn_read_start(struct conn *c);
void conn_read_stop(struct conn *c);

/* Send n buffers (at most CONN_IOV), at once as far as the socket takes them. Returns 1 when all is out; 0
 * when the rest is pending: the bytes must stay until on_drained, and nothing else may be written before; -1
 * on an error (close it). */
int conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n);

bool conn_is_writing(const struct conn *c);

/* Whether the peer has said something, or has ended, that on_data and the like have not told yet. A system
 * call. */
bool conn_has_news(const struct conn *c);

/* Bytes that the peer has not taken yet: pending here, or in the socket's buffer. */
size_t conn_untaken(const struct conn *c);

/* After everything written is out: no more from us. */
void conn_shutdown(struct conn *c);

/* The address at the other end of the socket; of family 0 when it cannot be told, as after a reset. */
void conn_peer(const struct conn *c, struct netaddr_cidr *out);

/* Close; `abort` sends RST, so that a cut never looks like a clean end. on_closed follows from a later turn.
 * A second call does nothing. */
void conn_close(struct conn *c, bool abort);

#endif
