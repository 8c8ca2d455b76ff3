/*
 * The questions asked of real stores: the same rows, the same answers from each. Between them
 * stands an engine that is nothing but its store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "query/query.h"
#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"

#define SECOND_US INT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)
/* 2026-01-02T03:00:00 UTC. */
#define BASE_US INT64_C(1767322800000000)

enum { TEXT_BYTES = 1 << 20 };

struct engine {
    struct store *store;
    uint64_t lsn;
    char dir[64];
    char path[96];
};

enum err_code
engine_scan(struct engine *engine, const struct store_scan *scan, struct batch *ret_rows,
            struct err *err)
{
    return store_scan(engine->store, scan, ret_rows, err);
}

enum err_code
engine_bucket(struct engine *engine, const struct store_bucket *bucket, struct batch *ret_rows,
              struct err *err)
{
    return store_bucket(engine->store, bucket, ret_rows, err);
}

enum err_code
engine_sql(struct engine *engine, const struct store_sql *sql, struct batch *ret_rows,
           bool *ret_truncated, struct err *err)
{
    return store_sql(engine->store, sql, ret_rows, ret_truncated, err);
}

static void
set(struct batch *rows, const char *name, double value)
{
    size_t column = (size_t)batch_column_index(rows, slice_of(name));
    size_t row = rows->rows - 1;

    if (rows->columns[column].type == COL_DOUBLE) {
        batch_set_f64(rows, column, row, value);
    } else if (rows->columns[column].type == COL_INT32) {
        batch_set_i32(rows, column, row, (int32_t)value);
    } else {
        batch_set_i64(rows, column, row, (int64_t)value);
    }
}

static void
set_text(struct batch *rows, const char *name, const char *text)
{
    batch_set_text(rows, (size_t)batch_column_index(rows, slice_of(name)), rows->rows - 1,
                   batch_keep_text(rows, slice_of(text)));
}

static void
add_row(struct batch *rows, double second)
{
    batch_add_row(rows);
    set(rows, "timestamp", (double)BASE_US + second * (double)SECOND_US);
}

static void
apply(struct engine *engine, struct batch *rows)
{
    struct err err;

    engine->lsn++;
    struct store_group group = {
        .first_lsn = engine->lsn, .last_lsn = engine->lsn, .batch_count = 1, .batches = rows};
    if (store_apply(engine->store, &group, &err)) {
        fail_msg("%s", err.msg);
    }
    batch_fini(rows);
}

static void
add_quote(struct batch *rows, double second, const char *symbol, double price, double volume)
{
    add_row(rows, second);
    set_text(rows, "symbol", symbol);
    set(rows, "last_price", price);
    set(rows, "bid", price - 0.05);
    set(rows, "ask", price + 0.05);
    set(rows, "volume", volume);
    set(rows, "trades", volume / 10);
    set(rows, "spread_bps", 10);
}

static void
fill_market(struct engine *engine)
{
    struct batch rows;

    batch_init(&rows, catalog_table(TABLE_MARKET_DATA), TEXT_BYTES);
    add_quote(&rows, -30, "AAPL", 100, 900);
    add_quote(&rows, 0, "AAPL", 100, 1000);
    add_quote(&rows, 59, "AAPL", 104, 1100);
    add_quote(&rows, 0, "MSFT", 50, 400);
    add_quote(&rows, 30, "MSFT", 40, 500);
    add_quote(&rows, 60, "AAPL", 90, 1150);
    add_quote(&rows, 90, "AAPL", 110, 20); /* restarted */
    add_quote(&rows, 300, "AAPL", 100, 60);
    apply(engine, &rows);
}

static void
add_trade(struct batch *rows, double second, const char *id, const char *symbol, const char *side,
          double quantity, double price, double latency_ms)
{
    add_row(rows, second);
    set_text(rows, "trade_id", id);
    set_text(rows, "symbol", symbol);
    set_text(rows, "side", side);
    set(rows, "quantity", quantity);
    set(rows, "price", price);
    if (latency_ms > 0) {
        set(rows, "latency_ms", latency_ms);
    }
}

