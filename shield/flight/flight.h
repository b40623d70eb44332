/* flight - one origin fetch, shared by every request that wants it.
 *
 * The first miss on a key starts a flight. Later misses join it as waiters and read the same object while it
 * fills, so that in a stampede the origin sees one request, however many wait. It looks on disk first, then
 * asks the origin.
 *
 *   NEW --> DISK --> HEAD --> BODY --> DONE    DISK found what may be served: DONE at once
 *    |        |        `------`--`---> FAILED  the waiters get one shared error, or are cut
 *    `--------`----------------------> HEAD, FAILED
 *
 *   BODY --> RESUME --> BODY                   the transfer broke off: the rest is asked for, twice at most
 *            `---`----> RESUME, FAILED         it broke off again before a head; it cannot be mended
 *
 * A break is nothing that a waiter sees: head, verdict and place in the table stay those of the first answer.
 * A *refresh* is a flight that no client has started to wait for: the stored response is served meanwhile.
 * A *shared* flight stands in the cache's table from NEW until it is detached: when it ends, or when it may
 * no longer be joined. A *solo* flight is one client's own fetch (a pass, a released request) and never
 * stands there; the code is the same. A flight belongs to the loop that made it; waiters sit on their own
 * loops, in the flight's seat there. */
#ifndef SHIELD_FLIGHT_FLIGHT_H
#define SHIELD_FLIGHT_FLIGHT_H

#include "shield/origin/call.h"
#include "shield/policy/forward.h"
#include "shield/policy/judge.h"
#include "shield/purge/purge_log.h"
#include "shield/store/admission.h"
#include "shield/store/disk.h"
#include "shield/store/object.h"

struct flight;
struct flight_env;

enum flight_event {
    FLIGHT_INTERIM,  /* flight_next_interim has something; never behind FLIGHT_HEAD */
    FLIGHT_HEAD,     /* flight_object is there to be read */
    FLIGHT_SWITCHED, /* solo, for what.upgrade: flight_hand_over may be called; perhaps told more than once */
    FLIGHT_PROGRESS, /* it has grown, is sealed or has failed: in the latter cases leave, nothing more will
                        come */
    /* from here on: the last event, the waiter is out already */
    FLIGHT_RELEASED, /* may not be shared: fetch alone */
    FLIGHT_VARIED,   /* it is another variant: look up again */
    FLIGHT_AGAIN,    /* it ended before it began: look up again */
    FLIGHT_FENCED,   /* a purge has overtaken it: look up again */
    FLIGHT_FAILED,   /* waiter.err, shared by all */
};

/* Embed this in your own struct: joining allocates nothing for the waiter. */
struct flight_waiter {
    struct list_node link;                     /* private */
    struct flight *flight;                     /* NULL when in none */
    const struct http_head *request;           /* yours; lives as long as you wait */
    bool is_leader;                            /* the flight was started for this one */
    bool wants_range;                          /* released when the object will not be kept */
    bool is_background;                        /* no client: it moves no fetch before others */
    bool told_head;                            /* private */
    bool came_late;                            /* private: the final head was there when it joined */
    uint64_t told_bytes;                       /* private: what it has been told of */
    const struct flight_interim *last_interim; /* private: what it has taken */
    int err;
    enum limit_name limit;  /* with ERR_BUSY: which bound */
    uint32_t retry_after_s; /* with FLIGHT_FAILED: what the origin asked for; 0: nothing */
    uint64_t joined_us;
    uint64_t position; /* it needs nothing below: moved by flight_waiter_read_to */
    void (*on_event)(struct flight_waiter *w, enum flight_event ev);
};

/* What is fetched. Everything is copied. */
struct flight_request {
    struct config *config; /* which `route` is part of; a reference is taken */
    const struct config_route *route;
    struct span key;
    uint64_t key_hash;
    struct span names, variant; /* the variant asked for, where the key's Vary is known */
    bool variant_known;
    enum http_method method;
    const struct http_head *head;
    struct span host, path_query;
    unsigned origin_index;
    enum origin_kind kind;
    enum forward_mode mode;
    enum http1_framing content;
    uint64_t content_length;
    struct object
        *stored;      /* what its answer renews or replaces, or NULL; a reference is taken. A GET validates it
                       * where it has a validator; a HEAD may freshen it (RFC 9111 section 4.3.5) */
    uint32_t epoch;   /* the table's note of when it was asked for */
    bool only_stored; /* shared: when the disk does not answer it, it ends with FLIGHT_AGAIN */
    bool may_store;   /* solo: its answer may be stored where the policy permits */
    struct span client_ip;
    struct span upgrade; /* solo, FORWARD_PASS: the protocol that it asks for, or empty */
};

