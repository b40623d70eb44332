#include "bench/edge_request.h"

#include "common/check.h"

enum { RANGE_MAX_BYTES = 64 * 1024 };

static const char *const methods[] = {[EDGE_GET] = "GET", [EDGE_HEAD] = "HEAD"};

void edge_request_draw(struct edge *e)
{
    const struct edges_config *config = e->thread->run->config;
    const struct schedule *s = &e->thread->run->schedule;
    e->n = schedule_key(s, e->i);
    e->aborts = !e->slow && schedule_is_among(s, DRAW_ABORT, e->i, config->abort);
    e->asks_range = schedule_is_among(s, DRAW_RANGE, e->i, config->range);
    if (e->asks_range) {
        e->range_first = schedule_draw(s, DRAW_RANGE_FIRST, e->i) % config->range_of;
        uint64_t longest = MIN(config->range_of - e->range_first, (uint64_t)RANGE_MAX_BYTES);
        e->range_last = e->range_first + schedule_draw(s, DRAW_RANGE_LENGTH, e->i) % longest;
    }
}

/* The name in a line of "Name: value". */
static struct span name_of(struct span field)
{
    const char *colon = memchr(field.p, ':', field.len); /* checked with the options */
    return (struct span){field.p, (size_t)(colon - field.p)};
}

bool edge_request_asks_part(const struct edge *e)
{
    const struct flag_list *fields = &e->thread->run->config->fields;
    for (uint32_t i = 0; i < fields->n; i++)
        if (span_eq_nocase(name_of(fields->item[i]), SPAN("Range")))
            return true;
    return e->asks_range;
}

bool edge_request_variant(const struct edge *e, struct span *name, struct span *value)
{
    struct span vary = e->thread->run->config->vary;
    if (vary.len == 0)
        return false;
    *name = name_of(vary);
    struct span values = span_from(vary, name->len + 1);
    uint64_t n = 1;
    for (size_t k = 0; k < values.len; k++)
        n += values.p[k] == '|';
    for (uint64_t turn = e->i % n + 1; turn > 0; turn--) {
        const char *bar = memchr(values.p, '|', values.len);
        *value = (struct span){values.p, bar != NULL ? (size_t)(bar - values.p) : values.len};
        values = span_from(values, MIN(value->len + 1, values.len));
    }
    *value = span_trim(*value);
    return true;
}

/* Fields beyond those of all requests. */
static void put_more(const struct edge *e, struct buf *out)
{
    const struct edges_config *config = e->thread->run->config;
    struct span name, value;
    if (config->identities > 0)
        buf_printf(
            out, "User-Agent: shield-bench edge-%llu\r\n",
            (unsigned long long)((e->number + (e->opens - 1) * config->connections) % config->identities));
    if (edge_request_variant(e, &name, &value))
        buf_printf(out, "%.*s: %.*s\r\n", SPAN_FMT(name), SPAN_FMT(value));
    if (e->asks_range)
        buf_printf(out, "Range: bytes=%llu-%llu\r\n", (unsigned long long)e->range_first,
                   (unsigned long long)e->range_last);
}

void edge_request_put(const struct edge *e, struct buf *out)
{
    const struct edge_run *run = e->thread->run;
    struct buf more = {0};
    put_more(e, &more);
    target_put_request(&run->target, methods[run->config->method], e->n, &run->config->fields,
                       buf_span(&more), out);
    out->failed |= more.failed;
    buf_fini(&more);
}
