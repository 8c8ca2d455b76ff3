/* Statements and their answers: prepare, bind, stream chunks into a batch, within bounds. */
#include "store/duckdb/duck.h"

#include <sched.h>
#include <stdlib.h>

#include "base/mem.h"

enum { PIECE_BYTES = 16 << 20 }; /* texts of a piece of a visit; a chunk may go beyond */

static const size_t chunk_bytes_max = 1ULL << 30;

static bool
is_reading(duckdb_statement_type type)
{
    return type == DUCKDB_STATEMENT_TYPE_SELECT || type == DUCKDB_STATEMENT_TYPE_EXPLAIN ||
           type == DUCKDB_STATEMENT_TYPE_RELATION;
}

static enum err_code
prepare(struct duck_cursor *cursor, duckdb_connection connection,
        const struct duck_statement *statement, struct err *err)
{
    duckdb_state state;

    if (statement->extracted) {
        state = duckdb_prepare_extracted_statement(connection, statement->extracted, 0,
                                                   &cursor->prepared);
    } else {
        char *sql MEM_AUTO = mem_strdup(statement->sql);
        state = duckdb_prepare(connection, sql, &cursor->prepared);
    }
    if (state != DuckDBSuccess) {
        return duck_fail(cursor->duck, cursor->side, DUCKDB_ERROR_INVALID,
                         duckdb_prepare_error(cursor->prepared), err);
    }
    if (cursor->side == DUCK_SIDE_USER &&
        !is_reading(duckdb_prepared_statement_type(cursor->prepared))) {
        return err_set(err, ERR_INVALID, "only reading statements are allowed");
    }
    return ERR_OK;
}

static duckdb_state
bind_decimal(duckdb_prepared_statement prepared, idx_t index, int64_t micro)
{
    duckdb_hugeint wide = {.lower = (uint64_t)micro, .upper = micro < 0 ? -1 : 0};

    return duckdb_bind_decimal(
        prepared, index,
        (duckdb_decimal){.width = DUCK_DECIMAL_WIDTH, .scale = DUCK_DECIMAL_SCALE, .value = wide});
}

static duckdb_state
bind_one(duckdb_prepared_statement prepared, idx_t index, const struct store_param *param)
{
    switch (param->type) {
    case PARAM_NULL:
        return duckdb_bind_null(prepared, index);
    case PARAM_BOOL:
        return duckdb_bind_boolean(prepared, index, param->i64 != 0);
    case PARAM_I64:
        return duckdb_bind_int64(prepared, index, param->i64);
    case PARAM_F64:
        return duckdb_bind_double(prepared, index, param->f64);
    case PARAM_TEXT:
        return duckdb_bind_varchar_length(prepared, index, param->text.ptr ? param->text.ptr : "",
                                          param->text.len);
    case PARAM_TIMESTAMP:
        return duckdb_bind_timestamp(prepared, index, (duckdb_timestamp){param->i64});
    case PARAM_DECIMAL:
        return bind_decimal(prepared, index, param->i64);
    }
    return DuckDBError;
}

static enum err_code
bind(struct duck_cursor *cursor, const struct duck_statement *statement, struct err *err)
{
    idx_t wanted = duckdb_nparams(cursor->prepared);

    if (wanted != statement->param_count) {
        return err_set(err, ERR_INVALID, "the statement has %llu parameters, %zu were given",
                       (unsigned long long)wanted, statement->param_count);
    }
    for (size_t i = 0; i < statement->param_count; i++) {
        if (bind_one(cursor->prepared, i + 1, &statement->params[i]) != DuckDBSuccess) {
            return err_set(err, ERR_INVALID, "parameter %zu cannot be bound", i + 1);
        }
    }
    return ERR_OK;
}

/*
 * Works on the statement until there is something to fetch; false when it failed. Where DuckDB's
 * threads have all that is to be done (a single row group), it lets the caller spin, which takes
 * half of a processor from them when others want to run.
 */
