/* exchange_impl - what the files of this folder share; nobody else includes it. */
#ifndef SHIELD_REQUEST_EXCHANGE_IMPL_H
#define SHIELD_REQUEST_EXCHANGE_IMPL_H

#include "common/http_range.h"
#include "shield/policy/key.h"
#include "shield/request/exchange.h"

enum exchange_state { EX_ASKING, EX_WAITING, EX_READING, EX_TUNNEL, EX_OVER };

/* How the answer's content is framed towards this client. */
enum out_framing { OUT_NONE, OUT_LENGTH, OUT_CHUNKED, OUT_UNTIL_CLOSE, OUT_PARTS };

struct exchange {
    struct exchange_env *env;
    const struct exchange_owner *owner;
    void *ctx;
    struct conn *conn;
    struct list_node idle_link;
    enum exchange_state state;

    /* the request */
    struct config *config; /* of the turn it began in; a reference of its own once the exchange waits */
    const struct config_route *route;
    struct http_head head; /* its spans live in `arena` once the exchange waits */
    struct arena arena;
    struct buf key;
    uint64_t key_hash;
    struct http1_target target;
    struct span rewritten; /* path and query upstream where neither target nor key has them so; in `arena` */
    const struct peer *peer;
    enum http1_framing content;
    uint64_t content_length;
    bool may_join; /* not with Authorization and the like: */
    enum pass_reason why_alone;
    bool pass;       /* nothing of it is for the cache */
    bool is_copied;  /* the head is ours */
    bool keep_alive; /* after the answer */

    /* an upgrade */
    struct span upgrade;   /* the protocol that it may switch to, or empty; lives as long as `route` */
    bool counts_as_tunnel; /* against origins.max_tunnels */
    struct tunnel *tunnel; /* EX_TUNNEL */

    /* request content on its way up: one buffer fills while the other is being written */
    struct buf content_in, content_out;
    bool content_ended;    /* the client has sent all of it */
    bool content_finished; /* and so have we */
    bool content_full;     /* the client has been told to wait */

    /* waiting */
    struct flight_waiter waiter;
    struct loop_timer timer;
    unsigned tries, overtaken; /* looked up again; since a purge had overtaken what was found */
    enum waiter_fate fate;
    bool has_fate, judged_here; /* judged_here: conditions and ranges are held against the answer here */
    const char *reason;         /* of a miss, a pass or a refusal; NULL: none */
    bool is_debugged;           /* it carried a debug token: the answer tells the reason */
    bool was_fresh;             /* what is stored would have been fresh enough for another request */
    bool released, alone, is_stale, is_kept; /* is_kept: the answer is from the store, or on its way there */
    struct object *stale;                    /* to be validated when alone */
    uint32_t epoch;                          /* of the cache's answer, when alone */
    int64_t wait_us;
    struct purging *purging; /* the order that is being carried out for it */
    struct buf interim;      /* the interim response that is being written */
    bool invited;            /* the client has had a 100 of ours */

    /* the answer */
    struct object *object;
    uint64_t announced_length;
    struct span withheld; /* fields of the answer that are ours alone: flight_withheld */
    struct buf out;       /* our parts of the head, or a whole answer of our own */
    size_t prefix_bytes;  /* of `out`: they stand before the stored block, the rest behind it */
    struct span block;    /* the stored block, or what it becomes when stale */
    size_t block_skip;    /* of the block: what the prefix replaces */
    int status;
    enum out_framing framing;
    bool head_sent, last_chunk_sent, waits_for_range, wants_whole;
    uint64_t position,
        end; /* of the object: the next byte to send, and where to stop (UINT64_MAX: at its end) */
    struct ranges *ranges;         /* OUT_PARTS: in `arena`; position and end are those of the part */
    struct buf part_head;          /* of the part that is being sent */
    struct chunk *holds[CONN_IOV]; /* what the pending write needs */
    unsigned n_holds;
    char chunk_line[20];
    struct disk_load load;
    struct chunk *loaded; /* what the last load brought */
    uint32_t loaded_index;
    bool loading, pinned;
    size_t pending_bytes;             /* of a write that is not through: still in it when last looked */
    uint64_t pending_us, moved_us;    /* since when it is pending; when it last moved */
    uint64_t stalled_us;              /* how long writes have been pending in all */
    uint64_t judged_us, judged_bytes; /* of that, and what had been taken, when the rate was judged last */
    struct cache_status cache_status;

    /* for the books */
    enum request_result result;
    int err;
    uint64_t started_us, sent_bytes, wire_bytes; /* of content; of everything */
    int64_t started_wall_ms;
};

/* ---- exchange.c ---- */
void exchange_end(struct exchange *ex, bool keep_alive, bool abort);
void exchange_fail(struct exchange *ex, int err);  /* an answer of our own, or a cut when the head is out */
void exchange_release_memory(struct exchange *ex); /* of one that was over while a load ran */
void exchange_retry(struct exchange *ex); /* nothing is out yet, and the object is no good: look up again */
int exchange_keep_request(
    struct exchange *ex); /* it outlives this turn: copy what it needs; 0 or ERR_NOMEM */
/* Whether a purge has overtaken what the head would be written for: to be asked where it is written. */
bool exchange_is_overtaken(struct exchange *ex);
void exchange_look_again(struct exchange *ex);     /* for that reason; nothing is out yet */
void exchange_start_patience(struct exchange *ex); /* the request is whole: waiter_timeout runs from here */
void exchange_release(struct exchange *ex);        /* nothing is out yet: leave the flight and fetch alone */
void exchange_settle_fate(struct exchange *ex, enum waiter_fate fate);
/* Of ex->object, which may be stale since a purge. */
struct response_facts exchange_facts(struct exchange *ex, int64_t now_ms);
/* In whole seconds as Age counts them, so that age and ttl add up to the lifetime. */
int64_t exchange_ttl_s(const struct response_facts *facts, int64_t now_ms);

