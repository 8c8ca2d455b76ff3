/* The contract of reading: scans, buckets, newest rows, statistics. */
#include <stdio.h>
#include <string.h>

#include "store/contract_private.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, contract_setup, contract_teardown)

#define DAY INT64_C(86400000000)
#define MINUTE INT64_C(60000000)

static const char quotes[] = "10|A|1|-|-|5|1|0\n"
                             "10|B|2|-|-|6|1|0\n"
                             "20|A|3|-|-|7|2|0\n"
                             "20|C|4|-|-|8|2|0\n"
                             "30|B|5|-|-|9|3|0\n";

static struct contract_store *
with_quotes(void **state)
{
    contract_put(*state, TABLE_MARKET_DATA, quotes);
    return *state;
}

static void
test_scan_orders_by_time_and_key(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);

    contract_expect_scan(at, &scan, quotes);
    scan.newest_first = true;
    contract_expect_scan(at, &scan,
                         "30|B|5|-|-|9|3|0\n20|A|3|-|-|7|2|0\n20|C|4|-|-|8|2|0\n"
                         "10|A|1|-|-|5|1|0\n10|B|2|-|-|6|1|0\n");
}

static void
test_scan_pages_by_limit_and_offset(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);

    scan.limit = 2;
    contract_expect_scan(at, &scan, "10|A|1|-|-|5|1|0\n10|B|2|-|-|6|1|0\n");
    scan.offset = 2;
    contract_expect_scan(at, &scan, "20|A|3|-|-|7|2|0\n20|C|4|-|-|8|2|0\n");
    scan.offset = 4;
    contract_expect_scan(at, &scan, "30|B|5|-|-|9|3|0\n");
    scan.offset = 5;
    contract_expect_scan(at, &scan, "");
    scan.limit = 0;
    scan.offset = 3;
    contract_expect_scan(at, &scan, "20|C|4|-|-|8|2|0\n30|B|5|-|-|9|3|0\n");
    scan.offset = UINT64_MAX;
    contract_expect_scan(at, &scan, "");
}

static void
test_scan_bounds_are_inclusive(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);

    scan.from_us = 20;
    scan.to_us = 20;
    contract_expect_scan(at, &scan, "20|A|3|-|-|7|2|0\n20|C|4|-|-|8|2|0\n");
    scan.from_us = 21;
    contract_expect_scan(at, &scan, "");
    scan.to_us = INT64_MAX;
    contract_expect_scan(at, &scan, "30|B|5|-|-|9|3|0\n");
    scan.from_us = INT64_MIN;
    scan.to_us = -1;
    contract_expect_scan(at, &scan, "");
    scan.from_us = INT64_MIN + 1;
    scan.to_us = INT64_MAX - 1;
    contract_expect_scan(at, &scan, quotes);
}

static void
test_scan_filters_by_one_and_by_several_values(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct slice values[] = {SLICE_LITERAL("A"), SLICE_LITERAL("C"), SLICE_LITERAL("nobody")};
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);

    scan.filters[0] = (struct store_filter){"symbol", values, 1};
    scan.filter_count = 1;
    contract_expect_scan(at, &scan, "10|A|1|-|-|5|1|0\n20|A|3|-|-|7|2|0\n");
    scan.filters[0].value_count = 3;
    contract_expect_scan(at, &scan, "10|A|1|-|-|5|1|0\n20|A|3|-|-|7|2|0\n20|C|4|-|-|8|2|0\n");
    scan.from_us = 15;
    scan.limit = 1;
    contract_expect_scan(at, &scan, "20|A|3|-|-|7|2|0\n");
    scan.filters[0] = (struct store_filter){"symbol", values + 2, 1};
    contract_expect_scan(at, &scan, "");
}

