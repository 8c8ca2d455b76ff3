/*
 * The made-up desk behind --demo, as a function of seed and time, without clock or thread.
 *
 * Prices are sums of value noise over periods from half a second to four days, each with the
 * amplitude that Brownian motion has over it; so a price needs no memory, and a restart goes on
 * where the clock is. Volumes and numbers of trades are running totals since midnight UTC.
 *
 * Orders arrive by a Poisson process in ticks of 100 ms. Most are filled and become trades; profit
 * and loss of a strategy is that of its trades, marked at last prices. Positions begin flat at the
 * midnight before the start and are found again by running through the day's ticks.
 *
 * Memory: the caller's, init only. One thread at a time.
 */
#ifndef EIDER_COLLECT_DEMO_GEN_H
#define EIDER_COLLECT_DEMO_GEN_H

#include <stdint.h>

#include "catalog/batch.h"

enum { DEMO_SYMBOLS = 8, DEMO_STRATEGIES = 3, DEMO_TICK_US = 100000 };

struct demo_quote {
    double last, bid, ask;
    double spread_bps;
    int64_t volume, trades;
};

struct demo_position {
    int64_t quantity; /* below 0: short */
    double average_price;
};

struct demo_desk {
    struct demo_position positions[DEMO_SYMBOLS];
    double realised;
    double pnl_at_midnight;
    int64_t signals; /* today */
    int64_t closed, won;
};

struct demo_orders {
    int64_t submitted, filled, cancelled, rejected; /* today */
    double latency_sum_ms, slippage_sum_bps;
};

struct demo_gen {
    uint64_t seed;
    int64_t tick; /* the last one that was run: unix time / DEMO_TICK_US */
    int64_t day;
    struct demo_desk desks[DEMO_STRATEGIES];
    struct demo_orders orders;
};

/* A desk in the state of the last whole tick before `now_us`. Runs through the day so far (some
 * 10 ms). */
void demo_gen_init(struct demo_gen *gen, uint64_t seed, int64_t now_us);

/* Runs the ticks up to and with the one that ends at or before `to_us`; appends their trades
 * (NULL: nobody wants them). Texts are kept by the batch. */
void demo_gen_advance(struct demo_gen *gen, int64_t to_us, struct batch *ret_trades);

/* What one symbol is quoted at. */
void demo_gen_quote(const struct demo_gen *gen, int symbol, int64_t at_us,
                    struct demo_quote *ret_quote);

/* One row a symbol, one a strategy, and one, for the moment `at_us`. */
void demo_gen_market(const struct demo_gen *gen, int64_t at_us, struct batch *ret_rows);
void demo_gen_strategies(const struct demo_gen *gen, int64_t at_us, struct batch *ret_rows);
void demo_gen_execution(const struct demo_gen *gen, int64_t at_us, struct batch *ret_rows);

#endif
