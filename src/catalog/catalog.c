/* The catalogue's tables and how they are found. See docs/compatibility.md for where columns,
 * keys and defaults come from. Column numbers stand in WAL records: add at the end only. */
#include "catalog/catalog.h"

#include <assert.h>

#include "catalog/catalog_internal.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

static const struct catalog_column market_data_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the row was true, UTC."},
    {.name = "symbol",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Instrument, e.g. AAPL or BTC-USD."},
    {.name = "last_price",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .help = "Price of the last trade."},
    {.name = "bid", .type = COL_DOUBLE, .missing = MISSING_NULL, .help = "Best bid."},
    {.name = "ask", .type = COL_DOUBLE, .missing = MISSING_NULL, .help = "Best ask."},
    {.name = "volume",
     .type = COL_INT64,
     .missing = MISSING_ZERO,
     .help = "Traded quantity so far, a running total."},
    {.name = "trades",
     .type = COL_INT32,
     .missing = MISSING_ZERO,
     .help = "Number of trades so far, a running total."},
    {.name = "spread_bps",
     .type = COL_DOUBLE,
     .missing = MISSING_ZERO,
     .unit = "bps",
     .help = "(ask - bid) / last price in basis points."},
};

static const struct catalog_column strategy_metrics_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the row was true, UTC."},
    {.name = "strategy_name",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Name of the strategy."},
    {.name = "pnl",
     .type = COL_DOUBLE,
     .missing = MISSING_ZERO,
     .help = "Profit and loss since the start."},
    {.name = "daily_pnl",
     .type = COL_DOUBLE,
     .missing = MISSING_ZERO,
     .help = "Profit and loss of the day."},
    {.name = "positions", .type = COL_INT32, .missing = MISSING_ZERO, .help = "Open positions."},
    {.name = "signals",
     .type = COL_INT32,
     .missing = MISSING_ZERO,
     .help = "Signals given so far."},
    {.name = "win_rate",
     .type = COL_DOUBLE,
     .missing = MISSING_ZERO,
     .help = "Share of trades that won."},
};

static const struct catalog_column execution_metrics_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the row was true, UTC."},
    {.name = "orders_submitted",
     .type = COL_INT32,
     .missing = MISSING_ZERO,
     .help = "Orders sent."},
    {.name = "orders_filled", .type = COL_INT32, .missing = MISSING_ZERO, .help = "Orders filled."},
    {.name = "orders_cancelled",
     .type = COL_INT32,
     .missing = MISSING_ZERO,
     .help = "Orders cancelled."},
    {.name = "orders_rejected",
     .type = COL_INT32,
     .missing = MISSING_ZERO,
     .help = "Orders rejected."},
    {.name = "fill_rate",
     .type = COL_DOUBLE,
     .missing = MISSING_ZERO,
     .help = "Filled by submitted orders, 0 to 1."},
    {.name = "avg_latency_ms",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "ms",
     .help = "Mean time from order to fill."},
    {.name = "avg_slippage_bps",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "bps",
     .help = "Mean slippage in basis points."},
};

static const struct catalog_column system_metrics_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the row was true, UTC."},
    {.name = "cpu_percent",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "percent",
     .help = "Processor use."},
    {.name = "memory_percent",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "percent",
     .help = "Memory use."},
    {.name = "disk_usage_percent",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "percent",
     .help = "Use of the data disk."},
    {.name = "uptime_seconds",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "s",
     .help = "Time since the start."},
    {.name = "health_status",
     .type = COL_TEXT,
     .missing = MISSING_TEXT,
     .default_text = "unknown",
     .help = "healthy, degraded, unhealthy or unknown."},
    {.name = "active_alerts",
     .type = COL_INT32,
     .missing = MISSING_ZERO,
     .help = "Alerts that are on."},
};

