/*
 * At most `max` requests within any `window`: the times of the last `max` are kept. Pure, time
 * passed in, never going back. Not thread-safe. init/fini.
 */
#ifndef EIDER_CLIENT_LIMITER_H
#define EIDER_CLIENT_LIMITER_H

#include <stdint.h>

struct limiter {
    int64_t *times_us; /* a ring; INT64_MIN: not used yet */
    unsigned max;
    unsigned next; /* the oldest */
    int64_t window_us;
};

/* max > 0. */
void limiter_init(struct limiter *limiter, unsigned max, int64_t window_us);
void limiter_fini(struct limiter *limiter);

/* 0: the request may go, and counts; else how long it must wait, and nothing is counted. */
int64_t limiter_take(struct limiter *limiter, int64_t now_us);

#endif
