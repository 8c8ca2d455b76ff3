/* Tests of the live state: what rows do to it, and the JSON that comes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "live/live.h"

/* 2026-01-02T03:04:05 UTC, a Friday. */
#define NOW_US INT64_C(1767323045000000)
#define SECOND_US INT64_C(1000000)
#define DAY_US (86400 * SECOND_US)

struct fixture {
    struct clock_manual clock;
    struct live *live;
    struct buf json;
    struct batch batch;
    uint64_t lsn;
};

static void
assert_near(double value, double wanted, double epsilon)
{
    if (!(fabs(value - wanted) <= epsilon)) {
        fail_msg("%.12g is not %.12g", value, wanted);
    }
}

static void
open_with(struct fixture *f, struct live_options options)
{
    live_close(f->live);
    options.clock = &f->clock.clock;
    live_open(&options, &f->live);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_manual_init(&f->clock, NOW_US);
    f->clock.mono_now_us = 12 * SECOND_US + 345678;
    buf_init(&f->json, 0);
    open_with(f, (struct live_options){0});
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    live_close(f->live);
    buf_fini(&f->json);
    free(f);
    return 0;
}

static size_t
column(const struct batch *batch, const char *name)
{
    int index = batch_column_index(batch, slice_of(name));

    assert_true(index >= 0);
    return (size_t)index;
}

static void
begin(struct fixture *f, enum table_id table)
{
    batch_init(&f->batch, catalog_table(table), 1 << 20);
}

static void
put(struct fixture *f, const char *name, double value)
{
    size_t at = column(&f->batch, name);
    size_t row = f->batch.rows - 1;

    if (f->batch.columns[at].type == COL_DOUBLE) {
        batch_set_f64(&f->batch, at, row, value);
    } else if (f->batch.columns[at].type == COL_INT32) {
        batch_set_i32(&f->batch, at, row, (int32_t)value);
    } else {
        batch_set_i64(&f->batch, at, row, (int64_t)value);
    }
}

static void
put_text(struct fixture *f, const char *name, const char *text)
{
    batch_set_text(&f->batch, column(&f->batch, name), f->batch.rows - 1,
                   batch_keep_text(&f->batch, slice_of(text)));
}

static void
add_at(struct fixture *f, int64_t timestamp_us)
{
    batch_add_row(&f->batch);
    batch_set_i64(&f->batch, column(&f->batch, "timestamp"), f->batch.rows - 1, timestamp_us);
}

static void
commit(struct fixture *f)
{
    live_update(f->live, &f->batch, 1, ++f->lsn);
    batch_fini(&f->batch);
}

static void
quote(struct fixture *f, const char *symbol, int64_t timestamp_us, double last)
{
    begin(f, TABLE_MARKET_DATA);
    add_at(f, timestamp_us);
    put_text(f, "symbol", symbol);
    put(f, "last_price", last);
    commit(f);
}

static void
trade(struct fixture *f, const char *id, int64_t timestamp_us, double latency_ms)
{
    begin(f, TABLE_TRADES);
    add_at(f, timestamp_us);
    put_text(f, "trade_id", id);
    put_text(f, "symbol", "AAPL");
    put_text(f, "side", "buy");
    put(f, "quantity", 10);
    put(f, "price", 101.5);
    put(f, "latency_ms", latency_ms);
    commit(f);
}

static const char *
part(struct fixture *f, enum live_topic topic)
{
    buf_reset(&f->json);
    live_part(f->live, topic, &f->json);
    buf_add_char(&f->json, '\0');
    return f->json.ptr;
}

static const char *
snapshot(struct fixture *f, uint32_t mask, bool websocket)
{
    buf_reset(&f->json);
    live_snapshot(f->live, mask, websocket, &f->json);
    buf_add_char(&f->json, '\0');
    return f->json.ptr;
}

static void
assert_has(const char *json, const char *wanted)
{
    if (!strstr(json, wanted)) {
        fail_msg("%s\nis not in\n%s", wanted, json);
    }
}

static void
assert_lacks(const char *json, const char *unwanted)
{
    if (strstr(json, unwanted)) {
        fail_msg("%s\nis in\n%s", unwanted, json);
    }
}

