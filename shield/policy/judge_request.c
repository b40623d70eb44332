#include "shield/policy/judge.h"

#include "common/http1.h"
#include "shield/policy/cache_control.h"
#include "shield/policy/conditional.h"
#include "shield/policy/upgrade.h"

bool policy_may_answer(const struct http_head *request, const struct response_facts *facts)
{
    return !http_has(request, FIELD_AUTHORIZATION) || (facts->flags & FACT_AUTH_MAY_SHARE);
}

/* The request's directives, where they are obeyed; Pragma counts where there is no Cache-Control. */
static bool read_wishes(const struct config *cfg, const struct http_head *request, struct cache_control *out)
{
    if (cfg->client.cache_control == CLIENT_CC_IGNORE)
        return false;
    cache_control_read(request, out);
    if (http_has(request, FIELD_CACHE_CONTROL))
        return true;
    if (!http_list_has(request, FIELD_PRAGMA, SPAN("no-cache")))
        return false;
    out->flags |= CC_NO_CACHE;
    return true;
}

enum request_wish policy_wish(const struct config *cfg, const struct http_head *request,
                              const struct response_facts *facts, int64_t now_ms)
{
    struct cache_control asked;
    if (!read_wishes(cfg, request, &asked))
        return WISH_NONE;
    int64_t ttl_ms = facts_ttl_ms(facts, now_ms);
    bool is_stale = ttl_ms <= 0, takes_stale = asked.max_stale_s != CC_ABSENT;
    if (asked.flags & (CC_NO_CACHE | CC_NO_CACHE_FIELDS))
        return WISH_VALIDATED;
    if (asked.max_age_s != CC_ABSENT &&
        (facts_age_ms(facts, now_ms) > asked.max_age_s * 1000 || (is_stale && !takes_stale)))
        return WISH_VALIDATED;
    if (asked.min_fresh_s != CC_ABSENT && ttl_ms < asked.min_fresh_s * 1000)
        return WISH_VALIDATED;
    if (!is_stale || !takes_stale)
        return WISH_NONE;
    bool of_any_age = asked.max_stale_s == CC_DELTA_MAX;
    return of_any_age || ttl_ms >= -asked.max_stale_s * 1000 ? WISH_STALE : WISH_VALIDATED;
}

bool policy_only_if_cached(const struct config *cfg, const struct http_head *request)
{
    struct cache_control asked;
    return read_wishes(cfg, request, &asked) && (asked.flags & CC_ONLY_IF_CACHED);
}

static bool wants_no_storing(const struct config *cfg, const struct http_head *request)
{
    struct cache_control asked;
    return read_wishes(cfg, request, &asked) && (asked.flags & CC_NO_STORE);
}

/* Whether one of the cdn-ids in a line of CDN-Loop is `ours`. Commas separate even inside quotes: an open
 * quote sent by a client, with our member joined on behind it, must not hide the loop. */
static bool line_names_us(struct span line, struct span ours)
{
    while (line.len > 0) {
        const char *comma = memchr(line.p, ',', line.len);
        struct span member = {line.p, comma != NULL ? (size_t)(comma - line.p) : line.len};
        line = span_from(line, member.len + 1);
        const char *parameters = member.len > 0 ? memchr(member.p, ';', member.len) : NULL;
        if (parameters != NULL)
            member.len = (size_t)(parameters - member.p);
        if (span_eq_nocase(span_trim(member), ours))
            return true;
    }
    return false;
}

/* RFC 8586 section 2. */
static bool has_passed_here(const struct config *cfg, const struct http_head *request)
{
    struct span ours = span_of(cfg->node_pseudonym);
    for (uint32_t i = 0; i < request->n_fields; i++)
        if (request->fields[i].id == FIELD_CDN_LOOP && line_names_us(request->fields[i].value, ours))
            return true;
    return false;
}

static struct span without_port(struct span host)
{
    for (size_t i = host.len; i > 0; i--) {
        char c = host.p[i - 1];
        if (c == ':')
            return (struct span){host.p, i - 1};
        if (c < '0' || c > '9')
            break;
    }
    return host;
}

