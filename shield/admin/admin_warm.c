#include "shield/admin/admin_warm.h"

#include <inttypes.h>

#include "common/check.h"
#include "common/err.h"
#include "common/units.h"
#include "shield/admin/admin_json.h"
#include "shield/admin/warm_read.h"
#include "shield/ops/log.h"

static void refuse(struct admin_reply *out, int status, struct span why)
{
    admin_reply_json(out, json_pack("{s:o}", "error", admin_json_bytes(why)));
    out->status = status;
}

/* ---- how it stands ---- */

static json_t *json_progress(const struct warm_progress *p)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:b}", "id", (json_int_t)p->id, "urls",
                     (json_int_t)p->urls, "done", (json_int_t)p->done, "stored",
                     (json_int_t)p->counts[WARM_STORED], "fresh", (json_int_t)p->counts[WARM_FRESH], "failed",
                     (json_int_t)p->counts[WARM_FAILED], "uncacheable",
                     (json_int_t)p->counts[WARM_UNCACHEABLE], "sitemaps", (json_int_t)p->counts[WARM_READ],
                     "pace", (json_int_t)p->pace, "running", p->is_running, "cancelled", p->is_cancelled);
}

static json_t *json_failures(const struct warm_progress *p)
{
    json_t *all = json_array();
    for (size_t i = 0; i < p->n_failures; i++) {
        const struct warm_failure *f = &p->failures[i];
        const char *why = f->why != NULL ? f->why : "the origin answered with an error";
        json_t *one = json_pack("{s:o,s:s}", "url", admin_json_bytes(f->url), "why", why);
        if (one != NULL && f->status != 0)
            json_object_set_new(one, "status", json_integer(f->status));
        if (json_array_append_new(all, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static void show(struct admin_reply *out, const struct warm_progress *p)
{
    json_t *all = json_progress(p), *failures = json_failures(p);
    if (all == NULL || failures == NULL || json_object_set(all, "failures", failures) != 0) {
        json_decref(all);
        all = NULL;
    }
    json_decref(failures);
    admin_reply_json(out, all);
}

static void add_progress(void *ctx, const struct warm_progress *p)
{
    json_t **all = ctx;
    if (*all != NULL && json_array_append_new(*all, json_progress(p)) != 0) {
        json_decref(*all);
        *all = NULL;
    }
}

json_t *admin_warm_list(const struct warmer *w)
{
    json_t *all = json_array();
    warmer_each(w, add_progress, &all);
    return all;
}

/* ---- the beginning ---- */

static void reply_fault(struct admin_pages *p, const struct warm_order *o, struct admin_reply *out)
{
    if (o->err == ERR_CONTENT_TOO_LARGE)
        metric_limit(p->loop->metrics, WARM_MAX_URLS);
    bool is_told = o->err != ERR_NOMEM && !o->why.failed;
    refuse(out, err_status(is_told ? o->err : ERR_NOMEM),
           is_told ? buf_span(&o->why) : span_of(err_text(ERR_NOMEM)));
}

static void reply_busy(struct admin_reply *out, int err)
{
    static const char full[] = "as many lists are being warmed as warm.max_lists allows; try again later";
    refuse(out, 503,
           err == ERR_BUSY   ? span_of(full)
           : err == ERR_GONE ? SPAN("draining: nothing more is begun")
                             : span_of(err_text(err)));
    out->fields = "Retry-After: 10\r\n";
}

bool admin_warm(struct admin_pages *p, const struct admin_request *r, struct admin_later *later,
                struct admin_reply *out)
{
    struct warm_order order;
    uint64_t id = 0;
    warm_order_init(&order, p->loop->config);
    if (warm_read(&order, r->content, r->query)) {
        uint64_t n = warm_order_requests(&order), pace = order.pace;
        int err = warmer_start(p->sources.warmer, &order, &id);
        if (err != 0) {
            reply_busy(out, err);
        } else {
            log_info("warm: id=%" PRIu64 " by=%.*s urls=%" PRIu64 " pace=%" PRIu64, id,
                     (int)r->right->name_len, r->right->name, n, pace);
            admin_reply_json(out, json_pack("{s:I,s:I}", "warm", (json_int_t)id, "urls", (json_int_t)n));
            out->status = 202;
        }
    } else {
        reply_fault(p, &order, out);
    }
    warm_order_fini(&order);
    return true;
}

/* ---- one of them ---- */

bool admin_warm_one(struct admin_pages *p, const struct admin_request *r, struct admin_later *later,
                    struct admin_reply *out)
{
    struct warm_progress progress;
    uint64_t id = 0;
    bool cancels = r->head->method == METHOD_DELETE;
    if (cancels && (r->right->scopes & SCOPE_CONFIG) == 0) {
        refuse(out, 403, span_of(admin_scope_fault(SCOPE_CONFIG)));
        out->fields = admin_scope_challenge(SCOPE_CONFIG);
        return true;
    }
    bool is_known = units_parse_uint(span_from(r->path, sizeof "/warm/" - 1), &id);
    if (is_known && cancels)
        warmer_cancel(p->sources.warmer, id);
    if (is_known && warmer_look(p->sources.warmer, id, &progress))
        show(out, &progress);
    else
        refuse(out, 404, SPAN("no warming of that id is known; /stats lists them"));
    return true;
}
