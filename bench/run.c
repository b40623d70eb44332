#include "bench/commands.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/edges_options.h"
#include "bench/hdr.h"
#include "bench/report.h"
#include "bench/run_page.h"
#include "bench/run_watch.h"
#include "bench/target.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"

static const char intro[] =
    "usage: shield-bench run [OPTION]... URL\n"
    "\n"
    "Plays the edges of a shield: asks for URL over many connections, measures, and verifies bodies that "
    "come from\n"
    "`shield-bench origin`. In the path of URL, {n} stands for the number of a key (see --keys).\n"
    "    shield-bench run -c 64 -d 10s http://127.0.0.1:8080/a\n"
    "    shield-bench run --stampede -c 1000 --verify 'http://127.0.0.1:8080/cold?size=1m&delay=200ms'\n"
    "    shield-bench run -c 64 -n 100000 --keys 10000 --order random 'http://127.0.0.1:8080/o/{n}?size=4k'\n"
    "    shield-bench run -c 200 -t 2 -R 5000 -d 30s --arrivals poisson --keys 10000 --order zipf "
    "'http://127.0.0.1:8080/o/{n}'\n"
    "    shield-bench run -c 64 -d 30s --targets access.log http://127.0.0.1:8080/\n"
    "    shield-bench run --stampede -c 1000 --verify --origin 127.0.0.1:8000 --max-fetches-per-epoch 1 "
    "http://127.0.0.1:8080/cold\n"
    "Without --rate a connection asks again when it has its answer (closed loop). Exits 1 when any request "
    "failed or a gate does not hold, 130 after SIGINT, which ends the load with the report so far.\n";

enum { INTERRUPTED = 130 }; /* as a shell says it: 128 + SIGINT */

enum { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV };

struct run_command {
    struct edges_config edges;
    struct span html, hdr, origin, max_fetches;
    uint64_t output, hold_ms, p99_ms;
    struct run_watch *watch;  /* NULL: no origin was named */
    struct span complaint_of; /* what could not be used; empty: the URL */
    bool failed;              /* the report could not be made, or says that a request failed */
};

#define AT(f) offsetof(struct run_command, f)

static const struct flag rows[] = {
    {"hold", 0, FLAG_MS, AT(hold_ms), "0", "TIME",
     "Keep the connections open for this time after the report."},
    {"html", 0, FLAG_TEXT, AT(html), "", "FILE", "Also write a page with the table and plots."},
    {"hdr", 0, FLAG_TEXT, AT(hdr), "", "FILE",
     "Also write the times, in microseconds, as an HdrHistogram log."},
    {"origin", 0, FLAG_TEXT, AT(origin), "", "ADDR",
     "Where `shield-bench origin` listens: also report what it saw. Its counts begin anew."},
    {"max-fetches-per-epoch", 0, FLAG_TEXT, AT(max_fetches), "", "N", "With --origin: exit 1 above this."},
    {"p99", 0, FLAG_MS, AT(p99_ms), "0", "TIME",
     "Exit 1 when the last byte's p99 is above this; 0: no limit."},
    {"output", 'o', FLAG_CHOICE, AT(output), "table", "table|json|csv", "Form of the report."},
};

static atomic_bool is_interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    atomic_store(&is_interrupted, true);
}

/* The first SIGINT ends the load, and the report is of what there was until then; the second ends us. */
static void heed_interrupt(struct edges_config *config)
{
    struct sigaction act = {.sa_handler = on_interrupt, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &act, NULL);
    config->stop = &is_interrupted;
}

static uint64_t planned_ms; /* of the run; 0: the requests end it */

static void show_progress(uint64_t finished, uint64_t of, uint64_t elapsed_ms)
{
    double rate = elapsed_ms > 0 ? (double)finished * 1000 / (double)elapsed_ms : 0, left_s = 0;
    if (planned_ms > elapsed_ms)
        left_s = (double)(planned_ms - elapsed_ms) / 1000;
    else if (of > finished && rate > 0)
        left_s = (double)(of - finished) / rate;
    fprintf(stderr, "\r\033[K%llu requests, %.0f a second, %.1f s, %.0f s left ",
            (unsigned long long)finished, rate, (double)elapsed_ms / 1000, left_s);
}

static void clear_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static bool write_hdr(struct span file, const struct edges_report *r)
{
    struct buf text = {0};
    double length_s = (double)r->elapsed_us / 1e6;
    hdr_put_head(&text, (double)clock_wall_ms() / 1e3 - length_s);
    hdr_put_interval(&text, "first_byte", length_s, &r->first_us);
    hdr_put_interval(&text, "last_byte", length_s, &r->last_us);
    bool holds = report_write(file, &text);
    buf_fini(&text);
    return holds;
}

static void put_table(struct buf *out, const struct run_command *c, const struct edges_report *r,
                      const struct witness *w)
{
    report_put_table(out, &c->edges, r);
    if (w != NULL)
        report_put_witness(out, r, w);
}

static bool write_page(const struct run_command *c, const struct edges_report *r, const struct witness *w)
{
    struct buf page = {0}, table = {0};
    put_table(&table, c, r, w);
    run_page_put(&page, &c->edges, r, w, buf_span(&table));
    page.failed |= table.failed;
    bool holds = report_write(c->html, &page);
    buf_fini(&page);
    buf_fini(&table);
    return holds;
}

