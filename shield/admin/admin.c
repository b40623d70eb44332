#include "shield/admin/admin.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/http_date.h"
#include "shield/admin/admin_pages.h"
#include "shield/admin/admin_tokens.h"
#include "shield/net/listener.h"

enum { MAX_CONNS = 64, IDLE_MS = 30000, LINGER_MS = 2000 };

struct admin {
    struct loop *loop;
    struct admin_pages pages;
    struct tokens *tokens; /* NULL: none are configured */
    struct listen_socket socket;
    struct listener listener;
    struct list_node conns; /* open ones, the one that has been quiet longest first */
    unsigned n_conns;
    unsigned n_unclosed; /* with those whose on_closed is due, and with `last_turn` */
    uv_idle_t last_turn; /* closed twice at the end: then the listener, closed before, is surely gone */
};

/* One connection:
 *
 *   READING --> ANSWERING --> WRITING --> READING ...
 *      |                         `------> LINGERING
 *   any --> CLOSING --> freed in on_closed, or when the answer that was being made is there
 *
 * An answer that is there at once skips ANSWERING, one that fits the socket at once WRITING. Nothing is read
 * in these two: the next request waits. LINGERING: the last answer is out; what still comes is dropped, since
 * closing over unread bytes would reset the connection and could take the answer with it. */
enum conn_state { READING, ANSWERING, WRITING, LINGERING, CLOSING };

struct admin_conn {
    struct conn conn;
    struct admin *admin;
    struct list_node link;
    struct loop_timer
        timer; /* until the next head is complete, until the answer is out, until the lingering ends */
    struct http1_scan scan;
    struct buf in;         /* read and not yet answered */
    struct buf head, body; /* the answer being sent */
    enum conn_state state;
    bool is_last; /* this answer ends the connection */
    bool is_head; /* and it leaves without its body */
    struct admin_later later;
    bool is_awaited, is_closed; /* the answer is being made; on_closed has come */
};

static struct admin_conn *conn_of(struct conn *c)
{
    return container_of(c, struct admin_conn, conn);
}

/* ---- the end of a connection ---- */

static void drop_unclosed(struct admin *a)
{
    if (--a->n_unclosed == 0)
        free(a);
}

static void free_conn(struct admin_conn *c)
{
    struct admin *a = c->admin;
    buf_fini(&c->in);
    buf_fini(&c->head);
    buf_fini(&c->body);
    free(c);
    drop_unclosed(a);
}

static void on_closed(struct conn *conn)
{
    struct admin_conn *c = conn_of(conn);
    c->is_closed = true;
    if (!c->is_awaited)
        free_conn(c);
}

/* An answer that is cut must not look like a whole one: that is a reset. */
static void close_conn(struct admin_conn *c)
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
        close_conn(c);
        return;
    }
    uv_buf_t out[2] = {uv_buf_init(c->head.p, (unsigned)c->head.len),
                       uv_buf_init(c->body.p, (unsigned)c->body.len)};
    c->state = WRITING;
    timer_set(c->conn.loop, &c->timer, IDLE_MS);
    int sent = conn_write(&c->conn, out, c->is_head ? 1 : 2);
    if (sent < 0)
        close_conn(c);
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

/* Whether `head` may see what is not open to all; else `out` says why not. */
static bool may_ask(const struct admin *a, const struct http_head *head, struct span host,
                    struct admin_reply *out)
{
    if (a->tokens != NULL) {
        if (http_count(head, FIELD_AUTHORIZATION) == 1 &&
            admin_tokens_allow(a->tokens, http_value(head, FIELD_AUTHORIZATION)))
            return true;
        admin_reply_text(out, 401, "a token of admin.token_file is needed, as Authorization: Bearer TOKEN");
        out->fields = "WWW-Authenticate: Bearer\r\n";
        return false;
    }
    /* no browser reaches a Unix socket, and none sends a request without Host */
    if (a->socket.addr.ss.ss_family == AF_UNIX || host.len == 0 || admin_host_is_loopback(host))
        return true;
    admin_reply_text(out, 421,
                     "without admin.token_file only localhost and loopback addresses may be asked for");
    return false;
}

static void answer(struct admin_conn *c, const struct http_head *head)
{
    struct admin *a = c->admin;
    struct http1_target target;
    struct http1_body content;
    struct admin_reply r;

    int err = http1_body_for_request(&content, head, &a->loop->config->http_limits);
    if (err != 0) {
        send_error(c, err, content.why);
        return;
    }
    bool has_content =
        content.framing == BODY_CHUNKED || (content.framing == BODY_LENGTH && content.length > 0);
    http1_target(head, &target);
    c->is_last = has_content || !http1_keep_alive(head); /* content is never read */
    c->is_head = head->method == METHOD_HEAD;
    bool may = admin_page_is_open(target.path_query) || may_ask(a, head, target.host, &r);
    if (!may || admin_page_answer(&a->pages, head, target.path_query, has_content, &c->later, &r)) {
        send_reply(c, &r);
        return;
    }
    c->is_awaited = true;
    c->state = ANSWERING;
    timer_set(c->conn.loop, &c->timer, IDLE_MS);
    conn_read_stop(&c->conn);
}

