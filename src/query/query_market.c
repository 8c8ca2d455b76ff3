/*
 * History of market data in buckets. Volume and trades are running totals a symbol, so what was
 * traded in a bucket is a difference to the bucket before; the store aggregates first, last and
 * highest total, and the differences are taken here, in order of time.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/time.h"
#include "query/query_internal.h"

enum { TEXT_BYTES_MAX = 64 << 20 };

static const int64_t LOOK_BACK_MIN_US = 300 * TIME_US_PER_S;
static const double BPS = 10000;

/* A running total over the rows of one bucket. */
struct running {
    int64_t first, last, highest;
};

struct cell {
    struct slice symbol;
    int64_t timestamp_us;
    size_t row;
    struct running volume, trades;
    int64_t volume_grown, trades_grown;
};

/* Where the answer's columns are. */
struct columns {
    int time, symbol, price, high, low, spread, bid, ask;
    int volume_first, volume_last, volume_max;
    int trades_first, trades_last, trades_max;
};

static int
find(const struct batch *rows, const char *name)
{
    return batch_column_index(rows, slice_of(name));
}

static struct columns
find_columns(const struct batch *rows)
{
    return (struct columns){.time = find(rows, "timestamp"),
                            .symbol = find(rows, "symbol"),
                            .price = find(rows, "avg_price"),
                            .high = find(rows, "high"),
                            .low = find(rows, "low"),
                            .spread = find(rows, "avg_spread"),
                            .bid = find(rows, "avg_bid"),
                            .ask = find(rows, "avg_ask"),
                            .volume_first = find(rows, "volume_first"),
                            .volume_last = find(rows, "volume_last"),
                            .volume_max = find(rows, "volume_max"),
                            .trades_first = find(rows, "trades_first"),
                            .trades_last = find(rows, "trades_last"),
                            .trades_max = find(rows, "trades_max")};
}

static struct store_scan
scan_of(const struct query_range *range, const struct slice *symbols, size_t symbol_count)
{
    struct store_scan scan = {.table = TABLE_MARKET_DATA,
                              .from_us = range->from_us,
                              .to_us = range->to_us,
                              .newest_first = true,
                              .limit = QUERY_BUCKETS_MAX,
                              .cancel = range->cancel};

    if (symbol_count > 0) {
        scan.filters[0] = (struct store_filter){"symbol", symbols, symbol_count};
        scan.filter_count = 1;
    }
    return scan;
}

static enum err_code
ask_buckets(struct engine *engine, const struct store_scan *scan, int64_t bucket_us,
            struct batch *ret_rows, struct err *err)
{
    struct store_bucket bucket = {.scan = *scan,
                                  .bucket_us = bucket_us,
                                  .group_column = "symbol",
                                  .aggregates = {{AGG_AVG, "last_price", "avg_price"},
                                                 {AGG_MAX, "last_price", "high"},
                                                 {AGG_MIN, "last_price", "low"},
                                                 {AGG_AVG, "spread_bps", "avg_spread"},
                                                 {AGG_AVG, "bid", "avg_bid"},
                                                 {AGG_AVG, "ask", "avg_ask"},
                                                 {AGG_FIRST, "volume", "volume_first"},
                                                 {AGG_LAST, "volume", "volume_last"},
                                                 {AGG_MAX, "volume", "volume_max"},
                                                 {AGG_FIRST, "trades", "trades_first"},
                                                 {AGG_LAST, "trades", "trades_last"},
                                                 {AGG_MAX, "trades", "trades_max"}},
                                  .aggregate_count = 12};

    return engine_bucket(engine, &bucket, ret_rows, err);
}

/* The last totals of every symbol just before the range. False in *ret_has when there is no before.
 */
static enum err_code
ask_before(struct engine *engine, const struct store_scan *scan, int64_t bucket_us,
           struct batch *ret_rows, bool *ret_has, struct err *err)
{
    int64_t back_us = bucket_us > LOOK_BACK_MIN_US ? bucket_us : LOOK_BACK_MIN_US;
    struct store_bucket bucket = {
        .scan = *scan,
        .group_column = "symbol",
        .aggregates = {{AGG_LAST, "volume", "volume_last"}, {AGG_LAST, "trades", "trades_last"}},
        .aggregate_count = 2};

