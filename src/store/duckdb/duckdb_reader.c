/* Reading foreign DuckDB databases and Parquet through a scratch in-memory database. */
#include "store/duckdb/duckdb_reader.h"

#include <duckdb.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/duckdb/duck_cold.h"

enum { TEXT_BYTES_MAX = 256 << 20 };

struct duckdb_reader {
    duckdb_database database;
    duckdb_connection connection;
    enum duckdb_file kind;
    char *path;
    size_t table_count;
    char **tables;
    bool streaming; /* result is open */
    duckdb_result result;
    bool has_batch;
    struct batch batch;
};

const char *
store_duckdb_library_version(void)
{
    return duckdb_library_version();
}

/* 'it''s' */
static void
add_quoted(struct buf *sql, const char *text, char quote)
{
    buf_add_char(sql, quote);
    for (; *text; text++) {
        if (*text == quote) {
            buf_add_char(sql, quote);
        }
        buf_add_char(sql, *text);
    }
    buf_add_char(sql, quote);
}

/* The first line of what DuckDB says, as one of our codes. */
static enum err_code
refuse(struct duckdb_reader *reader, const char *message, struct err *err)
{
    enum err_code code = ERR_INVALID;

    message = message ? message : "no reason given";
    if (strstr(message, "lock on file")) {
        return err_set(err, ERR_CONFLICT,
                       "%s is open in another process; stop it, or import a copy of the file",
                       reader->path);
    }
    if (strstr(message, "valid DuckDB") || strstr(message, "magic bytes") ||
        strstr(message, "too small to be a Parquet")) {
        return err_set(err, ERR_SYNTAX, "%s is not a %s file", reader->path,
                       reader->kind == DUCKDB_FILE_PARQUET ? "Parquet" : "DuckDB database");
    }
    return err_set(err, code, "%s: %.*s", reader->path, (int)strcspn(message, "\n"), message);
}

static enum err_code
run(struct duckdb_reader *reader, const char *sql, duckdb_result *ret_result, struct err *err)
{
    duckdb_result result = {0};

    if (duckdb_query(reader->connection, sql, &result) != DuckDBSuccess) {
        enum err_code code = refuse(reader, duckdb_result_error(&result), err);
        duckdb_destroy_result(&result);
        return code;
    }
    if (ret_result) {
        *ret_result = result;
    } else {
        duckdb_destroy_result(&result);
    }
    return ERR_OK;
}

static enum err_code
run_buf(struct duckdb_reader *reader, struct buf *sql, duckdb_result *ret_result, struct err *err)
{
    buf_add_char(sql, '\0');
    return run(reader, sql->ptr, ret_result, err);
}

static struct slice
string_of(const duckdb_string_t *text)
{
    uint32_t len = duckdb_string_t_length(*text);

    if (duckdb_string_is_inlined(*text)) {
        return slice_make(text->value.inlined.inlined, len);
    }
    return slice_make(text->value.pointer.ptr, len);
}

/* First column, first row; 0 without one. */
static int64_t
single_value(duckdb_result *result)
{
    duckdb_data_chunk chunk = duckdb_fetch_chunk(*result);
    int64_t value = 0;

    if (chunk && duckdb_data_chunk_get_size(chunk) > 0) {
        value = *(int64_t *)duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
    }
    duckdb_destroy_data_chunk(&chunk);
    return value;
}

