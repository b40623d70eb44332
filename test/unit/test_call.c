#include "shield/origin/call.h"

#include "test/unit/alloc_fail.h"
#include "test/unit/loops_rig.h"
#include "test/unit/object_rig.h"
#include "test/unit/origin_rig.h"

#include <arpa/inet.h>
#include <sys/un.h>

/* A call with what has come of it, told to the test. */
struct asking {
    struct origin_call call;
    struct upstream_pool *pool;
    enum http_method method;
    const char *head;
    enum http1_framing content_framing;
    const char *content;
    size_t content_bytes, piece_bytes, content_sent;
    bool content_finished;
    /* what it does by itself */
    bool pauses_at_head, cancels_at_head, cancels_at_body, blocks_at_end;
    bool background;
    unsigned next_to;
    int restarts;            /* so often it is zeroed and started anew from its own on_end */
    struct asking *follower; /* is started from this one's on_end */
    sem_t at_end, go_on;
    /* what came */
    int status, err, heads, ends, rooms, interims, last_interim;
    unsigned server;
    uint64_t body_bytes;
    char body[256]; /* its beginning */
    bool body_fits; /* byte_at's with salt 0 */
    bool is_over;
};

static void start(void *ctx);

static void pump(struct asking *a)
{
    while (a->content_framing != BODY_NONE && !a->content_finished && origin_call_has_room(&a->call)) {
        size_t n = MIN(a->piece_bytes, a->content_bytes - a->content_sent);
        if (n > 0) {
            const char *p = a->content + a->content_sent;
            a->content_sent += n;
            origin_call_write(&a->call, p, n);
        } else {
            a->content_finished = true;
            origin_call_finish(&a->call);
        }
    }
}

static void on_interim(struct origin_call *c, const struct http_head *head)
{
    struct asking *a = container_of(c, struct asking, call);
    int status = head->status;
    REQUIRE(!a->is_over && a->heads == 0);
    TELL(a->interims++; a->last_interim = status);
}

static void on_head(struct origin_call *c, const struct http_head *head)
{
    struct asking *a = container_of(c, struct asking, call);
    int status = head->status;
    REQUIRE(!a->is_over);
    if (a->pauses_at_head)
        origin_call_pause(c);
    if (a->cancels_at_head)
        origin_call_cancel(c);
    TELL(a->status = status; a->heads++; a->is_over = a->cancels_at_head);
}

static void on_body(struct origin_call *c, const char *p, size_t n)
{
    struct asking *a = container_of(c, struct asking, call);
    REQUIRE(!a->is_over && n > 0);
    bool fits = bytes_fit(p, 0, a->body_bytes, n);
    if (a->cancels_at_body)
        origin_call_cancel(c);
    pthread_mutex_lock(&director.lock);
    if (a->body_bytes < sizeof a->body)
        memcpy(a->body + a->body_bytes, p, MIN(n, sizeof a->body - a->body_bytes));
    a->body_bytes += n;
    a->body_fits &= fits;
    a->is_over = a->cancels_at_body;
    pthread_cond_broadcast(&director.changed);
    pthread_mutex_unlock(&director.lock);
}

static void on_room(struct origin_call *c)
{
    struct asking *a = container_of(c, struct asking, call);
    REQUIRE(!a->is_over && origin_call_has_room(c));
    TELL(a->rooms++);
    pump(a);
}

static void on_end(struct origin_call *c, int err)
{
    struct asking *a = container_of(c, struct asking, call);
    REQUIRE(!a->is_over);
    if (a->blocks_at_end) {
        sem_post(&a->at_end);
        while (sem_wait(&a->go_on) != 0)
            ;
    }
    unsigned server = origin_call_server(c);
    if (a->follower != NULL)
        start(a->follower);
    if (a->restarts > 0) {
        a->restarts--;
        start(a);
        TELL(a->ends++);
        return;
    }
    TELL(a->err = err; a->server = server; a->ends++; a->is_over = true);
}

static const struct origin_call_ops events = {
    .on_interim = on_interim, .on_head = on_head, .on_body = on_body, .on_room = on_room, .on_end = on_end};

static void start(void *ctx)
{
    struct asking *a = ctx;
    struct origin_call_request request = {.kind = KIND_MISS,
                                          .method = a->method,
                                          .content = a->content_framing,
                                          .content_length = a->content_bytes,
                                          .background = a->background,
                                          .next_to = a->next_to};
    a->call = (struct origin_call){0};
    buf_put(&a->call.head, a->head, strlen(a->head));
    origin_call_start(&a->call, a->pool, &events, &request);
    pump(a);
}

static void cancel(void *ctx)
{
    struct asking *a = ctx;
    origin_call_cancel(&a->call);
    origin_call_cancel(&a->call);
}

static void resume(void *ctx)
{
    struct asking *a = ctx;
    origin_call_resume(&a->call);
}

/* ---- the world: one loop, and an origin on its thread ---- */

struct world {
    struct loops_rig rig;
    struct origin origin;
    struct asking a, b;
    struct peer peer, other;
    int64_t down_before;
};

static void open_world(struct world *w, const struct config_override *more)
{
    struct config_override settings[12] = {{"origin", w->origin.url}};
    for (size_t i = 0; more != NULL && more[i].name != NULL; i++)
        settings[i + (strcmp(more[0].name, "origin") != 0)] = more[i];
    rig_start(&w->rig, 1, settings);
    w->a = (struct asking){.pool = &w->rig.pool[0],
                           .method = METHOD_GET,
                           .head = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
                           .body_fits = true};
    w->b = w->a;
    w->b.head = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    origin_open(&w->origin);
    w->down_before = metrics_sum(SLOT_AT(origins[0].servers_down));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    rig_on(w->rig.loops[0], do_nothing, NULL);
    assert_int_equal(origin_inflight(), 0);
    assert_int_equal(origin_queue_depth(), 0);
    rig_stop(&w->rig);
    origin_close(&w->origin);
    free(w);
    return 0;
}

static void ask(struct world *w, struct asking *a)
{
    rig_on(w->rig.loops[0], start, a);
}

