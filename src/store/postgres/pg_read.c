/*
 * Scans, newest rows and statistics as SQL. Identifiers come from the catalogue only; texts
 * and times travel as parameters. Texts are ordered by their bytes (COLLATE "C"), as in the other
 * stores, whatever the database's collation; rows that are equal otherwise in the order they came.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "store/filter.h"
#include "store/postgres/pg.h"

enum { VALUES_MAX = 10000 };

const struct catalog_table *
pg_find_table(enum table_id id, struct err *err)
{
    const struct catalog_table *table = catalog_table(id);

    if (!table) {
        err_set(err, ERR_NOT_FOUND, "there is no table number %d", (int)id);
    }
    return table;
}

void
pg_add_source(struct pg_sql *sql, const struct catalog_table *table)
{
    if (table->kind == TABLE_VIEW) {
        buf_add_cstr(&sql->text, "(SELECT s.\"timestamp\", r.metric_name, s.value, r.symbol, "
                                 "r.labels, s.eider_ord FROM samples AS s "
                                 "JOIN series AS r USING (series_id)) AS t");
    } else {
        pg_sql_name(sql, table->name);
        buf_add_cstr(&sql->text, " AS t");
    }
}

/* Columns whose hash is in an index: texts themselves may be too long for one
 * (src/schema/postgres). */
static bool
is_hashed(const struct catalog_table *table, const char *column)
{
    static const struct {
        enum table_id table;
        const char *column;
    } hashed[] = {
        {TABLE_MARKET_DATA, "symbol"}, {TABLE_STRATEGY_METRICS, "strategy_name"},
        {TABLE_TRADES, "symbol"},      {TABLE_TRADES, "trade_id"},
        {TABLE_CANDLES, "symbol"},     {TABLE_METRICS, "metric_name"},
        {TABLE_SERIES, "metric_name"}, {TABLE_IDEMPOTENCY, "key"},
        {TABLE_EVENTS, "id"},          {TABLE_RESERVATION_CHANGES, "reservation_id"},
    };

    for (size_t i = 0; i < sizeof(hashed) / sizeof(*hashed); i++) {
        if (hashed[i].table == table->id && strcmp(hashed[i].column, column) == 0) {
            return true;
        }
    }
    return false;
}

static void
add_hash_condition(struct pg_sql *sql, const char *column, size_t number, bool single)
{
    buf_add_cstr(&sql->text, " AND hashtextextended(t.");
    pg_sql_name(sql, column);
    if (single) {
        buf_add_fmt(&sql->text, ", 0) = hashtextextended($%zu[1], 0)", number);
    } else {
        buf_add_fmt(&sql->text,
                    ", 0) = ANY(ARRAY(SELECT hashtextextended(v, 0) FROM unnest($%zu) AS v))",
                    number);
    }
}

static enum err_code
add_filter(struct pg_sql *sql, const struct catalog_table *table, const struct store_filter *filter,
           struct err *err)
{
    size_t column = 0;
    enum err_code code = catalog_find_column(table, filter->column, &column, err);

    if (!code) {
        code = store_check_filter(filter, table, column, err);
    }
    if (code) {
        return code;
    }
    if (filter->value_count == 0 || filter->value_count > VALUES_MAX) {
        return err_set(err, ERR_INVALID, "a filter takes 1 to %d values", VALUES_MAX);
    }
    for (size_t i = 0; i < filter->value_count; i++) {
        struct slice value = filter->values[i];
        if (value.len > 0 && memchr(value.ptr, '\0', value.len)) {
            return err_set(err, ERR_INVALID, "a value for \"%s\" holds U+0000", filter->column);
        }
    }
    size_t number = pg_sql_texts(sql, filter->values, filter->value_count);
    buf_add_cstr(&sql->text, "t.");
    pg_sql_name(sql, filter->column);
    if (table->columns[column].type == COL_INT32) {
        buf_add_fmt(&sql->text, " = ANY($%zu::int[])", number);
        return ERR_OK;
    }
    buf_add_fmt(&sql->text, filter->value_count == 1 ? " = $%zu[1]" : " = ANY($%zu)", number);
    if (is_hashed(table, filter->column)) {
        add_hash_condition(sql, filter->column, number, filter->value_count == 1);
    }
    return ERR_OK;
}

static enum err_code
add_at_least(struct pg_sql *sql, const struct catalog_table *table, const struct store_scan *scan,
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
    buf_add_fmt(&sql->text, "%st.", glue);
    pg_sql_name(sql, scan->at_least_column);
    if (table->columns[column].type == COL_TIMESTAMP) {
        size_t number = pg_sql_time(sql, scan->at_least);
        buf_add_fmt(&sql->text, " >= $%zu", number);
    } else {
        buf_add_fmt(&sql->text, " >= '%" PRId64 "'::bigint", scan->at_least);
    }
    return ERR_OK;
}

