/* Tests of validation: every kind of value into every type of column, defaults, refusals. */
#include "catalog/validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json_read.h"

enum { TEXT_BYTES = 1 << 16 };

#define NOW_US INT64_C(1767323045123456)

static const char *const sides[] = {"buy", "sell", NULL};

static const struct catalog_column columns[] = {
    {.name = "bool", .type = COL_BOOL},
    {.name = "int32", .type = COL_INT32},
    {.name = "int64", .type = COL_INT64},
    {.name = "double", .type = COL_DOUBLE},
    {.name = "time", .type = COL_TIMESTAMP},
    {.name = "text", .type = COL_TEXT},
    {.name = "json", .type = COL_JSON},
    {.name = "percent", .type = COL_DOUBLE, .min = 0, .max = 100},
    {.name = "count", .type = COL_INT32, .min = 0, .max = 1000},
    {.name = "side", .type = COL_TEXT, .choices = sides},
    {.name = "name", .type = COL_TEXT, .missing = MISSING_REFUSE},
    {.name = "credits", .type = COL_DECIMAL, .missing = MISSING_ZERO},
    {.name = "fee", .type = COL_DECIMAL, .min = 0, .max = INFINITY},
};
enum {
    BOOL,
    INT32,
    INT64,
    DOUBLE,
    TIME,
    TEXT,
    JSON,
    PERCENT,
    COUNT,
    SIDE,
    NAME,
    CREDITS,
    FEE,
    COLUMN_COUNT
};

static const struct catalog_table table = {
    .id = TABLE_TRADES, .name = "all", .columns = columns, .column_count = COLUMN_COUNT};

struct fixture {
    struct batch batch;
    struct arena arena;
    struct catalog_fault fault;
};

static int
setup(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));

    batch_init(&fixture->batch, &table, TEXT_BYTES);
    arena_init(&fixture->arena, TEXT_BYTES);
    batch_add_row(&fixture->batch);
    *state = fixture;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *fixture = *state;

    batch_fini(&fixture->batch);
    arena_fini(&fixture->arena);
    free(fixture);
    return 0;
}

/* Sets one cell from JSON text, as ingest does. */
static bool
set(struct fixture *fixture, size_t column, const char *json_text)
{
    struct json_reader json;
    struct scalar value;

    json_read_init(&json, slice_of(json_text), &fixture->arena);
    assert_true(json_read_value(&json, &value));
    assert_true(value.type < SCALAR_OBJECT || json_read_rest(&json, &value));
    batch_set_null(&fixture->batch, column, 0);
    return catalog_set(&fixture->batch, column, 0, &value, TIME_PRECISION_DEFAULT, &fixture->fault);
}

static void
refuse(struct fixture *fixture, size_t column, const char *json_text, const char *expected)
{
    assert_false(set(fixture, column, json_text));
    assert_int_equal(fixture->fault.code, ERR_INVALID);
    assert_int_equal(fixture->fault.column, column);
    assert_string_equal(fixture->fault.field, columns[column].name);
    assert_string_equal(fixture->fault.expected, expected);
    assert_true(batch_is_null(&fixture->batch, column, 0));
}

