/* The system's clocks, and one for tests. */
#include "base/clock.h"

#include <time.h>

enum { US_PER_S = 1000000, NS_PER_US = 1000 };

static int64_t
read_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US;
}

static int64_t
system_wall_us(const struct clock *clock)
{
    (void)clock;
    return read_us(CLOCK_REALTIME);
}

static int64_t
system_mono_us(const struct clock *clock)
{
    (void)clock;
    return read_us(CLOCK_MONOTONIC);
}

const struct clock *
clock_system(void)
{
    static const struct clock system = {system_wall_us, system_mono_us};

    return &system;
}

static int64_t
manual_wall_us(const struct clock *clock)
{
    return ((const struct clock_manual *)clock)->wall_now_us;
}

static int64_t
manual_mono_us(const struct clock *clock)
{
    return ((const struct clock_manual *)clock)->mono_now_us;
}

void
clock_manual_init(struct clock_manual *manual, int64_t wall_us)
{
    *manual =
        (struct clock_manual){.clock = {manual_wall_us, manual_mono_us}, .wall_now_us = wall_us};
}

void
clock_manual_advance(struct clock_manual *manual, int64_t delta_us)
{
    manual->wall_now_us += delta_us;
    manual->mono_now_us += delta_us;
}
