/* disk_rig - a store in a scratch directory, a loop on the test's thread, and objects whose bytes can be
 * foretold. */
#ifndef TEST_UNIT_DISK_RIG_H
#define TEST_UNIT_DISK_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/err.h"
#include "shield/policy/vary.h"
#include "shield/store/disk.h"

struct rig {
    char dir[64];
    struct config *config;
    struct loop loop;
    struct disk *disk;
    struct disk_options opt;
};

static inline void rig_init(struct rig *r)
{
    strcpy(r->dir, "/tmp/shield-disk-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    r->config = config_for_test();
    assert_int_equal(loop_init(&r->loop, 0, r->config), 0);
    r->disk = NULL;
    r->opt = (struct disk_options){.path = r->dir,
                                   .size_bytes = 64 << 20,
                                   .queue_max_bytes = 256 << 20,
                                   .readers = 2,
                                   .config = r->config};
}

static inline void rig_open(struct rig *r)
{
    assert_int_equal(disk_open(&r->disk, &r->opt), 0);
}

static inline void rig_reopen(struct rig *r)
{
    disk_close(&r->disk);
    rig_open(r);
}

static inline void rig_fini(struct rig *r)
{
    disk_close(&r->disk);
    loop_fini(&r->loop);
    config_unref(&r->config);
    DIR *dir = opendir(r->dir);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    assert_int_equal(rmdir(r->dir), 0);
}

/* Whatever the writer is at ends by itself; there is no event to wait for but its own counters. */
static inline void rig_until(bool (*done)(const void *what), const void *what)
{
    for (int i = 0; i < 60000; i++) {
        if (done(what))
            return;
        usleep(1000);
    }
    fail_msg("the store did not get there");
}

static inline bool nothing_pending(const void *unused)
{
    (void)unused;
    return metrics_total(METRIC_STORE_PENDING) == 0;
}

static inline void rig_settle(void)
{
    rig_until(nothing_pending, NULL);
}

/* ---- objects ---- */

static inline uint64_t rig_hash(const char *key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *key != '\0'; key++)
        h = (h ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
    return h;
}

/* Eight bytes of a body: differ by key, salt and place. */
static inline uint64_t rig_word(uint64_t salt, uint64_t at)
{
    uint64_t x = salt + at * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 27);
}

static inline void rig_bytes(uint64_t salt, uint64_t from, char *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t word = rig_word(salt, (from + i) / 8);
        out[i] = (char)(word >> ((from + i) % 8 * 8));
    }
}

struct thing {
    const char *key;
    uint64_t bytes;
    uint64_t version;    /* another one, another body */
    const char *names;   /* what it varies on */
    const char *value;   /* of the request field of that name */
    bool unknown_length; /* until it is sealed */
    bool not_resident;
    uint64_t purge_number;
};

static inline uint64_t salt_of(const struct thing *t)
{
    return rig_hash(t->key) + t->version * 7919;
}

static inline void request_of(const char *name, const char *value, struct http_field *field,
                              struct http_head *out)
{
    *out = (struct http_head){.method = METHOD_GET, .method_text = SPAN("GET"), .target = SPAN("/")};
    if (name == NULL || name[0] == '\0' || value == NULL)
        return;
    *field = (struct http_field){span_of(name), span_of(value), http_field_id(span_of(name))};
    out->fields = field;
    out->n_fields = out->cap_fields = 1;
    if (field->id != FIELD_OTHER)
        out->present = UINT64_C(1) << field->id;
}

static inline struct stored_head *head_of(const struct rig *r, const struct thing *t)
{
    char block[256];
    struct http_field field;
    struct http_head request;
    struct buf variant = {0};
    snprintf(block, sizeof block, "HTTP/1.1 200 OK\r\nETag: \"%s-%u\"\r\nX-Version: %u\r\n", t->key,
             (unsigned)t->version, (unsigned)t->version);
    const char *names = t->names != NULL ? t->names : "";
    request_of(names, t->value, &field, &request);
    policy_vary_key(r->config, span_of(names), &request, &variant);
    struct stored_head_parts parts = {
        .facts = {.request_ms = 1000,
                  .response_ms = 2000,
                  .lifetime_ms = 60000,
                  .swr_ms = -1,
                  .sie_ms = -1,
                  .last_modified_s = -1,
                  .flags = FACT_HAS_VALIDATOR,
                  .status = 200},
        .block = span_of(block),
        .key = span_of(t->key),
        .names = span_of(names),
        .variant = buf_span(&variant),
        .tags = SPAN("tag-hash"),
        .purge_number = t->purge_number,
        .key_hash = rig_hash(t->key),
    };
    struct stored_head *h = stored_head_new(&parts);
    assert_non_null(h);
    buf_fini(&variant);
    return h;
}

static inline struct object *object_begin(const struct rig *r, const struct thing *t)
{
    struct object *o = object_new(head_of(r, t), t->unknown_length ? LENGTH_UNKNOWN : t->bytes);
    assert_non_null(o);
    if (t->not_resident)
        object_set_resident(o, false);
    return o;
}

static inline void object_grow(struct rig *r, struct object *o, const struct thing *t, uint64_t to)
{
    static char piece[100000];
    while (object_ready(o) < to) {
        uint64_t n = MIN(sizeof piece, to - object_ready(o));
        rig_bytes(salt_of(t), object_ready(o), piece, n);
        assert_int_equal(object_append(o, piece, n), 0);
        disk_fill_advance(r->disk, o);
    }
}

