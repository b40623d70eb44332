#include "shield/policy/upgrade.h"

static bool is_allowed(const struct config_route *route, struct span wanted, struct span *protocol)
{
    for (uint32_t i = 0; i < route->upgrade.n; i++) {
        *protocol = span_of(route->upgrade.items[i]);
        if (span_eq_nocase(wanted, *protocol))
            return true;
    }
    return false;
}

static bool says_upgrade(const struct http_head *head)
{
    return http_has(head, FIELD_UPGRADE) && http_connection_has(head, SPAN("upgrade"));
}

bool upgrade_wanted(const struct config_route *route, const struct http_head *request, struct span *protocol)
{
    struct http_list_it it = {0};
    struct span wanted;
    if (route->upgrade.n == 0 || request->method != METHOD_GET || request->minor == 0 ||
        !says_upgrade(request))
        return false;
    while (http_list_each(request, FIELD_UPGRADE, &it, &wanted))
        if (is_allowed(route, wanted, protocol))
            return true;
    *protocol = SPAN("");
    return false;
}

bool upgrade_is_granted(const struct http_head *answer, struct span protocol)
{
    struct http_list_it it = {0};
    struct span named;
    unsigned n = 0;
    if (answer->minor == 0 || !says_upgrade(answer) || http_has(answer, FIELD_TRANSFER_ENCODING) ||
        http_has(answer, FIELD_CONTENT_LENGTH))
        return false;
    while (http_list_each(answer, FIELD_UPGRADE, &it, &named))
        if (++n > 1 || !span_eq_nocase(named, protocol))
            return false;
    return n == 1;
}

void upgrade_put(struct buf *out, struct span protocol)
{
    buf_put_lit(out, "Connection: upgrade\r\n");
    http_put_field(out, SPAN("Upgrade"), protocol);
}
