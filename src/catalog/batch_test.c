/* Tests of batches: rows, NULLs, growth, reading values as other types. */
#include "catalog/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalog/batch_text.h"

#include <math.h>
#include <string.h>

enum { TEXT_BYTES = 1 << 16, ROWS = 1000 };

static const struct catalog_column all_columns[] = {
    {.name = "b", .type = COL_BOOL},      {.name = "i", .type = COL_INT32},
    {.name = "l", .type = COL_INT64},     {.name = "d", .type = COL_DOUBLE},
    {.name = "t", .type = COL_TIMESTAMP}, {.name = "s", .type = COL_TEXT},
    {.name = "j", .type = COL_JSON},      {.name = "m", .type = COL_DECIMAL},
};
enum { ALL_COUNT = sizeof(all_columns) / sizeof(*all_columns) };

static const struct catalog_table all_types = {
    .id = TABLE_TRADES, .name = "all_types", .columns = all_columns, .column_count = ALL_COUNT};

/* Sets column `column` of a row to something made from `n`. */
static void
set_any(struct batch *batch, size_t column, size_t row, int64_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

    switch (batch->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(batch, column, row, n & 1);
        return;
    case COL_INT32:
        batch_set_i32(batch, column, row, (int32_t)n);
        return;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        batch_set_i64(batch, column, row, n);
        return;
    case COL_DOUBLE:
        batch_set_f64(batch, column, row, (double)n);
        return;
    case COL_TEXT:
    case COL_JSON:
        batch_set_text(batch, column, row, slice_make(letters, (size_t)n % 26));
        return;
    case COL_TYPE_COUNT:
        return;
    }
}

static void
test_batch_new_rows_are_null_whatever_was_there(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, &all_types, TEXT_BYTES);
    for (int round = 0; round < 3; round++) {
        for (size_t row = 0; row < ROWS; row++) {
            assert_int_equal(batch_add_row(&batch), row);
            for (size_t i = 0; i < ALL_COUNT; i++) {
                assert_true(batch_is_null(&batch, i, row));
                set_any(&batch, i, row, (int64_t)row + 1);
                assert_false(batch_is_null(&batch, i, row));
            }
        }
        batch_reset(&batch);
        assert_int_equal(batch.rows, 0);
    }
    batch_fini(&batch);
}

static void
test_batch_keeps_every_value_while_it_grows(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, &all_types, TEXT_BYTES);
    for (size_t row = 0; row < ROWS; row++) {
        batch_add_row(&batch);
        for (size_t i = 0; i < ALL_COUNT; i++) {
            if ((row + i) % 3) {
                set_any(&batch, i, row, (int64_t)row);
            }
        }
    }
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < ALL_COUNT; i++) {
            assert_int_equal(batch_is_null(&batch, i, row), (row + i) % 3 == 0);
        }
        assert_int_equal(batch_get_i64(&batch, 1, row), (row + 1) % 3 ? row : 0);
        assert_int_equal(batch_get_i64(&batch, 4, row), (row + 4) % 3 ? row : 0);
        assert_int_equal(batch_get_text(&batch, 5, row).len, (row + 5) % 3 ? row % 26 : 0);
    }
    batch_fini(&batch);
}

static void
test_batch_drop_row_leaves_no_trace(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, &all_types, TEXT_BYTES);
    for (int i = 0; i < 100; i++) {
        size_t row = batch_add_row(&batch);
        for (size_t column = 0; column < ALL_COUNT; column++) {
            assert_true(batch_is_null(&batch, column, row));
            set_any(&batch, column, row, 77);
        }
        if (i % 2) {
            batch_drop_row(&batch);
        }
    }
    assert_int_equal(batch.rows, 50);
    batch_add_row(&batch);
    assert_true(batch_is_null(&batch, 3, 50));
    assert_int_equal(batch_get_i64(&batch, 3, 50), 0);
    assert_int_equal(batch_get_i64(&batch, 3, 49), 77);
    batch_fini(&batch);
}

static void
test_batch_extend_takes_rows_written_in_bulk(void **state)
{
    struct batch batch;

    (void)state;
    for (size_t before = 0; before < 130; before += 13) {
        for (size_t count = 0; count < 200; count += 19) {
            batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
            for (size_t i = 0; i < before; i++) {
                batch_add_row(&batch);
            }
            batch_reserve(&batch, before + count);
            for (size_t i = 0; i < count; i++) {
                batch.columns[0].i32[before + i] = (int32_t)i;
                batch.columns[2].f64[before + i] = (double)i;
            }
            assert_int_equal(batch_extend(&batch, count), before);
            assert_int_equal(batch.rows, before + count);
            for (size_t row = 0; row < batch.rows; row++) {
                assert_int_equal(batch_is_null(&batch, 2, row), row < before);
                assert_int_equal(batch_get_i64(&batch, 0, row), row < before ? 0 : row - before);
            }
            batch_add_row(&batch);
            assert_true(batch_is_null(&batch, 0, batch.rows - 1));
            batch_fini(&batch);
        }
    }
}

