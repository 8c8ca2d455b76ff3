/*
 * The breaker of an account: counts failures in a row (compat: of all keys together). Pure, time
 * passed in; the states are those of eider_birdeye_breaker:
 *
 *   RUNNING --10--> PAUSED --60 s: count from 0--> RUNNING
 *   RUNNING, PAUSED --20--> OPEN --5 min: count from 0--> RUNNING
 *   any --a 2xx--> RUNNING
 *
 * Not thread-safe.
 */
#ifndef EIDER_CLIENT_STREAK_H
#define EIDER_CLIENT_STREAK_H

#include "eider/birdeye.h"

enum { STREAK_PAUSE_AT = 10, STREAK_OPEN_AT = 20 };

#define STREAK_PAUSE_US INT64_C(60000000)
#define STREAK_OPEN_US INT64_C(300000000)

struct streak {
    enum eider_birdeye_breaker state;
    unsigned failures;
    int64_t until_us; /* monotonic; of PAUSED and OPEN */
};

/* The state now: what is over is left. *ret_wait_us: what is left of PAUSED and OPEN, 0 else. */
enum eider_birdeye_breaker streak_state(struct streak *streak, int64_t now_us,
                                        int64_t *ret_wait_us);

/* Counts an attempt; `status` 0: no answer. 429 and 403 count twice. */
void streak_result(struct streak *streak, int status, int64_t now_us);

#endif
