/* The limit of requests. */
#include "client/limiter.h"

#include <stdlib.h>

#include "base/mem.h"

void
limiter_init(struct limiter *limiter, unsigned max, int64_t window_us)
{
    *limiter = (struct limiter){
        .times_us = mem_zalloc(max, sizeof(int64_t)), .max = max, .window_us = window_us};
    for (unsigned i = 0; i < max; i++) {
        limiter->times_us[i] = INT64_MIN;
    }
}

void
limiter_fini(struct limiter *limiter)
{
    free(limiter->times_us);
    limiter->times_us = NULL;
}

int64_t
limiter_take(struct limiter *limiter, int64_t now_us)
{
    int64_t oldest_us = limiter->times_us[limiter->next];

    if (oldest_us != INT64_MIN && now_us - oldest_us < limiter->window_us) {
        return limiter->window_us - (now_us - oldest_us);
    }
    limiter->times_us[limiter->next] = now_us;
    limiter->next = (limiter->next + 1) % limiter->max;
    return 0;
}
