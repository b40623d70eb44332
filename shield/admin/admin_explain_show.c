#include "shield/admin/admin_explain_impl.h"

#include "common/check.h"
#include "common/err.h"
#include "shield/admin/admin_json.h"
#include "shield/ops/timestamp.h"
#include "shield/policy/key.h"
#include "shield/policy/stale.h"
#include "shield/policy/vary.h"

enum { FLIGHTS_SHOWN = 64, NAME_BYTES = 64 };

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

static json_t *json_time(int64_t wall_ms)
{
    char text[TIMESTAMP_BYTES];
    timestamp_format(text, wall_ms);
    return json_stringn(text, sizeof text);
}

static json_t *json_optional_time(bool is_there, int64_t wall_ms)
{
    return is_there ? json_time(wall_ms) : json_null();
}

/* ---- one variant ---- */

/* {"accept-encoding":"br","x-v":null}: what each name of Vary had in the request that this one answered. */
static json_t *json_vary(struct span names, struct span variant)
{
    json_t *all = json_object();
    struct span name, value;
    while (policy_vary_next(&names, &variant, &name, &value)) {
        json_t *one = value.p != NULL ? admin_json_bytes(value) : json_null();
        json_object_setn_new(all, name.p, name.len, one);
    }
    return all;
}

/* Age as it came: what is left of the initial age without the delay, unless the apparent age took its place
 * (RFC 9111 section 4.2.3, judge.c). */
static json_t *json_age_value(const struct response_facts *f)
{
    int64_t delay_ms = MAX(f->response_ms - f->request_ms, 0);
    int64_t rest_ms = f->initial_age_ms - delay_ms;
    return rest_ms >= 0 && rest_ms % 1000 == 0 ? json_integer(rest_ms / 1000) : json_null();
}

/* RFC 9111 sections 4.2.1 and 4.2.3, by its own names. */
static json_t *json_lifetime(const struct stored_head *h, int64_t now_ms)
{
    const struct response_facts *f = &h->facts;
    int64_t date_ms = h->validators.date_s * 1000;
    return json_pack(
        "{s:o,s:o,s:o,s:o,s:f,s:f,s:f,s:f,s:f,s:f,s:s,s:s?,s:f}", "date",
        json_optional_time(h->validators.date_s >= 0, date_ms), "request_time", json_time(f->request_ms),
        "response_time", json_time(f->response_ms), "age_value_s", json_age_value(f), "response_delay_s",
        seconds(MAX(f->response_ms - f->request_ms, 0)), "apparent_age_s",
        h->validators.date_s >= 0 ? seconds(MAX(f->response_ms - date_ms, 0)) : 0.0,
        "corrected_initial_age_s", seconds(f->initial_age_ms), "resident_time_s",
        seconds(MAX(now_ms - f->response_ms, 0)), "current_age_s", seconds(facts_age_ms(f, now_ms)),
        "freshness_lifetime_s", seconds(f->lifetime_ms), "lifetime_from", facts_lifetime_source(f),
        "lifetime_field", facts_lifetime_field(f), "ttl_s", seconds(facts_ttl_ms(f, now_ms)));
}

static json_t *json_forbidden(uint32_t flags)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {
        {FACT_NO_CACHE, "no-cache"}, {FACT_MUST_REVALIDATE, "must-revalidate"}, {FACT_S_MAXAGE, "s-maxage"}};
    json_t *all = json_array();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (flags & names[i].flag)
            json_array_append_new(all, json_string(names[i].name));
    return all;
}

/* How long behind its lifetime it may be served, for each cause, and until when. What a client itself
 * welcomes (STALE_WANTED) has no window. */
static json_t *json_stale(const struct config_route *route, const struct response_facts *f, int64_t now_ms)
{
    static const char *const causes[] = {[STALE_REVALIDATING] = "while_revalidate",
                                         [STALE_ERROR] = "if_error",
                                         [STALE_DISCONNECTED] = "if_disconnected",
                                         [STALE_OVERLOADED] = "if_overloaded"};
    uint32_t forbidden = policy_stale_forbidden(route, f);
    json_t *all = json_pack("{s:o}", "forbidden_by", json_forbidden(forbidden));
    for (size_t i = 0; i < ARRAY_LEN(causes); i++) {
        if (causes[i] == NULL)
            continue;
        int64_t window_ms = policy_stale_window_ms(route, f, (enum stale_cause)i);
        bool may = forbidden == 0 && window_ms > 0;
        int64_t until_ms = now_ms + facts_ttl_ms(f, now_ms) + window_ms;
        json_t *one = json_pack(
            "{s:o,s:o,s:b}", "window_s", window_ms >= 0 ? json_real(seconds(window_ms)) : json_null(),
            "until", json_optional_time(may, until_ms), "now",
            facts_ttl_ms(f, now_ms) <= 0 && policy_may_serve_stale(route, f, now_ms, (enum stale_cause)i));
        json_object_set_new(all, causes[i], one);
    }
    return all;
}

