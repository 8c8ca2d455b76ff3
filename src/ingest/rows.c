/* The gathered rows of one record. */
#include "ingest/rows.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { ROWS_TEXT_BYTES_MAX = 256 << 20, ANNOUNCED_FIRST = 16, SAMPLES_FIRST = 64 };

void
rows_init(struct rows *rows)
{
    *rows = (struct rows){0};
}

void
rows_fini(struct rows *rows)
{
    for (size_t i = 0; i < TABLE_ID_END; i++) {
        if (rows->batches[i].table) {
            batch_fini(&rows->batches[i]);
        }
    }
    free(rows->announced);
    free(rows->set);
    rows_init(rows);
}

void
rows_reset(struct rows *rows)
{
    for (size_t i = 0; i < TABLE_ID_END; i++) {
        if (rows->batches[i].table) {
            batch_reset(&rows->batches[i]);
        }
    }
    rows->sample_count = 0;
    if (rows->announced_count > 0) {
        memset(rows->set, 0, (rows->set_mask + 1) * sizeof(*rows->set));
    }
    rows->announced_count = 0;
}

struct batch *
rows_batch(struct rows *rows, const struct catalog_table *table)
{
    struct batch *batch = &rows->batches[table->id];

    if (!batch->table) {
        batch_init(batch, table, ROWS_TEXT_BYTES_MAX);
    }
    return batch;
}

bool
rows_grow_samples(struct rows *rows, size_t count)
{
    size_t need = rows->sample_count + count;

    if (need > ROWS_MAX) {
        return false;
    }
    struct batch *batch = rows_batch(rows, catalog_table(TABLE_SAMPLES));
    /* batch_reserve carries all values over up to its capacity, also those not yet rows. */
    batch_reserve(batch, need < SAMPLES_FIRST ? SAMPLES_FIRST : need);
    rows->sample_ids = batch->columns[0].i32;
    rows->sample_times = batch->columns[1].i64;
    rows->sample_values = batch->columns[2].f64;
    rows->sample_room = batch->capacity;
    return true;
}

static size_t
set_place(const struct rows *rows, const struct series *series)
{
    uint32_t spread = (uint32_t)series->id * 0x9e3779b1U;
    size_t at = spread & rows->set_mask;

    while (rows->set[at] && rows->announced[rows->set[at] - 1] != series) {
        at = (at + 1) & rows->set_mask;
    }
    return at;
}

static void
grow_announced(struct rows *rows)
{
    size_t capacity = rows->announced_capacity ? rows->announced_capacity * 2 : ANNOUNCED_FIRST;

    rows->announced = mem_resize(rows->announced, capacity, sizeof(struct series *));
    rows->announced_capacity = capacity;
    free(rows->set);
    rows->set = mem_zalloc(capacity * 2, sizeof(*rows->set));
    rows->set_mask = capacity * 2 - 1;
    for (size_t i = 0; i < rows->announced_count; i++) {
        rows->set[set_place(rows, rows->announced[i])] = (uint32_t)i + 1;
    }
}

void
rows_announce(struct rows *rows, struct series *series)
{
    if (rows->announced_count == rows->announced_capacity) {
        grow_announced(rows);
    }
    size_t at = set_place(rows, series);
    if (!rows->set[at]) {
        rows->announced[rows->announced_count++] = series;
        rows->set[at] = (uint32_t)rows->announced_count;
    }
}

void
rows_mark_durable(const struct rows *rows)
{
    for (size_t i = 0; i < rows->announced_count; i++) {
        series_mark_durable(rows->announced[i]);
    }
}

static void
fill_series(struct rows *rows)
{
    struct batch *batch = rows_batch(rows, catalog_table(TABLE_SERIES));

    batch_reserve(batch, rows->announced_count);
    for (size_t i = 0; i < rows->announced_count; i++) {
        const struct series *series = rows->announced[i];
        size_t row = batch_add_row(batch);
        batch_set_i32(batch, 0, row, series->id);
        batch_set_text(batch, 1, row, series->key.name);
        if (series->key.symbol.len > 0) {
            batch_set_text(batch, 2, row, series->key.symbol);
        }
        if (series->key.labels.len > 0) {
            batch_set_text(batch, 3, row, series->key.labels);
        }
    }
}

static size_t
add_view(const struct rows *rows, size_t table, struct batch *ret_view, size_t count)
{
    const struct batch *batch = &rows->batches[table];

    if (batch->table && batch->rows > 0) {
        ret_view[count++] = *batch;
    }
    return count;
}

size_t
rows_seal(struct rows *rows, struct batch *ret_view)
{
    if (rows->announced_count > 0) {
        fill_series(rows);
    }
    if (rows->sample_count > 0) {
        batch_extend(&rows->batches[TABLE_SAMPLES], rows->sample_count);
    }
    size_t count = add_view(rows, TABLE_SERIES, ret_view, 0);
    count = add_view(rows, TABLE_SAMPLES, ret_view, count);
    for (size_t i = 0; i < TABLE_ID_END; i++) {
        if (i != TABLE_SERIES && i != TABLE_SAMPLES && i != TABLE_IDEMPOTENCY) {
            count = add_view(rows, i, ret_view, count);
        }
    }
    return add_view(rows, TABLE_IDEMPOTENCY, ret_view, count);
}

static size_t
type_bytes(enum col_type type)
{
    switch (type) {
    case COL_BOOL:
        return sizeof(uint8_t);
    case COL_INT32:
        return sizeof(int32_t);
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DOUBLE:
    case COL_DECIMAL:
        return sizeof(int64_t);
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    return sizeof(struct slice);
}

size_t
rows_memory(const struct rows *rows)
{
    size_t bytes = rows->announced_capacity * (sizeof(struct series *) + 2 * sizeof(uint32_t));

    for (size_t i = 0; i < TABLE_ID_END; i++) {
        const struct batch *batch = &rows->batches[i];
        for (size_t j = 0; batch->table && j < batch->column_count; j++) {
            bytes += batch->capacity * type_bytes(batch->columns[j].type) + batch->capacity / 8;
        }
        bytes += batch->arena.used_bytes;
    }
    return bytes;
}