enum flight_found {
    FOUND_ANSWER,   /* it answers the flight, which has left the table */
    FOUND_AGAIN,    /* who looks up again is served; the flight has left the table */
    FOUND_VALIDATE, /* the origin has to be asked about it */
    FOUND_PURGED,   /* it may not be used in any way */
};

/* How the table hears of a flight's life: called on the flight's loop, without locks held. */
struct flight_table {
    /* The disk had `o` (sealed), which is in the index on return, unless the key was invalidated meanwhile.
     */
    enum flight_found (*found)(void *ctx, struct flight *f, struct object *o);
    /* What the key's responses vary on is known from the disk. */
    void (*learned)(void *ctx, struct flight *f, struct span names);
    /* The head is known. `object` is what will be stored (FILLING), or NULL when nothing will be; when the
     * flight may not be joined any more it has left the table on return. */
    void (*settled)(void *ctx, struct flight *f, const struct verdict *v, struct object *object,
                    bool joinable);
    /* No newcomers from now on. */
    void (*detach)(void *ctx, struct flight *f);
    /* The end: `object` sealed and to be kept, or NULL with why. The flight has left the table on return.
     * False when the object is not kept after all: its key was invalidated since the flight began. */
    bool (*ended)(void *ctx, struct flight *f, struct object *object, int err);
    void *ctx;
};

/* What flights on one loop need; for the life of the loop. */
struct flight_env {
    struct loop *loop;
    struct loop **loops; /* all workers */
    unsigned n_loops;
    struct upstream_pool *pool;
    struct disk *disk;           /* NULL: memory only */
    struct admission *admission; /* how often keys were asked for; NULL: that does not matter */
    struct purge_log *purges;    /* NULL: nothing is ever purged */
    struct flight_table table;
    struct list_node running;   /* this loop's flights */
    uint64_t told_until_ms[64]; /* by key hash: the log has been told of a suspicious answer, which will do */
};

/* Fill the fields above first. */
void flight_env_init(struct flight_env *env);
/* On its loop, when a purge has come into force: flights that it overtakes are no longer shared or stored,
 * and whoever has not been told of a head looks up again (DESIGN.md section 7). */
void flight_env_fence(struct flight_env *env);
/* End every flight of the loop: when no client is left. */
void flight_env_stop(struct flight_env *env);

/* A flight in state NEW with one reference for its own life; NULL without memory. `shared`: it is in the
 * table. */
struct flight *flight_new(struct flight_env *env, const struct flight_request *request, bool shared);
/* Start it; on its loop. Events come from later turns. */
void flight_launch(struct flight *f);
/* Drop a flight that was never launched. */
void flight_discard(struct flight **slot);

/* Whether an object of so many bytes is one for the disk: store.object_max. */
bool flight_may_be_on_disk(const struct config *cfg, uint64_t length);

/* Whether all bodies in the air have reached flight.max_bytes_total: no new fetch is started then, and those
 * that run hold a chunk each at most. flight_limit_bytes counts it. Any thread. */
bool flight_is_air_full(const struct config *cfg);
bool flight_limit_bytes(struct loop *l);

/* Join: from any loop, under the table's lock for a shared flight. Sets *w up and always follows with an
 * event on the calling loop from a later turn. ERR_BUSY when flight.max_waiters or max_waiters_total is
 * reached: w->limit says which. */
int flight_join(struct flight *f, struct loop *here, struct flight_waiter *w);
/* Whether one more may join, under the same lock; else *limit says which bound is reached. */
bool flight_may_join(const struct flight *f, const struct config *cfg, enum limit_name *limit);

/* Leave: on the waiter's loop, at once and final. */
void flight_leave(struct flight_waiter *w);

/* Whether the slowest waiter sets the pace of the fetch: who is too slow has to go. Any loop. */
bool flight_is_paced(const struct flight *f);

