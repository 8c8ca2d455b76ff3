/* The breaker of an upstream. */
#include "gateway/breaker.h"

enum {
    PAUSE_AFTER = 10,
    OPEN_AFTER = 20,
    PAUSE_MS = 60000,
    OPEN_MS = 300000,
    US_PER_MS = 1000,
};

void
breaker_init(struct breaker *breaker, const struct gateway_breaker *options)
{
    *breaker = (struct breaker){.options = *options, .state = UPSTREAM_FINE};
    struct gateway_breaker *own = &breaker->options;
    own->pause_after = own->pause_after ? own->pause_after : PAUSE_AFTER;
    own->open_after = own->open_after ? own->open_after : OPEN_AFTER;
    own->pause_ms = own->pause_ms ? own->pause_ms : PAUSE_MS;
    own->open_ms = own->open_ms ? own->open_ms : OPEN_MS;
}

int64_t
breaker_wait_us(struct breaker *breaker, int64_t now_us)
{
    if (breaker->state == UPSTREAM_FINE) {
        return 0;
    }
    if (now_us < breaker->until_us) {
        return breaker->until_us - now_us;
    }
    if (breaker->state == UPSTREAM_OPEN) {
        breaker->failures = 0;
    }
    breaker->state = UPSTREAM_FINE;
    return 0;
}

bool
breaker_note(struct breaker *breaker, bool success, int64_t now_us)
{
    const struct gateway_breaker *options = &breaker->options;
    enum gateway_state before = breaker->state;

    if (options->off) {
        return false;
    }
    if (success) {
        breaker->failures = 0;
        breaker->state = UPSTREAM_FINE;
        return false;
    }
    if (before == UPSTREAM_OPEN) {
        return false; /* a call that was under way when it opened */
    }
    breaker->failures++;
    if (breaker->failures >= options->open_after) {
        breaker->state = UPSTREAM_OPEN;
        breaker->until_us = now_us + options->open_ms * US_PER_MS;
    } else if (breaker->failures >= options->pause_after) {
        breaker->state = UPSTREAM_PAUSED;
        breaker->until_us = now_us + options->pause_ms * US_PER_MS;
    }
    return breaker->state != before;
}

bool
breaker_is_failure(int status)
{
    return status == 0 || status == 429 || status >= 500;
}

bool
breaker_is_success(int status)
{
    return status >= 200 && status < 400;
}
