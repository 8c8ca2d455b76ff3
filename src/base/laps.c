/* Laps of one long step. */
#include "base/laps.h"

#include <stdio.h>
#include <string.h>

static const double us_per_s = 1e6;

void
laps_start(struct laps *laps, const struct clock *clock)
{
    int64_t now_us = clock_mono_us(clock);

    *laps = (struct laps){.clock = clock, .begin_us = now_us, .last_us = now_us};
}

void
laps_mark(struct laps *laps, const char *name)
{
    if (!laps) {
        return;
    }
    int64_t now_us = clock_mono_us(laps->clock);
    size_t i = 0;
    while (i < laps->count && strcmp(laps->items[i].name, name) != 0) {
        i++;
    }
    if (i == LAPS_MAX) {
        i--;
    } else if (i == laps->count) {
        laps->items[laps->count++].name = name;
    }
    laps->items[i].us += now_us - laps->last_us;
    laps->last_us = now_us;
}

double
laps_seconds(const struct laps *laps)
{
    return (double)(clock_mono_us(laps->clock) - laps->begin_us) / us_per_s;
}

void
laps_text(const struct laps *laps, int64_t min_us, char dst[LAPS_TEXT_MAX])
{
    size_t used = 0;

    dst[0] = '\0';
    for (size_t i = 0; i < laps->count; i++) {
        if (laps->items[i].us < min_us) {
            continue;
        }
        int len = snprintf(dst + used, LAPS_TEXT_MAX - used, "%s%s %.3f", used > 0 ? ", " : "",
                           laps->items[i].name, (double)laps->items[i].us / us_per_s);
        if (len < 0 || (size_t)len >= LAPS_TEXT_MAX - used) {
            dst[used] = '\0';
            return;
        }
        used += (size_t)len;
    }
}
