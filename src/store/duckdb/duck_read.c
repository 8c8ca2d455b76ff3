/*
 * Scans, buckets, newest rows and statistics as SQL. Identifiers come from the catalogue only,
 * texts are bound as parameters, times are written as numbers (a constant prunes row groups, a
 * parameter does not).
 */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/number.h"
#include "codec/time.h"
#include "store/duckdb/duck_cold.h"
#include "store/duckdb/duck_views.h"
#include "store/filter.h"

enum { SQL_BYTES = 64 << 20, VALUES_MAX = 10000 };

static const size_t answer_bytes_max = 1ULL << 30;

/* A statement being written. */
struct sql {
    struct buf text;
    struct store_param *params;
    size_t param_count;
    size_t param_cap;
};

static void
sql_init(struct sql *sql)
{
    *sql = (struct sql){0};
    buf_init(&sql->text, SQL_BYTES);
}

static void
sql_fini(struct sql *sql)
{
    buf_fini(&sql->text);
    free(sql->params);
}

static void
add_param(struct sql *sql, struct store_param param)
{
    if (sql->param_count == sql->param_cap) {
        sql->param_cap = sql->param_cap ? sql->param_cap * 2 : 8;
        sql->params = mem_resize(sql->params, sql->param_cap, sizeof(*sql->params));
    }
    sql->params[sql->param_count++] = param;
}

static void
add_name(struct sql *sql, const char *name)
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
static void
add_names(struct sql *sql, const struct catalog_table *table, const struct column_list *columns,
          const char *prefix)
{
    for (size_t i = 0; i < columns->count; i++) {
        buf_add_fmt(&sql->text, "%s%s", i ? ", " : "", prefix);
        add_name(sql, table->columns[columns->index[i]].name);
    }
}

static const char *
time_name(const struct catalog_table *table)
{
    return table->time_column == CATALOG_NONE ? NULL : table->columns[table->time_column].name;
}

static enum err_code
find_column(const struct catalog_table *table, const char *name, enum col_type *ret_type,
            struct err *err)
{
    int index = catalog_column_index(table, slice_of(name));

    if (index == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no column \"%s\"", table->name, name);
    }
    *ret_type = table->columns[index].type;
    return ERR_OK;
}

static enum err_code
add_filter(struct sql *sql, const struct catalog_table *table, const struct store_filter *filter,
           struct err *err)
{
    enum col_type type = COL_TEXT;
    enum err_code code = find_column(table, filter->column, &type, err);

    if (code) {
        return code;
    }
    code = store_check_filter(filter, table,
                              (size_t)catalog_column_index(table, slice_of(filter->column)), err);
    if (code) {
        return code;
    }
    if (filter->value_count == 0 || sql->param_count + filter->value_count > VALUES_MAX) {
        return err_set(err, ERR_INVALID, "a filter takes 1 to %d values", VALUES_MAX);
    }
    sql->params =
        mem_resize(sql->params, sql->param_count + filter->value_count, sizeof(*sql->params));
    add_name(sql, filter->column);
    buf_add_cstr(&sql->text, " IN (");
    for (size_t i = 0; i < filter->value_count && type == COL_INT32; i++) {
        int64_t number = 0;
        number_parse_i64(filter->values[i], &number);
        buf_add_fmt(&sql->text, "%s%" PRId64, i ? ", " : "", number);
    }
    for (size_t i = 0; i < filter->value_count && type == COL_TEXT; i++) {
        buf_add_cstr(&sql->text, i ? ", ?" : "?");
        add_param(sql, (struct store_param){.type = PARAM_TEXT, .text = filter->values[i]});
    }
    buf_add_char(&sql->text, ')');
    return ERR_OK;
}

/* make_timestamp refuses some of the times that no row should have. */
static void
add_time(struct sql *sql, int64_t time_us)
{
    if (time_in_range(time_us)) {
        buf_add_fmt(&sql->text, "make_timestamp(%" PRId64 ")", time_us);
    } else {
        buf_add_char(&sql->text, '?');
        add_param(sql, (struct store_param){.type = PARAM_TIMESTAMP, .i64 = time_us});
    }
}

