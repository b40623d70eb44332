#include "shield/request/exchange_impl.h"

/* Why a request was no plain hit: each reason from its closed list in metrics.h or policy/judge.h, counted
 * here and nowhere else. The last one told is the answer's: a miss that could not be shared is a pass, and
 * what was refused in the end is a refusal. */

void reason_missed(struct exchange *ex, enum miss_reason why)
{
    if (ex->reason != NULL) /* it has looked before */
        return;
    ex->reason = miss_reason_name(why);
    ex->was_fresh = why == MISSED_REQUEST;
    metric_add(&ex->env->loop->metrics->missed[why], 1);
}

void reason_passed(struct exchange *ex, enum pass_reason why)
{
    ex->reason = pass_reason_name(why);
    metric_add(&ex->env->loop->metrics->passed[why], 1);
}

void reason_refused(struct exchange *ex, int err)
{
    enum refusal_reason why = refusal_reason_of(err, ex->waiter.limit);
    if (why == REFUSED_NONE)
        return;
    ex->reason = refusal_reason_name(why);
    metric_add(&ex->env->loop->metrics->refused[why], 1);
}

void reason_denied(struct exchange *ex)
{
    ex->reason = refusal_reason_name(REFUSED_ROUTE);
    metric_add(&ex->env->loop->metrics->refused[REFUSED_ROUTE], 1);
}

/* ---- the debug token ---- */

/* The field is for us alone: it is out of the head before anything looks at that, be it a key, Vary or what
 * goes upstream. */
void reason_take_token(struct exchange *ex)
{
    if (!http_has(&ex->head, FIELD_SHIELD_DEBUG))
        return;
    ex->is_debugged = http_count(&ex->head, FIELD_SHIELD_DEBUG) == 1 &&
                      tokens_allow(ex->config->debug_tokens, http_value(&ex->head, FIELD_SHIELD_DEBUG));
    http_remove(&ex->head, FIELD_SHIELD_DEBUG);
}
