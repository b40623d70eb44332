#include "shield/store/disk_impl.h"

#include "common/check.h"
#include "common/clock.h"
#include "shield/policy/facts.h"

/* How old purges are forgotten: the `floor` of the file is the number up to which no object in it is subject
 * to a purge. A pass walks over all objects, by id, and holds each against the log; what is purged goes, what
 * is softly purged becomes stale by its own record. Behind the last one, the floor rises to what was the
 * newest number when the pass began, and records up to there go from the file and from memory.
 *
 * No record has to be rewritten for that, as would be needed if each object carried the number that it was
 * last held against; nor is a count of the objects of each number kept, which one lost record would leave
 * wrong for good. What was fetched before a floor that has risen meanwhile is not stored (disk_commit.c), and
 * a pass leaves the floor below what is being stored while it runs. */

enum {
    STEP_US = 5000, /* of the writer's time, */
    STEP_ACTS = 64, /* and so many objects changed: a commit is no larger */
    PAUSE_MS = 20,  /* between two steps */
    LOOK_LEAST_MS = 100,
    LOOK_MOST_MS = 60000,
    FORGET_MOST = 1000, /* records per commit */
    REST_FACTOR = 9,    /* after a pass, for so many times as long as it took */
};

static void copy_judge(struct disk *d, struct disk_judge *out)
{
    pthread_mutex_lock(&d->lock);
    *out = d->judge;
    pthread_mutex_unlock(&d->lock);
}