static void
test_live_empty_state_has_every_field(void **state)
{
    assert_string_equal(
        snapshot(*state, LIVE_TOPICS_DEFAULT, false),
        "{\"timestamp\":\"2026-01-02T03:04:05\","
        "\"market_data\":{\"timestamp\":\"2026-01-02T03:04:05\",\"symbols\":{},"
        "\"total_trades\":0,\"total_volume\":0,\"symbols_tracked\":0,\"updated_at\":null},"
        "\"strategy\":{\"timestamp\":\"2026-01-02T03:04:05\",\"strategies\":{},"
        "\"total_pnl\":0.0,\"daily_pnl\":0.0,\"open_positions\":0,\"signals_generated\":0,"
        "\"active_strategies\":0,\"updated_at\":null},"
        "\"execution\":{\"timestamp\":\"2026-01-02T03:04:05\",\"orders_today\":0,"
        "\"fills_today\":0,\"cancelled\":0,\"rejected\":0,\"fill_rate\":0.0,"
        "\"avg_latency_ms\":0.0,\"avg_slippage_bps\":0.0,\"rejection_rate\":0.0,"
        "\"cancellation_rate\":0.0,\"latency_p50_ms\":0.0,\"latency_p95_ms\":0.0,"
        "\"latency_p99_ms\":0.0,\"updated_at\":null},"
        "\"system\":{\"timestamp\":\"2026-01-02T03:04:05\",\"cpu_percent\":0.0,"
        "\"memory_percent\":0.0,\"disk_usage_percent\":0.0,\"uptime\":0.0,"
        "\"health\":\"unknown\",\"active_alerts\":0},"
        "\"trades\":[]}");
}

static void
test_live_websocket_frame_has_both_clocks_and_no_type(void **state)
{
    struct fixture *f = *state;
    const char *json;

    open_with(f, (struct live_options){.demo = true});
    json = snapshot(f, 1U << LIVE_SYSTEM, true);
    assert_string_equal(json, "{\"timestamp\":12.345678,"
                              "\"system\":{\"timestamp\":\"2026-01-02T03:04:05\","
                              "\"cpu_percent\":0.0,\"memory_percent\":0.0,"
                              "\"disk_usage_percent\":0.0,\"uptime\":0.0,"
                              "\"health\":\"unknown\",\"active_alerts\":0},"
                              "\"demo\":true,\"server_time\":1767323045.0}");
    f->clock.wall_now_us += 250000;
    assert_string_equal(snapshot(f, 0, true),
                        "{\"timestamp\":12.345678,\"demo\":true,\"server_time\":1767323045.25}");
}

static void
test_live_market_keeps_the_newest_row_of_a_symbol(void **state)
{
    struct fixture *f = *state;

    begin(f, TABLE_MARKET_DATA);
    add_at(f, NOW_US);
    put_text(f, "symbol", "AAPL");
    put(f, "last_price", 101.25);
    put(f, "bid", 101);
    put(f, "ask", 101.5);
    put(f, "volume", 5000000000.0);
    put(f, "trades", 12);
    add_at(f, NOW_US + 1);
    put_text(f, "symbol", "say \"x\"");
    put(f, "volume", 7);
    put(f, "trades", 3);
    put(f, "spread_bps", 1.5);
    commit(f);
    quote(f, "AAPL", NOW_US - 1, 1); /* late: not shown */
    assert_string_equal(
        part(f, LIVE_MARKET),
        "{\"timestamp\":\"2026-01-02T03:04:05\",\"symbols\":{"
        "\"AAPL\":{\"last_price\":101.25,\"bid\":101.0,\"ask\":101.5,\"volume\":5000000000,"
        "\"trades\":12,\"spread_bps\":49.3827},"
        "\"say \\\"x\\\"\":{\"last_price\":null,\"bid\":null,\"ask\":null,\"volume\":7,"
        "\"trades\":3,\"spread_bps\":1.5}},"
        "\"total_trades\":15,\"total_volume\":5000000007,\"symbols_tracked\":2,"
        "\"updated_at\":\"2026-01-02T03:04:05.000001\"}");
    quote(f, "AAPL", NOW_US, 99); /* same time, later record: replaces */
    assert_has(part(f, LIVE_MARKET), "\"AAPL\":{\"last_price\":99.0,\"bid\":null");
}

