#include "shield/admin/admin_impl.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http_date.h"
#include "shield/admin/admin_tokens.h"
#include "shield/net/peer.h"

enum { IDLE_MS = 30000, LINGER_MS = 2000 };

static struct admin_conn *conn_of(struct conn *c)
{
    return container_of(c, struct admin_conn, conn);
}

/* ---- the end of a connection ---- */

static void free_conn(struct admin_conn *c)
{
    struct admin *a = c->admin;
    buf_fini(&c->in);
    buf_fini(&c->asked);
    buf_fini(&c->content);
    buf_fini(&c->head);
    buf_fini(&c->body);
    free(c);
    admin_drop_unclosed(a);
}

static void on_closed(struct conn *conn)
{
    struct admin_conn *c = conn_of(conn);
    c->is_closed = true;
    if (!c->is_awaited)
        free_conn(c);
}

/* An answer that is cut must not look like a whole one: that is a reset. */
void admin_conn_close(struct admin_conn *c)
{
    if (c->state == CLOSING)
        return;
    bool is_cut = c->state == WRITING;
    c->state = CLOSING;
    timer_stop(c->conn.loop, &c->timer);
    list_remove(&c->link);
    c->admin->n_conns--;
    conn_close(&c->conn, is_cut);
}

/* ---- answering ---- */

static void put_head(struct buf *out, const struct admin_reply *r, bool is_last)
{
    char date[HTTP_DATE_BYTES];
    http_date_format(date, clock_wall_ms() / 1000);
    buf_printf(out, "HTTP/1.1 %d %.*s\r\nDate: %.*s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
               r->status, SPAN_FMT(http_reason(r->status)), (int)sizeof date, date, r->type, r->body.len);
    /* keep-alive is for HTTP/1.0, and allowed in 1.1 (RFC 9112 section 9.3) */
    buf_printf(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: %s\r\n%s\r\n",
               is_last ? "close" : "keep-alive", r->fields);
}

static void after_answer(struct admin_conn *c)
{
    buf_fini(&c->head);
    buf_fini(&c->body);
    list_remove(&c->link);
    list_add_tail(&c->admin->conns, &c->link);
    c->state = c->is_last ? LINGERING : READING;
    timer_set(c->conn.loop, &c->timer, c->is_last ? LINGER_MS : IDLE_MS);
    if (c->is_last)
        conn_shutdown(&c->conn);
    conn_read_start(&c->conn);
}

/* Takes the reply's body. */
static void send_reply(struct admin_conn *c, struct admin_reply *r)
{
    if (r->body.failed) {
        buf_fini(&r->body);
        admin_reply_text(r, 503, err_text(ERR_NOMEM));
    }
    put_head(&c->head, r, c->is_last);
    c->body = r->body;
    if (c->head.failed || c->body.failed) {
        admin_conn_close(c);
        return;
    }
    uv_buf_t out[2] = {uv_buf_init(c->head.p, (unsigned)c->head.len),
                       uv_buf_init(c->body.p, (unsigned)c->body.len)};
    c->state = WRITING;
    timer_set(c->conn.loop, &c->timer, IDLE_MS);
    int sent = conn_write(&c->conn, out, c->is_head ? 1 : 2);
    if (sent < 0)
        admin_conn_close(c);
    else if (sent > 0)
        after_answer(c);
    else
        conn_read_stop(&c->conn); /* the next request waits until this answer has been taken */
}

static void send_error(struct admin_conn *c, int err, const char *why)
{
    struct admin_reply r;
    admin_reply_text(&r, err_status(err), why != NULL ? why : err_text(err));
    c->is_last = true;
    c->is_head = false;
    send_reply(c, &r);
}

/* ---- asking ---- */

/* Who is on this host may do everything, and is called by the address. */
static void right_of_peer(const struct admin_conn *c, struct admin_right *out)
{
    struct netaddr_cidr addr;
    struct peer peer;
    conn_peer(&c->conn, &addr);
    peer_set(&peer, &addr);
    struct span name = peer_text(&peer);
    *out = (struct admin_right){.scopes = SCOPE_EVERYTHING, .name_len = name.len};
    memcpy(out->name, name.p, name.len);
}

static bool has_token(const struct admin_conn *c, const struct http_head *head, struct admin_right *right,
                      struct admin_reply *out)
{
    bool is_given;
    const struct admin_right *found =
        admin_tokens_find(c->admin->tokens, head, admin_page_token_field(c->page), &is_given);
    if (found != NULL) {
        *right = *found;
        return true;
    }
    admin_page_refuse(c->page, out, 401,
                      "a token of admin.token_file is needed, as Authorization: Bearer TOKEN");
    out->fields =
        is_given ? "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n" : "WWW-Authenticate: Bearer\r\n";
    return false;
}