static void
fill_trades(struct engine *engine)
{
    struct batch rows;

    batch_init(&rows, catalog_table(TABLE_TRADES), TEXT_BYTES);
    add_trade(&rows, 1, "t1", "AAPL", "buy", 10, 100, 10);
    add_trade(&rows, 2, "t2", "AAPL", "SELL", 4, 105, 20);
    add_trade(&rows, 3, "t3", "MSFT", "BUY", 2, 50, 30);
    add_trade(&rows, 4, "t4", "AAPL", "sell", 1, 95, 0);
    add_trade(&rows, 5, "t5", "AAPL", "buy", 5, 100, 40);
    apply(engine, &rows);
    batch_init(&rows, catalog_table(TABLE_TRADES), TEXT_BYTES);
    add_trade(&rows, 5, "t5", "AAPL", "buy", 5, 110, 50); /* replaces */
    apply(engine, &rows);
}

static int
open_store(void **state, store_open_fn *open)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    struct err err;

    snprintf(engine->dir, sizeof(engine->dir), "/tmp/eider-query-XXXXXX");
    assert_non_null(mkdtemp(engine->dir));
    snprintf(engine->path, sizeof(engine->path), "%s/t.duckdb", engine->dir);
    struct store_open_options options = {.path = engine->path, .threads = 1, .readers = 1};
    if (open(&options, &engine->store, &err)) {
        fail_msg("%s", err.msg);
    }
    *state = engine;
    return 0;
}

static int
setup_memory(void **state)
{
    return open_store(state, store_memory_open);
}

static int
setup_duckdb(void **state)
{
    return open_store(state, store_duckdb_open);
}

static int
teardown(void **state)
{
    struct engine *engine = *state;
    char wal[sizeof(engine->path) + 8];

    store_close(engine->store);
    snprintf(wal, sizeof(wal), "%s.wal", engine->path);
    unlink(wal);
    unlink(engine->path);
    rmdir(engine->dir);
    free(engine);
    return 0;
}

static const struct query_range hour = {.from_us = BASE_US, .to_us = BASE_US + 60 * MINUTE_US};
static const struct query_range all = {.from_us = INT64_MIN, .to_us = INT64_MAX};

/* The texts of all columns of all rows, "a|b|c;". */
static const char *
describe(const struct batch *rows)
{
    static char text[4096];
    size_t len = 0;

    text[0] = '\0';
    for (size_t row = 0; row < rows->rows; row++) {
        for (size_t i = 0; i < rows->column_count; i++) {
            const char *end = i + 1 < rows->column_count ? "|" : ";";
            enum col_type type = rows->columns[i].type;
            if (type == COL_TEXT || type == COL_JSON) {
                len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s%s",
                                        SLICE_FMT(batch_get_text(rows, i, row)), end);
            } else if (type == COL_TIMESTAMP) {
                double at = (double)(batch_get_i64(rows, i, row) - BASE_US) / SECOND_US;
                len += (size_t)snprintf(text + len, sizeof(text) - len, "%g%s", at, end);
            } else if (batch_is_null(rows, i, row)) {
                len += (size_t)snprintf(text + len, sizeof(text) - len, "-%s", end);
            } else {
                len += (size_t)snprintf(text + len, sizeof(text) - len, "%g%s",
                                        batch_get_f64(rows, i, row), end);
            }
            assert_true(len < sizeof(text));
        }
    }
    return text;
}

static void
test_store_market_history(void **state)
{
    struct engine *engine = *state;
    const struct slice msft = SLICE_LITERAL("MSFT");
    struct batch rows;
    struct err err;

    fill_market(engine);
    assert_int_equal(query_market_history(engine, &hour, MINUTE_US, NULL, 0, 0, &rows, &err),
                     ERR_OK);
    assert_string_equal(describe(&rows), "300|AAPL|100|100|100|40|4|10;"
                                         "60|AAPL|100|110|90|70|7|10;"
                                         "0|AAPL|102|104|100|200|20|10;"
                                         "0|MSFT|45|50|40|100|10|10;");
    batch_fini(&rows);
    assert_int_equal(query_market_history(engine, &hour, 5 * MINUTE_US, &msft, 1, 10, &rows, &err),
                     ERR_OK);
    assert_string_equal(describe(&rows), "0|MSFT|45|50|40|100|10|10;");
    batch_fini(&rows);
}