static void
test_validate_takes_decimals_exactly(void **state)
{
    struct fixture *f = *state;
    static const char decimal[] = "a number with at most 6 decimals";

    assert_true(set(f, CREDITS, "60.5"));
    assert_true(batch_get_i64(&f->batch, CREDITS, 0) == 60500000);
    assert_true(set(f, CREDITS, "999999999999.999999"));
    assert_true(batch_get_i64(&f->batch, CREDITS, 0) == INT64_C(999999999999999999));
    assert_true(set(f, CREDITS, "-1.2e1"));
    assert_true(batch_get_i64(&f->batch, CREDITS, 0) == -12000000);
    assert_true(set(f, CREDITS, "\"120.000001\""));
    assert_true(batch_get_i64(&f->batch, CREDITS, 0) == 120000001);
    refuse(f, CREDITS, "0.0000001", decimal);
    refuse(f, CREDITS, "1e12", decimal);
    refuse(f, CREDITS, "\"\"", decimal);
    refuse(f, CREDITS, "\"sixty\"", decimal);
    refuse(f, CREDITS, "true", decimal);
    refuse(f, CREDITS, "{}", decimal);
    assert_true(set(f, FEE, "0"));
    assert_true(set(f, FEE, "1e11"));
    refuse(f, FEE, "-0.000001", "a number of at least 0");
    assert_true(catalog_set_text(&f->batch, CREDITS, 0, SLICE_LITERAL("0.000001"),
                                 TIME_PRECISION_DEFAULT, &f->fault));
    assert_true(batch_get_i64(&f->batch, CREDITS, 0) == 1);
    assert_false(catalog_set_text(&f->batch, CREDITS, 0, SLICE_LITERAL("nan"),
                                  TIME_PRECISION_DEFAULT, &f->fault));
    assert_string_equal(f->fault.expected, decimal);
    batch_set_null(&f->batch, CREDITS, 0);
    assert_true(set(f, NAME, "\"n\""));
    assert_true(catalog_fill_missing(&f->batch, 0, NOW_US, &f->fault));
    assert_false(batch_is_null(&f->batch, CREDITS, 0));
    assert_int_equal(batch_get_i64(&f->batch, CREDITS, 0), 0);
}

static void
test_validate_takes_integers_in_range_and_whole_doubles(void **state)
{
    struct fixture *f = *state;
    static const char int32[] = "an integer from -2147483648 to 2147483647";
    static const char int64[] = "an integer that fits 64 bits";

    assert_true(set(f, INT32, "2147483647"));
    assert_int_equal(batch_get_i64(&f->batch, INT32, 0), INT32_MAX);
    assert_true(set(f, INT32, "-2147483648"));
    assert_int_equal(batch_get_i64(&f->batch, INT32, 0), INT32_MIN);
    assert_true(set(f, INT32, "7.0"));
    assert_int_equal(batch_get_i64(&f->batch, INT32, 0), 7);
    assert_true(set(f, INT64, "9223372036854775807"));
    assert_true(batch_get_i64(&f->batch, INT64, 0) == INT64_MAX);
    assert_true(set(f, INT64, "1.5e3"));
    assert_int_equal(batch_get_i64(&f->batch, INT64, 0), 1500);
    refuse(f, INT32, "2147483648", int32);
    refuse(f, INT32, "-2147483649", int32);
    refuse(f, INT32, "1.5", int32);
    refuse(f, INT32, "\"5\"", int32);
    refuse(f, INT32, "true", int32);
    refuse(f, INT32, "[1]", int32);
    refuse(f, INT64, "9223372036854775808", int64);
    refuse(f, INT64, "1e30", int64);
}

static void
test_validate_takes_doubles_and_booleans(void **state)
{
    struct fixture *f = *state;

    assert_true(set(f, DOUBLE, "-1.25e2"));
    assert_true(batch_get_i64(&f->batch, DOUBLE, 0) == -125);
    assert_true(set(f, BOOL, "true"));
    assert_int_equal(batch_get_i64(&f->batch, BOOL, 0), 1);
    assert_true(set(f, BOOL, "false"));
    refuse(f, DOUBLE, "1e999", "a number that fits a double");
    refuse(f, DOUBLE, "\"1.5\"", "a number");
    refuse(f, DOUBLE, "false", "a number");
    refuse(f, DOUBLE, "{}", "a number");
    refuse(f, BOOL, "1", "true or false");
    refuse(f, BOOL, "\"true\"", "true or false");
}

