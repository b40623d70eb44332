#include "shield/store/disk_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum {
    LIVE_PERCENT = 85,
    SLACK_COMMITS = 3,
    LEAST_BYTES = 1 << 20,
    BESIDE_BYTES = 64 << 10, /* of store.size, for the directory and its lock files */
    RESERVE_BYTES = 1 << 20,
};

static const char data_name[] = "data.mdb";
static const char aside_prefix[] = "data.mdb.broken-";
static const char info_key[] = "info";

int disk_err_of_rc(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return ERR_FULL;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return disk_rc_is_damage(rc) ? ERR_CORRUPT : ERR_IO;
    }
}

/* LMDB meets the same bad page with one code or another: a page that says it is full where it must not be, a
 * tree that is too deep. So all that is not about a limit or a use of it counts. */
bool disk_rc_is_damage(int rc)
{
    switch (rc) {
    case MDB_KEYEXIST:
    case MDB_NOTFOUND:
    case MDB_PANIC:
    case MDB_MAP_FULL:
    case MDB_DBS_FULL:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case MDB_BAD_TXN:
        return false;
    default:
        return rc < 0;
    }
}

bool disk_join(char out[DISK_MAX_PATH], const char *path, const char *name)
{
    int n = snprintf(out, DISK_MAX_PATH, "%s/%s", path, name);
    return n > 0 && n < DISK_MAX_PATH;
}

/* ---- setting aside ---- */

/* The number for the next broken file; those before it go, so that a failing device does not fill itself with
 * copies. */
static unsigned next_aside(const char *path)
{
    unsigned highest = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 1;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strncmp(e->d_name, aside_prefix, sizeof aside_prefix - 1) != 0)
            continue;
        unsigned long n = strtoul(e->d_name + sizeof aside_prefix - 1, NULL, 10);
        if (n > highest && n < UINT32_MAX)
            highest = (unsigned)n;
        if (unlinkat(dirfd(dir), e->d_name, 0) == 0)
            log_info("store: removed %s/%s, set aside earlier", path, e->d_name);
    }
    closedir(dir);
    return highest + 1;
}

/* Names must survive a power cut too. */
void disk_file_sync_name(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fsync(fd) != 0)
        log_warn("store: cannot sync the directory %s: %s", path, strerror(errno));
    close(fd);
}

bool disk_file_set_aside(const char *path, const char *why)
{
    char from[DISK_MAX_PATH], to[DISK_MAX_PATH], name[64];
    snprintf(name, sizeof name, "%s%u", aside_prefix, next_aside(path));
    if (!disk_join(from, path, data_name) || !disk_join(to, path, name))
        return false;
    if (rename(from, to) == 0) {
        log_error("store: %s: %s; set aside as %s, a new store is begun", from, why, to);
    } else if (errno != ENOENT) {
        log_error("store: %s: %s; it cannot be set aside: %s", from, why, strerror(errno));
        return false;
    }
    if (disk_join(from, path, "lock.mdb"))
        unlink(from);
    disk_file_sync_name(path);
    return true;
}

/* ---- opening ---- */

static void measure(struct disk_file *f, uint64_t size_bytes)
{
    f->batch_bytes = MIN((uint64_t)DISK_BATCH_BYTES, size_bytes / 64);
    uint64_t pages = size_bytes / f->page_bytes;
    /* A commit also writes the tree pages on the way to what it changes. */
    uint64_t slack = SLACK_COMMITS * (f->batch_bytes / f->page_bytes * 3 / 2 + 64) + DISK_PURGE_PAGES;
    f->limit_pages = MAX(pages / 4, MIN(pages * LIVE_PERCENT / 100, pages - MIN(slack, pages)));
}

/* LMDB maps what its meta page claims; where the file is shorter, a read would be a SIGBUS. Zeroes are seen
 * to be wrong. */
static int cover_map(struct disk_file *f)
{
    MDB_envinfo info;
    struct stat st;
    int fd;
    int rc = mdb_env_info(f->env, &info);
    if (rc == 0)
        rc = mdb_env_get_fd(f->env, &fd);
    if (rc == 0 && fstat(fd, &st) != 0)
        rc = errno;
    uint64_t end = (info.me_last_pgno + 1) * (uint64_t)f->page_bytes;
    if (rc == 0 && (uint64_t)st.st_size < end && ftruncate(fd, (off_t)end) != 0)
        rc = errno;
    return rc;
}