static void
test_live_symbols_are_bounded_and_sorted(void **state)
{
    struct fixture *f = *state;
    struct live_stats stats;
    char long_name[300];

    open_with(f, (struct live_options){.symbols_max = 3});
    quote(f, "C", NOW_US, 1);
    quote(f, "A", NOW_US, 2);
    quote(f, "B", NOW_US, 3);
    quote(f, "C", NOW_US + 1, 4);
    quote(f, "D", NOW_US, 5); /* A is the least recently updated */
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    quote(f, long_name, NOW_US, 6);
    buf_reset(&f->json);
    assert_int_equal(live_symbols(f->live, &f->json), 3);
    buf_add_char(&f->json, '\0');
    assert_string_equal(f->json.ptr, "[\"B\",\"C\",\"D\"]");
    live_stats(f->live, &stats);
    assert_int_equal(stats.symbols, 3);
    assert_int_equal(stats.evicted, 1);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.rows, 6);
}

static void
test_live_strategies_are_totalled(void **state)
{
    struct fixture *f = *state;

    begin(f, TABLE_STRATEGY_METRICS);
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"momentum", "pairs", "idle"};
        add_at(f, NOW_US - i);
        put_text(f, "strategy_name", names[i]);
        put(f, "pnl", 0.1 * (i + 1)); /* 0.1 + 0.2 is not 0.3 in binary */
        put(f, "daily_pnl", -1);
        put(f, "positions", i);
        put(f, "signals", 10);
        put(f, "win_rate", 0.5);
    }
    commit(f);
    const char *json = part(f, LIVE_STRATEGY);
    assert_has(json, "\"momentum\":{\"pnl\":0.1,\"daily_pnl\":-1.0,\"positions\":0,"
                     "\"signals\":10,\"win_rate\":0.5}");
    assert_has(json, "\"total_pnl\":0.6,\"daily_pnl\":-3.0,\"open_positions\":3,"
                     "\"signals_generated\":30,\"active_strategies\":3,"
                     "\"updated_at\":\"2026-01-02T03:04:05\"}");
}

static void
test_live_execution_shows_the_newest_running_totals(void **state)
{
    struct fixture *f = *state;

    trade(f, "t1", NOW_US, 20);
    begin(f, TABLE_EXECUTION_METRICS);
    add_at(f, NOW_US);
    put(f, "orders_submitted", 200);
    put(f, "orders_filled", 150);
    put(f, "orders_cancelled", 30);
    put(f, "orders_rejected", 20);
    put(f, "fill_rate", 0);
    put(f, "avg_slippage_bps", 0.4);
    add_at(f, NOW_US - 1);
    put(f, "orders_submitted", 999);
    commit(f);
    const char *json = part(f, LIVE_EXECUTION);
    assert_has(json, "\"orders_today\":200,\"fills_today\":150,\"cancelled\":30,\"rejected\":20,"
                     "\"fill_rate\":0.75,\"avg_latency_ms\":20.0,\"avg_slippage_bps\":0.4,"
                     "\"rejection_rate\":0.1,\"cancellation_rate\":0.15,");
    buf_reset(&f->json);
    live_execution_quality(f->live, &f->json);
    buf_add_char(&f->json, '\0');
    assert_has(f->json.ptr, "{\"fill_rate\":0.75,\"avg_latency_ms\":20.0,"
                            "\"avg_slippage_bps\":0.4,\"rejection_rate\":0.1,"
                            "\"cancellation_rate\":0.15,\"latency_p50_ms\":");
}

static double
number_at(const char *json, const char *key)
{
    const char *at = strstr(json, key);

    assert_non_null(at);
    return strtod(at + strlen(key), NULL);
}

static void
test_live_latency_percentiles_come_from_todays_trades(void **state)
{
    struct fixture *f = *state;
    char id[16];

    for (int i = 1; i <= 1500; i++) { /* more than the ring keeps */
        snprintf(id, sizeof(id), "t%d", i);
        trade(f, id, NOW_US + i, (i % 100 + 1));
    }
    trade(f, "yesterday", NOW_US - DAY_US, 5000);
    const char *json = part(f, LIVE_EXECUTION);
    assert_has(json, "\"orders_today\":1500,\"fills_today\":1500,");
    assert_has(json, "\"fill_rate\":1.0,\"avg_latency_ms\":50.5,");
    assert_near(number_at(json, "\"latency_p50_ms\":"), 50, 2);
    assert_near(number_at(json, "\"latency_p95_ms\":"), 95, 3.5);
    assert_near(number_at(json, "\"latency_p99_ms\":"), 99, 3.5);

    clock_manual_advance(&f->clock, DAY_US);
    json = part(f, LIVE_EXECUTION);
    assert_has(json, "\"orders_today\":0,\"fills_today\":0,");
    assert_has(json, "\"latency_p99_ms\":0.0");
}

