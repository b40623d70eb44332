#include "shield/request/exchange_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/access_log.h"
#include "shield/policy/route.h"
#include "shield/purge/purge_object.h"

enum { IDLE_MAX = 256, OUT_KEPT_BYTES = 16 * 1024, TRIES_MAX = 3, OVERTAKEN_MAX = 16 };

/* ---- making and ending ---- */

void exchange_env_init(struct exchange_env *env, struct loop *l, struct cache *c, struct flight_env *flights,
                       struct purger *purger)
{
    *env = (struct exchange_env){.loop = l, .cache = c, .flights = flights, .purger = purger};
    list_init(&env->idle);
}

static void free_exchange(struct exchange *ex)
{
    buf_fini(&ex->out);
    buf_fini(&ex->key);
    buf_fini(&ex->content_in);
    buf_fini(&ex->content_out);
    buf_fini(&ex->part_head);
    buf_fini(&ex->interim);
    free(ex);
}

void exchange_env_fini(struct exchange_env *env)
{
    while (!list_empty(&env->idle)) {
        struct exchange *ex = container_of(env->idle.next, struct exchange, idle_link);
        list_remove(&ex->idle_link);
        free_exchange(ex);
    }
}

static struct buf reuse(struct buf b)
{
    if (b.cap > OUT_KEPT_BYTES)
        buf_fini(&b);
    b.len = 0;
    b.failed = false;
    return b;
}

static void on_timer(struct loop_timer *t);
static void on_flight_event(struct flight_waiter *w, enum flight_event ev);

/* From the pool; its buffers keep their memory. */
static struct exchange *take_exchange(struct exchange_env *env)
{
    struct exchange *ex;
    struct buf out = {0}, key = {0};
    if (list_empty(&env->idle)) {
        ex = malloc(sizeof *ex);
        if (ex == NULL)
            return NULL;
    } else {
        ex = container_of(env->idle.next, struct exchange, idle_link);
        list_remove(&ex->idle_link);
        env->n_idle--;
        out = reuse(ex->out);
        key = reuse(ex->key);
    }
    *ex = (struct exchange){.env = env,
                            .out = out,
                            .key = key,
                            .end = UINT64_MAX,
                            .wait_us = -1,
                            .announced_length = LENGTH_UNKNOWN};
    list_init(&ex->idle_link);
    timer_init(&ex->timer, on_timer);
    ex->waiter.on_event = on_flight_event;
    return ex;
}

static void give_exchange(struct exchange *ex)
{
    struct exchange_env *env = ex->env;
    arena_fini(&ex->arena);
    if (ex->is_copied)
        config_unref(&ex->config);
    buf_fini(&ex->content_in);
    buf_fini(&ex->content_out);
    buf_fini(&ex->part_head);
    buf_fini(&ex->interim);
    if (env->n_idle >= IDLE_MAX) {
        free_exchange(ex);
        return;
    }
    env->n_idle++;
    list_add_head(&env->idle, &ex->idle_link);
}

void exchange_settle_fate(struct exchange *ex, enum waiter_fate fate)
{
    if (ex->has_fate || ex->alone)
        return;
    ex->has_fate = true;
    ex->fate = fate;
    metric_add(&ex->env->loop->metrics->fates[fate], 1);
}

static void write_access_log(struct exchange *ex, uint64_t duration_us)
{
    struct access_entry entry = {
        .start_wall_ms = ex->started_wall_ms,
        .duration_us = duration_us,
        .client = peer_text(ex->peer),
        .method = ex->head.method_text,
        .host = ex->target.host,
        .target = ex->head.target,
        .status = ex->status,
        .sent_bytes = ex->sent_bytes,
        .result = ex->result,
        .fate = ex->has_fate ? waiter_fate_name(ex->fate) : NULL,
        .reason = ex->reason,
        .error = ex->err != 0 ? err_text(ex->err) : NULL,
        .wait_us = ex->wait_us,
    };
    access_log_add(&ex->env->loop->access_lines, &entry);
}

/* The client left while it waited, or was cut: leaving its flight is a fate too. */
static void leave_flight(struct exchange *ex, enum waiter_fate fate)
{
    purging_leave(ex);
    if (ex->waiter.flight == NULL)
        return;
    exchange_settle_fate(ex, fate);
    if (ex->alone)
        flight_set_on_room(ex->waiter.flight, NULL, NULL);
    flight_leave(&ex->waiter);
}

