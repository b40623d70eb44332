#include "shield/flight/flight_storing.h"

#include <xxhash.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/ops/log.h"
#include "shield/policy/key.h"
#include "shield/policy/stored_block.h"
#include "shield/policy/vary.h"
#include "shield/policy/withheld.h"
#include "shield/purge/purge_tags.h"

enum { TELL_AGAIN_MS = 60 * 1000 };

/* ---- what fits where ---- */

static uint64_t ram_object_max(const struct config *cfg)
{
    return cfg->store_object_max > 0 ? MIN(cfg->store_object_max, cfg->store_ram) : cfg->store_ram / 4;
}

static bool fits_ram(const struct flight *f, uint64_t length)
{
    return length <= ram_object_max(f->env->loop->config);
}

bool flight_may_be_on_disk(const struct config *cfg, uint64_t length)
{
    return length <= (cfg->store_object_max > 0 ? cfg->store_object_max : cfg->store_size / 4);
}

static bool fits_disk(const struct flight *f, uint64_t length)
{
    return f->env->disk != NULL && flight_may_be_on_disk(f->env->loop->config, length);
}

/* The key has been asked for often enough, everyone counted who has joined this flight (store.admit_after).
 */
static bool is_admitted(const struct flight *f)
{
    uint64_t after = f->what.route->admit_after;
    return after <= 1 || f->env->admission == NULL ||
           admission_asked(f->env->admission, f->what.key_hash) >= after;
}

/* ---- heads ---- */

/* Each is counted; the log hears of a key once in a while, however many keys there are. */
static void tell_of_suspicious(struct flight *f)
{
    struct loop *l = f->env->loop;
    uint64_t *until_ms = &f->env->told_until_ms[f->what.key_hash % ARRAY_LEN(f->env->told_until_ms)];
    struct buf key = {0};
    metric_count(l->metrics, SUSPICIOUS_SET_COOKIE);
    if (loop_now_ms(l) < *until_ms)
        return;
    *until_ms = loop_now_ms(l) + TELL_AGAIN_MS;
    policy_key_show(&key, f->what.key);
    if (!key.failed)
        log_warn("origin: %.*s: public and Set-Cookie in one answer; one of the two is probably a mistake",
                 SPAN_FMT(buf_span(&key)));
    buf_fini(&key);
}

void flight_judge(struct flight *f, const struct http_head *response, struct verdict *v)
{
    const struct config *cfg = f->env->loop->config;
    policy_judge(cfg, f->what.route, &f->request_head, response, f->call.sent_wall_ms, clock_wall_ms(), v);
    uint64_t seed[2] = {f->what.key_hash, clock_mono_us()};
    if (f->what.route->ttl_jitter > 0)
        facts_jitter(&v->facts, (unsigned)f->what.route->ttl_jitter, XXH3_64bits(seed, sizeof seed));
    if (v->is_suspicious)
        tell_of_suspicious(f);
}

/* False when there are more than are kept: it may not be stored, since a purge by one of them would miss it.
 */
static bool put_tags(struct flight *f, struct span block, struct buf *tags)
{
    struct stored_block parsed;
    struct loop *l = f->env->loop;
    if (!stored_block_parse(&parsed, block))
        return true;
    bool fit = purge_tags_put(tags, &parsed.head, policy_key_host(f->what.key), l->config->purge.max_tags);
    if (!fit)
        metric_limit(l->metrics, PURGE_MAX_TAGS);
    return fit;
}

/* `block` has its empty line behind it. */
static struct stored_head *make_head(struct flight *f, const struct response_facts *facts, struct span block,
                                     struct span names, uint64_t purge_number)
{
    struct loop *l = f->env->loop;
    struct buf variant = {0}, tags = {0};
    policy_vary_key(l->config, names, &f->request_head, &variant);
    f->has_all_tags = put_tags(f, (struct span){block.p, block.len + 2}, &tags);
    struct stored_head_parts parts = {
        .facts = *facts,
        .block = block,
        .key = f->what.key,
        .names = names,
        .variant = buf_span(&variant),
        .tags = buf_span(&tags),
        .purge_number = purge_number,
        .key_hash = f->what.key_hash,
    };
    struct stored_head *h = variant.failed || tags.failed ? NULL : stored_head_new(&parts);
    buf_fini(&variant);
    buf_fini(&tags);
    return h;
}

