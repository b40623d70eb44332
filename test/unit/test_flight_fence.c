/* A purge in force that the loops have not passed yet: what the lookup, the head and the end of a fetch make
 * of it by themselves. The barrier itself is for test_purger and the wire. */
#include "shield/flight/flight.h"

#include "common/clock.h"
#include "shield/purge/purge_log.h"
#include "shield/purge/purge_tags.h"
#include "test/unit/flight_rig.h"

struct world {
    struct flight_rig rig;
    struct purge_log *log;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    origin_open(&w->rig.origin);
    flight_rig_start(&w->rig, 3, NULL);
    w->log = purge_log_new(1000, 1);
    cache_set_purges(w->rig.cache, w->log);
    for (unsigned i = 0; i < 3; i++)
        w->rig.env[i].purges = w->log;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    flight_rig_stop(&w->rig);
    origin_close(&w->rig.origin);
    purge_log_free(&w->log);
    free(w);
    return 0;
}

static void purge(struct world *w, enum purge_kind kind, const char *what, bool is_soft)
{
    bool collapsed;
    struct purge_record r = {.number = purge_log_number(w->log) + 1,
                             .kind = kind,
                             .is_soft = is_soft,
                             .at_ms = clock_wall_ms(),
                             .what = span_of(what)};
    assert_int_equal(purge_log_add(w->log, &r, 1, &collapsed), 0);
}

static void fence(void *env)
{
    flight_env_fence(env);
}

static void all_pass(struct world *w)
{
    for (unsigned i = 0; i < 3; i++)
        rig_on(w->rig.base.loops[i], fence, &w->rig.env[i]);
}

static void expect_fetch(struct world *w, struct peer *p)
{
    peer_accept(&w->rig.origin, p);
    peer_expect(p, "GET /a");
}

/* Fetch it, so that it is stored. */
static void store(struct world *w, const char *fields)
{
    struct client c;
    struct peer p;
    ask_for(&c, &w->rig, 0, "/a");
    expect_fetch(w, &p);
    send_answer(&p, 200, fields, 10);
    expect_outcome(&c, SERVED);
    assert_int_equal(object_head(c.object)->purge_number, purge_log_number(w->log));
    client_done(&c);
    rig_on(w->rig.base.loops[0], do_nothing, NULL);
    peer_close(&p);
}

#define TAGGED "Surrogate-Key: x red y\r\n"

/* Who comes after the number is in force joins nothing older, whether or not its owner has passed; the ledger
 * says that nothing is asked for twice. */
static void test_a_newcomer_joins_nothing_older(void **state)
{
    struct world *w = *state;
    struct client old, late[2];
    struct peer p, q;
    ask_for(&old, &w->rig, 0, "/a");
    expect_fetch(w, &p);
    purge(w, PURGE_URL, "/a", false);
    ask_for(&late[0], &w->rig, 1, "/a");
    assert_true(late[0].waiter.is_leader);
    ask_for(&late[1], &w->rig, 2, "/a");
    assert_false(late[1].waiter.is_leader);
    expect_fetch(w, &q);
    send_answer(&p, 200, FRESH, 10); /* too late, and found out by the head alone */
    AWAIT(old.again == 1 && old.lookups == 2);
    send_answer(&q, 200, FRESH, 20);
    expect_outcome(&old, SERVED);
    expect_outcome(&late[0], SERVED);
    expect_outcome(&late[1], SERVED);
    assert_int_equal(old.bytes, 20);
    assert_ptr_equal(old.object, late[0].object);
    assert_int_equal(metrics_total(METRIC_VIOLATION_ONE_FLIGHT), 0);
    client_done(&old);
    client_done(&late[0]);
    client_done(&late[1]);
    peer_close(&p);
    peer_close(&q);
}

static void test_the_head_tells_of_a_purge_by_tag(void **state)
{
    struct world *w = *state;
    struct client c;
    struct peer p, q;
    ask_for(&c, &w->rig, 0, "/a");
    expect_fetch(w, &p);
    purge(w, PURGE_TAG, "red", false);
    all_pass(w); /* nobody knows the tags yet */
    assert_int_equal(c.again, 0);
    send_head(&p, 200, FRESH TAGGED, 10);
    expect_fetch(w, &q);
    AWAIT(c.again == 1);
    send_answer(&q, 200, FRESH TAGGED, 20);
    expect_outcome(&c, SERVED);
    assert_int_equal(c.bytes, 20);
    client_done(&c);
    peer_close(&p);
    peer_close(&q);
}

