/* The tables of a database beside the catalogue's. */
#include <assert.h>

#include "schema/schema_internal.h"

enum { SQL_BYTES = 1024 };

static const char advice[] =
    "it is not a database of this program: move it away and use \"eider import\"";

const char *const schema_ledger_columns[] = {"version",      "name",   "checksum", "applied_at",
                                             "execution_ms", "status", NULL};
const char *const schema_original_columns[] = {"version",  "name",       "database_type",
                                               "checksum", "applied_at", "execution_time_ms",
                                               "status",   NULL};

enum err_code
schema_columns(const struct schema_db *db, struct batch *ret_columns, struct err *err)
{
    return db->ops->query(db->ctx, schema_dialect_text(db->dialect)->columns, ret_columns, err);
}

bool
schema_table(const struct batch *columns, const char *name, size_t *ret_first, size_t *ret_end)
{
    size_t first = 0;

    while (first < columns->rows && !slice_is(batch_get_text(columns, 0, first), name)) {
        first++;
    }
    size_t end = first;
    while (end < columns->rows && slice_is(batch_get_text(columns, 0, end), name)) {
        end++;
    }
    *ret_first = first;
    *ret_end = end;
    return end > first;
}

bool
schema_has(const struct batch *columns, const char *table, const char *const *names)
{
    size_t first;
    size_t end;

    if (!schema_table(columns, table, &first, &end)) {
        return false;
    }
    for (; *names; names++) {
        size_t row = first;
        while (row < end && !slice_is(batch_get_text(columns, 1, row), *names)) {
            row++;
        }
        if (row == end) {
            return false;
        }
    }
    return true;
}

/* Compares the columns that a table has, rows [first, end), with the catalogue's first ones. */
static enum err_code
compare(const struct schema_db *db, const struct catalog_table *table, const char *name,
        const struct batch *columns, size_t first, size_t end, struct err *err)
{
    const struct schema_dialect_text *text = schema_dialect_text(db->dialect);

    for (size_t i = 0; i < table->column_count && first + i < end; i++) {
        struct slice has = batch_get_text(columns, 1, first + i);
        struct slice type = batch_get_text(columns, 2, first + i);
        const struct catalog_column *column = &table->columns[i];
        if (!slice_is(has, column->name) || !slice_is(type, text->types[column->type])) {
            return err_set(err, ERR_CONFLICT,
                           "table %s has column %.*s %.*s where %s %s is expected; %s", name,
                           SLICE_FMT(has), SLICE_FMT(type), column->name, text->types[column->type],
                           advice);
        }
    }
    if (end - first > table->column_count) {
        return err_set(err, ERR_CONFLICT,
                       "table %s has more columns than this version knows, the first is %.*s: it "
                       "was written by a newer one, or the column is somebody else's",
                       name, SLICE_FMT(batch_get_text(columns, 1, first + table->column_count)));
    }
    return ERR_OK;
}

static enum err_code
add_columns(const struct schema_db *db, const struct catalog_table *table, size_t has,
            struct err *err)
{
    const struct schema_dialect_text *text = schema_dialect_text(db->dialect);
    enum err_code code = ERR_OK;

    for (size_t i = has; i < table->column_count && !code; i++) {
        struct buf sql BUF_AUTO;
        buf_init(&sql, SQL_BYTES);
        buf_add_fmt(&sql, "ALTER TABLE %s ADD COLUMN \"%s\" %s", table->name,
                    table->columns[i].name, text->types[table->columns[i].type]);
        buf_add_char(&sql, '\0');
        assert(!sql.overflow);
        code = db->ops->exec(db->ctx, sql.ptr, err);
    }
    return code;
}

enum err_code
schema_adopt(const struct schema_db *db, struct err *err)
{
    struct batch columns BATCH_AUTO = {0};
    const struct catalog_table *table;
    size_t first;
    size_t end;

    enum err_code code = schema_columns(db, &columns, err);
    for (size_t i = 0; (table = catalog_at(i)) && !code; i++) {
        if (table->kind != TABLE_VIEW && schema_table(&columns, table->name, &first, &end)) {
            code = compare(db, table, table->name, &columns, first, end, err);
            code = code ? code : add_columns(db, table, end - first, err);
        }
    }
    return code;
}

static enum err_code
check_table(const struct schema_db *db, const struct catalog_table *table,
            const struct batch *columns, struct err *err)
{
    struct buf name BUF_AUTO;
    size_t first;
    size_t end;

    buf_init(&name, SQL_BYTES);
    if (schema_dialect_text(db->dialect)->hot) {
        catalog_hot_name(table, &name);
    } else {
        buf_add_cstr(&name, table->name);
    }
    buf_add_char(&name, '\0');
    if (!schema_table(columns, name.ptr, &first, &end)) {
        return err_set(err, ERR_CONFLICT, "table %s is missing; restore a backup", name.ptr);
    }
    enum err_code code = compare(db, table, name.ptr, columns, first, end, err);
    if (!code && end - first < table->column_count) {
        code = err_set(err, ERR_CONFLICT, "table %s lacks column %s; %s", name.ptr,
                       table->columns[end - first].name, advice);
    }
    return code;
}

enum err_code
schema_check(const struct schema_db *db, struct err *err)
{
    struct batch columns BATCH_AUTO = {0};
    const struct catalog_table *table;

    enum err_code code = schema_columns(db, &columns, err);
    for (size_t i = 0; (table = catalog_at(i)) && !code; i++) {
        if (table->kind != TABLE_VIEW) {
            code = check_table(db, table, &columns, err);
        }
    }
    return code ? err_context(err, code, "%s", db->where) : ERR_OK;
}