static void
test_live_trades_are_newest_first_and_replaced_in_place(void **state)
{
    struct fixture *f = *state;

    trade(f, "b", NOW_US + 20, 4);
    trade(f, "a", NOW_US + 10, 8);
    trade(f, "c", NOW_US + 30, NAN);
    assert_string_equal(
        part(f, LIVE_TRADES),
        "[{\"trade_id\":\"c\",\"symbol\":\"AAPL\",\"side\":\"buy\",\"quantity\":10,"
        "\"price\":101.5,\"timestamp\":\"2026-01-02T03:04:05.000030\",\"latency_ms\":null,"
        "\"slippage_bps\":null,\"pnl\":null,\"strategy\":null,\"order_id\":null},"
        "{\"trade_id\":\"b\",\"symbol\":\"AAPL\",\"side\":\"buy\",\"quantity\":10,"
        "\"price\":101.5,\"timestamp\":\"2026-01-02T03:04:05.000020\",\"latency_ms\":4.0,"
        "\"slippage_bps\":null,\"pnl\":null,\"strategy\":null,\"order_id\":null},"
        "{\"trade_id\":\"a\",\"symbol\":\"AAPL\",\"side\":\"buy\",\"quantity\":10,"
        "\"price\":101.5,\"timestamp\":\"2026-01-02T03:04:05.000010\",\"latency_ms\":8.0,"
        "\"slippage_bps\":null,\"pnl\":null,\"strategy\":null,\"order_id\":null}]");

    begin(f, TABLE_TRADES);
    add_at(f, NOW_US + 25);
    put_text(f, "trade_id", "a");
    put_text(f, "symbol", "MSFT");
    put_text(f, "side", "sell");
    put(f, "quantity", 0.5);
    put(f, "price", 99);
    put(f, "latency_ms", 6);
    put_text(f, "strategy", "pairs");
    commit(f);
    assert_has(part(f, LIVE_TRADES),
               "{\"trade_id\":\"a\",\"symbol\":\"MSFT\",\"side\":\"sell\",\"quantity\":0.5,"
               "\"price\":99.0,\"timestamp\":\"2026-01-02T03:04:05.000025\",\"latency_ms\":6.0,"
               "\"slippage_bps\":null,\"pnl\":null,\"strategy\":\"pairs\",\"order_id\":null},"
               "{\"trade_id\":\"b\"");
    /* Three trades, latencies 4 and 6: the replaced one counts once. */
    assert_has(part(f, LIVE_EXECUTION), "\"fills_today\":3,");
    assert_has(part(f, LIVE_EXECUTION), "\"avg_latency_ms\":5.0,");
}

static void
test_live_trades_keep_the_newest_by_time_only(void **state)
{
    struct fixture *f = *state;
    struct live_stats stats;

    open_with(f, (struct live_options){.trades_max = 3});
    trade(f, "t5", NOW_US + 5, 1);
    trade(f, "t2", NOW_US + 2, 1);
    trade(f, "t4", NOW_US + 4, 1);
    trade(f, "t1", NOW_US + 1, 1); /* older than all, no room */
    trade(f, "t3", NOW_US + 3, 1); /* t2 goes */
    const char *json = part(f, LIVE_TRADES);
    assert_lacks(json, "\"t1\"");
    assert_lacks(json, "\"t2\"");
    assert_true(strstr(json, "\"t5\"") < strstr(json, "\"t4\""));
    assert_true(strstr(json, "\"t4\"") < strstr(json, "\"t3\""));
    live_stats(f->live, &stats);
    assert_int_equal(stats.trades, 3);
}

