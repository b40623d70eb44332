#include "shield/flight/flight.h"

#include "test/unit/alloc_fail.h"
#include "test/unit/flight_rig.h"

static int setup(void **state)
{
    struct flight_rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    origin_open(&r->origin);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_stop(r);
    origin_close(&r->origin);
    free(r);
    return 0;
}

enum { MANY = 30 };

/* Clients 0 to n-1 ask for one path, spread over the loops; the first is the leader. */
static void crowd_asks(struct flight_rig *r, struct client *c, unsigned n, const char *path)
{
    for (unsigned i = 0; i < n; i++) {
        ask_for(&c[i], r, i % r->base.n, path);
        assert_int_equal(c[i].answer, CACHE_WAIT);
        assert_int_equal(c[i].waiter.is_leader, i == 0);
    }
}

static void crowd_is_done(struct client *c, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        client_done(&c[i]);
}

static void expect_fetch(struct flight_rig *r, struct peer *p, const char *line)
{
    peer_accept(&r->origin, p);
    peer_expect(p, line);
}

/* What the cache says, without waiting for anything: a fetch that this begins ends at once. */
static enum cache_answer ask_once(struct flight_rig *r, unsigned at, const char *path)
{
    struct client c;
    for (unsigned i = 0; i < r->base.n; i++)
        rig_on(r->base.loops[i], do_nothing, NULL);
    ask_for(&c, r, at, path);
    if (c.outcome == WAITING)
        client_leave(&c);
    client_done(&c);
    while (origin_has_caller(&r->origin)) {
        struct peer p;
        peer_accept(&r->origin, &p);
        peer_expect_end(&p);
    }
    return c.answer;
}

/* ---- sharing ---- */

static void one_fetch_for_all(void **state)
{
    static const uint64_t lengths[] = {0, 1, 70000, 300000};
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct client c[MANY];
        struct peer p;
        char path[16];
        int64_t collapsed = metrics_total(METRIC_COLLAPSED), started = metrics_total(METRIC_FLIGHTS_STARTED);
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        crowd_asks(r, c, MANY, path);
        assert_int_equal(metrics_total(METRIC_WAITERS), MANY);
        assert_int_equal(metrics_total(METRIC_COLLAPSED) - collapsed, MANY - 1);
        expect_fetch(r, &p, "GET ");
        assert_int_equal(metrics_total(METRIC_FLIGHTS), 1);
        send_answer(&p, 200, FRESH, lengths[i]);
        for (unsigned k = 0; k < MANY; k++) {
            expect_outcome(&c[k], SERVED);
            assert_int_equal(c[k].bytes, lengths[i]);
            assert_ptr_equal(c[k].object, c[0].object);
            assert_true(c[k].is_stored);
        }
        assert_false(origin_has_caller(&r->origin));
        assert_int_equal(metrics_total(METRIC_FLIGHTS_STARTED) - started, 1);
        crowd_is_done(c, MANY);
        for (unsigned at = 0; at < 3; at++)
            assert_int_equal(ask_once(r, at, path), CACHE_HIT);
        peer_close(&p);
        rig_on(r->base.loops[0], do_nothing, NULL);
    }
}

static void bytes_go_to_all_as_they_come(void **state)
{
    struct flight_rig *r = *state;
    struct client c[6], late;
    struct peer p;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, 6, "/a");
    expect_fetch(r, &p, "GET /a");
    peer_send(&p, "HTTP/1.1 200 OK\r\n" FRESH "Transfer-Encoding: chunked\r\n\r\n");
    for (unsigned k = 0; k < 6; k++)
        AWAIT(c[k].has_head);
    for (unsigned n = 1; n <= 3; n++) {
        peer_send(&p, "3e8\r\n");
        send_body(&p, 9, (n - 1) * 1000, 1000);
        peer_send(&p, "\r\n");
        for (unsigned k = 0; k < 6; k++)
            AWAIT(c[k].bytes == n * 1000);
    }
    ask_for(&late, r, 2, "/a");
    AWAIT(late.bytes == 3000); /* all that is there, at once */
    peer_send(&p, "0\r\n\r\n");
    for (unsigned k = 0; k < 6; k++)
        expect_outcome(&c[k], SERVED);
    expect_outcome(&late, SERVED);
    crowd_is_done(c, 6);
    client_done(&late);
    peer_close(&p);
}

