/* What the original's arguments mean and how its answers are spelt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/eventlog_compat.h"

static void
expect_text(struct slice text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.ptr, expected, text.len);
}

static void
expect_refusal(const char *json, enum err_code code, const char *message)
{
    struct arena arena ARENA_AUTO;
    struct event event;
    struct err err;

    arena_init(&arena, 1 << 20);
    assert_int_equal(compat_read_event(slice_of(json), &arena, &event, &err), code);
    assert_string_equal(err.msg, message);
}

static void
test_compat_event_takes_every_key_of_the_original(void **state)
{
    struct arena arena ARENA_AUTO;
    struct event event;
    struct err err;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(
        compat_read_event(
            SLICE_LITERAL(" {\"id\": \"a\\u00e9\", \"timestamp\": \"2026-01-02T03:04:05.678Z\", "
                          "\"api_name\": \"Birdeye\", \"endpoint\": \"/defi/ohlcv\", \"method\": "
                          "\"POST\", \"status_code\": 200, \"success\": true, \"latency_ms\": "
                          "12.5, \"credits_cost\": 60.000001, \"run_id\": \"r\", "
                          "\"error_message\": \"no\", \"metadata\": {\"b\": [1, 2], \"a\": 1.0}, "
                          "\"more\": {\"x\": []}} "),
            &arena, &event, &err),
        ERR_OK);
    expect_text(event.id, "a\xc3\xa9");
    assert_int_equal(event.timestamp_us, INT64_C(1767323045678000));
    assert_false(event.timestamp_is_ours);
    expect_text(event.api_name, "Birdeye");
    expect_text(event.endpoint, "/defi/ohlcv");
    expect_text(event.method, "POST");
    assert_true(event.has_status);
    assert_int_equal(event.status_code, 200);
    assert_true(event.success);
    assert_true(event.latency_ms == 12.5);
    assert_int_equal(event.credits, 60000001);
    assert_false(event.credits_are_ours);
    expect_text(event.run_id, "r");
    expect_text(event.error_message, "no");
    expect_text(event.metadata_json, "{\"b\": [1, 2], \"a\": 1.0}");
}

static void
test_compat_event_has_the_defaults_of_the_original(void **state)
{
    struct arena arena ARENA_AUTO;
    struct event event;
    struct err err;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(compat_read_event(SLICE_LITERAL("{\"api_name\": \"a\", \"endpoint\": \"e\", "
                                                     "\"status_code\": null, \"run_id\": null, "
                                                     "\"metadata\": { }}"),
                                       &arena, &event, &err),
                     ERR_OK);
    assert_int_equal(event.id.len, 0);
    assert_true(event.timestamp_is_ours);
    assert_int_equal(event.method.len, 0);
    assert_false(event.has_status);
    assert_false(event.success);
    assert_true(event.latency_ms == 0);
    assert_int_equal(event.credits, 0);
    assert_int_equal(event.run_id.len, 0);
    assert_int_equal(event.metadata_json.len, 0);
}

static void
test_compat_event_rounds_credits_that_a_double_could_hold(void **state)
{
    struct arena arena ARENA_AUTO;
    struct event event;
    struct err err;

    (void)state;
    arena_init(&arena, 1 << 20);
    assert_int_equal(compat_read_event(SLICE_LITERAL("{\"api_name\": \"a\", \"endpoint\": \"e\", "
                                                     "\"credits_cost\": 0.30000000000000004}"),
                                       &arena, &event, &err),
                     ERR_OK);
    assert_int_equal(event.credits, 300000);
}

static void
test_compat_event_says_what_is_wrong(void **state)
{
    (void)state;
    expect_refusal("{\"api_name\": \"a\",\n \"endpoint\" 1}", ERR_SYNTAX,
                   "Invalid JSON: Expecting ':' behind the key: line 2 column 13 (char 30)");
    expect_refusal("[1]", ERR_INVALID, "the event is [1]; expected a JSON object");
    expect_refusal("{}", ERR_INVALID, "api_name is missing; expected the name of the API");
    expect_refusal("{\"api_name\": \"a\"}", ERR_INVALID,
                   "endpoint is missing; expected the path that was called");
    expect_refusal("{\"timestamp\": \"soon\"}", ERR_INVALID,
                   "timestamp is soon; expected a time such as 2026-01-31T12:00:00.000Z");
    expect_refusal("{\"status_code\": \"ok\"}", ERR_INVALID,
                   "status_code is ok; expected a whole number or null");
    expect_refusal("{\"credits_cost\": 1e300}", ERR_INVALID,
                   "credits_cost is 1e300; expected a number of credits");
    expect_refusal("{\"metadata\": [1]}", ERR_INVALID, "metadata is [1]; expected an object");
    expect_refusal("{\"api_name\": \"a\", \"endpoint\": \"e\", \"latency_ms\": -1}", ERR_INVALID,
                   "latency_ms is -1; expected milliseconds, 0 or more");
}

static void
test_compat_event_is_refused_wherever_it_is_cut(void **state)
{
    static const char whole[] = "{\"api_name\": \"a\", \"endpoint\": \"e\", \"metadata\": {\"a\": "
                                "[true, null]}, \"credits_cost\": 1}";

    (void)state;
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        struct arena arena ARENA_AUTO;
        struct event event;
        struct err err;
        arena_init(&arena, 1 << 20);
        assert_int_equal(compat_read_event(slice_make(whole, len), &arena, &event, &err),
                         ERR_SYNTAX);
        assert_memory_equal(err.msg, "Invalid JSON: ", 14);
    }
}

static void
expect(struct buf *out, const char *text)
{
    buf_add_char(out, '\0');
    assert_string_equal(out->ptr, text);
    buf_reset(out);
}

static void
test_compat_answers_are_those_of_json_dumps(void **state)
{
    const struct ledger_totals totals = {.events = 3,
                                         .credits = 180000000,
                                         .success_rate = 2.0 / 3,
                                         .avg_latency = 12.5,
                                         .errors = 1};
    struct buf out BUF_AUTO = {0};

    (void)state;
    buf_init(&out, 0);
    compat_write_done(&out, NULL);
    expect(&out, "{\"success\": true}\n");
    compat_write_done(&out, "Event data required for log operation");
    expect(&out, "{\"success\": false, \"error\": \"Event data required for log operation\"}\n");
    compat_write_credits(&out, 60000000, NULL);
    expect(&out, "{\"total_credits\": 60.0}\n");
    compat_write_credits(&out, 60000000, "Window start required");
    expect(&out, "{\"total_credits\": 0.0, \"error\": \"Window start required\"}\n");
    compat_write_stats(&out, &totals, NULL);
    expect(&out, "{\"total_events\": 3, \"total_credits\": 180.0, \"success_rate\": "
                 "0.6666666666666666, \"avg_latency\": 12.5, \"error_count\": 1}\n");
    compat_write_stats(&out, &totals, "no");
    expect(&out, "{\"total_events\": 0, \"total_credits\": 0.0, \"success_rate\": 0.0, "
                 "\"avg_latency\": 0.0, \"error_count\": 0, \"error\": \"no\"}\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compat_event_takes_every_key_of_the_original),
        cmocka_unit_test(test_compat_event_has_the_defaults_of_the_original),
        cmocka_unit_test(test_compat_event_rounds_credits_that_a_double_could_hold),
        cmocka_unit_test(test_compat_event_says_what_is_wrong),
        cmocka_unit_test(test_compat_event_is_refused_wherever_it_is_cut),
        cmocka_unit_test(test_compat_answers_are_those_of_json_dumps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
