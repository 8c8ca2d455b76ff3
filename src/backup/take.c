/*
 * Taking a backup. The order is what makes it safe: files first, each under its final name only
 * when it is whole and synced; the manifest last. Cold files get a second name for as long as the
 * backup runs, since retention may remove the first at any moment.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/private.h"
#include "codec/time.h"
#include "store/cold.h"
#include "store/failpoint.h"

enum { TRIES = 3, US_PER_MS = 1000 };

struct taking {
    const struct backup_options *options;
    struct manifest manifest;
    struct engine_turn turn;
    size_t pinned; /* cold files, the first of the manifest */
    bool held;     /* cold files cannot be pinned here, so none is removed for the time being */
    bool gone;     /* one was removed between the list and the pin */
    enum err_code outcome;
};

static void
make_id(int64_t wall_us, char ret_id[MANIFEST_ID_MAX])
{
    struct time_civil civil;

    time_to_civil(wall_us, &civil);
    snprintf(ret_id, MANIFEST_ID_MAX, "%04d%02d%02dT%02d%02d%02d.%03dZ", (int)civil.year % 10000,
             civil.month % 100, civil.day % 100, civil.hour % 100, civil.minute % 100,
             civil.second % 100, civil.micros / 1000 % 1000);
}

/* A directory of its own; a clock that stands still or goes back does not end in an old one. */
static enum err_code
make_dir(struct taking *taking, struct err *err)
{
    const struct backup_options *options = taking->options;
    int64_t wall_us = clock_wall_us(options->clock);
    char path[FILES_PATH_MAX];

    for (int i = 0; i < 1000; i++) {
        make_id(wall_us + (int64_t)i * US_PER_MS, taking->manifest.id);
        enum err_code code = files_join(options->dir, taking->manifest.id, path, err);
        if (code != ERR_OK) {
            return code;
        }
        if (access(path, F_OK) != 0) {
            return files_make_dirs(path, err);
        }
    }
    return err_set(err, ERR_CONFLICT, "%s has a backup for each of the next 1000 milliseconds",
                   options->dir);
}

static enum err_code
pin_path(const struct taking *taking, size_t index, char ret_path[FILES_PATH_MAX], struct err *err)
{
    char name[64];

    snprintf(name, sizeof(name), "cold/tmp/pin-%zu.parquet", index);
    return files_join(taking->options->data_dir, name, ret_path, err);
}

static enum err_code
pin(struct taking *taking, size_t index, struct err *err)
{
    const struct manifest_file *file = &taking->manifest.files[index];
    char relative[COLD_RELATIVE_MAX];
    char path[FILES_PATH_MAX];
    char to[FILES_PATH_MAX];
    char cold[FILES_PATH_MAX];

    cold_relative(&file->file, relative);
    enum err_code code = files_join(taking->options->data_dir, "cold", cold, err);
    code = code ? code : files_join(cold, relative, path, err);
    code = code ? code : pin_path(taking, index, to, err);
    if (code != ERR_OK) {
        return code;
    }
    unlink(to);
    if (link(path, to) == 0) {
        return ERR_OK;
    }
    if (errno == ENOENT) {
        taking->gone = true;
        return err_set(err, ERR_NOT_FOUND,
                       "the cold file %s is listed and missing; \"eider check --explain\" says "
                       "what that means",
                       path);
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK && errno != EXDEV) {
        return err_sys(err, errno, "cannot link %s to %s", path, to);
    }
    /* A file system without second names: the files are copied from where they are. */
    if (!taking->held) {
        engine_cold_hold(taking->options->engine);
        taking->held = true;
    }
    return ERR_OK;
}

static enum err_code
on_begin(void *ctx, const struct store_export_moment *moment, struct err *err)
{
    struct taking *taking = ctx;
    enum err_code code = ERR_OK;

    taking->manifest.lsn = moment->lsn;
    taking->manifest.schema = moment->schema;
    taking->manifest.taken_us = clock_wall_us(taking->options->clock);
    for (size_t i = 0; i < moment->file_count; i++) {
        manifest_add(&taking->manifest, &(struct manifest_file){moment->files[i], true, false});
    }
    for (size_t i = 0; i < moment->file_count && code == ERR_OK; i++) {
        taking->pinned = i + 1;
        code = pin(taking, i, err);
    }
    return code ? code : failpoint_fails("backup.pinned", err);
}

