/* The memory store keeps the contract and its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <stdio.h>

#include "store/contract.h"
#include "store/memory/store_memory.h"

static void
put(struct store *store, uint64_t lsn, enum table_id table, const char *lines)
{
    struct batch batch;
    struct store_group group = {
        .first_lsn = lsn, .last_lsn = lsn, .batch_count = 1, .batches = &batch};

    contract_fill(&batch, table, lines);
    assert_int_equal(store_apply(store, &group, NULL), ERR_OK);
    batch_fini(&batch);
}

static void
test_memory_store_drops_the_oldest_rows_over_its_cap(void **state)
{
    struct store_open_options options = {.memory_limit_bytes = 64 << 10};
    struct store_table_stats stats;
    struct store_stats all;
    struct store *store;
    char line[64];

    (void)state;
    assert_int_equal(store_memory_open(&options, &store, NULL), ERR_OK);
    put(store, 1, TABLE_SERIES, "1|cpu|-|-\n");
    for (uint64_t lsn = 2; lsn <= 5000; lsn++) {
        snprintf(line, sizeof(line), "%d|A|%d|-|-|0|0|0\n", (int)lsn, (int)lsn);
        put(store, lsn, lsn % 2 ? TABLE_MARKET_DATA : TABLE_CANDLES,
            lsn % 2 ? line : "1|A|1|1|1|1|1\n");
    }
    store_stats(store, &all);
    assert_true(all.size_bytes <= 64 << 10);
    assert_int_equal(store_table_stats(store, TABLE_MARKET_DATA, &stats, NULL), ERR_OK);
    assert_true(stats.rows > 100 && stats.rows < 2000);
    assert_int_equal(stats.max_us, 4999);
    assert_true(stats.min_us == 5001 - 2 * (int64_t)stats.rows);
    /* A dropped key is forgotten: its row is a new one. */
    put(store, 5001, TABLE_MARKET_DATA, "3|A|1|-|-|0|0|0\n");
    assert_int_equal(store_table_stats(store, TABLE_MARKET_DATA, &stats, NULL), ERR_OK);
    assert_int_equal(stats.min_us, 3);
    assert_int_equal(store_table_stats(store, TABLE_SERIES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 1);
    store_close(store);
}

static uint64_t
rows_of(struct store *store, enum table_id table)
{
    struct store_table_stats stats;

    assert_int_equal(store_table_stats(store, table, &stats, NULL), ERR_OK);
    return stats.rows;
}

static size_t
points_of(struct store *store, const char *series)
{
    const struct slice id = slice_of(series);
    const struct store_scan scan = {.table = TABLE_SAMPLES,
                                    .filters = {{"series_id", &id, 1}},
                                    .filter_count = 1,
                                    .from_us = INT64_MIN,
                                    .to_us = INT64_MAX};
    struct batch rows;

    assert_int_equal(store_scan(store, &scan, &rows, NULL), ERR_OK);
    size_t count = rows.rows;
    batch_fini(&rows);
    return count;
}

static void
put_points(struct store *store, uint64_t *lsn, int series, int count)
{
    char line[64];

    for (int i = 0; i < count; i++) {
        ++*lsn;
        snprintf(line, sizeof(line), "%d|%d|1\n", series, (int)*lsn);
        put(store, *lsn, TABLE_SAMPLES, line);
    }
}

static void
test_memory_store_keeps_so_many_points_of_one_series(void **state)
{
    struct store_open_options options = {.points_max = 10};
    struct store_stats stats;
    struct store *store;
    uint64_t lsn = 0;

    (void)state;
    assert_int_equal(store_memory_open(&options, &store, NULL), ERR_OK);
    put_points(store, &lsn, 1, 25);
    assert_int_equal(points_of(store, "1"), 10);
    store_stats(store, &stats);
    assert_int_equal(stats.lru.points, 10);
    assert_int_equal(stats.lru.points_max, 10);
    assert_int_equal(stats.lru.evicted_points, 15);
    assert_true(stats.lru.utilization == 1);
    store_close(store);
}

