#include "bench/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 8192 };

bool sock_would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static void set_int(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value,
                     sizeof value); /* none of ours changes what is right, only how fast */
}

static int fail(int fd, const char **why, const char *text)
{
    if (fd >= 0)
        close(fd);
    *why = text;
    return -1;
}

int sock_listen(struct span address, bool shared, const char **why)
{
    struct netaddr a;
    const char *bad = netaddr_parse(address, &a);
    if (bad != NULL)
        return fail(-1, why, bad);
    int fd = socket(a.ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, why, "no socket to be had");
    if (a.ss.ss_family != AF_UNIX) {
        set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (shared)
            set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (bind(fd, (struct sockaddr *)&a.ss, a.len) != 0)
        return fail(fd, why, errno == EADDRINUSE ? "the address is in use" : "cannot bind to this address");
    if (listen(fd, BACKLOG) != 0)
        return fail(fd, why, "cannot listen on this address");
    return fd;
}

int sock_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
}

static bool bind_source(int fd, uint32_t source_v4)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source_v4)};
    set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1); /* ports are counted for each pair of addresses */
    return bind(fd, (struct sockaddr *)&from, sizeof from) == 0;
}

int sock_connect_start(const struct netaddr *to, struct sock_wish wish)
{
    int fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (to->ss.ss_family != AF_UNIX)
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (wish.receive_bytes > 0)
        set_int(fd, SOL_SOCKET, SO_RCVBUF, wish.receive_bytes);
    bool is_bound = wish.source_v4 == 0 || to->ss.ss_family != AF_INET || bind_source(fd, wish.source_v4);
    if (is_bound && (connect(fd, (const struct sockaddr *)&to->ss, to->len) == 0 || errno == EINPROGRESS))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int sock_connect_result(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

int sock_connect(const struct netaddr *to, uint32_t patience_ms)
{
    int fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct timeval patience = {.tv_sec = patience_ms / 1000, .tv_usec = patience_ms % 1000 * 1000};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&to->ss, to->len) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static const char *resolve_name(struct span host, struct span port, struct netaddr *out)
{
    char name[256], service[16];
    if (host.len == 0 || host.len >= sizeof name || port.len == 0 || port.len >= sizeof service)
        return "is not host:port";
    snprintf(name, sizeof name, "%.*s", SPAN_FMT(host));
    snprintf(service, sizeof service, "%.*s", SPAN_FMT(port));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(name, service, &hints, &found) != 0)
        return "does not resolve";
    memcpy(&out->ss, found->ai_addr, found->ai_addrlen);
    out->len = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

const char *sock_resolve(struct span host_port, struct netaddr *out)
{
    if (netaddr_parse(host_port, out) == NULL)
        return NULL;
    size_t colon = host_port.len;
    while (colon > 0 && host_port.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return resolve_name(host_port, SPAN("80"), out);
    return resolve_name((struct span){host_port.p, colon - 1}, span_from(host_port, colon), out);
}

void sock_put_name(struct buf *out, int fd)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
        netaddr_put(out, (struct sockaddr *)&ss);
}

uint64_t sock_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}
