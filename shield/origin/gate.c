#include "shield/origin/gate.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"

/* WAITING --> GRANTED (mail under way) --> HELD; left while GRANTED it gives the place on when the mail
 * arrives. */
enum place_state { WAITING, GRANTED, HELD };

struct gate_place {
    struct mail mail;
    struct list_node link;
    struct gate *gate;
    struct loop *loop;
    enum place_state state; /* under the gate's lock */
    void (*on_granted)(void *ctx);
    void *ctx;
};

struct gate {
    pthread_mutex_t lock; /* the innermost of all locks; loop_post is the only call made under it */
    struct list_node queue;
    uint64_t inflight, queued, limit; /* limit: max_concurrent as the last request has seen it */
    unsigned origin_index;
};

struct gate *gate_new(unsigned origin_index)
{
    struct gate *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    pthread_mutex_init(&g->lock, NULL);
    list_init(&g->queue);
    g->origin_index = origin_index;
    return g;
}

void gate_free(struct gate **slot)
{
    struct gate *g = *slot;
    *slot = NULL;
    if (g == NULL)
        return;
    REQUIRE(g->inflight == 0 && list_empty(&g->queue));
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static void count(struct gate *g, struct loop *l, int inflight, int queued)
{
    struct metrics_origin *m = &l->metrics->origins[g->origin_index];
    metric_add(&m->inflight, inflight);
    metric_add(&m->queue_depth, queued);
}

/* Under the lock: hand free places, by the limit that `l` knows, to the first that wait. */
static void grant(struct gate *g, const struct loop *l)
{
    g->limit = l->config->origins[g->origin_index].max_concurrent;
    while (g->inflight < g->limit && !list_empty(&g->queue)) {
        struct gate_place *next = container_of(g->queue.next, struct gate_place, link);
        list_remove(&next->link);
        g->queued--;
        g->inflight++;
        next->state = GRANTED;
        loop_post(next->loop, &next->mail);
    }
}

static void give_back(struct gate *g, const struct loop *l)
{
    g->inflight--;
    grant(g, l);
}

static void on_mail(struct mail *m)
{
    struct gate_place *p = container_of(m, struct gate_place, mail);
    struct gate *g = p->gate;
    count(g, p->loop, 1, -1);
    if (p->on_granted == NULL) { /* left meanwhile */
        pthread_mutex_lock(&g->lock);
        give_back(g, p->loop);
        pthread_mutex_unlock(&g->lock);
        count(g, p->loop, -1, 0);
        free(p);
        return;
    }
    pthread_mutex_lock(&g->lock);
    p->state = HELD;
    pthread_mutex_unlock(&g->lock);
    p->on_granted(p->ctx);
}

int gate_enter(struct gate *g, struct loop *l, void (*on_granted)(void *ctx), void *ctx,
               struct gate_place **out, bool *granted)
{
    const struct config_origin *o = &l->config->origins[g->origin_index];
    struct gate_place *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    *p = (struct gate_place){
        .mail.deliver = on_mail, .gate = g, .loop = l, .on_granted = on_granted, .ctx = ctx};
    list_init(&p->link);

    pthread_mutex_lock(&g->lock);
    grant(g, l); /* a reload may have raised it */
    bool full = g->inflight >= g->limit;
    bool refused = full && g->queued >= o->max_queued;
    if (!full) {
        g->inflight++;
        p->state = HELD;
    } else if (!refused) {
        g->queued++;
        p->state = WAITING;
        list_add_tail(&g->queue, &p->link);
    }
    pthread_mutex_unlock(&g->lock);

    if (full)
        metric_limit(l->metrics, MAX_CONCURRENT);
    if (refused) {
        metric_limit(l->metrics, MAX_QUEUED);
        free(p);
        return ERR_BUSY;
    }
    count(g, l, !full, full);
    *granted = !full;
    *out = p;
    return 0;
}

void gate_leave(struct gate_place **slot)
{
    struct gate_place *p = *slot;
    *slot = NULL;
    if (p == NULL)
        return;
    struct gate *g = p->gate;
    pthread_mutex_lock(&g->lock);
    enum place_state state = p->state;
    if (state == WAITING) {
        list_remove(&p->link);
        g->queued--;
    } else if (state == HELD) {
        give_back(g, p->loop);
    }
    pthread_mutex_unlock(&g->lock);

    if (state == GRANTED) { /* the mail owns it now */
        p->on_granted = NULL;
        return;
    }
    count(g, p->loop, state == HELD ? -1 : 0, state == WAITING ? -1 : 0);
    free(p);
}