static void
test_store_history_of_nothing(void **state)
{
    struct engine *engine = *state;
    struct query_trade_summary sum;
    struct query_latency latency;
    struct batch rows;
    uint64_t total = 99;
    struct err err;

    assert_int_equal(query_market_history(engine, &all, MINUTE_US, NULL, 0, 0, &rows, &err),
                     ERR_OK);
    assert_int_equal(rows.rows, 0);
    batch_fini(&rows);
    assert_int_equal(
        query_trades(engine, &(struct query_trades){.range = all, .limit = 5}, &rows, &total, &err),
        ERR_OK);
    assert_int_equal(rows.rows, 0);
    assert_int_equal(total, 0);
    batch_fini(&rows);
    assert_int_equal(query_trade_summary(engine, slice_of(""), &all, &sum, &err), ERR_OK);
    assert_int_equal(sum.count, 0);
    assert_int_equal(query_latency(engine, &all, &latency, &err), ERR_OK);
    assert_int_equal(latency.count, 0);
    assert_int_equal(query_trade(engine, slice_of("t1"), &rows, &err), ERR_NOT_FOUND);
}

static void
test_store_raw_rows_are_newest_first_and_inclusive(void **state)
{
    struct engine *engine = *state;
    const struct query_range range = {.from_us = BASE_US + SECOND_US,
                                      .to_us = BASE_US + 3 * SECOND_US};
    struct batch rows;
    struct err err;

    batch_init(&rows, catalog_table(TABLE_STRATEGY_METRICS), TEXT_BYTES);
    for (int i = 0; i < 5; i++) {
        add_row(&rows, i);
        set_text(&rows, "strategy_name", "pairs");
        set(&rows, "pnl", i);
        set(&rows, "daily_pnl", 0);
        set(&rows, "positions", 0);
        set(&rows, "signals", 0);
        set(&rows, "win_rate", 0.5);
    }
    apply(engine, &rows);
    assert_int_equal(query_rows(engine, TABLE_STRATEGY_METRICS, &range, 0, &rows, &err), ERR_OK);
    assert_string_equal(describe(&rows),
                        "3|pairs|3|0|0|0|0.5;2|pairs|2|0|0|0|0.5;1|pairs|1|0|0|0|0.5;");
    batch_fini(&rows);
    assert_int_equal(query_rows(engine, TABLE_STRATEGY_METRICS, &range, 1, &rows, &err), ERR_OK);
    assert_string_equal(describe(&rows), "3|pairs|3|0|0|0|0.5;");
    batch_fini(&rows);
}

static void
assert_trades(struct engine *engine, struct query_trades query, const char *wanted_ids,
              uint64_t wanted_total)
{
    struct batch rows;
    uint64_t total;
    char ids[64] = "";
    struct err err;

    assert_int_equal(query_trades(engine, &query, &rows, &total, &err), ERR_OK);
    int column = batch_column_index(&rows, slice_of("trade_id"));
    for (size_t i = 0; i < rows.rows; i++) {
        struct slice id = batch_get_text(&rows, (size_t)column, i);
        snprintf(ids + strlen(ids), sizeof(ids) - strlen(ids), "%.*s ", SLICE_FMT(id));
    }
    assert_string_equal(ids, wanted_ids);
    assert_int_equal(total, wanted_total);
    batch_fini(&rows);
}

