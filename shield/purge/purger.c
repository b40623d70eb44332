#include "shield/purge/purger.h"

#include <pthread.h>
#include <stdlib.h>

#include <xxhash.h>

#include "common/arena.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/purge/purge_resolve.h"

struct job;

/* A loop's part in the barrier. */
struct pass {
    struct mail mail;
    struct job *job;
    struct loop *loop;
};

/* One order on its way, or (without a purger's number of its own) the repetition of one. */
struct job {
    struct purger *purger;
    struct loop *here;
    void (*done)(void *ctx, const struct purge_receipt *r);
    void *ctx;
    struct purge_receipt receipt;
    struct mail answer;
    uint64_t began_us;

    struct arena arena;
    struct buf records;
    struct span reference;
    atomic_uint pending; /* who has not passed yet: the loops, the disk, and the order's own thread */
    atomic_bool is_durable;
    struct list_node repeats;   /* jobs that wait for this one; under the purger's lock */
    struct list_node link;      /* in another's */
    struct list_node under_way; /* among the purger's; under its lock */
    struct pass passes[];
};

/* A caller's name for an order that was carried out, or is being. */
struct known {
    uint64_t hash;
    struct span reference; /* allocated */
    struct purge_receipt receipt;
    struct job *job; /* NULL once it is through */
};

struct purger {
    struct purger_options opt;
    pthread_mutex_t lock; /* one order takes its number at a time; before the disk's */
    uint64_t number;
    struct list_node under_way; /* orders without a receipt */
    bool is_closed;             /* the loops have ended: see purger_close */
    struct metrics_slot *metrics;
    uint64_t records_shown;                /* of the gauge */
    struct known known[PURGER_REFERENCES]; /* a ring */
    uint32_t next_known;
};

/* ---- references, under the lock ---- */

static uint64_t hash_reference(struct span reference)
{
    return XXH3_64bits(reference.p, reference.len);
}

static struct known *find_known(struct purger *p, struct span reference)
{
    uint64_t hash = hash_reference(reference);
    for (uint32_t i = 0; i < PURGER_REFERENCES && reference.len > 0; i++)
        if (p->known[i].hash == hash && span_eq(p->known[i].reference, reference))
            return &p->known[i];
    return NULL;
}

/* In the place of the oldest; without memory it is not known, and a repetition is carried out. */
static void remember(struct purger *p, struct span reference, const struct purge_receipt *r, struct job *job)
{
    struct known *k = &p->known[p->next_known];
    char *copy = reference.len > 0 ? malloc(reference.len) : NULL;
    if (copy == NULL)
        return;
    memcpy(copy, reference.p, reference.len);
    free((char *)k->reference.p);
    *k = (struct known){
        .hash = hash_reference(reference), .reference = {copy, reference.len}, .receipt = *r, .job = job};
    p->next_known = (p->next_known + 1) % PURGER_REFERENCES;
}

/* ---- the end of an order ---- */

static void free_job(struct job *job)
{
    arena_fini(&job->arena);
    buf_fini(&job->records);
    free(job);
}

static void hand_over(struct job *job)
{
    struct purger *p = job->purger;
    pthread_mutex_lock(&p->lock);
    list_remove(&job->under_way);
    pthread_mutex_unlock(&p->lock);
    if (job->began_us != 0)
        hist_record(&job->here->metrics->hists[HIST_PURGE], clock_mono_us() - job->began_us);
    if (job->done != NULL)
        job->done(job->ctx, &job->receipt);
    free_job(job);
}

static void deliver_answer(struct mail *m)
{
    hand_over(container_of(m, struct job, answer));
}

/* Not to a loop that has ended: purger_free hands it over. */
static void answer(struct job *job)
{
    job->answer.deliver = deliver_answer;
    if (!job->purger->is_closed)
        loop_post(job->here, &job->answer);
}

static void refuse(struct job *job, int err)
{
    job->receipt = (struct purge_receipt){.err = err};
    answer(job);
}

static void repeat(struct job *job, const struct purge_receipt *first)
{
    job->receipt = *first;
    job->receipt.is_repeat = true;
    answer(job);
}

