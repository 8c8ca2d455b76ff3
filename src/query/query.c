/* Raw rows and candles, which the store answers as they are asked. */
#include "query/query.h"

#include "codec/time.h"
#include "query/query_internal.h"

enum err_code
query_check_range(const struct query_range *range, struct err *err)
{
    if (range->from_us > range->to_us) {
        char from[TIME_TEXT_MAX];
        char to[TIME_TEXT_MAX];
        time_format_iso8601(range->from_us, from);
        time_format_iso8601(range->to_us, to);
        return err_set(err, ERR_INVALID,
                       "start_time is %s, behind end_time %s; expected a range that begins "
                       "before it ends",
                       from, to);
    }
    return ERR_OK;
}

bool
query_is_null(const struct batch *rows, int column, size_t row)
{
    return column < 0 || row >= rows->rows || batch_is_null(rows, (size_t)column, row);
}

double
query_f64(const struct batch *rows, int column, size_t row)
{
    return query_is_null(rows, column, row) ? 0 : batch_get_f64(rows, (size_t)column, row);
}

int64_t
query_i64(const struct batch *rows, int column, size_t row)
{
    return query_is_null(rows, column, row) ? 0 : batch_get_i64(rows, (size_t)column, row);
}

enum err_code
query_rows(struct engine *engine, enum table_id table, const struct query_range *range,
           uint64_t limit, struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *found = catalog_table(table);
    struct store_scan scan = {.table = table,
                              .from_us = range->from_us,
                              .to_us = range->to_us,
                              .newest_first = true,
                              .limit = limit,
                              .cancel = range->cancel};

    if (!found || found->time_column == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "table %s has no time to ask for",
                       found ? found->name : "(unknown)");
    }
    enum err_code code = query_check_range(range, err);
    return code ? code : engine_scan(engine, &scan, ret_rows, err);
}

enum err_code
query_candles(struct engine *engine, struct slice symbol, int64_t bucket_us,
              const struct query_range *range, uint64_t limit, struct batch *ret_rows,
              struct err *err)
{
    struct store_bucket bucket = {.scan = {.table = TABLE_CANDLES,
                                           .filters = {{"symbol", &symbol, 1}},
                                           .filter_count = 1,
                                           .from_us = range->from_us,
                                           .to_us = range->to_us,
                                           .newest_first = true,
                                           .limit = limit ? limit : QUERY_BUCKETS_MAX,
                                           .cancel = range->cancel},
                                  .bucket_us = bucket_us,
                                  .aggregates = {{AGG_FIRST, "open", "open"},
                                                 {AGG_MAX, "high", "high"},
                                                 {AGG_MIN, "low", "low"},
                                                 {AGG_LAST, "close", "close"},
                                                 {AGG_SUM, "volume", "volume"}},
                                  .aggregate_count = 5};

    if (bucket_us <= 0) {
        return err_set(err, ERR_INVALID, "interval is not positive, expected a width of time");
    }
    enum err_code code = query_check_range(range, err);
    return code ? code : engine_bucket(engine, &bucket, ret_rows, err);
}
