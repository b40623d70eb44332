#include "shield/policy/stale.h"

#include "common/check.h"
#include "common/err.h"
#include "common/http_date.h"

uint32_t policy_stale_forbidden(const struct config_route *route, const struct response_facts *facts)
{
    uint32_t forbidding = FACT_MUST_REVALIDATE | FACT_NO_CACHE;
    if (route->stale.obey_s_maxage)
        forbidding |= FACT_S_MAXAGE;
    return facts->flags & forbidding;
}

int64_t policy_stale_window_ms(const struct config_route *route, const struct response_facts *facts,
                               enum stale_cause cause)
{
    int64_t sie_ms = route->stale.if_error_ms >= 0 ? route->stale.if_error_ms : facts->sie_ms;
    int64_t swr_ms = route->stale.while_revalidate_ms >= 0 ? route->stale.while_revalidate_ms : facts->swr_ms;
    switch (cause) {
    case STALE_REVALIDATING:
        return swr_ms;
    case STALE_ERROR:
        break;
    case STALE_WANTED:
        return INT64_MAX;
    case STALE_DISCONNECTED:
        return MAX(sie_ms, (int64_t)route->stale.if_disconnected_ms);
    case STALE_OVERLOADED:
        return MAX(MAX(sie_ms, swr_ms), (int64_t)route->stale.if_overloaded_ms);
    }
    return sie_ms;
}

bool policy_may_serve_stale(const struct config_route *route, const struct response_facts *facts,
                            int64_t now_ms, enum stale_cause cause)
{
    return policy_stale_forbidden(route, facts) == 0 &&
           -facts_ttl_ms(facts, now_ms) <= policy_stale_window_ms(route, facts, cause);
}

bool policy_may_hide_error(const struct config_route *route, const struct response_facts *facts,
                           int64_t now_ms, int err)
{
    if (err_is_no_answer(err))
        return policy_may_serve_stale(route, facts, now_ms, STALE_DISCONNECTED);
    if (err == ERR_SERVER_ERROR || err == ERR_UNAVAILABLE)
        return policy_may_serve_stale(route, facts, now_ms, STALE_ERROR);
    bool overloaded = err == ERR_BUSY || err == ERR_QUEUE_TIMEOUT;
    return overloaded && policy_may_serve_stale(route, facts, now_ms, STALE_OVERLOADED);
}

bool policy_is_server_error(int status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

static bool is_lifetime(struct span directive)
{
    static const struct span names[] = {
        {"max-age", 7}, {"s-maxage", 8}, {"stale-while-revalidate", 22}, {"stale-if-error", 14}};
    struct span name = {directive.p, 0};
    while (name.len < directive.len && directive.p[name.len] != '=' && directive.p[name.len] != ';')
        name.len++;
    name = span_trim(name);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (span_eq_nocase(name, names[i]))
            return true;
    return false;
}

/* All lines of the field as one, in the place of the first. */
static void put_directives(struct buf *out, const struct http_head *stored, enum http_field_id id,
                           int64_t max_age_s)
{
    struct http_list_it it = {0};
    struct span directive;
    buf_put_span(out, http_field_name(id));
    buf_put_lit(out, ": max-age=");
    buf_put_int(out, max_age_s);
    while (http_list_each(stored, id, &it, &directive)) {
        if (is_lifetime(directive))
            continue;
        buf_put_lit(out, ", ");
        buf_put_span(out, directive);
    }
    buf_put_lit(out, "\r\n");
}

static bool has_directives(enum http_field_id id)
{
    return id == FIELD_CACHE_CONTROL || id == FIELD_CDN_CACHE_CONTROL || id == FIELD_SURROGATE_CONTROL ||
           id == FIELD_SHIELD_CACHE_CONTROL;
}

/* nginx obeys this before Cache-Control, and does not pass it on. It is in every stale answer: an nginx with
 * proxy_cache_revalidate takes a 304 with max-age=0 for one without a lifetime, and gives its copy once more
 * the lifetime it first came with. A moment long past, in seconds since 1970 and not 0, keeps the copy
 * expired. */
static const struct span nginx_lifetime = {"X-Accel-Expires", 15};
static const struct span long_past = {"@1", 2};

bool policy_is_stale_mark(const struct http_field *field)
{
    return span_eq_nocase(field->name, nginx_lifetime) && span_eq(field->value, long_past);
}

static void put_with_lifetime(struct buf *out, const struct http_head *stored, int64_t max_age_s,
                              struct span date)
{
    uint64_t done = 0;
    buf_put_lit(out, "HTTP/1.1 ");
    buf_put_int(out, stored->status);
    buf_put_lit(out, " ");
    buf_put_span(out, stored->reason);
    buf_put_lit(out, "\r\n");
    for (uint32_t i = 0; i < stored->n_fields; i++) {
        const struct http_field *f = &stored->fields[i];
        if (has_directives(f->id)) {
            if (!(done >> f->id & 1))
                put_directives(out, stored, f->id, max_age_s);
            done |= 1ull << f->id;
        } else if (f->id == FIELD_EXPIRES) {
            if (max_age_s == 0)
                http_put_field(out, f->name, date);
        } else if (f->id == FIELD_DATE) {
            http_put_field(out, f->name, date);
        } else if (!span_eq_nocase(f->name, nginx_lifetime)) {
            http_put_field(out, f->name, f->value);
        }
    }
    if (!http_has(stored, FIELD_CACHE_CONTROL)) /* its lifetime was a guess, or a targeted field's */
        put_directives(out, stored, FIELD_CACHE_CONTROL, max_age_s);
}

void policy_stale_block(struct buf *out, const struct http_head *stored)
{
    put_with_lifetime(out, stored, 0, http_value(stored, FIELD_DATE));
    http_put_field(out, nginx_lifetime, long_past);
}

void policy_edge_block(struct buf *out, const struct http_head *stored, uint64_t edge_ttl_ms, int64_t now_s)
{
    char date[HTTP_DATE_BYTES];
    http_date_format(date, now_s);
    put_with_lifetime(out, stored, (int64_t)(edge_ttl_ms / 1000), (struct span){date, sizeof date});
}