/* The last one has passed. */
static void complete(struct job *job)
{
    struct purger *p = job->purger;
    struct list_node repeats;
    list_init(&repeats);
    job->receipt.is_durable = atomic_load(&job->is_durable);
    pthread_mutex_lock(&p->lock);
    list_splice_tail(&repeats, &job->repeats);
    struct known *k = find_known(p, job->reference);
    if (k != NULL && k->job == job) {
        k->job = NULL;
        k->receipt = job->receipt;
    }
    pthread_mutex_unlock(&p->lock);
    while (!list_empty(&repeats)) {
        struct job *r = container_of(repeats.next, struct job, link);
        list_remove(&r->link);
        repeat(r, &job->receipt);
    }
    answer(job);
}

static void pass_one(struct job *job)
{
    if (atomic_fetch_sub(&job->pending, 1) == 1)
        complete(job);
}

/* ---- the barrier ---- */

/* In a turn of its own: every head that an earlier turn has written was written before the answer, every
 * later turn sees the number. */
static void deliver_pass(struct mail *m)
{
    struct pass *pass = container_of(m, struct pass, mail);
    struct purger *p = pass->job->purger;
    p->opt.pass(p->opt.ctx, pass->loop);
    pass_one(pass->job);
}

static void post_passes(struct job *job)
{
    struct purger *p = job->purger;
    for (unsigned i = 0; i < p->opt.n_loops; i++) {
        job->passes[i] = (struct pass){.mail.deliver = deliver_pass, .job = job, .loop = p->opt.loops[i]};
        loop_post(p->opt.loops[i], &job->passes[i].mail);
    }
}

/* On the writer's thread. */
static void on_durable(void *ctx, int err)
{
    struct job *job = ctx;
    atomic_store(&job->is_durable, err == 0);
    pass_one(job);
}

/* ---- the beginning ---- */

static struct purge_record *records_of(const struct job *job)
{
    return (struct purge_record *)(void *)job->records.p;
}

static size_t n_records(const struct job *job)
{
    return job->records.len / sizeof(struct purge_record);
}

static void show_records(struct purger *p)
{
    uint64_t live = purge_log_live(p->opt.log);
    metric_move(p->metrics, PURGE_RECORDS, (int64_t)(live - p->records_shown));
    p->records_shown = live;
}

/* Under the lock: the order's number, and from here on it is in force. The disk hears of it first: whatever
 * is fetched under the new number comes behind it in the writer's queue, and is never durable without it. */
static int put_in_force(struct purger *p, struct job *job)
{
    struct purge_record *records = records_of(job);
    size_t n = n_records(job);
    bool collapsed = false;
    int err = purge_log_reserve(p->opt.log, records, n);
    if (err != 0)
        return err;
    job->receipt.number = ++p->number;
    for (size_t i = 0; i < n; i++) {
        records[i].number = job->receipt.number;
        records[i].at_ms = clock_wall_ms();
    }
    atomic_store(&job->pending, p->opt.n_loops + 2);
    atomic_store(&job->is_durable, p->opt.disk == NULL);
    if (p->opt.disk == NULL || disk_purge_add(p->opt.disk, records, n, on_durable, job) != 0)
        atomic_fetch_sub(&job->pending, 1);
    err = purge_log_add(p->opt.log, records, n, &collapsed);
    ENSURE(err == 0);
    remember(p, job->reference, &job->receipt, job);
    if (collapsed)
        metric_limit(job->here->metrics, PURGE_MAX_LIVE);
    show_records(p);
    return 0;
}

static void count_items(const struct purge_order *o, struct loop *here)
{
    for (size_t i = 0; i < o->n_items; i++)
        metric_add(&here->metrics->purges[o->items[i].kind][o->is_soft], 1);
}

/* Gives true when it was taken over: carried out, or answered as a repetition. */
static bool take_repeat(struct purger *p, struct job *job)
{
    struct known *k = find_known(p, job->reference);
    if (k == NULL)
        return false;
    if (k->job != NULL)
        list_add_tail(&k->job->repeats, &job->link);
    else
        repeat(job, &k->receipt);
    return true;
}

static void carry_out(struct purger *p, struct job *job, const struct purge_order *o)
{
    pthread_mutex_lock(&p->lock);
    list_add_tail(&p->under_way, &job->under_way);
    bool repeats = take_repeat(p, job);
    int err = repeats ? 0 : put_in_force(p, job);
    pthread_mutex_unlock(&p->lock);
    if (err != 0) {
        refuse(job, err);
    } else if (!repeats) {
        count_items(o, job->here);
        post_passes(job);
        pass_one(job); /* ours: until here it could not be over */
    }
}

