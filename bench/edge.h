/* edge - one connection of a load thread, and what it shares with the others. Private to the edges. */
#ifndef BENCH_EDGE_H
#define BENCH_EDGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "bench/edges.h"
#include "bench/ev.h"
#include "bench/paths.h"
#include "bench/target.h"
#include "bench/waits.h"
#include "common/http1.h"
#include "common/list.h"

enum {
    EDGE_SCRATCH_BYTES = 64 * 1024,
    EDGE_COOKIES = 1 << 24, /* told apart */
};

/* Where the threads of a stampede meet: who comes last names the instant. */
struct edge_gate {
    pthread_mutex_t lock;
    pthread_cond_t all_here;
    uint32_t expected, here;
    uint64_t release_ns; /* 0 until then */
};

/* Of all threads. */
struct edge_run {
    const struct edges_config *config;
    struct target target;
    struct netaddr to;
    struct paths paths;
    struct schedule schedule;
    _Atomic uint64_t
        *cookies;        /* bits: which cookies of the simulator an answer has had; NULL: not looked at */
    struct waits *waits; /* NULL: not looked at */
    _Atomic uint64_t claimed, finished;
    struct edge_gate gate;
    uint64_t began_ns, schedule_ns; /* open loop: the schedule begins when the connections had time to come */
    uint64_t n_threads;
};

/*  OPENING --> READY --> ASKED --> READY ...  DONE when no request is left
 *     `----------`---------`--> RETRYING --> OPENING   after a failed or ended connection */
enum edge_state { E_OPENING, E_READY, E_ASKED, E_RETRYING, E_DONE };

struct edge {
    struct ev_io io;
    struct ev_timer retry;
    struct ev_timer pace;  /* reads on, when slow; gives up, when it aborts */
    struct list_node idle; /* open loop: in the thread's list while no request is due */
    uint64_t number;       /* of the connection, over all threads */
    uint64_t opens;        /* how often it has been opened */
    uint64_t left;         /* requests until it is closed on purpose; 0: no end */
    uint64_t budget;       /* slow: bytes that may be read until the next turn of `pace` */
    bool slow, aborts, asks_range;
    uint64_t range_first, range_last, floor; /* of the request */
    struct edge_thread *thread;
    enum edge_state state;
    bool settled;       /* stampede: connected, or failed for good */
    bool has_claim;     /* a request is to be sent when connected */
    uint64_t i;         /* number of the request */
    uint64_t n;         /* its key */
    uint64_t start_ns;  /* of the request, or of the attempt to connect */
    uint64_t asked_ns;  /* when it was sent; 0: nobody looks at who waits */
    uint64_t first_ns;  /* 0: no content yet */
    uint64_t last_ns;   /* stampede: of a good answer that is to be timed; else 0 */
    uint64_t half_ns;   /* verified: when half of what is due was here; 0: not yet */
    uint32_t answers;   /* on this connection */
    struct buf out, in; /* in: a head that has not come whole */
    size_t out_sent;
    /* the answer being read */
    bool got_byte, got_head, keep, verifies;
    struct http1_scan scan;
    struct http1_body body;
    enum edge_error fault;
    int status;
    enum edge_cache cache;
    uint64_t seed, offset, received, want;
    uint64_t fetch; /* of the origin, which this request has waited for; 0: it has waited for none */
    struct wait wait;
};

struct edge_thread {
    struct edge_run *run;
    struct ev ev;
    pthread_t id;
    bool started, tells_progress;
    uint64_t released_ns; /* stampede: 0 until then */
    struct edge *edges;
    uint32_t n_edges, n_settled, n_done;
    struct ev_timer sweep, deadline, release;
    /* open loop: request number `no + k * threads` is due at `due_ns` */
    struct ev_timer arrival;
    struct list_node idle;
    uint64_t no, k, due_ns;
    bool is_over; /* no more requests are to come */
    struct edges_report report;
    const char *failed; /* why the thread could not run */
    char scratch[EDGE_SCRATCH_BYTES];
};

void edge_open(struct edge *e);                        /* connect; then ask, or wait for the release */
void edge_ask(struct edge *e);                         /* send the next request, if one is left */
void edge_check_time(struct edge *e, uint64_t now_ns); /* fail it when its time is over */
void edge_fini(struct edge *e);

void *edge_thread_main(void *thread); /* for pthread_create */

/* After a stampede: fills in the report's wait_*. Returns NULL, or static text. */
const char *edges_note_waits(struct edge_thread *const *threads, uint32_t n_threads,
                             struct edges_report *out);

/* A thread that could not run will not come to the gate. */
void edge_gate_give_up(struct edge_run *run);

enum edge_claim { CLAIM_TAKEN, CLAIM_LATER, CLAIM_NONE };

/* Open loop: the next request of the thread's schedule, if it is due; sets e->i and e->start_ns. */
enum edge_claim edge_thread_claim(struct edge *e);

/* Open loop: `e` waits for a request to become due. */
void edge_thread_idle(struct edge *e);

/* To the thread: this connection is ready for the release, or never will be; has no more to do. */
void edge_thread_settled(struct edge *e);
void edge_thread_done(struct edge *e);

#endif
