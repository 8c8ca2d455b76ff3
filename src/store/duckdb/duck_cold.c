/* The list of cold files, and how statements name them. */
#include "store/duckdb/duck_cold.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/duckdb/duck_views.h"

enum { SQL_BYTES = 64 << 20, DIR_MODE = 0750 };

void
duck_cold_init(struct duck_store *duck)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    /* Otherwise readers that come and go could keep the applier waiting for ever. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&duck->cold.lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

enum err_code
duck_cold_locate(struct duck_store *duck, struct err *err)
{
    const char *slash = strrchr(duck->path, '/');
    char dir[PATH_MAX];
    char absolute[PATH_MAX];
    char cold[PATH_MAX + 8];

    snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - duck->path) : 1,
             slash ? duck->path : ".");
    if (!realpath(dir[0] ? dir : "/", absolute)) {
        return err_sys(err, errno, "finding the directory of %s", duck->path);
    }
    snprintf(cold, sizeof(cold), "%s/cold", strcmp(absolute, "/") == 0 ? "" : absolute);
    duck->cold.dir = mem_strdup(slice_of(cold));
    return ERR_OK;
}

void
duck_cold_fini(struct duck_store *duck)
{
    pthread_rwlock_destroy(&duck->cold.lock);
    cold_names_fini(&duck->cold.told);
    free(duck->cold.pending);
    free(duck->cold.files);
    free(duck->cold.dir);
}

enum err_code
duck_cold_make_dirs(const struct duck_store *duck, struct err *err)
{
    char path[COLD_PATH_MAX];

    snprintf(path, sizeof(path), "%s/tmp", duck->cold.dir);
    if ((mkdir(duck->cold.dir, DIR_MODE) != 0 && errno != EEXIST) ||
        (mkdir(path, DIR_MODE) != 0 && errno != EEXIST)) {
        return err_sys(err, errno, "making %s", path);
    }
    return ERR_OK;
}

size_t
duck_cold_range(const struct duck_cold *cold, enum table_id table, enum cold_kind kind,
                size_t *ret_first)
{
    size_t first = 0;

    while (first < cold->count &&
           (cold->files[first].table < table ||
            (cold->files[first].table == table && cold->files[first].kind < kind))) {
        first++;
    }
    size_t end = first;
    while (end < cold->count && cold->files[end].table == table && cold->files[end].kind == kind) {
        end++;
    }
    *ret_first = first;
    return end;
}

const struct cold_file *
duck_cold_find(const struct duck_cold *cold, const char *name, enum cold_kind kind)
{
    for (size_t i = 0; i < cold->count; i++) {
        if (cold->files[i].kind == kind && strcmp(cold->files[i].name, name) == 0) {
            return &cold->files[i];
        }
    }
    return NULL;
}

bool
duck_cold_has_day(const struct duck_store *duck, enum table_id table, int32_t day)
{
    size_t first;
    size_t end = duck_cold_range(&duck->cold, table, COLD_RAW, &first);

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (duck->cold.files[middle].day == day) {
            return true;
        }
        if (duck->cold.files[middle].day < day) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    return false;
}

void
duck_cold_add_literal(struct slice text, struct buf *sql)
{
    buf_add_char(sql, '\'');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'') {
            buf_add_char(sql, '\'');
        }
        buf_add_char(sql, text.ptr[i]);
    }
    buf_add_char(sql, '\'');
}

/* DuckDB takes [, * and ? of a path for a pattern, and [c] for the character c. */
void
duck_cold_add_path(const char *path, struct buf *sql)
{
    buf_add_char(sql, '\'');
    for (; *path; path++) {
        if (*path == '\'') {
            buf_add_cstr(sql, "''");
        } else if (strchr("[*?", *path)) {
            buf_add_fmt(sql, "[%c]", *path);
        } else {
            buf_add_char(sql, *path);
        }
    }
    buf_add_char(sql, '\'');
}