/* The last moment: its head is out, and nobody has passed. */
static void test_it_is_not_stored_at_the_end(void **state)
{
    struct world *w = *state;
    struct client c, next;
    struct peer p;
    ask_for(&c, &w->rig, 0, "/a");
    expect_fetch(w, &p);
    send_head(&p, 200, FRESH, 10);
    AWAIT(c.has_head);
    purge(w, PURGE_ALL, "", false);
    send_body(&p, 7, 0, 10);
    expect_outcome(&c, SERVED);
    assert_int_equal(c.bytes, 10);
    client_done(&c);
    ask_for(&next, &w->rig, 1, "/a");
    assert_int_equal(next.answer, CACHE_WAIT);
    assert_int_equal(next.reason, MISSED_ABSENT);
    struct peer q;
    expect_fetch(w, &q);
    send_answer(&q, 200, FRESH, 10);
    expect_outcome(&next, SERVED);
    client_done(&next);
    peer_close(&p);
    peer_close(&q);
}

static void test_readers_go_on_behind_the_barrier(void **state)
{
    struct world *w = *state;
    struct client c;
    struct peer p;
    ask_for(&c, &w->rig, 1, "/a");
    expect_fetch(w, &p);
    send_head(&p, 200, FRESH, 10);
    AWAIT(c.has_head);
    purge(w, PURGE_URL, "/a", true);
    all_pass(w);
    assert_int_equal(metrics_total(METRIC_FLIGHTS), 0); /* it counts as none any more */
    send_body(&p, 7, 0, 10);
    expect_outcome(&c, SERVED);
    client_done(&c);
    peer_close(&p);
}

/* RFC 9111 section 4.3.4 meets a purge: soft, the 304 makes it as new as its fetch; hard, it says nothing. */
static void test_what_a_304_brings_back(void **state)
{
    struct world *w = *state;
    struct client c;
    struct peer p, q;
    store(w, "Cache-Control: no-cache\r\nETag: \"v\"\r\n" TAGGED);
    purge(w, PURGE_TAG, "red", true);
    ask_for(&c, &w->rig, 0, "/a");
    peer_accept(&w->rig.origin, &p);
    assert_non_null(strstr(peer_expect(&p, "GET /a"), "If-None-Match: \"v\""));
    peer_send(&p, "HTTP/1.1 304 X\r\n" FRESH "\r\n");
    expect_outcome(&c, SERVED);
    assert_true(c.was_validated);
    assert_int_equal(object_head(c.object)->purge_number, 1);
    client_done(&c);
    rig_on(w->rig.base.loops[0], do_nothing, NULL);

    purge(w, PURGE_TAG, "other", false);
    ask_for(&c, &w->rig, 1, "/a");
    expect_outcome(&c, HIT);
    client_done(&c);
    purge(w, PURGE_TAG, "red", false);
    ask_for(&c, &w->rig, 1, "/a");
    assert_int_equal(c.answer, CACHE_WAIT);
    peer_accept(&w->rig.origin, &q);
    assert_null(strstr(peer_expect(&q, "GET /a"), "If-None-Match"));
    send_answer(&q, 200, FRESH, 20);
    expect_outcome(&c, SERVED);
    client_done(&c);
    peer_close(&p);
    peer_close(&q);
}

/* A validation under way when its object goes for good. */
static void test_a_304_of_before_brings_nothing_back(void **state)
{
    struct world *w = *state;
    struct client c;
    struct peer p, q;
    store(w, "Cache-Control: no-cache\r\nETag: \"v\"\r\n" TAGGED);
    ask_for(&c, &w->rig, 0, "/a");
    peer_accept(&w->rig.origin, &p);
    assert_non_null(strstr(peer_expect(&p, "GET /a"), "If-None-Match: \"v\""));
    purge(w, PURGE_TAG, "red", false);
    peer_send(&p, "HTTP/1.1 304 X\r\n" FRESH "\r\n"); /* without tags of its own */
    peer_accept(&w->rig.origin, &q);
    assert_null(strstr(peer_expect(&q, "GET /a"), "If-None-Match"));
    send_answer(&q, 200, FRESH, 20);
    expect_outcome(&c, SERVED);
    assert_int_equal(c.bytes, 20);
    client_done(&c);
    peer_close(&p);
    peer_close(&q);
}

