/* What is told of changes: everything that happened, and of the rest as little as may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include "store/changes.h"

static const int64_t slot_us = 300000000;
static const int64_t base_us = 1700000100000000; /* a slot begins */

static void
note(struct changes *changes, enum table_id id, const int64_t *times, size_t count, uint64_t lsn)
{
    struct batch batch BATCH_AUTO;
    const struct catalog_table *table = catalog_table(id);

    batch_init(&batch, table, 0);
    for (size_t i = 0; i < count; i++) {
        size_t row = batch_add_row(&batch);
        if (table->time_column != CATALOG_NONE) {
            batch_set_i64(&batch, (size_t)table->time_column, row, times[i]);
        }
    }
    changes_note(changes, &batch, lsn);
}

static void
note_at(struct changes *changes, enum table_id id, int64_t time_us, uint64_t lsn)
{
    note(changes, id, &time_us, 1, lsn);
}

static void
test_changes_tells_of_a_row_in_the_range(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    assert_false(changes_since(&changes, TABLE_TRADES, INT64_MIN, INT64_MAX, 0));
    note_at(&changes, TABLE_TRADES, base_us, 7);
    assert_true(changes_since(&changes, TABLE_TRADES, base_us - 1, base_us + 1, 6));
    assert_true(changes_since(&changes, TABLE_TRADES, INT64_MIN, INT64_MAX, 6));
    assert_false(changes_since(&changes, TABLE_TRADES, INT64_MIN, INT64_MAX, 7));
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, INT64_MIN, INT64_MAX, 0));
    changes_fini(&changes);
}

static void
test_changes_leaves_other_times_alone(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_MARKET_DATA, base_us, 7);
    note_at(&changes, TABLE_MARKET_DATA, base_us + slot_us, 8);
    assert_false(
        changes_since(&changes, TABLE_MARKET_DATA, base_us - 5 * slot_us, base_us - slot_us, 0));
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, base_us - slot_us, base_us, 7));
    assert_true(changes_since(&changes, TABLE_MARKET_DATA, base_us, base_us + slot_us, 7));
    changes_fini(&changes);
}

/* The trade may have been written before, at any other time. */
static void
test_changes_of_a_table_keyed_by_id_are_of_all_times(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_TRADES, base_us, 7);
    assert_true(changes_since(&changes, TABLE_TRADES, base_us - 5 * slot_us, base_us - slot_us, 6));
    assert_false(
        changes_since(&changes, TABLE_TRADES, base_us - 5 * slot_us, base_us - slot_us, 7));
    changes_fini(&changes);
}

static void
test_changes_sees_every_row_of_a_batch(void **state)
{
    const int64_t times[] = {base_us, -slot_us - 1, base_us + 1, INT64_MAX, INT64_MIN, 0};
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note(&changes, TABLE_MARKET_DATA, times, sizeof(times) / sizeof(times[0]), 3);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_true(changes_since(&changes, TABLE_MARKET_DATA, times[i], times[i], 2));
    }
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, base_us + 2 * slot_us,
                               base_us + 9 * slot_us, 2));
    changes_fini(&changes);
}

static void
test_changes_forgets_nothing_when_slots_are_full(void **state)
{
    struct changes changes;
    uint64_t lsn = 0;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_MARKET_DATA, base_us, ++lsn);
    for (int64_t i = 1; i <= 3 * CHANGES_SLOTS; i++) {
        note_at(&changes, TABLE_MARKET_DATA, base_us + i * slot_us, ++lsn);
    }
    assert_true(changes_since(&changes, TABLE_MARKET_DATA, base_us, base_us, 0));
    assert_true(changes_since(&changes, TABLE_MARKET_DATA, base_us + 9 * slot_us,
                              base_us + 9 * slot_us, 9));
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, base_us - slot_us, base_us - 1, 0));
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, INT64_MIN, INT64_MAX, lsn));
    changes_fini(&changes);
}

