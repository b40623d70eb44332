/* Transfers that break off, and how they go on. */
#include "shield/flight/flight.h"

#include "test/unit/flight_rig.h"

#define TAG "ETag: \"e\"\r\n"

enum { MANY = 6, WHOLE = 150000 };

/* What the counters said when the test began. */
static struct {
    int64_t mended, failed, asked_for_rest;
} before;

static int64_t mended(void)
{
    return metrics_total(METRIC_RESUMES_OK) - before.mended;
}

static int64_t failed(void)
{
    return metrics_total(METRIC_RESUMES_FAILED) - before.failed;
}

static int64_t asked_for_rest(void)
{
    return metrics_sum(SLOT_AT(origins[0].requests[KIND_RESUME])) - before.asked_for_rest;
}

static int setup(void **state)
{
    struct flight_rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    origin_open(&r->origin);
    *state = r;
    before.mended += mended();
    before.failed += failed();
    before.asked_for_rest += asked_for_rest();
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

static void crowd_asks(struct flight_rig *r, struct client *c, const char *path)
{
    for (unsigned k = 0; k < MANY; k++) {
        ask_for(&c[k], r, k % r->base.n, path);
        assert_int_equal(c[k].answer, CACHE_WAIT);
    }
}

static void crowd_has(struct client *c, uint64_t bytes)
{
    for (unsigned k = 0; k < MANY; k++)
        AWAIT(c[k].has_head && c[k].bytes == bytes);
}

static void crowd_ends(struct client *c, enum outcome how, uint64_t bytes)
{
    for (unsigned k = 0; k < MANY; k++) {
        expect_outcome(&c[k], how);
        assert_int_equal(c[k].bytes, bytes);
        client_done(&c[k]);
    }
}

static void expect_fetch(struct flight_rig *r, struct peer *p, const char *line)
{
    peer_accept(&r->origin, p);
    peer_expect(p, line);
}

/* The next request asks for the rest from `from` on, with `validator` and no other condition. */
static void expect_request_for_rest(struct peer *p, const char *path, uint64_t from, const char *validator)
{
    char line[100], range[60], condition[100];
    snprintf(line, sizeof line, "GET %s HTTP/1.1\r\nHost: h\r\n", path);
    snprintf(range, sizeof range, "\r\nRange: bytes=%llu-\r\n", (unsigned long long)from);
    snprintf(condition, sizeof condition, "\r\nIf-Range: %s\r\n", validator);
    const char *head = peer_expect(p, line);
    if (strstr(head, range) == NULL || strstr(head, condition) == NULL || strstr(head, "If-N") != NULL)
        fail_msg("not for the rest from %llu on: %s", (unsigned long long)from, head);
}

static void expect_rest(struct flight_rig *r, struct peer *p, const char *path, uint64_t from,
                        const char *validator)
{
    peer_accept(&r->origin, p);
    expect_request_for_rest(p, path, from, validator);
}

static void send_part(struct peer *p, const char *fields, uint64_t first, uint64_t last, uint64_t length)
{
    char head[400];
    snprintf(head, sizeof head,
             "HTTP/1.1 206 X\r\n%sContent-Range: bytes %llu-%llu/%llu\r\nContent-Length: %llu\r\n\r\n",
             fields, (unsigned long long)first, (unsigned long long)last, (unsigned long long)length,
             (unsigned long long)(last - first + 1));
    peer_send(p, head);
}

/* What the cache has of it now: a fetch that this begins ends at once. */
static enum cache_answer ask_once(struct flight_rig *r, const char *path)
{
    struct client c;
    for (unsigned i = 0; i < r->base.n; i++)
        rig_on(r->base.loops[i], do_nothing, NULL);
    ask_for(&c, r, 0, path);
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

/* ---- mended ---- */

enum framing { LENGTH, CHUNKS, CLOSE };

static void send_first_head(struct peer *p, const char *fields, enum framing framing)
{
    if (framing == LENGTH) {
        send_head(p, 200, fields, WHOLE);
        return;
    }
    peer_send(p, "HTTP/1.1 200 X\r\n");
    peer_send(p, fields);
    peer_send(p, framing == CHUNKS ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
}

static void send_some(struct peer *p, enum framing framing, uint64_t from, size_t n)
{
    char size[24];
    snprintf(size, sizeof size, "%zx\r\n", n);
    if (framing == CHUNKS && n > 0)
        peer_send(p, size);
    send_body(p, 7, from, n);
    if (framing == CHUNKS && n > 0)
        peer_send(p, "\r\n");
}

enum cut { BY_CLOSE, BY_RESET };

static void cut_off(struct peer *p, enum cut how)
{
    if (how == BY_RESET)
        peer_reset(p);
    else
        peer_close(p);
}

static const struct {
    enum framing framing;
    enum cut how;
} breaks[] = {
    {LENGTH, BY_CLOSE}, {LENGTH, BY_RESET}, {CHUNKS, BY_CLOSE}, {CHUNKS, BY_RESET}, {CLOSE, BY_RESET}};

static void one_whole_body_for_all(void **state)
{
    static const uint64_t offsets[] = {0, 1, 65520, 100000, WHOLE - 1};
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (size_t i = 0; i < ARRAY_LEN(breaks) * ARRAY_LEN(offsets); i++) {
        enum framing framing = breaks[i / ARRAY_LEN(offsets)].framing;
        uint64_t at = offsets[i % ARRAY_LEN(offsets)];
        struct client c[MANY];
        struct peer p, rest;
        char path[16];
        int64_t good = mended(), asked = asked_for_rest(), flights = metrics_total(METRIC_FLIGHTS_STARTED);
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        crowd_asks(r, c, path);
        expect_fetch(r, &p, "GET /");
        send_first_head(&p, FRESH TAG, framing);
        send_some(&p, framing, 0, at);
        crowd_has(c, at);
        cut_off(&p, breaks[i / ARRAY_LEN(offsets)].how);
        expect_rest(r, &rest, path, at, "\"e\"");
        assert_int_equal(metrics_total(METRIC_FLIGHTS), 1);
        send_part(&rest, TAG, at, WHOLE - 1, WHOLE);
        send_body(&rest, 7, at, WHOLE - at);
        for (unsigned k = 0; k < MANY; k++)
            assert_true(c[k].status == 200);
        crowd_ends(c, SERVED, WHOLE);
        rig_on(r->base.loops[0], do_nothing, NULL);
        assert_int_equal(mended() - good, 1);
        assert_int_equal(asked_for_rest() - asked, 1);
        assert_int_equal(metrics_total(METRIC_FLIGHTS_STARTED) - flights, 1);
        assert_int_equal(ask_once(r, path), CACHE_HIT);
        peer_close(&rest);
        rig_on(r->base.loops[0], do_nothing, NULL);
    }
    assert_int_equal(failed(), 0);
}

/* ETag or date, as the answer had it, in any form of 206; interim answers are passed over. */
static const struct {
    const char *fields, *validator, *head; /* of the part from 1000 on; its content is sent plain */
    bool is_chunked;
} parts[] = {
    {TAG, "\"e\"",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 206 X\r\n" TAG
     "Content-Range: bytes 1000-149999/150000\r\nContent-Length: 149000\r\n\r\n",
     false},
    {TAG, "\"e\"",
     "HTTP/1.1 206 X\r\n" TAG "Content-Range: bytes 1000-149999/150000\r\nTransfer-Encoding: chunked\r\n\r\n",
     true},
    {TAG "Content-Encoding: gzip\r\n", "\"e\"",
     "HTTP/1.1 206 X\r\n" TAG
     "Content-Range: bytes 1000-149999/150000\r\nContent-Encoding: gzip\r\nContent-Length: 149000\r\n\r\n",
     false},
    {"Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nDate: Mon, 01 Jan 2024 00:00:01 GMT\r\n",
     "Mon, 01 Jan 2024 00:00:00 GMT",
     "HTTP/1.1 206 X\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nDate: Mon, 01 Jan 2024 00:00:02 "
     "GMT\r\n"
     "Content-Range: bytes 1000-149999/150000\r\nContent-Length: 149000\r\n\r\n",
     false},
};

static void any_honest_part_will_do(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct client c[MANY];
        struct peer p, rest;
        char path[16], fields[300];
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        snprintf(fields, sizeof fields, "Cache-Control: max-age=999999999\r\n%s", parts[i].fields);
        crowd_asks(r, c, path);
        expect_fetch(r, &p, "GET /");
        send_first_head(&p, fields, LENGTH);
        send_some(&p, LENGTH, 0, 1000);
        crowd_has(c, 1000);
        peer_reset(&p);
        expect_rest(r, &rest, path, 1000, parts[i].validator);
        peer_send(&rest, parts[i].head);
        send_some(&rest, parts[i].is_chunked ? CHUNKS : LENGTH, 1000, WHOLE - 1000);
        if (parts[i].is_chunked)
            peer_send(&rest, "0\r\n\r\n");
        crowd_ends(c, SERVED, WHOLE);
        assert_int_equal(ask_once(r, path), CACHE_HIT);
        peer_close(&rest);
        rig_on(r->base.loops[0], do_nothing, NULL);
    }
    assert_int_equal(mended(), ARRAY_LEN(parts));
}

/* It breaks off again: by a cut, by a part that is less than was asked for, before its head. Twice at most.
 */
static void it_may_break_twice(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (int again = 0; again < 3; again++)
        for (int thrice = 0; thrice < 2; thrice++) {
            struct client c[MANY];
            struct peer p;
            char path[32];
            int64_t good = mended(), bad = failed();
            snprintf(path, sizeof path, "/%d/%d", again, thrice);
            crowd_asks(r, c, path);
            expect_fetch(r, &p, "GET /");
            send_first_head(&p, FRESH TAG, CHUNKS);
            send_some(&p, CHUNKS, 0, 1000);
            crowd_has(c, 1000);
            peer_close(&p);
            expect_rest(r, &p, path, 1000, "\"e\"");
            uint64_t at = again == 2 ? 1000 : 80000;
            if (again < 2) {
                send_part(&p, TAG, 1000, again == 0 ? WHOLE - 1 : at - 1, WHOLE);
                send_some(&p, LENGTH, 1000, at - 1000);
                crowd_has(c, at);
            }
            if (again == 1) { /* its connection is still good */
                expect_request_for_rest(&p, path, at, "\"e\"");
            } else {
                peer_close(&p);
                expect_rest(r, &p, path, at, "\"e\"");
            }
            send_part(&p, TAG, at, WHOLE - 1, WHOLE);
            send_some(&p, LENGTH, at, WHOLE - at - 1);
            if (!thrice)
                send_some(&p, LENGTH, WHOLE - 1, 1);
            else
                crowd_has(c, WHOLE - 1);
            peer_close(&p);
            crowd_ends(c, thrice ? CUT : SERVED, WHOLE - (thrice ? 1 : 0));
            AWAIT_COUNT(mended() - good, thrice ? 0 : 1);
            AWAIT_COUNT(failed() - bad, thrice ? 1 : 0);
            assert_int_equal(ask_once(r, path), thrice ? CACHE_WAIT : CACHE_HIT);
        }
}

static void a_silence_is_a_break_too(void **state)
{
    struct flight_rig *r = *state;
    struct client c[MANY];
    struct peer p, rest;
    flight_rig_start(r, 3,
                     (struct config_override[]){{"origins.default.body_timeout", "50ms"}, {NULL, NULL}});
    crowd_asks(r, c, "/a");
    expect_fetch(r, &p, "GET /a");
    send_first_head(&p, FRESH TAG, LENGTH);
    send_some(&p, LENGTH, 0, 1000);
    expect_rest(r, &rest, "/a", 1000, "\"e\"");
    peer_expect_end(&p);
    send_part(&rest, TAG, 1000, WHOLE - 1, WHOLE);
    send_some(&rest, LENGTH, 1000, WHOLE - 1000);
    crowd_ends(c, SERVED, WHOLE);
    peer_close(&rest);
}

/* ---- not mended ---- */

#define RANGE "Content-Range: bytes 1000-149999/150000\r\n"
#define N     "Content-Length: 149000\r\n"

static const struct {
    const char *what;
    enum framing framing;
    const char *answer;
} lies[] = {
    {"all of it", LENGTH, "HTTP/1.1 200 X\r\n" TAG "Content-Length: 150000\r\n\r\n"},
    {"not satisfiable", LENGTH,
     "HTTP/1.1 416 X\r\n" TAG "Content-Range: bytes */150000\r\nContent-Length: 0\r\n\r\n"},
    {"all was here", CHUNKS,
     "HTTP/1.1 416 X\r\n" TAG "Content-Range: bytes */1000\r\nContent-Length: 0\r\n\r\n"},
    {"an error", LENGTH, "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"},
    {"not modified", LENGTH, "HTTP/1.1 304 X\r\n" TAG "\r\n"},
    {"another tag", LENGTH, "HTTP/1.1 206 X\r\nETag: \"f\"\r\n" RANGE N "\r\n"},
    {"a weak tag", LENGTH, "HTTP/1.1 206 X\r\nETag: W/\"e\"\r\n" RANGE N "\r\n"},
    {"no tag", LENGTH, "HTTP/1.1 206 X\r\n" RANGE N "\r\n"},
    {"no range", LENGTH, "HTTP/1.1 206 X\r\n" TAG N "\r\n"},
    {"another beginning", LENGTH,
     "HTTP/1.1 206 X\r\n" TAG "Content-Range: bytes 999-149999/150000\r\nContent-Length: 149001\r\n\r\n"},
    {"another length", LENGTH,
     "HTTP/1.1 206 X\r\n" TAG "Content-Range: bytes 1000-150000/150001\r\nContent-Length: 149001\r\n\r\n"},
    {"no length", CHUNKS, "HTTP/1.1 206 X\r\n" TAG "Content-Range: bytes 1000-149999/*\r\n" N "\r\n"},
    {"less than its range", LENGTH, "HTTP/1.1 206 X\r\n" TAG RANGE "Content-Length: 148999\r\n\r\n"},
    {"more than its range", LENGTH, "HTTP/1.1 206 X\r\n" TAG RANGE "Content-Length: 149001\r\n\r\n"},
    {"another coding", LENGTH, "HTTP/1.1 206 X\r\n" TAG RANGE N "Content-Encoding: gzip\r\n\r\n"},
    {"many parts", LENGTH,
     "HTTP/1.1 206 X\r\n" TAG "Content-Type: multipart/byteranges; boundary=x\r\n" N "\r\n"},
    {"not HTTP", LENGTH, "what?\r\n\r\n"},
    {"a range that is exceeded", LENGTH,
     "HTTP/1.1 206 X\r\n" TAG "Content-Range: bytes 1000-1000/150000\r\nTransfer-Encoding: chunked\r\n\r\n"
     "2\r\n##\r\n"},
};

static void a_lie_cuts_all_and_nothing_is_kept(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct client c[MANY];
        struct peer p, rest;
        char path[16];
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        crowd_asks(r, c, path);
        expect_fetch(r, &p, "GET /");
        send_first_head(&p, FRESH TAG, lies[i].framing);
        send_some(&p, lies[i].framing, 0, 1000);
        crowd_has(c, 1000);
        peer_close(&p);
        expect_rest(r, &rest, path, 1000, "\"e\"");
        peer_send(&rest, lies[i].answer);
        for (unsigned k = 0; k < MANY; k++) {
            AWAIT(c[k].outcome != WAITING);
            if (c[k].outcome != CUT || c[k].err != ERR_TRUNCATED || c[k].bytes != 1000)
                fail_msg("%s: outcome %d, %s, %llu bytes", lies[i].what, c[k].outcome, err_name(c[k].err),
                         (unsigned long long)c[k].bytes);
            client_done(&c[k]);
        }
        peer_expect_end(&rest); /* whatever else it would have sent */
        AWAIT_COUNT(failed(), (int64_t)i + 1);
        assert_int_equal(ask_once(r, path), CACHE_WAIT);
    }
    assert_int_equal(mended(), 0);
}

static const struct {
    int status;
    const char *fields;
} unmendable[] = {
    {200, FRESH},
    {200, FRESH "ETag: W/\"e\"\r\n"},
    {200, FRESH "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"}, /* without a Date of the origin's */
    {200, FRESH "ETag: W/\"e\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
                "Date: Mon, 01 Jan 2024 00:01:00 GMT\r\n"},
    {404, FRESH TAG},
};

static void without_a_strong_validator_it_is_cut(void **state)
{
    struct flight_rig *r = *state;
    flight_rig_start(r, 3, NULL);
    for (size_t i = 0; i < ARRAY_LEN(unmendable); i++) {
        struct client c[MANY];
        struct peer p;
        char path[16];
        snprintf(path, sizeof path, "/%u", (unsigned)i);
        crowd_asks(r, c, path);
        expect_fetch(r, &p, "GET /");
        send_head(&p, unmendable[i].status, unmendable[i].fields, WHOLE);
        send_body(&p, 7, 0, 1000);
        crowd_has(c, 1000);
        peer_close(&p);
        crowd_ends(c, CUT, 1000);
        assert_false(origin_has_caller(&r->origin));
    }
    assert_int_equal(asked_for_rest(), 0);
    assert_int_equal(failed(), 0);
}

static void a_hang_is_not_tried_again(void **state)
{
    struct flight_rig *r = *state;
    struct client c[MANY];
    struct peer p, rest;
    flight_rig_start(r, 3,
                     (struct config_override[]){{"origins.default.head_timeout", "50ms"}, {NULL, NULL}});
    crowd_asks(r, c, "/a");
    expect_fetch(r, &p, "GET /a");
    send_first_head(&p, FRESH TAG, LENGTH);
    send_some(&p, LENGTH, 0, 1000);
    crowd_has(c, 1000);
    peer_close(&p);
    expect_rest(r, &rest, "/a", 1000, "\"e\"");
    crowd_ends(c, CUT, 1000);
    peer_expect_end(&rest);
    assert_int_equal(asked_for_rest(), 1);
}

/* ---- at the seam ---- */

static const char *state_of_flight;

static void note_state(void *ctx, const struct flight_info *info)
{
    *(int *)ctx += 1;
    state_of_flight = info->state;
}

static void who_comes_and_goes_at_the_seam(void **state)
{
    struct flight_rig *r = *state;
    struct client c[MANY], late[3];
    struct peer p, rest;
    int flights = 0;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, "/a");
    expect_fetch(r, &p, "GET /a");
    send_first_head(&p, FRESH TAG, LENGTH);
    send_some(&p, LENGTH, 0, 1000);
    crowd_has(c, 1000);
    peer_reset(&p);
    expect_rest(r, &rest, "/a", 1000, "\"e\"");
    flight_each_asking(note_state, &flights);
    assert_int_equal(flights, 1);
    assert_string_equal(state_of_flight, "resume");
    for (unsigned k = 0; k < 4; k++)
        client_leave(&c[k]); /* the leader too */
    for (unsigned k = 0; k < 3; k++) {
        ask_for(&late[k], r, k, "/a");
        assert_int_equal(late[k].answer, CACHE_WAIT);
        AWAIT(late[k].bytes == 1000);
    }
    assert_false(origin_has_caller(&r->origin)); /* they have joined */
    send_part(&rest, TAG, 1000, WHOLE - 1, WHOLE);
    send_some(&rest, LENGTH, 1000, WHOLE - 1000);
    for (unsigned k = 0; k < 3; k++) {
        expect_outcome(&late[k], SERVED);
        client_done(&late[k]);
    }
    for (unsigned k = 0; k < MANY; k++) {
        expect_outcome(&c[k], k < 4 ? LEFT : SERVED);
        client_done(&c[k]);
    }
    assert_int_equal(mended(), 1);
    peer_close(&rest);
}

