/* Tests of the generator: labels, determinism, and that its figures fit together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "collect/demo_gen.h"

/* 2026-01-02T00:00:00 UTC. */
#define MIDNIGHT_US INT64_C(1767312000000000)
#define SECOND_US INT64_C(1000000)
#define HOUR_US (3600 * SECOND_US)

enum { MARKET_SYMBOL = 1, TEXT_BYTES = 8 << 20 };

static void
assert_near(double value, double wanted, double epsilon)
{
    if (!(fabs(value - wanted) <= epsilon)) {
        fail_msg("%.12g is not %.12g", value, wanted);
    }
}

static double
number(const struct batch *batch, const char *name, size_t row)
{
    int at = batch_column_index(batch, slice_of(name));

    assert_true(at >= 0);
    return batch_get_f64(batch, (size_t)at, row);
}

static struct slice
text(const struct batch *batch, const char *name, size_t row)
{
    int at = batch_column_index(batch, slice_of(name));

    assert_true(at >= 0);
    return batch_get_text(batch, (size_t)at, row);
}

static void
rows_init(struct batch *batch, enum table_id table)
{
    batch_init(batch, catalog_table(table), TEXT_BYTES);
}

static void
test_demo_rows_are_labelled(void **state)
{
    struct demo_gen gen;
    struct batch BATCH_AUTO market;
    struct batch BATCH_AUTO strategies;
    struct batch BATCH_AUTO trades;

    (void)state;
    rows_init(&market, TABLE_MARKET_DATA);
    rows_init(&strategies, TABLE_STRATEGY_METRICS);
    rows_init(&trades, TABLE_TRADES);
    demo_gen_init(&gen, 1, MIDNIGHT_US);
    demo_gen_advance(&gen, MIDNIGHT_US + HOUR_US / 10, &trades);
    demo_gen_market(&gen, MIDNIGHT_US, &market);
    demo_gen_strategies(&gen, MIDNIGHT_US, &strategies);
    assert_int_equal(market.rows, DEMO_SYMBOLS);
    assert_int_equal(strategies.rows, DEMO_STRATEGIES);
    assert_true(trades.rows > 0);
    for (size_t i = 0; i < market.rows; i++) {
        assert_true(slice_starts(text(&market, "symbol", i), "DEMO:"));
    }
    for (size_t i = 0; i < strategies.rows; i++) {
        assert_true(slice_starts(text(&strategies, "strategy_name", i), "demo-"));
    }
    for (size_t i = 0; i < trades.rows; i++) {
        assert_true(slice_starts(text(&trades, "trade_id", i), "demo-"));
        assert_true(slice_starts(text(&trades, "symbol", i), "DEMO:"));
        assert_true(slice_starts(text(&trades, "strategy", i), "demo-"));
    }
}

static void
test_demo_is_a_function_of_seed_and_time(void **state)
{
    struct demo_gen straight, late, other;
    struct batch BATCH_AUTO a;
    struct batch BATCH_AUTO b;
    struct demo_quote quote, other_quote;

    (void)state;
    rows_init(&a, TABLE_STRATEGY_METRICS);
    rows_init(&b, TABLE_STRATEGY_METRICS);
    demo_gen_init(&straight, 7, MIDNIGHT_US + SECOND_US);
    for (int64_t at = MIDNIGHT_US; at < MIDNIGHT_US + HOUR_US; at += 37 * SECOND_US) {
        demo_gen_advance(&straight, at, NULL);
    }
    demo_gen_advance(&straight, MIDNIGHT_US + HOUR_US, NULL);
    demo_gen_init(&late, 7, MIDNIGHT_US + HOUR_US); /* started an hour later */
    demo_gen_strategies(&straight, MIDNIGHT_US + HOUR_US, &a);
    demo_gen_strategies(&late, MIDNIGHT_US + HOUR_US, &b);
    for (size_t i = 0; i < a.rows; i++) {
        assert_true(number(&a, "pnl", i) == number(&b, "pnl", i));
        assert_true(number(&a, "pnl", i) != 0);
        assert_true(number(&a, "signals", i) == number(&b, "signals", i));
    }
    demo_gen_init(&other, 8, MIDNIGHT_US + HOUR_US);
    demo_gen_quote(&late, 0, MIDNIGHT_US, &quote);
    demo_gen_quote(&other, 0, MIDNIGHT_US, &other_quote);
    assert_true(quote.last != other_quote.last);
}

static void
test_demo_quotes_are_plausible(void **state)
{
    struct demo_gen gen;
    struct demo_quote before, now;
    int moved = 0;

    (void)state;
    demo_gen_init(&gen, 1, MIDNIGHT_US);
    for (int symbol = 0; symbol < DEMO_SYMBOLS; symbol++) {
        demo_gen_quote(&gen, symbol, MIDNIGHT_US, &before);
        assert_true(before.volume == 0);
        double first = before.last;
        for (int i = 1; i <= 20000; i++) {
            demo_gen_quote(&gen, symbol, MIDNIGHT_US + i * INT64_C(4300000), &now);
            if (i > 20000 - 10) { /* the day ends at 20 093 steps */
                assert_true(now.volume > 0 && now.trades > 0);
            }
            assert_true(now.bid < now.last && now.last < now.ask);
            assert_near(now.spread_bps, (now.ask - now.bid) / now.last * 1e4, 1e-3);
            assert_true(now.volume >= before.volume && now.trades >= before.trades);
            assert_true(fabs(now.last / before.last - 1) < 0.005);
            assert_true(fabs(now.last / first - 1) < 0.4);
            moved += now.last != before.last;
            before = now;
        }
    }
    assert_true(moved > DEMO_SYMBOLS * 20000 / 2);
    demo_gen_quote(&gen, 0, MIDNIGHT_US + 24 * HOUR_US, &now);
    assert_int_equal(now.volume, 0); /* running totals of the day */
}