static void
test_changes_of_a_view_are_those_of_its_tables(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_SAMPLES, base_us, 4);
    assert_true(changes_since(&changes, TABLE_METRICS, base_us, base_us, 3));
    assert_false(changes_since(&changes, TABLE_METRICS, base_us, base_us, 4));
    note_at(&changes, TABLE_SERIES, 0, 5);
    assert_true(changes_since(&changes, TABLE_METRICS, base_us, base_us, 4));
    changes_fini(&changes);
}

static void
test_changes_behind_a_reset_only_newer_answers_hold(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_TRADES, base_us, 40);
    changes_reset(&changes, 40);
    assert_true(changes_since(&changes, TABLE_PRICE_BOOK, 0, 0, 40));
    note_at(&changes, TABLE_TRADES, base_us, 30); /* the restored store is behind */
    assert_true(changes_since(&changes, TABLE_TRADES, base_us, base_us, 30));
    note_at(&changes, TABLE_TRADES, base_us, 41);
    assert_false(changes_since(&changes, TABLE_TRADES, base_us, base_us, 41));
    changes_fini(&changes);
}

static void
test_changes_counts_removed_rows(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_MARKET_DATA, base_us, 7);
    changes_removed(&changes, TABLE_MARKET_DATA, base_us - 9 * slot_us, base_us - 5 * slot_us, 8);
    assert_true(changes_since(&changes, TABLE_MARKET_DATA, base_us - 6 * slot_us, base_us, 7));
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, base_us - slot_us, base_us, 7));
    assert_false(changes_since(&changes, TABLE_MARKET_DATA, INT64_MIN, INT64_MAX, 8));
    /* A table that nobody has written to since the start. */
    changes_removed(&changes, TABLE_CANDLES, 0, 1, 8);
    assert_true(changes_since(&changes, TABLE_CANDLES, 0, 0, 7));
    changes_fini(&changes);
}

/* Retention reads the LSN, the applier adopts an older snapshot, then the removal is noted. */
static void
test_changes_takes_a_removal_that_is_ahead_of_the_replay(void **state)
{
    struct changes changes;

    (void)state;
    changes_init(&changes);
    note_at(&changes, TABLE_SAMPLES, base_us, 100);
    changes_reset(&changes, 100);
    changes_removed(&changes, TABLE_SAMPLES, base_us, base_us, 101);
    note_at(&changes, TABLE_SAMPLES, base_us, 60); /* the first group that is replayed */
    note_at(&changes, TABLE_SAMPLES, base_us + 9 * slot_us, 100);
    for (uint64_t lsn = 50; lsn <= 100; lsn++) {
        assert_true(changes_since(&changes, TABLE_SAMPLES, base_us, base_us, lsn));
        assert_true(
            changes_since(&changes, TABLE_SAMPLES, base_us + slot_us, base_us + slot_us, lsn));
    }
    assert_false(changes_since(&changes, TABLE_SAMPLES, INT64_MIN, INT64_MAX, 101));
    note_at(&changes, TABLE_SAMPLES, base_us + 2 * slot_us, 102);
    assert_true(changes_since(&changes, TABLE_SAMPLES, INT64_MIN, INT64_MAX, 101));
    assert_false(changes_since(&changes, TABLE_SAMPLES, base_us, base_us, 101));
    assert_false(changes_since(&changes, TABLE_SAMPLES, INT64_MIN, INT64_MAX, 102));
    changes_fini(&changes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_tells_of_a_row_in_the_range),
        cmocka_unit_test(test_changes_leaves_other_times_alone),
        cmocka_unit_test(test_changes_of_a_table_keyed_by_id_are_of_all_times),
        cmocka_unit_test(test_changes_sees_every_row_of_a_batch),
        cmocka_unit_test(test_changes_forgets_nothing_when_slots_are_full),
        cmocka_unit_test(test_changes_of_a_view_are_those_of_its_tables),
        cmocka_unit_test(test_changes_counts_removed_rows),
        cmocka_unit_test(test_changes_behind_a_reset_only_newer_answers_hold),
        cmocka_unit_test(test_changes_takes_a_removal_that_is_ahead_of_the_replay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