static const struct {
    const char *finish;
    bool goes_on;
} finishes[] = {{"never", false}, {"cacheable", true}, {"always", true}};

static void when_all_leave_at_the_seam(void **state)
{
    struct flight_rig *r = *state;
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        struct client c[MANY];
        struct peer p, rest;
        flight_rig_start(r, 3,
                         (struct config_override[]){{"flight.finish", finishes[i].finish}, {NULL, NULL}});
        crowd_asks(r, c, "/a");
        expect_fetch(r, &p, "GET /a");
        send_first_head(&p, FRESH TAG, LENGTH);
        send_some(&p, LENGTH, 0, 1000);
        crowd_has(c, 1000);
        peer_close(&p);
        expect_rest(r, &rest, "/a", 1000, "\"e\"");
        for (unsigned k = 0; k < MANY; k++) {
            client_leave(&c[k]);
            client_done(&c[k]);
        }
        if (finishes[i].goes_on) {
            send_part(&rest, TAG, 1000, WHOLE - 1, WHOLE);
            send_some(&rest, LENGTH, 1000, WHOLE - 1000);
            AWAIT_COUNT(metrics_total(METRIC_FLIGHTS), 0);
            peer_close(&rest);
        } else {
            peer_expect_end(&rest);
            AWAIT_COUNT(metrics_total(METRIC_FLIGHTS), 0);
        }
        assert_int_equal(ask_once(r, "/a"), finishes[i].goes_on ? CACHE_HIT : CACHE_WAIT);
        if (i < ARRAY_LEN(finishes) - 1)
            flight_rig_stop(r);
    }
}

