#include "bench/witness.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "bench/fetch.h"
#include "bench/json.h"
#include "common/check.h"

enum { STREAMING_MIN_NS = 50000000, BUCKETS = 40, LEVELS = 8 };

const char *witness_ask(const struct netaddr *origin, const char *path, struct buf *content)
{
    int status = 0;
    const char *why =
        fetch(&(struct fetch_request){.to = origin, .host = SPAN("origin"), .path = path}, &status, content);
    return why != NULL ? "the origin does not answer" : status == 200 ? NULL : "the origin refuses an order";
}

/* ---- what it counted */

static uint64_t number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static void note_worst(struct witness *w, json_t *keys)
{
    const char *path;
    json_t *counts;
    json_object_foreach(keys, path, counts)
    {
        if (number(counts, "epoch_fetches_max") == w->epoch_fetches_max && w->epoch_fetches_max > 1) {
            snprintf(w->worst, sizeof w->worst, "%s", path);
            return;
        }
    }
}

/* See the struct. Both sides read the same clock. */
static void note_streaming(struct witness *w, const struct edges_report *r, json_t *keys)
{
    const json_t *latest = json_object_get(json_object_iter_value(json_object_iter(keys)), "latest");
    double first_ns = (double)number(latest, "first_ns"), half_ns = (double)number(latest, "half_ns");
    if (json_object_size(keys) != 1 || r->release_ns == 0 || atomic_load(&r->half_us.total) == 0 ||
        half_ns - first_ns < STREAMING_MIN_NS)
        return;
    double client_ns = (double)r->release_ns + (double)hist_percentile(&r->half_us, 100) * 1000;
    w->streaming = MAX(w->streaming, (client_ns - first_ns) / (half_ns - first_ns));
}

static json_t *read_stats(const struct netaddr *origin, const char *path, const char **why)
{
    struct buf content = {0};
    *why = witness_ask(origin, path, &content);
    json_t *stats = *why == NULL ? json_loadb(content.p, content.len, 0, NULL) : NULL;
    if (*why == NULL && json_object_get(stats, "total") == NULL)
        *why = "the origin's statistics are not those of shield-bench origin";
    buf_fini(&content);
    return stats;
}

const char *witness_read(const struct netaddr *origin, const struct edges_report *r, struct witness *into)
{
    const char *why;
    json_t *stats = read_stats(origin, "/.bench/stats", &why), *keys = json_object_get(stats, "keys");
    const json_t *total = json_object_get(stats, "total");
    if (why == NULL) {
        into->fetches += number(total, "fetches");
        into->not_modified += number(total, "not_modified");
        into->body_bytes += number(total, "body_bytes");
        into->running_max = MAX(into->running_max, number(total, "running_max"));
        into->epochs += number(total, "epochs");
        into->epoch_fetches += number(total, "epoch_fetches");
        if (number(total, "epoch_fetches_max") > into->epoch_fetches_max) {
            into->epoch_fetches_max = number(total, "epoch_fetches_max");
            note_worst(into, keys);
        }
        note_streaming(into, r, keys);
    }
    json_decref(stats);
    return why;
}

bool witness_sample(const struct netaddr *origin, uint64_t *fetches)
{
    const char *why;
    json_t *stats = read_stats(origin, "/.bench/stats?keys=off", &why);
    if (why == NULL)
        *fetches = number(json_object_get(stats, "total"), "fetches");
    json_decref(stats);
    return why == NULL;
}

void witness_note(struct witness_samples *s, uint64_t at_ms, uint64_t answers, uint64_t fetches)
{
    if (s->n == WITNESS_SAMPLES_MAX) { /* a long load: every other one is enough */
        s->n /= 2;
        for (uint32_t i = 1; i < s->n; i++)
            s->at[i] = s->at[2 * i];
    }
    s->at[s->n++] = (struct witness_sample){.at_ms = (uint32_t)at_ms, .answers = answers, .fetches = fetches};
}

/* What had happened at an instant: between samples, as if it came evenly; before and after them, as in the
 * first and the last. */
