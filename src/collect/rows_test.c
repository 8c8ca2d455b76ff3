/* Tests of setting values by column name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "collect/rows.h"

static void
test_rows_numbers_take_the_type_of_the_column(void **state)
{
    struct batch BATCH_AUTO rows;

    (void)state;
    batch_init(&rows, catalog_table(TABLE_MARKET_DATA), 1024);
    size_t row = batch_add_row(&rows);
    rows_put_time(&rows, row, "timestamp", 5);
    rows_put_text(&rows, row, "symbol", slice_of("AAPL"));
    rows_put_number(&rows, row, "last_price", 1.5);
    rows_put_number(&rows, row, "volume", 5e9);
    rows_put_number(&rows, row, "trades", 7.9);
    rows_put_number(&rows, row, "bid", NAN);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 5);
    assert_true(slice_is(batch_get_text(&rows, 1, 0), "AAPL"));
    assert_true(batch_get_f64(&rows, 2, 0) == 1.5);
    assert_true(batch_is_null(&rows, 3, 0));
    assert_int_equal(batch_get_i64(&rows, 5, 0), INT64_C(5000000000));
    assert_int_equal(batch_get_i64(&rows, 6, 0), 7);
}

static void
test_rows_numbers_are_cut_to_what_fits(void **state)
{
    struct batch BATCH_AUTO rows;

    (void)state;
    batch_init(&rows, catalog_table(TABLE_MARKET_DATA), 1024);
    size_t row = batch_add_row(&rows);
    rows_put_number(&rows, row, "volume", 1e30);
    rows_put_number(&rows, row, "trades", -1e30);
    assert_true(batch_get_i64(&rows, 5, 0) == INT64_MAX);
    assert_true(batch_get_i64(&rows, 6, 0) == INT32_MIN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_numbers_take_the_type_of_the_column),
        cmocka_unit_test(test_rows_numbers_are_cut_to_what_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
