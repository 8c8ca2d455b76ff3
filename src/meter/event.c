/* Entries to rows and back. Nothing is checked here: the meter did before it wrote. */
#include "meter/event.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "meter/chain.h"

bool
event_from_row(const struct batch *rows, size_t row, struct event *ret_event)
{
    assert(rows->column_count == EVENT_COLUMN_COUNT && row < rows->rows);
    *ret_event = (struct event){
        .id = batch_get_text(rows, EVENT_ID, row),
        .timestamp_us = batch_get_i64(rows, EVENT_TIMESTAMP, row),
        .api_name = batch_get_text(rows, EVENT_API_NAME, row),
        .endpoint = batch_get_text(rows, EVENT_ENDPOINT, row),
        .method = batch_get_text(rows, EVENT_METHOD, row),
        .has_status = !batch_is_null(rows, EVENT_STATUS_CODE, row),
        .status_code = (int32_t)batch_get_i64(rows, EVENT_STATUS_CODE, row),
        .success = batch_get_i64(rows, EVENT_SUCCESS, row) != 0,
        .latency_ms = batch_get_f64(rows, EVENT_LATENCY_MS, row),
        .credits = batch_get_i64(rows, EVENT_CREDITS_COST, row),
        .run_id = batch_get_text(rows, EVENT_RUN_ID, row),
        .error_message = batch_get_text(rows, EVENT_ERROR_MESSAGE, row),
        .metadata_json = batch_get_text(rows, EVENT_METADATA_JSON, row),
        .created_us = batch_get_i64(rows, EVENT_CREATED_AT, row),
        .api_key = batch_get_text(rows, EVENT_API_KEY, row),
        .project = batch_get_text(rows, EVENT_PROJECT, row),
        .reservation_id = batch_get_text(rows, EVENT_RESERVATION_ID, row),
        .corrects = batch_get_text(rows, EVENT_CORRECTS, row),
        .price_rule = batch_get_text(rows, EVENT_PRICE_RULE, row),
        .seq = (uint64_t)batch_get_i64(rows, EVENT_SEQ, row),
    };
    return chain_from_hex(batch_get_text(rows, EVENT_HASH, row), ret_event->hash);
}

static void
set_optional(struct batch *rows, size_t column, size_t row, struct slice text)
{
    if (text.len > 0) {
        batch_set_text(rows, column, row, text);
    }
}

void
event_to_row(const struct event *event, struct batch *rows)
{
    assert(rows->column_count == EVENT_COLUMN_COUNT);
    size_t row = batch_add_row(rows);
    struct slice method = event->method.len > 0 ? event->method : SLICE_LITERAL("GET");

    batch_set_text(rows, EVENT_ID, row, event->id);
    batch_set_i64(rows, EVENT_TIMESTAMP, row, event->timestamp_us);
    batch_set_text(rows, EVENT_API_NAME, row, event->api_name);
    batch_set_text(rows, EVENT_ENDPOINT, row, event->endpoint);
    batch_set_text(rows, EVENT_METHOD, row, method);
    if (event->has_status) {
        batch_set_i32(rows, EVENT_STATUS_CODE, row, event->status_code);
    }
    batch_set_bool(rows, EVENT_SUCCESS, row, event->success);
    batch_set_f64(rows, EVENT_LATENCY_MS, row, event->latency_ms);
    batch_set_i64(rows, EVENT_CREDITS_COST, row, event->credits);
    set_optional(rows, EVENT_RUN_ID, row, event->run_id);
    set_optional(rows, EVENT_ERROR_MESSAGE, row, event->error_message);
    set_optional(rows, EVENT_METADATA_JSON, row, event->metadata_json);
    batch_set_i64(rows, EVENT_CREATED_AT, row, event->created_us);
    set_optional(rows, EVENT_API_KEY, row, event->api_key);
    set_optional(rows, EVENT_PROJECT, row, event->project);
    set_optional(rows, EVENT_RESERVATION_ID, row, event->reservation_id);
    set_optional(rows, EVENT_CORRECTS, row, event->corrects);
    set_optional(rows, EVENT_PRICE_RULE, row, event->price_rule);
    if (event->seq > 0) {
        char hex[CHAIN_HEX_BYTES];
        chain_hex(event->hash, hex);
        batch_set_i64(rows, EVENT_SEQ, row, (int64_t)event->seq);
        batch_set_text(rows, EVENT_HASH, row, batch_keep_text(rows, slice_of(hex)));
    }
}

/* Each text has a hash of its own, seeded by the one before, so no byte can move between them. */
static uint64_t
add(uint64_t hash, struct slice text)
{
    return XXH3_64bits_withSeed(text.len > 0 ? text.ptr : "", text.len, hash);
}

uint64_t
event_content_hash(const struct event *event)
{
    /* Adding 0 makes -0 and 0 the same: they are, to whoever sent them. */
    double latency_ms = event->latency_ms + 0.0;
    int32_t status = event->has_status ? event->status_code : 0;
    uint8_t fixed[sizeof(latency_ms) + sizeof(status) + 2];

    memcpy(fixed, &latency_ms, sizeof(latency_ms));
    memcpy(fixed + sizeof(latency_ms), &status, sizeof(status));
    fixed[sizeof(fixed) - 2] = event->has_status;
    fixed[sizeof(fixed) - 1] = event->success;

    uint64_t hash = XXH3_64bits(fixed, sizeof(fixed));
    hash = add(hash, event->id);
    hash = add(hash, event->api_name);
    hash = add(hash, event->endpoint);
    hash = add(hash, event->method.len > 0 ? event->method : SLICE_LITERAL("GET"));
    hash = add(hash, event->run_id);
    hash = add(hash, event->error_message);
    hash = add(hash, event->metadata_json);
    hash = add(hash, event->api_key);
    hash = add(hash, event->project);
    hash = add(hash, event->reservation_id);
    return add(hash, event->corrects);
}