static void
test_validate_keeps_to_ranges_and_choices(void **state)
{
    struct fixture *f = *state;

    assert_true(set(f, PERCENT, "0"));
    assert_true(set(f, PERCENT, "100"));
    assert_true(set(f, COUNT, "1000"));
    assert_true(set(f, SIDE, "\"sell\""));
    refuse(f, PERCENT, "100.5", "a number from 0 to 100");
    refuse(f, PERCENT, "-1", "a number from 0 to 100");
    refuse(f, COUNT, "1001", "an integer from 0 to 1000");
    refuse(f, SIDE, "\"hold\"", "one of: buy, sell");
    assert_false(catalog_set_text(&f->batch, PERCENT, 0, SLICE_LITERAL("nan"),
                                  TIME_PRECISION_DEFAULT, &f->fault));
}

static void
test_validate_takes_texts_of_utf_8_within_bounds(void **state)
{
    struct fixture *f = *state;
    MEM_AUTO char *longest = mem_alloc(CATALOG_TEXT_MAX + 1);
    struct scalar value = {.type = SCALAR_STRING};

    memset(longest, 'x', CATALOG_TEXT_MAX + 1);
    assert_true(set(f, TEXT, "\"Z\\u00fcrich\""));
    assert_true(slice_is(batch_get_text(&f->batch, TEXT, 0), "Z\xc3\xbcrich"));
    assert_true(set(f, TEXT, "\"\""));
    assert_false(batch_is_null(&f->batch, TEXT, 0));
    refuse(f, TEXT, "\"a\\u0000b\"", "UTF-8 text without NUL");
    refuse(f, TEXT, "5", "a text");
    refuse(f, TEXT, "{\"a\":1}", "a text");
    refuse(f, NAME, "\"\"", "a text that is not empty");
    value.text = slice_make(longest, CATALOG_TEXT_MAX);
    assert_true(catalog_set(&f->batch, TEXT, 0, &value, TIME_PRECISION_DEFAULT, &f->fault));
    value.text.len++;
    assert_false(catalog_set(&f->batch, TEXT, 0, &value, TIME_PRECISION_DEFAULT, &f->fault));
    assert_string_equal(f->fault.expected, "a text of at most 65536 bytes");
    value.text = slice_of("\xff");
    assert_false(catalog_set(&f->batch, TEXT, 0, &value, TIME_PRECISION_DEFAULT, &f->fault));
}

static void
test_validate_takes_json_as_it_was_given(void **state)
{
    struct fixture *f = *state;
    static const char *const given[] = {"{\"a\": [1, 2]}", "[]", "1.50", "true"};

    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
        assert_true(set(f, JSON, given[i]));
        assert_true(slice_is(batch_get_text(&f->batch, JSON, 0), given[i]));
    }
    assert_true(set(f, JSON, "\"{\\\"a\\\":1}\""));
    assert_true(slice_is(batch_get_text(&f->batch, JSON, 0), "{\"a\":1}"));
    refuse(f, JSON, "\"no json\"", "a JSON object");
}

static bool
set_time(struct fixture *fixture, const char *json_text, enum time_precision precision)
{
    struct json_reader json;
    struct scalar value;

    json_read_init(&json, slice_of(json_text), &fixture->arena);
    assert_true(json_read_value(&json, &value));
    return catalog_set(&fixture->batch, TIME, 0, &value, precision, &fixture->fault);
}

static void
check_time(struct fixture *fixture, const char *json_text, enum time_precision precision,
           int64_t expected)
{
    assert_true(set_time(fixture, json_text, precision));
    assert_true(batch_get_i64(&fixture->batch, TIME, 0) == expected);
}

