/* Tests of the catalogue: the tables make sense, are found, and give the right SQL. */
#include "catalog/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void
test_catalog_tables_are_consistent(void **state)
{
    const struct catalog_table *table;
    size_t count = 0;

    (void)state;
    for (; (table = catalog_at(count)) != NULL; count++) {
        assert_int_equal(table->id, count + 1);
        assert_ptr_equal(catalog_table(table->id), table);
        assert_ptr_equal(catalog_find(slice_of(table->name)), table);
        assert_in_range(table->column_count, 1, CATALOG_COLUMNS_MAX);
        assert_true(table->key_mask >> table->column_count == 0);
        assert_true((table->kind == TABLE_REPLACE) == (table->key_mask != 0));
        assert_true(table->order_mask >> table->column_count == 0);
        assert_true(table->kind == TABLE_APPEND || table->order_mask == 0);
        assert_true(table->time_column < (int)table->column_count);
        assert_true(table->series_column < (int)table->column_count);
        /* Days are of the time column, rollups of files. */
        assert_true(!table->sealed || table->time_column != CATALOG_NONE);
        assert_true(!table->sealed || table->kind != TABLE_VIEW);
        assert_true(!table->rolled_up || table->sealed);
        if (table->time_column != CATALOG_NONE) {
            assert_int_equal(table->columns[table->time_column].type, COL_TIMESTAMP);
        }
        for (size_t i = 0; i < table->column_count; i++) {
            const struct catalog_column *column = &table->columns[i];
            assert_int_equal(catalog_column_index(table, slice_of(column->name)), i);
            assert_non_null(column->help);
            assert_true((column->missing == MISSING_TEXT) == (column->default_text != NULL));
            assert_true(column->missing != MISSING_NOW || column->type == COL_TIMESTAMP);
            assert_true(column->missing != MISSING_UUID || column->type == COL_TEXT);
            /* A key must not be able to be NULL. */
            assert_true(!(table->key_mask >> i & 1) || column->missing != MISSING_NULL);
        }
    }
    assert_int_equal(count, TABLE_ID_END - 1);
    assert_null(catalog_table(TABLE_ID_END));
    assert_null(catalog_table((enum table_id)0));
}

static void
test_catalog_finds_columns_and_says_which_is_not_there(void **state)
{
    const struct catalog_table *table = catalog_table(TABLE_TRADES);
    struct err err = {0};
    size_t column = 77;

    (void)state;
    assert_int_equal(catalog_find_column(table, table->columns[2].name, &column, &err), ERR_OK);
    assert_int_equal(column, 2);
    assert_int_equal(catalog_find_column(table, "colour", &column, &err), ERR_INVALID);
    assert_string_equal(err.msg, "trades has no column \"colour\"");
    assert_int_equal(column, 2);
}

static const char *
find(const char *name)
{
    const struct catalog_table *table = catalog_find(slice_of(name));

    return table ? table->name : "";
}

static void
test_catalog_finds_the_names_users_write(void **state)
{
    (void)state;
    assert_string_equal(find("market_data"), "market_data");
    assert_string_equal(find("metrics"), "trading_metrics");
    assert_string_equal(find("trading_metrics"), "trading_metrics");
    assert_string_equal(find("trading_candles"), "candles");
    assert_string_equal(find("candles"), "candles");
    assert_string_equal(find("Market_Data"), "");
    assert_string_equal(find(""), "");
}

static void
check_columns(enum table_id id, const char *expected)
{
    const struct catalog_table *table = catalog_table(id);
    BUF_AUTO struct buf buf;

    buf_init(&buf, 0);
    for (size_t i = 0; i < table->column_count; i++) {
        buf_add_fmt(&buf, "%s%s %s", table->key_mask >> i & 1 ? "*" : "", table->columns[i].name,
                    catalog_sql_type(table->columns[i].type));
        buf_add_cstr(&buf, i + 1 < table->column_count ? ", " : "");
    }
    buf_add_char(&buf, '\0');
    assert_string_equal(buf.ptr, expected);
}

