/* Figures by api and endpoint since the start, named as the originals' metrics are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/mem.h"
#include "meter/budget_private.h"
#include "meter/meter_private.h"

enum { SLOTS = 2048, NAME_MAX_BYTES = 128, ERROR_TYPES = 16, MS_PER_S = 1000 };

const double meter_latency_bounds_s[METER_LATENCY_BUCKETS - 1] = {0.1, 0.5, 1, 2, 5, 10, 30, 60};

struct series_slot {
    bool in_use;
    char api_name[NAME_MAX_BYTES];
    char endpoint[NAME_MAX_BYTES];
    struct meter_series figures;
};

static struct series_slot *
slot_of(struct meter *meter, struct slice api_name, struct slice endpoint)
{
    uint64_t hash =
        XXH3_64bits_withSeed(api_name.ptr, api_name.len, XXH3_64bits(endpoint.ptr, endpoint.len));

    for (size_t i = 0; i < SLOTS; i++) {
        struct series_slot *slot = &meter->series[(hash + i) % SLOTS];
        if (slot->in_use && slice_is(api_name, slot->api_name) &&
            slice_is(endpoint, slot->endpoint)) {
            return slot;
        }
        if (!slot->in_use) {
            return slot;
        }
    }
    return NULL;
}

/* The figures of an api and endpoint; beyond METER_SERIES_MAX everything is "other". */
static struct meter_series *
series_of(struct meter *meter, const struct event *event)
{
    struct slice api_name = slice_sub(event->api_name, 0, NAME_MAX_BYTES - 1);
    struct slice endpoint = slice_sub(event->endpoint, 0, NAME_MAX_BYTES - 1);

    if (!meter->series) {
        meter->series = mem_zalloc(SLOTS, sizeof(*meter->series));
    }
    struct series_slot *slot = slot_of(meter, api_name, endpoint);
    if (slot && !slot->in_use && meter->series_count >= METER_SERIES_MAX) {
        endpoint = SLICE_LITERAL("other");
        slot = slot_of(meter, api_name, endpoint);
        if (slot && !slot->in_use && meter->series_count >= METER_SERIES_MAX + 100) {
            api_name = SLICE_LITERAL("other");
            slot = slot_of(meter, api_name, endpoint);
        }
    }
    if (!slot) {
        return NULL;
    }
    if (!slot->in_use) {
        slot->in_use = true;
        meter->series_count++;
        slice_to_cstr(api_name, slot->api_name, sizeof(slot->api_name));
        slice_to_cstr(endpoint, slot->endpoint, sizeof(slot->endpoint));
        slot->figures.api_name = slot->api_name;
        slot->figures.endpoint = slot->endpoint;
    }
    return &slot->figures;
}

static void
count_error(struct meter_series *series, const char *type)
{
    for (size_t i = 0; i < series->error_types; i++) {
        if (strcmp(series->errors[i].type, type) == 0) {
            series->errors[i].count++;
            return;
        }
    }
    if (series->error_types == ERROR_TYPES) {
        series->errors[ERROR_TYPES - 1].count++;
        return;
    }
    size_t at = series->error_types++;
    snprintf(series->errors[at].type, sizeof(series->errors[at].type), "%s",
             at == ERROR_TYPES - 1 ? "other" : type);
    series->errors[at].count = 1;
}

static bool
mentions(struct slice text, const char *word)
{
    return text.len > 0 && memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

/* Twice, as the original counts: the status, and what went wrong when there was an exception. */
static void
count_errors(struct meter_series *series, const struct event *event)
{
    char type[24];
    int status = event->has_status ? event->status_code : 0;

    if (status >= 200 && status < 300) {
        return;
    }
    snprintf(type, sizeof(type), "http_%d", status);
    count_error(series, type);
    if (event->error_message.len == 0) {
        return;
    }
    if (status == 429 || mentions(event->error_message, "Rate limit")) {
        count_error(series, "rate_limit");
    } else if (mentions(event->error_message, "timed out")) {
        count_error(series, "timeout");
    } else if (status != 0) {
        snprintf(type, sizeof(type), "api_error_%d", status);
        count_error(series, type);
    } else {
        count_error(series, mentions(event->error_message, "Network error") ? "api_error_unknown"
                                                                            : "unknown_error");
    }
}

void
series_count_event(struct meter *meter, const struct event *event)
{
    struct meter_series *series = series_of(meter, event);
    double latency_s = event->latency_ms / MS_PER_S;
    size_t bucket = 0;

    if (!series) {
        return;
    }
    series->credits = budget_add_sat(series->credits, event->credits);
    if (event->corrects.len > 0) {
        return; /* A correction is not a call. */
    }
    if (event->has_status && event->status_code >= 200 && event->status_code < 300) {
        series->success++;
    } else {
        series->error++;
    }
    count_errors(series, event);
    while (bucket < METER_LATENCY_BUCKETS - 1 && latency_s > meter_latency_bounds_s[bucket]) {
        bucket++;
    }
    series->latency_buckets[bucket]++;
    series->latency_sum_s += latency_s;
}

void
meter_each_series(struct meter *meter, meter_series_fn *fn, void *ctx)
{
    pthread_mutex_lock(&meter->lock);
    for (size_t i = 0; meter->series && i < SLOTS; i++) {
        if (meter->series[i].in_use) {
            fn(ctx, &meter->series[i].figures);
        }
    }
    pthread_mutex_unlock(&meter->lock);
}

void
series_fini(struct meter *meter)
{
    free(meter->series);
}
