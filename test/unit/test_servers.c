#include "shield/origin/servers.h"

#include "test/unit/loops_rig.h"

/* A loop that only has a clock, a config and counters: time is what the test says. */
struct clockwork {
    struct loop loop;
    struct servers *s;
};

enum { TTL = 1000, TTL_MAX = 8000, AFTER = 3, NOTHING = -1 };

static void set_config(struct clockwork *w, const struct config_override *more)
{
    struct config_override settings[12] = {{"origin", "http://127.0.0.1:1"},
                                           {"origins.default.down_after", "3"},
                                           {"flight.error_ttl", "1s"},
                                           {"flight.error_ttl_max", "8s"}};
    for (size_t i = 0; more != NULL && more[i].name != NULL; i++)
        settings[4 + i] = more[i];
    if (w->loop.config != NULL)
        config_unref(&w->loop.config);
    w->loop.config = rig_config(settings);
}

static void open_clockwork(struct clockwork *w, const struct config_override *more)
{
    *w = (struct clockwork){.s = servers_new(0)};
    assert_non_null(w->s);
    w->loop.metrics = metrics_slot_new();
    assert_non_null(w->loop.metrics);
    w->loop.uv.time = 5000;
    set_config(w, more);
}

static int64_t gauge(void)
{
    return metrics_servers_down(0);
}

static void close_clockwork(struct clockwork *w)
{
    for (uint32_t i = 0; i < CONFIG_MAX_SERVERS; i++)
        servers_answered(w->s, &w->loop, &(struct server_turn){.server = i});
    assert_int_equal(gauge(), 0);
    servers_free(&w->s);
    assert_null(w->s);
    config_unref(&w->loop.config);
}

static void pass_ms(struct clockwork *w, uint64_t ms)
{
    w->loop.uv.time += ms;
}

/* Whose turn it is, or NOTHING. */
static int next(struct clockwork *w, uint32_t from, bool safe, struct server_turn *t)
{
    bool any = servers_any(w->s, &w->loop);
    bool given = servers_next(w->s, &w->loop, from, safe, t);
    if (any != given)
        fail_msg("servers_any says %d, servers_next %d", any, given);
    return given ? (int)t->server : NOTHING;
}

static void fail_it(struct clockwork *w, const struct server_turn *t)
{
    servers_failed(w->s, &w->loop, t, ERR_CONNECT);
}

static void bring_down(struct clockwork *w, uint32_t server)
{
    for (int i = 0; i < AFTER; i++)
        fail_it(w, &(struct server_turn){.server = server});
    assert_true(servers_down(w->s, &w->loop) & BIT(server));
}

/* A probe is due, it is the only one, and here it is. */
static struct server_turn expect_probe(struct clockwork *w, uint32_t server)
{
    struct server_turn t, other;
    assert_int_equal(next(w, 0, true, &t), server);
    assert_true(t.probe != 0);
    assert_false(next(w, server, true, &other) == (int)server);
    return t;
}

/* ---- ---- */

static void down_after_so_many_in_a_row(void **state)
{
    struct clockwork w;
    struct server_turn t;
    open_clockwork(&w, NULL);
    for (int rounds = 0; rounds < 3; rounds++) { /* a head between two failures: never */
        for (int i = 0; i < AFTER - 1; i++) {
            assert_int_equal(next(&w, 0, true, &t), 0);
            assert_int_equal(t.probe, 0);
            fail_it(&w, &t);
        }
        servers_answered(w.s, &w.loop, &t);
    }
    for (int i = 0; i < AFTER; i++) {
        assert_int_equal(gauge(), 0);
        assert_int_equal(next(&w, 0, true, &t), 0);
        fail_it(&w, &t);
    }
    assert_int_equal(gauge(), 1);
    assert_int_equal(next(&w, 0, true, &t), NOTHING);
    close_clockwork(&w);
}

static void intervals_double_up_to_a_bound(void **state)
{
    static const uint64_t intervals[] = {TTL, TTL * 2, TTL * 4, TTL_MAX, TTL_MAX, TTL_MAX};
    struct clockwork w;
    struct server_turn t;
    open_clockwork(&w, NULL);
    bring_down(&w, 0);
    for (size_t i = 0; i < ARRAY_LEN(intervals); i++) {
        pass_ms(&w, intervals[i] - 1);
        assert_int_equal(next(&w, 0, true, &t), NOTHING);
        pass_ms(&w, 1);
        t = expect_probe(&w, 0);
        pass_ms(&w, 500); /* its way */
        fail_it(&w, &t);
        assert_int_equal(gauge(), 1);
    }
    pass_ms(&w, TTL_MAX);
    t = expect_probe(&w, 0);
    servers_answered(w.s, &w.loop, &t);
    assert_int_equal(gauge(), 0);
    assert_int_equal(next(&w, 0, true, &t), 0);
    assert_int_equal(t.probe, 0);
    bring_down(&w, 0); /* from the beginning */
    pass_ms(&w, TTL);
    expect_probe(&w, 0);
    close_clockwork(&w);
}

