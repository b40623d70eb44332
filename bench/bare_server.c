/* bare-server - the yardstick: the least that a server can do for the same bytes. epoll, no library; of a
 * request only its end is looked for, every answer is one prepared text. What a proxy costs beyond this is
 * its own.
 *
 *   plain     every request is answered at once
 *   --fanout  the answers of a round are held until --delay after its first request, then given to all; with
 * --drip the content becomes available evenly over that time, to all alike. The next request begins a new
 * round. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/body.h"
#include "bench/flags.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/list.h"

/* PIECE_BYTES: what one write hands over; a whole MiB at once costs 1.4 times as much, 64 KiB 2.5 times. */
enum { BATCH = 256, IN_BYTES = 64 * 1024, TICK_MS = 10, PIECE_BYTES = 256 * 1024 };

static const char intro[] = "usage: bare-server [OPTION]...\n"
                            "\n"
                            "Answers every request with the same prepared bytes, as cheaply as epoll "
                            "permits: the floor against which the cost of\n"
                            "a proxy is measured. Prints `ready listen=ADDR`; ends with TERM or INT.\n";

struct settings {
    struct span listen, key;
    uint64_t size, threads, delay_ms, drip_ms;
    bool fanout;
};

#define AT(f) offsetof(struct settings, f)

static const struct flag rows[] = {
    {"listen", 'l', FLAG_TEXT, AT(listen), "127.0.0.1:0", "ADDR", "Where to listen; port 0 picks one."},
    {"size", 's', FLAG_BYTES, AT(size), "1k", "BYTES", "Content of the answer."},
    {"key", 0, FLAG_TEXT, AT(key), "/bare", "PATH",
     "The path whose bytes the answer has, for `run --verify`."},
    {"threads", 't', FLAG_UINT, AT(threads), "1", "N", "Threads, each with its own SO_REUSEPORT socket."},
    {"fanout", 0, FLAG_BOOL, AT(fanout), "off", "", "Answer in rounds: all together."},
    {"delay", 0, FLAG_MS, AT(delay_ms), "200ms", "TIME",
     "Fan-out: from a round's first request to its head."},
    {"drip", 0, FLAG_MS, AT(drip_ms), "0", "TIME", "Fan-out: then the content comes over this time."},
};

struct server {
    struct settings set;
    struct buf answer;
    size_t head_bytes;
};

struct client {
    struct list_node link; /* in the thread's `active` while an answer is due */
    int fd;
    uint32_t due;   /* requests to answer, this one with them */
    uint32_t match; /* bytes of CRLFCRLF seen */
    size_t sent;    /* of the answer */
};

struct worker {
    const struct server *server;
    pthread_t id;
    int epfd, listener;
    struct list_node active;
    uint64_t round_ns; /* when the first request of the round came; 0: no round */
    size_t available;  /* bytes of the answer that may leave */
    char in[IN_BYTES];
};

static struct buf make_answer(const struct settings *set, size_t *head_bytes)
{
    struct buf b = {0};
    struct body_object object = body_object(set->key, 1, set->size, (struct span){0});
    /* About the fields, and so the bytes, of a proxy's hit. */
    buf_put_lit(&b, "HTTP/1.1 200 OK\r\n"
                    "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
                    "Content-Type: application/octet-stream\r\n"
                    "Cache-Control: max-age=3600\r\n"
                    "ETag: \"1-400\"\r\n"
                    "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
                    "Age: 55\r\n"
                    "Via: 1.1 shield\r\n"
                    "Cache-Status: shield; hit; ttl=3545\r\n");
    body_put_field(&b, &object);
    buf_printf(&b, "Content-Length: %llu\r\n\r\n", (unsigned long long)set->size);
    *head_bytes = b.len;
    if (buf_reserve(&b, set->size)) {
        body_fill(object.seed, 0, b.p + b.len, set->size);
        b.len += set->size;
    }
    return b;
}

/* ---- clients */

static void client_close(struct client *c)
{
    list_remove(&c->link);
    close(c->fd);
    free(c);
}

/* False: the client is gone. */
static bool flush(struct worker *w, struct client *c)
{
    const struct buf *answer = &w->server->answer;
    while (c->due > 0 && c->sent < w->available) {
        size_t want = MIN(w->available - c->sent, (size_t)PIECE_BYTES);
        ssize_t n = send(c->fd, answer->p + c->sent, want, MSG_NOSIGNAL);
        if (n < 0)
            return sock_would_block();
        c->sent += (size_t)n;
        if (c->sent == answer->len) {
            c->sent = 0;
            if (--c->due == 0)
                list_remove(&c->link);
        } else if ((size_t)n < want) {
            return true; /* a short write has filled the socket: EPOLLOUT follows */
        }
    }
    return true;
}

static uint32_t count_requests(struct client *c, const char *p, size_t n)
{
    static const char end[4] = "\r\n\r\n";
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == end[c->match])
            c->match++;
        else
            c->match = p[i] == '\r';
        if (c->match == 4) {
            c->match = 0;
            found++;
        }
    }
    return found;
}