/* The tables of the observability API that users have today, with their keys (*). */
static void
test_catalog_has_the_columns_of_the_originals(void **state)
{
    (void)state;
    check_columns(TABLE_MARKET_DATA, "*timestamp TIMESTAMP, *symbol VARCHAR, last_price DOUBLE, "
                                     "bid DOUBLE, ask DOUBLE, volume BIGINT, trades INTEGER, "
                                     "spread_bps DOUBLE");
    check_columns(TABLE_STRATEGY_METRICS,
                  "*timestamp TIMESTAMP, *strategy_name VARCHAR, pnl DOUBLE, daily_pnl DOUBLE, "
                  "positions INTEGER, signals INTEGER, win_rate DOUBLE");
    check_columns(TABLE_EXECUTION_METRICS,
                  "*timestamp TIMESTAMP, orders_submitted INTEGER, orders_filled INTEGER, "
                  "orders_cancelled INTEGER, orders_rejected INTEGER, fill_rate DOUBLE, "
                  "avg_latency_ms DOUBLE, avg_slippage_bps DOUBLE");
    check_columns(TABLE_SYSTEM_METRICS,
                  "*timestamp TIMESTAMP, cpu_percent DOUBLE, memory_percent DOUBLE, "
                  "disk_usage_percent DOUBLE, uptime_seconds DOUBLE, health_status VARCHAR, "
                  "active_alerts INTEGER");
    check_columns(TABLE_TRADES,
                  "*trade_id VARCHAR, timestamp TIMESTAMP, symbol VARCHAR, side VARCHAR, quantity "
                  "DOUBLE, price DOUBLE, latency_ms DOUBLE, slippage_bps DOUBLE, strategy VARCHAR");
    check_columns(TABLE_CANDLES, "*timestamp TIMESTAMP, *symbol VARCHAR, open DOUBLE, high DOUBLE, "
                                 "low DOUBLE, close DOUBLE, volume BIGINT");
    check_columns(TABLE_PERFORMANCE_HISTORY,
                  "*timestamp TIMESTAMP, portfolio_value DOUBLE, pnl DOUBLE, sharpe_ratio DOUBLE, "
                  "max_drawdown DOUBLE, win_rate DOUBLE, total_trades INTEGER");
    check_columns(TABLE_METRICS, "timestamp TIMESTAMP, metric_name VARCHAR, value DOUBLE, symbol "
                                 "VARCHAR, labels JSON");
}

static void
test_catalog_has_the_tables_of_metering(void **state)
{
    (void)state;
    check_columns(TABLE_EVENTS,
                  "id VARCHAR, timestamp TIMESTAMP, api_name VARCHAR, endpoint VARCHAR, method "
                  "VARCHAR, status_code INTEGER, success BOOLEAN, latency_ms DOUBLE, credits_cost "
                  "DECIMAL(18,6), run_id VARCHAR, error_message VARCHAR, metadata_json JSON, "
                  "created_at TIMESTAMP, api_key VARCHAR, project VARCHAR, reservation_id VARCHAR, "
                  "corrects VARCHAR, price_rule VARCHAR, seq BIGINT, hash VARCHAR");
    check_columns(
        TABLE_RESERVATION_CHANGES,
        "seq BIGINT, timestamp TIMESTAMP, reservation_id VARCHAR, change VARCHAR, credits "
        "DECIMAL(18,6), expires_at TIMESTAMP, api_name VARCHAR, endpoint VARCHAR, method "
        "VARCHAR, api_key VARCHAR, run_id VARCHAR, project VARCHAR, event_id VARCHAR, "
        "probe_of VARCHAR, price_rule VARCHAR, open_from BIGINT");
    check_columns(TABLE_BUDGET_CHANGES, "seq BIGINT, timestamp TIMESTAMP, name VARCHAR, change "
                                        "VARCHAR, instance VARCHAR, definition JSON, reason "
                                        "VARCHAR");
    check_columns(TABLE_PRICE_BOOK, "timestamp TIMESTAMP, book VARCHAR, version VARCHAR, "
                                    "effective_from TIMESTAMP, source VARCHAR");
    for (int id = TABLE_EVENTS; id < TABLE_ID_END; id++) {
        assert_false(catalog_table((enum table_id)id)->ingestible);
    }
}

