#include "bench/demo.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/commands.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/units.h"

enum { SPARE_DESCRIPTORS = 64, TIMEOUT_MS = 45000 };

static const char intro[] = "usage: shield-bench demo [OPTION]...\n"
                            "\n"
                            "Shows the main job of a shield, for real: starts an origin and a shield, "
                            "releases many clients at one cold object,\n"
                            "first at the origin itself, then through the shield; kills the shield with "
                            "SIGKILL, starts it again on the same store,\n"
                            "and asks once more. Every byte is verified. Exits 0 only if all held.\n";

#define AT(f) offsetof(struct demo, f)

static const struct flag rows[] = {
    {"shield", 0, FLAG_TEXT, AT(shield), "", "PATH",
     "The program to show; default: the shield beside this program."},
    {"clients", 'c', FLAG_UINT, AT(clients), "1000", "N", "Clients released together."},
    {"size", 's', FLAG_BYTES, AT(size), "1m", "BYTES", "Size of the object."},
    {"delay", 0, FLAG_MS, AT(delay_ms), "200ms", "TIME", "How long the origin takes until the head."},
    {"drip", 0, FLAG_MS, AT(drip_ms), "1s", "TIME", "How long the origin takes to send the content."},
    {"workers", 0, FLAG_UINT, AT(workers), "0", "N", "Workers of the shield; 0: its default."},
};

/* ---- progress: a line for each step, and on a terminal how many clients are done */

static bool on_terminal;

static void show_progress(uint64_t finished, uint64_t of, uint64_t elapsed_ms)
{
    printf("\r    %" PRIu64 " of %" PRIu64 " clients done, %.1f s ", finished, of, (double)elapsed_ms / 1000);
    fflush(stdout);
}

