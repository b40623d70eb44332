#include "shield/admin/admin_pages.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/admin/admin_explain.h"
#include "shield/admin/admin_json.h"
#include "shield/admin/admin_purge.h"
#include "shield/admin/admin_warm.h"
#include "shield/ops/metrics.h"
#include "shield/policy/key.h"

enum { LATER_MAX = 64 };
enum { FLIGHTS_SHOWN = 10000, FLIGHT_KEYS_BYTES = 16 * 1024 * 1024 }; /* of one /flights answer */

static const char text_type[] = "text/plain; charset=utf-8";

void admin_reply_text(struct admin_reply *out, int status, const char *why)
{
    *out = (struct admin_reply){.status = status, .type = text_type, .fields = ""};
    buf_printf(&out->body, "%s\n", why);
}

/* ---- metrics ---- */

/* The RAM tier counts for itself: the slot takes what has changed since the last look. */
static void refresh_gauges(struct admin_pages *p)
{
    struct ram_stats now;
    ram_get_stats(cache_ram(p->sources.cache), &now);
    struct metrics_slot *slot = p->loop->metrics;
    metric_move(slot, STORE_RAM_BYTES, (int64_t)(now.bytes - p->shown.bytes));
    metric_move(slot, STORE_RAM_OBJECTS, (int64_t)(now.objects - p->shown.objects));
    metric_move(slot, EVICTIONS_RAM, (int64_t)(now.evicted - p->shown.evicted));
    p->shown = now;
}

static void page_metrics(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    *out =
        (struct admin_reply){.status = 200, .fields = "", .type = "text/plain; version=0.0.4; charset=utf-8"};
    refresh_gauges(p);
    metrics_render(&out->body, p->loop->config);
}

/* ---- health ---- */

static void page_livez(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    admin_reply_text(out, 200, "ok");
}

static const char *unready_reason(const struct admin_sources *s)
{
    if (s->is_draining(s->ctx))
        return "draining: no new connections are taken";
    return s->is_ready(s->ctx) ? NULL : "not all listeners are open";
}

static const char *store_trouble(const struct admin_sources *s)
{
    return s->disk != NULL ? disk_trouble(s->disk) : NULL;
}

static void put_origins(const struct config *cfg, struct buf *out)
{
    for (uint32_t o = 0; o < cfg->n_origins; o++) {
        int64_t down = metrics_servers_down(o);
        if (down > 0)
            buf_printf(out, "[-]origin %s: %lld of %u servers down\n", cfg->origins[o].name, (long long)down,
                       (unsigned)cfg->origins[o].n_servers);
        else
            buf_printf(out, "[+]origin %s ok\n", cfg->origins[o].name);
    }
}

static void put_checks(const struct admin_sources *s, struct buf *out)
{
    const char *trouble = store_trouble(s);
    if (s->is_ready(s->ctx))
        buf_put_lit(out, "[+]listeners ok\n");
    else
        buf_put_lit(out, "[-]listeners: not all are open\n");
    if (s->is_draining(s->ctx))
        buf_put_lit(out, "[-]draining\n");
    if (trouble != NULL)
        buf_printf(out, "[-]store: %s\n", trouble);
    else
        buf_put_lit(out, "[+]store ok\n");
}

/* Trouble in the store does not make us unready: requests are served and collapsed without it. Nor does an
 * origin that is down: what is stored is served, and nobody else could reach it either. */
static void page_readyz(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    const char *why = unready_reason(&p->sources);
    *out = (struct admin_reply){.status = why == NULL ? 200 : 503, .type = text_type, .fields = ""};
    if (span_eq(query, SPAN("verbose")) || span_starts(query, SPAN("verbose="))) {
        put_checks(&p->sources, &out->body);
        put_origins(p->loop->config, &out->body);
    }
    buf_printf(&out->body, "%s\n", why == NULL ? "ok" : why);
}

/* ---- state ---- */

static json_t *json_ram(struct ram *r)
{
    struct ram_stats s;
    ram_get_stats(r, &s);
    return json_pack("{s:I,s:I,s:I}", "bytes", (json_int_t)s.bytes, "objects", (json_int_t)s.objects,
                     "evicted", (json_int_t)s.evicted);
}

static json_t *json_cache(struct cache *c)
{
    struct cache_stats s;
    cache_get_stats(c, &s);
    return json_pack("{s:I,s:I,s:I}", "entries", (json_int_t)s.entries, "marks", (json_int_t)s.marks,
                     "flights", (json_int_t)s.flights);
}

static json_t *json_metrics(const struct config *cfg)
{
    struct buf text = {0};
    metrics_render_json(&text, cfg);
    json_t *totals = text.failed ? NULL : json_loadb(text.p, text.len, 0, NULL);
    buf_fini(&text);
    return totals;
}

