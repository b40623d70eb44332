/* flight_storing - how a flight's object comes to be, and where it is kept. On the owner's loop. */
#ifndef SHIELD_FLIGHT_FLIGHT_STORING_H
#define SHIELD_FLIGHT_FLIGHT_STORING_H

#include "shield/flight/flight_impl.h"

/* Make f->object for a response with `length` bytes of content (or LENGTH_UNKNOWN); f->verdict is known.
 * Decides where it will be kept: in memory, on disk, or nowhere (f->verdict becomes TOO_LARGE when only its
 * size forbids it). Returns 0 or ERR_NOMEM. */
int flight_take_object(struct flight *f, const struct http_head *head, uint64_t length);

/* A 304 renewed f->what.stored: judge the updated head and make f->object over the same body
 * (RFC 9111 section 4.3.4). Returns 0, ERR_NOMEM, or ERR_PROTOCOL for a 304 that is about something else. */
int flight_take_renewed(struct flight *f, const struct http_head *not_modified);

/* The answer to a HEAD: where its validators are those of f->what.stored, make f->freshened. */
void flight_freshen(struct flight *f, const struct http_head *head);

/* After each append, at the end, and when it comes to nothing. */
void flight_go_on_storing(struct flight *f);
void flight_finish_storing(struct flight *f);
void flight_stop_storing(struct flight *f);

/* Nobody keeps the object: it is paced by its slowest reader from now on. */
void flight_start_pacing(struct flight *f);

#endif