/* The reader needs nothing below `position` any more: an object that is not kept may drop it and go on
 * filling.
 */
void flight_waiter_read_to(struct flight_waiter *w, uint64_t position);

/* A 1xx of the origin, as it goes on to a client: a whole head. Immutable; lives as long as its flight. */
struct flight_interim {
    _Atomic(struct flight_interim *) next; /* private */
    bool sets_cookie;                      /* private */
    int status;
    struct span head;
};

/* The next interim response for this waiter, in the origin's order and each once; NULL when there is none
 * (now). On the waiter's loop, from FLIGHT_INTERIM on and once more at FLIGHT_HEAD. See flight_interim.c for
 * who gets which. */
const struct flight_interim *flight_next_interim(struct flight_waiter *w);

/* After FLIGHT_HEAD: the object, borrowed from the flight (take a reference to keep it). */
struct object *flight_object(const struct flight *f);
/* After FLIGHT_HEAD: the Content-Length that the origin announced, LENGTH_UNKNOWN when none: what a HEAD is
 * told. */
uint64_t flight_announced_length(const struct flight *f);
/* What the origin's Retry-After asks for, held down to flight.retry_after_max; 0: nothing. After its head. */
uint32_t flight_retry_after_s(const struct flight *f);
/* After FLIGHT_HEAD, for the leader: fields that nobody else may have (withheld.h), with CRLF each. */
struct span flight_withheld(const struct flight *f);
/* After FLIGHT_HEAD: how it came to be. */
bool flight_was_validated(const struct flight *f); /* a 304 renewed a stored object */
bool flight_is_stale(const struct flight *f); /* the origin gave no answer: what was to be validated, stale */
bool flight_came_from_disk(const struct flight *f);
bool flight_was_resumed(const struct flight *f); /* its body broke off, and has been gone on with; any time */
bool flight_is_stored(const struct flight *f);   /* the object goes to the store */
/* The same, but where there is a disk, to disk: what is told to be stored must outlive the process once
 * nothing is pending (DESIGN.md section 2). */
bool flight_is_stored_to_last(const struct flight *f);

/* Whether a 101 has come for what.upgrade, and is still to be handed over. */
bool flight_has_switched(const struct flight *f);
/* Then: the head for its client (as long as the flight), and the line, whose events go to `owner` from now
 * on. The flight has nothing more to tell: leave it. On its loop. */
struct span flight_switching_head(const struct flight *f);
void flight_hand_over(struct flight *f, struct origin_line *out, const struct upstream_owner *owner,
                      void *ctx);

/* Request content of a solo flight, from its own loop; see origin_call_write. `on_room` is called on the
 * flight's loop when more may be written. */
void flight_set_on_room(struct flight *f, void (*on_room)(void *ctx), void *ctx);
bool flight_has_room(const struct flight *f);
void flight_write(struct flight *f, const char *p, size_t n);
void flight_finish_content(struct flight *f);

/* For the table, under its lock. */
/* From `learned`, on its loop: it asks for its own variant under `names`; those who want another hear of it.
 */
bool flight_learn_variant(struct flight *f, struct span names);
void flight_set_epoch(struct flight *f, uint32_t epoch); /* from `settled`: what it brings is that new */
void flight_adopt_variant(struct flight *f); /* from `settled`: it is the variant of its object from now on */
/* Whether a purge has overtaken its fetch; its tags count from its head on. Any thread. */
bool flight_is_purged(struct flight *f);

/* The number of the newest purge that was in force when it asked the origin: what came of it is as old as
 * that. UINT64_MAX where it has not asked. Any thread. */
uint64_t flight_purge_number(const struct flight *f);
/* What it brings may be older than a change: it is not stored, and another may start beside it. */
void flight_fence(struct flight *f);
struct list_node *flight_table_link(struct flight *f);
struct flight *flight_of_table_link(struct list_node *n);
const struct flight_request *flight_what(const struct flight *f);
void *flight_slot(const struct flight *f); /* the table's own pointer */
void flight_set_slot(struct flight *f, void *p);

struct flight_info {
    struct span key;
    const char *state;
    double age_s;
    uint64_t waiters, bytes;
};
/* The flights that are asking the origin now: `each` is called under a lock, on any thread. */
void flight_each_asking(void (*each)(void *ctx, const struct flight_info *info), void *ctx);

#endif
