/* Sets of rows: values by table and column name, checked by the catalogue's rules. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "catalog/validate.h"
#include "embed/append_internal.h"

enum { SHOWN_BYTES = 100, NUMBER_BYTES = 32 };

struct eider_rows *
eider_rows_new(void)
{
    return mem_zalloc(1, sizeof(struct eider_rows));
}

void
embed_rows_fini(struct eider_rows *rows)
{
    for (size_t i = 0; i < TABLE_ID_END; i++) {
        if (rows->batches[i].table) {
            batch_fini(&rows->batches[i]);
        }
    }
    *rows = (struct eider_rows){.count = 0};
}

void
eider_rows_free(struct eider_rows *rows)
{
    if (rows) {
        embed_rows_fini(rows);
        free(rows);
    }
}

void
eider_rows_reset(struct eider_rows *rows)
{
    for (size_t i = 0; i < TABLE_ID_END; i++) {
        if (rows->batches[i].table) {
            batch_reset(&rows->batches[i]);
        }
    }
    rows->count = 0;
    rows->text_bytes = 0;
    rows->open = NULL;
    rows->row_bad = false;
    rows->error.status = EIDER_OK;
    rows->error.message[0] = '\0';
}

size_t
embed_rows_view(const struct eider_rows *rows, struct batch ret_view[TABLE_ID_END])
{
    size_t count = 0;

    for (size_t i = 0; i < TABLE_ID_END; i++) {
        if (rows->batches[i].table && rows->batches[i].rows > 0) {
            ret_view[count++] = rows->batches[i];
        }
    }
    return count;
}

const struct eider_error *
eider_rows_error(const struct eider_rows *rows)
{
    return &rows->error;
}

size_t
eider_rows_count(const struct eider_rows *rows)
{
    return rows->count;
}

static enum eider_status
succeed(struct eider_rows *rows)
{
    rows->error.status = EIDER_OK;
    rows->error.message[0] = '\0';
    return EIDER_OK;
}

/* The open row is wrong; its first error is the one that counts. */
static enum eider_status
spoil(struct eider_rows *rows)
{
    if (!rows->row_bad) {
        rows->row_bad = true;
        rows->row_error = rows->error;
    }
    return rows->error.status;
}

static void
drop_open(struct eider_rows *rows)
{
    if (rows->open) {
        batch_drop_row(rows->open);
        rows->open = NULL;
    }
    rows->row_bad = false;
}

enum eider_status
eider_row_begin(struct eider_rows *rows, const char *table_name)
{
    drop_open(rows);
    const struct catalog_table *table = embed_table(table_name, &rows->error);

    if (!table) {
        return EIDER_NOT_FOUND;
    }
    if (!table->ingestible) {
        return embed_refuse(&rows->error, EIDER_INVALID, "table %s cannot be written by clients",
                            table->name);
    }
    struct batch *batch = &rows->batches[table->id];
    if (!batch->table) {
        batch_init(batch, table, EMBED_TEXT_BYTES_MAX);
    }
    if (batch->rows >= EMBED_ROWS_MAX) {
        return embed_refuse(
            &rows->error, EIDER_TOO_LARGE,
            "table %s has %d rows in this set, which is the most; append them first", table->name,
            EMBED_ROWS_MAX);
    }
    rows->open = batch;
    rows->row = batch_add_row(batch);
    rows->guess = -1;
    return succeed(rows);
}

