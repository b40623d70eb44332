#include "shield/request/exchange_impl.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/purge/purge_audit.h"
#include "shield/purge/purge_method.h"
#include "shield/purge/purger.h"

/* An order under way, on the loop it came to. The receipt comes even when the client has gone. */
struct purging {
    struct exchange *ex; /* NULL: nobody waits for it any more */
    struct purge_draft draft;
    struct purge_order order; /* of `draft` */
    struct span who;          /* in the draft's arena */
};

static void free_purging(struct purging *p)
{
    purge_draft_fini(&p->draft);
    free(p);
}

bool purging_may(const struct exchange *ex)
{
    enum http_method m = ex->head.method;
    return (m == METHOD_PURGE || m == METHOD_SOFTPURGE || m == METHOD_BAN) &&
           config_cidrs_have(&ex->config->purge_allow, &ex->peer->addr);
}

void purging_leave(struct exchange *ex)
{
    if (ex->purging != NULL)
        ex->purging->ex = NULL;
    ex->purging = NULL;
}

/* ---- answering ---- */

static void say(struct exchange *ex, int status, const char *type, struct buf *content)
{
    ex->state = EX_READING;
    ex->result = status == 200 ? RESULT_HIT : status < 500 ? RESULT_REFUSED : RESULT_ERROR;
    timer_stop(ex->env->loop, &ex->timer);
    answer_compose_text(ex, status, type, buf_span(content));
    ex->out.failed |= content->failed;
    buf_fini(content);
    reader_pump(ex);
}

static void say_fault(struct exchange *ex, const struct purge_draft *d)
{
    struct buf why = {0};
    if (d->limit == DRAFT_MAX_ITEMS)
        metric_limit(ex->env->loop->metrics, PURGE_MAX_ITEMS);
    if (d->limit == DRAFT_MAX_ITEM_BYTES)
        metric_limit(ex->env->loop->metrics, PURGE_MAX_ITEM_BYTES);
    buf_put_span(&why, d->err == ERR_NOMEM ? span_of(err_text(ERR_NOMEM)) : buf_span(&d->why));
    buf_put_lit(&why, "\n");
    say(ex, err_status(d->err), "text/plain; charset=utf-8", &why);
}

static void on_receipt(void *ctx, const struct purge_receipt *r)
{
    struct purging *p = ctx;
    struct exchange *ex = p->ex;
    struct buf text = {0};
    purge_audit(p->who, &p->order, r);
    free_purging(p);
    if (ex == NULL)
        return;
    ex->purging = NULL;
    if (r->err != 0) {
        exchange_fail(ex, r->err);
        return;
    }
    buf_printf(&text, "{\"purge\":%" PRIu64 ",\"durable\":%s%s}\n", r->number,
               r->is_durable ? "true" : "false", r->is_repeat ? ",\"repeated\":true" : "");
    say(ex, r->is_durable ? 200 : 507, "application/json", &text);
}

/* ---- asking ---- */

static bool read_order(struct purging *p)
{
    const struct exchange *ex = p->ex;
    struct purge_draft *d = &p->draft;
    if (!purge_method_read(&ex->head, &ex->target, d) || !purge_draft_order(d, &p->order))
        return false;
    p->who = arena_span(&d->arena, peer_text(ex->peer));
    return p->who.p != NULL || purge_draft_nomem(d);
}

void purging_start(struct exchange *ex)
{
    struct purging *p = calloc(1, sizeof *p);
    if (p == NULL || exchange_keep_request(ex) != 0) {
        free(p);
        exchange_fail(ex, ERR_NOMEM);
        return;
    }
    p->ex = ex;
    purge_draft_init(&p->draft, ex->config);
    if (!read_order(p)) {
        say_fault(ex, &p->draft);
        free_purging(p);
        return;
    }
    ex->purging = p;
    ex->state = EX_WAITING;
    if (ex->content_ended)
        exchange_start_patience(ex);
    int err = purger_order(ex->env->purger, ex->env->loop, &p->order, on_receipt, p);
    if (err != 0) {
        free_purging(p);
        ex->purging = NULL;
        exchange_fail(ex, err);
    }
}
