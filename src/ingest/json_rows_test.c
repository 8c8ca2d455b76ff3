/* Tests of JSON rows: forms of a body, values, and what each bad row is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/fake_engine.h"

static struct fake_world *
open_world(void)
{
    struct fake_world *world = mem_zalloc(1, sizeof(*world));

    fake_world_init(world, FAKE_INSTANT, NULL);
    return world;
}

static void
close_world(struct fake_world *world)
{
    fake_world_fini(world);
    free(world);
}

static void
assert_text(const struct batch *batch, const char *column, size_t row, const char *expected)
{
    int index = batch_column_index(batch, slice_of(column));

    assert_true(index >= 0);
    struct slice text = batch_get_text(batch, (size_t)index, row);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.ptr, expected, text.len);
}

static double
number(const struct batch *batch, const char *column, size_t row)
{
    int index = batch_column_index(batch, slice_of(column));

    assert_true(index >= 0);
    return batch_get_f64(batch, (size_t)index, row);
}

/* The rows that a body of market_data makes; they are prices 1, 2, 3, ... */
static void
assert_prices(const char *body, size_t rows)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer = fake_world_json(world, TABLE_MARKET_DATA, body);
    struct batch batch;

    assert_int_equal(world->answer.calls, 1);
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, rows);
    assert_int_equal(answer->rejected, 0);
    assert_int_equal(answer->lsn, 1);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_int_equal(batch.rows, rows);
    for (size_t i = 0; i < rows; i++) {
        assert_true(number(&batch, "last_price", i) == (double)(i + 1));
    }
    batch_fini(&batch);
    close_world(world);
}

static void
test_json_takes_object_array_and_lines(void **state)
{
    (void)state;
    assert_prices("{\"symbol\":\"A\",\"last_price\":1}", 1);
    assert_prices("  {\n \"symbol\": \"A\",\n \"last_price\": 1\n}\n\n", 1);
    assert_prices("[{\"symbol\":\"A\",\"last_price\":1}]", 1);
    assert_prices(
        " [ {\"symbol\":\"A\",\"last_price\":1} ,\n{\"last_price\":2,\"symbol\":\"A\"}]\n", 2);
    assert_prices("{\"symbol\":\"A\",\"last_price\":1}\n{\"symbol\":\"B\",\"last_price\":2}\n", 2);
    assert_prices("{\"symbol\":\"A\",\"last_price\":1}\n{\"last_price\":2,\"symbol\":\"B\"}", 2);
    assert_prices("\r\n{\"symbol\":\"A\",\"last_price\":1}\r\n\r\n  \r\n"
                  "{\"symbol\":\"B\",\"last_price\":2}\r\n",
                  2);
}

static void
test_json_fills_what_is_missing_by_the_catalogue(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;

    (void)state;
    fake_world_json(world, TABLE_TRADES,
                    "{\"symbol\":\"A\",\"side\":\"buy\",\"quantity\":1,\"price\":2.5,"
                    "\"strategy\":null}");
    assert_int_equal(world->answer.answer.code, ERR_OK);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_TRADES, &batch));
    assert_int_equal(batch_get_text(&batch, 0, 0).len, ID_UUID_LEN);
    assert_int_equal(batch_get_i64(&batch, 1, 0), FAKE_NOW_US);
    assert_true(batch_is_null(&batch, (size_t)batch_column_index(&batch, slice_of("strategy")), 0));
    assert_true(
        batch_is_null(&batch, (size_t)batch_column_index(&batch, slice_of("latency_ms")), 0));
    batch_fini(&batch);

    fake_world_json(world, TABLE_MARKET_DATA, "{\"symbol\":\"A\"}");
    assert_true(fake_engine_batch(&world->engine, 1, TABLE_MARKET_DATA, &batch));
    assert_false(batch_is_null(&batch, (size_t)batch_column_index(&batch, slice_of("volume")), 0));
    assert_true(batch_is_null(&batch, (size_t)batch_column_index(&batch, slice_of("bid")), 0));
    batch_fini(&batch);
    close_world(world);
}

