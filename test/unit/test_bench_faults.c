/* The edges against a server with planted faults: each is found and named. And the kinds of load, by their
 * counts. */
#include "bench/edges.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "bench/body.h"
#include "bench/sock.h"
#include "common/check.h"

enum { SIZE = 5000 };

/* What the server does to the answer of /o. */
struct fault {
    const char *name;
    bool wrong_byte, other_object, ends_early, closes_cleanly, same_cookie, is_mute;
    uint64_t version;
    enum edge_error found;
};

struct server {
    const struct fault *fault;
    int listener;
    unsigned answers;
    pthread_t thread;
    char url[64];
};

static void put_answer(struct server *s, struct buf *out)
{
    const struct fault *f = s->fault;
    struct body_object o =
        body_object(f->other_object ? SPAN("/p") : SPAN("/o"), f->version, SIZE, (struct span){0});
    size_t send = f->ends_early || f->closes_cleanly ? SIZE / 2 : SIZE;
    buf_put_lit(out, "HTTP/1.1 200 OK\r\n");
    body_put_field(out, &o);
    buf_printf(out, "Set-Cookie: bench=%u\r\n", f->same_cookie ? 1 : ++s->answers);
    if (f->closes_cleanly)
        buf_put_lit(out, "Connection: close\r\n\r\n");
    else
        buf_printf(out, "Content-Length: %d\r\n\r\n", SIZE);
    assert_true(buf_reserve(out, SIZE));
    body_fill(o.seed, 0, out->p + out->len, SIZE);
    out->p[out->len + SIZE / 3] ^= f->wrong_byte;
    out->len += send;
}

/* False: the connection is over. Requests come one at a time, each in one read: they are short. */
static bool answer(struct server *s, int fd)
{
    char in[4096];
    if (recv(fd, in, sizeof in, 0) <= 0)
        return false;
    if (s->fault->is_mute)
        return true;
    struct buf out = {0};
    put_answer(s, &out);
    size_t sent = 0;
    ssize_t n = 1;
    while (sent < out.len && (n = send(fd, out.p + sent, out.len - sent, MSG_NOSIGNAL)) > 0)
        sent += (size_t)n;
    buf_fini(&out);
    return n > 0 && !s->fault->ends_early && !s->fault->closes_cleanly;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    struct pollfd p = {.fd = s->listener, .events = POLLIN};
    while (poll(&p, 1, -1) == 1 && !(p.revents & (POLLHUP | POLLERR))) {
        int fd = sock_accept(s->listener);
        if (fd < 0)
            break;
        (void)fcntl(fd, F_SETFL, 0);
        while (answer(s, fd))
            ;
        close(fd);
    }
    return NULL;
}

static void start(struct server *s, const struct fault *f)
{
    const char *why = NULL;
    struct buf name = {0};
    *s = (struct server){.fault = f, .listener = sock_listen(SPAN("127.0.0.1:0"), false, &why)};
    assert_true(s->listener >= 0);
    sock_put_name(&name, s->listener);
    snprintf(s->url, sizeof s->url, "http://%.*s/o", SPAN_FMT(buf_span(&name)));
    buf_fini(&name);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
}

static struct edges_report *run(struct server *s, struct edges_config config)
{
    struct edges_report *r = calloc(1, sizeof *r);
    assert_non_null(r);
    config.url = span_of(s->url);
    config.connections = config.threads = config.keys = 1;
    config.verify = true;
    config.timeout_ms = config.timeout_ms > 0 ? config.timeout_ms : 60000;
    assert_null(edges_run(&config, r));
    return r;
}

