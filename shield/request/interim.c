#include "shield/request/exchange_impl.h"

/* Interim responses on their way to the client (RFC 9110 section 15.2): before the final head, each taken
 * from the flight when the one before is out. A slow client keeps nobody else waiting: the flight holds them
 * for it, and at most one is copied. */

void interim_invite(struct exchange *ex)
{
    bool has_content = ex->content == BODY_CHUNKED || ex->content_length > 0;
    if (ex->head.minor == 0 || !has_content || !http_list_has(&ex->head, FIELD_EXPECT, SPAN("100-continue")))
        return;
    static const char invitation[] = "HTTP/1.1 100 Continue\r\n\r\n";
    uv_buf_t buf = uv_buf_init((char *)invitation, sizeof invitation - 1);
    ex->invited = true;
    ex->wire_bytes += buf.len;
    if (conn_write(ex->conn, &buf, 1) < 0)
        exchange_on_gone(ex);
}

/* HTTP/1.0 knows none, and some edges that speak 1.1 do not either. */
static bool is_for_client(const struct exchange *ex, const struct flight_interim *i)
{
    return ex->head.minor > 0 && ex->env->loop->config->http.forward_1xx &&
           !(i->status == 100 && ex->invited);
}

bool interim_send(struct exchange *ex)
{
    const struct flight_interim *i;
    while (!conn_is_writing(ex->conn) && (i = flight_next_interim(&ex->waiter)) != NULL) {
        if (!is_for_client(ex, i))
            continue;
        ex->interim.len = 0;
        buf_put_span(&ex->interim, i->head); /* what the socket does not take may outlive the flight */
        if (ex->interim.failed) {
            exchange_fail(ex, ERR_NOMEM);
            return false;
        }
        ex->wire_bytes += i->head.len;
        uv_buf_t buf = uv_buf_init(ex->interim.p, (unsigned)ex->interim.len);
        int sent = conn_write(ex->conn, &buf, 1);
        if (sent < 0) {
            exchange_on_gone(ex);
            return false;
        }
        if (sent == 0 && ex->state == EX_READING) /* while it waits, waiter_timeout runs */
            reader_watch_write(ex);
    }
    return !conn_is_writing(ex->conn);
}