static void
assert_time(enum ingest_precision precision, const char *json_time, int64_t us)
{
    struct fake_world *world = open_world();
    struct batch batch;
    char body[200];
    struct ingest_request request = {
        .format = INGEST_JSON, .table = catalog_table(TABLE_MARKET_DATA), .precision = precision};

    snprintf(body, sizeof(body), "{\"symbol\":\"A\",\"timestamp\":%s}", json_time);
    request.body = slice_of(body);
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_OK);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_int_equal(batch_get_i64(&batch, 0, 0), us);
    batch_fini(&batch);
    close_world(world);
}

static void
test_json_times_are_iso_texts_or_integers_of_the_precision(void **state)
{
    (void)state;
    assert_time(PRECISION_AUTO_US, "\"2026-01-02T03:04:05.250Z\"", FAKE_NOW_US + 250000);
    assert_time(PRECISION_MS, "\"2026-01-02 03:04:05\"", FAKE_NOW_US);
    assert_time(PRECISION_AUTO_US, "1767323045000000", FAKE_NOW_US);
    assert_time(PRECISION_US, "1767323045000001", FAKE_NOW_US + 1);
    assert_time(PRECISION_NS, "1767323045000001999", FAKE_NOW_US + 1);
    assert_time(PRECISION_MS, "1767323045001", FAKE_NOW_US + 1000);
    assert_time(PRECISION_S, "1767323046", FAKE_NOW_US + 1000000);
    assert_time(PRECISION_S, "1767323045.25", FAKE_NOW_US + 250000);
}

static void
test_json_texts_with_escapes_are_decoded(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;

    (void)state;
    fake_world_json(world, TABLE_MARKET_DATA,
                    "[{\"sym\\u0062ol\":\"A\\\"\\u00e9\\ud83d\\ude00\"},{\"symbol\":\"plain\"}]");
    assert_int_equal(world->answer.answer.code, ERR_OK);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_text(&batch, "symbol", 0, "A\"\xc3\xa9\xf0\x9f\x98\x80");
    assert_text(&batch, "symbol", 1, "plain");
    batch_fini(&batch);
    close_world(world);
}

static void
test_json_repeated_key_takes_the_last_value(void **state)
{
    (void)state;
    assert_prices("{\"symbol\":\"A\",\"last_price\":7,\"last_price\":1}", 1);
}

/* One bad row of a table: refused, with this error and nothing written. */
static void
assert_row_error(enum table_id table, const char *row, const char *field, const char *value,
                 const char *expected)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer = fake_world_json(world, table, row);

    assert_int_equal(answer->code, ERR_INVALID);
    assert_int_equal(answer->accepted, 0);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->lsn, 0);
    assert_int_equal(answer->error_count, 1);
    assert_int_equal(answer->errors[0].row, 0);
    assert_true(slice_is(answer->errors[0].field, field));
    assert_true(slice_is(answer->errors[0].value, value));
    char text[ROW_ERROR_EXPECTED_MAX + 1];
    assert_true(slice_to_cstr(answer->errors[0].expected, text, sizeof(text)));
    assert_string_equal(text, expected);
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
test_json_bad_value_names_field_value_and_expectation(void **state)
{
    (void)state;
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"last_price\":\"abc\"}", "last_price",
                     "abc", "a number");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"last_price\":true}", "last_price",
                     "true", "a number");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"last_price\":[1, 2]}", "last_price",
                     "[1, 2]", "a number");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"trades\":1.5}", "trades", "1.5",
                     "an integer from -2147483648 to 2147483647");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"trades\":3000000000}", "trades",
                     "3000000000", "an integer from -2147483648 to 2147483647");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":7}", "symbol", "7", "a text");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"timestamp\":\"yesterday\"}",
                     "timestamp", "yesterday", "an ISO 8601 time or an integer");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"timestamp\":1767323045000000000}",
                     "timestamp", "1767323045000000000",
                     "a time in the years 1 to 9999 (is the precision right?)");
}

