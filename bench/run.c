#include "bench/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/edges.h"
#include "bench/report.h"
#include "common/check.h"
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
    "Exits 1 when any request failed.\n";

enum { OUTPUT_TABLE, OUTPUT_JSON };

struct run_command {
    struct edges_config edges;
    uint64_t output;
};

#define AT(f) offsetof(struct run_command, f)

static const struct flag rows[] = {
    {"connections", 'c', FLAG_UINT, AT(edges.connections), "10", "N", "Connections, over all threads."},
    {"threads", 't', FLAG_UINT, AT(edges.threads), "1", "N", "Threads."},
    {"requests", 'n', FLAG_UINT, AT(edges.requests), "0", "N", "Requests in all; 0: until the time is over."},
    {"duration", 'd', FLAG_MS, AT(edges.duration_ms), "0", "TIME", "How long; without -n and -d: 10s."},
    {"stampede", 0, FLAG_BOOL, AT(edges.stampede), "off", "",
     "Open all connections, then one request on each at the same instant."},
    {"settle", 0, FLAG_MS, AT(edges.settle_ms), "100ms", "TIME",
     "Stampede: pause between connecting and release."},
    {"verify", 0, FLAG_BOOL, AT(edges.verify), "off", "",
     "Check every body against the function of the origin."},
    {"expect", 0, FLAG_UINT, AT(edges.expect), "0", "CODE", "The status that is no error; 0: any 2xx."},
    {"keys", 0, FLAG_UINT, AT(edges.keys), "1", "N", "{n} runs from 0 to N-1."},
    {"order", 0, FLAG_CHOICE, AT(edges.order), "sequence", "sequence|random", "How {n} runs."},
    {"seed", 0, FLAG_UINT, AT(edges.seed), "1", "N", "Of the random order."},
    {"method", 'X', FLAG_CHOICE, AT(edges.method), "GET", "GET|HEAD", "Method."},
    {"header", 'H', FLAG_LIST, AT(edges.fields), NULL, "'NAME: TEXT'", "One more field; may be repeated."},
    {"unix-socket", 0, FLAG_TEXT, AT(edges.unix_socket), NULL, "PATH",
     "Connect to this socket, not to the URL's host."},
    {"timeout", 0, FLAG_MS, AT(edges.timeout_ms), "60s", "TIME", "For one whole answer."},
    {"output", 'o', FLAG_CHOICE, AT(output), "table", "table|json", "Form of the report."},
};

static const char *settle(struct run_command *c, const struct flag_list *rest)
{
    struct edges_config *e = &c->edges;
    if (rest->n != 1)
        return "needs one URL";
    e->url = rest->item[0];
    if (e->connections == 0 || e->connections > 1000000 || e->threads == 0 || e->threads > 256 ||
        e->keys == 0)
        return "-c, -t and --keys must be at least 1 (at most 1000000 and 256)";
    if (e->timeout_ms == 0)
        return "--timeout must be above 0";
    if (e->stampede && (e->duration_ms > 0 || e->requests > 0))
        return "--stampede sends one request on each connection: -n and -d have no place with it";
    if (e->stampede)
        e->requests = e->connections;
    else if (e->requests == 0 && e->duration_ms == 0)
        e->duration_ms = 10000;
    return NULL;
}

static void show_progress(uint64_t finished, uint64_t of, uint64_t elapsed_ms)
{
    if (of > 0)
        fprintf(stderr, "\r%llu of %llu requests ", (unsigned long long)finished, (unsigned long long)of);
    else
        fprintf(stderr, "\r%llu requests in %llu s ", (unsigned long long)finished,
                (unsigned long long)elapsed_ms / 1000);
}

static int run(struct run_command *c)
{
    struct edges_report *r = calloc(1, sizeof *r);
    if (r == NULL) {
        fprintf(stderr, "%s\n", err_text(ERR_NOMEM));
        return 1;
    }
    bool is_terminal = isatty(STDERR_FILENO);
    if (is_terminal)
        c->edges.on_progress = show_progress;
    const char *why = edges_run(&c->edges, r);
    if (is_terminal)
        fputs("\r\033[K", stderr);
    if (why != NULL) {
        fprintf(stderr, "%.*s: %s\n", SPAN_FMT(c->edges.url), why);
        free(r);
        return 1;
    }
    struct buf text = {0};
    if (c->output == OUTPUT_JSON)
        report_put_json(&text, &c->edges, r);
    else
        report_put_table(&text, &c->edges, r);
    fwrite(text.p, 1, text.len, stdout);
    int code = text.failed || r->finished != r->errors[EDGE_OK];
    buf_fini(&text);
    free(r);
    return code;
}

int command_run(int argc, char **argv)
{
    struct run_command c = {0};
    struct flag_list rest = {0};
    const struct flag_group groups[] = {{"Options [default]:", FLAGS(rows), &c}};
    int code = flags_parse(groups, ARRAY_LEN(groups), argc, argv, intro, &rest);
    if (code >= 0)
        return code;
    const char *why = settle(&c, &rest);
    if (why != NULL) {
        fprintf(stderr, "run: %s; --help tells more\n", why);
        return 2;
    }
    return run(&c);
}
