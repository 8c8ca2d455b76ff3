/*
 * Scans, buckets, newest rows and statistics as SQL. Identifiers come from the catalogue only,
 * texts are bound as parameters, times are written as numbers (a constant prunes row groups, a
 * parameter does not).
 */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/time.h"
#include "store/duckdb/duck_read.h"
#include "store/duckdb/duck_views.h"
#include "store/filter.h"

enum { VALUES_MAX = 10000 };

static const size_t answer_bytes_max = 1ULL << 30;

void
duck_sql_init(struct duck_sql *sql)
{
    *sql = (struct duck_sql){0};
    buf_init(&sql->text, DUCK_SQL_BYTES);
}

void
duck_sql_fini(struct duck_sql *sql)
{
    buf_fini(&sql->text);
    free(sql->params);
}

static void
add_param(struct duck_sql *sql, struct store_param param)
{
    if (sql->param_count == sql->param_cap) {
        sql->param_cap = sql->param_cap ? sql->param_cap * 2 : 8;
        sql->params = mem_resize(sql->params, sql->param_cap, sizeof(*sql->params));
    }
    sql->params[sql->param_count++] = param;
}

const char *
duck_sql_once(struct duck_sql *sql)
{
    if (sql->once) {
        return NULL;
    }
    sql->once = true;
    add_param(sql, (struct store_param){.type = PARAM_BOOL});
    return "?";
}

void
duck_sql_name(struct duck_sql *sql, const char *name)
{
    buf_add_char(&sql->text, '"');
    for (; *name; name++) {
        if (*name == '"') {
            buf_add_char(&sql->text, '"');
        }
        buf_add_char(&sql->text, *name);
    }
    buf_add_char(&sql->text, '"');
}

/* "a", "b", "c" */
void
duck_sql_names(struct duck_sql *sql, const struct catalog_table *table,
               const struct column_list *columns, const char *prefix)
{
    for (size_t i = 0; i < columns->count; i++) {
        buf_add_fmt(&sql->text, "%s%s", i ? ", " : "", prefix);
        duck_sql_name(sql, table->columns[columns->index[i]].name);
    }
}

const char *
duck_time_name(const struct catalog_table *table)
{
    return table->time_column == CATALOG_NONE ? NULL : table->columns[table->time_column].name;
}

enum err_code
duck_sql_filter(struct duck_sql *sql, const struct catalog_table *table,
                const struct store_filter *filter, struct err *err)
{
    size_t column = 0;
    enum err_code code = catalog_find_column(table, filter->column, &column, err);

    if (!code) {
        code = store_check_filter(filter, table, column, err);
    }
    if (code) {
        return code;
    }
    size_t values = sql->param_count - sql->once + filter->value_count;
    if (filter->value_count == 0 || values > VALUES_MAX) {
        return err_set(err, ERR_INVALID, "a filter takes 1 to %d values", VALUES_MAX);
    }
    sql->params =
        mem_resize(sql->params, sql->param_count + filter->value_count, sizeof(*sql->params));
    duck_sql_name(sql, filter->column);
    buf_add_cstr(&sql->text, " IN (");
    for (size_t i = 0; i < filter->value_count; i++) {
        struct slice value = filter->values[i];
        bool has_nul = value.len > 0 && memchr(value.ptr, '\0', value.len);
        buf_add_cstr(&sql->text, i ? ", " : "");
        if (sql->literal && !has_nul) {
            duck_cold_add_literal(value, &sql->text);
        } else {
            buf_add_char(&sql->text, '?');
            add_param(sql, (struct store_param){.type = PARAM_TEXT, .text = value});
        }
    }
    buf_add_char(&sql->text, ')');
    return ERR_OK;
}

/* make_timestamp refuses some of the times that no row should have. */
void
duck_sql_time(struct duck_sql *sql, int64_t time_us)
{
    if (time_in_range(time_us)) {
        buf_add_fmt(&sql->text, "make_timestamp(%" PRId64 ")", time_us);
    } else {
        buf_add_char(&sql->text, '?');
        add_param(sql, (struct store_param){.type = PARAM_TIMESTAMP, .i64 = time_us});
    }
}

