/* Trades: pages, one, sums and latency percentiles. Where the store speaks SQL it does the sums;
 * where it does not, its newest million rows are read. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "query/query_internal.h"

enum { SIDE_BYTES_MAX = 64, SIDE_SPELLINGS = 3, SQL_BYTES_MAX = 4096, PARAMS_MAX = 3 };

/* As given, in lower and in upper case. */
struct spellings {
    char lower[SIDE_BYTES_MAX];
    char upper[SIDE_BYTES_MAX];
    struct slice values[SIDE_SPELLINGS];
    size_t count;
};

static void
spell(struct slice side, struct spellings *ret_spellings)
{
    ret_spellings->values[0] = side;
    ret_spellings->count = 1;
    if (side.len > SIDE_BYTES_MAX) {
        return;
    }
    for (size_t i = 0; i < side.len; i++) {
        char c = side.ptr[i];
        ret_spellings->lower[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        ret_spellings->upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    const struct slice others[] = {slice_make(ret_spellings->lower, side.len),
                                   slice_make(ret_spellings->upper, side.len)};
    for (size_t i = 0; i < 2; i++) {
        if (!slice_eq(others[i], side)) {
            ret_spellings->values[ret_spellings->count++] = others[i];
        }
    }
}

static void
add_filter(struct store_scan *scan, const char *column, const struct slice *values, size_t count)
{
    scan->filters[scan->filter_count++] = (struct store_filter){column, values, count};
}

/* How many rows a scan has without its limit and offset. */
static enum err_code
count_rows(struct engine *engine, const struct store_scan *scan, uint64_t *ret_total,
           struct err *err)
{
    struct store_bucket bucket = {
        .scan = *scan, .aggregates = {{AGG_COUNT, NULL, "count"}}, .aggregate_count = 1};
    struct batch rows;

    bucket.scan.limit = 0;
    bucket.scan.offset = 0;
    enum err_code code = engine_bucket(engine, &bucket, &rows, err);
    if (code) {
        return code;
    }
    int64_t count = query_i64(&rows, batch_column_index(&rows, slice_of("count")), 0);
    *ret_total = count > 0 ? (uint64_t)count : 0;
    batch_fini(&rows);
    return ERR_OK;
}

enum err_code
query_trades(struct engine *engine, const struct query_trades *query, struct batch *ret_rows,
             uint64_t *ret_total, struct err *err)
{
    struct spellings sides;
    struct store_scan scan = {.table = TABLE_TRADES,
                              .from_us = query->range.from_us,
                              .to_us = query->range.to_us,
                              .newest_first = true,
                              .limit = query->limit,
                              .offset = query->offset,
                              .cancel = query->range.cancel};
    uint64_t total;

    if (query->symbol.len > 0) {
        add_filter(&scan, "symbol", &query->symbol, 1);
    }
    if (query->side.len > 0) {
        spell(query->side, &sides);
        add_filter(&scan, "side", sides.values, sides.count);
    }
    enum err_code code = query_check_range(&query->range, err);
    code = code ? code : count_rows(engine, &scan, &total, err);
    code = code ? code : engine_scan(engine, &scan, ret_rows, err);
    if (!code) {
        *ret_total = total;
    }
    return code;
}

enum err_code
query_trade(struct engine *engine, struct slice trade_id, struct batch *ret_rows, struct err *err)
{
    struct store_scan scan = {.table = TABLE_TRADES,
                              .from_us = INT64_MIN,
                              .to_us = INT64_MAX,
                              .newest_first = true,
                              .limit = 1};
    struct batch rows;

    add_filter(&scan, "trade_id", &trade_id, 1);
    enum err_code code = engine_scan(engine, &scan, &rows, err);
    if (code) {
        return code;
    }
    if (rows.rows == 0) {
        batch_fini(&rows);
        return err_set(err, ERR_NOT_FOUND, "Trade not found");
    }
    *ret_rows = rows;
    return ERR_OK;
}

/* A statement over trades with the conditions that a range and a symbol make. */
struct statement {
    struct buf sql;
    struct store_param params[PARAMS_MAX];
    size_t param_count;
};

static void
add_condition(struct statement *statement, const char *text, struct store_param param)
{
    buf_add_cstr(&statement->sql, statement->param_count == 0 ? " WHERE " : " AND ");
    buf_add_cstr(&statement->sql, text);
    statement->params[statement->param_count++] = param;
}

static void
make_statement(struct statement *statement, const char *select, struct slice symbol,
               const struct query_range *range)
{
    *statement = (struct statement){0};
    buf_init(&statement->sql, SQL_BYTES_MAX);
    buf_add_fmt(&statement->sql, "SELECT %s FROM %s", select, catalog_table(TABLE_TRADES)->name);
    if (range->from_us != INT64_MIN) {
        add_condition(statement, "\"timestamp\" >= ?",
                      (struct store_param){.type = PARAM_TIMESTAMP, .i64 = range->from_us});
    }
    if (range->to_us != INT64_MAX) {
        add_condition(statement, "\"timestamp\" <= ?",
                      (struct store_param){.type = PARAM_TIMESTAMP, .i64 = range->to_us});
    }
    if (symbol.len > 0) {
        add_condition(statement, "symbol = ?",
                      (struct store_param){.type = PARAM_TEXT, .text = symbol});
    }
}

/* Asks for one row of numbers; ERR_UNSUPPORTED when the store has no SQL. */
static enum err_code
ask_sql(struct engine *engine, const char *select, struct slice symbol,
        const struct query_range *range, struct batch *ret_rows, struct err *err)
{
    struct statement statement;

    make_statement(&statement, select, symbol, range);
    struct store_sql sql = {.sql = buf_slice(&statement.sql),
                            .params = statement.params,
                            .param_count = statement.param_count,
                            .cancel = range->cancel};
    enum err_code code = engine_sql(engine, &sql, ret_rows, NULL, err);
    buf_fini(&statement.sql);
    return code;
}

static enum err_code
scan_trades(struct engine *engine, const struct slice *symbol, const struct query_range *range,
            struct batch *ret_rows, struct err *err)
{
    struct store_scan scan = {.table = TABLE_TRADES,
                              .from_us = range->from_us,
                              .to_us = range->to_us,
                              .newest_first = true,
                              .limit = QUERY_SCAN_ROWS_MAX,
                              .cancel = range->cancel};

    if (symbol->len > 0) {
        add_filter(&scan, "symbol", symbol, 1);
    }
    return engine_scan(engine, &scan, ret_rows, err);
}

static void
sum_trades(const struct batch *rows, struct query_trade_summary *ret_summary)
{
    struct query_trade_summary sum = {.count = rows->rows};
    int quantity = batch_column_index(rows, slice_of("quantity"));
    int price = batch_column_index(rows, slice_of("price"));
    int side = batch_column_index(rows, slice_of("side"));
    double prices = 0, sizes = 0;

    for (size_t i = 0; i < rows->rows; i++) {
        struct slice text = side < 0 ? slice_of("") : batch_get_text(rows, (size_t)side, i);
        sum.buy_count += slice_is_nocase(text, "buy");
        sum.sell_count += slice_is_nocase(text, "sell");
        sum.total_volume += query_f64(rows, quantity, i) * query_f64(rows, price, i);
        prices += query_f64(rows, price, i);
        sizes += query_f64(rows, quantity, i);
    }
    if (rows->rows > 0) {
        sum.avg_price = prices / (double)rows->rows;
        sum.avg_size = sizes / (double)rows->rows;
    }
    *ret_summary = sum;
}

enum err_code
query_trade_summary(struct engine *engine, struct slice symbol, const struct query_range *range,
                    struct query_trade_summary *ret_summary, struct err *err)
{
    static const char select[] = "count(*), count(*) FILTER (WHERE lower(side) = 'buy'), "
                                 "count(*) FILTER (WHERE lower(side) = 'sell'), "
                                 "sum(quantity * price), avg(price), avg(quantity)";
    struct batch rows;

    enum err_code code = query_check_range(range, err);
    if (code) {
        return code;
    }
    code = ask_sql(engine, select, symbol, range, &rows, err);
    if (!code) {
        *ret_summary = (struct query_trade_summary){.count = (uint64_t)query_i64(&rows, 0, 0),
                                                    .buy_count = (uint64_t)query_i64(&rows, 1, 0),
                                                    .sell_count = (uint64_t)query_i64(&rows, 2, 0),
                                                    .total_volume = query_f64(&rows, 3, 0),
                                                    .avg_price = query_f64(&rows, 4, 0),
                                                    .avg_size = query_f64(&rows, 5, 0)};
    } else if (code == ERR_UNSUPPORTED) {
        code = scan_trades(engine, &symbol, range, &rows, err);
        if (!code) {
            sum_trades(&rows, ret_summary);
        }
    }
    if (!code) {
        batch_fini(&rows);
    }
    return code;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Interpolated between neighbours, as SQL's quantile_cont. */
static double
quantile(const double *sorted, size_t count, double q)
{
    double at = q * (double)(count - 1);
    size_t below = (size_t)floor(at);
    size_t above = below + 1 < count ? below + 1 : below;

    return sorted[below] + (sorted[above] - sorted[below]) * (at - (double)below);
}

static void
measure_trades(const struct batch *rows, struct query_latency *ret_latency)
{
    double *MEM_AUTO values = mem_zalloc(rows->rows, sizeof(*values));
    int column = batch_column_index(rows, slice_of("latency_ms"));
    size_t count = 0;

    for (size_t i = 0; i < rows->rows; i++) {
        double value = query_f64(rows, column, i);
        if (!query_is_null(rows, column, i) && isfinite(value)) {
            values[count++] = value;
        }
    }
    *ret_latency = (struct query_latency){.count = count};
    if (count > 0) {
        qsort(values, count, sizeof(*values), by_value);
        ret_latency->p50 = quantile(values, count, 0.50);
        ret_latency->p95 = quantile(values, count, 0.95);
        ret_latency->p99 = quantile(values, count, 0.99);
    }
}

enum err_code
query_latency(struct engine *engine, const struct query_range *range,
              struct query_latency *ret_latency, struct err *err)
{
    static const char select[] = "percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) "
                                 "FILTER (WHERE isfinite(latency_ms)), "
                                 "percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms) "
                                 "FILTER (WHERE isfinite(latency_ms)), "
                                 "percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) "
                                 "FILTER (WHERE isfinite(latency_ms)), "
                                 "count(*) FILTER (WHERE isfinite(latency_ms))";
    const struct slice any = {"", 0};
    struct batch rows;

    enum err_code code = query_check_range(range, err);
    if (code) {
        return code;
    }
    code = ask_sql(engine, select, any, range, &rows, err);
    if (!code) {
        *ret_latency = (struct query_latency){.p50 = query_f64(&rows, 0, 0),
                                              .p95 = query_f64(&rows, 1, 0),
                                              .p99 = query_f64(&rows, 2, 0),
                                              .count = (uint64_t)query_i64(&rows, 3, 0)};
    } else if (code == ERR_UNSUPPORTED) {
        code = scan_trades(engine, &any, range, &rows, err);
        if (!code) {
            measure_trades(&rows, ret_latency);
        }
    }
    if (!code) {
        batch_fini(&rows);
    }
    return code;
}