static const struct catalog_column trades_columns[] = {
    {.name = "trade_id",
     .type = COL_TEXT,
     .missing = MISSING_UUID,
     .help = "Identifier; a new UUID when absent."},
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the row was true, UTC."},
    {.name = "symbol", .type = COL_TEXT, .missing = MISSING_REFUSE, .help = "Instrument."},
    {.name = "side",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "buy or sell, as the client writes it."},
    {.name = "quantity", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "Traded quantity."},
    {.name = "price", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "Price of one."},
    {.name = "latency_ms",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "ms",
     .help = "Time from order to fill."},
    {.name = "slippage_bps",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .unit = "bps",
     .help = "Slippage in basis points."},
    {.name = "strategy",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Name of the strategy that traded."},
};

static const struct catalog_column candles_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_REFUSE,
     .unit = "us",
     .help = "Start of the candle, UTC."},
    {.name = "symbol", .type = COL_TEXT, .missing = MISSING_REFUSE, .help = "Instrument."},
    {.name = "open", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "First price."},
    {.name = "high", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "Highest price."},
    {.name = "low", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "Lowest price."},
    {.name = "close", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "Last price."},
    {.name = "volume", .type = COL_INT64, .missing = MISSING_REFUSE, .help = "Traded quantity."},
};

static const struct catalog_column performance_history_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the row was true, UTC."},
    {.name = "portfolio_value",
     .type = COL_DOUBLE,
     .missing = MISSING_REFUSE,
     .help = "Value of the portfolio."},
    {.name = "pnl", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "Profit and loss."},
    {.name = "sharpe_ratio", .type = COL_DOUBLE, .missing = MISSING_NULL, .help = "Sharpe ratio."},
    {.name = "max_drawdown",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .help = "Largest fall from a peak."},
    {.name = "win_rate",
     .type = COL_DOUBLE,
     .missing = MISSING_NULL,
     .help = "Share of trades that won."},
    {.name = "total_trades", .type = COL_INT32, .missing = MISSING_NULL, .help = "Trades so far."},
};

