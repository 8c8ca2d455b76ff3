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
#include "codec/time.h"
#include "store/duckdb/duck_views.h"

enum { SQL_BYTES = 1 << 20, VALUES_MAX = 10000 };

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
    if (type != COL_TEXT) {
        return err_set(err, ERR_INVALID, "column \"%s\" of %s is not a text and cannot be filtered",
                       filter->column, table->name);
    }
    if (filter->value_count == 0 || sql->param_count + filter->value_count > VALUES_MAX) {
        return err_set(err, ERR_INVALID, "a filter takes 1 to %d values", VALUES_MAX);
    }
    sql->params =
        mem_resize(sql->params, sql->param_count + filter->value_count, sizeof(*sql->params));
    add_name(sql, filter->column);
    buf_add_cstr(&sql->text, " IN (");
    for (size_t i = 0; i < filter->value_count; i++) {
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

static enum err_code
take_reader(struct duck_store *duck, const struct sql *sql, int timeout_ms,
            struct store_cancel *cancel, struct duck_reader **ret_reader, struct err *err)
{
    if (sql->text.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the statement is longer than %d bytes", SQL_BYTES);
    }
    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_UNAVAILABLE, "the database was invalidated and is reopened");
    }
    timeout_ms = timeout_ms > 0 ? timeout_ms : duck->timeout_ms;
    return duck_pool_take(&duck->pool, timeout_ms, cancel, ret_reader, err);
}

static struct duck_statement
statement_of(const struct sql *sql)
{
    return (struct duck_statement){
        .sql = buf_slice(&sql->text), .params = sql->params, .param_count = sql->param_count};
}

static enum err_code
run(struct duck_store *duck, const struct sql *sql, int timeout_ms, struct store_cancel *cancel,
    struct batch *ret_rows, struct err *err)
{
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = answer_bytes_max};
    struct duck_statement statement = statement_of(sql);
    struct duck_reader *reader = NULL;

    enum err_code code = take_reader(duck, sql, timeout_ms, cancel, &reader, err);
    if (code) {
        return code;
    }
    code = duck_select(duck, reader, DUCK_SIDE_READ, &statement, &bounds, ret_rows, NULL, err);
    duck_pool_give(&duck->pool, reader);
    return code;
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

/* SELECT columns FROM table WHERE what the scan asks for. */
static enum err_code
add_select(struct sql *sql, const struct catalog_table *table, const struct store_scan *scan,
           struct err *err)
{
    struct column_list columns;

    if (!column_list_of_mask(table, scan->column_mask, &columns)) {
        return err_set(err, ERR_INVALID, "%s has only %zu columns to choose from", table->name,
                       table->column_count);
    }
    buf_add_cstr(&sql->text, "SELECT ");
    add_names(sql, table, &columns, "");
    buf_add_fmt(&sql->text, " FROM main.\"%s\"", table->name);
    return add_where(sql, table, scan, err);
}

enum err_code
duck_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
          struct err *err)
{
    const struct catalog_table *table = find_table(scan->table, err);
    struct sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    sql_init(&sql);
    enum err_code code = add_select(&sql, table, scan, err);
    if (!code) {
        add_order(&sql, table, scan->newest_first);
        add_limit(&sql, scan);
        code = run((struct duck_store *)store, &sql, scan->timeout_ms, scan->cancel, ret_rows, err);
    }
    sql_fini(&sql);
    return code;
}

/* Without ORDER BY: DuckDB keeps the order of insertion (preserve_insertion_order, its default,
 * which nobody can change: the configuration is locked). */