static void
test_store_trades(void **state)
{
    struct engine *engine = *state;
    const struct query_range from_three = {.from_us = BASE_US + 3 * SECOND_US, .to_us = INT64_MAX};
    struct batch rows;
    struct err err;

    fill_trades(engine);
    assert_trades(engine, (struct query_trades){.range = all, .limit = 10}, "t5 t4 t3 t2 t1 ", 5);
    assert_trades(engine, (struct query_trades){.range = all, .limit = 2, .offset = 1}, "t4 t3 ",
                  5);
    assert_trades(engine,
                  (struct query_trades){.range = all, .limit = 10, .side = slice_of("sell")},
                  "t4 t2 ", 2);
    assert_trades(
        engine,
        (struct query_trades){
            .range = from_three, .limit = 10, .side = slice_of("buy"), .symbol = slice_of("AAPL")},
        "t5 ", 1);
    assert_trades(engine, (struct query_trades){.range = all, .limit = 10, .offset = 9}, "", 5);
    assert_int_equal(query_trade(engine, slice_of("t5"), &rows, &err), ERR_OK);
    assert_int_equal(rows.rows, 1);
    assert_true(batch_get_f64(&rows, (size_t)batch_column_index(&rows, slice_of("price")), 0) ==
                110);
    batch_fini(&rows);
    assert_int_equal(query_trade(engine, slice_of("t' OR 1=1"), &rows, &err), ERR_NOT_FOUND);
}

static void
test_store_trade_figures(void **state)
{
    struct engine *engine = *state;
    const struct query_range first_three = {.from_us = BASE_US, .to_us = BASE_US + 3 * SECOND_US};
    struct query_trade_summary sum;
    struct query_latency latency;
    struct err err;

    fill_trades(engine);
    assert_int_equal(query_trade_summary(engine, slice_of("AAPL"), &all, &sum, &err), ERR_OK);
    assert_int_equal(sum.count, 4);
    assert_int_equal(sum.buy_count, 2);
    assert_int_equal(sum.sell_count, 2);
    assert_true(fabs(sum.total_volume - (1000 + 420 + 95 + 550)) < 1e-9);
    assert_true(fabs(sum.avg_price - 102.5) < 1e-9);
    assert_true(fabs(sum.avg_size - 5) < 1e-9);
    assert_int_equal(query_trade_summary(engine, slice_of(""), &first_three, &sum, &err), ERR_OK);
    assert_int_equal(sum.count, 3);
    assert_int_equal(query_latency(engine, &all, &latency, &err), ERR_OK);
    assert_int_equal(latency.count, 4);
    assert_true(fabs(latency.p50 - 25) < 1e-9);
    assert_true(fabs(latency.p95 - 47) < 1e-9);
    assert_true(fabs(latency.p99 - 49.4) < 1e-9);
}

static void
test_store_candles(void **state)
{
    struct engine *engine = *state;
    struct batch rows;
    struct err err;

    batch_init(&rows, catalog_table(TABLE_CANDLES), TEXT_BYTES);
    for (int i = 0; i < 10; i++) {
        add_row(&rows, i * 60);
        set_text(&rows, "symbol", i == 9 ? "MSFT" : "AAPL");
        set(&rows, "open", 100 + i);
        set(&rows, "high", 110 + i);
        set(&rows, "low", 90 - i);
        set(&rows, "close", 101 + i);
        set(&rows, "volume", 1000);
    }
    apply(engine, &rows);
    assert_int_equal(query_candles(engine, slice_of("AAPL"), 5 * MINUTE_US, &hour, 0, &rows, &err),
                     ERR_OK);
    assert_string_equal(describe(&rows), "300|105|118|82|109|4000;0|100|114|86|105|5000;");
    batch_fini(&rows);
    assert_int_equal(query_candles(engine, slice_of("AAPL"), 5 * MINUTE_US, &hour, 1, &rows, &err),
                     ERR_OK);
    assert_string_equal(describe(&rows), "300|105|118|82|109|4000;");
    batch_fini(&rows);
}

int
main(void)
{
#define TEST(name)                                                                                 \
    {#name "_memory", name, setup_memory, teardown, NULL},                                         \
    {                                                                                              \
#name "_duckdb", name, setup_duckdb, teardown, NULL                                        \
    }
    const struct CMUnitTest tests[] = {
        TEST(test_store_market_history),
        TEST(test_store_history_of_nothing),
        TEST(test_store_raw_rows_are_newest_first_and_inclusive),
        TEST(test_store_trades),
        TEST(test_store_trade_figures),
        TEST(test_store_candles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
