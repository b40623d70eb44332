#include "shield/http/room.h"

#include "common/check.h"

/* One that has just come has its request on the way: to close it for the next one would serve nobody. */
enum { MOMENT_MS = 1000 };

static void deliver_wanted(struct mail *m)
{
    struct room *r = container_of(m, struct room, mail);
    uint32_t n = atomic_exchange(&r->wanted, 0);
    while (n-- > 0 && room_make_here(r))
        ;
}

void room_init(struct room *r, struct rooms *rooms, struct loop *l, void (*on_leave)(struct room_seat *seat))
{
    REQUIRE(rooms->n < LOOP_MAX);
    *r = (struct room){.loop = l, .rooms = rooms, .mail.deliver = deliver_wanted, .on_leave = on_leave};
    list_init(&r->idle);
    list_init(&r->mute);
    rooms->all[rooms->n++] = r;
}

void room_seat_init(struct room_seat *seat)
{
    *seat = (struct room_seat){0};
    list_init(&seat->link);
}

/* Only its own loop changes it: no locked instruction for each request. */
static void count_idle(struct room *r, int by)
{
    uint32_t n = atomic_load_explicit(&r->n_idle, memory_order_relaxed);
    atomic_store_explicit(&r->n_idle, n + (uint32_t)by, memory_order_relaxed);
}

void room_sit(struct room *r, struct room_seat *seat, bool idle)
{
    room_rise(r, seat);
    seat->is_idle = idle;
    seat->since_ms = loop_now_ms(r->loop);
    list_add_tail(idle ? &r->idle : &r->mute, &seat->link);
    if (idle)
        count_idle(r, 1);
}

void room_rise(struct room *r, struct room_seat *seat)
{
    if (!list_linked(&seat->link))
        return;
    list_remove(&seat->link);
    if (seat->is_idle)
        count_idle(r, -1);
}

static struct room_seat *first_of(struct list_node *list)
{
    return list_empty(list) ? NULL : container_of(list->next, struct room_seat, link);
}

bool room_make_here(struct room *r)
{
    struct room_seat *idle = first_of(&r->idle), *mute = first_of(&r->mute);
    bool is_mute_over = mute != NULL && loop_now_ms(r->loop) - mute->since_ms >= MOMENT_MS;
    struct room_seat *seat = is_mute_over ? mute : idle; /* who has not even asked first */
    if (seat == NULL)
        return false;
    room_rise(r, seat);
    r->on_leave(seat);
    return true;
}

/* Theirs may have got busy when the mail is there: then there is one client too many for a while. */
static bool ask_another(struct room *r)
{
    for (unsigned i = 0; i < r->rooms->n; i++) {
        struct room *other = r->rooms->all[i];
        if (other == r || atomic_load(&other->n_idle) <= atomic_load(&other->wanted))
            continue;
        if (atomic_fetch_add(&other->wanted, 1) == 0)
            loop_post(other->loop, &other->mail);
        return true;
    }
    return false;
}

bool room_make(struct room *r)
{
    return room_make_here(r) || ask_another(r);
}
