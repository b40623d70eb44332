#include "shield/ops/metrics.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/metrics_sum.h"

#define COUNTER                     false
#define GAUGE                       true
#define X_ROW(id, type, name, help) {type, name, help},
const struct metric_row metric_rows[METRIC_COUNT] = {PLAIN_METRICS(X_ROW)};
#undef X_ROW
#define X_ROW(id, name, help) {name, help},
const struct hist_row hist_rows[HIST_COUNT] = {HIST_METRICS(X_ROW)};
#undef X_ROW
#define X_NAME(id, name) name,
const char *const result_names[RESULT_COUNT] = {REQUEST_RESULTS(X_NAME)};
const char *const fate_names[FATE_COUNT] = {WAITER_FATES(X_NAME)};
const char *const kind_names[KIND_COUNT] = {ORIGIN_KINDS(X_NAME)};
const char *const missed_names[MISSED_COUNT] = {MISS_REASONS(X_NAME)};
const char *const passed_names[PASSED_COUNT] = {PASS_REASONS(X_NAME)};
const char *const refused_names[REFUSED_COUNT] = {REFUSAL_REASONS(X_NAME)};
const char *const limit_names[LIMIT_COUNT] = {LIMITS(X_NAME)};
const char *const uncacheable_names[UNCACHEABLE_COUNT] = {UNCACHEABLE_REASONS(X_NAME)};
const char *const purged_names[PURGED_COUNT] = {PURGED_KINDS(X_NAME)};
#undef X_NAME
const char *const purge_mode_names[2] = {"hard", "soft"};
const char *const class_names[6] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

/* Slots are never taken away, so the list only grows; the lock covers growing and scraping, never counting.
 */
static struct {
    pthread_mutex_t lock;
    struct metrics_slot **slots;
    size_t n;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct metrics_slot *metrics_slot_new(void)
{
    struct metrics_slot *slot = calloc(1, sizeof *slot); /* pages in which nobody counts are never touched */
    if (slot == NULL)
        return NULL;
    pthread_mutex_lock(&registry.lock);
    struct metrics_slot **slots = realloc(registry.slots, (registry.n + 1) * sizeof *slots);
    if (slots != NULL) {
        registry.slots = slots;
        slots[registry.n++] = slot;
    }
    pthread_mutex_unlock(&registry.lock);
    if (slots == NULL) {
        free(slot);
        return NULL;
    }
    return slot;
}

void metric_origin_duration(struct metrics_slot *slot, uint32_t origin, uint64_t us)
{
    REQUIRE(origin < CONFIG_MAX_ORIGINS);
    struct hist *h = atomic_load_explicit(&slot->origin_durations[origin], memory_order_relaxed);
    if (h == NULL) {
        h = calloc(1, sizeof *h);
        if (h == NULL)
            return;
        atomic_store_explicit(&slot->origin_durations[origin], h, memory_order_release);
    }
    hist_record(h, us);
}

int64_t metrics_sum(size_t offset)
{
    int64_t sum = 0;
    pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < registry.n; i++)
        sum += atomic_load_explicit((_Atomic int64_t *)((char *)registry.slots[i] + offset),
                                    memory_order_relaxed);
    pthread_mutex_unlock(&registry.lock);
    return sum;
}

int64_t metrics_sum_gauge(size_t offset)
{
    return MAX(metrics_sum(offset), 0);
}

struct hist *metrics_merge(size_t offset)
{
    struct hist *sum = calloc(1, sizeof *sum);
    if (sum == NULL)
        return NULL;
    pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < registry.n; i++)
        hist_merge(sum, (struct hist *)((char *)registry.slots[i] + offset));
    pthread_mutex_unlock(&registry.lock);
    return sum;
}

struct hist *metrics_merge_origin(uint32_t origin)
{
    struct hist *sum = calloc(1, sizeof *sum);
    if (sum == NULL)
        return NULL;
    pthread_mutex_lock(&registry.lock);
    for (size_t i = 0; i < registry.n; i++) {
        const struct hist *h =
            atomic_load_explicit(&registry.slots[i]->origin_durations[origin], memory_order_acquire);
        if (h != NULL)
            hist_merge(sum, h);
    }
    pthread_mutex_unlock(&registry.lock);
    return sum;
}

int64_t metrics_total(enum metric m)
{
    REQUIRE(m < METRIC_COUNT);
    return metrics_sum(SLOT_AT(plain) + m * sizeof(int64_t));
}

int64_t metrics_servers_down(uint32_t origin)
{
    REQUIRE(origin < CONFIG_MAX_ORIGINS);
    return metrics_sum_gauge(SLOT_AT(origins) + origin * sizeof(struct metrics_origin) +
                             offsetof(struct metrics_origin, servers_down));
}

const char *metrics_version(void)
{
    return SHIELD_VERSION;
}

const char *request_result_name(enum request_result r)
{
    REQUIRE(r < RESULT_COUNT);
    return result_names[r];
}

const char *waiter_fate_name(enum waiter_fate f)
{
    REQUIRE(f < FATE_COUNT);
    return fate_names[f];
}

const char *miss_reason_name(enum miss_reason r)
{
    REQUIRE(r < MISSED_COUNT);
    return missed_names[r];
}

const char *pass_reason_name(enum pass_reason r)
{
    REQUIRE(r < PASSED_COUNT);
    return passed_names[r];
}

const char *refusal_reason_name(enum refusal_reason r)
{
    REQUIRE(r < REFUSED_COUNT);
    return refused_names[r];
}

static enum refusal_reason refusal_of_limit(enum limit_name limit)
{
    switch (limit) {
    case LIMIT_MAX_FLIGHTS:
        return REFUSED_MAX_FLIGHTS;
    case LIMIT_MAX_TUNNELS:
        return REFUSED_MAX_TUNNELS;
    case LIMIT_MAX_WAITERS:
        return REFUSED_MAX_WAITERS;
    case LIMIT_MAX_WAITERS_TOTAL:
        return REFUSED_MAX_WAITERS_TOTAL;
    case LIMIT_MAX_BYTES_TOTAL:
        return REFUSED_MAX_BYTES_TOTAL;
    default:
        return REFUSED_MAX_QUEUED;
    }
}

enum refusal_reason refusal_reason_of(int err, enum limit_name limit)
{
    switch (err) {
    case ERR_BUSY:
        return refusal_of_limit(limit);
    case ERR_QUEUE_TIMEOUT:
        return REFUSED_QUEUE_TIMEOUT;
#define X(name)      \
    case ERR_##name: \
        return REFUSED_##name;
        X(BAD_REQUEST)
        X(CLIENT_TIMEOUT)
        X(HEAD_TOO_LARGE)
        X(TOO_MANY_FIELDS)
        X(URI_TOO_LONG)
        X(CONTENT_TOO_LARGE)
        X(VERSION)
        X(NOT_IMPLEMENTED)
        X(METHOD)
        X(EXPECTATION)
        X(MISDIRECTED)
        X(FORBIDDEN)
        X(EDGE_SECRET)
        X(LOOP)
        X(NOMEM)
        X(CONNECTIONS)
        X(ADDRESS_CONNECTIONS)
        X(ADDRESS_REQUESTS)
        X(PURGED)
#undef X
    default:
        return REFUSED_NONE;
    }
}
