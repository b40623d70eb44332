/* origin_rig - an origin that the test plays itself, byte by byte, with blocking sockets.
 *
 * The kernel accepts connections and takes bytes while the test looks elsewhere; so there is no thread, and
 * the test reads as what goes over the wire. */
#ifndef TEST_UNIT_ORIGIN_RIG_H
#define TEST_UNIT_ORIGIN_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct origin {
    int fd;
    char url[40];
};

/* One connection to the origin. */
struct peer {
    int fd;
    char in[64 * 1024]; /* read, and not yet taken by peer_expect or peer_take */
    size_t len;
};

static inline void origin_patience(int fd)
{
    struct timeval patience = {.tv_sec = 60};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

static inline void origin_open(struct origin *o)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    o->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(o->fd >= 0);
    assert_int_equal(bind(o->fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(o->fd, 512), 0);
    assert_int_equal(getsockname(o->fd, (struct sockaddr *)&at, &len), 0);
    snprintf(o->url, sizeof o->url, "http://127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    origin_patience(o->fd);
}

static inline void origin_close(struct origin *o)
{
    close(o->fd);
    o->fd = -1;
}

static inline void peer_accept(struct origin *o, struct peer *p)
{
    p->len = 0;
    p->fd = TEMP_FAILURE_RETRY(accept(o->fd, NULL, NULL));
    assert_true(p->fd >= 0);
    origin_patience(p->fd);
}

/* Whether somebody is waiting to be accepted. */
static inline bool origin_has_caller(const struct origin *o)
{
    struct pollfd p = {.fd = o->fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static inline void peer_take(struct peer *p, size_t n)
{
    memmove(p->in, p->in + n, p->len - n);
    p->len -= n;
}

/* Reads until `n` bytes are there. */
static inline void peer_fill(struct peer *p, size_t n)
{
    assert_true(n < sizeof p->in);
    while (p->len < n) {
        ssize_t got = TEMP_FAILURE_RETRY(recv(p->fd, p->in + p->len, sizeof p->in - 1 - p->len, 0));
        if (got <= 0)
            fail_msg("the connection ended or went silent (%zd, %s), %zu bytes: %.*s", got, strerror(errno),
                     p->len, (int)p->len, p->in);
        p->len += (size_t)got;
    }
}

/* The next bytes are these. */
static inline void peer_expect_bytes(struct peer *p, const char *text)
{
    size_t n = strlen(text);
    peer_fill(p, n);
    assert_memory_equal(p->in, text, n);
    peer_take(p, n);
}

/* The next request begins with `line`; its head is taken, and given as a string until the next call. */
static inline const char *peer_expect(struct peer *p, const char *line)
{
    static char head[64 * 1024];
    char *end = NULL;
    while (p->in[p->len] = '\0', (end = strstr(p->in, "\r\n\r\n")) == NULL || p->len == 0)
        peer_fill(p, p->len + 1);
    size_t n = (size_t)(end + 4 - p->in);
    memcpy(head, p->in, n);
    head[n] = '\0';
    if (strncmp(head, line, strlen(line)) != 0)
        fail_msg("not \"%s\" but: %s", line, head);
    peer_take(p, n);
    return head;
}

static inline void peer_send_bytes(struct peer *p, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = TEMP_FAILURE_RETRY(send(p->fd, bytes, n, MSG_NOSIGNAL));
        assert_true(sent > 0);
        bytes += sent;
        n -= (size_t)sent;
    }
}

static inline void peer_send(struct peer *p, const char *text)
{
    peer_send_bytes(p, text, strlen(text));
}

static inline void peer_close(struct peer *p)
{
    close(p->fd);
    p->fd = -1;
}

static inline void peer_reset(struct peer *p)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    peer_close(p);
}

/* The other side ends the connection, in whatever way. Bytes that come before are passed over. */
static inline void peer_expect_end(struct peer *p)
{
    ssize_t n;
    while ((n = TEMP_FAILURE_RETRY(recv(p->fd, p->in, sizeof p->in, 0))) > 0)
        ;
    assert_true(n == 0 || errno == ECONNRESET);
    peer_close(p);
}

#endif