static void
test_validate_takes_times_as_text_and_as_numbers(void **state)
{
    struct fixture *f = *state;

    check_time(f, "\"2026-01-02T03:04:05.123456\"", TIME_PRECISION_S, NOW_US);
    check_time(f, "1767323045123456", TIME_PRECISION_DEFAULT, NOW_US);
    check_time(f, "1767323045123456", TIME_PRECISION_US, NOW_US);
    check_time(f, "1767323045123456789", TIME_PRECISION_NS, NOW_US);
    check_time(f, "1767323045123", TIME_PRECISION_MS, NOW_US - 456);
    check_time(f, "1767323045", TIME_PRECISION_S, NOW_US - 123456);
    /* What time.time() of Python prints; finer than microseconds is cut towards the past. */
    check_time(f, "1767323045.1234567", TIME_PRECISION_S, NOW_US);
    check_time(f, "1767323045123.456", TIME_PRECISION_MS, NOW_US);
    check_time(f, "1.767323045e9", TIME_PRECISION_S, NOW_US - 123456);
    check_time(f, "0", TIME_PRECISION_NS, 0);
    check_time(f, "-1", TIME_PRECISION_NS, -1);
    check_time(f, "-1000", TIME_PRECISION_NS, -1);
    check_time(f, "-0.0000001", TIME_PRECISION_S, -1);
    check_time(f, "1e-30", TIME_PRECISION_S, 0);
    check_time(f, "-1e-30", TIME_PRECISION_S, -1);
}

static void
test_validate_refuses_times_of_a_wrong_precision(void **state)
{
    struct fixture *f = *state;
    static const char expected[] = "a time in the years 1 to 9999 (is the precision right?)";

    assert_false(set_time(f, "1767323045123456789", TIME_PRECISION_US));
    assert_string_equal(f->fault.expected, expected);
    assert_false(set_time(f, "1767323045123456", TIME_PRECISION_S));
    assert_string_equal(f->fault.expected, expected);
    assert_false(set_time(f, "1e300", TIME_PRECISION_NS));
    assert_false(set_time(f, "\"0000-12-31\"", TIME_PRECISION_NS));
    assert_false(set_time(f, "\"yesterday\"", TIME_PRECISION_US));
    assert_string_equal(f->fault.expected, "an ISO 8601 time or an integer");
    assert_true(slice_is(f->fault.value, "yesterday"));
    assert_false(set_time(f, "true", TIME_PRECISION_US));
}

static void
test_validate_null_stays_null_in_every_column(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        assert_true(set(f, i, "null"));
        assert_true(batch_is_null(&f->batch, i, 0));
    }
}

static bool
set_text(struct fixture *fixture, size_t column, const char *text)
{
    batch_set_null(&fixture->batch, column, 0);
    return catalog_set_text(&fixture->batch, column, 0, slice_of(text), TIME_PRECISION_MS,
                            &fixture->fault);
}

static void
test_validate_takes_texts_for_any_type(void **state)
{
    struct fixture *f = *state;

    assert_true(set_text(f, INT32, "42") && batch_get_i64(&f->batch, INT32, 0) == 42);
    assert_true(set_text(f, DOUBLE, "4.5") && batch_get_f64(&f->batch, DOUBLE, 0) > 4.4);
    assert_true(set_text(f, DOUBLE, "-Inf") && isinf(batch_get_f64(&f->batch, DOUBLE, 0)));
    assert_true(set_text(f, DOUBLE, "NaN") && isnan(batch_get_f64(&f->batch, DOUBLE, 0)));
    assert_true(set_text(f, BOOL, "TRUE") && batch_get_i64(&f->batch, BOOL, 0) == 1);
    assert_true(set_text(f, BOOL, "0") && batch_get_i64(&f->batch, BOOL, 0) == 0);
    assert_true(set_text(f, TIME, "2026-01-02 03:04:05"));
    assert_true(batch_get_i64(&f->batch, TIME, 0) == NOW_US - 123456);
    assert_true(set_text(f, TIME, "1767323045123"));
    assert_true(batch_get_i64(&f->batch, TIME, 0) == NOW_US - 456);
    assert_true(set_text(f, TEXT, "123"));
    assert_true(set_text(f, JSON, "{\"a\":1}"));
    assert_false(set_text(f, INT32, ""));
    assert_false(set_text(f, INT32, "4x"));
    assert_false(set_text(f, DOUBLE, "x"));
    assert_false(set_text(f, BOOL, "yes"));
    assert_false(set_text(f, TIME, "02.01.2026"));
    assert_false(set_text(f, JSON, "{"));
}

