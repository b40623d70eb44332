#include "shield/policy/stored_block.h"

#include "common/http1.h"

bool stored_block_parse(struct stored_block *out, struct span block_and_crlf)
{
    struct http1_limits limits = {
        .max_head = UINT32_MAX, .max_fields = STORED_FIELDS_MAX, .max_url = UINT32_MAX};
    struct http1_scan scan = {0};
    out->head = (struct http_head){.fields = out->fields, .cap_fields = STORED_FIELDS_MAX};
    return http1_parse_response(&scan, block_and_crlf.p, block_and_crlf.len, &limits, &out->head).status ==
           HTTP1_HEAD;
}

bool stored_block_next(struct span *rest, struct span *line, struct span *name, enum http_field_id *id)
{
    if (rest->len == 0)
        return false;
    const char *lf = memchr(rest->p, '\n', rest->len);
    *line = (struct span){rest->p, lf != NULL ? (size_t)(lf - rest->p) + 1 : rest->len};
    const char *colon = memchr(line->p, ':', line->len);
    *name = (struct span){line->p, colon != NULL ? (size_t)(colon - line->p) : 0};
    *id = http_field_id(*name);
    *rest = span_from(*rest, line->len);
    return true;
}
