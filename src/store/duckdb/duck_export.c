/*
 * Backup and restore of the hot rows. An export is one read transaction on a read connection, so it
 * sees one LSN whatever is applied beside it; each day of each table is copied to a Parquet file in
 * the cold directory's tmp, the only place where this process may write through DuckDB, and is
 * handed on and removed before the next: the extra disk is one file. An import is the way back, on
 * the writer, into a database that nothing was applied to.
 */
#include "store/duckdb/duck.h"
#include "store/duckdb/duck_cold.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "base/mem.h"
#include "store/cold.h"
#include "store/failpoint.h"

enum { EXPORT_DAYS_MAX = 4 << 20, EXPORT_BYTES_MAX = 1 << 30 };

struct exporting {
    struct duck_store *duck;
    struct duck_reader *reader;
    const struct store_export *export;
    char path[PATH_MAX]; /* of the one file that is under way */
};

static void
add_path(struct buf *sql, const char *path)
{
    buf_add_char(sql, '\'');
    for (; *path; path++) {
        buf_add_cstr(sql, *path == '\'' ? "'" : "");
        buf_add_char(sql, *path);
    }
    buf_add_char(sql, '\'');
}

static enum err_code
ask(struct exporting *x, const char *sql, struct batch *ret_rows, struct err *err)
{
    const struct duck_statement statement = {.sql = slice_of(sql)};
    const struct duck_bounds bounds = {.rows_max = EXPORT_DAYS_MAX, .bytes_max = EXPORT_BYTES_MAX};

    return duck_select(x->duck, x->reader, DUCK_SIDE_READ, &statement, &bounds, ret_rows, NULL,
                       err);
}

static bool
get_text(const struct batch *rows, size_t column, size_t row, char *ret_text, size_t size)
{
    return slice_to_cstr(batch_get_text(rows, column, row), ret_text, size);
}

/* The list, as of this transaction. */
static enum err_code
read_cold(struct exporting *x, struct cold_file **ret_files, size_t *ret_count, struct err *err)
{
    static const char sql[] =
        "SELECT name, table_name, kind, day::BIGINT, rows, bytes, min_us, max_us, checksum, "
        "sealed_lsn::BIGINT, epoch_us(sealed_at) FROM main.eider_cold_files ORDER BY ALL";
    struct batch rows BATCH_AUTO = {0};
    enum err_code code = ask(x, sql, &rows, err);

    if (code) {
        return code;
    }
    struct cold_file *files = mem_zalloc(rows.rows + 1, sizeof(*files));
    for (size_t i = 0; i < rows.rows && !code; i++) {
        struct cold_file *file = &files[i];
        const struct catalog_table *table = catalog_find(batch_get_text(&rows, 1, i));
        if (!table || !get_text(&rows, 0, i, file->name, sizeof(file->name)) ||
            !cold_kind_parse(batch_get_text(&rows, 2, i), &file->kind) ||
            !get_text(&rows, 8, i, file->checksum, sizeof(file->checksum))) {
            code = err_set(err, ERR_CORRUPT, "row %zu of eider_cold_files names no file", i);
            break;
        }
        file->table = table->id;
        file->day = (int32_t)batch_get_i64(&rows, 3, i);
        file->rows = (uint64_t)batch_get_i64(&rows, 4, i);
        file->bytes = (uint64_t)batch_get_i64(&rows, 5, i);
        file->min_us = batch_get_i64(&rows, 6, i);
        file->max_us = batch_get_i64(&rows, 7, i);
        file->sealed_lsn = (uint64_t)batch_get_i64(&rows, 9, i);
        file->sealed_us = batch_get_i64(&rows, 10, i);
    }
    if (code) {
        free(files);
        return code;
    }
    *ret_files = files;
    *ret_count = rows.rows;
    return ERR_OK;
}

static enum err_code
read_number(struct exporting *x, const char *sql, uint64_t *ret_number, struct err *err)
{
    struct batch rows BATCH_AUTO = {0};
    enum err_code code = ask(x, sql, &rows, err);

    if (!code) {
        *ret_number = rows.rows == 1 ? (uint64_t)batch_get_i64(&rows, 0, 0) : 0;
    }
    return code;
}