static void a_probe_that_tells_nothing_gives_its_right_back(void **state)
{
    struct clockwork w;
    open_clockwork(&w, NULL);
    bring_down(&w, 0);
    pass_ms(&w, TTL);
    for (int i = 0; i < 3; i++) {
        struct server_turn t = expect_probe(&w, 0);
        servers_let_go(w.s, &w.loop, &t);
    }
    struct server_turn t = expect_probe(&w, 0);
    fail_it(&w, &t); /* no interval was spent on the others */
    pass_ms(&w, TTL * 2);
    expect_probe(&w, 0);
    close_clockwork(&w);
}

/* They were on their way when it went down. */
static void only_the_probe_counts_while_down(void **state)
{
    struct clockwork w;
    struct server_turn early = {0};
    open_clockwork(&w, NULL);
    bring_down(&w, 0);
    for (int i = 0; i < 100; i++)
        fail_it(&w, &early);
    pass_ms(&w, TTL);
    struct server_turn t = expect_probe(&w, 0);
    fail_it(&w, &early);
    fail_it(&w, &t);
    pass_ms(&w, TTL * 2);
    t = expect_probe(&w, 0);
    servers_answered(w.s, &w.loop, &early); /* late, but an answer */
    assert_int_equal(gauge(), 0);
    bring_down(&w, 0);
    pass_ms(&w, TTL);
    struct server_turn newer = expect_probe(&w, 0);
    fail_it(&w, &t); /* the old probe's word is not the new one's */
    servers_let_go(w.s, &w.loop, &t);
    assert_int_equal(next(&w, 0, true, &t), NOTHING);
    servers_answered(w.s, &w.loop, &newer);
    assert_int_equal(gauge(), 0);
    close_clockwork(&w);
}

static void a_probe_that_hangs_on_its_client_is_not_waited_for(void **state)
{
    struct clockwork w;
    struct server_turn t;
    open_clockwork(&w, (struct config_override[]){{"origins.default.head_timeout", "10s"},
                                                  {"origins.default.connect_timeout", "1s"},
                                                  {"origins.default.connect_attempts", "2"},
                                                  {NULL, NULL}});
    bring_down(&w, 0);
    pass_ms(&w, TTL);
    expect_probe(&w, 0);
    pass_ms(&w, 13999); /* each address: a name and a connection, then the head */
    assert_int_equal(next(&w, 0, true, &t), NOTHING);
    pass_ms(&w, 1);
    expect_probe(&w, 0);
    close_clockwork(&w);
}

static const struct config_override three[] = {{"origin", "http://127.0.0.1:2"},
                                               {"origin", "http://127.0.0.1:3"},
                                               {"origins.default.head_timeout", "1h"},
                                               {NULL, NULL}};

static void the_others_take_its_turns(void **state)
{
    struct clockwork w;
    struct server_turn t;
    open_clockwork(&w, three);
    for (uint32_t from = 0; from < 7; from++)
        assert_int_equal(next(&w, from, true, &t), from % 3);
    bring_down(&w, 1);
    static const int turns[] = {0, 2, 2, 0, 2, 2};
    for (uint32_t from = 0; from < 6; from++)
        assert_int_equal(next(&w, from, true, &t), turns[from]);
    bring_down(&w, 2);
    assert_int_equal(gauge(), 2);
    for (uint32_t from = 0; from < 6; from++)
        assert_int_equal(next(&w, from, true, &t), 0);
    bring_down(&w, 0);
    assert_int_equal(next(&w, 0, true, &t), NOTHING);
    close_clockwork(&w);
}

