#include "shield/store/disk_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>

#include "common/check.h"

/* LMDB trusts its tree pages: a damaged one can make it read outside the map or fail an assertion. Then the
 * process is lost, but the next one must not die of the same page. A SIGKILL, a crash elsewhere or a stop at
 * a bad moment leave no mark: they do the file no harm.
 *
 * A page that the device cannot give is a SIGBUS, and no reason to die: who works in the file goes on from
 * where the job began. */

static const char mark_name[] = "shield.crashed";
static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
static struct sigaction before[NSIG];
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int watched_dir = -1;
static _Thread_local sigjmp_buf *landing;

static void on_fatal_signal(int sig, siginfo_t *info, void *context)
{
    (void)context;
    if (sig == SIGBUS && info->si_code > 0 && landing != NULL)
        siglongjmp(*landing, 1);
    if (watched_dir >= 0) {
        int fd = openat(watched_dir, mark_name, O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
        if (fd >= 0)
            close(fd);
    }
    sigaction(sig, &before[sig], NULL);
    if (info->si_code <= 0 && sig != SIGABRT) /* sent, not raised by an instruction that now faults again */
        raise(sig);
}

static void install(void)
{
    struct sigaction act = {.sa_sigaction = on_fatal_signal, .sa_flags = SA_SIGINFO}, now;
    sigemptyset(&act.sa_mask);
    pthread_mutex_lock(&installing);
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++) {
        int sig = fatal_signals[i];
        if (sigaction(sig, NULL, &now) == 0 && now.sa_sigaction == on_fatal_signal)
            continue;
        before[sig] = now;
        sigaction(sig, &act, NULL);
    }
    pthread_mutex_unlock(&installing);
}

void disk_crash_watch(const char *path)
{
    if (watched_dir >= 0)
        close(watched_dir);
    watched_dir = path != NULL ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (path != NULL)
        install();
}

bool disk_crash_faults(void (*work)(void *ctx), void *ctx)
{
    sigjmp_buf here;
    if (sigsetjmp(here, 1) != 0) {
        landing = NULL;
        return true;
    }
    landing = &here;
    work(ctx);
    landing = NULL;
    return false;
}

bool disk_crash_take(const char *path)
{
    int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return false;
    bool found = unlinkat(dir, mark_name, 0) == 0;
    close(dir);
    return found;
}
