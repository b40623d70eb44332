#include "shield/cache/choice.h"

#include "common/err.h"
#include "shield/policy/conditional.h"
#include "shield/policy/stale.h"

static enum miss_reason why_missed(const struct choice_question *q, const struct entry *e,
                                   const struct response_facts *stored)
{
    if (stored != NULL && facts_reusable(stored, q->now_ms))
        return MISSED_REQUEST;
    if (stored != NULL)
        return stored->flags & FACT_NO_CACHE ? MISSED_NO_CACHE : MISSED_EXPIRED;
    if (e != NULL && e->variants != NULL)
        return MISSED_VARY;
    return q->unadmitted ? MISSED_UNADMITTED : MISSED_ABSENT;
}

static enum miss_reason why_not_joined(enum pass_reason why_alone)
{
    if (why_alone == PASSED_AUTHORIZATION)
        return MISSED_AUTHORIZATION;
    return why_alone == PASSED_CONDITION ? MISSED_CONDITION : MISSED_REQUEST;
}

static void alone(struct choice *out, enum miss_reason reason, enum pass_reason passed, bool validates)
{
    *out =
        (struct choice){.kind = CHOICE_ALONE, .reason = reason, .passed = passed, .uses_stored = validates};
}

static bool may_serve_while_refreshed(const struct choice_question *q, const struct response_facts *stored)
{
    return stored != NULL && policy_may_serve_stale(q->route, stored, q->now_ms, STALE_REVALIDATING);
}

bool choice_welcomes_stale(const struct config_route *route, const struct response_facts *stored,
                           enum request_wish wish, int64_t now_ms)
{
    return wish != WISH_VALIDATED &&
           (policy_may_serve_stale(route, stored, now_ms, STALE_REVALIDATING) ||
            (wish == WISH_STALE && policy_may_serve_stale(route, stored, now_ms, STALE_WANTED)));
}

void choice_deny(const struct choice_question *q, const struct response_facts *stored, int err,
                 enum limit_name limit, struct choice *c)
{
    bool hides = c->uses_stored && policy_may_hide_error(q->route, stored, q->now_ms, err);
    *c = (struct choice){.kind = hides ? CHOICE_STALE : CHOICE_FAIL,
                         .uses_stored = hides,
                         .reason = c->reason,
                         .err = err,
                         .limit = limit};
}

/* The origin failed a moment ago and is left alone. An error that it sent itself is nobody's but theirs who
 * had joined (DESIGN.md section 4): that one only spares the origin requests while stale may be served. */
static bool recall_error(const struct choice_question *q, const struct entry *e,
                         const struct response_facts *stored, struct choice *out)
{
    if (e == NULL || !entry_is_marked(e, MARK_ERROR, q->mono_ms))
        return false;
    struct choice c = *out;
    if (!q->only_fresh && may_serve_while_refreshed(q, stored))
        c.kind = CHOICE_STALE;
    else
        choice_deny(q, stored, e->mark_err, c.limit, &c);
    if (c.kind == CHOICE_FAIL && e->mark_err == ERR_SERVER_ERROR)
        return false;
    c.retry_after_s = (uint32_t)((e->mark_until_ms - q->mono_ms + 999) / 1000);
    *out = c;
    return true;
}

static bool is_due_early(const struct choice_question *q, const struct entry *e,
                         const struct response_facts *stored)
{
    return q->route->early_refresh > 0 && q->may_join &&
           !(e != NULL && entry_is_marked(e, MARK_ERROR, q->mono_ms)) &&
           facts_due_early(stored, q->now_ms, (double)q->route->early_refresh, q->chance);
}

/* What the request itself, or what is remembered of its key, keeps from being shared. */
static bool goes_alone(const struct choice_question *q, const struct entry *e, bool is_stored,
                       struct choice *out)
{
    bool too_large = e != NULL && entry_is_marked(e, MARK_TOO_LARGE, q->mono_ms);
    if (!q->may_join) /* a shared validation would not carry its credentials */
        alone(out, why_not_joined(q->why_alone), q->why_alone, false);
    else if (q->only_new || (e != NULL && entry_is_marked(e, MARK_UNCACHEABLE, q->mono_ms)))
        alone(out, MISSED_UNCACHEABLE, PASSED_UNCACHEABLE, is_stored);
    else if (too_large && q->wants_range)
        alone(out, MISSED_UNCACHEABLE, PASSED_RANGE, is_stored);
    else
        return false;
    return true;
}

/* It wants nothing but what is stored (RFC 9111 section 5.2.1.7): the stale response where that is welcome,
 * or what the disk has. */
static void choose_only_stored(const struct choice_question *q, bool stale_welcome, struct choice *out)
{
    out->uses_stored = stale_welcome;
    if (stale_welcome) {
        out->kind = CHOICE_STALE;
    } else if (!q->may_join || !q->may_look) {
        out->kind = CHOICE_FAIL;
        out->err = ERR_NOT_STORED;
    }
}

/* It cannot be answered with something fresh; *out is a fetch. */
static void choose_beyond_hit(const struct choice_question *q, const struct entry *e,
                              const struct response_facts *stored, bool stale_welcome, struct choice *out)
{
    if (q->only_stored) {
        choose_only_stored(q, stale_welcome, out);
        return;
    }
    if (goes_alone(q, e, stored != NULL, out))
        return;
    if (e != NULL && entry_is_marked(e, MARK_TOO_LARGE, q->mono_ms))
        out->reason = MISSED_WINDOW;
    if (recall_error(q, e, stored, out))
        return;
    if (stale_welcome) {
        out->kind = CHOICE_STALE;
        out->refreshes = true;
    } else if (!q->route->collapse && !q->only_fresh) { /* of these there is one, and no client */
        alone(out, out->reason, PASSED_COLLAPSE, stored != NULL);
    }
}

void choice_make(const struct choice_question *q, const struct entry *e, const struct response_facts *stored,
                 struct choice *out)
{
    if (stored != NULL && !policy_may_answer(q->head, stored))
        stored = NULL; /* neither served nor validated for this request */
    enum request_wish wish = stored != NULL ? policy_wish(q->config, q->head, stored, q->now_ms) : WISH_NONE;
    bool judged_here = !policy_has_origin_condition(q->head); /* RFC 9111 section 4.3.2 */
    bool may_serve = stored != NULL && judged_here && wish != WISH_VALIDATED;
    if (may_serve && !q->only_new && facts_reusable(stored, q->now_ms)) {
        *out =
            (struct choice){.kind = CHOICE_HIT, .uses_stored = true, .refreshes = is_due_early(q, e, stored)};
        return;
    }
    *out = (struct choice){
        .kind = CHOICE_FETCH, .uses_stored = stored != NULL, .reason = why_missed(q, e, stored)};
    bool stale_welcome =
        may_serve && !q->only_fresh && choice_welcomes_stale(q->route, stored, wish, q->now_ms);
    choose_beyond_hit(q, e, stored, stale_welcome, out);
}