static void
test_catalog_ddl_has_no_keys_and_no_indexes(void **state)
{
    BUF_AUTO struct buf sql;
    const struct catalog_table *table;

    (void)state;
    buf_init(&sql, 0);
    catalog_ddl(catalog_table(TABLE_SAMPLES), &sql);
    assert_true(slice_is(buf_slice(&sql),
                         "CREATE TABLE IF NOT EXISTS samples (\"series_id\" INTEGER NOT NULL, "
                         "\"timestamp\" TIMESTAMP NOT NULL, \"value\" DOUBLE NOT NULL)"));
    buf_reset(&sql);
    catalog_ddl(catalog_table(TABLE_METRICS), &sql);
    assert_true(slice_starts(buf_slice(&sql), "CREATE VIEW IF NOT EXISTS trading_metrics AS "));
    for (size_t i = 0; (table = catalog_at(i)) != NULL; i++) {
        buf_reset(&sql);
        catalog_ddl(table, &sql);
        buf_add_char(&sql, '\0');
        assert_null(strstr(sql.ptr, "PRIMARY"));
        assert_null(strstr(sql.ptr, "UNIQUE"));
        assert_null(strstr(sql.ptr, "INDEX"));
    }
}

static void
test_catalog_names_the_hot_part_of_sealed_tables_alone(void **state)
{
    BUF_AUTO struct buf name;

    (void)state;
    buf_init(&name, 0);
    catalog_hot_name(catalog_table(TABLE_SAMPLES), &name);
    assert_true(slice_is(buf_slice(&name), "samples_hot"));
    buf_reset(&name);
    catalog_hot_name(catalog_table(TABLE_SERIES), &name);
    assert_true(slice_is(buf_slice(&name), "series"));
}

static void
check_suggestion(const char *suggestion, const char *expected)
{
    if (expected) {
        assert_non_null(suggestion);
        assert_string_equal(suggestion, expected);
    } else {
        assert_null(suggestion);
    }
}

static void
test_catalog_suggests_the_nearest_name_or_none(void **state)
{
    const struct catalog_table *market = catalog_table(TABLE_MARKET_DATA);

    (void)state;
    check_suggestion(catalog_suggest_table(slice_of("market-data")), "market_data");
    check_suggestion(catalog_suggest_table(slice_of("marketdata")), "market_data");
    check_suggestion(catalog_suggest_table(slice_of("TRADE")), "trades");
    check_suggestion(catalog_suggest_table(slice_of("metric")), "metrics");
    check_suggestion(catalog_suggest_table(slice_of("sample")), NULL);
    check_suggestion(catalog_suggest_table(slice_of("weather")), NULL);
    check_suggestion(catalog_suggest_table(slice_of("")), NULL);
    check_suggestion(catalog_suggest_table(slice_of("x")), NULL);
    check_suggestion(catalog_suggest_column(market, slice_of("last_pirce")), "last_price");
    check_suggestion(catalog_suggest_column(market, slice_of("symbl")), "symbol");
    check_suggestion(catalog_suggest_column(market, slice_of("spread")), NULL);
    check_suggestion(catalog_suggest_column(market, slice_of("a name that is longer than any "
                                                             "name in the catalogue can be")),
                     NULL);
}

static void
test_catalog_types_say_what_they_want(void **state)
{
    (void)state;
    for (int type = 0; type < COL_TYPE_COUNT; type++) {
        assert_true(strlen(catalog_sql_type((enum col_type)type)) > 0);
        assert_true(strlen(catalog_type_expected((enum col_type)type)) > 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_catalog_tables_are_consistent),
        cmocka_unit_test(test_catalog_finds_columns_and_says_which_is_not_there),
        cmocka_unit_test(test_catalog_finds_the_names_users_write),
        cmocka_unit_test(test_catalog_has_the_columns_of_the_originals),
        cmocka_unit_test(test_catalog_has_the_tables_of_metering),
        cmocka_unit_test(test_catalog_ddl_has_no_keys_and_no_indexes),
        cmocka_unit_test(test_catalog_names_the_hot_part_of_sealed_tables_alone),
        cmocka_unit_test(test_catalog_suggests_the_nearest_name_or_none),
        cmocka_unit_test(test_catalog_types_say_what_they_want),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
