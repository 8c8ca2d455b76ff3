/*
 * Time is passed in, never read: whoever needs it holds a `const struct clock *`, which tests
 * replace. Wall time is microseconds since 1970-01-01 UTC and may jump; monotonic time is
 * microseconds since some start and does not.
 *
 * Threads: clock_system() may be used by all.
 */
#ifndef EIDER_BASE_CLOCK_H
#define EIDER_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_us)(const struct clock *clock);
    int64_t (*mono_us)(const struct clock *clock);
};

const struct clock *clock_system(void);

static inline int64_t
clock_wall_us(const struct clock *clock)
{
    return clock->wall_us(clock);
}

static inline int64_t
clock_mono_us(const struct clock *clock)
{
    return clock->mono_us(clock);
}

/* A clock that stands still until it is set; for tests. */
struct clock_manual {
    struct clock clock; /* first, so that &manual->clock can be passed */
    int64_t wall_now_us;
    int64_t mono_now_us;
};

void clock_manual_init(struct clock_manual *manual, int64_t wall_us);
void clock_manual_advance(struct clock_manual *manual, int64_t delta_us);

#endif
