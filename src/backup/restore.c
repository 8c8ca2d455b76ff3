/*
 * The way back: a new data directory of a backup and the log behind it. The directory is marked
 * before the first file and the mark is the last thing to go, so that whatever is cut short is
 * refused by a start and begun again by the next restore.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backup/private.h"
#include "base/mem.h"
#include "codec/time.h"
#include "store/cold.h"
#include "store/failpoint.h"
#include "wal/wal_format.h"

enum {
    LOGS_MAX = 40,
    EVENT_BYTES = 600,
    LOCK_MODE = 0640,
    APPLY_MS = 24 * 3600 * 1000,
    WANTED_MAX = 64
};

struct restoring {
    const struct restore_options *options;
    struct manifest manifest;
    struct restore_result result;
    struct replay_result log;
    char *logs[LOGS_MAX + 1];
    size_t log_count;
    char cold_dir[FILES_PATH_MAX];
    char wal_dir[FILES_PATH_MAX];
    int lock_fd;
};

static void __attribute__((format(printf, 2, 3)))
tell(const struct restoring *restoring, const char *fmt, ...)
{
    char text[EVENT_BYTES];
    va_list ap;

    if (restoring->options->event) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        restoring->options->event(restoring->options->ctx, false, text);
    }
}

/* ---- which backup ---- */

static bool
is_wanted(const struct restore_options *options, const struct manifest *manifest)
{
    return (!options->has_lsn || manifest->lsn <= options->to_lsn) &&
           (!options->has_time || manifest->taken_us <= options->to_us);
}

static const char *
wanted(const struct restore_options *options, char ret_text[WANTED_MAX])
{
    char time[TIME_TEXT_MAX];

    if (options->has_lsn) {
        snprintf(ret_text, WANTED_MAX, "LSN %" PRIu64, options->to_lsn);
    } else {
        time_format_iso8601(options->to_us, time);
        snprintf(ret_text, WANTED_MAX, "%s", time);
    }
    return ret_text;
}

/* The backup that was named; it must not be behind what is wanted. */
static enum err_code
choose_named(struct restoring *restoring, const struct files_names *ids, struct err *err)
{
    const struct restore_options *options = restoring->options;
    size_t i = 0;

    while (i < ids->count && strcmp(options->id, ids->at[i]) != 0) {
        i++;
    }
    if (i == ids->count) {
        return err_set(err, ERR_NOT_FOUND, "there is no backup %s in %s", options->id,
                       options->dir);
    }
    enum err_code code = manifest_read(options->dir, options->id, &restoring->manifest, err);
    if (code == ERR_OK && !is_wanted(options, &restoring->manifest)) {
        char what[WANTED_MAX];
        char taken[TIME_TEXT_MAX];
        time_format_iso8601(restoring->manifest.taken_us, taken);
        code = err_set(err, ERR_INVALID,
                       "backup %s is at LSN %" PRIu64 ", taken %s, behind %s, which is wanted: "
                       "take an earlier one",
                       options->id, restoring->manifest.lsn, taken, wanted(options, what));
    }
    return code;
}

/* What the directory begins with: no older state can be had. */
struct oldest {
    char id[MANIFEST_ID_MAX];
    uint64_t lsn;
    int64_t taken_us;
};

static void
note_oldest(const struct restore_options *options, const struct manifest *manifest,
            struct oldest *oldest)
{
    bool older =
        options->has_time ? manifest->taken_us < oldest->taken_us : manifest->lsn < oldest->lsn;

    if (!oldest->id[0] || older) {
        memcpy(oldest->id, manifest->id, sizeof(oldest->id));
        oldest->lsn = manifest->lsn;
        oldest->taken_us = manifest->taken_us;
    }
}

static enum err_code
none_found(const struct restore_options *options, const struct oldest *oldest, struct err *err)
{
    char what[WANTED_MAX];
    char taken[TIME_TEXT_MAX];

    if (!oldest->id[0]) {
        return err_set(err, ERR_NOT_FOUND, "there is no backup in %s", options->dir);
    }
    time_format_iso8601(oldest->taken_us, taken);
    return err_set(err, ERR_NOT_FOUND,
                   "no backup in %s is old enough for %s: the oldest, %s, is at LSN %" PRIu64
                   ", taken %s",
                   options->dir, wanted(options, what), oldest->id, oldest->lsn, taken);
}

