/*
 * How statements name files. The columns are told by name and type, not taken from the files: an
 * older version wrote fewer of them. union_by_name would do so too, but opens every file for it.
 */
#include <assert.h>
#include <inttypes.h>

#include "store/duckdb/duck_rollup.h"

/* One entry of the schema; the first has no comma before it. */
static void
add_column(const char *name, const char *suffix, const char *type, const char *absent,
           struct buf *sql)
{
    buf_add_fmt(sql, "%s'%s%s': {name: '%s%s', type: '%s', default_value: %s}",
                sql->ptr[sql->len - 1] == '{' ? "" : ", ", name, suffix, name, suffix, type,
                absent);
}

static void
add_rollup_columns(const struct catalog_column *column, struct buf *sql)
{
    const char *type = catalog_sql_type(column->type);
    const char *time = catalog_sql_type(COL_TIMESTAMP);

    add_column(column->name, "_first", type, "NULL", sql);
    add_column(column->name, "_first_at", time, "NULL", sql);
    add_column(column->name, "_last", type, "NULL", sql);
    add_column(column->name, "_last_at", time, "NULL", sql);
    add_column(column->name, "_min", type, "NULL", sql);
    add_column(column->name, "_max", type, "NULL", sql);
    add_column(column->name, "_sum", duck_rollup_sum_type(column->type), "NULL", sql);
    add_column(column->name, "_count", "BIGINT", "0", sql);
}

/* The columns of a rollup, in the order of duck_rollup.h. */
static void
add_rollup(const struct catalog_table *table, uint64_t mask, struct buf *sql)
{
    const char *time = catalog_sql_type(COL_TIMESTAMP);

    if (table->series_column != CATALOG_NONE) {
        const struct catalog_column *series = &table->columns[table->series_column];
        add_column(series->name, "", catalog_sql_type(series->type), "NULL", sql);
    }
    add_column("timestamp", "", time, "NULL", sql);
    add_column("row_count", "", "BIGINT", "NULL", sql);
    add_column("first_row", "", time, "NULL", sql);
    add_column("last_row", "", time, "NULL", sql);
    for (size_t i = 0; i < table->column_count; i++) {
        if (duck_rollup_has(table->columns[i].type) && (int)i != table->series_column &&
            (mask >> i & 1)) {
            add_rollup_columns(&table->columns[i], sql);
        }
    }
}

static void
add_raw(const struct catalog_table *table, uint64_t mask, struct buf *sql)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (mask >> i & 1) {
            add_column(table->columns[i].name, "", catalog_sql_type(table->columns[i].type), "NULL",
                       sql);
        }
    }
}

void
duck_cold_add_files(const struct duck_store *duck, const struct cold_file *const *files,
                    size_t count, uint64_t mask, struct buf *sql)
{
    duck_cold_add_files_once(duck, files, count, mask, NULL, sql);
}

void
duck_cold_add_files_once(const struct duck_store *duck, const struct cold_file *const *files,
                         size_t count, uint64_t mask, const char *once, struct buf *sql)
{
    const struct catalog_table *table = catalog_table(files[0]->table);
    char path[COLD_PATH_MAX];
    uint64_t rows = 0;

    assert(count > 0);
    buf_add_cstr(sql, "read_parquet([");
    for (size_t i = 0; i < count; i++) {
        rows += files[i]->rows;
        cold_path(duck->cold.dir, files[i], path, sizeof(path));
        buf_add_cstr(sql, i ? ", " : "");
        duck_cold_add_path(path, sql);
    }
    /* With a schema given DuckDB looks into no file before it plans, and takes one for empty and
     * more for 1000 rows each: it would make the hash table of a join of the millions. */
    buf_add_fmt(sql, "], hive_partitioning=%s, explicit_cardinality=%" PRIu64 ", schema=MAP {",
                once ? once : "false", rows);
    if (files[0]->kind == COLD_RAW) {
        add_raw(table, mask, sql);
    } else {
        add_rollup(table, mask, sql);
    }
    buf_add_cstr(sql, "})");
}
