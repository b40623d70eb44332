#include "shield/purge/purger.h"

#include "test/unit/alloc_fail.h"
#include "test/unit/loops_rig.h"

/* Loops that count what passes them, and callers that note their receipts. */
struct rig {
    struct loops_rig base;
    struct purge_log *log;
    struct purger *purger;
    int passes[RIG_LOOPS];
    uint64_t number_seen[RIG_LOOPS]; /* by the last pass */
};

struct caller {
    struct rig *rig;
    unsigned at;
    const char *url, *reference;
    int receipts;
    int passes_then; /* of all loops, when the receipt came */
    bool on_own_loop;
    int err; /* what the last order returned */
    struct purge_receipt receipt;
};

static void on_pass(void *ctx, struct loop *here)
{
    struct rig *r = ctx;
    TELL(r->passes[here->id]++; r->number_seen[here->id] = purge_log_number(r->log));
}

static void on_receipt(void *ctx, const struct purge_receipt *receipt)
{
    struct caller *c = ctx;
    TELL(c->receipts++; c->receipt = *receipt; c->on_own_loop = loop_is_current(c->rig->base.loops[c->at]);
         c->passes_then = 0;
         for (unsigned i = 0; i < c->rig->base.n; i++) c->passes_then += c->rig->passes[i]);
}

static void order(void *ctx)
{
    struct caller *c = ctx;
    struct purge_item item = {.kind = c->url != NULL ? PURGE_URL : PURGE_ALL,
                              .what = c->url != NULL ? span_of(c->url) : SPAN("")};
    struct purge_order o = {
        .items = &item, .n_items = 1, .reference = c->reference != NULL ? span_of(c->reference) : SPAN("")};
    int before = c->receipts;
    c->err = purger_order(c->rig->purger, c->rig->base.loops[c->at], &o, on_receipt, c);
    REQUIRE(c->receipts == before); /* never from inside the call */
}

static void start(struct rig *r, unsigned n)
{
    static const struct config_override settings[] = {{"origin", "http://127.0.0.1:1"}, {0}};
    memset(r, 0, sizeof *r);
    rig_start(&r->base, n, settings);
    r->log = purge_log_new(1000, 1);
    struct purger_options options = {
        .log = r->log, .loops = r->base.loops, .n_loops = n, .pass = on_pass, .ctx = r};
    assert_int_equal(purger_new(&r->purger, &options), 0);
}

static void stop(struct rig *r)
{
    rig_stop(&r->base);
    purger_free(&r->purger);
    purge_log_free(&r->log);
}

static void give(struct caller *c)
{
    rig_on(c->rig->base.loops[c->at], order, c);
}

static void test_all_loops_pass_before_the_receipt(void **state)
{
    struct rig r;
    start(&r, 3);
    struct caller c = {.rig = &r, .at = 1};
    for (int n = 1; n <= 20; n++) {
        give(&c);
        AWAIT(c.receipts == n);
        assert_int_equal(c.receipt.err, 0);
        assert_int_equal(c.receipt.number, n);
        assert_true(c.receipt.is_durable && !c.receipt.is_repeat && c.on_own_loop);
        assert_int_equal(c.passes_then, 3 * n);
        for (int i = 0; i < 3; i++)
            assert_int_equal(r.number_seen[i], n);
    }
    stop(&r);
}

struct gate {
    sem_t entered, open;
};

static void wait_at_gate(void *ctx)
{
    struct gate *g = ctx;
    sem_post(&g->entered);
    while (sem_wait(&g->open) != 0)
        ;
}

struct blocked {
    struct loop *loop;
    struct gate gate;
    pthread_t thread;
};

static void *block(void *ctx)
{
    struct blocked *b = ctx;
    rig_on(b->loop, wait_at_gate, &b->gate);
    return NULL;
}

static void test_a_loop_that_has_not_passed_holds_it_up(void **state)
{
    struct rig r;
    start(&r, 2);
    struct blocked b = {.loop = r.base.loops[1]};
    sem_init(&b.gate.entered, 0, 0);
    sem_init(&b.gate.open, 0, 0);
    pthread_create(&b.thread, NULL, block, &b);
    while (sem_wait(&b.gate.entered) != 0)
        ;
    struct caller c = {.rig = &r, .at = 0, .reference = "a"}, again = c;
    give(&c);
    give(&again); /* in force, but not through: it waits for the first */
    AWAIT(r.passes[0] == 1);
    assert_int_equal(purge_log_number(r.log), 1);
    rig_on(r.base.loops[0], do_nothing, NULL);
    assert_int_equal(c.receipts + again.receipts, 0);
    sem_post(&b.gate.open);
    pthread_join(b.thread, NULL);
    AWAIT(c.receipts == 1 && again.receipts == 1);
    assert_int_equal(again.receipt.number, 1);
    assert_true(again.receipt.is_repeat && !c.receipt.is_repeat);
    assert_int_equal(r.passes[0], 1);
    sem_destroy(&b.gate.entered);
    sem_destroy(&b.gate.open);
    stop(&r);
}