/* An earlier one that can be read, for whoever asks for the newest and it is damaged. Whose the
 * damaged one was cannot be known, and others may keep theirs in the same directory. */
static enum err_code
newest_unreadable(const struct restore_options *options, const struct files_names *ids, size_t at,
                  struct err *err)
{
    for (size_t i = at; i > 0; i--) {
        struct manifest manifest MANIFEST_AUTO = {0};
        struct err ignored;
        if (manifest_read(options->dir, ids->at[i - 1], &manifest, &ignored) == ERR_OK &&
            is_wanted(options, &manifest)) {
            return err_context(err, err->code,
                               "an earlier backup is %s (LSN %" PRIu64
                               ", of the database %s): if that is the one, take it with "
                               "--from %s/%s; whose the newest was cannot be read",
                               manifest.id, manifest.lsn, manifest.database_id, options->dir,
                               manifest.id);
        }
    }
    return err->code;
}

/* The newest backup that is not behind what is wanted, of the database of the last one that is. */
static enum err_code
choose_newest(struct restoring *restoring, const struct files_names *ids, struct err *err)
{
    const struct restore_options *options = restoring->options;
    struct oldest oldest = {.lsn = 0};
    bool found = false;
    bool mixed = false;

    for (size_t i = ids->count; i > 0; i--) {
        struct manifest manifest = {0};
        struct err unreadable;
        if (manifest_read(options->dir, ids->at[i - 1], &manifest, &unreadable) != ERR_OK) {
            if (found) {
                continue; /* an older one: it is not missed */
            }
            *err = unreadable;
            return newest_unreadable(options, ids, i - 1, err);
        }
        note_oldest(options, &manifest, &oldest);
        if (!is_wanted(options, &manifest)) {
            manifest_fini(&manifest);
            continue;
        }
        bool same = !found || strcmp(manifest.database_id, restoring->manifest.database_id) == 0;
        mixed = mixed || !same;
        /* Of one database the higher LSN is the newer one, whatever the clock said. */
        if (same && (!found || manifest.lsn > restoring->manifest.lsn)) {
            manifest_fini(&restoring->manifest);
            restoring->manifest = manifest;
        } else {
            manifest_fini(&manifest);
        }
        found = true;
    }
    if (mixed && options->event) {
        options->event(options->ctx, true,
                       "the directory has backups of several databases; the newest is taken. "
                       "Name another with --from DIR/ID, \"eider backup --list\" shows them");
    }
    return found ? ERR_OK : none_found(options, &oldest, err);
}

static enum err_code
choose(struct restoring *restoring, struct err *err)
{
    struct files_names ids FILES_NAMES_AUTO = {0};
    enum err_code code = pool_ids(restoring->options->dir, &ids, err);

    if (code != ERR_OK) {
        return code;
    }
    return restoring->options->id ? choose_named(restoring, &ids, err)
                                  : choose_newest(restoring, &ids, err);
}

/* The latest of the earlier ones of this database that is whole: days that did not change are files
 * of both. To know that, they are read, one after the other. */
static enum err_code
name_whole(const struct restoring *restoring, struct err *err)
{
    const struct restore_options *options = restoring->options;
    struct files_names ids FILES_NAMES_AUTO = {0};
    struct err ignored;

    if (pool_ids(options->dir, &ids, &ignored) != ERR_OK) {
        return err->code;
    }
    for (size_t i = ids.count; i > 0; i--) {
        struct manifest manifest MANIFEST_AUTO = {0};
        struct backup_verified verified;
        const struct backup_verify verify = {
            .dir = options->dir, .id = ids.at[i - 1], .rows = options->rows, .ctx = options->ctx};
        if (manifest_read(options->dir, ids.at[i - 1], &manifest, &ignored) != ERR_OK ||
            strcmp(manifest.database_id, restoring->manifest.database_id) != 0 ||
            manifest.lsn >= restoring->manifest.lsn) {
            continue;
        }
        tell(restoring, "it is damaged; whether the earlier %s is whole is looked at", manifest.id);
        if (backup_verify(&verify, &verified, &ignored) == ERR_OK) {
            return err_context(err, err->code,
                               "the last backup before it that is whole is %s (LSN %" PRIu64
                               "), take it with --from %s/%s; of %s",
                               manifest.id, manifest.lsn, options->dir, manifest.id,
                               restoring->manifest.id);
        }
    }
    return err_context(err, err->code, "no earlier backup is whole; of %s", restoring->manifest.id);
}

