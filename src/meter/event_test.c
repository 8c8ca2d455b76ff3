#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "meter/event.h"

static struct event
sample(void)
{
    struct event event = {
        .id = SLICE_LITERAL("e1"),
        .timestamp_us = 1767322800123456,
        .api_name = SLICE_LITERAL("birdeye"),
        .endpoint = SLICE_LITERAL("/defi/ohlcv"),
        .method = SLICE_LITERAL("POST"),
        .has_status = true,
        .status_code = 429,
        .success = true,
        .latency_ms = 12.625,
        .credits = -1500001,
        .run_id = SLICE_LITERAL("run"),
        .error_message = SLICE_LITERAL("too many"),
        .metadata_json = SLICE_LITERAL("{\"a\":1}"),
        .created_us = 1767322800200000,
        .api_key = SLICE_LITERAL("key-1"),
        .project = SLICE_LITERAL("p"),
        .reservation_id = SLICE_LITERAL("r1"),
        .corrects = SLICE_LITERAL("e0"),
        .price_rule = SLICE_LITERAL("birdeye/ohlcv@12345678"),
        .seq = 7,
    };

    for (size_t i = 0; i < EVENT_HASH_BYTES; i++) {
        event.hash[i] = (uint8_t)(7 * i + 1);
    }
    return event;
}

static void
assert_same(const struct event *a, const struct event *b)
{
    assert_true(slice_eq(a->id, b->id));
    assert_int_equal(a->timestamp_us, b->timestamp_us);
    assert_true(slice_eq(a->api_name, b->api_name));
    assert_true(slice_eq(a->endpoint, b->endpoint));
    assert_true(slice_eq(a->method, b->method));
    assert_int_equal(a->has_status, b->has_status);
    assert_int_equal(a->status_code, b->status_code);
    assert_int_equal(a->success, b->success);
    assert_true(a->latency_ms == b->latency_ms);
    assert_int_equal(a->credits, b->credits);
    assert_true(slice_eq(a->run_id, b->run_id));
    assert_true(slice_eq(a->error_message, b->error_message));
    assert_true(slice_eq(a->metadata_json, b->metadata_json));
    assert_int_equal(a->created_us, b->created_us);
    assert_true(slice_eq(a->api_key, b->api_key));
    assert_true(slice_eq(a->project, b->project));
    assert_true(slice_eq(a->reservation_id, b->reservation_id));
    assert_true(slice_eq(a->corrects, b->corrects));
    assert_true(slice_eq(a->price_rule, b->price_rule));
    assert_int_equal(a->seq, b->seq);
    assert_memory_equal(a->hash, b->hash, EVENT_HASH_BYTES);
}

static void
test_event_columns_are_the_catalogues(void **state)
{
    static const char *const names[EVENT_COLUMN_COUNT] = {
        "id",           "timestamp",   "api_name",      "endpoint",
        "method",       "status_code", "success",       "latency_ms",
        "credits_cost", "run_id",      "error_message", "metadata_json",
        "created_at",   "api_key",     "project",       "reservation_id",
        "corrects",     "price_rule",  "seq",           "hash"};
    const struct catalog_table *table = catalog_table(TABLE_EVENTS);

    (void)state;
    assert_int_equal(table->column_count, EVENT_COLUMN_COUNT);
    for (size_t i = 0; i < EVENT_COLUMN_COUNT; i++) {
        assert_string_equal(table->columns[i].name, names[i]);
    }
}