static void
test_live_trade_from_tomorrow_does_not_upset_the_day(void **state)
{
    struct fixture *f = *state;

    trade(f, "t", NOW_US + DAY_US, 3);
    assert_has(part(f, LIVE_EXECUTION), "\"fills_today\":0,");
    clock_manual_advance(&f->clock, DAY_US);
    trade(f, "t", NOW_US + DAY_US, 4);
    assert_has(part(f, LIVE_EXECUTION), "\"fills_today\":1,");
    trade(f, "t", NOW_US + DAY_US, 5);
    assert_has(part(f, LIVE_EXECUTION), "\"fills_today\":1,");
    assert_has(part(f, LIVE_EXECUTION), "\"avg_latency_ms\":5.0,");
}

static int
count_of(const char *text, const char *word)
{
    int seen = 0;

    for (const char *at = text; (at = strstr(at, word)); at++) {
        seen++;
    }
    return seen;
}

static void
test_live_snapshot_carries_fifty_trades_and_a_frame_ten(void **state)
{
    struct fixture *f = *state;
    struct buf json;
    char id[16];

    for (int i = 0; i < 60; i++) {
        snprintf(id, sizeof(id), "t%d", i);
        trade(f, id, NOW_US + i, 1);
    }
    assert_int_equal(count_of(part(f, LIVE_TRADES), "trade_id"), LIVE_SNAPSHOT_TRADES);
    buf_init(&json, 0);
    live_snapshot(f->live, 1U << LIVE_TRADES, true, &json);
    buf_add_char(&json, '\0');
    assert_int_equal(count_of(json.ptr, "trade_id"), LIVE_FRAME_TRADES);
    assert_non_null(strstr(json.ptr, "\"t59\""));
    buf_fini(&json);
}

static void
system_row(struct fixture *f, int64_t timestamp_us, double cpu)
{
    begin(f, TABLE_SYSTEM_METRICS);
    add_at(f, timestamp_us);
    put(f, "cpu_percent", cpu);
    put(f, "memory_percent", 40.126);
    put(f, "disk_usage_percent", 50);
    put(f, "uptime_seconds", 99.5);
    put_text(f, "health_status", "healthy");
    put(f, "active_alerts", 2);
    commit(f);
}

static void
test_live_system_prefers_the_collector_to_rows(void **state)
{
    struct fixture *f = *state;
    struct live_system system;

    assert_false(live_system(f->live, &system));
    system_row(f, NOW_US, 12.346);
    assert_string_equal(part(f, LIVE_SYSTEM),
                        "{\"timestamp\":\"2026-01-02T03:04:05\",\"cpu_percent\":12.35,"
                        "\"memory_percent\":40.13,\"disk_usage_percent\":50.0,\"uptime\":99.5,"
                        "\"health\":\"healthy\",\"active_alerts\":2}");
    live_set_system(f->live, &(struct live_system){.timestamp_us = NOW_US + 5,
                                                   .cpu_percent = 77,
                                                   .health = "degraded",
                                                   .cpu_cores = 2,
                                                   .load1 = 0.5,
                                                   .memory_used_bytes = 10});
    system_row(f, NOW_US + SECOND_US, 1);
    assert_true(live_system(f->live, &system));
    assert_true(system.cpu_percent == 77);
    assert_has(part(f, LIVE_SYSTEM), "\"cpu_cores\":2.0,\"load1\":0.5,");
    assert_has(part(f, LIVE_SYSTEM), "\"memory_used_bytes\":10}");
    clock_manual_advance(&f->clock, 3 * SECOND_US); /* the collector has stopped */
    system_row(f, NOW_US + 3 * SECOND_US, 2);
    assert_true(live_system(f->live, &system));
    assert_true(system.cpu_percent == 2);
    system_row(f, NOW_US, 3); /* late */
    assert_true(live_system(f->live, &system));
    assert_true(system.cpu_percent == 2);
}

static void
test_live_summary_has_the_four_groups(void **state)
{
    struct fixture *f = *state;

    quote(f, "AAPL", NOW_US, 10);
    trade(f, "t", NOW_US, 7);
    system_row(f, NOW_US, 5);
    buf_reset(&f->json);
    live_summary(f->live, &f->json);
    buf_add_char(&f->json, '\0');
    assert_string_equal(f->json.ptr,
                        "{\"timestamp\":\"2026-01-02T03:04:05\","
                        "\"market\":{\"symbols_tracked\":1,\"total_trades\":0,"
                        "\"total_volume\":0},"
                        "\"strategy\":{\"active_strategies\":0,\"total_pnl\":0.0,"
                        "\"daily_pnl\":0.0,\"open_positions\":0},"
                        "\"execution\":{\"orders_today\":1,\"fills_today\":1,\"fill_rate\":1.0,"
                        "\"avg_latency_ms\":7.0},"
                        "\"system\":{\"cpu_usage\":5.0,\"memory_usage\":40.13,"
                        "\"uptime_seconds\":99.5,\"health_status\":\"healthy\"}}");
}