enum err_code
pg_add_where(struct pg_sql *sql, const struct catalog_table *table, const struct store_scan *scan,
             struct err *err)
{
    const char *glue = " WHERE ";
    bool timed = table->time_column != CATALOG_NONE;

    assert(scan->filter_count <= STORE_FILTERS_MAX);
    for (size_t i = 0; i < scan->filter_count; i++) {
        buf_add_cstr(&sql->text, glue);
        glue = " AND ";
        enum err_code code = add_filter(sql, table, &scan->filters[i], err);
        if (code) {
            return code;
        }
    }
    if (timed && scan->from_us != INT64_MIN) {
        buf_add_fmt(&sql->text, "%st.\"%s\" >= $%zu", glue, table->columns[table->time_column].name,
                    pg_sql_time(sql, scan->from_us));
        glue = " AND ";
    }
    if (timed && scan->to_us != INT64_MAX) {
        /* No row is before PostgreSQL's first time. */
        bool none = scan->to_us < pg_time_min_us;
        buf_add_fmt(&sql->text, none ? "%sfalse AND t.\"%s\" <= $%zu" : "%st.\"%s\" <= $%zu", glue,
                    table->columns[table->time_column].name, pg_sql_time(sql, scan->to_us));
        glue = " AND ";
    }
    return scan->at_least_column ? add_at_least(sql, table, scan, glue, err) : ERR_OK;
}

/* A column as something that has an order: JSON has none, texts have that of their bytes. */
static void
add_ordered(struct pg_sql *sql, const struct catalog_column *column)
{
    buf_add_cstr(&sql->text, "t.");
    pg_sql_name(sql, column->name);
    if (column->type == COL_TEXT) {
        buf_add_cstr(&sql->text, " COLLATE \"C\"");
    } else if (column->type == COL_JSON) {
        buf_add_cstr(&sql->text, "::text COLLATE \"C\"");
    }
}

/* Time first, then what else tells rows apart, so that pages do not overlap. */
static void
add_order(struct pg_sql *sql, const struct catalog_table *table, bool newest_first)
{
    buf_add_cstr(&sql->text, " ORDER BY ");
    if (table->time_column != CATALOG_NONE) {
        buf_add_fmt(&sql->text, "t.\"%s\"%s, ", table->columns[table->time_column].name,
                    newest_first ? " DESC" : "");
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (catalog_orders(table, i)) {
            add_ordered(sql, &table->columns[i]);
            buf_add_cstr(&sql->text, ", ");
        }
    }
    buf_add_cstr(&sql->text, "t.eider_ord");
}

void
pg_add_limit(struct pg_sql *sql, const struct store_scan *scan)
{
    if (scan->limit > 0 && scan->limit <= INT64_MAX) {
        buf_add_fmt(&sql->text, " LIMIT %" PRIu64, scan->limit);
    }
    if (scan->offset > 0) {
        uint64_t offset = scan->offset <= INT64_MAX ? scan->offset : INT64_MAX;
        buf_add_fmt(&sql->text, " OFFSET %" PRIu64, offset);
    }
}

void
pg_note_query(struct pg_store *store, int64_t start_us, enum err_code code)
{
    atomic_fetch_add(&store->queries, 1);
    if (code != ERR_OK) {
        atomic_fetch_add(&store->query_errors, 1);
    }
    hist_record(&store->query_us, clock_mono_us(store->clock) - start_us);
}

enum err_code
pg_why(struct pg_conn *conn, enum err_code code, struct err *err)
{
    if (code == ERR_OK) {
        return code;
    }
    if (store_cancel_is_tripped(conn->cancels)) {
        return err_set(err, ERR_TIMEOUT, "the read was given up");
    }
    if (atomic_load(&conn->interrupted)) {
        return err_set(err, ERR_UNAVAILABLE, "the query was interrupted");
    }
    if (code == ERR_TIMEOUT) {
        return err_set(err, ERR_TIMEOUT,
                       "the query took longer than its timeout; narrow it, or raise timeout");
    }
    return code;
}

enum err_code
pg_gather(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us, struct batch *rows,
          struct err *err)
{
    enum err_code code = ERR_OK;
    bool late = false;
    PGresult *result;

