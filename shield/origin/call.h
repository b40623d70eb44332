/* call - one request to an origin and its answer, over whatever connections that takes.
 *
 *   IDLE --> QUEUED --> RESOLVING --> CONNECTING --> HEAD --> BODY --> ENDED
 *              `-----------`--------------`-----------`-------`-----> ENDED (with an error)
 *                                                     `--> SWITCHED (101) --> ENDED (handed over, or
 * cancelled)
 *
 * It holds a place of the origin's gate from QUEUED to ENDED, tries the servers and their addresses in turn
 * (connect_attempts in all; a server that is down is passed by and costs none), and repeats a request only if
 * it is safe and a reused connection died before the first byte of an answer, once, on a new connection. Own
 * loop only; no event comes from inside a call into this module. */
#ifndef SHIELD_ORIGIN_CALL_H
#define SHIELD_ORIGIN_CALL_H

#include "shield/origin/upstream.h"

struct origin_call;

struct origin_call_ops {
    /* A 1xx, but 101; spans are valid during the call only. NULL: they are passed over. */
    void (*on_interim)(struct origin_call *c, const struct http_head *head);
    /* The 101 that request.upgrade asked for: nothing more is read, and origin_call_hand_over may follow from
     * a later turn. */
    void (*on_switched)(struct origin_call *c, const struct http_head *head);
    /* A final head; spans are valid during the call only. */
    void (*on_head)(struct origin_call *c, const struct http_head *head);
    void (*on_body)(struct origin_call *c, const char *p, size_t n);
    /* origin_call_write may be called (again). */
    void (*on_room)(struct origin_call *c);
    /* The last event: 0 for a complete response, else why not (ERR_TRUNCATED, ERR_HEAD_TIMEOUT, ...; ERR_DOWN
     * when all servers are down, ERR_BUSY without a place). Nothing touches the call after it: the handler
     * may zero it, fill `head` and start it anew. */
    void (*on_end)(struct origin_call *c, int err);
};

enum call_state {
    CALL_IDLE,
    CALL_QUEUED,
    CALL_RESOLVING,
    CALL_CONNECTING,
    CALL_HEAD,
    CALL_BODY,
    CALL_SWITCHED,
    CALL_ENDED
};

struct origin_call_request {
    unsigned origin_index;
    enum origin_kind kind;
    enum http_method method;
    enum http1_framing content; /* BODY_NONE, or what origin_call_write will bring */
    uint64_t content_length;
    struct span upgrade; /* the protocol that the head asks for, or empty; a new connection is made for it */
    bool background;     /* nobody waits for it: its place in the queue is behind those who do */
    /* origin_call_server of the call that this one goes on from: it begins with the next server, if there is
     * another. 0: whose turn it is. */
    unsigned next_to;
};

/* Embed it, zeroed. An event may cancel the call, but the memory must outlive the event. The request head is
 * put into `head` before the start. */
struct origin_call {
    const struct origin_call_ops *ops;
    struct buf head; /* the request's head, complete; freed at the end */
    struct origin_call_request request;
    int64_t sent_wall_ms; /* when the request left, for RFC 9111 section 4.2.3 */

    /* private */
    struct upstream_pool *pool;
    struct upstream *upstream;
    struct gate_place *place;
    struct resolve question;
    struct loop_timer timer;
    struct http1_scan scan;
    struct http1_body body;
    struct buf in; /* an incomplete response head */
    enum call_state state;
    int pending_err;   /* to be told from the next turn */
    unsigned attempts; /* to connect, so far */
    uint32_t from;     /* whose turn is next */
    struct server_turn turn;
    uint32_t blamed;               /* a bit for each server that has failed this request */
    uint32_t address, n_addresses; /* of the server: the one that is tried, and how many there are */
    uint32_t probed_addresses;
    unsigned n_1xx;
    size_t bytes_1xx;
    uint64_t sent_us, content_left;
    char chunk_line[20];
    bool has_turn, reused, retried, got_bytes, content_done, keep_alive, promised_content, paused, asking;
};

/* Start; every outcome comes as an event from a later turn. */
void origin_call_start(struct origin_call *c, struct upstream_pool *pool, const struct origin_call_ops *ops,
                       const struct origin_call_request *request);

/* Somebody waits for it now: in the origin's queue it is in the background no longer. Safe in any state. */
void origin_call_raise(struct origin_call *c);

/* No event comes any more; the connection is closed at once. Safe in any state, also after on_end. */
void origin_call_cancel(struct origin_call *c);

/* What a 101 leaves: a connection that speaks HTTP no more, its place of the origin's gate (gate_leave), and
 * what came behind the 101. The connection's reading is stopped. */
struct origin_line {
    struct upstream *upstream;
    struct gate_place *place;
    struct buf early;
};

/* After on_switched: the line is the caller's, its events go to `owner`, and the call has ended. */
void origin_call_hand_over(struct origin_call *c, struct origin_line *out, const struct upstream_owner *owner,
                           void *ctx);

/* Which server has been asked last: a number for `next_to`, 0 when none has been. Also at on_end. */
unsigned origin_call_server(const struct origin_call *c);

/* From on_head on: stop and go on reading the answer; what has been read already still comes. */
void origin_call_pause(struct origin_call *c);
void origin_call_resume(struct origin_call *c);

/* Send request content: only when origin_call_has_room. The bytes must stay until on_room. origin_call_finish
 * ends the content; for BODY_LENGTH exactly content_length bytes must have been written by then. */
bool origin_call_has_room(const struct origin_call *c);
void origin_call_write(struct origin_call *c, const char *p, size_t n);
void origin_call_finish(struct origin_call *c);

#endif
