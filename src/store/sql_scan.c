/* A reader of one form of statements, which gives up at everything else. */
#include "store/sql_scan.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "codec/number.h"
#include "store/sql_reader.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

/* What is read of a statement so far. */
struct form {
    struct sql_reader reader;
    const struct catalog_table *table;
    struct sql_scan *scan;
};

static bool
is_table(const struct form *form)
{
    return sql_is_name(&form->reader) && strcmp(form->reader.token.text, form->table->name) == 0;
}

/* ---- the list of columns ---- */

static bool
find_column(const struct catalog_table *table, struct slice name, size_t *ret_column)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (slice_is(name, table->columns[i].name)) {
            *ret_column = i;
            return true;
        }
    }
    return false;
}

/* A name as the answer shows it: without its quotes, otherwise as it is written. */
static bool
read_label(struct sql_reader *reader, struct slice *ret_name)
{
    struct slice name = sql_raw(reader);

    /* Numbers and parameters are words, too. */
    if (!sql_is_name(reader) ||
        !(isalpha((unsigned char)name.ptr[0]) || name.ptr[0] == '_' || name.ptr[0] == '"')) {
        return false;
    }
    if (name.ptr[0] == '"') {
        name = slice_sub(name, 1, name.len - 2);
    }
    sql_advance(reader);
    *ret_name = name;
    return name.len > 0 && !memchr(name.ptr, '"', name.len);
}

/* A name that is another column's would be that column in WHERE and ORDER BY, or would it? */
static bool
is_clear(const struct form *form, struct slice name, size_t column)
{
    const struct catalog_table *table = form->table;

    for (size_t i = 0; i < table->column_count; i++) {
        if (slice_is_nocase(name, table->columns[i].name) && i != column) {
            return false;
        }
    }
    for (size_t i = 0; i < form->scan->column_count; i++) {
        struct slice other = form->scan->names[i];
        if (other.len == name.len && strncasecmp(other.ptr, name.ptr, name.len) == 0) {
            return false;
        }
    }
    return true;
}

static bool
add_column(struct form *form, size_t column, struct slice name)
{
    struct sql_scan *scan = form->scan;

    if (scan->column_count == SQL_SCAN_COLUMNS_MAX || !is_clear(form, name, column) ||
        (scan->scan.column_mask & 1ULL << column)) { /* a scan gives each column once */
        return false;
    }
    scan->columns[scan->column_count] = column;
    scan->names[scan->column_count++] = name;
    scan->scan.column_mask |= 1ULL << column;
    return true;
}

/* [trading_metrics .] column [AS name] */
static bool
read_item(struct form *form)
{
    struct sql_reader *reader = &form->reader;
    struct sql_reader ahead = *reader;
    struct slice name;
    size_t column;

    sql_advance(&ahead);
    if (is_table(form) && sql_take_symbol(&ahead, '.')) {
        *reader = ahead;
    }
    if (!read_label(reader, &name) || !find_column(form->table, name, &column)) {
        return false;
    }
    if (sql_take_word(reader, "as") && !read_label(reader, &name)) {
        return false;
    }
    return add_column(form, column, name);
}

static bool
read_all_columns(struct form *form)
{
    for (size_t i = 0; i < form->table->column_count; i++) {
        if (!add_column(form, i, slice_of(form->table->columns[i].name))) {
            return false;
        }
    }
    return true;
}

static bool
read_columns(struct form *form)
{
    struct sql_reader *reader = &form->reader;

    if (sql_take_symbol(reader, '*')) {
        return read_all_columns(form);
    }
    do {
        if (!read_item(form)) {
            return false;
        }
    } while (sql_take_symbol(reader, ','));
    return true;
}

/* ---- WHERE ---- */

static bool
is_ours(const struct form *form, const struct sql_name *name)
{
    return !name->qualifier[0] || strcmp(name->qualifier, form->table->name) == 0;
}

static bool
read_value(struct form *form, struct store_filter *filter)
{
    struct sql_scan *scan = form->scan;

    if (scan->value_count == SQL_SCAN_VALUES_MAX ||
        !sql_read_text(&form->reader, &scan->values[scan->value_count])) {
        return false;
    }
    scan->value_count++;
    filter->value_count++;
    return true;
}

/* column = 'text', column IN ('text', ...), of texts alone. */
static bool
read_filter(struct form *form)
{
    struct sql_reader *reader = &form->reader;
    struct sql_scan *scan = form->scan;
    struct store_filter filter = {.values = scan->values + scan->value_count};
    struct sql_name name;
    size_t column;

    if (!sql_read_name(reader, &name) || !is_ours(form, &name) ||
        !find_column(form->table, slice_of(name.column), &column) ||
        form->table->columns[column].type != COL_TEXT ||
        scan->scan.filter_count == STORE_FILTERS_MAX) {
        return false;
    }
    filter.column = form->table->columns[column].name;
    if (sql_take_symbol(reader, '=')) {
        if (!read_value(form, &filter)) {
            return false;
        }
    } else {
        if (!sql_take_word(reader, "in") || !sql_take_symbol(reader, '(')) {
            return false;
        }
        do {
            if (!read_value(form, &filter)) {
                return false;
            }
        } while (sql_take_symbol(reader, ','));
        if (!sql_take_symbol(reader, ')')) {
            return false;
        }
    }
    for (size_t i = 0; i < scan->scan.filter_count; i++) {
        if (strcmp(scan->scan.filters[i].column, filter.column) == 0) {
            return false; /* both are meant, not one of them */
        }
    }
    scan->scan.filters[scan->scan.filter_count++] = filter;
    return true;
}