static double count_at(const struct witness_samples *s, bool of_origin, double at_ms)
{
    for (uint32_t i = 1; i < s->n; i++) {
        const struct witness_sample *a = &s->at[i - 1], *b = &s->at[i];
        if (b->at_ms < at_ms && i + 1 < s->n)
            continue;
        double from = (double)(of_origin ? a->fetches : a->answers);
        double to = (double)(of_origin ? b->fetches : b->answers);
        double length_ms = MAX((double)b->at_ms - a->at_ms, 1.0);
        return from + (to - from) * MIN(MAX((at_ms - a->at_ms) / length_ms, 0.0), 1.0);
    }
    return s->n > 0 ? (double)(of_origin ? s->at[0].fetches : s->at[0].answers) : 0;
}

static uint32_t end_ms(const struct witness_samples *s)
{
    return s->n > 0 ? s->at[s->n - 1].at_ms : 0;
}

/* Rounds are of different length: the longer one gives the instants, the other stands still after its end. */
void witness_add_round(struct witness *w, const struct witness_samples *round)
{
    struct witness_samples sum = end_ms(round) > end_ms(&w->samples) ? *round : w->samples;
    for (uint32_t i = 0; i < sum.n; i++) {
        double at_ms = sum.at[i].at_ms;
        sum.at[i].answers =
            (uint64_t)(count_at(&w->samples, false, at_ms) + count_at(round, false, at_ms) + 0.5);
        sum.at[i].fetches =
            (uint64_t)(count_at(&w->samples, true, at_ms) + count_at(round, true, at_ms) + 0.5);
    }
    w->samples = sum;
    w->rounds++;
}

/* ---- figures */

double witness_per_epoch(const struct witness *w)
{
    return w->epochs > 0 ? (double)w->epoch_fetches / (double)w->epochs : 0;
}

double witness_collapse(const struct witness *w, const struct edges_report *r)
{
    return w->fetches > 0 ? (double)r->errors[EDGE_OK] / (double)w->fetches : 0;
}

static void put_rate_line(struct buf *out, const struct witness *w, bool of_origin)
{
    static const char *const levels[LEVELS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const struct witness_samples *s = &w->samples;
    double rates[BUCKETS], peak = 0, step_ms = (double)end_ms(s) / BUCKETS;
    for (int i = 0; i < BUCKETS; i++) {
        rates[i] = (count_at(s, of_origin, step_ms * (i + 1)) - count_at(s, of_origin, step_ms * i)) * 1000 /
                   step_ms / MAX(w->rounds, 1u);
        peak = MAX(peak, rates[i]);
    }
    for (int i = 0; i < BUCKETS; i++) /* a blank is nothing at all */
        buf_printf(out, "%s", rates[i] > 0 ? levels[MIN((int)(rates[i] / peak * LEVELS), LEVELS - 1)] : " ");
    buf_printf(out, "| up to %.0f/s\n", peak);
}

void witness_put_rates(struct buf *out, const struct witness *w, const char *indent)
{
    if (w->samples.n < 3 || end_ms(&w->samples) == 0)
        return;
    buf_printf(out, "%sclients |", indent);
    put_rate_line(out, w, false);
    buf_printf(out, "%sorigin  |", indent);
    put_rate_line(out, w, true);
}

void witness_put_json(struct buf *out, const struct witness *w, const struct edges_report *r)
{
    buf_printf(out,
               "\"origin\":{\"fetches\":%" PRIu64 ",\"not_modified\":%" PRIu64 ",\"body_bytes\":%" PRIu64
               ",\"running_max\":%" PRIu64 ",\"epochs\":%" PRIu64 ",\"epoch_fetches\":%" PRIu64
               ",\"epoch_fetches_max\":%" PRIu64 ",\"fetches_per_epoch\":%.4f,\"worst\":",
               w->fetches, w->not_modified, w->body_bytes, w->running_max, w->epochs, w->epoch_fetches,
               w->epoch_fetches_max, witness_per_epoch(w));
    json_put_text(out, span_of(w->worst));
    buf_printf(out, "},\"collapse\":%.2f,\"streaming\":%.3f,\"rounds\":%u,\"samples\":[",
               witness_collapse(w, r), w->streaming, w->rounds);
    for (uint32_t i = 0; i < w->samples.n; i++)
        buf_printf(out, "%s{\"at_ms\":%u,\"answers\":%" PRIu64 ",\"fetches\":%" PRIu64 "}", i > 0 ? "," : "",
                   w->samples.at[i].at_ms, w->samples.at[i].answers, w->samples.at[i].fetches);
    buf_put_lit(out, "]");
}
