/* room - who leaves so that one more client has room: of those who let us wait for a request, the one that
 * does so longest.
 *
 * Each loop has its own; where nobody of its own can go, another loop is asked for one of its idle clients,
 * which leaves a little later. */
#ifndef SHIELD_HTTP_ROOM_H
#define SHIELD_HTTP_ROOM_H

#include "shield/net/loop.h"

struct room;

/* What the rooms of all loops share: each other. Filled before any loop runs. */
struct rooms {
    struct room *all[LOOP_MAX];
    unsigned n;
};

/* Embed it in the client, zeroed by room_seat_init. */
struct room_seat {
    struct list_node link;
    uint64_t since_ms;
    bool is_idle;
};

struct room {
    struct loop *loop;
    struct rooms *rooms;
    struct list_node idle, mute; /* private, by since_ms */
    _Atomic uint32_t n_idle, wanted;
    struct mail mail;
    void (*on_leave)(struct room_seat *seat); /* close its connection; it has risen */
};

void room_init(struct room *r, struct rooms *rooms, struct loop *l, void (*on_leave)(struct room_seat *seat));
void room_seat_init(struct room_seat *seat);

/* We wait for a client's request from now on. idle: it has had an answer before, and nothing of the next
 * request has come: it may go at once. Else it is given a moment. */
void room_sit(struct room *r, struct room_seat *seat, bool idle);
/* No more: the head is there, or the client is gone. */
void room_rise(struct room *r, struct room_seat *seat);

/* Let one leave, here or on another loop. False when everybody is busy. */
bool room_make(struct room *r);
bool room_make_here(struct room *r);

#endif
