/* Looks at every file of a data directory that is neither log nor database. Changes nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "catalog/batch.h"
#include "cli/check.h"
#include "store/cold.h"
#include "store/duckdb/duckdb_reader.h"
#include "store/engine.h"
#include "store/series_file.h"

static void
say(char *to, const char *text)
{
    snprintf(to, ERR_MSG_MAX, "%s", text);
}

/* ---- the list ---- */

static bool
read_row(const struct batch *rows, size_t row, struct cold_file *file)
{
    const struct catalog_table *table = catalog_find(batch_get_text(rows, 1, row));

    *file = (struct cold_file){.day = (int32_t)batch_get_i64(rows, 3, row),
                               .rows = (uint64_t)batch_get_i64(rows, 4, row),
                               .bytes = (uint64_t)batch_get_i64(rows, 5, row),
                               .min_us = batch_get_i64(rows, 7, row),
                               .max_us = batch_get_i64(rows, 8, row)};
    if (!table) {
        return false;
    }
    file->table = table->id;
    return cold_kind_parse(batch_get_text(rows, 2, row), &file->kind) &&
           slice_to_cstr(batch_get_text(rows, 0, row), file->name, sizeof(file->name)) &&
           slice_to_cstr(batch_get_text(rows, 6, row), file->checksum, sizeof(file->checksum));
}

void
check_cold_list(struct check *check, struct duckdb_reader *reader)
{
    static const char sql[] = "SELECT name, table_name, kind, day::BIGINT, rows, bytes, checksum, "
                              "min_us, max_us FROM eider_cold_files ORDER BY ALL";
    const struct batch *rows;
    struct err err = {0};
    enum err_code code = duckdb_reader_sql(reader, sql, &err);

    code = code ? code : duckdb_reader_next(reader, &rows, &err);
    check->cold_known = true;
    while (code == ERR_OK && rows->rows > 0) {
        check->cold = mem_resize(check->cold, check->cold_count + rows->rows, sizeof(*check->cold));
        for (size_t i = 0; i < rows->rows; i++) {
            struct cold_file file;
            if (read_row(rows, i, &file)) {
                check->cold[check->cold_count++] = file;
            } else {
                check->cold_known = false;
                check_add(check, "COLD_LIST_WRONG", SEVERITY_ERROR,
                          "row %zu of eider_cold_files names no file that there could be", i);
            }
        }
        code = duckdb_reader_next(reader, &rows, &err);
    }
    if (code != ERR_OK) {
        check->cold_known = false;
        check_add(check, "COLD_LIST_WRONG", SEVERITY_ERROR,
                  "the list of cold files cannot be read: %.400s", err.msg);
    }
    if (check->cold_count > 1) {
        qsort(check->cold, check->cold_count, sizeof(*check->cold), cold_file_compare);
    }
}

/* ---- cold files ---- */

static bool
is_listed(const struct check *check, const struct cold_file *file)
{
    return check->cold_count > 0 &&
           bsearch(file, check->cold, check->cold_count, sizeof(*check->cold), cold_file_compare);
}

static struct finding *
add_cold(struct check *check, const struct cold_file *file, const char *code,
         enum severity severity, const char *what)
{
    char relative[COLD_RELATIVE_MAX];
    struct finding *finding;

    cold_relative(file, relative);
    finding = check_add(check, code, severity, "cold/%s %s", relative, what);
    finding->file = *file;
    snprintf(finding->path, sizeof(finding->path), "%s/cold/%s", check->config->data_dir, relative);
    return finding;
}

/* The raw file has the name of its rollups; behind a rule that drops rows alone it is gone. */
static bool
has_raw(const struct check *check, const struct cold_file *file)
{
    struct cold_file raw = *file;

    raw.kind = COLD_RAW;
    return is_listed(check, &raw);
}

static void
tell_rollup(const struct check *check, struct finding *finding, const char *day)
{
    const char *name = catalog_table(finding->file.table)->name;

    if (has_raw(check, &finding->file)) {
        snprintf(finding->meaning, sizeof(finding->meaning),
                 "A rollup of %s of %s; its rows are all in the raw file, nothing is lost.", name,
                 day);
    } else {
        snprintf(finding->meaning, sizeof(finding->meaning),
                 "A rollup of %s of %s, and its rows are not there either: %s buckets of that day "
                 "are in no other place here.",
                 name, day, cold_kind_name(finding->file.kind));
    }
}

