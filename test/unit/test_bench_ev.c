/* Timers of the bench's loop: they run in the order of their time, however they were started, moved and
 * stopped. */
#include "bench/ev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"

enum { MANY = 500 };

static struct ev ev;
static struct ev_timer timers[MANY];
static uint64_t last_due_ns;
static unsigned ran, again;

static void on_due(struct ev_timer *t)
{
    assert_true(t->due_ns >= last_due_ns);
    assert_int_equal(t->slot, 0);
    last_due_ns = t->due_ns;
    ran++;
    if (ev.n_timers == 0)
        ev_stop(&ev);
}

static void test_order(void **state)
{
    assert_int_equal(ev_init(&ev), 0);
    last_due_ns = ran = 0;
    srand(1);
    unsigned armed = 0;
    for (int i = 0; i < MANY; i++) {
        timers[i] = (struct ev_timer){.on_due = on_due};
        assert_int_equal(ev_timer_start(&ev, &timers[i], ev.now_ns + (uint64_t)rand() % 1000000), 0);
    }
    for (int i = 0; i < MANY; i += 3)
        ev_timer_stop(&ev, &timers[i]);
    for (int i = 0; i < MANY; i += 5)
        assert_int_equal(ev_timer_start(&ev, &timers[i], ev.now_ns + (uint64_t)rand() % 1000000), 0);
    for (int i = 0; i < MANY; i++)
        armed += timers[i].slot != 0;
    assert_int_equal(armed, ev.n_timers);
    ev_run(&ev);
    assert_int_equal(ran, armed);
    ev_fini(&ev);
}

static void on_again(struct ev_timer *t)
{
    if (++again == 3)
        ev_stop(&ev);
    else
        assert_int_equal(ev_timer_soon(&ev, t), 0);
}

static void test_soon_comes_in_another_turn(void **state)
{
    struct ev_timer t = {.on_due = on_again};
    assert_int_equal(ev_init(&ev), 0);
    assert_int_equal(ev_timer_soon(&ev, &t), 0);
    ev_run(&ev);
    assert_int_equal(again, 3);
    ev_fini(&ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_soon_comes_in_another_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
