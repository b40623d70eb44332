/* loop - one thread's event loop: its uv loop, its mailbox, its timers, its counters.
 *
 * A loop's data belongs to its thread. Another thread sends mail: loop_post is the only door, and mail
 * carries its own references. Timers that guard connections sit in a wheel: moving a deadline costs a store,
 * not a heap operation. */
#ifndef SHIELD_NET_LOOP_H
#define SHIELD_NET_LOOP_H

#include <uv.h>

#include "common/list.h"
#include "shield/ops/config.h"
#include "shield/ops/metrics.h"

enum { LOOP_MAX = 64, LOOP_READ_BYTES = 64 * 1024, LOOP_WHEEL_SLOTS = 512, LOOP_TICK_MS = 20 };

/* A message: embed it; it belongs to the mailbox from post to delivery. */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *m); /* on the addressed loop's thread, from its own turn */
};

/* A deadline: embed it, zeroed by timer_init. */
struct loop_timer {
    struct list_node link;
    uint64_t due_ms;  /* on loop_now_ms's scale */
    uint64_t slot_ms; /* private: when the wheel looks at it next */
    void (*on_due)(struct loop_timer *t);
};

struct loop {
    uv_loop_t uv;
    unsigned id;           /* 0 .. workers-1; the admin thread has none of these */
    struct config *config; /* swapped on reload, by mail */
    struct metrics_slot *metrics;
    struct buf access_lines;   /* access log lines of this turn */
    char *read_buf;            /* LOOP_READ_BYTES, lent to whichever connection is being read */
    struct http_field *fields; /* scratch for parsing heads: client.max_fields of them */

    /* private */
    uv_async_t wake;
    uv_tcp_t first_stream; /* closed at once */
    _Atomic(struct mail *) inbox;
    struct mail *own, **own_tail; /* mail from this thread to itself: no atomics, no wake-up */
    uv_timer_t tick;
    uv_prepare_t before_sleep; /* delivers own mail, writes the access log out */
    uint64_t tick_ms;          /* time of the wheel's current slot */
    uint32_t n_timers;
    struct list_node wheel[LOOP_WHEEL_SLOTS];
    uv_thread_t thread;
    struct buf scratch; /* for one head being written; see loop_scratch */
};

/* Prepare the loop; the caller's thread may change until loop_run. Returns 0 or ERR_NOMEM. Takes its own
 * config reference. */
int loop_init(struct loop *l, unsigned id, struct config *config);
void loop_fini(struct loop *l); /* after loop_run has returned and everything on it is closed */

/* Another configuration, from now on; takes its own reference. Own thread. Returns 0 or ERR_NOMEM (nothing
 * changed). */
int loop_set_config(struct loop *l, struct config *config);

/* Runs until loop_stop. `loop_current()` is `l` meanwhile. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* on its own thread */

struct loop *loop_current(void); /* NULL on a thread that is not a loop's */

static inline bool loop_is_current(const struct loop *l)
{
    return loop_current() == l;
}

/* Any thread: deliver `m` on the loop, in the order of posting. Never lost, never from inside the caller. */
void loop_post(struct loop *l, struct mail *m);

/* Monotonic milliseconds of this turn of the loop, and the wall clock's. */
static inline uint64_t loop_now_ms(const struct loop *l)
{
    return uv_now(&l->uv);
}

/* Timers: accurate to LOOP_TICK_MS, never early. Setting again moves it. Own thread only. */
void timer_init(struct loop_timer *t, void (*on_due)(struct loop_timer *t));
void timer_set(struct loop *l, struct loop_timer *t, uint64_t after_ms);
void timer_stop(struct loop *l, struct loop_timer *t);

/* An empty buffer for the length of one callback. */
struct buf *loop_scratch(struct loop *l);

#endif