static enum err_code
add_at_least(struct sql *sql, const struct catalog_table *table, const struct store_scan *scan,
             const char *glue, struct err *err)
{
    enum col_type type = COL_TEXT;
    enum err_code code = find_column(table, scan->at_least_column, &type, err);

    if (code) {
        return code;
    }
    if (type != COL_INT64 && type != COL_TIMESTAMP) {
        return err_set(err, ERR_INVALID,
                       "column \"%s\" of %s is no whole number of 64 bits and has no least value",
                       scan->at_least_column, table->name);
    }
    buf_add_cstr(&sql->text, glue);
    add_name(sql, scan->at_least_column);
    buf_add_cstr(&sql->text, " >= ");
    if (type == COL_TIMESTAMP) {
        add_time(sql, scan->at_least);
    } else {
        buf_add_fmt(&sql->text, "(%" PRId64 ")::BIGINT", scan->at_least);
    }
    return ERR_OK;
}

static enum err_code
add_where(struct sql *sql, const struct catalog_table *table, const struct store_scan *scan,
          struct err *err)
{
    const char *time = time_name(table);
    const char *glue = " WHERE ";

    assert(scan->filter_count <= STORE_FILTERS_MAX);
    for (size_t i = 0; i < scan->filter_count; i++) {
        buf_add_cstr(&sql->text, glue);
        glue = " AND ";
        enum err_code code = add_filter(sql, table, &scan->filters[i], err);
        if (code) {
            return code;
        }
    }
    if (time && scan->from_us != INT64_MIN) {
        buf_add_fmt(&sql->text, "%s\"%s\" >= ", glue, time);
        add_time(sql, scan->from_us);
        glue = " AND ";
    }
    if (time && scan->to_us != INT64_MAX) {
        buf_add_fmt(&sql->text, "%s\"%s\" <= ", glue, time);
        add_time(sql, scan->to_us);
        glue = " AND ";
    }
    return scan->at_least_column ? add_at_least(sql, table, scan, glue, err) : ERR_OK;
}

/* Time first, then what else tells rows apart, so that pages do not overlap. */
static void
add_order(struct sql *sql, const struct catalog_table *table, bool newest_first)
{
    const char *glue = " ORDER BY ";

    if (table->time_column != CATALOG_NONE) {
        buf_add_fmt(&sql->text, "%s\"%s\"%s", glue, time_name(table), newest_first ? " DESC" : "");
        glue = ", ";
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (catalog_orders(table, i)) {
            buf_add_cstr(&sql->text, glue);
            add_name(sql, table->columns[i].name);
            glue = ", ";
        }
    }
}

static void
add_limit(struct sql *sql, const struct store_scan *scan)
{
    if (scan->limit > 0 && scan->limit <= INT64_MAX) {
        buf_add_fmt(&sql->text, " LIMIT %" PRIu64, scan->limit);
    }
    if (scan->offset > 0) {
        uint64_t offset = scan->offset <= INT64_MAX ? scan->offset : INT64_MAX;
        buf_add_fmt(&sql->text, " OFFSET %" PRIu64, offset);
    }
}

/* A read under way. Tables with cold files are read in a transaction (duck_cold.h). */
struct reading {
    struct duck_store *duck;
    struct duck_reader *reader;
    bool listing; /* holds the list's lock */
    bool begun;
    bool cold; /* the statement names cold files */
    struct sql sql;
};

static bool
has_cold(const struct catalog_table *table)
{
    return table->sealed || table->kind == TABLE_VIEW;
}

static void
end_listing(struct reading *reading)
{
    if (reading->listing) {
        pthread_rwlock_unlock(&reading->duck->cold.lock);
        reading->listing = false;
    }
}

static void
close_reading(struct reading *reading)
{
    end_listing(reading);
    if (reading->begun) {
        duck_read_end(reading->reader);
    }
    if (reading->reader) {
        duck_pool_give(&reading->duck->pool, reading->reader);
    }
    sql_fini(&reading->sql);
}

