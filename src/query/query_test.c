/*
 * Tests of the questions with an engine made of answers that the test wrote down: what is asked of
 * the store, and what is made of its answers. The engine's reads are replaced at link time.
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

#include "query/query.h"

#define MINUTE_US INT64_C(60000000)
/* 2026-01-02T03:00:00 UTC. */
#define BASE_US INT64_C(1767322800000000)

enum { CALLS_MAX = 4, TEXT_BYTES = 1 << 20 };

struct engine {
    struct store_bucket buckets[CALLS_MAX];
    size_t bucket_calls;
    struct store_scan scans[CALLS_MAX];
    size_t scan_calls;
    char first_value[64]; /* of the newest scan's first filter: values live for the call only */
    char sql[1024];
    size_t sql_params;
    size_t sql_calls;
    struct batch answers[CALLS_MAX]; /* in the order of all calls; given away */
    size_t answer_count;
    size_t answered;
    enum err_code fail_at[CALLS_MAX]; /* code of the n-th call */
    enum err_code sql_answer;
};

static enum err_code
answer(struct engine *engine, struct batch *ret_rows, struct err *err)
{
    size_t call = engine->answered++;

    assert_true(call < CALLS_MAX);
    if (engine->fail_at[call]) {
        return err_set(err, engine->fail_at[call], "call %zu fails", call);
    }
    assert_true(call < engine->answer_count);
    *ret_rows = engine->answers[call];
    engine->answers[call] = (struct batch){0};
    return ERR_OK;
}

enum err_code
engine_scan(struct engine *engine, const struct store_scan *scan, struct batch *ret_rows,
            struct err *err)
{
    engine->scans[engine->scan_calls++] = *scan;
    if (scan->filter_count > 0) {
        slice_to_cstr(scan->filters[0].values[0], engine->first_value, sizeof(engine->first_value));
    }
    return answer(engine, ret_rows, err);
}

enum err_code
engine_bucket(struct engine *engine, const struct store_bucket *bucket, struct batch *ret_rows,
              struct err *err)
{
    engine->buckets[engine->bucket_calls++] = *bucket;
    return answer(engine, ret_rows, err);
}

enum err_code
engine_sql(struct engine *engine, const struct store_sql *sql, struct batch *ret_rows,
           bool *ret_truncated, struct err *err)
{
    assert_null(ret_truncated);
    snprintf(engine->sql, sizeof(engine->sql), "%.*s", SLICE_FMT(sql->sql));
    engine->sql_params = sql->param_count;
    engine->sql_calls++;
    if (engine->sql_answer) {
        return err_set(err, engine->sql_answer, "no SQL");
    }
    return answer(engine, ret_rows, err);
}

static int
setup(void **state)
{
    *state = calloc(1, sizeof(struct engine));
    return 0;
}

static int
teardown(void **state)
{
    struct engine *engine = *state;

    for (size_t i = 0; i < engine->answer_count; i++) {
        batch_fini(&engine->answers[i]);
    }
    free(engine);
    return 0;
}

static void
assert_near(double value, double wanted)
{
    if (!(fabs(value - wanted) < 1e-9)) {
        fail_msg("%.12g is not %.12g", value, wanted);
    }
}

/* Starts the next answer; columns are named "t:name" with t of T (time), s, i, d. */
static struct batch *
add_answer(struct engine *engine, const char *columns)
{
    struct batch *rows = &engine->answers[engine->answer_count++];
    struct slice rest = slice_of(columns);
    struct slice name;

    batch_init_answer(rows, TEXT_BYTES);
    while (rest.len > 0) {
        slice_split(&rest, ' ', &name);
        char type = name.ptr[0];
        batch_add_column(rows, slice_sub(name, 2, name.len),
                         type == 'T'   ? COL_TIMESTAMP
                         : type == 's' ? COL_TEXT
                         : type == 'i' ? COL_INT64
                                       : COL_DOUBLE);
    }
    return rows;
}

