/* A purge from anybody: a request as the admin port or the data port gets it, its content behind the head.
 * What is taken for an order is one that the purger can carry out, and its answer is JSON; what is not says
 * why. */
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "common/http1.h"
#include "shield/admin/admin_pages.h"
#include "shield/admin/purge_dialect.h"
#include "shield/purge/purge_method.h"
#include "shield/purge/purge_resolve.h"

enum { MAX_FIELDS = 64 };

static const struct config *settings(void)
{
    static struct config *cfg;
    if (cfg == NULL) {
        cfg = config_for_test();
        cfg->purge.max_items = 20;
        cfg->purge.max_item_bytes = 200;
    }
    return cfg;
}

static void check_order(const struct purge_order *o)
{
    struct arena arena = {0};
    struct buf records = {0};
    REQUIRE(o->n_items > 0 && o->n_items <= settings()->purge.max_items);
    REQUIRE(o->reference.len <= PURGE_REFERENCE_MAX && o->over_ms <= PURGE_OVER_MAX_MS);
    REQUIRE(purge_resolve(settings(), o, &arena, &records) == 0);
    arena_fini(&arena);
    buf_fini(&records);
}

static void check_json(json_t *value)
{
    REQUIRE(value != NULL);
    char *text = json_dumps(value, 0);
    REQUIRE(text != NULL);
    free(text);
    json_decref(value);
}

static void check_fault(const struct purge_draft *d)
{
    REQUIRE(d->err == ERR_SYNTAX || d->err == ERR_CONTENT_TOO_LARGE);
    REQUIRE(d->why.len > 0 && (d->err == ERR_CONTENT_TOO_LARGE) == (d->limit != DRAFT_WITHIN));
}

static void over_admin(const struct purge_dialect *dialect, const struct purge_words *words)
{
    struct purge_draft d;
    struct purge_order o;
    struct purge_receipt receipt = {.number = 7, .is_durable = true};
    purge_draft_init(&d, settings());
    if (dialect->read(words, &d) && purge_draft_refer_by(&d, words->head) && purge_draft_order(&d, &o)) {
        check_order(&o);
        check_json(dialect->receipt(words, &o, &receipt));
    } else {
        check_fault(&d);
        check_json(dialect->error(err_status(d.err), buf_span(&d.why)));
    }
    purge_draft_fini(&d);
}

static void over_data(const struct http_head *head, const struct http1_target *target)
{
    struct purge_draft d;
    struct purge_order o;
    purge_draft_init(&d, settings());
    if (purge_method_read(head, target, &d) && purge_draft_order(&d, &o))
        check_order(&o);
    else
        check_fault(&d);
    purge_draft_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_field fields[MAX_FIELDS];
    struct http1_limits limits = settings()->http_limits;
    limits.max_fields = MAX_FIELDS;
    struct http_head head = {.fields = fields, .cap_fields = MAX_FIELDS};
    struct http1_scan scan = {0};
    struct http1_target target;
    struct http1_result got = http1_parse_request(&scan, (const char *)data, size, &limits, &head);
    if (got.status != HTTP1_HEAD)
        return 0;
    http1_target(&head, &target);
    if (head.method == METHOD_PURGE || head.method == METHOD_SOFTPURGE || head.method == METHOD_BAN)
        over_data(&head, &target);
    struct span t = target.path_query;
    const char *mark = memchr(t.p, '?', t.len);
    struct span path = {t.p, mark != NULL ? (size_t)(mark - t.p) : t.len};
    if (admin_page_find(path) == NULL)
        return 0;
    struct purge_words words = {t, &head, {(const char *)data + got.head_bytes, size - got.head_bytes}};
    if (span_eq(path, SPAN("/purge")))
        over_admin(&purge_ours, &words);
    else if (span_starts(path, SPAN("/client/")))
        over_admin(&purge_cloudflare, &words);
    else if (span_starts(path, SPAN("/service/")) || span_starts(path, SPAN("/purge/")))
        over_admin(&purge_fastly, &words);
    return 0;
}
