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

int
main(void)
{
    const struct store_contract contract = {.name = "memory", .open = store_memory_open};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_store_drops_the_oldest_rows_over_its_cap),
    };

    return store_contract_run(&contract) +
           cmocka_run_group_tests_name("store memory", tests, NULL, NULL);
}
