#include "shield/cache/cache.h"

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

static struct cache_stats stats_of(struct flight_rig *r)
{
    struct cache_stats s;
    cache_get_stats(r->cache, &s);
    return s;
}

static struct ram_stats ram_of(struct flight_rig *r)
{
    struct ram_stats s;
    ram_get_stats(cache_ram(r->cache), &s);
    return s;
}

/* The flight's end has been through. */
static void settle_down(struct flight_rig *r)
{
    AWAIT_COUNT((int)stats_of(r).flights, 0);
    for (unsigned i = 0; i < r->base.n; i++)
        rig_on(r->base.loops[i], do_nothing, NULL);
}

/* One client on loop 0 asks, and the origin answers on the one connection of that loop. */
static void fetch_as(struct client *c, struct peer *peer, int status, const char *fields, uint64_t length)
{
    client_ask(c);
    assert_int_equal(c->answer, CACHE_WAIT);
    if (peer->fd < 0)
        peer_accept(&c->rig->origin, peer);
    peer_expect(peer, c->method == METHOD_HEAD ? "HEAD " : "GET ");
    send_answer(peer, status, fields, length);
    AWAIT(c->outcome != WAITING);
    settle_down(c->rig);
}

static void fetch(struct flight_rig *r, const char *path, const char *variant, struct peer *peer,
                  const char *fields)
{
    struct client c;
    client_init(&c, r, 0, path);
    c.variant = variant;
    fetch_as(&c, peer, 200, fields, 100);
    client_done(&c);
}

/* What the cache says, without waiting for anything. */
static enum cache_answer ask_once(struct flight_rig *r, const char *path, const char *variant)
{
    struct client c;
    client_init(&c, r, 0, path);
    c.variant = variant;
    client_ask(&c);
    if (c.outcome == WAITING)
        client_leave(&c);
    client_done(&c);
    settle_down(r);
    return c.answer;
}

/* ---- hits ---- */

static void a_miss_then_hits_on_every_loop(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    flight_rig_start(r, 2, NULL);
    fetch(r, "/a", NULL, &peer, FRESH);
    for (unsigned at = 0; at < 2; at++) {
        struct client c;
        ask_for(&c, r, at, "/a");
        expect_outcome(&c, HIT);
        assert_int_equal(c.bytes, 100);
        client_done(&c);
    }
    assert_int_equal(stats_of(r).entries, 1);
    peer_close(&peer);
}

static void released_before_asks_alone_with_what_it_may_validate(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    struct client c;
    flight_rig_start(r, 1, NULL);
    fetch(r, "/a", NULL, &peer, FRESH);
    client_init(&c, r, 0, "/a");
    c.only_new = true;
    client_ask(&c);
    expect_outcome(&c, ALONE);
    client_init(&c, r, 0, "/b");
    c.may_join = false;
    client_ask(&c);
    expect_outcome(&c, ALONE);
    assert_int_equal(c.reason, MISSED_REQUEST); /* it has no credentials that would be the reason */
    peer_close(&peer);
}

static void each_variant_is_its_own(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    struct client c;
    flight_rig_start(r, 1, (struct config_override[]){{"cache.max_variants", "2"}, {NULL, NULL}});
    fetch(r, "/a", "1", &peer, FRESH "Vary: X-V\r\n");
    client_init(&c, r, 0, "/a");
    c.variant = "2";
    fetch_as(&c, &peer, 200, FRESH "Vary: X-V\r\n", 100);
    assert_int_equal(c.reason, MISSED_VARY);
    client_done(&c);
    assert_int_equal(ask_once(r, "/a", "1"), CACHE_HIT);
    assert_int_equal(ask_once(r, "/a", "2"), CACHE_HIT);
    fetch(r, "/a", "3", &peer, FRESH "Vary: X-V\r\n"); /* beyond max_variants: the oldest goes */
    assert_int_equal(ask_once(r, "/a", "2"), CACHE_HIT);
    assert_int_equal(ask_once(r, "/a", "3"), CACHE_HIT);
    assert_int_equal(ram_of(r).objects, 2);
    assert_int_equal(ask_once(r, "/a", "1"), CACHE_WAIT);
    assert_int_equal(stats_of(r).entries, 1);
    peer_close(&peer);
}