    while ((result = pg_next_result(store, conn, deadline_us, &late))) {
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK && code == ERR_OK) {
            code = pg_fail_result(store, PG_SIDE_READ, result, err);
        } else if (code == ERR_OK && !late) {
            code = pg_add_rows(result, rows, err);
            if (code != ERR_OK) {
                pg_cancel(store, conn);
            }
        }
        PQclear(result);
    }
    if (code == ERR_OK && PQstatus(conn->pg) != CONNECTION_OK) {
        code = pg_fail_conn(store, PG_SIDE_READ, conn->pg, err);
    }
    if (late) {
        code = err_set(err, ERR_TIMEOUT, "late");
    }
    return pg_why(conn, code, err);
}

enum err_code
pg_select(struct pg_store *store, const struct pg_sql *sql, const struct store_scan *scan,
          struct batch *rows, struct batch *ret_rows, struct err *err)
{
    int64_t start_us = clock_mono_us(store->clock);
    int64_t deadline_us =
        pg_deadline(store, scan->timeout_ms > 0 ? scan->timeout_ms : store->timeout_ms);
    struct pg_conn *conn = NULL;

    enum err_code code = pg_pool_take(store, scan->cancel, deadline_us, &conn, err);
    if (code == ERR_OK) {
        code = pg_sql_send(store, conn, PG_SIDE_READ, sql, true, deadline_us, err);
        if (code == ERR_OK) {
            PQsetSingleRowMode(conn->pg);
            code = pg_gather(store, conn, deadline_us, rows, err);
        }
        pg_pool_give(store, conn);
    }
    pg_note_query(store, start_us, code);
    if (code != ERR_OK) {
        batch_fini(rows);
        return code;
    }
    *ret_rows = *rows;
    return ERR_OK;
}

enum err_code
pg_add_select(struct pg_sql *sql, const struct catalog_table *table, const struct store_scan *scan,
              struct batch *rows, struct err *err)
{
    struct column_list columns;

    if (!column_list_of_mask(table, scan->column_mask, &columns)) {
        return err_set(err, ERR_INVALID, "%s has only %zu columns to choose from", table->name,
                       table->column_count);
    }
    buf_add_cstr(&sql->text, "SELECT ");
    for (size_t i = 0; i < columns.count; i++) {
        const struct catalog_column *column = &table->columns[columns.index[i]];
        buf_add_cstr(&sql->text, i ? ", t." : "t.");
        pg_sql_name(sql, column->name);
        batch_add_column(rows, slice_of(column->name), column->type);
    }
    buf_add_cstr(&sql->text, " FROM ");
    pg_add_source(sql, table);
    return pg_add_where(sql, table, scan, err);
}

enum err_code
pg_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = pg_find_table(scan->table, err);
    struct batch rows;
    struct pg_sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    pg_sql_init(&sql);
    batch_init_answer(&rows, PG_ANSWER_BYTES_MAX);
    enum err_code code = pg_add_select(&sql, table, scan, &rows, err);
    if (!code) {
        add_order(&sql, table, scan->newest_first);
        pg_add_limit(&sql, scan);
        code = pg_select((struct pg_store *)store, &sql, scan, &rows, ret_rows, err);
    } else {
        batch_fini(&rows);
    }
    pg_sql_fini(&sql);
    return code;
}

/* ---- newest rows, statistics ---- */

/* What "every series" means for a table: its key without the time, or who it names as series. */
static struct column_list
series_columns(const struct catalog_table *table)
{
    struct column_list list = {0};

    if (table->key_mask >> table->time_column & 1) {
        return column_list_of_key(table, false);
    }
    if (table->series_column != CATALOG_NONE) {
        list.index[list.count++] = (uint8_t)table->series_column;
    }
    return list;
}

static void
add_columns(struct pg_sql *sql, const struct catalog_table *table, const struct column_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        buf_add_cstr(&sql->text, i ? ", t." : "t.");
        pg_sql_name(sql, table->columns[list->index[i]].name);
    }
}

static void
add_ordered_columns(struct pg_sql *sql, const struct catalog_table *table,
                    const struct column_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        buf_add_cstr(&sql->text, i ? ", " : "");
        add_ordered(sql, &table->columns[list->index[i]]);
    }
}

/* The newest time of each series first, then its rows; the last one written among equals. Series
 * are named by required columns, so that = finds all. */