/* The column of the open row, or CATALOG_NONE with the error set. */
static int
find_column(struct eider_rows *rows, const char *name)
{
    struct slice column = slice_of(name);

    if (!rows->open) {
        embed_refuse(&rows->error, EIDER_INVALID, "%.*s: no row is open; begin one first",
                     SLICE_FMT(slice_sub(column, 0, SHOWN_BYTES)));
        return CATALOG_NONE;
    }
    int at = catalog_column_expect(rows->open->table, column, rows->guess + 1);
    if (at != CATALOG_NONE) {
        rows->guess = at;
        return at;
    }
    const char *nearest = catalog_suggest_column(rows->open->table, column);
    embed_refuse(&rows->error, EIDER_INVALID, "table %s has no column \"%.*s\"%s%s%s",
                 rows->open->table->name, SLICE_FMT(slice_sub(column, 0, SHOWN_BYTES)),
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    spoil(rows);
    return CATALOG_NONE;
}

static enum eider_status
tell_fault(struct eider_rows *rows, const struct catalog_fault *fault, const char *given)
{
    struct slice value = given ? slice_of(given) : slice_sub(fault->value, 0, SHOWN_BYTES);
    bool is_missing = !given && fault->value.len == 0;

    embed_refuse(&rows->error, fault->code == ERR_TOO_LARGE ? EIDER_TOO_LARGE : EIDER_INVALID,
                 "table %s, row %zu, %s: expected %s%s%.*s%s", rows->open->table->name, rows->row,
                 fault->field, fault->expected, is_missing ? "" : ", got \"", SLICE_FMT(value),
                 is_missing ? "" : "\"");
    return spoil(rows);
}

enum eider_status
eider_row_text(struct eider_rows *rows, const char *column, const char *text, size_t len)
{
    int at = find_column(rows, column);
    struct catalog_fault fault;

    if (at == CATALOG_NONE) {
        return rows->error.status;
    }
    if (!text && len > 0) {
        embed_refuse(&rows->error, EIDER_INVALID, "table %s, %s: text is NULL",
                     rows->open->table->name, column);
        return spoil(rows);
    }
    struct slice given = slice_make(text ? text : "", len);
    const struct scalar value = {.type = SCALAR_STRING, .text = given};
    /* Looked at before it is copied. */
    if (!catalog_set(rows->open, (size_t)at, rows->row, &value, TIME_PRECISION_US, &fault)) {
        return tell_fault(rows, &fault, len == 0 ? "" : NULL);
    }
    enum col_type type = rows->open->table->columns[at].type;
    if (type != COL_TEXT && type != COL_JSON) {
        return succeed(rows);
    }
    struct slice kept = slice_of("");
    bool fits = rows->text_bytes + len <= EMBED_TEXT_BYTES_MAX;
    if (fits) {
        kept = batch_keep_text(rows->open, given);
        fits = !rows->open->arena.overflow;
    }
    /* Never borrowed: the caller's text goes away. */
    batch_set_text(rows->open, (size_t)at, rows->row, kept);
    if (!fits) {
        embed_refuse(&rows->error, EIDER_TOO_LARGE,
                     "table %s, row %zu, %s: the texts of this set have more than %d MiB; append "
                     "them first",
                     rows->open->table->name, rows->row, column, EMBED_TEXT_BYTES_MAX >> 20);
        return spoil(rows);
    }
    rows->text_bytes += len;
    return succeed(rows);
}

/* A number as its text, by the same rules as in a body. */
static enum eider_status
set_number_text(struct eider_rows *rows, size_t column, const char *text)
{
    struct catalog_fault fault;

    if (!catalog_set_text(rows->open, column, rows->row, slice_of(text), TIME_PRECISION_US,
                          &fault)) {
        return tell_fault(rows, &fault, text);
    }
    return succeed(rows);
}

/* "1" is true in the text of a CSV, a timestamp and a text are anything; a number is none of it. */
static enum eider_status
check_numeric(struct eider_rows *rows, size_t column, const char *text)
{
    const struct catalog_column *rule = &rows->open->table->columns[column];

    switch (rule->type) {
    case COL_INT32:
    case COL_INT64:
    case COL_DOUBLE:
    case COL_DECIMAL:
        return EIDER_OK;
    case COL_BOOL:
    case COL_TIMESTAMP:
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break;
    }
    embed_refuse(&rows->error, EIDER_INVALID,
                 "table %s, row %zu, %s: expected %s, got the number %s", rows->open->table->name,
                 rows->row, rule->name,
                 rule->type == COL_TIMESTAMP ? "eider_row_time or an ISO 8601 text"
                                             : catalog_type_expected(rule->type),
                 text);
    return spoil(rows);
}

enum eider_status
eider_row_i64(struct eider_rows *rows, const char *column, int64_t value)
{
    int at = find_column(rows, column);
    char text[NUMBER_BYTES];

    if (at == CATALOG_NONE) {
        return rows->error.status;
    }
    snprintf(text, sizeof(text), "%lld", (long long)value);
    enum eider_status status = check_numeric(rows, (size_t)at, text);
    return status == EIDER_OK ? set_number_text(rows, (size_t)at, text) : status;
}

enum eider_status
eider_row_f64(struct eider_rows *rows, const char *column, double value)
{
    int at = find_column(rows, column);
    char text[NUMBER_F64_MAX];

    if (at == CATALOG_NONE) {
        return rows->error.status;
    }
    const struct catalog_column *rule = &rows->open->table->columns[at];
    if (rule->type == COL_DOUBLE && !(rule->min < rule->max)) {
        batch_set_f64(rows->open, (size_t)at, rows->row, value);
        return succeed(rows);
    }
    number_format_f64(value, text);
    enum eider_status status = check_numeric(rows, (size_t)at, text);
    return status == EIDER_OK ? set_number_text(rows, (size_t)at, text) : status;
}

enum eider_status
eider_row_bool(struct eider_rows *rows, const char *column, bool value)
{
    int at = find_column(rows, column);
    const struct scalar scalar = {
        .type = SCALAR_BOOL, .boolean = value, .text = slice_of(value ? "true" : "false")};
    struct catalog_fault fault;

    if (at == CATALOG_NONE) {
        return rows->error.status;
    }
    if (!catalog_set(rows->open, (size_t)at, rows->row, &scalar, TIME_PRECISION_US, &fault)) {
        return tell_fault(rows, &fault, NULL);
    }
    return succeed(rows);
}

enum eider_status
eider_row_time(struct eider_rows *rows, const char *column, int64_t timestamp_us)
{
    int at = find_column(rows, column);

    if (at == CATALOG_NONE) {
        return rows->error.status;
    }
    const struct catalog_column *rule = &rows->open->table->columns[at];
    int64_t time_us = timestamp_us == EIDER_NOW ? clock_wall_us(clock_system()) : timestamp_us;
    if (rule->type == COL_TIMESTAMP && time_in_range(time_us)) {
        batch_set_i64(rows->open, (size_t)at, rows->row, time_us);
        return succeed(rows);
    }
    embed_refuse(&rows->error, EIDER_INVALID, "table %s, row %zu, %s: expected %s, got %s %lld",
                 rows->open->table->name, rows->row, rule->name,
                 rule->type == COL_TIMESTAMP
                     ? "microseconds since 1970 in the years 1 to 9999, or EIDER_NOW"
                     : catalog_type_expected(rule->type),
                 "the time", (long long)timestamp_us);
    return spoil(rows);
}

enum eider_status
eider_row_end(struct eider_rows *rows)
{
    struct catalog_fault fault;

    if (!rows->open) {
        return embed_refuse(&rows->error, EIDER_INVALID, "no row is open; begin one first");
    }
    if (!rows->row_bad &&
        !catalog_fill_missing(rows->open, rows->row, clock_wall_us(clock_system()), &fault)) {
        tell_fault(rows, &fault, NULL);
    }
    if (rows->row_bad) {
        rows->error = rows->row_error;
        drop_open(rows);
        return rows->error.status;
    }
    rows->open = NULL;
    rows->count++;
    return succeed(rows);
}