static struct finding *
tell_cold(struct check *check, const struct cold_file *file, const char *code, const char *what)
{
    char day[COLD_DAY_TEXT];
    struct finding *finding = add_cold(check, file, code, SEVERITY_ERROR, what);

    cold_day_format(file->day, day);
    finding->repair = REPAIR_COLD_FILE;
    if (file->kind == COLD_RAW) {
        snprintf(finding->meaning, sizeof(finding->meaning),
                 "%" PRIu64
                 " rows of %s of %s are in no other place here; queries of that day fail "
                 "until the next start, which goes on without them.",
                 file->rows, catalog_table(file->table)->name, day);
    } else {
        tell_rollup(check, finding, day);
    }
    say(finding->remedy, "takes the file from a backup (--from DIR) that has it; without one what "
                         "is there is set aside, and the next start takes the file off the list.");
    return finding;
}

/* A right that is missing, or a disk that fails: its bytes may be all right. */
static void
tell_unreadable(struct check *check, const struct cold_file *file, const struct err *err)
{
    struct finding *finding = tell_cold(check, file, "COLD_UNREADABLE", "cannot be read");

    finding->unreadable = true;
    snprintf(finding->meaning, sizeof(finding->meaning),
             "%.400s. Whether its rows are lost is not known; queries of that day fail.", err->msg);
    say(finding->remedy, "takes the file from a backup (--from DIR) that has it; without one the "
                         "file is left as it is.");
}

