/* Rows as text. */
#include "cli/rows.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "catalog/batch_text.h"
#include "codec/decimal.h"
#include "codec/number.h"
#include "codec/time.h"

enum { CELL_WIDTH_MAX = 60 };
_Static_assert((int)TIME_TEXT_MAX >= (int)NUMBER_F64_MAX, "one buffer holds a time or a double");

bool
rows_parse_format(const char *name, enum rows_format *ret_format)
{
    static const char *const names[] = {"table", "csv", "json", "ndjson"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_format = (enum rows_format)i;
            return true;
        }
    }
    return false;
}

static enum err_code
flush(struct rows_writer *writer, struct buf *text, struct err *err)
{
    if (text->len > 0 && fwrite(text->ptr, 1, text->len, writer->out) != text->len) {
        return err_sys(err, errno, "cannot write the rows");
    }
    buf_reset(text);
    return ERR_OK;
}

/* ---- table ---- */

/* A value as a reader of a table wants it; NULL is empty. */
static void
add_cell(struct buf *out, const struct batch *rows, size_t column, size_t row)
{
    const struct column *values = &rows->columns[column];
    char text[TIME_TEXT_MAX]; /* also enough for a double */

    if (batch_is_null(rows, column, row)) {
        return;
    }
    switch (values->type) {
    case COL_BOOL:
        buf_add_cstr(out, values->b[row] ? "true" : "false");
        break;
    case COL_INT32:
    case COL_INT64:
        buf_add_i64(out, batch_get_i64(rows, column, row));
        break;
    case COL_DOUBLE:
        number_format_f64(values->f64[row], text);
        buf_add_cstr(out, text);
        break;
    case COL_TIMESTAMP:
        time_format_iso8601(values->i64[row], text);
        buf_add_cstr(out, text);
        break;
    case COL_DECIMAL:
        buf_add(out, text, decimal_format(values->i64[row], text));
        break;
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT: {
        /* Control characters would move the cursor of the terminal, or do worse. */
        struct slice value = batch_get_text(rows, column, row);
        for (size_t i = 0; i < value.len; i++) {
            unsigned char c = (unsigned char)value.ptr[i];
            buf_add_char(out, c < 0x20 || c == 0x7f ? ' ' : value.ptr[i]);
        }
        break;
    }
    }
}

/* Characters, not bytes. */
static size_t
width_of(struct slice text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.len; i++) {
        width += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    }
    return width;
}

static void
add_padded(struct buf *out, struct slice text, size_t width, bool right)
{
    size_t own = width_of(text);
    int pad = own < width ? (int)(width - own) : 0;

    if (right) {
        buf_add_fmt(out, "%*s", pad, "");
    }
    buf_add_slice(out, text);
    if (!right) {
        buf_add_fmt(out, "%*s", pad, "");
    }
}

static bool
is_number(enum col_type type)
{
    return type == COL_INT32 || type == COL_INT64 || type == COL_DOUBLE || type == COL_DECIMAL;
}

static void
add_line(struct buf *out, const struct batch *rows, const size_t *widths, size_t row)
{
    struct buf cell BUF_AUTO = {0};

    buf_init(&cell, 0);
    for (size_t column = 0; column < rows->column_count; column++) {
        buf_reset(&cell);
        add_cell(&cell, rows, column, row);
        buf_add_cstr(out, column ? "  " : "");
        bool last = column + 1 == rows->column_count;
        bool right = is_number(rows->columns[column].type);
        add_padded(out, buf_slice(&cell), last && !right ? 0 : widths[column], right);
    }
    buf_add_char(out, '\n');
}

static size_t *
measure(const struct batch *rows)
{
    size_t *widths = mem_zalloc(rows->column_count + 1, sizeof(*widths));
    struct buf cell BUF_AUTO = {0};

    buf_init(&cell, 0);
    for (size_t column = 0; column < rows->column_count; column++) {
        widths[column] = width_of(slice_of(rows->columns[column].name));
        for (size_t row = 0; row < rows->rows; row++) {
            buf_reset(&cell);
            add_cell(&cell, rows, column, row);
            size_t width = width_of(buf_slice(&cell));
            width = width > CELL_WIDTH_MAX ? CELL_WIDTH_MAX : width;
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
    return widths;
}

static enum err_code
write_table(struct rows_writer *writer, const struct batch *rows, struct err *err)
{
    size_t *widths MEM_AUTO = measure(rows);
    struct buf text BUF_AUTO = {0};
    enum err_code code = ERR_OK;

    buf_init(&text, 0);
    for (size_t column = 0; column < rows->column_count; column++) {
        bool last = column + 1 == rows->column_count;
        bool right = is_number(rows->columns[column].type);
        buf_add_cstr(&text, column ? "  " : "");
        add_padded(&text, slice_of(rows->columns[column].name), last && !right ? 0 : widths[column],
                   right);
    }
    buf_add_char(&text, '\n');
    for (size_t column = 0; column < rows->column_count; column++) {
        buf_add_cstr(&text, column ? "  " : "");
        for (size_t i = 0; i < widths[column]; i++) {
            buf_add_char(&text, '-');
        }
    }
    buf_add_char(&text, '\n');
    for (size_t row = 0; row < rows->rows && code == ERR_OK; row++) {
        add_line(&text, rows, widths, row);
        if (text.len > 1 << 16) {
            code = flush(writer, &text, err);
        }
    }
    return code == ERR_OK ? flush(writer, &text, err) : code;
}

/* ---- the others ---- */

static void
add_json_rows(struct rows_writer *writer, const struct batch *rows, struct buf *text)
{
    for (size_t row = 0; row < rows->rows; row++) {
        struct json_writer json;
        bool first = writer->rows == 0 && row == 0;
        buf_add_cstr(text, first ? "\n" : ",\n");
        json_init(&json, text);
        batch_json_row(&json, rows, row, NULL);
    }
}

enum err_code
rows_write(struct rows_writer *writer, const struct batch *rows, struct err *err)
{
    struct buf text BUF_AUTO = {0};
    enum err_code code;

    buf_init(&text, 0);
    switch (writer->format) {
    case ROWS_TABLE:
        code = write_table(writer, rows, err);
        writer->rows += rows->rows;
        return code;
    case ROWS_CSV:
        if (!writer->begun) {
            batch_csv_header(&text, rows);
        }
        batch_csv_rows(&text, rows);
        break;
    case ROWS_JSON:
        buf_add_cstr(&text, writer->begun ? "" : "[");
        add_json_rows(writer, rows, &text);
        break;
    case ROWS_NDJSON:
        batch_ndjson(&text, rows);
        break;
    }
    writer->begun = true;
    writer->rows += rows->rows;
    if (text.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the rows are larger than a gibibyte of text");
    }
    return flush(writer, &text, err);
}

enum err_code
rows_end(struct rows_writer *writer, struct err *err)
{
    struct buf text BUF_AUTO = {0};

    buf_init(&text, 0);
    if (writer->format == ROWS_JSON) {
        buf_add_cstr(&text, writer->begun ? "" : "[");
        buf_add_cstr(&text, writer->rows ? "\n]\n" : "]\n");
    } else if (writer->format == ROWS_TABLE) {
        buf_add_fmt(&text, "(%llu row%s)\n", (unsigned long long)writer->rows,
                    writer->rows == 1 ? "" : "s");
    }
    enum err_code code = flush(writer, &text, err);
    if (code == ERR_OK && fflush(writer->out) != 0) {
        code = err_sys(err, errno, "cannot write the rows");
    }
    return code;
}
