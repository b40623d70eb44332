#include "shield/warm/warmer.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "shield/ops/log.h"

enum { BURST_US = 2 * LOOP_TICK_MS * 1000 }; /* what a late turn of the loop may make up for */

struct warm_list {
    struct list_node link;
    struct warmer *warmer;
    uint64_t id;
    struct warm_order order;
    uint64_t next;     /* which request comes next, */
    size_t next_map;   /* or which sitemap: these come first, */
    uint64_t due_us;   /* and when, by the monotonic clock */
    size_t given_maps; /* sitemaps that were ordered; the others were found in these */
    uint64_t n_running, counts[WARM_OUTCOMES], failed_maps; /* failed_maps: of counts[WARM_FAILED] */
    bool is_cancelled;
    size_t n_failures;
    struct warm_failure failures[WARMER_FAILURES];
};

struct warmer {
    struct loop *loop;
    struct warm_env *const *envs;
    unsigned n_envs, next_env;
    struct list_node lists; /* oldest first */
    uint64_t last_id, n_running;
    struct loop_timer timer;
    bool is_stopped, was_full;
};

/* ---- the end of a list ---- */

static bool has_more(const struct warm_list *l)
{
    return !l->is_cancelled &&
           (l->next_map < warm_order_maps(&l->order) || l->next < warm_order_requests(&l->order));
}

static bool is_over(const struct warm_list *l)
{
    return !has_more(l) && l->n_running == 0;
}

static void free_list(struct warm_list *l)
{
    list_remove(&l->link);
    warm_order_fini(&l->order);
    free(l);
}

static unsigned count_over(const struct warmer *w, bool wanted)
{
    unsigned n = 0;
    list_each (node, &w->lists)
        n += is_over(container_of(node, struct warm_list, link)) == wanted;
    return n;
}

static void forget_old(struct warmer *w)
{
    unsigned too_many = count_over(w, true);
    too_many -= MIN(too_many, (unsigned)WARMER_REMEMBERED);
    list_each_safe (node, &w->lists) {
        struct warm_list *l = container_of(node, struct warm_list, link);
        if (too_many > 0 && is_over(l)) {
            free_list(l);
            too_many--;
        }
    }
}

static void end_if_over(struct warm_list *l)
{
    if (!is_over(l))
        return;
    log_info("warm: id=%" PRIu64 " %s stored=%" PRIu64 " fresh=%" PRIu64 " uncacheable=%" PRIu64
             " failed=%" PRIu64,
             l->id, l->is_cancelled ? "cancelled" : "done", l->counts[WARM_STORED], l->counts[WARM_FRESH],
             l->counts[WARM_UNCACHEABLE], l->counts[WARM_FAILED]);
}

/* ---- one request ---- */

/* `why` NULL: the status says it. */
static void note_failure(struct warm_list *l, const struct warm_fetch *f, const char *why)
{
    l->counts[WARM_FAILED]++;
    l->failed_maps += warm_fetch_is_read(f);
    if (l->n_failures == WARMER_FAILURES)
        return;
    struct span url = arena_span(&l->order.arena, warm_fetch_url(f));
    if (url.p != NULL)
        l->failures[l->n_failures++] = (struct warm_failure){url, why, warm_fetch_status(f)};
}

/* Of what was asked for. A sitemap has a bound of its own. */
static void note_error(struct warm_list *l, const struct warm_fetch *f)
{
    int err = warm_fetch_error(f);
    if (warm_fetch_is_read(f) && err == ERR_CONTENT_TOO_LARGE) {
        metric_limit(l->warmer->loop->metrics, WARM_MAX_SITEMAP);
        note_failure(l, f, "the sitemap is larger than warm.max_sitemap");
    } else {
        note_failure(l, f, err != 0 ? err_text(err) : NULL);
    }
}

