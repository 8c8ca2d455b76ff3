/* The views, made anew at each open. */
#include "store/duckdb/duck_views.h"

#include <assert.h>
#include <stdio.h>

#include "store/duckdb/duck_rollup.h"

enum { SQL_BYTES = 64 << 20 };

void
duck_hot_name(const struct catalog_table *table, char ret_name[DUCK_NAME_MAX])
{
    struct buf name BUF_AUTO = {0};

    buf_init(&name, DUCK_NAME_MAX);
    catalog_hot_name(table, &name);
    assert(name.len < DUCK_NAME_MAX);
    snprintf(ret_name, DUCK_NAME_MAX, "%.*s", SLICE_FMT(buf_slice(&name)));
}

static enum err_code
check_name(const struct duck_store *duck, const struct batch *tables, const char *view,
           struct err *err)
{
    for (size_t i = 0; i < tables->rows; i++) {
        if (slice_is_nocase(batch_get_text(tables, 0, i), view)) {
            return err_set(err, ERR_CONFLICT,
                           "%s has a table %s, which is the name of a view of this program: rename "
                           "the table",
                           duck->path, view);
        }
    }
    return ERR_OK;
}

/* Somebody's own table in the place of one of our views: said here, before DuckDB's refusal is
 * taken for damage. */
static enum err_code
check_names(struct duck_store *duck, struct err *err)
{
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_statement statement = {
        .sql = slice_of("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main' AND "
                        "database_name = current_database()")};
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch names BATCH_AUTO = {0};
    const struct catalog_table *table;

    enum err_code code =
        duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, &names, NULL, err);
    for (size_t i = 0; (table = catalog_at(i)) && !code; i++) {
        if (table->sealed || table->kind == TABLE_VIEW) {
            code = check_name(duck, &names, table->name, err);
        }
        for (size_t v = 0; v < table->view_count && !code; v++) {
            code = check_name(duck, &names, table->views[v].name, err);
        }
    }
    return code;
}

/* The view of a sealed table. */
static void
add_sealed(const struct duck_store *duck, const struct catalog_table *table,
           const struct cold_file *files, size_t count, struct buf *sql)
{
    struct duck_store with = {.cold = {.dir = duck->cold.dir, .count = count}};

    with.cold.files = (struct cold_file *)(uintptr_t)files; /* NOLINT: only read */
    buf_add_fmt(sql, "CREATE OR REPLACE VIEW %s AS SELECT * FROM ", table->name);
    duck_cold_add_source(&with, table, INT64_MIN, INT64_MAX,
                         (struct duck_source){.form = DUCK_FORM_PLAIN}, sql);
    buf_add_char(sql, ';');
    if (table->rolled_up) {
        duck_rollup_add_views(&with, table, sql);
    }
}

enum err_code
duck_views_update(struct duck_store *duck, enum table_id table, const struct cold_file *files,
                  size_t count, struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, SQL_BYTES);
    add_sealed(duck, catalog_table(table), files, count, &sql);
    buf_add_char(&sql, '\0');
    return sql.overflow
               ? err_set(err, ERR_TOO_LARGE, "%zu cold files are too many for a view", count)
               : duck_run(duck, sql.ptr, err);
}

static void
add_views(const struct duck_store *duck, struct buf *sql)
{
    const struct catalog_table *table;

    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (table->sealed) {
            add_sealed(duck, table, duck->cold.files, duck->cold.count, sql);
        }
    }
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (table->kind == TABLE_VIEW) {
            catalog_ddl(table, sql);
            buf_add_char(sql, ';');
        }
        catalog_views_ddl(table, sql);
    }
}

enum err_code
duck_views_make(struct duck_store *duck, struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "BEGIN TRANSACTION;");
    add_views(duck, &sql);
    buf_add_cstr(&sql, "COMMIT");
    buf_add_char(&sql, '\0');
    assert(!sql.overflow);
    enum err_code code = check_names(duck, err);
    if (code) {
        return code;
    }
    code = duck_run(duck, sql.ptr, err);
    if (code) {
        duck_run(duck, "ROLLBACK", NULL); /* fails when the transaction is gone already */
        return err_context(err, code, "making the views of %s", duck->path);
    }
    return ERR_OK;
}