static void
test_event_survives_a_row(void **state)
{
    struct event event = sample();
    struct event bare = {
        .id = slice_of("e2"), .api_name = slice_of("a"), .endpoint = slice_of("/"), .seq = 8};
    struct event back;
    struct batch rows;

    (void)state;
    batch_init(&rows, catalog_table(TABLE_EVENTS), 1 << 16);
    event_to_row(&event, &rows);
    event_to_row(&bare, &rows);
    assert_true(event_from_row(&rows, 0, &back));
    assert_same(&event, &back);
    assert_true(event_from_row(&rows, 1, &back));
    bare.method = slice_of("GET");
    assert_same(&bare, &back);
    for (size_t i = 0; i < EVENT_COLUMN_COUNT; i++) {
        bool empty = i == EVENT_STATUS_CODE || (i >= EVENT_RUN_ID && i <= EVENT_METADATA_JSON) ||
                     (i >= EVENT_API_KEY && i <= EVENT_PRICE_RULE);
        assert_int_equal(batch_is_null(&rows, i, 1), empty);
        assert_false(batch_is_null(&rows, i, 0));
    }
    batch_fini(&rows);
}

static void
test_event_without_a_place_has_no_hash(void **state)
{
    struct event event = sample();
    struct event back;
    struct batch rows;

    (void)state;
    event.seq = 0;
    batch_init(&rows, catalog_table(TABLE_EVENTS), 1 << 16);
    event_to_row(&event, &rows);
    assert_true(batch_is_null(&rows, EVENT_SEQ, 0));
    assert_true(batch_is_null(&rows, EVENT_HASH, 0));
    assert_false(event_from_row(&rows, 0, &back));
    assert_int_equal(back.seq, 0);
    assert_true(slice_is(back.id, "e1")); /* the rest is there all the same */
    batch_set_text(&rows, EVENT_HASH, 0, slice_of("00ff"));
    assert_false(event_from_row(&rows, 0, &back));
    batch_fini(&rows);
}

/* Everything that the caller says changes the hash; what is made here does not. */
static void
test_event_content_hash_covers_what_was_said(void **state)
{
    struct event event = sample();
    uint64_t hash = event_content_hash(&event);
    struct event other = event;

    (void)state;
#define DIFFERS(assignment)                                                                        \
    other = event;                                                                                 \
    other.assignment;                                                                              \
    assert_true(event_content_hash(&other) != hash)
    DIFFERS(id = slice_of("e2"));
    DIFFERS(api_name = slice_of("helius"));
    DIFFERS(endpoint = slice_of("/defi/ohlc"));
    DIFFERS(method = slice_of("GET"));
    DIFFERS(has_status = false);
    DIFFERS(status_code = 430);
    DIFFERS(success = false);
    DIFFERS(latency_ms = 12.5);
    DIFFERS(run_id = slice_of("run2"));
    DIFFERS(error_message = slice_of(""));
    DIFFERS(metadata_json = slice_of("{\"a\":2}"));
    DIFFERS(api_key = slice_of("key-2"));
    DIFFERS(project = slice_of("q"));
    DIFFERS(reservation_id = slice_of("r2"));
    DIFFERS(corrects = slice_of("e9"));
#undef DIFFERS
    other = event;
    other.timestamp_us = 1;
    other.credits = 1;
    other.created_us = 1;
    other.price_rule = slice_of("x");
    other.seq = 9;
    other.hash[0] ^= 1;
    assert_true(event_content_hash(&other) == hash);
}

static void
test_event_content_hash_keeps_texts_apart(void **state)
{
    struct event a = {.api_name = slice_of("ab"), .endpoint = slice_of("c")};
    struct event b = {.api_name = slice_of("a"), .endpoint = slice_of("bc")};
    struct event c = {.run_id = slice_of("x")};
    struct event d = {.error_message = slice_of("x")};
    struct event get = a;
    struct event minus = a;

    (void)state;
    assert_true(event_content_hash(&a) != event_content_hash(&b));
    assert_true(event_content_hash(&c) != event_content_hash(&d));
    get.method = slice_of("GET");
    minus.latency_ms = -0.0;
    assert_true(event_content_hash(&a) == event_content_hash(&get));
    assert_true(event_content_hash(&a) == event_content_hash(&minus));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_columns_are_the_catalogues),
        cmocka_unit_test(test_event_survives_a_row),
        cmocka_unit_test(test_event_without_a_place_has_no_hash),
        cmocka_unit_test(test_event_content_hash_covers_what_was_said),
        cmocka_unit_test(test_event_content_hash_keeps_texts_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