static enum err_code
begin(struct exporting *x, struct err *err)
{
    struct store_export_moment moment = {0};
    struct cold_file *files MEM_AUTO = NULL;
    enum err_code code = read_number(
        x, "SELECT coalesce(max(lsn), 0)::BIGINT FROM main.eider_applied", &moment.lsn, err);

    code = code ? code
                : read_number(x,
                              "SELECT coalesce(max(version), 0)::BIGINT FROM "
                              "main.eider_schema_migrations WHERE status = 'applied'",
                              &moment.schema, err);
    code = code ? code : read_cold(x, &files, &moment.file_count, err);
    moment.files = files;
    code = code ? code : x->export->begin(x->export->ctx, &moment, err);
    return code;
}

/* WHERE of the rows of one day; of those without a time, of all when the table has no time. */
static void
add_where(struct buf *sql, const struct catalog_table *table, int32_t day)
{
    if (table->time_column == CATALOG_NONE) {
        return;
    }
    const char *time = table->columns[table->time_column].name;
    if (day == STORE_DAY_NONE) {
        buf_add_fmt(sql, " WHERE \"%s\" IS NULL", time);
        return;
    }
    buf_add_fmt(sql,
                " WHERE \"%s\" >= make_timestamp(%" PRId64
                "::BIGINT) AND \"%s\" < make_timestamp(%" PRId64 "::BIGINT)",
                time, cold_day_begin_us(day), time, cold_day_end_us(day));
}

static enum err_code
export_day(struct exporting *x, const struct catalog_table *table, int32_t day, struct err *err)
{
    struct store_export_file file = {.table = table->id, .day = day, .path = x->path};
    struct buf sql BUF_AUTO = {0};

    buf_init(&sql, 1 << 16);
    buf_add_cstr(&sql, "COPY (SELECT * FROM main.");
    catalog_hot_name(table, &sql);
    add_where(&sql, table, day);
    buf_add_cstr(&sql, ") TO ");
    add_path(&sql, x->path);
    buf_add_cstr(&sql, " (FORMAT parquet, COMPRESSION zstd)");
    buf_add_char(&sql, '\0');
    enum err_code code = read_number(x, sql.ptr, &file.rows, err);
    code = code ? code : failpoint_fails("export.copied", err);
    if (!code && file.rows > 0) {
        code = x->export->file(x->export->ctx, &file, err);
    }
    unlink(x->path);
    return code ? err_context(err, code, "export of %s", table->name) : ERR_OK;
}

static enum err_code
export_table(struct exporting *x, const struct catalog_table *table, struct err *err)
{
    struct batch days BATCH_AUTO = {0};
    struct buf sql BUF_AUTO = {0};

    if (table->time_column == CATALOG_NONE) {
        return export_day(x, table, STORE_DAY_NONE, err);
    }
    buf_init(&sql, 1 << 16);
    buf_add_fmt(&sql,
                "SELECT DISTINCT (CAST(\"%s\" AS DATE) - DATE '1970-01-01')::BIGINT AS day "
                "FROM main.",
                table->columns[table->time_column].name);
    catalog_hot_name(table, &sql);
    buf_add_cstr(&sql, " ORDER BY day NULLS LAST");
    buf_add_char(&sql, '\0');
    enum err_code code = ask(x, sql.ptr, &days, err);
    for (size_t i = 0; i < days.rows && !code; i++) {
        bool none = batch_is_null(&days, 0, i);
        code =
            export_day(x, table, none ? STORE_DAY_NONE : (int32_t)batch_get_i64(&days, 0, i), err);
    }
    return code;
}