static void what_leaves_memory_leaves_the_index(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    char path[16];
    flight_rig_start(r, 1, (struct config_override[]){{"store.ram", "1m"}, {NULL, NULL}});
    for (int i = 0; i < 20; i++) {
        struct client c;
        snprintf(path, sizeof path, "/%d", i);
        client_init(&c, r, 0, path);
        fetch_as(&c, &peer, 200, FRESH, 200000);
        expect_outcome(&c, SERVED);
        client_done(&c);
    }
    assert_true(ram_of(r).bytes <= 1 << 20);
    assert_true(ram_of(r).objects >= 4 && ram_of(r).evicted >= 15);
    assert_int_equal(stats_of(r).entries, ram_of(r).objects);
    assert_int_equal(ask_once(r, "/19", NULL), CACHE_HIT);
    peer_close(&peer);
}

/* RFC 9111 section 4.3: what is stale is validated, and its body is not fetched again. */
static void a_304_renews(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    struct client c;
    flight_rig_start(r, 1, NULL);
    fetch(r, "/a", NULL, &peer, "Cache-Control: max-age=0\r\nETag: \"v1\"\r\n");
    assert_int_equal(stats_of(r).entries, 1);
    ask_for(&c, r, 0, "/a");
    assert_int_equal(c.answer, CACHE_WAIT);
    assert_int_equal(c.reason, MISSED_EXPIRED);
    assert_non_null(strstr(peer_expect(&peer, "GET /a"), "If-None-Match: \"v1\"\r\n"));
    peer_send(&peer, "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nCache-Control: max-age=60\r\n\r\n");
    expect_outcome(&c, SERVED);
    assert_true(c.was_validated);
    assert_int_equal(c.bytes, 100);
    client_done(&c);
    settle_down(r);
    assert_int_equal(ask_once(r, "/a", NULL), CACHE_HIT);
    assert_int_equal(ram_of(r).objects, 1);
    peer_close(&peer);
}

/* ---- what is remembered without being stored ---- */

static void the_uncacheable_is_remembered(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    struct client c;
    flight_rig_start(r, 1, NULL);
    fetch(r, "/a", NULL, &peer, PRIVATE);
    assert_int_equal(stats_of(r).marks, 1);
    ask_for(&c, r, 0, "/a");
    expect_outcome(&c, ALONE);
    assert_int_equal(c.reason, MISSED_UNCACHEABLE);
    peer_close(&peer);
}

static void without_uncacheable_ttl_nothing_stays(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    flight_rig_start(r, 1, (struct config_override[]){{"flight.uncacheable_ttl", "0"}, {NULL, NULL}});
    fetch(r, "/a", NULL, &peer, PRIVATE);
    assert_int_equal(stats_of(r).marks, 0);
    assert_int_equal(stats_of(r).entries, 0);
    peer_close(&peer);
}

static void the_memory_of_the_uncacheable_is_bounded(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    int64_t reached = count_of_limit(LIMIT_MAX_UNCACHEABLE);
    char path[16];
    flight_rig_start(r, 1, (struct config_override[]){{"cache.max_uncacheable", "256"}, {NULL, NULL}});
    for (int i = 0; i < 600; i++) {
        snprintf(path, sizeof path, "/%d", i);
        fetch(r, path, NULL, &peer, PRIVATE);
    }
    assert_true(stats_of(r).marks <= 256);
    assert_true(stats_of(r).marks > 100);
    assert_int_equal(stats_of(r).entries, stats_of(r).marks);
    assert_true(count_of_limit(LIMIT_MAX_UNCACHEABLE) > reached);
    peer_close(&peer);
}

static void no_answer_is_remembered_for_a_while(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer;
    struct client c;
    flight_rig_start(r, 2, (struct config_override[]){{"flight.error_ttl", "30s"}, {NULL, NULL}});
    ask_for(&c, r, 0, "/a");
    peer_accept(&r->origin, &peer);
    peer_expect(&peer, "GET /a");
    peer_close(&peer);
    expect_outcome(&c, FAILED);
    assert_int_equal(c.err, ERR_RESET);
    ask_for(&c, r, 1, "/a");
    expect_outcome(&c, FAILED);
    assert_int_equal(c.answer, CACHE_FAILED);
    assert_int_equal(c.err, ERR_RESET);
    assert_int_equal(ask_once(r, "/b", NULL), CACHE_WAIT); /* another key */
}

