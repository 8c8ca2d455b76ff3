/*
 * Cold files that were missing at a start, and are there again. What the list said of them stands
 * in cold/missing.json. One is listed again when it is what was written and none of its rows is in
 * the table by now: rows of the log may have been replayed meanwhile, or written again, and a row
 * must not be there twice. A rollup comes back with its raw file, or alone when a rule of retention
 * dropped that and nothing else is of its day.
 */
#include "store/duckdb/duck_cold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/duckdb/duck_views.h"

enum { SQL_BYTES = 64 << 20 };

static bool
is_among(const struct cold_file *file, const struct cold_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (cold_file_compare(file, &files[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum err_code
duck_back_note(const struct duck_store *duck, const struct cold_file *lost, size_t count,
               struct err *err)
{
    struct cold_manifest missing = {0};
    enum err_code code = cold_missing_read(duck->cold.dir, &missing, err);

    if (code != ERR_OK && code != ERR_NOT_FOUND && code != ERR_CORRUPT) {
        return code;
    }
    missing.files = mem_resize(missing.files, missing.count + count, sizeof(*missing.files));
    for (size_t i = 0; i < count; i++) {
        if (!is_among(&lost[i], missing.files, missing.count)) {
            missing.files[missing.count++] = lost[i];
        }
    }
    missing.written_us = clock_wall_us(duck->clock);
    code = cold_missing_write(duck->cold.dir, &missing, err);
    free(missing.files);
    return code;
}

/* ---- coming back ---- */

/* Columns that tell rows apart: the key, or all but JSON. */
static bool
tells_apart(const struct catalog_table *table, size_t column)
{
    return table->kind == TABLE_APPEND ? table->columns[column].type != COL_JSON
                                       : table->key_mask >> column & 1;
}

/* What the table has that could be the same: of the day, or of all days for rows that move. */
static void
add_others(const struct duck_store *duck, const struct cold_file *file, struct buf *sql)
{
    const struct catalog_table *table = catalog_table(file->table);
    const struct cold_file **files MEM_AUTO = duck_cold_pointers(duck->cold.count);
    size_t count = 0;

    for (size_t i = 0; i < duck->cold.count; i++) {
        const struct cold_file *other = &duck->cold.files[i];
        bool near = !cold_days_are_fixed(table) || other->day == file->day;
        if (other->table == file->table && other->kind == COLD_RAW && near) {
            files[count++] = other;
        }
    }
    duck_cold_add_rows(duck, table, files, count, (struct duck_source){.form = DUCK_FORM_PLAIN},
                       sql);
}

static enum err_code
has_rows(struct duck_store *duck, const struct cold_file *file, bool *ret_has, struct err *err)
{
    const struct catalog_table *table = catalog_table(file->table);
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_bounds bounds = {.rows_max = 1, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch rows BATCH_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    const char *glue = "";

    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "SELECT count(*)::BIGINT FROM ");
    duck_cold_add_files(duck, &file, 1, COLD_ALL_COLUMNS, &sql);
    buf_add_cstr(&sql, " AS f WHERE EXISTS (SELECT 1 FROM ");
    add_others(duck, file, &sql);
    buf_add_cstr(&sql, " AS t WHERE ");
    for (size_t i = 0; i < table->column_count; i++) {
        if (tells_apart(table, i)) {
            const char *name = table->columns[i].name;
            buf_add_fmt(&sql, "%st.\"%s\" IS NOT DISTINCT FROM f.\"%s\"", glue, name, name);
            glue = " AND ";
        }
    }
    buf_add_char(&sql, ')');
    const struct duck_statement statement = {.sql = buf_slice(&sql)};
    enum err_code code =
        duck_select(duck, &writer, DUCK_SIDE_READ, &statement, &bounds, &rows, NULL, err);
    *ret_has = !code && batch_get_i64(&rows, 0, 0) > 0;
    return code;
}

/* By a rule that keeps the rollup; else the file was replaced by others that have its rows. */
static bool
raw_was_dropped(const struct cold_file *file, const struct cold_names *dropped)
{
    struct cold_file raw = *file;
    char relative[COLD_RELATIVE_MAX];

    raw.kind = COLD_RAW;
    cold_relative(&raw, relative);
    return cold_names_has(dropped, relative);
}

static enum err_code
has_hot_rows(struct duck_store *duck, const struct cold_file *file, bool *ret_has, struct err *err)
{
    const struct catalog_table *table = catalog_table(file->table);
    const char *time = table->columns[table->time_column].name;
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_bounds bounds = {.rows_max = 1, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch rows BATCH_AUTO = {0};
    struct buf sql BUF_AUTO = {0};
    char hot[DUCK_NAME_MAX];

    duck_hot_name(table, hot);
    buf_init(&sql, SQL_BYTES);
    buf_add_fmt(&sql,
                "SELECT count(*)::BIGINT FROM main.\"%s\" WHERE \"%s\" >= make_timestamp(%" PRId64
                ") AND \"%s\" < make_timestamp(%" PRId64 ")",
                hot, time, cold_day_begin_us(file->day), time, cold_day_end_us(file->day));
    const struct duck_statement statement = {.sql = buf_slice(&sql)};
    enum err_code code =
        duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, &rows, NULL, err);
    *ret_has = !code && batch_get_i64(&rows, 0, 0) > 0;
    return code;
}

/* A rollup has no keys to compare. Rows of the day that are there beside its own files may be
 * those that it counts: of a log that was replayed, or written again. */
static const char *
why_not_alone(struct duck_store *duck, const struct cold_file *file)
{
    struct err ignored;
    bool has = false;

    for (size_t i = 0; i < duck->cold.count; i++) {
        const struct cold_file *other = &duck->cold.files[i];
        if (other->table == file->table && other->day == file->day &&
            strcmp(other->name, file->name) != 0) {
            return COLD_BACK_COUNTED;
        }
    }
    if (has_hot_rows(duck, file, &has, &ignored) != ERR_OK) {
        return "whether rows of its day are there cannot be told";
    }
    return has ? COLD_BACK_COUNTED : NULL;
}

/* NULL, or why the file stays as it is. */
static const char *
why_not(struct duck_store *duck, const struct cold_file *file, const struct cold_names *dropped,
        uint64_t applied)
{
    char path[COLD_PATH_MAX];
    char checksum[COLD_CHECKSUM_MAX];
    struct err ignored;
    bool has = false;

    cold_path(duck->cold.dir, file, path, sizeof(path));
    if (cold_checksum(path, checksum, NULL, &ignored) != ERR_OK ||
        strcmp(checksum, file->checksum) != 0) {
        return "it is not what was written; put it back from a backup";
    }
    if (file->kind != COLD_RAW && duck_cold_find(&duck->cold, file->name, COLD_RAW)) {
        return NULL;
    }
    if (file->kind != COLD_RAW && !raw_was_dropped(file, dropped)) {
        return COLD_BACK_NO_RAW;
    }
    if (file->sealed_lsn > applied) {
        return "the database is older than it, the log gives its rows again";
    }
    if (file->kind != COLD_RAW) {
        return why_not_alone(duck, file);
    }
    if (has_rows(duck, file, &has, &ignored) != ERR_OK) {
        return "its rows cannot be compared with those of the table";
    }
    return has ? COLD_BACK_TWICE : NULL;
}

static enum err_code
list_again(struct duck_store *duck, const struct cold_file *file, struct err *err)
{
    size_t count;
    enum err_code code = duck_run(duck, "BEGIN TRANSACTION", err);

    if (code) {
        return code;
    }
    struct cold_file *files = duck_cold_changed(&duck->cold, NULL, 0, file, 1, &count);
    code = duck_cold_insert(duck, file, 1, err);
    code = code ? code : duck_cold_commit(duck, files, count, err);
    if (code) {
        duck_run(duck, "ROLLBACK", NULL);
        free(files);
    }
    return code;
}

/* Names of what is listed again leave both lists; a crash before that is made up for by the next
 * start, which finds them listed. */
static enum err_code
forget(const struct duck_store *duck, struct cold_manifest *missing, struct err *err)
{
    struct cold_names names COLD_NAMES_AUTO = {0};
    struct cold_names kept COLD_NAMES_AUTO = {0};
    struct cold_names listed COLD_NAMES_AUTO = {0};
    size_t left = 0;
    enum err_code code = cold_ledger_read(duck->cold.dir, COLD_MISSING, &names, err);

    for (size_t i = 0; i < missing->count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&missing->files[i], relative);
        if (is_among(&missing->files[i], duck->cold.files, duck->cold.count)) {
            cold_names_add(&listed, relative);
        } else {
            missing->files[left++] = missing->files[i];
        }
    }
    if (code || listed.count == 0) {
        return code;
    }
    cold_names_sort(&listed);
    for (size_t i = 0; i < names.count; i++) {
        if (!cold_names_has(&listed, names.names[i])) {
            cold_names_add(&kept, names.names[i]);
        }
    }
    missing->count = left;
    code = cold_ledger_replace(duck->cold.dir, COLD_MISSING, &kept, err);
    return code ? code : cold_missing_write(duck->cold.dir, missing, err);
}

static enum err_code
read_applied(struct duck_store *duck, uint64_t *ret_lsn, struct err *err)
{
    static const char sql[] = "SELECT coalesce(max(lsn), 0)::BIGINT FROM main.eider_applied";
    const struct duck_statement statement = {.sql = slice_of(sql)};
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_bounds bounds = {.rows_max = 1, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch rows BATCH_AUTO = {0};
    enum err_code code =
        duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, &rows, NULL, err);

    *ret_lsn = code ? 0 : (uint64_t)batch_get_i64(&rows, 0, 0);
    return code;
}

static enum err_code
look_at(struct duck_store *duck, const struct store_open_options *options,
        const struct cold_file *file, const struct cold_names *dropped, uint64_t applied,
        struct err *err)
{
    char path[COLD_PATH_MAX];

    cold_path(duck->cold.dir, file, path, sizeof(path));
    if (access(path, F_OK) != 0 || is_among(file, duck->cold.files, duck->cold.count)) {
        return ERR_OK;
    }
    const char *why = why_not(duck, file, dropped, applied);
    enum err_code code = why ? ERR_OK : list_again(duck, file, err);
    if (!code && options->cold_back) {
        options->cold_back(options->cold_back_ctx, file, why);
    }
    return code;
}

enum err_code
duck_back_open(struct duck_store *duck, const struct store_open_options *options, struct err *err)
{
    struct cold_manifest missing = {0};
    struct cold_names dropped COLD_NAMES_AUTO = {0};
    uint64_t applied = 0;
    enum err_code code = cold_missing_read(duck->cold.dir, &missing, err);

    if (code != ERR_OK) {
        return code == ERR_NOT_FOUND || code == ERR_CORRUPT ? ERR_OK : code;
    }
    code = cold_ledger_read(duck->cold.dir, COLD_DROPPED, &dropped, err);
    code = code ? code : read_applied(duck, &applied, err);
    if (missing.count > 1) {
        qsort(missing.files, missing.count, sizeof(*missing.files), cold_file_compare);
    }
    for (size_t i = 0; i < missing.count && !code; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&missing.files[i], relative);
        if (!cold_names_has(&dropped, relative)) {
            code = look_at(duck, options, &missing.files[i], &dropped, applied, err);
        }
    }
    code = code ? code : forget(duck, &missing, err);
    free(missing.files);
    return code;
}
