#include "shield/origin/gate.h"

#include "test/unit/alloc_fail.h"
#include "test/unit/loops_rig.h"

/* One that asks for a place; everything but `here` and `gate` is seen by the test through TELL and AWAIT. */
struct guest {
    struct loop *here;
    struct gate *gate;
    struct gate_place *place;
    enum gate_rank rank;
    int err;
    bool held, refused, gave_way;
    unsigned nth; /* in the order of being let in */
};

static unsigned let_in;

static void on_turn(void *ctx, int err)
{
    struct guest *g = ctx;
    REQUIRE(loop_is_current(g->here) && !g->held && !g->gave_way);
    TELL(g->held = err == 0; g->gave_way = err == ERR_BUSY; g->nth = let_in++);
}

static void enter(void *ctx)
{
    struct guest *g = ctx;
    bool granted = false;
    g->err = gate_enter(g->gate, g->here, g->rank, on_turn, g, &g->place, &granted);
    TELL(g->refused = g->err != 0; if (granted) {
        g->held = true;
        g->nth = let_in++;
    });
}

static void leave(void *ctx)
{
    struct guest *g = ctx;
    gate_leave(&g->place);
    REQUIRE(g->place == NULL);
    gate_leave(&g->place); /* of nothing: nothing */
}

static void guest_in_as(struct guest *g, struct loops_rig *r, unsigned loop, enum gate_rank rank)
{
    *g = (struct guest){.here = r->loops[loop], .gate = r->gates[0], .rank = rank};
    rig_on(g->here, enter, g);
}

static void guest_in(struct guest *g, struct loops_rig *r, unsigned loop)
{
    guest_in_as(g, r, loop, GATE_INTERACTIVE);
}

static void guest_out(struct guest *g)
{
    rig_on(g->here, leave, g);
}

static const struct config_override two_of_three[] = {{"origin", "http://127.0.0.1:1"},
                                                      {"origins.default.max_concurrent", "2"},
                                                      {"origins.default.max_queued", "3"},
                                                      {NULL, NULL}};

static int setup(void **state)
{
    struct loops_rig *r = malloc(sizeof *r);
    assert_non_null(r);
    let_in = 0;
    rig_start(r, 2, two_of_three);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct loops_rig *r = *state;
    for (unsigned i = 0; i < r->n; i++)
        rig_on(r->loops[i], do_nothing, NULL); /* what was in the mail is through */
    assert_int_equal(origin_inflight(), 0);
    assert_int_equal(origin_queue_depth(), 0);
    rig_stop(r);
    free(r);
    return 0;
}

/* ---- ---- */

static void lets_in_so_many_and_queues_so_many(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[6];
    int64_t busy = count_of_limit(LIMIT_MAX_CONCURRENT), full = count_of_limit(LIMIT_MAX_QUEUED);
    for (unsigned i = 0; i < 6; i++)
        guest_in(&g[i], r, i % 2);
    assert_true(g[0].held && g[1].held);
    for (unsigned i = 2; i < 5; i++)
        assert_true(!g[i].held && !g[i].refused);
    assert_true(g[5].refused);
    assert_int_equal(g[5].err, ERR_BUSY);
    assert_int_equal(origin_inflight(), 2);
    assert_int_equal(origin_queue_depth(), 3);
    assert_int_equal(count_of_limit(LIMIT_MAX_CONCURRENT) - busy, 4);
    assert_int_equal(count_of_limit(LIMIT_MAX_QUEUED) - full, 1);
    for (unsigned i = 0; i < 5; i++)
        guest_out(&g[i]);
}