static enum err_code
verify(struct restoring *restoring, struct err *err)
{
    const struct restore_options *options = restoring->options;
    const struct backup_verify verify = {.dir = options->dir,
                                         .id = restoring->manifest.id,
                                         .rows = options->rows,
                                         .damage = options->damage,
                                         .ctx = options->ctx};
    struct backup_verified verified;

    tell(restoring, "backup %s is read and checked", restoring->manifest.id);
    enum err_code code = backup_verify(&verify, &verified, err);
    return code == ERR_CORRUPT ? name_whole(restoring, err) : code;
}

/* ---- where the log is ---- */

static void
add_log(struct restoring *restoring, const char *dir)
{
    if (restoring->log_count < LOGS_MAX) {
        restoring->logs[restoring->log_count++] = mem_strdup(slice_of(dir));
        restoring->logs[restoring->log_count] = NULL;
    }
}

/* Somebody who names a log wants it, and would not see that there was none. */
static void
tell_empty(const struct restoring *restoring, const char *dir)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    struct err ignored;
    bool found = false;
    uint64_t seq;

    if (!restoring->options->event || files_list(dir, &names, &ignored) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < names.count && !found; i++) {
        found = wal_name_parse(names.at[i], &seq);
    }
    if (!found) {
        char text[EVENT_BYTES];
        snprintf(text, sizeof(text), "%.300s has no segments of the log of database %s", dir,
                 restoring->manifest.database_id);
        restoring->options->event(restoring->options->ctx, true, text);
    }
}

/* An archive, one database of it, a data directory, or its wal/: each is understood. The log of
 * another database is refused, for its numbers mean other records. */
static enum err_code
find_log(struct restoring *restoring, const char *dir, struct err *err)
{
    const char *id = restoring->manifest.database_id;
    char path[FILES_PATH_MAX];
    char found[ID_UUID_LEN + 1];
    char parent[FILES_PATH_MAX];
    enum err_code code = files_join(dir, id, path, err);

    if (code != ERR_OK) {
        return code;
    }
    if (access(dir, R_OK | X_OK) != 0) {
        return err_sys(err, errno, "cannot read the log in %s", dir);
    }
    if (access(path, F_OK) == 0) {
        add_log(restoring, path);
        return ERR_OK;
    }
    snprintf(parent, sizeof(parent), "%.4000s/..", dir);
    bool has_wal = files_join(dir, "wal", path, err) == ERR_OK && access(path, F_OK) == 0;
    code = backup_database_id(has_wal ? dir : parent, false, restoring->options->clock, found, err);
    if (code == ERR_OK && strcmp(found, id) != 0) {
        return err_set(err, ERR_CONFLICT, "%s is the log of database %s, and the backup is of %s",
                       dir, found, id);
    }
    if (code != ERR_OK && code != ERR_NOT_FOUND) {
        return code;
    }
    add_log(restoring, has_wal ? path : dir);
    tell_empty(restoring, has_wal ? path : dir);
    return ERR_OK;
}

static enum err_code
stage_log(struct restoring *restoring, bool dry_run, struct err *err)
{
    const struct restore_options *options = restoring->options;
    const struct replay replay = {.logs = (const char *const *)restoring->logs,
                                  .staging = restoring->wal_dir,
                                  .from_lsn = restoring->manifest.lsn + 1,
                                  .has_lsn = options->has_lsn,
                                  .to_lsn = options->to_lsn,
                                  .has_time = options->has_time,
                                  .to_us = options->to_us,
                                  .dry_run = dry_run};

    return replay_stage(&replay, &restoring->log, err);
}