static void
test_scan_combines_filters(void **state)
{
    struct contract_store *at = *state;
    struct slice buy = SLICE_LITERAL("buy");
    struct slice a = SLICE_LITERAL("A");
    struct store_scan scan = contract_all(TABLE_TRADES);

    contract_put(at, TABLE_TRADES,
                 "t1|1|A|buy|1|1|-|-|-\nt2|2|A|sell|1|1|-|-|s\n"
                 "t3|3|B|buy|1|1|-|-|s\n");
    scan.filters[0] = (struct store_filter){"symbol", &a, 1};
    scan.filters[1] = (struct store_filter){"side", &buy, 1};
    scan.filter_count = 2;
    contract_expect_scan(at, &scan, "t1|1|A|buy|1|1|-|-|-\n");
    struct slice s = SLICE_LITERAL("s");
    scan.filters[0] = (struct store_filter){"strategy", &s, 1}; /* NULL is not "s" */
    scan.filter_count = 1;
    contract_expect_scan(at, &scan, "t2|2|A|sell|1|1|-|-|s\nt3|3|B|buy|1|1|-|-|s\n");
}

static void
test_scan_takes_any_text_as_a_value(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct slice values[] = {SLICE_LITERAL("A') OR ('1'='1"), SLICE_LITERAL(""),
                             SLICE_LITERAL("\xc3\xa9"), SLICE_LITERAL("'; DROP TABLE trades; --")};
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);

    scan.filters[0] = (struct store_filter){"symbol", values, 4};
    scan.filter_count = 1;
    contract_expect_scan(at, &scan, "");
    contract_put(at, TABLE_MARKET_DATA, "1||1|-|-|0|0|0\n2|\xc3\xa9|1|-|-|0|0|0\n");
    contract_expect_scan(at, &scan, "1||1|-|-|0|0|0\n2|\xc3\xa9|1|-|-|0|0|0\n");
}

static void
test_scan_refuses_what_cannot_be_filtered(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct slice value = SLICE_LITERAL("A");
    struct store_scan scan = contract_all(TABLE_MARKET_DATA);
    struct err err = {0};
    struct batch rows;

    scan.filters[0] = (struct store_filter){"symbl", &value, 1};
    scan.filter_count = 1;
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "symbl"));
    scan.filters[0] = (struct store_filter){"volume", &value, 1};
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "volume"));
    scan.filters[0] = (struct store_filter){"symbol", &value, 0};
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_INVALID);
    scan = contract_all((enum table_id)TABLE_ID_END);
    assert_int_equal(store_scan(at->store, &scan, &rows, &err), ERR_NOT_FOUND);
}

static void
test_scan_of_metrics_joins_samples_and_series(void **state)
{
    struct contract_store *at = *state;
    struct slice name = SLICE_LITERAL("cpu");
    struct store_scan scan = contract_all(TABLE_METRICS);

    contract_put(at, TABLE_SERIES, "1|cpu|-|{\"host\":\"b\"}\n2|cpu|-|-\n3|price|A|-\n");
    contract_put(at, TABLE_SAMPLES, "1|10|1\n2|10|2\n3|10|3\n1|20|4\n9|20|5\n");
    contract_expect(at, TABLE_METRICS,
                    "10|cpu|1|-|{\"host\":\"b\"}\n10|cpu|2|-|-\n10|price|3|A|-\n"
                    "20|cpu|4|-|{\"host\":\"b\"}\n");
    scan.filters[0] = (struct store_filter){"metric_name", &name, 1};
    scan.filter_count = 1;
    scan.newest_first = true;
    scan.limit = 2;
    contract_expect_scan(at, &scan, "20|cpu|4|-|{\"host\":\"b\"}\n10|cpu|1|-|{\"host\":\"b\"}\n");
}

static void
test_scan_names_and_types_its_columns(void **state)
{
    struct contract_store *at = with_quotes(state);
    const struct catalog_table *table;
    struct batch rows;

    for (size_t i = 0; (table = catalog_at(i)); i++) {
        struct store_scan scan = contract_all(table->id);
        assert_int_equal(store_scan(at->store, &scan, &rows, NULL), ERR_OK);
        assert_int_equal(rows.column_count, table->column_count);
        for (size_t c = 0; c < table->column_count; c++) {
            assert_string_equal(rows.columns[c].name, table->columns[c].name);
            assert_int_equal(rows.columns[c].type, table->columns[c].type);
        }
        batch_fini(&rows);
    }
}

