#include "bench/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"
#include "common/list.h"

enum { LAST_BYTES = 8192, LINE_BYTES = 4096 };

/*  started --> ready --> ended   `pid` is 0 once the child has been waited for: only then may its number be
 * another's */
struct proc {
    struct list_node link;
    pid_t pid;
    int output; /* the reading end of its stdout and stderr */
    pthread_t reader;
    bool is_ready, output_over;
    char line[LINE_BYTES], last[LAST_BYTES];
    size_t last_len;
};

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* of `running`, and of each child's pid and output */
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static struct list_node running = {&running, &running};
static char scratch[PATH_MAX];
static sigset_t endings;

/* ---- the end of everything */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

void proc_remove_dir(const char *path)
{
    if (path[0] != '\0')
        (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void *wait_for_signal(void *arg)
{
    int number = 0;
    while (sigwait(&endings, &number) != 0)
        ;
    pthread_mutex_lock(&lock); /* kept: nothing may be started or waited for any more */
    list_each (node, &running) {
        struct proc *p = container_of(node, struct proc, link);
        if (p->pid > 0) {
            kill(-p->pid, SIGKILL);
            waitpid(p->pid, NULL, 0);
        }
    }
    proc_remove_dir(scratch);
    fprintf(stderr, "\nended by signal %d\n", number);
    _exit(128 + number);
}

const char *proc_init(const char *scratch_dir)
{
    if (scratch_dir != NULL)
        snprintf(scratch, sizeof scratch, "%s", scratch_dir);
    sigemptyset(&endings);
    sigaddset(&endings, SIGINT);
    sigaddset(&endings, SIGTERM);
    sigaddset(&endings, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &endings, NULL);
    pthread_t id;
    if (pthread_create(&id, NULL, wait_for_signal, NULL) != 0)
        return "no thread to be had";
    pthread_detach(id);
    return NULL;
}

/* ---- the child's output */

static void keep_last(struct proc *p, const char *line, size_t n)
{
    n = MIN(n, (size_t)LAST_BYTES / 2);
    while (p->last_len + n + 1 >= LAST_BYTES) { /* drop the oldest line */
        char *end = memchr(p->last, '\n', p->last_len);
        size_t drop = end != NULL ? (size_t)(end - p->last) + 1 : p->last_len;
        memmove(p->last, p->last + drop, p->last_len - drop);
        p->last_len -= drop;
    }
    memcpy(p->last + p->last_len, line, n);
    p->last_len += n;
    p->last[p->last_len] = '\0';
}

static void take_line(struct proc *p, const char *line, size_t n)
{
    pthread_mutex_lock(&lock);
    keep_last(p, line, n);
    const char *ready = memmem(line, n, "ready ", 6);
    if (ready != NULL && !p->is_ready) {
        snprintf(p->line, sizeof p->line, "%.*s", (int)strcspn(ready + 6, "\n"), ready + 6);
        p->is_ready = true;
        pthread_cond_broadcast(&news);
    }
    pthread_mutex_unlock(&lock);
}

static void *read_output(void *arg)
{
    struct proc *p = arg;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    FILE *in = fdopen(p->output, "r");
    while (in != NULL && (n = getline(&line, &cap, in)) > 0)
        take_line(p, line, (size_t)n);
    free(line);
    if (in != NULL)
        fclose(in);
    else
        close(p->output);
    pthread_mutex_lock(&lock);
    p->output_over = true;
    pthread_cond_broadcast(&news);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* ---- the child */

static _Noreturn void become(char *const argv[], int output, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setpgid(0, 0);                    /* with the processes that it makes itself, which end with it */
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* were we killed ourselves, nobody else would end it */
    if (getppid() != parent || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    execv(argv[0], argv);
    static const char text[] =
        "the program cannot be executed\n"; /* after fork only what is async-signal-safe */
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(127);
}

static const char *launch(struct proc *p, char *const argv[])
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return "no pipe to be had";
    pid_t parent = getpid();
    pthread_mutex_lock(&lock);
    p->pid = fork();
    if (p->pid == 0)
        become(argv, ends[1], parent);
    if (p->pid > 0)
        setpgid(p->pid, p->pid); /* here too: it may be ended before it has run */
    if (p->pid > 0)
        list_add_tail(&running, &p->link);
    pthread_mutex_unlock(&lock);
    close(ends[1]);
    p->output = ends[0];
    if (p->pid < 0) {
        close(ends[0]);
        return "no process to be had";
    }
    if (pthread_create(&p->reader, NULL, read_output, p) != 0) {
        close(ends[0]);
        p->output_over = true;
        return "no thread to be had";
    }
    return NULL;
}

const char *proc_start(struct proc **out, char *const argv[])
{
    struct proc *p = calloc(1, sizeof *p);
    if (p == NULL)
        return "out of memory";
    list_init(&p->link);
    const char *why = launch(p, argv);
    *out = p;
    return why;
}

bool proc_has_ended(const struct proc *p)
{
    siginfo_t end = {0};
    return p->pid <= 0 ||
           (waitid(P_PID, (id_t)p->pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid != 0);
}

pid_t proc_pid(const struct proc *p)
{
    return p->pid;
}

const char *proc_ready(struct proc *p, uint32_t patience_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience_ms / 1000;
    pthread_mutex_lock(&lock);
    int late = 0;
    while (!p->is_ready && !p->output_over && late == 0)
        late = pthread_cond_timedwait(&news, &lock, &until);
    bool is_ready = p->is_ready;
    pthread_mutex_unlock(&lock);
    return is_ready ? p->line : NULL;
}

void proc_end(struct proc *p, int number)
{
    if (p->pid <= 0)
        return;
    pid_t pid = p->pid;
    kill(number == SIGKILL ? -pid : pid, number);
    siginfo_t info; /* look first, and reap under the lock: the signal thread must never see the number of
                       another */
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&lock);
    kill(-pid, SIGKILL); /* what it has left behind */
    waitpid(pid, NULL, 0);
    p->pid = 0;
    list_remove(&p->link);
    pthread_mutex_unlock(&lock);
    if (p->reader != 0) {
        pthread_join(p->reader, NULL);
        p->reader = 0;
    }
}

const char *proc_last_words(struct proc *p)
{
    return p->last;
}

void proc_free(struct proc *p)
{
    if (p == NULL)
        return;
    proc_end(p, SIGKILL);
    free(p);
}

bool proc_ready_value(const char *line, const char *name, char *out, unsigned cap)
{
    size_t len = strlen(name);
    for (const char *at = line; (at = strstr(at, name)) != NULL; at += len) {
        if ((at != line && at[-1] != ' ') || at[len] != '=')
            continue;
        size_t n = strcspn(at + len + 1, " \r\n\",");
        snprintf(out, cap, "%.*s", (int)n, at + len + 1);
        return n > 0;
    }
    return false;
}

bool proc_self(char *out)
{
    const char *executed = (const char *)getauxval(AT_EXECFN);
    return executed != NULL && realpath(executed, out) != NULL;
}
