#include "shield/flight/flight_impl.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/err.h"
#include "shield/policy/vary.h"

static _Atomic uint64_t waiters_total;

/* ---- delivery, on the seat's loop ---- */

static void unlink_waiter(struct flight *f, struct flight_waiter *w)
{
    struct seat *seat = &f->seats[loop_current()->id];
    list_remove(&w->link);
    w->flight = NULL;
    if (--seat->n_waiters == 0)
        atomic_store(&seat->occupied, false);
    atomic_fetch_sub(&waiters_total, 1);
    metric_move(seat->loop->metrics, WAITERS, -1);
    atomic_fetch_sub(&f->waiters, 1);
    if (w->is_background)
        atomic_fetch_sub(&f->background, 1);
    flight_unref(f);
}

static void dismiss(struct flight *f, struct flight_waiter *w, enum flight_event ev, int err)
{
    w->err = err;
    w->limit = LIMIT_MAX_QUEUED; /* of the errors that come from a fetch, ERR_BUSY is its gate's */
    unlink_waiter(f, w);
    w->on_event(w, ev);
}

static bool wants_other(const struct flight_waiter *w, struct span names, struct span variant)
{
    if (names.len == 0 || w->is_leader)
        return false;
    struct loop *here = loop_current();
    struct buf *mine = loop_scratch(here);
    policy_vary_key(here->config, names, w->request, mine);
    return mine->failed || !span_eq(buf_span(mine), variant);
}

static bool is_other_variant(const struct flight *f, const struct flight_waiter *w)
{
    const struct stored_head *h = object_head(f->object);
    return wants_other(w, h->names, h->variant);
}

static void tell_head(struct flight *f, struct flight_waiter *w, enum flight_news news)
{
    if (news == NEWS_HEAD_ALONE && !w->is_leader) {
        dismiss(f, w, FLIGHT_RELEASED, 0);
    } else if (news == NEWS_ERROR_ALONE && !w->is_leader) {
        bool unavailable = object_head(f->object)->facts.status == 503;
        w->retry_after_s = f->retry_after_s;
        dismiss(f, w, FLIGHT_FAILED, unavailable ? ERR_PRIVATE_UNAVAILABLE : ERR_PRIVATE_ERROR);
    } else if (object_state(f->object) == OBJECT_FAILED) {
        int err = object_error(f->object);
        dismiss(f, w, err == ERR_GONE ? FLIGHT_AGAIN : FLIGHT_FAILED, err);
    } else if (is_other_variant(f, w)) {
        dismiss(f, w, FLIGHT_VARIED, 0);
    } else if (w->wants_range && !w->is_leader && !f->kept && object_head(f->object)->facts.status == 200) {
        dismiss(f, w, FLIGHT_RELEASED, 0);
    } else {
        w->told_head = true;
        w->told_bytes = object_ready(f->object);
        hist_record(&loop_current()->metrics->hists[HIST_WAITER_WAIT], clock_mono_us() - w->joined_us);
        w->on_event(w, FLIGHT_HEAD);
    }
}

static void tell_interim(struct flight_waiter *w)
{
    if (flight_has_interim(w))
        w->on_event(w, FLIGHT_INTERIM);
}

static void tell(struct flight *f, struct flight_waiter *w)
{
    enum flight_news news = (enum flight_news)atomic_load_explicit(&f->news, memory_order_acquire);
    if (news == NEWS_AGAIN) {
        dismiss(f, w, FLIGHT_AGAIN, 0);
    } else if (news == NEWS_FENCED && !w->told_head) {
        dismiss(f, w, FLIGHT_FENCED, 0);
    } else if (news == NEWS_FAILED) {
        dismiss(f, w, FLIGHT_FAILED, f->err);
    } else if (news == NEWS_SWITCHED) {
        w->on_event(w, FLIGHT_SWITCHED);
    } else if (news == NEWS_VARIANT) {
        if (wants_other(w, f->asked_names, f->asked_variant))
            dismiss(f, w, FLIGHT_VARIED, 0);
        else
            tell_interim(w);
    } else if (news == NEWS_NONE) {
        tell_interim(w);
    } else if (!w->told_head) {
        if (news != NEWS_HEAD_LEADER || w->is_leader)
            tell_head(f, w, news);
    } else {
        enum object_state state = object_state(f->object);
        uint64_t ready = object_ready(f->object);
        bool may_be_fenced = news == NEWS_FENCED; /* who has not written his head yet looks again */
        if (state == OBJECT_FILLING && ready == w->told_bytes && !may_be_fenced)
            return;
        w->told_bytes = ready;
        w->on_event(w, FLIGHT_PROGRESS);
    }
}

/* ---- mail to the owner ---- */

static void deliver_check(struct mail *m)
{
    struct flight *f = container_of(m, struct flight, check_mail);
    atomic_exchange(&f->check_mailed, false);
    flight_check(f);
    flight_unref(f); /* the mail's */
}

static void mail_check(struct flight *f)
{
    if (atomic_exchange(&f->check_mailed, true))
        return;
    flight_ref(f);
    f->check_mail.deliver = deliver_check;
    loop_post(f->env->loop, &f->check_mail);
}

static bool find_lowest(struct seat *seat)
{
    uint64_t lowest = UINT64_MAX;
    list_each (n, &seat->waiters)
        lowest = MIN(lowest, container_of(n, struct flight_waiter, link)->position);
    return atomic_exchange(&seat->lowest, lowest) != lowest;
}

