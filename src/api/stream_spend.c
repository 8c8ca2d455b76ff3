/*
 * Budgets in the live stream: what the topic "spend" shows of the meter. Asking it costs time under
 * the lock that every reserve needs, so the answer is kept for twenty times as long as it took to
 * get, and shared by all frames made meanwhile.
 *
 * Threads: written on the stream's tick, and by whoever else asks the live state for the part.
 */
#include "api/stream_spend.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "api/metering.h"
#include "base/mem.h"
#include "live/live.h"

enum { SHOWN_MAX = 256, REST_FACTOR = 20 };

/* A counter, copied: views live only under the meter's lock. */
struct shown {
    char name[BUDGET_NAME_MAX + 1];
    char instance[BUDGET_VALUE_MAX + 64];
    const char *state; /* a literal */
    enum budget_mode mode;
    int64_t used, reserved, hard_limit, soft_limit, forecast_us;
};

struct stream_spend {
    struct api *api;
    pthread_mutex_t lock; /* guards what follows; the meter's lock is taken within */
    struct buf json;      /* the members as they were written last */
    int64_t next_us;      /* monotonic: when to ask again */
    struct shown shown[SHOWN_MAX];
    size_t count;
    size_t total;
};

/* How much of its limit a counter has used up; what is over is all the same. */
static double
share(const struct shown *one)
{
    if (one->hard_limit <= 0) {
        return 1;
    }
    return fmin(((double)one->used + (double)one->reserved) / (double)one->hard_limit, 1);
}

/* The place for one more counter: a free one, or that of the one that matters least. */
static struct shown *
place_for(struct stream_spend *spend, const struct shown *one)
{
    if (spend->count < SHOWN_MAX) {
        return &spend->shown[spend->count++];
    }
    struct shown *least = &spend->shown[0];
    for (size_t i = 1; i < SHOWN_MAX; i++) {
        least = share(&spend->shown[i]) < share(least) ? &spend->shown[i] : least;
    }
    return share(one) > share(least) ? least : NULL;
}

static void
take_view(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    struct stream_spend *spend = ctx;
    struct shown one = {.state = breaker_name(view),
                        .mode = view->def->mode,
                        .used = view->used,
                        .reserved = view->reserved,
                        .hard_limit = view->def->hard_limit,
                        .soft_limit = view->def->soft_limit,
                        .forecast_us = forecast ? forecast->exhausted_at_us : 0};

    spend->total++;
    struct shown *place = place_for(spend, &one);
    if (place) {
        slice_to_cstr(slice_of(view->def->name), one.name, sizeof(one.name));
        slice_to_cstr(slice_of(view->instance ? view->instance : ""), one.instance,
                      sizeof(one.instance));
        *place = one;
    }
}

static void
write_shown(struct json_writer *w, const struct shown *one)
{
    json_object_begin(w);
    json_key(w, "name");
    json_cstr(w, one->name);
    json_key(w, "instance");
    json_cstr(w, one->instance);
    json_key_decimal(w, "used", one->used);
    json_key_decimal(w, "reserved", one->reserved);
    json_key_decimal(w, "hard_limit", one->hard_limit);
    json_key_decimal(w, "soft_limit", one->soft_limit);
    json_key(w, "state");
    json_cstr(w, one->state);
    json_key(w, "mode");
    json_cstr(w, budget_mode_name(one->mode));
    write_time_key(w, "forecast_at", one->forecast_us);
    json_object_end(w);
}

/* Asks the meter; without one there is nothing reserved and no budget. */
static void
refresh(struct stream_spend *spend)
{
    struct meter *meter = atomic_load(&spend->api->meter);
    struct meter_stats stats = {0};
    struct json_writer w;

    spend->count = spend->total = 0;
    if (meter) {
        meter_stats(meter, &stats);
        meter_each_budget(meter, take_view, spend);
    }
    buf_reset(&spend->json);
    json_init(&w, &spend->json);
    json_object_begin(&w);
    json_key_decimal(&w, "reserved", stats.credits_reserved);
    json_key(&w, "reservations");
    json_u64(&w, stats.reservations_open);
    json_key(&w, "budgets_total");
    json_u64(&w, spend->total);
    json_key(&w, "budgets");
    json_array_begin(&w);
    for (size_t i = 0; i < spend->count; i++) {
        write_shown(&w, &spend->shown[i]);
    }
    json_array_end(&w);
    json_object_end(&w);
}

static void
write_members(void *ctx, struct json_writer *w)
{
    struct stream_spend *spend = ctx;

    pthread_mutex_lock(&spend->lock);
    int64_t begun_us = clock_mono_us(spend->api->clock);
    if (begun_us >= spend->next_us) {
        refresh(spend);
        int64_t took_us = clock_mono_us(spend->api->clock) - begun_us;
        spend->next_us = begun_us + REST_FACTOR * took_us;
    }
    /* The members of the object that was kept go into the one that is open. */
    buf_add(w->out, spend->json.ptr + 1, spend->json.len - 2);
    w->comma = true;
    pthread_mutex_unlock(&spend->lock);
}

struct stream_spend *
stream_spend_open(struct api *api)
{
    struct stream_spend *spend = mem_zalloc(1, sizeof(*spend));

    spend->api = api;
    spend->next_us = INT64_MIN;
    pthread_mutex_init(&spend->lock, NULL);
    buf_init(&spend->json, 0);
    live_set_spend(api->live, write_members, spend);
    return spend;
}

void
stream_spend_close(struct stream_spend *spend)
{
    live_set_spend(spend->api->live, NULL, NULL);
    buf_fini(&spend->json);
    pthread_mutex_destroy(&spend->lock);
    free(spend);
}
