#include "shield/net/loop.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/access_log.h"

static _Thread_local struct loop *current;

struct loop *loop_current(void)
{
    return current;
}

/* ---- mailbox: a stack of posted mail, taken whole and turned round ---- */

void loop_post(struct loop *l, struct mail *m)
{
    if (l == current) {
        m->next = NULL;
        *l->own_tail = m;
        l->own_tail = &m->next;
        return;
    }
    struct mail *head = atomic_load_explicit(&l->inbox, memory_order_relaxed);
    do
        m->next = head;
    while (!atomic_compare_exchange_weak_explicit(&l->inbox, &head, m, memory_order_release,
                                                  memory_order_relaxed));
    if (head == NULL) /* whoever finds it empty wakes the loop; the others ride along */
        uv_async_send(&l->wake);
}

static void on_wake(uv_async_t *wake)
{
    struct loop *l = container_of(wake, struct loop, wake);
    struct mail *m = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire);
    struct mail *in_order = NULL;
    while (m != NULL) {
        struct mail *next = m->next;
        m->next = in_order;
        in_order = m;
        m = next;
    }
    while (in_order != NULL) {
        struct mail *next = in_order->next; /* delivery may free or post the mail again */
        in_order->deliver(in_order);
        in_order = next;
    }
}

/* ---- timers: a wheel of LOOP_WHEEL_SLOTS ticks ----
 *
 * A timer sits in the slot of its due time, or in the last one it can see. Moving a deadline later only
 * stores the new time: the wheel finds out when it gets there and links the timer again. */

void timer_init(struct loop_timer *t, void (*on_due)(struct loop_timer *t))
{
    list_init(&t->link);
    t->due_ms = t->slot_ms = 0;
    t->on_due = on_due;
}

static void link_timer(struct loop *l, struct loop_timer *t)
{
    uint64_t horizon = l->tick_ms + (uint64_t)(LOOP_WHEEL_SLOTS - 1) * LOOP_TICK_MS;
    uint64_t at = MIN(MAX(t->due_ms, l->tick_ms + 1), horizon);
    at = (at + LOOP_TICK_MS - 1) / LOOP_TICK_MS * LOOP_TICK_MS; /* never early */
    t->slot_ms = at;
    list_add_tail(&l->wheel[at / LOOP_TICK_MS % LOOP_WHEEL_SLOTS], &t->link);
}

static void on_tick(uv_timer_t *tick);

void timer_set(struct loop *l, struct loop_timer *t, uint64_t after_ms)
{
    REQUIRE(loop_is_current(l) || current == NULL);
    t->due_ms = loop_now_ms(l) + after_ms;
    if (list_linked(&t->link)) {
        if (t->slot_ms <= t->due_ms)
            return;
        list_remove(&t->link);
    } else if (l->n_timers++ == 0) {
        l->tick_ms = loop_now_ms(l) / LOOP_TICK_MS * LOOP_TICK_MS;
        uv_timer_start(&l->tick, on_tick, LOOP_TICK_MS, LOOP_TICK_MS);
    }
    link_timer(l, t);
}

void timer_stop(struct loop *l, struct loop_timer *t)
{
    if (!list_linked(&t->link))
        return;
    list_remove(&t->link);
    if (--l->n_timers == 0)
        uv_timer_stop(&l->tick);
}

static void turn_slot(struct loop *l, struct list_node *slot)
{
    struct list_node due;
    list_init(&due);
    list_splice_tail(&due, slot);
    while (!list_empty(&due)) {
        struct loop_timer *t = container_of(due.next, struct loop_timer, link);
        list_remove(&t->link);
        if (t->due_ms > l->tick_ms) {
            link_timer(l, t);
            continue;
        }
        if (--l->n_timers == 0)
            uv_timer_stop(&l->tick);
        t->on_due(t); /* last: it may free `t`, or stop others in `due` */
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct loop *l = container_of(tick, struct loop, tick);
    uint64_t now = loop_now_ms(l);
    while (l->n_timers > 0 && l->tick_ms + LOOP_TICK_MS <= now) {
        l->tick_ms += LOOP_TICK_MS;
        turn_slot(l, &l->wheel[l->tick_ms / LOOP_TICK_MS % LOOP_WHEEL_SLOTS]);
    }
}

/* ---- life ---- */

static void deliver_own(struct loop *l)
{
    while (l->own != NULL) {
        struct mail *m = l->own;
        l->own = m->next;
        if (l->own == NULL)
            l->own_tail = &l->own;
        m->deliver(m);
    }
}

static void on_before_sleep(uv_prepare_t *p)
{
    struct loop *l = container_of(p, struct loop, before_sleep);
    deliver_own(l);
    if (l->access_lines.len > 0)
        access_log_flush(&l->access_lines);
}

/* libuv keeps back one descriptor for each loop, from its first stream on. At the start: what is open at rest
 * then never grows, and whoever counts descriptors for leaks sees none. Without it streams work as well. */
static void open_reserve(struct loop *l)
{
    if (uv_tcp_init(&l->uv, &l->first_stream) == 0)
        uv_close((uv_handle_t *)&l->first_stream, NULL);
}

int loop_init(struct loop *l, unsigned id, struct config *config)
{
    *l = (struct loop){.id = id};
    l->own_tail = &l->own;
    for (int i = 0; i < LOOP_WHEEL_SLOTS; i++)
        list_init(&l->wheel[i]);
    l->read_buf = malloc(LOOP_READ_BYTES);
    l->fields = calloc(config->http_limits.max_fields, sizeof *l->fields);
    l->metrics = metrics_slot_new();
    if (l->read_buf == NULL || l->fields == NULL || l->metrics == NULL)
        goto free_buffers;
    if (uv_loop_init(&l->uv) != 0)
        goto free_buffers;
    if (uv_async_init(&l->uv, &l->wake, on_wake) != 0)
        goto close_loop;
    uv_timer_init(&l->uv, &l->tick);
    uv_prepare_init(&l->uv, &l->before_sleep);
    uv_prepare_start(&l->before_sleep, on_before_sleep);
    open_reserve(l);
    l->config = config_ref(config);
    return 0;

close_loop:
    uv_loop_close(&l->uv);
free_buffers:
    free(l->read_buf);
    free(l->fields);
    return ERR_NOMEM;
}

int loop_set_config(struct loop *l, struct config *config)
{
    struct http_field *fields = calloc(config->http_limits.max_fields, sizeof *fields);
    if (fields == NULL)
        return ERR_NOMEM;
    free(l->fields);
    l->fields = fields;
    config_unref(&l->config);
    l->config = config_ref(config);
    return 0;
}

void loop_run(struct loop *l)
{
    current = l;
    uv_run(&l->uv, UV_RUN_DEFAULT);
    current = NULL;
}

void loop_stop(struct loop *l)
{
    REQUIRE(loop_is_current(l));
    uv_stop(&l->uv);
}

void loop_fini(struct loop *l)
{
    current = l;
    on_wake(&l->wake); /* what was posted after the last turn carries references */
    deliver_own(l);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->before_sleep, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    current = NULL;
    int rc = uv_loop_close(&l->uv);
    REQUIRE(rc == 0);
    access_log_flush(&l->access_lines);
    buf_fini(&l->access_lines);
    buf_fini(&l->scratch);
    free(l->read_buf);
    free(l->fields);
    config_unref(&l->config);
}

struct buf *loop_scratch(struct loop *l)
{
    l->scratch.len = 0;
    l->scratch.failed = false;
    return &l->scratch;
}
