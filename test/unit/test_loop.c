#include "shield/net/loop.h"

#include "test/unit/alloc_fail.h"
#include "test/unit/loops_rig.h"

#include <limits.h>
#include <sys/syscall.h>

/* Time may be put forward: every clock of the process is read here. */
static _Atomic int64_t forward_ns;

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ts);
    int64_t ns = ts->tv_nsec + atomic_load(&forward_ns);
    ts->tv_sec += ns / 1000000000;
    ts->tv_nsec = ns % 1000000000;
    return rc;
}

static void put_forward(uint64_t ms)
{
    atomic_fetch_add(&forward_ns, (int64_t)ms * 1000000);
}

struct world {
    struct config *config;
    struct loop loop; /* on the test's own thread */
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->config = config_for_test();
    assert_int_equal(loop_init(&w->loop, 0, w->config), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    loop_fini(&w->loop);
    config_unref(&w->config);
    free(w);
    return 0;
}

/* ---- mail ---- */

struct letter {
    struct mail mail;
    struct loop *loop;
    unsigned from, number;
};

static unsigned delivered, expected, next_number[8];
static bool posting;

static void deliver_letter(struct mail *m)
{
    struct letter *t = container_of(m, struct letter, mail);
    assert_true(loop_is_current(t->loop));
    assert_false(posting);
    assert_int_equal(t->number, next_number[t->from]++);
    if (++delivered == expected)
        loop_stop(t->loop);
}

static void start_counting(unsigned n)
{
    delivered = 0;
    expected = n;
    memset(next_number, 0, sizeof next_number);
}

enum { SENDERS = 4, LETTERS = 5000 };

struct sender {
    pthread_t thread;
    struct letter *letters;
};

static void *send_all(void *ctx)
{
    struct sender *s = ctx;
    for (int i = 0; i < LETTERS; i++)
        loop_post(s->letters[i].loop, &s->letters[i].mail);
    return NULL;
}

static void mail_of_many_threads_comes_in_order(void **state)
{
    struct world *w = *state;
    struct sender senders[SENDERS];
    start_counting(SENDERS * LETTERS);
    for (unsigned s = 0; s < SENDERS; s++) {
        senders[s].letters = calloc(LETTERS, sizeof(struct letter));
        assert_non_null(senders[s].letters);
        for (unsigned i = 0; i < LETTERS; i++)
            senders[s].letters[i] =
                (struct letter){.mail.deliver = deliver_letter, .loop = &w->loop, .from = s, .number = i};
        assert_int_equal(pthread_create(&senders[s].thread, NULL, send_all, &senders[s]), 0);
    }
    loop_run(&w->loop);
    for (unsigned s = 0; s < SENDERS; s++) {
        pthread_join(senders[s].thread, NULL);
        free(senders[s].letters);
        assert_int_equal(next_number[s], LETTERS);
    }
}

/* Own mail, posted from a turn, in order and without a wake-up. */
struct own_mail {
    struct letter letters[100];
    struct letter first;
    unsigned posted;
};

static void deliver_first(struct mail *m)
{
    struct own_mail *own = container_of(m, struct own_mail, first.mail);
    struct loop *l = own->first.loop;
    posting = true;
    for (unsigned i = 0; i < ARRAY_LEN(own->letters); i++) {
        own->letters[i] = (struct letter){.mail.deliver = deliver_letter, .loop = l, .number = i};
        loop_post(l, &own->letters[i].mail);
        assert_null(atomic_load(&l->inbox)); /* it did not go through the door that wakes */
    }
    posting = false;
}

static void own_mail_needs_no_wake_up(void **state)
{
    struct world *w = *state;
    struct own_mail own = {.first = {.mail.deliver = deliver_first, .loop = &w->loop}};
    start_counting(ARRAY_LEN(own.letters));
    loop_post(&w->loop, &own.first.mail);
    loop_run(&w->loop);
    assert_int_equal(delivered, ARRAY_LEN(own.letters));
}

struct bouncing {
    struct mail mail;
    struct loop *loop;
    int left;
};

static void bounce(struct mail *m)
{
    struct bouncing *b = container_of(m, struct bouncing, mail);
    if (b->left-- == 0)
        loop_stop(b->loop);
    else
        loop_post(b->loop, &b->mail);
}

static void mail_may_be_posted_again_from_its_delivery(void **state)
{
    struct world *w = *state;
    struct bouncing b = {.mail.deliver = bounce, .loop = &w->loop, .left = 1000};
    loop_post(&w->loop, &b.mail);
    loop_run(&w->loop);
    assert_int_equal(b.left, -1);
}

static void mail_after_the_last_turn_is_not_lost(void **state)
{
    struct world *w = *state;
    struct loop late;
    struct letter letters[3];
    start_counting(UINT_MAX); /* nobody stops a loop that has ended */
    assert_int_equal(loop_init(&late, 1, w->config), 0);
    for (unsigned i = 0; i < ARRAY_LEN(letters); i++) {
        letters[i] = (struct letter){.mail.deliver = deliver_letter, .loop = &late, .number = i};
        loop_post(&late, &letters[i].mail);
    }
    loop_fini(&late);
    assert_int_equal(delivered, 3);
}

/* Two loops that throw mails at each other. */
struct ball {
    struct mail mail;
    struct loop *to, *from;
    int left;
    bool *is_home;
};

static void hit_ball(struct mail *m)
{
    struct ball *b = container_of(m, struct ball, mail);
    REQUIRE(loop_is_current(b->to));
    if (b->left-- == 0) {
        TELL(*b->is_home = true);
        return;
    }
    struct loop *back = b->from;
    b->from = b->to;
    b->to = back;
    loop_post(b->to, &b->mail);
}

static void loops_write_to_each_other(void **state)
{
    static const struct config_override settings[] = {{"origin", "http://127.0.0.1:1"}, {NULL, NULL}};
    struct loops_rig r;
    bool is_home[16] = {false};
    struct ball balls[16];
    rig_start(&r, 2, settings);
    for (unsigned i = 0; i < 16; i++) {
        balls[i] = (struct ball){.mail.deliver = hit_ball,
                                 .to = r.loops[i % 2],
                                 .from = r.loops[1 - i % 2],
                                 .left = 500,
                                 .is_home = &is_home[i]};
        loop_post(balls[i].to, &balls[i].mail);
    }
    for (unsigned i = 0; i < 16; i++)
        AWAIT(is_home[i]);
    rig_stop(&r);
}

/* ---- timers ---- */

struct alarm {
    struct loop_timer timer;
    struct loop *loop;
    uint64_t due_ms; /* as the test wants it */
    int rings;
    bool was_moved;
    struct alarm *victim;
};

static int alarms_left;

static void ring(struct loop_timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    struct loop *l = a->loop;
    assert_true(loop_now_ms(l) >= a->due_ms); /* never early */
    if (!a->was_moved) /* and in the first slot behind its time: the wheel passes every slot, however late */
        assert_true(l->tick_ms < a->due_ms + 2 * LOOP_TICK_MS);
    a->rings++;
    if (a->victim != NULL) {
        timer_stop(l, &a->victim->timer);
        timer_stop(l, &a->victim->timer); /* twice is once */
    }
    if (--alarms_left == 0)
        loop_stop(l);
}

static void set_alarm(struct alarm *a, struct loop *l, uint64_t after_ms)
{
    a->loop = l;
    a->due_ms = loop_now_ms(l) + after_ms;
    timer_set(l, &a->timer, after_ms);
}

static void timers_are_never_early(void **state)
{
    static const uint64_t after_ms[] = {0, 1, 2, 19, 20, 21, 39, 40, 41, 59, 60, 61, 100, 133};
    struct world *w = *state;
    struct alarm alarms[ARRAY_LEN(after_ms)] = {0};
    alarms_left = ARRAY_LEN(after_ms);
    for (size_t i = 0; i < ARRAY_LEN(after_ms); i++) {
        timer_init(&alarms[i].timer, ring);
        set_alarm(&alarms[i], &w->loop, after_ms[i]);
    }
    loop_run(&w->loop);
    for (size_t i = 0; i < ARRAY_LEN(after_ms); i++)
        assert_int_equal(alarms[i].rings, 1);
    assert_int_equal(w->loop.n_timers, 0);
}

/* Time jumps by more than the wheel holds: those behind the horizon are found again where they belong. */
static void jump(struct loop_timer *t)
{
    put_forward(3 * LOOP_WHEEL_SLOTS * LOOP_TICK_MS);
    ring(t);
}

static void timers_behind_the_horizon(void **state)
{
    static const uint64_t horizon = (uint64_t)LOOP_WHEEL_SLOTS * LOOP_TICK_MS;
    const uint64_t after_ms[] = {20,          horizon - 40,  horizon - 20, horizon - 1,     horizon,
                                 horizon + 1, horizon + 500, 2 * horizon,  2 * horizon + 30};
    struct world *w = *state;
    struct alarm alarms[ARRAY_LEN(after_ms)] = {0};
    alarms_left = ARRAY_LEN(after_ms);
    for (size_t i = 0; i < ARRAY_LEN(after_ms); i++) {
        timer_init(&alarms[i].timer, i == 0 ? jump : ring);
        set_alarm(&alarms[i], &w->loop, after_ms[i]);
    }
    loop_run(&w->loop);
    for (size_t i = 0; i < ARRAY_LEN(after_ms); i++)
        assert_int_equal(alarms[i].rings, 1);
}

static void moving_later_is_lazy_and_earlier_is_not(void **state)
{
    struct world *w = *state;
    struct alarm later = {0}, earlier = {0};
    timer_init(&later.timer, ring);
    timer_init(&earlier.timer, ring);
    alarms_left = 2;
    set_alarm(&later, &w->loop, 40);
    uint64_t slot_ms = later.timer.slot_ms;
    struct list_node *neighbour = later.timer.link.next;
    set_alarm(&later, &w->loop, 200);
    assert_int_equal(later.timer.slot_ms, slot_ms); /* costs a store, not a move */
    assert_ptr_equal(later.timer.link.next, neighbour);
    set_alarm(&earlier, &w->loop, 5000);
    set_alarm(&earlier, &w->loop, 60);
    assert_int_equal(w->loop.n_timers, 2);
    loop_run(&w->loop);
    assert_int_equal(later.rings, 1);
    assert_int_equal(earlier.rings, 1);
}

static void a_callback_stops_its_neighbour(void **state)
{
    struct world *w = *state;
    struct alarm a = {0}, b = {0}, end = {0};
    timer_init(&a.timer, ring);
    timer_init(&b.timer, ring);
    timer_init(&end.timer, ring);
    a.victim = &b;
    b.victim = &a;
    alarms_left = 2; /* one of the two, and the end */
    set_alarm(&a, &w->loop, 30);
    set_alarm(&b, &w->loop, 30);
    set_alarm(&end, &w->loop, 90);
    loop_run(&w->loop);
    assert_int_equal(a.rings + b.rings, 1);
    assert_int_equal(end.rings, 1);
    assert_int_equal(w->loop.n_timers, 0);
}

/* In the callback: set again, free itself, set a neighbour of the same slot to a later time. */
static struct alarm *neighbour_to_move;

static void ring_again(struct loop_timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    assert_true(loop_now_ms(a->loop) >= a->due_ms);
    if (++a->rings < 5) {
        set_alarm(a, a->loop, 20);
        return;
    }
    loop_stop(a->loop);
}

static void free_yourself(struct loop_timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    if (neighbour_to_move != NULL) {
        neighbour_to_move->was_moved = true;
        set_alarm(neighbour_to_move, a->loop, 60);
    }
    free(a);
}

static void callbacks_may_do_anything(void **state)
{
    struct world *w = *state;
    struct alarm again = {0}, moved = {0};
    struct alarm *gone = calloc(1, sizeof *gone);
    assert_non_null(gone);
    timer_init(&again.timer, ring_again);
    timer_init(&moved.timer, ring);
    timer_init(&gone->timer, free_yourself);
    neighbour_to_move = &moved;
    alarms_left = 2; /* `again` stops the loop */
    set_alarm(gone, &w->loop, 40);
    set_alarm(&moved, &w->loop, 40);
    set_alarm(&again, &w->loop, 40);
    loop_run(&w->loop);
    assert_int_equal(again.rings, 5);
    assert_int_equal(moved.rings, 1);
}

/* Thousands of them, set, moved and stopped by chance, while time jumps. */
enum { MANY = 20000 };

static uint64_t chance(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (*seed >> 33) % below;
}

static void ring_and_jump(struct loop_timer *t)
{
    struct alarm *a = container_of(t, struct alarm, timer);
    ring(t);
    if (a->due_ms % 64 == 0)
        put_forward(7);
}

static void many_timers(void **state)
{
    struct world *w = *state;
    uint64_t seed = 4711;
    struct alarm *alarms = calloc(MANY, sizeof *alarms);
    bool *stopped = calloc(MANY, sizeof *stopped);
    assert_non_null(alarms);
    assert_non_null(stopped);
    alarms_left = MANY;
    for (int i = 0; i < MANY; i++) {
        timer_init(&alarms[i].timer, ring_and_jump);
        set_alarm(&alarms[i], &w->loop, chance(&seed, 3000));
    }
    for (int i = 0; i < MANY; i++) {
        switch (chance(&seed, 4)) {
        case 0:
            stopped[i] = true;
            timer_stop(&w->loop, &alarms[i].timer);
            alarms_left--;
            break;
        case 1:
            alarms[i].was_moved = true;
            set_alarm(&alarms[i], &w->loop, chance(&seed, 3000));
            break;
        }
    }
    assert_int_equal(w->loop.n_timers, alarms_left);
    loop_run(&w->loop);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(alarms[i].rings, stopped[i] ? 0 : 1);
    assert_int_equal(w->loop.n_timers, 0);
    free(alarms);
    free(stopped);
}

/* ---- the rest ---- */

static void another_configuration(void **state)
{
    struct world *w = *state;
    struct config_override few[] = {
        {"origin", "http://127.0.0.1:1"}, {"client.max_fields", "3"}, {NULL, NULL}};
    struct config *next = rig_config(few);
    assert_int_equal(loop_set_config(&w->loop, next), 0);
    assert_ptr_equal(w->loop.config, next);
    config_unref(&next);
    w->loop.fields[2].id = FIELD_AGE; /* the sanitizer sees whether there is room */
}

static void scratch_is_empty_each_time(void **state)
{
    struct world *w = *state;
    struct buf *b = loop_scratch(&w->loop);
    buf_put_lit(b, "left over");
    assert_false(buf_reserve(b, SIZE_MAX));
    b = loop_scratch(&w->loop);
    assert_int_equal(b->len, 0);
    assert_false(b->failed);
}

static void make_loop(void *ctx)
{
    struct config *config = ctx;
    struct loop l;
    int err = loop_init(&l, 0, config);
    if (err == 0)
        loop_fini(&l);
    else
        assert_int_equal(err, ERR_NOMEM);
}

static void change_config(void *ctx)
{
    struct world *w = ctx;
    struct config *before = w->loop.config;
    int err = loop_set_config(&w->loop, w->config);
    if (err != 0)
        assert_ptr_equal(w->loop.config, before);
}

static void loop_survives_each_failure(void **state)
{
    struct world *w = *state;
    assert_true(alloc_fail_each(make_loop, w->config) >= 3);
    assert_int_equal(alloc_fail_each(change_config, w), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(mail_of_many_threads_comes_in_order),
        TEST(own_mail_needs_no_wake_up),
        TEST(mail_may_be_posted_again_from_its_delivery),
        TEST(mail_after_the_last_turn_is_not_lost),
        TEST(loops_write_to_each_other),
        TEST(timers_are_never_early),
        TEST(timers_behind_the_horizon),
        TEST(moving_later_is_lazy_and_earlier_is_not),
        TEST(a_callback_stops_its_neighbour),
        TEST(callbacks_may_do_anything),
        TEST(many_timers),
        TEST(another_configuration),
        TEST(scratch_is_empty_each_time),
        TEST(loop_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
