#include "shield/warm/warm_fetch.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "shield/policy/key.h"
#include "shield/policy/route.h"
#include "shield/policy/stale.h"
#include "shield/purge/purge_object.h"

enum { TRIES_MAX = 4, PAUSES_MAX = 10, PAUSE_MS = 1000 };

struct warm_fetch {
    struct mail mail; /* there, then home */
    struct list_node link;
    struct warm_env *env;
    struct loop *home;
    void (*on_home)(struct warm_fetch *f);
    void *ctx;
    struct arena arena;
    struct span url, lines;

    struct config *config; /* which `route` is part of */
    const struct config_route *route;
    struct warm_request request;
    struct buf key;
    uint64_t key_hash;
    struct flight_waiter waiter;
    unsigned tries, pauses; /* asked again at once; after a while, since there was no room */
    struct loop_timer pause;

    bool is_read; /* its content is wanted: */
    uint64_t max_bytes;
    struct buf content;
    size_t tag;

    enum warm_outcome outcome;
    int err, status;
};

/* ---- home ---- */

static void deliver_home(struct mail *m)
{
    struct warm_fetch *f = container_of(m, struct warm_fetch, mail);
    f->on_home(f);
}

static void go_home(struct warm_fetch *f, enum warm_outcome outcome, int err)
{
    flight_leave(&f->waiter);
    timer_stop(f->env->loop, &f->pause);
    list_remove(&f->link);
    f->outcome = outcome;
    f->err = err;
    f->mail.deliver = deliver_home;
    loop_post(f->home, &f->mail);
}

/* ---- what the flight says ---- */

static void ask(struct warm_fetch *f);

static void ask_again(struct warm_fetch *f)
{
    flight_leave(&f->waiter);
    if (++f->tries < TRIES_MAX)
        ask(f);
    else
        go_home(f, WARM_FAILED, ERR_PURGED);
}

static void go_on(struct warm_fetch *f);

static void on_pause_over(struct loop_timer *t)
{
    go_on(container_of(t, struct warm_fetch, pause));
}

/* A bound of ours is no fault of the URL: clients come first, and it comes again. */
static void fail(struct warm_fetch *f, int err)
{
    bool is_full = err == ERR_BUSY || err == ERR_QUEUE_TIMEOUT;
    if (is_full && ++f->pauses <= PAUSES_MAX)
        timer_set(f->env->loop, &f->pause, PAUSE_MS);
    else
        go_home(f, WARM_FAILED, err);
}

/* What has come of the content, of an object that stays in memory until it has been read. */
static int read_on(struct warm_fetch *f, struct object *o)
{
    for (uint64_t ready = object_ready(o); f->content.len < ready;) {
        struct span part;
        struct chunk *hold = NULL;
        int err =
            ready <= f->max_bytes ? object_read(o, f->content.len, &part, &hold) : ERR_CONTENT_TOO_LARGE;
        if (err == 0)
            buf_put_span(&f->content, part);
        chunk_unref(&hold);
        if (err != 0 || f->content.failed)
            return err != 0 ? err : ERR_NOMEM;
    }
    flight_waiter_read_to(&f->waiter, f->content.len);
    return 0;
}

static void look_at_content(struct warm_fetch *f)
{
    struct object *o = flight_object(f->waiter.flight);
    enum object_state state = object_state(o); /* before its bytes are counted */
    f->status = object_head(o)->facts.status;
    int err = state == OBJECT_FAILED ? object_error(o) : read_on(f, o);
    if (err != 0 || f->status != 200)
        go_home(f, WARM_FAILED, err);
    else if (state == OBJECT_SEALED)
        go_home(f, WARM_READ, 0);
}

/* Of what is not stored: an error of the origin's is a failure, a 404 is its answer. */
static enum warm_outcome outcome_unstored(int status)
{
    return status >= 500 ? WARM_FAILED : WARM_UNCACHEABLE;
}

