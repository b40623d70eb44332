/* flight_rig - a cache with its flights over two or three loops, and clients that ask it.
 *
 * A client does what an exchange does: it asks, waits, reads the object as it fills, and has exactly one
 * outcome. */
#ifndef TEST_UNIT_FLIGHT_RIG_H
#define TEST_UNIT_FLIGHT_RIG_H

#include "shield/cache/cache.h"
#include "test/unit/loops_rig.h"
#include "test/unit/object_rig.h"
#include "test/unit/origin_rig.h"

struct flight_rig {
    struct loops_rig base;
    struct origin origin;
    struct cache *cache;
    struct flight_env env[RIG_LOOPS];
};

enum outcome {
    WAITING,
    HIT,      /* from the store */
    STALE,    /* from the store, since the answer would be an error */
    SERVED,   /* from a flight, whole */
    RELEASED, /* may not be shared */
    ALONE,    /* was told to fetch alone at once */
    FAILED,   /* with err */
    CUT,      /* the object failed in the middle */
    LEFT,
};

struct client {
    struct flight_waiter waiter;
    struct flight_rig *rig;
    unsigned at; /* its loop */
    struct http_head request;
    struct http_field fields[2];
    char path[64];
    const char *variant; /* of the request field X-V, or NULL */
    enum http_method method;
    bool may_join, only_new, stops_reading, is_asking;
    /* what came, seen by the test through TELL and AWAIT */
    char interims[32]; /* the last digit of each 1xx */
    enum outcome outcome;
    enum cache_answer answer;
    enum miss_reason reason;
    int err, status, lookups, varied, again;
    bool has_head, body_is_bad, was_validated, was_stale, is_stored;
    uint64_t bytes, ready, salt;
    struct object *object; /* the one it read, one reference */
};

static inline struct span client_key(const struct client *c)
{
    return span_of(c->path); /* the flight copies it; any bytes will do */
}

static inline void finish_client(struct client *c, enum outcome how, int err)
{
    REQUIRE(c->outcome == WAITING);
    TELL(c->outcome = how; c->err = err);
}

static inline void note_object(struct client *c, struct object *o)
{
    REQUIRE(c->object == NULL);
    struct object *mine = object_ref(o);
    int status = object_head(o)->facts.status;
    TELL(c->object = mine; c->status = status; c->has_head = true);
}

static inline void take_interims(struct client *c)
{
    const struct flight_interim *i;
    while ((i = flight_next_interim(&c->waiter)) != NULL) {
        size_t n = strlen(c->interims);
        REQUIRE(n + 1 < sizeof c->interims);
        TELL(c->interims[n] = (char)('0' + i->status % 10));
    }
}

/* Read what is there. A body tells its salt by its first byte. */
static inline int read_on(struct client *c)
{
    struct object *o = c->object;
    uint64_t ready = object_ready(o), at = c->bytes, salt = c->salt;
    bool bad = false;
    int err = 0;
    while (at < ready && !c->stops_reading && err == 0) {
        struct span s;
        struct chunk *hold = NULL;
        err = object_read(o, at, &s, &hold);
        if (err != 0)
            break;
        if (at == 0)
            salt = (unsigned char)s.p[0];
        bad |= !bytes_fit(s.p, salt, at, s.len);
        chunk_unref(&hold);
        at += s.len;
    }
    TELL(c->bytes = at; c->salt = salt; c->ready = ready; c->body_is_bad |= bad);
    return err;
}

static inline void go_on_reading(struct client *c)
{
    enum object_state state = object_state(c->object); /* before what is ready is read */
    int err = read_on(c);
    REQUIRE(err == 0);
    flight_waiter_read_to(&c->waiter, c->bytes);
    if (c->stops_reading || state == OBJECT_FILLING)
        return;
    flight_leave(&c->waiter);
    if (state == OBJECT_FAILED)
        finish_client(c, CUT, object_error(c->object));
    else
        finish_client(c, SERVED, 0);
}

static inline void ask_cache(void *ctx);