static bool judge_allows_storing(const struct flight *f)
{
    bool wanted = f->shared || f->what.may_store;
    bool is_get = f->what.method == METHOD_GET || f->what.method == METHOD_POST; /* what stands for one */
    return wanted && is_get && f->has_all_tags &&
           (f->verdict.use == USE_SHARE || f->verdict.use == USE_VALIDATE || f->verdict.is_kept);
}

/* No tier takes it: it is too large for any, or for memory, and the disk is not for it yet. That is not
 * remembered: the next request may be the one that admits it. */
static void kept_nowhere(struct flight *f)
{
    if (!f->unadmitted)
        metric_limit(f->env->loop->metrics, OBJECT_MAX);
    f->verdict.reason = f->unadmitted ? UNCACHEABLE_UNADMITTED : UNCACHEABLE_TOO_LARGE;
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
    f->unadmitted = on_disk && !is_admitted(f);
    if (f->unadmitted)
        metric_limit(f->env->loop->metrics, ADMIT_AFTER);
    f->filling_disk = on_disk && !f->unadmitted && disk_fill_begin(f->env->disk, f->object) == 0;
    if (!in_ram)
        object_set_resident(f->object, false);
    if (!in_ram && !f->filling_disk)
        kept_nowhere(f);
}

/* What is not stored with the response, and not shared either, still goes to whom it was fetched for. */
static void keep_withheld(struct flight *f, const struct http_head *head)
{
    struct buf withheld = {0};
    withheld_put(&withheld, head);
    if (!withheld.failed && withheld.len > 0)
        f->withheld = arena_span(&f->arena, buf_span(&withheld));
    buf_fini(&withheld);
}

int flight_take_object(struct flight *f, const struct http_head *head, uint64_t length)
{
    struct buf block = {0}, names = {0};
    policy_store_block(&block, f->env->loop->config, head, f->verdict.strip_set_cookie,
                       clock_wall_ms() / 1000);
    buf_put_lit(&block, "\r\n");
    if (!policy_vary_names(f->what.route, head, &names))
        names.len = 0; /* "*": not shared, so nobody compares */
    struct span fields = {block.p, block.len - 2};
    struct stored_head *h =
        block.failed || names.failed
            ? NULL
            : make_head(f, &f->verdict.facts, fields, buf_span(&names), atomic_load(&f->purge_number));
    f->object = h != NULL ? object_new(h, length) : NULL;
    buf_fini(&block);
    buf_fini(&names);
    if (f->object == NULL)
        return ERR_NOMEM;
    keep_withheld(f, head);
    choose_place(f, length);
    return 0;
}

/* ---- renewal by a 304 ---- */

/* The updated head as if it had come whole: its age is the new answer's (RFC 9111 section 4.3.4), and what it
 * varies on may have changed. */
static void judge_updated(struct flight *f, const struct object *old, const struct buf *block,
                          const struct http_head *answer, struct verdict *v, struct buf *names)
{
    struct stored_block parsed;
    struct buf whole = {0};
    buf_put_span(&whole, buf_span(block));
    if (http_has(answer, FIELD_AGE))
        http_put_field(&whole, SPAN("Age"), http_value(answer, FIELD_AGE));
    buf_put_lit(&whole, "\r\n");
    if (!whole.failed && stored_block_parse(&parsed, buf_span(&whole))) {
        flight_judge(f, &parsed.head, v);
        policy_vary_names(f->what.route, &parsed.head, names);
    } else { /* use it once, for its own client */
        *v = (struct verdict){
            .use = USE_ALONE, .reason = UNCACHEABLE_STATUS, .facts = object_head(old)->facts};
    }
    buf_fini(&whole);
}

/* The new answer may bring what is not to be stored. */
static void strip(struct buf *block, bool set_cookie)
{
    struct stored_block parsed;
    struct buf stripped = {0};
    buf_put_lit(block, "\r\n");
    if (!block->failed && stored_block_parse(&parsed, buf_span(block)))
        policy_strip_block(&stripped, &parsed.head, set_cookie);
    buf_fini(block);
    *block = stripped;
}

/* A new head over the body of `old`, its fields updated by `answer` (RFC 9111 section 3.2), judged anew, and
 * as new as purge number `number`. */
static struct object *renew(struct flight *f, struct object *old, const struct http_head *answer,
                            struct verdict *v, uint64_t number)
{
    const struct stored_head *was = object_head(old);
    struct stored_block parsed;
    struct buf block = {0}, names = {0};
    struct stored_head *h = NULL;
    if (stored_block_parse(&parsed, (struct span){was->block.p, was->block.len + 2})) {
        policy_update_block(&block, f->env->loop->config, &parsed.head, answer, clock_wall_ms() / 1000);
        judge_updated(f, old, &block, answer, v, &names);
        strip(&block, v->strip_set_cookie);
        buf_put_lit(&block, "\r\n");
        if (!block.failed && !names.failed && block.len > 2)
            h = make_head(f, &v->facts, (struct span){block.p, block.len - 2}, buf_span(&names), number);
    }
    buf_fini(&block);
    buf_fini(&names);
    return h != NULL ? object_with_head(old, h) : NULL;
}