static enum err_code
on_file(void *ctx, const struct store_export_file *exported, struct err *err)
{
    struct taking *taking = ctx;
    struct manifest_file file = {.file = {.table = exported->table,
                                          .day = exported->day,
                                          .kind = COLD_RAW,
                                          .rows = exported->rows}};

    if (engine_turn_is_over(taking->options->engine, &taking->turn)) {
        return err_set(err, ERR_BUSY,
                       "given up: rows for days that are sealed kept the database from being "
                       "checkpointed beside it, for more rows than it may do without; try again "
                       "when fewer of them come");
    }
    enum err_code code = pool_put(taking->options->dir, exported->path, &file, err);
    if (code == ERR_OK) {
        manifest_add(&taking->manifest, &file);
    }
    return code;
}

static enum err_code
export_store(void *ctx, struct store *store, struct err *err)
{
    struct taking *taking = ctx;
    const struct store_export export = {
        .begin = on_begin, .file = on_file, .ctx = taking, .timeout_ms = BACKUP_TIMEOUT_MS};

    return store_export(store, &export, err);
}

/* The transaction only; what follows it concerns no store. */
static enum err_code
export_at_turn(struct taking *taking, struct err *err)
{
    struct engine *engine = taking->options->engine;

    taking->turn = (struct engine_turn){.what = "a backup"};
    enum err_code code = engine_turn_begin(engine, &taking->turn, BACKUP_TIMEOUT_MS, err);
    if (code == ERR_OK) {
        code = engine_with_store(engine, export_store, taking, err);
        engine_turn_end(engine, &taking->turn);
    }
    return code;
}

static void
unpin(struct taking *taking)
{
    char path[FILES_PATH_MAX];
    struct err ignored;

    for (size_t i = 0; i < taking->pinned; i++) {
        if (pin_path(taking, i, path, &ignored) == ERR_OK) {
            unlink(path);
        }
    }
    taking->pinned = 0;
}

static enum err_code
put_cold_files(struct taking *taking, struct err *err)
{
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < taking->pinned && code == ERR_OK; i++) {
        char path[FILES_PATH_MAX];
        code = pin_path(taking, i, path, err);
        if (code == ERR_OK && access(path, F_OK) != 0) {
            char relative[COLD_RELATIVE_MAX + 8] = "cold/";
            cold_relative(&taking->manifest.files[i].file, relative + 5);
            code = files_join(taking->options->data_dir, relative, path, err);
        }
        code = code ? code : pool_put(taking->options->dir, path, &taking->manifest.files[i], err);
    }
    return code;
}

static enum err_code
write_manifest(struct taking *taking, struct err *err)
{
    struct buf json BUF_AUTO = {0};
    char dir[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];

    taking->manifest.ended_us = clock_wall_us(taking->options->clock);
    buf_init(&json, MANIFEST_BYTES_MAX);
    manifest_encode(&taking->manifest, &json);
    if (json.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the manifest of %zu files has more than %d bytes",
                       taking->manifest.file_count, MANIFEST_BYTES_MAX);
    }
    enum err_code code = files_join(taking->options->dir, taking->manifest.id, dir, err);
    code = code ? code : files_join(dir, "manifest.json", path, err);
    code = code ? code : failpoint_fails("backup.complete", err);
    code = code ? code : files_write(path, buf_slice(&json), err);
    return code ? code : failpoint_fails("backup.listed", err);
}

/* Everything that was acknowledged before the call belongs into the backup. A store that is stalled
 * is backed up as it is: what it lacks is in the log. */
static void
wait_applied(struct engine *engine)
{
    struct engine_status status;
    struct err ignored;

    engine_status(engine, &status);
    if (status.durable_lsn > 0) {
        engine_wait_applied(engine, status.durable_lsn, BACKUP_APPLY_MS, &ignored);
    }
}

