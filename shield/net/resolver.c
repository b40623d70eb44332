#include "shield/net/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum { TTL_MIN_S = 1, TTL_MAX_S = 3600, TTL_FAILED_S = 1, TICK_MS = 250 };

/* A name with a port, its last answer, and who waits for the next one. Names come from the configuration, so
 * there are few and they stay. */
struct name {
    struct list_node link;
    struct resolver *resolver;
    char *host;
    uint16_t port;
    struct address_list addrs;
    uint64_t good_until_ms;
    bool asking;
    struct list_node questions;
    struct mail answer; /* c-ares may answer from within the question: callers hear of it from a later turn */
    bool answering, orphan;
};

/* A socket of c-ares that uv watches; freed when its handle has closed. */
struct watch {
    struct list_node link;
    uv_poll_t poll;
    struct resolver *resolver;
    ares_socket_t fd;
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    uv_timer_t tick; /* c-ares' own timeouts, while a query runs */
    struct list_node names, watches;
    unsigned running;
};

/* ---- c-ares' sockets on the loop ---- */

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
    struct watch *w = container_of(poll, struct watch, poll);
    bool readable = status < 0 || (events & UV_READABLE);
    bool writable = status < 0 || (events & UV_WRITABLE);
    ares_process_fd(w->resolver->channel, readable ? w->fd : ARES_SOCKET_BAD,
                    writable ? w->fd : ARES_SOCKET_BAD);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(container_of(handle, struct watch, poll));
}

static struct watch *find_watch(struct resolver *r, ares_socket_t fd)
{
    list_each (n, &r->watches) {
        struct watch *w = container_of(n, struct watch, link);
        if (w->fd == fd)
            return w;
    }
    return NULL;
}

static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = data;
    struct watch *w = find_watch(r, fd);
    if (!readable && !writable) {
        if (w != NULL) {
            list_remove(&w->link);
            uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        }
        return;
    }
    if (w == NULL) {
        w = calloc(1, sizeof *w);
        if (w == NULL || uv_poll_init_socket(&r->loop->uv, &w->poll, fd) != 0) {
            free(w); /* the query times out */
            return;
        }
        w->resolver = r;
        w->fd = fd;
        list_add_tail(&r->watches, &w->link);
    }
    uv_poll_start(&w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_socket_ready);
}

static void on_tick(uv_timer_t *tick)
{
    struct resolver *r = container_of(tick, struct resolver, tick);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* ---- names ---- */

static struct name *find_name(struct resolver *r, const char *host, uint16_t port)
{
    list_each (n, &r->names) {
        struct name *name = container_of(n, struct name, link);
        if (name->port == port && strcmp(name->host, host) == 0)
            return name;
    }
    return NULL;
}

static struct name *add_name(struct resolver *r, const char *host, uint16_t port)
{
    struct name *name = calloc(1, sizeof *name);
    if (name == NULL || (name->host = strdup(host)) == NULL) {
        free(name);
        return NULL;
    }
    name->resolver = r;
    name->port = port;
    list_init(&name->questions);
    list_add_tail(&r->names, &name->link);
    return name;
}

static void put_address(struct address_list *out, const void *sa, socklen_t len)
{
    struct netaddr *a = &out->addrs[out->n++];
    memcpy(&a->ss, sa, len);
    a->len = len;
}

static bool is_localhost(const char *host)
{
    static const char suffix[] = ".localhost";
    size_t n = strlen(host), s = sizeof suffix - 1;
    return strcmp(host, suffix + 1) == 0 || (n > s && strcmp(host + n - s, suffix) == 0);
}

/* Numeric addresses; and localhost, which is no question for a name server and not to be missing where there
 * is no hosts file (RFC 6761 section 6.3). */
static bool known_without_asking(const char *host, uint16_t port, struct address_list *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    out->n = 0;
    if (is_localhost(host)) {
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        v6.sin6_addr = in6addr_loopback;
        put_address(out, &v4, sizeof v4);
        put_address(out, &v6, sizeof v6);
    } else if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        put_address(out, &v4, sizeof v4);
    } else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        put_address(out, &v6, sizeof v6);
    }
    return out->n > 0;
}

bool resolver_known(struct resolver *r, const char *host, uint16_t port, struct address_list *out)
{
    if (known_without_asking(host, port, out))
        return true;
    struct name *name = find_name(r, host, port);
    if (name == NULL || name->addrs.n == 0 || loop_now_ms(r->loop) >= name->good_until_ms)
        return false;
    *out = name->addrs;
    return true;
}

