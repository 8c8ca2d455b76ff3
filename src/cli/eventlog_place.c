/* From a database's path to a data directory, and the original's rows into it. */
#include "cli/eventlog_place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "store/duckdb/duckdb_reader.h"

enum { DIR_MODE = 0750, PLACE_PATH_MAX = 4096 };

static const char mark_name[] = "imported-event-log";

char *
place_derive(const char *db_path)
{
    static const char *const suffixes[] = {".duckdb", ".db"};
    struct slice stem = slice_of(db_path);
    struct buf path;

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t len = strlen(suffixes[i]);
        /* ".duckdb" alone, behind a slash or nothing, is a name and no suffix. */
        if (slice_ends(stem, suffixes[i]) && stem.len > len &&
            stem.ptr[stem.len - len - 1] != '/') {
            stem.len -= len;
            break;
        }
    }
    buf_init(&path, 0);
    buf_add_slice(&path, stem);
    buf_add_cstr(&path, ".eider");
    buf_add_char(&path, '\0');
    return buf_take(&path, &(size_t){0});
}

static char *
parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash) {
        return mem_strdup(SLICE_LITERAL("."));
    }
    return mem_strdup(slice_make(path, slash == path ? 1 : (size_t)(slash - path)));
}

static enum err_code
make_dirs(const char *path, struct err *err)
{
    char *copy MEM_AUTO = mem_strdup(slice_of(path));

    for (char *at = copy; *at; at++) {
        if (at > copy && *at == '/') {
            *at = '\0';
            if (mkdir(copy, DIR_MODE) != 0 && errno != EEXIST) {
                return err_sys(err, errno, "cannot make the directory %s", copy);
            }
            *at = '/';
        }
    }
    if (mkdir(copy, DIR_MODE) != 0 && errno != EEXIST) {
        return err_sys(err, errno, "cannot make the directory %s", copy);
    }
    return ERR_OK;
}

static bool
is_dir(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool
is_data_dir(const struct config *config, const char *path)
{
    struct config probe = *config;
    char *copy MEM_AUTO = mem_strdup(slice_of(path));

    probe.data_dir = copy;
    return target_has_data(&probe);
}

static bool
is_named(const struct cli *cli, const struct config *config)
{
    const struct config_setting *setting;

    if (target_url(cli)) {
        return true;
    }
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (strcmp(setting->name, "data_dir") == 0) {
            return config->origins[i].layer != CONFIG_DEFAULT;
        }
    }
    return false;
}

/* The original's file waits to be brought in: it is there, it is not the directory's own database,
 * and no mark says that it was done. */
static bool
waits_for_import(const struct config *config, const char *db_path)
{
    char *own MEM_AUTO = target_database_path(config);
    struct buf mark BUF_AUTO = {0};
    struct stat file;
    struct stat other;

    if (stat(db_path, &file) != 0 || !S_ISREG(file.st_mode) ||
        (stat(own, &other) == 0 && other.st_ino == file.st_ino && other.st_dev == file.st_dev)) {
        return false;
    }
    buf_init(&mark, 0);
    buf_add_fmt(&mark, "%s/%s%c", config->data_dir, mark_name, '\0');
    return access(mark.ptr, F_OK) != 0;
}

enum err_code
place_find(const struct cli *cli, const char *db_path, struct config *config,
           struct place *ret_place, struct err *err)
{
    struct place place = {.db_path = db_path};

    if (strlen(db_path) >= PLACE_PATH_MAX) {
        return err_set(err, ERR_USAGE, "--db-path is longer than %d bytes", PLACE_PATH_MAX);
    }
    if (is_named(cli, config)) {
        struct target_lock lock;
        target_read_lock(config->data_dir, &lock);
        place.exists = target_url(cli) || lock.held || target_has_data(config);
        *ret_place = place;
        return ERR_OK;
    }
    char *parent MEM_AUTO = parent_of(db_path);
    char *dir = is_dir(db_path) ? mem_strdup(slice_of(db_path)) : place_derive(db_path);
    enum err_code code = make_dirs(parent, err);
    if (code != ERR_OK) {
        free(dir);
        return code;
    }
    if (!is_dir(dir) && is_data_dir(config, parent)) {
        free(dir);
        dir = mem_strdup(slice_of(parent));
    }
    free(config->data_dir);
    config->data_dir = dir;
    place.exists = target_has_data(config);
    place.must_import = waits_for_import(config, db_path);
    *ret_place = place;
    return ERR_OK;
}

