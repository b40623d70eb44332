#include "shield/net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum {
    BACKLOG = 65535, /* the kernel caps it at net.core.somaxconn */
    ACCEPTED_AT_ONCE = 64,
    PAUSE_MS = 100
};

static const struct sockaddr *sockaddr_of(const struct netaddr *a)
{
    return (const struct sockaddr *)&a->ss;
}

static int say_why(struct buf *errors, const struct netaddr *addr, const char *what)
{
    buf_put_lit(errors, "listen ");
    netaddr_put(errors, sockaddr_of(addr));
    buf_printf(errors, ": %s: %s\n", what, strerror(errno));
    return ERR_SYSTEM;
}

/* ---- binding ---- */

static int bind_tcp(struct netaddr *addr)
{
    int on = 1;
    int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (addr->ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, sockaddr_of(addr), addr->len) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* SO_REUSEPORT lets a second process of the same user share the port in silence: ask first without it. */
static bool is_taken(const struct netaddr *addr)
{
    int on = 1;
    int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (addr->ss.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    bool taken = bind(fd, sockaddr_of(addr), addr->len) != 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return taken;
}

static bool remove_stale(const struct netaddr *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    const char *path = ((const struct sockaddr_un *)&addr->ss)->sun_path;
    struct stat st;
    bool live = connect(fd, sockaddr_of(addr), addr->len) == 0;
    bool stale = !live && errno == ECONNREFUSED && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
    close(fd);
    if (stale)
        unlink(path);
    errno = EADDRINUSE;
    return stale;
}

static int bind_unix(const struct netaddr *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int rc = bind(fd, sockaddr_of(addr), addr->len);
    if (rc != 0 && errno == EADDRINUSE && remove_stale(addr))
        rc = bind(fd, sockaddr_of(addr), addr->len);
    if (rc == 0)
        rc = listen(fd, BACKLOG);
    if (rc != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int listen_socket_open(struct listen_socket *s, const struct netaddr *addr, unsigned n, struct buf *errors)
{
    REQUIRE(n > 0 && n <= LOOP_MAX);
    *s = (struct listen_socket){.addr = *addr, .n = n};
    for (unsigned i = 0; i < n; i++)
        s->fds[i] = -1;
    bool is_unix = addr->ss.ss_family == AF_UNIX;
    if (!is_unix && is_taken(addr))
        return say_why(errors, addr, "cannot bind");
    for (unsigned i = 0; i < n; i++) {
        s->fds[i] = !is_unix ? bind_tcp(&s->addr) : i == 0 ? bind_unix(addr) : dup(s->fds[0]);
        if (s->fds[i] < 0) {
            say_why(errors, addr, "cannot bind");
            listen_socket_close(s);
            return ERR_SYSTEM;
        }
        s->bound = true;
        if (i == 0 && !is_unix) /* port 0: the others follow the first */
            getsockname(s->fds[0], (struct sockaddr *)&s->addr.ss, &s->addr.len);
    }
    return 0;
}

void listen_socket_close(struct listen_socket *s)
{
    bool is_unix = s->addr.ss.ss_family == AF_UNIX;
    if (is_unix && s->bound)
        unlink(((const struct sockaddr_un *)&s->addr.ss)->sun_path);
    for (unsigned i = 0; i < s->n; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    s->n = 0;
}

/* ---- accepting ---- */

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* Linux looks for a descriptor before it looks for a connection: in a shortage the end of the queue is not
 * told by EAGAIN, and nobody is to be let go for nobody. */
static bool is_anybody_there(const struct listener *n)
{
    struct pollfd p = {.fd = n->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static bool relieve(struct listener *n)
{
    if (n->ops->on_shortage(n))
        return true;
    if (n->spare < 0)
        return false;
    close(n->spare);
    n->spare = -1;
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(struct loop_timer *t)
{
    struct listener *n = container_of(t, struct listener, pause);
    uv_poll_start(&n->poll, UV_READABLE, on_readable);
}

/* The socket stays readable: without a pause the loop would do nothing but fail to accept. */
static void pause_accepting(struct listener *n)
{
    log_warn("listen: cannot accept: %s", strerror(errno));
    uv_poll_stop(&n->poll);
    timer_set(n->loop, &n->pause, PAUSE_MS);
}

/* A few in each turn, so that those who are connected get theirs in a flood of those who come. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct listener *n = container_of(poll, struct listener, poll);
    if (n->spare < 0)
        n->spare = open_spare();
    for (int i = 0; i < ACCEPTED_AT_ONCE && n->open; i++) {
        int fd = accept4(n->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            n->ops->on_accepted(n, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (is_shortage(errno)) {
            if (!is_anybody_there(n))
                return;
            if (!relieve(n)) {
                pause_accepting(n);
                return;
            }
        } /* else: that one has gone already */
    }
}

int listener_open(struct listener *n, struct loop *l, struct listen_socket *s, unsigned index,
                  const struct listener_ops *ops, void *ctx)
{
    *n = (struct listener){
        .loop = l, .fd = s->fds[index], .is_unix = s->addr.ss.ss_family == AF_UNIX, .ops = ops, .ctx = ctx};
    timer_init(&n->pause, on_pause_over);
    if (uv_poll_init(&l->uv, &n->poll, n->fd) != 0)
        return ERR_SYSTEM;
    n->open = true;
    n->spare = open_spare();
    s->fds[index] = -1;
    return uv_poll_start(&n->poll, UV_READABLE, on_readable) == 0 ? 0 : ERR_SYSTEM;
}

void listener_close(struct listener *n)
{
    if (!n->open)
        return;
    n->open = false;
    timer_stop(n->loop, &n->pause);
    uv_close((uv_handle_t *)&n->poll, NULL);
    close(n->fd);
    if (n->spare >= 0)
        close(n->spare);
}