static enum err_code
add_at_least(struct duck_sql *sql, const struct catalog_table *table, const struct store_scan *scan,
             const char *glue, struct err *err)
{
    size_t column = 0;
    enum err_code code = catalog_find_column(table, scan->at_least_column, &column, err);

    if (!code) {
        code = store_check_at_least(scan, table, column, err);
    }
    if (code) {
        return code;
    }
    buf_add_cstr(&sql->text, glue);
    duck_sql_name(sql, scan->at_least_column);
    buf_add_cstr(&sql->text, " >= ");
    if (table->columns[column].type == COL_TIMESTAMP) {
        duck_sql_time(sql, scan->at_least);
    } else {
        buf_add_fmt(&sql->text, "(%" PRId64 ")::BIGINT", scan->at_least);
    }
    return ERR_OK;
}

enum err_code
duck_sql_where(struct duck_sql *sql, const struct catalog_table *table,
               const struct store_scan *scan, struct err *err)
{
    const char *time = duck_time_name(table);
    const char *glue = " WHERE ";

    assert(scan->filter_count <= STORE_FILTERS_MAX);
    for (size_t i = 0; i < scan->filter_count; i++) {
        buf_add_cstr(&sql->text, glue);
        glue = " AND ";
        enum err_code code = duck_sql_filter(sql, table, &scan->filters[i], err);
        if (code) {
            return code;
        }
    }
    if (time && scan->from_us != INT64_MIN) {
        buf_add_fmt(&sql->text, "%s\"%s\" >= ", glue, time);
        duck_sql_time(sql, scan->from_us);
        glue = " AND ";
    }
    if (time && scan->to_us != INT64_MAX) {
        buf_add_fmt(&sql->text, "%s\"%s\" <= ", glue, time);
        duck_sql_time(sql, scan->to_us);
        glue = " AND ";
    }
    return scan->at_least_column ? add_at_least(sql, table, scan, glue, err) : ERR_OK;
}

/* Whether a filter leaves one value of this column: then it orders nothing, and sorting by a text
 * less is several times as fast. */
static bool
is_fixed(const struct catalog_table *table, const struct store_scan *scan, size_t column)
{
    for (size_t i = 0; i < scan->filter_count; i++) {
        if (scan->filters[i].value_count == 1 &&
            strcmp(scan->filters[i].column, table->columns[column].name) == 0) {
            return true;
        }
    }
    return false;
}

/* Time first, then what else tells rows apart, so that pages do not overlap. */
static void
add_order(struct duck_sql *sql, const struct catalog_table *table, const struct store_scan *scan)
{
    const char *glue = " ORDER BY ";

    if (table->time_column != CATALOG_NONE) {
        buf_add_fmt(&sql->text, "%s\"%s\"%s", glue, duck_time_name(table),
                    scan->newest_first ? " DESC" : "");
        glue = ", ";
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (catalog_orders(table, i) && !is_fixed(table, scan, i)) {
            buf_add_cstr(&sql->text, glue);
            duck_sql_name(sql, table->columns[i].name);
            glue = ", ";
        }
    }
}

void
duck_sql_limit(struct duck_sql *sql, const struct store_scan *scan)
{
    if (scan->limit > 0 && scan->limit <= INT64_MAX) {
        buf_add_fmt(&sql->text, " LIMIT %" PRIu64, scan->limit);
    }
    if (scan->offset > 0) {
        uint64_t offset = scan->offset <= INT64_MAX ? scan->offset : INT64_MAX;
        buf_add_fmt(&sql->text, " OFFSET %" PRIu64, offset);
    }
}

static bool
has_cold(const struct catalog_table *table)
{
    return table->sealed || table->kind == TABLE_VIEW;
}

void
duck_reading_unlist(struct duck_reading *reading)
{
    if (reading->listing) {
        pthread_rwlock_unlock(&reading->duck->cold.lock);
        reading->listing = false;
    }
}

void
duck_reading_close(struct duck_reading *reading)
{
    duck_reading_unlist(reading);
    if (reading->begun) {
        duck_read_end(reading->reader);
    }
    if (reading->reader) {
        duck_pool_give(reading->reader);
    }
    duck_sql_fini(&reading->sql);
}

