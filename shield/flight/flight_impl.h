/* flight_impl - what the files of this folder share; nobody else includes it. */
#ifndef SHIELD_FLIGHT_FLIGHT_IMPL_H
#define SHIELD_FLIGHT_FLIGHT_IMPL_H

#include "shield/flight/flight.h"

enum flight_state { F_NEW, F_DISK, F_HEAD, F_BODY, F_RESUME, F_DONE, F_FAILED };

/* What the seats are told; set once by the owner, after everything that goes with it. */
enum flight_news {
    NEWS_NONE,
    NEWS_VARIANT,     /* asked_names is known: others than asked_variant look up again */
    NEWS_HEAD,        /* the object is for everyone */
    NEWS_HEAD_LEADER, /* for the leader; the others hear of it when it is whole */
    NEWS_HEAD_ALONE,  /* for the leader; the others are released */
    NEWS_ERROR_ALONE, /* an error for the leader; the others get PRIVATE_ERROR */
    NEWS_FENCED,      /* who has not been told of a head looks up again */
    NEWS_SWITCHED,    /* the leader, who is alone, may take the line over */
    NEWS_AGAIN,
    NEWS_FAILED,
};

/* The waiters of one loop. The list belongs to that loop; the rest is how the owner and the loop meet. */
struct seat {
    struct flight *flight;
    struct loop *loop;
    struct list_node waiters;
    uint32_t n_waiters;
    struct mail mail;
    atomic_bool mailed; /* mail is under way */
    atomic_bool occupied;
    _Atomic uint64_t lowest; /* position of the slowest waiter; kept up while the flight is paced */
};

struct flight {
    atomic_uint refs; /* the owner's, one for each waiter, one for each mail under way */
    struct flight_env *env;
    struct list_node running_link;
    bool shared;

    /* the owner's loop only */
    enum flight_state state;
    struct flight_waiter *leader; /* NULL when it has left */
    struct arena arena;
    struct flight_request what;
    struct http_head request_head;
    struct origin_call call;
    struct disk_get get;
    struct verdict verdict;
    struct object *freshened;     /* what.stored with the fields of the HEAD's answer */
    bool storing;                 /* the object is to be kept: in memory, on disk, or both */
    bool filling_disk;            /* the store takes its chunks */
    bool unadmitted;              /* it does not, since the key was not asked for often enough */
    bool attached;                /* in the table */
    struct loop_timer hold_timer; /* looks whether the store has caught up */
    bool deferred;                /* the news wait for the end of a small body; see settle */
    struct {
        bool is_possible; /* the rest of the body may be asked for, should it break off */
        unsigned tries;   /* how often it was */
        uint64_t end,
            length; /* where the part that comes now ends (exclusive); of the whole, as known so far */
    } rest;
    bool has_all_tags; /* of the head made last: not more than are kept */
    bool overtaken;    /* by a purge: see flight_overtake */
    uint64_t started_us;
    void (*on_room)(void *ctx);
    void *room_ctx;

    struct flight_interim *last_interim;

    _Atomic(struct flight_interim *) interims; /* the first; the list only grows, until the final head */

    /* published with `news` */
    atomic_int news;
    int err;
    struct object *object;
    struct span asked_names, asked_variant;
    uint64_t announced_length;
    struct span withheld; /* the leader's alone */
    struct span switching_head;
    uint32_t retry_after_s;
    bool validated, from_disk, stale, kept, kept_to_last;

    _Atomic uint64_t purge_number; /* when the origin was asked; FLIGHT_UNNUMBERED before */
    atomic_bool asked;             /* the origin: from here on whoever joins is collapsed */
    _Atomic int64_t uncounted;     /* joined, but not counted as collapsed: the disk may answer yet */
    atomic_bool fenced;            /* set by any thread; see flight_fence */
    atomic_bool
        holding; /* the origin has been stopped: the slowest reader, or the store, is a window behind */
    atomic_bool resumed;                  /* the body has gone on behind a break */
    atomic_bool paced;                    /* nobody keeps the object: its slowest reader sets the pace */
    _Atomic uint64_t waiters, background; /* background: those of them who are no client's */
    struct mail check_mail;               /* to the owner: waiters have left, read on, or come to a refresh */
    atomic_bool check_mailed;
    struct mail end_mail;

