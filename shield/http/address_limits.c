#include "shield/http/address_limits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/check.h"
#include "common/err.h"

enum { SHARDS = 64, CHAINS = 1024, PRUNED_AT_ONCE = 2 };

struct address_key {
    uint64_t bits; /* an IPv4 address, or the upper half of an IPv6 one */
    uint64_t is_v6;
};

struct address {
    struct list_node quiet_link; /* while it has no connection */
    struct address *next;        /* in its chain */
    struct address_key key;
    struct shard *shard;
    uint32_t chain, connections;
    uint64_t
        paid_ns; /* the time up to which its requests have used its rate up; in the past: it owes nothing */
};

struct shard {
    pthread_mutex_t lock;   /* an innermost one; nothing is called under it */
    struct list_node quiet; /* addresses without a connection; who left first is first */
    struct address **chains;
    uint64_t n;
};

struct address_limits {
    uint64_t seed;
    struct shard shards[SHARDS];
};

struct address_limits *address_limits_new(uint64_t seed)
{
    struct address_limits *t = calloc(1, sizeof *t);
    struct address **chains = calloc(SHARDS * CHAINS, sizeof *chains); /* untouched pages cost nothing */
    if (t == NULL || chains == NULL) {
        free(t);
        free(chains);
        return NULL;
    }
    t->seed = seed;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&t->shards[i].lock, NULL);
        list_init(&t->shards[i].quiet);
        t->shards[i].chains = chains + (size_t)i * CHAINS;
    }
    return t;
}

static uint64_t now_ns(const struct loop *l)
{
    return loop_now_ms(l) * 1000000;
}

static void forget(struct shard *s, struct address *a)
{
    struct address **link = &s->chains[a->chain];
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    list_remove(&a->quiet_link);
    s->n--;
    free(a);
}

void address_limits_free(struct address_limits **slot)
{
    struct address_limits *t = *slot;
    *slot = NULL;
    if (t == NULL)
        return;
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &t->shards[i];
        while (!list_empty(&s->quiet))
            forget(s, container_of(s->quiet.next, struct address, quiet_link));
        REQUIRE(s->n == 0);
        pthread_mutex_destroy(&s->lock);
    }
    free(t->shards[0].chains);
    free(t);
}

/* ---- who it is ---- */

/* False for what has no address. */
static bool key_of(const struct netaddr_cidr *peer, struct address_key *key)
{
    *key = (struct address_key){.is_v6 = peer->family == AF_INET6};
    memcpy(&key->bits, peer->addr, key->is_v6 ? 8 : 4);
    return peer->family == AF_INET6 || peer->family == AF_INET;
}

static bool is_limited(const struct config *cfg, const struct netaddr_cidr *peer)
{
    if (cfg->client.max_connections_per_ip == 0 && cfg->client.max_requests_per_ip == 0)
        return false;
    for (uint32_t i = 0; i < cfg->edges_trusted.n; i++)
        if (netaddr_cidr_covers(&cfg->edges_trusted.items[i], peer))
            return false;
    return true;
}

/* ---- the table ---- */

/* Those who owe nothing go a few at a time, as others come. Where the shard is full the one that has been
 * away longest goes whatever it owes. False when nobody is away. */
static bool make_room(struct shard *s, uint64_t max, uint64_t now)
{
    for (int i = 0; i < PRUNED_AT_ONCE && !list_empty(&s->quiet); i++) {
        struct address *a = container_of(s->quiet.next, struct address, quiet_link);
        if (a->paid_ns > now && s->n < max)
            break;
        forget(s, a);
    }
    return s->n < max;
}

static struct address *find(struct shard *s, uint32_t chain, const struct address_key *key)
{
    struct address *a = s->chains[chain];
    while (a != NULL && (a->key.bits != key->bits || a->key.is_v6 != key->is_v6))
        a = a->next;
    return a;
}

static struct address *add(struct shard *s, uint32_t chain, const struct address_key *key)
{
    struct address *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    *a = (struct address){.key = *key, .shard = s, .chain = chain, .next = s->chains[chain]};
    list_init(&a->quiet_link);
    s->chains[chain] = a;
    s->n++;
    return a;
}

int address_enter(struct address_limits *t, struct loop *l, const struct netaddr_cidr *peer,
                  struct address **out, uint32_t *n)
{
    const struct config *cfg = l->config;
    struct address_key key;
    *out = NULL;
    *n = 0;
    if (!key_of(peer, &key) || !is_limited(cfg, peer))
        return 0;
    uint64_t hash = XXH3_64bits_withSeed(&key, sizeof key, t->seed);
    uint32_t chain = hash / SHARDS % CHAINS;
    struct shard *s = &t->shards[hash % SHARDS];
    pthread_mutex_lock(&s->lock);
    struct address *a = find(s, chain, &key);
    bool full = a == NULL && !make_room(s, (cfg->client.max_addresses + SHARDS - 1) / SHARDS, now_ns(l));
    if (a == NULL && !full)
        a = add(s, chain, &key);
    if (a != NULL) {
        list_remove(&a->quiet_link);
        *n = ++a->connections;
    }
    pthread_mutex_unlock(&s->lock);
    *out = a;
    if (full)
        metric_limit(l->metrics, MAX_ADDRESSES);
    if (cfg->client.max_connections_per_ip == 0 || *n <= cfg->client.max_connections_per_ip)
        return 0;
    metric_limit(l->metrics, MAX_CONNECTIONS_PER_IP);
    return ERR_ADDRESS_CONNECTIONS;
}

void address_leave(struct loop *l, struct address **slot)
{
    struct address *a = *slot;
    *slot = NULL;
    if (a == NULL)
        return;
    struct shard *s = a->shard;
    pthread_mutex_lock(&s->lock);
    REQUIRE(a->connections > 0);
    if (--a->connections == 0 && a->paid_ns <= now_ns(l))
        forget(s, a);
    else if (a->connections == 0)
        list_add_tail(&s->quiet, &a->quiet_link);
    pthread_mutex_unlock(&s->lock);
}

/* ---- the rate ---- */

/* A bucket as one time, that at which it is full again: each request moves it on by the time that one token
 * takes, and it may be ahead of now by all but one of the burst. */
uint32_t address_take(struct loop *l, struct address *a)
{
    uint64_t rate = l->config->client.max_requests_per_ip, burst = l->config->client.requests_burst_per_ip;
    if (a == NULL || rate == 0)
        return 0;
    uint64_t token_ns = 1000000000 / rate, now = now_ns(l), wait_ns = 0;
    uint64_t ahead_ns = token_ns * ((burst == 0 ? rate : burst) - 1);
    struct shard *s = a->shard;
    pthread_mutex_lock(&s->lock);
    uint64_t from = MAX(a->paid_ns, now);
    if (from - now > ahead_ns)
        wait_ns = from - now - ahead_ns;
    else
        a->paid_ns = from + token_ns;
    pthread_mutex_unlock(&s->lock);
    if (wait_ns == 0)
        return 0;
    metric_limit(l->metrics, MAX_REQUESTS_PER_IP);
    return (uint32_t)((wait_ns + 999999999) / 1000000000);
}

uint64_t address_limits_count(struct address_limits *t)
{
    uint64_t n = 0;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&t->shards[i].lock);
        n += t->shards[i].n;
        pthread_mutex_unlock(&t->shards[i].lock);
    }
    return n;
}
