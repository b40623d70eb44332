#include "shield/admin/purge_json.h"

#include "common/check.h"
#include "common/units.h"
#include "shield/admin/admin_json.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

static struct span text_of(const json_t *string)
{
    return (struct span){json_string_value(string), json_string_length(string)};
}

json_t *purge_json_object(struct span text, const char *example, struct purge_draft *d)
{
    json_error_t wrong;
    if (span_trim(text).len == 0) {
        purge_draft_fault(d, "the request has no content; write %s", example);
        return NULL;
    }
    json_t *all = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES, &wrong);
    if (all == NULL && json_error_code(&wrong) == json_error_out_of_memory) {
        purge_draft_nomem(d);
    } else if (all == NULL) {
        purge_draft_fault(d, "line %d, column %d: no JSON: %s; write %s", wrong.line, wrong.column,
                          wrong.text, example);
    } else if (!json_is_object(all)) {
        purge_draft_fault(d, "the content is %s; write an object: %s", type_name(all), example);
        json_decref(all);
        all = NULL;
    }
    return all;
}

bool purge_json_list(const json_t *value, const char *name, enum purge_kind kind, struct purge_draft *d)
{
    if (!json_is_array(value))
        return purge_draft_fault(d, "%s: %s; write a list of strings", name, type_name(value));
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        if (!json_is_string(one))
            return purge_draft_fault(d, "%s[%zu]: %s; write a string", name, i, type_name(one));
        if (!purge_draft_add(d, kind, text_of(one), name, (int)i))
            return false;
    }
    return true;
}

bool purge_json_bool(const json_t *value, const char *name, bool *out, struct purge_draft *d)
{
    if (!json_is_boolean(value))
        return purge_draft_fault(d, "%s: %s; write true or false", name, type_name(value));
    *out = json_is_true(value);
    return true;
}

/* ---- our members ---- */

struct said {
    bool all, soft, is_soft_said;
};

struct member {
    const char *name;
    enum purge_kind kind; /* of a list */
    bool (*take)(const json_t *value, const struct member *m, struct said *said, struct purge_draft *d);
};

static bool take_list(const json_t *value, const struct member *m, struct said *said, struct purge_draft *d)
{
    return purge_json_list(value, m->name, m->kind, d);
}

static bool take_all(const json_t *value, const struct member *m, struct said *said, struct purge_draft *d)
{
    return purge_json_bool(value, m->name, &said->all, d) &&
           (!said->all || purge_draft_add(d, PURGE_ALL, SPAN(""), m->name, -1));
}

static bool take_soft(const json_t *value, const struct member *m, struct said *said, struct purge_draft *d)
{
    said->is_soft_said = true;
    return purge_json_bool(value, m->name, &said->soft, d);
}

static bool take_over(const json_t *value, const struct member *m, struct said *said, struct purge_draft *d)
{
    if (!json_is_string(value) || !units_parse_duration_ms(text_of(value), &d->over_ms) ||
        d->over_ms > PURGE_OVER_MAX_MS)
        return purge_draft_fault(d, "%s: write a string as \"30s\", \"10m\" or \"1h\", at most \"30d\"",
                                 m->name);
    return true;
}

static bool take_reference(const json_t *value, const struct member *m, struct said *said,
                           struct purge_draft *d)
{
    if (!json_is_string(value))
        return purge_draft_fault(d, "%s: %s; write a string", m->name, type_name(value));
    return purge_draft_refer(d, text_of(value));
}

static const struct member members[] = {
    {"urls", PURGE_URL, take_list},   {"prefixes", PURGE_PREFIX, take_list},
    {"tags", PURGE_TAG, take_list},   {"hosts", PURGE_HOST, take_list},
    {"all", PURGE_ALL, take_all},     {"soft", PURGE_KINDS, take_soft},
    {"over", PURGE_KINDS, take_over}, {"reference", PURGE_KINDS, take_reference},
};

static bool take_member(const json_t *value, const char *name, struct said *said, struct purge_draft *d)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return members[i].take(value, &members[i], said, d);
    return purge_draft_fault(d,
                             "'%.100s' is not known; there are urls, prefixes, tags, hosts, all, soft, over "
                             "and reference",
                             name);
}

static bool ours_read(const struct purge_words *w, struct purge_draft *d)
{
    struct said said = {0};
    const char *name;
    json_t *value, *all = purge_json_object(w->content, "{\"urls\":[\"http://HOST/PATH\"]}", d);
    if (all == NULL)
        return false;
    bool ok = true;
    json_object_foreach(all, name, value) ok = ok && take_member(value, name, &said, d);
    json_decref(all);
    d->is_soft = said.is_soft_said ? said.soft : d->over_ms > 0;
    return ok;
}

/* ---- answering ---- */

static json_t *ours_receipt(const struct purge_words *w, const struct purge_order *o,
                            const struct purge_receipt *r)
{
    json_t *all = json_pack("{s:I,s:b}", "purge", (json_int_t)r->number, "durable", r->is_durable);
    if (all != NULL && r->is_repeat && json_object_set_new(all, "repeated", json_true()) != 0) {
        json_decref(all);
        return NULL;
    }
    return all;
}

static json_t *ours_error(int status, struct span why)
{
    return json_pack("{s:o}", "error", admin_json_bytes(why));
}

const struct purge_dialect purge_ours = {ours_read, ours_receipt, ours_error, NULL};