void exchange_end(struct exchange *ex, bool keep_alive, bool abort)
{
    struct loop *l = ex->env->loop;
    REQUIRE(ex->state != EX_OVER);
    ex->state = EX_OVER;
    leave_flight(ex, abort ? FATE_CUT : FATE_SERVED);
    if (ex->wait_us >= 0)
        exchange_settle_fate(ex, abort ? FATE_CUT : FATE_SERVED);
    reader_stop(ex);
    tunnel_stop(ex, abort);
    timer_stop(l, &ex->timer);
    object_unref(&ex->object);
    object_unref(&ex->stale);

    uint64_t duration_us = clock_mono_us() - ex->started_us;
    metric_add(&l->metrics->results[ex->result], 1);
    hist_record(&l->metrics->durations[ex->result], duration_us);
    metric_move(l->metrics, CLIENT_BYTES, (int64_t)ex->wire_bytes);
    if (access_log_is_on())
        write_access_log(ex, duration_us);

    const struct exchange_owner *owner = ex->owner;
    void *ctx = ex->ctx;
    if (ex->loading) /* the load's mail comes back to it; see reader.c */
        ex->owner = NULL;
    else
        give_exchange(ex);
    owner->on_over(ctx, keep_alive, abort);
}

/* One that was over while a load ran. */
void exchange_release_memory(struct exchange *ex)
{
    give_exchange(ex);
}

/* ---- answers of our own ---- */

static void send_own(struct exchange *ex, int err)
{
    object_unref(&ex->object);
    ex->err = err;
    ex->state = EX_READING;
    reason_refused(ex, err);
    answer_compose_own(ex, err);
    reader_pump(ex);
}

void exchange_fail(struct exchange *ex, int err)
{
    ex->err = err;
    if (ex->head_sent) {
        exchange_settle_fate(ex, FATE_CUT);
        exchange_end(ex, false, true);
        return;
    }
    leave_flight(ex, err == ERR_WAIT_TIMEOUT ? FATE_TIMEOUT : FATE_ERROR);
    reader_stop(ex);
    ex->result = RESULT_ERROR;
    send_own(ex, err);
}

static void answer_options(struct exchange *ex)
{
    ex->result = RESULT_REFUSED;
    ex->state = EX_READING;
    answer_compose_options(ex);
    reader_pump(ex);
}

static void refuse(struct exchange *ex, int err)
{
    ex->result = RESULT_REFUSED;
    send_own(ex, err);
}

/* A redirect, a text or a refusal: the route has it ready. */
static void send_fixed(struct exchange *ex)
{
    ex->result = ex->route->action == ACTION_DENY ? RESULT_REFUSED : RESULT_HIT;
    ex->state = EX_READING;
    if (ex->route->action == ACTION_DENY)
        reason_denied(ex);
    answer_compose_fixed(ex);
    reader_pump(ex);
}

/* ---- asking ---- */

/* The exchange is going to wait: what it needs of the request must outlive the read buffer. */
int exchange_keep_request(struct exchange *ex)
{
    if (ex->is_copied)
        return 0;
    struct http_head borrowed = ex->head;
    if (http_head_copy(&ex->head, &borrowed, &ex->arena) != 0)
        return ERR_NOMEM;
    config_ref(ex->config);
    http1_target(&ex->head, &ex->target);
    ex->is_copied = true;
    return 0;
}

static const struct config_origin *origin_of(const struct exchange *ex)
{
    return &ex->config->origins[ex->route->origin];
}

struct key_request exchange_key_request(const struct exchange *ex)
{
    return (struct key_request){
        .config = ex->config,
        .route = ex->route,
        .head = &ex->head,
        .target = ex->target,
        .client_ip = peer_text(ex->peer),
    };
}

static bool is_keyed_method(const struct exchange *ex)
{
    return ex->head.method == METHOD_GET || ex->head.method == METHOD_HEAD;
}

static struct span path_query_upstream(const struct exchange *ex)
{
    if (policy_keeps_target(ex->route))
        return ex->target.path_query;
    return is_keyed_method(ex) ? policy_key_path_query(buf_span(&ex->key)) : ex->rewritten;
}

/* As its URL has it, with the port (RFC 9110 section 7.2). */
static struct span authority_of(const struct config_server *s)
{
    const char *from = s->unix_path == NULL ? strstr(s->url, "://") : NULL;
    struct span authority = span_of(from != NULL ? from + 3 : s->host);
    if (authority.len > 0 && authority.p[authority.len - 1] == '/')
        authority.len--;
    return authority;
}