int purger_order(struct purger *p, struct loop *here, const struct purge_order *o,
                 void (*done)(void *ctx, const struct purge_receipt *r), void *ctx)
{
    struct purge_order mine = *o;
    struct job *job = calloc(1, sizeof *job + p->opt.n_loops * sizeof job->passes[0]);
    if (job == NULL)
        return ERR_NOMEM;
    job->purger = p;
    job->here = here;
    job->done = done;
    job->ctx = ctx;
    job->began_us = clock_mono_us();
    list_init(&job->repeats);
    list_init(&job->link);
    list_init(&job->under_way);
    mine.reference = job->reference = arena_span(&job->arena, o->reference);
    int err =
        job->reference.p == NULL ? ERR_NOMEM : purge_resolve(here->config, &mine, &job->arena, &job->records);
    if (err != 0)
        refuse(job, err);
    else
        carry_out(p, job, o);
    return 0;
}

/* ---- what the store asks: on its writer's thread ---- */

static uint64_t newest(void *ctx)
{
    struct purger *p = ctx;
    return purge_log_number(p->opt.log);
}

static enum disk_verdict judge(void *ctx, const struct stored_head_parts *head, int64_t *since_ms)
{
    struct purger *p = ctx;
    struct purge_subject s = {.key = head->key, .tags = head->tags, .number = head->purge_number};
    switch (purge_log_check(p->opt.log, &s, clock_wall_ms(), NULL, since_ms)) {
    case PURGE_HARD:
        return DISK_GONE;
    case PURGE_SOFT:
        return DISK_STALE;
    default:
        return DISK_KEEP;
    }
}

static void forget(void *ctx, uint64_t oldest)
{
    struct purger *p = ctx;
    pthread_mutex_lock(&p->lock);
    purge_log_forget(p->opt.log, oldest);
    show_records(p);
    pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

static int take_record(void *ctx, const struct purge_record *r)
{
    struct purger *p = ctx;
    struct purge_record mine = *r;
    struct purge_receipt receipt = {.number = r->number, .is_durable = true};
    bool collapsed;
    if (r->over_ms > 0 && clock_wall_ms() >= r->at_ms + (int64_t)r->over_ms) { /* it has had its time */
        mine.at_ms += (int64_t)r->over_ms;
        mine.over_ms = 0;
    }
    if (find_known(p, r->reference) == NULL)
        remember(p, r->reference, &receipt, NULL);
    int err = purge_log_add(p->opt.log, &mine, 1, &collapsed);
    if (err == ERR_BUSY) { /* more paced ones than may run: at once is not too little */
        mine.over_ms = 0;
        err = purge_log_add(p->opt.log, &mine, 1, &collapsed);
    }
    return err;
}

int purger_new(struct purger **out, const struct purger_options *options)
{
    struct purger *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->opt = *options;
    list_init(&p->under_way);
    pthread_mutex_init(&p->lock, NULL);
    p->metrics = metrics_slot_new();
    if (p->metrics == NULL) {
        purger_free(&p);
        return ERR_NOMEM;
    }
    if (p->opt.disk != NULL) {
        int err = disk_purge_load(p->opt.disk, take_record, p);
        if (err != 0) {
            purger_free(&p);
            return err;
        }
        purge_log_begin(p->opt.log, disk_purge_newest(p->opt.disk));
        show_records(p);
        struct disk_judge judges = {.newest = newest, .judge = judge, .forget = forget, .ctx = p};
        disk_set_judge(p->opt.disk, &judges);
    }
    p->number = purge_log_number(p->opt.log);
    *out = p;
    return 0;
}

void purger_close(struct purger *p)
{
    p->is_closed = true;
}

/* Where not all have passed, there is nothing to say of the order but that its process has ended. */
static void end_order(struct job *job)
{
    if (atomic_load(&job->pending) > 0 || job->receipt.number == 0)
        job->receipt = (struct purge_receipt){.err = ERR_GONE};
    hand_over(job);
}

void purger_free(struct purger **slot)
{
    struct purger *p = *slot;
    *slot = NULL;
    if (p == NULL)
        return;
    list_each_safe (n, &p->under_way)
        end_order(container_of(n, struct job, under_way));
    for (uint32_t i = 0; i < PURGER_REFERENCES; i++)
        free((char *)p->known[i].reference.p);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