static enum err_code
list_tables(struct duckdb_reader *reader, struct err *err)
{
    duckdb_result result = {0};
    duckdb_data_chunk chunk;
    enum err_code code =
        run(reader,
            "SELECT table_name FROM duckdb_tables() "
            "WHERE database_name = 'source' AND schema_name = 'main' "
            "UNION ALL SELECT view_name FROM duckdb_views() "
            "WHERE database_name = 'source' AND schema_name = 'main' AND NOT internal ORDER BY 1",
            &result, err);

    if (code != ERR_OK) {
        return code;
    }
    while ((chunk = duckdb_fetch_chunk(result))) {
        size_t rows = duckdb_data_chunk_get_size(chunk);
        const duckdb_string_t *names =
            duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
        reader->tables =
            mem_resize(reader->tables, reader->table_count + rows + 1, sizeof(*reader->tables));
        for (size_t i = 0; i < rows; i++) {
            reader->tables[reader->table_count++] = mem_strdup(string_of(&names[i]));
        }
        duckdb_destroy_data_chunk(&chunk);
    }
    duckdb_destroy_result(&result);
    return ERR_OK;
}

/* A database with a memory bound of its own; the file is attached to it, never opened as it. */
static enum err_code
open_scratch(struct duckdb_reader *reader, struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, 0);
    if (duckdb_open(NULL, &reader->database) != DuckDBSuccess ||
        duckdb_connect(reader->database, &reader->connection) != DuckDBSuccess) {
        return err_set(err, ERR_INTERNAL, "DuckDB cannot start");
    }
    buf_add_fmt(&sql, "SET memory_limit = '%" PRIu64 "KiB'", limits_memory_bytes() / 4 / 1024);
    enum err_code code = run_buf(reader, &sql, NULL, err);
    if (code == ERR_OK) {
        code = run(reader, "SET autoinstall_known_extensions = false", NULL, err);
    }
    if (code == ERR_OK) {
        code = run(reader, "SET autoload_known_extensions = false", NULL, err);
    }
    return code;
}

/* Cold files stand beside a database of ours, and its views name them; nothing else is opened. */
static enum err_code
allow_cold_files(struct duckdb_reader *reader, struct err *err)
{
    struct buf sql BUF_AUTO = {0};
    char path[PATH_MAX];
    char cold[PATH_MAX + 8];

    if (!realpath(reader->path, path)) {
        return err_sys(err, errno, "finding the directory of %s", reader->path);
    }
    snprintf(cold, sizeof(cold), "%.*s/cold", (int)(strrchr(path, '/') - path), path);
    buf_init(&sql, 0);
    buf_add_cstr(&sql, "SET allowed_directories = [");
    duck_cold_add_literal(slice_of(cold), &sql);
    buf_add_cstr(&sql, " || '/', ");
    duck_cold_add_path(cold, &sql); /* what is read is asked for as a pattern */
    buf_add_cstr(&sql, " || '/']");
    return run_buf(reader, &sql, NULL, err);
}

static enum err_code
attach(struct duckdb_reader *reader, bool sandbox, struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, 0);
    buf_add_cstr(&sql, "ATTACH ");
    add_quoted(&sql, reader->path, '\'');
    buf_add_cstr(&sql, " AS source (TYPE duckdb, READ_ONLY)");
    enum err_code code = run_buf(reader, &sql, NULL, err);
    if (code == ERR_OK) {
        code = run(reader, "USE source.main", NULL, err);
    }
    /* A view in a stranger's database is a stranger's SQL: it must not reach other files. */
    if (code == ERR_OK && sandbox) {
        code = allow_cold_files(reader, err);
    }
    if (code == ERR_OK && sandbox) {
        code = run(reader, "SET enable_external_access = false", NULL, err);
    }
    return code;
}

static enum err_code
open_file(const char *path, enum duckdb_file kind, bool sandbox, struct duckdb_reader **ret_reader,
          struct err *err)
{
    enum err_code code;

    if (access(path, R_OK) != 0) {
        code = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        err_set(err, code, "cannot read %s: %s", path, strerrordesc_np(errno));
        return code;
    }
    struct duckdb_reader *reader = mem_zalloc(1, sizeof(*reader));
    reader->kind = kind;
    reader->path = mem_strdup(slice_of(path));
    code = open_scratch(reader, err);
    if (code == ERR_OK && kind == DUCKDB_FILE_DATABASE) {
        code = attach(reader, sandbox, err);
        if (code == ERR_OK) {
            code = list_tables(reader, err);
        }
    } else if (code == ERR_OK) {
        reader->tables = mem_zalloc(1, sizeof(*reader->tables));
        reader->tables[reader->table_count++] = mem_strdup(SLICE_LITERAL("parquet"));
    }
    if (code != ERR_OK) {
        duckdb_reader_close(reader);
        return code;
    }
    *ret_reader = reader;
    return ERR_OK;
}