static void clear_progress(void)
{
    if (on_terminal)
        fputs("\r\033[K", stdout);
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* ---- steps */

static const char *release(struct demo *d, const char *address, uint64_t clients, struct demo_round *round)
{
    char url[192];
    snprintf(url, sizeof url, "http://%s/demo/object", address);
    struct edges_config config = {
        .url = span_of(url),
        /* Part of the cache key: it must outlive the port, which is another one after the restart. */
        .fields = {.item = {SPAN("Host: demo.example")}, .n = 1},
        .connections = clients,
        .threads = 1,
        .requests = clients,
        .keys = 1,
        .timeout_ms = TIMEOUT_MS,
        .settle_ms = 100,
        .stampede = true,
        .verify = true,
        .on_progress = on_terminal ? show_progress : NULL,
    };
    round->report = calloc(1, sizeof *round->report);
    if (round->report == NULL)
        return "out of memory";
    const char *why = demo_reset_counts(d);
    if (why == NULL)
        why = edges_run(&config, round->report);
    clear_progress();
    return why == NULL ? demo_read_counts(d, &round->origin) : why;
}

static const char *step_origin(struct demo *d)
{
    const char *why = demo_start_origin(d);
    if (why == NULL)
        say("    listens on %s", d->origin.listen);
    return why;
}

static void say_round(const struct demo_round *r)
{
    say("    %" PRIu64 " of %" PRIu64 " bodies right, origin fetches: %" PRIu64
        ", bytes from the origin: %" PRIu64,
        r->report->errors[EDGE_OK], r->report->finished, r->origin.fetches, r->origin.body_bytes);
    for (int i = EDGE_OK + 1; i < EDGE_ERROR_COUNT; i++)
        if (r->report->errors[i] > 0)
            say("    %" PRIu64 " x %s", r->report->errors[i], edge_error_text((enum edge_error)i));
}

static const char *step_without(struct demo *d)
{
    const char *why = release(d, d->origin.listen, d->clients, &d->without);
    if (why == NULL)
        say_round(&d->without);
    return why;
}

static const char *step_shield(struct demo *d)
{
    const char *why = demo_start_shield(d);
    if (why == NULL)
        say("    listens on %s, admin port %s, store %s", d->proxy.listen, d->proxy.admin, d->store);
    return why;
}

static const char *step_with(struct demo *d)
{
    const char *why = release(d, d->proxy.listen, d->clients, &d->with);
    if (why == NULL)
        say_round(&d->with);
    return why;
}

static const char *step_kill(struct demo *d)
{
    const char *why = demo_wait_durable(d);
    if (why != NULL)
        return why;
    proc_end(d->proxy.proc, SIGKILL);
    say("    durable after %" PRIu64 " ms; killed with SIGKILL", d->durable_ms);
    why = demo_start_shield(d);
    if (why == NULL)
        say("    ready again %" PRIu64 " ms after exec", d->proxy.ready_ms);
    return why;
}

static const char *step_after(struct demo *d)
{
    const char *why = release(d, d->proxy.listen, 1, &d->after);
    if (why == NULL)
        say_round(&d->after);
    return why;
}

static const struct {
    const char *what;
    const char *(*run)(struct demo *d);
} steps[] = {
    {"start the origin", step_origin},
    {"release the clients at the origin itself", step_without},
    {"start the shield", step_shield},
    {"release the clients at the shield", step_with},
    {"wait until all is durable, kill the shield, start it again", step_kill},
    {"ask once more", step_after},
};

/* ---- the whole */

/* As many clients as the limit of descriptors permits: each process needs one for each client. */
static void fit_clients(struct demo *d)
{
    uint64_t limit = sock_raise_limit();
    if (limit >= d->clients + SPARE_DESCRIPTORS)
        return;
    uint64_t fits = limit > 2 * SPARE_DESCRIPTORS ? limit - SPARE_DESCRIPTORS : SPARE_DESCRIPTORS;
    fprintf(stderr,
            "warning: the hard limit of %" PRIu64 " descriptors permits %" PRIu64
            " clients instead of %" PRIu64 " (ulimit -Hn)\n",
            limit, fits, d->clients);
    d->clients = fits;
}

static const char *make_store(struct demo *d)
{
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(d->store, sizeof d->store, "%s/shield-demo-XXXXXX",
                     tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (n >= (int)sizeof d->store || mkdtemp(d->store) == NULL) {
        d->store[0] = '\0';
        return "cannot make a directory for the store (TMPDIR)";
    }
    return NULL;
}

static const char *prepare(struct demo *d)
{
    const char *why = demo_find_programs(d);
    if (why == NULL)
        why = make_store(d);
    if (why == NULL)
        why = proc_init(d->store);
    return why;
}

static void introduce(const struct demo *d)
{
    struct buf text = {0};
    buf_printf(&text, "%" PRIu64 " clients ask at once for one cold object of ", d->clients);
    units_put_bytes(&text, d->size);
    buf_put_lit(&text, "; the origin takes ");
    units_put_duration_ms(&text, d->delay_ms);
    buf_put_lit(&text, " to begin and ");
    units_put_duration_ms(&text, d->drip_ms);
    buf_put_lit(&text, " to send it.");
    say("%.*s", SPAN_FMT(buf_span(&text)));
    buf_fini(&text);
}

static int show(struct demo *d)
{
    const char *why = prepare(d);
    if (why == NULL)
        introduce(d);
    for (size_t i = 0; i < ARRAY_LEN(steps) && why == NULL; i++) {
        say("[%zu/%zu] %s", i + 1, ARRAY_LEN(steps), steps[i].what);
        why = steps[i].run(d);
    }
    if (why != NULL) {
        fprintf(stderr, "demo: %s\n", why);
        return 1;
    }
    bool holds = demo_show_summary(d);
    puts(holds ? "\nAll held." : "\nNot all held.");
    return holds ? 0 : 1;
}

int command_demo(int argc, char **argv)
{
    struct demo *d = calloc(1, sizeof *d);
    if (d == NULL)
        return 1;
    struct flag_list rest = {0};
    const struct flag_group groups[] = {{"Options [default]:", FLAGS(rows), d}};
    int code = flags_parse(groups, ARRAY_LEN(groups), argc, argv, intro, &rest);
    if (code < 0 && (rest.n > 0 || d->clients == 0)) {
        fprintf(stderr, "demo: takes options only, and at least one client; --help tells more\n");
        code = 2;
    }
    if (code < 0) {
        on_terminal = isatty(STDOUT_FILENO);
        fit_clients(d);
        code = show(d);
        demo_fini(d);
    }
    free(d);
    return code;
}
