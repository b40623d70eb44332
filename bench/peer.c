#include "bench/peer.h"

#include <dirent.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

enum { ACCEPT_MS = 15000, POLL_US = 2000, PROCESSES_MAX = 256, ENV_MAX = 7, VALUE_MAX = PATH_MAX + 32 };

/* ---- the script */

struct environment {
    char value[ENV_MAX][VALUE_MAX];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct environment *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->value[e->n++], VALUE_MAX, fmt, ap);
    va_end(ap);
}

static void describe(const struct peer *p, struct environment *e)
{
    e->n = 0;
    add(e, "BENCH_PORT=%u", p->port);
    add(e, "BENCH_ADMIN_PORT=%u", p->admin_port);
    add(e, "BENCH_ORIGIN=%s", p->origin);
    add(e, "BENCH_DIR=%s", p->dir);
    add(e, "BENCH_WORKERS=%u", p->workers);
    add(e, "BENCH_BIN=%s", p->bin);
}

/* env VALUE... sh SCRIPT VERB [ARGUMENT]... */
static void command(const struct peer *p, struct environment *e, char *const args[], size_t n_args,
                    char **argv)
{
    size_t n = 0;
    describe(p, e);
    argv[n++] = "/usr/bin/env";
    for (size_t i = 0; i < e->n; i++)
        argv[n++] = e->value[i];
    argv[n++] = "/bin/sh";
    argv[n++] = (char *)p->script;
    for (size_t i = 0; i < n_args; i++)
        argv[n++] = args[i];
    argv[n] = NULL;
}

static bool read_line(int fd, char *out, size_t cap)
{
    FILE *in = fdopen(fd, "r");
    if (in == NULL) {
        close(fd);
        return false;
    }
    if (out == NULL || fgets(out, (int)cap, in) == NULL)
        cap = 0;
    else
        out[strcspn(out, "\n")] = '\0';
    char rest[512];
    while (fgets(rest, sizeof rest, in) != NULL) /* to the end: the script must not meet a closed pipe */
        ;
    fclose(in);
    return cap > 0;
}

/* Runs the script to its end; gives its exit code and the first line of what it said. */
static int ask(const struct peer *p, char *const args[], size_t n_args, char *line, size_t cap)
{
    struct environment *e = calloc(1, sizeof *e);
    char *argv[32];
    int ends[2], status = -1;
    if (e == NULL || pipe(ends) != 0) {
        free(e);
        return -1;
    }
    command(p, e, args, n_args, argv);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(argv[0], argv);
        _exit(127);
    }
    close(ends[1]);
    (void)read_line(ends[0], line, cap);
    if (pid > 0)
        waitpid(pid, &status, 0);
    free(e);
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

const char *peer_find(struct peer *p, struct span name, const char *peers_dir, const char *bin_dir)
{
    *p = (struct peer){0};
    if (name.len == 0 || name.len >= sizeof p->name || memchr(name.p, '/', name.len) != NULL)
        return "is not the name of a peer";
    snprintf(p->name, sizeof p->name, "%.*s", SPAN_FMT(name));
    snprintf(p->bin, sizeof p->bin, "%s", bin_dir);
    int n = snprintf(p->script, sizeof p->script, "%s/%s.sh", peers_dir, p->name);
    if (n >= (int)sizeof p->script || access(p->script, R_OK) != 0)
        return "has no script among the peers";
    if (ask(p, (char *[]){"check"}, 1, p->version, sizeof p->version) != 0)
        return "is not installed";
    if (ask(p, (char *[]){"can"}, 1, p->features, sizeof p->features) != 0)
        return "does not say what it can do";
    return NULL;
}