static struct flight_request what_to_fetch(struct exchange *ex)
{
    const struct config_origin *origin = origin_of(ex);
    struct span host = origin->host[0] != '\0' ? span_of(origin->host) : ex->target.host;
    if (host.len == 0)
        host = authority_of(&origin->servers[0]);
    return (struct flight_request){
        .config = ex->config,
        .route = ex->route,
        .origin_index = ex->route->origin,
        .key = buf_span(&ex->key),
        .key_hash = ex->key_hash,
        .method = ex->head.method,
        .head = &ex->head,
        .host = host,
        .path_query = path_query_upstream(ex),
        .client_ip = peer_text(ex->peer),
    };
}

void exchange_start_patience(struct exchange *ex)
{
    timer_set(ex->env->loop, &ex->timer, ex->env->loop->config->flight.waiter_timeout_ms);
}

static void wait_for_flight(struct exchange *ex)
{
    ex->state = EX_WAITING;
    if (exchange_keep_request(ex) != 0) {
        exchange_fail(ex, ERR_NOMEM);
        return;
    }
    if (ex->content_ended)
        exchange_start_patience(ex);
    else
        interim_invite(ex);
}

/* One client's own fetch: the same flight, but in no table. */
static void go_alone(struct exchange *ex, enum forward_mode mode)
{
    struct flight_request what = what_to_fetch(ex);
    what.mode = mode;
    what.kind = mode == FORWARD_PASS || !ex->released ? KIND_PASS : KIND_MISS;
    what.content = ex->content;
    what.content_length = ex->content_length;
    what.upgrade = ex->upgrade;
    what.may_store = mode == FORWARD_ALONE && ex->stale == NULL && !http_has(&ex->head, FIELD_RANGE);
    what.stored = ex->stale;
    what.epoch = ex->epoch;
    if (ex->stale != NULL)
        what.may_store = true;
    if (mode == FORWARD_PASS && what.method == METHOD_POST) /* its answer may stand for a GET's */
        what.may_store = true;
    else if (mode == FORWARD_PASS)
        what.key = (struct span){"", 0};
    ex->judged_here = ex->stale != NULL;
    ex->alone = true;
    bool too_much = flight_limit_bytes(ex->env->loop);
    struct flight *f = too_much ? NULL : flight_new(ex->env->flights, &what, false);
    if (f == NULL) {
        ex->waiter.limit = LIMIT_MAX_BYTES_TOTAL;
        exchange_fail(ex, too_much ? ERR_BUSY : ERR_NOMEM);
        return;
    }
    ex->waiter.request = &ex->head;
    ex->waiter.is_leader = true;
    ex->waiter.wants_range = false;
    int err = flight_join(f, ex->env->loop, &ex->waiter);
    if (err != 0) {
        flight_discard(&f);
        exchange_fail(ex, err);
        return;
    }
    flight_set_on_room(f, content_on_room, ex);
    ex->state = EX_WAITING;
    flight_launch(f);
    wait_for_flight(ex);
}

int64_t exchange_ttl_s(const struct response_facts *facts, int64_t now_ms)
{
    int64_t age_ms = facts_age_ms(facts, now_ms);
    if (age_ms > facts->lifetime_ms) /* stale is never 0 */
        return -((age_ms - facts->lifetime_ms + 999) / 1000);
    return facts->lifetime_ms / 1000 - age_ms / 1000;
}

struct response_facts exchange_facts(struct exchange *ex, int64_t now_ms)
{
    struct response_facts facts;
    (void)purge_object_check(ex->env->flights->purges, ex->object, now_ms, &facts);
    return facts;
}

static void start_hit(struct exchange *ex)
{
    struct loop *l = ex->env->loop;
    int64_t now_ms = clock_wall_ms();
    struct response_facts facts = exchange_facts(ex, now_ms);
    ex->result = ex->is_stale ? RESULT_STALE : RESULT_HIT;
    ex->judged_here = ex->is_kept = true;
    ex->announced_length = object_length(ex->object);
    ex->cache_status =
        (struct cache_status){.hit = true, .has_ttl = true, .ttl_s = exchange_ttl_s(&facts, now_ms)};
    hist_record(&l->metrics->hists[HIST_OBJECT_AGE], (uint64_t)facts_age_ms(&facts, now_ms) * 1000);
    reader_start(ex);
}