static void interim_answers_go_to_all_who_wait(void **state)
{
    struct flight_rig *r = *state;
    struct client c[6], later, late;
    struct peer p;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, 6, "/a");
    expect_fetch(r, &p, "GET /a");
    peer_send(&p, "HTTP/1.1 102 Processing\r\n\r\n");
    for (unsigned k = 0; k < 6; k++)
        AWAIT(strcmp(c[k].interims, "2") == 0);
    client_leave(&c[3]);
    ask_for(&later, r, 2, "/a");
    AWAIT(strcmp(later.interims, "2") == 0);
    peer_send(&p, "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a\r\n\r\nHTTP/1.1 104 Else\r\n\r\n"
                  "HTTP/1.1 200 OK\r\n" FRESH "Content-Length: 2\r\n\r\n");
    for (unsigned k = 0; k < 6; k++)
        if (k != 3)
            AWAIT(c[k].has_head);
    AWAIT(later.has_head);
    ask_for(&late, r, 1, "/a");
    AWAIT(late.has_head);
    for (unsigned k = 0; k < 6; k++)
        assert_string_equal(c[k].interims, k == 0 ? "234" : k == 3 ? "2" : "24");
    assert_string_equal(later.interims, "24");
    assert_string_equal(late.interims, "");
    send_body(&p, 9, 0, 2);
    for (unsigned k = 0; k < 6; k++)
        expect_outcome(&c[k], k == 3 ? LEFT : SERVED);
    expect_outcome(&later, SERVED);
    expect_outcome(&late, SERVED);
    crowd_is_done(c, 6);
    client_done(&later);
    client_done(&late);
    peer_close(&p);
}

/* ---- leaving ---- */

static void the_leader_may_leave(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 2, NULL);
    for (int after_head = 0; after_head < 2; after_head++) {
        struct client c[4];
        struct peer p;
        const char *path = after_head ? "/after" : "/before";
        crowd_asks(r, c, 4, path);
        expect_fetch(r, &p, "GET /");
        if (after_head) {
            send_head(&p, 200, FRESH, 1000);
            AWAIT(c[0].has_head);
        }
        client_leave(&c[0]);
        client_leave(&c[2]);
        if (!after_head)
            send_head(&p, 200, FRESH, 1000);
        send_body(&p, 7, 0, 1000);
        expect_outcome(&c[1], SERVED);
        expect_outcome(&c[3], SERVED);
        assert_int_equal(c[0].outcome, LEFT);
        crowd_is_done(c, 4);
        assert_int_equal(ask_once(r, 1, path), CACHE_HIT);
        peer_close(&p);
        rig_on(r->base.loops[0], do_nothing, NULL);
    }
}

static const struct {
    const char *finish;
    bool after_head, is_cacheable;
    bool goes_on;
} leavings[] = {
    {"never", false, true, false},   {"never", true, true, false},      {"cacheable", false, true, false},
    {"cacheable", true, true, true}, {"cacheable", true, false, false}, {"always", false, true, true},
    {"always", true, true, true},
};

static void when_all_have_left(void **state)
{
    struct flight_rig *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(leavings); i++) {
        struct client c[4];
        struct peer p;
        flight_rig_start(r, 2,
                         (struct config_override[]){{"flight.finish", leavings[i].finish}, {NULL, NULL}});
        crowd_asks(r, c, 4, "/a");
        expect_fetch(r, &p, "GET /a");
        if (leavings[i].after_head) {
            send_head(&p, 200, leavings[i].is_cacheable ? FRESH : PRIVATE, 1000);
            AWAIT(c[0].has_head);
            if (!leavings[i].is_cacheable)
                AWAIT(c[1].outcome == RELEASED && c[2].outcome == RELEASED && c[3].outcome == RELEASED);
        }
        for (unsigned k = 4; k-- > 0;)
            client_leave(&c[k]);
        crowd_is_done(c, 4);
        if (leavings[i].goes_on) {
            rig_on(r->base.loops[0], do_nothing, NULL);
            assert_int_equal(metrics_total(METRIC_FLIGHTS), 1);
            if (!leavings[i].after_head)
                send_head(&p, 200, FRESH, 1000);
            send_body(&p, 7, 0, 1000);
            AWAIT_COUNT(metrics_total(METRIC_FLIGHTS), 0);
            assert_int_equal(ask_once(r, 1, "/a"), CACHE_HIT);
            peer_close(&p);
        } else {
            peer_expect_end(&p);
            AWAIT_COUNT(metrics_total(METRIC_FLIGHTS), 0);
            enum cache_answer next = leavings[i].is_cacheable ? CACHE_WAIT : CACHE_ALONE;
            assert_int_equal(ask_once(r, 1, "/a"), next);
        }
        if (i < ARRAY_LEN(leavings) - 1)
            flight_rig_stop(r);
    }
}

