#include "shield/origin/servers.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

struct server_state {
    uint64_t failures; /* in a row */
    /* while it is down */
    uint64_t interval_ms, due_ms; /* when the next probe may go, on loop_now_ms's scale */
    uint64_t probe;               /* the number of the one under way, 0 without */
};

struct servers {
    pthread_mutex_t lock;
    unsigned origin_index;
    uint64_t n_probes;              /* so many have been given out: their numbers */
    _Atomic uint32_t down, failing; /* a bit for each server; changed under the lock, read without */
    struct server_state state[CONFIG_MAX_SERVERS];
    _Atomic uint64_t fell_ms[CONFIG_MAX_SERVERS];
    _Atomic uint32_t address[CONFIG_MAX_SERVERS];
};

_Static_assert(CONFIG_MAX_SERVERS <= 32, "a bit for each server");

struct servers *servers_new(unsigned origin_index)
{
    struct servers *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    s->origin_index = origin_index;
    return s;
}

void servers_free(struct servers **slot)
{
    struct servers *s = *slot;
    *slot = NULL;
    if (s == NULL)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const struct config_origin *settings(const struct servers *s, const struct loop *l)
{
    return &l->config->origins[s->origin_index];
}

static bool is_off(const struct servers *s, const struct loop *l)
{
    return settings(s, l)->down_after == 0 || l->config->flight.error_ttl_ms == 0;
}

uint32_t servers_down(const struct servers *s, const struct loop *l)
{
    uint32_t down = atomic_load_explicit(&s->down, memory_order_relaxed);
    return down != 0 && !is_off(s, l) ? down : 0;
}

uint64_t servers_fell_ms(const struct servers *s, uint32_t server)
{
    return atomic_load_explicit(&s->fell_ms[server], memory_order_relaxed);
}

/* ---- choosing ---- */

/* A probe that takes longer than all its timeouts together hangs on its own client; the next may go. */
static uint64_t longest_probe_ms(const struct config_origin *o)
{
    return 2 * o->connect_attempts * o->connect_timeout_ms + o->head_timeout_ms;
}

static bool is_due(const struct servers *s, const struct loop *l, uint32_t server)
{
    return (atomic_load_explicit(&s->down, memory_order_relaxed) & BIT(server)) != 0 &&
           loop_now_ms(l) >= s->state[server].due_ms;
}

static bool take_probe(struct servers *s, const struct loop *l, uint32_t from, struct server_turn *out)
{
    const struct config_origin *o = settings(s, l);
    bool taken = false;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < o->n_servers && !taken; i++) {
        uint32_t server = (from + i) % o->n_servers;
        if (!is_due(s, l, server))
            continue;
        struct server_state *st = &s->state[server];
        st->probe = ++s->n_probes;
        st->due_ms = loop_now_ms(l) + longest_probe_ms(o);
        *out = (struct server_turn){.server = server, .probe = st->probe};
        taken = true;
    }
    pthread_mutex_unlock(&s->lock);
    return taken;
}

static bool any_up(const struct servers *s, const struct loop *l, uint32_t down)
{
    uint32_t all = (uint32_t)(UINT64_C(1) << settings(s, l)->n_servers) - 1;
    return (down & all) != all;
}

bool servers_next(struct servers *s, const struct loop *l, uint32_t from, bool safe, struct server_turn *out)
{
    uint32_t n = settings(s, l)->n_servers, down = servers_down(s, l);
    if (down != 0 && (safe || !any_up(s, l, down)) && take_probe(s, l, from, out))
        return true;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t server = (from + i) % n;
        if ((down & BIT(server)) == 0) {
            *out = (struct server_turn){.server = server};
            return true;
        }
    }
    return false;
}

bool servers_any(struct servers *s, const struct loop *l)
{
    uint32_t down = servers_down(s, l);
    bool any = any_up(s, l, down);
    if (any)
        return true;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < settings(s, l)->n_servers && !any; i++)
        any = is_due(s, l, i);
    pthread_mutex_unlock(&s->lock);
    return any;
}

/* ---- what came of it ---- */

static void count_down(const struct servers *s, const struct loop *l, int n)
{
    metric_add(&l->metrics->origins[s->origin_index].servers_down, n);
}

static void set_bit(_Atomic uint32_t *bits, uint32_t bit, bool on)
{
    uint32_t now = atomic_load_explicit(bits, memory_order_relaxed);
    atomic_store_explicit(bits, on ? now | bit : now & ~bit, memory_order_relaxed);
}

void servers_answered(struct servers *s, const struct loop *l, const struct server_turn *t)
{
    uint32_t bit = BIT(t->server);
    if ((atomic_load_explicit(&s->failing, memory_order_relaxed) & bit) == 0)
        return;
    pthread_mutex_lock(&s->lock);
    bool was_down = (atomic_load_explicit(&s->down, memory_order_relaxed) & bit) != 0;
    s->state[t->server] = (struct server_state){0};
    set_bit(&s->failing, bit, false);
    set_bit(&s->down, bit, false);
    pthread_mutex_unlock(&s->lock);
    if (!was_down)
        return;
    count_down(s, l, -1);
    log_info("origin: %s: %s: answers again", settings(s, l)->name, settings(s, l)->servers[t->server].url);
}

void servers_failed(struct servers *s, const struct loop *l, const struct server_turn *t, int err)
{
    const struct config_origin *o = settings(s, l);
    uint32_t bit = BIT(t->server);
    if (is_off(s, l)) {
        servers_let_go(s, l, t);
        return;
    }
    pthread_mutex_lock(&s->lock);
    struct server_state *st = &s->state[t->server];
    bool is_down = (atomic_load_explicit(&s->down, memory_order_relaxed) & bit) != 0;
    bool falls = !is_down && ++st->failures >= o->down_after;
    set_bit(&s->failing, bit, true);
    if (falls) {
        set_bit(&s->down, bit, true);
        atomic_store_explicit(&s->fell_ms[t->server], loop_now_ms(l), memory_order_relaxed);
        st->interval_ms = l->config->flight.error_ttl_ms;
        st->due_ms = loop_now_ms(l) + st->interval_ms;
    } else if (is_down && t->probe != 0 && t->probe == st->probe) {
        st->probe = 0;
        st->interval_ms = MIN(st->interval_ms * 2, l->config->flight.error_ttl_max_ms);
        st->due_ms = loop_now_ms(l) + st->interval_ms;
    }
    pthread_mutex_unlock(&s->lock);
    if (!falls)
        return;
    count_down(s, l, 1);
    log_warn("origin: %s: %s: down after %llu failures in a row, the last: %s", o->name,
             o->servers[t->server].url, (unsigned long long)o->down_after, err_text(err));
}

void servers_let_go(struct servers *s, const struct loop *l, const struct server_turn *t)
{
    if (t->probe == 0)
        return;
    pthread_mutex_lock(&s->lock);
    struct server_state *st = &s->state[t->server];
    if (st->probe == t->probe) {
        st->probe = 0;
        st->due_ms = loop_now_ms(l);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- addresses ---- */

uint32_t servers_address(const struct servers *s, uint32_t server)
{
    return atomic_load_explicit(&s->address[server], memory_order_relaxed);
}

/* However many fail at the same one together, it is one step. */
void servers_address_failed(struct servers *s, uint32_t server, uint32_t address)
{
    atomic_compare_exchange_strong_explicit(&s->address[server], &address, address + 1, memory_order_relaxed,
                                            memory_order_relaxed);
}