static void
test_json_missing_required_column_is_named(void **state)
{
    (void)state;
    assert_row_error(TABLE_MARKET_DATA, "{}", "symbol", "", "a text (required)");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":null}", "symbol", "", "a text (required)");
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"\"}", "symbol", "",
                     "a text that is not empty");
    assert_row_error(TABLE_METRICS, "{\"value\":1}", "metric_name", "", "a text (required)");
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\"}", "value", "", "a number (required)");
}

static void
test_json_unknown_column_suggests_the_nearest(void **state)
{
    (void)state;
    assert_row_error(TABLE_MARKET_DATA, "{\"symbol\":\"A\",\"last_prise\":1.5}", "last_prise",
                     "1.5", "a column of market_data, did you mean \"last_price\"?");
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\",\"value\":1,\"lables\":{\"a\": 1}}",
                     "lables", "{\"a\": 1}",
                     "a column of trading_metrics, did you mean \"labels\"?");
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\",\"value\":1,\"zzzzzzzz\":1}",
                     "zzzzzzzz", "1",
                     "a column of trading_metrics: timestamp, metric_name, value, symbol, labels");
}

static void
test_json_row_that_is_no_object_is_told_so(void **state)
{
    static const char expected[] = "a row: an object of column names and values";

    (void)state;
    assert_row_error(TABLE_MARKET_DATA, "[17]", "", "17", expected);
    assert_row_error(TABLE_MARKET_DATA, "[\"x\"]", "", "x", expected);
    assert_row_error(TABLE_MARKET_DATA, "[null]", "", "null", expected);
    assert_row_error(TABLE_MARKET_DATA, "[[{}]]", "", "[{}]", expected);
}

static void
test_json_bad_labels_are_named(void **state)
{
    (void)state;
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\",\"value\":1,\"labels\":[1]}", "labels",
                     "[1]", "a JSON object of label names and values");
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\",\"value\":1,\"labels\":\"a=b\"}",
                     "labels", "a=b", "a JSON object");
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\",\"value\":1,\"labels\":{\"a\":{}}}",
                     "labels", "a", "a string, number or boolean as the value of a label");
    assert_row_error(TABLE_METRICS, "{\"metric_name\":\"m\",\"value\":1,\"labels\":{\"\":\"b\"}}",
                     "labels", "", "a name for every label");
}

static void
test_json_long_metric_name_is_refused(void **state)
{
    char row[3000];
    char name[1026] = {0};
    char shown[101] = {0};

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    memset(shown, 'n', sizeof(shown) - 1);
    snprintf(row, sizeof(row), "{\"metric_name\":\"%s\",\"value\":1}", name);
    assert_row_error(TABLE_METRICS, row, "metric_name", shown, "at most 1024 bytes");
    snprintf(row, sizeof(row), "{\"metric_name\":\"m\",\"symbol\":\"%s\",\"value\":1}", name);
    assert_row_error(TABLE_METRICS, row, "symbol", shown, "at most 1024 bytes");
}

static void
test_json_bad_rows_refuse_all_and_every_one_is_counted(void **state)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer = fake_world_json(
        world, TABLE_MARKET_DATA,
        "[{\"symbol\":\"A\"},{\"symbol\":1},{\"symbol\":\"B\"},{\"bid\":\"x\",\"ask\":\"y\"}]");

    (void)state;
    assert_int_equal(answer->code, ERR_INVALID);
    assert_int_equal(answer->accepted, 0);
    assert_int_equal(answer->rejected, 2);
    assert_int_equal(answer->error_count, 2);
    assert_int_equal(answer->errors[0].row, 1);
    assert_int_equal(answer->errors[1].row, 3);
    assert_true(slice_is(answer->errors[1].field, "bid"));
    assert_string_equal(world->answer.err.msg,
                        "2 of 4 rows are wrong, nothing was written; row 1, symbol: expected a "
                        "text, got \"1\"");
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
test_json_skip_takes_the_good_rows(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;
    struct ingest_request request = {
        .body = slice_of("[{\"symbol\":\"A\"},{\"symbol\":1},7,{\"symbol\":\"B\"}]"),
        .format = INGEST_JSON,
        .table = catalog_table(TABLE_MARKET_DATA),
        .skip_bad_rows = true,
    };
    const struct ingest_answer *answer = fake_world_submit(world, &request);

    (void)state;
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 2);
    assert_int_equal(answer->rejected, 2);
    assert_int_equal(answer->error_count, 2);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_int_equal(batch.rows, 2);
    assert_text(&batch, "symbol", 0, "A");
    assert_text(&batch, "symbol", 1, "B");
    batch_fini(&batch);

    request.body = slice_of("[7]");
    answer = fake_world_submit(world, &request);
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 0);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->lsn, 0);
    assert_int_equal(world->engine.record_count, 1);
    close_world(world);
}