static enum err_code
export_all(struct exporting *x, struct err *err)
{
    const struct catalog_table *table;
    enum err_code code = duck_read_begin(x->duck, x->reader, err);

    if (code) {
        return code;
    }
    code = begin(x, err);
    for (size_t i = 0; (table = catalog_at(i)) && !code; i++) {
        if (table->kind != TABLE_VIEW) {
            code = export_table(x, table, err);
        }
    }
    duck_read_end(x->reader);
    return code;
}

enum err_code
duck_export(struct store *store, const struct store_export *export, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    struct exporting x = {.duck = duck, .export = export};
    char id[ID_UUID_LEN + 1];

    id_uuid7(clock_wall_us(duck->clock), id);
    if (snprintf(x.path, sizeof(x.path), "%s/tmp/export-%s.parquet", duck->cold.dir, id) >=
        (int)sizeof(x.path)) {
        return err_set(err, ERR_INVALID, "the path of the data directory is too long");
    }
    enum err_code code = duck_pool_take(&duck->pool, export->timeout_ms, NULL, &x.reader, err);
    if (code) {
        return code;
    }
    code = export_all(&x, err);
    duck_pool_give(x.reader);
    return code;
}

/* ---- the way back ---- */

enum err_code
duck_import_rows(struct store *store, enum table_id id, const char *path, uint64_t *ret_rows,
                 struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    const struct catalog_table *table = catalog_table(id);
    struct buf sql BUF_AUTO = {0};
    duckdb_result result;

    assert(atomic_load(&duck->applied_lsn) == 0 && table->kind != TABLE_VIEW);
    buf_init(&sql, 1 << 16);
    buf_add_cstr(&sql, "INSERT INTO main.");
    catalog_hot_name(table, &sql);
    buf_add_cstr(&sql, " BY NAME SELECT * FROM read_parquet(");
    duck_cold_add_path(path, &sql);
    buf_add_cstr(&sql, ", hive_partitioning = false)");
    buf_add_char(&sql, '\0');
    enum err_code code = ERR_OK;
    if (duckdb_query(duck->writer, sql.ptr, &result) != DuckDBSuccess) {
        code = duck_fail_result(duck, DUCK_SIDE_APPLY, &result, err);
        err_context(err, code, "rows of %s", table->name);
    } else {
        *ret_rows = (uint64_t)duckdb_rows_changed(&result);
    }
    duckdb_destroy_result(&result);
    return code;
}

static void
add_listing(struct buf *sql, const struct cold_file *file)
{
    buf_add_fmt(sql,
                "INSERT INTO main.eider_cold_files (name, table_name, kind, day, rows, bytes, "
                "min_us, max_us, checksum, sealed_lsn, sealed_at) VALUES ('%s', '%s', '%s', "
                "%" PRId32 ", %" PRIu64 ", %" PRIu64 ", %" PRId64 ", %" PRId64 ", '%s', %" PRIu64
                ", make_timestamp(%" PRId64 "::BIGINT));",
                file->name, catalog_table(file->table)->name, cold_kind_name(file->kind), file->day,
                file->rows, file->bytes, file->min_us, file->max_us, file->checksum,
                file->sealed_lsn, file->sealed_us);
}

enum err_code
duck_import_end(struct store *store, const struct store_export_moment *moment, struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;
    struct buf sql BUF_AUTO = {0};
    enum err_code code = duck_run(duck, "BEGIN TRANSACTION", err);

    for (size_t i = 0; i < moment->file_count && !code; i++) {
        buf_init(&sql, 1 << 16);
        add_listing(&sql, &moment->files[i]);
        buf_add_char(&sql, '\0');
        code = duck_run(duck, sql.ptr, err);
        buf_fini(&sql);
    }
    if (!code) {
        char applied[96];
        snprintf(applied, sizeof(applied), "INSERT INTO main.eider_applied VALUES (%" PRIu64 ")",
                 moment->lsn);
        code = duck_run(duck, applied, err);
    }
    code = code ? code : duck_run(duck, "COMMIT", err);
    code = code ? code : duck_run(duck, "CHECKPOINT", err);
    if (code) {
        struct err ignored;
        duck_run(duck, "ROLLBACK", &ignored);
    }
    return code;
}
