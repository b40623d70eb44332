#include "bench/commands.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bench/edges_options.h"
#include "bench/hdr.h"
#include "bench/report.h"
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
    "Without --rate a connection asks again when it has its answer (closed loop). Exits 1 when any request "
    "failed.\n";

enum { OUTPUT_TABLE, OUTPUT_JSON };

struct run_command {
    struct edges_config edges;
    struct span hdr;
    uint64_t output, hold_ms;
    bool failed; /* the report could not be made, or says that a request failed */
};

#define AT(f) offsetof(struct run_command, f)

static const struct flag rows[] = {
    {"hold", 0, FLAG_MS, AT(hold_ms), "0", "TIME",
     "Keep the connections open for this time after the report."},
    {"hdr", 0, FLAG_TEXT, AT(hdr), "", "FILE",
     "Also write the times, in microseconds, as an HdrHistogram log."},
    {"output", 'o', FLAG_CHOICE, AT(output), "table", "table|json", "Form of the report."},
};

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
    char name[PATH_MAX];
    struct buf text = {0};
    double length_s = (double)r->elapsed_us / 1e6;
    snprintf(name, sizeof name, "%.*s", SPAN_FMT(file));
    hdr_put_head(&text, (double)clock_wall_ms() / 1e3 - length_s);
    hdr_put_interval(&text, "first_byte", length_s, &r->first_us);
    hdr_put_interval(&text, "last_byte", length_s, &r->last_us);
    FILE *out = fopen(name, "we");
    bool holds = out != NULL && !text.failed && fwrite(text.p, 1, text.len, out) == text.len;
    if (out != NULL && fclose(out) != 0)
        holds = false;
    if (!holds)
        fprintf(stderr, "%s: cannot be written\n", name);
    buf_fini(&text);
    return holds;
}

static void print_report(void *arg, const struct edges_report *r)
{
    struct run_command *c = arg;
    struct buf text = {0};
    clear_progress();
    if (c->output == OUTPUT_JSON)
        report_put_json(&text, &c->edges, r);
    else
        report_put_table(&text, &c->edges, r);
    fwrite(text.p, 1, text.len, stdout);
    fflush(stdout);
    c->failed = text.failed || edges_failed(r) > 0;
    if (c->hdr.len > 0 && !write_hdr(c->hdr, r))
        c->failed = true;
    buf_fini(&text);
    struct timespec pause = {(time_t)(c->hold_ms / 1000), (long)(c->hold_ms % 1000 * 1000000)};
    (void)nanosleep(&pause, NULL); /* a signal ends us, or nothing does */
}

static int run(struct run_command *c)
{
    struct edges_report *r = calloc(1, sizeof *r);
    if (r == NULL) {
        fprintf(stderr, "%s\n", err_text(ERR_NOMEM));
        return 1;
    }
    if (isatty(STDERR_FILENO))
        c->edges.on_progress = show_progress;
    planned_ms = c->edges.duration_ms;
    c->edges.before_close = print_report;
    c->edges.before_close_arg = c;
    const char *why = edges_run(&c->edges, r);
    free(r);
    if (why != NULL) {
        clear_progress();
        fprintf(stderr, "%.*s: %s\n", SPAN_FMT(c->edges.url), why);
        return 1;
    }
    return c->failed;
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
    const char *why = edges_options_settle(&c.edges, &rest);
    if (why != NULL) {
        fprintf(stderr, "run: %s; --help tells more\n", why);
        return 2;
    }
    return run(&c);
}
