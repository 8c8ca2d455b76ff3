/*
 * A new database of cold files, when the old one and its snapshots are lost:
 *
 *   manifest ─► whole? series known? ─► what stays out goes to quarantine/ ─► <database>.adopt:
 *   definitions of series, list, LSN ─► renamed to <database>; a start replays the log
 *
 * The database stands in front of the log's first record, while its files were sealed behind later
 * ones; the engine passes over the rows of the log that are in files (store/adopted.c). That is
 * right as long as all files of a day are there up to the last of them: when one is lost that the
 * log has rows of, those that were sealed behind it stay out, for the log has all of their rows.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/check_repair.h"
#include "cli/cli.h"
#include "cli/parquet_rows.h"
#include "cli/target.h"
#include "store/cold.h"
#include "store/failpoint.h"
#include "store/series_file.h"
#include "wal/wal_scan.h"

enum { IDS_MAX = 1 << 26 };

static const size_t series_text_max = (size_t)8 << 30;

#define ADOPTED_SUFFIX ".adopt"

enum verdict { STAYS, LOST, DAMAGED, NAMELESS, REPLAYED, DROPPED };

struct adopting {
    const struct repairing *repairing;
    char cold_dir[FILES_PATH_MAX];
    struct cold_manifest manifest;
    enum verdict *verdicts; /* of its files */
    bool has_log;
    uint64_t first_lsn; /* of the log */
    uint64_t last_lsn;
    uint64_t lsn; /* what the new database stands at */
    bool *named;  /* numbers of series that cold/series defines */
    size_t named_count;
    uint64_t series;
    struct parquet_rows parquet;
    struct cold_names expected; /* what cold/ may keep */
    size_t strays;              /* set aside, for nobody listed them */
};

/* ---- what there is ---- */

static enum err_code
read_log(struct adopting *adopting, struct err *err)
{
    char wal[FILES_PATH_MAX];
    struct wal_scan scan;

    snprintf(wal, sizeof(wal), "%.4000s/wal", adopting->repairing->check->config->data_dir);
    enum err_code code = wal_scan_dir(wal, wal_sys_real(), NULL, NULL, &scan, err);
    if (code == ERR_OK && scan.records > 0) {
        adopting->has_log = true;
        adopting->first_lsn = scan.extents[0].first_lsn;
        adopting->last_lsn = adopting->first_lsn + scan.records - 1;
    }
    wal_scan_fini(&scan);
    return code;
}

static enum err_code
note_series(void *ctx, const struct batch *rows, struct err *err)
{
    struct adopting *adopting = ctx;

    (void)err;
    for (size_t row = 0; row < rows->rows; row++) {
        int64_t id = batch_get_i64(rows, 0, row);
        if (id < 1 || id >= IDS_MAX) {
            continue;
        }
        if ((size_t)id >= adopting->named_count) {
            size_t count = (size_t)id * 2 + 1024;
            adopting->named = mem_resize(adopting->named, count, sizeof(*adopting->named));
            memset(adopting->named + adopting->named_count, 0,
                   (count - adopting->named_count) * sizeof(*adopting->named));
            adopting->named_count = count;
        }
        adopting->series += !adopting->named[id];
        adopting->named[id] = true;
    }
    return ERR_OK;
}

/* A file of series that is missing or damaged defines what can be read of it. */
static enum err_code
read_series(struct adopting *adopting, struct err *err)
{
    struct series_summary summary;
    enum err_code code = series_file_read(adopting->cold_dir, note_series, adopting, &summary, err);

    return code == ERR_NOT_FOUND || code == ERR_CORRUPT ? ERR_OK : code;
}

/* ---- which files ---- */

static enum verdict
judge_series(struct adopting *adopting, const char *path)
{
    int64_t *ids = NULL;
    size_t count = 0;
    struct err ignored;
    bool named = parquet_series(&adopting->parquet, path, &ids, &count, &ignored) == ERR_OK;

    for (size_t i = 0; i < count && named; i++) {
        named = ids[i] >= 1 && (size_t)ids[i] < adopting->named_count && adopting->named[ids[i]];
    }
    free(ids);
    return named ? STAYS : NAMELESS;
}

