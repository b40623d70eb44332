#include "bench/waits.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/units.h"

enum { SLOTS = 1 << 14 }; /* fetches looked at: numbers follow each other, so the newest have room */

struct slot {
    uint64_t fetch, first_ns, last_ns; /* last_ns 0: nobody is served yet */
};

struct waits {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

void waits_put_field(struct buf *out, uint64_t fetch, uint64_t sent_ns)
{
    buf_printf(out, WAITS_FIELD ": %" PRIu64 "; sent=%" PRIu64 "\r\n", fetch, sent_ns);
}

bool waits_parse_field(struct span value, uint64_t *fetch, uint64_t *sent_ns)
{
    const char *semicolon = value.len > 0 ? memchr(value.p, ';', value.len) : NULL;
    if (semicolon == NULL)
        return false;
    struct span number = {value.p, (size_t)(semicolon - value.p)};
    struct span sent = span_trim(span_from(value, number.len + 1));
    return units_parse_uint(number, fetch) && span_starts(sent, SPAN("sent=")) &&
           units_parse_uint(span_from(sent, 5), sent_ns);
}

struct waits *waits_new(void)
{
    struct waits *w = calloc(1, sizeof *w);
    if (w != NULL && pthread_mutex_init(&w->lock, NULL) != 0) {
        free(w);
        return NULL;
    }
    return w;
}

void waits_free(struct waits *w)
{
    if (w == NULL)
        return;
    pthread_mutex_destroy(&w->lock);
    free(w);
}

void waits_first(struct waits *w, struct wait *one, uint64_t fetch, uint64_t now_ns)
{
    struct slot *s = &w->slots[fetch % SLOTS];
    pthread_mutex_lock(&w->lock);
    if (fetch > s->fetch) {
        *s = (struct slot){.fetch = fetch, .first_ns = now_ns};
        *one = (struct wait){.fetch = fetch, .leads = true};
    } else if (fetch == s->fetch) {
        *one = (struct wait){.fetch = fetch,
                             .late_us = now_ns > s->first_ns ? (now_ns - s->first_ns) / 1000 : 0};
    }
    pthread_mutex_unlock(&w->lock);
}

bool waits_last(struct waits *w, const struct wait *one, uint64_t now_ns, uint64_t *late_us)
{
    struct slot *s = &w->slots[one->fetch % SLOTS];
    if (one->fetch == 0)
        return false;
    pthread_mutex_lock(&w->lock);
    bool is_known = s->fetch == one->fetch;
    if (is_known && s->last_ns == 0)
        s->last_ns = now_ns;
    *late_us = is_known && now_ns > s->last_ns ? (now_ns - s->last_ns) / 1000 : 0;
    pthread_mutex_unlock(&w->lock);
    return is_known && !one->leads;
}
