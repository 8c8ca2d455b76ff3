/* Buckets of time: rows sorted by bucket and group, then one pass. */
#include <assert.h>
#include <inttypes.h>

#include "codec/decimal.h"
#include "store/buckets.h"
#include "store/filter.h"
#include "store/memory/mem.h"

/* One aggregate over refs[from, to), which are of one bucket and group. */
static enum err_code
aggregate(const struct mem_reading *reading, const struct store_aggregate *spec, size_t column,
          const struct mem_ref *refs, size_t count, struct mem_value *ret_value, struct err *err)
{
    int time_column = reading->table->time_column;
    struct mem_value best = {.valid = false};
    struct mem_value best_time = {.valid = false};
    int64_t used = 0;
    double sum = 0;
    store_i128 whole = 0; /* never more than 2^63 rows of 2^63 */

    for (size_t i = 0; i < count; i++) {
        struct mem_value value = mem_value_of(reading->table, &refs[i], column);
        struct mem_value time = mem_value_of(reading->table, &refs[i], (size_t)time_column);
        if (spec->column && !value.valid) {
            continue;
        }
        bool first = used++ == 0;
        sum += value.f64;
        whole += value.i64;
        int order = first                                           ? 0
                    : spec->fn == AGG_FIRST || spec->fn == AGG_LAST ? mem_compare(&time, &best_time)
                                                                    : mem_compare(&value, &best);
        bool low = spec->fn == AGG_FIRST || spec->fn == AGG_MIN;
        if (first || (low ? order < 0 : order > 0)) {
            best = value;
            best_time = time;
        }
    }
    enum col_type type = reading->table->columns[column].type;
    int64_t max = type == COL_DECIMAL ? DECIMAL_MAX : INT64_MAX;
    int64_t min = type == COL_DECIMAL ? -DECIMAL_MAX : INT64_MIN;
    if (spec->fn == AGG_SUM && (whole > max || whole < min)) {
        return err_set(err, ERR_TOO_LARGE, "the sum of \"%s\" does not fit %s", spec->column,
                       type == COL_DECIMAL ? "12 digits before the point" : "64 bits");
    }
    if (spec->fn == AGG_COUNT) {
        *ret_value = (struct mem_value){.valid = true, .i64 = used};
    } else if (spec->fn == AGG_SUM) {
        *ret_value = (struct mem_value){.valid = used > 0, .i64 = (int64_t)whole, .f64 = sum};
    } else if (spec->fn == AGG_AVG) {
        /* Credits are added exactly before anything is rounded. */
        sum = type == COL_DECIMAL ? (double)whole / (double)DECIMAL_ONE : sum;
        *ret_value = (struct mem_value){.valid = used > 0, .f64 = used ? sum / (double)used : 0};
    } else {
        *ret_value = best;
    }
    return ERR_OK;
}

static enum col_type
aggregate_type(enum store_aggregate_fn fn, enum col_type type)
{
    switch (fn) {
    case AGG_COUNT:
        return COL_INT64;
    case AGG_AVG:
        return COL_DOUBLE;
    case AGG_SUM:
        return type == COL_DOUBLE || type == COL_DECIMAL ? type : COL_INT64;
    case AGG_FIRST:
    case AGG_LAST:
    case AGG_MIN:
    case AGG_MAX:
        break;
    }
    return type;
}

/* Checks what is asked for, and makes the answer's columns. */
static enum err_code
plan_bucket(const struct store_bucket *bucket, const struct catalog_table *table,
            size_t *ret_columns, size_t *ret_group, struct batch *rows, struct err *err)
{
    if (table->time_column == CATALOG_NONE || bucket->bucket_us < 0) {
        return err_set(err, ERR_INVALID, "%s cannot be put into buckets of %" PRId64 " us",
                       table->name, bucket->bucket_us);
    }
    batch_add_column(rows, SLICE_LITERAL("timestamp"), COL_TIMESTAMP);
    if (bucket->group_column) {
        enum err_code code = catalog_find_column(table, bucket->group_column, ret_group, err);
        if (code) {
            return code;
        }
        batch_add_column(rows, slice_of(bucket->group_column), table->columns[*ret_group].type);
    }
    for (size_t i = 0; i < bucket->aggregate_count; i++) {
        const struct store_aggregate *spec = &bucket->aggregates[i];
        enum col_type type = COL_INT64;
        ret_columns[i] = 0;
        if (spec->column) {
            enum err_code code = catalog_find_column(table, spec->column, &ret_columns[i], err);
            if (!code) {
                code = store_check_aggregate(spec, table, ret_columns[i], err);
            }
            if (code) {
                return code;
            }
            type = table->columns[ret_columns[i]].type;
        }
        batch_add_column(rows, slice_of(spec->as), aggregate_type(spec->fn, type));
    }
    return ERR_OK;
}

