/*
 * Batches into DuckDB: rows of any number of batches fill chunks of DUCKDB's vector size, which go
 * to one appender. Fixed-size values are copied as they are.
 */
#include "store/duckdb/duck.h"

#include <assert.h>
#include <string.h>

#include "store/duckdb/duck_views.h"

static duckdb_logical_type
make_type(enum col_type type)
{
    switch (type) {
    case COL_BOOL:
        return duckdb_create_logical_type(DUCKDB_TYPE_BOOLEAN);
    case COL_INT32:
        return duckdb_create_logical_type(DUCKDB_TYPE_INTEGER);
    case COL_INT64:
        return duckdb_create_logical_type(DUCKDB_TYPE_BIGINT);
    case COL_DOUBLE:
        return duckdb_create_logical_type(DUCKDB_TYPE_DOUBLE);
    case COL_TIMESTAMP:
        return duckdb_create_logical_type(DUCKDB_TYPE_TIMESTAMP);
    case COL_TEXT:
    case COL_JSON:
        return duckdb_create_logical_type(DUCKDB_TYPE_VARCHAR);
    case COL_DECIMAL:
        return duckdb_create_decimal_type(DUCK_DECIMAL_WIDTH, DUCK_DECIMAL_SCALE);
    case COL_TYPE_COUNT:
        break;
    }
    assert(false && "a column type");
    return NULL;
}

static enum err_code
fail(struct duck_appender *appender, struct err *err)
{
    duckdb_error_data data = duckdb_appender_error_data(appender->appender);
    enum err_code code =
        duck_fail(appender->duck, DUCK_SIDE_APPLY, duckdb_error_data_error_type(data),
                  duckdb_error_data_message(data), err);

    duckdb_destroy_error_data(&data);
    return code;
}

enum err_code
duck_appender_open(struct duck_appender *appender, struct duck_store *duck,
                   const struct duck_table *table, struct err *err)
{
    duckdb_logical_type types[CATALOG_COLUMNS_MAX];
    size_t count = table->columns.count;
    char name[DUCK_NAME_MAX];

    duck_hot_name(table->table, name);
    *appender = (struct duck_appender){.duck = duck, .columns = &table->columns};
    if (duckdb_appender_create(duck->writer, "main", name, &appender->appender) != DuckDBSuccess) {
        return fail(appender, err);
    }
    assert(duckdb_appender_column_count(appender->appender) == count);
    for (size_t i = 0; i < count; i++) {
        types[i] = duckdb_appender_column_type(appender->appender, i);
    }
    appender->chunk = duckdb_create_data_chunk(types, count);
    for (size_t i = 0; i < count; i++) {
        duckdb_destroy_logical_type(&types[i]);
    }
    return ERR_OK;
}

enum err_code
duck_appender_open_keys(struct duck_appender *appender, struct duck_store *duck,
                        const struct duck_table *table, const char *sql, struct err *err)
{
    duckdb_logical_type types[CATALOG_COLUMNS_MAX];
    const char *names[CATALOG_COLUMNS_MAX];
    size_t count = table->key.count;

    *appender = (struct duck_appender){.duck = duck, .columns = &table->key};
    for (size_t i = 0; i < count; i++) {
        const struct catalog_column *column = &table->table->columns[table->key.index[i]];
        types[i] = make_type(column->type);
        names[i] = column->name;
    }
    duckdb_state state = duckdb_appender_create_query(duck->writer, sql, count, types, "late",
                                                      names, &appender->appender);
    if (state == DuckDBSuccess) {
        appender->chunk = duckdb_create_data_chunk(types, count);
    }
    for (size_t i = 0; i < count; i++) {
        duckdb_destroy_logical_type(&types[i]);
    }
    return state == DuckDBSuccess ? ERR_OK : fail(appender, err);
}

static void
copy_nulls(duckdb_vector vector, idx_t at, const struct column *column, size_t first, size_t count)
{
    duckdb_vector_ensure_validity_writable(vector);
    uint64_t *validity = duckdb_vector_get_validity(vector);

    for (size_t i = 0; i < count; i++) {
        size_t row = first + i;
        if (!(column->valid[row / 64] >> (row % 64) & 1)) {
            duckdb_validity_set_row_invalid(validity, at + i);
        }
    }
}

bool
duck_has_nulls(const struct column *column, size_t first, size_t count)
{
    size_t row = first;
    size_t end = first + count;

    if (!column->valid) {
        return false;
    }
    while (row < end) {
        size_t bits = 64 - row % 64;
        bits = bits < end - row ? bits : end - row;
        uint64_t mask = (bits == 64 ? UINT64_MAX : (1ULL << bits) - 1) << (row % 64);
        if ((column->valid[row / 64] & mask) != mask) {
            return true;
        }
        row += bits;
    }
    return false;
}

static void
copy_column(duckdb_vector vector, idx_t at, const struct column *column, size_t first, size_t count)
{
    char *data = duckdb_vector_get_data(vector);
    bool nulls = duck_has_nulls(column, first, count);

    switch (column->type) {
    case COL_BOOL:
        memcpy(data + at, column->b + first, count);
        break;
    case COL_INT32:
        memcpy(data + at * sizeof(int32_t), column->i32 + first, count * sizeof(int32_t));
        break;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
    case COL_DOUBLE:
        memcpy(data + at * sizeof(int64_t), column->i64 + first, count * sizeof(int64_t));
        break;
    case COL_TEXT:
    case COL_JSON:
        for (size_t i = 0; i < count; i++) {
            struct slice text = column->text[first + i];
            duckdb_vector_assign_string_element_len(vector, at + i, text.ptr ? text.ptr : "",
                                                    text.len);
        }
        break;
    case COL_TYPE_COUNT:
        assert(false && "a column type");
    }
    if (nulls) {
        copy_nulls(vector, at, column, first, count);
    }
}

static enum err_code
flush_chunk(struct duck_appender *appender, struct err *err)
{
    if (appender->used == 0) {
        return ERR_OK;
    }
    duckdb_data_chunk_set_size(appender->chunk, appender->used);
    appender->used = 0;
    if (duckdb_append_data_chunk(appender->appender, appender->chunk) != DuckDBSuccess) {
        return fail(appender, err);
    }
    duckdb_data_chunk_reset(appender->chunk);
    return ERR_OK;
}

enum err_code
duck_appender_rows(struct duck_appender *appender, const struct batch *batch, size_t first,
                   size_t count, struct err *err)
{
    const idx_t vector_size = duckdb_vector_size();

    while (count > 0) {
        size_t part = vector_size - appender->used;
        part = part < count ? part : count;
        for (size_t i = 0; i < appender->columns->count; i++) {
            copy_column(duckdb_data_chunk_get_vector(appender->chunk, i), appender->used,
                        &batch->columns[appender->columns->index[i]], first, part);
        }
        appender->used += part;
        first += part;
        count -= part;
        if (appender->used == vector_size) {
            enum err_code code = flush_chunk(appender, err);
            if (code) {
                return code;
            }
        }
    }
    return ERR_OK;
}

enum err_code
duck_appender_finish(struct duck_appender *appender, struct err *err)
{
    enum err_code code = flush_chunk(appender, err);

    if (!code && duckdb_appender_flush(appender->appender) != DuckDBSuccess) {
        code = fail(appender, err);
    }
    return code;
}

void
duck_appender_close(struct duck_appender *appender)
{
    if (appender->chunk) {
        duckdb_destroy_data_chunk(&appender->chunk);
    }
    if (appender->appender) {
        duckdb_appender_destroy(&appender->appender);
    }
}