static void
test_validate_fills_what_is_missing_by_the_rules(void **state)
{
    struct batch batch;
    struct catalog_fault fault;

    (void)state;
    batch_init(&batch, catalog_table(TABLE_TRADES), TEXT_BYTES);
    size_t row = batch_add_row(&batch);
    assert_false(catalog_fill_missing(&batch, row, NOW_US, &fault));
    assert_string_equal(fault.field, "symbol");
    assert_string_equal(fault.expected, "a text (required)");
    batch_set_text(&batch, 2, row, SLICE_LITERAL("AAPL"));
    batch_set_text(&batch, 3, row, SLICE_LITERAL("buy"));
    batch_set_f64(&batch, 4, row, 1);
    batch_set_f64(&batch, 5, row, 2);
    assert_true(catalog_fill_missing(&batch, row, NOW_US, &fault));
    assert_int_equal(batch_get_text(&batch, 0, row).len, 36);
    assert_true(batch_get_i64(&batch, 1, row) == NOW_US);
    assert_true(batch_is_null(&batch, 6, row));
    assert_true(batch_is_null(&batch, 8, row));
    batch_fini(&batch);

    batch_init(&batch, catalog_table(TABLE_SYSTEM_METRICS), 0);
    row = batch_add_row(&batch);
    assert_true(catalog_fill_missing(&batch, row, NOW_US, &fault));
    assert_true(slice_is(batch_get_text(&batch, 5, row), "unknown"));
    assert_false(batch_is_null(&batch, 6, row));
    assert_true(batch_is_null(&batch, 1, row));
    batch_fini(&batch);
}

static void
test_validate_says_when_there_is_no_room_for_identifiers(void **state)
{
    struct batch batch;
    struct catalog_fault fault;

    (void)state;
    batch_init(&batch, catalog_table(TABLE_TRADES), 10);
    size_t row = batch_add_row(&batch);
    assert_false(catalog_fill_missing(&batch, row, NOW_US, &fault));
    assert_int_equal(fault.code, ERR_TOO_LARGE);
    assert_string_equal(fault.field, "trade_id");
    batch_fini(&batch);
}

static void
test_validate_checks_batches_made_by_hand(void **state)
{
    struct batch batch;
    struct catalog_fault fault;
    size_t row = 42;

    (void)state;
    batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
    assert_true(catalog_check_batch(&batch, &row, &fault));
    batch_reserve(&batch, 100);
    batch_extend(&batch, 100);
    assert_true(catalog_check_batch(&batch, &row, &fault));
    batch_set_null(&batch, 1, 70);
    assert_false(catalog_check_batch(&batch, &row, &fault));
    assert_int_equal(row, 70);
    assert_string_equal(fault.field, "timestamp");
    assert_string_equal(fault.expected, "an ISO 8601 time or an integer (required)");
    batch_fini(&batch);
}

static void
test_validate_finds_columns_with_any_guess(void **state)
{
    (void)state;
    for (int guess = -2; guess < COLUMN_COUNT + 2; guess++) {
        assert_int_equal(catalog_column_expect(&table, SLICE_LITERAL("double"), guess), DOUBLE);
        assert_int_equal(catalog_column_expect(&table, SLICE_LITERAL("none"), guess), CATALOG_NONE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_validate_takes_decimals_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_takes_integers_in_range_and_whole_doubles,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_takes_doubles_and_booleans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_keeps_to_ranges_and_choices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_takes_texts_of_utf_8_within_bounds, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_validate_takes_json_as_it_was_given, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_takes_times_as_text_and_as_numbers, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_validate_refuses_times_of_a_wrong_precision, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_validate_null_stays_null_in_every_column, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_validate_takes_texts_for_any_type, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_fills_what_is_missing_by_the_rules, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_validate_says_when_there_is_no_room_for_identifiers,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_checks_batches_made_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(test_validate_finds_columns_with_any_guess, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
