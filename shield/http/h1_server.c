#include "shield/http/h1_server.h"

#include <stdlib.h>
#include <unistd.h>

#include "shield/http/h1_impl.h"

static void on_leave(struct room_seat *seat)
{
    h1_client_close(container_of(seat, struct h1_client, seat), false);
}

void h1_server_init(struct h1_server *s, struct exchange_env *env, struct h1_shared *shared,
                    void (*on_empty)(struct h1_server *s))
{
    *s = (struct h1_server){.env = env, .shared = shared, .on_empty = on_empty};
    list_init(&s->clients);
    room_init(&s->room, &shared->rooms, env->loop, on_leave);
}

/* Whether there is room for it, the n-th client, or somebody leaves for it. Else it is turned away. */
static bool find_room(struct h1_client *c, uint64_t n, int fd)
{
    struct h1_server *s = c->server;
    uint64_t kept, most = h1_settings(c)->client.max_connections;
    uint64_t scarcity = conn_scarcity(fd, &kept);
    if (n <= most && scarcity == 0)
        return true;
    metric_limit(h1_loop(c)->metrics, MAX_CONNECTIONS);
    if (scarcity > 0 ? room_make_here(&s->room) : room_make(&s->room)) /* a descriptor is needed now */
        return true;
    if (scarcity > 0)
        h1_turn_away(c, scarcity, kept / 4);
    else
        h1_turn_away(c, n - most, most / 2 + 4);
    return false;
}

void h1_server_accept(struct h1_server *s, int fd, bool is_unix)
{
    struct loop *l = s->env->loop;
    struct h1_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return;
    }
    c->server = s;
    timer_init(&c->timer, h1_client_on_timer);
    room_seat_init(&c->seat);
    list_add_tail(&s->clients, &c->link);
    s->n_clients++;
    uint64_t n = atomic_fetch_add(&s->shared->n_clients, 1) + 1;
    metric_move(l->metrics, CLIENT_CONNECTIONS, 1);
    if (conn_accept(&c->conn, l, &h1_client_events, fd, is_unix) != 0 || !find_room(c, n, fd))
        return;
    metric_count(l->metrics, CLIENT_CONNECTIONS_TOTAL);
    h1_greet(c);
}

bool h1_server_give_way(struct h1_server *s)
{
    metric_limit(s->env->loop->metrics, MAX_CONNECTIONS);
    return room_make_here(&s->room);
}

void h1_server_drain(struct h1_server *s)
{
    s->draining = s->env->draining = true;
    list_each_safe (n, &s->clients) {
        struct h1_client *c = container_of(n, struct h1_client, link);
        if (c->exchange == NULL && !c->lingering)
            h1_client_close(c, false);
    }
    if (s->n_clients == 0)
        s->on_empty(s);
}

void h1_server_abort(struct h1_server *s)
{
    list_each_safe (n, &s->clients) {
        struct h1_client *c = container_of(n, struct h1_client, link);
        if (c->exchange != NULL)
            exchange_on_gone(c->exchange);
        else
            h1_client_close(c, true);
    }
}