static inline void on_flight_event(struct flight_waiter *w, enum flight_event ev)
{
    struct client *c = container_of(w, struct client, waiter);
    REQUIRE(loop_is_current(c->rig->base.loops[c->at]) && c->outcome == WAITING && !c->is_asking);
    switch (ev) {
    case FLIGHT_SWITCHED: /* nobody asks for it here */
        REQUIRE(false);
        return;
    case FLIGHT_INTERIM:
        REQUIRE(!c->has_head && w->flight != NULL);
        take_interims(c);
        return;
    case FLIGHT_HEAD:
        REQUIRE(!c->has_head && w->flight != NULL);
        take_interims(c);
        c->was_validated = flight_was_validated(w->flight);
        c->was_stale = flight_is_stale(w->flight);
        c->is_stored = flight_is_stored(w->flight);
        note_object(c, flight_object(w->flight));
        go_on_reading(c);
        return;
    case FLIGHT_PROGRESS:
        REQUIRE(c->has_head && w->flight != NULL);
        go_on_reading(c);
        return;
    case FLIGHT_RELEASED:
        REQUIRE(!c->has_head && w->flight == NULL);
        finish_client(c, RELEASED, 0);
        return;
    case FLIGHT_FAILED:
        REQUIRE(!c->has_head && w->flight == NULL && w->err != 0);
        finish_client(c, FAILED, w->err);
        return;
    case FLIGHT_VARIED:
    case FLIGHT_FENCED:
    case FLIGHT_AGAIN:
        REQUIRE(!c->has_head && w->flight == NULL);
        TELL(c->varied += ev == FLIGHT_VARIED; c->again += ev != FLIGHT_VARIED);
        ask_cache(c);
        return;
    }
}

static inline void make_request(struct client *c)
{
    c->request = (struct http_head){.method = c->method,
                                    .method_text = c->method == METHOD_HEAD ? SPAN("HEAD") : SPAN("GET"),
                                    .minor = 1,
                                    .target = span_of(c->path),
                                    .fields = c->fields,
                                    .cap_fields = 2};
    c->fields[c->request.n_fields++] = (struct http_field){SPAN("Host"), SPAN("h"), FIELD_HOST};
    if (c->variant != NULL)
        c->fields[c->request.n_fields++] = (struct http_field){SPAN("X-V"), span_of(c->variant), FIELD_OTHER};
    c->request.present = UINT64_C(1) << FIELD_HOST;
}

static inline void ask_cache(void *ctx)
{
    struct client *c = ctx;
    make_request(c);
    struct flight_waiter fresh = {
        .request = &c->request, .on_event = on_flight_event, .wants_range = c->waiter.wants_range};
    struct cache_reply reply;
    c->waiter = fresh;
    struct cache_question q = {
        .env = &c->rig->env[c->at],
        .what = {.config = c->rig->base.loops[c->at]->config,
                 .route = &c->rig->base.loops[c->at]->config->fallback,
                 .key = client_key(c),
                 .key_hash = cache_hash(c->rig->cache, client_key(c)),
                 .method = c->method,
                 .head = &c->request,
                 .host = SPAN("h"),
                 .path_query = span_of(c->path)},
        .waiter = &c->waiter,
        .may_join = c->may_join,
        .only_new = c->only_new,
    };
    TELL(memset(c->interims, 0, sizeof c->interims));
    c->is_asking = true; /* no event may come from inside */
    cache_ask(c->rig->cache, &q, &reply);
    c->is_asking = false;
    TELL(c->answer = reply.answer; c->reason = reply.reason; c->lookups++);
    switch (reply.answer) {
    case CACHE_HIT:
    case CACHE_STALE:
        note_object(c, reply.object);
        c->stops_reading = false; /* nobody waits for this one */
        REQUIRE(read_on(c) == 0);
        object_unref(&reply.object);
        finish_client(c, reply.answer == CACHE_HIT ? HIT : STALE, reply.answer == CACHE_HIT ? 0 : reply.err);
        return;
    case CACHE_ALONE:
        object_unref(&reply.object);
        finish_client(c, ALONE, 0);
        return;
    case CACHE_FAILED:
        finish_client(c, FAILED, reply.err);
        return;
    case CACHE_WAIT:
        return;
    }
}

static inline void client_init(struct client *c, struct flight_rig *r, unsigned at, const char *path)
{
    *c = (struct client){.rig = r, .at = at, .may_join = true, .method = METHOD_GET};
    snprintf(c->path, sizeof c->path, "%s", path);
}

