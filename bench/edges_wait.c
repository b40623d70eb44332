/* What it cost to wait: in a stampede, how much later than the first client of its object each other client
 * had its first and its last byte. */
#include "bench/edge.h"

#include <stdlib.h>

#include "common/check.h"

struct arrival {
    uint64_t key; /* of the object; verified ones by their bytes, since variants of one path are several */
    uint64_t first_us, last_us;
};

static int by_key(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static size_t collect(struct edge_thread *const *threads, uint32_t n_threads, struct arrival *out)
{
    size_t n = 0;
    for (uint32_t t = 0; t < n_threads; t++)
        for (uint32_t i = 0; i < threads[t]->n_edges; i++) {
            const struct edge *e = &threads[t]->edges[i];
            if (e->last_ns > 0)
                out[n++] = (struct arrival){e->verifies ? e->seed : e->n, (e->first_ns - e->start_ns) / 1000,
                                            (e->last_ns - e->start_ns) / 1000};
        }
    return n;
}

/* Clients of one object: all but the first, whom the others are compared with. */
static void note_key(const struct arrival *a, size_t n, struct edges_report *out)
{
    size_t leader = 0;
    uint64_t last_us = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        leader = a[i].first_us < a[leader].first_us ? i : leader;
        last_us = MIN(last_us, a[i].last_us);
    }
    for (size_t i = 0; i < n; i++) {
        if (i == leader)
            continue;
        hist_record(&out->wait_first_us, a[i].first_us - a[leader].first_us);
        hist_record(&out->wait_last_us, a[i].last_us - last_us);
    }
}

const char *edges_note_waits(struct edge_thread *const *threads, uint32_t n_threads, struct edges_report *out)
{
    struct arrival *all = calloc(threads[0]->run->config->connections, sizeof *all);
    if (all == NULL)
        return "out of memory";
    size_t n = collect(threads, n_threads, all);
    qsort(all, n, sizeof *all, by_key);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from; to < n && all[to].key == all[from].key; to++)
            ;
        note_key(all + from, to - from, out);
    }
    free(all);
    return NULL;
}
