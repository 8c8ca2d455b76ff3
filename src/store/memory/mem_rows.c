/*
 * Reading: every read goes over the rows of one table, keeps references to those that pass, sorts
 * them and copies the answer out, all under the read lock. Order and NULLs as DuckDB has them: NULL
 * last, NaN above all numbers, texts by bytes.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/number.h"
#include "store/filter.h"
#include "store/memory/mem.h"

static struct mem_value
stored_value(const struct catalog_table *table, const struct mem_row *row, size_t column)
{
    struct mem_value value = {.valid = row->valid >> column & 1,
                              .type = table->columns[column].type};
    union mem_cell cell = row->cells[column];

    if (!value.valid) {
        return value;
    }
    switch (value.type) {
    case COL_DOUBLE:
        value.f64 = cell.f64;
        break;
    case COL_TEXT:
    case COL_JSON:
        value.text = slice_make((const char *)row + cell.text.offset, cell.text.len);
        break;
    case COL_DECIMAL:
        value.i64 = cell.i64;
        value.f64 = decimal_to_double(cell.i64);
        break;
    case COL_BOOL:
    case COL_INT32:
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_TYPE_COUNT:
        value.i64 = cell.i64;
        value.f64 = (double)cell.i64;
    }
    return value;
}

struct mem_value
mem_value_of(const struct catalog_table *table, const struct mem_ref *ref, size_t column)
{
    if (table->kind != TABLE_VIEW) {
        return stored_value(table, ref->row, column);
    }
    const struct catalog_table *samples = catalog_table(TABLE_SAMPLES);
    const struct catalog_table *series = catalog_table(TABLE_SERIES);
    struct slice name = slice_of(table->columns[column].name);
    int index = catalog_column_index(samples, name);
    if (index != CATALOG_NONE) {
        return stored_value(samples, ref->row, (size_t)index);
    }
    index = catalog_column_index(series, name);
    assert(index != CATALOG_NONE);
    return stored_value(series, ref->series, (size_t)index);
}

int
mem_compare(const struct mem_value *a, const struct mem_value *b)
{
    if (!a->valid || !b->valid) {
        return (int)b->valid - (int)a->valid;
    }
    if (a->type == COL_TEXT || a->type == COL_JSON) {
        return slice_cmp(a->text, b->text);
    }
    if (a->type == COL_DOUBLE) {
        bool a_nan = a->f64 != a->f64;
        bool b_nan = b->f64 != b->f64;
        return a_nan || b_nan ? (int)a_nan - (int)b_nan : (a->f64 > b->f64) - (a->f64 < b->f64);
    }
    return (a->i64 > b->i64) - (a->i64 < b->i64);
}

bool
mem_same(const struct mem_reading *reading, const struct mem_ref *a, const struct mem_ref *b)
{
    bool same = a->bucket_us == b->bucket_us;

    for (size_t i = 0; i < reading->order.count && same; i++) {
        struct mem_value x = mem_value_of(reading->table, a, reading->order.index[i]);
        struct mem_value y = mem_value_of(reading->table, b, reading->order.index[i]);
        same = mem_compare(&x, &y) == 0;
    }
    return same;
}

static int
compare_refs(const void *left, const void *right, void *ctx)
{
    const struct mem_reading *reading = ctx;
    const struct mem_ref *a = left;
    const struct mem_ref *b = right;
    int sign = reading->newest_first ? -1 : 1;

    if (a->bucket_us != b->bucket_us) {
        return a->bucket_us < b->bucket_us ? -sign : sign;
    }
    for (size_t i = 0; i < reading->order.count; i++) {
        size_t column = reading->order.index[i];
        struct mem_value x = mem_value_of(reading->table, a, column);
        struct mem_value y = mem_value_of(reading->table, b, column);
        int order = mem_compare(&x, &y);
        if (order != 0) {
            return (int)column == reading->table->time_column ? sign * order : order;
        }
    }
    return a->row->order < b->row->order ? -1 : a->row->order > b->row->order;
}

void
mem_sort(struct mem_reading *reading)
{
    if (reading->count > 1) {
        qsort_r(reading->refs, reading->count, sizeof(*reading->refs), compare_refs, reading);
    }
}

enum err_code
mem_find_column(const struct catalog_table *table, const char *name, size_t *ret_column,
                struct err *err)
{
    int index = catalog_column_index(table, slice_of(name));

    if (index == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no column \"%s\"", table->name, name);
    }
    *ret_column = (size_t)index;
    return ERR_OK;
}

static enum err_code
plan_filters(const struct catalog_table *table, const struct store_scan *scan,
             struct mem_plan *plan, struct err *err)
{
    assert(scan->filter_count <= STORE_FILTERS_MAX);
    for (size_t i = 0; i < scan->filter_count; i++) {
        const struct store_filter *filter = &scan->filters[i];
        enum err_code code = mem_find_column(table, filter->column, &plan->filter_columns[i], err);
        if (code) {
            return code;
        }
        code = store_check_filter(filter, table, plan->filter_columns[i], err);
        if (code) {
            return code;
        }
        if (filter->value_count == 0) {
            return err_set(err, ERR_INVALID, "a filter takes at least one value");
        }
    }
    return ERR_OK;
}

enum err_code
mem_make_plan(const struct catalog_table *table, const struct store_scan *scan,
              struct mem_plan *ret_plan, struct err *err)
{
    struct mem_plan plan = {.scan = scan};

    enum err_code code = plan_filters(table, scan, &plan, err);
    if (!code && scan->at_least_column) {
        code = mem_find_column(table, scan->at_least_column, &plan.at_least_column, err);
    }
    if (code) {
        return code;
    }
    if (scan->at_least_column && table->columns[plan.at_least_column].type != COL_INT64 &&
        table->columns[plan.at_least_column].type != COL_TIMESTAMP) {
        return err_set(err, ERR_INVALID,
                       "column \"%s\" of %s is no whole number of 64 bits and has no least value",
                       scan->at_least_column, table->name);
    }
    if (!column_list_of_mask(table, scan->column_mask, &plan.columns)) {
        return err_set(err, ERR_INVALID, "%s has only %zu columns to choose from", table->name,
                       table->column_count);
    }
    *ret_plan = plan;
    return ERR_OK;
}

static bool
passes(const struct mem_reading *reading, const struct mem_plan *plan, const struct mem_ref *ref)
{
    const struct store_scan *scan = plan->scan;

    if (reading->table->time_column != CATALOG_NONE) {
        struct mem_value time =
            mem_value_of(reading->table, ref, (size_t)reading->table->time_column);
        if (time.i64 < scan->from_us || time.i64 > scan->to_us) {
            return false;
        }
    }
    if (scan->at_least_column) {
        struct mem_value value = mem_value_of(reading->table, ref, plan->at_least_column);
        if (!value.valid || value.i64 < scan->at_least) {
            return false;
        }
    }
    for (size_t i = 0; i < scan->filter_count; i++) {
        const struct store_filter *filter = &scan->filters[i];
        struct mem_value value = mem_value_of(reading->table, ref, plan->filter_columns[i]);
        bool found = false;
        for (size_t j = 0; j < filter->value_count && !found; j++) {
            int64_t number;
            found = value.valid &&
                    (value.type != COL_INT32
                         ? slice_eq(value.text, filter->values[j])
                         : number_parse_i64(filter->values[j], &number) && number == value.i64);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

const struct mem_table *
mem_rows_of(const struct mem_reading *reading)
{
    bool view = reading->table->kind == TABLE_VIEW;

    return &reading->mem->tables[view ? TABLE_SAMPLES : reading->table->id];
}

uint64_t
mem_gather_range(struct mem_reading *reading, const struct mem_plan *plan, uint64_t from,
                 uint64_t to, size_t max)
{
    const struct mem_table *rows = mem_rows_of(reading);
    bool view = reading->table->kind == TABLE_VIEW;

    from = from > rows->first ? from : rows->first;
    for (; from < to && reading->count < max; from++) {
        struct mem_ref ref = {.row = rows->rows[rows->head + (from - rows->first)]};
        if (view) {
            ref.series = mem_find_series(reading->mem, (int32_t)ref.row->cells[0].i64);
        }
        if ((view && !ref.series) || !passes(reading, plan, &ref)) {
            continue;
        }
        if (reading->count == reading->cap) {
            reading->cap = reading->cap ? reading->cap * 2 : 64;
            reading->refs = mem_resize(reading->refs, reading->cap, sizeof(*reading->refs));
        }
        reading->refs[reading->count++] = ref;
    }
    return from;
}

enum err_code
mem_gather(struct mem_reading *reading, const struct store_scan *scan, struct err *err)
{
    const struct mem_table *rows = mem_rows_of(reading);
    struct mem_plan plan = {.scan = scan};

    enum err_code code = mem_make_plan(reading->table, scan, &plan, err);
    if (!code) {
        mem_gather_range(reading, &plan, rows->first, rows->first + rows->count, SIZE_MAX);
    }
    return code;
}

void
mem_set_value(struct batch *rows, size_t column, size_t row, const struct mem_value *value)
{
    if (!value->valid) {
        return;
    }
    switch (rows->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(rows, column, row, value->i64 != 0);
        break;
    case COL_INT32:
        batch_set_i32(rows, column, row, (int32_t)value->i64);
        break;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        batch_set_i64(rows, column, row, value->i64);
        break;
    case COL_DOUBLE:
        batch_set_f64(rows, column, row, value->f64);
        break;
    case COL_TEXT:
    case COL_JSON:
        batch_set_text(rows, column, row, batch_keep_text(rows, value->text));
        break;
    case COL_TYPE_COUNT:
        break;
    }
}

enum err_code
mem_begin(struct store *store, enum table_id id, struct mem_reading *reading, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;

    *reading = (struct mem_reading){
        .mem = mem, .table = catalog_table(id), .start_us = clock_mono_us(mem->clock)};
    if (!reading->table) {
        return err_set(err, ERR_NOT_FOUND, "there is no table number %d", (int)id);
    }
    pthread_rwlock_rdlock(&mem->lock);
    return ERR_OK;
}

enum err_code
mem_end(struct store *store, struct mem_reading *reading, enum err_code code, struct batch *rows,
        struct batch *ret_rows, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;

    pthread_rwlock_unlock(&mem->lock);
    free(reading->refs);
    if (!code && rows->arena.overflow) {
        code = err_set(err, ERR_TOO_LARGE, "the answer is larger than %zu bytes; ask for less",
                       mem_answer_bytes_max);
    }
    if (code) {
        batch_fini(rows);
    } else {
        *ret_rows = *rows;
    }
    atomic_fetch_add(&mem->queries, 1);
    atomic_fetch_add(&mem->query_errors, code != ERR_OK);
    hist_record(&mem->query_us, clock_mono_us(mem->clock) - reading->start_us);
    return code;
}

void
mem_order_of_scan(const struct catalog_table *table, struct column_list *order)
{
    if (table->time_column != CATALOG_NONE) {
        order->index[order->count++] = (uint8_t)table->time_column;
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (catalog_orders(table, i)) {
            order->index[order->count++] = (uint8_t)i;
        }
    }
}