    /* the table's, under its lock */
    struct list_node table_link;
    void *slot;

    struct list_node ledger_link; /* flight_ledger.c's */
    uint64_t ledger_key[2];
    atomic_uchar shown_state; /* enum flight_state, for /flights */

    struct seat seats[];
};

#define FLIGHT_UNNUMBERED UINT64_MAX

struct flight *flight_ref(struct flight *f);
void flight_unref(struct flight *f);

/* What a 304 would be about: NULL when the request is not a validation. */
static inline struct object *flight_validating(const struct flight *f)
{
    struct object *o = f->what.stored;
    bool validates =
        o != NULL && f->what.method == METHOD_GET && (object_head(o)->facts.flags & FACT_HAS_VALIDATOR);
    return validates ? o : NULL;
}

/* A refresh, as long as no client waits for it. */
static inline bool flight_is_background(const struct flight *f)
{
    return f->what.kind == KIND_REFRESH && atomic_load(&f->waiters) <= atomic_load(&f->background);
}

/* flight_seat.c: tell every seat that there is news, or progress. */
void flight_broadcast(struct flight *f);
/* The position below which no waiter reads any more; UINT64_MAX without waiters. */
uint64_t flight_lowest_position(struct flight *f);

/* flight.c: moves and ends, on the owner's loop. */
bool flight_is_over(const struct flight *f);
bool flight_is_wanted(const struct flight *f); /* somebody waits, or it is worth finishing for nobody */
void flight_enter(struct flight *f, enum flight_state next);
void flight_publish(struct flight *f, enum flight_news news);
void flight_detach(struct flight *f);        /* no newcomers from now on */
void flight_fail(struct flight *f, int err); /* the origin failed: stale, one shared error, or cuts */
/* Whether `err` would be answered with what is stored, stale. */
bool flight_may_fall_back(const struct flight *f, int err);
void flight_finish(struct flight *f); /* the response is complete */

/* flight_fence.c, on the owner's loop: a purge has overtaken it. Without a head it is over; else it goes on
 * for those alone who have been told of one. */
void flight_overtake(struct flight *f);
/* What it validates, or would, is gone for good. */
bool flight_stored_is_purged(const struct flight *f);
void flight_retire(struct flight *f); /* last: the owner's reference goes from a later turn */

/* flight_origin.c: ask, and stop or go on reading by how much is in the air. */
void flight_ask_origin(struct flight *f);
void flight_put_request(struct flight *f); /* into the call; in F_RESUME for what is missing of the body */
void flight_take_body(struct flight *f, const char *p, size_t n);
void flight_hold_or_go_on(struct flight *f);
void flight_on_hold_timer(struct loop_timer *t);

/* flight_interim.c: a 1xx has come, on the owner's loop; whether `w` has one to take, on its own. */
void flight_take_interim(struct flight *f, const struct http_head *head);
bool flight_has_interim(struct flight_waiter *w);

/* flight_resume.c: the head of the answer whose object has just been made; the body has broken off with
 * `err`. */
void flight_note_resumable(struct flight *f, const struct http_head *head);
void flight_broke_off(struct flight *f, int err); /* from on_end: goes on with it, or fails */

/* Count those who have joined, once the origin is asked. Any loop. */
void flight_count_collapsed(struct flight *f, struct loop *here);

/* flight_storing.c: what the policy says of `response`, with the jitter of cache.ttl_jitter. */
void flight_judge(struct flight *f, const struct http_head *response, struct verdict *v);

/* flight.c, on the owner's loop: waiters have left, read on, or come to a refresh. */
void flight_check(struct flight *f);

/* flight_ledger.c: shared flights that are asking the origin. Entering one that stands there already is a
 * violation of the invariant, and counted. */
void flight_ledger_enter(struct flight *f);
void flight_ledger_rename(struct flight *f); /* its variant has become known */
void flight_ledger_leave(struct flight *f);

#endif