static void
test_json_errors_are_told_up_to_the_bound(void **state)
{
    struct ingest_options options = {.errors_max = 3};
    struct fake_world *world = mem_zalloc(1, sizeof(*world));

    (void)state;
    fake_world_init(world, FAKE_INSTANT, &options);
    const struct ingest_answer *answer =
        fake_world_json(world, TABLE_MARKET_DATA, "[1,2,3,4,5,6,7,{\"symbol\":\"A\"}]");
    assert_int_equal(answer->rejected, 7);
    assert_int_equal(answer->error_count, 3);
    close_world(world);
}

static void
test_json_empty_array_writes_nothing(void **state)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer = fake_world_json(world, TABLE_MARKET_DATA, "[]");

    (void)state;
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 0);
    assert_int_equal(answer->lsn, 0);
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
assert_syntax(const char *body, const char *message)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer = fake_world_json(world, TABLE_MARKET_DATA, body);

    assert_int_equal(answer->code, ERR_SYNTAX);
    assert_string_equal(world->answer.err.msg, message);
    assert_int_equal(answer->lsn, 0);
    assert_int_equal(world->engine.record_count, 0);
    close_world(world);
}

static void
test_json_malformed_document_is_a_syntax_error_with_its_place(void **state)
{
    (void)state;
    assert_syntax("{\"symbol\":\"A\"", "JSON, byte 13: expected ',' or '}'");
    assert_syntax("{\n \"symbol\" \"A\"\n}", "JSON, byte 12: expected ':' behind the key");
    assert_syntax("[{\"symbol\":\"A\"},\n{\"symbol\":}]",
                  "row 1: JSON, byte 27: expected a value: {, [, a string, a number, true, false "
                  "or null");
    assert_syntax("[{\"symbol\":\"A\"}", "row 0: JSON, byte 15: expected ',' or ']'");
    assert_syntax("[{\"symbol\":\"A\"}] x", "JSON, byte 17: expected nothing behind the value");
    assert_syntax("symbol,price\n", "JSON, byte 0: expected '{' or '[': an object, an array of "
                                    "objects, or one object a line");
    assert_syntax("", "the body is empty; expected a JSON object, an array of objects, or one "
                      "object a line");
    assert_syntax(" \r\n ", "the body is empty; expected a JSON object, an array of objects, or "
                            "one object a line");
}

static void
test_json_bad_line_of_many_is_a_row_error(void **state)
{
    struct fake_world *world = open_world();
    struct ingest_request request = {
        .body = slice_of("{\"symbol\":\"A\"}\r\n"
                         "{\"symbol\":\"B\"\r\n"
                         "\r\n"
                         "{\"symbol\":\"C\"} {\"symbol\":\"D\"}\r\n"
                         "nonsense\r\n"
                         "{\"symbol\":\"E\"}\r\n"),
        .format = INGEST_JSON,
        .table = catalog_table(TABLE_MARKET_DATA),
        .skip_bad_rows = true,
    };
    const struct ingest_answer *answer = fake_world_submit(world, &request);
    struct batch batch;

    (void)state;
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 2);
    assert_int_equal(answer->rejected, 3);
    assert_int_equal(answer->error_count, 3);
    assert_int_equal(answer->errors[0].row, 1);
    assert_true(slice_is(answer->errors[0].expected, "',' or '}' at byte 13 of the line"));
    assert_int_equal(answer->errors[1].row, 3);
    assert_true(slice_is(answer->errors[1].value, "{\"symbol\":\"D\"}"));
    assert_true(
        slice_is(answer->errors[1].expected, "nothing behind the value at byte 15 of the line"));
    assert_int_equal(answer->errors[2].row, 4);
    assert_true(slice_is(answer->errors[2].value, "nonsense"));
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_MARKET_DATA, &batch));
    assert_int_equal(batch.rows, 2);
    assert_text(&batch, "symbol", 1, "E");
    batch_fini(&batch);

    request.skip_bad_rows = false;
    assert_int_equal(fake_world_submit(world, &request)->code, ERR_INVALID);
    assert_int_equal(world->answer.answer.rejected, 3);
    close_world(world);
}