static void ask(struct exchange *ex)
{
    struct cache_question q = {
        .env = ex->env->flights,
        .what = what_to_fetch(ex),
        .waiter = &ex->waiter,
        .may_join = ex->may_join,
        .why_alone = ex->why_alone,
        .only_stored = policy_only_if_cached(ex->env->loop->config, &ex->head),
        .looked = ex->tries > 0,
        .only_new = ex->released,
    };
    struct cache_reply reply;
    ex->state = EX_ASKING;
    ex->waiter.request = &ex->head;
    ex->waiter.wants_range = http_has(&ex->head, FIELD_RANGE);
    ex->judged_here = true;
    cache_ask(ex->env->cache, &q, &reply);
    bool refreshed = reply.answer == CACHE_STALE && reply.err == 0;
    if (reply.answer != CACHE_HIT && !refreshed) /* stale for an error: a miss that was saved */
        reason_missed(ex, reply.reason);
    switch (reply.answer) {
    case CACHE_HIT:
        ex->object = reply.object;
        start_hit(ex);
        break;
    case CACHE_STALE:
        ex->object = reply.object;
        ex->is_stale = true;
        if (!refreshed)
            exchange_settle_fate(ex, FATE_STALE);
        start_hit(ex);
        break;
    case CACHE_WAIT:
        wait_for_flight(ex);
        break;
    case CACHE_ALONE:
        ex->stale = reply.object;
        ex->epoch = reply.epoch;
        if (!ex->released)
            reason_passed(ex, reply.passed);
        go_alone(ex, FORWARD_ALONE);
        break;
    case CACHE_FAILED:
        ex->waiter.retry_after_s = reply.retry_after_s;
        ex->waiter.limit = reply.limit;
        exchange_settle_fate(ex, reply.err == ERR_BUSY ? FATE_REFUSED : FATE_ERROR);
        exchange_fail(ex, reply.err);
        break;
    }
}

/* ---- what the flight says ---- */

static void classify(struct exchange *ex, const struct flight *f)
{
    struct cache_status *cs = &ex->cache_status;
    const struct response_facts *facts = &object_head(ex->object)->facts;
    bool leader = ex->waiter.is_leader;
    *cs = (struct cache_status){0};
    ex->is_stale = flight_is_stale(f);
    if (ex->is_stale)
        exchange_settle_fate(ex, FATE_STALE);
    if (flight_came_from_disk(f) || ex->is_stale) {
        ex->result = ex->is_stale ? RESULT_STALE : RESULT_HIT;
        cs->hit = cs->has_ttl = true;
        int64_t now_ms = clock_wall_ms();
        struct response_facts now = exchange_facts(ex, now_ms);
        cs->ttl_s = exchange_ttl_s(&now, now_ms);
        return;
    }
    bool was_stale = flight_what(f)->stored != NULL;
    bool get = ex->head.method == METHOD_GET || ex->head.method == METHOD_HEAD;
    cs->fwd = ex->pass && !get ? FWD_METHOD
              : was_stale      ? (ex->was_fresh ? FWD_REQUEST : FWD_STALE)
              : ex->released   ? FWD_URI_MISS
                               : FWD_MISS;
    if (ex->alone && (get || !ex->pass) && !ex->released && !was_stale)
        cs->fwd = FWD_BYPASS;
    if (ex->released)
        cs->collapsed = -1;
    if (was_stale)
        cs->fwd_status = flight_was_validated(f) ? 304 : facts->status;
    cs->stored = leader && flight_is_stored_to_last(f) && !flight_was_validated(f);
    if (!leader)
        cs->collapsed = 1;
    ex->result = !leader                      ? RESULT_COLLAPSED
                 : flight_was_validated(f)    ? RESULT_REVALIDATED
                 : ex->alone && !ex->released ? RESULT_PASS
                                              : RESULT_MISS;
}

static void on_flight_head(struct exchange *ex)
{
    struct flight *f = ex->waiter.flight;
    timer_stop(ex->env->loop, &ex->timer);
    ex->object = object_ref(flight_object(f));
    ex->announced_length = flight_announced_length(f);
    ex->is_kept = flight_is_stored(f);
    if (ex->waiter.is_leader && flight_withheld(f).len > 0)
        ex->withheld = arena_span(&ex->arena, flight_withheld(f));
    ex->wait_us = (int64_t)(clock_mono_us() - ex->waiter.joined_us);
    classify(ex, f);
    if (ex->pass)
        invalidate_after(ex);
    reader_start(ex);
}