/* The answer to a HEAD renews fields, not the body: that is as old as it was. */
static void test_a_head_does_not_make_it_newer(void **state)
{
    struct world *w = *state;
    struct client c;
    struct peer p;
    store(w, "Cache-Control: no-cache\r\nETag: \"v\"\r\n" TAGGED);
    purge(w, PURGE_TAG, "none", false);
    client_init(&c, &w->rig, 0, "/a");
    c.method = METHOD_HEAD;
    client_ask(&c);
    peer_accept(&w->rig.origin, &p);
    peer_expect(&p, "HEAD /a");
    peer_send(&p, "HTTP/1.1 200 X\r\n" FRESH "ETag: \"v\"\r\n" TAGGED "Content-Length: 10\r\n\r\n");
    expect_outcome(&c, SERVED);
    client_done(&c);
    rig_on(w->rig.base.loops[0], do_nothing, NULL);
    ask_for(&c, &w->rig, 0, "/a");
    expect_outcome(&c, HIT);
    assert_int_equal(object_head(c.object)->purge_number, 0);
    client_done(&c);
    peer_close(&p);
}

/* The fetch of before fails when the purge is in force, and its loop has not passed yet. */
static void test_an_error_of_before_is_not_remembered(void **state)
{
    struct world *w = *state;
    struct client c;
    struct peer p;
    ask_for(&c, &w->rig, 0, "/a");
    expect_fetch(w, &p);
    purge(w, PURGE_URL, "/a", false);
    peer_close(&p);
    expect_outcome(&c, FAILED);
    rig_on(w->rig.base.loops[0], do_nothing, NULL);
    ask_for(&c, &w->rig, 1, "/a");
    expect_fetch(w, &p);
    send_answer(&p, 200, FRESH, 10);
    expect_outcome(&c, SERVED);
    client_done(&c);
    peer_close(&p);
}

/* ---- a purge in the middle of a lookup ---- */

enum { MOMENTS = 400, VARIANTS_IN_THE_AIR = 150 };

struct moment {
    struct world *w;
    struct client variants[VARIANTS_IN_THE_AIR], late;
    char names[VARIANTS_IN_THE_AIR][12];
    atomic_bool begun;
    int wait; /* how long the purge lets the lookup go first */
};

static void *purge_in_a_moment(void *ctx)
{
    struct moment *m = ctx;
    while (!atomic_load(&m->begun))
        ;
    for (int i = 0; i < m->wait; i++)
        (void)atomic_load(&m->begun);
    purge(m->w, PURGE_URL, "/a", true); /* what is stored stays, and with it what the key varies on */
    return NULL;
}

static void ask_in_a_moment(void *ctx)
{
    struct moment *m = ctx;
    atomic_store(&m->begun, true);
    ask_cache(&m->late);
}

static void ask_for_variants(void *ctx)
{
    struct moment *m = ctx;
    for (int i = 0; i < VARIANTS_IN_THE_AIR; i++) {
        snprintf(m->names[i], sizeof m->names[i], "%d", i);
        client_init(&m->variants[i], &m->w->rig, 0, "/a");
        m->variants[i].variant = m->names[i];
        ask_cache(&m->variants[i]);
    }
}

static void leave_variants(void *ctx)
{
    struct moment *m = ctx;
    for (int i = 0; i < VARIANTS_IN_THE_AIR; i++)
        leave_flight(&m->variants[i]);
}

/* It comes into force at any moment of a lookup on another loop, which many fetches of other variants make
 * long: who then starts a fetch of his own has put the old one out of the way first. */
static void test_a_purge_in_the_middle_of_a_lookup(void **state)
{
    struct world *w = *state;
    struct moment *m = calloc(1, sizeof *m);
    assert_non_null(m);
    store(w, FRESH "Vary: X-V\r\n");
    for (int n = 0; n < MOMENTS; n++) {
        pthread_t thread;
        *m = (struct moment){.w = w, .wait = n % 60 * 20};
        rig_on(w->rig.base.loops[0], ask_for_variants, m);
        assert_true(m->variants[VARIANTS_IN_THE_AIR - 1].waiter.is_leader);
        client_init(&m->late, &w->rig, 1, "/a");
        m->late.variant = m->names[0];
        assert_int_equal(pthread_create(&thread, NULL, purge_in_a_moment, m), 0);
        rig_on(w->rig.base.loops[1], ask_in_a_moment, m);
        pthread_join(thread, NULL);
        rig_on(w->rig.base.loops[0], leave_variants, m);
        client_leave(&m->late);
        assert_int_equal(metrics_total(METRIC_VIOLATION_ONE_FLIGHT), 0);
    }
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_newcomer_joins_nothing_older, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_head_tells_of_a_purge_by_tag, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_is_not_stored_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readers_go_on_behind_the_barrier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_a_304_brings_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_304_of_before_brings_nothing_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_head_does_not_make_it_newer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_error_of_before_is_not_remembered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_purge_in_the_middle_of_a_lookup, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