static void
test_json_first_line_broken_is_still_lines(void **state)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer =
        fake_world_json(world, TABLE_MARKET_DATA, "{\"symbol\":\"A\"\n\n{\"symbol\":\"B\"}\n");

    (void)state;
    assert_int_equal(answer->code, ERR_INVALID);
    assert_int_equal(answer->rejected, 1);
    assert_int_equal(answer->errors[0].row, 0);
    close_world(world);
}

static void
test_json_line_of_metrics_with_a_tail_leaves_no_sample(void **state)
{
    struct fake_world *world = open_world();
    struct batch batch;
    struct ingest_request request = {
        .body = slice_of("{\"metric_name\":\"m\",\"value\":1} x\n"
                         "{\"metric_name\":\"m\",\"value\":2}\n"),
        .format = INGEST_JSON,
        .table = catalog_table(TABLE_METRICS),
        .skip_bad_rows = true,
    };

    (void)state;
    /* The first line is no value, so it takes the second to tell that these are lines. */
    assert_int_equal(fake_world_submit(world, &request)->accepted, 1);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &batch));
    assert_int_equal(batch.rows, 1);
    assert_true(batch_get_f64(&batch, 2, 0) == 2);
    batch_fini(&batch);
    close_world(world);
}

static void
test_json_metrics_become_series_and_samples(void **state)
{
    struct fake_world *world = open_world();
    struct batch series;
    struct batch samples;
    const struct ingest_answer *answer = fake_world_json(
        world, TABLE_METRICS,
        "[{\"metric_name\":\"cpu\",\"value\":1.5,\"timestamp\":1767323045000001,\"symbol\":\"A\","
        "\"labels\":{\"b\":1,\"a\":\"x\"}},"
        "{\"metric_name\":\"cpu\",\"value\":2.5,\"symbol\":\"A\","
        "\"labels\":\"{\\\"a\\\": \\\"x\\\", \\\"b\\\": \\\"1\\\"}\"},"
        "{\"metric_name\":\"cpu\",\"value\":3,\"labels\":{}},"
        "{\"metric_name\":\"cpu\",\"value\":4,\"symbol\":\"\",\"labels\":null}]");

    (void)state;
    assert_int_equal(answer->code, ERR_OK);
    assert_int_equal(answer->accepted, 4);
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SERIES, &series));
    assert_true(fake_engine_batch(&world->engine, 0, TABLE_SAMPLES, &samples));
    assert_int_equal(series.rows, 2);
    assert_text(&series, "metric_name", 0, "cpu");
    assert_text(&series, "symbol", 0, "A");
    assert_text(&series, "labels", 0, "{\"a\":\"x\",\"b\":\"1\"}");
    assert_true(batch_is_null(&series, 2, 1));
    assert_true(batch_is_null(&series, 3, 1));
    assert_int_equal(samples.rows, 4);
    assert_int_equal(batch_get_i64(&samples, 0, 0), 1);
    assert_int_equal(batch_get_i64(&samples, 0, 1), 1);
    assert_int_equal(batch_get_i64(&samples, 0, 2), 2);
    assert_int_equal(batch_get_i64(&samples, 0, 3), 2);
    assert_int_equal(batch_get_i64(&samples, 1, 0), FAKE_NOW_US + 1);
    assert_int_equal(batch_get_i64(&samples, 1, 1), FAKE_NOW_US);
    assert_true(batch_get_f64(&samples, 2, 1) == 2.5);
    batch_fini(&series);
    batch_fini(&samples);
    close_world(world);
}