static void again(struct asking *a)
{
    a->status = a->err = a->heads = a->ends = a->rooms = a->interims = 0;
    a->body_bytes = 0;
    a->body_fits = true;
    a->is_over = false;
    a->content_sent = 0;
    a->content_finished = false;
}

static void expect_over(struct asking *a, int err)
{
    AWAIT(a->is_over);
    assert_int_equal(a->ends, 1);
    if (a->err != err)
        fail_msg("ended with %s, not %s", err_name(a->err), err_name(err));
}

static bool body_is(const struct asking *a, const char *text)
{
    return a->body_bytes == strlen(text) && memcmp(a->body, text, a->body_bytes) == 0;
}

/* One whole exchange on a connection that is there, or a new one. */
static void exchange(struct world *w, struct asking *a, struct peer *p, bool is_new, const char *answer)
{
    again(a);
    ask(w, a);
    if (is_new)
        peer_accept(&w->origin, p);
    peer_expect(p, a->head);
    peer_send(p, answer);
    expect_over(a, 0);
}

#define OK_3 "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"

/* ---- answers ---- */

static const struct {
    const char *what;
    enum http_method method;
    const char *answer, *body;
    bool closes; /* the origin, behind it */
    bool is_kept;
} answers[] = {
    {"length", METHOD_GET, OK_3, "abc", false, true},
    {"no content", METHOD_GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", false, true},
    {"chunked", METHOD_GET,
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nT: 1\r\n\r\n", "abc",
     false, true},
    {"9112 6.3: until close", METHOD_GET, "HTTP/1.1 200 OK\r\n\r\nabc", "abc", true, false},
    {"9112 6.3: 204", METHOD_GET, "HTTP/1.1 204 No Content\r\n\r\n", "", false, true},
    {"9112 6.3: 304 with a length", METHOD_GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "",
     false, true},
    {"9112 6.3: HEAD", METHOD_HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "", false, true},
    {"9112 9.3: Connection: close", METHOD_GET,
     "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", "abc", false, false},
    {"9112 9.3: HTTP/1.0", METHOD_GET, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc", false,
     false},
    {"9112 9.3: HTTP/1.0 keep-alive", METHOD_GET,
     "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc", "abc", false, true},
    {"bytes behind the answer", METHOD_GET, OK_3 "X", "abc", false, false},
    {"1xx before it", METHOD_GET,
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_3, "abc", false, true},
    {"an error's content", METHOD_GET, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nabc",
     "abc", false, true},
};

static void answers_and_what_becomes_of_the_connection(void **state)
{
    struct world *w = *state;
    bool have_peer = false;
    open_world(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        w->a.method = answers[i].method;
        again(&w->a);
        ask(w, &w->a);
        if (!have_peer)
            peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a HTTP/1.1");
        peer_send(&w->peer, answers[i].answer);
        if (answers[i].closes)
            shutdown(w->peer.fd, SHUT_WR);
        expect_over(&w->a, 0);
        if (w->a.heads != 1 || w->a.status < 200 || !body_is(&w->a, answers[i].body))
            fail_msg("%s: status %d, body %.*s", answers[i].what, w->a.status, (int)w->a.body_bytes,
                     w->a.body);
        assert_int_equal(w->a.interims, strcmp(answers[i].what, "1xx before it") == 0 ? 2 : 0);
        have_peer = answers[i].is_kept;
        if (!have_peer)
            peer_expect_end(&w->peer);
    }
    peer_close(&w->peer);
}

static void a_head_in_pieces(void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nX-Long: 0123456789\r\nContent-Length: 3\r\n\r\nabc";
    struct world *w = *state;
    open_world(w, NULL);
    for (size_t at = 1; at < sizeof answer - 1; at += 5) {
        again(&w->a);
        ask(w, &w->a);
        if (at == 1)
            peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a HTTP/1.1");
        peer_send_bytes(&w->peer, answer, at);
        rig_on(w->rig.loops[0], do_nothing,
               NULL); /* some of it has been read by now, or will be with the rest */
        peer_send(&w->peer, answer + at);
        expect_over(&w->a, 0);
        assert_true(body_is(&w->a, "abc"));
    }
    peer_close(&w->peer);
}

static void an_idle_connection_that_speaks_is_closed(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    exchange(w, &w->a, &w->peer, true, OK_3);
    peer_send(&w->peer, OK_3); /* nobody has asked */
    peer_expect_end(&w->peer);
    exchange(w, &w->b, &w->other, true, OK_3);
    peer_close(&w->other);
}

static void idle_connections_end_in_time(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.idle_timeout", "30ms"}, {NULL, NULL}});
    exchange(w, &w->a, &w->peer, true, OK_3);
    peer_expect_end(&w->peer);
}

static void without_idle_time_nothing_is_reused(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.idle_timeout", "0"}, {NULL, NULL}});
    exchange(w, &w->a, &w->peer, true, OK_3);
    peer_expect_end(&w->peer);
    exchange(w, &w->b, &w->peer, true, OK_3);
    peer_expect_end(&w->peer);
}

/* ---- a reused connection dies ---- */

static void lose(struct peer *p, bool by_reset)
{
    if (by_reset)
        peer_reset(p);
    else
        peer_close(p);
}

static void a_safe_request_is_repeated_once(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    for (int by_reset = 0; by_reset < 2; by_reset++) {
        int64_t retries = count_of_kind(KIND_RETRY);
        exchange(w, &w->a, &w->peer, true, OK_3);
        again(&w->b);
        ask(w, &w->b);
        peer_expect(&w->peer, "GET /b");
        lose(&w->peer, by_reset);
        peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /b");
        lose(&w->peer, by_reset); /* not reused: no further try */
        expect_over(&w->b, ERR_RESET);
        assert_int_equal(count_of_kind(KIND_RETRY) - retries, 1);
        assert_false(origin_has_caller(&w->origin));
    }
}

static void the_second_try_may_succeed(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    exchange(w, &w->a, &w->peer, true, OK_3);
    ask(w, &w->b);
    peer_expect(&w->peer, "GET /b");
    peer_close(&w->peer);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /b");
    peer_send(&w->peer, OK_3);
    expect_over(&w->b, 0);
    assert_true(body_is(&w->b, "abc"));
    peer_close(&w->peer);
}

static void what_may_have_been_done_is_not_repeated(void **state)
{
    static const struct {
        const char *what;
        enum http_method method;
        const char *head, *before_the_end;
        bool is_reused;
        int err;
    } cases[] = {
        {"unsafe", METHOD_POST, "POST /b HTTP/1.1\r\nHost: h\r\n\r\n", "", true, ERR_RESET},
        {"unsafe", METHOD_DELETE, "DELETE /b HTTP/1.1\r\nHost: h\r\n\r\n", "", true, ERR_RESET},
        {"unknown", METHOD_OTHER, "FETCH /b HTTP/1.1\r\nHost: h\r\n\r\n", "", true, ERR_RESET},
        {"an answer had begun", METHOD_GET, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", "H", true, ERR_PROTOCOL},
        {"an interim answer had come", METHOD_GET, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
         "HTTP/1.1 103 E\r\n\r\n", true, ERR_RESET},
        {"a new connection", METHOD_GET, "GET /b HTTP/1.1\r\nHost: h\r\n\r\n", "", false, ERR_RESET},
    };
    struct world *w = *state;
    open_world(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].is_reused)
            exchange(w, &w->a, &w->peer, true, OK_3);
        again(&w->b);
        w->b.method = cases[i].method;
        w->b.head = cases[i].head;
        ask(w, &w->b);
        if (!cases[i].is_reused)
            peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, cases[i].head);
        peer_send(&w->peer, cases[i].before_the_end);
        peer_close(&w->peer);
        expect_over(&w->b, cases[i].err);
        assert_false(origin_has_caller(&w->origin));
    }
}

