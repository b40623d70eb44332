#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/commands.h"
#include "bench/fetch.h"
#include "bench/flags.h"
#include "bench/target.h"
#include "common/check.h"
#include "common/clock.h"

enum { ASK_AGAIN_US = 200 };

static const char get_intro[] = "usage: shield-bench get [OPTION]... URL\n"
                                "\n"
                                "Prints the content of URL; exits 1 unless the status is 2xx.\n";

static const char start_intro[] =
    "usage: shield-bench start --report FILE [OPTION]... URL -- COMMAND [ARGUMENT]...\n"
    "\n"
    "Becomes COMMAND, as exec does: the process id stays. A helper asks for URL until it is answered, "
    "writes\n"
    "    {\"first_answer_us\":N,\"status\":N}    N microseconds from just before exec to the whole answer\n"
    "to FILE, and ends; after --patience without an answer the status is 0.\n";

struct start_command {
    struct span report;
    uint64_t patience_ms;
};

#define AT(f) offsetof(struct start_command, f)

static const struct flag rows[] = {
    {"report", 0, FLAG_TEXT, AT(report), "", "FILE", "Where to write the result."},
    {"patience", 0, FLAG_MS, AT(patience_ms), "10s", "TIME", "When to give up."},
};

/* What is asked for, and where. */
struct question {
    struct netaddr to;
    struct span host;
    char path[2048];
};

static const char *understand(struct span url, struct question *q)
{
    struct target t;
    const char *why = target_parse(url, &t);
    if (why == NULL)
        why = target_resolve(&t, (struct span){0}, &q->to);
    if (why != NULL)
        return why;
    q->host = t.host;
    struct buf path = {0};
    target_put_path(&t, 0, &path);
    bool fits = !path.failed && path.len < sizeof q->path;
    if (fits)
        snprintf(q->path, sizeof q->path, "%.*s", SPAN_FMT(buf_span(&path)));
    buf_fini(&path);
    return fits ? NULL : "is too long";
}

static int complain(struct span what, const char *why, int code)
{
    fprintf(stderr, "%.*s: %s\n", SPAN_FMT(what), why);
    return code;
}

struct get_command {
    struct span method, data;
    struct flag_list fields;
};

static const struct flag get_rows[] = {
    {"method", 'X', FLAG_TEXT, offsetof(struct get_command, method), "GET", "WORD", "Method."},
    {"header", 'H', FLAG_LIST, offsetof(struct get_command, fields), NULL, "'NAME: TEXT'",
     "One more field; may be repeated."},
    {"data", 'd', FLAG_TEXT, offsetof(struct get_command, data), "", "TEXT", "Content of the request."},
};

static int get(const struct get_command *c, const struct question *q, struct span url)
{
    char method[32];
    struct buf content = {0};
    int status = 0;
    snprintf(method, sizeof method, "%.*s", SPAN_FMT(c->method));
    const char *why = fetch(&(struct fetch_request){.to = &q->to,
                                                    .host = q->host,
                                                    .method = method,
                                                    .path = q->path,
                                                    .fields = &c->fields,
                                                    .content = c->data},
                            &status, &content);
    if (why == NULL)
        fwrite(content.p, 1, content.len, stdout);
    buf_fini(&content);
    if (why != NULL)
        return complain(url, why, 1);
    return status / 100 == 2 ? 0 : 1;
}

int command_get(int argc, char **argv)
{
    struct get_command c = {0};
    struct flag_list rest = {0};
    const struct flag_group groups[] = {{"Options [default]:", FLAGS(get_rows), &c}};
    int code = flags_parse(groups, ARRAY_LEN(groups), argc, argv, get_intro, &rest);
    if (code >= 0)
        return code;
    struct question q;
    if (rest.n != 1)
        return complain(SPAN("get"), "needs one URL; --help tells more", 2);
    const char *why = understand(rest.item[0], &q);
    return why != NULL ? complain(rest.item[0], why, 2) : get(&c, &q, rest.item[0]);
}

/* ---- start */

static uint64_t ask_until_answered(const struct question *q, uint64_t began_us, uint64_t patience_ms,
                                   int *status)
{
    struct buf content = {0};
    while (clock_mono_us() < began_us + patience_ms * 1000) {
        content.len = 0;
        if (fetch(&(struct fetch_request){.to = &q->to, .host = q->host, .path = q->path}, status,
                  &content) == NULL)
            break;
        *status = 0;
        usleep(ASK_AGAIN_US);
    }
    buf_fini(&content);
    return clock_mono_us() - began_us;
}

static _Noreturn void measure(const struct question *q, int out, uint64_t began_us, uint64_t patience_ms)
{
    int status = 0;
    uint64_t us = ask_until_answered(q, began_us, patience_ms, &status);
    dprintf(out, "{\"first_answer_us\":%llu,\"status\":%d}\n", (unsigned long long)us, status);
    _exit(0);
}

/* The helper is a grandchild, which init adopts: COMMAND must not find a child that it has not made. */
static const char *start_helper(const struct question *q, int out, uint64_t began_us, uint64_t patience_ms)
{
    pid_t child = fork();
    if (child == 0) {
        pid_t helper = fork();
        if (helper == 0)
            measure(q, out, began_us, patience_ms);
        _exit(helper < 0);
    }
    int status = 1;
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return child > 0 && status == 0 ? NULL : "no process to be had";
}

static int start(const struct start_command *c, const struct question *q, char **command)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s", SPAN_FMT(c->report));
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0)
        return complain(c->report, "cannot be written", 1);
    uint64_t began_us = clock_mono_us();
    const char *why = start_helper(q, out, began_us, c->patience_ms);
    if (why != NULL)
        return complain(SPAN("start"), why, 1);
    execvp(command[0], command);
    return complain(span_of(command[0]), "cannot be executed", 1);
}

int command_start(int argc, char **argv)
{
    struct start_command c = {0};
    struct flag_list rest = {0};
    const struct flag_group groups[] = {{"Options [default]:", FLAGS(rows), &c}};
    int n_own = 0;
    while (n_own < argc && strcmp(argv[n_own], "--") != 0)
        n_own++;
    int code = flags_parse(groups, ARRAY_LEN(groups), n_own, argv, start_intro, &rest);
    if (code >= 0)
        return code;
    struct question q;
    if (rest.n != 1 || c.report.len == 0 || n_own + 1 >= argc)
        return complain(SPAN("start"), "needs --report, one URL, and a command after --; --help tells more",
                        2);
    const char *why = understand(rest.item[0], &q);
    return why != NULL ? complain(rest.item[0], why, 2) : start(&c, &q, argv + n_own + 1);
}