static void page_stats(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    const struct admin_sources *s = &p->sources;
    refresh_gauges(p);
    json_t *totals = json_metrics(p->loop->config);
    json_t *version = json_incref(json_object_get(totals, "version"));
    json_object_del(totals, "version");
    json_t *all =
        json_pack("{s:o,s:I,s:b,s:b,s:{s:b,s:s?},s:o,s:o,s:o,s:o}", /* a NULL in it gives a NULL */
                  "version", version, "uptime_s", (json_int_t)((clock_mono_ms() - p->started_ms) / 1000),
                  "ready", unready_reason(s) == NULL, "draining", s->is_draining(s->ctx), "store", "on_disk",
                  s->disk != NULL, "trouble", store_trouble(s), "cache", json_cache(s->cache), "ram",
                  json_ram(cache_ram(s->cache)), "warm", admin_warm_list(s->warmer), "metrics", totals);
    admin_reply_json(out, all);
}

/* ---- flights ---- */

struct flight_row {
    size_t key_at, key_bytes; /* in flight_list.keys */
    struct flight_info info;  /* its key is not ours */
};

struct flight_list {
    struct buf keys, rows;
    json_int_t left_out;
};

/* Under the flights' lock: copies and no more. */
static void note_flight(void *ctx, const struct flight_info *info)
{
    struct flight_list *l = ctx;
    struct flight_row row = {.key_at = l->keys.len, .info = *info};
    if (l->rows.len >= FLIGHTS_SHOWN * sizeof row || l->keys.len > FLIGHT_KEYS_BYTES) {
        l->left_out++;
        return;
    }
    policy_key_show(&l->keys, info->key);
    row.key_bytes = l->keys.len - row.key_at;
    buf_put(&l->rows, &row, sizeof row);
}

