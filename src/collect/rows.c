/* Setting values by column name. */
#include "collect/rows.h"

#include <assert.h>
#include <math.h>

static size_t
find(const struct batch *batch, const char *column)
{
    int index = batch_column_index(batch, slice_of(column));

    assert(index >= 0);
    return (size_t)index;
}

/* Cuts to the range that every type here can hold. */
static int64_t
whole(double value, int64_t min, int64_t max)
{
    return value <= (double)min ? min : value >= (double)max ? max : (int64_t)value;
}

void
rows_put_number(struct batch *batch, size_t row, const char *column, double value)
{
    size_t at = find(batch, column);

    if (!isfinite(value)) {
        batch_set_null(batch, at, row);
        return;
    }
    switch (batch->columns[at].type) {
    case COL_DOUBLE:
        batch_set_f64(batch, at, row, value);
        return;
    case COL_INT32:
        batch_set_i32(batch, at, row, (int32_t)whole(value, INT32_MIN, INT32_MAX));
        return;
    case COL_INT64:
        batch_set_i64(batch, at, row, whole(value, INT64_MIN, INT64_MAX));
        return;
    case COL_DECIMAL: /* collectors bring measurements, never money */
    case COL_BOOL:
    case COL_TIMESTAMP:
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    assert(batch->columns[at].type == COL_DOUBLE); /* a column of numbers */
}

void
rows_put_time(struct batch *batch, size_t row, const char *column, int64_t us)
{
    batch_set_i64(batch, find(batch, column), row, us);
}

void
rows_put_text(struct batch *batch, size_t row, const char *column, struct slice text)
{
    batch_set_text(batch, find(batch, column), row, text);
}
