#include "shield/admin/admin_impl.h"

#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"

enum { MAX_CONNS = 64 };

void admin_drop_unclosed(struct admin *a)
{
    if (--a->n_unclosed == 0)
        free(a);
}

/* ---- accepting ---- */

static bool close_one(struct admin *a, unsigned states)
{
    list_each (n, &a->conns) {
        struct admin_conn *c = container_of(n, struct admin_conn, link);
        if (states >> c->state & 1) {
            admin_conn_close(c);
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
    admin_conn_accept(a, fd, a->n_conns < MAX_CONNS || make_room(a));
}

static bool on_shortage(struct listener *listener)
{
    return close_one(listener->ctx, 1u << READING | 1u << LINGERING);
}

static const struct listener_ops listener_ops = {.on_accepted = on_accepted, .on_shortage = on_shortage};

/* ---- the life of the port ---- */

static int read_tokens(const struct config *cfg, struct admin_tokens **out, struct buf *errors)
{
    *out = NULL;
    if (cfg->admin_token_file[0] != '\0')
        return admin_tokens_read(out, cfg->admin_token_file, errors);
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
    admin_tokens_free(&a->tokens);
free_admin:
    free(a);
    return err;
}

int admin_open(struct admin *a, const struct admin_sources *sources)
{
    REQUIRE(sources->cache != NULL && sources->purger != NULL && sources->is_ready != NULL &&
            sources->is_draining != NULL);
    a->pages = (struct admin_pages){.sources = *sources, .loop = a->loop, .started_ms = clock_mono_ms()};
    return listener_open(&a->listener, a->loop, &a->socket, 0, &listener_ops, a);
}

void admin_put_address(const struct admin *a, struct buf *out)
{
    netaddr_put(out, (const struct sockaddr *)&a->socket.addr.ss);
}

int admin_reload(struct admin *a, const struct config *next, struct buf *errors)
{
    struct admin_tokens *tokens;
    int err = read_tokens(next, &tokens, errors);
    if (err != 0)
        return err;
    admin_tokens_free(&a->tokens);
    a->tokens = tokens;
    return 0;
}

static void on_last_turn(uv_handle_t *h)
{
    admin_drop_unclosed(h->data);
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
        admin_conn_close(container_of(n, struct admin_conn, link));
    admin_tokens_free(&a->tokens);
    uv_close((uv_handle_t *)&a->last_turn, on_first_turn);
}
