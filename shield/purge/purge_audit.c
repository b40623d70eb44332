#include "shield/purge/purge_audit.h"

#include <inttypes.h>

#include "common/err.h"
#include "common/units.h"
#include "shield/ops/log.h"

static void put_kinds(struct buf *out, const struct purge_order *o)
{
    static const char *const names[PURGE_KINDS] = {"urls", "prefixes", "tags", "hosts", "all"};
    size_t counts[PURGE_KINDS] = {0};
    for (size_t i = 0; i < o->n_items; i++)
        counts[o->items[i].kind]++;
    for (int k = 0; k < PURGE_KINDS; k++)
        if (counts[k] > 0)
            buf_printf(out, " %s=%zu", names[k], counts[k]);
}

static void put_order(struct buf *out, struct span who, const struct purge_order *o)
{
    buf_printf(out, " by=%.*s", SPAN_FMT(who));
    put_kinds(out, o);
    buf_printf(out, " mode=%s", o->is_soft ? "soft" : "hard");
    if (o->over_ms > 0) {
        buf_put_lit(out, " over=");
        units_put_duration_ms(out, o->over_ms);
    }
}

void purge_audit(struct span who, const struct purge_order *o, const struct purge_receipt *r)
{
    struct buf line = {0};
    if (r->err == 0)
        buf_printf(&line, " number=%" PRIu64, r->number);
    put_order(&line, who, o);
    if (r->err == 0)
        buf_printf(&line, " durable=%s repeated=%s", r->is_durable ? "yes" : "no",
                   r->is_repeat ? "yes" : "no");
    else
        buf_printf(&line, " failed=\"%s\"", err_text(r->err));
    if (o->reference.len > 0)
        buf_printf(&line, " reference=\"%.*s\"", SPAN_FMT(o->reference));
    bool is_fine = r->err == 0 && r->is_durable;
    log_write(is_fine ? LOG_INFO : LOG_WARN, "purge:%.*s", SPAN_FMT(buf_span(&line)));
    buf_fini(&line);
}
