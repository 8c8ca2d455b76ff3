/* The alerts of the collectors: one active at most of a type, and the newest that were. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec/time.h"
#include "live/live_internal.h"

static void
copy_text(char *dst, size_t size, const char *text)
{
    snprintf(dst, size, "%s", text);
}

static struct live_alert *
find_active(struct live *live, const char *type)
{
    for (size_t i = 0; i < live->alert_count; i++) {
        if (live->alerts[i].active && strcmp(live->alerts[i].type, type) == 0) {
            return &live->alerts[i];
        }
    }
    return NULL;
}

/* Makes room at the end: the oldest cleared alert goes, or the oldest at all. */
static struct live_alert *
new_alert(struct live *live)
{
    if (live->alert_count == LIVE_ALERTS_KEPT) {
        size_t gone = 0;
        while (gone < LIVE_ALERTS_KEPT && live->alerts[gone].active) {
            gone++;
        }
        gone = gone == LIVE_ALERTS_KEPT ? 0 : gone;
        memmove(&live->alerts[gone], &live->alerts[gone + 1],
                (LIVE_ALERTS_KEPT - 1 - gone) * sizeof(live->alerts[0]));
        live->alert_count--;
    }
    struct live_alert *alert = &live->alerts[live->alert_count++];
    *alert = (struct live_alert){0};
    return alert;
}

bool
live_alert_set(struct live *live, const char *type, bool active, const char *severity,
               const char *message)
{
    char key[sizeof(live->alerts[0].type)];

    copy_text(key, sizeof(key), type);
    pthread_mutex_lock(&live->lock);
    struct live_alert *alert = find_active(live, key);
    bool changed = active != (alert != NULL);
    int64_t now_us = clock_wall_us(live->clock);
    if (active && !alert) {
        alert = new_alert(live);
        snprintf(alert->id, sizeof(alert->id), "%s_%" PRId64, key, now_us / TIME_US_PER_S);
        memcpy(alert->type, key, sizeof(key));
        alert->raised_us = now_us;
        alert->active = true;
    }
    if (active) {
        copy_text(alert->severity, sizeof(alert->severity), severity ? severity : "warning");
        copy_text(alert->message, sizeof(alert->message), message ? message : "");
    } else if (alert) {
        alert->active = false;
        alert->cleared_us = now_us;
    }
    pthread_mutex_unlock(&live->lock);
    return changed;
}

bool
live_alert_acknowledge(struct live *live, struct slice id)
{
    bool found = false;

    pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < live->alert_count && !found; i++) {
        if (slice_is(id, live->alerts[i].id)) {
            found = true;
            if (live->alerts[i].acknowledged_us == 0) {
                live->alerts[i].acknowledged_us = clock_wall_us(live->clock);
            }
        }
    }
    pthread_mutex_unlock(&live->lock);
    return found;
}

size_t
live_alerts(struct live *live, struct live_alert *ret_alerts, size_t max)
{
    pthread_mutex_lock(&live->lock);
    size_t count = live->alert_count < max ? live->alert_count : max;
    for (size_t i = 0; i < count; i++) {
        ret_alerts[i] = live->alerts[live->alert_count - 1 - i];
    }
    pthread_mutex_unlock(&live->lock);
    return count;
}

size_t
live_alerts_active(struct live *live)
{
    size_t count = 0;

    pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < live->alert_count; i++) {
        count += live->alerts[i].active;
    }
    pthread_mutex_unlock(&live->lock);
    return count;
}