static enum verdict
judge(struct adopting *adopting, const struct cold_file *file, const struct cold_names *dropped)
{
    char relative[COLD_RELATIVE_MAX];
    char path[FILES_PATH_MAX];
    char sum[COLD_CHECKSUM_MAX];
    struct err ignored;

    cold_relative(file, relative);
    if (cold_names_has(dropped, relative)) {
        return DROPPED;
    }
    cold_path(adopting->cold_dir, file, path, sizeof(path));
    if (access(path, F_OK) != 0) {
        return LOST;
    }
    if (cold_checksum(path, sum, NULL, &ignored) != ERR_OK || strcmp(sum, file->checksum) != 0) {
        return DAMAGED;
    }
    return file->table == TABLE_SAMPLES ? judge_series(adopting, path) : STAYS;
}

/* Files that stay out because of one that is lost: its rollups, and what was sealed behind it. */
static void
stand_back(struct adopting *adopting, const struct cold_file *lost)
{
    const struct cold_manifest *manifest = &adopting->manifest;

    for (size_t i = 0; i < manifest->count; i++) {
        const struct cold_file *file = &manifest->files[i];
        bool of_day = file->table == lost->table && file->day == lost->day;
        bool replayed = file->sealed_lsn > lost->sealed_lsn || strcmp(file->name, lost->name) == 0;
        if (of_day && replayed && adopting->verdicts[i] == STAYS) {
            adopting->verdicts[i] = REPLAYED;
        }
    }
}

static enum err_code
judge_files(struct adopting *adopting, struct err *err)
{
    const struct cold_manifest *manifest = &adopting->manifest;
    struct cold_names dropped COLD_NAMES_AUTO = {0};
    enum err_code code = cold_ledger_read(adopting->cold_dir, COLD_DROPPED, &dropped, err);

    if (code != ERR_OK) {
        return code;
    }
    adopting->verdicts = mem_zalloc(manifest->count + 1, sizeof(*adopting->verdicts));
    for (size_t i = 0; i < manifest->count; i++) {
        adopting->verdicts[i] = judge(adopting, &manifest->files[i], &dropped);
    }
    for (size_t i = 0; i < manifest->count; i++) {
        const struct cold_file *file = &manifest->files[i];
        enum verdict verdict = adopting->verdicts[i];
        bool is_lost = verdict == LOST || verdict == DAMAGED || verdict == NAMELESS;
        if (is_lost && file->kind == COLD_RAW && cold_days_are_fixed(catalog_table(file->table)) &&
            adopting->has_log && file->sealed_lsn >= adopting->first_lsn) {
            stand_back(adopting, file);
        }
    }
    return ERR_OK;
}

/* ---- what stays out ---- */

static void
tell(const struct adopting *adopting, const struct cold_file *file, enum verdict verdict)
{
    static const char *const why[] = {
        [LOST] = "is missing",
        [DAMAGED] = "is damaged",
        [NAMELESS] = ("names series that cold/series does not define (it was written before series "
                      "were kept there, or that file is damaged); a backup has them"),
        [REPLAYED] = "was sealed behind a file that is lost; the log has all of its rows",
    };
    char relative[COLD_RELATIVE_MAX];
    char part[96] = "";

    if (file->kind != COLD_RAW || verdict == DROPPED) {
        return;
    }
    cold_relative(file, relative);
    if (verdict != REPLAYED && adopting->has_log && file->sealed_lsn >= adopting->first_lsn) {
        snprintf(part, sizeof(part), "; rows of it from record %" PRIu64 " on come from the log",
                 adopting->first_lsn);
    }
    cli_note(adopting->repairing->check->cli, "cold/%s (%" PRIu64 " rows) %s%s", relative,
             file->rows, why[verdict], part);
}

static enum err_code
leave_out(struct adopting *adopting, const struct cold_file *file, enum verdict verdict,
          struct err *err)
{
    char path[FILES_PATH_MAX];

