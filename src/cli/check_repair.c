/*
 * eider check --repair. First what can be moved or put back file by file, then the log, then the
 * database, which the engine rebuilds from snapshot and log when it is opened, or which is made
 * anew with the cold files of their manifest when both copies of it are lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backup/backup.h"
#include "base/mem.h"
#include "cli/check.h"
#include "cli/target.h"
#include "codec/time.h"
#include "server/open_engine.h"
#include "store/cold.h"

enum { APPLY_MS = 24 * 3600 * 1000, LOCK_MODE = 0640 };

struct repairing {
    const struct check *check;
    const char *from;
    char stamp[TIME_TEXT_MAX];
};

static void
did(const struct repairing *repairing, const char *what, const char *path)
{
    cli_note(repairing->check->cli, "%s %s", what, path);
}

/* quarantine/<time>-<name> */
static enum err_code
set_aside(const struct repairing *repairing, const char *path, struct err *err)
{
    const char *data_dir = repairing->check->config->data_dir;
    const char *slash = strrchr(path, '/');
    char dir[FILES_PATH_MAX];
    char to[FILES_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.3000s/quarantine", data_dir);
    enum err_code code = files_make_dirs(dir, err);
    snprintf(to, sizeof(to), "%.3000s/%s-%.200s", dir, repairing->stamp, slash ? slash + 1 : path);
    if (code == ERR_OK && rename(path, to) != 0 && errno != ENOENT) {
        code = err_sys(err, errno, "cannot move %s to %s", path, to);
    }
    code = code ? code : files_sync_dir(dir, err);
    code = code ? code : files_sync_parent(path, err);
    if (code == ERR_OK) {
        did(repairing, "set aside:", to);
    }
    return code;
}

/* The pool's files are named by what is in them, so the checksum finds the right one. */
static enum err_code
put_back(const struct repairing *repairing, const struct finding *finding, bool *ret_done,
         struct err *err)
{
    const struct manifest_file wanted = {.file = finding->file, .cold = true};
    char relative[MANIFEST_PATH_MAX];
    char from[FILES_PATH_MAX];
    char dir[FILES_PATH_MAX];
    char sum[FILES_SUM_MAX];
    uint64_t bytes;

    *ret_done = false;
    if (!repairing->from) {
        return ERR_OK;
    }
    manifest_pool_path(&wanted, relative);
    enum err_code code = files_join(repairing->from, relative, from, err);
    if (code != ERR_OK || access(from, R_OK) != 0) {
        return code;
    }
    code = files_sum(from, sum, &bytes, err);
    if (code != ERR_OK || strcmp(sum, finding->file.checksum) != 0) {
        return code; /* the backup's is damaged as well */
    }
    const struct files_copy copy = {from, finding->path, UINT64_MAX};
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(finding->path, '/') - finding->path),
             finding->path);
    code = files_make_dirs(dir, err);
    code = code ? code : files_copy(&copy, NULL, err);
    code = code ? code : files_sync_dir(dir, err);
    *ret_done = code == ERR_OK;
    if (*ret_done) {
        did(repairing, "put back from the backup:", finding->path);
    }
    return code;
}

static enum err_code
repair_cold(const struct repairing *repairing, const struct finding *finding, struct err *err)
{
    bool done = false;
    enum err_code code = ERR_OK;

    if (access(finding->path, F_OK) == 0) {
        code = set_aside(repairing, finding->path, err);
    }
    code = code ? code : put_back(repairing, finding, &done, err);
    if (code == ERR_OK && !done) {
        did(repairing, "no backup has it, the next start goes on without:", finding->path);
    }
    return code;
}

static enum err_code
engine_options(const struct repairing *repairing, struct engine_options *ret_options,
               struct err *err)
{
    return server_engine_options(repairing->check->config, ret_options, err);
}

static void
tell(void *ctx, bool is_problem, const char *text)
{
    (void)is_problem;
    cli_note(ctx, "%s", text);
}

/* The engine mends what it can when it opens: a torn tail, a database that does not open, files
 * that are listed and missing. */