struct key_request exchange_key_request(const struct exchange *ex);

/* ---- answer.c: heads ---- */
/* Compose the head for ex->object into ex->out and choose framing and span. Returns false when it has to wait
 * until more of the object is known (a range of unknown length). */
bool answer_compose(struct exchange *ex);
void answer_compose_own(struct exchange *ex, int err);
void answer_compose_fixed(struct exchange *ex); /* what ex->route has ready */
/* An answer of our own with this content, of `type`. */
void answer_compose_text(struct exchange *ex, int status, const char *type, struct span content);
void answer_compose_options(struct exchange *ex); /* as the final recipient: RFC 9110 section 7.6.2 */
/* "Content-Range: bytes first-last/length" and CRLF; LENGTH_UNKNOWN is "*" (RFC 9110 section 14.4). */
void answer_put_content_range(struct buf *out, struct http_range r, uint64_t length);
/* The buffers of the head: gives how many of bufs[] (at most 3) it takes. */
unsigned answer_head_bufs(struct exchange *ex, uv_buf_t *bufs);

/* ---- ranges.c: an answer of several parts ---- */
/* Make ex->ranges of n ranges (copied) of ex->object, whose length is known, and take out of ex->block what
 * goes into the parts. False, and nothing is changed, when the whole has to do: without memory, or of what is
 * encoded. */
bool ranges_start(struct exchange *ex, const struct http_range *list, unsigned n);
void ranges_put_type(struct exchange *ex);          /* the answer's Content-Type, into ex->out */
uint64_t ranges_content_bytes(struct exchange *ex); /* its Content-Length */
/* Go to the next part unless one is being sent: sets position and end. False while its first byte, below
 * `ready`, is not there: until then no part is begun. */
bool ranges_begin(struct exchange *ex, uint64_t ready);
/* What stands before the next byte to send: the part's head, or nothing once that is out. Valid until the
 * next part begins; NULL without memory. */
struct span ranges_head(struct exchange *ex);
struct span ranges_closing(const struct exchange *ex); /* behind the last part; empty when this is not it */
void ranges_note_sent(struct exchange *ex);            /* position has moved, and the part's head is out */
uint64_t ranges_lowest(const struct exchange *ex);     /* the lowest byte that is still to be sent */

/* ---- reader.c ---- */
void reader_start(struct exchange *ex); /* ex->object and ex->cache_status are set */
void reader_pump(struct exchange *ex);  /* send what can be sent; may end the exchange */
void reader_stop(struct exchange *ex);  /* drop what it holds */
void reader_on_drained(struct exchange *ex);
void reader_watch_write(struct exchange *ex); /* a write is pending: reader_on_timer looks after it */
void reader_on_timer(
    struct exchange *ex); /* a write is pending: is the client still reading, and fast enough? */

/* ---- interim.c ---- */
/* Send the interim responses that have come and are for this client. True when none is left: the final head
 * may follow. False when a write is pending, or the exchange is over. */
bool interim_send(struct exchange *ex);
/* The request's content is wanted: a 100 of ours where the client expects one (RFC 9110 section 10.1.1). May
 * end the exchange. */
void interim_invite(struct exchange *ex);

/* ---- tunnel.c ---- */
/* Before the origin is asked for ex->upgrade: false when origins.NAME.max_tunnels is reached. */
bool tunnel_count_in(struct exchange *ex);
/* The origin has switched. Interim responses go first: on_drained comes back here. May end the exchange. */
void tunnel_start(struct exchange *ex);
void tunnel_on_drained(struct exchange *ex); /* the client has taken what was pending */
void tunnel_on_timer(struct exchange *ex);
/* At the end, with or without a tunnel; abort: the origin is told by a reset. */
void tunnel_stop(struct exchange *ex, bool abort);

/* ---- invalidate.c ---- */
/* ex->object answers an unsafe request: forget what is stored for its URI, and for what Location and
 * Content-Location point at on the same host (RFC 9111 section 4.4). Of keys with parts behind the URI's
 * those that this request's own fields select: what others have selected is not enumerable. */
void invalidate_after(struct exchange *ex);

/* ---- access.c: who may ask ---- */
/* Take out of the head, before anything else looks at it, the edge's secret, and X-Forwarded-For unless it is
 * from an edge in edges.trusted. Returns 0, ERR_FORBIDDEN (edges.allow) or ERR_EDGE_SECRET. */
int access_check(struct exchange *ex);
bool access_has_address(const struct exchange *ex); /* as far as edges.allow goes */

/* ---- reason.c: why it was no plain hit ---- */
void reason_missed(struct exchange *ex, enum miss_reason why);
void reason_passed(struct exchange *ex, enum pass_reason why);
void reason_denied(struct exchange *ex); /* by its route */
/* The answer will be `err`: a refusal where that is of our making (see refusal_reason_of). */
void reason_refused(struct exchange *ex, int err);
/* Take Shield-Debug out of the head, and see whether it held a token. Before anything else looks at it. */
void reason_take_token(struct exchange *ex);

/* ---- purging.c: PURGE and its like ---- */
/* Whether it is one, from somebody in purge.allow. */
bool purging_may(const struct exchange *ex);
/* Order it; the answer follows when it is in force. What content comes is dropped. */
void purging_start(struct exchange *ex);
/* The exchange waits for no receipt any more. */
void purging_leave(struct exchange *ex);

/* ---- content.c ---- */
void content_pump(struct exchange *ex);
void content_on_room(void *ctx); /* for flight_set_on_room */

#endif