static void test_what_cannot_be_read_purges_nothing(void **state)
{
    struct rig r;
    start(&r, 1);
    struct caller c = {.rig = &r, .url = "not a url"};
    give(&c);
    AWAIT(c.receipts == 1);
    assert_int_equal(c.receipt.err, ERR_SYNTAX);
    assert_int_equal(purge_log_number(r.log), 0);
    assert_int_equal(r.passes[0], 0);
    stop(&r);
}

static void test_references_are_bounded(void **state)
{
    struct rig r;
    char name[32];
    start(&r, 1);
    struct caller c = {.rig = &r, .url = "http://h/", .reference = name};
    for (int n = 0; n <= PURGER_REFERENCES; n++) {
        snprintf(name, sizeof name, "%d", n);
        give(&c);
        AWAIT(c.receipts == n + 1);
        assert_false(c.receipt.is_repeat);
    }
    give(&c); /* the newest is known, the oldest no longer */
    AWAIT(c.receipts == PURGER_REFERENCES + 2);
    assert_true(c.receipt.is_repeat && c.receipt.number == PURGER_REFERENCES + 1);
    snprintf(name, sizeof name, "0");
    give(&c);
    AWAIT(c.receipts == PURGER_REFERENCES + 3);
    assert_false(c.receipt.is_repeat);
    stop(&r);
}

static void order_without_memory(void *ctx)
{
    alloc_armed = true;
    order(ctx);
    alloc_armed = false;
}

/* Each order ends once, whichever allocation fails: by what is returned, or by a receipt. */
static void test_without_memory(void **state)
{
    struct rig r;
    start(&r, 2);
    struct caller c = {.rig = &r, .url = "http://h/a", .reference = "a"};
    int failures = 0, receipts = 0;
    for (bool failed = true; failed; failures += failed) {
        char name[16];
        snprintf(name, sizeof name, "%d", failures);
        c.reference = name;
        alloc_fail_after(failures);
        rig_on(r.base.loops[0], order_without_memory, &c);
        failed = alloc_calm();
        assert_true(c.err == 0 || (failed && c.err == ERR_NOMEM));
        receipts += c.err == 0;
        AWAIT(c.receipts == receipts);
        if (c.err == 0)
            assert_true(c.receipt.err == 0 || (failed && c.receipt.err == ERR_NOMEM));
    }
    assert_true(failures > 2 && receipts < failures + 1);
    stop(&r);
}

static void end_loop(struct rig *r, unsigned i)
{
    rig_on(r->base.loops[i], stop_loop, &r->base.pool[i]);
    pthread_join(r->base.threads[i], NULL);
}

/* One loop has ended and never passes; the other ends after it, and is gone when the barrier is through. */
static void test_what_is_under_way_ends_with_the_loops(void **state)
{
    struct rig r;
    start(&r, 2);
    struct caller c = {.rig = &r, .at = 0, .reference = "a"}, again = c;
    end_loop(&r, 1);
    give(&c);
    give(&again);
    AWAIT(r.passes[0] == 1);
    end_loop(&r, 0);
    purger_close(r.purger);
    loop_fini(&r.base.loop[0]);
    loop_fini(&r.base.loop[1]);
    assert_int_equal(c.receipts + again.receipts, 0);
    purger_free(&r.purger);
    assert_int_equal(c.receipts, 1);
    assert_int_equal(again.receipts, 1);
    assert_true(c.receipt.err == 0 && again.receipt.is_repeat);
    purge_log_free(&r.log);
    gate_free(&r.base.gates[0]);
    config_unref(&r.base.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_loops_pass_before_the_receipt),
        cmocka_unit_test(test_a_loop_that_has_not_passed_holds_it_up),
        cmocka_unit_test(test_what_cannot_be_read_purges_nothing),
        cmocka_unit_test(test_references_are_bounded),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_what_is_under_way_ends_with_the_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
