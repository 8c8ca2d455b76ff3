/* The lists of migrations, what differs between the dialects, and opening. */
#include "schema/schema.h"

#include <assert.h>

#include "schema/schema_internal.h"

static const struct schema_dialect_text duckdb_text = {
    .columns = "SELECT c.table_name, c.column_name, c.data_type FROM duckdb_columns() AS c "
               "SEMI JOIN duckdb_tables() AS t ON c.table_oid = t.table_oid "
               "AND c.schema_name = t.schema_name AND c.database_name = t.database_name "
               "WHERE c.schema_name = 'main' AND c.database_name = current_database() "
               "ORDER BY c.table_name, c.column_index",
    .ledger = "CREATE TABLE IF NOT EXISTS " SCHEMA_LEDGER
              " (version INTEGER NOT NULL, name VARCHAR NOT NULL, checksum VARCHAR NOT NULL, "
              "applied_at TIMESTAMP NOT NULL, execution_ms BIGINT NOT NULL, "
              "status VARCHAR NOT NULL)",
    .hot = true,
    .types = {[COL_BOOL] = "BOOLEAN",
              [COL_INT32] = "INTEGER",
              [COL_INT64] = "BIGINT",
              [COL_DOUBLE] = "DOUBLE",
              [COL_TIMESTAMP] = "TIMESTAMP",
              [COL_TEXT] = "VARCHAR",
              [COL_JSON] = "JSON",
              [COL_DECIMAL] = "DECIMAL(18,6)"},
};

static const struct schema_dialect_text postgres_text = {
    .columns = "SELECT CAST(c.relname AS TEXT), CAST(a.attname AS TEXT), "
               "format_type(a.atttypid, a.atttypmod) "
               "FROM pg_catalog.pg_attribute AS a "
               "JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid "
               "JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
               "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') "
               "AND a.attnum > 0 AND NOT a.attisdropped "
               /* The store's own: the order that rows were appended in. */
               "AND a.attname <> 'eider_ord' ORDER BY 1, a.attnum",
    .ledger = "CREATE TABLE IF NOT EXISTS " SCHEMA_LEDGER
              " (version INTEGER NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL, "
              "applied_at TIMESTAMP NOT NULL, execution_ms BIGINT NOT NULL, "
              "status TEXT NOT NULL)",
    /* "eider" in ASCII: whoever comes second waits, and finds the work done. */
    .lock = "SELECT pg_advisory_xact_lock(435559884146)",
    .types = {[COL_BOOL] = "boolean",
              [COL_INT32] = "integer",
              [COL_INT64] = "bigint",
              [COL_DOUBLE] = "double precision",
              [COL_TIMESTAMP] = "timestamp without time zone",
              [COL_TEXT] = "text",
              [COL_JSON] = "json",
              [COL_DECIMAL] = "numeric(18,6)"},
};

const struct schema_dialect_text *
schema_dialect_text(enum schema_dialect dialect)
{
    return dialect == SCHEMA_DUCKDB ? &duckdb_text : &postgres_text;
}

const struct schema_list *
schema_list(enum schema_dialect dialect)
{
    return dialect == SCHEMA_DUCKDB ? &schema_list_duckdb : &schema_list_postgres;
}

const struct schema_list *
schema_list_of(const struct schema_db *db)
{
    const struct schema_list *list = db->list ? db->list : schema_list(db->dialect);

    assert(list->count > 0 && list->count < SCHEMA_VERSIONS_MAX);
    return list;
}

const struct schema_migration *
schema_find(const struct schema_db *db, uint32_t version)
{
    const struct schema_list *list = schema_list_of(db);

    if (version < 1 || version > list->count) {
        return NULL;
    }
    assert(list->migrations[version - 1].version == version);
    return &list->migrations[version - 1];
}

const char *
schema_state_name(enum schema_state state)
{
    static const char *const names[] = {
        [SCHEMA_PENDING] = "pending",         [SCHEMA_APPLIED] = "applied",
        [SCHEMA_ROLLED_BACK] = "rolled_back", [SCHEMA_CHANGED] = "changed",
        [SCHEMA_MISSING] = "missing",         [SCHEMA_NEWER] = "newer",
    };

    assert(state <= SCHEMA_NEWER);
    return names[state];
}

void
schema_session_close(struct schema_session *session)
{
    if (session) {
        session->close(session);
    }
}

enum err_code
schema_open(const struct schema_db *db, struct err *err)
{
    struct schema_move move = {0};

    enum err_code code = schema_move(db, &move, err);
    return code ? code : schema_check(db, err);
}
