#include "shield/policy/forward.h"

#include "common/check.h"
#include "shield/policy/cache_control.h"
#include "shield/policy/change_fields.h"
#include "shield/policy/key_parts.h"
#include "shield/policy/language.h"
#include "shield/policy/unkeyed.h"
#include "shield/policy/upgrade.h"
#include "shield/policy/vary.h"

static const uint64_t condition_fields = 1ull << FIELD_IF_MATCH | 1ull << FIELD_IF_UNMODIFIED_SINCE |
                                         1ull << FIELD_IF_NONE_MATCH | 1ull << FIELD_IF_MODIFIED_SINCE |
                                         1ull << FIELD_IF_RANGE;

/* Ours replace the client's: what asks whether a stored response, or a part of it, is still good. */
static const uint64_t validation_fields = 1ull << FIELD_IF_NONE_MATCH | 1ull << FIELD_IF_MODIFIED_SINCE |
                                          1ull << FIELD_IF_RANGE | 1ull << FIELD_RANGE;

/* Rebuilt here, or meant for us. */
static const uint64_t rebuilt_fields = 1ull << FIELD_HOST | 1ull << FIELD_CONTENT_LENGTH | 1ull << FIELD_TE |
                                       1ull << FIELD_TRANSFER_ENCODING | 1ull << FIELD_EXPECT |
                                       1ull << FIELD_VIA | 1ull << FIELD_CDN_LOOP;

bool policy_has_unkeyed_input(const struct http_head *request)
{
    for (uint32_t i = 0; i < request->n_fields; i++)
        if (unkeyed_input(&request->fields[i]))
            return true;
    return false;
}

static bool is_cacheable_method(struct span method)
{
    return span_eq(method, SPAN("GET")) || span_eq(method, SPAN("HEAD"));
}

static bool is_changed(const struct forward_request *r, struct span name)
{
    struct field_changes changes = policy_request_changes(r->route);
    return field_changes_drop(&changes, name);
}

static bool is_validation(const struct forward_request *r)
{
    return r->etag.len > 0 || r->last_modified.len > 0;
}

static bool is_encoding_normal(const struct config *cfg, const struct forward_request *r)
{
    return r->mode != FORWARD_PASS && cfg->cache.normalise_encoding;
}

/* What the request brings may answer others: what is not keyed stays here. */
static bool is_for_cache(const struct forward_request *r)
{
    return r->mode != FORWARD_PASS || is_cacheable_method(r->method);
}

static bool has_keyed_cookies(const struct forward_request *r)
{
    return r->route->key.cookies.n > 0 && is_for_cache(r);
}

static uint64_t keyed_fields(const struct config_route *route)
{
    uint64_t keyed = 0;
    for (uint32_t i = 0; i < route->key.headers.n; i++)
        keyed |= 1ull << http_field_id(span_of(route->key.headers.items[i]));
    return keyed;
}

static bool is_address(struct span client_ip)
{
    return client_ip.len > 0 && !span_eq(client_ip, SPAN("unix:"));
}

/* The known fields of the client's head that do not go upstream as they came. */
static uint64_t dropped_fields(const struct config *cfg, const struct forward_request *r)
{
    uint64_t dropped = rebuilt_fields;
    if (r->mode == FORWARD_SHARED)
        dropped |= condition_fields | 1ull << FIELD_RANGE | 1ull << FIELD_AUTHORIZATION;
    if (is_for_cache(r))
        dropped |= unkeyed_fields & ~keyed_fields(r->route);
    if (has_keyed_cookies(r))
        dropped |= 1ull << FIELD_COOKIE;
    if (r->route->key.scheme)
        dropped |= 1ull << FIELD_X_FORWARDED_PROTO;
    if (is_validation(r))
        dropped |= validation_fields;
    if (r->resumes)
        dropped |= condition_fields | 1ull << FIELD_RANGE;
    if (is_encoding_normal(cfg, r))
        dropped |= 1ull << FIELD_ACCEPT_ENCODING;
    if (is_address(r->client_ip))
        dropped |= 1ull << FIELD_X_FORWARDED_FOR;
    return dropped;
}

