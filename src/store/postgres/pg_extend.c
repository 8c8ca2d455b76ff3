/*
 * TimescaleDB and Citus, when the database has them: tables become hypertables or distributed
 * tables, once, while they are empty. (TimescaleDB: "create_hypertable", "ALTER TABLE
 * (compression)", "add_compression_policy"; Citus: "create_reference_table",
 * "create_distributed_table"; the extensions' documentation.) Whoever has rows already converts
 * them himself (docs/postgres.md).
 */
#include <stdio.h>
#include <string.h>

#include "store/postgres/pg.h"

enum { SQL_TEXT = 512, EXTEND_TIMEOUT_MS = 600000 };

/* Chunks that are compressed take deletes from TimescaleDB 2.11 on; before, a late row would hold
 * up everything behind it. */
enum extension { EXTENSION_TIMESCALE = 1, EXTENSION_CITUS = 2, EXTENSION_COMPRESSION = 4 };

/* What of the catalogue is long and only looked at by time or series. */
static const struct {
    const char *table;
    const char *segment_by; /* of compressed chunks, and what Citus distributes by */
} large[] = {
    {"samples", "series_id"},
    {"market_data", "symbol"},
    {"candles", "symbol"},
    {"trades", "symbol"},
};

static enum err_code
ask_number(struct pg_store *store, const char *text, int64_t *ret_value, struct err *err)
{
    struct pg_bounds bounds = {.rows_max = 1, .bytes_max = PG_SQL_BYTES_MAX};
    struct batch rows BATCH_AUTO = {0};
    struct pg_sql sql;

    pg_sql_init(&sql);
    buf_add_cstr(&sql.text, text);
    enum err_code code = pg_ask(store, &store->writer, PG_SIDE_APPLY, &sql, &bounds,
                                pg_deadline(store, EXTEND_TIMEOUT_MS), &rows, err);
    pg_sql_fini(&sql);
    if (!code) {
        *ret_value = rows.rows > 0 ? batch_get_i64(&rows, 0, 0) : 0;
    }
    return code;
}

static enum err_code
run(struct pg_store *store, const char *sql, struct err *err)
{
    return pg_exec(store, &store->writer, PG_SIDE_APPLY, sql, pg_deadline(store, EXTEND_TIMEOUT_MS),
                   NULL, err);
}

static enum err_code
make_hypertable(struct pg_store *store, const char *table, const char *segment_by, bool compress,
                struct err *err)
{
    char sql[SQL_TEXT];

    snprintf(sql, sizeof(sql),
             "SELECT create_hypertable('%s', 'timestamp', chunk_time_interval => INTERVAL '1 day', "
             "create_default_indexes => FALSE, if_not_exists => TRUE)",
             table);
    enum err_code code = run(store, sql, err);
    if (!code && compress) {
        snprintf(sql, sizeof(sql),
                 "ALTER TABLE %s SET (timescaledb.compress, timescaledb.compress_segmentby = '%s', "
                 "timescaledb.compress_orderby = '\"timestamp\"')",
                 table, segment_by);
        code = run(store, sql, err);
    }
    if (!code && compress) {
        snprintf(sql, sizeof(sql),
                 "SELECT add_compression_policy('%s', INTERVAL '7 days', if_not_exists => TRUE)",
                 table);
        code = run(store, sql, err);
    }
    return code;
}

static enum err_code
distribute(struct pg_store *store, const char *table, const char *by, struct err *err)
{
    char sql[SQL_TEXT];

    snprintf(sql, sizeof(sql), "SELECT create_distributed_table('%s', '%s')", table, by);
    return run(store, sql, err);
}

static enum err_code
extend_tables(struct pg_store *store, unsigned extensions, struct err *err)
{
    enum err_code code = ERR_OK;

    if (extensions & EXTENSION_CITUS) {
        code = run(store, "SELECT create_reference_table('series')", err);
    }
    for (size_t i = 0; i < sizeof(large) / sizeof(*large) && !code; i++) {
        if (extensions & EXTENSION_TIMESCALE) {
            code = make_hypertable(store, large[i].table, large[i].segment_by,
                                   extensions & EXTENSION_COMPRESSION, err);
        } else {
            code = distribute(store, large[i].table, large[i].segment_by, err);
        }
    }
    return code;
}

/* Once: what was decided for a database stands in its eider_database. */
static const char extensions_sql[] =
    "SELECT CASE WHEN (SELECT extended FROM eider_database) THEN 0 ELSE (SELECT coalesce(sum("
    "CASE extname WHEN 'citus' THEN 2 WHEN 'timescaledb' THEN 1 + CASE WHEN "
    "string_to_array(substring(extversion FROM '^[0-9]+[.][0-9]+'), '.')::int[] >= ARRAY[2, 11] "
    "THEN 4 ELSE 0 END ELSE 0 END), 0) FROM pg_extension) END";

enum err_code
pg_extend(struct pg_store *store, struct err *err)
{
    int64_t extensions = 0;

    enum err_code code = ask_number(store, extensions_sql, &extensions, err);
    if (code || extensions == 0) {
        return code;
    }
    code = run(store, "BEGIN", err);
    code = code ? code : extend_tables(store, (unsigned)extensions, err);
    code = code ? code : run(store, "UPDATE eider_database SET extended = true", err);
    code = code ? code : run(store, "COMMIT", err);
    if (code && store->writer.pg && PQstatus(store->writer.pg) == CONNECTION_OK) {
        /* An extension of another version, or without its licence: plain tables work as well. */
        return run(store, "ROLLBACK", err);
    }
    return code;
}