static void
test_live_freshness_is_by_arrival(void **state)
{
    struct fixture *f = *state;

    assert_false(live_is_fresh(f->live, LIVE_MARKET, INT64_MAX));
    quote(f, "AAPL", 0, 1); /* an old row that comes now is fresh data */
    assert_true(live_is_fresh(f->live, LIVE_MARKET, SECOND_US));
    assert_false(live_is_fresh(f->live, LIVE_TRADES, SECOND_US));
    clock_manual_advance(&f->clock, SECOND_US);
    assert_true(live_is_fresh(f->live, LIVE_MARKET, SECOND_US));
    clock_manual_advance(&f->clock, 1);
    assert_false(live_is_fresh(f->live, LIVE_MARKET, SECOND_US));
}

static void
test_live_load_does_not_replace_what_came_live(void **state)
{
    struct fixture *f = *state;

    quote(f, "LIVE", NOW_US, 5);
    clock_manual_advance(&f->clock, SECOND_US);

    begin(f, TABLE_MARKET_DATA);
    add_at(f, NOW_US);
    put_text(f, "symbol", "LIVE");
    put(f, "last_price", 1);
    add_at(f, NOW_US);
    put_text(f, "symbol", "STORED");
    put(f, "last_price", 2);
    live_load(f->live, TABLE_MARKET_DATA, &f->batch);
    batch_fini(&f->batch);
    assert_has(part(f, LIVE_MARKET), "\"LIVE\":{\"last_price\":5.0");
    assert_has(part(f, LIVE_MARKET), "\"STORED\":{\"last_price\":2.0");
    assert_false(live_is_fresh(f->live, LIVE_MARKET, SECOND_US - 1));
}

struct race {
    struct live *live;
    int64_t from;
};

static void *
race_main(void *ctx)
{
    const struct race *race = ctx;
    struct buf json;

    buf_init(&json, 0);
    for (int i = 0; i < 200; i++) {
        buf_reset(&json);
        live_snapshot(race->live, UINT32_MAX, true, &json);
        live_symbols(race->live, &json);
        live_alert_set(race->live, "race", i % 2 == 0, "warning", "x");
        live_set_system(race->live, &(struct live_system){.timestamp_us = i});
    }
    buf_fini(&json);
    return NULL;
}

static void
test_live_readers_and_the_writer_do_not_race(void **state)
{
    struct fixture *f = *state;
    struct race race = {f->live, 0};
    pthread_t threads[2];
    char name[16];

    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race_main, &race), 0);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        quote(f, name, NOW_US + i, i);
        trade(f, name, NOW_US + i, i);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_has(part(f, LIVE_MARKET), "\"symbols_tracked\":300,");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_live_empty_state_has_every_field),
        TEST(test_live_websocket_frame_has_both_clocks_and_no_type),
        TEST(test_live_market_keeps_the_newest_row_of_a_symbol),
        TEST(test_live_symbols_are_bounded_and_sorted),
        TEST(test_live_strategies_are_totalled),
        TEST(test_live_execution_shows_the_newest_running_totals),
        TEST(test_live_latency_percentiles_come_from_todays_trades),
        TEST(test_live_trades_are_newest_first_and_replaced_in_place),
        TEST(test_live_trades_keep_the_newest_by_time_only),
        TEST(test_live_trade_from_tomorrow_does_not_upset_the_day),
        TEST(test_live_snapshot_carries_fifty_trades_and_a_frame_ten),
        TEST(test_live_system_prefers_the_collector_to_rows),
        TEST(test_live_summary_has_the_four_groups),
        TEST(test_live_freshness_is_by_arrival),
        TEST(test_live_load_does_not_replace_what_came_live),
        TEST(test_live_readers_and_the_writer_do_not_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
