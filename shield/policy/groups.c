#include "shield/policy/groups.h"

#include "common/sf.h"

static bool is_list_of_strings(const struct http_head *h, struct span name)
{
    struct sf_it it = {0};
    struct sf_member m;
    if (sf_count(h, name, SF_LIST) <= 0)
        return false;
    while (sf_next(h, name, SF_LIST, &it, &m))
        if (m.value.type != SF_STRING)
            return false;
    return true;
}

static void put_groups(const struct http_head *h, struct span name, struct buf *out)
{
    struct sf_it it = {0};
    struct sf_member m;
    if (!is_list_of_strings(h, name))
        return;
    while (sf_next(h, name, SF_LIST, &it, &m)) {
        if (!buf_reserve(out, m.value.text.len + 1))
            return;
        out->len += sf_string_copy(&m.value, out->p + out->len);
        buf_put_lit(out, "\n");
    }
}

void policy_groups(const struct http_head *response, struct buf *out)
{
    put_groups(response, SPAN("Cache-Groups"), out);
}

void policy_invalidated_groups(enum http_method request_method, const struct http_head *response,
                               struct buf *out)
{
    if (!http_method_is_safe(request_method))
        put_groups(response, SPAN("Cache-Group-Invalidation"), out);
}