static void
check_cold_file(struct check *check, const struct cold_file *file)
{
    char dir[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    char sum[COLD_CHECKSUM_MAX];
    uint64_t bytes = 0;
    struct err err;

    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    cold_path(dir, file, path, sizeof(path));
    enum err_code code = cold_checksum(path, sum, &bytes, &err);
    if (code == ERR_NOT_FOUND) {
        tell_cold(check, file, "COLD_MISSING", "is missing");
    } else if (code != ERR_OK) {
        tell_unreadable(check, file, &err);
    } else if (bytes != file->bytes || strcmp(sum, file->checksum) != 0) {
        tell_cold(check, file, "COLD_DAMAGED", "is not what was written: its checksum is wrong");
    } else {
        check->cold_good++;
        check->cold_bytes += bytes;
    }
}

/* ---- files that a start took off the list ---- */

/* Its name and checksum stand in cold/missing.json, so a backup's copy can still be listed again.
 */
static struct finding *
tell_given_up(struct check *check, const struct cold_file *file, const char *what)
{
    bool harmless = file->kind != COLD_RAW && has_raw(check, file);
    char day[COLD_DAY_TEXT];
    struct finding *finding =
        add_cold(check, file, "COLD_GIVEN_UP", harmless ? SEVERITY_WARNING : SEVERITY_ERROR, what);

    cold_day_format(file->day, day);
    finding->repair = REPAIR_GIVEN_UP;
    if (file->kind == COLD_RAW) {
        snprintf(finding->meaning, sizeof(finding->meaning),
                 "%" PRIu64 " rows of %s of %s are in no other place here; queries of that day "
                 "answer without them.",
                 file->rows, catalog_table(file->table)->name, day);
    } else {
        tell_rollup(check, finding, day);
    }
    snprintf(
        finding->remedy, sizeof(finding->remedy),
        "takes the file from a backup (--from DIR) that has it, and it is listed again%s. When "
        "no backup has it: \"eider check --repair --forget-missing\" accepts that it is lost, "
        "and it is not told any more.",
        file->kind == COLD_RAW ? " unless rows of it were written again meanwhile"
        : harmless             ? ""
                               : " with its raw file, or alone when retention dropped that and "
                                 "no other rows of the day came");
    return finding;
}

/* Whole, and not on the list: a start lists it, or has its reasons. */
static void
tell_back(struct check *check, const struct cold_file *file)
{
    bool harmless = file->kind != COLD_RAW && has_raw(check, file);
    const char *why = NULL;
    char day[COLD_DAY_TEXT];
    struct finding *finding =
        add_cold(check, file, "COLD_BACK", harmless ? SEVERITY_WARNING : SEVERITY_ERROR,
                 "was missing and is there again, but not listed");

    for (size_t i = 0; check->refusals && i < check->refusals->count; i++) {
        if (cold_file_compare(&check->refusals->at[i].file, file) == 0) {
            why = check->refusals->at[i].why;
        }
    }
    cold_day_format(file->day, day);
    finding->repair = REPAIR_BACK;
    if (why) {
        size_t len = strlen(finding->what);
        snprintf(finding->what + len, sizeof(finding->what) - len, ": %s", why);
    }
    snprintf(finding->meaning, sizeof(finding->meaning),
             "No query reads its %" PRIu64 " rows of %s%s of %s.", file->rows,
             catalog_table(file->table)->name, cold_kind_suffix(file->kind), day);
    say(finding->remedy,
        "lists it again, as the next start does, or says why not: rows of it may have been written "
        "again meanwhile, and would be there twice. Then \"eider check --repair --forget-missing\" "
        "moves it to quarantine/, goes on without those of its rows that were not written again, "
        "and tells no more of it.");
}

static void
check_given_up(struct check *check, const struct cold_file *file)
{
    char dir[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    char sum[COLD_CHECKSUM_MAX];
    uint64_t bytes = 0;
    struct err err;

    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    cold_path(dir, file, path, sizeof(path));
    enum err_code code = cold_checksum(path, sum, &bytes, &err);
    if (code == ERR_NOT_FOUND) {
        tell_given_up(check, file, "is missing, and was taken off the list");
        return;
    }
    if (code != ERR_OK) {
        struct finding *unread =
            tell_given_up(check, file, "was taken off the list, and cannot be read");
        unread->unreadable = true;
        snprintf(unread->meaning, sizeof(unread->meaning),
                 "%.400s. Whether its rows are lost is not known; queries of that day answer "
                 "without them.",
                 err.msg);
        return;
    }
    if (bytes != file->bytes || strcmp(sum, file->checksum) != 0) {
        tell_given_up(check, file, "is not what was written, and was taken off the list");
        return;
    }
    tell_back(check, file);
}

/* Of files that a database which lost records did not list, the name alone is known. */
static void
check_named(struct check *check, const char *relative)
{
    char path[FILES_PATH_MAX];
    struct cold_file file;

    snprintf(path, sizeof(path), "%.4000s/cold/%s", check->config->data_dir, relative);
    if (!cold_parse_relative(slice_of(relative), &file) || is_listed(check, &file) ||
        access(path, F_OK) == 0) {
        return;
    }
    struct finding *finding =
        add_cold(check, &file, "COLD_GIVEN_UP", SEVERITY_ERROR,
                 "was kept for rows that may be nowhere else, and is missing");
    finding->repair = REPAIR_FORGET;
    say(finding->meaning, "Which rows it had is not known.");
    say(finding->remedy, "does nothing by itself: restore a backup, or put the file back by hand. "
                         "\"eider check --repair --forget-missing\" accepts that it is lost.");
}

static void
check_missing(struct check *check)
{
    struct cold_manifest missing = {0};
    struct cold_names dropped COLD_NAMES_AUTO = {0};
    struct cold_names told COLD_NAMES_AUTO = {0};
    struct cold_names names COLD_NAMES_AUTO = {0};
    char dir[FILES_PATH_MAX];
    struct err err;

    if (!check->cold_known || check->database_empty) {
        return; /* then what is made of the files is told elsewhere */
    }
    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    enum err_code code = cold_missing_read(dir, &missing, &err);
    bool known = code == ERR_OK || code == ERR_NOT_FOUND || code == ERR_CORRUPT;
    code = known ? cold_ledger_read(dir, COLD_DROPPED, &dropped, &err) : code;
    code = code ? code : cold_ledger_read(dir, COLD_MISSING, &names, &err);
    if (code != ERR_OK) {
        check_add(check, "COLD_LIST_WRONG", SEVERITY_ERROR,
                  "which cold files were given up cannot be read: %.400s", err.msg);
        free(missing.files);
        return;
    }
    for (size_t i = 0; i < missing.count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&missing.files[i], relative);
        cold_names_add(&told, relative);
        if (!is_listed(check, &missing.files[i]) && !cold_names_has(&dropped, relative)) {
            check_given_up(check, &missing.files[i]);
        }
    }
    cold_names_sort(&told);
    for (size_t i = 0; i < names.count; i++) {
        if (!cold_names_has(&told, names.names[i]) && !cold_names_has(&dropped, names.names[i])) {
            check_named(check, names.names[i]);
        }
    }
    free(missing.files);
}

struct orphans {
    struct check *check;
    struct cold_names listed; /* by the database, a snapshot, or ledger of the missing */
};

static enum err_code
check_orphan(void *ctx, const struct cold_file *file, struct err *err)
{
    struct orphans *orphans = ctx;
    char relative[COLD_RELATIVE_MAX];

    (void)err;
    cold_relative(file, relative);
    if (cold_names_has(&orphans->listed, relative)) {
        return ERR_OK;
    }
    struct finding *finding = check_add(orphans->check, "COLD_ORPHAN", SEVERITY_WARNING,
                                        "cold/%s is listed by nobody", relative);
    finding->repair = REPAIR_SET_ASIDE;
    snprintf(finding->path, sizeof(finding->path), "%s/cold/%s", orphans->check->config->data_dir,
             relative);
    say(finding->meaning,
        "It was left by a crash, or waits to be collected. No query reads it, and "
        "nothing is lost.");
    say(finding->remedy, "moves it to quarantine/.");
    return ERR_OK;
}

/* Files that a kept snapshot lists are needed, should the database be lost. */
static void
add_sidecars(struct check *check, struct cold_names *listed)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char dir[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    struct err ignored;

    snprintf(dir, sizeof(dir), "%.4000s/backup", check->config->data_dir);
    if (files_list(dir, &names, &ignored) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < names.count; i++) {
        if (slice_ends(slice_of(names.at[i]), ".cold") &&
            files_join(dir, names.at[i], path, &ignored) == ERR_OK) {
            cold_sidecar_read(path, listed, &ignored);
        }
    }
}

static void
check_orphans(struct check *check)
{
    struct orphans orphans = {.check = check};
    char dir[FILES_PATH_MAX];
    struct err ignored;

    if (!check->cold_known || check->database_empty) {
        return; /* then nothing is listed, and everything is needed */
    }
    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    cold_names_init(&orphans.listed);
    for (size_t i = 0; i < check->cold_count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&check->cold[i], relative);
        cold_names_add(&orphans.listed, relative);
    }
    add_sidecars(check, &orphans.listed);
    if (cold_ledger_read(dir, COLD_MISSING, &orphans.listed, &ignored) == ERR_OK) {
        cold_names_sort(&orphans.listed);
        cold_walk(dir, check_orphan, &orphans, &ignored);
    }
    cold_names_fini(&orphans.listed);
}

