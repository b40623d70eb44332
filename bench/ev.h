/* ev - one thread's event loop: edge-triggered epoll and a heap of timers. One thread; nothing here locks.
 *
 * Descriptors are registered once, for reading and writing, edge-triggered: a callback works until EAGAIN.
 * Timers are never early. A callback may remove its own descriptor and any timer,
 * never another's descriptor: its event may wait in the same batch. Timers run after the batch and may remove
 * what they like. */
#ifndef BENCH_EV_H
#define BENCH_EV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct ev_io {
    int fd;
    void (*on_ready)(struct ev_io *io,
                     uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR */
};

struct ev_timer {
    uint64_t due_ns;
    uint32_t slot; /* private: place in the heap plus one, 0 when not armed */
    void (*on_due)(struct ev_timer *t);
};

struct ev {
    int epfd;
    bool stopped;
    uint64_t now_ns; /* monotonic, read once for each turn */
    struct ev_timer **heap;
    uint32_t n_timers, cap_timers;
};

int ev_init(struct ev *ev); /* 0 or ERR_SYSTEM */
void ev_fini(struct ev *ev);

int ev_add(struct ev *ev, struct ev_io *io);    /* 0 or ERR_SYSTEM */
void ev_close(struct ev *ev, struct ev_io *io); /* removes and closes the descriptor; io->fd becomes -1 */

int ev_timer_start(struct ev *ev, struct ev_timer *t,
                   uint64_t due_ns);                  /* moves it when armed; 0 or ERR_NOMEM */
int ev_timer_soon(struct ev *ev, struct ev_timer *t); /* in the next turn, after the sockets */
void ev_timer_stop(struct ev *ev, struct ev_timer *t);

uint64_t ev_refresh(struct ev *ev); /* reads the clock into now_ns and gives it */

void ev_run(struct ev *ev); /* until ev_stop */
void ev_stop(struct ev *ev);

#endif
