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

/* A column of samples. */
static struct mem_value
sample_value(const struct mem_ref *ref, size_t column)
{
    struct mem_value value = {.valid = true};

    if (column == 2) {
        value.type = COL_DOUBLE;
        value.f64 = ref->value;
        return value;
    }
    value.type = column == 0 ? COL_INT32 : COL_TIMESTAMP;
    value.i64 = column == 0 ? ref->series_id : ref->time_us;
    value.f64 = (double)value.i64;
    return value;
}

struct mem_value
mem_value_of(const struct catalog_table *table, const struct mem_ref *ref, size_t column)
{
    if (table->id == TABLE_SAMPLES) {
        return sample_value(ref, column);
    }
    if (table->kind != TABLE_VIEW) {
        return stored_value(table, ref->row, column);
    }
    const struct catalog_table *samples = catalog_table(TABLE_SAMPLES);
    const struct catalog_table *series = catalog_table(TABLE_SERIES);
    struct slice name = slice_of(table->columns[column].name);
    int index = catalog_column_index(samples, name);
    if (index != CATALOG_NONE) {
        return sample_value(ref, (size_t)index);
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
    return a->order < b->order ? -1 : a->order > b->order;
}

void
mem_sort(struct mem_reading *reading)
{
    if (reading->count > 1) {
        qsort_r(reading->refs, reading->count, sizeof(*reading->refs), compare_refs, reading);
    }
}

static enum err_code
plan_filters(const struct catalog_table *table, const struct store_scan *scan,
             struct mem_plan *plan, struct err *err)
{
    assert(scan->filter_count <= STORE_FILTERS_MAX);
    for (size_t i = 0; i < scan->filter_count; i++) {
        const struct store_filter *filter = &scan->filters[i];
        enum err_code code =
            catalog_find_column(table, filter->column, &plan->filter_columns[i], err);
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
        code = catalog_find_column(table, scan->at_least_column, &plan.at_least_column, err);
        if (!code) {
            code = store_check_at_least(scan, table, plan.at_least_column, err);
        }
    }
    if (code) {
        return code;
    }
    if (!column_list_of_mask(table, scan->column_mask, &plan.columns)) {
        return err_set(err, ERR_INVALID, "%s has only %zu columns to choose from", table->name,
                       table->column_count);
    }
    *ret_plan = plan;
    return ERR_OK;
}

/* Whether a row is at or behind the least value that is asked for. */
static bool
is_recent(const struct mem_reading *reading, const struct mem_plan *plan, const struct mem_ref *ref)
{
    if (!plan->scan->at_least_column) {
        return true;
    }
    struct mem_value value = mem_value_of(reading->table, ref, plan->at_least_column);
    return value.valid && value.i64 >= plan->scan->at_least;
}

static bool
is_value(const struct mem_value *value, struct slice text)
{
    int64_t number;

    if (!value->valid || value->type != COL_INT32) {
        return value->valid && slice_eq(value->text, text);
    }
    return number_parse_i64(text, &number) && number == value->i64;
}

/* Whether a row has one of the values of every filter. */
static bool
has_values(const struct mem_reading *reading, const struct mem_plan *plan,
           const struct mem_ref *ref)
{
    const struct store_scan *scan = plan->scan;

    for (size_t i = 0; i < scan->filter_count; i++) {
        const struct store_filter *filter = &scan->filters[i];
        struct mem_value value = mem_value_of(reading->table, ref, plan->filter_columns[i]);
        bool found = false;
        for (size_t j = 0; j < filter->value_count && !found; j++) {
            found = is_value(&value, filter->values[j]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
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
    return is_recent(reading, plan, ref) && has_values(reading, plan, ref);
}

static void
keep_ref(struct mem_reading *reading, const struct mem_ref *ref)
{
    if (reading->count == reading->cap) {
        reading->cap = reading->cap ? reading->cap * 2 : 64;
        reading->refs = mem_resize(reading->refs, reading->cap, sizeof(*reading->refs));
    }
    reading->refs[reading->count++] = *ref;
}

/* Notes a series that a read found rows in; a read of very many is a use of none. */
static void
note_found(struct mem_reading *reading, const struct mem_series *series)
{
    if (reading->found_count < MEM_TOUCHED_OF_ONE) {
        reading->found[reading->found_count] = series->item.key;
    }
    reading->found_count++;
}

uint64_t
mem_gather_range(struct mem_reading *reading, const struct mem_plan *plan, uint64_t from,
                 uint64_t to, size_t max)
{
    const struct mem_table *table = &reading->mem->tables[reading->table->id];
    size_t at = mem_slot_of(table, from);

    assert(!mem_is_samples(reading->table));
    for (; at < table->head + table->count && reading->count < max; at++) {
        const struct mem_slot *slot = &table->slots[at];
        if (slot->place >= to) {
            return to;
        }
        from = slot->place + 1;
        if (!slot->row) {
            continue;
        }
        struct mem_ref ref = {.row = slot->row, .order = slot->row->order};
        if (!passes(reading, plan, &ref)) {
            continue;
        }
        if (slot->row->series && slot->row->series != reading->last_found) {
            reading->last_found = slot->row->series;
            note_found(reading, slot->row->series);
        }
        keep_ref(reading, &ref);
    }
    return at == table->head + table->count ? to : from;
}

/* What tells the rows of one series from another's is looked at once, then only times are. */
static void
gather_points(struct mem_reading *reading, const struct mem_plan *plan,
              const struct mem_series *series)
{
    const struct store_scan *scan = plan->scan;
    const struct ring *points = &series->points;
    size_t from = ring_before(points, scan->from_us);
    struct mem_ref ref = {.series_id = (int32_t)(uint32_t)series->item.key};

    if (reading->table->kind == TABLE_VIEW) {
        ref.series = mem_find_series(reading->mem, ref.series_id);
    }
    for (size_t i = from; i < points->count && ring_time(points, i) <= scan->to_us; i++) {
        ref.time_us = ring_time(points, i);
        ref.value = ring_value(points, i);
        ref.order = ring_order(points, i);
        if (i == from && ((reading->table->kind == TABLE_VIEW && !ref.series) ||
                          !has_values(reading, plan, &ref))) {
            return;
        }
        if (is_recent(reading, plan, &ref)) {
            keep_ref(reading, &ref);
        }
    }
    if (from < points->count && ring_time(points, from) <= scan->to_us) {
        note_found(reading, series);
    }
}

enum err_code
mem_gather(struct mem_reading *reading, const struct store_scan *scan, struct err *err)
{
    struct mem_plan plan = {.scan = scan};

    enum err_code code = mem_make_plan(reading->table, scan, &plan, err);
    if (code) {
        return code;
    }
    if (!mem_is_samples(reading->table)) {
        mem_gather_range(reading, &plan, 0, UINT64_MAX, SIZE_MAX);
        return ERR_OK;
    }
    for (struct lru_item *item = reading->mem->lru.front; item; item = item->older) {
        const struct mem_series *series = (const struct mem_series *)item;
        if (series->table->id == TABLE_SAMPLES) {
            gather_points(reading, &plan, series);
        }
    }
    return ERR_OK;
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

/* Leaves word of what was found to the next apply. */
static void
note_read(struct mem_store *mem, const struct mem_reading *reading)
{
    pthread_mutex_lock(&mem->touched_lock);
    for (size_t i = 0; reading->found_count <= MEM_TOUCHED_OF_ONE && i < reading->found_count &&
                       mem->touched_count < MEM_TOUCHED_MAX;
         i++) {
        mem->touched[mem->touched_count++] = reading->found[i];
    }
    mem->hits += reading->found_count > 0;
    mem->misses += reading->found_count == 0;
    pthread_mutex_unlock(&mem->touched_lock);
}

enum err_code
mem_end(struct store *store, struct mem_reading *reading, enum err_code code, struct batch *rows,
        struct batch *ret_rows, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;

    pthread_rwlock_unlock(&mem->lock);
    note_read(mem, reading);
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