static void
check_cold_manifest(struct check *check)
{
    struct cold_manifest manifest = {0};
    char dir[FILES_PATH_MAX];
    struct err err;

    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    enum err_code code = cold_manifest_read(dir, &manifest, &err);
    check->has_manifest = code == ERR_OK && manifest.count > 0;
    free(manifest.files);
    if (code == ERR_OK || (code == ERR_NOT_FOUND && check->cold_count == 0)) {
        return;
    }
    struct finding *finding =
        check_add(check, "COLD_MANIFEST", SEVERITY_WARNING, "%s",
                  code == ERR_NOT_FOUND ? "there is no cold/manifest.json, the copy of the list of "
                                          "cold files; the next start writes it"
                                        : err.msg);
    finding->repair = check->has_database ? REPAIR_OPEN : REPAIR_NONE;
    say(finding->meaning, "It is a copy of the database's list; no query reads it.");
    say(finding->remedy, "writes it anew, as the next start does.");
}

/* ---- definitions of series ---- */

static void
check_series(struct check *check)
{
    struct series_summary summary = {0};
    char dir[FILES_PATH_MAX];
    struct err err;

    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    enum err_code code = series_file_read(dir, NULL, NULL, &summary, &err);
    check->series = code == ERR_OK ? summary.series : 0;
    if (code == ERR_NOT_FOUND || (code == ERR_OK && summary.damaged == 0)) {
        return;
    }
    struct finding *finding =
        check_add(check, "SERIES_DAMAGED", SEVERITY_WARNING, "cold/" SERIES_FILE ": %.300s",
                  code ? err.msg : "parts of it are not what was written");
    finding->repair = check->has_database ? REPAIR_OPEN : REPAIR_NONE;
    say(finding->meaning, "It is a copy of the definitions of series, for the case that database "
                          "and snapshots are lost; no query reads it.");
    say(finding->remedy, "moves it to quarantine/ and writes it anew, as the next start does; "
                         "without a database what can be read of it is used.");
}