static struct span opaque_tag(struct span etag)
{
    return span_starts(etag, SPAN("W/")) ? span_from(etag, 2) : etag;
}

/* A 304 that names another validator than the one it was asked about tells nothing of what we have (RFC 9111
 * section 4.3.4). */
static bool is_about_ours(const struct flight *f, const struct http_head *not_modified)
{
    struct span ours = object_head(f->what.stored)->validators.etag;
    struct span theirs = http_value(not_modified, FIELD_ETAG);
    return theirs.len == 0 || ours.len == 0 || span_eq(opaque_tag(ours), opaque_tag(theirs));
}

int flight_take_renewed(struct flight *f, const struct http_head *not_modified)
{
    if (!is_about_ours(f, not_modified)) {
        object_set_flags(f->what.stored, OBJECT_UNWANTED, 0); /* the next request asks for all of it */
        return ERR_PROTOCOL;
    }
    f->object = renew(f, f->what.stored, not_modified, &f->verdict, atomic_load(&f->purge_number));
    if (f->object == NULL)
        return ERR_NOMEM;
    keep_withheld(f, not_modified);
    f->validated = true;
    f->announced_length = object_length(f->object);
    f->storing = judge_allows_storing(f);
    return 0;
}

static bool same_validators(const struct flight *f, const struct http_head *head)
{
    const struct validators *v = &object_head(f->what.stored)->validators;
    struct span etag = http_value(head, FIELD_ETAG), modified = http_value(head, FIELD_LAST_MODIFIED);
    if (etag.len == 0 && modified.len == 0)
        return false;
    if ((etag.len > 0 && !span_eq(etag, v->etag)) ||
        (modified.len > 0 && !span_eq(modified, v->last_modified)))
        return false;
    return f->announced_length == LENGTH_UNKNOWN || f->announced_length == object_length(f->what.stored);
}

void flight_freshen(struct flight *f, const struct http_head *head)
{
    struct verdict v;
    if (head->status != object_head(f->what.stored)->facts.status || !same_validators(f, head))
        return;
    f->freshened = renew(f, f->what.stored, head, &v, object_head(f->what.stored)->purge_number);
    if (f->freshened != NULL && !f->has_all_tags)
        object_unref(&f->freshened);
    else if (f->freshened != NULL && v.use != USE_SHARE && v.use != USE_VALIDATE)
        object_unref(&f->freshened);
}

/* ---- on the way ---- */

void flight_start_pacing(struct flight *f)
{
    f->storing = false;
    object_set_resident(f->object, false);
    atomic_store(&f->paced, true);
}

/* From now on a chunk is in memory only until it is committed. */
static void leave_memory(struct flight *f)
{
    object_set_resident(f->object, false);
    uint64_t chunks = f->filling_disk ? disk_fill_committed(f->object) / object_chunk_bytes(f->object) : 0;
    for (uint64_t i = 0; i < chunks; i++)
        object_chunk_committed(f->object, (uint32_t)i);
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
    bool was_shed = f->filling_disk && !(object_flags(f->object) & OBJECT_STORING);
    if (was_shed)
        f->filling_disk = false;
    bool too_much = ready > object_chunk_bytes(f->object) && flight_limit_bytes(f->env->loop);
    if (object_is_resident(f->object) && (too_much || !fits_ram(f, ready)))
        leave_memory(f);
    if (!object_is_resident(f->object) && !f->filling_disk) {
        if (!too_much && !was_shed)
            kept_nowhere(f);
        flight_start_pacing(f);
    }
}

static void put_renewed_head(struct flight *f, struct object *o)
{
    if (f->env->disk == NULL)
        return;
    if (object_flags(o) & (OBJECT_ON_DISK | OBJECT_STORING))
        disk_put_head(f->env->disk, o);
    else if (fits_disk(f, object_length(o)) && is_admitted(f))
        disk_keep(f->env->disk, o);
}

void flight_finish_storing(struct flight *f)
{
    if (f->validated && f->storing)
        put_renewed_head(f, f->object);
    if (f->freshened != NULL)
        put_renewed_head(f, f->freshened);
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