void
duck_cold_add_columns(const struct catalog_table *table, const struct column_list *columns,
                      struct buf *sql)
{
    for (size_t i = 0; i < columns->count; i++) {
        const struct catalog_column *column = &table->columns[columns->index[i]];
        buf_add_fmt(sql, "%s\"%s\"", i ? ", " : "", column->name);
        if (column->type == COL_JSON) {
            buf_add_fmt(sql, "::JSON AS \"%s\"", column->name);
        }
    }
}

void
duck_cold_add_rows(const struct duck_store *duck, const struct catalog_table *table,
                   const struct cold_file *const *files, size_t count, struct duck_source how,
                   struct buf *sql)
{
    struct column_list columns = column_list_of_table(table);
    bool placed = how.form == DUCK_FORM_PLACED;
    char hot[DUCK_NAME_MAX];

    duck_hot_name(table, hot);
    if (count == 0 && how.form == DUCK_FORM_PLAIN) {
        buf_add_fmt(sql, "main.\"%s\"", hot);
        return;
    }
    buf_add_cstr(sql, "(");
    if (count > 0) {
        buf_add_cstr(sql, "SELECT ");
        duck_cold_add_columns(table, &columns, sql);
        buf_add_cstr(sql, placed ? DUCK_COLD_PLACE " FROM " : " FROM ");
        duck_cold_add_files_once(duck, files, count, COLD_ALL_COLUMNS, how.once, sql);
        buf_add_cstr(sql, " UNION ALL ");
    }
    buf_add_cstr(sql, "SELECT ");
    for (size_t i = 0; i < columns.count; i++) {
        buf_add_fmt(sql, "%s\"%s\"", i ? ", " : "", table->columns[i].name);
    }
    /* "~" comes behind every path. */
    buf_add_cstr(sql, placed ? ", '~' AS eider_part, rowid AS eider_row" : "");
    buf_add_fmt(sql, " FROM main.\"%s\")", hot);
}

const struct cold_file **
duck_cold_pointers(size_t count)
{
    return mem_zalloc(count + 1, sizeof(struct cold_file *)); /* NOLINT: pointers are meant */
}

size_t
duck_cold_add_source(const struct duck_store *duck, const struct catalog_table *table,
                     int64_t from_us, int64_t to_us, struct duck_source how, struct buf *sql)
{
    const struct cold_file **files MEM_AUTO = NULL;
    size_t first;
    size_t count = 0;
    size_t end = duck_cold_range(&duck->cold, table->id, COLD_RAW, &first);

    files = duck_cold_pointers(end - first);
    for (size_t i = first; i < end; i++) {
        if (duck->cold.files[i].max_us >= from_us && duck->cold.files[i].min_us <= to_us) {
            files[count++] = &duck->cold.files[i];
        }
    }
    duck_cold_add_rows(duck, table, files, count, how, sql);
    return count;
}

size_t
duck_cold_add_table(const struct duck_store *duck, const struct catalog_table *table,
                    int64_t from_us, int64_t to_us, struct duck_source how, struct buf *sql)
{
    if (table->kind != TABLE_VIEW) {
        return duck_cold_add_source(duck, table, from_us, to_us, how, sql);
    }
    /* The view, but with few files. */
    buf_add_cstr(sql, "(" CATALOG_METRICS_SELECT);
    how.form = DUCK_FORM_PLAIN;
    size_t count =
        duck_cold_add_source(duck, catalog_table(TABLE_SAMPLES), from_us, to_us, how, sql);
    buf_add_cstr(sql, " AS s JOIN main.series AS r USING (series_id))");
    return count;
}

