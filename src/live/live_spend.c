/*
 * Spending: the newest entries of the event log, and what was booked since the start. Budgets and
 * reservations are the meter's, which this part does not know: whoever does gives a function that
 * writes them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "live/live_internal.h"

enum { EVENT_TEXTS = 4, EVENT_TEXT_BYTES_MAX = 1024 };

struct event_columns {
    int id, time, api, endpoint, status, success, latency, credits, run, seq;
};

static struct event_columns
find_columns(const struct batch *batch)
{
    return (struct event_columns){.id = batch_column_index(batch, slice_of("id")),
                                  .time = batch_column_index(batch, slice_of("timestamp")),
                                  .api = batch_column_index(batch, slice_of("api_name")),
                                  .endpoint = batch_column_index(batch, slice_of("endpoint")),
                                  .status = batch_column_index(batch, slice_of("status_code")),
                                  .success = batch_column_index(batch, slice_of("success")),
                                  .latency = batch_column_index(batch, slice_of("latency_ms")),
                                  .credits = batch_column_index(batch, slice_of("credits_cost")),
                                  .run = batch_column_index(batch, slice_of("run_id")),
                                  .seq = batch_column_index(batch, slice_of("seq"))};
}

static bool
has_all(const struct event_columns *at)
{
    return at->id >= 0 && at->time >= 0 && at->api >= 0 && at->endpoint >= 0 && at->status >= 0 &&
           at->success >= 0 && at->latency >= 0 && at->credits >= 0 && at->run >= 0 && at->seq >= 0;
}

/* Reads a row; false when one of its texts is too long to keep. The caller owns event->texts. */
static bool
read_event(const struct batch *batch, const struct event_columns *at, size_t row,
           struct live_event *ret_event)
{
    const int columns[EVENT_TEXTS] = {at->id, at->api, at->endpoint, at->run};
    struct slice texts[EVENT_TEXTS];
    size_t total = 0;

    for (int i = 0; i < EVENT_TEXTS; i++) {
        texts[i] = batch_get_text(batch, (size_t)columns[i], row);
        if (texts[i].len > EVENT_TEXT_BYTES_MAX) {
            return false;
        }
        total += texts[i].len;
    }
    *ret_event = (struct live_event){.seq = batch_get_i64(batch, (size_t)at->seq, row),
                                     .timestamp_us = batch_get_i64(batch, (size_t)at->time, row),
                                     .credits = batch_get_i64(batch, (size_t)at->credits, row),
                                     .latency_ms = batch_get_f64(batch, (size_t)at->latency, row),
                                     .has_status = !batch_is_null(batch, (size_t)at->status, row),
                                     .status_code = batch_get_i64(batch, (size_t)at->status, row),
                                     .success = batch_get_i64(batch, (size_t)at->success, row) != 0,
                                     .has_run = !batch_is_null(batch, (size_t)at->run, row),
                                     .texts = mem_alloc(total + 1),
                                     .id_len = (uint16_t)texts[0].len,
                                     .api_len = (uint16_t)texts[1].len,
                                     .endpoint_len = (uint16_t)texts[2].len,
                                     .run_len = (uint16_t)texts[3].len};
    char *end = ret_event->texts;
    for (int i = 0; i < EVENT_TEXTS; i++) {
        if (texts[i].len > 0) {
            memcpy(end, texts[i].ptr, texts[i].len);
            end += texts[i].len;
        }
    }
    return true;
}

/* Where an entry belongs among the kept ones, newest first; LIVE_RECENT_EVENTS when it is older
 * than all of a full list, or there already (a load overlaps what came meanwhile). */
static size_t
place_of(const struct live_spend *spend, int64_t seq)
{
    for (size_t i = 0; i < spend->count; i++) {
        if (spend->recent[i].seq == seq) {
            return LIVE_RECENT_EVENTS;
        }
        if (spend->recent[i].seq < seq) {
            return i;
        }
    }
    return spend->count;
}

static void
insert(struct live_spend *spend, size_t place, const struct live_event *event)
{
    if (spend->count == LIVE_RECENT_EVENTS) {
        free(spend->recent[--spend->count].texts);
    }
    memmove(&spend->recent[place + 1], &spend->recent[place],
            (spend->count - place) * sizeof(*event));
    spend->recent[place] = *event;
    spend->count++;
}

static void
add_booked(struct live_spend *spend, int64_t credits)
{
    if (__builtin_add_overflow(spend->credits_booked, credits, &spend->credits_booked)) {
        spend->credits_booked = credits < 0 ? INT64_MIN : INT64_MAX;
    }
}

void
live_spend_update(struct live *live, const struct batch *batch, size_t from, size_t to,
                  bool is_load)
{
    struct live_spend *spend = &live->spend;
    const struct event_columns at = find_columns(batch);

    for (size_t row = from; has_all(&at) && row < to; row++) {
        struct live_event event;
        if (!is_load) {
            add_booked(spend, batch_get_i64(batch, (size_t)at.credits, row));
            spend->events++;
        }
        size_t place = place_of(spend, batch_get_i64(batch, (size_t)at.seq, row));
        if (place >= LIVE_RECENT_EVENTS) {
            continue;
        }
        if (read_event(batch, &at, row, &event)) {
            insert(spend, place, &event);
        } else {
            live->stats.refused++;
        }
    }
}

void
live_spend_fini(struct live *live)
{
    for (size_t i = 0; i < live->spend.count; i++) {
        free(live->spend.recent[i].texts);
    }
}

static void
write_event(struct json_writer *json, const struct live_event *event)
{
    const char *text = event->texts;

    json_object_begin(json);
    json_key(json, "id");
    json_str(json, slice_make(text, event->id_len));
    text += event->id_len;
    json_key(json, "timestamp");
    json_time_us(json, event->timestamp_us);
    json_key(json, "api_name");
    json_str(json, slice_make(text, event->api_len));
    text += event->api_len;
    json_key(json, "endpoint");
    json_str(json, slice_make(text, event->endpoint_len));
    text += event->endpoint_len;
    json_key(json, "status_code");
    if (event->has_status) {
        json_i64(json, event->status_code);
    } else {
        json_write_null(json);
    }
    json_key(json, "success");
    json_bool(json, event->success);
    json_key(json, "latency_ms");
    json_f64(json, event->latency_ms);
    json_key_decimal(json, "credits", event->credits);
    json_key(json, "run_id");
    if (event->has_run) {
        json_str(json, slice_make(text, event->run_len));
    } else {
        json_write_null(json);
    }
    json_object_end(json);
}

void
live_spend_write(struct live *live, struct json_writer *json)
{
    json_key(json, "events");
    json_u64(json, live->spend.events);
    json_key_decimal(json, "credits_total", live->spend.credits_booked);
    json_key(json, "recent");
    json_array_begin(json);
    for (size_t i = 0; i < live->spend.count; i++) {
        write_event(json, &live->spend.recent[i]);
    }
    json_array_end(json);
}