/* One row of the answer from refs[from, from + count). */
static enum err_code
emit_bucket(const struct mem_reading *reading, const struct store_bucket *bucket,
            const size_t *columns, const struct mem_ref *refs, size_t count, struct batch *rows,
            struct err *err)
{
    size_t row = batch_add_row(rows);
    size_t at = 0;
    struct mem_value start = {.valid = true, .i64 = refs[0].bucket_us};
    struct store_aggregate min_time = {.fn = AGG_MIN, .column = "timestamp"};
    enum err_code code = ERR_OK;

    if (bucket->bucket_us == 0) {
        code = aggregate(reading, &min_time, (size_t)reading->table->time_column, refs, count,
                         &start, err);
    }
    mem_set_value(rows, at++, row, &start);
    if (bucket->group_column) {
        struct mem_value group = mem_value_of(reading->table, refs, reading->order.index[0]);
        mem_set_value(rows, at++, row, &group);
    }
    for (size_t i = 0; i < bucket->aggregate_count && !code; i++) {
        struct mem_value value;
        code = aggregate(reading, &bucket->aggregates[i], columns[i], refs, count, &value, err);
        if (!code) {
            mem_set_value(rows, at++, row, &value);
        }
    }
    return code;
}

static enum err_code
emit_buckets(const struct mem_reading *reading, const struct store_bucket *bucket,
             const size_t *columns, struct batch *rows, struct err *err)
{
    uint64_t number = 0;
    enum err_code code = ERR_OK;

    for (size_t from = 0; from < reading->count && !code;) {
        size_t to = from + 1;
        while (to < reading->count && mem_same(reading, &reading->refs[from], &reading->refs[to])) {
            to++;
        }
        bool wanted = number >= bucket->scan.offset &&
                      (bucket->scan.limit == 0 || rows->rows < bucket->scan.limit);
        if (wanted && rows->rows == BATCH_ROWS_MAX) {
            code = err_set(err, ERR_TOO_LARGE, "the answer has more than %d rows", BATCH_ROWS_MAX);
        } else if (wanted) {
            code =
                emit_bucket(reading, bucket, columns, reading->refs + from, to - from, rows, err);
        }
        number++;
        from = to;
    }
    return code;
}

enum err_code
mem_bucket(struct store *store, const struct store_bucket *bucket, struct batch *ret_rows,
           struct err *err)
{
    size_t columns[STORE_AGGREGATES_MAX];
    size_t group = 0;
    struct mem_reading reading;
    struct batch rows;

    assert(bucket->aggregate_count <= STORE_AGGREGATES_MAX);
    enum err_code code = mem_begin(store, bucket->scan.table, &reading, err);
    if (code) {
        return code;
    }
    batch_init_answer(&rows, mem_answer_bytes_max);
    code = plan_bucket(bucket, reading.table, columns, &group, &rows, err);
    code = code ? code : mem_gather(&reading, &bucket->scan, err);
    if (!code) {
        reading.newest_first = bucket->scan.newest_first;
        if (bucket->group_column) {
            reading.order.index[reading.order.count++] = (uint8_t)group;
        }
        for (size_t i = 0; i < reading.count && bucket->bucket_us > 0; i++) {
            struct mem_value time =
                mem_value_of(reading.table, &reading.refs[i], (size_t)reading.table->time_column);
            reading.refs[i].bucket_us = store_bucket_of(time.i64, bucket->bucket_us);
        }
        mem_sort(&reading);
        code = emit_buckets(&reading, bucket, columns, &rows, err);
    }
    return mem_end(store, &reading, code, &rows, ret_rows, err);
}
