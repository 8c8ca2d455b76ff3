/*
 * One entry of the event log: a paid API call, or a correction of one. A plain value whose texts
 * are borrowed. Columns: table api_event_log of the catalogue.
 *
 * Pure; any thread.
 */
#ifndef EIDER_METER_EVENT_H
#define EIDER_METER_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "catalog/batch.h"

enum { EVENT_HASH_BYTES = 32 };

/* Column numbers of TABLE_EVENTS; meter_open checks them against the catalogue. */
enum event_column {
    EVENT_ID,
    EVENT_TIMESTAMP,
    EVENT_API_NAME,
    EVENT_ENDPOINT,
    EVENT_METHOD,
    EVENT_STATUS_CODE,
    EVENT_SUCCESS,
    EVENT_LATENCY_MS,
    EVENT_CREDITS_COST,
    EVENT_RUN_ID,
    EVENT_ERROR_MESSAGE,
    EVENT_METADATA_JSON,
    EVENT_CREATED_AT,
    EVENT_API_KEY,
    EVENT_PROJECT,
    EVENT_RESERVATION_ID,
    EVENT_CORRECTS,
    EVENT_PRICE_RULE,
    EVENT_SEQ,
    EVENT_HASH,
    EVENT_COLUMN_COUNT
};

/* An empty slice is NULL for every text but id, api_name, endpoint and method. */
struct event {
    struct slice id; /* empty: made when it is written */
    int64_t timestamp_us;
    struct slice api_name;
    struct slice endpoint;
    struct slice method; /* empty: GET */
    bool has_status;     /* false: no HTTP answer */
    int32_t status_code;
    bool success;
    double latency_ms;
    int64_t credits; /* micro-credits; below 0 only with `corrects` */
    struct slice run_id;
    struct slice error_message;
    struct slice metadata_json;
    int64_t created_us;
    struct slice api_key; /* a label, never the key itself */
    struct slice project;
    struct slice reservation_id;
    struct slice corrects;
    struct slice price_rule;
    /* What the caller left to us, so that sending the same thing again is known to be the same. */
    bool timestamp_is_ours;
    bool credits_are_ours;
    uint64_t seq; /* place in the chain, from 1; 0: not written yet */
    uint8_t hash[EVENT_HASH_BYTES];
};

/* Reads row `row` of a TABLE_EVENTS batch with all columns; texts are borrowed from it. False when
 * `hash` is not 64 hex digits. */
bool event_from_row(const struct batch *rows, size_t row, struct event *ret_event);

/* Appends the event to a TABLE_EVENTS batch; texts are borrowed, the hash's digits are kept in the
 * batch's arena. */
void event_to_row(const struct event *event, struct batch *rows);

/* 64 bits over what the caller said (not over timestamp, credits and what is made here): equal for
 * the same content. */
uint64_t event_content_hash(const struct event *event);

#endif
