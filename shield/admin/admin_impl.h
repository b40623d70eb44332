/* admin_impl - what admin.c (the port) and admin_conn.c (one connection) share; nobody else includes it. */
#ifndef SHIELD_ADMIN_ADMIN_IMPL_H
#define SHIELD_ADMIN_ADMIN_IMPL_H

#include "shield/admin/admin_pages.h"
#include "shield/admin/admin_tokens.h"
#include "shield/net/listener.h"

struct admin {
    struct loop *loop;
    struct admin_pages pages;
    struct admin_tokens *tokens; /* NULL: none are configured */
    struct listen_socket socket;
    struct listener listener;
    struct list_node conns; /* open ones, the one that has been quiet longest first */
    unsigned n_conns;
    unsigned n_unclosed; /* with those whose on_closed is due, and with `last_turn` */
    uv_idle_t last_turn; /* closed twice at the end: then the listener, closed before, is surely gone */
};

/* One of n_unclosed is gone; the last one frees it all. */
void admin_drop_unclosed(struct admin *a);

/* ---- admin_conn.c ---- */

/* One connection:
 *
 *   READING --> ANSWERING --> WRITING --> READING ...
 *      |                         `------> LINGERING
 *   any --> CLOSING --> freed in on_closed, or when the answer that was being made is there
 *
 * READING is for a head and for the content behind it. An answer that is there at once skips ANSWERING, one
 * that fits the socket at once WRITING. Nothing is read in these two: the next request waits. LINGERING: the
 * last answer is out; what still comes is dropped, since closing over unread bytes would reset the connection
 * and could take the answer with it. */
enum conn_state { READING, ANSWERING, WRITING, LINGERING, CLOSING };

struct admin_conn {
    struct conn conn;
    struct admin *admin;
    struct list_node link;
    struct loop_timer timer; /* until a head, then its content is whole; until the answer is out; the end */
    struct http1_scan scan;
    struct buf in;                 /* read and not yet answered */
    struct buf asked, content;     /* a head whose content is coming, and what has come of that */
    struct http1_body framing;     /* of it */
    const struct admin_page *page; /* that it asks for; NULL: there is none */
    struct buf head, body;         /* the answer being sent */
    enum conn_state state;
    bool is_receiving; /* content is coming */
    bool is_last;      /* this answer ends the connection */
    bool is_head;      /* and it leaves without its body */
    struct admin_later later;
    bool is_awaited, is_closed; /* the answer is being made; on_closed has come */
};

/* Take `fd`, which the listener has accepted, and read from it; without room or memory it is closed. */
void admin_conn_accept(struct admin *a, int fd, bool has_room);
void admin_conn_close(struct admin_conn *c);

#endif