struct invalidation {
    struct flight_rig *rig;
    const char *path;
};

static void do_invalidate(void *ctx)
{
    struct invalidation *i = ctx;
    cache_invalidate(i->rig->cache, &i->rig->env[0], span_of(i->path));
}

static void fenced_at_the_seam_it_ends_for_its_readers(void **state)
{
    struct flight_rig *r = *state;
    struct client c[MANY];
    struct peer p, rest;
    flight_rig_start(r, 3, NULL);
    crowd_asks(r, c, "/a");
    expect_fetch(r, &p, "GET /a");
    send_first_head(&p, FRESH TAG, LENGTH);
    send_some(&p, LENGTH, 0, 1000);
    crowd_has(c, 1000);
    peer_close(&p);
    expect_rest(r, &rest, "/a", 1000, "\"e\"");
    rig_on(r->base.loops[0], do_invalidate, &(struct invalidation){r, "/a"});
    send_part(&rest, TAG, 1000, WHOLE - 1, WHOLE);
    send_some(&rest, LENGTH, 1000, WHOLE - 1000);
    crowd_ends(c, SERVED, WHOLE);
    assert_int_equal(ask_once(r, "/a"), CACHE_WAIT);
    peer_close(&rest);
}

/* Its place in the origin's queue is one like others: who waited before goes before. */
static void it_queues_like_any_request(void **state)
{
    struct flight_rig *r = *state;
    struct client c[MANY], other;
    struct peer p, between, rest;
    flight_rig_start(r, 1, (struct config_override[]){{"origins.default.max_concurrent", "1"}, {NULL, NULL}});
    crowd_asks(r, c, "/a");
    expect_fetch(r, &p, "GET /a");
    ask_for(&other, r, 0, "/b");
    send_first_head(&p, FRESH TAG, LENGTH);
    send_some(&p, LENGTH, 0, 1000);
    crowd_has(c, 1000);
    peer_close(&p);
    expect_fetch(r, &between, "GET /b");
    send_answer(&between, 200, FRESH "Connection: close\r\n", 10);
    expect_outcome(&other, SERVED);
    client_done(&other);
    expect_rest(r, &rest, "/a", 1000, "\"e\"");
    peer_close(&between);
    send_part(&rest, TAG, 1000, WHOLE - 1, WHOLE);
    send_some(&rest, LENGTH, 1000, WHOLE - 1000);
    crowd_ends(c, SERVED, WHOLE);
    peer_close(&rest);
}

