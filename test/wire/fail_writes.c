/* fail_writes - preloaded into a shield: while the file FAIL_SWITCH holds a number, all that would change a
 * file in the directory FAIL_DIR fails with that errno. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int switched(void)
{
    char text[16] = "";
    int fd = open(getenv("FAIL_SWITCH"), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    return n > 0 ? atoi(text) : 0;
}

static int fails(int fd)
{
    char link[64], path[4096];
    const char *dir = getenv("FAIL_DIR");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0 || dir == NULL || (size_t)n < strlen(dir) || strncmp(path, dir, strlen(dir)) != 0)
        return 0;
    errno = switched();
    return errno;
}

#define FAILING(type, name, params, args)             \
    type name params                                  \
    {                                                 \
        if (fails(fd))                                \
            return -1;                                \
        type(*next) params = dlsym(RTLD_NEXT, #name); \
        return next args;                             \
    }
FAILING(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
FAILING(ssize_t, pwrite64, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
FAILING(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
FAILING(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, fdatasync, (int fd), (fd))
FAILING(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n))