enum err_code
duck_cold_insert(struct duck_store *duck, const struct cold_file *files, size_t count,
                 struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    if (count == 0) {
        return ERR_OK;
    }
    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "INSERT INTO main.eider_cold_files (name, table_name, kind, day, rows, "
                       "bytes, min_us, max_us, checksum, sealed_lsn, sealed_at) VALUES ");
    for (size_t i = 0; i < count; i++) {
        const struct cold_file *file = &files[i];
        buf_add_fmt(&sql,
                    "%s('%s', '%s', '%s', %" PRId32 ", %" PRIu64 ", %" PRIu64 ", %" PRId64
                    ", %" PRId64 ", '%s', %" PRIu64 ", make_timestamp(%" PRId64 "))",
                    i ? ", " : "", file->name, catalog_table(file->table)->name,
                    cold_kind_name(file->kind), file->day, file->rows, file->bytes, file->min_us,
                    file->max_us, file->checksum, file->sealed_lsn, file->sealed_us);
    }
    buf_add_char(&sql, '\0');
    return sql.overflow ? err_set(err, ERR_TOO_LARGE, "%zu cold files at once are too many", count)
                        : duck_run(duck, sql.ptr, err);
}

enum err_code
duck_cold_delete(struct duck_store *duck, const struct cold_file *files, size_t count,
                 struct err *err)
{
    struct buf sql BUF_AUTO = {0};

    if (count == 0) {
        return ERR_OK;
    }
    buf_init(&sql, SQL_BYTES);
    buf_add_cstr(&sql, "DELETE FROM main.eider_cold_files WHERE (name, kind) IN (");
    for (size_t i = 0; i < count; i++) {
        buf_add_fmt(&sql, "%s('%s', '%s')", i ? ", " : "", files[i].name,
                    cold_kind_name(files[i].kind));
    }
    buf_add_char(&sql, ')');
    buf_add_char(&sql, '\0');
    return sql.overflow ? err_set(err, ERR_TOO_LARGE, "%zu cold files at once are too many", count)
                        : duck_run(duck, sql.ptr, err);
}

static bool
is_among(const struct cold_file *file, const struct cold_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (files[i].kind == file->kind && strcmp(files[i].name, file->name) == 0) {
            return true;
        }
    }
    return false;
}

struct cold_file *
duck_cold_changed(const struct duck_cold *cold, const struct cold_file *gone, size_t gone_count,
                  const struct cold_file *added, size_t added_count, size_t *ret_count)
{
    struct cold_file *files = mem_zalloc(cold->count + added_count + 1, sizeof(*files));
    size_t count = 0;

    for (size_t i = 0; i < cold->count; i++) {
        if (!is_among(&cold->files[i], gone, gone_count)) {
            files[count++] = cold->files[i];
        }
    }
    for (size_t i = 0; i < added_count; i++) {
        files[count++] = added[i];
    }
    qsort(files, count, sizeof(*files), cold_file_compare);
    *ret_count = count;
    return files;
}

enum err_code
duck_cold_commit(struct duck_store *duck, struct cold_file *files, size_t count, struct err *err)
{
    pthread_rwlock_wrlock(&duck->cold.lock);
    enum err_code code = duck_run_commit(duck, "commit.answered", err);
    if (!code) {
        free(duck->cold.files);
        duck->cold.files = files;
        duck->cold.count = count;
    }
    pthread_rwlock_unlock(&duck->cold.lock);
    return code;
}

enum err_code
duck_cold_list(struct store *store, struct cold_file **ret_files, size_t *ret_count,
               struct err *err)
{
    struct duck_store *duck = (struct duck_store *)store;

    (void)err;
    pthread_rwlock_rdlock(&duck->cold.lock);
    *ret_files = mem_zalloc(duck->cold.count + 1, sizeof(**ret_files));
    *ret_count = duck->cold.count;
    if (duck->cold.count > 0) {
        memcpy(*ret_files, duck->cold.files, duck->cold.count * sizeof(**ret_files));
    }
    pthread_rwlock_unlock(&duck->cold.lock);
    return ERR_OK;
}