static void a_probe_goes_though_others_are_up(void **state)
{
    struct clockwork w;
    struct server_turn t;
    open_clockwork(&w, three);
    bring_down(&w, 1);
    pass_ms(&w, TTL);
    assert_int_equal(next(&w, 1, false, &t), 2); /* not with what must not be lost */
    t = expect_probe(&w, 1);
    assert_int_equal(next(&w, 1, true, &(struct server_turn){0}), 2);
    servers_answered(w.s, &w.loop, &t);
    for (uint32_t i = 0; i < 3; i++)
        bring_down(&w, i);
    pass_ms(&w, TTL);
    bool probed[3] = {0};
    for (int i = 0; i < 3; i++) { /* nothing is up: with anything, and one for each */
        int server = next(&w, 2, false, &t);
        assert_true(server >= 0 && t.probe != 0 && !probed[server]);
        probed[server] = true;
    }
    assert_int_equal(next(&w, 0, true, &t), NOTHING);
    close_clockwork(&w);
}

static void off(void **state)
{
    static const struct config_override ways[][3] = {
        {{"origins.default.down_after", "0"}, {NULL, NULL}},
        {{"flight.error_ttl", "0"}, {NULL, NULL}},
    };
    struct clockwork w;
    struct server_turn t = {0};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        open_clockwork(&w, ways[i]);
        for (int k = 0; k < 50; k++)
            fail_it(&w, &t);
        assert_int_equal(next(&w, 0, true, &t), 0);
        set_config(&w, NULL); /* a reload: from here on it counts */
        bring_down(&w, 0);
        assert_int_equal(next(&w, 0, true, &t), NOTHING);
        set_config(&w, ways[i]);
        assert_int_equal(next(&w, 0, true, &t), 0);
        assert_int_equal(t.probe, 0);
        servers_answered(w.s, &w.loop, &t);
        assert_int_equal(gauge(), 0);
        close_clockwork(&w);
    }
}

static void an_address_that_fails_is_left(void **state)
{
    struct clockwork w;
    open_clockwork(&w, three);
    assert_int_equal(servers_address(w.s, 1), 0);
    for (int i = 0; i < 5; i++)
        servers_address_failed(w.s, 1, 0); /* all of one herd */
    assert_int_equal(servers_address(w.s, 1), 1);
    assert_int_equal(servers_address(w.s, 0), 0);
    servers_address_failed(w.s, 1, 1);
    assert_int_equal(servers_address(w.s, 1), 2);
    close_clockwork(&w);
}

/* ---- by chance, on three threads ---- */

enum { THREADS = 3, STEPS = 60000 };

static struct servers *shared;
static _Atomic int probing[3], probes_seen;
static _Atomic uint64_t now_ms;

/* Only probes answer, so nothing but a probe's end makes room for the next one. */
static void *live(void *ctx)
{
    struct loop *l = ctx;
    uint64_t seed = l->id + 1;
    for (int i = 0; i < STEPS; i++) {
        struct server_turn t;
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned dice = (unsigned)(seed >> 33);
        l->uv.time = atomic_fetch_add(&now_ms, 1);
        if (!servers_next(shared, l, dice % 3, dice & 64, &t))
            continue;
        if (t.probe != 0) {
            REQUIRE(atomic_fetch_add(&probing[t.server], 1) == 0);
            atomic_fetch_add(&probes_seen, 1);
            atomic_fetch_sub(&probing[t.server], 1);
        }
        if (dice % 16 < 12)
            servers_failed(shared, l, &t, ERR_RESET);
        else if (t.probe == 0 || dice % 16 < 14)
            servers_let_go(shared, l, &t);
        else
            servers_answered(shared, l, &t);
    }
    return NULL;
}

static void by_chance(void **state)
{
    struct clockwork w[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        open_clockwork(&w[i], three);
        w[i].loop.id = i;
    }
    shared = w[0].s;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live, &w[i].loop), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&probes_seen) > 10);
    assert_int_equal(gauge(), __builtin_popcount(servers_down(shared, &w[0].loop)));
    for (unsigned i = 0; i < THREADS; i++)
        close_clockwork(&w[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(down_after_so_many_in_a_row),
        cmocka_unit_test(intervals_double_up_to_a_bound),
        cmocka_unit_test(a_probe_that_tells_nothing_gives_its_right_back),
        cmocka_unit_test(only_the_probe_counts_while_down),
        cmocka_unit_test(a_probe_that_hangs_on_its_client_is_not_waited_for),
        cmocka_unit_test(the_others_take_its_turns),
        cmocka_unit_test(a_probe_goes_though_others_are_up),
        cmocka_unit_test(off),
        cmocka_unit_test(an_address_that_fails_is_left),
        cmocka_unit_test(by_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