static bool is_host_served(const struct config *cfg, const struct http_head *request)
{
    if (cfg->hosts == NULL || cfg->hosts[0] == NULL)
        return true;
    struct http1_target target;
    http1_target(request, &target);
    for (char **h = cfg->hosts; *h != NULL; h++) {
        struct span served = span_of(*h);
        if (span_eq_nocase(target.host, served) || span_eq_nocase(without_port(target.host), served))
            return true;
    }
    return false;
}

/* RFC 9110 section 7.6.2. */
static bool may_not_go_further(const struct http_head *request)
{
    int64_t left;
    return request->method == METHOD_OPTIONS &&
           delta_seconds_parse(http_value(request, FIELD_MAX_FORWARDS), &left) && left == 0;
}

/* RFC 9110 section 10.1.1: 100-continue is all that anybody knows, and what is forwarded carries no
 * expectation. One of HTTP/1.0 is ignored. */
static bool expects_more(const struct http_head *request)
{
    struct http_list_it it = {0};
    struct span item;
    while (request->minor > 0 && http_list_each(request, FIELD_EXPECT, &it, &item))
        if (!span_eq_nocase(item, SPAN("100-continue")))
            return true;
    return false;
}

static int why_refused(const struct config *cfg, const struct http_head *request)
{
    enum http_method m = request->method;
    bool purges = m == METHOD_PURGE || m == METHOD_SOFTPURGE || m == METHOD_BAN;
    if (m == METHOD_CONNECT || m == METHOD_TRACE || purges)
        return ERR_METHOD;
    if (expects_more(request))
        return ERR_EXPECTATION;
    if (http_has(request, FIELD_CDN_LOOP) && has_passed_here(cfg, request))
        return ERR_LOOP;
    if (!is_host_served(cfg, request))
        return ERR_MISDIRECTED;
    return 0;
}

static void settle(struct request_verdict *out, enum request_kind kind, enum pass_reason why)
{
    out->kind = kind;
    out->why = why;
}

void policy_sort_request(const struct config *cfg, const struct http_head *request, bool has_content,
                         struct request_verdict *out)
{
    bool is_get = request->method == METHOD_GET || request->method == METHOD_HEAD;
    *out = (struct request_verdict){.err = why_refused(cfg, request)};
    if (out->err != 0)
        out->kind = REQUEST_REFUSE;
    else if (may_not_go_further(request))
        out->kind = REQUEST_OPTIONS;
    else if (!is_get || has_content)
        settle(out, REQUEST_PASS, is_get ? PASSED_CONTENT : PASSED_METHOD);
    else if (http_has(request, FIELD_AUTHORIZATION))
        settle(out, REQUEST_SOLO, PASSED_AUTHORIZATION);
    else if (policy_has_origin_condition(request))
        settle(out, REQUEST_SOLO, PASSED_CONDITION);
    else if (wants_no_storing(cfg, request))
        settle(out, REQUEST_SOLO, PASSED_NO_STORE);
    else
        out->kind = REQUEST_LOOKUP;
}

void policy_pass_by(struct request_verdict *v, enum pass_reason why)
{
    if (v->kind == REQUEST_LOOKUP || v->kind == REQUEST_SOLO)
        settle(v, REQUEST_PASS, why);
}

void policy_sort_by_route(const struct config_route *route, const struct http_head *request,
                          struct request_verdict *v)
{
    bool may_switch = v->kind == REQUEST_LOOKUP || v->kind == REQUEST_SOLO; /* it has no content */
    if (v->kind != REQUEST_REFUSE && route->action != ACTION_PROXY)
        settle(v, REQUEST_FIXED, PASSED_NONE);
    else if (may_switch && upgrade_wanted(route, request, &v->upgrade))
        policy_pass_by(v, PASSED_UPGRADE);
    else if (route->cache == CACHE_OFF)
        policy_pass_by(v, PASSED_ROUTE);
}

bool policy_invalidates(enum http_method request_method, int status)
{
    return !http_method_is_safe(request_method) && status >= 200 && status < 400;
}