/* Until run_reading, the list of cold files stays as it is. To be closed in every case. */
static enum err_code
open_reading(struct reading *reading, struct duck_store *duck, const struct catalog_table *table,
             int timeout_ms, struct store_cancel *cancel, struct err *err)
{
    *reading = (struct reading){.duck = duck};
    sql_init(&reading->sql);
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
check_sql(struct reading *reading, struct err *err)
{
    end_listing(reading);
    return reading->sql.text.overflow
               ? err_set(err, ERR_TOO_LARGE, "the statement is longer than %d bytes", SQL_BYTES)
               : ERR_OK;
}

static struct duck_statement
statement_of(const struct sql *sql)
{
    return (struct duck_statement){
        .sql = buf_slice(&sql->text), .params = sql->params, .param_count = sql->param_count};
}

static enum err_code
run_reading(struct reading *reading, struct batch *ret_rows, struct err *err)
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

static const struct catalog_table *
find_table(enum table_id id, struct err *err)
{
    const struct catalog_table *table = catalog_table(id);

    if (!table) {
        err_set(err, ERR_NOT_FOUND, "there is no table number %d", (int)id);
    }
    return table;
}

/* " FROM ...": hot rows, and the cold files of the range; whether there are such. */
static bool
add_source(struct reading *reading, const struct catalog_table *table, int64_t from_us,
           int64_t to_us)
{
    struct buf *sql = &reading->sql.text;
    bool cold = false;

    if (table->kind == TABLE_VIEW) {
        /* As catalog_ddl has it, but with few files. */
        buf_add_cstr(sql, " FROM (SELECT s.timestamp, r.metric_name, s.value, r.symbol, r.labels "
                          "FROM ");
        cold = duck_cold_add_source(reading->duck, catalog_table(TABLE_SAMPLES), from_us, to_us,
                                    false, sql) > 0;
        buf_add_cstr(sql, " AS s JOIN main.series AS r USING (series_id))");
    } else if (table->sealed) {
        buf_add_cstr(sql, " FROM ");
        cold =
            duck_cold_add_source(reading->duck, table, from_us, to_us, DUCK_SOURCE_PLAIN, sql) > 0;
    } else {
        buf_add_fmt(sql, " FROM main.\"%s\"", table->name);
    }
    return cold;
}

/* SELECT columns FROM table WHERE what the scan asks for. */
static enum err_code
add_select(struct reading *reading, const struct catalog_table *table,
           const struct store_scan *scan, struct err *err)
{
    struct sql *sql = &reading->sql;
    struct column_list columns;

    if (!column_list_of_mask(table, scan->column_mask, &columns)) {
        return err_set(err, ERR_INVALID, "%s has only %zu columns to choose from", table->name,
                       table->column_count);
    }
    buf_add_cstr(&sql->text, "SELECT ");
    add_names(sql, table, &columns, "");
    reading->cold = add_source(reading, table, scan->from_us, scan->to_us);
    return add_where(sql, table, scan, err);
}

enum err_code
duck_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
          struct err *err)
{
    const struct catalog_table *table = find_table(scan->table, err);
    struct reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    enum err_code code = open_reading(&reading, (struct duck_store *)store, table, scan->timeout_ms,
                                      scan->cancel, err);
    code = code ? code : add_select(&reading, table, scan, err);
    if (!code) {
        add_order(&reading.sql, table, scan->newest_first);
        add_limit(&reading.sql, scan);
        code = run_reading(&reading, ret_rows, err);
    }
    close_reading(&reading);
    return code;
}

/* The columns of order_mask, which number the rows as they were appended; else the time. */
static void
add_visit_order(struct sql *sql, const struct catalog_table *table)
{
    const char *glue = " ORDER BY ";

    for (size_t i = 0; i < table->column_count; i++) {
        if (table->order_mask >> i & 1) {
            buf_add_cstr(&sql->text, glue);
            add_name(sql, table->columns[i].name);
            glue = ", ";
        }
    }
    if (!table->order_mask) {
        add_order(sql, table, false);
    }
}

/* Without cold files no ORDER BY: DuckDB keeps the order of insertion (preserve_insertion_order,
 * its default, which nobody can change: the configuration is locked). */
enum err_code
duck_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
           struct err *err)
{
    const struct catalog_table *table = find_table(scan->table, err);
    struct duck_store *duck = (struct duck_store *)store;
    struct reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    enum err_code code = open_reading(&reading, duck, table, scan->timeout_ms, scan->cancel, err);
    code = code ? code : add_select(&reading, table, scan, err);
    if (!code && reading.cold) {
        add_visit_order(&reading.sql, table);
    }
    code = code ? code : check_sql(&reading, err);
    if (!code) {
        struct duck_statement statement = statement_of(&reading.sql);
        code = duck_stream(duck, reading.reader, &statement, fn, ctx, err);
    }
    close_reading(&reading);
    return code;
}

