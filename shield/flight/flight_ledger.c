#include "shield/flight/flight_impl.h"

#include <pthread.h>

#include <xxhash.h>

#include "common/check.h"
#include "common/clock.h"
#include "shield/ops/log.h"

/* An account of its own of who is asking the origin for what, kept apart from the cache's table on purpose:
 * it proves from outside that the table keeps its promise (DESIGN.md section 4). */
enum { LEDGER_BUCKETS = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list_node buckets[LEDGER_BUCKETS]; /* made at first use */

static struct list_node *bucket_of(const struct flight *f)
{
    struct list_node *b = &buckets[f->ledger_key[0] % LEDGER_BUCKETS];
    if (b->next == NULL)
        list_init(b);
    return b;
}

static void make_key(struct flight *f)
{
    const struct flight_request *what = &f->what;
    struct buf id = {0};
    buf_put_span(&id, what->method == METHOD_HEAD ? SPAN("HEAD ") : SPAN("GET "));
    buf_put_span(&id, what->key);
    buf_put_span(&id, what->variant_known ? SPAN("\n=") : SPAN("\n?"));
    buf_put_span(&id, what->names);
    buf_put_lit(&id, "\n");
    buf_put_span(&id, what->variant);
    XXH128_hash_t h = XXH3_128bits(id.p, id.len);
    buf_fini(&id);
    f->ledger_key[0] = h.low64;
    f->ledger_key[1] = h.high64;
}

static bool same_fetch(const struct flight *a, const struct flight *b)
{
    return a->ledger_key[0] == b->ledger_key[0] && a->ledger_key[1] == b->ledger_key[1];
}

/* Under the lock. A flight that changes its name is no newcomer: two variants may turn out to be one. */
static void add(struct flight *f, bool is_newcomer)
{
    if (atomic_load(&f->fenced)) /* another may start beside it already */
        return;
    make_key(f);
    struct list_node *b = bucket_of(f);
    bool twice = false;
    list_each (n, b)
        twice |= same_fetch(f, container_of(n, struct flight, ledger_link));
    list_add_tail(b, &f->ledger_link);
    metric_move(f->env->loop->metrics, FLIGHTS, 1);
    if (twice && is_newcomer) {
        metric_count(f->env->loop->metrics, VIOLATION_ONE_FLIGHT);
        log_error("flight: two shareable fetches of one key at a time: %.*s: this is a bug",
                  SPAN_FMT(f->what.key));
    }
}

static const char *shown_state(const struct flight *f)
{
    switch (atomic_load(&f->shown_state)) {
    case F_BODY:
        return "body";
    case F_RESUME:
        return "resume";
    default:
        return "head";
    }
}

static bool take_out(struct flight *f)
{
    bool was_in = list_linked(&f->ledger_link);
    list_remove(&f->ledger_link);
    if (was_in)
        metric_move(f->env->loop->metrics, FLIGHTS, -1);
    return was_in;
}

void flight_ledger_enter(struct flight *f)
{
    pthread_mutex_lock(&lock);
    add(f, true);
    pthread_mutex_unlock(&lock);
}

void flight_ledger_rename(struct flight *f)
{
    pthread_mutex_lock(&lock);
    if (take_out(f))
        add(f, false);
    pthread_mutex_unlock(&lock);
}

void flight_ledger_leave(struct flight *f)
{
    pthread_mutex_lock(&lock);
    take_out(f);
    pthread_mutex_unlock(&lock);
}

void flight_each_asking(void (*each)(void *ctx, const struct flight_info *info), void *ctx)
{
    uint64_t now_us = clock_mono_us();
    pthread_mutex_lock(&lock);
    for (int i = 0; i < LEDGER_BUCKETS; i++) {
        if (buckets[i].next == NULL)
            continue;
        list_each (n, &buckets[i]) {
            struct flight *f = container_of(n, struct flight, ledger_link);
            bool has_object = atomic_load_explicit(&f->news, memory_order_acquire) == NEWS_HEAD;
            struct flight_info info = {
                .key = f->what.key,
                .state = shown_state(f),
                .age_s = (double)(now_us - f->started_us) / 1e6,
                .waiters = atomic_load(&f->waiters),
                .bytes = has_object ? object_ready(f->object) : 0,
            };
            each(ctx, &info);
        }
    }
    pthread_mutex_unlock(&lock);
}