static void
test_bucket_gives_every_aggregate(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_MARKET_DATA),
        .bucket_us = 5 * MINUTE,
        .aggregates = {{AGG_FIRST, "last_price", "open"},
                       {AGG_MAX, "last_price", "high"},
                       {AGG_MIN, "last_price", "low"},
                       {AGG_LAST, "last_price", "close"},
                       {AGG_SUM, "volume", "volume"},
                       {AGG_AVG, "trades", "trades"},
                       {AGG_SUM, "last_price", "sum"},
                       {AGG_COUNT, "last_price", "prices"},
                       {AGG_COUNT, NULL, "rows"},
                       {AGG_MAX, "symbol", "symbol"},
                       {AGG_LAST, "timestamp", "at"}},
        .aggregate_count = 11,
    };

    contract_put(at, TABLE_MARKET_DATA,
                 "0|A|5|-|-|1|1|0\n60000000|B|9|-|-|2|2|0\n120000000|A|1|-|-|3|4|0\n"
                 "180000000|A|-|-|-|-|5|0\n299999999|B|3|-|-|4|-|0\n"
                 "300000000|A|7|-|-|9223372036854775807|1|0\n");
    contract_expect_bucket(at, &bucket,
                           "0|5|9|1|3|10|3|18|4|5|B|299999999\n"
                           "300000000|7|7|7|7|9223372036854775807|1|7|1|1|A|300000000\n");
}

static void
test_bucket_skips_nulls_and_is_null_without_values(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_MARKET_DATA),
        .bucket_us = MINUTE,
        .aggregates = {{AGG_FIRST, "bid", "a"},
                       {AGG_LAST, "bid", "b"},
                       {AGG_SUM, "bid", "c"},
                       {AGG_AVG, "bid", "d"},
                       {AGG_COUNT, "bid", "e"}},
        .aggregate_count = 5,
    };

    contract_put(at, TABLE_MARKET_DATA,
                 "1|A|-|-|-|0|0|0\n2|A|-|4|-|0|0|0\n3|A|-|6|-|0|0|0\n4|A|-|-|-|0|0|0\n"
                 "60000000|A|-|-|-|0|0|0\n");
    contract_expect_bucket(at, &bucket, "0|4|6|10|5|2\n60000000|-|-|-|-|0\n");
}

static void
test_bucket_adds_decimals_exactly(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_RESERVATION_CHANGES),
        .aggregates = {{AGG_SUM, "credits", "sum"},
                       {AGG_MIN, "credits", "min"},
                       {AGG_MAX, "credits", "max"},
                       {AGG_FIRST, "credits", "first"},
                       {AGG_LAST, "credits", "last"},
                       {AGG_AVG, "credits", "avg"},
                       {AGG_COUNT, "credits", "n"}},
        .aggregate_count = 7,
    };
    struct batch rows;

    contract_put(at, TABLE_RESERVATION_CHANGES,
                 "1|10|r|reserve|999999999999.1|-|-|-|-|-|-|-|-|-|-\n"
                 "2|11|r|reserve|0.2|-|-|-|-|-|-|-|-|-|-\n"
                 "3|12|r|reserve|-|-|-|-|-|-|-|-|-|-|-\n"
                 "4|13|r|reserve|0.000001|-|-|-|-|-|-|-|-|-|-\n"
                 "5|14|r|reserve|-999999999996.300001|-|-|-|-|-|-|-|-|-|-\n");
    contract_expect_bucket(at, &bucket,
                           "10|3|-999999999996.300001|999999999999.1|999999999999.1|"
                           "-999999999996.300001|0.75|4\n");
    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_OK);
    for (size_t i = 1; i < 6; i++) {
        assert_int_equal(rows.columns[i].type, COL_DECIMAL);
    }
    assert_int_equal(rows.columns[6].type, COL_DOUBLE);
    batch_fini(&rows);
}

static void
test_bucket_gives_the_largest_whole_number(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_BUDGET_CHANGES),
        .aggregates = {{AGG_MAX, "seq", "seq"}},
        .aggregate_count = 1,
    };
    struct batch rows;

    contract_expect_bucket(at, &bucket, "");
    contract_put(at, TABLE_BUDGET_CHANGES,
                 "7|10|a|reset|-|-|-\n9223372036854775807|10|a|reset|-|-|-\n"
                 "9223372036854775806|11|a|reset|-|-|-\n");
    contract_expect_bucket(at, &bucket, "10|9223372036854775807\n");
    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_OK);
    assert_int_equal(rows.columns[1].type, COL_INT64);
    batch_fini(&rows);
}

