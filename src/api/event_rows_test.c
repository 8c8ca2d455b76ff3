/* Entries of the event log out of JSON: forms, aliases, defaults, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/event_rows.h"
#include "base/buf.h"

enum { MAX = 3 };

static const int64_t now_us = INT64_C(1767323045000000); /* 2026-01-02T03:04:05 */
static struct event_rows rows;
static struct err err;

static enum err_code
read_text(const char *text)
{
    event_rows_fini(&rows);
    event_rows_init(&rows);
    err = (struct err){0};
    return event_rows_read(&rows, slice_of(text), MAX, now_us, &err);
}

static void
test_event_rows_fill_in_what_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"api_name\": \"birdeye\", \"endpoint\": \"/defi/price\"}"),
                     ERR_OK);
    assert_int_equal(rows.count, 1);
    const struct event *event = &rows.events[0];
    assert_true(slice_is(event->api_name, "birdeye"));
    assert_int_equal(event->timestamp_us, now_us);
    assert_true(event->timestamp_is_ours);
    assert_true(event->credits_are_ours);
    assert_false(event->has_status);
    assert_false(event->success);
    assert_int_equal(event->id.len, 0);
    assert_int_equal(event->metadata_json.len, 0);
}

static void
test_event_rows_take_every_column_and_the_aliases(void **state)
{
    (void)state;
    assert_int_equal(
        read_text(
            "[{\"id\": \"e1\", \"timestamp\": \"2026-01-02T03:00:00Z\", \"api_name\": \"b\", "
            "\"endpoint\": \"/x\", \"method\": \"POST\", \"status_code\": 201, \"latency_ms\": "
            "1.5, \"credits_cost\": \"60.000001\", \"run_id\": \"r\", \"error_message\": \"m\", "
            "\"metadata\": {\"a\": 1}, \"key\": \"k\", \"project\": \"p\", \"reservation_id\": "
            "\"res\", \"corrects\": null}, {\"api_name\": \"b\", \"endpoint\": \"/x\", "
            "\"success\": true, \"metadata\": {}, \"credits_cost\": -5, \"corrects\": \"e1\"}]"),
        ERR_OK);
    const struct event *event = &rows.events[0];
    assert_int_equal(rows.count, 2);
    assert_true(slice_is(event->id, "e1"));
    assert_int_equal(event->timestamp_us, now_us - INT64_C(245000000));
    assert_true(event->has_status && event->success && event->status_code == 201);
    assert_int_equal(event->credits, 60000001);
    assert_false(event->credits_are_ours);
    assert_true(slice_is(event->metadata_json, "{\"a\": 1}"));
    assert_true(slice_is(event->api_key, "k"));
    assert_true(slice_is(event->reservation_id, "res"));
    event = &rows.events[1];
    assert_true(event->success && !event->has_status);
    assert_int_equal(event->metadata_json.len, 0);
    assert_int_equal(event->credits, -5000000);
    assert_true(slice_is(event->corrects, "e1"));
}

static void
test_event_rows_come_one_a_line_or_over_many(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"api_name\": \"a\", \"endpoint\": \"/1\"}\n"
                               "{\"api_name\": \"a\",\n \"endpoint\": \"/2\"}\r\n\n"
                               "{\"api_name\": \"a\", \"endpoint\": \"/3\"}"),
                     ERR_OK);
    assert_int_equal(rows.count, 3);
    assert_true(slice_is(rows.events[1].endpoint, "/2"));
    assert_int_equal(read_text("[]"), ERR_OK);
    assert_int_equal(rows.count, 0);
}

