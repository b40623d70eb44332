#include "shield/store/disk_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

/* The lock file says who owns the store, and whether purges were ordered that its log does not have. The
 * latter is written when nothing else can be: so it has a fixed place in a block that the file has from its
 * first day, behind a descriptor that is open. */

enum { PID_BYTES = 21, LOG_BYTES = 43, LOCK_BYTES = PID_BYTES + LOG_BYTES };

static const char log_whole[] = "purges: all in the log";
static const char log_behind[] = "purges: some are not in the log";

static void log_owner(const char *path, int fd)
{
    char pid[PID_BYTES + 1] = "";
    ssize_t n = pread(fd, pid, PID_BYTES, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strcspn(pid, " \n")] = '\0';
    log_error("store: %s belongs to process %s; stop that one, or give this one another store.path", path,
              pid[0] != '\0' ? pid : "(unknown)");
}

static int write_at(int fd, const char *line, int bytes, off_t at)
{
    char padded[LOCK_BYTES + 1];
    snprintf(padded, sizeof padded, "%-*s\n", bytes - 1, line);
    errno = EIO; /* for what is neither an error nor whole */
    return pwrite(fd, padded, (size_t)bytes, at) == bytes ? 0 : errno;
}

static int write_log_line(int lock_fd, bool is_behind)
{
    int rc = write_at(lock_fd, is_behind ? log_behind : log_whole, LOG_BYTES, PID_BYTES);
    if (rc == 0 && fdatasync(lock_fd) != 0)
        rc = errno;
    return rc;
}

static int write_owner(int fd)
{
    char pid[PID_BYTES];
    struct stat st;
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    int rc = write_at(fd, pid, PID_BYTES, 0);
    if (rc == 0 && fstat(fd, &st) == 0 && st.st_size != LOCK_BYTES)
        rc = write_log_line(fd, false);
    return rc;
}

int disk_lock_take(const char *path, int *lock_fd)
{
    char name[DISK_MAX_PATH];
    if (mkdir(path, 0750) != 0 && errno != EEXIST) {
        log_error("store: cannot make the directory %s: %s", path, strerror(errno));
        return ERR_SYSTEM;
    }
    if (!disk_join(name, path, "shield.lock")) {
        log_error("store: the path %s is too long", path);
        return ERR_SYSTEM;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        log_error("store: cannot open %s: %s", name, strerror(errno));
        return ERR_SYSTEM;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        if (why == EWOULDBLOCK)
            log_owner(path, fd);
        else
            log_error("store: cannot lock %s: %s", name, strerror(why));
        close(fd);
        return why == EWOULDBLOCK ? ERR_LOCKED : ERR_SYSTEM;
    }
    int rc = write_owner(fd);
    if (rc != 0)
        log_warn("store: cannot write the process id to %s: %s", name, strerror(rc));
    *lock_fd = fd;
    return 0;
}

void disk_lock_release(int lock_fd)
{
    close(lock_fd); /* the name stays: removing it would let two own it */
}

bool disk_lock_is_there(int lock_fd, const char *path)
{
    char name[DISK_MAX_PATH];
    struct stat ours, there;
    return disk_join(name, path, "shield.lock") && fstat(lock_fd, &ours) == 0 && stat(name, &there) == 0 &&
           ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

/* ---- purges that are not in the log ---- */

/* Where the store's device takes nothing at all, another may: beside the directory, or where the system has
 * room for such things. A file of somebody else says nothing. */
static bool other_place(size_t n, const char *path, char out[DISK_MAX_PATH])
{
    static const char *const dirs[] = {"/run", "/var/tmp"};
    char whole[PATH_MAX];
    int len;
    if (n > ARRAY_LEN(dirs) || realpath(path, whole) == NULL)
        return false;
    if (n == 0)
        len = snprintf(out, DISK_MAX_PATH, "%s.purges-missing", whole);
    else
        len = snprintf(out, DISK_MAX_PATH, "%s/shield-purges-missing-%016" PRIx64, dirs[n - 1],
                       (uint64_t)XXH3_64bits(whole, strlen(whole)));
    return len < DISK_MAX_PATH;
}

static bool is_ours(const char *name)
{
    struct stat st;
    return lstat(name, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

static bool note_elsewhere(const char *path)
{
    char name[DISK_MAX_PATH];
    for (size_t n = 0; other_place(n, path, name); n++) {
        int fd = open(name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        bool noted = fd >= 0 && fsync(fd) == 0 && is_ours(name);
        if (fd >= 0)
            close(fd);
        if (noted)
            return true;
    }
    return false;
}

bool disk_lock_is_behind(int lock_fd, const char *path)
{
    char line[sizeof log_behind - 1], name[DISK_MAX_PATH];
    if (pread(lock_fd, line, sizeof line, PID_BYTES) == (ssize_t)sizeof line &&
        memcmp(line, log_behind, sizeof line) == 0)
        return true;
    for (size_t n = 0; other_place(n, path, name); n++)
        if (is_ours(name))
            return true;
    return false;
}

bool disk_lock_note_behind(int lock_fd, const char *path)
{
    return write_log_line(lock_fd, true) == 0 || note_elsewhere(path);
}

int disk_lock_note_whole(int lock_fd, const char *path)
{
    char name[DISK_MAX_PATH];
    int rc = write_log_line(lock_fd, false);
    for (size_t n = 0; other_place(n, path, name); n++)
        if (is_ours(name) && unlink(name) != 0)
            rc = errno;
    return rc;
}