/* In one turn the last one leaves and another comes: the flight is for the newcomer. */
struct handover {
    struct client *old, *new;
};

static void hand_over(void *ctx)
{
    struct handover *h = ctx;
    leave_flight(h->old);
    ask_cache(h->new);
}

static void a_newcomer_takes_over(void **state)
{
    struct flight_rig *r = *state;
    struct client old, new;
    struct handover h = {&old, &new};
    struct peer p;
    flight_rig_start(r, 1, NULL);
    ask_for(&old, r, 0, "/a");
    expect_fetch(r, &p, "GET /a");
    client_init(&new, r, 0, "/a");
    rig_on(r->base.loops[0], hand_over, &h);
    send_answer(&p, 200, FRESH, 10);
    expect_outcome(&new, SERVED);
    assert_int_equal(new.again, 0);
    assert_int_equal(old.outcome, LEFT);
    client_done(&new);
    peer_close(&p);
}

static void when_a_flight_ends_before_it_began_they_look_again(void **state)
{
    struct flight_rig *r = *state;
    struct client c[3];
    struct peer p;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, 3, "/a");
    expect_fetch(r, &p, "GET /a");
    client_leave(&c[0]);
    rig_on(r->base.loops[0], stop_flights, &r->env[0]); /* its loop is going down */
    peer_expect_end(&p);
    AWAIT(c[1].lookups == 2 && c[2].lookups == 2);
    expect_fetch(r, &p, "GET /a"); /* one more fetch, for both */
    send_answer(&p, 200, FRESH, 10);
    for (unsigned k = 1; k < 3; k++) {
        expect_outcome(&c[k], SERVED);
        assert_int_equal(c[k].again, 1);
        assert_int_equal(c[k].lookups, 2);
    }
    assert_false(origin_has_caller(&r->origin));
    crowd_is_done(c, 3);
    peer_close(&p);
}

/* ---- what may not be shared ---- */

static void a_private_answer_is_its_leaders(void **state)
{
    struct flight_rig *r = *state;
    struct client c[MANY];
    struct peer p;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, MANY, "/a");
    expect_fetch(r, &p, "GET /a");
    send_head(&p, 200, PRIVATE, 1000);
    for (unsigned k = 1; k < MANY; k++)
        expect_outcome(&c[k], RELEASED); /* at the head: together, and at once */
    send_body(&p, 7, 0, 1000);
    expect_outcome(&c[0], SERVED);
    assert_int_equal(c[0].bytes, 1000);
    assert_false(c[0].is_stored);
    crowd_is_done(c, MANY);
    assert_int_equal(ask_once(r, 1, "/a"), CACHE_ALONE);
    peer_close(&p);
}

static void nobody_gets_it_when_the_leader_has_left(void **state)
{
    static const char *const heads[] = {PRIVATE, "Cache-Control: no-store\r\n", FRESH "Set-Cookie: a=b\r\n",
                                        FRESH "Vary: *\r\n"};
    struct flight_rig *r = *state;
    flight_rig_start(r, 2, NULL);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct client c[4];
        struct peer p;
        char path[16];
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        crowd_asks(r, c, 4, path);
        expect_fetch(r, &p, "GET ");
        client_leave(&c[0]);
        send_head(&p, 200, heads[i], 1000);
        for (unsigned k = 1; k < 4; k++)
            expect_outcome(&c[k], RELEASED);
        peer_expect_end(&p); /* nobody is left who may have it */
    }
}

static void a_private_error_is_told_to_the_others(void **state)
{
    static const struct {
        int status, err;
    } cases[] = {{500, ERR_PRIVATE_ERROR}, {503, ERR_PRIVATE_UNAVAILABLE}};
    struct flight_rig *r = *state;
    flight_rig_start(r, 2, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c[4];
        struct peer p;
        char path[16];
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        crowd_asks(r, c, 4, path);
        expect_fetch(r, &p, "GET ");
        send_answer(&p, cases[i].status, PRIVATE "Retry-After: 33\r\n", 10);
        expect_outcome(&c[0], SERVED);
        assert_int_equal(c[0].status, cases[i].status);
        for (unsigned k = 1; k < 4; k++) {
            expect_outcome(&c[k], FAILED);
            assert_int_equal(c[k].err, cases[i].err);
            assert_int_equal(c[k].waiter.retry_after_s, 33);
        }
        crowd_is_done(c, 4);
        peer_close(&p);
        rig_on(r->base.loops[0], do_nothing, NULL);
    }
}