/* The order is as it was before the sitemap's text was read, which is not warmed, in parts neither. */
static void drop_listed(struct warm_list *l, const struct warm_fetch *f, size_t urls_bytes, size_t maps_bytes)
{
    struct warm_order *o = &l->order;
    if (o->err == ERR_CONTENT_TOO_LARGE)
        metric_limit(l->warmer->loop->metrics, WARM_MAX_URLS);
    const char *why =
        o->err != ERR_NOMEM && !o->why.failed ? arena_copy(&o->arena, o->why.p, o->why.len) : NULL;
    note_failure(l, f, why != NULL ? why : err_text(ERR_NOMEM));
    o->urls.len = urls_bytes;
    o->maps.len = maps_bytes;
    o->urls.failed = o->maps.failed = false;
    o->err = 0;
    buf_fini(&o->why);
}

/* A sitemap has come: what it lists is warmed too. An index names sitemaps, and these no others. */
static void take_listed(struct warm_list *l, const struct warm_fetch *f)
{
    struct warm_order *o = &l->order;
    size_t urls_bytes = o->urls.len, maps_bytes = o->maps.len;
    o->config = l->warmer->loop->config;
    bool ok = warm_order_add_listed(o, warm_fetch_content(f));
    if (ok && o->maps.len > maps_bytes && warm_fetch_tag(f) >= l->given_maps)
        ok = warm_order_fault(o, "the sitemap is an index within an index");
    if (ok)
        l->counts[WARM_READ]++;
    else
        drop_listed(l, f, urls_bytes, maps_bytes);
}

static void work(struct warmer *w);

static void on_home(struct warm_fetch *f)
{
    struct warm_list *l = warm_fetch_ctx(f);
    struct warmer *w = l->warmer;
    enum warm_outcome outcome = warm_fetch_outcome(f);
    if (outcome == WARM_READ)
        take_listed(l, f);
    else if (outcome == WARM_FAILED)
        note_error(l, f);
    else
        l->counts[outcome]++;
    l->is_cancelled |= outcome == WARM_CANCELLED;
    warm_fetch_free(&f);
    l->n_running--;
    w->n_running--;
    end_if_over(l);
    work(w);
}

static struct warm_fetch *next_fetch(struct warmer *w, struct warm_list *l)
{
    const struct warm_order *o = &l->order;
    if (l->next_map == warm_order_maps(o)) {
        uint64_t i = l->next++;
        struct span lines = o->variants[i % o->n_variants];
        return warm_fetch_new(w->loop, warm_order_url(o, i / o->n_variants), lines, on_home, l);
    }
    size_t map = l->next_map++;
    struct warm_fetch *f = warm_fetch_new(w->loop, warm_order_map(o, map), SPAN(""), on_home, l);
    if (f != NULL)
        warm_fetch_read(f, w->loop->config->warm.max_sitemap, map);
    else
        l->failed_maps++;
    return f;
}

static void start_next(struct warmer *w, struct warm_list *l)
{
    struct warm_fetch *f = next_fetch(w, l);
    if (f == NULL) {
        l->counts[WARM_FAILED]++;
        return;
    }
    l->n_running++;
    w->n_running++;
    warm_fetch_start(f, w->envs[w->next_env++ % w->n_envs]);
}

/* ---- the pace ---- */

/* What is due of one list. A moment of being late is made up for, a pause in which the bound was reached is
 * not. */
static void work_list(struct warmer *w, struct warm_list *l, uint64_t now_us)
{
    uint64_t max_running = w->loop->config->warm.max_running;
    l->due_us = MAX(l->due_us, now_us - MIN(now_us, (uint64_t)BURST_US));
    while (has_more(l) && l->due_us <= now_us && w->n_running < max_running) {
        l->due_us += 1000000 / l->order.pace;
        start_next(w, l);
    }
    end_if_over(l);
}

/* Reached once for each time that it was not, however long it stays so. */
static void note_full(struct warmer *w, bool is_full)
{
    if (is_full && !w->was_full)
        metric_limit(w->loop->metrics, WARM_MAX_RUNNING);
    w->was_full = is_full;
}