static void an_answer_clears_it(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer;
    struct client c;
    flight_rig_start(r, 1, (struct config_override[]){{"flight.error_ttl", "1ms"}, {NULL, NULL}});
    ask_for(&c, r, 0, "/a");
    peer_accept(&r->origin, &peer);
    peer_expect(&peer, "GET /a");
    peer_close(&peer);
    expect_outcome(&c, FAILED);
    do /* until the time is over */
        ask_for(&c, r, 0, "/a");
    while (c.answer == CACHE_FAILED);
    peer_accept(&r->origin, &peer);
    peer_expect(&peer, "GET /a");
    send_answer(&peer, 200, FRESH, 10);
    expect_outcome(&c, SERVED);
    client_done(&c);
    settle_down(r);
    assert_int_equal(stats_of(r).marks, 0);
    assert_int_equal(ask_once(r, "/a", NULL), CACHE_HIT);
    peer_close(&peer);
}

/* While the origin is away, every key that is asked for fails: what is remembered of that is bounded too. */
static void the_memory_of_errors_is_bounded(void **state)
{
    struct flight_rig *r = *state;
    char path[16];
    flight_rig_start(r, 1,
                     (struct config_override[]){{"cache.max_uncacheable", "256"},
                                                {"origins.default.connect_attempts", "1"},
                                                {"origins.default.down_after", "0"},
                                                {NULL, NULL}});
    shutdown(r->origin.fd, SHUT_RDWR); /* connections are refused from now on */
    for (int i = 0; i < 600; i++) {
        struct client c;
        snprintf(path, sizeof path, "/%d", i);
        ask_for(&c, r, 0, path);
        expect_outcome(&c, FAILED);
        assert_int_equal(c.err, ERR_CONNECT);
    }
    assert_true(stats_of(r).marks <= 256);
    assert_int_equal(stats_of(r).entries, stats_of(r).marks);
}

static void max_flights(void **state)
{
    struct flight_rig *r = *state;
    struct client a, b;
    int64_t reached = count_of_limit(LIMIT_MAX_FLIGHTS);
    flight_rig_start(r, 1, (struct config_override[]){{"flight.max_flights", "1"}, {NULL, NULL}});
    ask_for(&a, r, 0, "/a");
    ask_for(&b, r, 0, "/b");
    expect_outcome(&b, FAILED);
    assert_int_equal(b.err, ERR_BUSY);
    assert_int_equal(count_of_limit(LIMIT_MAX_FLIGHTS) - reached, 1);
    ask_for(&b, r, 0, "/a"); /* joining is no new flight */
    assert_int_equal(b.outcome, WAITING);
    client_leave(&a);
    client_leave(&b);
    settle_down(r);
    assert_int_equal(stats_of(r).entries, 0);
}

/* ---- the disk asks before it evicts ---- */

static struct object *stored(struct flight_rig *r, const char *path)
{
    struct client c;
    ask_for(&c, r, 0, path);
    assert_int_equal(c.outcome, HIT);
    return c.object;
}

static void what_may_be_evicted(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    struct client c;
    flight_rig_start(r, 1, NULL);
    uint64_t hash = cache_hash(r->cache, SPAN("/a"));
    assert_true(cache_may_evict(r->cache, hash, 5)); /* nobody knows it */
    ask_for(&c, r, 0, "/a");
    assert_false(cache_may_evict(r->cache, hash, 5)); /* a flight works on its key */
    peer_accept(&r->origin, &peer);
    peer_expect(&peer, "GET /a");
    send_answer(&peer, 200, FRESH, 10);
    expect_outcome(&c, SERVED);
    client_done(&c);
    settle_down(r);

    struct object *o = stored(r, "/a");
    object_set_disk_id(o, 5);
    object_set_flags(o, OBJECT_ON_DISK | OBJECT_STORING, 0);
    assert_false(cache_may_evict(r->cache, hash, 5)); /* not durable yet */
    object_set_flags(o, 0, OBJECT_STORING);
    object_pin(o);
    assert_false(cache_may_evict(r->cache, hash, 5)); /* somebody reads it */
    object_unpin(o);
    assert_true(cache_may_evict(r->cache, hash, 6)); /* an older record of the same key */
    assert_int_equal(object_flags(o), OBJECT_ON_DISK);
    assert_true(cache_may_evict(r->cache, hash, 5)); /* it is in memory whole: only the disk forgets it */
    assert_int_equal(object_flags(o), 0);
    assert_int_equal(ask_once(r, "/a", NULL), CACHE_HIT);

    object_set_flags(o, OBJECT_ON_DISK, 0);
    object_set_resident(o, false);
    assert_true(
        cache_may_evict(r->cache, hash, 5)); /* its chunks are on disk only: the index forgets it as well */
    assert_int_equal(stats_of(r).entries, 0);
    assert_int_equal(ram_of(r).objects, 0);
    object_unref(&o);
    peer_close(&peer);
}

/* ---- invalidation ---- */

