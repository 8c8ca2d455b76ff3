/* JSON as tables. */
#include "cli/json_table.h"

#include <string.h>

#include "cli/rows.h"
#include "codec/decimal.h"
#include "codec/number.h"
#include "codec/time.h"

enum { TABLE_TEXT_MAX = 64 << 20, PATH_PART_MAX = 64 };

void
json_table_init(struct batch *rows, const struct json_column *columns)
{
    batch_init_answer(rows, TABLE_TEXT_MAX);
    for (; columns->title; columns++) {
        batch_add_column(rows, slice_of(columns->title), columns->type);
    }
}

const json_t *
json_at(const json_t *object, const char *path)
{
    struct slice rest = slice_of(path);
    struct slice part;
    char name[PATH_PART_MAX];

    while (object && rest.len > 0) {
        slice_split(&rest, '.', &part);
        if (!slice_to_cstr(part, name, sizeof(name))) {
            return NULL;
        }
        object = json_object_get(object, name);
    }
    return object;
}

static void
add_text(struct buf *out, const json_t *value)
{
    char number[NUMBER_F64_MAX];
    const char *key;
    json_t *member;
    size_t index;
    bool first = true;

    if (json_is_string(value)) {
        buf_add(out, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        buf_add_i64(out, json_integer_value(value));
    } else if (json_is_real(value)) {
        buf_add(out, number, number_format_f64(json_real_value(value), number));
    } else if (json_is_boolean(value)) {
        buf_add_cstr(out, json_is_true(value) ? "yes" : "no");
    } else if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, member) /* NOLINT: only read */
        {
            buf_add_fmt(out, "%s%s=", first ? "" : " ", key);
            add_text(out, member);
            first = false;
        }
    } else if (json_is_array(value)) {
        json_array_foreach(value, index, member)
        {
            buf_add_cstr(out, first ? "" : ",");
            add_text(out, member);
            first = false;
        }
    }
}

static void
set_credits(struct batch *rows, size_t column, size_t row, const json_t *value)
{
    int64_t micro;

    if (json_is_string(value) ? decimal_parse(slice_of(json_string_value(value)), &micro)
                              : decimal_from_double(json_number_value(value), &micro)) {
        batch_set_i64(rows, column, row, micro);
    }
}

static void
set_cell(struct batch *rows, size_t column, size_t row, const json_t *value)
{
    int64_t us;

    switch (rows->columns[column].type) {
    case COL_DECIMAL:
        set_credits(rows, column, row, value);
        return;
    case COL_INT64:
        batch_set_i64(rows, column, row, (int64_t)json_number_value(value));
        return;
    case COL_DOUBLE:
        batch_set_f64(rows, column, row, json_number_value(value));
        return;
    case COL_TIMESTAMP:
        if (json_is_string(value) && time_parse_iso8601(slice_of(json_string_value(value)), &us)) {
            /* A reader of a table counts in seconds. */
            batch_set_i64(rows, column, row, us - us % TIME_US_PER_S);
        }
        return;
    case COL_BOOL:
        batch_set_bool(rows, column, row, json_is_true(value));
        return;
    case COL_INT32:
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    struct buf text BUF_AUTO = {0};
    buf_init(&text, 1 << 16);
    add_text(&text, value);
    batch_set_text(rows, column, row, batch_keep_text(rows, buf_slice(&text)));
}

void
json_table_add(struct batch *rows, const struct json_column *columns, const json_t *parent,
               const json_t *object)
{
    size_t row = batch_add_row(rows);

    for (size_t i = 0; columns[i].title; i++) {
        bool up = columns[i].path[0] == '^';
        const json_t *value = json_at(up ? parent : object, columns[i].path + up);
        if (value && !json_is_null(value)) {
            set_cell(rows, i, row, value);
        }
    }
}

enum err_code
json_table_print(struct cli *cli, struct batch *rows, const char *empty, struct err *err)
{
    struct rows_writer writer = {.out = cli->out, .format = ROWS_TABLE};
    enum err_code code = ERR_OK;

    if (rows->rows == 0) {
        fprintf(cli->out, "%s\n", empty);
    } else {
        code = rows_write(&writer, rows, err);
        if (code == ERR_OK) {
            code = rows_end(&writer, err);
        }
    }
    batch_fini(rows);
    return code;
}