static void
set(struct batch *rows, const char *name, double value)
{
    size_t column = (size_t)batch_column_index(rows, slice_of(name));
    size_t row = rows->rows - 1;

    if (rows->columns[column].type == COL_DOUBLE) {
        batch_set_f64(rows, column, row, value);
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

static const char bucket_columns[] =
    "T:timestamp s:symbol d:avg_price d:high d:low d:avg_spread d:avg_bid d:avg_ask "
    "i:volume_first i:volume_last i:volume_max i:trades_first i:trades_last i:trades_max";
static const char before_columns[] = "T:timestamp s:symbol i:volume_last i:trades_last";

/* One bucket with its running totals of volume; trades are a tenth of them. */
static void
add_bucket(struct batch *rows, int minute, const char *symbol, int first, int last, int highest)
{
    batch_add_row(rows);
    set(rows, "timestamp", (double)(BASE_US + minute * MINUTE_US));
    set_text(rows, "symbol", symbol);
    set(rows, "avg_price", 100);
    set(rows, "high", 101);
    set(rows, "low", 99);
    set(rows, "avg_spread", 2.5);
    set(rows, "volume_first", first);
    set(rows, "volume_last", last);
    set(rows, "volume_max", highest);
    set(rows, "trades_first", first / 10);
    set(rows, "trades_last", last / 10);
    set(rows, "trades_max", highest / 10);
}

static void
add_before(struct batch *rows, const char *symbol, int last)
{
    batch_add_row(rows);
    set_text(rows, "symbol", symbol);
    set(rows, "volume_last", last);
    set(rows, "trades_last", last / 10);
}

static const struct query_range hour = {.from_us = BASE_US, .to_us = BASE_US + 60 * MINUTE_US};

/* "minute symbol volume/trades;" of every row. */
static const char *
describe(const struct batch *rows)
{
    static char text[1024];
    size_t len = 0;
    int time = batch_column_index(rows, slice_of("timestamp"));
    int symbol = batch_column_index(rows, slice_of("symbol"));
    int volume = batch_column_index(rows, slice_of("total_volume"));
    int trades = batch_column_index(rows, slice_of("total_trades"));

    text[0] = '\0';
    for (size_t i = 0; i < rows->rows; i++) {
        int64_t minute = (batch_get_i64(rows, (size_t)time, i) - BASE_US) / MINUTE_US;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%d %.*s %d/%d;", (int)minute,
                                SLICE_FMT(batch_get_text(rows, (size_t)symbol, i)),
                                (int)batch_get_i64(rows, (size_t)volume, i),
                                (int)batch_get_i64(rows, (size_t)trades, i));
    }
    return text;
}

static void
test_market_volume_is_growth_of_the_running_total(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, bucket_columns);
    struct batch BATCH_AUTO history;
    struct err err;

    add_bucket(rows, 5, "B", 150, 190, 190);
    add_bucket(rows, 0, "B", 100, 120, 120); /* nothing known before: since its first row */
    add_bucket(rows, 0, "A", 1010, 1050, 1050);
    add_bucket(rows, 20, "A", 1100, 1300, 1300); /* buckets without rows between */
    rows = add_answer(engine, before_columns);
    add_before(rows, "A", 1000);
    assert_int_equal(query_market_history(engine, &hour, 5 * MINUTE_US, NULL, 0, 0, &history, &err),
                     ERR_OK);
    assert_string_equal(describe(&history), "20 A 250/25;5 B 70/7;0 A 50/5;0 B 20/2;");
}

static void
test_market_totals_may_restart(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, bucket_columns);
    struct batch BATCH_AUTO history;
    struct err err;

    add_bucket(rows, 0, "A", 900, 1000, 1000);
    add_bucket(rows, 1, "A", 1010, 30, 1040); /* grew by 40, restarted, grew by 30 */
    add_bucket(rows, 2, "A", 5, 10, 10);      /* restarted again, seen at its end only */
    add_bucket(rows, 3, "A", 10, 10, 10);
    add_answer(engine, before_columns);
    assert_int_equal(query_market_history(engine, &hour, MINUTE_US, NULL, 0, 0, &history, &err),
                     ERR_OK);
    assert_string_equal(describe(&history), "3 A 0/0;2 A 10/1;1 A 70/7;0 A 100/10;");
}

static void
test_market_asks_for_the_range_and_what_is_before_it(void **state)
{
    struct engine *engine = *state;
    const struct slice symbols[] = {SLICE_LITERAL("A"), SLICE_LITERAL("B")};
    struct batch BATCH_AUTO history;
    struct err err;

    add_answer(engine, bucket_columns);
    add_answer(engine, before_columns);
    assert_int_equal(
        query_market_history(engine, &hour, 15 * MINUTE_US, symbols, 2, 7, &history, &err), ERR_OK);
    assert_int_equal(history.rows, 0);
    assert_int_equal(history.column_count, 8);
    assert_int_equal(engine->bucket_calls, 2);
    const struct store_bucket *asked = &engine->buckets[0];
    assert_int_equal(asked->scan.table, TABLE_MARKET_DATA);
    assert_int_equal(asked->scan.from_us, hour.from_us);
    assert_int_equal(asked->scan.to_us, hour.to_us);
    assert_int_equal(asked->scan.filters[0].value_count, 2);
    assert_string_equal(asked->scan.filters[0].column, "symbol");
    assert_int_equal(asked->bucket_us, 15 * MINUTE_US);
    assert_string_equal(asked->group_column, "symbol");
    asked = &engine->buckets[1];
    assert_int_equal(asked->scan.from_us, hour.from_us - 15 * MINUTE_US);
    assert_int_equal(asked->scan.to_us, hour.from_us - 1);
    assert_int_equal(asked->scan.filters[0].value_count, 2);
    assert_int_equal(asked->bucket_us, 0);
}