static void first_come_first_served_over_all_loops(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[5];
    for (unsigned i = 0; i < 5; i++)
        guest_in(&g[i], r, (i / 2) % 2);
    for (unsigned i = 0; i < 3; i++) {
        guest_out(&g[i]);
        AWAIT(g[i + 2].held);
        assert_int_equal(origin_inflight(), 2);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(g[i].nth, i);
    guest_out(&g[3]);
    guest_out(&g[4]);
}

static void whoever_leaves_the_queue_is_passed_over(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[5];
    for (unsigned i = 0; i < 5; i++)
        guest_in(&g[i], r, i % 2);
    guest_out(&g[2]);
    assert_int_equal(origin_queue_depth(), 2);
    guest_out(&g[0]);
    AWAIT(g[3].held);
    assert_false(g[2].held);
    assert_false(g[4].held);
    guest_out(&g[1]);
    AWAIT(g[4].held);
    guest_out(&g[3]);
    guest_out(&g[4]);
}

/* ---- the background ---- */

static void background_goes_behind_and_in_order(void **state)
{
    static const struct config_override settings[] = {
        {"origin", "http://127.0.0.1:1"}, {"origins.default.max_concurrent", "1"}, {NULL, NULL}};
    static const enum gate_rank ranks[] = {GATE_BACKGROUND, GATE_BACKGROUND, GATE_INTERACTIVE,
                                           GATE_BACKGROUND, GATE_INTERACTIVE};
    static const unsigned order[] = {0, 2, 4, 1, 3};
    struct loops_rig r;
    struct guest g[5];
    rig_start(&r, 2, settings);
    let_in = 0;
    for (unsigned i = 0; i < 5; i++)
        guest_in_as(&g[i], &r, i % 2, ranks[i]);
    for (unsigned i = 0; i < 5; i++) {
        AWAIT(g[order[i]].held); /* the first at once: a free place is for anybody */
        guest_out(&g[order[i]]);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(g[order[i]].nth, i);
    rig_stop(&r);
}

static void raise_place(void *ctx)
{
    struct guest *g = ctx;
    gate_raise(g->place);
}

static void what_is_raised_leaves_the_background(void **state)
{
    static const struct config_override settings[] = {
        {"origin", "http://127.0.0.1:1"}, {"origins.default.max_concurrent", "1"}, {NULL, NULL}};
    static const enum gate_rank ranks[] = {GATE_BACKGROUND, GATE_BACKGROUND, GATE_BACKGROUND,
                                           GATE_INTERACTIVE, GATE_INTERACTIVE};
    static const unsigned order[] = {0, 3, 2, 4, 1};
    struct loops_rig r;
    struct guest g[5];
    rig_start(&r, 2, settings);
    let_in = 0;
    for (unsigned i = 0; i < 4; i++)
        guest_in_as(&g[i], &r, i % 2, ranks[i]);
    rig_on(g[2].here, raise_place, &g[2]); /* behind those who wait already */
    rig_on(g[0].here, raise_place, &g[0]); /* it has its place: nothing */
    guest_in_as(&g[4], &r, 0, ranks[4]);
    for (unsigned i = 0; i < 5; i++) {
        AWAIT(g[order[i]].held);
        guest_out(&g[order[i]]);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(g[order[i]].nth, i);
    rig_stop(&r);
}

static void background_gives_way_when_the_queue_is_full(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[5], late[4];
    int64_t full = count_of_limit(LIMIT_MAX_QUEUED);
    for (unsigned i = 0; i < 5; i++)
        guest_in_as(&g[i], r, i % 2, i == 3 || i == 4 ? GATE_BACKGROUND : GATE_INTERACTIVE);
    guest_in_as(&late[0], r, 0, GATE_BACKGROUND); /* nobody gives way to its like */
    assert_int_equal(late[0].err, ERR_BUSY);
    guest_in(&late[1], r, 1);
    AWAIT(g[4].gave_way); /* the last that came */
    guest_in(&late[2], r, 1);
    AWAIT(g[3].gave_way);
    guest_in(&late[3], r, 0);
    assert_int_equal(late[3].err, ERR_BUSY);
    assert_int_equal(origin_queue_depth(), 3);
    assert_int_equal(count_of_limit(LIMIT_MAX_QUEUED) - full, 4);
    for (unsigned i = 0; i < 5; i++)
        guest_out(&g[i]);
    guest_out(&late[1]);
    guest_out(&late[2]);
}

/* Two guests in one turn of their loop. */
struct turn {
    struct guest *first, *second;
};

static void enter_and_leave(void *ctx)
{
    struct turn *t = ctx;
    enter(t->first);
    leave(t->second);
}

static void leaving_while_the_refusal_is_under_way(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[5], late = {.here = r->loops[0], .gate = r->gates[0]};
    for (unsigned i = 0; i < 5; i++)
        guest_in_as(&g[i], r, 0, i == 4 ? GATE_BACKGROUND : GATE_INTERACTIVE);
    struct turn t = {&late, &g[4]};
    rig_on(r->loops[0], enter_and_leave, &t);
    rig_on(r->loops[0], do_nothing, NULL);
    assert_false(g[4].gave_way);
    assert_int_equal(origin_queue_depth(), 3);
    for (unsigned i = 0; i < 4; i++)
        guest_out(&g[i]);
    guest_out(&late);
}

/* ---- a reload ---- */

struct reloading {
    struct loops_rig *rig;
    struct config *config;
};

static void reload(void *ctx)
{
    struct reloading *x = ctx;
    REQUIRE(loop_set_config(x->rig->loops[0], x->config) == 0);
    upstream_pool_reload(&x->rig->pool[0]);
}

static void a_reload_moves_the_queue(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[5];
    for (unsigned i = 0; i < 5; i++)
        guest_in(&g[i], r, i % 2);
    struct reloading x = {r, rig_config((struct config_override[]){{"origin", "http://127.0.0.1:1"},
                                                                   {"origins.default.max_concurrent", "4"},
                                                                   {NULL, NULL}})};
    rig_on(r->loops[0], reload, &x);
    AWAIT(g[2].held && g[3].held);
    assert_false(g[4].held);
    for (unsigned i = 0; i < 5; i++)
        guest_out(&g[i]);
    config_unref(&x.config);
}

/* ---- leaving at a bad moment ---- */

/* The grant is in the mail when its guest leaves: on the guest's own loop everything happens in one turn. */
static void leave_both(void *ctx)
{
    struct turn *t = ctx;
    leave(t->first);
    leave(t->second);
}

static void leaving_while_the_grant_is_under_way(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[5];
    for (unsigned i = 0; i < 5; i++)
        guest_in(&g[i], r, i == 3 ? 1 : 0);
    struct turn t = {&g[0], &g[2]};
    rig_on(g[0].here, leave_both, &t);
    AWAIT(g[3].held); /* the place went on, to the other loop */
    assert_false(g[2].held);
    guest_out(&g[1]);
    AWAIT(g[4].held);
    guest_out(&g[3]);
    guest_out(&g[4]);
}

static void the_last_grant_that_nobody_wants(void **state)
{
    struct loops_rig *r = *state;
    struct guest g[3], late;
    for (unsigned i = 0; i < 3; i++)
        guest_in(&g[i], r, 0);
    struct turn t = {&g[0], &g[2]};
    rig_on(r->loops[0], leave_both, &t);
    rig_on(r->loops[0], do_nothing, NULL);
    guest_in(&late, r, 1); /* the place is free again */
    assert_true(late.held);
    assert_false(g[2].held);
    guest_out(&late);
    guest_out(&g[1]);
}

/* ---- by chance, on three loops ---- */

enum { CROWD = 40, ROUNDS = 400 };

static _Atomic int inside, most_inside, admissions, gave_way;

struct visitor {
    struct mail mail;
    struct loop *here, *there;
    struct gate *gate;
    struct gate_place *place;
    uint64_t seed;
    int rounds;
    bool is_in, is_done;
};

static uint64_t chance(struct visitor *v, uint64_t below)
{
    v->seed = v->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (v->seed >> 33) % below;
}

static void come_in(struct visitor *v)
{
    int now = atomic_fetch_add(&inside, 1) + 1, most = atomic_load(&most_inside);
    while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now))
        ;
    atomic_fetch_add(&admissions, 1);
    v->is_in = true;
}

static void visitor_turn(void *ctx, int err)
{
    struct visitor *v = ctx;
    REQUIRE(v->place != NULL && !v->is_in);
    if (err == 0)
        come_in(v);
    else
        atomic_fetch_add(&gave_way, 1);
}

static void take_turn(struct mail *m);

static void come_back(struct mail *m)
{
    struct visitor *v = container_of(m, struct visitor, mail);
    m->deliver = take_turn;
    loop_post(v->here, m);
}

/* By way of another loop, so that a turn ends and other mail comes in between. */
static void go_round(struct visitor *v)
{
    v->mail.deliver = come_back;
    loop_post(v->there, &v->mail);
}

static void take_turn(struct mail *m)
{
    struct visitor *v = container_of(m, struct visitor, mail);
    bool granted = false;
    if (v->place == NULL && v->rounds-- > 0) {
        enum gate_rank rank = chance(v, 2) == 0 ? GATE_BACKGROUND : GATE_INTERACTIVE;
        if (gate_enter(v->gate, v->here, rank, visitor_turn, v, &v->place, &granted) == 0 && granted)
            come_in(v);
    } else if (v->place != NULL && chance(v, 4) == 0) {
        if (v->is_in)
            atomic_fetch_sub(&inside, 1);
        v->is_in = false;
        gate_leave(&v->place);
    }
    if (v->place == NULL && v->rounds <= 0)
        TELL(v->is_done = true);
    else
        go_round(v);
}

static void by_chance(void **state)
{
    static const struct config_override settings[] = {{"origin", "http://127.0.0.1:1"},
                                                      {"origins.default.max_concurrent", "5"},
                                                      {"origins.default.max_queued", "20"},
                                                      {NULL, NULL}};
    static struct visitor visitors[CROWD];
    struct loops_rig r;
    rig_start(&r, 3, settings);
    for (unsigned i = 0; i < CROWD; i++) {
        visitors[i] = (struct visitor){.mail.deliver = take_turn,
                                       .here = r.loops[i % 3],
                                       .there = r.loops[(i + 1) % 3],
                                       .gate = r.gates[0],
                                       .seed = i,
                                       .rounds = ROUNDS};
        loop_post(visitors[i].here, &visitors[i].mail);
    }
    for (unsigned i = 0; i < CROWD; i++)
        AWAIT(visitors[i].is_done);
    for (unsigned i = 0; i < 3; i++)
        rig_on(r.loops[i], do_nothing, NULL);
    assert_int_equal(atomic_load(&inside), 0);
    assert_true(atomic_load(&most_inside) <= 5);
    assert_true(atomic_load(&admissions) > CROWD);
    assert_true(atomic_load(&gave_way) > 0);
    assert_int_equal(origin_inflight(), 0);
    assert_int_equal(origin_queue_depth(), 0);
    rig_stop(&r);
}

static void make_gate(void *ctx)
{
    struct gate *g = gate_new(0);
    gate_free(&g);
}

static void enter_unarmed(void *ctx)
{
    alloc_armed = true;
    alloc_fail_after(0);
    enter(ctx);
    alloc_armed = false;
    REQUIRE(alloc_calm());
}

static void gate_survives_each_failure(void **state)
{
    struct loops_rig *r = *state;
    struct guest g = {.here = r->loops[0], .gate = r->gates[0]};
    assert_int_equal(alloc_fail_each(make_gate, NULL), 2);
    rig_on(g.here, enter_unarmed, &g);
    assert_int_equal(g.err, ERR_NOMEM);
    assert_null(g.place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lets_in_so_many_and_queues_so_many),
        TEST(first_come_first_served_over_all_loops),
        TEST(whoever_leaves_the_queue_is_passed_over),
        TEST(background_goes_behind_and_in_order),
        TEST(what_is_raised_leaves_the_background),
        TEST(background_gives_way_when_the_queue_is_full),
        TEST(leaving_while_the_refusal_is_under_way),
        TEST(a_reload_moves_the_queue),
        TEST(leaving_while_the_grant_is_under_way),
        TEST(the_last_grant_that_nobody_wants),
        cmocka_unit_test(by_chance),
        TEST(gate_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
