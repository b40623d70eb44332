#include "shield/warm/warm_order.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/warm/sitemap.h"
#include "shield/warm/warm_request.h"

enum { SHOWN_BYTES = 200 };

void warm_order_init(struct warm_order *o, const struct config *cfg)
{
    *o = (struct warm_order){.config = cfg, .pace = WARM_PACE, .n_variants = 1, .variants = {SPAN("")}};
}

void warm_order_fini(struct warm_order *o)
{
    buf_fini(&o->why);
    buf_fini(&o->urls);
    buf_fini(&o->maps);
    arena_fini(&o->arena);
}

/* ---- faults ---- */

bool warm_order_fault(struct warm_order *o, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if (o->err != 0)
        return false;
    o->err = ERR_SYNTAX;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_printf(&o->why, "%s", text);
    return false;
}

bool warm_order_nomem(struct warm_order *o)
{
    o->err = ERR_NOMEM;
    return false;
}

static bool too_many(struct warm_order *o)
{
    warm_order_fault(o, "more than %llu requests; split the list, or raise warm.max_urls",
                     (unsigned long long)o->config->warm.max_urls);
    o->err = ERR_CONTENT_TOO_LARGE;
    return false;
}

/* Whether a client could ask so; else *why. Returns 0, ERR_SYNTAX or ERR_NOMEM. */
static int try(const struct warm_order *o, struct span url, struct span lines, const char **why)
{
    struct warm_request r = {0};
    int err = warm_request_make(&r, &o->config->http_limits, url, lines, why);
    warm_request_fini(&r);
    return err;
}

/* ---- adding ---- */

bool warm_order_add_variant(struct warm_order *o, struct span lines)
{
    const char *why;
    if (o->err != 0)
        return false;
    if (o->has_variants && o->n_variants == WARM_VARIANTS_MAX)
        return warm_order_fault(o, "headers: at most %d sets", WARM_VARIANTS_MAX);
    int err = try(o, SPAN("http://localhost/"), lines, &why);
    if (err == ERR_SYNTAX)
        return warm_order_fault(o, "headers: no client may send them: %s", why);
    struct span copy = arena_span(&o->arena, lines);
    if (err != 0 || copy.p == NULL)
        return warm_order_nomem(o);
    if (!o->has_variants)
        o->n_variants = 0;
    o->has_variants = true;
    o->variants[o->n_variants++] = copy;
    return true;
}

/* One more in `list`, which is one of o's. */
static bool add(struct warm_order *o, struct buf *list, struct span url, const char *where, size_t index)
{
    const char *why;
    int err = try(o, url, o->variants[0], &why);
    if (err == ERR_SYNTAX) {
        struct span shown = {url.p, MIN(url.len, (size_t)SHOWN_BYTES)};
        const char *more = shown.len < url.len ? "..." : "";
        return warm_order_fault(o, "%s[%zu]: '%.*s%s' %s", where, index, SPAN_FMT(shown), more, why);
    }
    struct span copy = arena_span(&o->arena, url);
    if (err == 0 && copy.p != NULL)
        buf_put(list, &copy, sizeof copy);
    return (err == 0 && copy.p != NULL && !list->failed) || warm_order_nomem(o);
}

bool warm_order_add_url(struct warm_order *o, struct span url, const char *where, size_t index)
{
    if (o->err != 0)
        return false;
    if ((warm_order_urls(o) + 1) * o->n_variants > o->config->warm.max_urls)
        return too_many(o);
    return add(o, &o->urls, url, where, index);
}

bool warm_order_add_map(struct warm_order *o, struct span url, const char *where, size_t index)
{
    if (o->err != 0)
        return false;
    if (warm_order_maps(o) >= o->config->warm.max_urls)
        return too_many(o);
    return add(o, &o->maps, url, where, index);
}

static bool add_location(void *ctx, enum sitemap_item item, struct span url, size_t index)
{
    return item == SITEMAP_URL ? warm_order_add_url(ctx, url, "loc", index)
                               : warm_order_add_map(ctx, url, "loc", index);
}

bool warm_order_add_listed(struct warm_order *o, struct span text)
{
    const char *why = sitemap_each(text, add_location, o);
    return why == NULL ? o->err == 0 : warm_order_fault(o, "the sitemap %s", why);
}

/* ---- looking ---- */

size_t warm_order_urls(const struct warm_order *o)
{
    return o->urls.len / sizeof(struct span);
}

size_t warm_order_requests(const struct warm_order *o)
{
    return warm_order_urls(o) * o->n_variants;
}

struct span warm_order_url(const struct warm_order *o, size_t i)
{
    return ((const struct span *)(const void *)o->urls.p)[i];
}

size_t warm_order_maps(const struct warm_order *o)
{
    return o->maps.len / sizeof(struct span);
}

struct span warm_order_map(const struct warm_order *o, size_t i)
{
    return ((const struct span *)(const void *)o->maps.p)[i];
}
