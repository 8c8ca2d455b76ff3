/* The database as the runner of migrations sees it: statements on the writer's connection. And a
 * file opened for that alone. */
#include "store/duckdb/duck_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "store/duckdb/duckdb_schema.h"
#include "store/failpoint.h"

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
            code = ERR_CONFLICT;
            if (err) {
                err->code = code;
            }
        }
    }
    duckdb_destroy_result(&result);
    return code ? code : failpoint_fails("schema.statement", err);
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
    enum err_code code = failpoint_fails("schema.ready", err);

    code = code ? code : duck_run(ctx, "COMMIT", err);
    return code ? code : failpoint_fails("schema.done", err);
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

/* ---- a file opened for its schema alone ---- */

struct duck_session {
    struct schema_session session; /* first */
    struct duck_store duck;        /* path, database and writer; nothing else is used */
};

static void
session_close(struct schema_session *session)
{
    struct duck_session *own = (struct duck_session *)session;

    if (own->duck.writer) {
        duckdb_disconnect(&own->duck.writer);
    }
    if (own->duck.database) {
        duckdb_close(&own->duck.database);
    }
    free(own->duck.path);
    free(own);
}

static enum err_code
session_configure(const struct store_open_options *options, bool change, duckdb_config config,
                  struct err *err)
{
    uint64_t bytes =
        options->memory_limit_bytes ? options->memory_limit_bytes : limits_memory_bytes() / 4;
    char memory[32];
    snprintf(memory, sizeof(memory), "%" PRIu64 "KiB", bytes / 1024);
    const char *const settings[][2] = {
        {"access_mode", change ? "READ_WRITE" : "READ_ONLY"},
        {"threads", "1"},
        {"memory_limit", memory},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"enable_external_access", "false"},
        {"lock_configuration", "true"},
    };

    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        if (duckdb_set_config(config, settings[i][0], settings[i][1]) != DuckDBSuccess) {
            return err_set(err, ERR_INVALID, "DuckDB does not take %s = %s", settings[i][0],
                           settings[i][1]);
        }
    }
    return ERR_OK;
}

static enum err_code
session_start(struct duck_session *own, duckdb_config config, struct err *err)
{
    struct duck_store *duck = &own->duck;
    char *message = NULL;
    enum err_code code = ERR_OK;

    if (duckdb_open_ext(duck->path, &duck->database, config, &message) != DuckDBSuccess) {
        const char *why = message ? message : "no reason given";
        code = strstr(why, "lock on file")        ? ERR_CONFLICT
               : strstr(why, "Permission denied") ? ERR_IO
                                                  : ERR_CORRUPT;
        duck->database = NULL;
        err_set(err, code, "opening %s: %.*s", duck->path, (int)strcspn(why, "\n"), why);
    } else if (duckdb_connect(duck->database, &duck->writer) != DuckDBSuccess) {
        duck->writer = NULL;
        code = err_set(err, ERR_INTERNAL, "%s: DuckDB gave no connection", duck->path);
    }
    duckdb_free(message);
    return code;
}

enum err_code
store_duckdb_schema_open(const struct store_open_options *options, bool change,
                         struct schema_session **ret_session, struct err *err)
{
    duckdb_config config;

    if (access(options->path, F_OK) != 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "there is no database %s yet: the first start of \"eider serve\" makes it, "
                       "at the newest version",
                       options->path);
    }
    if (duckdb_create_config(&config) != DuckDBSuccess) {
        return err_set(err, ERR_INTERNAL, "DuckDB gave no configuration");
    }
    struct duck_session *own = mem_zalloc(1, sizeof(*own));
    own->session.close = session_close;
    own->duck.path = mem_strdup(slice_of(options->path));
    own->duck.clock = options->clock ? options->clock : clock_system();
    own->session.db = duck_schema_db(&own->duck);
    enum err_code code = session_configure(options, change, config, err);
    code = code ? code : session_start(own, config, err);
    duckdb_destroy_config(&config);
    if (code) {
        session_close(&own->session);
        return code;
    }
    *ret_session = &own->session;
    return ERR_OK;
}