static void
test_json_of_a_table_that_is_not_for_clients_is_refused(void **state)
{
    struct fake_world *world = open_world();
    const struct ingest_answer *answer = fake_world_json(world, TABLE_SERIES, "{}");

    (void)state;
    assert_int_equal(answer->code, ERR_INVALID);
    assert_string_equal(world->answer.err.msg, "table series cannot be written by clients");
    close_world(world);
}

/* Every prefix of a body is answered once, and never with rows that were cut. */
static void
test_json_cut_anywhere_is_refused_or_whole(void **state)
{
    static const char *const bodies[] = {
        "[{\"metric_name\":\"a\\u0062\",\"value\":1.5e3,\"labels\":{\"x\":\"y\"}},"
        "{\"metric_name\":\"c\",\"value\":-2}]",
        "{\"metric_name\":\"a\",\"value\":1}\n{\"metric_name\":\"b\",\"value\":2}\n",
    };
    struct fake_world *world = open_world();

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(bodies[i]);
        for (size_t cut = 0; cut <= len; cut++) {
            /* In memory of its own, so that a sanitizer sees every step too far. */
            char *copy = mem_alloc(cut);
            memcpy(copy, bodies[i], cut);
            struct ingest_request request = {.body = slice_make(copy, cut),
                                             .format = INGEST_JSON,
                                             .table = catalog_table(TABLE_METRICS)};
            const struct ingest_answer *answer = fake_world_submit(world, &request);
            assert_int_equal(world->answer.calls, 1);
            if (cut == len) {
                assert_int_equal(answer->code, ERR_OK);
                assert_int_equal(answer->accepted, 2);
            } else if (i == 0) {
                assert_int_equal(answer->code, ERR_SYNTAX);
            } else if (answer->code == ERR_OK) {
                /* Whole lines only: all of the first, or both but for the last newline. */
                assert_true(answer->accepted == 1 ? cut <= 31 : cut == len - 1);
            }
            free(copy);
        }
    }
    close_world(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_takes_object_array_and_lines),
        cmocka_unit_test(test_json_fills_what_is_missing_by_the_catalogue),
        cmocka_unit_test(test_json_times_are_iso_texts_or_integers_of_the_precision),
        cmocka_unit_test(test_json_texts_with_escapes_are_decoded),
        cmocka_unit_test(test_json_repeated_key_takes_the_last_value),
        cmocka_unit_test(test_json_bad_value_names_field_value_and_expectation),
        cmocka_unit_test(test_json_missing_required_column_is_named),
        cmocka_unit_test(test_json_unknown_column_suggests_the_nearest),
        cmocka_unit_test(test_json_row_that_is_no_object_is_told_so),
        cmocka_unit_test(test_json_bad_labels_are_named),
        cmocka_unit_test(test_json_long_metric_name_is_refused),
        cmocka_unit_test(test_json_bad_rows_refuse_all_and_every_one_is_counted),
        cmocka_unit_test(test_json_skip_takes_the_good_rows),
        cmocka_unit_test(test_json_errors_are_told_up_to_the_bound),
        cmocka_unit_test(test_json_empty_array_writes_nothing),
        cmocka_unit_test(test_json_malformed_document_is_a_syntax_error_with_its_place),
        cmocka_unit_test(test_json_bad_line_of_many_is_a_row_error),
        cmocka_unit_test(test_json_first_line_broken_is_still_lines),
        cmocka_unit_test(test_json_line_of_metrics_with_a_tail_leaves_no_sample),
        cmocka_unit_test(test_json_metrics_become_series_and_samples),
        cmocka_unit_test(test_json_of_a_table_that_is_not_for_clients_is_refused),
        cmocka_unit_test(test_json_cut_anywhere_is_refused_or_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