static bool
work(duckdb_pending_result pending)
{
    for (;;) {
        switch (duckdb_pending_execute_task(pending)) {
        case DUCKDB_PENDING_RESULT_READY:
            return true;
        case DUCKDB_PENDING_ERROR:
            return false;
        case DUCKDB_PENDING_NO_TASKS_AVAILABLE:
            sched_yield();
            break;
        case DUCKDB_PENDING_RESULT_NOT_READY:
            break;
        }
    }
}

static enum err_code
execute(struct duck_cursor *cursor, struct err *err)
{
    duckdb_pending_result pending;
    enum err_code code = ERR_OK;

    /* The applier's errors are told apart by more than their prefixes. */
    if (duckdb_pending_prepared_streaming(cursor->prepared, &pending) != DuckDBSuccess ||
        (cursor->side != DUCK_SIDE_APPLY && !work(pending))) {
        code = duck_fail(cursor->duck, cursor->side, DUCKDB_ERROR_INVALID,
                         duckdb_pending_error(pending), err);
    } else {
        cursor->has_result = true;
        if (duckdb_execute_pending(pending, &cursor->result) != DuckDBSuccess) {
            code = duck_fail_result(cursor->duck, cursor->side, &cursor->result, err);
        }
    }
    duckdb_destroy_pending(&pending);
    return code;
}

static enum err_code
refuse_type(const struct duck_column *column, struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "column \"%s\" has a type (number %d of DuckDB) that cannot be sent; write "
                   "CAST(... AS VARCHAR)",
                   column->name, (int)column->type);
}

static enum err_code
read_columns(struct duck_cursor *cursor, bool wide_as_text, struct err *err)
{
    size_t count = duckdb_column_count(&cursor->result);

    cursor->columns = mem_zalloc(count, sizeof(*cursor->columns));
    for (; cursor->column_count < count; cursor->column_count++) {
        struct duck_column *column = &cursor->columns[cursor->column_count];
        duckdb_logical_type logical =
            duckdb_column_logical_type(&cursor->result, cursor->column_count);
        bool known = duck_column_init(column, logical, wide_as_text);
        column->name = duckdb_column_name(&cursor->result, cursor->column_count);
        if (!known) {
            cursor->column_count++; /* owns its type already */
            return refuse_type(column, err);
        }
    }
    return ERR_OK;
}

enum err_code
duck_cursor_open(struct duck_cursor *cursor, struct duck_store *duck, duckdb_connection connection,
                 enum duck_side side, const struct duck_statement *statement, struct err *err)
{
    *cursor = (struct duck_cursor){.duck = duck, .side = side};
    enum err_code code = prepare(cursor, connection, statement, err);
    code = code ? code : bind(cursor, statement, err);
    code = code ? code : execute(cursor, err);
    return code ? code : read_columns(cursor, statement->wide_as_text, err);
}

void
duck_cursor_columns(const struct duck_cursor *cursor, struct batch *rows)
{
    for (size_t i = 0; i < cursor->column_count; i++) {
        batch_add_column(rows, slice_of(cursor->columns[i].name), cursor->columns[i].target);
    }
}

enum err_code
duck_cursor_next(struct duck_cursor *cursor, struct batch *rows, size_t room, size_t *ret_rows,
                 struct err *err)
{
    duckdb_data_chunk chunk = duckdb_fetch_chunk(cursor->result);
    enum err_code code = ERR_OK;

    *ret_rows = 0;
    if (!chunk) {
        const char *message = duckdb_result_error(&cursor->result);
        return message && *message
                   ? duck_fail_result(cursor->duck, cursor->side, &cursor->result, err)
                   : ERR_OK;
    }
    size_t count = duckdb_data_chunk_get_size(chunk);
    size_t taken = count < room ? count : room;
    size_t first = taken > 0 ? batch_extend(rows, taken) : 0;
    for (size_t i = 0; i < cursor->column_count && taken > 0; i++) {
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, i);
        if (!duck_column_copy(&cursor->columns[i], vector, rows, i, first, taken)) {
            cursor->too_wide = true;
            code = err_set(err, ERR_TOO_LARGE, "column \"%s\" does not fit its type",
                           cursor->columns[i].name);
            break;
        }
    }
    duckdb_destroy_data_chunk(&chunk);
    *ret_rows = count;
    return code;
}

