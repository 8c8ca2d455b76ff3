/* Everything that was ever done to a database: our ledger, and that of the original's runner. */
#include "schema/schema_internal.h"

enum { TEXT_BYTES_MAX = 16 << 20, HISTORY_COLUMNS = 7 };

static const char own_sql[] =
    "SELECT CAST(version AS BIGINT), name, checksum, applied_at, execution_ms, status, "
    "CAST('eider' AS TEXT) FROM " SCHEMA_LEDGER " ORDER BY applied_at, version";

static const char original_sql[] =
    "SELECT CAST(version AS BIGINT), CAST(name AS TEXT), CAST(checksum AS TEXT), "
    "CAST(applied_at AS TIMESTAMP), CAST(execution_time_ms AS BIGINT), CAST(status AS TEXT), "
    "CAST('original ' || database_type AS TEXT) FROM " SCHEMA_ORIGINAL
    " ORDER BY applied_at, version";

static const struct {
    const char *name;
    enum col_type type;
} columns[HISTORY_COLUMNS] = {
    {"version", COL_INT64},        {"name", COL_TEXT},          {"checksum", COL_TEXT},
    {"applied_at", COL_TIMESTAMP}, {"execution_ms", COL_INT64}, {"status", COL_TEXT},
    {"ledger", COL_TEXT},
};

static void
add_value(struct batch *to, size_t column, size_t row, const struct batch *from, size_t from_row)
{
    if (batch_is_null(from, column, from_row)) {
        return;
    }
    if (columns[column].type == COL_TEXT) {
        batch_set_text(to, column, row,
                       batch_keep_text(to, batch_get_text(from, column, from_row)));
    } else {
        batch_set_i64(to, column, row, batch_get_i64(from, column, from_row));
    }
}

static enum err_code
add_rows(const struct schema_db *db, const char *sql, struct batch *to, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};

    enum err_code code = db->ops->query(db->ctx, sql, &rows, err);
    for (size_t row = 0; row < rows.rows && !code; row++) {
        size_t at = batch_add_row(to);
        for (size_t i = 0; i < HISTORY_COLUMNS; i++) {
            add_value(to, i, at, &rows, row);
        }
    }
    return code;
}

enum err_code
schema_history(const struct schema_db *db, struct batch *ret_rows, struct err *err)
{
    struct batch tables BATCH_AUTO = {0};
    struct batch rows;

    batch_init_answer(&rows, TEXT_BYTES_MAX);
    for (size_t i = 0; i < HISTORY_COLUMNS; i++) {
        batch_add_column(&rows, slice_of(columns[i].name), columns[i].type);
    }
    enum err_code code = schema_columns(db, &tables, err);
    if (!code && schema_has(&tables, SCHEMA_ORIGINAL, schema_original_columns)) {
        code = add_rows(db, original_sql, &rows, err);
    }
    if (!code && schema_has(&tables, SCHEMA_LEDGER, schema_ledger_columns)) {
        code = add_rows(db, own_sql, &rows, err);
    }
    if (!code && rows.arena.overflow) {
        code = err_set(err, ERR_TOO_LARGE, "the ledgers have more than %d bytes of texts",
                       TEXT_BYTES_MAX);
    }
    if (code) {
        batch_fini(&rows);
        return err_context(err, code, "%s", db->where);
    }
    *ret_rows = rows;
    return ERR_OK;
}