static void put_report(struct buf *out, const struct run_command *c, const struct edges_report *r,
                       const struct witness *w)
{
    if (c->output == OUTPUT_JSON) {
        report_put_json(out, &c->edges, r, w);
    } else if (c->output == OUTPUT_CSV) {
        report_put_csv_head(out);
        buf_put_lit(out, "\n");
        report_put_csv(out, r, w);
        buf_put_lit(out, "\n");
    } else {
        put_table(out, c, r, w);
    }
}

/* Tells on stderr which gate does not hold. */
static bool gates_hold(const struct run_command *c, const struct edges_report *r, const struct witness *w)
{
    bool holds = true;
    uint64_t p99_us = hist_percentile(&r->last_us, 99);
    if (c->p99_ms > 0 && p99_us > c->p99_ms * 1000) {
        fprintf(stderr, "gate p99 does not hold: %.6g ms, at most %llu ms\n", (double)p99_us / 1000,
                (unsigned long long)c->p99_ms);
        holds = false;
    }
    double most = 0;
    const struct flag real = {.type = FLAG_REAL};
    if (c->max_fetches.len > 0 && flags_set(&real, &most, c->max_fetches) == NULL && w != NULL &&
        witness_per_epoch(w) > most) {
        fprintf(stderr, "gate max-fetches-per-epoch does not hold: %.4f, at most %g\n", witness_per_epoch(w),
                most);
        holds = false;
    }
    return holds;
}

static void print_report(void *arg, const struct edges_report *r)
{
    struct run_command *c = arg;
    struct buf text = {0};
    struct witness *w = NULL;
    clear_progress();
    if (atomic_load(&is_interrupted))
        fputs("interrupted: the report is of the load so far\n", stderr);
    const char *why = c->watch != NULL ? run_watch_end(c->watch, r, &w) : NULL;
    if (why != NULL)
        fprintf(stderr, "--origin: %s\n", why);
    put_report(&text, c, r, w);
    fwrite(text.p, 1, text.len, stdout);
    fflush(stdout);
    c->failed = why != NULL || text.failed || edges_failed(r) > 0 || !gates_hold(c, r, w);
    if (c->hdr.len > 0 && !write_hdr(c->hdr, r))
        c->failed = true;
    if (c->html.len > 0 && !write_page(c, r, w))
        c->failed = true;
    buf_fini(&text);
    struct timespec pause = {(time_t)(c->hold_ms / 1000), (long)(c->hold_ms % 1000 * 1000000)};
    (void)nanosleep(&pause, NULL); /* a signal ends us, or nothing does */
}

static const char *run_load(struct run_command *c, struct edges_report *r)
{
    const char *why = c->origin.len > 0 ? run_watch_begin(c->origin, &c->edges, &c->watch) : NULL;
    if (why != NULL) {
        c->complaint_of = SPAN("--origin");
        return why;
    }
    if (isatty(STDERR_FILENO))
        c->edges.on_progress = show_progress;
    planned_ms = c->edges.duration_ms;
    heed_interrupt(&c->edges);
    c->edges.before_close = print_report;
    c->edges.before_close_arg = c;
    why = edges_run(&c->edges, r);
    run_watch_free(c->watch);
    return why;
}

static int run(struct run_command *c)
{
    if (!report_may_write(c->html) || !report_may_write(c->hdr))
        return 1;
    struct edges_report *r = calloc(1, sizeof *r);
    if (r == NULL) {
        fprintf(stderr, "%s\n", err_text(ERR_NOMEM));
        return 1;
    }
    const char *why = run_load(c, r);
    free(r);
    if (why != NULL) {
        clear_progress();
        struct span of = c->complaint_of.len > 0 ? c->complaint_of : c->edges.url;
        fprintf(stderr, "%.*s: %s\n", SPAN_FMT(of), why);
        return 1;
    }
    return atomic_load(&is_interrupted) ? INTERRUPTED : c->failed;
}

static const char *check_gates(const struct run_command *c)
{
    double unused;
    const struct flag real = {.type = FLAG_REAL};
    if (c->max_fetches.len == 0)
        return NULL;
    if (c->origin.len == 0)
        return "--max-fetches-per-epoch needs --origin: only it knows";
    return flags_set(&real, &unused, c->max_fetches) != NULL ? "--max-fetches-per-epoch must be a number"
                                                             : NULL;
}

int command_run(int argc, char **argv)
{
    struct run_command c = {0};
    struct flag_list rest = {0};
    const struct flag_group groups[] = {{"The load [default]:", edges_option_flags(), &c.edges},
                                        {"Else [default]:", FLAGS(rows), &c}};
    int code = flags_parse(groups, ARRAY_LEN(groups), argc, argv, intro, &rest);
    if (code >= 0)
        return code;
    struct target target;
    const char *why = edges_options_settle(&c.edges, &rest);
    if (why == NULL)
        why = check_gates(&c);
    if (why == NULL && target_parse(c.edges.url, &target) != NULL) {
        fprintf(stderr, "%.*s: %s\n", SPAN_FMT(c.edges.url), target_parse(c.edges.url, &target));
        return 2;
    }
    if (why != NULL) {
        fprintf(stderr, "run: %s; --help tells more\n", why);
        return 2;
    }
    return run(&c);
}