/* A field without an id that an origin may answer by, or take for one that we rebuild, drop or key: of those
 * only what is spelt as it should be reaches it. */
static bool is_dropped_name(const struct forward_request *r, const struct http_field *f)
{
    enum http_field_id meant = unkeyed_spelling(f->name);
    if (meant != FIELD_OTHER && (rebuilt_fields >> meant & 1))
        return true;
    return is_for_cache(r) && (meant != FIELD_OTHER || unkeyed_input(f)) &&
           !policy_keys_header(r->route, f->name);
}

/* A class is our word to the origin, and a client's own is one more unkeyed input. */
static bool is_dropped_class(const struct forward_request *r, struct span name)
{
    return policy_is_class_field(name) && (policy_has_class_field(r->route, name) ||
                                           (is_for_cache(r) && !policy_keys_header(r->route, name)));
}

/* RFC 9110 section 7.6.2: counted down for OPTIONS; other methods may leave it alone, and an invalid one is
 * left too. */
static void put_max_forwards(struct buf *out, const struct http_head *head, const struct http_field *f)
{
    int64_t left;
    if (head->method != METHOD_OPTIONS || !delta_seconds_parse(f->value, &left) || left == 0) {
        http_put_field(out, f->name, f->value);
        return;
    }
    buf_put_lit(out, "Max-Forwards: ");
    buf_put_int(out, left - 1);
    buf_put_lit(out, "\r\n");
}

/* Accept-Language where it has a normal form to go in; what is not well formed has none. */
static void put_normal_languages(struct buf *out, const struct config *cfg, const struct forward_request *r,
                                 uint64_t *dropped)
{
    struct buf normal = {0};
    bool wanted = cfg->cache.normalise_language && r->mode != FORWARD_PASS;
    if (wanted && policy_put_languages(r->head, &normal)) {
        http_put_field(out, SPAN("Accept-Language"), buf_span(&normal));
        *dropped |= 1ull << FIELD_ACCEPT_LANGUAGE;
    }
    out->failed |= normal.failed;
    buf_fini(&normal);
}

static void put_client_fields(struct buf *out, const struct config *cfg, const struct forward_request *r)
{
    uint64_t dropped = dropped_fields(cfg, r);
    put_normal_languages(out, cfg, r, &dropped);
    for (uint32_t i = 0; i < r->head->n_fields; i++) {
        const struct http_field *f = &r->head->fields[i];
        if ((f->id != FIELD_OTHER && (dropped >> f->id & 1)) || http_is_hop_by_hop(r->head, f) ||
            is_changed(r, f->name))
            continue;
        if (f->id == FIELD_OTHER && (is_dropped_name(r, f) || is_dropped_class(r, f->name)))
            continue;
        if (f->id == FIELD_MAX_FORWARDS)
            put_max_forwards(out, r->head, f);
        else
            http_put_field(out, f->name, f->value);
    }
}

/* "Name: what came, in its order, ": the caller appends one member and the end of the line. */
static void put_list_so_far(struct buf *out, const struct http_head *head, enum http_field_id id)
{
    buf_put_span(out, http_field_name(id));
    buf_put_lit(out, ": ");
    if (!http_has(head, id))
        return;
    for (uint32_t i = 0; i < head->n_fields; i++) {
        if (head->fields[i].id != id || head->fields[i].value.len == 0)
            continue;
        buf_put_span(out, head->fields[i].value);
        buf_put_lit(out, ", ");
    }
}

static void put_line(struct buf *out, const char *name, struct span value)
{
    http_put_field(out, span_of(name), value);
}