/* ---- snapshots, quarantine ---- */

static void
check_snapshot(struct check *check, const char *name)
{
    char path[FILES_PATH_MAX];
    struct duckdb_reader *reader = NULL;
    struct err err;

    snprintf(path, sizeof(path), "%.3000s/backup/%.200s", check->config->data_dir, name);
    if (duckdb_reader_open(path, DUCKDB_FILE_DATABASE, &reader, &err) == ERR_OK) {
        duckdb_reader_close(reader);
        check->snapshots++;
        check->snapshot_lsn = strtoull(name + strlen("eider-"), NULL, 10);
        return;
    }
    struct finding *finding = check_add(check, "SNAPSHOT_DAMAGED", SEVERITY_WARNING,
                                        "backup/%s does not open: %.200s", name, err.msg);
    finding->repair = REPAIR_SET_ASIDE;
    snprintf(finding->path, sizeof(finding->path), "%s", path);
    say(finding->meaning, "It is a spare copy. While the database opens nothing is lost; should it "
                          "be lost too, the older copy and the log make up for it.");
    say(finding->remedy, "moves it to quarantine/; the server makes a new one by itself.");
}

static void
check_snapshots(struct check *check)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char dir[FILES_PATH_MAX];
    struct err ignored;

    snprintf(dir, sizeof(dir), "%.4000s/backup", check->config->data_dir);
    if (files_list(dir, &names, &ignored) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < names.count; i++) {
        struct slice name = slice_of(names.at[i]);
        if (slice_starts(name, "eider-") && slice_ends(name, ".duckdb")) {
            check_snapshot(check, names.at[i]);
        }
    }
}

static void
check_quarantine(struct check *check)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char path[FILES_PATH_MAX];
    struct err ignored;

    snprintf(path, sizeof(path), "%.4000s/quarantine", check->config->data_dir);
    if (files_list(path, &names, &ignored) == ERR_OK && names.count > 0) {
        struct finding *finding =
            check_add(check, "QUARANTINE", SEVERITY_NOTE, "quarantine/ holds %zu, the newest %s",
                      names.count, names.at[names.count - 1]);
        say(finding->meaning, "Files that were set aside, and record-<lsn>.bin: acknowledged "
                              "records that the database could not take.");
        say(finding->remedy, "leaves them; remove what you need no more by hand.");
    }
    snprintf(path, sizeof(path), "%.4000s/%s", check->config->data_dir, ENGINE_UNFINISHED);
    if (access(path, F_OK) == 0) {
        struct finding *finding = check_add(check, "RESTORE_UNFINISHED", SEVERITY_ERROR,
                                            "a restore into this directory has not ended");
        say(finding->meaning, "What is here is half a database; no server opens it.");
        say(finding->remedy, "does nothing: run the same \"eider restore\" again, it starts over.");
    }
}

static enum err_code
note_cold(void *ctx, const struct cold_file *file, struct err *err)
{
    (void)file;
    (void)err;
    ((struct check *)ctx)->has_cold = true;
    return ERR_OK;
}

/* What the engine asks itself before it begins with an empty database. */
static void
judge_base(struct check *check)
{
    char dir[FILES_PATH_MAX];
    struct err ignored;

    snprintf(dir, sizeof(dir), "%.4000s/cold", check->config->data_dir);
    cold_walk(dir, note_cold, check, &ignored);
    check->log_whole =
        !check->log_damaged && (check->records > 0 ? check->first_lsn <= 1 : !check->has_cold);
    check->database_empty =
        check->has_database && check->applied_lsn == 0 && check->has_cold && !check->log_whole;
}

void
check_files(struct check *check)
{
    judge_base(check);
    for (size_t i = 0; i < check->cold_count; i++) {
        check_cold_file(check, &check->cold[i]);
    }
    check_missing(check);
    check_orphans(check);
    /* Files beside another kind of store are of a DuckDB database, which was not looked at. */
    if (check->config->storage.type == CONFIG_STORAGE_DUCKDB) {
        check_cold_manifest(check);
    }
    check_series(check);
    check_snapshots(check);
    check_quarantine(check);
}
