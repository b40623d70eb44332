#include "shield/flight/flight_impl.h"

/* Interim responses (RFC 9110 section 15.2): the origin's 1xx go on to whoever waits for its final head.
 *
 * They answer the request that was sent, and whether the final answer may be shared is not known yet. So the
 * client whose request it was gets all of them at once. Who has joined gets them too, and who joins before
 * the final head what has come so far, since a hint (RFC 8297) is as good as ever; but
 *  - not what sets a cookie: that is the first client's alone,
 *  - and where the request had a Cookie, only together with a final head that is for everyone: hints may name
 *    what is private to that user.
 * Who joins behind the final head reads what is there, like a hit, and gets none. Nothing of it is stored. */

/* It lives in the arena, which the owner alone fills; the pointer to it is published last. */
void flight_take_interim(struct flight *f, const struct http_head *head)
{
    struct loop *l = f->env->loop;
    struct buf *text = loop_scratch(l);
    policy_interim_head(text, l->config, head);
    struct flight_interim *i = arena_alloc(&f->arena, sizeof *i);
    if (i == NULL || text->failed)
        return; /* one hint less: the answer is still to come */
    *i = (struct flight_interim){.status = head->status,
                                 .sets_cookie = http_has(head, FIELD_SET_COOKIE),
                                 .head = arena_span(&f->arena, buf_span(text))};
    if (i->head.p == NULL)
        return;
    struct flight_interim *last = f->last_interim;
    atomic_store_explicit(last != NULL ? &last->next : &f->interims, i, memory_order_release);
    f->last_interim = i;
    flight_broadcast(f);
}

static const struct flight_interim *behind(const struct flight *f, const struct flight_interim *last)
{
    return atomic_load_explicit(last != NULL ? &last->next : &f->interims, memory_order_acquire);
}

static bool may_have_some(const struct flight_waiter *w)
{
    const struct flight *f = w->flight;
    if (f == NULL || w->came_late)
        return false;
    return w->is_leader || w->told_head || !http_has(&f->request_head, FIELD_COOKIE);
}

/* Gives the next one for `w` without taking it; passes over what it may not have. */
static const struct flight_interim *find_next(struct flight_waiter *w)
{
    if (!may_have_some(w))
        return NULL;
    const struct flight_interim *i = behind(w->flight, w->last_interim);
    while (i != NULL && i->sets_cookie && !w->is_leader) {
        w->last_interim = i;
        i = behind(w->flight, i);
    }
    return i;
}

bool flight_has_interim(struct flight_waiter *w)
{
    return find_next(w) != NULL;
}

const struct flight_interim *flight_next_interim(struct flight_waiter *w)
{
    const struct flight_interim *i = find_next(w);
    if (i != NULL)
        w->last_interim = i;
    return i;
}
