#include "shield/request/exchange_impl.h"

#include "common/check.h"
#include "common/err.h"

/* Request content on its way to the origin. What the client sends is collected in one buffer while the other
 * is being written, so that a slow origin stops the client after CONTENT_BYTES_MAX and not before. */
enum { CONTENT_BYTES_MAX = 64 * 1024 };

static bool has_room(const struct exchange *ex)
{
    return ex->waiter.flight != NULL && ex->alone && flight_has_room(ex->waiter.flight);
}

void content_pump(struct exchange *ex)
{
    while (!ex->content_finished && has_room(ex)) {
        if (ex->content_in.len > 0) {
            struct buf filled = ex->content_in;
            ex->content_in = ex->content_out;
            ex->content_in.len = 0;
            ex->content_out = filled;
            flight_write(ex->waiter.flight, filled.p, filled.len);
        } else if (ex->content_ended) {
            ex->content_finished = true;
            flight_finish_content(ex->waiter.flight);
        } else {
            break;
        }
    }
    if (ex->content_full && ex->content_in.len < CONTENT_BYTES_MAX) {
        ex->content_full = false;
        ex->owner->on_content_room(ex->ctx);
    }
}

void content_on_room(void *ctx)
{
    content_pump(ctx);
}

bool exchange_content(struct exchange *ex, const char *p, size_t n)
{
    REQUIRE(!ex->content_ended);
    if (ex->purging != NULL) /* means nothing */
        return true;
    buf_put(&ex->content_in, p, n);
    if (ex->content_in.failed) {
        exchange_fail(ex, ERR_NOMEM);
        return true;
    }
    ex->content_full = ex->content_in.len >= CONTENT_BYTES_MAX;
    if (!has_room(ex))
        return !ex->content_full;
    bool told = ex->content_full;
    ex->content_full = false; /* the caller hears it from the return value, not through on_content_room */
    content_pump(ex);
    ex->content_full = told && ex->content_in.len >= CONTENT_BYTES_MAX;
    return !ex->content_full;
}

void exchange_content_end(struct exchange *ex)
{
    ex->content_ended = true;
    if (ex->state == EX_WAITING)
        exchange_start_patience(ex);
    content_pump(ex);
}