static void test_faults(void **state)
{
    static const struct fault faults[] = {
        {.name = "none", .version = 7, .found = EDGE_OK},
        {.name = "wrong byte", .version = 7, .wrong_byte = true, .found = EDGE_WRONG_BODY},
        {.name = "another object", .version = 7, .other_object = true, .found = EDGE_WRONG_BODY},
        {.name = "ends early", .version = 7, .ends_early = true, .found = EDGE_CUT},
        {.name = "a short body, cleanly closed",
         .version = 7,
         .closes_cleanly = true,
         .found = EDGE_TRUNCATED},
        {.name = "one cookie for all", .version = 7, .same_cookie = true, .found = EDGE_COOKIE},
        {.name = "from before the purge", .version = 6, .found = EDGE_OUTDATED},
    };
    const _Atomic uint64_t floor = 7;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct server s;
        start(&s, &faults[i]);
        struct edges_report *r = run(&s, (struct edges_config){.requests = 3, .floor = &floor});
        uint64_t expected = faults[i].found == EDGE_COOKIE ? 2 : 3; /* the first has it by right */
        if (r->finished != 3 || r->errors[faults[i].found] != expected)
            fail_msg("%s: %llu of %llu found", faults[i].name, (unsigned long long)r->errors[faults[i].found],
                     (unsigned long long)r->finished);
        assert_int_equal(edges_failed(r), faults[i].found == EDGE_OK ? 0 : expected);
        free(r);
        stop(&s);
    }
}

/* All that were due are asked for and timed from then on, whatever one connection can do. */
static void test_open_loop(void **state)
{
    static const struct fault none = {.version = 1};
    for (int arrivals = ARRIVALS_EVEN; arrivals <= ARRIVALS_POISSON; arrivals++) {
        struct server s;
        start(&s, &none);
        struct edges_report *r =
            run(&s, (struct edges_config){.requests = 200, .rate = 1e6, .arrivals = (uint64_t)arrivals});
        assert_int_equal(r->errors[EDGE_OK], 200);
        assert_int_equal(r->last_us.total, 200);
        free(r);
        stop(&s);
    }
}

/* A server that never answers: what its connection had no time for is late, not forgotten. */
static void test_no_coordinated_omission(void **state)
{
    static const struct fault mute = {.version = 1, .is_mute = true};
    struct server s;
    start(&s, &mute);
    struct edges_report *r = run(&s, (struct edges_config){.requests = 50, .rate = 1000, .timeout_ms = 200});
    assert_int_equal(r->finished, 50);
    assert_int_equal(r->errors[EDGE_TIMEOUT], 50);
    free(r);
    stop(&s);
}

static void test_habits(void **state)
{
    static const struct fault mute = {.version = 1, .is_mute = true}, none = {.version = 1};
    struct server s;
    start(&s, &mute);
    struct edges_report *r = run(&s, (struct edges_config){.requests = 5, .abort = 100, .abort_ms = 1});
    assert_int_equal(r->aborted, 5);
    assert_int_equal(edges_failed(r), 0);
    assert_int_equal(r->connects, 6); /* the last finds that no request is left */
    free(r);
    stop(&s);

    start(&s, &none);
    r = run(&s, (struct edges_config){.requests = 2, .slow = 100, .slow_rate = 100000});
    assert_int_equal(r->errors[EDGE_OK], 2);
    assert_int_equal(r->slow, 2);
    assert_int_equal(r->last_us.total, 0);
    free(r);
    r = run(&s, (struct edges_config){.requests = 30, .churn = 1, .identities = 4});
    assert_int_equal(r->errors[EDGE_OK], 30);
    assert_true(r->connects >= 30);
    free(r);
    stop(&s);
}

/* Late is late against the first client of the same object, who is not among them. */
static void test_waits(void **state)
{
    static const struct fault none = {.version = 1};
    struct server s;
    start(&s, &none);
    struct edges_report *r = run(&s, (struct edges_config){.requests = 1, .stampede = true, .settle_ms = 1});
    assert_int_equal(r->errors[EDGE_OK], 1);
    assert_int_equal(r->wait_first_us.total, 0);
    free(r);
    r = run(&s, (struct edges_config){.requests = 2});
    assert_int_equal(r->wait_last_us.total, 0); /* nobody waits for another */
    free(r);
    stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_open_loop),
        cmocka_unit_test(test_no_coordinated_omission),
        cmocka_unit_test(test_habits),
        cmocka_unit_test(test_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