/* Index of a demo symbol in a batch of market rows. */
static size_t
find_symbol(const struct batch *market, struct slice symbol)
{
    for (size_t i = 0; i < market->rows; i++) {
        if (slice_eq(batch_get_text(market, MARKET_SYMBOL, i), symbol)) {
            return i;
        }
    }
    fail_msg("no quote of %.*s", SLICE_FMT(symbol));
    return 0;
}

static void
test_demo_profit_is_that_of_its_trades(void **state)
{
    struct demo_gen gen;
    struct batch BATCH_AUTO trades;
    struct batch BATCH_AUTO market;
    struct batch BATCH_AUTO strategies;
    struct batch BATCH_AUTO execution;
    int64_t end_us = MIDNIGHT_US + 2 * HOUR_US;
    double latency = 0;

    (void)state;
    rows_init(&trades, TABLE_TRADES);
    rows_init(&market, TABLE_MARKET_DATA);
    rows_init(&strategies, TABLE_STRATEGY_METRICS);
    rows_init(&execution, TABLE_EXECUTION_METRICS);
    demo_gen_init(&gen, 3, MIDNIGHT_US);
    demo_gen_advance(&gen, end_us, &trades);
    demo_gen_market(&gen, end_us, &market);
    demo_gen_strategies(&gen, end_us, &strategies);
    demo_gen_execution(&gen, end_us, &execution);
    for (size_t s = 0; s < strategies.rows; s++) {
        double pnl = 0;
        for (size_t i = 0; i < trades.rows; i++) {
            if (!slice_eq(text(&trades, "strategy", i), text(&strategies, "strategy_name", s))) {
                continue;
            }
            double sign = slice_is(text(&trades, "side", i), "buy") ? 1 : -1;
            double mark =
                number(&market, "last_price", find_symbol(&market, text(&trades, "symbol", i)));
            pnl += sign * number(&trades, "quantity", i) * (mark - number(&trades, "price", i));
        }
        assert_near(number(&strategies, "pnl", s), pnl, 0.011);
        assert_true(number(&strategies, "daily_pnl", s) == number(&strategies, "pnl", s));
        assert_true(number(&strategies, "win_rate", s) > 0.2);
        assert_true(number(&strategies, "win_rate", s) < 0.9);
        assert_true(number(&strategies, "positions", s) > 0);
    }
    double filled = number(&execution, "orders_filled", 0);
    assert_true(filled == (double)trades.rows);
    assert_true(number(&execution, "orders_submitted", 0) ==
                filled + number(&execution, "orders_cancelled", 0) +
                    number(&execution, "orders_rejected", 0));
    assert_near(number(&execution, "fill_rate", 0), 0.94, 0.02);
    for (size_t i = 0; i < trades.rows; i++) {
        assert_true(number(&trades, "latency_ms", i) > 0);
        latency += number(&trades, "latency_ms", i);
    }
    assert_near(number(&execution, "avg_latency_ms", 0), latency / (double)trades.rows, 0.001);
    /* 1.25 signals a second, 0.8 of them orders, 0.94 of those filled, for two hours */
    assert_true(trades.rows > 6300 && trades.rows < 7300);
}

static void
test_demo_trades_are_in_order_with_ids_of_their_own(void **state)
{
    struct demo_gen gen;
    struct batch BATCH_AUTO trades;

    (void)state;
    rows_init(&trades, TABLE_TRADES);
    demo_gen_init(&gen, 5, MIDNIGHT_US + HOUR_US);
    demo_gen_advance(&gen, MIDNIGHT_US + 2 * HOUR_US, &trades);
    for (size_t i = 1; i < trades.rows; i++) {
        assert_true(number(&trades, "timestamp", i - 1) <= number(&trades, "timestamp", i));
        assert_false(slice_eq(text(&trades, "trade_id", i - 1), text(&trades, "trade_id", i)));
    }
    assert_true(number(&trades, "timestamp", 0) >= (double)(MIDNIGHT_US + HOUR_US));
    assert_true(number(&trades, "timestamp", trades.rows - 1) <
                (double)(MIDNIGHT_US + 2 * HOUR_US));
    assert_false(trades.arena.overflow);
}

static void
test_demo_day_begins_anew_at_midnight(void **state)
{
    struct demo_gen gen;
    struct batch BATCH_AUTO strategies;
    struct batch BATCH_AUTO execution;
    int64_t next_us = MIDNIGHT_US + 24 * HOUR_US;

    (void)state;
    rows_init(&strategies, TABLE_STRATEGY_METRICS);
    rows_init(&execution, TABLE_EXECUTION_METRICS);
    demo_gen_init(&gen, 1, next_us - SECOND_US);
    demo_gen_advance(&gen, next_us + DEMO_TICK_US, NULL);
    demo_gen_strategies(&gen, next_us, &strategies);
    demo_gen_execution(&gen, next_us, &execution);
    assert_true(number(&execution, "orders_submitted", 0) < 10);
    for (size_t i = 0; i < strategies.rows; i++) {
        assert_true(fabs(number(&strategies, "daily_pnl", i)) <
                    fabs(number(&strategies, "pnl", i)));
        assert_true(number(&strategies, "signals", i) < 10);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demo_rows_are_labelled),
        cmocka_unit_test(test_demo_is_a_function_of_seed_and_time),
        cmocka_unit_test(test_demo_quotes_are_plausible),
        cmocka_unit_test(test_demo_profit_is_that_of_its_trades),
        cmocka_unit_test(test_demo_trades_are_in_order_with_ids_of_their_own),
        cmocka_unit_test(test_demo_day_begins_anew_at_midnight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