static bool
narrow(struct store_scan *scan, const struct sql_bound *bound)
{
    int64_t from_us = bound->from.us;
    int64_t to_us = bound->to.us;

    if ((bound->from_open && from_us == INT64_MAX) || (bound->to_open && to_us == INT64_MIN)) {
        return false;
    }
    from_us += bound->from_open;
    to_us -= bound->to_open;
    scan->from_us = from_us > scan->from_us ? from_us : scan->from_us;
    scan->to_us = to_us < scan->to_us ? to_us : scan->to_us;
    return true;
}

static bool
read_condition(struct form *form)
{
    struct sql_reader ahead = form->reader;
    struct sql_bound bound;
    struct sql_name name;

    if (!sql_read_name(&ahead, &name) || !is_ours(form, &name)) {
        return false;
    }
    if (strcmp(name.column, form->table->columns[form->table->time_column].name) != 0) {
        return read_filter(form);
    }
    return sql_read_bound(&form->reader, &bound) && narrow(&form->scan->scan, &bound);
}

static bool
read_where(struct form *form)
{
    if (!sql_take_word(&form->reader, "where")) {
        return false;
    }
    do {
        if (!read_condition(form)) {
            return false;
        }
    } while (sql_take_word(&form->reader, "and"));
    return true;
}

/* ---- what follows ---- */

/* Whether the token is a name wherever it stands. ORDER BY ALL is not by a column "all"; so with
 * TRUE, NULL and a hundred others, and every version of DuckDB adds some. */
static bool
is_certain_name(const struct sql_reader *reader)
{
    static const char *const usual[] = {"date", "t", "time", "ts"};

    return sql_raw(reader).ptr[0] == '"' || sql_is_one_of(reader, usual, COUNT_OF(usual));
}

/* The time, by its name or the one it has in the answer. */
static bool
read_order(struct form *form)
{
    struct sql_reader *reader = &form->reader;
    const struct sql_scan *scan = form->scan;
    size_t time = (size_t)form->table->time_column;
    struct sql_name name;

    if (!sql_take_word(reader, "by") || !sql_is_name(reader)) {
        return false;
    }
    bool certain = is_certain_name(reader);
    if (!sql_read_name(reader, &name) || !is_ours(form, &name)) {
        return false;
    }
    bool is_time = strcmp(name.column, form->table->columns[time].name) == 0;
    for (size_t i = 0; i < scan->column_count && certain && !name.qualifier[0]; i++) {
        is_time |= scan->columns[i] == time && slice_is_nocase(scan->names[i], name.column);
    }
    if (sql_take_word(reader, "desc")) {
        form->scan->scan.newest_first = true;
    } else {
        sql_take_word(reader, "asc");
    }
    return is_time;
}

static bool
read_count(struct sql_reader *reader, uint64_t *ret_count)
{
    int64_t count;

    if (!sql_is_name(reader) || !number_parse_i64(sql_raw(reader), &count) || count < 0) {
        return false;
    }
    sql_advance(reader);
    *ret_count = (uint64_t)count;
    return true;
}

static bool
read_rest(struct form *form)
{
    struct sql_reader *reader = &form->reader;
    struct store_scan *scan = &form->scan->scan;

    form->scan->ordered = sql_take_word(reader, "order");
    if (form->scan->ordered && !read_order(form)) {
        return false;
    }
    if (sql_take_word(reader, "limit") && (!read_count(reader, &scan->limit) || scan->limit == 0)) {
        return false;
    }
    if (sql_take_word(reader, "offset") && !read_count(reader, &scan->offset)) {
        return false;
    }
    sql_take_symbol(reader, ';');
    return sql_is_end(reader);
}

/* Whether the statement has the parameters that were given, which is the store's to refuse. */
static bool
has_all_params(const struct form *form)
{
    size_t given = form->reader.sql->param_count;

    if (form->reader.dollars == 0) {
        return form->reader.questions == given;
    }
    return form->reader.questions == 0 && form->reader.dollars == (1ULL << (given + 1)) - 2;
}

static bool
has_name(const struct store_scan *scan)
{
    for (size_t i = 0; i < scan->filter_count; i++) {
        if (strcmp(scan->filters[i].column, "metric_name") == 0) {
            return true;
        }
    }
    return false;
}

bool
sql_scan_find(const struct store_sql *sql, struct sql_scan *ret_scan)
{
    enum { DOLLARS = 9 };
    struct form form = {.table = catalog_table(TABLE_METRICS), .scan = ret_scan};

    assert(form.table->column_count <= SQL_SCAN_COLUMNS_MAX);
    *ret_scan = (struct sql_scan){
        .scan = {.table = TABLE_METRICS, .from_us = INT64_MIN, .to_us = INT64_MAX}};
    if (sql->param_count > DOLLARS) {
        return false;
    }
    sql_reader_init(&form.reader, sql);
    if (!sql_take_word(&form.reader, "select") || !read_columns(&form) ||
        !sql_take_word(&form.reader, "from") || !is_table(&form)) {
        return false;
    }
    sql_advance(&form.reader);
    return read_where(&form) && read_rest(&form) && has_all_params(&form) &&
           has_name(&ret_scan->scan);
}