/* Whether `head` may ask for what is not open to all, and with what right; else `out` says why not. */
static bool may_ask(const struct admin_conn *c, const struct http_head *head, struct span host,
                    struct admin_right *right, struct admin_reply *out)
{
    const struct admin *a = c->admin;
    if (a->tokens != NULL)
        return has_token(c, head, right, out);
    right_of_peer(c, right);
    if (http_find_name(head, SPAN("Origin")) != NULL && !http_method_is_safe(head->method)) {
        admin_page_refuse(c->page, out, 403, "no page in a browser may do this without admin.token_file");
        return false;
    }
    /* no browser reaches a Unix socket, and none sends a request without Host */
    if (a->socket.addr.ss.ss_family == AF_UNIX || host.len == 0 || admin_host_is_loopback(host))
        return true;
    admin_page_refuse(c->page, out, 421,
                      "without admin.token_file only localhost and loopback addresses may be asked for");
    return false;
}

/* A request that is whole, and may be asked. */
static void ask_page(struct admin_conn *c, struct admin_request *asked)
{
    struct admin_reply r;
    if (admin_page_answer(&c->admin->pages, c->page, asked, &c->later, &r)) {
        send_reply(c, &r);
        return;
    }
    c->is_awaited = true;
    c->state = ANSWERING;
    timer_set(c->conn.loop, &c->timer, IDLE_MS);
    conn_read_stop(&c->conn);
}

static void refuse_content(struct admin_conn *c)
{
    struct admin_reply r;
    metric_limit(c->admin->loop->metrics, ADMIN_MAX_CONTENT);
    admin_page_refuse(c->page, &r, 413, "the content is too large; split it, or raise admin.max_content");
    c->is_last = true;
    c->is_receiving = false;
    send_reply(c, &r);
}

/* The head has to wait for its content. Who asks first whether it is welcome hears so (RFC 9110 section
 * 10.1.1). */
static void receive(struct admin_conn *c, const struct http_head *head, struct span bytes)
{
    c->is_receiving = true;
    buf_put_span(&c->asked, bytes);
    timer_set(c->conn.loop, &c->timer, IDLE_MS);
    bool is_polite = head->minor >= 1 && http_list_has(head, FIELD_EXPECT, SPAN("100-continue"));
    bool ok = !c->asked.failed;
    if (ok && is_polite && c->in.len == bytes.len) {
        static char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        uv_buf_t out = uv_buf_init(go_on, sizeof go_on - 1);
        ok = conn_write(&c->conn, &out, 1) == 1; /* who takes no 25 bytes takes no answer either */
    }
    if (!ok)
        admin_conn_close(c);
}

/* A head, in `bytes`; its content with it when that is whole. */
static void take_request(struct admin_conn *c, const struct http_head *head, struct span bytes, bool is_whole)
{
    struct admin *a = c->admin;
    struct http1_target target;
    struct admin_reply r;
    struct admin_right right = {0};
    bool has_content =
        c->framing.framing == BODY_CHUNKED || (c->framing.framing == BODY_LENGTH && c->framing.length > 0);
    http1_target(head, &target);
    const char *mark = memchr(target.path_query.p, '?', target.path_query.len);
    size_t path_bytes = mark != NULL ? (size_t)(mark - target.path_query.p) : target.path_query.len;
    struct admin_request asked = {.head = head,
                                  .target = target.path_query,
                                  .path = {target.path_query.p, path_bytes},
                                  .query = span_from(target.path_query, path_bytes + 1),
                                  .content = buf_span(&c->content),
                                  .right = &right};
    const struct admin_page *page = c->page = admin_page_find(asked.path);
    c->is_last = (has_content && !is_whole) || !http1_keep_alive(head);
    c->is_head = head->method == METHOD_HEAD;
    bool may = admin_page_is_open(page) || may_ask(c, head, target.host, &right, &r);
    if (!may || !admin_page_takes(page, head, has_content, &r) || !admin_page_permits(page, &right, &r)) {
        send_reply(c, &r); /* content is not read */
    } else if (!has_content || is_whole) {
        ask_page(c, &asked);
    } else if (c->framing.framing == BODY_LENGTH && c->framing.length > a->loop->config->admin_max_content) {
        refuse_content(c);
    } else {
        receive(c, head, bytes);
    }
}