/* ---- the new directory ---- */

static enum err_code
mark_path(const struct restoring *restoring, char ret_path[FILES_PATH_MAX], struct err *err)
{
    return files_join(restoring->options->data_dir, ENGINE_UNFINISHED, ret_path, err);
}

/* Held until the engine takes it: two restores into one directory would mix. */
static enum err_code
lock_target(struct restoring *restoring, struct err *err)
{
    char path[FILES_PATH_MAX];
    enum err_code code = files_join(restoring->options->data_dir, "lock", path, err);

    if (code != ERR_OK) {
        return code;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return err_set(err, ERR_CONFLICT, "another process has %s", restoring->options->data_dir);
    }
    restoring->lock_fd = fd;
    return ERR_OK;
}

static void
unlock_target(struct restoring *restoring)
{
    if (restoring->lock_fd >= 0) {
        close(restoring->lock_fd);
    }
    restoring->lock_fd = -1;
}

static bool
is_kept(const char *name)
{
    return strcmp(name, "lock") == 0 || strcmp(name, ENGINE_UNFINISHED) == 0;
}

/* Empty but for a lock, or what an earlier restore left. */
static enum err_code
check_target(const struct restoring *restoring, bool *ret_marked, struct err *err)
{
    const char *dir = restoring->options->data_dir;
    struct files_names names FILES_NAMES_AUTO = {0};
    char mark[FILES_PATH_MAX];
    enum err_code code = mark_path(restoring, mark, err);

    code = code ? code : files_list(dir, &names, err);
    if (code != ERR_OK) {
        return code;
    }
    *ret_marked = access(mark, F_OK) == 0;
    for (size_t i = 0; i < names.count && !*ret_marked; i++) {
        if (!is_kept(names.at[i])) {
            return err_set(err, ERR_CONFLICT,
                           "%s is not empty (%s is in it): a backup is restored into a new "
                           "directory; move the old one away first",
                           dir, names.at[i]);
        }
    }
    return ERR_OK;
}

static enum err_code
start_over(const struct restoring *restoring, struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    enum err_code code = files_list(restoring->options->data_dir, &names, err);

    for (size_t i = 0; code == ERR_OK && i < names.count; i++) {
        char path[FILES_PATH_MAX];
        if (!is_kept(names.at[i])) {
            code = files_join(restoring->options->data_dir, names.at[i], path, err);
            code = code ? code : files_remove_tree(path, err);
        }
    }
    return code;
}

static enum err_code
prepare_target(struct restoring *restoring, struct err *err)
{
    const char *dir = restoring->options->data_dir;
    static const char text[] =
        "A restore into this directory has not ended. Run it again: it starts over.\n";
    char mark[FILES_PATH_MAX];
    char tmp[FILES_PATH_MAX];
    bool marked = false;
    enum err_code code = check_target(restoring, &marked, err);

    code = code ? code : files_make_dirs(dir, err);
    code = code ? code : lock_target(restoring, err);
    code = code ? code : check_target(restoring, &marked, err); /* now that nobody else may */
    code = code ? code : mark_path(restoring, mark, err);
    code = code ? code : files_write(mark, SLICE_LITERAL(text), err);
    code = code ? code : failpoint_fails("restore.marked", err);
    if (code == ERR_OK && marked) {
        tell(restoring, "an earlier restore into %s did not end; it is started over", dir);
        code = start_over(restoring, err);
    }
    code = code ? code : files_join(restoring->cold_dir, "tmp", tmp, err);
    return code ? code : files_make_dirs(tmp, err);
}

/* ---- rows and cold files ---- */

static enum err_code
import_hot(const struct restoring *restoring, struct store *store, const struct manifest_file *file,
           struct err *err)
{
    char relative[MANIFEST_PATH_MAX];
    char from[FILES_PATH_MAX];
    char staged[FILES_PATH_MAX];
    uint64_t rows = 0;

