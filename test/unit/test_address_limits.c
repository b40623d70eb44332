#include "shield/http/address_limits.h"

#include <arpa/inet.h>

#include "test/unit/loops_rig.h"

/* A loop that only has a clock, a config and counters: time is what the test says. */
struct clockwork {
    struct loop loop;
    struct address_limits *t;
};

static void open_clockwork(struct clockwork *w, const struct config_override *more)
{
    struct config_override settings[8] = {{"origin", "http://127.0.0.1:1"}};
    for (size_t i = 0; more[i].name != NULL; i++)
        settings[1 + i] = more[i];
    *w = (struct clockwork){.t = address_limits_new(7)};
    assert_non_null(w->t);
    w->loop.config = rig_config(settings);
    w->loop.metrics = metrics_slot_new();
    assert_non_null(w->loop.metrics);
    w->loop.uv.time = 5000;
}

static void close_clockwork(struct clockwork *w)
{
    address_limits_free(&w->t);
    assert_null(w->t);
    config_unref(&w->loop.config);
}

static int64_t limited(const struct clockwork *w, enum limit_name limit)
{
    return w->loop.metrics->limits[limit];
}

static struct netaddr_cidr peer(const char *text)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    struct netaddr_cidr addr;
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&ss)->sin_addr) == 1)
        ss.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&ss)->sin6_addr) == 1)
        ss.ss_family = AF_INET6;
    assert_true(netaddr_cidr_of((const struct sockaddr *)&ss, &addr));
    return addr;
}

static int enter(struct clockwork *w, const char *text, struct address **out, uint32_t *n)
{
    struct netaddr_cidr addr = peer(text);
    return address_enter(w->t, &w->loop, &addr, out, n);
}

static struct address *entered(struct clockwork *w, const char *text)
{
    struct address *a;
    uint32_t n;
    assert_int_equal(enter(w, text, &a, &n), 0);
    return a;
}

static void leave(struct clockwork *w, struct address *a)
{
    address_leave(&w->loop, &a);
    assert_null(a);
}

static uint32_t take(struct clockwork *w, struct address *a)
{
    return address_take(&w->loop, a);
}

#define WITH(...) ((const struct config_override[]){__VA_ARGS__, {NULL, NULL}})

/* ---- who is counted, and as whom ---- */

static void test_the_same_address_or_not(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"::c000:201", "192.0.2.1", false},
        {"0.0.0.0", "::", false},
    };
    struct clockwork w;
    open_clockwork(&w, WITH({"client.max_connections_per_ip", "9"}));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address *a = entered(&w, rows[i].a), *b = entered(&w, rows[i].b);
        assert_non_null(a);
        assert_true((a == b) == rows[i].same);
        leave(&w, a);
        leave(&w, b);
    }
    assert_int_equal(address_limits_count(w.t), 0);
    close_clockwork(&w);
}

static void test_who_is_not_counted(void **state)
{
    struct clockwork w;
    open_clockwork(
        &w, WITH({"client.max_connections_per_ip", "1"}, {"edges.trusted", "10.0.0.0/8,2001:db8::/32"}));
    static const char *const free_of_it[] = {"10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "a Unix socket"};
    for (size_t i = 0; i < ARRAY_LEN(free_of_it); i++)
        assert_null(entered(&w, free_of_it[i]));
    leave(&w, NULL);
    assert_int_equal(take(&w, NULL), 0);
    close_clockwork(&w);

    open_clockwork(&w, WITH({"client.requests_burst_per_ip", "1"}));
    assert_null(entered(&w, "192.0.2.1"));
    close_clockwork(&w);
}

/* ---- connections ---- */

static void test_connections_of_one_address(void **state)
{
    struct clockwork w;
    struct address *a[4], *other;
    uint32_t n;
    open_clockwork(&w, WITH({"client.max_connections_per_ip", "2"}));
    a[0] = entered(&w, "192.0.2.1");
    a[1] = entered(&w, "192.0.2.1");
    for (int i = 2; i < 4; i++) {
        assert_int_equal(enter(&w, "192.0.2.1", &a[i], &n), ERR_ADDRESS_CONNECTIONS);
        assert_int_equal(n, i + 1);
    }
    assert_int_equal(limited(&w, LIMIT_MAX_CONNECTIONS_PER_IP), 2);
    other = entered(&w, "192.0.2.2");
    leave(&w, other);
    for (int i = 1; i < 4; i++) /* who was turned away leaves too */
        leave(&w, a[i]);
    a[1] = entered(&w, "192.0.2.1");
    leave(&w, a[1]);
    leave(&w, a[0]);
    assert_int_equal(address_limits_count(w.t), 0);
    close_clockwork(&w);
}

/* ---- requests ---- */

static void test_a_bucket_of_requests(void **state)
{
    struct clockwork w;
    open_clockwork(&w, WITH({"client.max_requests_per_ip", "10"}));
    struct address *a = entered(&w, "192.0.2.1");
    for (int i = 0; i < 10; i++)
        assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, a), 1);
    assert_int_equal(limited(&w, LIMIT_MAX_REQUESTS_PER_IP), 1);
    w.loop.uv.time += 99;
    assert_int_equal(take(&w, a), 1);
    w.loop.uv.time += 1; /* a token a tenth of a second */
    assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, a), 1);
    w.loop.uv.time += 60000; /* no more than the burst, however long the pause */
    for (int i = 0; i < 10; i++)
        assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, a), 1);
    leave(&w, a);
    close_clockwork(&w);
}