static enum err_code
add_aggregate(struct sql *sql, const struct catalog_table *table,
              const struct store_aggregate *aggregate, struct err *err)
{
    static const char *const functions[] = {
        [AGG_FIRST] = "arg_min", [AGG_LAST] = "arg_max", [AGG_MIN] = "min",    [AGG_MAX] = "max",
        [AGG_SUM] = "sum",       [AGG_AVG] = "avg",      [AGG_COUNT] = "count"};
    bool sums = aggregate->fn == AGG_SUM || aggregate->fn == AGG_AVG;
    bool by_time = aggregate->fn == AGG_FIRST || aggregate->fn == AGG_LAST;
    enum col_type type = COL_TEXT;

    if (!aggregate->column) {
        assert(aggregate->fn == AGG_COUNT);
        buf_add_cstr(&sql->text, ", count(*) AS ");
        add_name(sql, aggregate->as);
        return ERR_OK;
    }
    enum err_code code = find_column(table, aggregate->column, &type, err);
    if (code) {
        return code;
    }
    if (sums && (type == COL_TEXT || type == COL_JSON || type == COL_TIMESTAMP)) {
        return err_set(err, ERR_INVALID, "column \"%s\" of %s is not a number", aggregate->column,
                       table->name);
    }
    buf_add_fmt(&sql->text, ", %s(", functions[aggregate->fn]);
    add_name(sql, aggregate->column);
    if (sums && type == COL_BOOL) {
        buf_add_cstr(&sql->text, "::INTEGER");
    }
    if (by_time) {
        buf_add_fmt(&sql->text, ", \"%s\"", time_name(table));
    }
    buf_add_cstr(&sql->text, ") AS ");
    add_name(sql, aggregate->as);
    return ERR_OK;
}

static enum err_code
add_bucket_select(struct sql *sql, const struct catalog_table *table,
                  const struct store_bucket *bucket, struct err *err)
{
    enum err_code code = ERR_OK;
    enum col_type type = COL_TEXT;

    if (bucket->bucket_us > 0) {
        buf_add_fmt(&sql->text, "SELECT time_bucket(to_microseconds(%" PRId64 "), \"%s\")",
                    bucket->bucket_us, time_name(table));
    } else {
        buf_add_fmt(&sql->text, "SELECT min(\"%s\")", time_name(table));
    }
    buf_add_cstr(&sql->text, " AS \"timestamp\"");
    if (bucket->group_column) {
        code = find_column(table, bucket->group_column, &type, err);
        buf_add_cstr(&sql->text, ", ");
        add_name(sql, bucket->group_column);
    }
    assert(bucket->aggregate_count <= STORE_AGGREGATES_MAX);
    for (size_t i = 0; i < bucket->aggregate_count && !code; i++) {
        code = add_aggregate(sql, table, &bucket->aggregates[i], err);
    }
    return code;
}

/* By number: an answer's name may be that of a column. */
static void
add_grouping(struct sql *sql, const struct store_bucket *bucket)
{
    bool timed = bucket->bucket_us > 0;
    bool grouped = bucket->group_column != NULL;

    if (timed || grouped) {
        buf_add_fmt(&sql->text, " GROUP BY %s", timed ? grouped ? "1, 2" : "1" : "2");
    }
    buf_add_fmt(&sql->text, " HAVING count(*) > 0 ORDER BY 1%s%s",
                bucket->scan.newest_first ? " DESC" : "", grouped ? ", 2" : "");
}

enum err_code
duck_bucket(struct store *store, const struct store_bucket *bucket, struct batch *ret_rows,
            struct err *err)
{
    const struct catalog_table *table = find_table(bucket->scan.table, err);
    struct reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (!time_name(table) || bucket->bucket_us < 0) {
        return err_set(err, ERR_INVALID, "%s cannot be put into buckets of %" PRId64 " us",
                       table->name, bucket->bucket_us);
    }
    enum err_code code = open_reading(&reading, (struct duck_store *)store, table,
                                      bucket->scan.timeout_ms, bucket->scan.cancel, err);
    code = code ? code : add_bucket_select(&reading.sql, table, bucket, err);
    if (!code) {
        reading.cold = add_source(&reading, table, bucket->scan.from_us, bucket->scan.to_us);
        code = add_where(&reading.sql, table, &bucket->scan, err);
    }
    if (!code) {
        add_grouping(&reading.sql, bucket);
        add_limit(&reading.sql, &bucket->scan);
        code = run_reading(&reading, ret_rows, err);
    }
    close_reading(&reading);
    return code;
}

/* What "every series" means for a table: its key without the time, or who it names as series. */
static struct column_list
series_columns(const struct catalog_table *table)
{
    bool time_in_key = table->key_mask >> table->time_column & 1;

    if (time_in_key) {
        return column_list_of_key(table, false);
    }
    struct column_list list = {0};
    if (table->series_column != CATALOG_NONE) {
        list.index[list.count++] = (uint8_t)table->series_column;
    }
    return list;
}