/* ---- the original's rows ---- */

/* One row of the answer below; columns that an old file lacks are NULL. */
enum {
    ROW_ID,
    ROW_TIMESTAMP,
    ROW_API_NAME,
    ROW_ENDPOINT,
    ROW_METHOD,
    ROW_STATUS,
    ROW_SUCCESS,
    ROW_LATENCY,
    ROW_CREDITS,
    ROW_RUN_ID,
    ROW_ERROR,
    ROW_METADATA,
    ROW_CREATED,
    ROW_COUNT
};

static const struct {
    const char *name;
    const char *type;
} row_columns[ROW_COUNT] = {
    {"id", "VARCHAR"},           {"timestamp", "TIMESTAMP"},   {"api_name", "VARCHAR"},
    {"endpoint", "VARCHAR"},     {"method", "VARCHAR"},        {"status_code", "BIGINT"},
    {"success", "BOOLEAN"},      {"latency_ms", "DOUBLE"},     {"credits_cost", "DOUBLE"},
    {"run_id", "VARCHAR"},       {"error_message", "VARCHAR"}, {"metadata_json", "VARCHAR"},
    {"created_at", "TIMESTAMP"},
};

static enum err_code
select_rows(struct duckdb_reader *reader, struct err *err)
{
    struct buf sql BUF_AUTO = {0};
    uint64_t rows;
    enum err_code code = duckdb_reader_select(reader, "api_event_log", &rows, err);

    if (code != ERR_OK) {
        return code;
    }
    const struct batch *columns = duckdb_reader_columns(reader);
    buf_init(&sql, 0);
    buf_add_cstr(&sql, "SELECT ");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        bool there = batch_column_index(columns, slice_of(row_columns[i].name)) != CATALOG_NONE;
        buf_add_fmt(&sql, "%sCAST(%s AS %s)", i ? ", " : "", there ? row_columns[i].name : "NULL",
                    row_columns[i].type);
    }
    /* A fixed order: an import that was cut short goes on in the same batches. */
    buf_add_fmt(&sql, " FROM api_event_log ORDER BY timestamp, id%c", '\0');
    return duckdb_reader_sql(reader, sql.ptr, err);
}

static void
read_row(const struct batch *rows, size_t row, struct event *ret_event)
{
    struct event event = {
        .id = batch_get_text(rows, ROW_ID, row),
        .timestamp_us = batch_get_i64(rows, ROW_TIMESTAMP, row),
        .api_name = batch_get_text(rows, ROW_API_NAME, row),
        .endpoint = batch_get_text(rows, ROW_ENDPOINT, row),
        .method = batch_get_text(rows, ROW_METHOD, row),
        .has_status = !batch_is_null(rows, ROW_STATUS, row),
        .status_code = (int32_t)batch_get_i64(rows, ROW_STATUS, row),
        .success = batch_get_i64(rows, ROW_SUCCESS, row) != 0,
        .latency_ms = batch_get_f64(rows, ROW_LATENCY, row),
        .run_id = batch_get_text(rows, ROW_RUN_ID, row),
        .error_message = batch_get_text(rows, ROW_ERROR, row),
        .metadata_json = batch_get_text(rows, ROW_METADATA, row),
        .created_us = batch_get_i64(rows, ROW_CREATED, row),
    };

    decimal_from_double(batch_get_f64(rows, ROW_CREDITS, row), &event.credits);
    *ret_event = event;
}

/* All at once; when one of them is refused, one by one, so that it alone stays out. */
static enum err_code
append_rows(struct ledger *ledger, const struct event *events, size_t count,
            struct place_imported *imported, struct err *err)
{
    struct ledger_appended appended;
    enum err_code code = ledger_append(ledger, events, count, &appended, err);