/* ---- shared failure ---- */

static void an_error_is_for_all_who_wait_and_for_nobody_later(void **state)
{
    static const int statuses[] = {404, 410, 500, 502, 503};
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        struct client c[6];
        struct peer p;
        char path[16];
        snprintf(path, sizeof path, "/%d", statuses[i]);
        crowd_asks(r, c, 6, path);
        expect_fetch(r, &p, "GET ");
        send_head(&p, statuses[i], "", 1000);
        AWAIT(c[0].has_head);
        assert_int_equal(ask_once(r, 1, path), CACHE_WAIT);
        send_body(&p, 7, 0, 1000);
        for (unsigned k = 0; k < 6; k++) {
            expect_outcome(&c[k], SERVED);
            assert_int_equal(c[k].status, statuses[i]);
            assert_int_equal(c[k].bytes, 1000);
            assert_false(c[k].is_stored);
        }
        crowd_is_done(c, 6);
        peer_close(&p);
        rig_on(r->base.loops[0], do_nothing, NULL);
    }
}

static void no_answer_is_shared(void **state)
{
    struct flight_rig *r = *state;
    struct client c[6];
    struct peer p;
    flight_rig_start(r, 3,
                     (struct config_override[]){{"origins.default.head_timeout", "50ms"}, {NULL, NULL}});
    crowd_asks(r, c, 6, "/reset");
    expect_fetch(r, &p, "GET ");
    peer_reset(&p);
    for (unsigned k = 0; k < 6; k++) {
        expect_outcome(&c[k], FAILED);
        assert_int_equal(c[k].err, ERR_RESET);
    }
    crowd_asks(r, c, 6, "/hang");
    expect_fetch(r, &p, "GET ");
    for (unsigned k = 0; k < 6; k++) {
        expect_outcome(&c[k], FAILED);
        assert_int_equal(c[k].err, ERR_HEAD_TIMEOUT);
    }
    peer_expect_end(&p);
    assert_int_equal(ask_once(r, 2, "/hang"), CACHE_FAILED);
}

/* DESIGN.md section 9: disconnected, what may be served stale is, and to all. */
static void stale_for_all_when_the_origin_is_gone(void **state)
{
    struct flight_rig *r = *state;
    struct client c[6];
    struct peer p;
    flight_rig_start(r, 3, NULL);
    ask_for(&c[0], r, 0, "/a");
    expect_fetch(r, &p, "GET /a");
    send_answer(&p, 200, "Cache-Control: max-age=1\r\nAge: 5\r\nETag: \"a\"\r\n", 100);
    expect_outcome(&c[0], SERVED);
    client_done(&c[0]);
    peer_close(&p);
    for (unsigned i = 0; i < 3; i++)
        rig_on(r->base.loops[i], do_nothing, NULL);
    crowd_asks(r, c, 6, "/a");
    expect_fetch(r, &p, "GET /a");
    peer_reset(&p);
    for (unsigned k = 0; k < 6; k++) {
        expect_outcome(&c[k], SERVED);
        assert_true(c[k].was_stale);
        assert_int_equal(c[k].bytes, 100);
    }
    crowd_is_done(c, 6);
    rig_on(r->base.loops[0], do_nothing, NULL);
    ask_for(&c[0], r, 1, "/a"); /* the error is remembered, and what is stale with it */
    expect_outcome(&c[0], STALE);
    client_done(&c[0]);
}

static void a_body_that_breaks_off_cuts_all_and_is_not_kept(void **state)
{
    struct flight_rig *r = *state;
    struct client c[6];
    struct peer p;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, 6, "/a");
    expect_fetch(r, &p, "GET /a");
    send_head(&p, 200, FRESH, 1000);
    send_body(&p, 7, 0, 400);
    for (unsigned k = 0; k < 6; k++)
        AWAIT(c[k].bytes == 400);
    peer_close(&p);
    for (unsigned k = 0; k < 6; k++) {
        expect_outcome(&c[k], CUT);
        assert_int_equal(c[k].err, ERR_TRUNCATED);
    }
    crowd_is_done(c, 6);
    assert_int_equal(ask_once(r, 1, "/a"), CACHE_WAIT);
}