    *ret_has = false;
    if (scan->from_us < INT64_MIN + back_us) {
        return ERR_OK;
    }
    bucket.scan.from_us = scan->from_us - back_us;
    bucket.scan.to_us = scan->from_us - 1;
    enum err_code code = engine_bucket(engine, &bucket, ret_rows, err);
    *ret_has = code == ERR_OK;
    return code;
}

static int
by_symbol_then_time(const void *a, const void *b)
{
    const struct cell *x = a;
    const struct cell *y = b;
    int order = slice_cmp(x->symbol, y->symbol);

    return order ? order
                 : (x->timestamp_us > y->timestamp_us) - (x->timestamp_us < y->timestamp_us);
}

static int
by_newest_then_symbol(const void *a, const void *b)
{
    const struct cell *x = a;
    const struct cell *y = b;
    int order = (x->timestamp_us < y->timestamp_us) - (x->timestamp_us > y->timestamp_us);

    return order ? order : slice_cmp(x->symbol, y->symbol);
}

/* The cells of an answer in order of symbol and time; the caller frees. */
static struct cell *
cells_of(const struct batch *rows, const struct columns *at)
{
    struct cell *cells = mem_zalloc(rows->rows, sizeof(*cells));

    for (size_t i = 0; i < rows->rows; i++) {
        cells[i] = (struct cell){
            .symbol = batch_get_text(rows, (size_t)at->symbol, i),
            .timestamp_us = query_i64(rows, at->time, i),
            .row = i,
            .volume = {query_i64(rows, at->volume_first, i), query_i64(rows, at->volume_last, i),
                       query_i64(rows, at->volume_max, i)},
            .trades = {query_i64(rows, at->trades_first, i), query_i64(rows, at->trades_last, i),
                       query_i64(rows, at->trades_max, i)}};
    }
    qsort(cells, rows->rows, sizeof(*cells), by_symbol_then_time);
    return cells;
}

static int64_t
difference(int64_t a, int64_t b)
{
    int64_t result;

    return __builtin_sub_overflow(a, b, &result) ? INT64_MAX : result;
}

static int64_t
grown(const struct running *total, int64_t before)
{
    if (total->last >= before) {
        return difference(total->last, before);
    }
    /* It restarted. What is above `before` was reached before that. */
    int64_t rest = total->highest > before ? difference(total->highest, before) : 0;
    int64_t sum;
    return __builtin_add_overflow(rest, total->last, &sum) ? INT64_MAX : sum;
}