enum err_code
duck_read_begin(struct duck_store *duck, struct duck_reader *reader, struct err *err)
{
    duckdb_result result;
    enum err_code code = ERR_OK;

    /* immediate_transaction_mode is on: what the transaction sees is chosen now. */
    if (duckdb_execute_prepared(reader->begin, &result) != DuckDBSuccess) {
        code = duck_fail_result(duck, DUCK_SIDE_READ, &result, err);
    }
    duckdb_destroy_result(&result);
    if (code) {
        duck_read_end(reader);
    }
    return code == ERR_TIMEOUT ? duck_pool_why(reader, err) : code;
}

void
duck_read_end(struct duck_reader *reader)
{
    enum duck_rollback how = duck_roll_back(reader->connection, reader->roll_back);

    reader->stuck = how == DUCK_ROLLBACK_FAILED;
}

/* ---- open ---- */

static bool
read_row(const struct batch *rows, size_t row, struct cold_file *file)
{
    const struct catalog_table *table = catalog_find(batch_get_text(rows, 1, row));

    *file = (struct cold_file){
        .day = (int32_t)batch_get_i64(rows, 3, row),
        .rows = (uint64_t)batch_get_i64(rows, 4, row),
        .bytes = (uint64_t)batch_get_i64(rows, 5, row),
        .min_us = batch_get_i64(rows, 6, row),
        .max_us = batch_get_i64(rows, 7, row),
        .sealed_lsn = (uint64_t)batch_get_i64(rows, 9, row),
        .sealed_us = batch_get_i64(rows, 10, row),
    };
    file->table = table ? table->id : TABLE_ID_END;
    return table && slice_to_cstr(batch_get_text(rows, 0, row), file->name, sizeof(file->name)) &&
           slice_to_cstr(batch_get_text(rows, 8, row), file->checksum, sizeof(file->checksum)) &&
           cold_kind_parse(batch_get_text(rows, 2, row), &file->kind);
}

static enum err_code
read_list(struct duck_store *duck, struct err *err)
{
    struct duck_reader writer = {.connection = duck->writer};
    struct duck_statement statement = {
        .sql = slice_of("SELECT name, table_name, kind, day, rows, bytes, min_us, max_us, "
                        "checksum, sealed_lsn::BIGINT, sealed_at FROM main.eider_cold_files")};
    struct duck_bounds bounds = {.rows_max = BATCH_ROWS_MAX, .bytes_max = DUCK_TEXT_BYTES_MAX};
    struct batch rows BATCH_AUTO = {0};

    enum err_code code =
        duck_select(duck, &writer, DUCK_SIDE_APPLY, &statement, &bounds, &rows, NULL, err);
    if (code) {
        return code;
    }
    duck->cold.files = mem_zalloc(rows.rows + 1, sizeof(*duck->cold.files));
    for (size_t row = 0; row < rows.rows; row++) {
        if (!read_row(&rows, row, &duck->cold.files[duck->cold.count++])) {
            return err_set(err, ERR_CONFLICT,
                           "%s lists a cold file that this version does not know: %.*s of %.*s",
                           duck->path, SLICE_FMT(batch_get_text(&rows, 2, row)),
                           SLICE_FMT(batch_get_text(&rows, 1, row)));
        }
    }
    qsort(duck->cold.files, duck->cold.count, sizeof(*duck->cold.files), cold_file_compare);
    return ERR_OK;
}

/* And has its size: one that has not was cut or overwritten. A file that cannot be looked at says
 * nothing: an error, lest its rows are given up. */
static enum err_code
look_at(const struct duck_store *duck, const struct cold_file *file, bool *ret_there,
        struct err *err)
{
    char path[COLD_PATH_MAX];
    struct stat info;

    cold_path(duck->cold.dir, file, path, sizeof(path));
    if (stat(path, &info) == 0) {
        *ret_there = (uint64_t)info.st_size == file->bytes;
        return ERR_OK;
    }
    *ret_there = false;
    return errno == ENOENT ? ERR_OK : err_sys(err, errno, "looking at the cold file %s", path);
}

