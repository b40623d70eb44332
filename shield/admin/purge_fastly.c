#include <inttypes.h>
#include <stdio.h>

#include "common/check.h"
#include "shield/admin/admin_json.h"
#include "shield/admin/admin_percent.h"
#include "shield/admin/purge_dialect.h"
#include "shield/admin/purge_json.h"

/* What the target names: the path decides. */
enum fastly_form { FORM_URL, FORM_KEY, FORM_KEYS, FORM_ALL };

static enum fastly_form form_of(struct span target, struct span *rest)
{
    static const struct span url = {"/purge/", 7}, service = {"/service/", 9};
    if (span_starts(target, url)) {
        *rest = span_from(target, url.len);
        return FORM_URL;
    }
    const char *mark = memchr(target.p, '?', target.len);
    struct span path = {target.p, mark != NULL ? (size_t)(mark - target.p) : target.len};
    const char *verb = memchr(path.p + service.len, '/', path.len - service.len);
    *rest = span_from(path, (size_t)(verb - path.p));
    if (span_eq(*rest, SPAN("/purge_all")))
        return FORM_ALL;
    if (span_eq(*rest, SPAN("/purge")))
        return FORM_KEYS;
    *rest = span_from(*rest, sizeof "/purge/" - 1);
    return FORM_KEY;
}

/* ---- reading ---- */

static bool read_url(struct span rest, struct purge_draft *d)
{
    bool has_scheme = span_starts(rest, SPAN("http://")) || span_starts(rest, SPAN("https://"));
    struct buf url = {0};
    if (!has_scheme)
        buf_put_lit(&url, "http://");
    buf_put_span(&url, rest);
    bool ok = url.failed ? purge_draft_nomem(d) : purge_draft_add(d, PURGE_URL, buf_span(&url), "path", -1);
    buf_fini(&url);
    return ok;
}

static bool read_key(struct span rest, struct purge_draft *d)
{
    struct buf key = {0};
    bool is_text = admin_percent_decode(rest, &key);
    bool ok = key.failed ? purge_draft_nomem(d)
              : is_text  ? purge_draft_add(d, PURGE_TAG, buf_span(&key), "path", -1)
                         : purge_draft_fault(d, "path: the key is not percent-encoded; write %% as %%25");
    buf_fini(&key);
    return ok;
}

static bool read_key_field(struct span keys, struct purge_draft *d)
{
    while (keys.len > 0) {
        const char *blank = memchr(keys.p, ' ', keys.len);
        struct span one = {keys.p, blank != NULL ? (size_t)(blank - keys.p) : keys.len};
        keys = span_from(keys, one.len + 1);
        if (one.len > 0 && !purge_draft_add(d, PURGE_TAG, one, "Surrogate-Key", -1))
            return false;
    }
    return true;
}

static bool read_key_object(struct span content, struct purge_draft *d)
{
    const char *name;
    json_t *value, *all = purge_json_object(content, "{\"surrogate_keys\":[\"KEY\"]}", d);
    if (all == NULL)
        return false;
    bool ok = true;
    json_object_foreach(all, name, value) if (ok) ok =
        strcmp(name, "surrogate_keys") == 0
            ? purge_json_list(value, name, PURGE_TAG, d)
            : purge_draft_fault(d, "'%.100s' is not known; there is surrogate_keys", name);
    json_decref(all);
    return ok;
}

static bool read_keys(const struct purge_words *w, struct purge_draft *d)
{
    bool ok = true, is_named = false;
    for (uint32_t i = 0; i < w->head->n_fields && ok; i++) {
        if (!span_eq_nocase(w->head->fields[i].name, SPAN("Surrogate-Key")))
            continue;
        is_named = true;
        ok = read_key_field(w->head->fields[i].value, d);
    }
    if (ok && (!is_named || span_trim(w->content).len > 0))
        ok = read_key_object(w->content, d);
    return ok;
}

static bool read_softness(const struct http_head *head, struct purge_draft *d)
{
    const struct http_field *f = http_find_name(head, SPAN("Fastly-Soft-Purge"));
    d->is_soft = f != NULL && span_eq(f->value, SPAN("1"));
    if (f != NULL && !d->is_soft && !span_eq(f->value, SPAN("0")))
        return purge_draft_fault(d, "Fastly-Soft-Purge is 1 for soft, or 0");
    return true;
}

static bool fastly_read(const struct purge_words *w, struct purge_draft *d)
{
    struct span rest;
    if (!read_softness(w->head, d))
        return false;
    switch (form_of(w->target, &rest)) {
    case FORM_URL:
        return read_url(rest, d);
    case FORM_KEY:
        return read_key(rest, d);
    case FORM_KEYS:
        return read_keys(w, d);
    case FORM_ALL:
        return purge_draft_add(d, PURGE_ALL, SPAN(""), "path", -1);
    }
    return false;
}

/* ---- answering ---- */

static json_t *fastly_error(int status, struct span why)
{
    json_t *text = admin_json_bytes(why);
    return json_pack("{s:o,s:O}", "msg", text, "detail", text);
}

static json_t *receipt_of_keys(const struct purge_order *o, const char *id)
{
    json_t *all = json_object();
    for (size_t i = 0; i < o->n_items; i++) {
        json_t *key = admin_json_bytes(o->items[i].what);
        int failed = key == NULL || json_object_set_new(all, json_string_value(key), json_string(id)) != 0;
        json_decref(key);
        if (failed) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static json_t *fastly_receipt(const struct purge_words *w, const struct purge_order *o,
                              const struct purge_receipt *r)
{
    struct span rest;
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, r->number);
    if (!r->is_durable)
        return fastly_error(507, SPAN("purged, but it would not survive a restart: see the store"));
    if (form_of(w->target, &rest) == FORM_KEYS)
        return receipt_of_keys(o, id);
    return json_pack("{s:s,s:s}", "status", "ok", "id", id);
}

const struct purge_dialect purge_fastly = {fastly_read, fastly_receipt, fastly_error, "Fastly-Key"};
