/* Rows as JSON and CSV. */
#include "catalog/batch_text.h"

#include <math.h>

#include "codec/csv.h"
#include "codec/decimal.h"
#include "codec/number.h"
#include "codec/time.h"

enum { NUMBER_BYTES = 40 };

void
batch_json_value(struct json_writer *writer, const struct batch *rows, size_t column, size_t row)
{
    const struct column *col = &rows->columns[column];
    char text[DECIMAL_TEXT_MAX];

    if (batch_is_null(rows, column, row)) {
        json_write_null(writer);
        return;
    }
    switch (col->type) {
    case COL_BOOL:
        json_bool(writer, col->b[row] != 0);
        break;
    case COL_INT32:
        json_i64(writer, col->i32[row]);
        break;
    case COL_INT64:
        json_i64(writer, col->i64[row]);
        break;
    case COL_DOUBLE:
        json_f64(writer, col->f64[row]);
        break;
    case COL_TIMESTAMP:
        json_time_us(writer, col->i64[row]);
        break;
    case COL_TEXT:
        json_str(writer, col->text[row]);
        break;
    case COL_JSON:
        json_raw(writer, col->text[row]);
        break;
    case COL_DECIMAL:
        json_raw(writer, slice_make(text, decimal_format(col->i64[row], text)));
        break;
    case COL_TYPE_COUNT:
        break;
    }
}

void
batch_json_row(struct json_writer *writer, const struct batch *rows, size_t row, const char *type)
{
    json_object_begin(writer);
    if (type) {
        json_key(writer, "type");
        json_cstr(writer, type);
    }
    for (size_t column = 0; column < rows->column_count; column++) {
        json_key(writer, rows->columns[column].name);
        batch_json_value(writer, rows, column, row);
    }
    json_object_end(writer);
}

void
batch_ndjson(struct buf *out, const struct batch *rows)
{
    for (size_t row = 0; row < rows->rows; row++) {
        struct json_writer writer;

        json_init(&writer, out);
        batch_json_row(&writer, rows, row, NULL);
        buf_add_char(out, '\n');
    }
}

void
batch_csv_header(struct buf *out, const struct batch *rows)
{
    for (size_t column = 0; column < rows->column_count; column++) {
        if (column > 0) {
            buf_add_char(out, ',');
        }
        csv_write_field(out, slice_of(rows->columns[column].name), ',', false);
    }
    csv_write_end(out);
}

static void
csv_value(struct buf *out, const struct batch *rows, size_t column, size_t row)
{
    const struct column *col = &rows->columns[column];
    char text[NUMBER_BYTES];

    switch (col->type) {
    case COL_BOOL:
        buf_add_cstr(out, col->b[row] ? "true" : "false");
        break;
    case COL_INT32:
        buf_add_i64(out, col->i32[row]);
        break;
    case COL_INT64:
        buf_add_i64(out, col->i64[row]);
        break;
    case COL_DOUBLE:
        if (isnan(col->f64[row])) {
            buf_add_cstr(out, "nan");
        } else if (isinf(col->f64[row])) {
            buf_add_cstr(out, col->f64[row] < 0 ? "-inf" : "inf");
        } else {
            number_format_f64(col->f64[row], text);
            buf_add_cstr(out, text);
        }
        break;
    case COL_TIMESTAMP:
        time_format_iso8601(col->i64[row], text);
        buf_add_cstr(out, text);
        break;
    case COL_TEXT:
    case COL_JSON:
        /* Quotes tell the empty text from NULL. */
        csv_write_field(out, col->text[row], ',', col->text[row].len == 0);
        break;
    case COL_DECIMAL:
        buf_add(out, text, decimal_format(col->i64[row], text));
        break;
    case COL_TYPE_COUNT:
        break;
    }
}

void
batch_csv_rows(struct buf *out, const struct batch *rows)
{
    for (size_t row = 0; row < rows->rows; row++) {
        for (size_t column = 0; column < rows->column_count; column++) {
            if (column > 0) {
                buf_add_char(out, ',');
            }
            if (!batch_is_null(rows, column, row)) {
                csv_value(out, rows, column, row);
            }
        }
        csv_write_end(out);
    }
}