static void
test_scan_orders_rows_of_one_time_by_their_sequence(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_BUDGET_CHANGES,
                 "3|10|a|reset|-|-|-\n1|10|b|reset|-|-|-\n2|10|a|set|-|{\"mode\":\"enforce\"}|-\n"
                 "4|9|c|opened|run_id=r1|-|limit\n");
    contract_expect(at, TABLE_BUDGET_CHANGES,
                    "4|9|c|opened|run_id=r1|-|limit\n1|10|b|reset|-|-|-\n"
                    "2|10|a|set|-|{\"mode\":\"enforce\"}|-\n3|10|a|reset|-|-|-\n");
}

static void
test_bucket_groups_filters_and_pages(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct slice values[] = {SLICE_LITERAL("A"), SLICE_LITERAL("B")};
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_MARKET_DATA),
        .bucket_us = 20,
        .group_column = "symbol",
        .aggregates = {{AGG_SUM, "volume", "volume"}},
        .aggregate_count = 1,
    };

    contract_expect_bucket(at, &bucket, "0|A|5\n0|B|6\n20|A|7\n20|B|9\n20|C|8\n");
    bucket.scan.newest_first = true;
    contract_expect_bucket(at, &bucket, "20|A|7\n20|B|9\n20|C|8\n0|A|5\n0|B|6\n");
    bucket.scan.filters[0] = (struct store_filter){"symbol", values, 2};
    bucket.scan.filter_count = 1;
    bucket.scan.offset = 1;
    bucket.scan.limit = 2;
    contract_expect_bucket(at, &bucket, "20|B|9\n0|A|5\n");
}

static void
test_bucket_of_zero_covers_everything(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_MARKET_DATA),
        .aggregates = {{AGG_COUNT, NULL, "n"}, {AGG_AVG, "last_price", "p"}},
        .aggregate_count = 2,
    };

    contract_expect_bucket(at, &bucket, "10|5|3\n");
    bucket.group_column = "symbol";
    contract_expect_bucket(at, &bucket, "10|A|2|2\n10|B|2|3.5\n20|C|1|4\n");
    bucket.scan.from_us = 100;
    contract_expect_bucket(at, &bucket, "");
    bucket.group_column = NULL;
    contract_expect_bucket(at, &bucket, "");
}

static void
test_bucket_aligns_weeks_to_monday_and_floors_early_times(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_SAMPLES),
        .bucket_us = 7 * DAY,
        .aggregates = {{AGG_COUNT, NULL, "n"}},
        .aggregate_count = 1,
    };

    /* Sunday 2023-12-31 23:59:59, Monday 2024-01-01 and Wednesday 2024-01-03; and 1969. */
    contract_put(at, TABLE_SAMPLES,
                 "1|1704067199000000|1\n1|1704067200000000|1\n"
                 "1|1704240000000000|1\n1|-1|1\n");
    contract_expect_bucket(at, &bucket,
                           "-259200000000|1\n1703462400000000|1\n1704067200000000|2\n");
    bucket.bucket_us = 1000000;
    bucket.scan.to_us = 0;
    contract_expect_bucket(at, &bucket, "-1000000|1\n");
}

static void
test_bucket_refuses_what_makes_no_sense(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_MARKET_DATA),
        .bucket_us = 20,
        .aggregates = {{AGG_SUM, "symbol", "s"}},
        .aggregate_count = 1,
    };
    struct batch rows;

    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_INVALID);
    bucket.aggregates[0].column = "nothing";
    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_INVALID);
    bucket.aggregates[0].column = "volume";
    bucket.group_column = "nothing";
    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_INVALID);
    bucket.group_column = NULL;
    bucket.bucket_us = -1;
    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_INVALID);
    bucket.bucket_us = 1;
    bucket.scan.table = TABLE_SERIES;
    bucket.aggregates[0].column = "series_id";
    assert_int_equal(store_bucket(at->store, &bucket, &rows, NULL), ERR_INVALID);
}