/* The reset is here, but not read yet, when the next request is written. */
static void dead_before_the_request_is_written(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    w->a.blocks_at_end = true;
    w->a.follower = &w->b;
    sem_init(&w->a.at_end, 0, 0);
    sem_init(&w->a.go_on, 0, 0);
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    while (sem_wait(&w->a.at_end) != 0)
        ;
    peer_reset(&w->peer);
    sem_post(&w->a.go_on);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /b");
    peer_send(&w->peer, OK_3);
    expect_over(&w->b, 0);
    assert_true(body_is(&w->b, "abc"));
    peer_close(&w->peer);
    sem_destroy(&w->a.at_end);
    sem_destroy(&w->a.go_on);
}

/* ---- connecting ---- */

/* A port on which nobody listens. */
static void closed_port(char *url, size_t n)
{
    struct origin o;
    origin_open(&o);
    snprintf(url, n, "%s", o.url);
    origin_close(&o);
}

static void a_server_that_refuses_is_passed_over(void **state)
{
    struct world *w = *state;
    char closed[40];
    closed_port(closed, sizeof closed);
    open_world(w, (struct config_override[]){{"origin", closed}, {"origin", w->origin.url}, {NULL, NULL}});
    for (int i = 0; i < 2; i++) { /* whichever is first in turn */
        again(&w->a);
        ask(w, &w->a);
        peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a");
        peer_send(&w->peer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        expect_over(&w->a, 0);
        peer_expect_end(&w->peer);
    }
}

/* The kernel says no at once: no route, as for an IPv6 address on a machine without IPv6. */
static void a_server_without_a_route_is_passed_over(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){
                      {"origin", "http://255.255.255.255:80"}, {"origin", w->origin.url}, {NULL, NULL}});
    for (int i = 0; i < 2; i++) {
        again(&w->a);
        ask(w, &w->a);
        AWAIT_COUNT(origin_has_caller(&w->origin), true);
        peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a");
        peer_send(&w->peer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        expect_over(&w->a, 0);
        peer_expect_end(&w->peer);
    }
}

static void so_many_attempts_and_no_more(void **state)
{
    struct world *w = *state;
    char closed[40];
    closed_port(closed, sizeof closed);
    open_world(w, (struct config_override[]){{"origin", closed},
                                             {"origin", closed},
                                             {"origin", closed},
                                             {"origin", closed},
                                             {"origins.default.connect_attempts", "2"},
                                             {NULL, NULL}});
    ask(w, &w->a);
    expect_over(&w->a, ERR_CONNECT);
    assert_int_equal(w->a.heads, 0);
}

static void a_name_with_several_addresses(void **state)
{
    struct world *w = *state;
    char url[60];
    snprintf(url, sizeof url, "http://localhost%s", strrchr(w->origin.url, ':'));
    open_world(w, (struct config_override[]){{"origin", url}, {NULL, NULL}});
    exchange(w, &w->a, &w->peer, true, OK_3); /* ::1 refuses, where there is one */
    peer_close(&w->peer);
}

