/* The account's breaker. */
#include "client/streak.h"

enum { HTTP_FORBIDDEN = 403, HTTP_TOO_MANY = 429 };

enum eider_birdeye_breaker
streak_state(struct streak *streak, int64_t now_us, int64_t *ret_wait_us)
{
    if (streak->state != EIDER_BIRDEYE_RUNNING && now_us >= streak->until_us) {
        *streak = (struct streak){0};
    }
    *ret_wait_us = streak->state == EIDER_BIRDEYE_RUNNING ? 0 : streak->until_us - now_us;
    return streak->state;
}

void
streak_result(struct streak *streak, int status, int64_t now_us)
{
    int64_t unused;

    if (status >= 200 && status < 300) {
        *streak = (struct streak){0};
        return;
    }
    (void)streak_state(streak, now_us, &unused);
    streak->failures += status == HTTP_TOO_MANY || status == HTTP_FORBIDDEN ? 2 : 1;
    if (streak->failures >= STREAK_OPEN_AT && streak->state != EIDER_BIRDEYE_OPEN) {
        streak->state = EIDER_BIRDEYE_OPEN;
        streak->until_us = now_us + STREAK_OPEN_US;
    } else if (streak->failures >= STREAK_PAUSE_AT && streak->state == EIDER_BIRDEYE_RUNNING) {
        streak->state = EIDER_BIRDEYE_PAUSED;
        streak->until_us = now_us + STREAK_PAUSE_US;
    }
}