enum err_code
duck_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
           struct err *err)
{
    const struct catalog_table *table = find_table(scan->table, err);
    struct duck_store *duck = (struct duck_store *)store;
    struct duck_reader *reader = NULL;
    struct sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    sql_init(&sql);
    enum err_code code = add_select(&sql, table, scan, err);
    code = code ? code : take_reader(duck, &sql, scan->timeout_ms, scan->cancel, &reader, err);
    if (!code) {
        struct duck_statement statement = statement_of(&sql);
        code = duck_stream(duck, reader, &statement, fn, ctx, err);
        duck_pool_give(&duck->pool, reader);
    }
    sql_fini(&sql);
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
    struct sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (!time_name(table) || bucket->bucket_us < 0) {
        return err_set(err, ERR_INVALID, "%s cannot be put into buckets of %" PRId64 " us",
                       table->name, bucket->bucket_us);
    }
    sql_init(&sql);
    enum err_code code = add_bucket_select(&sql, table, bucket, err);
    if (!code) {
        buf_add_fmt(&sql.text, " FROM main.\"%s\"", table->name);
        code = add_where(&sql, table, &bucket->scan, err);
    }
    if (!code) {
        add_grouping(&sql, bucket);
        add_limit(&sql, &bucket->scan);
        code = run((struct duck_store *)store, &sql, bucket->scan.timeout_ms, bucket->scan.cancel, ret_rows, err);
    }
    sql_fini(&sql);
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

/* The newest time of each series first, then its rows; the last one written among equals. */
static void
add_latest(struct sql *sql, const struct catalog_table *table, const struct column_list *series)
{
    struct column_list columns = column_list_of_table(table);
    const char *time = time_name(table);
    char hot[DUCK_NAME_MAX];

    duck_hot_name(table, hot);
    buf_add_cstr(&sql->text, "SELECT ");
    add_names(sql, table, &columns, "t.");
    buf_add_fmt(&sql->text, " FROM main.\"%s\" AS t", hot);
    if (series->count == 0) {
        buf_add_fmt(&sql->text, " ORDER BY t.\"%s\" DESC, t.rowid DESC LIMIT 1", time);
        return;
    }
    buf_add_cstr(&sql->text, " SEMI JOIN (SELECT ");
    add_names(sql, table, series, "");
    buf_add_fmt(&sql->text, ", max(\"%s\") AS newest FROM main.\"%s\" GROUP BY ALL) AS k ON ", time,
                hot);
    for (size_t i = 0; i < series->count; i++) {
        const char *name = table->columns[series->index[i]].name;
        buf_add_fmt(&sql->text, "t.\"%s\" IS NOT DISTINCT FROM k.\"%s\" AND ", name, name);
    }
    buf_add_fmt(&sql->text, "t.\"%s\" = k.newest QUALIFY row_number() OVER (PARTITION BY ", time);
    add_names(sql, table, series, "t.");
    buf_add_cstr(&sql->text, " ORDER BY t.rowid DESC) = 1 ORDER BY ");
    add_names(sql, table, series, "t.");
}

enum err_code
duck_latest(struct store *store, enum table_id id, struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = find_table(id, err);
    struct sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (table->time_column == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no times", table->name);
    }
    sql_init(&sql);
    if (table->kind == TABLE_VIEW) {
        buf_add_cstr(&sql.text,
                     "SELECT x.newest AS \"timestamp\", r.metric_name, x.value, r.symbol, r.labels "
                     "FROM (SELECT series_id, max(timestamp) AS newest, "
                     "arg_max(value, timestamp) AS value FROM main.samples GROUP BY series_id) "
                     "AS x JOIN main.series AS r USING (series_id) "
                     "ORDER BY r.metric_name, r.symbol, r.labels");
    } else {
        struct column_list series = series_columns(table);
        add_latest(&sql, table, &series);
    }
    enum err_code code = run((struct duck_store *)store, &sql, 0, NULL, ret_rows, err);
    sql_fini(&sql);
    return code;
}

enum err_code
duck_table_stats(struct store *store, enum table_id id, struct store_table_stats *ret_stats,
                 struct err *err)
{
    const struct catalog_table *table = find_table(id, err);
    struct batch rows BATCH_AUTO = {0};
    struct sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    const char *time = time_name(table);
    sql_init(&sql);
    buf_add_cstr(&sql.text, "SELECT count(*)");
    if (time) {
        buf_add_fmt(&sql.text, ", min(\"%s\"), max(\"%s\")", time, time);
    }
    buf_add_fmt(&sql.text, " FROM main.\"%s\"", table->name);
    enum err_code code = run((struct duck_store *)store, &sql, 0, NULL, &rows, err);
    sql_fini(&sql);
    if (code) {
        return code;
    }
    *ret_stats = (struct store_table_stats){
        .table = id,
        .rows = (uint64_t)batch_get_i64(&rows, 0, 0),
        .min_us = time ? batch_get_i64(&rows, 1, 0) : 0,
        .max_us = time ? batch_get_i64(&rows, 2, 0) : 0,
    };
    return ERR_OK;
}
