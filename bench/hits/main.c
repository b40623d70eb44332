/* hit-ratio - how much both tiers find, beside an ideal LRU of 85 % of their size, on synthetic requests.
 *
 *   hit-ratio [-n REQUESTS] [-d DIR]    DIR for the store's file: /dev/shm, which spares the machine's disk
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/hits/tier.h"
#include "bench/hits/trace.h"
#include "common/check.h"
#include "shield/ops/log.h"

enum { RAM_BYTES = 64 << 20, DISK_MIB = 128, LRU_PERCENT = 85, WARM_PERCENT = 40 };

/* Sizes go up to an eighth of the tier, as those of 256 MiB in 2 GiB. A loop is 1.2 times as large as the
 * tier: the first place where an LRU finds nothing of it. */
static const struct mix {
    const char *name;
    double alpha;
    uint32_t scan_percent, loop_percent;
    bool is_large;     /* sizes are log-uniform: some hundred objects fill the tier */
    double least_gain; /* points above the LRU that are to be reached */
} mixes[] = {
    {"Zipf 0.7", 0.7, 0, 0, false, -2},
    {"Zipf 0.8", 0.8, 0, 0, false, -2},
    {"Zipf 0.9", 0.9, 0, 0, false, -2},
    {"Zipf 1.0", 1.0, 0, 0, false, -2},
    {"Zipf 1.1", 1.1, 0, 0, false, -2},
    {"Zipf 0.8, large", 0.8, 0, 0, true, -2},
    {"Zipf 1.0, large", 1.0, 0, 0, true, -2},
    {"Zipf 0.9, 20 % of a scan", 0.9, 20, 0, false, 0},
    {"Zipf 0.9, 50 % of a scan", 0.9, 50, 0, false, 0},
    {"Zipf 0.9, half a loop", 0.9, 0, 50, false, 0},
    {"a loop", 0.9, 0, 100, false, 0},
};

struct ratio {
    double hits, bytes; /* per cent */
};

static struct ratio play(tier_maker *make, uint64_t tier_bytes, const struct trace_options *o,
                         uint32_t requests, const char *dir)
{
    struct trace *trace = trace_new(o, requests, 42);
    struct tier *t = make(tier_bytes, trace_objects(trace), dir);
    uint64_t n = 0, hits = 0, bytes = 0, hit_bytes = 0;
    for (uint32_t i = 0; i < requests; i++) {
        struct trace_request r = trace_next(trace);
        bool hit = t->ask(t, r.object, r.bytes);
        if (i < requests / 100 * WARM_PERCENT)
            continue;
        n++;
        bytes += r.bytes;
        hits += hit;
        hit_bytes += hit ? r.bytes : 0;
    }
    t->free(t);
    trace_free(&trace);
    return (struct ratio){100.0 * (double)hits / (double)n, 100.0 * (double)hit_bytes / (double)bytes};
}

/* The mean of the small sizes is some 45 KiB for tiers of this size, of the large ones a tenth of the
 * largest. */
static struct trace_options options_of(const struct mix *m, uint64_t tier_bytes)
{
    uint64_t most = tier_bytes / 8;
    return (struct trace_options){.objects = (uint32_t)(10 * tier_bytes / (m->is_large ? most / 10 : 45000)),
                                  .alpha = m->alpha,
                                  .scan_percent = m->scan_percent,
                                  .loop_percent = m->loop_percent,
                                  .loop_bytes = tier_bytes + tier_bytes / 5,
                                  .size_most = most,
                                  .size_shape = m->is_large ? 0 : 0.7};
}

static bool show(const char *tier, const struct mix *m, struct ratio ours, struct ratio ideal)
{
    double gain = ours.hits - ideal.hits;
    printf("  %-5s %-26s %7.1f %% %7.1f %% %+7.1f %9.1f %% %7.1f %%   %+.0f%s\n", tier, m->name, ours.hits,
           ideal.hits, gain, ours.bytes, ideal.bytes, m->least_gain, gain < m->least_gain ? ": MISSED" : "");
    return gain >= m->least_gain;
}

static bool compare(bool on_disk, uint64_t bytes, const struct mix *m, uint32_t requests, const char *dir)
{
    struct trace_options o = options_of(m, bytes);
    requests /= m->is_large ? 20 : 1;
    struct ratio ideal = play(lru_new, bytes / 100 * LRU_PERCENT, &o, requests, dir);
    struct ratio ours = play(on_disk ? disk_tier_new : ram_tier_new, bytes, &o, requests, dir);
    fflush(stdout);
    return show(on_disk ? "disk" : "RAM", m, ours, ideal);
}

int main(int argc, char **argv)
{
    const char *dir = "/dev/shm", *word = "";
    uint64_t disk_bytes = (uint64_t)DISK_MIB << 20;
    uint32_t requests = 60000;
    bool good = true;
    for (int c; (c = getopt(argc, argv, "n:d:s:m:")) != -1;) {
        if (c == 'n')
            requests = (uint32_t)MAX(strtoul(optarg, NULL, 10), 1000ul);
        else if (c == 'd')
            dir = optarg;
        else if (c == 's')
            disk_bytes = (uint64_t)MAX(strtoul(optarg, NULL, 10), 16ul) << 20;
        else if (c == 'm')
            word = optarg;
        else
            return 2;
    }
    for (int on_disk = 0; on_disk < 2; on_disk++)
        for (size_t i = 0; i < ARRAY_LEN(mixes); i++)
            if (strstr(mixes[i].name, word) != NULL)
                good &= compare(on_disk, on_disk ? disk_bytes : RAM_BYTES, &mixes[i], requests, dir);
    return good ? 0 : 1;
}