bool peer_can(const struct peer *p, struct span feature)
{
    for (const char *at = p->features; *at != '\0';) {
        size_t n = strcspn(at, " ");
        if (span_eq((struct span){at, n}, feature))
            return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

/* ---- its life */

/* A port that is free now. Somebody may take it before the peer does, which then fails to start. */
static unsigned free_port(void)
{
    const char *why;
    int fd = sock_listen(SPAN("127.0.0.1:0"), false, &why);
    struct buf name = {0};
    unsigned port = 0;
    if (fd < 0)
        return 0;
    sock_put_name(&name, fd);
    close(fd);
    buf_put(&name, "", 1);
    if (!name.failed && strchr(name.p, ':') != NULL)
        port = (unsigned)strtoul(strchr(name.p, ':') + 1, NULL, 10);
    buf_fini(&name);
    return port;
}

static bool accepts(unsigned port)
{
    char text[32];
    struct netaddr at;
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    int fd = netaddr_parse(span_of(text), &at) == NULL ? sock_connect(&at, 1000) : -1;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void complain(struct peer *p, const char *what)
{
    proc_end(p->proc, SIGKILL);
    fprintf(stderr, "%s %s; it said:\n%s\n", p->name, what, proc_last_words(p->proc));
}

static const char *launch(struct peer *p)
{
    struct environment *e = calloc(1, sizeof *e);
    char *argv[32];
    if (e == NULL)
        return "out of memory";
    command(p, e, (char *[]){"run"}, 1, argv);
    const char *why = proc_start(&p->proc, argv);
    free(e);
    uint64_t until_ms = clock_mono_ms() + ACCEPT_MS;
    while (why == NULL && !accepts(p->port)) {
        if (clock_mono_ms() > until_ms || proc_has_ended(p->proc))
            why = "does not accept connections";
        usleep(POLL_US);
    }
    if (why == NULL && proc_has_ended(p->proc)) /* another program has its port */
        why = "ended when it was started";
    if (why != NULL)
        complain(p, why);
    return why;
}

bool peer_has_ended(struct peer *p)
{
    if (p->proc == NULL || !proc_has_ended(p->proc))
        return false;
    complain(p, "ended by itself");
    return true;
}

const char *peer_start(struct peer *p, const char *scratch, const char *origin, unsigned workers)
{
    p->proc = NULL;
    p->past_cpu_us = 0;
    p->workers = workers;
    p->port = free_port();
    p->admin_port = free_port();
    snprintf(p->origin, sizeof p->origin, "%s", origin);
    int n = snprintf(p->dir, sizeof p->dir, "%s/%s", scratch, p->name);
    if (n >= (int)sizeof p->dir || mkdir(p->dir, 0755) != 0)
        return "cannot have a directory";
    return launch(p);
}

const char *peer_restart(struct peer *p, int signal)
{
    p->past_cpu_us = peer_cpu_us(p);
    proc_end(p->proc, signal);
    proc_free(p->proc);
    p->proc = NULL;
    return launch(p);
}

const char *peer_purge(const struct peer *p, struct span what)
{
    char kind[16], value[1024], line[256] = "";
    const char *space = memchr(what.p, ' ', what.len);
    size_t n = space != NULL ? (size_t)(space - what.p) : what.len;
    snprintf(kind, sizeof kind, "%.*s", (int)n, what.p);
    snprintf(value, sizeof value, "%.*s", SPAN_FMT(span_trim(span_from(what, n))));
    if (ask(p, (char *[]){"purge", kind, value}, 3, line, sizeof line) == 0)
        return NULL;
    fprintf(stderr, "%s: purge %s %s: %s\n", p->name, kind, value, line);
    return "does not purge";
}

void peer_stop(struct peer *p)
{
    proc_free(p->proc);
    p->proc = NULL;
    proc_remove_dir(p->dir);
    p->dir[0] = '\0';
}

/* ---- what it uses */

struct usage {
    int pid, parent;
    uint64_t ticks, rss_pages;
    bool is_ours;
};

static bool read_usage(const char *pid, struct usage *u)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    long rss = 0;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *in = fopen(path, "re");
    size_t n = in != NULL ? fread(text, 1, sizeof text - 1, in) : 0;
    if (in != NULL)
        fclose(in);
    text[n] = '\0';
    const char *behind = strrchr(text, ')'); /* the name may contain anything: proc(5) */
    if (behind == NULL ||
        sscanf(behind + 2,
               "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
               &u->parent, &user, &system, &rss) != 4)
        return false;
    u->pid = atoi(pid);
    u->ticks = user + system;
    u->rss_pages = (uint64_t)rss;
    return true;
}

/* The process and all that descend from it. */
static struct usage usage_of(pid_t root)
{
    struct usage sum = {0}, *all = calloc(PROCESSES_MAX, sizeof *all);
    size_t n = 0;
    DIR *dir = opendir("/proc");
    for (struct dirent *e; all != NULL && dir != NULL && n < PROCESSES_MAX && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && read_usage(e->d_name, &all[n]))
            n++;
    if (dir != NULL)
        closedir(dir);
    for (size_t found = 1; found > 0;) {
        found = 0;
        for (size_t i = 0; i < n; i++) {
            bool ours = all[i].pid == root;
            for (size_t k = 0; k < n && !ours; k++)
                ours = all[k].is_ours && all[k].pid == all[i].parent;
            if (!ours || all[i].is_ours)
                continue;
            all[i].is_ours = true;
            sum.ticks += all[i].ticks;
            sum.rss_pages += all[i].rss_pages;
            found++;
        }
    }
    free(all);
    return sum;
}

uint64_t peer_cpu_us(const struct peer *p)
{
    pid_t pid = p->proc != NULL ? proc_pid(p->proc) : 0;
    uint64_t ticks = pid > 0 ? usage_of(pid).ticks : 0;
    return p->past_cpu_us + ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

uint64_t peer_rss_kb(const struct peer *p)
{
    pid_t pid = p->proc != NULL ? proc_pid(p->proc) : 0;
    return pid > 0 ? usage_of(pid).rss_pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024 : 0;
}
