#include "bench/ev.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"

enum { BATCH = 256 };

int ev_init(struct ev *ev)
{
    *ev = (struct ev){.epfd = epoll_create1(EPOLL_CLOEXEC)};
    ev_refresh(ev);
    return ev->epfd >= 0 ? 0 : ERR_SYSTEM;
}

void ev_fini(struct ev *ev)
{
    if (ev->epfd >= 0)
        close(ev->epfd);
    free(ev->heap);
    *ev = (struct ev){.epfd = -1};
}

uint64_t ev_refresh(struct ev *ev)
{
    ev->now_ns = clock_ns(CLOCK_MONOTONIC);
    return ev->now_ns;
}

int ev_add(struct ev *ev, struct ev_io *io)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = io};
    return epoll_ctl(ev->epfd, EPOLL_CTL_ADD, io->fd, &e) == 0 ? 0 : ERR_SYSTEM;
}

void ev_close(struct ev *ev, struct ev_io *io)
{
    REQUIRE(io->fd >= 0);
    close(io->fd); /* the kernel takes it out of the set: nothing else holds this descriptor */
    io->fd = -1;
}

/* ---- timers: a binary heap, the earliest on top */

static void place(struct ev *ev, uint32_t i, struct ev_timer *t)
{
    ev->heap[i] = t;
    t->slot = i + 1;
}

static void sift_up(struct ev *ev, uint32_t i)
{
    struct ev_timer *t = ev->heap[i];
    while (i > 0 && ev->heap[(i - 1) / 2]->due_ns > t->due_ns) {
        place(ev, i, ev->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(ev, i, t);
}

static void sift_down(struct ev *ev, uint32_t i)
{
    struct ev_timer *t = ev->heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= ev->n_timers)
            break;
        if (child + 1 < ev->n_timers && ev->heap[child + 1]->due_ns < ev->heap[child]->due_ns)
            child++;
        if (ev->heap[child]->due_ns >= t->due_ns)
            break;
        place(ev, i, ev->heap[child]);
        i = child;
    }
    place(ev, i, t);
}

void ev_timer_stop(struct ev *ev, struct ev_timer *t)
{
    if (t->slot == 0)
        return;
    uint32_t i = t->slot - 1;
    REQUIRE(i < ev->n_timers && ev->heap[i] == t);
    t->slot = 0;
    struct ev_timer *last = ev->heap[--ev->n_timers];
    if (last == t)
        return;
    place(ev, i, last);
    sift_up(ev, i);
    sift_down(ev, last->slot - 1);
}

int ev_timer_start(struct ev *ev, struct ev_timer *t, uint64_t due_ns)
{
    ev_timer_stop(ev, t);
    if (ev->n_timers == ev->cap_timers) {
        uint32_t cap = MAX(64u, ev->cap_timers * 2);
        struct ev_timer **heap = realloc(ev->heap, cap * sizeof(struct ev_timer *));
        if (heap == NULL)
            return ERR_NOMEM;
        ev->heap = heap;
        ev->cap_timers = cap;
    }
    t->due_ns = due_ns;
    ev->heap[ev->n_timers] = t;
    sift_up(ev, ev->n_timers++);
    return 0;
}

int ev_timer_soon(struct ev *ev, struct ev_timer *t)
{
    return ev_timer_start(ev, t, ev->now_ns + 1);
}

/* Only what was due when the turn began: a timer that rearms itself for soon waits for the sockets' turn. */
static void run_timers(struct ev *ev)
{
    const uint64_t until = ev_refresh(ev);
    while (!ev->stopped && ev->n_timers > 0 && ev->heap[0]->due_ns <= until) {
        struct ev_timer *t = ev->heap[0];
        ev_timer_stop(ev, t);
        t->on_due(t);
    }
}

/* Millisecond waits would make an open loop's sends late by as much. */
static int wait_events(struct ev *ev, struct epoll_event *events)
{
    if (ev->n_timers == 0)
        return epoll_wait(ev->epfd, events, BATCH, -1);
    uint64_t now = clock_ns(CLOCK_MONOTONIC), due = ev->heap[0]->due_ns, left = due > now ? due - now : 0;
    struct timespec wait = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    int n = epoll_pwait2(ev->epfd, events, BATCH, &wait, NULL);
    if (n < 0 && errno == ENOSYS) /* Linux before 5.11 */
        n = epoll_wait(ev->epfd, events, BATCH, (int)MIN((left + 999999) / 1000000, 60000u));
    return n;
}

void ev_run(struct ev *ev)
{
    struct epoll_event events[BATCH];
    ev->stopped = false;
    while (!ev->stopped) {
        int n = wait_events(ev, events);
        REQUIRE(n >= 0 || errno == EINTR);
        ev_refresh(ev);
        for (int i = 0; i < n && !ev->stopped; i++) {
            struct ev_io *io = events[i].data.ptr;
            io->on_ready(io, events[i].events);
        }
        run_timers(ev);
    }
}

void ev_stop(struct ev *ev)
{
    ev->stopped = true;
}
