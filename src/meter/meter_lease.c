/* Leases: reservations whose time is over are closed; the meter's own thread sees to it. */
#include <limits.h>
#include <time.h>

#include "codec/time.h"
#include "meter/meter_private.h"

enum { EXPIRE_AT_ONCE_MAX = 1000, WAIT_MAX_US = 500000 };

static void
expire(struct meter *meter, struct reservation *reservation)
{
    struct op *op = op_new(meter, OP_EXPIRE, NULL, NULL);

    op->window_us = budgets_time(meter->budgets, op->at_us);
    op->reservation = reservation;
    op->credits = reservation->credits;
    op->expires_us = reservation->expires_us;
    budgets_release(meter->budgets, &reservation->hold, reservation->credits, true);
    reservations_close(&meter->reservations, reservation, RESERVATION_EXPIRED);
    reservation->result = (struct reservation_result){.closed_us = op->at_us};
    op_enqueue(meter, op);
}

int64_t
lease_expire(struct meter *meter)
{
    int64_t now_us = clock_mono_us(meter->clock);
    struct reservation *first = reservations_first(&meter->reservations);
    size_t count = 0;

    budgets_time(meter->budgets, clock_wall_us(meter->clock)); /* a step forward is seen */
    if (now_us < meter->retry_at_us) {
        return first ? meter->retry_at_us : INT64_MAX;
    }
    while (first && first->deadline_us <= now_us && count++ < EXPIRE_AT_ONCE_MAX) {
        expire(meter, first);
        first = reservations_first(&meter->reservations);
    }
    return first ? first->deadline_us : INT64_MAX;
}

/* Waits until the next lease's end, at most half a second: the clock may be one that stands still.
 */
static void
wait_until(struct meter *meter, int64_t deadline_us)
{
    int64_t wait_us = WAIT_MAX_US;
    int64_t now_us = clock_mono_us(meter->clock);
    struct timespec at;

    if (deadline_us < now_us + wait_us) {
        wait_us = deadline_us > now_us ? deadline_us - now_us + 1 : 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t until_us = at.tv_sec * TIME_US_PER_S + at.tv_nsec / 1000 + wait_us;
    at.tv_sec = until_us / TIME_US_PER_S;
    at.tv_nsec = until_us % TIME_US_PER_S * 1000;
    pthread_cond_timedwait(&meter->changed, &meter->lock, &at);
}

void *
lease_thread(void *arg)
{
    struct meter *meter = arg;

    pthread_mutex_lock(&meter->lock);
    while (!meter->closing) {
        int64_t deadline_us = lease_expire(meter);
        meter_note_breakers(meter);
        if (meter->pending.first && !meter->in_flight) {
            pthread_mutex_unlock(&meter->lock);
            meter_flush(meter);
            pthread_mutex_lock(&meter->lock);
            continue;
        }
        wait_until(meter, deadline_us);
    }
    pthread_mutex_unlock(&meter->lock);
    return NULL;
}