static void
test_batch_reads_values_as_other_types(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, &all_types, TEXT_BYTES);
    size_t row = batch_add_row(&batch);
    batch_set_bool(&batch, 0, row, true);
    batch_set_i32(&batch, 1, row, -5);
    batch_set_i64(&batch, 2, row, INT64_MIN);
    batch_set_f64(&batch, 3, row, -2.9);
    batch_set_text(&batch, 5, row, SLICE_LITERAL("x"));
    assert_true(batch_get_f64(&batch, 0, row) > 0.9);
    assert_true(batch_get_f64(&batch, 1, row) < -4.9);
    assert_int_equal(batch_get_i64(&batch, 0, row), 1);
    assert_int_equal(batch_get_i64(&batch, 3, row), -2);
    assert_true(batch_get_i64(&batch, 2, row) == INT64_MIN);
    assert_int_equal(batch_get_i64(&batch, 4, row), 0);
    assert_int_equal(batch_get_i64(&batch, 5, row), 0);
    assert_int_equal(batch_get_text(&batch, 1, row).len, 0);
    batch_set_f64(&batch, 3, row, NAN);
    assert_int_equal(batch_get_i64(&batch, 3, row), 0);
    batch_set_f64(&batch, 3, row, 1e300);
    assert_true(batch_get_i64(&batch, 3, row) == INT64_MAX);
    batch_set_f64(&batch, 3, row, -INFINITY);
    assert_true(batch_get_i64(&batch, 3, row) == INT64_MIN);
    batch_set_null(&batch, 3, row);
    assert_true(batch_is_null(&batch, 3, row));
    batch_fini(&batch);
}

static void
test_batch_answers_have_columns_of_their_own(void **state)
{
    struct batch batch;
    struct batch copy;
    char name[] = "average";

    (void)state;
    batch_init_answer(&batch, TEXT_BYTES);
    batch_init_answer(&copy, TEXT_BYTES);
    batch_add_column(&batch, slice_of("symbol"), COL_TEXT);
    batch_add_column(&batch, slice_of(name), COL_DOUBLE);
    batch_add_column(&copy, slice_of("symbol"), COL_TEXT);
    batch_add_column(&copy, slice_of(name), COL_DOUBLE);
    memset(name, 'x', sizeof(name) - 1);
    assert_int_equal(batch_column_index(&batch, slice_of("average")), 1);
    assert_int_equal(batch_column_index(&batch, slice_of("xxxxxxx")), CATALOG_NONE);
    batch_add_row(&batch);
    batch_set_text(&batch, 0, 0, batch_keep_text(&batch, SLICE_LITERAL("AAPL")));
    batch_add_row(&batch);
    batch_set_f64(&batch, 1, 1, 2.5);
    batch_copy_row(&copy, &batch, 1);
    batch_copy_row(&copy, &batch, 0);
    assert_true(batch_is_null(&copy, 0, 0));
    assert_true(batch_get_f64(&copy, 1, 0) > 2.4);
    assert_true(slice_is(batch_get_text(&copy, 0, 1), "AAPL"));
    assert_true(batch_is_null(&copy, 1, 1));
    batch_reset(&batch);
    assert_string_equal(batch.columns[1].name, "average");
    batch_fini(&copy);
    batch_fini(&batch);
}

static void
test_batch_shows_decimals_exactly(void **state)
{
    static const int64_t amounts[] = {60500000, 60000000, -1, INT64_C(999999999999999999)};
    struct batch batch;
    struct buf text BUF_AUTO;

    (void)state;
    buf_init(&text, 0);
    batch_init_answer(&batch, TEXT_BYTES);
    batch_add_column(&batch, slice_of("credits"), COL_DECIMAL);
    for (size_t i = 0; i < sizeof(amounts) / sizeof(*amounts); i++) {
        batch_add_row(&batch);
        batch_set_i64(&batch, 0, i, amounts[i]);
    }
    batch_add_row(&batch);
    assert_true(batch_get_f64(&batch, 0, 0) == 60.5);
    assert_true(batch_get_i64(&batch, 0, 0) == 60500000);
    batch_ndjson(&text, &batch);
    assert_true(slice_is(buf_slice(&text), "{\"credits\":60.5}\n{\"credits\":60}\n"
                                           "{\"credits\":-0.000001}\n"
                                           "{\"credits\":999999999999.999999}\n"
                                           "{\"credits\":null}\n"));
    buf_reset(&text);
    batch_csv_rows(&text, &batch);
    assert_true(
        slice_is(buf_slice(&text), "60.5\r\n60\r\n-0.000001\r\n999999999999.999999\r\n\r\n"));
    batch_fini(&batch);
}

static void
test_batch_text_over_the_cap_overflows(void **state)
{
    struct batch batch;

    (void)state;
    batch_init(&batch, catalog_table(TABLE_TRADES), 64);
    assert_int_equal(batch_keep_text(&batch, SLICE_LITERAL("short")).len, 5);
    assert_int_equal(
        batch_keep_text(&batch, SLICE_LITERAL("0123456789012345678901234567890123456789"
                                              "0123456789012345678901234567890123456789"))
            .len,
        0);
    assert_true(batch.arena.overflow);
    assert_int_equal(batch_column_index(&batch, slice_of("price")), 5);
    batch_fini(&batch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_new_rows_are_null_whatever_was_there),
        cmocka_unit_test(test_batch_keeps_every_value_while_it_grows),
        cmocka_unit_test(test_batch_drop_row_leaves_no_trace),
        cmocka_unit_test(test_batch_extend_takes_rows_written_in_bulk),
        cmocka_unit_test(test_batch_reads_values_as_other_types),
        cmocka_unit_test(test_batch_answers_have_columns_of_their_own),
        cmocka_unit_test(test_batch_shows_decimals_exactly),
        cmocka_unit_test(test_batch_text_over_the_cap_overflows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