/* False: the client is gone. */
static bool receive(struct worker *w, struct client *c, bool has_ended)
{
    ssize_t n;
    do {
        n = recv(c->fd, w->in, IN_BYTES, 0);
        if (n == 0 || (n < 0 && !sock_would_block()))
            return false;
        uint32_t found = n > 0 ? count_requests(c, w->in, (size_t)n) : 0;
        if (found > 0 && c->due == 0)
            list_add_tail(&w->active, &c->link);
        c->due += found;
    } while (n == IN_BYTES || (n > 0 && has_ended));
    if (c->due > 0 && w->round_ns == 0 && w->server->set.fanout)
        w->round_ns = clock_ns(CLOCK_MONOTONIC);
    return true;
}

static void accept_all(struct worker *w)
{
    for (int fd = sock_accept(w->listener); fd >= 0; fd = sock_accept(w->listener)) {
        struct client *c = calloc(1, sizeof *c);
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        if (c == NULL || epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &e) != 0) {
            free(c);
            close(fd);
            continue;
        }
        c->fd = fd;
        list_init(&c->link);
    }
}

/* ---- rounds */

static void flush_all(struct worker *w)
{
    list_each_safe (node, &w->active) {
        struct client *c = container_of(node, struct client, link);
        if (!flush(w, c))
            client_close(c);
    }
}

/* How much of the round's answer is there `passed_ms` after its first request. */
static size_t available_at(const struct server *s, uint64_t passed_ms)
{
    const struct settings *set = &s->set;
    if (passed_ms < set->delay_ms)
        return 0;
    uint64_t dripped_ms = passed_ms - set->delay_ms;
    if (dripped_ms >= set->drip_ms)
        return s->answer.len;
    return s->head_bytes + (size_t)((double)set->size * (double)dripped_ms / (double)set->drip_ms);
}

/* Moves the round on; gives the milliseconds until it must be called again, -1 without a round. */
static int advance_round(struct worker *w)
{
    const struct server *s = w->server;
    if (w->round_ns == 0)
        return -1;
    uint64_t passed_us = (clock_ns(CLOCK_MONOTONIC) - w->round_ns) / 1000, delay_us = s->set.delay_ms * 1000;
    size_t now = available_at(s, passed_us / 1000);
    if (now == 0)
        return (int)((delay_us - passed_us + 999) / 1000);
    if (now > w->available) {
        w->available = now;
        flush_all(w);
    }
    if (now < s->answer.len)
        return TICK_MS;
    if (list_empty(&w->active)) { /* all have it: the round is over */
        w->round_ns = 0;
        w->available = 0;
    }
    return -1;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct epoll_event events[BATCH];
    int wait_ms = -1;
    for (;;) {
        int n = epoll_wait(w->epfd, events, BATCH, wait_ms);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (c == NULL) {
                accept_all(w);
                continue;
            }
            bool has_ended = events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
            bool reads = has_ended || (events[i].events & EPOLLIN);
            if ((reads && !receive(w, c, has_ended)) || !flush(w, c))
                client_close(c);
        }
        wait_ms = w->server->set.fanout ? advance_round(w) : -1;
    }
    return NULL;
}

/* ---- start */

static const char *worker_open(struct worker *w, const struct server *s, struct span address)
{
    const char *why = NULL;
    w->server = s;
    w->available = s->set.fanout ? 0 : s->answer.len;
    list_init(&w->active);
    w->listener = sock_listen(address, s->set.threads > 1, &why);
    if (w->listener < 0)
        return why;
    w->epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    return w->epfd >= 0 && epoll_ctl(w->epfd, EPOLL_CTL_ADD, w->listener, &e) == 0 ? NULL
                                                                                   : "no epoll to be had";
}

static int serve(struct server *s)
{
    struct worker *workers = calloc(s->set.threads, sizeof *workers);
    struct buf name = {0};
    const char *why = workers == NULL || s->answer.failed ? "out of memory" : NULL;
    for (uint64_t i = 0; i < s->set.threads && why == NULL; i++) {
        why = worker_open(&workers[i], s, i == 0 ? s->set.listen : buf_span(&name));
        if (why == NULL && i == 0)
            sock_put_name(&name, workers[0].listener); /* port 0: the first bind decides */
    }
    for (uint64_t i = 1; i < s->set.threads && why == NULL; i++)
        if (pthread_create(&workers[i].id, NULL, work, &workers[i]) != 0)
            why = "no thread to be had";
    if (why != NULL) {
        fprintf(stderr, "bare-server: %.*s: %s\n", SPAN_FMT(s->set.listen), why);
        return 1;
    }
    printf("ready listen=%.*s\n", SPAN_FMT(buf_span(&name)));
    fflush(stdout);
    work(&workers[0]);
    return 0;
}

int main(int argc, char **argv)
{
    struct server s = {0};
    struct flag_list rest = {0};
    const struct flag_group groups[] = {{"Options [default]:", FLAGS(rows), &s.set}};
    int code = flags_parse(groups, ARRAY_LEN(groups), argc, argv, intro, &rest);
    if (code >= 0)
        return code;
    if (rest.n > 0 || s.set.threads == 0 || s.set.threads > 256 || s.set.size > UINT32_MAX) {
        fprintf(stderr,
                "bare-server: takes options only, 1 to 256 threads, content up to 4g; --help tells more\n");
        return 2;
    }
    sock_raise_limit();
    s.answer = make_answer(&s.set, &s.head_bytes);
    return serve(&s);
}