static void
discard(struct taking *taking)
{
    char path[FILES_PATH_MAX];
    struct err ignored;

    unpin(taking);
    if (taking->held) {
        engine_cold_release(taking->options->engine);
        taking->held = false;
    }
    if (taking->outcome != ERR_OK && taking->manifest.id[0] &&
        files_join(taking->options->dir, taking->manifest.id, path, &ignored) == ERR_OK) {
        files_remove_tree(path, &ignored); /* what stays is removed by the next backup */
    }
}

static enum err_code
take_once(struct taking *taking, struct err *err)
{
    const struct backup_options *options = taking->options;
    struct engine_status status;
    char tmp[FILES_PATH_MAX];
    enum err_code code = make_dir(taking, err);

    code = code ? code : files_join(options->data_dir, "cold/tmp", tmp, err);
    code = code ? code : files_make_dirs(tmp, err);
    code = code ? code
                : backup_database_id(options->data_dir, true, options->clock,
                                     taking->manifest.database_id, err);
    if (code == ERR_OK) {
        slice_to_cstr(slice_of(options->version), taking->manifest.version,
                      sizeof(taking->manifest.version));
        engine_status(options->engine, &status);
        slice_to_cstr(slice_of(status.store.type), taking->manifest.store_type,
                      sizeof(taking->manifest.store_type));
        code = export_at_turn(taking, err);
    }
    code = code ? code : put_cold_files(taking, err);
    code = code ? code : write_manifest(taking, err);
    taking->outcome = code;
    discard(taking);
    return code;
}

static enum err_code
take_locked(struct taking *taking, struct err *err)
{
    const struct backup_options *options = taking->options;
    enum err_code code = pool_clean(options->dir, err);

    for (int i = 0; i < TRIES && code == ERR_OK; i++) {
        manifest_fini(&taking->manifest);
        taking->gone = false;
        code = take_once(taking, err);
        if (code == ERR_OK || !taking->gone) {
            return code;
        }
        code = i + 1 < TRIES ? ERR_OK : code;
    }
    return code;
}

/* What goes wrong from here on does not make the backup less of one. */
static enum err_code
finish(struct taking *taking, struct backup_result *result, struct err *err)
{
    const struct backup_options *options = taking->options;
    enum err_code code = ERR_OK;

    if (options->wal_archive) {
        code = backup_archive(options->data_dir, options->wal_archive, options->clock,
                              &result->archived, err);
        code = code ? err_context(err, code, "backup %s is complete, the log is not archived",
                                  result->id)
                    : ERR_OK;
    }
    if (code == ERR_OK && options->keep > 0) {
        const struct pool_prune prune = {.dir = options->dir,
                                         .wal_archive = options->wal_archive,
                                         .database_id = taking->manifest.database_id,
                                         .keep = options->keep};
        struct backup_pruned pruned = {0};
        code = pool_prune(&prune, &pruned, err);
        result->pruned = pruned.backups;
        code = code ? err_context(err, code, "backup %s is complete, older ones are still there",
                                  result->id)
                    : ERR_OK;
    }
    return code;
}

enum err_code
backup_take(const struct backup_options *options, struct backup_result *ret_result, struct err *err)
{
    struct taking taking = {.options = options};
    struct backup_result result = {0};
    int64_t begun_us = clock_mono_us(options->clock);
    int lock = -1;
    enum err_code code = files_make_dirs(options->dir, err);

    code = code ? code : pool_lock(options->dir, true, &lock, err);
    if (code != ERR_OK) {
        return code;
    }
    wait_applied(options->engine);
    code = take_locked(&taking, err);
    close(lock);
    if (code == ERR_OK) {
        memcpy(result.id, taking.manifest.id, sizeof(result.id));
        result.lsn = taking.manifest.lsn;
        result.taken_us = taking.manifest.taken_us;
        result.files = taking.manifest.file_count;
        manifest_sum(&taking.manifest, &result.sums);
        code = finish(&taking, &result, err);
    }
    manifest_fini(&taking.manifest);
    if (code == ERR_OK) {
        result.elapsed_us = clock_mono_us(options->clock) - begun_us;
        *ret_result = result;
    }
    return code;
}