static void
test_scan_filters_by_whole_numbers(void **state)
{
    const struct slice some[] = {SLICE_LITERAL("3"), SLICE_LITERAL("1")};
    const struct slice wrong = SLICE_LITERAL("one");
    struct contract_store *at = *state;
    struct store_scan scan = contract_all(TABLE_SAMPLES);
    struct batch rows;

    contract_put(at, TABLE_SAMPLES, "1|10|1\n2|10|2\n3|5|3\n31|7|4\n");
    scan.filters[0] = (struct store_filter){"series_id", some, 2};
    scan.filter_count = 1;
    contract_expect_scan(at, &scan, "3|5|3\n1|10|1\n");
    scan.filters[0].value_count = 1;
    scan.newest_first = true;
    contract_expect_scan(at, &scan, "3|5|3\n");
    scan.filters[0].values = &wrong;
    assert_int_equal(store_scan(at->store, &scan, &rows, NULL), ERR_INVALID);
}

static void
test_bucket_of_metrics_works_through_the_view(void **state)
{
    struct contract_store *at = *state;
    struct store_bucket bucket = {
        .scan = contract_all(TABLE_METRICS),
        .bucket_us = 10,
        .group_column = "symbol",
        .aggregates = {{AGG_AVG, "value", "value"}},
        .aggregate_count = 1,
    };

    contract_put(at, TABLE_SERIES, "1|price|A|-\n2|price|B|-\n3|cpu|-|-\n");
    contract_put(at, TABLE_SAMPLES, "1|1|2\n1|2|4\n2|1|10\n3|1|0\n1|10|7\n");
    contract_expect_bucket(at, &bucket, "0|A|3\n0|B|10\n0|-|0\n10|A|7\n");
}

static void
test_latest_gives_the_newest_row_of_every_series(void **state)
{
    struct contract_store *at = with_quotes(state);

    contract_put(at, TABLE_MARKET_DATA, "5|C|0|-|-|0|0|0\n");
    contract_expect_latest(at, TABLE_MARKET_DATA,
                           "20|A|3|-|-|7|2|0\n30|B|5|-|-|9|3|0\n20|C|4|-|-|8|2|0\n");
    contract_put(at, TABLE_EXECUTION_METRICS, "5|1|1|1|1|1|-|-\n9|2|2|2|2|2|-|-\n");
    contract_put(at, TABLE_EXECUTION_METRICS, "7|3|3|3|3|3|-|-\n");
    contract_expect_latest(at, TABLE_EXECUTION_METRICS, "9|2|2|2|2|2|-|-\n");
    contract_put(at, TABLE_TRADES,
                 "t1|1|A|buy|1|1|-|-|-\nt2|2|A|sell|1|1|-|-|-\n"
                 "t3|1|B|buy|1|1|-|-|-\n");
    contract_expect_latest(at, TABLE_TRADES, "t2|2|A|sell|1|1|-|-|-\nt3|1|B|buy|1|1|-|-|-\n");
    contract_expect_latest(at, TABLE_CANDLES, "");
}

static void
test_latest_takes_the_last_written_among_equal_times(void **state)
{
    struct contract_store *at = *state;

    contract_put(at, TABLE_SAMPLES, "1|10|1\n1|10|2\n2|5|3\n");
    contract_put(at, TABLE_SAMPLES, "1|10|4\n1|9|5\n");
    contract_expect_latest(at, TABLE_SAMPLES, "1|10|4\n2|5|3\n");
    contract_put(at, TABLE_SERIES, "1|cpu|A|-\n2|mem|-|-\n");
    contract_expect_latest(at, TABLE_METRICS, "10|cpu|4|A|-\n5|mem|3|-|-\n");
}

static void
test_latest_of_metrics_is_by_series(void **state)
{
    struct contract_store *at = *state;
    struct batch rows;

    contract_put(at, TABLE_SERIES, "1|cpu|-|{\"host\":\"a\"}\n2|cpu|-|{\"host\":\"b\"}\n3|x|A|-\n");
    contract_put(at, TABLE_SAMPLES, "1|10|1\n1|20|2\n2|15|3\n3|1|4\n");
    contract_expect_latest(at, TABLE_METRICS,
                           "20|cpu|2|-|{\"host\":\"a\"}\n"
                           "15|cpu|3|-|{\"host\":\"b\"}\n1|x|4|A|-\n");
    assert_int_equal(store_latest(at->store, TABLE_SERIES, NULL, &rows, NULL), ERR_INVALID);
}