    if (code == ERR_OK) {
        imported->stored += appended.stored;
        imported->duplicates += appended.duplicates;
        return ERR_OK;
    }
    if (code != ERR_INVALID && code != ERR_CONFLICT) {
        return code;
    }
    if (count > 1) {
        code = append_rows(ledger, events, count / 2, imported, err);
        return code == ERR_OK
                   ? append_rows(ledger, events + count / 2, count - count / 2, imported, err)
                   : code;
    }
    if (imported->refused++ == 0) {
        snprintf(imported->refusal, sizeof(imported->refusal), "%.*s: %.180s",
                 SLICE_FMT(slice_sub(events[0].id, 0, 64)), err->msg);
    }
    return ERR_OK;
}

static enum err_code
copy_rows(struct ledger *ledger, struct duckdb_reader *reader, struct place_imported *imported,
          struct err *err)
{
    struct event *events MEM_AUTO = mem_zalloc(LEDGER_APPEND_MAX, sizeof(*events));
    const struct batch *rows = NULL;
    enum err_code code = ERR_OK;

    while (code == ERR_OK) {
        code = duckdb_reader_next(reader, &rows, err);
        if (code != ERR_OK || rows->rows == 0) {
            break;
        }
        for (size_t row = 0; code == ERR_OK && row < rows->rows;) {
            size_t count = 0;
            while (count < LEDGER_APPEND_MAX && row < rows->rows) {
                read_row(rows, row++, &events[count++]);
            }
            imported->read += count;
            code = append_rows(ledger, events, count, imported, err);
        }
    }
    return code;
}

enum err_code
place_import_file(struct ledger *ledger, const char *path, struct place_imported *ret_imported,
                  struct err *err)
{
    struct place_imported imported = {0};
    struct duckdb_reader *reader;
    const char *table;
    bool found = false;
    enum err_code code = duckdb_reader_open(path, DUCKDB_FILE_DATABASE, &reader, err);

    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; (table = duckdb_reader_table(reader, i)); i++) {
        found = found || strcmp(table, "api_event_log") == 0;
    }
    code = found ? select_rows(reader, err)
                 : err_set(err, ERR_NOT_FOUND, "%s has no table api_event_log", path);
    if (code == ERR_OK) {
        code = copy_rows(ledger, reader, &imported, err);
    }
    duckdb_reader_close(reader);
    if (code == ERR_OK) {
        *ret_imported = imported;
    }
    return code;
}

static enum err_code
write_mark(const char *data_dir, const char *source, const struct place_imported *imported,
           struct err *err)
{
    struct buf path BUF_AUTO = {0};
    struct buf draft BUF_AUTO = {0};

    buf_init(&path, 0);
    buf_init(&draft, 0);
    buf_add_fmt(&path, "%s/%s%c", data_dir, mark_name, '\0');
    buf_add_fmt(&draft, "%s/%s.new%c", data_dir, mark_name, '\0');
    FILE *file = fopen(draft.ptr, "we");
    if (!file) {
        return err_sys(err, errno, "cannot write %s", draft.ptr);
    }
    fprintf(file, "%s\n%" PRIu64 " entries\n", source, imported->read);
    bool written = fflush(file) == 0 && fsync(fileno(file)) == 0;
    int sys = errno;
    fclose(file);
    if (!written || rename(draft.ptr, path.ptr) != 0) {
        return err_sys(err, written ? errno : sys, "cannot write %s", path.ptr);
    }
    return ERR_OK;
}

enum err_code
place_import(struct ledger *ledger, const struct place *place, struct err *err)
{
    const struct config *config = ledger->target.config;
    struct place_imported imported = {0};

    /* Another call may have done it while this one waited for the directory. */
    if (!waits_for_import(config, place->db_path)) {
        return ERR_OK;
    }
    enum err_code code = place_import_file(ledger, place->db_path, &imported, err);
    if (code != ERR_OK && code != ERR_NOT_FOUND) {
        return err_context(err, code, "importing %s", place->db_path);
    }
    if (imported.read > 0) {
        cli_note(ledger->cli, "imported %" PRIu64 " events of %s into %s", imported.read,
                 place->db_path, config->data_dir);
    }
    if (imported.refused > 0) {
        cli_note(ledger->cli, "%" PRIu64 " events were refused; the first: %s", imported.refused,
                 imported.refusal);
    }
    return write_mark(config->data_dir, place->db_path, &imported, err);
}
