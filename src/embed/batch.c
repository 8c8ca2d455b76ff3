/* Batches as callers see them: cells by column and row. */
#include "base/mem.h"
#include "embed/embed_internal.h"

_Static_assert((int)EIDER_TYPE_DECIMAL == (int)COL_DECIMAL, "types are handed on by number");
_Static_assert((int)EIDER_TYPE_TEXT == (int)COL_TEXT, "types are handed on by number");

struct eider_batch *
embed_batch_new(struct batch *rows, bool truncated)
{
    struct eider_batch *batch = mem_zalloc(1, sizeof(*batch));

    batch->rows = *rows;
    batch->truncated = truncated;
    return batch;
}

void
eider_batch_free(struct eider_batch *batch)
{
    if (batch) {
        batch_fini(&batch->rows);
        free(batch);
    }
}

size_t
eider_batch_rows(const struct eider_batch *batch)
{
    return batch->rows.rows;
}

size_t
eider_batch_columns(const struct eider_batch *batch)
{
    return batch->rows.column_count;
}

const char *
eider_batch_name(const struct eider_batch *batch, size_t column)
{
    return column < batch->rows.column_count ? batch->rows.columns[column].name : NULL;
}

enum eider_type
eider_batch_type(const struct eider_batch *batch, size_t column)
{
    return column < batch->rows.column_count ? (enum eider_type)batch->rows.columns[column].type
                                             : EIDER_TYPE_TEXT;
}

int
eider_batch_find(const struct eider_batch *batch, const char *name)
{
    int at = batch_column_index(&batch->rows, slice_of(name));

    return at == CATALOG_NONE ? -1 : at;
}

bool
eider_batch_is_truncated(const struct eider_batch *batch)
{
    return batch->truncated;
}

static bool
has_cell(const struct eider_batch *batch, size_t column, size_t row)
{
    return column < batch->rows.column_count && row < batch->rows.rows;
}

bool
eider_batch_is_null(const struct eider_batch *batch, size_t column, size_t row)
{
    return !has_cell(batch, column, row) || batch_is_null(&batch->rows, column, row);
}

int64_t
eider_batch_i64(const struct eider_batch *batch, size_t column, size_t row)
{
    if (eider_batch_is_null(batch, column, row)) {
        return 0;
    }
    if (batch->rows.columns[column].type == COL_DOUBLE) {
        double value = batch->rows.columns[column].f64[row];
        /* -2^63 and 2^63 are doubles, and beyond them a cast is undefined. */
        bool fits = value >= -0x1p63 && value < 0x1p63;
        return fits ? (int64_t)value : 0;
    }
    return batch_get_i64(&batch->rows, column, row);
}

double
eider_batch_f64(const struct eider_batch *batch, size_t column, size_t row)
{
    return eider_batch_is_null(batch, column, row) ? 0 : batch_get_f64(&batch->rows, column, row);
}

const char *
eider_batch_text(const struct eider_batch *batch, size_t column, size_t row, size_t *ret_len)
{
    struct slice text = slice_of("");

    if (!eider_batch_is_null(batch, column, row) &&
        (batch->rows.columns[column].type == COL_TEXT ||
         batch->rows.columns[column].type == COL_JSON)) {
        text = batch_get_text(&batch->rows, column, row);
    }
    if (ret_len) {
        *ret_len = text.len;
    }
    return text.ptr ? text.ptr : "";
}
