/* Scans, newest rows and statistics. */
#include <stdlib.h>

#include "store/memory/mem.h"

static void
emit(const struct mem_reading *reading, const struct column_list *columns,
     const struct mem_ref *ref, struct batch *rows)
{
    size_t row = batch_add_row(rows);

    for (size_t i = 0; i < columns->count; i++) {
        struct mem_value value = mem_value_of(reading->table, ref, columns->index[i]);
        mem_set_value(rows, i, row, &value);
    }
}

static void
add_columns(const struct catalog_table *table, const struct column_list *columns,
            struct batch *rows)
{
    for (size_t i = 0; i < columns->count; i++) {
        const struct catalog_column *column = &table->columns[columns->index[i]];
        batch_add_column(rows, slice_of(column->name), column->type);
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
    struct mem_plan plan;
    struct batch rows;
    size_t from;
    size_t to;

    enum err_code code = mem_begin(store, scan->table, &reading, err);
    if (code) {
        return code;
    }
    batch_init_answer(&rows, mem_answer_bytes_max);
    mem_order_of_scan(reading.table, &reading.order);
    reading.newest_first = scan->newest_first;
    code = mem_make_plan(reading.table, scan, &plan, err);
    code = code ? code : mem_gather(&reading, scan, err);
    if (!code) {
        add_columns(reading.table, &plan.columns, &rows);
        mem_sort(&reading);
        page(scan, reading.count, &from, &to);
        if (to - from > BATCH_ROWS_MAX) {
            code = err_set(err, ERR_TOO_LARGE, "the answer has more than %d rows", BATCH_ROWS_MAX);
            to = from;
        }
        for (size_t i = from; i < to; i++) {
            emit(&reading, &plan.columns, &reading.refs[i], &rows);
        }
    }
    return mem_end(store, &reading, code, &rows, ret_rows, err);
}

/* Hands copies of some rows over, without the lock. */
static enum err_code
hand_over(struct mem_store *mem, const struct mem_reading *reading, const struct mem_plan *plan,
          const struct mem_ref *refs, size_t count, store_visit_fn *fn, void *ctx, struct err *err)
{
    struct batch rows BATCH_AUTO;
    enum err_code code = ERR_OK;

    batch_init_answer(&rows, mem_answer_bytes_max);
    add_columns(reading->table, &plan->columns, &rows);
    for (size_t i = 0; i < count; i++) {
        emit(reading, &plan->columns, &refs[i], &rows);
    }
    pthread_rwlock_unlock(&mem->lock);
    if (rows.arena.overflow) {
        code = err_set(err, ERR_TOO_LARGE, "%zu rows have more than %zu bytes of texts", rows.rows,
                       mem_answer_bytes_max);
    } else if (rows.rows > 0) {
        code = fn(ctx, &rows, err);
    }
    pthread_rwlock_rdlock(&mem->lock);
    return code;
}

static enum err_code
check_time(const struct mem_store *mem, int64_t over_us, struct err *err)
{
    if (clock_mono_us(mem->clock) < over_us) {
        return ERR_OK;
    }
    return err_set(err, ERR_TIMEOUT,
                   "the visit took longer than its timeout; narrow it, or raise timeout");
}

static int
compare_orders(const void *left, const void *right)
{
    const struct mem_ref *a = left;
    const struct mem_ref *b = right;

    return (a->order > b->order) - (a->order < b->order);
}

/* Samples stand in order of time: references, which have copies of them, are brought into that of
 * writing first. Definitions, which they point to, stay. */
static enum err_code
visit_samples(struct mem_store *mem, struct mem_reading *reading, const struct mem_plan *plan,
              int64_t over_us, store_visit_fn *fn, void *ctx, struct err *err)
{
    enum err_code code = mem_gather(reading, plan->scan, err);

    if (!code && reading->count > 1) {
        qsort(reading->refs, reading->count, sizeof(*reading->refs), compare_orders);
    }
    for (size_t at = 0; !code && at < reading->count; at += STORE_VISIT_ROWS) {
        size_t rest = reading->count - at;
        size_t count = rest < STORE_VISIT_ROWS ? rest : STORE_VISIT_ROWS;
        code = at > 0 ? check_time(mem, over_us, err) : ERR_OK;
        code = code ? code : hand_over(mem, reading, plan, reading->refs + at, count, fn, ctx, err);
    }
    return code;
}

static enum err_code
visit_rows(struct mem_store *mem, struct mem_reading *reading, const struct mem_plan *plan,
           int64_t over_us, store_visit_fn *fn, void *ctx, struct err *err)
{
    uint64_t end = mem->next_place;
    enum err_code code = ERR_OK;

    for (uint64_t at = 0; !code && at < end;) {
        code = at > 0 ? check_time(mem, over_us, err) : ERR_OK;
        if (!code) {
            reading->count = 0;
            at = mem_gather_range(reading, plan, at, end, STORE_VISIT_ROWS);
            code = hand_over(mem, reading, plan, reading->refs, reading->count, fn, ctx, err);
        }
    }
    return code;
}

enum err_code
mem_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
          struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    struct batch none = {0};
    struct batch unused;
    struct mem_reading reading;
    struct mem_plan plan;

    enum err_code code = mem_begin(store, scan->table, &reading, err);
    if (code) {
        return code;
    }
    int64_t timeout_ms = scan->timeout_ms > 0 ? scan->timeout_ms : mem->timeout_ms;
    int64_t over_us = reading.start_us + timeout_ms * 1000;
    code = mem_make_plan(reading.table, scan, &plan, err);
    if (!code && mem_is_samples(reading.table)) {
        code = visit_samples(mem, &reading, &plan, over_us, fn, ctx, err);
    } else if (!code) {
        code = visit_rows(mem, &reading, &plan, over_us, fn, ctx, err);
    }
    return mem_end(store, &reading, code, &none, &unused, err);
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
    struct column_list columns = column_list_of_table(reading->table);

    add_columns(reading->table, &columns, rows);
    order_of_latest(reading->table, &reading->order);
    size_t series = reading->order.count;
    reading->order.index[reading->order.count++] = (uint8_t)reading->table->time_column;
    mem_sort(reading);
    reading->order.count = series;
    for (size_t i = 0; i < reading->count; i++) {
        const struct mem_ref *ref = &reading->refs[i];
        if (i + 1 == reading->count || !mem_same(reading, ref, ref + 1)) {
            emit(reading, &columns, ref, rows);
        }
    }
}

enum err_code
mem_latest(struct store *store, enum table_id id, const struct store_patience *patience,
           struct batch *ret_rows, struct err *err)
{
    struct store_scan all = {.table = id, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct mem_reading reading;
    struct batch rows;

    if (patience) {
        all.timeout_ms = patience->timeout_ms;
        all.cancel = patience->cancel;
    }
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
