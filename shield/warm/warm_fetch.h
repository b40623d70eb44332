/* warm_fetch - one URL brought into the store, as if a client had asked for it and nobody was in a hurry.
 *
 *   READY --> ASKING --> WAITING (on a flight) --> HOME
 *               `-----------`--------------------> HOME
 *
 * It goes by the same route, key and flight as a client's request: it joins the fetch that runs, and clients
 * join its own. In the origin's queue it is in the background, until a client has joined. It reads no body:
 * what will not be stored is let go as soon as that is known.
 *
 * A sitemap is another matter: its content is wanted, as it is now. It is a pass by the same route, in the
 * background too. */
#ifndef SHIELD_WARM_WARM_FETCH_H
#define SHIELD_WARM_WARM_FETCH_H

#include "shield/cache/cache.h"
#include "shield/warm/warm_request.h"

enum warm_outcome {
    WARM_STORED,      /* fetched, or renewed by a 304, and stored */
    WARM_FRESH,       /* it was there, and fresh */
    WARM_UNCACHEABLE, /* nothing of it is kept: by the origin's word, a route's, or a bound's */
    WARM_FAILED,      /* err says why; for want of room only after some tries, a second apart */
    WARM_READ,        /* of warm_fetch_read: its content is here */
    WARM_CANCELLED,   /* its worker stops */
    WARM_OUTCOMES
};

/* What fetches on one worker's loop share. */
struct warm_env {
    struct loop *loop;
    struct cache *cache;
    struct flight_env *flights;
    struct list_node running;
    bool is_stopped;
};
void warm_env_init(struct warm_env *env, struct loop *l, struct cache *c, struct flight_env *flights);
/* Those that run go home, and those that come. On the worker's thread. */
void warm_env_stop(struct warm_env *env);

struct warm_fetch;

/* A fetch of `url` with the fields `lines` (both copied) that will come home to `home`; NULL without memory.
 * `ctx` is yours. */
struct warm_fetch *warm_fetch_new(struct loop *home, struct span url, struct span lines,
                                  void (*on_home)(struct warm_fetch *f), void *ctx);

/* Before the start: read the content past the cache, `max_bytes` of it at most. `tag` is yours. */
void warm_fetch_read(struct warm_fetch *f, uint64_t max_bytes, size_t tag);

/* Have `env`'s loop fetch it. From `home`; on_home comes there from a later turn, once. */
void warm_fetch_start(struct warm_fetch *f, struct warm_env *env);

/* When it is home. */
void *warm_fetch_ctx(const struct warm_fetch *f);
enum warm_outcome warm_fetch_outcome(const struct warm_fetch *f);
int warm_fetch_error(const struct warm_fetch *f);  /* of WARM_FAILED; 0: the origin's answer was an error: */
int warm_fetch_status(const struct warm_fetch *f); /* its status; 0 when there was none */
struct span warm_fetch_url(const struct warm_fetch *f);
bool warm_fetch_is_read(const struct warm_fetch *f); /* by warm_fetch_read */
size_t warm_fetch_tag(const struct warm_fetch *f);
struct span warm_fetch_content(const struct warm_fetch *f); /* of WARM_READ */
void warm_fetch_free(struct warm_fetch **slot);             /* also one that was never started */

#endif