    manifest_pool_path(file, relative);
    enum err_code code = files_join(restoring->options->dir, relative, from, err);
    code = code ? code : files_join(restoring->cold_dir, "tmp/import.parquet", staged, err);
    code = code ? code : files_link_or_copy(from, staged, err);
    code = code ? code : store_import_rows(store, file->file.table, staged, &rows, err);
    unlink(staged);
    if (code == ERR_OK && rows != file->file.rows) {
        code = err_set(err, ERR_CORRUPT, "%s gave %" PRIu64 " rows, the manifest says %" PRIu64,
                       from, rows, file->file.rows);
    }
    return code ? code : failpoint_fails("restore.rows", err);
}

static enum err_code
place_cold(const struct restoring *restoring, const struct manifest_file *file, struct err *err)
{
    char relative[MANIFEST_PATH_MAX];
    char from[FILES_PATH_MAX];
    char to[FILES_PATH_MAX];
    char dir[FILES_PATH_MAX];

    manifest_pool_path(file, relative);
    enum err_code code = files_join(restoring->options->dir, relative, from, err);
    cold_relative(&file->file, relative);
    code = code ? code : files_join(restoring->cold_dir, relative, to, err);
    if (code == ERR_OK) {
        snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(to, '/') - to), to);
        code = files_make_dirs(dir, err);
    }
    code = code ? code : files_link_or_copy(from, to, err);
    code = code ? code : files_sync_dir(dir, err);
    return code ? code : failpoint_fails("restore.cold", err);
}

static enum err_code
import_files(struct restoring *restoring, struct store *store, struct err *err)
{
    const struct manifest *manifest = &restoring->manifest;
    struct cold_file *cold = mem_zalloc(manifest->file_count + 1, sizeof(*cold));
    size_t cold_count = 0;
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < manifest->file_count && code == ERR_OK; i++) {
        const struct manifest_file *file = &manifest->files[i];
        if (file->cold) {
            cold[cold_count++] = file->file;
            code = place_cold(restoring, file, err);
        } else {
            code = import_hot(restoring, store, file, err);
        }
    }
    if (code == ERR_OK) {
        const struct store_export_moment moment = {.lsn = manifest->lsn,
                                                   .schema = manifest->schema,
                                                   .files = cold,
                                                   .file_count = cold_count};
        code = store_import_end(store, &moment, err);
    }
    restoring->result.cold_files = cold_count;
    free(cold);
    return code ? code : failpoint_fails("restore.lsn", err);
}

static enum err_code
import_all(struct restoring *restoring, struct err *err)
{
    struct store_open_options options = restoring->options->store;
    struct store *store = NULL;
    char path[FILES_PATH_MAX];
    enum err_code code =
        files_join(restoring->options->data_dir, restoring->options->store_file, path, err);

    if (code != ERR_OK) {
        return code;
    }
    tell(restoring, "rows and cold files of %s, %zu files", restoring->manifest.id,
         restoring->manifest.file_count);
    options.path = path;
    code = restoring->options->store_open(&options, &store, err);
    if (code == ERR_OK && !store_has_export(store)) {
        code = err_set(err, ERR_UNSUPPORTED, "only a DuckDB store can be restored into");
    }
    code = code ? code : import_files(restoring, store, err);
    store_close(store);
    return code;
}

/* ---- the log behind it ---- */

static enum err_code
count_rows(struct restoring *restoring, struct engine *engine, struct err *err)
{
    const struct catalog_table *table;
    enum err_code code = ERR_OK;

    for (size_t i = 0; (table = catalog_at(i)) && code == ERR_OK; i++) {
        struct store_table_stats stats;
        if (table->kind != TABLE_VIEW) {
            code = engine_table_stats(engine, table->id, &stats, err);
            restoring->result.rows[table->id] = code ? 0 : stats.rows;
        }
    }
    return code;
}

