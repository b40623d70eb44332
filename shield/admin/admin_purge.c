#include "shield/admin/admin_purge.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/admin/admin_json.h"
#include "shield/purge/purge_audit.h"

/* An order under way: lives from the request until its receipt. */
struct purge_call {
    struct admin_later *later;
    const struct purge_dialect *dialect;
    struct purge_draft draft;
    struct purge_order order; /* of `draft` */
    struct span target, who;  /* in the draft's arena */
};

static void free_call(struct purge_call *c)
{
    purge_draft_fini(&c->draft);
    free(c);
}

/* ---- answering ---- */

void admin_purge_refuse(const struct purge_dialect *dialect, struct admin_reply *out, int status,
                        struct span why)
{
    admin_reply_json(out, dialect->error(status, why));
    out->status = status;
}

static void reply_fault(struct admin_pages *p, const struct purge_call *c, struct admin_reply *out)
{
    const struct purge_draft *d = &c->draft;
    if (d->limit == DRAFT_MAX_ITEMS)
        metric_limit(p->loop->metrics, PURGE_MAX_ITEMS);
    if (d->limit == DRAFT_MAX_ITEM_BYTES)
        metric_limit(p->loop->metrics, PURGE_MAX_ITEM_BYTES);
    bool is_told = d->err != ERR_NOMEM && !d->why.failed;
    admin_purge_refuse(c->dialect, out, err_status(is_told ? d->err : ERR_NOMEM),
                       is_told ? buf_span(&d->why) : span_of(err_text(ERR_NOMEM)));
}

static void on_receipt(void *ctx, const struct purge_receipt *r)
{
    struct purge_call *c = ctx;
    struct admin_later *later = c->later;
    struct purge_words words = {.target = c->target};
    struct admin_reply reply;
    purge_audit(c->who, &c->order, r);
    if (r->err != 0) {
        admin_purge_refuse(c->dialect, &reply, err_status(r->err), span_of(err_text(r->err)));
    } else {
        admin_reply_json(&reply, c->dialect->receipt(&words, &c->order, r));
        reply.status = r->is_durable ? 200 : 507;
    }
    free_call(c);
    admin_later_done(later, &reply);
}

/* ---- asking ---- */

/* 0, or the scope that the order wants and the right lacks. */
static enum admin_scope lacking_scope(const struct purge_draft *d, const struct admin_right *right)
{
    static const enum admin_scope wanted[PURGE_KINDS] = {
        [PURGE_URL] = SCOPE_PURGE_URL,  [PURGE_TAG] = SCOPE_PURGE_TAG, [PURGE_PREFIX] = SCOPE_PURGE_ALL,
        [PURGE_HOST] = SCOPE_PURGE_ALL, [PURGE_ALL] = SCOPE_PURGE_ALL,
    };
    for (int k = 0; k < PURGE_KINDS; k++)
        if (purge_draft_count(d, (enum purge_kind)k) > 0 &&
            (right->scopes & (wanted[k] | SCOPE_PURGE_ALL)) == 0)
            return wanted[k];
    return 0;
}

static bool read_call(struct purge_call *c, const struct admin_request *request)
{
    struct purge_draft *d = &c->draft;
    struct purge_words words = {request->target, request->head, request->content};
    if (!c->dialect->read(&words, d) || !purge_draft_refer_by(d, request->head) ||
        !purge_draft_order(d, &c->order))
        return false;
    c->target = arena_span(&d->arena, request->target);
    c->who = arena_span(&d->arena, (struct span){request->right->name, request->right->name_len});
    return (c->target.p != NULL && c->who.p != NULL) || purge_draft_nomem(d);
}

bool admin_purge(struct admin_pages *p, const struct purge_dialect *dialect,
                 const struct admin_request *request, struct admin_later *later, struct admin_reply *out)
{
    struct purge_call *c = calloc(1, sizeof *c);
    if (c == NULL) {
        admin_purge_refuse(dialect, out, err_status(ERR_NOMEM), span_of(err_text(ERR_NOMEM)));
        return true;
    }
    c->later = later;
    c->dialect = dialect;
    purge_draft_init(&c->draft, p->loop->config);
    if (!read_call(c, request)) {
        reply_fault(p, c, out);
        free_call(c);
        return true;
    }
    enum admin_scope lacking = lacking_scope(&c->draft, request->right);
    if (lacking != 0) {
        admin_purge_refuse(dialect, out, 403, span_of(admin_scope_fault(lacking)));
        out->fields = admin_scope_challenge(lacking);
        free_call(c);
        return true;
    }
    int err = purger_order(p->sources.purger, p->loop, &c->order, on_receipt, c);
    if (err == 0)
        return false;
    admin_purge_refuse(dialect, out, err_status(err), span_of(err_text(err)));
    free_call(c);
    return true;
}