    tell(adopting, file, verdict);
    cold_path(adopting->cold_dir, file, path, sizeof(path));
    if (verdict == DROPPED || access(path, F_OK) != 0) {
        return ERR_OK;
    }
    enum err_code code = repair_set_aside(adopting->repairing, path, err);
    return code ? code : failpoint_fails("adopt.aside", err);
}

static enum err_code
leave_out_stray(void *ctx, const struct cold_file *file, struct err *err)
{
    struct adopting *adopting = ctx;
    char relative[COLD_RELATIVE_MAX];
    char path[FILES_PATH_MAX];

    cold_relative(file, relative);
    if (cold_names_has(&adopting->expected, relative)) {
        return ERR_OK;
    }
    cold_path(adopting->cold_dir, file, path, sizeof(path));
    struct repairing quiet = *adopting->repairing;
    quiet.quiet = true;
    adopting->strays++;
    return repair_set_aside(&quiet, path, err);
}

/* Whatever is not listed would be removed by the next start; so it goes to quarantine/ before. */
static enum err_code
choose_files(struct adopting *adopting, struct err *err)
{
    struct cold_manifest *manifest = &adopting->manifest;
    enum err_code code = judge_files(adopting, err);
    size_t kept = 0;

    for (size_t i = 0; i < manifest->count && code == ERR_OK; i++) {
        char relative[COLD_RELATIVE_MAX];
        struct cold_file file = manifest->files[i];
        cold_relative(&file, relative);
        cold_names_add(&adopting->expected, relative);
        if (adopting->verdicts[i] != STAYS) {
            code = leave_out(adopting, &file, adopting->verdicts[i], err);
            continue;
        }
        if (adopting->has_log && file.sealed_lsn > adopting->last_lsn) {
            /* Records behind the log's end will be new ones. */
            file.sealed_lsn = adopting->last_lsn;
        }
        manifest->files[kept++] = file;
    }
    if (code == ERR_OK) {
        manifest->count = kept;
        code = cold_ledger_read(adopting->cold_dir, COLD_MISSING, &adopting->expected, err);
        cold_names_sort(&adopting->expected);
    }
    return code ? code : cold_walk(adopting->cold_dir, leave_out_stray, adopting, err);
}

/* Of an empty log the list must not be ahead: new records take the numbers behind it. */
static void
choose_lsn(struct adopting *adopting)
{
    adopting->lsn = adopting->has_log ? adopting->first_lsn - 1 : adopting->manifest.lsn;
    for (size_t i = 0; i < adopting->manifest.count && !adopting->has_log; i++) {
        uint64_t sealed_lsn = adopting->manifest.files[i].sealed_lsn;
        adopting->lsn = sealed_lsn > adopting->lsn ? sealed_lsn : adopting->lsn;
    }
}

/* ---- the new database ---- */

static enum err_code
gather_series(void *ctx, const struct batch *rows, struct err *err)
{
    struct batch *all = ctx;

    if (all->rows + rows->rows > BATCH_ROWS_MAX) {
        return err_set(err, ERR_TOO_LARGE, "cold/series has more than %d definitions",
                       BATCH_ROWS_MAX);
    }
    for (size_t row = 0; row < rows->rows; row++) {
        size_t to = batch_add_row(all);
        batch_set_i32(all, 0, to, (int32_t)batch_get_i64(rows, 0, row));
        for (size_t column = 1; column < rows->column_count; column++) {
            if (!batch_is_null(rows, column, row)) {
                struct slice text = batch_get_text(rows, column, row);
                batch_set_text(all, column, to, batch_keep_text(all, text));
            }
        }
    }
    return all->arena.overflow
               ? err_set(err, ERR_TOO_LARGE, "the texts of cold/series are too large")
               : ERR_OK;
}

/* As if record 1 had defined them all: it is in front of whatever the database will stand at. */
static enum err_code
fill_series(const struct adopting *adopting, struct store *store, struct err *err)
{
    struct batch all BATCH_AUTO = {0};
    const struct store_group group = {1, 1, 1, &all};
    struct series_summary summary;

    batch_init(&all, catalog_table(TABLE_SERIES), series_text_max);
    enum err_code code = series_file_read(adopting->cold_dir, gather_series, &all, &summary, err);
    code = code == ERR_NOT_FOUND || code == ERR_CORRUPT ? ERR_OK : code;
    return code || all.rows == 0 || adopting->lsn == 0 ? code : store_apply(store, &group, err);
}

