/*
 * Batches: columns grow together, by doubling. Rows beyond `rows` are always NULL and zero in the
 * arrays, so that adding a row is counting it.
 */
#include "catalog/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/batch_internal.h"
#include "codec/decimal.h"

enum { ROWS_FIRST = 64, WORD_BITS = 64 };

size_t
batch_type_size(enum col_type type)
{
    switch (type) {
    case COL_BOOL:
        return sizeof(uint8_t);
    case COL_INT32:
        return sizeof(int32_t);
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        return sizeof(int64_t);
    case COL_DOUBLE:
        return sizeof(double);
    case COL_TEXT:
    case COL_JSON:
        return sizeof(struct slice);
    case COL_TYPE_COUNT:
        break;
    }
    assert(type != COL_TYPE_COUNT);
    return 0;
}

void
batch_init(struct batch *batch, const struct catalog_table *table, size_t text_bytes_max)
{
    *batch = (struct batch){.table = table, .column_count = table->column_count};
    arena_init(&batch->arena, text_bytes_max);
    batch->columns = mem_zalloc(table->column_count, sizeof(*batch->columns));
    for (size_t i = 0; i < table->column_count; i++) {
        batch->columns[i].name = table->columns[i].name;
        batch->columns[i].type = table->columns[i].type;
    }
}

void
batch_init_answer(struct batch *batch, size_t text_bytes_max)
{
    *batch = (struct batch){0};
    arena_init(&batch->arena, text_bytes_max);
}

struct column *
batch_add_column(struct batch *batch, struct slice name, enum col_type type)
{
    assert(!batch->table && batch->capacity == 0);
    batch->columns = mem_resize(batch->columns, batch->column_count + 1, sizeof(*batch->columns));
    struct column *column = &batch->columns[batch->column_count++];
    *column = (struct column){.name = arena_dup(&batch->arena, name).ptr, .type = type};
    return column;
}

void
batch_fini(struct batch *batch)
{
    for (size_t i = 0; i < batch->column_count; i++) {
        if (!batch->columns[i].borrowed) {
            free(batch->columns[i].data);
            free(batch->columns[i].valid);
        }
    }
    free(batch->columns);
    arena_fini(&batch->arena);
    *batch = (struct batch){0};
}

void
batch_reset(struct batch *batch)
{
    size_t words = (batch->rows + WORD_BITS - 1) / WORD_BITS;

    for (size_t i = 0; i < batch->column_count && batch->rows > 0; i++) {
        struct column *column = &batch->columns[i];
        assert(!column->borrowed);
        memset(column->data, 0, batch->rows * batch_type_size(column->type));
        memset(column->valid, 0, words * sizeof(*column->valid));
    }
    batch->rows = 0;
    if (batch->table) {
        arena_reset(&batch->arena); /* an answer's column names stand there */
    }
}

static void
grow_column(struct column *column, size_t from, size_t to)
{
    size_t size = batch_type_size(column->type);
    size_t from_words = from / WORD_BITS;
    size_t to_words = to / WORD_BITS;

    assert(!column->borrowed);
    column->data = mem_resize(column->data, to, size);
    memset((char *)column->data + from * size, 0, (to - from) * size);
    column->valid = mem_resize(column->valid, to_words, sizeof(*column->valid));
    memset(column->valid + from_words, 0, (to_words - from_words) * sizeof(*column->valid));
}

void
batch_reserve(struct batch *batch, size_t rows)
{
    size_t capacity = batch->capacity ? batch->capacity : ROWS_FIRST;

    assert(rows <= BATCH_ROWS_MAX);
    if (rows <= batch->capacity) {
        return;
    }
    while (capacity < rows) {
        capacity *= 2;
    }
    for (size_t i = 0; i < batch->column_count; i++) {
        grow_column(&batch->columns[i], batch->capacity, capacity);
    }
    batch->capacity = capacity;
}

size_t
batch_add_row(struct batch *batch)
{
    assert(batch->rows < BATCH_ROWS_MAX);
    if (batch->rows == batch->capacity) {
        batch_reserve(batch, batch->rows + 1);
    }
    return batch->rows++;
}

/* Sets the bits [from, to). */
static void
set_bits(uint64_t *words, size_t from, size_t to)
{
    while (from < to) {
        size_t end = (from / WORD_BITS + 1) * WORD_BITS;
        uint64_t bits = UINT64_MAX << from % WORD_BITS;
        if (end > to) {
            bits &= UINT64_MAX >> (end - to);
        }
        words[from / WORD_BITS] |= bits;
        from = end;
    }
}

size_t
batch_extend(struct batch *batch, size_t count)
{
    size_t first = batch->rows;

    assert(count <= BATCH_ROWS_MAX - first);
    batch_reserve(batch, first + count);
    for (size_t i = 0; i < batch->column_count; i++) {
        set_bits(batch->columns[i].valid, first, first + count);
    }
    batch->rows += count;
    return first;
}