void
duck_cursor_close(struct duck_cursor *cursor)
{
    for (size_t i = 0; i < cursor->column_count; i++) {
        duckdb_destroy_logical_type(&cursor->columns[i].logical);
    }
    free(cursor->columns);
    if (cursor->has_result) {
        duckdb_destroy_result(&cursor->result);
    }
    duckdb_destroy_prepare(&cursor->prepared);
    *cursor = (struct duck_cursor){0};
}

static enum err_code
gather(struct duck_cursor *cursor, const struct duck_bounds *bounds, struct batch *rows,
       bool *ret_truncated, struct err *err)
{
    for (;;) {
        size_t got;
        size_t room = bounds->rows_max - rows->rows;
        enum err_code code = duck_cursor_next(cursor, rows, room, &got, err);
        if (code || got == 0) {
            return code;
        }
        if (rows->arena.overflow || batch_bytes(rows) > bounds->bytes_max) {
            return err_set(err, ERR_TOO_LARGE,
                           "the answer is larger than %zu bytes; ask for less, or use LIMIT",
                           bounds->bytes_max);
        }
        if (got > room) {
            *ret_truncated = true;
            return bounds->cut ? ERR_OK
                               : err_set(err, ERR_TOO_LARGE,
                                         "the answer has more than %zu rows; ask for less",
                                         bounds->rows_max);
        }
    }
}

static enum err_code
select_once(struct duck_store *duck, struct duck_reader *reader, enum duck_side side,
            const struct duck_statement *statement, const struct duck_bounds *bounds,
            struct batch *ret_rows, bool *ret_truncated, bool *ret_too_wide, struct err *err)
{
    struct duck_cursor cursor;
    struct batch rows;

    batch_init_answer(&rows, bounds->bytes_max);
    enum err_code code = duck_cursor_open(&cursor, duck, reader->connection, side, statement, err);
    if (!code) {
        duck_cursor_columns(&cursor, &rows);
        code = gather(&cursor, bounds, &rows, ret_truncated, err);
    }
    *ret_too_wide = cursor.too_wide;
    duck_cursor_close(&cursor);
    if (code) {
        batch_fini(&rows);
        return code;
    }
    *ret_rows = rows;
    return ERR_OK;
}

/* After an internal error: whether DuckDB gave the database up. */
static bool
is_lost(struct duck_store *duck, struct duck_reader *reader)
{
    duckdb_result result;

    if (duckdb_query(reader->connection, "SELECT 1", &result) != DuckDBSuccess) {
        duck_fail_result(duck, DUCK_SIDE_READ, &result, NULL);
    }
    duckdb_destroy_result(&result);
    return atomic_load(&duck->broken);
}

static enum err_code
say_why(struct duck_store *duck, struct duck_reader *reader, struct err *err)
{
    enum err_code code = duck_pool_why(reader, err);

    atomic_fetch_add(&duck->queries_out_of_memory, code == ERR_TOO_LARGE);
    return code;
}

/* What a failed statement comes to. */
static enum err_code
explain(struct duck_store *duck, struct duck_reader *reader, enum err_code code, struct err *err)
{
    if (code == ERR_TIMEOUT) {
        return say_why(duck, reader, err);
    }
    if (code == ERR_INTERNAL && is_lost(duck, reader)) {
        return err_set(err, ERR_UNAVAILABLE, "the database was invalidated and is reopened");
    }
    /* An interrupt between two statements spoils their transaction, and the next one says only
     * that.
     */
    if (code == ERR_INTERNAL && duck_pool_is_over(reader)) {
        return say_why(duck, reader, err);
    }
    return code;
}