/* The head is known, and what of the body is here. */
static void look_at_object(struct warm_fetch *f)
{
    const struct flight *flight = f->waiter.flight;
    struct object *o = flight_object(flight);
    enum object_state state = object_state(o);
    f->status = object_head(o)->facts.status;
    if (flight_is_stale(flight))
        go_home(f, WARM_FAILED, ERR_SERVER_ERROR);
    else if (flight_came_from_disk(flight))
        go_home(f, WARM_FRESH, 0);
    else if (state == OBJECT_FAILED)
        go_home(f, WARM_FAILED, object_error(o));
    else if (!flight_is_stored(flight) || flight_is_paced(flight))
        go_home(f, outcome_unstored(f->status), 0);
    else if (purge_object_check(f->env->flights->purges, o, clock_wall_ms(), NULL) != PURGE_NONE)
        ask_again(f); /* overtaken, so it is not stored */
    else if (state == OBJECT_SEALED)
        go_home(f, WARM_STORED, 0);
}

static void on_flight_event(struct flight_waiter *w, enum flight_event ev)
{
    struct warm_fetch *f = container_of(w, struct warm_fetch, waiter);
    switch (ev) {
    case FLIGHT_INTERIM:
    case FLIGHT_SWITCHED: /* of a pass alone */
        break;
    case FLIGHT_HEAD:
    case FLIGHT_PROGRESS:
        if (f->is_read)
            look_at_content(f);
        else
            look_at_object(f);
        break;
    case FLIGHT_RELEASED:
        go_home(f, WARM_UNCACHEABLE, 0);
        break;
    case FLIGHT_VARIED:
    case FLIGHT_AGAIN:
    case FLIGHT_FENCED:
        ask_again(f);
        break;
    case FLIGHT_FAILED:
        fail(f, w->err);
        break;
    }
}

/* ---- asking ---- */

static struct flight_request what_to_fetch(const struct warm_fetch *f)
{
    const struct config_origin *origin = &f->config->origins[f->route->origin];
    bool keeps_target = policy_keeps_target(f->route);
    return (struct flight_request){
        .config = f->config,
        .route = f->route,
        .origin_index = f->route->origin,
        .key = buf_span(&f->key),
        .key_hash = f->key_hash,
        .method = METHOD_GET,
        .head = &f->request.head,
        .host = origin->host[0] != '\0' ? span_of(origin->host) : f->request.target.host,
        .path_query = keeps_target ? f->request.target.path_query : policy_key_path_query(buf_span(&f->key)),
    };
}

/* The content as it is now: nothing stored answers it, and nobody joins it. */
static void ask_past(struct warm_fetch *f)
{
    struct loop *l = f->env->loop;
    struct flight_request what = what_to_fetch(f);
    what.key = SPAN("");
    what.kind = KIND_REFRESH;
    what.mode = FORWARD_PASS;
    what.content = BODY_NONE;
    f->waiter.request = &f->request.head;
    f->waiter.is_background = f->waiter.is_leader = true;
    struct flight *flight = flight_limit_bytes(l) ? NULL : flight_new(f->env->flights, &what, false);
    int err = flight != NULL ? flight_join(flight, l, &f->waiter) : ERR_BUSY;
    if (err == 0) {
        flight_launch(flight);
        return;
    }
    if (flight != NULL)
        flight_discard(&flight);
    fail(f, err);
}

static void ask(struct warm_fetch *f)
{
    struct cache_question q = {
        .env = f->env->flights,
        .what = what_to_fetch(f),
        .waiter = &f->waiter,
        .may_join = true,
        .only_fresh = true,
    };
    struct cache_reply reply;
    f->waiter.request = &f->request.head;
    f->waiter.is_background = true;
    cache_ask(f->env->cache, &q, &reply);
    object_unref(&reply.object);
    switch (reply.answer) {
    case CACHE_HIT:
        go_home(f, WARM_FRESH, 0);
        break;
    case CACHE_ALONE:
        go_home(f, WARM_UNCACHEABLE, 0);
        break;
    case CACHE_STALE:
    case CACHE_FAILED:
        fail(f, reply.err);
        break;
    case CACHE_WAIT:
        break;
    }
}

static void go_on(struct warm_fetch *f)
{
    if (f->is_read)
        ask_past(f);
    else
        ask(f);
}

/* As exchange_start does, for a client that is no edge and is let in. Returns 0, or an error with which it
 * would be refused; *may_ask: it has a place in the cache, or its content is to be had at the origin. */
