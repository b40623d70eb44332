#include "shield/http/room.h"

#include "test/unit/loops_rig.h"

/* Two loops that only have clocks and mailboxes: time is what the test says, and mail comes when it says. */
enum { SEATS = 6 };

struct house {
    struct loop loops[2];
    struct rooms rooms;
    struct room room[2];
    struct room_seat seats[SEATS];
};

static struct house house;
static int left[SEATS], n_left;

static void on_leave(struct room_seat *seat)
{
    left[n_left++] = (int)(seat - house.seats);
}

static void open_house(void)
{
    house = (struct house){0};
    n_left = 0;
    for (int i = 0; i < 2; i++) {
        house.loops[i].uv.time = 5000;
        house.loops[i].own_tail = &house.loops[i].own;
        assert_int_equal(uv_loop_init(&house.loops[i].uv), 0);
        house.loops[i].uv.time = 5000;
        assert_int_equal(uv_async_init(&house.loops[i].uv, &house.loops[i].wake, NULL), 0);
        room_init(&house.room[i], &house.rooms, &house.loops[i], on_leave);
    }
    for (int i = 0; i < SEATS; i++)
        room_seat_init(&house.seats[i]);
}

static void close_house(void)
{
    for (int i = 0; i < 2; i++) {
        uv_close((uv_handle_t *)&house.loops[i].wake, NULL);
        uv_run(&house.loops[i].uv, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&house.loops[i].uv), 0);
    }
}

static void sit(int room, int seat, bool idle)
{
    room_sit(&house.room[room], &house.seats[seat], idle);
}

static void pass_ms(uint64_t ms)
{
    for (int i = 0; i < 2; i++)
        house.loops[i].uv.time += ms;
}

static void assert_left(int n, int last)
{
    assert_int_equal(n_left, n);
    assert_int_equal(left[n - 1], last);
}

/* Delivers what is in the loop's mailbox; gives how much it was. */
static int deliver(int loop)
{
    int n = 0;
    struct mail *m = atomic_exchange(&house.loops[loop].inbox, NULL);
    for (; m != NULL; n++) {
        struct mail *next = m->next;
        m->deliver(m);
        m = next;
    }
    return n;
}

static void test_the_longest_idle_leaves(void **state)
{
    open_house();
    assert_false(room_make(&house.room[0]));
    for (int i = 0; i < 3; i++)
        sit(0, i, true);
    room_rise(&house.room[0], &house.seats[0]);
    room_rise(&house.room[0], &house.seats[0]); /* twice is once */
    assert_true(room_make(&house.room[0]));
    assert_left(1, 1);
    sit(0, 2, true); /* again: from now on */
    sit(0, 3, true);
    assert_true(room_make(&house.room[0]));
    assert_left(2, 2);
    assert_true(room_make(&house.room[0]));
    assert_left(3, 3);
    assert_false(room_make(&house.room[0]));
    close_house();
}

static void test_who_has_just_come_is_spared(void **state)
{
    open_house();
    sit(0, 0, false);
    assert_false(room_make(&house.room[0]));
    pass_ms(999);
    sit(0, 1, true);
    assert_true(room_make(&house.room[0]));
    assert_left(1, 1);
    sit(0, 2, true);
    pass_ms(1);
    assert_true(room_make(&house.room[0])); /* who has not asked anything goes before who has */
    assert_left(2, 0);
    assert_true(room_make(&house.room[0]));
    assert_left(3, 2);
    close_house();
}

static void test_another_loop_is_asked(void **state)
{
    open_house();
    sit(1, 0, true);
    sit(1, 1, true);
    assert_false(room_make_here(&house.room[0]));
    assert_true(room_make(&house.room[0]));
    assert_true(room_make(&house.room[0]));
    assert_false(room_make(&house.room[0])); /* both are promised */
    assert_int_equal(n_left, 0);
    assert_int_equal(deliver(1), 1); /* one mail for both */
    assert_left(2, 1);
    sit(1, 2, true);
    assert_true(room_make(&house.room[0]));
    room_rise(&house.room[1], &house.seats[2]); /* busy again before the mail is there */
    assert_int_equal(deliver(1), 1);
    assert_int_equal(n_left, 2);
    sit(1, 3, true);
    assert_true(room_make(&house.room[0])); /* nothing is owed for the one that stayed */
    assert_int_equal(deliver(1), 1);
    assert_left(3, 3);
    close_house();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_idle_leaves),
        cmocka_unit_test(test_who_has_just_come_is_spared),
        cmocka_unit_test(test_another_loop_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