/* Begin, fill and seal; the reference is the caller's. */
static inline struct object *rig_put(struct rig *r, const struct thing *t)
{
    struct object *o = object_begin(r, t);
    assert_int_equal(disk_fill_begin(r->disk, o), 0);
    object_grow(r, o, t, t->bytes);
    object_seal(o);
    disk_fill_seal(r->disk, o);
    return o;
}

static inline void rig_store(struct rig *r, const struct thing *t)
{
    struct object *o = rig_put(r, t);
    object_unref(&o);
}

/* ---- asking ---- */

static inline void got(struct disk_get *job)
{
    loop_stop(job->loop);
}

static inline struct object *rig_get_as(struct rig *r, const char *key, const char *name, const char *value,
                                        int *err)
{
    struct http_field field;
    struct http_head request;
    request_of(name, value, &field, &request);
    struct disk_get job = {.loop = &r->loop,
                           .key = span_of(key),
                           .key_hash = rig_hash(key),
                           .request = &request,
                           .on_done = got};
    disk_get(r->disk, &job);
    loop_run(&r->loop);
    *err = job.err;
    buf_fini(&job.names);
    assert_true((job.err == 0) == (job.object != NULL));
    return job.object;
}

static inline struct object *rig_get(struct rig *r, const char *key, int *err)
{
    return rig_get_as(r, key, NULL, NULL, err);
}

static inline void loaded(struct disk_load *job)
{
    loop_stop(job->loop);
}

static inline int rig_load(struct rig *r, struct object *o, uint32_t index, struct chunk **out)
{
    struct disk_load job = {.loop = &r->loop, .object = o, .index = index, .on_done = loaded};
    disk_load(r->disk, &job);
    loop_run(&r->loop);
    *out = job.chunk;
    return job.err;
}

/* Every byte, loading what is on disk only. Gives an error of a load, else 0. */
static inline int rig_check(struct rig *r, struct object *o, const struct thing *t, uint64_t upto)
{
    static char want[CHUNK_LARGE];
    uint64_t at = 0;
    while (at < upto) {
        struct span got_bytes;
        struct chunk *hold = NULL;
        int err = object_read(o, at, &got_bytes, &hold);
        if (err == ERR_NOT_FOUND) {
            struct chunk *c;
            err = rig_load(r, o, (uint32_t)(at / object_chunk_bytes(o)), &c);
            chunk_unref(&c);
            if (err != 0)
                return err;
            continue;
        }
        assert_int_equal(err, 0);
        size_t n = MIN(got_bytes.len, upto - at);
        rig_bytes(salt_of(t), at, want, n);
        assert_memory_equal(got_bytes.p, want, n);
        chunk_unref(&hold);
        at += n;
    }
    return 0;
}

static inline void rig_expect(struct rig *r, const struct thing *t)
{
    int err;
    struct object *o = rig_get_as(r, t->key, t->names, t->value, &err);
    assert_int_equal(err, 0);
    assert_int_equal(object_length(o), t->bytes);
    assert_int_equal(object_flags(o), OBJECT_ON_DISK);
    struct stored_head *want = head_of(r, t);
    assert_true(span_eq(object_head(o)->block, want->block));
    assert_true(span_eq(object_head(o)->key, want->key));
    assert_true(span_eq(object_head(o)->names, want->names));
    assert_true(span_eq(object_head(o)->variant, want->variant));
    assert_true(span_eq(object_head(o)->tags, want->tags));
    assert_memory_equal(&object_head(o)->facts, &want->facts, sizeof want->facts);
    assert_int_equal(object_head(o)->key_hash, want->key_hash);
    stored_head_unref(&want);
    assert_int_equal(rig_check(r, o, t, t->bytes), 0);
    object_unref(&o);
}

static inline void rig_expect_miss(struct rig *r, const char *key)
{
    int err;
    struct object *o = rig_get(r, key, &err);
    assert_null(o);
    assert_true(err == ERR_NOT_FOUND || err == ERR_CORRUPT);
}

/* ---- the file ---- */

static inline const char *rig_path(const struct rig *r, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return path;
}

static inline bool rig_has_file(const struct rig *r, const char *name)
{
    return access(rig_path(r, name), F_OK) == 0;
}

/* Change bytes of the closed file: `change` is called for each place where `what` stands. Gives their number.
 */
static inline int rig_change(struct rig *r, const void *what, size_t n, void (*change)(char *at, void *ctx),
                             void *ctx)
{
    int found = 0, fd = open(rig_path(r, "data.mdb"), O_RDWR);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *all = malloc((size_t)st.st_size);
    assert_non_null(all);
    assert_int_equal(pread(fd, all, (size_t)st.st_size, 0), st.st_size);
    for (char *at = all; (at = memmem(at, (size_t)(all + st.st_size - at), what, n)) != NULL; at++, found++)
        change(at, ctx);
    assert_int_equal(pwrite(fd, all, (size_t)st.st_size, 0), st.st_size);
    free(all);
    close(fd);
    return found;
}

static inline void flip_bit(char *at, void *ctx)
{
    (void)ctx;
    *at ^= 4;
}

/* A child with a store of its own that ends as if by SIGKILL: gives its exit code. */
static inline int rig_in_child(struct rig *r, int (*run)(struct rig *r))
{
    assert_null(r->disk);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(run(r));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

#endif
