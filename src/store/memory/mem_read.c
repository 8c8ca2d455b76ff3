/* Scans, newest rows and statistics. */
#include <stdlib.h>

#include "store/memory/mem.h"

static void
emit(const struct mem_reading *reading, const struct mem_ref *ref, struct batch *rows)
{
    size_t row = batch_add_row(rows);

    for (size_t i = 0; i < reading->table->column_count; i++) {
        struct mem_value value = mem_value_of(reading->table, ref, i);
        mem_set_value(rows, i, row, &value);
    }
}

static void
add_table_columns(const struct catalog_table *table, struct batch *rows)
{
    for (size_t i = 0; i < table->column_count; i++) {
        batch_add_column(rows, slice_of(table->columns[i].name), table->columns[i].type);
    }
}

/* The rows [ret_from, ret_to) of `count` that offset and limit leave. */
static void
page(const struct store_scan *scan, size_t count, size_t *ret_from, size_t *ret_to)
{
    *ret_from = scan->offset < count ? (size_t)scan->offset : count;
    size_t rest = count - *ret_from;
    *ret_to = *ret_from + (scan->limit > 0 && scan->limit < rest ? (size_t)scan->limit : rest);
}

enum err_code
mem_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
         struct err *err)
{
    struct mem_reading reading;
    struct batch rows;
    size_t from;
    size_t to;

    enum err_code code = mem_begin(store, scan->table, &reading, err);
    if (code) {
        return code;
    }
    batch_init_answer(&rows, mem_answer_bytes_max);
    add_table_columns(reading.table, &rows);
    mem_order_of_scan(reading.table, &reading.order);
    reading.newest_first = scan->newest_first;
    code = mem_gather(&reading, scan, err);
    if (!code) {
        mem_sort(&reading);
        page(scan, reading.count, &from, &to);
        for (size_t i = from; i < to; i++) {
            emit(&reading, &reading.refs[i], &rows);
        }
    }
    return mem_end(store, &reading, code, &rows, ret_rows, err);
}

/* What "every series" means for a table: its key without the time, or who it names as series. */
static void
order_of_latest(const struct catalog_table *table, struct column_list *order)
{
    if (table->kind == TABLE_VIEW) {
        mem_order_of_scan(table, order);
        for (size_t i = 1; i < order->count; i++) {
            order->index[i - 1] = order->index[i];
        }
        order->count--; /* the time stands first there */
    } else if (table->key_mask >> table->time_column & 1) {
        *order = column_list_of_key(table, false);
    } else if (table->series_column != CATALOG_NONE) {
        order->index[order->count++] = (uint8_t)table->series_column;
    }
}

/* Sorted by series and time, the newest row of a series is the last before the next series. */
static void
emit_latest(struct mem_reading *reading, struct batch *rows)
{
    order_of_latest(reading->table, &reading->order);
    size_t series = reading->order.count;
    reading->order.index[reading->order.count++] = (uint8_t)reading->table->time_column;
    mem_sort(reading);
    reading->order.count = series;
    for (size_t i = 0; i < reading->count; i++) {
        const struct mem_ref *ref = &reading->refs[i];
        if (i + 1 == reading->count || !mem_same(reading, ref, ref + 1)) {
            emit(reading, ref, rows);
        }
    }
}

enum err_code
mem_latest(struct store *store, enum table_id id, struct batch *ret_rows, struct err *err)
{
    struct store_scan all = {.table = id, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct mem_reading reading;
    struct batch rows;

    enum err_code code = mem_begin(store, id, &reading, err);
    if (code) {
        return code;
    }
    batch_init_answer(&rows, mem_answer_bytes_max);
    if (reading.table->time_column == CATALOG_NONE) {
        code = err_set(err, ERR_INVALID, "%s has no times", reading.table->name);
    }
    code = code ? code : mem_gather(&reading, &all, err);
    if (!code) {
        add_table_columns(reading.table, &rows);
        emit_latest(&reading, &rows);
    }
    return mem_end(store, &reading, code, &rows, ret_rows, err);
}

enum err_code
mem_table_stats(struct store *store, enum table_id id, struct store_table_stats *ret_stats,
                struct err *err)
{
    struct store_scan all = {.table = id, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct store_table_stats stats = {.table = id};
    struct batch rows = {0};
    struct batch unused = {0};
    struct mem_reading reading;

    enum err_code code = mem_begin(store, id, &reading, err);
    if (code) {
        return code;
    }
    code = mem_gather(&reading, &all, err);
    stats.rows = reading.count;
    for (size_t i = 0; i < reading.count && reading.table->time_column != CATALOG_NONE; i++) {
        struct mem_value time =
            mem_value_of(reading.table, &reading.refs[i], (size_t)reading.table->time_column);
        stats.min_us = i == 0 || time.i64 < stats.min_us ? time.i64 : stats.min_us;
        stats.max_us = i == 0 || time.i64 > stats.max_us ? time.i64 : stats.max_us;
    }
    code = mem_end(store, &reading, code, &rows, &unused, err);
    if (!code) {
        *ret_stats = stats;
    }
    return code;
}