void disk_set_judge(struct disk *d, const struct disk_judge *judge)
{
    pthread_mutex_lock(&d->lock);
    d->judge = *judge;
    atomic_store(&d->has_judge, true);
    d->purges_due = true; /* the writer plans anew */
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

/* ---- records that nothing can match ---- */

static int first_record(struct disk_txn *t, MDB_cursor *c, MDB_cursor_op op, struct purge_record *r,
                        uint64_t *sum)
{
    MDB_val key, value;
    int rc = mdb_cursor_get(c, &key, &value, op);
    if (rc != 0)
        return rc;
    return disk_purge_decode((struct span){value.mv_data, value.mv_size},
                             (struct span){key.mv_data, key.mv_size}, t->info.seed, r, sum) == 0
               ? 0
               : MDB_CORRUPTED;
}

static int forget_records(struct disk_txn *t, uint32_t *forgotten)
{
    struct purge_record r;
    uint64_t sum;
    MDB_cursor *c;
    int rc = mdb_cursor_open(t->txn, t->d->file.purges, &c);
    if (rc != 0)
        return rc;
    while (*forgotten < FORGET_MOST && (rc = first_record(t, c, MDB_FIRST, &r, &sum)) == 0 &&
           r.number <= t->info.purge_floor) {
        rc = mdb_cursor_del(c, 0);
        if (rc != 0)
            break;
        t->info.purges--;
        t->info.purges_sum ^= sum;
        ++*forgotten;
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The highest number up to which all records have been there for long enough and judge the same from now on:
 * what is paced has come to its end. */
static int old_enough(struct disk_txn *t, int64_t now_ms, uint64_t *number)
{
    struct purge_record r;
    uint64_t sum, seen = 0,
                  skip = t->info.purges > DISK_PURGES_MANY ? t->info.purges - DISK_PURGES_MANY / 2 : 0;
    int64_t keep_ms = (int64_t)MIN(t->d->opt.keep_purges_ms, (uint64_t)INT64_MAX / 2);
    MDB_cursor *c;
    int rc = mdb_cursor_open(t->txn, t->d->file.purges, &c);
    if (rc != 0)
        return rc;
    *number = 0;
    while ((rc = first_record(t, c, seen == 0 ? MDB_FIRST : MDB_NEXT, &r, &sum)) == 0) {
        bool is_old = r.at_ms <= now_ms - keep_ms || seen < skip;
        bool is_paced = r.over_ms > 0 && (r.over_ms > INT64_MAX / 2 || r.at_ms > now_ms - (int64_t)r.over_ms);
        if (!is_old || is_paced) {
            *number = MIN(*number, r.number - 1); /* some of its order were old enough */
            break;
        }
        *number = r.number;
        seen++;
    }
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- one object ---- */

static enum disk_verdict verdict_of(const struct disk_judge *judge, struct disk_meta *m, uint64_t floor,
                                    int64_t *since_ms)
{
    m->head.purge_number = MAX(m->head.purge_number, floor);
    enum disk_verdict v = judge->judge(judge->ctx, &m->head, since_ms);
    if (v == DISK_STALE && m->head.facts.lifetime_ms <= facts_age_ms(&m->head.facts, *since_ms))
        return DISK_KEEP; /* it is, by its own record */
    return v;
}

static int act(struct disk_txn *t, const struct disk_judge *judge, uint64_t id)
{
    struct disk_meta m;
    int64_t since_ms = 0;
    int rc = disk_get_meta(t, id, &m);
    if (rc != 0)
        return rc;
    uint64_t number = m.head.purge_number;
    switch (verdict_of(judge, &m, t->info.purge_floor, &since_ms)) {
    case DISK_KEEP:
        return 0;
    case DISK_STALE:
        m.head.purge_number = number;
        m.head.facts.lifetime_ms = facts_age_ms(&m.head.facts, since_ms);
        return disk_put_changed_meta(t, &m);
    case DISK_GONE:
        return disk_release_object(t, id);
    }
    return 0;
}

/* ---- a pass ---- */

struct found {
    uint64_t ids[STEP_ACTS];
    uint32_t n;
    bool at_end;
};

/* Objects from sweep.next_id on that have to be changed, for as long as a step may take. */
static int look_on(struct disk_txn *t, const struct disk_judge *judge, struct found *out)
{
    char id_key[DISK_ID_KEY_BYTES];
    struct disk_sweep *s = &t->d->sweep;
    struct disk_meta m;
    int64_t since_ms;
    MDB_cursor *c;
    uint64_t until_us = clock_mono_us() + STEP_US;
    disk_id_key(s->next_id, id_key);
    MDB_val key = {sizeof id_key, id_key}, value;
    int rc = mdb_cursor_open(t->txn, t->d->file.meta, &c);
    if (rc != 0)
        return rc;
    rc = mdb_cursor_get(c, &key, &value, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) {
        uint64_t id = key.mv_size == DISK_ID_KEY_BYTES ? disk_id_of_key(key.mv_data) : 0;
        if (out->n == STEP_ACTS || clock_mono_us() > until_us)
            break;
        s->next_id = id + 1;
        struct span record = {value.mv_data, value.mv_size};
        if (disk_meta_decode(record, t->info.seed, id, &m) == 0 && m.head.purge_number < s->upto &&
            verdict_of(judge, &m, t->info.purge_floor, &since_ms) != DISK_KEEP)
            out->ids[out->n++] = id;
    }
    mdb_cursor_close(c);
    out->at_end = rc == MDB_NOTFOUND;
    return out->at_end ? 0 : rc;
}

/* The floor stays below all that is on its way into the file. */
static uint64_t lowest_number(struct disk *d)
{
    uint64_t lowest = MIN(d->sweep.upto, d->sweep.lowest_stored);
    pthread_mutex_lock(&d->lock);
    list_each (n, &d->fills)
        lowest = MIN(lowest, object_head(container_of(n, struct disk_fill, all)->object)->purge_number);
    pthread_mutex_unlock(&d->lock);
    return lowest;
}

static int step(struct disk_txn *t, const struct disk_judge *judge, bool *changed)
{
    struct disk_sweep *s = &t->d->sweep;
    struct found found = {.n = 0};
    int rc = look_on(t, judge, &found);
    for (uint32_t i = 0; i < found.n && rc == 0; i++)
        rc = act(t, judge, found.ids[i]);
    if (rc != 0)
        return rc;
    *changed = found.n > 0;
    if (!found.at_end)
        return 0;
    s->is_running = false;
    uint64_t floor = lowest_number(t->d);
    if (floor > t->info.purge_floor) {
        t->info.purge_floor = floor;
        *changed = true;
    }
    return 0;
}

/* Whether there is something to forget: then the pass begins. */
static int begin(struct disk_txn *t, const struct disk_judge *judge)
{
    uint64_t number;
    int rc = old_enough(t, clock_wall_ms(), &number);
    if (rc != 0)
        return rc;
    number = MIN(number, judge->newest(judge->ctx));
    if (number > t->info.purge_floor)
        t->d->sweep = (struct disk_sweep){
            .is_running = true, .upto = number, .lowest_stored = UINT64_MAX, .begun_ms = clock_mono_ms()};
    return 0;
}

static int work(struct disk_txn *t, const struct disk_judge *judge, bool *changed, uint32_t *forgotten)
{
    int rc = forget_records(t, forgotten);
    if (rc == 0 && !t->d->sweep.is_running && *forgotten == 0)
        rc = begin(t, judge);
    if (rc == 0 && t->d->sweep.is_running)
        rc = step(t, judge, changed);
    return rc;
}

static void plan(struct disk *d, bool worked, bool was_running)
{
    struct disk_sweep *s = &d->sweep;
    uint64_t now = clock_mono_ms();
    uint64_t look = MIN(MAX(d->opt.keep_purges_ms / 10, (uint64_t)LOOK_LEAST_MS), (uint64_t)LOOK_MOST_MS);
    if (worked || s->is_running)
        s->look_at_ms = now + PAUSE_MS;
    else
        s->look_at_ms = now + look;
    if (was_running && !s->is_running)
        s->rest_until_ms = now + (now - s->begun_ms) * REST_FACTOR;
    if (!s->is_running && !worked)
        s->look_at_ms = MAX(s->look_at_ms, s->rest_until_ms);
}

uint64_t disk_sweep_at(const struct disk *d)
{
    return d->file.info.purges > 0 && atomic_load(&d->has_judge) ? d->sweep.look_at_ms : UINT64_MAX;
}

int disk_sweep(struct disk *d)
{
    struct disk_judge judge;
    struct disk_txn t;
    bool changed = false;
    uint32_t forgotten = 0;
    if (clock_mono_ms() < disk_sweep_at(d))
        return 0;
    copy_judge(d, &judge);
    bool was_running = d->sweep.is_running;
    uint64_t floor = d->file.info.purge_floor;
    int rc = disk_txn_begin(&t, d);
    if (rc == 0)
        rc = work(&t, &judge, &changed, &forgotten);
    if (rc != 0 || !(changed || forgotten > 0))
        disk_txn_abort(&t);
    else
        rc = disk_txn_commit(&t);
    if (rc != 0)
        d->sweep = (struct disk_sweep){.is_running = false};
    if (rc == MDB_MAP_FULL)
        rc = disk_evict_only(d, DISK_PURGE_PAGES);
    plan(d, changed || forgotten > 0, was_running);
    if (d->file.info.purge_floor > floor)
        judge.forget(judge.ctx, d->file.info.purge_floor);
    return rc;
}