static void
test_table_stats_count_and_bound(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_table_stats stats;

    assert_int_equal(store_table_stats(at->store, TABLE_MARKET_DATA, &stats, NULL), ERR_OK);
    assert_int_equal(stats.table, TABLE_MARKET_DATA);
    assert_int_equal(stats.rows, 5);
    assert_int_equal(stats.min_us, 10);
    assert_int_equal(stats.max_us, 30);
    assert_int_equal(store_table_stats(at->store, TABLE_CANDLES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 0);
    assert_int_equal(stats.min_us, 0);
    assert_int_equal(stats.max_us, 0);
    assert_int_equal(store_table_stats(at->store, TABLE_SERIES, &stats, NULL), ERR_OK);
    assert_int_equal(stats.rows, 0);
    assert_int_equal(store_table_stats(at->store, (enum table_id)0, &stats, NULL), ERR_NOT_FOUND);
}

static void
test_sql_is_spoken_or_refused(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct store_sql sql = {.sql = SLICE_LITERAL("SELECT count(*) FROM market_data")};
    struct batch rows;

    if (!at->contract->sql) {
        assert_int_equal(store_sql(at->store, &sql, &rows, NULL, NULL), ERR_UNSUPPORTED);
        return;
    }
    assert_int_equal(store_sql(at->store, &sql, &rows, NULL, NULL), ERR_OK);
    assert_int_equal(batch_get_i64(&rows, 0, 0), 5);
    batch_fini(&rows);
}

static void
test_snapshot_is_a_store_of_its_own_or_unsupported(void **state)
{
    struct contract_store *at = with_quotes(state);
    struct contract_store copy = *at;
    struct err err = {0};

    snprintf(copy.path, sizeof(copy.path), "%.200s/copy.duckdb", at->dir);
    enum err_code code = store_snapshot(at->store, copy.path, &err);
    if (at->contract->remote) {
        assert_int_equal(code, ERR_UNSUPPORTED);
        return;
    }
    assert_int_equal(code, ERR_OK);
    contract_put(at, TABLE_MARKET_DATA, "40|A|6|-|-|0|0|0\n");
    struct store_open_options options = {.path = copy.path, .threads = 1, .readers = 1};
    assert_int_equal(copy.contract->open(&options, &copy.store, &err), ERR_OK);
    assert_int_equal(store_applied_lsn(copy.store), 1);
    contract_expect(&copy, TABLE_MARKET_DATA, quotes);
    store_close(copy.store);
}

int
contract_run_read(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_scan_orders_by_time_and_key),
        CASE(test_scan_pages_by_limit_and_offset),
        CASE(test_scan_bounds_are_inclusive),
        CASE(test_scan_filters_by_one_and_by_several_values),
        CASE(test_scan_combines_filters),
        CASE(test_scan_takes_any_text_as_a_value),
        CASE(test_scan_refuses_what_cannot_be_filtered),
        CASE(test_scan_of_metrics_joins_samples_and_series),
        CASE(test_scan_names_and_types_its_columns),
        CASE(test_bucket_gives_every_aggregate),
        CASE(test_bucket_skips_nulls_and_is_null_without_values),
        CASE(test_bucket_adds_decimals_exactly),
        CASE(test_bucket_gives_the_largest_whole_number),
        CASE(test_scan_orders_rows_of_one_time_by_their_sequence),
        CASE(test_bucket_groups_filters_and_pages),
        CASE(test_bucket_of_zero_covers_everything),
        CASE(test_bucket_aligns_weeks_to_monday_and_floors_early_times),
        CASE(test_bucket_refuses_what_makes_no_sense),
        CASE(test_scan_filters_by_whole_numbers),
        CASE(test_bucket_of_metrics_works_through_the_view),
        CASE(test_latest_gives_the_newest_row_of_every_series),
        CASE(test_latest_takes_the_last_written_among_equal_times),
        CASE(test_latest_of_metrics_is_by_series),
        CASE(test_table_stats_count_and_bound),
        CASE(test_sql_is_spoken_or_refused),
        CASE(test_snapshot_is_a_store_of_its_own_or_unsupported),
    };

    return cmocka_run_group_tests_name("store contract: read", tests, NULL, NULL);
}