/* The file is larger than it should be now. LMDB maps just what is used then, and even a deletion needs free
 * pages. */
static int allow_for_larger(struct disk_file *f, const char *path, uint64_t size_bytes)
{
    MDB_envinfo info;
    int rc = mdb_env_info(f->env, &info);
    if (rc != 0 || info.me_mapsize <= size_bytes)
        return rc;
    log_warn("store: %s/%s has %zu bytes, more than store.size %" PRIu64
             ": its content will shrink below, the file will not",
             path, data_name, info.me_mapsize, size_bytes);
    uint64_t page = f->page_bytes, more = MAX(info.me_mapsize / 8, 4 * f->batch_bytes);
    return mdb_env_set_mapsize(f->env, (info.me_mapsize + more) / page * page);
}

/* Before the other databases are made where they are missing: a file of another version may have no room for
 * them. */
static int check_version(struct disk_file *f, MDB_txn *txn, const char **why)
{
    MDB_val key = {sizeof info_key, (void *)info_key}, value;
    struct disk_info info;
    int rc = mdb_dbi_open(txn, "info", MDB_CREATE, &f->info_db);
    if (rc == 0)
        rc = mdb_get(txn, f->info_db, &key, &value);
    if (rc != 0)
        return rc == MDB_NOTFOUND ? 0 : rc;
    if (disk_info_decode((struct span){value.mv_data, value.mv_size}, &info) != ERR_NOT_FOUND)
        return 0;
    *why = "it was written by another version";
    return MDB_INVALID;
}

static int open_databases(struct disk_file *f, MDB_txn *txn)
{
    struct {
        const char *name;
        MDB_dbi *dbi;
    } all[] = {
        {"index", &f->index},
        {"meta", &f->meta},
        {"chunks", &f->chunks},
        {"loose", &f->loose},
        {"small", &f->order[QUEUE_SMALL]},
        {"main", &f->order[QUEUE_MAIN]},
        {"purges", &f->purges},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(all) && rc == 0; i++)
        rc = mdb_dbi_open(txn, all[i].name, MDB_CREATE, all[i].dbi);
    return rc;
}

static int begin_info(struct disk_file *f, MDB_txn *txn, const struct disk_info *known)
{
    char bytes[DISK_INFO_BYTES];
    f->info = (struct disk_info){.next_id = 1, .next_seq = 1};
    if (known != NULL) {
        f->info = *known; /* what memory holds of the old file keeps its meaning: same hashes, no id twice */
        f->info.queue_bytes[QUEUE_SMALL] = f->info.queue_bytes[QUEUE_MAIN] = 0;
        f->info.purge_floor = f->info.purge_number; /* the log stays with the old file; so do its objects */
        f->info.purges = f->info.purges_sum = 0;
    } else if (getrandom(&f->info.seed, sizeof f->info.seed, 0) != (ssize_t)sizeof f->info.seed) {
        return errno;
    }
    disk_info_encode(&f->info, bytes);
    MDB_val key = {sizeof info_key, (void *)info_key}, value = {sizeof bytes, bytes};
    return mdb_put(txn, f->info_db, &key, &value, 0);
}

/* Sets *why when the file is not one that we can use. */
static int read_info(struct disk_file *f, MDB_txn *txn, const struct disk_info *known, const char **why)
{
    MDB_val key = {sizeof info_key, (void *)info_key}, value;
    MDB_stat stat;
    int rc = mdb_get(txn, f->info_db, &key, &value);
    if (rc == MDB_NOTFOUND) {
        rc = mdb_stat(txn, f->meta, &stat);
        if (rc == 0 && stat.ms_entries == 0)
            return begin_info(f, txn, known);
        *why = "its description is missing";
        return rc != 0 ? rc : MDB_INVALID;
    }
    if (rc != 0)
        return rc;
    int err = disk_info_decode((struct span){value.mv_data, value.mv_size}, &f->info);
    if (err == 0 && known != NULL && known->seed != f->info.seed)
        *why = "it has taken the place of the one in use";
    else if (err == 0 && disk_purges_verify(f, txn))
        return 0;
    else
        *why = err == 0 ? "its log of purges does not verify" : "its description does not verify";
    return MDB_INVALID;
}