static void over_a_unix_socket(void **state)
{
    struct world *w = *state;
    char dir[] = "/tmp/shield-call-XXXXXX", url[160];
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct origin o;
    assert_non_null(mkdtemp(dir));
    snprintf(at.sun_path, sizeof at.sun_path, "%s/s", dir);
    snprintf(url, sizeof url, "http+unix://%s", at.sun_path);
    o.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(o.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(o.fd, 10), 0);
    open_world(w, (struct config_override[]){{"origin", url}, {NULL, NULL}});
    ask(w, &w->a);
    peer_accept(&o, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    assert_true(body_is(&w->a, "abc"));
    peer_close(&w->peer);
    close(o.fd);
    unlink(at.sun_path);
    rmdir(dir);
}

/* ---- servers that are down ---- */

#define SOON "30ms"

/* The counters outlive the tests. */
static int64_t servers_down_here(const struct world *w)
{
    return metrics_sum(SLOT_AT(origins[0].servers_down)) - w->down_before;
}

static bool is_told_over(const struct asking *a)
{
    pthread_mutex_lock(&director.lock);
    bool is_over = a->is_over;
    pthread_mutex_unlock(&director.lock);
    return is_over;
}

/* Asks until the interval is over and `a` has come to the origin, as the probe. Gives how often. */
static int ask_until_called(struct world *w, struct asking *a, struct origin *o, struct peer *p)
{
    int times = 0;
    do {
        times++;
        again(a);
        ask(w, a);
        AWAIT_COUNT(is_told_over(a) || origin_has_caller(o), true);
        assert_true(!is_told_over(a) || a->err == ERR_DOWN);
    } while (is_told_over(a));
    peer_accept(o, p);
    peer_expect(p, a->head);
    return times;
}

/* A request that gets no head. */
static void let_down(struct world *w, struct asking *a, int err)
{
    again(a);
    ask(w, a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, a->head);
    if (err == ERR_PROTOCOL)
        peer_send(&w->peer, "SSH-2.0\r\n");
    if (err == ERR_RESET)
        peer_reset(&w->peer);
    expect_over(a, err);
    if (err != ERR_RESET)
        peer_expect_end(&w->peer);
}

static void open_with_servers_state(struct world *w, const char *ttl)
{
    open_world(w, (struct config_override[]){{"origins.default.down_after", "3"},
                                             {"origins.default.head_timeout", "300ms"},
                                             {"flight.error_ttl", ttl},
                                             {"flight.error_ttl_max", ttl},
                                             {NULL, NULL}});
}

static void every_way_to_give_no_head_counts(void **state)
{
    static const int ways[][3] = {{ERR_RESET, ERR_RESET, ERR_RESET},
                                  {ERR_HEAD_TIMEOUT, ERR_RESET, ERR_HEAD_TIMEOUT},
                                  {ERR_RESET, ERR_HEAD_TIMEOUT, ERR_RESET}};
    struct world *w = *state;
    open_with_servers_state(w, SOON);
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        let_down(w, &w->a, ways[i][0]);
        let_down(w, &w->a, ways[i][1]);
        exchange(w, &w->b, &w->other, true,
                 "HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        peer_expect_end(&w->other);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(servers_down_here(w), 0); /* any final head has cleared it */
            let_down(w, &w->a, ways[i][k]);
        }
        assert_int_equal(servers_down_here(w), 1);
        ask_until_called(w, &w->b, &w->origin, &w->other);
        peer_send(&w->other, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        expect_over(&w->b, 0);
        peer_expect_end(&w->other);
    }
}

static void what_does_not_count(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.down_after", "1"}, {NULL, NULL}});
    let_down(w, &w->a, ERR_PROTOCOL); /* it answers */
    again(&w->a);
    ask(w, &w->a); /* cancelled */
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    rig_on(w->rig.loops[0], cancel, &w->a);
    peer_expect_end(&w->peer);
    ask(w, &w->a); /* a body that ends early has had its head */
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    peer_close(&w->peer);
    expect_over(&w->a, ERR_TRUNCATED);
    exchange(w, &w->a, &w->peer, true, OK_3); /* a kept connection that dies, and the repeat has no time */
    ask(w, &w->b);
    peer_expect(&w->peer, "GET /b");
    peer_reset(&w->peer);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /b");
    rig_on(w->rig.loops[0], cancel, &w->b);
    peer_expect_end(&w->peer);
    assert_int_equal(servers_down_here(w), 0);
    let_down(w, &w->a, ERR_RESET);
    assert_int_equal(servers_down_here(w), 1);
}

static void all_down(void **state)
{
    struct world *w = *state;
    int64_t misses = count_of_kind(KIND_MISS);
    open_with_servers_state(w, "1h");
    for (int i = 0; i < 3; i++)
        let_down(w, &w->a, ERR_RESET);
    for (int i = 0; i < 20; i++) {
        again(&w->b);
        w->b.method = i % 2 ? METHOD_POST : METHOD_GET;
        ask(w, &w->b);
        assert_int_equal(origin_inflight() + origin_queue_depth(), 0);
        expect_over(&w->b, ERR_DOWN);
        assert_int_equal(w->b.server, 0);
    }
    assert_false(origin_has_caller(&w->origin));
    assert_int_equal(count_of_kind(KIND_MISS) - misses, 3);
}

/* They were let into the queue while it was up. */
static void down_while_others_queue(void **state)
{
    enum { QUEUE = 20 };
    struct world *w = *state;
    struct asking *queue = calloc(QUEUE, sizeof *queue);
    assert_non_null(queue);
    open_world(w, (struct config_override[]){{"origins.default.down_after", "1"},
                                             {"origins.default.max_concurrent", "1"},
                                             {"flight.error_ttl", "1h"},
                                             {"flight.error_ttl_max", "1h"},
                                             {NULL, NULL}});
    ask(w, &w->a);
    for (int i = 0; i < QUEUE; i++) {
        queue[i] = w->b;
        ask(w, &queue[i]);
    }
    assert_int_equal(origin_queue_depth(), QUEUE);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_reset(&w->peer);
    expect_over(&w->a, ERR_RESET);
    for (int i = 0; i < QUEUE; i++)
        expect_over(&queue[i], ERR_DOWN);
    assert_false(origin_has_caller(&w->origin));
    free(queue);
}

static void the_probe(void **state)
{
    struct world *w = *state;
    int64_t probes = count_of_kind(KIND_PROBE);
    open_with_servers_state(w, SOON);
    for (int i = 0; i < 3; i++)
        let_down(w, &w->a, ERR_RESET);
    for (int how = 0; how < 3; how++) { /* fails, is cancelled, answers */
        int times = ask_until_called(w, &w->a, &w->origin, &w->peer);
        assert_true(how < 2 || times == 1); /* whoever was cancelled has used up no interval */
        assert_int_equal(count_of_kind(KIND_PROBE) - probes, how + 1);
        if (how == 2)
            peer_send(&w->peer, "HTTP/1.1 100 Continue\r\n\r\n");
        again(&w->b);
        ask(w, &w->b); /* while the probe is under way */
        expect_over(&w->b, ERR_DOWN);
        if (how == 0) {
            peer_reset(&w->peer);
            expect_over(&w->a, ERR_RESET);
        } else if (how == 1) {
            rig_on(w->rig.loops[0], cancel, &w->a);
            peer_expect_end(&w->peer);
        } else {
            peer_send(&w->peer, OK_3);
            expect_over(&w->a, 0);
        }
    }
    assert_int_equal(servers_down_here(w), 0);
    exchange(w, &w->b, &w->peer, false, OK_3);
    assert_int_equal(count_of_kind(KIND_PROBE) - probes, 3);
    peer_close(&w->peer);
}

/* A name with a dead address and a good one: the probe asks both. */
static void a_probe_asks_all_addresses(void **state)
{
    struct world *w = *state;
    struct origin v4;
    char url[60];
    origin_open(&v4);
    snprintf(url, sizeof url, "http://localhost%s", strrchr(v4.url, ':'));
    origin_close(&v4);
    open_world(w, (struct config_override[]){{"origin", url},
                                             {"origins.default.down_after", "1"},
                                             {"flight.error_ttl", SOON},
                                             {"flight.error_ttl_max", SOON},
                                             {NULL, NULL}});
    ask(w, &w->a);
    expect_over(&w->a, ERR_CONNECT);
    assert_int_equal(servers_down_here(w), 1);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    at.sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1));
    v4.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(v4.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(v4.fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(v4.fd, 10), 0);
    ask_until_called(w, &w->a, &v4, &w->peer);
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    peer_close(&w->peer);
    origin_close(&v4);
}