static void
test_market_limit_keeps_the_newest(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, bucket_columns);
    struct batch BATCH_AUTO history;
    struct err err;

    for (int minute = 0; minute < 5; minute++) {
        add_bucket(rows, minute, "A", minute * 100, minute * 100, minute * 100);
    }
    add_answer(engine, before_columns);
    assert_int_equal(query_market_history(engine, &hour, MINUTE_US, NULL, 0, 2, &history, &err),
                     ERR_OK);
    assert_string_equal(describe(&history), "4 A 100/10;3 A 100/10;");
}

static void
test_market_spread_is_derived_where_none_was_given(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, bucket_columns);
    struct batch BATCH_AUTO history;
    struct err err;

    add_bucket(rows, 0, "A", 0, 0, 0);
    set(rows, "avg_spread", 0);
    set(rows, "avg_bid", 99.9);
    set(rows, "avg_ask", 100.1);
    add_bucket(rows, 0, "B", 0, 0, 0);
    batch_add_row(rows); /* a symbol that never had a price */
    set(rows, "timestamp", (double)BASE_US);
    set_text(rows, "symbol", "C");
    add_answer(engine, before_columns);
    assert_int_equal(query_market_history(engine, &hour, MINUTE_US, NULL, 0, 0, &history, &err),
                     ERR_OK);
    size_t spread = (size_t)batch_column_index(&history, slice_of("avg_spread"));
    size_t price = (size_t)batch_column_index(&history, slice_of("avg_price"));
    assert_near(batch_get_f64(&history, spread, 0), 20);
    assert_near(batch_get_f64(&history, spread, 1), 2.5);
    assert_near(batch_get_f64(&history, spread, 2), 0);
    assert_false(batch_is_null(&history, price, 0));
    assert_true(batch_is_null(&history, price, 2));
}

static void
test_market_passes_errors_on_and_leaks_nothing(void **state)
{
    struct engine *engine = *state;
    struct batch history = {.rows = 77};
    struct err err;

    engine->fail_at[0] = ERR_TIMEOUT;
    assert_int_equal(query_market_history(engine, &hour, MINUTE_US, NULL, 0, 0, &history, &err),
                     ERR_TIMEOUT);
    assert_string_equal(err.msg, "call 0 fails");
    add_answer(engine, bucket_columns);
    add_bucket(add_answer(engine, bucket_columns), 0, "A", 0, 0, 0);
    engine->fail_at[2] = ERR_UNAVAILABLE;
    assert_int_equal(query_market_history(engine, &hour, MINUTE_US, NULL, 0, 0, &history, &err),
                     ERR_UNAVAILABLE);
    assert_int_equal(history.rows, 77);
}

static void
test_ranges_and_intervals_are_checked(void **state)
{
    struct engine *engine = *state;
    const struct query_range backwards = {.from_us = 5, .to_us = 4};
    struct batch rows;
    struct err err;

    assert_int_equal(query_market_history(engine, &backwards, 1, NULL, 0, 0, &rows, &err),
                     ERR_INVALID);
    assert_non_null(strstr(err.msg, "start_time"));
    assert_int_equal(query_market_history(engine, &hour, 0, NULL, 0, 0, &rows, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "interval"));
    assert_int_equal(query_rows(engine, TABLE_STRATEGY_METRICS, &backwards, 0, &rows, &err),
                     ERR_INVALID);
    assert_int_equal(query_rows(engine, TABLE_SERIES, &hour, 0, &rows, &err), ERR_INVALID);
    assert_int_equal(query_candles(engine, slice_of("A"), -1, &hour, 0, &rows, &err), ERR_INVALID);
    assert_int_equal(engine->answered, 0);
}