static enum err_code
open_and_close(const struct repairing *repairing, struct err *err)
{
    struct engine_options options;
    struct engine_status status;
    struct engine *engine = NULL;
    enum err_code code = engine_options(repairing, &options, err);

    if (code != ERR_OK) {
        return code;
    }
    options.event = tell;
    options.event_ctx = repairing->check->cli;
    code = engine_open(&options, &engine, err);
    if (code != ERR_OK) {
        return code;
    }
    engine_status(engine, &status);
    if (status.durable_lsn > 0) {
        code = engine_wait_applied(engine, status.durable_lsn, APPLY_MS, err);
    }
    code = code ? code : engine_checkpoint(engine, APPLY_MS, err);
    engine_close(engine);
    return code;
}

/* The whole records in front of the damage are a log of their own. */
static enum err_code
repair_log(const struct repairing *repairing, struct err *err)
{
    const char *data_dir = repairing->check->config->data_dir;
    char wal[FILES_PATH_MAX];
    char salvage[FILES_PATH_MAX];
    uint64_t last_lsn = 0;

    snprintf(wal, sizeof(wal), "%.3000s/wal", data_dir);
    snprintf(salvage, sizeof(salvage), "%.3000s/wal.salvaged", data_dir);
    enum err_code code = files_remove_tree(salvage, err);
    code =
        code ? code
             : backup_salvage_log(wal, salvage, repairing->check->applied_lsn + 1, &last_lsn, err);
    code = code ? code : set_aside(repairing, wal, err);
    if (code == ERR_OK && access(salvage, F_OK) == 0 && rename(salvage, wal) != 0) {
        code = err_sys(err, errno, "cannot rename %s to %s", salvage, wal);
    }
    code = code ? code : files_sync_dir(data_dir, err);
    if (code == ERR_OK) {
        cli_note(repairing->check->cli,
                 "the log was readable up to record %" PRIu64 "; later ones are set aside with it",
                 last_lsn);
    }
    return code;
}

/* ---- both copies of the database are lost ---- */

/* Whether replaying the log from `first_lsn` on could give a row of this file a second time. */
static bool
might_double(const struct cold_file *file, uint64_t first_lsn)
{
    return file->sealed_lsn >= first_lsn && catalog_table(file->table)->kind == TABLE_APPEND;
}

static bool
is_whole(const char *cold_dir, const struct cold_file *file)
{
    char path[FILES_PATH_MAX];
    char sum[COLD_CHECKSUM_MAX];
    struct err ignored;

    cold_path(cold_dir, file, path, sizeof(path));
    return cold_checksum(path, sum, NULL, &ignored) == ERR_OK && strcmp(sum, file->checksum) == 0;
}

static enum err_code
leave_out(const struct repairing *repairing, const char *cold_dir, const struct cold_file *file,
          struct err *err)
{
    char path[FILES_PATH_MAX];
    char day[COLD_DAY_TEXT];

    cold_path(cold_dir, file, path, sizeof(path));
    cold_day_format(file->day, day);
    if (file->kind == COLD_RAW) {
        cli_note(repairing->check->cli,
                 "%s of %s: the log has a part of these %" PRIu64 " rows and would give them "
                 "twice; the file is kept in quarantine/, and what the log has is read from there",
                 catalog_table(file->table)->name, day, file->rows);
    }
    return access(path, F_OK) == 0 ? set_aside(repairing, path, err) : ERR_OK;
}

static enum err_code
choose_files(const struct repairing *repairing, struct cold_manifest *manifest, uint64_t first_lsn,
             struct err *err)
{
    char cold_dir[FILES_PATH_MAX];
    size_t kept = 0;
    enum err_code code = ERR_OK;

    snprintf(cold_dir, sizeof(cold_dir), "%.4000s/cold", repairing->check->config->data_dir);
    for (size_t i = 0; i < manifest->count && code == ERR_OK; i++) {
        const struct cold_file file = manifest->files[i];
        if (might_double(&file, first_lsn)) {
            code = leave_out(repairing, cold_dir, &file, err);
        } else if (is_whole(cold_dir, &file)) {
            manifest->files[kept++] = file;
        } else {
            did(repairing, "missing or damaged, left out:", file.name);
        }
    }
    manifest->count = kept;
    return code;
}

