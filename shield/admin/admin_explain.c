#include "shield/admin/admin_explain_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/admin/admin_json.h"
#include "shield/policy/key.h"
#include "shield/policy/route.h"
#include "shield/policy/unkeyed.h"

static void free_explain(struct explain *e)
{
    for (uint32_t i = 0; i < e->n_records; i++)
        stored_head_unref(&e->records[i].head);
    cache_seen_fini(&e->seen);
    buf_fini(&e->text);
    buf_fini(&e->key);
    free(e->fields);
    config_unref(&e->config);
    free(e);
}

static struct explain *new_explain(struct admin_pages *p)
{
    struct explain *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->config = config_ref(p->loop->config);
    e->cache = p->sources.cache;
    e->loop = p->loop;
    e->fields = calloc(e->config->http_limits.max_fields, sizeof *e->fields);
    if (e->fields == NULL)
        free_explain(e);
    return e->fields == NULL ? NULL : e;
}

/* ---- the request is known ---- */

static bool is_looked_up(const struct explain *e)
{
    return e->verdict.kind != REQUEST_FIXED && e->verdict.kind != REQUEST_OPTIONS;
}

/* As exchange_start does, for a client whose address is not known. */
static void sort(struct explain *e)
{
    struct http1_body content;
    http_remove(&e->head, FIELD_SHIELD_DEBUG); /* as with a real one */
    http_remove_name(&e->head, span_of(e->config->edges_secret_header));
    unkeyed_drop_hearsay(&e->head);
    http1_body_for_request(&content, &e->head, &e->config->http_limits);
    http1_target(&e->head, &e->target);
    e->route = policy_route(e->config, &e->head, &e->target);
    bool has_content = content.framing == BODY_CHUNKED || content.length > 0;
    policy_sort_request(e->config, &e->head, has_content, &e->verdict);
    policy_sort_by_route(e->route, &e->head, &e->verdict);
    struct key_request key = {.config = e->config, .route = e->route, .head = &e->head, .target = e->target};
    if (is_looked_up(e) && !policy_key(&e->key, &key))
        policy_pass_by(&e->verdict, PASSED_KEY);
}

/* ---- what is stored ---- */

/* On a thread of the store. */
static void note_record(struct disk_get *get, const struct disk_peek *v)
{
    struct explain *e = container_of(get, struct explain, get);
    struct stored_head *head = e->n_records < LOOK_VARIANTS ? stored_head_new(v->head) : NULL;
    if (head == NULL)
        e->records_left_out++;
    else
        e->records[e->n_records++] = (struct explain_record){head, v->id, v->length, v->selected};
}

static const struct stored_head *found_on_disk(const struct explain *e)
{
    for (uint32_t i = 0; i < e->n_records; i++)
        if (e->records[i].selected)
            return e->records[i].head;
    return NULL;
}

static void finish(struct explain *e, struct admin_reply *out)
{
    struct cache_look look = {
        .config = e->config,
        .route = e->route,
        .key = buf_span(&e->key),
        .key_hash = cache_hash(e->cache, buf_span(&e->key)),
        .head = &e->head,
        .may_join = e->verdict.kind == REQUEST_LOOKUP,
        .only_stored = policy_only_if_cached(e->config, &e->head),
        .why_alone = e->verdict.why,
        .found = found_on_disk(e),
    };
    e->seen.now_ms = clock_wall_ms();
    if (is_looked_up(e))
        cache_look(e->cache, &look, loop_scratch(e->loop), &e->seen);
    admin_reply_json(out, explain_show(e));
    free_explain(e);
}

static void on_disk_done(struct disk_get *get)
{
    struct explain *e = container_of(get, struct explain, get);
    struct admin_later *later = e->later;
    struct admin_reply reply;
    finish(e, &reply);
    admin_later_done(later, &reply);
}

static void ask_disk(struct explain *e, struct disk *d)
{
    e->get = (struct disk_get){.loop = e->loop,
                               .key = buf_span(&e->key),
                               .key_hash = cache_hash(e->cache, buf_span(&e->key)),
                               .request = &e->head,
                               .on_done = on_disk_done,
                               .peek = note_record};
    disk_get(d, &e->get);
}

static void reply_bad(struct admin_reply *out, struct buf *why)
{
    json_t *text = why->failed ? NULL : admin_json_bytes(buf_span(why));
    admin_reply_json(out, text != NULL ? json_pack("{s:o}", "error", text) : NULL);
    out->status = 400;
}

bool admin_explain(struct admin_pages *p, const struct admin_request *request, struct admin_later *later,
                   struct admin_reply *out)
{
    struct buf why = {0};
    struct explain *e = new_explain(p);
    if (e == NULL) {
        admin_reply_text(out, 503, err_text(ERR_NOMEM));
        return true;
    }
    bool is_read = explain_read(e, request->query, &why);
    if (!is_read)
        reply_bad(out, &why);
    buf_fini(&why);
    if (is_read)
        sort(e);
    if (!is_read || e->key.failed) {
        if (is_read)
            admin_reply_text(out, 503, err_text(ERR_NOMEM));
        free_explain(e);
        return true;
    }
    if (p->sources.disk == NULL || !is_looked_up(e)) {
        finish(e, out);
        return true;
    }
    e->later = later;
    ask_disk(e, p->sources.disk);
    return false;
}