/* Gives the TTL in seconds of the shortest-lived record. */
static int take_addresses(struct name *name, const struct ares_addrinfo *res)
{
    int ttl_s = TTL_MAX_S;
    struct address_list *list = &name->addrs;
    list->n = 0;
    for (const struct ares_addrinfo_node *n = res->nodes; n != NULL && list->n < RESOLVER_MAX_ADDRS;
         n = n->ai_next) {
        if ((n->ai_family != AF_INET && n->ai_family != AF_INET6) || n->ai_addrlen > sizeof list->addrs[0].ss)
            continue;
        struct netaddr *a = &list->addrs[list->n++];
        memcpy(&a->ss, n->ai_addr, n->ai_addrlen);
        a->len = n->ai_addrlen;
        ttl_s = MIN(ttl_s, n->ai_ttl);
    }
    return MAX(ttl_s, TTL_MIN_S);
}

static void answer_all(struct name *name)
{
    struct list_node asked;
    list_init(&asked);
    list_splice_tail(&asked, &name->questions);
    while (!list_empty(&asked)) {
        struct resolve *q = container_of(asked.next, struct resolve, link);
        list_remove(&q->link);
        q->on_done(q, name->addrs.n > 0 ? 0 : ERR_DNS, &name->addrs);
    }
}

static void free_name(struct name *name)
{
    free(name->host);
    free(name);
}

static void deliver_answer(struct mail *m)
{
    struct name *name = container_of(m, struct name, answer);
    name->asking = name->answering = false;
    if (name->orphan)
        free_name(name);
    else
        answer_all(name);
}

static void on_resolved(void *arg, int status, int timeouts, struct ares_addrinfo *res)
{
    struct name *name = arg;
    struct resolver *r = name->resolver;
    uint64_t now_ms = loop_now_ms(r->loop);
    if (--r->running == 0)
        uv_timer_stop(&r->tick);
    if (status == ARES_SUCCESS && res->nodes != NULL) {
        name->good_until_ms = now_ms + 1000u * (uint64_t)take_addresses(name, res);
    } else if (status != ARES_EDESTRUCTION) {
        log_warn("resolver: %s: %s%s", name->host, ares_strerror(status),
                 name->addrs.n > 0 ? "; its last addresses go on being used" : "");
        name->good_until_ms = now_ms + 1000u * TTL_FAILED_S;
    }
    if (res != NULL)
        ares_freeaddrinfo(res);
    if (status == ARES_EDESTRUCTION) {
        answer_all(name);
        return;
    }
    name->answering = true;
    name->answer.deliver = deliver_answer;
    loop_post(r->loop, &name->answer);
}

int resolver_ask(struct resolver *r, const char *host, uint16_t port, struct resolve *q)
{
    struct name *name = find_name(r, host, port);
    if (name == NULL)
        name = add_name(r, host, port);
    if (name == NULL)
        return ERR_NOMEM;
    list_add_tail(&name->questions, &q->link);
    if (name->asking)
        return 0;
    name->asking = true;
    if (r->running++ == 0)
        uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NUMERICSERV};
    ares_getaddrinfo(r->channel, host, service, &hints, on_resolved, name);
    return 0;
}

void resolver_cancel(struct resolve *q)
{
    list_remove(&q->link);
}

/* ---- life ---- */

int resolver_open(struct resolver **out, struct loop *l)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->loop = l;
    list_init(&r->names);
    list_init(&r->watches);
    struct ares_options options = {
        .sock_state_cb = on_socket_state, .sock_state_cb_data = r, .timeout = 1000, .tries = 3};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
        ares_init_options(&r->channel, &options, mask) != ARES_SUCCESS) {
        free(r);
        return ERR_SYSTEM;
    }
    uv_timer_init(&l->uv, &r->tick);
    *out = r;
    return 0;
}

static void on_tick_closed(uv_handle_t *handle)
{
    free(container_of(handle, struct resolver, tick));
}

void resolver_close(struct resolver **slot)
{
    struct resolver *r = *slot;
    *slot = NULL;
    if (r == NULL)
        return;
    ares_destroy(r->channel);
    ares_library_cleanup();
    list_each_safe (n, &r->names) {
        struct name *name = container_of(n, struct name, link);
        answer_all(name);
        if (name->answering)
            name->orphan = true;
        else
            free_name(name);
    }
    uv_close((uv_handle_t *)&r->tick, on_tick_closed);
}