static const struct catalog_column series_columns[] = {
    {.name = "series_id",
     .type = COL_INT32,
     .missing = MISSING_REFUSE,
     .help = "Number of the series."},
    {.name = "metric_name",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Name of the metric."},
    {.name = "symbol",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Instrument, if the metric belongs to one."},
    {.name = "labels",
     .type = COL_JSON,
     .missing = MISSING_NULL,
     .help = "Object of label names and texts."},
};

static const struct catalog_column samples_columns[] = {
    {.name = "series_id",
     .type = COL_INT32,
     .missing = MISSING_REFUSE,
     .help = "Series that the value belongs to."},
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_REFUSE,
     .unit = "us",
     .help = "When the value was taken, UTC."},
    {.name = "value", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "The value."},
};

static const struct catalog_column metrics_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the value was taken, UTC."},
    {.name = "metric_name",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Name of the metric."},
    {.name = "value", .type = COL_DOUBLE, .missing = MISSING_REFUSE, .help = "The value."},
    {.name = "symbol",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Instrument, if the metric belongs to one."},
    {.name = "labels",
     .type = COL_JSON,
     .missing = MISSING_NULL,
     .help = "Object of label names and texts."},
};

static const struct catalog_column idempotency_columns[] = {
    {.name = "key",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "The key as the client sent it."},
    {.name = "payload_hash",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Hash of the request it came with."},
    {.name = "accepted", .type = COL_INT64, .missing = MISSING_ZERO, .help = "Rows taken."},
    {.name = "rejected", .type = COL_INT64, .missing = MISSING_ZERO, .help = "Rows refused."},
    {.name = "lsn",
     .type = COL_INT64,
     .missing = MISSING_ZERO,
     .help = "Log sequence number of the write."},
    {.name = "at",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When it was answered, UTC."},
};

static const struct catalog_table tables[] = {
    {.id = TABLE_MARKET_DATA,
     .kind = TABLE_REPLACE,
     .name = "market_data",
     .help = "Quotes and running totals by symbol.",
     .columns = market_data_columns,
     .column_count = COUNT_OF(market_data_columns),
     .key_mask = 1U << 0 | 1U << 1,
     .time_column = 0,
     .series_column = 1,
     .ingestible = true,
     .sealed = true,
     .rolled_up = true},
    {.id = TABLE_STRATEGY_METRICS,
     .kind = TABLE_REPLACE,
     .name = "strategy_metrics",
     .help = "State of each strategy.",
     .columns = strategy_metrics_columns,
     .column_count = COUNT_OF(strategy_metrics_columns),
     .key_mask = 1U << 0 | 1U << 1,
     .time_column = 0,
     .series_column = 1,
     .ingestible = true,
     .sealed = true},
    {.id = TABLE_EXECUTION_METRICS,
     .kind = TABLE_REPLACE,
     .name = "execution_metrics",
     .help = "Order handling as a whole.",
     .columns = execution_metrics_columns,
     .column_count = COUNT_OF(execution_metrics_columns),
     .key_mask = 1U << 0,
     .time_column = 0,
     .series_column = CATALOG_NONE,
     .ingestible = true,
     .sealed = true},
    {.id = TABLE_SYSTEM_METRICS,
     .kind = TABLE_REPLACE,
     .name = "system_metrics",
     .help = "Load and health of the host.",
     .columns = system_metrics_columns,
     .column_count = COUNT_OF(system_metrics_columns),
     .key_mask = 1U << 0,
     .time_column = 0,
     .series_column = CATALOG_NONE,
     .ingestible = true,
     .sealed = true},
    {.id = TABLE_TRADES,
     .kind = TABLE_REPLACE,
     .name = "trades",
     .help = "Every trade, by its identifier.",
     .columns = trades_columns,
     .column_count = COUNT_OF(trades_columns),
     .key_mask = 1U << 0,
     .time_column = 1,
     .series_column = 2,
     .ingestible = true,
     .sealed = true},
    {.id = TABLE_CANDLES,
     .kind = TABLE_REPLACE,
     .name = "candles",
     .help = "Open, high, low, close and volume by symbol and time.",
     .columns = candles_columns,
     .column_count = COUNT_OF(candles_columns),
     .key_mask = 1U << 0 | 1U << 1,
     .time_column = 0,
     .series_column = 1,
     .ingestible = true,
     .sealed = true,
     .rolled_up = true},
    {.id = TABLE_PERFORMANCE_HISTORY,
     .kind = TABLE_REPLACE,
     .name = "performance_history",
     .help = "Value and figures of the portfolio.",
     .columns = performance_history_columns,
     .column_count = COUNT_OF(performance_history_columns),
     .key_mask = 1U << 0,
     .time_column = 0,
     .series_column = CATALOG_NONE,
     .ingestible = true,
     .sealed = true},
    {.id = TABLE_SERIES,
     .kind = TABLE_APPEND,
     .name = "series",
     .help = "One row a series: name, symbol and labels, stored once.",
     .columns = series_columns,
     .column_count = COUNT_OF(series_columns),
     .time_column = CATALOG_NONE,
     .series_column = 0},
    {.id = TABLE_SAMPLES,
     .kind = TABLE_APPEND,
     .name = "samples",
     .help = "The values of all series.",
     .columns = samples_columns,
     .column_count = COUNT_OF(samples_columns),
     .time_column = 1,
     .series_column = 0,
     .sealed = true,
     .rolled_up = true},
    {.id = TABLE_METRICS,
     .kind = TABLE_VIEW,
     .name = "trading_metrics",
     .help = "Metrics with their names and labels: samples joined with series.",
     .columns = metrics_columns,
     .column_count = COUNT_OF(metrics_columns),
     .time_column = 0,
     .series_column = 1,
     .ingestible = true},
    {.id = TABLE_IDEMPOTENCY,
     .kind = TABLE_APPEND,
     .name = "eider_idempotency",
     .help = "Answers to requests that carried an Idempotency-Key.",
     .columns = idempotency_columns,
     .column_count = COUNT_OF(idempotency_columns),
     .time_column = 5,
     .series_column = CATALOG_NONE},
};

_Static_assert(COUNT_OF(tables) == TABLE_EVENTS - 1 &&
                   TABLE_EVENTS + CATALOG_METERING_TABLES == TABLE_RETENTION_RECEIPTS &&
                   TABLE_RETENTION_RECEIPTS + CATALOG_OWN_TABLES == TABLE_ID_END,
               "one entry a table, in order of the numbers");

const struct catalog_table *
catalog_at(size_t index)
{
    if (index < COUNT_OF(tables)) {
        return &tables[index];
    }
    index -= COUNT_OF(tables);
    if (index < CATALOG_METERING_TABLES) {
        return &catalog_metering_tables[index];
    }
    index -= CATALOG_METERING_TABLES;
    return index < CATALOG_OWN_TABLES ? &catalog_own_tables[index] : NULL;
}

const struct catalog_table *
catalog_table(enum table_id id)
{
    if ((int)id < 1 || id >= TABLE_ID_END) {
        return NULL;
    }
    const struct catalog_table *table = catalog_at((size_t)id - 1);
    assert(table->id == id && table->column_count <= CATALOG_COLUMNS_MAX);
    return table;
}

const struct catalog_table *
catalog_find(struct slice name)
{
    const struct catalog_table *table;

    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (slice_is(name, table->name)) {
            return table;
        }
    }
    if (slice_is(name, "metrics")) {
        return catalog_table(TABLE_METRICS);
    }
    return slice_is(name, "trading_candles") ? catalog_table(TABLE_CANDLES) : NULL;
}

int
catalog_column_index(const struct catalog_table *table, struct slice name)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (slice_is(name, table->columns[i].name)) {
            return (int)i;
        }
    }
    return CATALOG_NONE;
}

enum err_code
catalog_find_column(const struct catalog_table *table, const char *name, size_t *ret_column,
                    struct err *err)
{
    int index = catalog_column_index(table, slice_of(name));

    if (index == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no column \"%s\"", table->name, name);
    }
    *ret_column = (size_t)index;
    return ERR_OK;
}