static json_t *json_flights(const struct flight_list *l)
{
    json_t *all = json_array();
    for (size_t at = 0; at < l->rows.len; at += sizeof(struct flight_row)) {
        const struct flight_row *row = (const struct flight_row *)(l->rows.p + at);
        const struct flight_info *i = &row->info;
        json_t *key = admin_json_bytes((struct span){l->keys.p + row->key_at, row->key_bytes});
        json_t *one = json_pack("{s:o,s:s,s:f,s:I,s:I}", "key", key, "state", i->state, "age_s", i->age_s,
                                "waiters", (json_int_t)i->waiters, "bytes", (json_int_t)i->bytes);
        if (json_array_append_new(all, one) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

static void page_flights(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    struct flight_list l = {0};
    flight_each_asking(note_flight, &l);
    bool whole = !l.keys.failed && !l.rows.failed;
    json_t *all = whole ? json_pack("{s:o}", "flights", json_flights(&l)) : NULL;
    if (l.left_out > 0 && all != NULL &&
        json_object_set_new(all, "left_out", json_integer(l.left_out)) != 0) {
        json_decref(all);
        all = NULL;
    }
    admin_reply_json(out, all);
    buf_fini(&l.keys);
    buf_fini(&l.rows);
}

/* ---- what changes how it runs ---- */

static void page_reload(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    struct buf why = {0};
    bool done = p->sources.reload(p->sources.ctx, &why);
    if (done)
        admin_reply_json(out, json_pack("{s:b}", "reloaded", 1));
    else
        admin_reply_json(out, json_pack("{s:o}", "error", admin_json_bytes(buf_span(&why))));
    out->status = done ? 200 : 409;
    buf_fini(&why);
}

static void page_drain(struct admin_pages *p, struct span query, struct admin_reply *out)
{
    p->sources.drain(p->sources.ctx);
    admin_reply_json(out, json_pack("{s:b}", "draining", 1));
}

/* ---- the table ---- */

struct admin_page {
    const char *path;  /* "*" is one segment, at the end "**" one or more */
    unsigned methods;  /* a bit for each; all but GET and HEAD may have content */
    const char *allow; /* and the field that says so */
    bool is_open;      /* to anybody who reaches the port; else it wants a right: */
    enum admin_scope scope;
    unsigned other_scopes; /* that will do as well */
    void (*answer)(struct admin_pages *p, struct span query, struct admin_reply *out);
    bool (*begin)(struct admin_pages *p, const struct admin_request *r, struct admin_later *later,
                  struct admin_reply *out); /* instead: the answer may come later */
    const struct purge_dialect *dialect;    /* instead: orders, written in this one */
};

#define MASK(method) BIT(METHOD_##method)
#define TAKES_GET    (MASK(GET) | MASK(HEAD)), "Allow: GET, HEAD\r\n"
#define TAKES_DELETE (MASK(GET) | MASK(HEAD) | MASK(DELETE)), "Allow: GET, HEAD, DELETE\r\n"
#define TAKES_POST   MASK(POST), "Allow: POST\r\n"
#define TAKES(m)     (MASK(POST) | MASK(m)), "Allow: POST, " #m "\r\n"

static const struct admin_page pages[] = {
    {"/metrics", TAKES_GET, .scope = SCOPE_READ, .answer = page_metrics},
    {"/livez", TAKES_GET, .is_open = true, .answer = page_livez},
    {"/readyz", TAKES_GET, .is_open = true, .answer = page_readyz},
    {"/healthz", TAKES_GET, .is_open = true, .answer = page_readyz},
    {"/stats", TAKES_GET, .scope = SCOPE_READ, .answer = page_stats},
    {"/flights", TAKES_GET, .scope = SCOPE_READ, .answer = page_flights},
    {"/explain", TAKES_GET, .scope = SCOPE_READ, .begin = admin_explain},
    {"/reload", TAKES_POST, .scope = SCOPE_CONFIG, .answer = page_reload},
    {"/drain", TAKES_POST, .scope = SCOPE_CONFIG, .answer = page_drain},
    {"/warm", TAKES_POST, .scope = SCOPE_CONFIG, .begin = admin_warm},
    {"/warm/*", TAKES_DELETE, .scope = SCOPE_READ, .other_scopes = SCOPE_CONFIG, .begin = admin_warm_one},
    {"/purge", TAKES_POST, .scope = SCOPE_PURGE_ALL, .dialect = &purge_ours},
    {"/purge/**", TAKES(PURGE), .scope = SCOPE_PURGE_ALL, .dialect = &purge_fastly},
    {"/service/*/purge", TAKES_POST, .scope = SCOPE_PURGE_ALL, .dialect = &purge_fastly},
    {"/service/*/purge/**", TAKES(PUT), .scope = SCOPE_PURGE_ALL, .dialect = &purge_fastly},
    {"/service/*/purge_all", TAKES(PUT), .scope = SCOPE_PURGE_ALL, .dialect = &purge_fastly},
    {"/client/v4/zones/*/purge_cache", TAKES(DELETE), .scope = SCOPE_PURGE_ALL, .dialect = &purge_cloudflare},
};

/* The next segment of a path, its slash before it; empty at the end. */
static struct span next_segment(struct span *path)
{
    size_t n = path->len > 0 ? 1 : 0;
    while (n < path->len && path->p[n] != '/')
        n++;
    struct span segment = {path->p, n};
    *path = span_from(*path, n);
    return segment;
}

static bool path_fits(struct span pattern, struct span path)
{
    while (pattern.len > 0) {
        if (span_eq(pattern, SPAN("/**")))
            return path.len > 1;
        struct span wanted = next_segment(&pattern), there = next_segment(&path);
        if (span_eq(wanted, SPAN("/*")) ? there.len < 2 : !span_eq(wanted, there))
            return false;
    }
    return path.len == 0;
}

const struct admin_page *admin_page_find(struct span path)
{
    for (size_t i = 0; i < ARRAY_LEN(pages); i++)
        if (path_fits(span_of(pages[i].path), path))
            return &pages[i];
    return NULL;
}

bool admin_page_is_open(const struct admin_page *page)
{
    return page != NULL && page->is_open;
}

void admin_page_refuse(const struct admin_page *page, struct admin_reply *out, int status, const char *why)
{
    if (page != NULL && page->dialect != NULL)
        admin_purge_refuse(page->dialect, out, status, span_of(why));
    else
        admin_reply_text(out, status, why);
}

const char *admin_page_token_field(const struct admin_page *page)
{
    return page != NULL && page->dialect != NULL ? page->dialect->token_field : NULL;
}

bool admin_page_permits(const struct admin_page *page, const struct admin_right *right,
                        struct admin_reply *out)
{
    unsigned any_purge = SCOPE_PURGE_URL | SCOPE_PURGE_TAG | SCOPE_PURGE_ALL;
    unsigned enough = page->scope == SCOPE_PURGE_ALL ? any_purge : page->scope | page->other_scopes;
    if (page->is_open || (right->scopes & enough) != 0)
        return true;
    admin_page_refuse(page, out, 403, admin_scope_fault(page->scope));
    out->fields = admin_scope_challenge(page->scope);
    return false;
}

bool admin_page_takes(const struct admin_page *page, const struct http_head *head, bool has_content,
                      struct admin_reply *out)
{
    if (head->method == METHOD_OTHER) {
        admin_page_refuse(page, out, 501, err_text(ERR_NOT_IMPLEMENTED));
    } else if (page == NULL) {
        admin_reply_text(out, 404,
                         "not found; there are /metrics /livez /readyz /healthz /stats /flights /explain "
                         "/purge /warm /reload /drain");
    } else if ((page->methods >> head->method & 1) == 0) {
        admin_page_refuse(page, out, 405, err_text(ERR_METHOD));
        out->fields = page->allow;
    } else if (has_content && page->methods == (MASK(GET) | MASK(HEAD))) {
        admin_reply_text(out, 413, "this page takes no content");
    } else {
        return true;
    }
    return false;
}

bool admin_page_answer(struct admin_pages *p, const struct admin_page *page, const struct admin_request *r,
                       struct admin_later *later, struct admin_reply *out)
{
    if (page->answer != NULL) {
        page->answer(p, r->query, out);
        return true;
    }
    if (p->n_later >= LATER_MAX) {
        admin_page_refuse(page, out, 503, "too many answers are being made; ask again in a moment");
        return true;
    }
    later->pages = p;
    bool is_there =
        page->dialect != NULL ? admin_purge(p, page->dialect, r, later, out) : page->begin(p, r, later, out);
    if (is_there)
        return true;
    p->n_later++;
    return false;
}

void admin_later_done(struct admin_later *later, struct admin_reply *reply)
{
    later->pages->n_later--;
    later->on_done(later, reply);
}