static void
test_range_and_interval_have_names_and_values(void **state)
{
    int64_t width;
    struct err err;

    (void)state;
    assert_int_equal(query_parse_range(slice_of("HOUR_1"), &width, &err), ERR_OK);
    assert_int_equal(width, 60 * MINUTE_US);
    assert_int_equal(query_parse_range(slice_of("30d"), &width, &err), ERR_OK);
    assert_int_equal(width, 30 * 24 * 60 * MINUTE_US);
    assert_int_equal(query_parse_interval(slice_of("MINUTE_15"), &width, &err), ERR_OK);
    assert_int_equal(width, 15 * MINUTE_US);
    assert_int_equal(query_parse_interval(slice_of("1d"), &width, &err), ERR_OK);
    assert_int_equal(width, 24 * 60 * MINUTE_US);
    assert_int_equal(query_parse_range(slice_of("1m"), &width, &err), ERR_INVALID);
    assert_string_equal(err.msg, "time_range is \"1m\", expected 1h, 24h, 7d or 30d");
    assert_int_equal(query_parse_interval(slice_of(""), &width, &err), ERR_INVALID);
    assert_int_equal(width, 24 * 60 * MINUTE_US);
}

static void
test_rows_are_the_newest_of_a_table(void **state)
{
    struct engine *engine = *state;
    struct batch BATCH_AUTO rows;
    struct err err;

    add_answer(engine, "T:timestamp");
    assert_int_equal(query_rows(engine, TABLE_EXECUTION_METRICS, &hour, 9, &rows, &err), ERR_OK);
    assert_int_equal(engine->scans[0].table, TABLE_EXECUTION_METRICS);
    assert_int_equal(engine->scans[0].limit, 9);
    assert_true(engine->scans[0].newest_first);
    assert_int_equal(engine->scans[0].from_us, hour.from_us);
}

static void
test_trades_are_filtered_paged_and_counted(void **state)
{
    struct engine *engine = *state;
    struct batch *count = add_answer(engine, "i:count");
    struct batch BATCH_AUTO rows;
    uint64_t total = 0;
    struct err err;

    batch_add_row(count);
    set(count, "count", 4321);
    add_answer(engine, "s:trade_id");
    assert_int_equal(query_trades(engine,
                                  &(struct query_trades){.symbol = slice_of("AAPL"),
                                                         .side = slice_of("Buy"),
                                                         .range = hour,
                                                         .limit = 10,
                                                         .offset = 20},
                                  &rows, &total, &err),
                     ERR_OK);
    assert_int_equal(total, 4321);
    const struct store_scan *scan = &engine->scans[0];
    assert_int_equal(scan->filter_count, 2);
    assert_string_equal(scan->filters[1].column, "side");
    assert_int_equal(scan->filters[1].value_count, 3); /* Buy, buy, BUY */
    assert_int_equal(scan->limit, 10);
    assert_int_equal(scan->offset, 20);
    assert_int_equal(engine->buckets[0].scan.offset, 0);
    assert_int_equal(engine->buckets[0].scan.limit, 0);
    assert_int_equal(engine->buckets[0].scan.filter_count, 2);
}

static void
test_trade_that_is_not_there(void **state)
{
    struct engine *engine = *state;
    struct batch rows = {.rows = 77};
    struct err err;

    add_answer(engine, "s:trade_id");
    assert_int_equal(query_trade(engine, slice_of("t1"), &rows, &err), ERR_NOT_FOUND);
    assert_string_equal(err.msg, "Trade not found");
    assert_int_equal(rows.rows, 77);
    assert_string_equal(engine->first_value, "t1");
}

static void
add_trade(struct batch *rows, const char *side, double quantity, double price, double latency_ms)
{
    batch_add_row(rows);
    set_text(rows, "side", side);
    set(rows, "quantity", quantity);
    set(rows, "price", price);
    if (latency_ms > 0) {
        set(rows, "latency_ms", latency_ms);
    }
}

static void
test_trade_summary_without_sql_reads_rows(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, "s:side d:quantity d:price d:latency_ms");
    struct query_trade_summary sum;
    struct err err;

    engine->sql_answer = ERR_UNSUPPORTED;
    add_trade(rows, "BUY", 10, 100, 0);
    add_trade(rows, "sell", 2, 110, 0);
    add_trade(rows, "short", 3, 90, 0);
    assert_int_equal(query_trade_summary(engine, slice_of("AAPL"), &hour, &sum, &err), ERR_OK);
    assert_int_equal(sum.count, 3);
    assert_int_equal(sum.buy_count, 1);
    assert_int_equal(sum.sell_count, 1);
    assert_near(sum.total_volume, 1490);
    assert_near(sum.avg_price, 100);
    assert_near(sum.avg_size, 5);
    assert_int_equal(engine->scans[0].filter_count, 1);
    assert_int_equal(engine->scans[0].limit, 1000000);

    add_answer(engine, "s:side d:quantity d:price d:latency_ms");
    assert_int_equal(query_trade_summary(engine, slice_of(""), &hour, &sum, &err), ERR_OK);
    assert_int_equal(sum.count, 0);
    assert_near(sum.avg_price, 0);
    assert_int_equal(engine->scans[1].filter_count, 0);
}