static void test_a_burst_of_its_own(void **state)
{
    struct clockwork w;
    open_clockwork(&w, WITH({"client.max_requests_per_ip", "1"}, {"client.requests_burst_per_ip", "3"}));
    struct address *a = entered(&w, "2001:db8::1");
    for (int i = 0; i < 3; i++)
        assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, a), 1);
    w.loop.uv.time += 2000;
    assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, a), 1);
    leave(&w, a);
    close_clockwork(&w);
}

/* A new connection is no new bucket, and all of an address have the same. */
static void test_the_bucket_outlives_the_connection(void **state)
{
    struct clockwork w;
    open_clockwork(&w, WITH({"client.max_requests_per_ip", "2"}));
    struct address *a = entered(&w, "192.0.2.1"), *b = entered(&w, "192.0.2.1");
    assert_int_equal(take(&w, a), 0);
    assert_int_equal(take(&w, b), 0);
    assert_int_equal(take(&w, a), 1);
    leave(&w, a);
    leave(&w, b);
    a = entered(&w, "192.0.2.1");
    assert_int_equal(take(&w, a), 1);
    leave(&w, a);
    assert_int_equal(address_limits_count(w.t), 1);
    w.loop.uv.time += 1000; /* it owes nothing any more */
    a = entered(&w, "192.0.2.1");
    leave(&w, a);
    assert_int_equal(address_limits_count(w.t), 0);
    close_clockwork(&w);
}

/* ---- the bound of the table ---- */

static struct address *nth(struct clockwork *w, unsigned n)
{
    char text[64];
    snprintf(text, sizeof text, "2001:db8:%x:%x::1", n >> 16, n & 0xffff);
    return entered(w, text);
}

enum { BOUND = 640, SWEEP = 20000 };

static void test_a_sweep_is_forgotten(void **state)
{
    struct clockwork w;
    open_clockwork(&w, WITH({"client.max_requests_per_ip", "1"}, {"client.max_addresses", "640"}));
    for (unsigned i = 0; i < SWEEP; i++) {
        struct address *a = nth(&w, i);
        assert_non_null(a);
        assert_int_equal(take(&w, a), 0);
        leave(&w, a);
        assert_true(address_limits_count(w.t) <= BOUND);
    }
    assert_int_equal(limited(&w, LIMIT_MAX_ADDRESSES),
                     0); /* somebody who had left could always be forgotten */
    close_clockwork(&w);
}

static void test_a_table_of_connected_addresses_locks_nobody_out(void **state)
{
    struct clockwork w;
    static struct address *held[SWEEP];
    open_clockwork(&w, WITH({"client.max_connections_per_ip", "1"}, {"client.max_addresses", "640"}));
    unsigned uncounted = 0;
    for (unsigned i = 0; i < SWEEP; i++)
        uncounted += (held[i] = nth(&w, i)) == NULL;
    assert_true(address_limits_count(w.t) <= BOUND);
    assert_int_equal(address_limits_count(w.t) + uncounted, SWEEP);
    assert_int_equal(limited(&w, LIMIT_MAX_ADDRESSES), uncounted);
    for (unsigned i = 0; i < SWEEP; i++)
        leave(&w, held[i]);
    assert_int_equal(address_limits_count(w.t), 0);
    close_clockwork(&w);
}

/* ---- several threads ---- */

enum { THREADS = 3, ROUNDS = 20000 };

struct visitor {
    struct clockwork *w;
    struct loop loop;
    pthread_t thread;
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct netaddr_cidr addr = peer(i % 2 == 0 ? "192.0.2.1" : "2001:db8::1");
        struct address *a;
        uint32_t n;
        if (address_enter(v->w->t, &v->loop, &addr, &a, &n) == 0)
            (void)address_take(&v->loop, a);
        v->loop.uv.time += i % 3 == 0;
        address_leave(&v->loop, &a);
    }
    return NULL;
}

static void test_loops_share_it(void **state)
{
    struct clockwork w;
    static struct visitor visitors[THREADS];
    open_clockwork(&w, WITH({"client.max_connections_per_ip", "2"}, {"client.max_requests_per_ip", "1000"}));
    for (int i = 0; i < THREADS; i++) {
        visitors[i] =
            (struct visitor){.w = &w, .loop = {.config = w.loop.config, .metrics = metrics_slot_new()}};
        visitors[i].loop.uv.time = 5000;
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(visitors[i].thread, NULL);
    assert_true(address_limits_count(w.t) <= 2);
    close_clockwork(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_address_or_not),
        cmocka_unit_test(test_who_is_not_counted),
        cmocka_unit_test(test_connections_of_one_address),
        cmocka_unit_test(test_a_bucket_of_requests),
        cmocka_unit_test(test_a_burst_of_its_own),
        cmocka_unit_test(test_the_bucket_outlives_the_connection),
        cmocka_unit_test(test_a_sweep_is_forgotten),
        cmocka_unit_test(test_a_table_of_connected_addresses_locks_nobody_out),
        cmocka_unit_test(test_loops_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
