#include "shield/net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>

#include "common/check.h"
#include "common/err.h"

enum { KEPT_DESCRIPTORS_MAX = 64 };

/* Every uv handle's data points to its conn. */
static struct conn *conn_of(void *handle)
{
    return ((uv_handle_t *)handle)->data;
}

static int init_stream(struct conn *c, struct loop *l, const struct conn_ops *ops, bool is_pipe)
{
    c->ops = ops;
    c->loop = l;
    c->is_pipe = is_pipe;
    c->reading = c->writing = c->closing = false;
    int rc = is_pipe ? uv_pipe_init(&l->uv, &c->u.pipe, 0) : uv_tcp_init(&l->uv, &c->u.tcp);
    REQUIRE(rc == 0); /* neither makes a system call before it has an address family */
    c->u.handle.data = c;
    return 0;
}

int conn_accept(struct conn *c, struct loop *l, const struct conn_ops *ops, int fd, bool is_unix)
{
    init_stream(c, l, ops, is_unix);
    int rc = is_unix ? uv_pipe_open(&c->u.pipe, fd) : uv_tcp_open(&c->u.tcp, fd);
    if (rc != 0) {
        close(fd);
        conn_close(c, false);
        return ERR_SYSTEM;
    }
    if (!c->is_pipe)
        uv_tcp_nodelay(&c->u.tcp, 1);
    return 0;
}

uint64_t conn_scarcity(int fd, uint64_t *kept)
{
    struct rlimit lim;
    *kept = 0;
    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur == RLIM_INFINITY)
        return 0;
    *kept = MIN(lim.rlim_cur / 8, (rlim_t)KEPT_DESCRIPTORS_MAX);
    uint64_t free_from = (uint64_t)fd + 1 + *kept;
    return free_from > lim.rlim_cur ? free_from - lim.rlim_cur : 0;
}

static void on_connect(uv_connect_t *req, int status)
{
    struct conn *c = req->data;
    free(req);
    if (c->closing)
        return;
    if (status == 0 && !c->is_pipe)
        uv_tcp_nodelay(&c->u.tcp, 1);
    c->ops->on_connected(c, status == 0 ? 0 : ERR_CONNECT);
}

/* What the peer has no part in. */
static bool is_our_shortage(int rc)
{
    return rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_ENOMEM || rc == UV_ENOBUFS;
}

int conn_connect(struct conn *c, struct loop *l, const struct conn_ops *ops, const struct netaddr *to)
{
    bool is_pipe = to->ss.ss_family == AF_UNIX;
    init_stream(c, l, ops, is_pipe);
    uv_connect_t *req = malloc(sizeof *req);
    if (req == NULL)
        return ERR_NOMEM;
    req->data = c;
    if (is_pipe) { /* reports every failure through the callback */
        uv_pipe_connect(req, &c->u.pipe, ((const struct sockaddr_un *)&to->ss)->sun_path, on_connect);
        return 0;
    }
    int rc = uv_tcp_connect(req, &c->u.tcp, (const struct sockaddr *)&to->ss, on_connect);
    if (rc != 0) {
        free(req);
        return is_our_shortage(rc) ? ERR_NOMEM : ERR_CONNECT;
    }
    return 0;
}

/* ---- reading ---- */

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    out->base = conn_of(handle)->loop->read_buf;
    out->len = LOOP_READ_BYTES;
}

/* libuv tells a hang-up with an error pending as the end of the stream. An end that was a reset must never
 * pass for a proper one: a body without length would be taken for whole. */
static bool was_reset(struct conn *c)
{
    int fd, err = 0;
    socklen_t len = sizeof err;
    return uv_fileno(&c->u.handle, &fd) == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 &&
           err != 0;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = conn_of(stream);
    if (n > 0) {
        c->ops->on_data(c, buf->base, (size_t)n);
    } else if (n == UV_EOF) {
        conn_read_stop(c);
        if (was_reset(c))
            c->ops->on_error(c, ERR_RESET);
        else
            c->ops->on_eof(c);
    } else if (n < 0) {
        conn_read_stop(c);
        c->ops->on_error(c, ERR_RESET);
    }
}

void conn_read_start(struct conn *c)
{
    if (c->reading || c->closing)
        return;
    c->reading = true;
    uv_read_start(&c->u.stream, lend_buffer, on_read);
}

void conn_read_stop(struct conn *c)
{
    if (!c->reading)
        return;
    c->reading = false;
    uv_read_stop(&c->u.stream);
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = conn_of(req->handle);
    free(req);
    c->writing = false;
    if (c->closing)
        return;
    if (status != 0)
        c->ops->on_error(c, ERR_RESET);
    else
        c->ops->on_drained(c);
}

int conn_write(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    REQUIRE(n > 0 && n <= CONN_IOV && !c->writing && !c->closing);
    int sent = uv_try_write(&c->u.stream, bufs, n);
    if (sent < 0 && sent != UV_EAGAIN)
        return -1;

    uv_buf_t rest[CONN_IOV];
    unsigned n_rest = 0;
    size_t skip = sent < 0 ? 0 : (size_t)sent;
    for (unsigned i = 0; i < n; i++) {
        size_t gone = MIN(skip, bufs[i].len);
        skip -= gone;
        if (gone < bufs[i].len)
            rest[n_rest++] = uv_buf_init(bufs[i].base + gone, (unsigned)(bufs[i].len - gone));
    }
    if (n_rest == 0)
        return 1;
    uv_write_t *req = malloc(sizeof *req);
    if (req == NULL || uv_write(req, &c->u.stream, rest, n_rest, on_written) != 0) {
        free(req);
        return -1;
    }
    c->writing = true;
    return 0;
}

bool conn_is_writing(const struct conn *c)
{
    return c->writing;
}

bool conn_has_news(const struct conn *c)
{
    int fd;
    char byte;
    if (uv_fileno(&c->u.handle, &fd) != 0)
        return true;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

size_t conn_untaken(const struct conn *c)
{
    int fd, in_socket = 0;
    if (uv_fileno(&c->u.handle, &fd) != 0 || ioctl(fd, SIOCOUTQ, &in_socket) != 0 || in_socket < 0)
        in_socket = 0;
    return uv_stream_get_write_queue_size(&c->u.stream) + (size_t)in_socket;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    free(req); /* a peer that is gone shows when reading */
}

void conn_shutdown(struct conn *c)
{
    uv_shutdown_t *req = malloc(sizeof *req);
    if (req == NULL || uv_shutdown(req, &c->u.stream, on_shutdown) != 0)
        free(req);
}

/* ---- the end ---- */

void conn_peer(const struct conn *c, struct netaddr_cidr *out)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    int len = sizeof ss;
    if (!c->is_pipe && uv_tcp_getpeername(&c->u.tcp, (struct sockaddr *)&ss, &len) != 0)
        ss.ss_family = AF_UNSPEC;
    netaddr_cidr_of((const struct sockaddr *)&ss, out);
}

static void on_close(uv_handle_t *handle)
{
    struct conn *c = conn_of(handle);
    c->ops->on_closed(c);
}

void conn_close(struct conn *c, bool abort)
{
    if (c->closing)
        return;
    conn_read_stop(c);
    c->closing = true;
    if (abort && !c->is_pipe && uv_tcp_close_reset(&c->u.tcp, on_close) == 0)
        return;
    uv_close(&c->u.handle, on_close);
}