static void the_others_serve_and_the_probe_finds_out(void **state)
{
    struct world *w = *state;
    struct origin bad;
    int64_t probes = count_of_kind(KIND_PROBE);
    origin_open(&bad);
    open_world(w, (struct config_override[]){{"origin", w->origin.url},
                                             {"origin", bad.url},
                                             {"origins.default.down_after", "1"},
                                             {"flight.error_ttl", SOON},
                                             {"flight.error_ttl_max", SOON},
                                             {NULL, NULL}});
    exchange(w, &w->a, &w->peer, true, OK_3);
    assert_int_equal(w->a.server, 1);
    w->b.next_to = w->a.server; /* not the idle connection, nor its server */
    ask(w, &w->b);
    peer_accept(&bad, &w->other);
    peer_expect(&w->other, "GET /b");
    peer_send(&w->other, OK_3);
    expect_over(&w->b, 0);
    assert_int_equal(w->b.server, 2);
    again(&w->b);
    ask(w, &w->b);
    peer_expect(&w->other, "GET /b"); /* an idle one of the right server will do */
    peer_reset(&w->other);
    peer_accept(&bad, &w->other); /* the repeat, which is let down too */
    peer_expect(&w->other, "GET /b");
    peer_reset(&w->other);
    expect_over(&w->b, ERR_RESET);
    assert_int_equal(servers_down_here(w), 1);
    while (servers_down_here(w) != 0) { /* one connection is enough for all; the probe takes another */
        again(&w->a);
        ask(w, &w->a);
        struct pollfd who[] = {{.fd = w->peer.fd, .events = POLLIN}, {.fd = bad.fd, .events = POLLIN}};
        assert_true(poll(who, 2, RIG_PATIENCE_S * 1000) > 0);
        if (who[1].revents != 0)
            peer_accept(&bad, &w->other);
        struct peer *p = who[1].revents != 0 ? &w->other : &w->peer;
        peer_expect(p, "GET /a");
        peer_send(p, OK_3);
        expect_over(&w->a, 0);
    }
    assert_int_equal(count_of_kind(KIND_PROBE) - probes, 1);
    peer_close(&w->peer);
    peer_close(&w->other);
    origin_close(&bad);
}

static void idle_connections_from_before_it_went_down_are_closed(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.down_after", "1"},
                                             {"flight.error_ttl", SOON},
                                             {"flight.error_ttl_max", SOON},
                                             {NULL, NULL}});
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    exchange(w, &w->b, &w->other, true, OK_3);
    peer_reset(&w->peer);
    expect_over(&w->a, ERR_RESET);
    ask_until_called(w, &w->a, &w->origin, &w->peer); /* on a connection of its own */
    again(&w->b);
    ask(w, &w->b);
    expect_over(&w->b, ERR_DOWN);
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    again(&w->a);
    ask(w, &w->a); /* on the probe's connection, which is newer */
    again(&w->b);
    ask(w, &w->b);
    peer_expect_end(&w->other);
    peer_accept(&w->origin, &w->other);
    peer_expect(&w->other, "GET /b");
    peer_send(&w->other, OK_3);
    expect_over(&w->b, 0);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    peer_close(&w->peer);
    peer_close(&w->other);
}

/* ---- time ---- */

/* A listener whose queue is full: whoever connects waits. */
static void full_listener(struct origin *o, int fillers[4])
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    origin_open(o);
    listen(o->fd, 0);
    assert_int_equal(getsockname(o->fd, (struct sockaddr *)&at, &len), 0);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(fillers[i], (struct sockaddr *)&at, len) == 0 || errno == EINPROGRESS);
    }
}

static void each_attempt_has_its_connect_timeout(void **state)
{
    struct world *w = *state;
    struct origin full;
    int fillers[4];
    int64_t timeouts = count_of_limit(LIMIT_CONNECT_TIMEOUT);
    full_listener(&full, fillers);
    open_world(w, (struct config_override[]){{"origin", full.url},
                                             {"origins.default.connect_timeout", "40ms"},
                                             {"origins.default.connect_attempts", "2"},
                                             {NULL, NULL}});
    ask(w, &w->a);
    expect_over(&w->a, ERR_CONNECT_TIMEOUT);
    assert_int_equal(count_of_limit(LIMIT_CONNECT_TIMEOUT) - timeouts, 2);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    origin_close(&full);
}

static void no_head_in_time(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.head_timeout", "40ms"}, {NULL, NULL}});
    exchange(w, &w->a, &w->peer, true, OK_3);
    ask(w, &w->b);
    peer_expect(&w->peer, "GET /b");
    peer_send(&w->peer, "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\n"); /* not a final head */
    expect_over(&w->b, ERR_HEAD_TIMEOUT); /* reused or not: a hang is not tried elsewhere */
    peer_expect_end(&w->peer);
    assert_false(origin_has_caller(&w->origin));
}