static enum err_code
apply_log(struct restoring *restoring, struct err *err)
{
    const struct restore_options *options = restoring->options;
    const struct engine_options engine_options = {.data_dir = options->data_dir,
                                                  .store_file = options->store_file,
                                                  .store_open = options->store_open,
                                                  .store = options->store,
                                                  .unfinished = true,
                                                  .event = options->event,
                                                  .event_ctx = options->ctx,
                                                  .clock = options->clock};
    struct engine *engine = NULL;
    uint64_t lsn = restoring->log.last_lsn;

    if (lsn > restoring->manifest.lsn) {
        tell(restoring, "records %" PRIu64 " to %" PRIu64 " of the log",
             restoring->manifest.lsn + 1, lsn);
    }
    unlock_target(restoring);
    enum err_code code = engine_open(&engine_options, &engine, err);
    if (code != ERR_OK) {
        return code;
    }
    code = lsn > 0 ? engine_wait_applied(engine, lsn, APPLY_MS, err) : ERR_OK;
    code = code ? code : engine_checkpoint(engine, APPLY_MS, err);
    code = code ? code : count_rows(restoring, engine, err);
    engine_close(engine);
    return code ? code : failpoint_fails("restore.applied", err);
}

static enum err_code
finish(struct restoring *restoring, struct err *err)
{
    char mark[FILES_PATH_MAX];
    enum err_code code = mark_path(restoring, mark, err);

    if (code == ERR_OK && unlink(mark) != 0) {
        code = err_sys(err, errno, "cannot remove %s", mark);
    }
    return code ? code : files_sync_dir(restoring->options->data_dir, err);
}

static enum err_code
check_schema(const struct restoring *restoring, struct err *err)
{
    if (strcmp(restoring->manifest.store_type, "duckdb") != 0) {
        return err_set(err, ERR_UNSUPPORTED, "backup %s is of a %s store", restoring->manifest.id,
                       restoring->manifest.store_type);
    }
    return ERR_OK;
}

static enum err_code
plan(struct restoring *restoring, struct err *err)
{
    const struct restore_options *options = restoring->options;
    enum err_code code = choose(restoring, err);

    code = code ? code : check_schema(restoring, err);
    for (size_t i = 0; options->logs && options->logs[i] && code == ERR_OK; i++) {
        code = find_log(restoring, options->logs[i], err);
    }
    code = code ? code : files_join(options->data_dir, "cold", restoring->cold_dir, err);
    code = code ? code : files_join(options->data_dir, "wal", restoring->wal_dir, err);
    code = code ? code : verify(restoring, err);
    /* Read once before anything is made: a gap in the log is told while nothing has happened. */
    return code ? code : stage_log(restoring, true, err);
}

static void
note_plan(struct restoring *restoring)
{
    struct restore_result *result = &restoring->result;
    struct manifest_sums sums;

    memcpy(result->id, restoring->manifest.id, sizeof(result->id));
    result->backup_lsn = restoring->manifest.lsn;
    result->backup_us = restoring->manifest.taken_us;
    result->lsn = restoring->log.last_lsn;
    result->last_us = restoring->log.last_us ? restoring->log.last_us : result->backup_us;
    result->log_end_lsn = restoring->log.log_end_lsn;
    result->is_open = restoring->options->has_time && !restoring->log.went_on;
    manifest_sum(&restoring->manifest, &sums);
    memcpy(result->rows, sums.rows, sizeof(result->rows));
}

enum err_code
backup_restore(const struct restore_options *options, struct restore_result *ret_result,
               struct err *err)
{
    struct restoring restoring = {.options = options, .lock_fd = -1};
    int64_t begun_us = clock_mono_us(options->clock);
    int pool = -1;
    bool marked;
    enum err_code code = pool_lock(options->dir, false, &pool, err);

    code = code ? code : plan(&restoring, err);

    note_plan(&restoring);
    code = code ? code : check_target(&restoring, &marked, err);
    if (!options->dry_run) {
        code = code ? code : prepare_target(&restoring, err);
        code = code ? code : import_all(&restoring, err);
        code = code ? code : stage_log(&restoring, false, err);
        code = code ? code : apply_log(&restoring, err);
        code = code ? code : finish(&restoring, err);
    }
    if (pool >= 0) {
        close(pool);
    }
    unlock_target(&restoring);
    for (size_t i = 0; i < restoring.log_count; i++) {
        free(restoring.logs[i]);
    }
    manifest_fini(&restoring.manifest);
    if (code == ERR_OK) {
        restoring.result.elapsed_us = clock_mono_us(options->clock) - begun_us;
        *ret_result = restoring.result;
    }
    return code;
}