/* Look up again; after a few rounds alone, so that the end is certain. */
static void ask_again(struct exchange *ex)
{
    if (++ex->tries >= TRIES_MAX) {
        ex->released = true;
        exchange_settle_fate(ex, FATE_RELEASED);
    }
    ask(ex);
}

void exchange_retry(struct exchange *ex)
{
    reader_stop(ex);
    object_unref(&ex->object);
    ex->withheld.len = 0;
    ask_again(ex);
}

void exchange_release(struct exchange *ex)
{
    REQUIRE(!ex->head_sent);
    leave_flight(ex, FATE_RELEASED);
    reader_stop(ex);
    object_unref(&ex->object);
    ex->withheld.len = 0;
    ex->waits_for_range = false;
    ex->released = true;
    ask(ex);
}

/* ---- purges ---- */

/* The answer to a pass is its client's own, and older than nothing. */
bool exchange_is_overtaken(struct exchange *ex)
{
    struct purge_log *log = ex->env->flights->purges;
    if (ex->pass || purge_object_is_quiet(log, ex->object))
        return false;
    enum purge_verdict v = purge_object_check(log, ex->object, clock_wall_ms(), NULL);
    return v == PURGE_HARD || (v == PURGE_SOFT && !ex->is_stale);
}

/* It is out of its flight. Purges that come faster than the origin answers are not waited out for ever. */
static void ask_anew(struct exchange *ex)
{
    ex->is_stale = ex->alone = ex->waits_for_range = false;
    object_unref(&ex->stale);
    if (++ex->overtaken > OVERTAKEN_MAX)
        exchange_fail(ex, ERR_PURGED);
    else
        ask(ex);
}

void exchange_look_again(struct exchange *ex)
{
    REQUIRE(!ex->head_sent && !ex->pass);
    metric_count(ex->env->loop->metrics, FENCED_ANSWERS);
    if (ex->alone && ex->waiter.flight != NULL)
        flight_set_on_room(ex->waiter.flight, NULL, NULL);
    flight_leave(&ex->waiter);
    reader_stop(ex);
    object_unref(&ex->object);
    ex->withheld.len = 0;
    ask_anew(ex);
}

static void on_flight_event(struct flight_waiter *w, enum flight_event ev)
{
    struct exchange *ex = container_of(w, struct exchange, waiter);
    switch (ev) {
    case FLIGHT_INTERIM:
        interim_send(ex);
        break;
    case FLIGHT_HEAD:
        on_flight_head(ex);
        break;
    case FLIGHT_SWITCHED:
        tunnel_start(ex);
        break;
    case FLIGHT_PROGRESS:
        reader_pump(ex);
        break;
    case FLIGHT_RELEASED:
        exchange_settle_fate(ex, FATE_RELEASED);
        ex->released = true;
        ask(ex);
        break;
    case FLIGHT_VARIED:
        metric_add(&ex->env->loop->metrics->fates[FATE_VARIED], 1);
        ask_again(ex);
        break;
    case FLIGHT_AGAIN:
        if (ex->alone)
            exchange_fail(ex, ERR_RESET);
        else
            ask_again(ex);
        break;
    case FLIGHT_FENCED:
        ask_anew(ex);
        break;
    case FLIGHT_FAILED:
        exchange_settle_fate(ex, FATE_ERROR);
        exchange_fail(ex, w->err);
        break;
    }
}

/* ---- time and the connection ---- */

static void on_timer(struct loop_timer *t)
{
    struct exchange *ex = container_of(t, struct exchange, timer);
    struct loop *l = ex->env->loop;
    if (ex->state == EX_WAITING) {
        metric_limit(l->metrics, WAITER_TIMEOUT);
        exchange_fail(ex, ERR_WAIT_TIMEOUT);
        return;
    }
    if (ex->state == EX_TUNNEL)
        tunnel_on_timer(ex);
    else
        reader_on_timer(ex);
}

void exchange_on_drained(struct exchange *ex)
{
    if (ex->state == EX_READING)
        reader_on_drained(ex);
    else if (ex->state == EX_TUNNEL)
        tunnel_on_drained(ex);
    else if (ex->state == EX_WAITING && ex->waiter.flight != NULL && flight_has_switched(ex->waiter.flight))
        tunnel_start(ex);
    else if (ex->state == EX_WAITING)
        interim_send(ex);
}

void exchange_on_bad_content(struct exchange *ex, int err)
{
    ex->keep_alive = false;
    exchange_fail(ex, err);
}