static void no_byte_of_the_body_in_time(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.body_timeout", "40ms"}, {NULL, NULL}});
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    expect_over(&w->a, ERR_BODY_TIMEOUT);
    assert_true(body_is(&w->a, "abc"));
    peer_expect_end(&w->peer);
}

/* Our own silence is not the origin's: a paused call outlives one that waits for bytes. */
static void body_timeout_rests_while_paused(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.body_timeout", "60ms"}, {NULL, NULL}});
    w->a.pauses_at_head = true;
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
    AWAIT(w->a.heads == 1);
    for (int i = 0; i < 2; i++) {
        again(&w->b);
        ask(w, &w->b);
        peer_accept(&w->origin, &w->other);
        peer_expect(&w->other, "GET /b");
        peer_send(&w->other, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        expect_over(&w->b, ERR_BODY_TIMEOUT);
        peer_expect_end(&w->other);
    }
    assert_false(w->a.is_over);
    rig_on(w->rig.loops[0], resume, &w->a);
    expect_over(&w->a, ERR_BODY_TIMEOUT); /* from here on it counts again */
    peer_expect_end(&w->peer);
}

static void no_place_in_time(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.max_concurrent", "1"},
                                             {"origins.default.max_queued", "1"},
                                             {"origins.default.queue_timeout", "40ms"},
                                             {NULL, NULL}});
    struct asking third = w->a;
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    ask(w, &w->b);
    ask(w, &third);
    expect_over(&third, ERR_BUSY);
    expect_over(&w->b, ERR_QUEUE_TIMEOUT);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    peer_close(&w->peer);
}

static void background_waits_and_gives_way(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.max_concurrent", "1"},
                                             {"origins.default.max_queued", "2"},
                                             {NULL, NULL}});
    struct asking first = w->b, second = w->b, late = w->b;
    first.background = second.background = true;
    first.head = "GET /first HTTP/1.1\r\n\r\n";
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    ask(w, &first);
    ask(w, &second);
    ask(w, &late);
    expect_over(&second, ERR_BUSY);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    peer_expect(&w->peer, "GET /b"); /* the late one, before the first */
    peer_send(&w->peer, OK_3);
    expect_over(&late, 0);
    peer_expect(&w->peer, "GET /first");
    peer_send(&w->peer, OK_3);
    expect_over(&first, 0);
    peer_close(&w->peer);
}

static void the_queue_moves(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.max_concurrent", "1"}, {NULL, NULL}});
    ask(w, &w->a);
    ask(w, &w->b);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    assert_false(origin_has_caller(&w->origin));
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    peer_expect(&w->peer, "GET /b"); /* on the connection that is free now */
    peer_send(&w->peer, OK_3);
    expect_over(&w->b, 0);
    peer_close(&w->peer);
}

/* ---- rude origins ---- */

static void interim_answers_have_a_bound(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"http.max_1xx", "4"}, {NULL, NULL}});
    for (int n = 4; n <= 5; n++) {
        again(&w->a);
        ask(w, &w->a);
        peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a");
        for (int i = 0; i < n; i++)
            peer_send(&w->peer, "HTTP/1.1 103 Early Hints\r\n\r\n");
        if (n == 4)
            peer_send(&w->peer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        expect_over(&w->a, n == 4 ? 0 : ERR_PROTOCOL);
        assert_int_equal(w->a.interims, 4);
        assert_int_equal(w->a.last_interim, 103);
        peer_expect_end(&w->peer);
    }
}

enum how { CLOSED, RESET, STILL_OPEN };

static const struct {
    const char *what, *answer;
    enum how then;
    int err, heads;
    const char *body;
} rude[] = {
    {"nothing", "", CLOSED, ERR_RESET, 0, ""},
    {"nothing, reset", "", RESET, ERR_RESET, 0, ""},
    {"half a head", "HTTP/1.1 200 OK\r\nContent-Le", CLOSED, ERR_PROTOCOL, 0, ""},
    {"a byte of one", "H", CLOSED, ERR_PROTOCOL, 0, ""},
    {"a 1xx alone", "HTTP/1.1 103 Early Hints\r\n\r\n", CLOSED, ERR_RESET, 0, ""},
    {"a body that ends early", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CLOSED, ERR_TRUNCATED, 1,
     "abc"},
    {"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", CLOSED,
     ERR_TRUNCATED, 1, "abc"},
    {"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", CLOSED, ERR_TRUNCATED,
     1, "abc"},
    {"no end of the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", CLOSED,
     ERR_TRUNCATED, 1, ""},
    {"until close: its end", "HTTP/1.1 200 OK\r\n\r\nabc", CLOSED, 0, 1, "abc"},
    {"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n", STILL_OPEN, ERR_PROTOCOL, 0, ""},
    {"no chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", STILL_OPEN,
     ERR_PROTOCOL, 1, ""},
    {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", STILL_OPEN,
     ERR_PROTOCOL, 0, ""},
    {"length and chunked",
     "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", STILL_OPEN,
     ERR_PROTOCOL, 0, ""},
    {"101", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", STILL_OPEN, ERR_PROTOCOL, 0, ""},
    {"a bad field", "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", STILL_OPEN, ERR_PROTOCOL, 0, ""},
};

static void rude_origins(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rude); i++) {
        again(&w->a);
        ask(w, &w->a);
        peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a");
        peer_send(&w->peer, rude[i].answer);
        if (rude[i].then == CLOSED)
            peer_close(&w->peer);
        else if (rude[i].then == RESET)
            peer_reset(&w->peer);
        AWAIT(w->a.is_over);
        if (w->a.err != rude[i].err || w->a.ends != 1 || w->a.heads != rude[i].heads ||
            !body_is(&w->a, rude[i].body))
            fail_msg("%s: %s, %d heads, \"%.*s\"", rude[i].what, err_name(w->a.err), w->a.heads,
                     (int)w->a.body_bytes, w->a.body);
        if (rude[i].then == STILL_OPEN)
            peer_expect_end(&w->peer);
    }
}

