/*
 * Consecutive failures of one upstream. Pure: time is passed in.
 *
 *   FINE --pause_after in a row--> PAUSED --pause over--> tried again; a failure pauses anew
 *     ^                              |  open_after in a row
 *     |                              v
 *     +----- open_ms over --------- OPEN          any success, in any state: FINE
 */
#ifndef EIDER_GATEWAY_BREAKER_H
#define EIDER_GATEWAY_BREAKER_H

#include "gateway/gateway.h"

struct breaker {
    struct gateway_breaker options; /* with defaults filled in */
    unsigned failures;
    enum gateway_state state;
    int64_t until_us; /* monotonic; when PAUSED or OPEN ends */
};

void breaker_init(struct breaker *breaker, const struct gateway_breaker *options);

/* Microseconds to wait before the next call; 0: it may pass. */
int64_t breaker_wait_us(struct breaker *breaker, int64_t now_us);

/* Notes how an attempt ended; true when the breaker has paused or opened by it. */
bool breaker_note(struct breaker *breaker, bool success, int64_t now_us);

/* What an attempt's status (0: no answer) means: a failure, a success, or neither. */
bool breaker_is_failure(int status);
bool breaker_is_success(int status);

#endif