void
duck_count_query(struct duck_store *duck, int64_t start_us, enum err_code code)
{
    atomic_fetch_add(&duck->queries, 1);
    atomic_fetch_add(&duck->query_errors, code != ERR_OK);
    hist_record(&duck->query_us, clock_mono_us(duck->clock) - start_us);
}

enum err_code
duck_select(struct duck_store *duck, struct duck_reader *reader, enum duck_side side,
            const struct duck_statement *statement, const struct duck_bounds *bounds,
            struct batch *ret_rows, bool *ret_truncated, struct err *err)
{
    struct duck_statement wide = *statement;
    int64_t start_us = clock_mono_us(duck->clock);
    bool too_wide = false;
    bool truncated = false;

    enum err_code code =
        select_once(duck, reader, side, statement, bounds, ret_rows, &truncated, &too_wide, err);
    if (code && too_wide) {
        wide.wide_as_text = true;
        wide.extracted = NULL; /* spent */
        truncated = false;
        code = select_once(duck, reader, side, &wide, bounds, ret_rows, &truncated, &too_wide, err);
    }
    code = explain(duck, reader, code, err);
    if (!code && ret_truncated) {
        *ret_truncated = truncated;
    }
    if (side != DUCK_SIDE_USER) {
        duck_count_query(duck, start_us, code); /* a user's is counted whole (duck_sql) */
    }
    return code;
}

/* Takes chunks until the batch is full; *ret_end when there are no more. */
static enum err_code
fill_piece(struct duck_cursor *cursor, struct batch *rows, bool *ret_end, struct err *err)
{
    size_t chunk_rows = duckdb_vector_size();

    while (rows->rows + chunk_rows <= STORE_VISIT_ROWS && rows->arena.used_bytes < PIECE_BYTES) {
        size_t got;
        enum err_code code = duck_cursor_next(cursor, rows, SIZE_MAX, &got, err);
        if (code) {
            return code;
        }
        if (rows->arena.overflow) {
            return err_set(err, ERR_TOO_LARGE, "%zu rows have more than %zu bytes of texts",
                           rows->rows, chunk_bytes_max);
        }
        if (got == 0) {
            *ret_end = true;
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* *ret_refused: the code is fn's, and says nothing about the database. */
static enum err_code
stream(struct duck_cursor *cursor, struct duck_reader *reader, store_visit_fn *fn, void *ctx,
       bool *ret_refused, struct err *err)
{
    enum err_code code = ERR_OK;
    bool end = false;

    while (!code && !end) {
        struct batch rows BATCH_AUTO;
        batch_init_answer(&rows, chunk_bytes_max);
        duck_cursor_columns(cursor, &rows);
        code = fill_piece(cursor, &rows, &end, err);
        if (!code && rows.rows > 0) {
            code = fn(ctx, &rows, err);
            *ret_refused = code != ERR_OK;
        }
        /* The next fetch would say so too, once the watchdog has come round. */
        if (!code && !end && duck_pool_is_over(reader)) {
            code = ERR_TIMEOUT;
        }
    }
    return code;
}

enum err_code
duck_stream(struct duck_store *duck, struct duck_reader *reader,
            const struct duck_statement *statement, store_visit_fn *fn, void *ctx, struct err *err)
{
    int64_t start_us = clock_mono_us(duck->clock);
    struct duck_cursor cursor;
    bool refused = false;

    enum err_code code =
        duck_cursor_open(&cursor, duck, reader->connection, DUCK_SIDE_READ, statement, err);
    code = code ? code : stream(&cursor, reader, fn, ctx, &refused, err);
    duck_cursor_close(&cursor);
    if (!refused) {
        code = explain(duck, reader, code, err);
    }
    duck_count_query(duck, start_us, refused ? ERR_OK : code);
    return code;
}