static void
test_memory_store_takes_from_the_series_that_is_used_least(void **state)
{
    struct store_open_options options = {.points_max = 30};
    struct store *store;
    uint64_t lsn = 0;

    (void)state;
    assert_int_equal(store_memory_open(&options, &store, NULL), ERR_OK);
    put_points(store, &lsn, 1, 10);
    put_points(store, &lsn, 2, 10);
    put_points(store, &lsn, 3, 10);
    assert_int_equal(points_of(store, "1"), 10); /* a use */
    put_points(store, &lsn, 4, 5);
    assert_int_equal(points_of(store, "1"), 10);
    assert_int_equal(points_of(store, "2"), 5);
    assert_int_equal(points_of(store, "3"), 10);
    put(store, ++lsn, TABLE_MARKET_DATA, "1|A|1|-|-|0|0|0\n2|A|1|-|-|0|0|0\n");
    /* The reads above made 4 the one that is used least, which two of its points paid for. */
    put_points(store, &lsn, 4, 4);
    assert_int_equal(points_of(store, "4"), 7);
    assert_int_equal(rows_of(store, TABLE_MARKET_DATA), 2);
    assert_int_equal(rows_of(store, TABLE_SAMPLES), 28);
    store_close(store);
}

static void
test_memory_store_leaves_half_to_the_others(void **state)
{
    struct store_open_options options = {.points_max = 20};
    struct store *store;
    uint64_t lsn = 0;

    (void)state;
    assert_int_equal(store_memory_open(&options, &store, NULL), ERR_OK);
    put_points(store, &lsn, 1, 10);
    put_points(store, &lsn, 2, 100);
    assert_int_equal(points_of(store, "1"), 10);
    assert_int_equal(points_of(store, "2"), 10);
    store_close(store);
}

static void
test_memory_store_drops_rows_by_series_of_their_table(void **state)
{
    struct store_open_options options = {.points_max = 6};
    struct store_scan scan = {.table = TABLE_MARKET_DATA, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct store *store;
    struct batch rows;

    (void)state;
    assert_int_equal(store_memory_open(&options, &store, NULL), ERR_OK);
    put(store, 1, TABLE_MARKET_DATA,
        "1|A|1|-|-|0|0|0\n1|B|1|-|-|0|0|0\n2|A|1|-|-|0|0|0\n2|B|1|-|-|0|0|0\n");
    put(store, 2, TABLE_MARKET_DATA, "3|A|1|-|-|0|0|0\n4|A|1|-|-|0|0|0\n1|A|7|-|-|0|0|0\n");
    assert_int_equal(rows_of(store, TABLE_MARKET_DATA), 6);
    put(store, 3, TABLE_MARKET_DATA, "1|C|1|-|-|0|0|0\n");
    assert_int_equal(store_scan(store, &scan, &rows, NULL), ERR_OK);
    assert_int_equal(rows.rows, 6);
    /* B was used least: its oldest row went, and A has the row that was replaced. */
    assert_string_equal(batch_get_text(&rows, 1, 0).ptr, "A");
    assert_true(batch_get_f64(&rows, 2, 0) == 7);
    assert_string_equal(batch_get_text(&rows, 1, 1).ptr, "C");
    batch_fini(&rows);
    store_close(store);
}

int
main(void)
{
    const struct store_contract contract = {.name = "memory", .open = store_memory_open};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_store_drops_the_oldest_rows_over_its_cap),
        cmocka_unit_test(test_memory_store_keeps_so_many_points_of_one_series),
        cmocka_unit_test(test_memory_store_takes_from_the_series_that_is_used_least),
        cmocka_unit_test(test_memory_store_leaves_half_to_the_others),
        cmocka_unit_test(test_memory_store_drops_rows_by_series_of_their_table),
    };

    return store_contract_run(&contract) +
           cmocka_run_group_tests_name("store memory", tests, NULL, NULL);
}