/* ---- variants ---- */

static void other_variants_look_again_together(void **state)
{
    struct flight_rig *r = *state;
    struct client c[9];
    struct peer p[3];
    static const char *const variants[] = {"1", "2", "3"};
    flight_rig_start(r, 3, NULL);
    for (unsigned k = 0; k < 9; k++) {
        client_init(&c[k], r, (k / 3 + k) % 3, "/a");
        c[k].variant = variants[k % 3];
        client_ask(&c[k]);
        assert_int_equal(c[k].answer, CACHE_WAIT);
    }
    peer_accept(&r->origin, &p[0]);
    assert_non_null(strstr(peer_expect(&p[0], "GET /a"), "X-V: 1\r\n"));
    send_answer(&p[0], 200, FRESH "Vary: X-V\r\nConnection: close\r\n", 100);
    for (unsigned k = 0; k < 9; k++)
        AWAIT(k % 3 == 0 || c[k].lookups == 2); /* all are seated before there is anything to hit */
    for (unsigned n = 1; n < 3; n++) {
        peer_accept(&r->origin, &p[n]);
        const char *head = peer_expect(&p[n], "GET /a");
        assert_null(strstr(head, "X-V: 1\r\n"));
        send_answer(&p[n], 200, FRESH "Vary: X-V\r\nConnection: close\r\n",
                    strstr(head, "X-V: 2\r\n") ? 200 : 300);
    }
    for (unsigned k = 0; k < 9; k++) {
        expect_outcome(&c[k], SERVED);
        assert_int_equal(c[k].bytes, 100 * (k % 3 + 1));
        assert_int_equal(c[k].varied, k % 3 != 0);
    }
    assert_false(origin_has_caller(&r->origin)); /* three fetches for nine clients */
    crowd_is_done(c, 9);
    for (unsigned n = 0; n < 3; n++)
        peer_close(&p[n]);
}

static void known_variants_do_not_wait_for_each_other(void **state)
{
    struct flight_rig *r = *state;
    struct client c[3];
    struct peer p[3];
    flight_rig_start(r, 1, NULL);
    for (unsigned k = 0; k < 3; k++) {
        client_init(&c[k], r, 0, "/a");
        c[k].variant = k == 0 ? "0" : k == 1 ? "1" : "2";
        client_ask(&c[k]);
        peer_accept(&r->origin, &p[k]);
        peer_expect(&p[k], "GET /a");
        if (k == 0) { /* from here on the key's Vary is known */
            send_head(&p[0], 200, FRESH "Vary: X-V\r\n", 10);
            AWAIT(c[0].has_head);
        }
    }
    assert_int_equal(metrics_total(METRIC_FLIGHTS), 3);
    send_body(&p[0], 7, 0, 10);
    for (unsigned k = 1; k < 3; k++)
        send_answer(&p[k], 200, FRESH "Vary: X-V\r\n", 10);
    for (unsigned k = 0; k < 3; k++) {
        expect_outcome(&c[k], SERVED);
        assert_int_equal(c[k].varied, 0);
        peer_close(&p[k]);
    }
    crowd_is_done(c, 3);
}

/* ---- HEAD ---- */

static void ask_head(struct client *c, struct flight_rig *r, unsigned at, const char *path)
{
    client_init(c, r, at, path);
    c->method = METHOD_HEAD;
    client_ask(c);
}

static void head_joins_get_but_get_never_head(void **state)
{
    struct flight_rig *r = *state;
    struct client get, head, second_head;
    struct peer p, q;
    flight_rig_start(r, 2, NULL);
    ask_for(&get, r, 0, "/a");
    ask_head(&head, r, 1, "/a");
    assert_false(head.waiter.is_leader);
    expect_fetch(r, &p, "GET /a");
    send_answer(&p, 200, FRESH, 10);
    expect_outcome(&get, SERVED);
    expect_outcome(&head, SERVED);
    client_done(&get);
    client_done(&head);
    peer_close(&p);

    ask_head(&head, r, 0, "/b");
    ask_head(&second_head, r, 1, "/b");
    assert_false(second_head.waiter.is_leader);
    expect_fetch(r, &p, "HEAD /b");
    ask_for(&get, r, 1, "/b");
    assert_true(get.waiter.is_leader);
    expect_fetch(r, &q, "GET /b");
    peer_send(&p, "HTTP/1.1 200 OK\r\n" FRESH "Content-Length: 10\r\n\r\n");
    expect_outcome(&head, SERVED);
    expect_outcome(&second_head, SERVED);
    assert_int_equal(head.bytes, 0);
    send_answer(&q, 200, FRESH, 10);
    expect_outcome(&get, SERVED);
    client_done(&get);
    client_done(&head);
    client_done(&second_head);
    peer_close(&p);
    peer_close(&q);
}

