#include "shield/flight/flight_impl.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"
#include "shield/policy/partial.h"
#include "shield/policy/stored_block.h"

/* A broken transfer is mended (DESIGN.md section 4): the origin is asked for what is missing, and the body
 * goes on where it stopped. Whoever waits hears of nothing but progress. */

enum { TRIES_MAX = 2 };

/* Ours replace them in a shared fetch and in a validation; else the answer is to what the client asked. */
static bool went_with_client_conditions(const struct flight *f)
{
    static const enum http_field_id fields[] = {FIELD_RANGE,         FIELD_IF_RANGE,
                                                FIELD_IF_MATCH,      FIELD_IF_UNMODIFIED_SINCE,
                                                FIELD_IF_NONE_MATCH, FIELD_IF_MODIFIED_SINCE};
    if (f->what.mode == FORWARD_SHARED || flight_validating(f) != NULL)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (http_has(&f->request_head, fields[i]))
            return true;
    return false;
}

void flight_note_resumable(struct flight *f, const struct http_head *head)
{
    f->rest.length = object_length(f->object);
    f->rest.end = UINT64_MAX;
    f->rest.is_possible = f->what.method == METHOD_GET && f->what.content == BODY_NONE &&
                          !went_with_client_conditions(f) &&
                          policy_may_resume(head, &object_head(f->object)->validators);
}

/* ---- the break ---- */

/* Once a head was there, a break is worth a try, unless framing was broken: who knows since when. Before a
 * head, only that of a connection: a hang is not tried elsewhere, and what did not connect has been tried at
 * every server. */
static bool may_come_right(const struct flight *f, int err)
{
    return f->state == F_BODY ? err != ERR_PROTOCOL : err == ERR_RESET;
}

static const char *why_not(const struct flight *f, int err)
{
    if (!f->rest.is_possible)
        return "cut: not an answer whose rest can be asked for";
    if (object_ready(f->object) >= f->rest.length)
        return "cut: nothing is left to ask for"; /* but its end never came */
    if (!flight_is_wanted(f))
        return "cut: nobody waits for it";
    if (f->rest.tries >= TRIES_MAX || !may_come_right(f, err))
        return "cut: tried in vain";
    return NULL;
}

static void log_break(const struct flight *f, int err, const char *then)
{
    log_warn("flight: %.*s%.*s: broke off at byte %llu: %s; %s", SPAN_FMT(f->what.host),
             SPAN_FMT(f->what.path_query), (unsigned long long)object_ready(f->object), err_text(err), then);
}

/* ---- the rest ---- */

static const char *refusal(struct flight *f, const struct http_head *head, struct part *part)
{
    const struct stored_head *h = object_head(f->object);
    struct stored_block first;
    if (!stored_block_parse(&first, (struct span){h->block.p, h->block.len + 2}))
        return "the stored head cannot be read";
    struct part_wanted want = {.first = &first.head,
                               .validators = &h->validators,
                               .from = object_ready(f->object),
                               .length = f->rest.length};
    uint64_t content_length = f->call.body.framing == BODY_LENGTH ? f->call.body.length : LENGTH_UNKNOWN;
    return policy_part_refusal(&want, head, content_length, clock_wall_ms() / 1000, part);
}

/* What does not go on with the same representation ends the flight: no second server is asked for what the
 * first says has changed. A 416 for what had no length might mean that all of it is here, but it names no
 * validator: an origin that heeds no If-Range says the same of another representation. */
static void refuse(struct flight *f, const char *why)
{
    log_warn("flight: %.*s%.*s: cannot go on at byte %llu: %s", SPAN_FMT(f->what.host),
             SPAN_FMT(f->what.path_query), (unsigned long long)object_ready(f->object), why);
    flight_fail(f, ERR_TRUNCATED);
}

static void on_rest_head(struct origin_call *c, const struct http_head *head)
{
    struct flight *f = container_of(c, struct flight, call);
    struct part part;
    const char *why = refusal(f, head, &part);
    if (why != NULL) {
        refuse(f, why);
        return;
    }
    f->rest.length = part.length;
    f->rest.end = part.end;
    atomic_store(&f->resumed, true);
    flight_enter(f, F_BODY);
    if (f->holding)
        origin_call_pause(c);
    flight_hold_or_go_on(f);
}

static void on_rest_body(struct origin_call *c, const char *p, size_t n)
{
    struct flight *f = container_of(c, struct flight, call);
    if (n > f->rest.end - object_ready(f->object)) /* without a length of its own it can send anything */
        refuse(f, "the 206 sends more than its range");
    else
        flight_take_body(f, p, n);
}

static void on_rest_end(struct origin_call *c, int err)
{
    struct flight *f = container_of(c, struct flight, call);
    if (flight_is_over(f))
        return;
    if (err == 0 && object_ready(f->object) == f->rest.length)
        flight_finish(f);
    else
        flight_broke_off(f, err != 0 ? err : ERR_TRUNCATED);
}

/* Its request has no content, so nobody waits for room. */
static const struct origin_call_ops rest_events = {
    .on_head = on_rest_head, .on_body = on_rest_body, .on_end = on_rest_end};

static void ask_for_rest(struct flight *f)
{
    struct origin_call_request request = {.origin_index = f->what.origin_index,
                                          .kind = KIND_RESUME,
                                          .method = METHOD_GET,
                                          .content = BODY_NONE,
                                          .background = flight_is_background(f),
                                          .next_to = origin_call_server(&f->call)};
    f->rest.tries++;
    flight_enter(f, F_RESUME);
    f->call = (struct origin_call){0};
    flight_put_request(f);
    origin_call_start(&f->call, f->env->pool, &rest_events, &request);
}

void flight_broke_off(struct flight *f, int err)
{
    const char *cut = why_not(f, err);
    if (f->rest.is_possible)
        log_break(f, err, cut != NULL ? cut : "asking for the rest");
    if (cut != NULL) {
        flight_fail(f, f->rest.tries > 0 ? ERR_TRUNCATED : err);
        return;
    }
    ask_for_rest(f);
}