/* A sealed table with the place of each row, which tells what was written last. */
static void
add_placed(struct reading *reading, const struct catalog_table *table)
{
    if (table->sealed) {
        reading->cold |= duck_cold_add_source(reading->duck, table, INT64_MIN, INT64_MAX,
                                              DUCK_SOURCE_PLACED, &reading->sql.text) > 0;
    } else {
        buf_add_fmt(&reading->sql.text,
                    "(SELECT *, 0 AS eider_part, rowid AS eider_row FROM main.\"%s\")",
                    table->name);
    }
}

/* The newest time of each series first, then its rows; the last one written among equals. */
static void
add_latest(struct reading *reading, const struct catalog_table *table,
           const struct column_list *series)
{
    struct column_list columns = column_list_of_table(table);
    const char *time = time_name(table);
    struct sql *sql = &reading->sql;

    buf_add_cstr(&sql->text, "SELECT ");
    add_names(sql, table, &columns, "t.");
    buf_add_cstr(&sql->text, " FROM ");
    add_placed(reading, table);
    if (series->count == 0) {
        buf_add_fmt(&sql->text,
                    " AS t ORDER BY t.\"%s\" DESC, t.eider_part DESC, t.eider_row DESC LIMIT 1",
                    time);
        return;
    }
    buf_add_cstr(&sql->text, " AS t SEMI JOIN (SELECT ");
    add_names(sql, table, series, "");
    buf_add_fmt(&sql->text, ", max(\"%s\") AS newest", time);
    add_source(reading, table, INT64_MIN, INT64_MAX);
    buf_add_cstr(&sql->text, " GROUP BY ALL) AS k ON ");
    for (size_t i = 0; i < series->count; i++) {
        const char *name = table->columns[series->index[i]].name;
        buf_add_fmt(&sql->text, "t.\"%s\" IS NOT DISTINCT FROM k.\"%s\" AND ", name, name);
    }
    buf_add_fmt(&sql->text, "t.\"%s\" = k.newest QUALIFY row_number() OVER (PARTITION BY ", time);
    add_names(sql, table, series, "t.");
    buf_add_cstr(&sql->text, " ORDER BY t.eider_part DESC, t.eider_row DESC) = 1 ORDER BY ");
    add_names(sql, table, series, "t.");
}

/* The newest sample of every series, with its name. */
static void
add_latest_metrics(struct reading *reading)
{
    struct buf *sql = &reading->sql.text;

    buf_add_cstr(sql,
                 "SELECT x.newest AS \"timestamp\", r.metric_name, x.value, r.symbol, r.labels "
                 "FROM (SELECT series_id, max(timestamp) AS newest, "
                 "arg_max(value, timestamp) AS value");
    reading->cold = add_source(reading, catalog_table(TABLE_SAMPLES), INT64_MIN, INT64_MAX);
    buf_add_cstr(sql, " GROUP BY series_id) AS x JOIN main.series AS r USING (series_id) "
                      "ORDER BY r.metric_name, r.symbol, r.labels");
}

enum err_code
duck_latest(struct store *store, enum table_id id, struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = find_table(id, err);
    struct reading reading;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (table->time_column == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no times", table->name);
    }
    enum err_code code = open_reading(&reading, (struct duck_store *)store, table, 0, NULL, err);
    if (!code && table->kind == TABLE_VIEW) {
        add_latest_metrics(&reading);
    } else if (!code) {
        struct column_list series = series_columns(table);
        add_latest(&reading, table, &series);
    }
    code = code ? code : run_reading(&reading, ret_rows, err);
    close_reading(&reading);
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
    const struct catalog_table *table = find_table(id, err);
    struct duck_store *duck = (struct duck_store *)store;
    struct batch rows BATCH_AUTO = {0};
    struct store_table_stats stats = {.table = id};
    struct reading reading;
    char hot[DUCK_NAME_MAX];

    if (!table) {
        return ERR_NOT_FOUND;
    }
    const char *time = time_name(table);
    enum err_code code = open_reading(&reading, duck, table, 0, NULL, err);
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
            reading.cold = add_source(&reading, table, INT64_MIN, INT64_MAX);
        }
        code = run_reading(&reading, &rows, err);
    }
    close_reading(&reading);
    if (!code) {
        add_counted(&rows, &stats);
        *ret_stats = stats;
    }
    return code;
}
