#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/hits/body.h"
#include "bench/hits/tier.h"
#include "common/check.h"
#include "shield/ops/config.h"
#include "shield/store/disk.h"

/* The store itself, with its writer and its file. What it evicts it tells by asking whether it may. */

enum { WAIT_US = 50, WAITING_MOST = 1 << 14 };

struct record {
    uint64_t disk_id;     /* 0 while it waits for its commit */
    atomic_bool is_there; /* the store's thread takes it away */
};

struct disk_tier {
    struct tier tier;
    struct disk *disk;
    struct config *config;
    char dir[256];
    struct object *probe;                 /* has the id of what is hit */
    struct object *waiting[WAITING_MOST]; /* for their commits; a ring, oldest first */
    uint32_t first, n_waiting;
    uint64_t waiting_bytes, lag_bytes;
    struct record records[];
};

/* On the writer's thread. */
static bool may_evict(void *ctx, uint64_t key_hash, uint64_t disk_id)
{
    struct disk_tier *d = ctx;
    (void)disk_id;
    atomic_store(&d->records[body_number(key_hash)].is_there, false);
    return true;
}

/* The oldest that waits, or all: until no more than `bytes` do. */
static void settle(struct disk_tier *d, uint64_t bytes)
{
    while (d->n_waiting > 0 && (d->waiting_bytes > bytes || d->n_waiting == WAITING_MOST)) {
        struct object *o = d->waiting[d->first];
        while (object_flags(o) & OBJECT_STORING)
            usleep(WAIT_US);
        REQUIRE(object_flags(o) & OBJECT_ON_DISK);
        d->records[body_number(object_head(o)->key_hash)].disk_id = object_disk_id(o);
        d->waiting_bytes -= object_length(o);
        d->first = (d->first + 1) % WAITING_MOST;
        d->n_waiting--;
        object_unref(&o);
    }
}

static void store(struct disk_tier *d, uint32_t number, uint64_t bytes)
{
    struct object *o = body_begin(number, bytes);
    int err = disk_fill_begin(d->disk, o);
    REQUIRE(err == 0);
    while (body_grow(o, bytes) < bytes)
        disk_fill_advance(d->disk, o);
    object_seal(o);
    disk_fill_seal(d->disk, o);
    d->waiting[(d->first + d->n_waiting++) % WAITING_MOST] = o;
    d->waiting_bytes += bytes;
}

static bool ask(struct tier *tier, uint32_t object, uint64_t bytes)
{
    struct disk_tier *d = container_of(tier, struct disk_tier, tier);
    struct record *r = &d->records[object];
    if (atomic_load(&r->is_there)) {
        object_set_disk_id(d->probe, r->disk_id);
        disk_note_hit(d->disk, d->probe);
        return true;
    }
    r->disk_id = 0;
    atomic_store(&r->is_there, true);
    store(d, object, bytes);
    settle(d, d->lag_bytes);
    return false;
}

static void remove_file(const struct disk_tier *d, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", d->dir, name);
    unlink(path);
}

static void disk_tier_free(struct tier *tier)
{
    struct disk_tier *d = container_of(tier, struct disk_tier, tier);
    settle(d, 0);
    disk_close(&d->disk);
    remove_file(d, "data.mdb");
    remove_file(d, "lock.mdb");
    remove_file(d, "shield.lock");
    rmdir(d->dir);
    object_unref(&d->probe);
    config_unref(&d->config);
    free(d);
}

struct tier *disk_tier_new(uint64_t bytes, uint32_t n_objects, const char *dir)
{
    struct disk_tier *d = calloc(1, sizeof *d + n_objects * sizeof d->records[0]);
    REQUIRE(d != NULL);
    d->tier = (struct tier){.ask = ask, .free = disk_tier_free};
    d->lag_bytes = bytes / 32; /* two commits: else the writer waits for company */
    d->probe = body_begin(0, 0);
    d->config = config_for_test();
    snprintf(d->dir, sizeof d->dir, "%s/hits-XXXXXX", dir);
    bool is_made = mkdtemp(d->dir) != NULL;
    REQUIRE(is_made);
    struct disk_options options = {.path = d->dir,
                                   .size_bytes = bytes,
                                   .queue_max_bytes = bytes,
                                   .readers = 1,
                                   .config = d->config,
                                   .may_evict = may_evict,
                                   .ctx = d};
    int err = disk_open(&d->disk, &options);
    REQUIRE(err == 0);
    return &d->tier;
}
