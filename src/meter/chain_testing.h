/*
 * A small log for the tests of the chain: entries with every column set in some of them, chained as
 * the meter does.
 */
#ifndef EIDER_METER_CHAIN_TESTING_H
#define EIDER_METER_CHAIN_TESTING_H

#include <stdio.h>

#include "meter/chain.h"

/* 2026-01-02T03:00:00 UTC. */
#define CHAIN_TESTING_US INT64_C(1767322800000000)

/* Entry number `seq`; texts are kept in the batch's arena. */
static inline struct event
chain_testing_event(struct batch *rows, uint64_t seq)
{
    char text[96];
    int64_t n = (int64_t)seq;

    snprintf(text, sizeof(text), "event-%llu", (unsigned long long)seq);
    struct event event = {
        .id = batch_keep_text(rows, slice_of(text)),
        .timestamp_us = CHAIN_TESTING_US + n * 1000003,
        .api_name = seq % 3 ? SLICE_LITERAL("birdeye") : SLICE_LITERAL("helius"),
        .endpoint = SLICE_LITERAL("/defi/ohlcv"),
        .method = SLICE_LITERAL("GET"),
        .has_status = seq % 4 != 0,
        .status_code = seq % 4 ? 200 : 0,
        .success = seq % 5 != 0,
        .latency_ms = 0.125 * (double)n,
        .credits = 120000000 + n,
        .created_us = CHAIN_TESTING_US + n * 1000003 + 77,
        .seq = seq,
    };
    if (seq % 2) {
        snprintf(text, sizeof(text), "{\"n\": %llu, \"t\": \"\\u00e9\"}", (unsigned long long)seq);
        event.run_id = SLICE_LITERAL("run-1");
        event.error_message = SLICE_LITERAL("time-out \xc3\xa9 \"x\" \x1f");
        event.metadata_json = batch_keep_text(rows, slice_of(text));
        event.api_key = SLICE_LITERAL("key-1");
        event.project = SLICE_LITERAL("project");
        event.reservation_id = SLICE_LITERAL("reservation");
        event.corrects = SLICE_LITERAL("event-0");
        event.price_rule = SLICE_LITERAL("birdeye/ohlcv@1f2e3d4c");
    }
    return event;
}

/* Appends the entries behind the head, up to `to_seq`, and moves it on. The batch must have been
 * made with room for their texts. */
static inline void
chain_testing_fill(struct batch *rows, struct chain_head *head, uint64_t to_seq)
{
    while (head->seq < to_seq) {
        struct event event = chain_testing_event(rows, head->seq + 1);
        uint8_t leaf[EVENT_HASH_BYTES];

        chain_leaf(&event, leaf);
        chain_link(head, leaf);
        memcpy(event.hash, head->hash, sizeof(event.hash));
        event_to_row(&event, rows);
    }
}

#endif
