/* The server's backups. */
#include "server/backups.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backup/files.h"
#include "base/mem.h"

enum { WATCH_MS = 1000 };

static enum err_code
keep_log(void *ctx, uint64_t lsn, struct err *err)
{
    const struct config *config = ctx;
    uint64_t archived;

    (void)lsn;
    return backup_archive(config->data_dir, config->backup.wal_archive, clock_system(), &archived,
                          err);
}

void
backups_hook(const struct config *config, struct engine_options *options)
{
    if (config->backup.wal_archive) {
        options->before_release = keep_log;
        options->release_ctx = (void *)(uintptr_t)config; /* NOLINT: keep_log only reads */
    }
}

/* The nearest directory that is there must take what is still to be made. */
static bool
can_write(const char *dir, struct err *err)
{
    char path[FILES_PATH_MAX];
    struct stat info;

    if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path)) {
        return true; /* the backup itself tells */
    }
    while (stat(path, &info) != 0) {
        char *slash = strrchr(path, '/');
        if (errno != ENOENT || !slash) {
            bool here = errno == ENOENT;
            if (!here) {
                err_sys(err, errno, "cannot make the directory %.300s", dir);
                return false;
            }
            snprintf(path, sizeof(path), ".");
        } else {
            slash[slash == path] = '\0';
        }
    }
    int sys = !S_ISDIR(info.st_mode) ? ENOTDIR : access(path, W_OK | X_OK) != 0 ? errno : 0;
    if (sys != 0) {
        err_sys(err, sys, "%s the directory %.300s",
                strcmp(path, dir) == 0 ? "cannot write to" : "cannot make", dir);
    }
    return sys == 0;
}

/* Where backups and the log's archive go, NULL: nowhere; and where that was said. */
struct places {
    const char *dir;
    const char *dir_by;
    const char *archive;
    const char *archive_by;
};

static struct places
places_of(const struct config *config)
{
    return (struct places){.dir = config->storage.type == CONFIG_STORAGE_DUCKDB ? config->backup.dir
                                                                                : NULL,
                           .dir_by = config_where(config, "backup.dir"),
                           .archive = config->backup.wal_archive,
                           .archive_by = config_where(config, "backup.wal_archive")};
}

static bool
can_write_all(const struct places *places, struct err *err)
{
    if (places->dir && !can_write(places->dir, err)) {
        err_context(err, err->code, "backup.dir (%s)", places->dir_by);
        return false;
    }
    if (places->archive && !can_write(places->archive, err)) {
        err_context(err, err->code, "backup.wal_archive (%s); the log is kept, and grows",
                    places->archive_by);
        return false;
    }
    return true;
}

bool
backups_can_write(const struct config *config, struct err *err)
{
    const struct places places = places_of(config);

    return can_write_all(&places, err);
}

/* One that is of nobody else: the configuration may be gone before a look that hangs. */
struct own_places {
    struct places places;
    char *owned[4];
};

static const char *
own(struct own_places *own, size_t at, const char *text)
{
    own->owned[at] = text ? mem_strdup(slice_of(text)) : NULL;
    return own->owned[at];
}

static void
free_places(void *ctx)
{
    struct own_places *own = ctx;

    for (size_t i = 0; i < sizeof(own->owned) / sizeof(own->owned[0]); i++) {
        free(own->owned[i]);
    }
    free(own);
}

static bool
look(void *ctx, struct err *err)
{
    return can_write_all(&((struct own_places *)ctx)->places, err);
}

struct watch *
backups_watch(const struct config *config)
{
    const struct places of = places_of(config);

    if (!of.dir && !of.archive) {
        return NULL;
    }
    struct own_places *places = mem_zalloc(1, sizeof(*places));
    places->places = (struct places){.dir = own(places, 0, of.dir),
                                     .dir_by = own(places, 1, of.dir_by),
                                     .archive = own(places, 2, of.archive),
                                     .archive_by = own(places, 3, of.archive_by)};
    const struct watch_options options = {
        .look = look, .ctx = places, .free_ctx = free_places, .interval_ms = WATCH_MS};
    return watch_start(&options);
}

static void
add_number(struct json_writer *json, const char *key, uint64_t number)
{
    json_key(json, key);
    json_u64(json, number);
}

void
backups_describe(const struct backup_result *result, struct json_writer *json)
{
    json_key(json, "id");
    json_cstr(json, result->id);
    add_number(json, "lsn", result->lsn);
    json_key(json, "taken");
    json_time_us(json, result->taken_us);
    add_number(json, "rows", result->sums.rows_all);
    add_number(json, "files", result->files);
    add_number(json, "files_new", result->sums.files_new);
    add_number(json, "bytes", result->sums.bytes);
    add_number(json, "bytes_new", result->sums.bytes_new);
    add_number(json, "segments_archived", result->archived);
    add_number(json, "backups_removed", result->pruned);
    add_number(json, "elapsed_ms", (uint64_t)(result->elapsed_us / 1000));
}

static enum err_code
run_backup(void *ctx, struct json_writer *json, struct err *err)
{
    const struct backups *backups = ctx;
    const struct config *config = backups->config;
    const struct backup_options options = {.dir = config->backup.dir,
                                           .data_dir = config->data_dir,
                                           .engine = backups->engine,
                                           .wal_archive = config->backup.wal_archive,
                                           .keep = (unsigned)config->backup.keep,
                                           .version = EIDER_VERSION,
                                           .clock = clock_system()};
    struct backup_result result;
    if (!backups_can_write(config, err)) {
        return err->code;
    }
    enum err_code code = backup_take(&options, &result, err);

    if (code == ERR_OK) {
        backups_describe(&result, json);
    }
    return code;
}

/* A server that is started often must not put its backups off for ever: the newest says when the
 * next is due. */
static int64_t
first_ms(const struct config *config)
{
    struct backup_entry *entries = NULL;
    size_t count = 0;
    int64_t left_ms = 0;
    struct err ignored;

    char id[ID_UUID_LEN + 1];
    bool has_id =
        backup_database_id(config->data_dir, false, clock_system(), id, &ignored) == ERR_OK;
    if (backup_list(config->backup.dir, &entries, &count, &ignored) == ERR_OK) {
        for (size_t i = 0; i < count && has_id; i++) {
            /* Others may keep theirs in the same directory. */
            if (entries[i].problem.code == ERR_OK && strcmp(entries[i].database_id, id) == 0) {
                int64_t age_ms = (clock_wall_us(clock_system()) - entries[i].taken_us) / 1000;
                left_ms = config->backup.interval_ms - age_ms;
            }
        }
    }
    free(entries);
    left_ms = left_ms > config->backup.interval_ms ? config->backup.interval_ms : left_ms;
    return left_ms > 0 ? left_ms : 0;
}

struct work *
backups_start(struct backups *backups)
{
    const struct config *config = backups->config;

    if (!config->backup.dir) {
        return NULL;
    }
    const struct work_options options = {.name = "backup",
                                         .run = run_backup,
                                         .ctx = backups,
                                         .interval_ms = config->backup.interval_ms,
                                         .first_ms =
                                             config->backup.interval_ms > 0 ? first_ms(config) : 0,
                                         .clock = clock_system()};
    return work_start(&options);
}
