#include "shield/policy/forward.h"

#include "common/http_date.h"
#include "shield/policy/stale.h"
#include "shield/policy/upgrade.h"
#include "shield/policy/withheld.h"

static const uint64_t never_stored =
    1ull << FIELD_CONTENT_LENGTH | 1ull << FIELD_AGE | 1ull << FIELD_TRANSFER_ENCODING;

/* What a 304 leaves as it is (RFC 9111 section 3.2). The body is stored as it was coded, and the variant was
 * chosen by that: a 304 cannot code it anew. */
static const uint64_t never_updated = 1ull << FIELD_CONTENT_LENGTH | 1ull << FIELD_CONTENT_ENCODING |
                                      1ull << FIELD_CONTENT_RANGE | 1ull << FIELD_AGE |
                                      1ull << FIELD_TRANSFER_ENCODING;

static bool is_one_of(uint64_t set, enum http_field_id id)
{
    return id != FIELD_OTHER && (set >> id & 1);
}

static void put_status_line(struct buf *out, const struct http_head *response)
{
    buf_put_lit(out, "HTTP/1.1 ");
    buf_put_int(out, response->status);
    buf_put_lit(out, " ");
    buf_put_span(out, response->reason);
    buf_put_lit(out, "\r\n");
}

/* Upstream's Via lines as one, and ours behind them with the version that upstream spoke (RFC 9110
 * section 7.6.3). */
static void put_via(struct buf *out, const struct config *cfg, const struct http_head *response)
{
    buf_put_lit(out, "Via: ");
    for (uint32_t i = 0; i < response->n_fields; i++) {
        if (response->fields[i].id != FIELD_VIA || response->fields[i].value.len == 0)
            continue;
        buf_put_span(out, response->fields[i].value);
        buf_put_lit(out, ", ");
    }
    buf_put_span(out, response->minor == 0 ? SPAN("1.0 ") : SPAN("1.1 "));
    buf_put_span(out, span_of(cfg->node_id));
    buf_put_lit(out, "\r\n");
}

static void put_date(struct buf *out, int64_t now_s)
{
    char date[HTTP_DATE_BYTES];
    http_date_format(date, now_s);
    http_put_field(out, SPAN("Date"), (struct span){date, sizeof date});
}

void policy_store_block(struct buf *out, const struct config *cfg, const struct http_head *response,
                        bool strip_set_cookie, int64_t now_s)
{
    uint64_t dropped = never_stored | 1ull << FIELD_VIA;
    if (strip_set_cookie)
        dropped |= 1ull << FIELD_SET_COOKIE;
    struct withheld withheld;
    withheld_read(response, &withheld);
    put_status_line(out, response);
    for (uint32_t i = 0; i < response->n_fields; i++) {
        const struct http_field *f = &response->fields[i];
        if (!is_one_of(dropped, f->id) && !http_is_hop_by_hop(response, f) && !withheld_has(&withheld, f))
            http_put_field(out, f->name, f->value);
    }
    if (!http_has(response, FIELD_DATE)) /* RFC 9110 section 6.6.1 */
        put_date(out, now_s);
    put_via(out, cfg, response);
}

static void put_interim(struct buf *out, const struct config *cfg, const struct http_head *interim)
{
    put_status_line(out, interim);
    for (uint32_t i = 0; i < interim->n_fields; i++) {
        const struct http_field *f = &interim->fields[i];
        bool is_ours = f->id == FIELD_VIA || f->id == FIELD_CONTENT_LENGTH; /* section 8.6: never in a 1xx */
        if (!is_ours && !http_is_hop_by_hop(interim, f))
            http_put_field(out, f->name, f->value);
    }
    put_via(out, cfg, interim);
}

void policy_interim_head(struct buf *out, const struct config *cfg, const struct http_head *interim)
{
    put_interim(out, cfg, interim);
    buf_put_lit(out, "\r\n");
}

void policy_switching_head(struct buf *out, const struct config *cfg, const struct http_head *answer,
                           struct span protocol)
{
    struct cache_status status = {.fwd = FWD_BYPASS};
    put_interim(out, cfg, answer);
    upgrade_put(out, protocol);
    buf_put_lit(out, "Cache-Status: ");
    policy_put_cache_status(out, cfg, &status);
    buf_put_lit(out, "\r\n\r\n");
}

/* Whether `not_modified` has something to put in the place of a stored field. */
static bool is_replaced(const struct http_head *not_modified, const struct http_field *stored)
{
    if (is_one_of(never_updated, stored->id))
        return false;
    if (stored->id == FIELD_DATE)
        return true;
    if (stored->id != FIELD_OTHER && !http_has(not_modified, stored->id))
        return false;
    for (uint32_t i = 0; i < not_modified->n_fields; i++) {
        const struct http_field *f = &not_modified->fields[i];
        bool is_namesake =
            f->id == stored->id && (f->id != FIELD_OTHER || span_eq_nocase(f->name, stored->name));
        if (is_namesake && !http_is_hop_by_hop(not_modified, f))
            return true;
    }
    return false;
}

void policy_update_block(struct buf *out, const struct config *cfg, const struct http_head *stored,
                         const struct http_head *not_modified, int64_t now_s)
{
    put_status_line(out, stored);
    for (uint32_t i = 0; i < stored->n_fields; i++)
        if (!is_replaced(not_modified, &stored->fields[i]) && !policy_is_stale_mark(&stored->fields[i]))
            http_put_field(out, stored->fields[i].name, stored->fields[i].value);
    for (uint32_t i = 0; i < not_modified->n_fields; i++) {
        const struct http_field *f = &not_modified->fields[i];
        if (f->id != FIELD_VIA && !is_one_of(never_updated, f->id) && !http_is_hop_by_hop(not_modified, f))
            http_put_field(out, f->name, f->value);
    }
    if (!http_has(not_modified, FIELD_DATE)) /* else a past Expires would live on from the old one */
        put_date(out, now_s);
    if (http_has(not_modified,
                 FIELD_VIA)) /* it took the place of the stored one, with our own member in it */
        put_via(out, cfg, not_modified);
}

void policy_strip_block(struct buf *out, const struct http_head *stored, bool strip_set_cookie)
{
    struct withheld withheld;
    withheld_read(stored, &withheld);
    put_status_line(out, stored);
    for (uint32_t i = 0; i < stored->n_fields; i++) {
        const struct http_field *f = &stored->fields[i];
        bool is_stripped = strip_set_cookie && f->id == FIELD_SET_COOKIE;
        if (!is_stripped && !withheld_has(&withheld, f))
            http_put_field(out, f->name, f->value);
    }
}
