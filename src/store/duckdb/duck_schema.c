/* The database as the runner of migrations sees it: statements on the writer's connection. */
#include "store/duckdb/duck_schema.h"

/* SQL that DuckDB understood and will not do: a name that is taken, a column that is not there,
 * what a statement raises by error(). Says nothing about the file. */
static bool
is_refusal(duckdb_error_type type)
{
    switch ((int)type) {
    case DUCKDB_ERROR_CATALOG:
    case DUCKDB_ERROR_BINDER:
    case DUCKDB_ERROR_PARSER:
    case DUCKDB_ERROR_SYNTAX:
    case DUCKDB_ERROR_CONSTRAINT:
    case DUCKDB_ERROR_DEPENDENCY:
    case DUCKDB_ERROR_INVALID_INPUT:
    case DUCKDB_ERROR_NOT_IMPLEMENTED:
        return true;
    default:
        return false;
    }
}

static enum err_code
schema_exec(void *ctx, const char *sql, struct err *err)
{
    struct duck_store *duck = ctx;
    duckdb_result result;
    enum err_code code = ERR_OK;

    if (duckdb_query(duck->writer, sql, &result) != DuckDBSuccess) {
        bool refused = is_refusal(duckdb_result_error_type(&result));
        code = duck_fail_result(duck, DUCK_SIDE_APPLY, &result, err);
        if (refused && !atomic_load(&duck->broken)) {
            code = err_context(err, ERR_CONFLICT, "DuckDB refuses");
            if (err) {
                err->code = ERR_CONFLICT;
            }
        }
    }
    duckdb_destroy_result(&result);
    return code;
}

static enum err_code
schema_begin(void *ctx, struct err *err)
{
    return duck_run(ctx, "BEGIN TRANSACTION", err);
}

static enum err_code
schema_query(void *ctx, const char *sql, struct batch *ret_rows, struct err *err)
{
    struct duck_store *duck = ctx;
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_statement statement = {.sql = slice_of(sql)};
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = DUCK_TEXT_BYTES_MAX};

    return duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, ret_rows, NULL, err);
}

static enum err_code
schema_commit(void *ctx, struct err *err)
{
    return duck_run(ctx, "COMMIT", err);
}

static void
schema_rollback(void *ctx)
{
    duck_run(ctx, "ROLLBACK", NULL); /* fails when the transaction is gone already */
}

static const struct schema_db_ops ops = {
    .begin = schema_begin,
    .exec = schema_exec,
    .query = schema_query,
    .commit = schema_commit,
    .rollback = schema_rollback,
};

struct schema_db
duck_schema_db(struct duck_store *duck)
{
    return (struct schema_db){.ops = &ops,
                              .ctx = duck,
                              .dialect = SCHEMA_DUCKDB,
                              .where = duck->path,
                              .clock = duck->clock};
}
