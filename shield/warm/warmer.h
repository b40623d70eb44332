/* warmer - works lists of URLs off, each at its pace, through the workers in turn.
 *
 *   RUNNING --> OVER      all are done
 *      `------> OVER      cancelled, or the process drains: what is under way ends, nothing more begins
 *
 * A list that is over is told of until WARMER_REMEMBERED newer ones are over too. Lives on the admin loop; a
 * reload changes its bounds and nothing else. */
#ifndef SHIELD_WARM_WARMER_H
#define SHIELD_WARM_WARMER_H

#include "shield/warm/warm_fetch.h"
#include "shield/warm/warm_order.h"

enum { WARMER_REMEMBERED = 16, WARMER_FAILURES = 10 };

struct warmer;

/* `envs` of all workers, whose array outlives it. NULL without memory. */
struct warmer *warmer_new(struct loop *home, struct warm_env *const *envs, unsigned n_envs);
void warmer_free(struct warmer **slot); /* after the loops have ended */

/* Begin with `order`, which names something and is taken over (and empty then). Returns 0 with *id,
 * ERR_BUSY (warm.max_lists is reached, and counted), ERR_GONE (warmer_stop was called) or ERR_NOMEM; with an
 * error the order stays. */
int warmer_start(struct warmer *w, struct warm_order *order, uint64_t *id);

/* False when there is none of that id. One that is over stays so. */
bool warmer_cancel(struct warmer *w, uint64_t id);

/* The process drains: all lists are cancelled, and no other begins. */
void warmer_stop(struct warmer *w);

struct warm_failure {
    struct span url;
    const char *why; /* static; NULL: the status says it */
    int status;
};

struct warm_progress {
    uint64_t id, pace, urls, done, counts[WARM_OUTCOMES]; /* urls: requests, and sitemaps that failed */
    bool is_running, is_cancelled;
    size_t n_failures; /* the first ones */
    struct warm_failure failures[WARMER_FAILURES];
};

/* How list `id` stands; the spans live until the loop turns. False when there is none of that id. */
bool warmer_look(const struct warmer *w, uint64_t id, struct warm_progress *out);
/* All of them, oldest first. */
void warmer_each(const struct warmer *w, void (*each)(void *ctx, const struct warm_progress *p), void *ctx);

#endif
