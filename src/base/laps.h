/*
 * How long the parts of one long step took: a start that is slow says in one line what it waited
 * for. Names are literals; what comes behind LAPS_MAX is added to the last one.
 *
 * Threads: one at a time.
 */
#ifndef EIDER_BASE_LAPS_H
#define EIDER_BASE_LAPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

enum { LAPS_MAX = 24, LAPS_TEXT_MAX = 1024 };

struct laps {
    const struct clock *clock;
    int64_t begin_us; /* monotonic, as all of it */
    int64_t last_us;
    size_t count;
    struct {
        const char *name;
        int64_t us;
    } items[LAPS_MAX];
};

void laps_start(struct laps *laps, const struct clock *clock);

/* Ends a lap: the time since the last one is `name`'s; one that was there gets it added. NULL laps
 * are fine: nobody looks. */
void laps_mark(struct laps *laps, const char *name);

/* All of it until now, in seconds. */
double laps_seconds(const struct laps *laps);

/* "database 0.21, log 0.03": those of at least `min_us`, in order, in seconds. Always ends in a
 * NUL; what does not fit is left out. */
void laps_text(const struct laps *laps, int64_t min_us, char dst[LAPS_TEXT_MAX]);

#endif
