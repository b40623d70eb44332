#include "bench/demo.h"

#include <inttypes.h>
#include <stdio.h>

#include "bench/report.h"
#include "common/units.h"

enum { CELL_BYTES = 32 };

struct cell {
    char text[CELL_BYTES];
};

static struct cell cell_of(struct buf *b)
{
    struct cell c;
    snprintf(c.text, sizeof c.text, "%.*s", SPAN_FMT(buf_span(b)));
    buf_fini(b);
    return c;
}

static struct cell cell_time(uint64_t us)
{
    struct buf b = {0};
    report_put_time(&b, us);
    return cell_of(&b);
}

static struct cell cell_count(uint64_t n)
{
    struct buf b = {0};
    buf_put_uint(&b, n);
    return cell_of(&b);
}

static struct cell cell_bytes(uint64_t n)
{
    struct buf b = {0};
    buf_printf(&b, "%.1f MiB", (double)n / 1048576);
    return cell_of(&b);
}

static void show_row(const char *what, struct cell without, struct cell with)
{
    printf("  %-34s %16s %16s\n", what, without.text, with.text);
}

static void show_table(const struct demo *d)
{
    const struct edges_report *a = d->without.report, *b = d->with.report;
    printf("\n  %-34s %16s %16s\n", "", "without shield", "with shield");
    show_row("clients", cell_count(a->finished), cell_count(b->finished));
    show_row("bodies whole and right", cell_count(a->errors[EDGE_OK]), cell_count(b->errors[EDGE_OK]));
    show_row("origin fetches", cell_count(d->without.origin.fetches), cell_count(d->with.origin.fetches));
    show_row("bytes from the origin", cell_bytes(d->without.origin.body_bytes),
             cell_bytes(d->with.origin.body_bytes));
    show_row("first byte, median", cell_time(hist_percentile(&a->first_us, 50)),
             cell_time(hist_percentile(&b->first_us, 50)));
    show_row("first byte, slowest client", cell_time(hist_percentile(&a->first_us, 100)),
             cell_time(hist_percentile(&b->first_us, 100)));
    show_row("last byte, slowest client", cell_time(hist_percentile(&a->last_us, 100)),
             cell_time(hist_percentile(&b->last_us, 100)));
}

static bool show_check(bool holds, const char *what)
{
    printf("  %-6s %s\n", holds ? "ok" : "FAILED", what);
    return holds;
}

bool demo_show_summary(const struct demo *d)
{
    const struct edges_report *a = d->without.report, *b = d->with.report, *c = d->after.report;
    show_table(d);
    printf("\n  after SIGKILL and a new start      %s, first byte after %s, ready %" PRIu64
           " ms after exec\n\n",
           c->cache_status[0] != '\0' ? c->cache_status : "no Cache-Status",
           cell_time(hist_percentile(&c->first_us, 100)).text, d->proxy.ready_ms);
    bool holds =
        show_check(d->without.origin.fetches == d->clients, "without a shield every client is a fetch");
    holds &= show_check(d->with.origin.fetches == 1, "with it the origin is asked once");
    holds &= show_check(a->errors[EDGE_OK] == d->clients && b->errors[EDGE_OK] == d->clients &&
                            c->errors[EDGE_OK] == 1,
                        "every body is whole and every byte right");
    holds &= show_check(c->caches[CACHE_HIT] == 1, "after SIGKILL the object is a hit");
    holds &= show_check(d->after.origin.fetches == 0, "and the origin is not asked again");
    return holds;
}
