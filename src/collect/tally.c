/* Accounts and ticks of collectors. Waiting uses the kernel's clock and not the collector's, which
 * a test may have stopped. */
#include "collect/tally.h"

#include <stdio.h>
#include <time.h>

enum { US_PER_S = 1000000, NS_PER_US = 1000, TICKS_BEHIND_MAX = 10 };

void
tally_init(struct tally *tally, const char *name, const struct clock *clock)
{
    pthread_condattr_t attr;

    *tally = (struct tally){.clock = clock};
    pthread_mutex_init(&tally->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&tally->changed, &attr);
    pthread_condattr_destroy(&attr);
    tally->started_mono_us = clock_mono_us(clock);
    tally->status.name = name;
    tally->status.running = true;
    tally->status.started_us = clock_wall_us(clock);
}

void
tally_fini(struct tally *tally)
{
    pthread_cond_destroy(&tally->changed);
    pthread_mutex_destroy(&tally->lock);
}

void
tally_write(struct tally *tally, enum err_code code, const struct err *err, uint64_t rows)
{
    if (code) {
        tally_error(tally, err->msg);
        return;
    }
    pthread_mutex_lock(&tally->lock);
    tally->status.metrics_collected += rows;
    tally->status.last_success_us = clock_wall_us(tally->clock);
    pthread_mutex_unlock(&tally->lock);
}

void
tally_error(struct tally *tally, const char *text)
{
    pthread_mutex_lock(&tally->lock);
    tally->status.errors++;
    snprintf(tally->status.last_error, sizeof(tally->status.last_error), "%s", text);
    pthread_mutex_unlock(&tally->lock);
}

void
tally_status(struct tally *tally, struct collect_status *ret_status)
{
    pthread_mutex_lock(&tally->lock);
    *ret_status = tally->status;
    ret_status->uptime_seconds =
        (double)(clock_mono_us(tally->clock) - tally->started_mono_us) / US_PER_S;
    pthread_mutex_unlock(&tally->lock);
}

void
tally_stop(struct tally *tally)
{
    pthread_mutex_lock(&tally->lock);
    tally->stopping = true;
    tally->status.running = false;
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->lock);
}

bool
tally_is_stopping(struct tally *tally)
{
    pthread_mutex_lock(&tally->lock);
    bool stopping = tally->stopping;
    pthread_mutex_unlock(&tally->lock);
    return stopping;
}

bool
tally_wait_tick(struct tally *tally, int64_t *next_us, int64_t tick_us)
{
    struct timespec until = {.tv_sec = *next_us / US_PER_S,
                             .tv_nsec = *next_us % US_PER_S * NS_PER_US};

    pthread_mutex_lock(&tally->lock);
    while (!tally->stopping && pthread_cond_timedwait(&tally->changed, &tally->lock, &until) == 0) {
    }
    bool stopping = tally->stopping;
    pthread_mutex_unlock(&tally->lock);
    int64_t now_us = clock_mono_us(clock_system());
    *next_us += tick_us;
    if (*next_us < now_us - TICKS_BEHIND_MAX * tick_us) {
        *next_us = now_us + tick_us;
    }
    return !stopping;
}
