/* record_writes - preloaded into a shield: what it does to the file whose name ends with RECORD_NAME is
 * appended to the file RECORD_LOG, in the order in which it was done, so that a test can make the file as a
 * power cut would have left it. Each record is a struct record, then the bytes that were written.
 *
 *   w  written, lost unless a sync follows       d  written through O_DSYNC: on the device with the call's
 * end s  synced: all before is on the device       t  cut or extended to `offset` bytes */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    uint64_t kind, offset, bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int is_recorded(int fd)
{
    char link[64], path[4096];
    const char *name = getenv("RECORD_NAME");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0 || name == NULL || (size_t)n < strlen(name))
        return 0;
    path[n] = '\0';
    return strcmp(path + n - strlen(name), name) == 0;
}

static void must_write(const void *p, size_t n)
{
    if (log_fd < 0)
        log_fd = open(getenv("RECORD_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (write(log_fd, p, n) != (ssize_t)n)
        abort();
}

/* `vec` is cut to what was written. */
static void note(char kind, uint64_t offset, const struct iovec *vec, int n, size_t bytes)
{
    struct record r = {(uint64_t)kind, offset, bytes};
    pthread_mutex_lock(&lock);
    must_write(&r, sizeof r);
    for (int i = 0; i < n && bytes > 0; i++) {
        size_t part = vec[i].iov_len < bytes ? vec[i].iov_len : bytes;
        must_write(vec[i].iov_base, part);
        bytes -= part;
    }
    pthread_mutex_unlock(&lock);
}

static void note_write(int fd, const struct iovec *vec, int n, off_t offset, ssize_t done)
{
    if (done > 0 && is_recorded(fd))
        note(fcntl(fd, F_GETFL) & O_DSYNC ? 'd' : 'w', (uint64_t)offset, vec, n, (size_t)done);
}

#define PWRITE(name)                                                     \
    ssize_t name(int fd, const void *p, size_t n, off_t offset)          \
    {                                                                    \
        ssize_t (*next)(int, const void *, size_t, off_t) = real(#name); \
        ssize_t done = next(fd, p, n, offset);                           \
        note_write(fd, &(struct iovec){(void *)p, n}, 1, offset, done);  \
        return done;                                                     \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                         \
    ssize_t name(int fd, const struct iovec *vec, int n, off_t offset)        \
    {                                                                         \
        ssize_t (*next)(int, const struct iovec *, int, off_t) = real(#name); \
        ssize_t done = next(fd, vec, n, offset);                              \
        note_write(fd, vec, n, offset, done);                                 \
        return done;                                                          \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

/* LMDB writes a run of pages with lseek and writev where it has no pwritev. */
ssize_t writev(int fd, const struct iovec *vec, int n)
{
    ssize_t (*next)(int, const struct iovec *, int) = real("writev");
    off_t offset = is_recorded(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = next(fd, vec, n);
    note_write(fd, vec, n, offset, done);
    return done;
}

#define SYNC(name)                      \
    int name(int fd)                    \
    {                                   \
        int (*next)(int) = real(#name); \
        int rc = next(fd);              \
        if (rc == 0 && is_recorded(fd)) \
            note('s', 0, NULL, 0, 0);   \
        return rc;                      \
    }
SYNC(fsync)
SYNC(fdatasync)

#define TRUNCATE(name)                               \
    int name(int fd, off_t length)                   \
    {                                                \
        int (*next)(int, off_t) = real(#name);       \
        int rc = next(fd, length);                   \
        if (rc == 0 && is_recorded(fd))              \
            note('t', (uint64_t)length, NULL, 0, 0); \
        return rc;                                   \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)
