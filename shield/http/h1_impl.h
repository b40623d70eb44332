/* h1_impl - one client's connection, as h1_client.c (its requests), h1_greeting.c (who it is) and h1_server.c
 * (the door) share it; nobody else includes it. All of it runs on the connection's loop. */
#ifndef SHIELD_HTTP_H1_IMPL_H
#define SHIELD_HTTP_H1_IMPL_H

#include "shield/http/h1_server.h"
#include "shield/http/read_ahead.h"

struct h1_client {
    struct conn conn;
    struct h1_server *server;
    struct list_node link;
    struct room_seat seat; /* while we wait for a request of its */
    struct loop_timer timer;
    struct address *address;            /* NULL: not counted */
    const struct config *entered_under; /* it may be gone: only to be compared */
    struct buf in; /* bytes that wait: an incomplete head, or what came behind a request that still runs */
    struct http1_scan scan;
    struct read_ahead *ahead; /* over `in`, while a request runs; NULL until there is something to count */
    struct http1_body body;   /* of the request whose content is coming in */
    struct exchange *exchange;
    uint64_t judged_ms, judged_bytes; /* content: since when its rate is measured, and what has come since */
    struct peer peer;                 /* from on_address on who it is, before that the socket's */
    bool in_greeting;                 /* a PROXY header comes first */
    bool in_head;                     /* head_timeout runs */
    bool in_content;                  /* content of the running request is still to come */
    bool held_back;                   /* and on_content_room says when there is room for it */
    bool in_tunnel;                   /* it speaks HTTP no more */
    bool processing;                  /* on_over must not start the next request: the loop below does */
    bool eof;                         /* the client has half-closed */
    bool answered;                    /* once at least */
    bool lingering;
    size_t untaken;    /* while lingering: what of our answer the client has not taken, at the last look */
    uint64_t moved_ms; /* and when that became less */
};

static inline const struct config *h1_settings(const struct h1_client *c)
{
    return c->server->env->loop->config;
}

static inline struct loop *h1_loop(const struct h1_client *c)
{
    return c->server->env->loop;
}

/* ---- h1_client.c ---- */

extern const struct conn_ops h1_client_events;
void h1_client_on_timer(struct loop_timer *t);

void h1_client_close(struct h1_client *c, bool abort);

/* An answer with `err`, the last one; head: of the request, or NULL when there is none. */
void h1_client_refuse(struct h1_client *c, const struct http_head *head, int err);

/* Between two requests. */
void h1_client_wait(struct h1_client *c);

/* Goes on with the bytes that wait. What is still not needed stays where it is: an incomplete head that grows
 * byte by byte is not copied each time. */
void h1_client_go_on(struct h1_client *c);

/* ---- h1_greeting.c ---- */

/* Finds out who has connected, and waits for a request. Whoever is to send a PROXY header is not spoken to
 * without one: `in_greeting`. */
void h1_greet(struct h1_client *c);

/* Bytes, while in_greeting; and the end of it without a good header. */
void h1_greeting_take(struct h1_client *c, const char *p, size_t n);
void h1_greeting_refuse(struct h1_client *c);

/* There is no room for it: the n_beyond-th too many, of whom so many get an answer. Who it is has not been
 * looked at. */
void h1_turn_away(struct h1_client *c, uint64_t n_beyond, uint64_t most_answers);

/* In how many seconds its address may ask again; 0: now. Limits that have been set since it came hold for it
 * too, but nobody is cut for them. */
uint32_t h1_wait_for_turn(struct h1_client *c);

#endif
