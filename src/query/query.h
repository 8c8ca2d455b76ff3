/*
 * Questions about history, asked of the engine's store through its vtable, so that every store can
 * answer them. Answers are batches; the caller turns them into JSON or CSV. *ret_rows is
 * initialised on success only, then the caller's to end.
 *
 * Threads: any but event loops (the calls block for as long as the store's timeout).
 */
#ifndef EIDER_QUERY_QUERY_H
#define EIDER_QUERY_QUERY_H

#include "base/err.h"
#include "base/slice.h"
#include "catalog/batch.h"
#include "store/engine.h"

/* "HOUR_1" or "1h", "HOURS_24" or "24h", "DAYS_7" or "7d", "DAYS_30" or "30d". */
enum err_code query_parse_range(struct slice text, int64_t *ret_width_us, struct err *err);

/* "MINUTE_1" or "1m", "MINUTE_5" or "5m", "MINUTE_15" or "15m", "HOUR_1" or "1h", "DAY_1" or "1d".
 */
enum err_code query_parse_interval(struct slice text, int64_t *ret_width_us, struct err *err);

struct query_range {
    int64_t from_us;
    int64_t to_us;               /* inclusive */
    struct store_cancel *cancel; /* gives the question up; NULL: nobody does */
};

/*
 * Market data in buckets: timestamp, symbol, avg_price, high, low, total_volume, total_trades,
 * avg_spread; newest bucket first, then by symbol. limit 0: all, of at most 500 000 buckets.
 *
 * total_volume and total_trades are what was traded within the bucket: the growth of the running
 * totals since the last row before it, looked for up to a bucket's width (and at least 5 minutes)
 * before the range; without such a row, since the bucket's first row. A total that fell has
 * restarted at 0: then it is what it had grown to before, as far as rows tell, and what it is now.
 * avg_spread is the mean of spread_bps, or that of mean bid, ask and price where no row has one.
 */
enum err_code query_market_history(struct engine *engine, const struct query_range *range,
                                   int64_t bucket_us, const struct slice *symbols,
                                   size_t symbol_count, uint64_t limit, struct batch *ret_rows,
                                   struct err *err);

/* Raw rows of strategy_metrics, execution_metrics or system_metrics (or any table with a time),
 * newest first. limit 0: all. */
enum err_code query_rows(struct engine *engine, enum table_id table,
                         const struct query_range *range, uint64_t limit, struct batch *ret_rows,
                         struct err *err);

struct query_trades {
    struct slice symbol; /* empty: any */
    struct slice side;   /* empty: any; in any case of letters: as given, "buy" and "BUY" */
    struct query_range range;
    uint64_t limit;
    uint64_t offset;
};

/* Trades newest first, and how many there are in all. */
enum err_code query_trades(struct engine *engine, const struct query_trades *query,
                           struct batch *ret_rows, uint64_t *ret_total, struct err *err);

/* ERR_NOT_FOUND "Trade not found". */
enum err_code query_trade(struct engine *engine, struct slice trade_id, struct batch *ret_rows,
                          struct err *err);

struct query_trade_summary {
    uint64_t count, buy_count, sell_count;
    double total_volume; /* sum of quantity * price */
    double avg_price, avg_size;
};
/* Of all trades in the range; from a store without SQL of the newest million. */
enum err_code query_trade_summary(struct engine *engine, struct slice symbol,
                                  const struct query_range *range,
                                  struct query_trade_summary *ret_summary, struct err *err);

/* Latency percentiles of the trades in a range, in ms (interpolated between neighbours), 0 without
 * trades; from a store without SQL of the newest million. */
struct query_latency {
    double p50, p95, p99;
    uint64_t count;
};
enum err_code query_latency(struct engine *engine, const struct query_range *range,
                            struct query_latency *ret_latency, struct err *err);

/* Candles of a symbol in buckets: timestamp, open first, high max, low min, close last, volume sum;
 * newest first. limit 0: all. */
enum err_code query_candles(struct engine *engine, struct slice symbol, int64_t bucket_us,
                            const struct query_range *range, uint64_t limit, struct batch *ret_rows,
                            struct err *err);

#endif