static enum err_code
fill(struct adopting *adopting, struct store *store, struct err *err)
{
    const struct store_export_moment moment = {.lsn = adopting->lsn,
                                               .files = adopting->manifest.files,
                                               .file_count = adopting->manifest.count};
    enum err_code code = fill_series(adopting, store, err);

    return code ? code : store_import_end(store, &moment, err);
}

/* With what DuckDB keeps beside a database: a log of the old one must not meet the new one. */
static enum err_code
set_old_aside(const struct adopting *adopting, const char *path, struct err *err)
{
    static const char *const suffixes[] = {"", ".wal", ".wal.checkpoint", ".wal.recovery"};
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]) && code == ERR_OK; i++) {
        char file[FILES_PATH_MAX];
        snprintf(file, sizeof(file), "%.4000s%s", path, suffixes[i]);
        if (access(file, F_OK) == 0) {
            code = repair_set_aside(adopting->repairing, file, err);
        }
    }
    return code;
}

static void
remove_unfinished(const char *path)
{
    char log[FILES_PATH_MAX];

    snprintf(log, sizeof(log), "%.4000s.wal", path);
    unlink(path);
    unlink(log);
}

static enum err_code
make_database(struct adopting *adopting, struct err *err)
{
    char *path MEM_AUTO = target_database_path(adopting->repairing->check->config);
    char made[FILES_PATH_MAX];
    struct engine_options options;
    struct store *store = NULL;
    enum err_code code = repair_options(adopting->repairing, &options, err);

    snprintf(made, sizeof(made), "%.4000s" ADOPTED_SUFFIX, path);
    remove_unfinished(made);
    options.store.path = made;
    code = code ? code : options.store_open(&options.store, &store, err);
    code = code ? code : fill(adopting, store, err);
    store_close(store);
    code = code ? code : failpoint_fails("adopt.made", err);
    code = code ? code : set_old_aside(adopting, path, err);
    if (code == ERR_OK && rename(made, path) != 0) {
        code = err_set(err, ERR_IO, "cannot rename %s to %s", made, path);
    }
    code = code ? code : files_sync_parent(path, err);
    return code ? code : failpoint_fails("adopt.renamed", err);
}

static void
tell_result(const struct adopting *adopting)
{
    if (adopting->strays > 0) {
        cli_note(adopting->repairing->check->cli,
                 "%zu cold files that the list did not name, most of them about to be removed as "
                 "merged, are in quarantine/",
                 adopting->strays);
    }
    cli_note(adopting->repairing->check->cli,
             "a new database lists %zu cold files and knows %" PRIu64
             " series; gone are rows of records up to %" PRIu64 " that were not in cold files",
             adopting->manifest.count, adopting->series, adopting->lsn);
}

enum err_code
repair_adopt(const struct repairing *repairing, struct err *err)
{
    struct adopting adopting = {.repairing = repairing};

    snprintf(adopting.cold_dir, sizeof(adopting.cold_dir), "%.4000s/cold",
             repairing->check->config->data_dir);
    enum err_code code = cold_manifest_read(adopting.cold_dir, &adopting.manifest, err);
    if (code != ERR_OK) {
        return err_context(
            err, code, "the database cannot be made anew from the cold files; restore a backup");
    }
    code = read_log(&adopting, err);
    code = code ? code : read_series(&adopting, err);
    code = code ? code : choose_files(&adopting, err);
    if (code == ERR_OK) {
        choose_lsn(&adopting);
        code = make_database(&adopting, err);
    }
    if (code == ERR_OK) {
        tell_result(&adopting);
    }
    cold_names_fini(&adopting.expected);
    parquet_rows_fini(&adopting.parquet);
    free(adopting.named);
    free(adopting.verdicts);
    free(adopting.manifest.files);
    return code;
}