/* As the key has it. */
static void put_keyed_fields(struct buf *out, const struct config *cfg, const struct forward_request *r)
{
    if (has_keyed_cookies(r) && !is_changed(r, SPAN("Cookie")))
        policy_put_keyed_cookies(out, r->route, r->head);
    if (r->route->key.scheme)
        put_line(out, "X-Forwarded-Proto", policy_scheme(cfg, r->head, r->client_ip));
    policy_put_classes(out, r->route, r->head);
}

static void put_path_fields(struct buf *out, const struct config *cfg, const struct forward_request *r)
{
    put_list_so_far(out, r->head,
                    FIELD_VIA); /* with the version that the client spoke: RFC 9110 section 7.6.3 */
    buf_put_span(out, r->head->minor == 0 ? SPAN("1.0 ") : SPAN("1.1 "));
    buf_put_span(out, span_of(cfg->node_id));
    buf_put_lit(out, "\r\n");

    put_list_so_far(out, r->head, FIELD_CDN_LOOP);
    buf_put_span(out, span_of(cfg->node_pseudonym));
    buf_put_lit(out, "\r\n");

    if (is_address(r->client_ip)) {
        put_list_so_far(out, r->head, FIELD_X_FORWARDED_FOR);
        buf_put_span(out, r->client_ip);
        buf_put_lit(out, "\r\n");
    }
}

static void put_framing(struct buf *out, const struct forward_request *r)
{
    if (r->content == BODY_CHUNKED) {
        put_line(out, "Transfer-Encoding", SPAN("chunked"));
        return;
    }
    bool is_told_empty = r->mode == FORWARD_PASS && http_has(r->head, FIELD_CONTENT_LENGTH);
    if (r->content != BODY_LENGTH && !is_told_empty)
        return;
    buf_put_lit(out, "Content-Length: ");
    buf_put_uint(out, r->content == BODY_LENGTH ? r->content_length : 0);
    buf_put_lit(out, "\r\n");
}

/* RFC 9111 section 4.3.1; for the rest of a broken transfer RFC 9110 section 13.1.5. */
static void put_validators(struct buf *out, const struct forward_request *r)
{
    if (r->resumes) {
        buf_put_lit(out, "Range: bytes=");
        buf_put_uint(out, r->resume_at);
        buf_put_lit(out, "-\r\n");
        put_line(out, "If-Range", r->etag.len > 0 ? r->etag : r->last_modified);
        return;
    }
    if (r->etag.len > 0)
        put_line(out, "If-None-Match", r->etag);
    if (r->last_modified.len > 0)
        put_line(out, "If-Modified-Since", r->last_modified);
}

/* As it is keyed: an answer that shows it would else be one client's spelling, for everybody. */
static void put_host(struct buf *out, struct span host)
{
    buf_put_lit(out, "Host: ");
    policy_put_host(out, host);
    buf_put_lit(out, "\r\n");
}

void policy_forward_request(struct buf *out, const struct config *cfg, const struct forward_request *r)
{
    REQUIRE(!r->resumes || is_validation(r));
    REQUIRE((r->content == BODY_NONE && r->upgrade.len == 0) || r->mode == FORWARD_PASS);
    buf_put_span(out, r->method);
    buf_put_lit(out, " ");
    policy_put_path(out, r->path_query);
    buf_put_lit(out, " HTTP/1.1\r\n");
    put_host(out, r->host);
    put_client_fields(out, cfg, r);
    put_keyed_fields(out, cfg, r);
    /* none at all would accept any coding: RFC 9110 section 12.5.3 */
    if (is_encoding_normal(cfg, r) && !is_changed(r, SPAN("Accept-Encoding")))
        put_line(out, "Accept-Encoding", policy_accept_encoding(r->head));
    put_framing(out, r);
    if (r->upgrade.len > 0)
        upgrade_put(out, r->upgrade);
    put_path_fields(out, cfg, r);
    put_validators(out, r);
    struct field_changes changes =
        policy_request_changes(r->route); /* last: what it sets replaces whatever would go */
    policy_put_new_fields(out, &changes);
    buf_put_lit(out, "\r\n");
}
