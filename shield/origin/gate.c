#include "shield/origin/gate.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"

/* WAITING --> GRANTED (mail under way) --> HELD
 *       `---> REFUSED (mail under way) --> TURNED_AWAY
 * Left while the mail is under way, it is the mail that ends it: a place that was granted goes on to the
 * next. */
enum place_state { WAITING, GRANTED, HELD, REFUSED, TURNED_AWAY };

struct gate_place {
    struct mail mail;
    struct list_node link;
    struct gate *gate;
    struct loop *loop;
    enum place_state state; /* under the gate's lock */
    bool left;              /* the loop's own: nobody listens any more */
    void (*on_turn)(void *ctx, int err);
    void *ctx;
};

struct gate {
    pthread_mutex_t lock; /* the innermost of all locks; loop_post is the only call made under it */
    struct list_node queues[GATE_RANKS];
    uint64_t inflight, queued, limit; /* limit: max_concurrent as the last request has seen it */
    unsigned origin_index;
    struct servers *servers;
};

struct gate *gate_new(unsigned origin_index)
{
    struct gate *g = calloc(1, sizeof *g);
    struct servers *servers = servers_new(origin_index);
    if (g == NULL || servers == NULL) {
        free(g);
        servers_free(&servers);
        return NULL;
    }
    pthread_mutex_init(&g->lock, NULL);
    for (int i = 0; i < GATE_RANKS; i++)
        list_init(&g->queues[i]);
    g->origin_index = origin_index;
    g->servers = servers;
    return g;
}

void gate_free(struct gate **slot)
{
    struct gate *g = *slot;
    *slot = NULL;
    if (g == NULL)
        return;
    REQUIRE(g->inflight == 0 && g->queued == 0);
    pthread_mutex_destroy(&g->lock);
    servers_free(&g->servers);
    free(g);
}

struct servers *gate_servers(struct gate *g)
{
    return g->servers;
}

static void count(struct gate *g, struct loop *l, int inflight, int queued)
{
    struct metrics_origin *m = &l->metrics->origins[g->origin_index];
    metric_add(&m->inflight, inflight);
    metric_add(&m->queue_depth, queued);
}

/* ---- under the lock ---- */

/* Out of the queue, with the mail that says why. */
static void call_up(struct gate *g, struct gate_place *p, enum place_state state)
{
    list_remove(&p->link);
    g->queued--;
    p->state = state;
    loop_post(p->loop, &p->mail);
}

static struct gate_place *first_in_line(struct gate *g)
{
    for (int i = 0; i < GATE_RANKS; i++)
        if (!list_empty(&g->queues[i]))
            return container_of(g->queues[i].next, struct gate_place, link);
    return NULL;
}

/* Hand free places, by the limit that `l` knows, to those that wait. */
static void grant(struct gate *g, const struct loop *l)
{
    struct gate_place *next;
    g->limit = l->config->origins[g->origin_index].max_concurrent;
    while (g->inflight < g->limit && (next = first_in_line(g)) != NULL) {
        g->inflight++;
        call_up(g, next, GRANTED);
    }
}

static void give_back(struct gate *g, const struct loop *l)
{
    g->inflight--;
    grant(g, l);
}

/* The last to come goes: it has waited least. */
static bool background_gives_way(struct gate *g)
{
    struct list_node *queue = &g->queues[GATE_BACKGROUND];
    if (list_empty(queue))
        return false;
    call_up(g, container_of(queue->prev, struct gate_place, link), REFUSED);
    return true;
}

/* ---- mail ---- */

static void on_mail(struct mail *m)
{
    struct gate_place *p = container_of(m, struct gate_place, mail);
    struct gate *g = p->gate;
    pthread_mutex_lock(&g->lock);
    bool granted = p->state == GRANTED;
    p->state = granted ? HELD : TURNED_AWAY;
    pthread_mutex_unlock(&g->lock);
    count(g, p->loop, granted, -1);
    if (!granted)
        metric_limit(p->loop->metrics, MAX_QUEUED);
    if (p->left)
        gate_leave(&p);
    else
        p->on_turn(p->ctx, granted ? 0 : ERR_BUSY);
}

/* ---- coming and going ---- */

int gate_enter(struct gate *g, struct loop *l, enum gate_rank rank, void (*on_turn)(void *ctx, int err),
               void *ctx, struct gate_place **out, bool *granted)
{
    const struct config_origin *o = &l->config->origins[g->origin_index];
    struct gate_place *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    *p = (struct gate_place){.mail.deliver = on_mail, .gate = g, .loop = l, .on_turn = on_turn, .ctx = ctx};
    list_init(&p->link);

    pthread_mutex_lock(&g->lock);
    grant(g, l); /* a reload may have raised it */
    bool full = g->inflight >= g->limit;
    bool refused = full && g->queued >= o->max_queued &&
                   !(rank == GATE_INTERACTIVE && o->max_queued > 0 && background_gives_way(g));
    if (!full) {
        g->inflight++;
        p->state = HELD;
    } else if (!refused) {
        g->queued++;
        p->state = WAITING;
        list_add_tail(&g->queues[rank], &p->link);
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

void gate_raise(struct gate_place *p)
{
    struct gate *g = p->gate;
    pthread_mutex_lock(&g->lock);
    if (p->state == WAITING) {
        list_remove(&p->link);
        list_add_tail(&g->queues[GATE_INTERACTIVE], &p->link);
    }
    pthread_mutex_unlock(&g->lock);
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

    if (state == GRANTED || state == REFUSED) { /* the mail owns it now */
        p->left = true;
        return;
    }
    count(g, p->loop, state == HELD ? -1 : 0, state == WAITING ? -1 : 0);
    free(p);
}

void gate_reload(struct gate *g, const struct loop *l)
{
    pthread_mutex_lock(&g->lock);
    grant(g, l);
    pthread_mutex_unlock(&g->lock);
}