enum err_code
duckdb_reader_open(const char *path, enum duckdb_file kind, struct duckdb_reader **ret_reader,
                   struct err *err)
{
    return open_file(path, kind, true, ret_reader, err);
}

static void
end_stream(struct duckdb_reader *reader)
{
    if (reader->streaming) {
        duckdb_destroy_result(&reader->result);
        reader->streaming = false;
    }
    if (reader->has_batch) {
        batch_fini(&reader->batch);
        reader->has_batch = false;
    }
}

void
duckdb_reader_close(struct duckdb_reader *reader)
{
    if (!reader) {
        return;
    }
    end_stream(reader);
    for (size_t i = 0; i < reader->table_count; i++) {
        free(reader->tables[i]);
    }
    free(reader->tables);
    free(reader->path);
    duckdb_disconnect(&reader->connection);
    duckdb_close(&reader->database);
    free(reader);
}

const char *
duckdb_reader_table(const struct duckdb_reader *reader, size_t index)
{
    return index < reader->table_count ? reader->tables[index] : NULL;
}

static void
add_source(struct buf *sql, const struct duckdb_reader *reader, const char *table)
{
    if (reader->kind == DUCKDB_FILE_PARQUET) {
        buf_add_cstr(sql, "read_parquet(");
        add_quoted(sql, reader->path, '\'');
        buf_add_char(sql, ')');
    } else {
        add_quoted(sql, table, '"');
    }
}

/* Whether every value of a DECIMAL type is one of DECIMAL(18,6). */
static bool
fits_decimal(duckdb_logical_type logical)
{
    int scale = duckdb_decimal_scale(logical);

    return scale <= 6 && duckdb_decimal_width(logical) - scale <= 12;
}

/* What a type of DuckDB is read as: our type, and the SQL type it is cast to. */
static enum col_type
read_as(duckdb_logical_type logical, const char **ret_cast)
{
    switch (duckdb_get_type_id(logical)) {
    case DUCKDB_TYPE_BOOLEAN:
        *ret_cast = "BOOLEAN";
        return COL_BOOL;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
        *ret_cast = "BIGINT";
        return COL_INT64;
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        *ret_cast = "DOUBLE";
        return COL_DOUBLE;
    case DUCKDB_TYPE_DECIMAL:
        if (fits_decimal(logical)) {
            *ret_cast = "DECIMAL(18,6)";
            return COL_DECIMAL;
        }
        *ret_cast = "DOUBLE";
        return COL_DOUBLE;
    case DUCKDB_TYPE_DATE:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        *ret_cast = "TIMESTAMP";
        return COL_TIMESTAMP;
    default:
        *ret_cast = "VARCHAR";
        return COL_TEXT;
    }
}

/* Builds `SELECT CAST(a AS ...) AS a, ... FROM (source)` and the batch that its rows go into. */
static enum err_code
plan_columns(struct duckdb_reader *reader, struct slice source, struct buf *ret_sql,
             struct err *err)
{
    duckdb_result shape = {0};
    struct buf probe BUF_AUTO = {0};
    struct buf name BUF_AUTO = {0};