static void
test_trade_summary_leaves_the_sums_to_sql(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, "i:a i:b i:c d:d d:e d:f");
    struct query_trade_summary sum;
    struct err err;

    batch_add_row(rows);
    set(rows, "a", 3);
    set(rows, "b", 2);
    set(rows, "c", 1);
    set(rows, "d", 99.5);
    assert_int_equal(query_trade_summary(engine, slice_of("AAPL"), &hour, &sum, &err), ERR_OK);
    assert_int_equal(sum.count, 3);
    assert_int_equal(sum.buy_count, 2);
    assert_int_equal(sum.sell_count, 1);
    assert_near(sum.total_volume, 99.5);
    assert_near(sum.avg_size, 0); /* NULL */
    assert_int_equal(engine->sql_params, 3);
    assert_non_null(strstr(engine->sql, " FROM trades WHERE \"timestamp\" >= ? AND "
                                        "\"timestamp\" <= ? AND symbol = ?"));
    engine->sql_answer = ERR_TIMEOUT; /* another failure is no reason to try without SQL */
    assert_int_equal(query_trade_summary(engine, slice_of(""), &hour, &sum, &err), ERR_TIMEOUT);
    assert_int_equal(engine->sql_params, 2);
    assert_int_equal(engine->scan_calls, 0);
}

static void
test_latency_percentiles_are_interpolated(void **state)
{
    struct engine *engine = *state;
    struct batch *rows = add_answer(engine, "s:side d:quantity d:price d:latency_ms");
    const struct query_range all = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct query_latency latency;
    struct err err;

    engine->sql_answer = ERR_UNSUPPORTED;
    for (int i = 101; i >= 1; i--) {
        add_trade(rows, "buy", 1, 1, i);
        add_trade(rows, "buy", 1, 1, 0); /* without a latency */
    }
    assert_int_equal(query_latency(engine, &all, &latency, &err), ERR_OK);
    assert_int_equal(latency.count, 101);
    assert_near(latency.p50, 51);
    assert_near(latency.p95, 96);
    assert_near(latency.p99, 100);
    assert_null(strstr(engine->sql, "WHERE \"timestamp\""));

    rows = add_answer(engine, "s:side d:quantity d:price d:latency_ms");
    add_trade(rows, "buy", 1, 1, 10);
    add_trade(rows, "buy", 1, 1, 20);
    assert_int_equal(query_latency(engine, &all, &latency, &err), ERR_OK);
    assert_near(latency.p50, 15);
    add_answer(engine, "s:side");
    assert_int_equal(query_latency(engine, &all, &latency, &err), ERR_OK);
    assert_int_equal(latency.count, 0);
    assert_near(latency.p99, 0);
}

static void
test_candles_are_aggregated_from_candles(void **state)
{
    struct engine *engine = *state;
    struct batch BATCH_AUTO rows;
    struct err err;

    add_answer(engine, "T:timestamp");
    assert_int_equal(
        query_candles(engine, slice_of("AAPL"), 60 * MINUTE_US, &hour, 100, &rows, &err), ERR_OK);
    const struct store_bucket *asked = &engine->buckets[0];
    assert_int_equal(asked->scan.table, TABLE_CANDLES);
    assert_int_equal(asked->scan.limit, 100);
    assert_int_equal(asked->aggregates[0].fn, AGG_FIRST);
    assert_string_equal(asked->aggregates[3].column, "close");
    assert_int_equal(asked->aggregates[3].fn, AGG_LAST);
    assert_int_equal(asked->aggregate_count, 5);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_market_volume_is_growth_of_the_running_total),
        TEST(test_market_totals_may_restart),
        TEST(test_market_asks_for_the_range_and_what_is_before_it),
        TEST(test_market_limit_keeps_the_newest),
        TEST(test_market_spread_is_derived_where_none_was_given),
        TEST(test_market_passes_errors_on_and_leaks_nothing),
        TEST(test_ranges_and_intervals_are_checked),
        TEST(test_range_and_interval_have_names_and_values),
        TEST(test_rows_are_the_newest_of_a_table),
        TEST(test_trades_are_filtered_paged_and_counted),
        TEST(test_trade_that_is_not_there),
        TEST(test_trade_summary_without_sql_reads_rows),
        TEST(test_trade_summary_leaves_the_sums_to_sql),
        TEST(test_latency_percentiles_are_interpolated),
        TEST(test_candles_are_aggregated_from_candles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