/* A body without length that ends by a reset is not whole, though every byte so far has come. */
static void until_close_ends_by_a_reset(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, "HTTP/1.1 200 OK\r\n\r\nabc");
    AWAIT(w->a.body_bytes == 3);
    peer_reset(&w->peer);
    expect_over(&w->a, ERR_TRUNCATED);
}

/* The call is started anew from on_end, on a connection that is idle: what is left of the old answer must not
 * be read as the new one's. */
static void what_is_left_is_not_for_the_next(void **state)
{
    static const char *const bad[] = {
        "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nbad",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nHTTP/1.1 200 OK\r\n\r\nbad",
    };
    struct world *w = *state;
    open_world(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        again(&w->a);
        ask(w, &w->a);
        peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "GET /a");
        exchange(w, &w->b, &w->other, true, OK_3); /* a second connection, idle from now on */
        w->a.restarts = 1;
        peer_send(&w->peer, bad[i]);
        peer_expect(&w->other, "GET /a");
        rig_on(w->rig.loops[0], do_nothing, NULL);
        assert_true(!w->a.is_over && w->a.ends == 1);
        peer_expect_end(&w->peer);
        peer_send(&w->other, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc");
        AWAIT(w->a.is_over);
        assert_true(w->a.err == 0 && w->a.ends == 2 && body_is(&w->a, "abc"));
        peer_expect_end(&w->other);
    }
}

/* ---- pace ---- */

