/*
 * Users' SQL: guarded by its text (sql_guard.h), by DuckDB's own view of it (one statement, of a
 * reading type), and by a READ ONLY transaction on a connection without files, network or settings.
 */
#include "store/duckdb/duck_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/duckdb/sql_guard.h"

/* All table functions of this DuckDB but those known to be harmless: a later version's new ones are
 * refused by themselves. */
static const char functions_sql[] =
    "SELECT DISTINCT lower(function_name) AS name FROM duckdb_functions() "
    "WHERE function_type IN ('table', 'table_macro') ORDER BY name";

static char **
make_refused(const struct batch *rows)
{
    char **names = mem_zalloc(rows->rows + 1, sizeof(*names));
    size_t count = 0;

    for (size_t i = 0; i < rows->rows; i++) {
        struct slice name = batch_get_text(rows, 0, i);
        if (!sql_guard_allows(name)) {
            names[count++] = mem_strdup(name);
        }
    }
    return names;
}

/* The list is made by the first statement that needs it: it costs 30 ms. */
static enum err_code
load_refused(struct duck_store *duck, struct duck_reader *reader, struct err *err)
{
    struct duck_statement statement = {.sql = slice_of(functions_sql)};
    struct duck_bounds bounds = {.rows_max = 100000, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch rows;
    enum err_code code = ERR_OK;

    pthread_mutex_lock(&duck->refused_lock);
    if (!atomic_load(&duck->refused)) {
        code = duck_select(duck, reader, DUCK_SIDE_READ, &statement, &bounds, &rows, NULL, err);
        if (!code) {
            atomic_store(&duck->refused, make_refused(&rows));
            batch_fini(&rows);
        }
    }
    pthread_mutex_unlock(&duck->refused_lock);
    return code;
}

static enum err_code
run_user(struct duck_store *duck, struct duck_reader *reader, const struct store_sql *sql,
         struct batch *ret_rows, bool *ret_truncated, struct err *err)
{
    struct duck_bounds bounds = {
        .rows_max = sql->rows_max ? sql->rows_max : DUCK_SQL_ROWS_MAX,
        .bytes_max = sql->bytes_max ? sql->bytes_max : DUCK_TEXT_BYTES_MAX,
        .cut = true,
    };
    char *text MEM_AUTO = mem_strdup(sql->sql);
    duckdb_extracted_statements extracted = NULL;
    enum err_code code = ERR_OK;

    bounds.rows_max = bounds.rows_max < BATCH_ROWS_MAX ? bounds.rows_max : BATCH_ROWS_MAX;
    idx_t count = duckdb_extract_statements(reader->connection, text, &extracted);
    if (count == 0) {
        const char *why = duckdb_extract_statements_error(extracted);
        code = duck_fail(duck, DUCK_SIDE_USER, DUCKDB_ERROR_INVALID,
                         why ? why : "the statement is empty", err);
    } else if (count > 1) {
        code = err_set(err, ERR_INVALID,
                       "one statement at a time, this is %llu (a PIVOT needs its IN list)",
                       (unsigned long long)count);
    }
    if (!code) {
        struct duck_statement statement = {.sql = sql->sql,
                                           .params = sql->params,
                                           .param_count = sql->param_count,
                                           .extracted = extracted};
        code = duck_select(duck, reader, DUCK_SIDE_USER, &statement, &bounds, ret_rows,
                           ret_truncated, err);
    }
    duckdb_destroy_extracted(&extracted);
    return code;
}

static enum err_code
in_transaction(struct duck_store *duck, struct duck_reader *reader, const struct store_sql *sql,
               struct batch *ret_rows, bool *ret_truncated, struct err *err)
{
    enum err_code code = duck_read_begin(duck, reader, err);

    if (!code) {
        code = run_user(duck, reader, sql, ret_rows, ret_truncated, err);
        duck_read_end(reader);
    }
    return code;
}

/* Runs the statement over the cold files of its times alone; ERR_NOT_FOUND when these are all. */
static enum err_code
run_narrowed(struct duck_store *duck, struct duck_reader *reader, const struct store_sql *sql,
             struct batch *ret_rows, bool *ret_truncated, struct err *err)
{
    struct buf text BUF_AUTO = {0};
    struct store_param params[STORE_PARAMS_MAX + 1];
    struct store_sql narrowed = *sql;
    struct sql_ranges ranges;
    bool once = false;
    enum err_code code = ERR_NOT_FOUND;

    if (!sql_ranges_find(sql, &ranges)) {
        return code;
    }
    for (size_t i = 0; i < sql->param_count; i++) {
        params[i] = sql->params[i];
    }
    params[sql->param_count] = (struct store_param){.type = PARAM_BOOL};
    buf_init(&text, DUCK_SQL_BYTES);
    /* The files and the hot rows are to be of one moment. */
    pthread_rwlock_rdlock(&duck->cold.lock);
    if (duck_narrow(duck, &ranges, sql, &text, &once)) {
        code = duck_read_begin(duck, reader, err);
    }
    pthread_rwlock_unlock(&duck->cold.lock);
    if (!code) {
        narrowed.sql = buf_slice(&text);
        narrowed.params = params;
        narrowed.param_count += once;
        code = run_user(duck, reader, &narrowed, ret_rows, ret_truncated, err);
        duck_read_end(reader);
    }
    return code;
}

static enum err_code
run(struct duck_store *duck, struct duck_reader *reader, const struct store_sql *sql,
    struct batch *ret_rows, bool *ret_truncated, struct err *err)
{
    enum err_code code = run_narrowed(duck, reader, sql, ret_rows, ret_truncated, err);

    /* What is wrong with a statement is to be said in its own words. */
    return code == ERR_NOT_FOUND || code == ERR_INVALID
               ? in_transaction(duck, reader, sql, ret_rows, ret_truncated, err)
               : code;
}

enum err_code
duck_sql(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
         bool *ret_truncated, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    int timeout_ms = sql->timeout_ms > 0 ? sql->timeout_ms : duck->timeout_ms;
    struct duck_reader *reader;

    if (sql->param_count > STORE_PARAMS_MAX) {
        return err_set(err, ERR_INVALID, "%zu parameters, at most %d are allowed", sql->param_count,
                       STORE_PARAMS_MAX);
    }
    if (atomic_load(&duck->broken)) {
        return err_set(err, ERR_UNAVAILABLE, "the database was invalidated and is reopened");
    }
    enum err_code code = duck_pool_take(&duck->pool, timeout_ms, sql->cancel, &reader, err);
    if (code) {
        return code;
    }
    int64_t start_us = clock_mono_us(duck->clock);
    code = load_refused(duck, reader, err);
    code = code ? code : sql_guard_check(sql->sql, atomic_load(&duck->refused), err);
    code = code ? code : run(duck, reader, sql, ret_rows, ret_truncated, err);
    if (code == ERR_TIMEOUT) {
        code = duck_pool_why(reader, err);
    }
    duck_count_query(duck, start_us, code);
    duck_pool_give(reader);
    return code;
}
