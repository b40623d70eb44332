/* clock - the two times: one that only goes forward, and the one of calendars. Any thread. */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t clock_mono_us(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000;
}

static inline uint64_t clock_mono_ms(void)
{
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

static inline int64_t clock_wall_ms(void) /* since 1970, UTC */
{
    return (int64_t)(clock_ns(CLOCK_REALTIME) / 1000000);
}

#endif