/* A directory that is not there at all is a disk that is not mounted, more likely than files that
 * are all gone. */
static enum err_code
check_dir(const struct duck_store *duck, struct err *err)
{
    struct stat info;

    if (duck->cold.count > 0 && stat(duck->cold.dir, &info) != 0) {
        return err_sys(err, errno,
                       "%zu cold files are listed and their directory %s is not there; mount it, "
                       "restore it from a backup, or make an empty one to go on without their rows",
                       duck->cold.count, duck->cold.dir);
    }
    return ERR_OK;
}

static enum err_code
find_gone(const struct duck_store *duck, struct cold_file *ret_gone, size_t *ret_count,
          struct err *err)
{
    enum err_code code = check_dir(duck, err);

    for (size_t i = 0; i < duck->cold.count && !code; i++) {
        bool there;
        code = look_at(duck, &duck->cold.files[i], &there, err);
        if (!code && !there) {
            ret_gone[(*ret_count)++] = duck->cold.files[i];
        }
    }
    return code;
}

/* Those that retention did not drop; they are noted, so that they are kept when they come back. */
static enum err_code
note_lost(const struct duck_store *duck, const struct cold_file *gone, size_t count,
          struct cold_file *lost, size_t *ret_lost, struct err *err)
{
    struct cold_names dropped COLD_NAMES_AUTO;
    char relative[COLD_RELATIVE_MAX];

    cold_names_init(&dropped);
    enum err_code code = cold_ledger_read(duck->cold.dir, COLD_DROPPED, &dropped, err);
    for (size_t i = 0; i < count && !code; i++) {
        cold_relative(&gone[i], relative);
        if (!cold_names_has(&dropped, relative)) {
            lost[(*ret_lost)++] = gone[i];
        }
    }
    if (!code && *ret_lost > 0) {
        code = cold_ledger_add(duck->cold.dir, COLD_MISSING, lost, *ret_lost, err);
        code = code ? code : duck_back_note(duck, lost, *ret_lost, err);
    }
    return code;
}

static enum err_code
delist(struct duck_store *duck, const struct cold_file *gone, size_t count, struct err *err)
{
    size_t left;

    enum err_code code = duck_run(duck, "BEGIN TRANSACTION", err);
    if (code) {
        return code;
    }
    struct cold_file *files = duck_cold_changed(&duck->cold, gone, count, NULL, 0, &left);
    code = duck_cold_delete(duck, gone, count, err);
    code = code ? code : duck_cold_commit(duck, files, left, err);
    if (code) {
        duck_run(duck, "ROLLBACK", NULL);
        free(files);
    }
    return code;
}

enum err_code
duck_cold_open(struct duck_store *duck, const struct store_open_options *options, struct err *err)
{
    struct cold_file *gone MEM_AUTO = NULL;
    struct cold_file *lost MEM_AUTO = NULL;
    size_t count = 0;
    size_t lost_count = 0;

    duck->cold.damaged = options->cold_damaged;
    duck->cold.damaged_ctx = options->cold_damaged_ctx;
    enum err_code code = read_list(duck, err);
    if (code) {
        return code;
    }
    gone = mem_zalloc(duck->cold.count + 1, sizeof(*gone));
    code = find_gone(duck, gone, &count, err);
    if (code || count == 0) {
        return code ? code : duck_back_open(duck, options, err);
    }
    lost = mem_zalloc(count, sizeof(*lost));
    code = duck_cold_make_dirs(duck, err);
    code = code ? code : note_lost(duck, gone, count, lost, &lost_count, err);
    code = code ? code : delist(duck, gone, count, err);
    for (size_t i = 0; i < lost_count && !code && options->cold_lost; i++) {
        options->cold_lost(options->cold_lost_ctx, &lost[i]);
    }
    return code ? code : duck_back_open(duck, options, err);
}