static int try_open(struct disk_file *f, const char *path, uint64_t size_bytes, unsigned readers,
                    const struct disk_info *known, const char **why)
{
    MDB_txn *txn;
    MDB_stat stat;
    int rc = mdb_env_create(&f->env);
    if (rc != 0)
        return rc;
    rc = mdb_env_set_maxdbs(f->env, 8);
    if (rc == 0)
        rc = mdb_env_set_maxreaders(f->env, readers + 4);
    if (rc == 0)
        rc = mdb_env_set_mapsize(f->env, size_bytes);
    if (rc == 0)
        rc = mdb_env_open(f->env, path, MDB_NOTLS | MDB_NORDAHEAD, 0640);
    if (rc == 0)
        rc = mdb_env_stat(f->env, &stat);
    if (rc != 0)
        goto close_env;
    f->page_bytes = stat.ms_psize;
    f->reserved_to = 0;
    measure(f, size_bytes);
    rc = cover_map(f);
    if (rc == 0)
        rc = allow_for_larger(f, path, size_bytes);
    if (rc == 0)
        rc = mdb_txn_begin(f->env, NULL, 0, &txn);
    if (rc != 0)
        goto close_env;
    rc = check_version(f, txn, why);
    if (rc == 0)
        rc = open_databases(f, txn);
    if (rc == 0)
        rc = read_info(f, txn, known, why);
    if (rc != 0)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (rc == 0)
        return 0;
close_env:
    mdb_env_close(f->env);
    f->env = NULL;
    return rc;
}

int disk_file_open(struct disk_file *f, const char *path, uint64_t size_bytes, unsigned readers,
                   const struct disk_info *known)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    size_bytes = (MAX(size_bytes, (uint64_t)LEAST_BYTES) - BESIDE_BYTES) / page * page;
    if (disk_crash_take(path) && !disk_file_set_aside(path, "the process died while it worked in this file"))
        return ERR_SYSTEM;

    const char *why = NULL;
    int rc = try_open(f, path, size_bytes, readers, known, &why);
    if ((disk_rc_is_damage(rc) || rc == MDB_PANIC) &&
        disk_file_set_aside(path, why != NULL ? why : mdb_strerror(rc))) {
        struct disk_info left = f->info; /* where it could be read, ids and purges are numbered on */
        rc = try_open(f, path, size_bytes, readers, known == NULL && left.seed != 0 ? &left : known, &why);
    }
    if (rc != 0) {
        log_error("store: cannot open %s/%s: %s", path, data_name, mdb_strerror(rc));
        return rc == ENOMEM ? ERR_NOMEM : ERR_SYSTEM;
    }
    return 0;
}

int disk_file_is_there(const struct disk_file *f, const char *path)
{
    char name[DISK_MAX_PATH];
    struct stat ours, there;
    int fd;
    if (mdb_env_get_fd(f->env, &fd) != 0 || !disk_join(name, path, data_name) || fstat(fd, &ours) != 0)
        return ENOENT;
    bool same = stat(name, &there) == 0 && ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
    return same ? 0 : ENOENT;
}

int disk_file_reserve(struct disk_file *f, uint64_t more)
{
    MDB_envinfo info;
    int fd, rc = mdb_env_info(f->env, &info);
    if (rc == 0)
        rc = mdb_env_get_fd(f->env, &fd);
    if (rc != 0)
        return rc;
    uint64_t end = (info.me_last_pgno + 1) * f->page_bytes;
    uint64_t least = MIN(end + more + DISK_PURGE_PAGES * f->page_bytes, info.me_mapsize);
    uint64_t to = MIN(end + more + RESERVE_BYTES, info.me_mapsize);
    if (least <= f->reserved_to || least <= end)
        return 0;
    do
        rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)(to - end)) == 0 ? 0 : errno;
    while (rc == EINTR);
    if (rc == EOPNOTSUPP) { /* then a purge may meet a full device */
        to = UINT64_MAX;
        rc = 0;
    }
    if (rc == 0)
        f->reserved_to = to;
    return rc;
}

void disk_file_close(struct disk_file *f)
{
    if (f->env != NULL)
        mdb_env_close(f->env);
    f->env = NULL;
}