static json_t *json_variant(const struct explain *e, const struct stored_head *h, uint64_t length,
                            bool in_memory, bool on_disk, bool selected)
{
    int64_t now_ms = e->seen.now_ms;
    json_t *length_json = length != LENGTH_UNKNOWN ? json_integer((json_int_t)length) : json_null();
    return json_pack(
        "{s:b,s:b,s:b,s:i,s:o,s:o,s:o,s:o,s:o,s:o}", "selected", selected, "in_memory", in_memory, "on_disk",
        on_disk, "status", (int)h->facts.status, "length", length_json, "vary",
        json_vary(h->names, h->variant), "etag",
        h->validators.etag.len > 0 ? admin_json_bytes(h->validators.etag) : json_null(), "last_modified",
        h->validators.last_modified.len > 0 ? admin_json_bytes(h->validators.last_modified) : json_null(),
        "lifetime", json_lifetime(h, now_ms), "stale", json_stale(e->route, &h->facts, now_ms));
}

static const struct explain_record *record_of(const struct explain *e, const struct object *o)
{
    for (uint32_t i = 0; i < e->n_records; i++)
        if (e->records[i].id == object_disk_id(o))
            return &e->records[i];
    return NULL;
}

static bool is_in_memory(const struct explain *e, const struct explain_record *r)
{
    for (uint32_t i = 0; i < e->seen.n_variants; i++)
        if (object_disk_id(e->seen.variants[i]) == r->id)
            return true;
    return false;
}

/* What memory has, newest first, then what only the disk has. */
static json_t *json_variants(const struct explain *e)
{
    json_t *all = json_array();
    for (uint32_t i = 0; i < e->seen.n_variants; i++) {
        const struct object *o = e->seen.variants[i];
        json_array_append_new(all, json_variant(e, object_head(o), object_length(o), true,
                                                record_of(e, o) != NULL, o == e->seen.selected));
    }
    for (uint32_t i = 0; i < e->n_records; i++) {
        const struct explain_record *r = &e->records[i];
        bool selected = r->selected && e->seen.selected == NULL;
        if (!is_in_memory(e, r))
            json_array_append_new(all, json_variant(e, r->head, r->length, false, true, selected));
    }
    return all;
}

/* ---- flights, and what is remembered ---- */

struct flights {
    struct span key;
    struct flight_info items[FLIGHTS_SHOWN];
    uint32_t n;
};

/* Under the flights' lock. */
static void note_flight(void *ctx, const struct flight_info *info)
{
    struct flights *all = ctx;
    if (all->n < FLIGHTS_SHOWN && span_eq(info->key, all->key))
        all->items[all->n++] = *info;
}

static json_t *json_flights(const struct explain *e)
{
    struct flights found = {.key = buf_span(&e->key)};
    json_t *all = json_array();
    flight_each_asking(note_flight, &found);
    for (uint32_t i = 0; i < found.n; i++) {
        const struct flight_info *f = &found.items[i];
        json_array_append_new(all,
                              json_pack("{s:s,s:f,s:I,s:I}", "state", f->state, "age_s", f->age_s, "waiters",
                                        (json_int_t)f->waiters, "bytes", (json_int_t)f->bytes));
    }
    return all;
}

/* "CONNECT_TIMEOUT" as a reason: "connect_timeout". */
static json_t *json_error(int err)
{
    char text[NAME_BYTES];
    const char *name = err_name(err);
    size_t n = MIN(strlen(name), sizeof text);
    for (size_t i = 0; i < n; i++)
        text[i] = ascii_lower(name[i]);
    return json_stringn(text, n);
}

/* Requests for the key that are remembered, and with which one it goes to disk. */
static json_t *json_admission(const struct explain *e)
{
    if (!e->seen.counts_requests)
        return json_null();
    return json_pack("{s:I,s:I}", "asked", (json_int_t)e->seen.asked, "after",
                     (json_int_t)e->route->admit_after);
}

static json_t *json_remembered(const struct cache_seen *s)
{
    static const char *const names[MARK_KINDS] = {
        [MARK_UNCACHEABLE] = "uncacheable", [MARK_TOO_LARGE] = "too_large", [MARK_ERROR] = "error"};
    if (s->mark == MARK_NONE)
        return json_null();
    return json_pack("{s:s,s:o,s:f}", "what", names[s->mark], "error",
                     s->mark == MARK_ERROR ? json_error(s->mark_err) : json_null(), "for_s",
                     seconds((int64_t)s->mark_left_ms));
}

/* ---- what would happen ---- */

struct would {
    const char *what;
    json_t *why;
    int status; /* of an answer of our own; 0: it is none */
};