static void paused_means_that_the_origin_waits(void **state)
{
    enum { BODY = 32 << 20 };
    struct world *w = *state;
    char head[80];
    char *body = malloc(BODY);
    assert_non_null(body);
    put_bytes(body, 0, 0, BODY);
    open_world(w, NULL);
    w->a.pauses_at_head = true;
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", (int)BODY);
    peer_send(&w->peer, head);
    AWAIT(w->a.heads == 1);
    size_t sent = 0;
    for (ssize_t n; (n = send(w->peer.fd, body + sent, BODY - sent, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0;)
        sent += (size_t)n;
    assert_int_equal(errno, EAGAIN);
    assert_true(sent < BODY);
    rig_on(w->rig.loops[0], do_nothing, NULL);
    assert_int_equal(w->a.body_bytes, 0);
    rig_on(w->rig.loops[0], resume, &w->a);
    peer_send_bytes(&w->peer, body + sent, BODY - sent);
    expect_over(&w->a, 0);
    assert_int_equal(w->a.body_bytes, BODY);
    assert_true(w->a.body_fits);
    peer_close(&w->peer);
    free(body);
}

/* ---- request content ---- */

static void content_with_length_and_in_chunks(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    w->a.method = METHOD_POST;
    w->a.head = "POST /a HTTP/1.1\r\nHost: h\r\n\r\n"; /* its fields are not this module's */
    w->a.content = "hello world";
    w->a.content_bytes = 11;
    w->a.piece_bytes = 4;
    for (int chunked = 0; chunked < 2; chunked++) {
        again(&w->a);
        w->a.content_framing = chunked ? BODY_CHUNKED : BODY_LENGTH;
        ask(w, &w->a);
        if (!chunked)
            peer_accept(&w->origin, &w->peer);
        peer_expect(&w->peer, "POST /a HTTP/1.1");
        peer_expect_bytes(&w->peer,
                          chunked ? "4\r\nhell\r\n4\r\no wo\r\n3\r\nrld\r\n0\r\n\r\n" : "hello world");
        assert_int_equal(w->peer.len, 0);
        peer_send(&w->peer, OK_3);
        expect_over(&w->a, 0);
    }
    peer_close(&w->peer);
}

static void an_origin_that_takes_its_time(void **state)
{
    enum { CONTENT = 24 << 20 };
    struct world *w = *state;
    char *content = malloc(CONTENT), *got = malloc(CONTENT);
    assert_true(content != NULL && got != NULL);
    put_bytes(content, 3, 0, CONTENT);
    open_world(w, NULL);
    w->a.method = METHOD_POST;
    w->a.head = "POST /a HTTP/1.1\r\n\r\n";
    w->a.content_framing = BODY_LENGTH;
    w->a.content = content;
    w->a.content_bytes = CONTENT;
    w->a.piece_bytes = 1 << 20;
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "POST /a");
    size_t n = w->peer.len;
    memcpy(got, w->peer.in, n);
    while (n < CONTENT) {
        ssize_t r = recv(w->peer.fd, got + n, CONTENT - n, 0);
        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_memory_equal(got, content, CONTENT);
    w->peer.len = 0;
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    assert_true(w->a.rooms > 1);
    exchange(w, &w->b, &w->peer, false, OK_3); /* all of it went: the connection is good for more */
    peer_close(&w->peer);
    free(content);
    free(got);
}

/* RFC 9112 section 9.3: an answer before the end of the content; what is left would be read as a request. */
static void an_early_answer_ends_the_connection(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    w->a.method = METHOD_POST;
    w->a.head = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    w->a.content_framing = BODY_CHUNKED;
    w->a.content_finished = true; /* the client is slow: nothing is written */
    ask(w, &w->a);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "POST /a");
    peer_send(&w->peer, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    expect_over(&w->a, 0);
    assert_int_equal(w->a.status, 413);
    peer_expect_end(&w->peer);
}

/* Its place is granted later, and the connection is one that is there already: content has to be asked for
 * all the same. */
static void content_behind_the_queue_on_a_reused_connection(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.max_concurrent", "1"}, {NULL, NULL}});
    w->b.method = METHOD_POST;
    w->b.head = "POST /b HTTP/1.1\r\n\r\n";
    w->b.content_framing = BODY_LENGTH;
    w->b.content = "hello";
    w->b.content_bytes = w->b.piece_bytes = 5;
    ask(w, &w->a);
    ask(w, &w->b);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    peer_expect(&w->peer, "POST /b");
    for (int i = 0; i < 2; i++)
        rig_on(w->rig.loops[0], do_nothing, NULL);
    assert_true(w->b.rooms > 0);
    peer_expect_bytes(&w->peer, "hello");
    peer_send(&w->peer, OK_3);
    expect_over(&w->b, 0);
    peer_close(&w->peer);
}

/* ---- cancelling ---- */

static void cancelled_in_the_queue(void **state)
{
    struct world *w = *state;
    open_world(w, (struct config_override[]){{"origins.default.max_concurrent", "1"}, {NULL, NULL}});
    ask(w, &w->a);
    ask(w, &w->b);
    assert_int_equal(origin_queue_depth(), 1);
    rig_on(w->rig.loops[0], cancel, &w->b);
    assert_int_equal(origin_queue_depth(), 0);
    peer_accept(&w->origin, &w->peer);
    peer_expect(&w->peer, "GET /a");
    peer_send(&w->peer, OK_3);
    expect_over(&w->a, 0);
    assert_int_equal(w->b.ends + w->b.heads, 0);
    peer_close(&w->peer);
}

static void cancelled_while_it_connects_or_waits_or_reads(void **state)
{
    struct world *w = *state;
    open_world(w, NULL);
    for (int how = 0; how < 5; how++) {
        again(&w->a);
        w->a.cancels_at_head = how == 3;
        w->a.cancels_at_body = how == 4;
        ask(w, &w->a);
        if (how == 0) /* the connection stands, and nobody knows yet; or it has gone out already */
            rig_on(w->rig.loops[0], cancel, &w->a);
        peer_accept(&w->origin, &w->peer);
        if (how > 0)
            peer_expect(&w->peer, "GET /a");
        if (how >= 2)
            peer_send(&w->peer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
        if (how == 2)
            AWAIT(w->a.body_bytes == 3);
        if (how == 3 || how == 4)
            AWAIT(w->a.is_over);
        if (how == 1 || how == 2)
            rig_on(w->rig.loops[0], cancel, &w->a);
        peer_expect_end(&w->peer);
        assert_int_equal(w->a.ends, 0);
        rig_on(w->rig.loops[0], do_nothing, NULL);
        assert_int_equal(origin_inflight(), 0);
    }
}

/* ---- without memory ---- */

/* Answers whoever comes, one at a time, until its listener is shut down. */
static void *serve_all(void *ctx)
{
    struct origin *o = ctx;
    static struct peer p;
    for (;;) {
        int fd = accept(o->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        p.len = 0;
        for (ssize_t n; (n = recv(fd, p.in + p.len, sizeof p.in - 1 - p.len, 0)) > 0;) {
            p.len += (size_t)n;
            p.in[p.len] = '\0';
            if (strstr(p.in, "\r\n\r\nhello") == NULL)
                continue;
            static const char answer[] =
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
            send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
            p.len = 0;
        }
        close(fd);
    }
}

static void arm(void *ctx)
{
    alloc_armed = *(bool *)ctx;
}

static void ask_and_wait(void *ctx)
{
    struct world *w = ctx;
    alloc_armed = false;
    again(&w->a);
    ask(w, &w->a);
    AWAIT(w->a.is_over);
    assert_int_equal(w->a.ends, 1);
    if (w->a.err == 0)
        assert_true(body_is(&w->a, "abc"));
}

static void call_survives_each_failure(void **state)
{
    struct world *w = *state;
    pthread_t server;
    open_world(w, NULL);
    w->a.method = METHOD_POST;
    w->a.head = "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    w->a.content_framing = BODY_LENGTH;
    w->a.content = "hello";
    w->a.content_bytes = w->a.piece_bytes = 5;
    assert_int_equal(pthread_create(&server, NULL, serve_all, &w->origin), 0);
    rig_on(w->rig.loops[0], arm, &(bool){true});
    assert_true(alloc_fail_each(ask_and_wait, w) >= 4);
    assert_int_equal(w->a.err, 0);
    rig_on(w->rig.loops[0], arm, &(bool){false});
    shutdown(w->origin.fd, SHUT_RDWR);
    pthread_join(server, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers_and_what_becomes_of_the_connection),
        TEST(a_head_in_pieces),
        TEST(an_idle_connection_that_speaks_is_closed),
        TEST(idle_connections_end_in_time),
        TEST(without_idle_time_nothing_is_reused),
        TEST(a_safe_request_is_repeated_once),
        TEST(the_second_try_may_succeed),
        TEST(what_may_have_been_done_is_not_repeated),
        TEST(dead_before_the_request_is_written),
        TEST(a_server_that_refuses_is_passed_over),
        TEST(a_server_without_a_route_is_passed_over),
        TEST(so_many_attempts_and_no_more),
        TEST(a_name_with_several_addresses),
        TEST(over_a_unix_socket),
        TEST(every_way_to_give_no_head_counts),
        TEST(what_does_not_count),
        TEST(all_down),
        TEST(down_while_others_queue),
        TEST(the_probe),
        TEST(a_probe_asks_all_addresses),
        TEST(the_others_serve_and_the_probe_finds_out),
        TEST(idle_connections_from_before_it_went_down_are_closed),
        TEST(each_attempt_has_its_connect_timeout),
        TEST(no_head_in_time),
        TEST(no_byte_of_the_body_in_time),
        TEST(body_timeout_rests_while_paused),
        TEST(no_place_in_time),
        TEST(background_waits_and_gives_way),
        TEST(the_queue_moves),
        TEST(interim_answers_have_a_bound),
        TEST(rude_origins),
        TEST(until_close_ends_by_a_reset),
        TEST(what_is_left_is_not_for_the_next),
        TEST(paused_means_that_the_origin_waits),
        TEST(content_with_length_and_in_chunks),
        TEST(an_origin_that_takes_its_time),
        TEST(an_early_answer_ends_the_connection),
        TEST(content_behind_the_queue_on_a_reused_connection),
        TEST(cancelled_in_the_queue),
        TEST(cancelled_while_it_connects_or_waits_or_reads),
        TEST(call_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