struct invalidation {
    struct flight_rig *rig;
    unsigned at;
    const char *path;
};

static void do_invalidate(void *ctx)
{
    struct invalidation *i = ctx;
    cache_invalidate(i->rig->cache, &i->rig->env[i->at], span_of(i->path));
}

static void invalidate(struct flight_rig *r, unsigned at, const char *path)
{
    struct invalidation i = {r, at, path};
    rig_on(r->base.loops[at], do_invalidate, &i);
}

static void invalidation_forgets_all_variants(void **state)
{
    struct flight_rig *r = *state;
    struct peer peer = {.fd = -1};
    flight_rig_start(r, 2, NULL);
    fetch(r, "/a", "1", &peer, FRESH "Vary: X-V\r\n");
    fetch(r, "/a", "2", &peer, FRESH "Vary: X-V\r\n");
    fetch(r, "/b", "1", &peer, FRESH "Vary: X-V\r\n");
    invalidate(r, 1, "/nothing");
    invalidate(r, 1, "/a");
    assert_int_equal(stats_of(r).entries, 1);
    assert_int_equal(ram_of(r).objects, 1);
    assert_int_equal(ask_once(r, "/b", "1"), CACHE_HIT);
    assert_int_equal(ask_once(r, "/a", "1"), CACHE_WAIT);
    peer_expect_end(&peer);
}

/* What a flight brings that was in the air is for those who had joined; the next asks anew, beside it, and
 * only that is stored. */
static void fence(struct flight_rig *r, bool has_head, const char *fields)
{
    struct peer old = {.fd = -1}, new = {.fd = -1};
    struct client before, after, later;
    ask_for(&before, r, 0, "/a");
    peer_accept(&r->origin, &old);
    peer_expect(&old, "GET /a");
    if (has_head) {
        send_head(&old, 200, fields, 20);
        AWAIT(before.has_head);
    }
    invalidate(r, 1, "/a");
    ask_for(&after, r, 0, "/a");
    assert_int_equal(after.answer, CACHE_WAIT);
    peer_accept(&r->origin, &new);
    peer_expect(&new, "GET /a");
    if (!has_head)
        send_head(&old, 200, fields, 20);
    send_body(&old, 1, 0, 20);
    expect_outcome(&before, SERVED);
    ask_for(&later, r, 1, "/a");
    assert_int_equal(later.answer, CACHE_WAIT); /* the old one was not stored */
    send_answer(&new, 200, FRESH, 10);
    expect_outcome(&after, SERVED);
    expect_outcome(&later, SERVED);
    assert_int_equal(after.salt, 7);
    assert_int_equal(later.salt, 7);
    client_done(&before);
    client_done(&after);
    client_done(&later);
    settle_down(r);
    struct object *o = stored(r, "/a");
    assert_int_equal(object_length(o), 10);
    object_unref(&o);
    invalidate(r, 0, "/a");
    peer_close(&old);
    peer_close(&new);
    assert_int_equal(stats_of(r).entries, 0);
}

static void invalidation_fences_a_flight_in_its_body(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 2, NULL);
    fence(r, true, FRESH);
}

static void invalidation_fences_a_flight_without_head(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 2, NULL);
    fence(r, false, FRESH);
}

static void a_fenced_flight_may_turn_out_uncacheable(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 2, NULL);
    fence(r, false, PRIVATE);
}

/* ---- without memory ---- */

static void make_cache(void *ctx)
{
    struct cache *c = cache_new(1 << 20, 1);
    cache_free(&c);
}

static void cache_survives_each_failure(void **state)
{
    assert_true(alloc_fail_each(make_cache, NULL) >= 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_miss_then_hits_on_every_loop),
        TEST(released_before_asks_alone_with_what_it_may_validate),
        TEST(each_variant_is_its_own),
        TEST(what_leaves_memory_leaves_the_index),
        TEST(a_304_renews),
        TEST(the_uncacheable_is_remembered),
        TEST(without_uncacheable_ttl_nothing_stays),
        TEST(the_memory_of_the_uncacheable_is_bounded),
        TEST(no_answer_is_remembered_for_a_while),
        TEST(an_answer_clears_it),
        TEST(the_memory_of_errors_is_bounded),
        TEST(max_flights),
        TEST(what_may_be_evicted),
        TEST(invalidation_forgets_all_variants),
        TEST(invalidation_fences_a_flight_in_its_body),
        TEST(invalidation_fences_a_flight_without_head),
        TEST(a_fenced_flight_may_turn_out_uncacheable),
        cmocka_unit_test(cache_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