static json_t *json_why_not(int err, enum limit_name limit)
{
    enum refusal_reason refusal = refusal_reason_of(err, limit);
    return refusal != REFUSED_NONE ? json_string(refusal_reason_name(refusal)) : json_error(err);
}

static const char *action_name(const struct config_route *route)
{
    static const char *const names[] = {[ACTION_PROXY] = "proxy",
                                        [ACTION_REDIRECT] = "redirect",
                                        [ACTION_ANSWER] = "answer",
                                        [ACTION_DENY] = "deny"};
    return names[route->action];
}

static struct would would_look_up(const struct cache_seen *s)
{
    const struct choice *c = &s->choice;
    struct would w = {0};
    switch (c->kind) {
    case CHOICE_HIT:
        w.what = "hit";
        w.why = json_null();
        break;
    case CHOICE_STALE:
        w.what = c->refreshes && !s->is_refreshed ? "stale_and_refresh" : "stale";
        w.why = c->err != 0 ? json_why_not(c->err, c->limit) : json_string(miss_reason_name(c->reason));
        break;
    case CHOICE_FETCH:
        w.what = s->joins ? "join" : s->validates ? "validate" : "fetch";
        w.why = json_string(miss_reason_name(c->reason));
        break;
    case CHOICE_ALONE:
        w.what = "alone";
        w.why = json_string(pass_reason_name(c->passed));
        break;
    case CHOICE_FAIL:
        w.what = refusal_reason_of(c->err, c->limit) != REFUSED_NONE ? "refuse" : "error";
        w.why = json_why_not(c->err, c->limit);
        w.status = err_status(c->err);
        break;
    }
    return w;
}

static struct would would(const struct explain *e)
{
    const struct request_verdict *v = &e->verdict;
    switch (v->kind) {
    case REQUEST_REFUSE:
        return (struct would){"refuse", json_why_not(v->err, 0), err_status(v->err)};
    case REQUEST_FIXED:
        return (struct would){"answer", json_string(action_name(e->route)), (int)e->route->status};
    case REQUEST_OPTIONS:
        return (struct would){"answer", json_string("options"), 200};
    case REQUEST_PASS:
        return (struct would){"pass", json_string(pass_reason_name(v->why)), 0};
    case REQUEST_SOLO:
    case REQUEST_LOOKUP:
        break;
    }
    return would_look_up(&e->seen);
}

static json_t *json_sorted(const struct request_verdict *v)
{
    static const char *const kinds[] = {
        [REQUEST_LOOKUP] = "lookup",  [REQUEST_SOLO] = "alone",   [REQUEST_PASS] = "pass",
        [REQUEST_OPTIONS] = "answer", [REQUEST_FIXED] = "answer", [REQUEST_REFUSE] = "refuse"};
    json_t *why = v->kind == REQUEST_REFUSE ? json_why_not(v->err, 0)
                  : v->why != PASSED_NONE   ? json_string(pass_reason_name(v->why))
                                            : json_null();
    return json_pack("{s:s,s:o}", "as", kinds[v->kind], "why", why);
}

static json_t *json_key(struct span key)
{
    if (key.len == 0)
        return json_null();
    struct buf text = {0};
    policy_key_show(&text, key);
    json_t *shown = text.failed ? NULL : admin_json_bytes(buf_span(&text));
    buf_fini(&text);
    return shown;
}

static json_t *json_varies_on(const struct cache_seen *s)
{
    struct span names = buf_span(&s->names);
    json_t *all = s->names_known ? json_array() : json_null();
    while (names.len > 0) {
        const char *comma = memchr(names.p, ',', names.len);
        size_t n = comma != NULL ? (size_t)(comma - names.p) : names.len;
        json_array_append_new(all, json_stringn(names.p, n));
        names = span_from(names, n + 1);
    }
    return all;
}

json_t *explain_show(const struct explain *e)
{
    const struct cache_seen *s = &e->seen;
    struct would w = would(e);
    const struct config_origin *origin = &e->config->origins[e->route->origin];
    return json_pack("{s:o,s:o,s:o,s:s?,s:s,s:o,s:o,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:o}", "now",
                     json_time(s->now_ms), "method", admin_json_bytes(e->head.method_text), "url",
                     admin_json_bytes(e->head.target), "route", e->route->name, "origin", origin->name, "key",
                     json_key(buf_span(&e->key)), "sorted", json_sorted(&e->verdict), "would", w.what, "why",
                     w.why, "status", w.status != 0 ? json_integer(w.status) : json_null(), "retry_after_s",
                     s->choice.retry_after_s > 0 ? json_integer(s->choice.retry_after_s) : json_null(),
                     "remembered", json_remembered(s), "admission", json_admission(e), "varies_on",
                     json_varies_on(s), "variants", json_variants(e), "left_out",
                     (json_int_t)(s->left_out + e->records_left_out), "flights", json_flights(e));
}