static void work(struct warmer *w)
{
    uint64_t now_us = clock_mono_us();
    bool is_more = false;
    list_each_safe (node, &w->lists) {
        struct warm_list *l = container_of(node, struct warm_list, link);
        bool had_more = has_more(l);
        if (had_more)
            work_list(w, l, now_us);
        is_more |= had_more;
    }
    bool is_full = w->n_running >= w->loop->config->warm.max_running;
    note_full(w, is_more && is_full);
    if (is_more && !is_full)
        timer_set(w->loop, &w->timer, LOOP_TICK_MS);
    else
        timer_stop(w->loop, &w->timer); /* who comes home goes on */
}

static void on_due(struct loop_timer *t)
{
    work(container_of(t, struct warmer, timer));
}

/* ---- what callers do ---- */

int warmer_start(struct warmer *w, struct warm_order *order, uint64_t *id)
{
    REQUIRE(loop_is_current(w->loop) && order->err == 0);
    if (w->is_stopped)
        return ERR_GONE;
    if (count_over(w, false) >= w->loop->config->warm.max_lists) {
        metric_limit(w->loop->metrics, WARM_MAX_LISTS);
        return ERR_BUSY;
    }
    struct warm_list *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    forget_old(w);
    l->warmer = w;
    l->order = *order;
    l->given_maps = warm_order_maps(order);
    l->id = *id = ++w->last_id;
    warm_order_init(order, order->config);
    list_add_tail(&w->lists, &l->link);
    timer_set(w->loop, &w->timer, 0);
    return 0;
}

static struct warm_list *find(const struct warmer *w, uint64_t id)
{
    list_each (node, &w->lists) {
        struct warm_list *l = container_of(node, struct warm_list, link);
        if (l->id == id)
            return l;
    }
    return NULL;
}

static void cancel(struct warm_list *l)
{
    if (!has_more(l))
        return;
    l->is_cancelled = true;
    end_if_over(l);
}

bool warmer_cancel(struct warmer *w, uint64_t id)
{
    struct warm_list *l = find(w, id);
    if (l != NULL)
        cancel(l);
    return l != NULL;
}

void warmer_stop(struct warmer *w)
{
    w->is_stopped = true;
    list_each_safe (node, &w->lists)
        cancel(container_of(node, struct warm_list, link));
}

static struct warm_progress progress_of(const struct warm_list *l)
{
    const uint64_t *n = l->counts;
    struct warm_progress p = {.id = l->id,
                              .pace = l->order.pace,
                              .urls = warm_order_requests(&l->order) + l->failed_maps,
                              .done = n[WARM_STORED] + n[WARM_FRESH] + n[WARM_UNCACHEABLE] + n[WARM_FAILED],
                              .is_running = !is_over(l),
                              .is_cancelled = l->is_cancelled,
                              .n_failures = l->n_failures};
    memcpy(p.counts, l->counts, sizeof p.counts);
    memcpy(p.failures, l->failures, sizeof p.failures);
    return p;
}

bool warmer_look(const struct warmer *w, uint64_t id, struct warm_progress *out)
{
    const struct warm_list *l = find(w, id);
    if (l != NULL)
        *out = progress_of(l);
    return l != NULL;
}

void warmer_each(const struct warmer *w, void (*each)(void *ctx, const struct warm_progress *p), void *ctx)
{
    list_each (node, &w->lists) {
        struct warm_progress p = progress_of(container_of(node, struct warm_list, link));
        each(ctx, &p);
    }
}

/* ---- life ---- */

struct warmer *warmer_new(struct loop *home, struct warm_env *const *envs, unsigned n_envs)
{
    struct warmer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->loop = home;
    w->envs = envs;
    w->n_envs = n_envs;
    list_init(&w->lists);
    timer_init(&w->timer, on_due);
    return w;
}

void warmer_free(struct warmer **slot)
{
    struct warmer *w = *slot;
    *slot = NULL;
    if (w == NULL)
        return;
    list_each_safe (node, &w->lists)
        free_list(container_of(node, struct warm_list, link));
    free(w);
}
