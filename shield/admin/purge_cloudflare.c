#include "common/check.h"
#include "shield/admin/admin_json.h"
#include "shield/admin/purge_dialect.h"
#include "shield/admin/purge_json.h"

static const char example[] = "{\"files\":[\"https://HOST/PATH\"]} or {\"purge_everything\":true}";

/* ---- reading ---- */

/* {"url":"...","headers":{...}}: the headers would choose a variant, and all of them go. */
static bool take_file_object(json_t *file, int index, struct purge_draft *d)
{
    const char *name;
    json_t *value, *url = json_object_get(file, "url");
    json_object_foreach(file, name, value)
    {
        bool is_known = strcmp(name, "url") == 0 || (strcmp(name, "headers") == 0 && json_is_object(value));
        if (!is_known)
            return purge_draft_fault(d, "files[%d]: it has \"url\", and \"headers\" as an object", index);
    }
    if (!json_is_string(url))
        return purge_draft_fault(d, "files[%d]: \"url\" is missing, or no string", index);
    return purge_draft_add(d, PURGE_URL, (struct span){json_string_value(url), json_string_length(url)},
                           "files", index);
}

static bool take_files(json_t *files, struct purge_draft *d)
{
    if (!json_is_array(files))
        return purge_draft_fault(d, "files: write a list of URLs");
    for (size_t i = 0; i < json_array_size(files); i++) {
        json_t *one = json_array_get(files, i);
        struct span url = {json_string_value(one), json_string_length(one)};
        bool ok = json_is_object(one)   ? take_file_object(one, (int)i, d)
                  : json_is_string(one) ? purge_draft_add(d, PURGE_URL, url, "files", (int)i)
                                        : purge_draft_fault(d, "files[%zu]: write a URL", i);
        if (!ok)
            return false;
    }
    return true;
}

static bool take_member(const char *name, json_t *value, struct purge_draft *d)
{
    bool everything = false;
    if (strcmp(name, "files") == 0)
        return take_files(value, d);
    if (strcmp(name, "tags") == 0)
        return purge_json_list(value, name, PURGE_TAG, d);
    if (strcmp(name, "prefixes") == 0)
        return purge_json_list(value, name, PURGE_PREFIX, d);
    if (strcmp(name, "hosts") == 0)
        return purge_json_list(value, name, PURGE_HOST, d);
    if (strcmp(name, "purge_everything") != 0)
        return purge_draft_fault(d,
                                 "'%.100s' is not known; there are files, tags, prefixes, hosts and "
                                 "purge_everything",
                                 name);
    return purge_json_bool(value, name, &everything, d) &&
           (!everything || purge_draft_add(d, PURGE_ALL, SPAN(""), name, -1));
}

static bool cloudflare_read(const struct purge_words *w, struct purge_draft *d)
{
    const char *name;
    json_t *value, *all = purge_json_object(w->content, example, d);
    if (all == NULL)
        return false;
    bool ok = true;
    json_object_foreach(all, name, value) ok = ok && take_member(name, value, d);
    json_decref(all);
    return ok;
}

/* ---- answering ---- */

/* The ID of /client/v4/zones/ID/purge_cache. */
static struct span zone_of(struct span target)
{
    struct span rest = span_from(target, sizeof "/client/v4/zones/" - 1);
    const char *slash = rest.len > 0 ? memchr(rest.p, '/', rest.len) : NULL;
    return (struct span){rest.p, slash != NULL ? (size_t)(slash - rest.p) : rest.len};
}

/* Cloudflare's own numbers, where they have one. */
static int code_of(int status)
{
    switch (status) {
    case 400:
    case 413:
        return 1012;
    case 401:
    case 403:
        return 10000;
    case 405:
        return 7001;
    default:
        return status;
    }
}

static json_t *cloudflare_error(int status, struct span why)
{
    return json_pack("{s:b,s:[{s:i,s:o}],s:[],s:n}", "success", 0, "errors", "code", code_of(status),
                     "message", admin_json_bytes(why), "messages", "result");
}

static json_t *cloudflare_receipt(const struct purge_words *w, const struct purge_order *o,
                                  const struct purge_receipt *r)
{
    if (!r->is_durable)
        return cloudflare_error(507, SPAN("purged, but it would not survive a restart: see the store"));
    return json_pack("{s:b,s:[],s:[],s:{s:o,s:I}}", "success", 1, "errors", "messages", "result", "id",
                     admin_json_bytes(zone_of(w->target)), "purge", (json_int_t)r->number);
}

const struct purge_dialect purge_cloudflare = {cloudflare_read, cloudflare_receipt, cloudflare_error,
                                               "X-Auth-Key"};