const char *
catalog_sql_type(enum col_type type)
{
    static const char *const names[COL_TYPE_COUNT] = {
        [COL_BOOL] = "BOOLEAN",  [COL_INT32] = "INTEGER",        [COL_INT64] = "BIGINT",
        [COL_DOUBLE] = "DOUBLE", [COL_TIMESTAMP] = "TIMESTAMP",  [COL_TEXT] = "VARCHAR",
        [COL_JSON] = "JSON",     [COL_DECIMAL] = "DECIMAL(18,6)"};

    assert(type < COL_TYPE_COUNT);
    return names[type];
}

const char *
catalog_type_expected(enum col_type type)
{
    static const char *const texts[COL_TYPE_COUNT] = {
        [COL_BOOL] = "true or false",
        [COL_INT32] = "an integer from -2147483648 to 2147483647",
        [COL_INT64] = "an integer that fits 64 bits",
        [COL_DOUBLE] = "a number",
        [COL_TIMESTAMP] = "an ISO 8601 time or an integer",
        [COL_TEXT] = "a text",
        [COL_JSON] = "a JSON object",
        [COL_DECIMAL] = "a number with at most 6 decimals"};

    assert(type < COL_TYPE_COUNT);
    return texts[type];
}

/* Columns that can never be NULL by the time a row is written (catalog_check_batch). */
static bool
is_not_null(const struct catalog_table *table, size_t column)
{
    enum col_missing missing = table->columns[column].missing;

    return missing == MISSING_REFUSE || (int)column == table->time_column ||
           (table->key_mask >> column & 1);
}

void
catalog_ddl(const struct catalog_table *table, struct buf *ret_sql)
{
    if (table->kind == TABLE_VIEW) {
        buf_add_fmt(ret_sql,
                    "CREATE VIEW IF NOT EXISTS %s AS " CATALOG_METRICS_SELECT
                    "samples AS s JOIN series AS r USING (series_id)",
                    table->name);
        return;
    }
    buf_add_fmt(ret_sql, "CREATE TABLE IF NOT EXISTS %s (", table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buf_add_fmt(ret_sql, "%s\"%s\" %s%s", i ? ", " : "", table->columns[i].name,
                    catalog_sql_type(table->columns[i].type),
                    is_not_null(table, i) ? " NOT NULL" : "");
    }
    buf_add_char(ret_sql, ')');
}

void
catalog_hot_name(const struct catalog_table *table, struct buf *ret_name)
{
    buf_add_fmt(ret_name, "%s%s", table->name, table->sealed ? "_hot" : "");
}

void
catalog_views_ddl(const struct catalog_table *table, struct buf *ret_sql)
{
    for (size_t i = 0; i < table->view_count; i++) {
        buf_add_fmt(ret_sql, "CREATE OR REPLACE VIEW %s AS %s;", table->views[i].name,
                    table->views[i].select);
    }
}

bool
catalog_orders(const struct catalog_table *table, size_t column)
{
    bool tells = (table->key_mask >> column & 1) || (table->order_mask >> column & 1) ||
                 (int)column == table->series_column ||
                 (table->kind == TABLE_VIEW && table->columns[column].type != COL_DOUBLE);

    return tells && (int)column != table->time_column;
}