void
batch_drop_row(struct batch *batch)
{
    assert(batch->rows > 0);
    for (size_t i = 0; i < batch->column_count; i++) {
        batch_set_null(batch, i, batch->rows - 1);
    }
    batch->rows--;
}

static struct column *
writable(struct batch *batch, size_t column, size_t row)
{
    assert(column < batch->column_count && row < batch->rows);
    struct column *target = &batch->columns[column];
    assert(!target->borrowed);
    target->valid[row / WORD_BITS] |= 1ULL << (row % WORD_BITS);
    return target;
}

void
batch_set_bool(struct batch *batch, size_t column, size_t row, bool value)
{
    struct column *target = writable(batch, column, row);

    assert(target->type == COL_BOOL);
    target->b[row] = value;
}

void
batch_set_i32(struct batch *batch, size_t column, size_t row, int32_t value)
{
    struct column *target = writable(batch, column, row);

    assert(target->type == COL_INT32);
    target->i32[row] = value;
}

void
batch_set_i64(struct batch *batch, size_t column, size_t row, int64_t value)
{
    struct column *target = writable(batch, column, row);

    assert(target->type == COL_INT64 || target->type == COL_TIMESTAMP ||
           target->type == COL_DECIMAL);
    target->i64[row] = value;
}

void
batch_set_f64(struct batch *batch, size_t column, size_t row, double value)
{
    struct column *target = writable(batch, column, row);

    assert(target->type == COL_DOUBLE);
    target->f64[row] = value;
}

void
batch_set_text(struct batch *batch, size_t column, size_t row, struct slice value)
{
    struct column *target = writable(batch, column, row);

    assert(target->type == COL_TEXT || target->type == COL_JSON);
    target->text[row] = value;
}

void
batch_set_null(struct batch *batch, size_t column, size_t row)
{
    struct column *target = writable(batch, column, row);
    size_t size = batch_type_size(target->type);

    target->valid[row / WORD_BITS] &= ~(1ULL << (row % WORD_BITS));
    memset((char *)target->data + row * size, 0, size);
}

struct slice
batch_keep_text(struct batch *batch, struct slice text)
{
    return arena_dup(&batch->arena, text);
}

size_t
batch_bytes(const struct batch *batch)
{
    return batch->rows * batch->column_count * sizeof(struct slice) + batch->arena.used_bytes;
}

bool
batch_is_null(const struct batch *batch, size_t column, size_t row)
{
    assert(column < batch->column_count && row < batch->rows);
    const uint64_t *valid = batch->columns[column].valid;

    return valid && !(valid[row / WORD_BITS] >> (row % WORD_BITS) & 1);
}

double
batch_get_f64(const struct batch *batch, size_t column, size_t row)
{
    const struct column *from = &batch->columns[column];

    if (batch_is_null(batch, column, row)) {
        return 0;
    }
    switch (from->type) {
    case COL_BOOL:
        return from->b[row];
    case COL_INT32:
        return from->i32[row];
    case COL_INT64:
    case COL_TIMESTAMP:
        return (double)from->i64[row];
    case COL_DECIMAL:
        return decimal_to_double(from->i64[row]);
    case COL_DOUBLE:
        return from->f64[row];
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    return 0;
}

/* Towards zero; what int64 cannot hold becomes the nearest it can, NaN 0. */
static int64_t
cut(double value)
{
    if (value != value) {
        return 0;
    }
    if (value >= 0x1p63) {
        return INT64_MAX;
    }
    return value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

int64_t
batch_get_i64(const struct batch *batch, size_t column, size_t row)
{
    const struct column *from = &batch->columns[column];

    if (batch_is_null(batch, column, row)) {
        return 0;
    }
    switch (from->type) {
    case COL_BOOL:
        return from->b[row];
    case COL_INT32:
        return from->i32[row];
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        return from->i64[row];
    case COL_DOUBLE:
        return cut(from->f64[row]);
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    return 0;
}

struct slice
batch_get_text(const struct batch *batch, size_t column, size_t row)
{
    const struct column *from = &batch->columns[column];

    if (batch_is_null(batch, column, row) || (from->type != COL_TEXT && from->type != COL_JSON)) {
        return (struct slice){"", 0};
    }
    return from->text[row];
}

int
batch_column_index(const struct batch *batch, struct slice name)
{
    for (size_t i = 0; i < batch->column_count; i++) {
        if (slice_is(name, batch->columns[i].name)) {
            return (int)i;
        }
    }
    return CATALOG_NONE;
}

void
batch_copy_row(struct batch *to, const struct batch *from, size_t row)
{
    assert(to->column_count == from->column_count && row < from->rows);
    size_t target = batch_add_row(to);

    for (size_t i = 0; i < from->column_count; i++) {
        const struct column *source = &from->columns[i];
        size_t size = batch_type_size(source->type);
        assert(source->type == to->columns[i].type);
        if (!batch_is_null(from, i, row)) {
            struct column *column = writable(to, i, target);
            memcpy((char *)column->data + target * size, (const char *)source->data + row * size,
                   size);
        }
    }
}