static int sort(struct warm_fetch *f, bool *may_ask)
{
    struct http_head *head = &f->request.head;
    struct request_verdict v;
    http_remove(head, FIELD_SHIELD_DEBUG);
    http_remove(head, FIELD_X_FORWARDED_FOR);
    http_remove_name(head, span_of(f->config->edges_secret_header));
    f->route = policy_route(f->config, head, &f->request.target);
    policy_sort_request(f->config, head, false, &v);
    policy_sort_by_route(f->route, head, &v);
    struct key_request key = {
        .config = f->config, .route = f->route, .head = head, .target = f->request.target};
    *may_ask = (policy_key(&f->key, &key) || f->is_read) &&
               (v.kind == REQUEST_LOOKUP || (f->is_read && v.kind != REQUEST_FIXED));
    f->key_hash = cache_hash(f->env->cache, buf_span(&f->key));
    if (f->key.failed)
        return ERR_NOMEM;
    return v.kind == REQUEST_REFUSE ? v.err : 0;
}

static void deliver_there(struct mail *m)
{
    struct warm_fetch *f = container_of(m, struct warm_fetch, mail);
    const char *why;
    bool may_ask = false;
    f->config = config_ref(f->env->loop->config);
    if (f->env->is_stopped) {
        go_home(f, WARM_CANCELLED, 0);
        return;
    }
    list_add_tail(&f->env->running, &f->link);
    int err = warm_request_make(&f->request, &f->config->http_limits, f->url, f->lines, &why);
    if (err == 0)
        err = sort(f, &may_ask);
    if (err != 0)
        go_home(f, WARM_FAILED, err);
    else if (!may_ask)
        go_home(f, f->is_read ? WARM_FAILED : WARM_UNCACHEABLE, f->is_read ? ERR_NOT_FOUND : 0);
    else
        go_on(f);
}

/* ---- life ---- */

struct warm_fetch *warm_fetch_new(struct loop *home, struct span url, struct span lines,
                                  void (*on_home)(struct warm_fetch *f), void *ctx)
{
    struct warm_fetch *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    list_init(&f->link);
    f->home = home;
    f->on_home = on_home;
    f->ctx = ctx;
    f->waiter.on_event = on_flight_event;
    timer_init(&f->pause, on_pause_over);
    f->url = arena_span(&f->arena, url);
    f->lines = arena_span(&f->arena, lines);
    if (f->url.p == NULL || f->lines.p == NULL)
        warm_fetch_free(&f);
    return f;
}

void warm_fetch_read(struct warm_fetch *f, uint64_t max_bytes, size_t tag)
{
    f->is_read = true;
    f->max_bytes = max_bytes;
    f->tag = tag;
}

void warm_fetch_start(struct warm_fetch *f, struct warm_env *env)
{
    REQUIRE(loop_is_current(f->home));
    f->env = env;
    f->mail.deliver = deliver_there;
    loop_post(env->loop, &f->mail);
}

void *warm_fetch_ctx(const struct warm_fetch *f)
{
    return f->ctx;
}

enum warm_outcome warm_fetch_outcome(const struct warm_fetch *f)
{
    return f->outcome;
}

int warm_fetch_error(const struct warm_fetch *f)
{
    return f->err;
}

int warm_fetch_status(const struct warm_fetch *f)
{
    return f->status;
}

struct span warm_fetch_url(const struct warm_fetch *f)
{
    return f->url;
}

bool warm_fetch_is_read(const struct warm_fetch *f)
{
    return f->is_read;
}

size_t warm_fetch_tag(const struct warm_fetch *f)
{
    return f->tag;
}

struct span warm_fetch_content(const struct warm_fetch *f)
{
    return buf_span(&f->content);
}

void warm_fetch_free(struct warm_fetch **slot)
{
    struct warm_fetch *f = *slot;
    *slot = NULL;
    if (f == NULL)
        return;
    REQUIRE(!list_linked(&f->link) && f->waiter.flight == NULL);
    config_unref(&f->config);
    warm_request_fini(&f->request);
    buf_fini(&f->key);
    buf_fini(&f->content);
    arena_fini(&f->arena);
    free(f);
}

void warm_env_init(struct warm_env *env, struct loop *l, struct cache *c, struct flight_env *flights)
{
    *env = (struct warm_env){.loop = l, .cache = c, .flights = flights};
    list_init(&env->running);
}

void warm_env_stop(struct warm_env *env)
{
    env->is_stopped = true;
    while (!list_empty(&env->running))
        go_home(container_of(env->running.next, struct warm_fetch, link), WARM_CANCELLED, 0);
}
