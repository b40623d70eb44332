#include "shield/flight/flight_impl.h"

#include "common/clock.h"
#include "common/err.h"
#include "shield/flight/flight_storing.h"
#include "shield/purge/purge_object.h"

/* Fetches that a purge overtakes (DESIGN.md section 7). Who waits without a head looks up again, and all of
 * them meet in one new flight, since this one has left the table; who has been told of a head asks the log
 * himself before he writes it. */

/* A pass is its client's own: nothing of it is for anybody else, and nothing of it was stored. */
static bool may_be_overtaken(const struct flight *f)
{
    return f->what.mode != FORWARD_PASS && atomic_load(&f->purge_number) != FLIGHT_UNNUMBERED;
}

static bool has_object(const struct flight *f)
{
    enum flight_news news = (enum flight_news)atomic_load_explicit(&f->news, memory_order_acquire);
    return loop_is_current(f->env->loop) ? f->object != NULL : news >= NEWS_HEAD && news < NEWS_FENCED;
}

bool flight_is_purged(struct flight *f)
{
    struct purge_subject s = {.key = f->what.key, .number = atomic_load(&f->purge_number)};
    if (!may_be_overtaken(f) || purge_log_is_quiet(f->env->purges, s.number, NULL))
        return false;
    if (has_object(f))
        s.tags = object_head(f->object)->tags;
    return purge_log_check(f->env->purges, &s, clock_wall_ms(), NULL, NULL) != PURGE_NONE;
}

uint64_t flight_purge_number(const struct flight *f)
{
    return atomic_load(&f->purge_number);
}

bool flight_stored_is_purged(const struct flight *f)
{
    return f->what.stored != NULL &&
           purge_object_check(f->env->purges, f->what.stored, clock_wall_ms(), NULL) == PURGE_HARD;
}

static void end_without_head(struct flight *f)
{
    origin_call_cancel(&f->call);
    if (f->object != NULL && object_state(f->object) == OBJECT_FILLING) {
        object_fail(f->object, ERR_GONE);
        flight_stop_storing(f);
    }
    flight_enter(f, F_FAILED);
    flight_publish(f, NEWS_FENCED);
    flight_retire(f);
}

void flight_overtake(struct flight *f)
{
    if (f->overtaken || flight_is_over(f))
        return;
    f->overtaken = true;
    metric_count(f->env->loop->metrics, FENCED_FLIGHTS);
    flight_detach(f); /* out of the table, before anybody looks up again */
    atomic_store(&f->fenced, true);
    if (f->state == F_HEAD) {
        end_without_head(f);
        return;
    }
    f->deferred = false;
    flight_publish(f, NEWS_FENCED);
    flight_check(f); /* it is worth nothing to nobody */
}

void flight_env_fence(struct flight_env *env)
{
    list_each_safe (n, &env->running) {
        struct flight *f = container_of(n, struct flight, running_link);
        if (flight_is_purged(f))
            flight_overtake(f);
    }
}