/* Answer what has come in, one request after the other. */
static void advance(struct admin_conn *c)
{
    struct loop *l = c->conn.loop;
    while (c->state == READING && c->in.len > 0) {
        struct http_head head = {.fields = l->fields, .cap_fields = l->config->http_limits.max_fields};
        struct http1_result got =
            http1_parse_request(&c->scan, c->in.p, c->in.len, &l->config->http_limits, &head);
        if (got.status == HTTP1_MORE)
            return;
        if (got.status == HTTP1_BAD) {
            send_error(c, got.err, got.why);
            return;
        }
        c->scan = (struct http1_scan){0};
        answer(c, &head);
        buf_consume(&c->in, got.head_bytes); /* `c` lives on, even when it is being closed */
    }
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
        close_conn(c);
    else
        advance(c);
}

static void on_eof(struct conn *conn)
{
    close_conn(conn_of(conn)); /* what came whole has been answered: nothing is read while an answer waits */
}

static void on_error(struct conn *conn, int err)
{
    close_conn(conn_of(conn));
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
    if (c->state == READING && c->in.len > 0)
        send_error(c, ERR_CLIENT_TIMEOUT, NULL);
    else
        close_conn(c);
}

/* ---- accepting ---- */

static const struct conn_ops conn_ops = {.on_data = on_data,
                                         .on_eof = on_eof,
                                         .on_error = on_error,
                                         .on_drained = on_drained,
                                         .on_closed = on_closed};

static bool close_one(struct admin *a, unsigned states)
{
    list_each (n, &a->conns) {
        struct admin_conn *c = container_of(n, struct admin_conn, link);
        if (states >> c->state & 1) {
            close_conn(c);
            return true;
        }
    }
    return false;
}

/* Full: the one that has been quiet longest goes, so that idle clients cannot keep a probe out; nor can those
 * who ask for what takes a while. */
static bool make_room(struct admin *a)
{
    return close_one(a, 1u << READING | 1u << LINGERING) || close_one(a, 1u << ANSWERING);
}

static void on_accepted(struct listener *listener, int fd)
{
    struct admin *a = listener->ctx;
    struct admin_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    bool has_room = a->n_conns < MAX_CONNS || make_room(a);
    c->admin = a;
    c->later.on_done = on_later;
    timer_init(&c->timer, on_due);
    list_add_tail(&a->conns, &c->link);
    a->n_conns++;
    a->n_unclosed++;
    if (conn_accept(&c->conn, a->loop, &conn_ops, fd, listener->is_unix) != 0 || !has_room) {
        close_conn(c);
        return;
    }
    timer_set(a->loop, &c->timer, IDLE_MS);
    conn_read_start(&c->conn);
}

static bool on_shortage(struct listener *listener)
{
    return close_one(listener->ctx, 1u << READING | 1u << LINGERING);
}

static const struct listener_ops listener_ops = {.on_accepted = on_accepted, .on_shortage = on_shortage};

/* ---- the life of the port ---- */

static int read_tokens(const struct config *cfg, struct tokens **out, struct buf *errors)
{
    *out = NULL;
    if (cfg->admin_token_file[0] != '\0')
        return tokens_read(out, "admin.token_file", cfg->admin_token_file, errors);
    if (netaddr_is_loopback((const struct sockaddr *)&cfg->admin.addr.ss))
        return 0;
    buf_printf(errors, "admin: %s is open to others than this host; give admin.token_file too\n",
               cfg->admin.text);
    return ERR_SYNTAX;
}

int admin_bind(struct admin **out, struct loop *l, struct buf *errors)
{
    REQUIRE(out != NULL);
    struct admin *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->loop = l;
    list_init(&a->conns);

    int err = read_tokens(l->config, &a->tokens, errors);
    if (err != 0)
        goto free_admin;
    err = listen_socket_open(&a->socket, &l->config->admin.addr, 1, errors);
    if (err != 0)
        goto free_tokens;
    a->n_unclosed = 1;
    uv_idle_init(&l->uv, &a->last_turn);
    a->last_turn.data = a;
    *out = a;
    return 0;

free_tokens:
    tokens_free(&a->tokens);
free_admin:
    free(a);
    return err;
}

int admin_open(struct admin *a, const struct admin_sources *sources)
{
    REQUIRE(sources->cache != NULL && sources->is_ready != NULL && sources->is_draining != NULL);
    a->pages = (struct admin_pages){.sources = *sources, .loop = a->loop, .started_ms = clock_mono_ms()};
    return listener_open(&a->listener, a->loop, &a->socket, 0, &listener_ops, a);
}

void admin_put_address(const struct admin *a, struct buf *out)
{
    netaddr_put(out, (const struct sockaddr *)&a->socket.addr.ss);
}

int admin_reload(struct admin *a, struct buf *errors)
{
    struct tokens *next;
    int err = read_tokens(a->loop->config, &next, errors);
    if (err != 0)
        return err;
    tokens_free(&a->tokens);
    a->tokens = next;
    return 0;
}

static void on_last_turn(uv_handle_t *h)
{
    drop_unclosed(h->data);
}

static void on_first_turn(uv_handle_t *h)
{
    struct admin *a = h->data;
    uv_idle_init(&a->loop->uv, &a->last_turn);
    a->last_turn.data = a;
    uv_close((uv_handle_t *)&a->last_turn, on_last_turn);
}

void admin_close(struct admin **slot)
{
    struct admin *a = *slot;
    *slot = NULL;
    if (a == NULL)
        return;
    listener_close(&a->listener);
    listen_socket_close(&a->socket);
    list_each_safe (n, &a->conns)
        close_conn(container_of(n, struct admin_conn, link));
    tokens_free(&a->tokens);
    uv_close((uv_handle_t *)&a->last_turn, on_first_turn);
}