static void
test_event_rows_name_row_field_value_and_what_was_expected(void **state)
{
    static const struct {
        const char *members;
        const char *field;
        const char *value;
        const char *expected;
    } cases[] = {
        {"\"credits_cost\": -1", "credits_cost", "below 0", "only a correction"},
        {"\"credits_cost\": 0.0000001", "credits_cost", "0.0000001", "6 decimals"},
        {"\"credits_cost\": 1e400", "credits_cost", "1e400", "a number"},
        {"\"credits_cost\": \"NaN\"", "credits_cost", "NaN", "a number"},
        {"\"latency_ms\": -1", "latency_ms", "-1", "at least 0"},
        {"\"status_code\": \"ok\"", "status_code", "ok", "integer"},
        {"\"success\": 1", "success", "1", "true or false"},
        {"\"id\": \"\"", "id", "", "1 to 64"},
        {"\"timestamp\": \"2026-01-02T03:10:00\"", "timestamp", "2026-01-02T03:10:00",
         "five minutes"},
        {"\"timestamp\": \"noon\"", "timestamp", "noon", "ISO 8601"},
        {"\"seq\": 1", "seq", "1", "the server numbers"},
        {"\"hash\": \"00\"", "hash", "00", "the server computes"},
        {"\"created_at\": \"2026-01-02\"", "created_at", "2026-01-02", "the server notes"},
        {"\"price_rule\": \"x\"", "price_rule", "x", "the server notes"},
        {"\"endpont\": \"x\"", "endpont", "x", "did you mean \"endpoint\"?"},
        {"\"key\": \"a\", \"api_key\": \"b\"", "api_key", "b", "once"},
        {"\"metadata\": \"no json\"", "metadata_json", "no json", "JSON"},
    };
    char body[512];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(
            body, sizeof(body),
            "[{\"api_name\": \"a\", \"endpoint\": \"/x\"}, {\"api_name\": \"a\", \"endpoint\": "
            "\"/x\", %s}]",
            cases[i].members);
        assert_int_equal(read_text(body), ERR_INVALID);
        assert_int_equal(rows.rejected, 1);
        assert_int_equal(rows.error_count, 1);
        const struct event_row_error *error = &rows.errors[0];
        assert_int_equal(error->row, 1);
        assert_string_equal(error->field, cases[i].field);
        assert_true(slice_is(error->value, cases[i].value));
        if (!strstr(error->expected, cases[i].expected)) {
            fail_msg("%s: %s", cases[i].members, error->expected);
        }
    }
    assert_int_equal(read_text("{\"endpoint\": \"/x\"}"), ERR_INVALID);
    assert_string_equal(rows.errors[0].field, "api_name");
    assert_int_equal(read_text("[3, {\"api_name\": \"a\", \"endpoint\": \"/x\"}]"), ERR_INVALID);
    assert_string_equal(rows.errors[0].expected, "an entry: an object of columns and values");
}

static void
test_event_rows_refuse_what_is_no_json(void **state)
{
    static const char *const bodies[] = {"",
                                         "  ",
                                         "3",
                                         "\"a\"",
                                         "[",
                                         "[{]",
                                         "{\"a\": }",
                                         "[{\"api_name\": \"a\", \"endpoint\": \"/x\"}] x",
                                         "{\"api_name\": NaN}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(read_text(bodies[i]), ERR_SYNTAX);
    }
    assert_int_equal(read_text("{\"api_name\": \"a\", \"endpoint\": \"/x\"}\n{\"api_name\": \"a\""),
                     ERR_SYNTAX);
    assert_non_null(strstr(err.msg, "entry 1"));
}

static void
test_event_rows_cut_anywhere_are_refused(void **state)
{
    static const char text[] =
        "[{\"api_name\": \"a\", \"endpoint\": \"/x\", \"metadata\": {\"a\": 1}}]";
    char cut[sizeof(text)];

    (void)state;
    for (size_t len = 0; len + 1 < sizeof(text); len++) {
        memcpy(cut, text, len);
        cut[len] = '\0';
        assert_int_equal(read_text(cut), ERR_SYNTAX);
    }
}

static void
test_event_rows_are_bounded(void **state)
{
    static const char one[] = "{\"api_name\": \"a\", \"endpoint\": \"/x\"}";
    struct buf body;

    (void)state;
    for (int array = 0; array < 2; array++) {
        for (int count = MAX; count <= MAX + 1; count++) {
            buf_init(&body, 0);
            buf_add_cstr(&body, array ? "[" : "");
            for (int i = 0; i < count; i++) {
                buf_add_cstr(&body, i > 0 && array ? "," : "\n");
                buf_add_cstr(&body, one);
            }
            buf_add(&body, array ? "]" : "", 2 - !array);
            buf_add(&body, "", 1);
            assert_int_equal(read_text(body.ptr), count > MAX ? ERR_TOO_LARGE : ERR_OK);
            buf_fini(&body);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event_rows_fill_in_what_is_left_out),
        cmocka_unit_test(test_event_rows_take_every_column_and_the_aliases),
        cmocka_unit_test(test_event_rows_come_one_a_line_or_over_many),
        cmocka_unit_test(test_event_rows_name_row_field_value_and_what_was_expected),
        cmocka_unit_test(test_event_rows_refuse_what_is_no_json),
        cmocka_unit_test(test_event_rows_cut_anywhere_are_refused),
        cmocka_unit_test(test_event_rows_are_bounded),
    };
    int failed;

    event_rows_init(&rows);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    event_rows_fini(&rows);
    return failed;
}
