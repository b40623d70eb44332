#include "shield/policy/change_fields.h"

#include "common/err.h"

struct field_changes policy_request_changes(const struct config_route *route)
{
    return (struct field_changes){&route->request_set, &route->request_add, &route->request_remove};
}

struct field_changes policy_response_changes(const struct config_route *route)
{
    return (struct field_changes){&route->response_set, &route->response_add, &route->response_remove};
}

bool field_changes_drop(const struct field_changes *c, struct span name)
{
    for (uint32_t i = 0; c->set != NULL && i < c->set->n; i++)
        if (span_eq_nocase(name, span_of(c->set->items[i].name)))
            return true;
    for (uint32_t i = 0; c->remove != NULL && i < c->remove->n; i++)
        if (span_eq_nocase(name, span_of(c->remove->items[i])))
            return true;
    return false;
}

static void put(struct http_head *to, const struct http_field *f)
{
    to->fields[to->n_fields++] = *f;
    to->present |= UINT64_C(1) << f->id;
}

static void put_pairs(struct http_head *to, const struct config_pairs *pairs)
{
    for (uint32_t i = 0; i < pairs->n; i++) {
        struct span name = span_of(pairs->items[i].name);
        put(to, &(struct http_field){name, span_of(pairs->items[i].value), http_field_id(name)});
    }
}

int policy_change_fields(struct http_head *to, const struct http_head *from,
                         const struct field_changes *changes, struct arena *a)
{
    *to = *from;
    to->cap_fields = from->n_fields + changes->set->n + changes->add->n;
    to->fields = arena_alloc(a, (to->cap_fields + 1) * sizeof *to->fields);
    to->n_fields = 0;
    to->present = 0;
    if (to->fields == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < from->n_fields; i++)
        if (!field_changes_drop(changes, from->fields[i].name))
            put(to, &from->fields[i]);
    put_pairs(to, changes->set);
    put_pairs(to, changes->add);
    return 0;
}

void policy_put_new_fields(struct buf *out, const struct field_changes *changes)
{
    const struct config_pairs *lists[] = {changes->set, changes->add};
    for (size_t k = 0; k < 2; k++)
        for (uint32_t i = 0; lists[k] != NULL && i < lists[k]->n; i++)
            http_put_field(out, span_of(lists[k]->items[i].name), span_of(lists[k]->items[i].value));
}

void policy_put_block(struct buf *out, const struct http_head *response)
{
    buf_put_lit(out, "HTTP/1.1 ");
    buf_put_int(out, response->status);
    buf_put_lit(out, " ");
    buf_put_span(out, response->reason);
    buf_put_lit(out, "\r\n");
    for (uint32_t i = 0; i < response->n_fields; i++)
        http_put_field(out, response->fields[i].name, response->fields[i].value);
}