static enum err_code
make_database(const struct repairing *repairing, const struct cold_manifest *manifest, uint64_t lsn,
              struct err *err)
{
    char *path MEM_AUTO = target_database_path(repairing->check->config);
    const struct store_export_moment moment = {
        .lsn = lsn, .files = manifest->files, .file_count = manifest->count};
    struct engine_options options;
    struct store *store = NULL;
    enum err_code code = engine_options(repairing, &options, err);

    if (code == ERR_OK && access(path, F_OK) == 0) {
        code = set_aside(repairing, path, err);
    }
    options.store.path = path;
    code = code ? code : options.store_open(&options.store, &store, err);
    code = code ? code : store_import_end(store, &moment, err);
    store_close(store);
    return code;
}

static enum err_code
adopt(const struct repairing *repairing, struct err *err)
{
    const struct check *check = repairing->check;
    struct cold_manifest manifest = {0};
    char cold_dir[FILES_PATH_MAX];

    snprintf(cold_dir, sizeof(cold_dir), "%.4000s/cold", check->config->data_dir);
    enum err_code code = cold_manifest_read(cold_dir, &manifest, err);
    if (code != ERR_OK) {
        return err_context(
            err, code, "the database cannot be made anew from the cold files; restore a backup");
    }
    uint64_t lsn = check->first_lsn > 0 ? check->first_lsn - 1 : manifest.lsn;
    code = choose_files(repairing, &manifest, lsn + 1, err);
    code = code ? code : make_database(repairing, &manifest, lsn, err);
    if (code == ERR_OK) {
        cli_note(check->cli,
                 "a new database lists %zu cold files; gone are rows of records up to %" PRIu64
                 " that were not in cold files, and definitions of series made by them",
                 manifest.count, lsn);
    }
    free(manifest.files);
    return code;
}

/* ---- in order ---- */

static enum err_code
repair_one(const struct repairing *repairing, const struct finding *finding, struct err *err)
{
    switch (finding->repair) {
    case REPAIR_SET_ASIDE:
        return access(finding->path, F_OK) == 0 ? set_aside(repairing, finding->path, err) : ERR_OK;
    case REPAIR_COLD_FILE:
        return repair_cold(repairing, finding, err);
    case REPAIR_LOG:
        return repair_log(repairing, err);
    case REPAIR_ADOPT:
        return adopt(repairing, err);
    case REPAIR_NONE:
    case REPAIR_OPEN:
        break;
    }
    return ERR_OK;
}

/* Nobody may start meanwhile; the engine takes the lock itself afterwards. */
static enum err_code
lock_directory(const char *data_dir, int *ret_fd, struct err *err)
{
    char path[FILES_PATH_MAX];
    enum err_code code = files_join(data_dir, "lock", path, err);

    if (code != ERR_OK) {
        return code;
    }
    *ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (*ret_fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
        close(*ret_fd);
        return err_set(err, ERR_CONFLICT, "another process has %s: stop it before a repair",
                       data_dir);
    }
    return ERR_OK;
}

enum err_code
check_repair(const struct check *check, const char *from, struct err *err)
{
    struct repairing repairing = {.check = check, .from = from};
    const struct clock *clock = check->cli->clock ? check->cli->clock : clock_system();
    bool wants_open = false;
    int lock = -1;
    enum err_code code = lock_directory(check->config->data_dir, &lock, err);

    if (code != ERR_OK) {
        return code;
    }
    time_format_iso8601(clock_wall_us(clock), repairing.stamp);
    for (size_t i = 0; i < check->finding_count && code == ERR_OK; i++) {
        const struct finding *finding = &check->findings[i];
        wants_open = wants_open || finding->repair != REPAIR_NONE;
        code = repair_one(&repairing, finding, err);
    }
    close(lock);
    return code == ERR_OK && wants_open ? open_and_close(&repairing, err) : code;
}