void exchange_on_gone(struct exchange *ex)
{
    ex->err = ERR_GONE;
    if (ex->result == RESULT_HIT && !ex->head_sent)
        ex->result = RESULT_ERROR;
    exchange_settle_fate(ex, FATE_GONE);
    exchange_end(ex, false, true);
}

/* ---- the beginning ---- */

static struct exchange *begin(struct exchange_env *env, const struct exchange_request *r)
{
    struct exchange *ex = take_exchange(env);
    if (ex == NULL)
        return NULL;
    ex->owner = r->owner;
    ex->ctx = r->ctx;
    ex->conn = r->conn;
    ex->config = env->loop->config;
    ex->route = &ex->config->fallback;
    if (r->head != NULL)
        ex->head = *r->head;
    ex->peer = r->peer;
    ex->content = r->content;
    ex->content_length = r->content_length;
    ex->content_ended = ex->content_finished = r->content == BODY_NONE;
    ex->started_us = clock_mono_us();
    ex->started_wall_ms = clock_wall_ms();
    return ex;
}

/* The key, and what goes upstream where that is another path. A request whose key would be too long has no
 * place in the cache: it passes. Returns 0 or ERR_NOMEM. */
static int make_key(struct exchange *ex, struct request_verdict *v)
{
    struct key_request r = exchange_key_request(ex);
    struct buf path_query = {0};
    if (!policy_key(&ex->key, &r))
        policy_pass_by(v, PASSED_KEY);
    if (!is_keyed_method(ex) && !policy_keeps_target(ex->route)) {
        policy_path_query(&path_query, ex->route, ex->head.method, ex->target.path_query);
        ex->rewritten = arena_span(&ex->arena, buf_span(&path_query));
        ex->key.failed |= path_query.failed || ex->rewritten.p == NULL;
        buf_fini(&path_query);
    }
    ex->key_hash = cache_hash(ex->env->cache, buf_span(&ex->key));
    return ex->key.failed ? ERR_NOMEM : 0;
}

/* `out` holds the exchange as long as it runs: on_over clears it through the owner, who has it as its own
 * field. */
void exchange_start(struct exchange_env *env, const struct exchange_request *r, struct exchange **out)
{
    struct exchange *ex = begin(env, r);
    *out = ex;
    if (ex == NULL) {
        r->owner->on_over(r->ctx, false, true);
        return;
    }
    struct request_verdict v;
    reason_take_token(ex);
    ex->keep_alive = http1_keep_alive(&ex->head);
    http1_target(&ex->head, &ex->target);
    int err = access_check(ex);
    if (err != 0) {
        refuse(ex, err);
        return;
    }
    ex->route = policy_route(ex->config, &ex->head, &ex->target);
    policy_sort_request(env->loop->config, &ex->head, r->content != BODY_NONE, &v);
    policy_sort_by_route(ex->route, &ex->head, &v);
    if (v.kind == REQUEST_FIXED) {
        send_fixed(ex);
        return;
    }
    err = make_key(ex, &v);
    if (err != 0) {
        refuse(ex, err);
        return;
    }
    switch (v.kind) {
    case REQUEST_REFUSE:
        if (v.err == ERR_METHOD && purging_may(ex))
            purging_start(ex);
        else
            refuse(ex, v.err);
        break;
    case REQUEST_FIXED:
        break;
    case REQUEST_OPTIONS:
        answer_options(ex);
        break;
    case REQUEST_PASS:
        ex->pass = true;
        ex->upgrade = v.upgrade;
        reason_passed(ex, v.why);
        if (v.upgrade.len == 0 || tunnel_count_in(ex))
            go_alone(ex, FORWARD_PASS);
        else
            exchange_fail(ex, ERR_BUSY);
        break;
    case REQUEST_SOLO:
    case REQUEST_LOOKUP:
        ex->may_join = v.kind == REQUEST_LOOKUP;
        ex->why_alone = v.why;
        ask(ex);
        break;
    }
}

void exchange_refuse(struct exchange_env *env, const struct exchange_request *r, int err,
                     struct exchange **out)
{
    struct exchange *ex = begin(env, r);
    *out = ex;
    if (ex == NULL) {
        r->owner->on_over(r->ctx, false, true);
        return;
    }
    if (r->head != NULL) {
        ex->keep_alive = http1_keep_alive(&ex->head);
        http1_target(&ex->head, &ex->target);
    }
    ex->waiter.retry_after_s = r->retry_after_s;
    refuse(ex, access_has_address(ex) ? err : ERR_FORBIDDEN);
}