static const struct cell *
find_symbol(const struct cell *cells, size_t count, struct slice symbol)
{
    size_t low = 0;

    while (low < count) {
        size_t middle = low + (count - low) / 2;
        int order = slice_cmp(cells[middle].symbol, symbol);
        if (order == 0) {
            return &cells[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            count = middle;
        }
    }
    return NULL;
}

/* Takes the differences along the time of every symbol. */
static void
take_differences(struct cell *cells, size_t count, const struct cell *before, size_t before_count)
{
    const struct cell *last = NULL;

    for (size_t i = 0; i < count; i++) {
        struct cell *cell = &cells[i];
        if (i == 0 || !slice_eq(cell->symbol, cells[i - 1].symbol)) {
            last = find_symbol(before, before_count, cell->symbol);
        }
        cell->volume_grown = grown(&cell->volume, last ? last->volume.last : cell->volume.first);
        cell->trades_grown = grown(&cell->trades, last ? last->trades.last : cell->trades.first);
        last = cell;
    }
}

enum {
    OUT_TIME,
    OUT_SYMBOL,
    OUT_PRICE,
    OUT_HIGH,
    OUT_LOW,
    OUT_VOLUME,
    OUT_TRADES,
    OUT_SPREAD,
    OUT_COUNT
};

static void
answer_init(struct batch *rows)
{
    static const struct {
        const char *name;
        enum col_type type;
    } columns[OUT_COUNT] = {
        {"timestamp", COL_TIMESTAMP}, {"symbol", COL_TEXT},       {"avg_price", COL_DOUBLE},
        {"high", COL_DOUBLE},         {"low", COL_DOUBLE},        {"total_volume", COL_INT64},
        {"total_trades", COL_INT64},  {"avg_spread", COL_DOUBLE},
    };

    batch_init_answer(rows, TEXT_BYTES_MAX);
    for (int i = 0; i < OUT_COUNT; i++) {
        batch_add_column(rows, slice_of(columns[i].name), columns[i].type);
    }
}

static void
copy_f64(struct batch *to, size_t to_column, const struct batch *from, int column, size_t row)
{
    if (!query_is_null(from, column, row)) {
        batch_set_f64(to, to_column, to->rows - 1, query_f64(from, column, row));
    }
}

static double
spread_of(const struct batch *rows, const struct columns *at, size_t row)
{
    double given = query_f64(rows, at->spread, row);
    double price = query_f64(rows, at->price, row);

    if (given != 0 || price == 0 || query_is_null(rows, at->bid, row) ||
        query_is_null(rows, at->ask, row)) {
        return given;
    }
    return (query_f64(rows, at->ask, row) - query_f64(rows, at->bid, row)) / price * BPS;
}

/* Appends a cell; texts come with it. */
static void
add_cell(struct batch *to, const struct batch *from, const struct columns *at,
         const struct cell *cell)
{
    size_t row = batch_add_row(to);

    batch_set_i64(to, OUT_TIME, row, cell->timestamp_us);
    batch_set_text(to, OUT_SYMBOL, row, cell->symbol);
    copy_f64(to, OUT_PRICE, from, at->price, cell->row);
    copy_f64(to, OUT_HIGH, from, at->high, cell->row);
    copy_f64(to, OUT_LOW, from, at->low, cell->row);
    batch_set_i64(to, OUT_VOLUME, row, cell->volume_grown);
    batch_set_i64(to, OUT_TRADES, row, cell->trades_grown);
    batch_set_f64(to, OUT_SPREAD, row, spread_of(from, at, cell->row));
}

/* Makes the cells' symbols texts of the answer: one copy a symbol. Cells are in order of symbols.
 */
static enum err_code
keep_symbols(struct batch *answer, struct cell *cells, size_t count, struct err *err)
{
    struct slice kept = {"", 0};

    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !slice_eq(cells[i].symbol, kept)) {
            kept = batch_keep_text(answer, cells[i].symbol);
        }
        cells[i].symbol = kept;
    }
    return answer->arena.overflow
               ? err_set(err, ERR_TOO_LARGE, "the symbols of the answer are over %d bytes",
                         (int)TEXT_BYTES_MAX)
               : ERR_OK;
}

static enum err_code
answer_of(const struct batch *rows, const struct batch *before, uint64_t limit,
          struct batch *ret_rows, struct err *err)
{
    struct columns at = find_columns(rows);
    size_t count = rows->rows;
    struct cell *MEM_AUTO cells = cells_of(rows, &at);
    struct cell *MEM_AUTO before_cells = NULL;
    size_t before_count = 0;
    struct batch answer;

    if (before) {
        struct columns before_at = find_columns(before);
        before_cells = cells_of(before, &before_at);
        before_count = before->rows;
    }
    take_differences(cells, count, before_cells, before_count);
    answer_init(&answer);
    enum err_code code = keep_symbols(&answer, cells, count, err);
    if (code) {
        batch_fini(&answer);
        return code;
    }
    qsort(cells, count, sizeof(*cells), by_newest_then_symbol);
    if (limit > 0 && count > limit) {
        count = (size_t)limit;
    }
    batch_reserve(&answer, count);
    for (size_t i = 0; i < count; i++) {
        add_cell(&answer, rows, &at, &cells[i]);
    }
    *ret_rows = answer;
    return ERR_OK;
}

enum err_code
query_market_history(struct engine *engine, const struct query_range *range, int64_t bucket_us,
                     const struct slice *symbols, size_t symbol_count, uint64_t limit,
                     struct batch *ret_rows, struct err *err)
{
    struct store_scan scan = scan_of(range, symbols, symbol_count);
    struct batch rows, before;
    bool has_before = false;

    if (bucket_us <= 0) {
        return err_set(err, ERR_INVALID, "interval is not positive, expected a width of time");
    }
    enum err_code code = query_check_range(range, err);
    code = code ? code : ask_buckets(engine, &scan, bucket_us, &rows, err);
    if (code) {
        return code;
    }
    code = ask_before(engine, &scan, bucket_us, &before, &has_before, err);
    if (!code) {
        code = answer_of(&rows, has_before ? &before : NULL, limit, ret_rows, err);
    }
    if (has_before) {
        batch_fini(&before);
    }
    batch_fini(&rows);
    return code;
}