static inline void client_ask(struct client *c)
{
    rig_on(c->rig->base.loops[c->at], ask_cache, c);
}

static inline void ask_for(struct client *c, struct flight_rig *r, unsigned at, const char *path)
{
    client_init(c, r, at, path);
    client_ask(c);
}

static inline void leave_flight(void *ctx)
{
    struct client *c = ctx;
    if (c->outcome != WAITING)
        return;
    flight_leave(&c->waiter);
    flight_leave(&c->waiter); /* of nothing: nothing */
    finish_client(c, LEFT, 0);
}

static inline void client_leave(struct client *c)
{
    rig_on(c->rig->base.loops[c->at], leave_flight, c);
}

static inline void read_again(void *ctx)
{
    struct client *c = ctx;
    c->stops_reading = false;
    if (c->outcome == WAITING && c->has_head)
        go_on_reading(c);
}

static inline void client_read_on(struct client *c)
{
    rig_on(c->rig->base.loops[c->at], read_again, c);
}

/* Drops what it holds, so that it can ask again. */
static inline void client_done(struct client *c)
{
    object_unref(&c->object);
}

static inline void expect_outcome(struct client *c, enum outcome how)
{
    AWAIT(c->outcome != WAITING);
    if (c->outcome != how)
        fail_msg("outcome %d (%s), not %d", c->outcome, err_name(c->err), how);
    assert_false(c->body_is_bad);
}

/* ---- what the origin says ---- */

static inline void send_body(struct peer *p, uint64_t salt, uint64_t from, size_t n)
{
    char piece[10000];
    while (n > 0) {
        size_t now = MIN(n, sizeof piece);
        put_bytes(piece, salt, from, now);
        peer_send_bytes(p, piece, now);
        from += now;
        n -= now;
    }
}

/* A head with `fields` (each with CRLF) and a length. */
static inline void send_head(struct peer *p, int status, const char *fields, uint64_t length)
{
    char head[1000];
    snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%sContent-Length: %llu\r\n\r\n", status, fields,
             (unsigned long long)length);
    peer_send(p, head);
}

static inline void send_answer(struct peer *p, int status, const char *fields, uint64_t length)
{
    send_head(p, status, fields, length);
    send_body(p, 7, 0, length);
}

#define FRESH   "Cache-Control: max-age=60\r\n"
#define PRIVATE "Cache-Control: private\r\n"

/* ---- the world ---- */

static inline void flight_rig_start(struct flight_rig *r, unsigned n_loops,
                                    const struct config_override *more)
{
    struct config_override settings[16] = {{"origin", r->origin.url}};
    for (size_t i = 0; more != NULL && more[i].name != NULL; i++)
        settings[i + 1] = more[i];
    rig_start(&r->base, n_loops, settings);
    r->cache = cache_new(r->base.config->store_ram, 42);
    assert_non_null(r->cache);
    for (unsigned i = 0; i < n_loops; i++) {
        r->env[i] = (struct flight_env){.loop = r->base.loops[i],
                                        .loops = r->base.loops,
                                        .n_loops = n_loops,
                                        .pool = &r->base.pool[i],
                                        .table = cache_flight_table(r->cache)};
        flight_env_init(&r->env[i]);
    }
}

static inline void stop_flights(void *ctx)
{
    flight_env_stop(ctx);
}

/* Nothing is left of the flights when all clients have gone. */
static inline void flight_rig_stop(struct flight_rig *r)
{
    struct cache_stats stats;
    for (unsigned i = 0; i < r->base.n; i++)
        rig_on(r->base.loops[i], stop_flights, &r->env[i]);
    for (unsigned i = 0; i < r->base.n; i++)
        rig_on(r->base.loops[i], do_nothing, NULL);
    cache_get_stats(r->cache, &stats);
    assert_int_equal(stats.flights, 0);
    assert_int_equal(metrics_total(METRIC_FLIGHTS), 0);
    assert_int_equal(metrics_total(METRIC_WAITERS), 0);
    assert_int_equal(metrics_total(METRIC_VIOLATION_ONE_FLIGHT), 0);
    assert_int_equal(origin_inflight(), 0);
    rig_stop(&r->base);
    cache_free(&r->cache);
}

#endif