/* Until duck_reading_run, the list of cold files stays as it is. To be closed in every case. */
enum err_code
duck_reading_open(struct duck_reading *reading, struct duck_store *duck,
                  const struct catalog_table *table, int timeout_ms, struct store_cancel *cancel,
                  struct err *err)
{
    *reading = (struct duck_reading){.duck = duck};
    duck_sql_init(&reading->sql);
    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_UNAVAILABLE, "the database was invalidated and is reopened");
    }
    timeout_ms = timeout_ms > 0 ? timeout_ms : duck->timeout_ms;
    enum err_code code = duck_pool_take(&duck->pool, timeout_ms, cancel, &reading->reader, err);
    if (code || !has_cold(table)) {
        return code;
    }
    pthread_rwlock_rdlock(&duck->cold.lock);
    reading->listing = true;
    code = duck_read_begin(duck, reading->reader, err);
    reading->begun = !code;
    return code;
}

static enum err_code
check_sql(struct duck_reading *reading, struct err *err)
{
    duck_reading_unlist(reading);
    return reading->sql.text.overflow
               ? err_set(err, ERR_TOO_LARGE, "the statement is longer than %d bytes",
                         DUCK_SQL_BYTES)
               : ERR_OK;
}

static struct duck_statement
statement_of(const struct duck_sql *sql)
{
    return (struct duck_statement){
        .sql = buf_slice(&sql->text), .params = sql->params, .param_count = sql->param_count};
}

enum err_code
duck_reading_run(struct duck_reading *reading, struct batch *ret_rows, struct err *err)
{
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = answer_bytes_max};
    struct duck_statement statement = statement_of(&reading->sql);

    enum err_code code = check_sql(reading, err);
    if (code) {
        return code;
    }
    code = duck_select(reading->duck, reading->reader, DUCK_SIDE_READ, &statement, &bounds,
                       ret_rows, NULL, err);
    return code && reading->cold ? err_context(err, code, "reading cold files") : code;
}

const struct catalog_table *
duck_find_table(enum table_id id, struct err *err)
{
    const struct catalog_table *table = catalog_table(id);

    if (!table) {
        err_set(err, ERR_NOT_FOUND, "there is no table number %d", (int)id);
    }
    return table;
}

/* " FROM ...": hot rows, and the cold files of the range; whether there are such. */
bool
duck_reading_source(struct duck_reading *reading, const struct catalog_table *table,
                    int64_t from_us, int64_t to_us)
{
    struct buf *sql = &reading->sql.text;

    buf_add_cstr(sql, " FROM ");
    if (table->kind == TABLE_VIEW || table->sealed) {
        struct duck_source how = {.once = "?"};
        size_t files = duck_cold_add_table(reading->duck, table, from_us, to_us, how, sql);
        if (files > 0) {
            duck_sql_once(&reading->sql);
        }
        return files > 0;
    }
    buf_add_fmt(sql, "main.\"%s\"", table->name);
    return false;
}

/* SELECT columns FROM table WHERE what the scan asks for. */
static enum err_code
add_select(struct duck_reading *reading, const struct catalog_table *table,
           const struct store_scan *scan, struct err *err)
{
    struct duck_sql *sql = &reading->sql;
    struct column_list columns;

    if (!column_list_of_mask(table, scan->column_mask, &columns)) {
        return err_set(err, ERR_INVALID, "%s has only %zu columns to choose from", table->name,
                       table->column_count);
    }
    buf_add_cstr(&sql->text, "SELECT ");
    duck_sql_names(sql, table, &columns, "");
    reading->cold = duck_reading_source(reading, table, scan->from_us, scan->to_us);
    sql->literal = reading->cold;
    return duck_sql_where(sql, table, scan, err);
}

enum err_code
duck_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
          struct err *err)
{
    const struct catalog_table *table = duck_find_table(scan->table, err);
    struct duck_reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    enum err_code code = duck_reading_open(&reading, (struct duck_store *)store, table,
                                           scan->timeout_ms, scan->cancel, err);
    code = code ? code : add_select(&reading, table, scan, err);
    if (!code) {
        add_order(&reading.sql, table, scan);
        duck_sql_limit(&reading.sql, scan);
        code = duck_reading_run(&reading, ret_rows, err);
    }
    duck_reading_close(&reading);
    return code;
}

