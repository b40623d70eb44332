#include "shield/flight/flight_storing.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http1.h"
#include "shield/policy/vary.h"

/* ---- what fits where ---- */

static uint64_t ram_object_max(const struct config *cfg)
{
    return cfg->store_object_max > 0 ? MIN(cfg->store_object_max, cfg->store_ram) : cfg->store_ram / 4;
}

static uint64_t disk_object_max(const struct config *cfg)
{
    return cfg->store_object_max > 0 ? cfg->store_object_max : cfg->store_size / 4;
}

static bool fits_ram(const struct flight *f, uint64_t length)
{
    return length <= ram_object_max(f->env->loop->config);
}

static bool fits_disk(const struct flight *f, uint64_t length)
{
    return f->env->disk != NULL && length <= disk_object_max(f->env->loop->config);
}

/* ---- heads ---- */

static struct stored_head *make_head(struct flight *f, struct span block, struct span names)
{
    struct loop *l = f->env->loop;
    struct buf variant = { 0 };
    policy_vary_key(l->config, names, &f->request_head, &variant);
    struct stored_head_parts parts = {
        .facts = f->verdict.facts,
        .block = block,
        .key = f->what.key,
        .names = names,
        .variant = buf_span(&variant),
        .key_hash = f->what.key_hash,
    };
    struct stored_head *h = variant.failed ? NULL : stored_head_new(&parts);
    buf_fini(&variant);
    return h;
}

static bool judge_allows_storing(const struct flight *f)
{
    bool wanted = f->shared || f->what.may_store;
    return wanted && f->what.method == METHOD_GET &&
           (f->verdict.use == USE_SHARE || f->verdict.use == USE_VALIDATE);
}

static void too_large(struct flight *f)
{
    metric_limit(f->env->loop->metrics, OBJECT_MAX);
    f->verdict.reason = UNCACHEABLE_TOO_LARGE;
    f->storing = false;
}

static void choose_place(struct flight *f, uint64_t length)
{
    f->storing = judge_allows_storing(f);
    if (!f->storing) {
        object_set_resident(f->object, false);
        return;
    }
    uint64_t least = length == LENGTH_UNKNOWN ? 0 : length;
    bool in_ram = fits_ram(f, least), on_disk = fits_disk(f, least);
    f->filling_disk = on_disk && disk_fill_begin(f->env->disk, f->object) == 0;
    if (!in_ram)
        object_set_resident(f->object, false);
    if (!in_ram && !f->filling_disk)
        too_large(f);
}

int flight_take_object(struct flight *f, const struct http_head *head, uint64_t length)
{
    struct buf block = { 0 }, names = { 0 };
    policy_store_block(&block, head, f->verdict.strip_set_cookie, clock_wall_ms() / 1000);
    if (!policy_vary_names(head, &names))
        names.len = 0; /* "*": not shared, so nobody compares */
    struct stored_head *h = block.failed || names.failed ? NULL : make_head(f, buf_span(&block), buf_span(&names));
    f->object = h != NULL ? object_new(h, length) : NULL;
    buf_fini(&block);
    buf_fini(&names);
    if (f->object == NULL)
        return ERR_NOMEM;
    choose_place(f, length);
    return 0;
}

/* ---- renewal by a 304 ---- */

static void judge_updated(struct flight *f, const struct buf *block)
{
    enum { MAX_FIELDS = 512 };
    struct http_field fields[MAX_FIELDS];
    struct http_head head = { .fields = fields, .cap_fields = MAX_FIELDS };
    struct http1_limits limits = { .max_head = UINT32_MAX, .max_fields = MAX_FIELDS, .max_url = UINT32_MAX };
    struct http1_scan scan = { 0 };
    struct http1_result r = http1_parse_response(&scan, block->p, block->len, &limits, &head);
    if (r.status == HTTP1_HEAD) {
        policy_judge(f->env->loop->config, &f->request_head, &head, f->call.sent_wall_ms, clock_wall_ms(),
                     &f->verdict);
    } else { /* cannot be parsed with the new fields: use it once, for its own client */
        f->verdict = (struct verdict){ .use = USE_ALONE, .reason = UNCACHEABLE_STATUS,
                                       .facts = object_head(f->what.validating)->facts };
    }
}

static int update_block(struct flight *f, const struct http_head *not_modified, struct buf *out)
{
    enum { MAX_FIELDS = 512 };
    const struct stored_head *old = object_head(f->what.validating);
    struct http_field fields[MAX_FIELDS];
    struct http_head stored = { .fields = fields, .cap_fields = MAX_FIELDS };
    struct http1_limits limits = { .max_head = UINT32_MAX, .max_fields = MAX_FIELDS, .max_url = UINT32_MAX };
    struct http1_scan scan = { 0 };
    struct http1_result r = http1_parse_response(&scan, old->block.p, old->block.len + 2, &limits, &stored);
    if (r.status != HTTP1_HEAD)
        return ERR_CORRUPT;
    policy_update_block(out, &stored, not_modified);
    return 0;
}

int flight_take_renewed(struct flight *f, const struct http_head *not_modified)
{
    struct object *old = f->what.validating;
    struct buf block = { 0 };
    int err = update_block(f, not_modified, &block);
    struct span fields = buf_span(&block);
    buf_put_lit(&block, "\r\n"); /* a whole head, for the parser */
    if (err == 0 && !block.failed) {
        judge_updated(f, &block);
        fields.p = block.p;
        struct stored_head *h = make_head(f, fields, object_head(old)->names);
        f->object = h != NULL ? object_with_head(old, h) : NULL;
    }
    buf_fini(&block);
    if (f->object == NULL)
        return err != 0 ? err : ERR_NOMEM;
    f->validated = true;
    f->announced_length = object_length(f->object);
    f->storing = judge_allows_storing(f);
    return 0;
}

/* ---- on the way ---- */

void flight_start_pacing(struct flight *f)
{
    f->storing = false;
    object_set_resident(f->object, false);
    flight_detach(f);
    atomic_store(&f->paced, true);
}

void flight_go_on_storing(struct flight *f)
{
    if (!f->storing)
        return;
    uint64_t ready = object_ready(f->object);
    if (f->filling_disk && !fits_disk(f, ready)) {
        disk_fill_abort(f->env->disk, f->object);
        f->filling_disk = false;
    }
    if (f->filling_disk)
        disk_fill_advance(f->env->disk, f->object);
    if (f->filling_disk && !(object_flags(f->object) & OBJECT_STORING))
        f->filling_disk = false; /* the store shed it */
    if (object_is_resident(f->object) && !fits_ram(f, ready))
        object_set_resident(f->object, false);
    if (!object_is_resident(f->object) && !f->filling_disk) {
        too_large(f);
        flight_start_pacing(f);
    }
}

void flight_finish_storing(struct flight *f)
{
    if (f->validated && f->storing && f->env->disk != NULL &&
        (object_flags(f->object) & (OBJECT_ON_DISK | OBJECT_STORING)))
        disk_put_head(f->env->disk, f->object);
    if (f->filling_disk)
        disk_fill_seal(f->env->disk, f->object);
    f->filling_disk = false;
}

void flight_stop_storing(struct flight *f)
{
    if (f->filling_disk)
        disk_fill_abort(f->env->disk, f->object);
    f->filling_disk = false;
    f->storing = false;
}