static void
add_latest(struct pg_sql *sql, const struct catalog_table *table, const struct column_list *series)
{
    struct column_list columns = column_list_of_table(table);
    const char *time = table->columns[table->time_column].name;

    buf_add_cstr(&sql->text, "SELECT ");
    if (series->count > 0) {
        buf_add_cstr(&sql->text, "DISTINCT ON (");
        add_ordered_columns(sql, table, series);
        buf_add_cstr(&sql->text, ") ");
    }
    add_columns(sql, table, &columns);
    buf_add_fmt(&sql->text, " FROM \"%s\" AS t", table->name);
    if (series->count == 0) {
        buf_add_fmt(&sql->text, " ORDER BY t.\"%s\" DESC, t.eider_ord DESC LIMIT 1", time);
        return;
    }
    buf_add_cstr(&sql->text, " JOIN (SELECT ");
    add_columns(sql, table, series);
    buf_add_fmt(&sql->text, ", max(t.\"%s\") AS newest FROM \"%s\" AS t GROUP BY ", time,
                table->name);
    add_columns(sql, table, series);
    buf_add_cstr(&sql->text, ") AS k ON ");
    for (size_t i = 0; i < series->count; i++) {
        const char *name = table->columns[series->index[i]].name;
        buf_add_fmt(&sql->text, "t.\"%s\" = k.\"%s\" AND ", name, name);
    }
    buf_add_fmt(&sql->text, "t.\"%s\" = k.newest ORDER BY ", time);
    add_ordered_columns(sql, table, series);
    buf_add_cstr(&sql->text, ", t.eider_ord DESC");
}

enum err_code
pg_latest(struct store *store, enum table_id id, const struct store_patience *patience,
          struct batch *ret_rows, struct err *err)
{
    const struct catalog_table *table = pg_find_table(id, err);
    struct store_scan all = {.table = id};
    struct batch rows;
    struct pg_sql sql;

    if (patience) {
        all.timeout_ms = patience->timeout_ms;
        all.cancel = patience->cancel;
    }
    if (!table) {
        return ERR_NOT_FOUND;
    }
    if (table->time_column == CATALOG_NONE) {
        return err_set(err, ERR_INVALID, "%s has no times", table->name);
    }
    pg_sql_init(&sql);
    batch_init_answer(&rows, PG_ANSWER_BYTES_MAX);
    for (size_t i = 0; i < table->column_count; i++) {
        batch_add_column(&rows, slice_of(table->columns[i].name), table->columns[i].type);
    }
    if (table->kind == TABLE_VIEW) {
        /* One look into the index a series. */
        buf_add_cstr(&sql.text,
                     "SELECT x.\"timestamp\", r.metric_name, x.value, r.symbol, r.labels "
                     "FROM series AS r CROSS JOIN LATERAL (SELECT s.\"timestamp\", s.value "
                     "FROM samples AS s WHERE s.series_id = r.series_id "
                     "ORDER BY s.\"timestamp\" DESC, s.eider_ord DESC LIMIT 1) AS x "
                     "ORDER BY r.metric_name COLLATE \"C\", r.symbol COLLATE \"C\", "
                     "r.labels::text COLLATE \"C\"");
    } else {
        struct column_list series = series_columns(table);
        add_latest(&sql, table, &series);
    }
    enum err_code code = pg_select((struct pg_store *)store, &sql, &all, &rows, ret_rows, err);
    pg_sql_fini(&sql);
    return code;
}

enum err_code
pg_table_stats(struct store *store, enum table_id id, struct store_table_stats *ret_stats,
               struct err *err)
{
    const struct catalog_table *table = pg_find_table(id, err);
    struct store_scan all = {.table = id};
    struct batch rows;
    struct batch answer BATCH_AUTO = {0};
    struct pg_sql sql;

    if (!table) {
        return ERR_NOT_FOUND;
    }
    bool timed = table->time_column != CATALOG_NONE;
    pg_sql_init(&sql);
    batch_init_answer(&rows, PG_ANSWER_BYTES_MAX);
    batch_add_column(&rows, SLICE_LITERAL("rows"), COL_INT64);
    buf_add_cstr(&sql.text, "SELECT count(*)");
    if (timed) {
        const char *time = table->columns[table->time_column].name;
        buf_add_fmt(&sql.text, ", min(t.\"%s\"), max(t.\"%s\")", time, time);
        batch_add_column(&rows, SLICE_LITERAL("min"), COL_TIMESTAMP);
        batch_add_column(&rows, SLICE_LITERAL("max"), COL_TIMESTAMP);
    }
    buf_add_cstr(&sql.text, " FROM ");
    pg_add_source(&sql, table);
    enum err_code code = pg_select((struct pg_store *)store, &sql, &all, &rows, &answer, err);
    pg_sql_fini(&sql);
    if (code) {
        return code;
    }
    *ret_stats = (struct store_table_stats){
        .table = id,
        .rows = (uint64_t)batch_get_i64(&answer, 0, 0),
        .min_us = timed ? batch_get_i64(&answer, 1, 0) : 0,
        .max_us = timed ? batch_get_i64(&answer, 2, 0) : 0,
    };
    return ERR_OK;
}