/* The columns of order_mask, which number the rows as they were appended; else the time. */
static void
add_visit_order(struct duck_sql *sql, const struct catalog_table *table,
                const struct store_scan *scan)
{
    const char *glue = " ORDER BY ";

    for (size_t i = 0; i < table->column_count; i++) {
        if (table->order_mask >> i & 1) {
            buf_add_cstr(&sql->text, glue);
            duck_sql_name(sql, table->columns[i].name);
            glue = ", ";
        }
    }
    if (!table->order_mask) {
        add_order(sql, table, scan);
    }
}

/* Without cold files no ORDER BY: DuckDB keeps the order of insertion (preserve_insertion_order,
 * its default, which nobody can change: the configuration is locked). */
enum err_code
duck_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
           struct err *err)
{
    const struct catalog_table *table = duck_find_table(scan->table, err);
    struct duck_store *duck = (struct duck_store *)store;
    struct duck_reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    enum err_code code =
        duck_reading_open(&reading, duck, table, scan->timeout_ms, scan->cancel, err);
    code = code ? code : add_select(&reading, table, scan, err);
    if (!code && reading.cold) {
        add_visit_order(&reading.sql, table, scan);
    }
    code = code ? code : check_sql(&reading, err);
    if (!code) {
        struct duck_statement statement = statement_of(&reading.sql);
        code = duck_stream(duck, reading.reader, &statement, fn, ctx, err);
    }
    duck_reading_close(&reading);
    return code;
}

/* Adds what the list says of a table's files. Holds the lock. */
static void
count_listed(const struct duck_store *duck, const struct catalog_table *table,
             struct store_table_stats *stats)
{
    size_t first;
    size_t end = duck_cold_range(&duck->cold, table->id, COLD_RAW, &first);

    for (size_t i = first; i < end; i++) {
        const struct cold_file *file = &duck->cold.files[i];
        stats->min_us =
            stats->rows == 0 || file->min_us < stats->min_us ? file->min_us : stats->min_us;
        stats->max_us =
            stats->rows == 0 || file->max_us > stats->max_us ? file->max_us : stats->max_us;
        stats->rows += file->rows;
    }
}

static void
add_counted(const struct batch *rows, struct store_table_stats *stats)
{
    uint64_t count = (uint64_t)batch_get_i64(rows, 0, 0);

    if (count > 0 && rows->column_count > 1) {
        int64_t min_us = batch_get_i64(rows, 1, 0);
        int64_t max_us = batch_get_i64(rows, 2, 0);
        stats->min_us = stats->rows == 0 || min_us < stats->min_us ? min_us : stats->min_us;
        stats->max_us = stats->rows == 0 || max_us > stats->max_us ? max_us : stats->max_us;
    }
    stats->rows += count;
}

enum err_code
duck_table_stats(struct store *store, enum table_id id, struct store_table_stats *ret_stats,
                 struct err *err)
{
    const struct catalog_table *table = duck_find_table(id, err);
    struct duck_store *duck = (struct duck_store *)store;
    struct batch rows BATCH_AUTO = {0};
    struct store_table_stats stats = {.table = id};
    struct duck_reading reading;
    char hot[DUCK_NAME_MAX];

    if (!table) {
        return ERR_NOT_FOUND;
    }
    const char *time = duck_time_name(table);
    enum err_code code = duck_reading_open(&reading, duck, table, 0, NULL, err);
    if (!code) {
        buf_add_cstr(&reading.sql.text, "SELECT count(*)");
        if (time) {
            buf_add_fmt(&reading.sql.text, ", min(\"%s\"), max(\"%s\")", time, time);
        }
        if (table->sealed) {
            count_listed(duck, table, &stats);
            duck_hot_name(table, hot);
            buf_add_fmt(&reading.sql.text, " FROM main.\"%s\"", hot);
        } else {
            reading.cold = duck_reading_source(&reading, table, INT64_MIN, INT64_MAX);
        }
        code = duck_reading_run(&reading, &rows, err);
    }
    duck_reading_close(&reading);
    if (!code) {
        add_counted(&rows, &stats);
        *ret_stats = stats;
    }
    return code;
}
