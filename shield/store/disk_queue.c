#include "shield/store/disk_impl.h"

#include "common/check.h"
#include "common/clock.h"

void disk_queue_add(struct disk *d, struct disk_op *op, uint64_t charge)
{
    bool was_empty = list_empty(&d->queue);
    bool was_due = d->waiting_bytes >= d->batch_bytes;
    if (!list_linked(&op->link))
        list_add_tail(&d->queue, &op->link);
    op->charge += charge;
    d->waiting_bytes += charge;
    atomic_fetch_add_explicit(&d->queued_bytes, charge, memory_order_relaxed);
    if (was_empty)
        d->waiting_since_ms = clock_mono_ms();
    if (was_empty || (!was_due && d->waiting_bytes >= d->batch_bytes)) /* else the writer wakes up in time */
        pthread_cond_signal(&d->wake);
}

void disk_queue_remove(struct disk *d, struct disk_op *op)
{
    list_remove(&op->link);
    d->waiting_bytes -= op->charge;
    atomic_fetch_sub_explicit(&d->queued_bytes, op->charge, memory_order_relaxed);
    op->charge = 0;
}

/* ---- the writer's side ---- */

static void sleep_until(struct disk *d, uint64_t at_ms)
{
    if (at_ms == UINT64_MAX) {
        pthread_cond_wait(&d->wake, &d->lock);
        return;
    }
    struct timespec at = {.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000) * 1000000};
    pthread_cond_timedwait(&d->wake, &d->lock, &at);
}

/* What to do now; else false, and when to look again. */
static bool next_work(struct disk *d, uint64_t background_at_ms, enum disk_work *work, uint64_t *look_at_ms)
{
    uint64_t now = clock_mono_ms();
    *look_at_ms = background_at_ms;
    if (d->is_damaged) {
        d->is_damaged = false;
        *work = WORK_REPAIR;
        return true;
    }
    if (d->purges_due) {
        *work = WORK_PURGES;
        return true;
    }
    if (now >= background_at_ms && !d->closing) {
        *work = WORK_BACKGROUND;
        return true;
    }
    if (list_empty(&d->queue)) {
        *work = WORK_END;
        return d->closing;
    }
    uint64_t due = d->waiting_since_ms + DISK_BATCH_MS;
    *look_at_ms = MIN(background_at_ms, due);
    *work = WORK_BATCH;
    return d->closing || now >= due || d->waiting_bytes >= d->batch_bytes;
}

/* As many chunks of the fill as the batch has room for, at least one; false when some remain. */
static bool take_fill(struct disk *d, struct batch *b, struct batch_item *item, struct disk_fill *f)
{
    uint64_t chunk_bytes = object_chunk_bytes(f->object);
    uint64_t room = d->batch_bytes > b->charge ? d->batch_bytes - b->charge : 0;
    uint32_t most = (uint32_t)MAX(room / chunk_bytes, 1u);
    bool whole = f->ready - f->taken <= most || f->aborted || atomic_load(&f->shed);
    item->from = f->taken;
    item->to = whole ? f->ready : f->taken + most;
    item->is_last = whole && (f->sealed || f->aborted);
    if (!whole)
        item->charge = most * chunk_bytes;
    f->taken = item->to;
    return whole;
}

static void take(struct disk *d, struct batch *b)
{
    bool whole = true; /* a fill that was cut ends the batch: none comes twice in one */
    b->n = 0;
    b->charge = 0;
    while (whole && !list_empty(&d->queue) && b->n < DISK_BATCH_ITEMS &&
           (b->n == 0 || b->charge < d->batch_bytes)) {
        struct disk_op *op = container_of(d->queue.next, struct disk_op, link);
        struct batch_item *item = &b->items[b->n++];
        *item = (struct batch_item){.op = op, .charge = op->charge};
        if (op->kind == OP_FILL)
            whole = take_fill(d, b, item, disk_fill_of(op));
        REQUIRE(item->charge <= op->charge);
        op->charge -= item->charge;
        d->waiting_bytes -= item->charge;
        b->charge += item->charge;
        if (whole)
            list_remove(&op->link);
    }
}

enum disk_work disk_queue_wait(struct disk *d, struct batch *b, uint64_t background_at_ms)
{
    enum disk_work work;
    uint64_t look_at_ms;
    pthread_mutex_lock(&d->lock);
    while (!next_work(d, background_at_ms, &work, &look_at_ms))
        sleep_until(d, look_at_ms);
    if (work == WORK_BATCH)
        take(d, b);
    pthread_mutex_unlock(&d->lock);
    return work;
}

void disk_queue_settle(struct disk *d, struct batch *b)
{
    atomic_fetch_sub_explicit(&d->queued_bytes, b->charge, memory_order_relaxed);
    b->n = 0;
    b->charge = 0;
}