    buf_init(&probe, 0);
    buf_init(&name, 0);
    buf_add_fmt(&probe, "SELECT * FROM (%.*s) LIMIT 0", SLICE_FMT(source));
    enum err_code code = run_buf(reader, &probe, &shape, err);
    if (code != ERR_OK) {
        return code;
    }
    batch_init_answer(&reader->batch, TEXT_BYTES_MAX);
    reader->has_batch = true;
    buf_add_cstr(ret_sql, "SELECT ");
    for (idx_t i = 0; i < duckdb_column_count(&shape); i++) {
        const char *cast;
        const char *column = duckdb_column_name(&shape, i);
        duckdb_logical_type logical = duckdb_column_logical_type(&shape, i);
        enum col_type type = read_as(logical, &cast);
        duckdb_destroy_logical_type(&logical);
        batch_add_column(&reader->batch, slice_of(column), type);
        buf_add_fmt(ret_sql, "%sCAST(", i ? ", " : "");
        add_quoted(ret_sql, column, '"');
        buf_add_fmt(ret_sql, " AS %s) AS ", cast);
        add_quoted(ret_sql, column, '"');
    }
    buf_add_fmt(ret_sql, " FROM (%.*s)", SLICE_FMT(source));
    duckdb_destroy_result(&shape);
    return ERR_OK;
}

/* Starts a streaming execution: rows are made as they are fetched. */
static enum err_code
start_stream(struct duckdb_reader *reader, const char *sql, struct err *err)
{
    duckdb_prepared_statement statement = NULL;
    duckdb_pending_result pending = NULL;
    enum err_code code = ERR_OK;

    if (duckdb_prepare(reader->connection, sql, &statement) != DuckDBSuccess) {
        code = refuse(reader, duckdb_prepare_error(statement), err);
        duckdb_destroy_prepare(&statement);
        return code;
    }
    if (duckdb_pending_prepared_streaming(statement, &pending) != DuckDBSuccess) {
        code = refuse(reader, duckdb_pending_error(pending), err);
    } else if (duckdb_execute_pending(pending, &reader->result) != DuckDBSuccess) {
        code = refuse(reader, duckdb_result_error(&reader->result), err);
        duckdb_destroy_result(&reader->result);
    } else {
        reader->streaming = true;
    }
    duckdb_destroy_pending(&pending);
    duckdb_destroy_prepare(&statement);
    return code;
}

static enum err_code
stream(struct duckdb_reader *reader, struct slice source, struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, 0);
    end_stream(reader);
    enum err_code code = plan_columns(reader, source, &sql, err);
    if (code == ERR_OK) {
        buf_add_char(&sql, '\0');
        code = start_stream(reader, sql.ptr, err);
    }
    if (code != ERR_OK) {
        end_stream(reader);
    }
    return code;
}

enum err_code
duckdb_reader_select(struct duckdb_reader *reader, const char *table, uint64_t *ret_rows,
                     struct err *err)
{
    struct buf source BUF_AUTO = {0};
    struct buf count BUF_AUTO = {0};
    duckdb_result result = {0};

    buf_init(&source, 0);
    buf_init(&count, 0);
    buf_add_cstr(&source, "SELECT * FROM ");
    add_source(&source, reader, table);
    buf_add_fmt(&count, "SELECT count(*) FROM (%.*s)", SLICE_FMT(buf_slice(&source)));
    enum err_code code = run_buf(reader, &count, &result, err);
    if (code != ERR_OK) {
        return code;
    }
    uint64_t rows = (uint64_t)single_value(&result);
    duckdb_destroy_result(&result);
    code = stream(reader, buf_slice(&source), err);
    if (code == ERR_OK) {
        *ret_rows = rows;
    }
    return code;
}

enum err_code
duckdb_reader_sql(struct duckdb_reader *reader, const char *sql, struct err *err)
{
    return stream(reader, slice_of(sql), err);
}

const struct batch *
duckdb_reader_columns(const struct duckdb_reader *reader)
{
    return reader->has_batch ? &reader->batch : NULL;
}