/* ---- limits ---- */

static void so_many_waiters(void **state)
{
    struct flight_rig *r = *state;
    static const struct {
        const char *name;
        enum limit_name limit;
        const char *path; /* of the third */
    } cases[] = {{"flight.max_waiters", LIMIT_MAX_WAITERS, "/a"},
                 {"flight.max_waiters_total", LIMIT_MAX_WAITERS_TOTAL, "/b"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c[3];
        struct peer p;
        int64_t reached = count_of_limit(cases[i].limit);
        flight_rig_start(r, 2, (struct config_override[]){{cases[i].name, "2"}, {NULL, NULL}});
        crowd_asks(r, c, 2, "/a");
        ask_for(&c[2], r, 1, cases[i].path);
        expect_outcome(&c[2], FAILED);
        assert_int_equal(c[2].err, ERR_BUSY);
        assert_int_equal(count_of_limit(cases[i].limit) - reached, 1);
        client_leave(&c[1]);
        ask_for(&c[2], r, 1, "/a"); /* there is room again */
        expect_fetch(r, &p, "GET /a");
        send_answer(&p, 200, FRESH, 10);
        expect_outcome(&c[0], SERVED);
        expect_outcome(&c[2], SERVED);
        crowd_is_done(c, 3);
        peer_close(&p);
        if (i == 0)
            flight_rig_stop(r);
    }
}

/* ---- what is too large to be kept ---- */

static const struct config_override small_store[] = {
    {"store.object_max", "100k"}, {"flight.window", "64k"}, {NULL, NULL}};

/* Sends until the other side takes no more, and gives how much went. */
static size_t send_until_full(struct peer *p, uint64_t from, size_t n)
{
    char piece[10000];
    size_t sent = 0;
    while (sent < n) {
        size_t now = MIN(n - sent, sizeof piece);
        put_bytes(piece, 7, from + sent, now);
        ssize_t k = send(p->fd, piece, now, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0) { /* full, or only not read yet: then it moves on */
            struct pollfd pfd = {.fd = p->fd, .events = POLLOUT};
            if (poll(&pfd, 1, 300) == 0)
                break;
            continue;
        }
        sent += (size_t)k;
    }
    return sent;
}

static void the_slowest_reader_sets_the_pace(void **state)
{
    enum { BODY = 40 << 20 };
    struct flight_rig *r = *state;
    struct client fast, slow;
    struct peer p;
    flight_rig_start(r, 2, small_store);
    ask_for(&fast, r, 0, "/a");
    client_init(&slow, r, 1, "/a");
    slow.stops_reading = true;
    client_ask(&slow);
    expect_fetch(r, &p, "GET /a");
    send_head(&p, 200, FRESH, BODY);
    size_t sent = send_until_full(&p, 0, BODY);
    assert_true(sent < BODY);
    AWAIT(fast.has_head && fast.bytes <= 64 * 1024 + 2 * LOOP_READ_BYTES);
    AWAIT(object_ram_bytes(fast.object) < 1 << 20);
    client_read_on(&slow);
    send_body(&p, 7, sent, BODY - sent);
    expect_outcome(&fast, SERVED);
    expect_outcome(&slow, SERVED);
    assert_int_equal(fast.bytes, BODY);
    assert_int_equal(slow.bytes, BODY);
    client_done(&fast);
    client_done(&slow);
    peer_close(&p);
}

static void when_the_slowest_leaves_the_others_go_on(void **state)
{
    enum { BODY = 20 << 20 };
    struct flight_rig *r = *state;
    struct client fast, slow;
    struct peer p;
    flight_rig_start(r, 2, small_store);
    ask_for(&fast, r, 0, "/a");
    client_init(&slow, r, 1, "/a");
    slow.stops_reading = true;
    client_ask(&slow);
    expect_fetch(r, &p, "GET /a");
    send_head(&p, 200, FRESH, BODY);
    size_t sent = send_until_full(&p, 0, BODY);
    assert_true(sent < BODY);
    client_leave(&slow);
    client_done(&slow);
    send_body(&p, 7, sent, BODY - sent);
    expect_outcome(&fast, SERVED);
    client_done(&fast);
    peer_close(&p);
}

/* Its length was not announced: that it is too large shows when its readers have got far already. */
static void it_grows_too_large_on_the_way(void **state)
{
    enum { BODY = 2 << 20 };
    struct flight_rig *r = *state;
    struct client c[3];
    struct peer p;
    flight_rig_start(r, 2, small_store);
    crowd_asks(r, c, 3, "/a");
    expect_fetch(r, &p, "GET /a");
    peer_send(&p, "HTTP/1.1 200 OK\r\n" FRESH "\r\n"); /* until close */
    send_body(&p, 7, 0, 50000);
    for (unsigned k = 0; k < 3; k++)
        AWAIT(c[k].bytes == 50000);
    send_body(&p, 7, 50000, BODY - 50000);
    peer_close(&p);
    for (unsigned k = 0; k < 3; k++) {
        expect_outcome(&c[k], SERVED);
        assert_int_equal(c[k].bytes, BODY);
    }
    crowd_is_done(c, 3);
    assert_int_equal(ask_once(r, 1, "/a"), CACHE_WAIT); /* not kept */
}

static void a_leader_who_wants_a_range_of_it_is_released_with_all(void **state)
{
    struct flight_rig *r = *state;
    struct client c[3];
    struct peer p;
    flight_rig_start(r, 2, small_store);
    for (unsigned k = 0; k < 3; k++) {
        client_init(&c[k], r, k % 2, "/a");
        c[k].waiter.wants_range = true;
        client_ask(&c[k]);
    }
    expect_fetch(r, &p, "GET /a");
    send_head(&p, 200, FRESH, 100 << 20);
    for (unsigned k = 0; k < 3; k++)
        expect_outcome(&c[k], RELEASED);
    peer_expect_end(&p); /* a byte of it never costs the whole */
    client_init(&c[0], r, 1, "/a");
    c[0].waiter.wants_range = true;
    client_ask(&c[0]);
    expect_outcome(&c[0], ALONE);
}

/* ---- seen from outside ---- */

struct listing {
    char key[64], state[8];
    uint64_t waiters, bytes;
    int n;
};

static void list_one(void *ctx, const struct flight_info *info)
{
    struct listing *l = ctx;
    l->n++;
    snprintf(l->key, sizeof l->key, "%.*s", SPAN_FMT(info->key));
    snprintf(l->state, sizeof l->state, "%s", info->state);
    l->waiters = info->waiters;
    l->bytes = info->bytes;
    assert_true(info->age_s >= 0);
}

static struct listing list_all(void)
{
    struct listing l = {.n = 0};
    flight_each_asking(list_one, &l);
    return l;
}

static void the_flights_that_ask_now_are_listed(void **state)
{
    struct flight_rig *r = *state;
    struct client c[3];
    struct peer p;
    flight_rig_start(r, 3, NULL);
    assert_int_equal(list_all().n, 0);
    crowd_asks(r, c, 3, "/a");
    expect_fetch(r, &p, "GET /a");
    struct listing l = list_all();
    assert_int_equal(l.n, 1);
    assert_string_equal(l.key, "/a");
    assert_string_equal(l.state, "head");
    assert_int_equal(l.waiters, 3);
    send_head(&p, 200, FRESH, 20);
    send_body(&p, 7, 0, 10);
    AWAIT(c[1].bytes == 10);
    l = list_all();
    assert_string_equal(l.state, "body");
    assert_int_equal(l.bytes, 10);
    send_body(&p, 7, 10, 10);
    for (unsigned k = 0; k < 3; k++)
        expect_outcome(&c[k], SERVED);
    AWAIT_COUNT(list_all().n, 0);
    crowd_is_done(c, 3);
    peer_close(&p);
}

/* ---- without memory ---- */

/* Answers every request on every connection, one after the other, until its listener is shut down. */
static void *serve_all(void *ctx)
{
    struct flight_rig *r = ctx;
    static struct peer p;
    for (;;) {
        p.len = 0;
        p.fd = accept(r->origin.fd, NULL, NULL);
        if (p.fd < 0)
            return NULL;
        for (ssize_t n; (n = recv(p.fd, p.in + p.len, sizeof p.in - 1 - p.len, 0)) > 0;) {
            p.len += (size_t)n;
            p.in[p.len] = '\0';
            if (strstr(p.in, "\r\n\r\n") == NULL)
                continue;
            static const char head[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n" FRESH
                                       "Vary: X-V\r\nETag: \"a\"\r\nContent-Length: 70000\r\n\r\n";
            static char body[70000];
            put_bytes(body, 7, 0, sizeof body);
            if (send(p.fd, head, sizeof head - 1, MSG_NOSIGNAL) > 0)
                for (size_t at = 0;
                     at < sizeof body && (n = send(p.fd, body + at, sizeof body - at, MSG_NOSIGNAL)) > 0;)
                    at += (size_t)n;
            break;
        }
        close(p.fd);
    }
}

static void arm(void *ctx)
{
    alloc_armed = *(bool *)ctx;
}

struct poor {
    struct flight_rig *rig;
    int round, failed, served;
};

/* Some ask together, then one more; whoever fails is told why. */
static void stampede(void *ctx)
{
    struct poor *w = ctx;
    struct client c[5];
    char path[32];
    alloc_armed = false;
    snprintf(path, sizeof path, "/%d", w->round++);
    for (unsigned k = 0; k < 5; k++) {
        client_init(&c[k], w->rig, 0, path);
        c[k].variant = k == 3 ? "other" : "one";
        client_ask(&c[k]);
        if (k == 3)
            for (unsigned i = 0; i < 4; i++)
                AWAIT(c[i].outcome != WAITING);
    }
    AWAIT(c[4].outcome != WAITING);
    for (unsigned k = 0; k < 5; k++) {
        assert_false(c[k].body_is_bad);
        if (c[k].outcome == SERVED || c[k].outcome == HIT) {
            assert_int_equal(c[k].bytes, 70000);
            w->served++;
        } else {
            assert_true(c[k].outcome == FAILED || c[k].outcome == CUT);
            assert_true(c[k].err != 0);
            w->failed++;
        }
        client_done(&c[k]);
    }
    AWAIT_COUNT(metrics_total(METRIC_FLIGHTS), 0);
    assert_int_equal(metrics_total(METRIC_WAITERS), 0);
}

static void flight_survives_each_failure(void **state)
{
    struct flight_rig *r = *state;
    struct poor w = {.rig = r};
    pthread_t server;
    flight_rig_start(r, 1, (struct config_override[]){{"flight.error_ttl", "0"}, {NULL, NULL}});
    assert_int_equal(pthread_create(&server, NULL, serve_all, r), 0);
    rig_on(r->base.loops[0], arm, &(bool){true});
    assert_true(alloc_fail_each(stampede, &w) >= 20);
    rig_on(r->base.loops[0], arm, &(bool){false});
    assert_true(w.failed > 0 && w.served > w.failed);
    shutdown(r->origin.fd, SHUT_RDWR);
    pthread_join(server, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_fetch_for_all),
        TEST(bytes_go_to_all_as_they_come),
        TEST(interim_answers_go_to_all_who_wait),
        TEST(the_leader_may_leave),
        TEST(when_all_have_left),
        TEST(a_newcomer_takes_over),
        TEST(when_a_flight_ends_before_it_began_they_look_again),
        TEST(a_private_answer_is_its_leaders),
        TEST(nobody_gets_it_when_the_leader_has_left),
        TEST(a_private_error_is_told_to_the_others),
        TEST(an_error_is_for_all_who_wait_and_for_nobody_later),
        TEST(no_answer_is_shared),
        TEST(stale_for_all_when_the_origin_is_gone),
        TEST(a_body_that_breaks_off_cuts_all_and_is_not_kept),
        TEST(other_variants_look_again_together),
        TEST(known_variants_do_not_wait_for_each_other),
        TEST(head_joins_get_but_get_never_head),
        TEST(so_many_waiters),
        TEST(the_slowest_reader_sets_the_pace),
        TEST(when_the_slowest_leaves_the_others_go_on),
        TEST(it_grows_too_large_on_the_way),
        TEST(a_leader_who_wants_a_range_of_it_is_released_with_all),
        TEST(the_flights_that_ask_now_are_listed),
        TEST(flight_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
