#include "shield/policy/forward.h"

#include "common/check.h"

static const char *fwd_token(enum cache_status_fwd fwd) /* RFC 9211 section 2.2 */
{
    switch (fwd) {
    case FWD_NONE:
        break;
    case FWD_BYPASS:
        return "bypass";
    case FWD_METHOD:
        return "method";
    case FWD_URI_MISS:
        return "uri-miss";
    case FWD_VARY_MISS:
        return "vary-miss";
    case FWD_MISS:
        return "miss";
    case FWD_REQUEST:
        return "request";
    case FWD_STALE:
        return "stale";
    case FWD_PARTIAL:
        return "partial";
    }
    return NULL;
}

/* An sf-string (RFC 9651 section 3.3.3), which holds printable ASCII only: other bytes as %XX. */
static void put_sf_string(struct buf *out, struct span s)
{
    buf_put_lit(out, "\"");
    for (size_t i = 0; i < s.len; i++) {
        unsigned char b = (unsigned char)s.p[i];
        if (b == '"' || b == '\\')
            buf_put_lit(out, "\\");
        if (b < 0x20 || b > 0x7e)
            buf_printf(out, "%%%02X", b);
        else
            buf_put(out, &s.p[i], 1);
    }
    buf_put_lit(out, "\"");
}

void policy_put_cache_status(struct buf *out, const struct config *cfg, const struct cache_status *s)
{
    const char *fwd = fwd_token(s->fwd);
    buf_put_span(out, span_of(cfg->node_id));
    if (s->hit)
        buf_put_lit(out, "; hit");
    if (fwd != NULL) {
        buf_put_lit(out, "; fwd=");
        buf_put_span(out, span_of(fwd));
    }
    if (s->fwd_status != 0) {
        buf_put_lit(out, "; fwd-status=");
        buf_put_int(out, s->fwd_status);
    }
    if (s->has_ttl) {
        buf_put_lit(out, "; ttl=");
        buf_put_int(out, s->ttl_s);
    }
    if (s->stored)
        buf_put_lit(out, "; stored");
    if (s->collapsed != 0)
        buf_put_span(out, s->collapsed > 0 ? SPAN("; collapsed") : SPAN("; collapsed=?0"));
    if (s->key.len > 0) {
        buf_put_lit(out, "; key=");
        put_sf_string(out, s->key);
    }
    if (s->detail != NULL) {
        buf_put_lit(out, "; detail=");
        buf_put_span(out, span_of(s->detail));
    }
}

/* The proxy error types of RFC 9209 section 2.3 that fit our codes best. */
static const char *const proxy_errors[ERR_COUNT] = {
    [ERR_NOMEM] = "proxy_internal_error",
    [ERR_BUSY] = "proxy_internal_response",
    [ERR_QUEUE_TIMEOUT] = "connection_limit_reached",
    [ERR_WAIT_TIMEOUT] = "http_response_timeout",
    [ERR_HEAD_TIMEOUT] = "http_response_timeout",
    [ERR_BODY_TIMEOUT] = "connection_read_timeout",
    [ERR_CONNECT_TIMEOUT] = "connection_timeout",
    [ERR_CONNECT] = "connection_refused",
    [ERR_RESET] = "connection_terminated",
    [ERR_DNS] = "dns_error",
    [ERR_DOWN] = "destination_unavailable",
    [ERR_CONNECTIONS] = "connection_limit_reached",
    [ERR_ADDRESS_CONNECTIONS] = "http_request_denied",
    [ERR_ADDRESS_REQUESTS] = "http_request_denied",
    [ERR_PROTOCOL] = "http_protocol_error",
    [ERR_TRUNCATED] = "http_response_incomplete",
    [ERR_SERVER_ERROR] = "destination_unavailable",
    [ERR_UNAVAILABLE] = "destination_unavailable",
    [ERR_PRIVATE_ERROR] = "destination_unavailable",
    [ERR_PRIVATE_UNAVAILABLE] = "destination_unavailable",
    [ERR_PURGED] = "proxy_internal_response",
    [ERR_GONE] = "http_request_error",
    [ERR_CLIENT_TIMEOUT] = "http_request_error",
    [ERR_BAD_REQUEST] = "http_request_error",
    [ERR_HEAD_TOO_LARGE] = "http_request_error",
    [ERR_TOO_MANY_FIELDS] = "http_request_error",
    [ERR_URI_TOO_LONG] = "http_request_error",
    [ERR_CONTENT_TOO_LARGE] = "http_request_error",
    [ERR_NOT_IMPLEMENTED] = "proxy_internal_response",
    [ERR_METHOD] = "http_request_error",
    [ERR_EXPECTATION] = "http_request_error",
    [ERR_VERSION] = "proxy_internal_response",
    [ERR_MISDIRECTED] = "http_request_error",
    [ERR_FORBIDDEN] = "http_request_denied",
    [ERR_EDGE_SECRET] = "http_request_denied",
    [ERR_LOOP] = "proxy_loop_detected",
    [ERR_NOT_FOUND] = "http_request_error",
    [ERR_NOT_STORED] = "proxy_internal_response",
    [ERR_IO] = "proxy_internal_error",
    [ERR_CORRUPT] = "proxy_internal_error",
    [ERR_FULL] = "proxy_internal_error",
    [ERR_LOCKED] = "proxy_internal_error",
    [ERR_SYNTAX] = "http_request_error",
    [ERR_RANGE] = "http_request_error",
    [ERR_SYSTEM] = "proxy_internal_error",
};

void policy_put_own_error(struct buf *out, const struct config *cfg, int err, uint32_t retry_after_s,
                          const char *details)
{
    REQUIRE(err > 0 && err < ERR_COUNT && proxy_errors[err] != NULL);
    buf_put_lit(out, "Proxy-Status: ");
    buf_put_span(out, span_of(cfg->node_id));
    buf_put_lit(out, "; error=");
    buf_put_span(out, span_of(proxy_errors[err]));
    if (details != NULL) {
        buf_put_lit(out, "; details=");
        put_sf_string(out, span_of(details));
    }
    buf_put_lit(out, "\r\n");
    if (retry_after_s == 0)
        return;
    buf_put_lit(out, "Retry-After: ");
    buf_put_uint(out, retry_after_s);
    buf_put_lit(out, "\r\n");
}