static void
set_value(struct batch *batch, size_t column, size_t row, const void *data)
{
    switch (batch->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(batch, column, row, ((const bool *)data)[row]);
        break;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        batch_set_i64(batch, column, row, ((const int64_t *)data)[row]);
        break;
    case COL_DOUBLE:
        batch_set_f64(batch, column, row, ((const double *)data)[row]);
        break;
    case COL_TEXT:
        batch_set_text(batch, column, row,
                       batch_keep_text(batch, string_of(&((const duckdb_string_t *)data)[row])));
        break;
    case COL_INT32:
    case COL_JSON:
    case COL_TYPE_COUNT:
        break; /* read_as gives none of these */
    }
}

enum err_code
duckdb_reader_next(struct duckdb_reader *reader, const struct batch **ret_rows, struct err *err)
{
    struct batch *batch = &reader->batch;
    duckdb_data_chunk chunk = duckdb_fetch_chunk(reader->result);

    batch_reset(batch);
    const char *problem = chunk ? NULL : duckdb_result_error(&reader->result);
    if (problem) {
        return refuse(reader, problem, err);
    }
    size_t rows = chunk ? duckdb_data_chunk_get_size(chunk) : 0;
    batch_reserve(batch, rows);
    for (size_t row = 0; row < rows; row++) {
        batch_add_row(batch);
    }
    for (size_t column = 0; column < batch->column_count; column++) {
        if (rows == 0) {
            break;
        }
        duckdb_vector vector = duckdb_data_chunk_get_vector(chunk, column);
        const void *data = duckdb_vector_get_data(vector);
        uint64_t *valid = duckdb_vector_get_validity(vector);
        for (size_t row = 0; row < rows; row++) {
            if (!valid || duckdb_validity_row_is_valid(valid, row)) {
                set_value(batch, column, row, data);
            }
        }
    }
    duckdb_destroy_data_chunk(&chunk);
    if (batch->arena.overflow) {
        return err_set(err, ERR_TOO_LARGE, "%s: texts of 2048 rows are larger than %d bytes",
                       reader->path, TEXT_BYTES_MAX);
    }
    *ret_rows = batch;
    return ERR_OK;
}

enum err_code
duckdb_reader_is_ours(const char *path, bool *ret_ours, struct err *err)
{
    struct duckdb_reader *reader = NULL;
    enum err_code code = duckdb_reader_open(path, DUCKDB_FILE_DATABASE, &reader, err);
    const char *name;
    bool ours = false;

    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; (name = duckdb_reader_table(reader, i)); i++) {
        ours = ours || strcmp(name, "eider_applied") == 0;
    }
    duckdb_reader_close(reader);
    *ret_ours = ours;
    return ERR_OK;
}

enum err_code
duckdb_reader_to_parquet(const char *path, const char *select, const char *output,
                         uint64_t *ret_rows, struct err *err)
{
    struct duckdb_reader *reader = NULL;
    struct buf sql BUF_AUTO = {0};
    struct buf temporary BUF_AUTO = {0};
    duckdb_result result = {0};

    buf_init(&sql, 0);
    buf_init(&temporary, 0);
    enum err_code code = open_file(path, DUCKDB_FILE_DATABASE, false, &reader, err);
    if (code != ERR_OK) {
        return code;
    }
    buf_add_fmt(&temporary, "%s.part", output);
    buf_add_char(&temporary, '\0');
    buf_add_fmt(&sql, "COPY (%s) TO ", select);
    add_quoted(&sql, temporary.ptr, '\'');
    buf_add_cstr(&sql, " (FORMAT parquet, COMPRESSION zstd)");
    code = run_buf(reader, &sql, &result, err);
    if (code == ERR_OK) {
        *ret_rows = (uint64_t)single_value(&result);
        duckdb_destroy_result(&result);
        if (rename(temporary.ptr, output) != 0) {
            code = err_sys(err, errno, "cannot rename %s to %s", temporary.ptr, output);
        }
    }
    if (code != ERR_OK) {
        unlink(temporary.ptr);
    }
    duckdb_reader_close(reader);
    return code;
}