/* Sends what the other side takes before it stops reading. */
static size_t send_until_full(struct peer *p, uint64_t from, size_t n)
{
    static char piece[100000];
    size_t sent = 0;
    while (sent < n) {
        size_t now = MIN(n - sent, sizeof piece);
        put_bytes(piece, 7, from + sent, now);
        ssize_t k = send(p->fd, piece, now, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k >= 0) {
            sent += (size_t)k;
            continue;
        }
        struct pollfd pfd = {.fd = p->fd, .events = POLLOUT};
        if (poll(&pfd, 1, 300) == 0)
            break;
    }
    return sent;
}

static const struct config_override small_store[] = {
    {"store.object_max", "100k"}, {"flight.window", "64k"}, {NULL, NULL}};

/* A reader stands still, and the fetch is held when the body breaks off: what comes then is held as well,
 * unless he has read on meanwhile. */
static void held_behind_the_seam(void **state)
{
    enum { BODY = 40 << 20, HERE = 50000 };
    struct flight_rig *r = *state;
    struct client fast, slow;
    struct peer p, rest;
    flight_rig_start(r, 2, small_store);
    ask_for(&fast, r, 0, "/x");
    client_init(&slow, r, 1, "/x");
    slow.stops_reading = true;
    client_ask(&slow);
    expect_fetch(r, &p, "GET /x");
    send_first_head(&p, FRESH TAG, CHUNKS);
    send_some(&p, CHUNKS, 0, HERE);
    AWAIT(fast.bytes == HERE && slow.has_head);
    cut_off(&p, BY_CLOSE);
    expect_rest(r, &rest, "/x", HERE, "\"e\"");
    send_part(&rest, TAG, HERE, BODY - 1, BODY);
    size_t sent = send_until_full(&rest, HERE, BODY - HERE);
    assert_true(sent < BODY - HERE);
    assert_int_equal(metrics_sum(SLOT_AT(limits[LIMIT_WINDOW])), 1);
    client_read_on(&slow);
    send_body(&rest, 7, HERE + sent, BODY - HERE - sent);
    expect_outcome(&fast, SERVED);
    expect_outcome(&slow, SERVED);
    assert_int_equal(fast.bytes, BODY);
    assert_int_equal(slow.bytes, BODY);
    client_done(&fast);
    client_done(&slow);
    peer_close(&rest);
    assert_int_equal(mended(), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_whole_body_for_all),
        TEST(any_honest_part_will_do),
        TEST(it_may_break_twice),
        TEST(a_silence_is_a_break_too),
        TEST(a_lie_cuts_all_and_nothing_is_kept),
        TEST(without_a_strong_validator_it_is_cut),
        TEST(a_hang_is_not_tried_again),
        TEST(who_comes_and_goes_at_the_seam),
        TEST(when_all_leave_at_the_seam),
        TEST(fenced_at_the_seam_it_ends_for_its_readers),
        TEST(it_queues_like_any_request),
        TEST(held_behind_the_seam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