/* ---- mail to a seat ---- */

static void deliver_seat(struct mail *m)
{
    struct seat *seat = container_of(m, struct seat, mail);
    struct flight *f = seat->flight;
    atomic_exchange(&seat->mailed, false); /* and see all that was published before it was set */
    if (atomic_load_explicit(&f->news, memory_order_acquire) != NEWS_NONE ||
        atomic_load(&f->interims) != NULL) {
        /* Once round the list. Whoever is told may leave, or make others leave: then some are told twice,
         * which says nothing new to them. */
        for (uint32_t n = seat->n_waiters; n > 0 && !list_empty(&seat->waiters); n--) {
            struct flight_waiter *w = container_of(seat->waiters.next, struct flight_waiter, link);
            list_remove(&w->link);
            list_add_tail(&seat->waiters, &w->link);
            tell(f, w);
        }
        if (flight_is_paced(f) && find_lowest(seat)) /* it may have become so since they read */
            mail_check(f);
    }
    flight_unref(f); /* the mail's */
}

static void mail_seat(struct seat *seat)
{
    if (atomic_exchange(&seat->mailed, true))
        return;
    flight_ref(seat->flight);
    seat->mail.deliver = deliver_seat;
    loop_post(seat->loop, &seat->mail);
}

/* A joiner first marks its seat occupied, then looks at the news (in the mail that it sends itself); the
 * owner first publishes the news, then looks who is seated. The fences make sure that at least one of the two
 * sees the other. */
void flight_broadcast(struct flight *f)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < f->env->n_loops; i++)
        if (atomic_load(&f->seats[i].occupied))
            mail_seat(&f->seats[i]);
}

/* ---- joining and leaving, on the waiter's loop ---- */

void flight_count_collapsed(struct flight *f, struct loop *here)
{
    if (atomic_load(&f->asked))
        metric_move(here->metrics, COLLAPSED, atomic_exchange(&f->uncounted, 0));
}

bool flight_may_join(const struct flight *f, const struct config *cfg, enum limit_name *limit)
{
    *limit = LIMIT_MAX_WAITERS;
    if (atomic_load(&f->waiters) >= cfg->flight.max_waiters)
        return false;
    *limit = LIMIT_MAX_WAITERS_TOTAL;
    return atomic_load(&waiters_total) < cfg->flight.max_waiters_total;
}

int flight_join(struct flight *f, struct loop *here, struct flight_waiter *w)
{
    REQUIRE(loop_is_current(here) && w->flight == NULL);
    if (!flight_may_join(f, here->config, &w->limit)) {
        metric_add(&here->metrics->limits[w->limit], 1);
        return ERR_BUSY;
    }
    atomic_fetch_add(&waiters_total, 1);
    if (w->is_background)
        atomic_fetch_add(&f->background, 1);
    atomic_fetch_add(&f->waiters, 1);
    metric_move(here->metrics, WAITERS, 1);

    struct seat *seat = &f->seats[here->id];
    w->flight = flight_ref(f);
    w->told_head = false;
    w->came_late = atomic_load(&f->news) >= NEWS_HEAD;
    w->last_interim = NULL;
    w->told_bytes = w->position = 0;
    w->err = 0;
    w->joined_us = clock_mono_us();
    list_add_tail(&seat->waiters, &w->link);
    seat->n_waiters++;
    atomic_store(&seat->lowest, 0);
    atomic_store(&seat->occupied, true);
    atomic_thread_fence(memory_order_seq_cst);
    mail_seat(seat);
    if (!w->is_leader && !w->is_background) {
        atomic_fetch_add(&f->uncounted, 1);
        flight_count_collapsed(f, here);
    }
    if (f->what.kind == KIND_REFRESH && !w->is_background)
        mail_check(f); /* it is in the background no longer */
    return 0;
}

void flight_leave(struct flight_waiter *w)
{
    struct flight *f = w->flight;
    if (f == NULL)
        return;
    if (w->is_leader && f->leader == w) /* the leader sits on the owner's loop; no other may look */
        f->leader = NULL;
    flight_ref(f);
    struct seat *seat = &f->seats[loop_current()->id];
    unlink_waiter(f, w);
    bool paced = atomic_load(&f->paced);
    if (paced)
        find_lowest(seat);
    if (paced || atomic_load(&f->waiters) == 0)
        mail_check(f);
    flight_unref(f);
}

bool flight_is_paced(const struct flight *f)
{
    return atomic_load_explicit(&f->paced, memory_order_acquire);
}

void flight_waiter_read_to(struct flight_waiter *w, uint64_t position)
{
    struct flight *f = w->flight;
    uint64_t before = w->position;
    w->position = position;
    if (f == NULL || !flight_is_paced(f))
        return;
    uint32_t chunk_bytes = object_chunk_bytes(f->object); /* nothing smaller leaves memory */
    bool matters = before / chunk_bytes != position / chunk_bytes || atomic_load(&f->holding);
    if (before != position && matters && find_lowest(&f->seats[loop_current()->id]))
        mail_check(f);
}

uint64_t flight_lowest_position(struct flight *f)
{
    uint64_t lowest = UINT64_MAX;
    for (unsigned i = 0; i < f->env->n_loops; i++)
        if (atomic_load(&f->seats[i].occupied))
            lowest = MIN(lowest, atomic_load(&f->seats[i].lowest));
    return lowest;
}