/* A head off c->in. False: nothing more can be done now. */
static bool take_head(struct admin_conn *c)
{
    struct loop *l = c->conn.loop;
    struct http_head head = {.fields = l->fields, .cap_fields = l->config->http_limits.max_fields};
    struct http1_result got =
        http1_parse_request(&c->scan, c->in.p, c->in.len, &l->config->http_limits, &head);
    if (got.status == HTTP1_MORE)
        return false;
    if (got.status == HTTP1_BAD) {
        send_error(c, got.err, got.why);
        return false;
    }
    c->scan = (struct http1_scan){0};
    int err = http1_body_for_request(&c->framing, &head, &l->config->http_limits);
    if (err != 0)
        send_error(c, err, c->framing.why);
    else
        take_request(c, &head, (struct span){c->in.p, got.head_bytes}, false);
    buf_consume(&c->in, got.head_bytes); /* `c` lives on, even when it is being closed */
    return true;
}

/* All content is here. The head is read once more: what it pointed into has moved on. */
static void take_whole_request(struct admin_conn *c)
{
    struct loop *l = c->conn.loop;
    struct http1_scan scan = {0};
    struct http_head head = {.fields = l->fields, .cap_fields = l->config->http_limits.max_fields};
    struct buf asked = c->asked;
    c->asked = (struct buf){0};
    c->is_receiving = false;
    struct http1_result got = http1_parse_request(&scan, asked.p, asked.len, &l->config->http_limits, &head);
    if (got.status == HTTP1_HEAD)
        take_request(c, &head, buf_span(&asked), true);
    else /* limits have been lowered since */
        send_error(c, got.err, got.why);
    buf_fini(&asked);
    buf_fini(&c->content);
}

/* Content off c->in. False: nothing more can be done now. */
static bool take_content(struct admin_conn *c)
{
    size_t used = 0;
    struct span data;
    enum http1_body_status status =
        http1_body_feed(&c->framing, c->in.p != NULL ? c->in.p : "", c->in.len, &used, &data);
    if (status == BODY_DATA)
        buf_put_span(&c->content, data);
    buf_consume(&c->in, used);
    if (c->content.failed)
        admin_conn_close(c);
    else if (c->content.len > c->admin->loop->config->admin_max_content)
        refuse_content(c);
    else if (status == BODY_BAD)
        send_error(c, c->framing.err, c->framing.why);
    else if (status == BODY_END)
        take_whole_request(c);
    return status == BODY_DATA || status == BODY_END;
}

/* Answer what has come in, one request after the other. */
static void advance(struct admin_conn *c)
{
    bool go_on = true;
    while (go_on && c->state == READING && (c->in.len > 0 || c->is_receiving))
        go_on = c->is_receiving ? take_content(c) : take_head(c);
}

/* It may come after the connection has been closed: then it is for nobody. */
static void on_later(struct admin_later *later, struct admin_reply *reply)
{
    struct admin_conn *c = container_of(later, struct admin_conn, later);
    c->is_awaited = false;
    if (c->state == ANSWERING) {
        send_reply(c, reply);
        advance(c);
        return;
    }
    buf_fini(&reply->body);
    if (c->is_closed)
        free_conn(c);
}

static void on_data(struct conn *conn, const char *p, size_t n)
{
    struct admin_conn *c = conn_of(conn);
    if (c->state != READING)
        return;
    buf_put(&c->in, p, n);
    if (c->in.failed)
        admin_conn_close(c);
    else
        advance(c);
}

static void on_eof(struct conn *conn)
{
    admin_conn_close(
        conn_of(conn)); /* what came whole has been answered: nothing is read while an answer waits */
}

static void on_error(struct conn *conn, int err)
{
    admin_conn_close(conn_of(conn));
}

static void on_drained(struct conn *conn)
{
    struct admin_conn *c = conn_of(conn);
    if (c->state != WRITING)
        return;
    after_answer(c);
    advance(c);
}

static void on_due(struct loop_timer *t)
{
    struct admin_conn *c = container_of(t, struct admin_conn, timer);
    if (c->state == READING && (c->in.len > 0 || c->is_receiving))
        send_error(c, ERR_CLIENT_TIMEOUT, NULL);
    else
        admin_conn_close(c);
}

/* ---- accepting ---- */

static const struct conn_ops conn_ops = {.on_data = on_data,
                                         .on_eof = on_eof,
                                         .on_error = on_error,
                                         .on_drained = on_drained,
                                         .on_closed = on_closed};

void admin_conn_accept(struct admin *a, int fd, bool has_room)
{
    struct admin_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->admin = a;
    c->later.on_done = on_later;
    timer_init(&c->timer, on_due);
    list_add_tail(&a->conns, &c->link);
    a->n_conns++;
    a->n_unclosed++;
    if (conn_accept(&c->conn, a->loop, &conn_ops, fd, a->listener.is_unix) != 0 || !has_room) {
        admin_conn_close(c);
        return;
    }
    timer_set(a->loop, &c->timer, IDLE_MS);
    conn_read_start(&c->conn);
}
