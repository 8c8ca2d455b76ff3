/* Tests of the gathered rows of a record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/rows.h"

static struct series
make_series(int32_t id, const char *name, const char *symbol, const char *labels)
{
    return (struct series){.id = id, .key = {slice_of(name), slice_of(symbol), slice_of(labels)}};
}

static void
test_rows_without_any_seal_to_no_batch(void **state)
{
    struct rows rows;
    struct batch view[TABLE_ID_END];

    (void)state;
    rows_init(&rows);
    rows_batch(&rows, catalog_table(TABLE_TRADES));
    assert_int_equal(rows_seal(&rows, view), 0);
    rows_fini(&rows);
}

static void
test_rows_seal_puts_series_first_and_the_key_last(void **state)
{
    struct series series = make_series(3, "cpu", "AAPL", "{\"a\":\"b\"}");
    struct rows rows;
    struct batch view[TABLE_ID_END];

    (void)state;
    rows_init(&rows);
    batch_add_row(rows_batch(&rows, catalog_table(TABLE_IDEMPOTENCY)));
    batch_add_row(rows_batch(&rows, catalog_table(TABLE_MARKET_DATA)));
    assert_true(rows_sample_room(&rows, 1));
    rows_add_sample(&rows, 3, 17, 1.5);
    rows_announce(&rows, &series);
    assert_int_equal(rows_seal(&rows, view), 4);
    assert_int_equal(view[0].table->id, TABLE_SERIES);
    assert_int_equal(view[1].table->id, TABLE_SAMPLES);
    assert_int_equal(view[2].table->id, TABLE_MARKET_DATA);
    assert_int_equal(view[3].table->id, TABLE_IDEMPOTENCY);
    assert_int_equal(batch_get_i64(&view[0], 0, 0), 3);
    assert_true(slice_is(batch_get_text(&view[0], 1, 0), "cpu"));
    assert_true(slice_is(batch_get_text(&view[0], 2, 0), "AAPL"));
    assert_true(slice_is(batch_get_text(&view[0], 3, 0), "{\"a\":\"b\"}"));
    assert_int_equal(batch_get_i64(&view[1], 0, 0), 3);
    assert_int_equal(batch_get_i64(&view[1], 1, 0), 17);
    assert_true(batch_get_f64(&view[1], 2, 0) == 1.5);
    rows_fini(&rows);
}

static void
test_rows_announce_a_series_once_and_without_symbol_as_null(void **state)
{
    enum { COUNT = 1000 };
    static struct series series[COUNT];
    struct rows rows;
    struct batch view[TABLE_ID_END];

    (void)state;
    rows_init(&rows);
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < COUNT; i++) {
            if (pass == 0) {
                series[i] = make_series(i + 1, "cpu", "", "");
            }
            rows_announce(&rows, &series[i]);
        }
    }
    assert_int_equal(rows_seal(&rows, view), 1);
    assert_int_equal(view[0].rows, COUNT);
    assert_true(batch_is_null(&view[0], 2, 0));
    assert_true(batch_is_null(&view[0], 3, 0));
    rows_mark_durable(&rows);
    assert_true(series_is_durable(&series[0]));
    assert_true(series_is_durable(&series[COUNT - 1]));
    rows_fini(&rows);
}

static void
test_rows_reset_forgets_everything_and_can_be_used_again(void **state)
{
    struct series series = make_series(1, "cpu", "", "");
    struct rows rows;
    struct batch view[TABLE_ID_END];

    (void)state;
    rows_init(&rows);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            assert_true(rows_sample_room(&rows, 1));
            rows_add_sample(&rows, 1, i, i + round);
        }
        rows_announce(&rows, &series);
        assert_int_equal(rows_seal(&rows, view), 2);
        assert_int_equal(view[1].rows, 1000);
        assert_int_equal(batch_get_i64(&view[1], 1, 999), 999);
        assert_true(batch_get_f64(&view[1], 2, 999) == 999 + round);
        assert_false(batch_is_null(&view[1], 0, 999));
        rows_reset(&rows);
        assert_int_equal(rows_seal(&rows, view), 0);
    }
    rows_fini(&rows);
}

static void
test_rows_refuse_more_samples_than_a_record_can_hold(void **state)
{
    struct rows rows;

    (void)state;
    rows_init(&rows);
    assert_false(rows_sample_room(&rows, (size_t)ROWS_MAX + 1));
    assert_true(rows_sample_room(&rows, 100));
    assert_true(rows_memory(&rows) > 100 * 20);
    rows_fini(&rows);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_without_any_seal_to_no_batch),
        cmocka_unit_test(test_rows_seal_puts_series_first_and_the_key_last),
        cmocka_unit_test(test_rows_announce_a_series_once_and_without_symbol_as_null),
        cmocka_unit_test(test_rows_reset_forgets_everything_and_can_be_used_again),
        cmocka_unit_test(test_rows_refuse_more_samples_than_a_record_can_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
