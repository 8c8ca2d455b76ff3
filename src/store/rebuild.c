/*
 * Opening a store, and making it anew when its file is of no use: the file is set aside, the newest
 * snapshot that opens takes its place (an empty store when there is none), and the applier goes on
 * from there in the log.
 *
 *   file opens --------------------------------------------> store
 *   file does not open --> quarantine --> newest snapshot --> store --> log from its LSN
 *                                     \-> older snapshot -/
 *                                      \-> empty -------/
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/cold.h"
#include "store/engine_private.h"
#include "store/failpoint.h"
#include "wal/wal_scan.h"

enum { INTERRUPT_MS = 50, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

/* A listed file that is missing or changed: its rows cannot be read until it is put back. */
static void
tell_lost(void *ctx, const struct cold_file *file)
{
    const struct engine *engine = ctx;
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    engine_event(engine, true,
                 "cold/%s is missing or not what was written: its %llu rows cannot be read, the "
                 "rest can; restore it from a backup (docs/retention.md)",
                 relative, (unsigned long long)file->rows);
}

static void
tell_back(void *ctx, const struct cold_file *file, const char *why)
{
    const struct engine *engine = ctx;
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    if (why) {
        engine_event(engine, true, "cold/%s is back, and not listed again: %s", relative, why);
    } else {
        engine_event(engine, false, "cold/%s is back: its %llu rows can be read again", relative,
                     (unsigned long long)file->rows);
    }
    if (engine->options.store.cold_back) {
        engine->options.store.cold_back(engine->options.store.cold_back_ctx, file, why);
    }
}

/* Rows came for its day: whichever they replace cannot be told. */
static void
tell_damaged(void *ctx, const struct cold_file *file)
{
    const struct engine *engine = ctx;
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    engine_event(engine, true,
                 "rows came for the day of cold/%s, which is missing or not what was written: they "
                 "are stored, but rows of that file which they replace will stand beside them when "
                 "it is restored (docs/retention.md)",
                 relative);
}

static enum err_code
open_file(struct engine *engine, struct store **ret_store, struct err *err)
{
    struct store_open_options options = engine->options.store;

    options.path = engine->store_path;
    options.cold_lost = tell_lost;
    options.cold_lost_ctx = engine;
    options.cold_back = tell_back;
    options.cold_back_ctx = engine;
    options.cold_damaged = tell_damaged;
    options.cold_damaged_ctx = engine;
    return engine->options.store_open(&options, ret_store, err);
}

static bool
is_unusable(enum err_code code)
{
    return code == ERR_CORRUPT || code == ERR_INTERNAL;
}

/* The file, or a log that DuckDB keeps beside it: one that is left without its file must not be
 * found beside a snapshot. */
static bool
has_files(const struct engine *engine)
{
    for (size_t i = 0; datadir_suffixes[i]; i++) {
        char path[ENGINE_PATH_MAX];
        snprintf(path, sizeof(path), "%.4000s%s", engine->store_path, datadir_suffixes[i]);
        if (access(path, F_OK) == 0) {
            return true;
        }
    }
    return false;
}

/* Removes the copy of a snapshot that did not open. */
static void
discard_copy(const struct engine *engine)
{
    for (size_t i = 0; datadir_suffixes[i]; i++) {
        char path[ENGINE_PATH_MAX];
        snprintf(path, sizeof(path), "%.4000s%s", engine->store_path, datadir_suffixes[i]);
        unlink(path);
    }
}

static enum err_code
quarantine_file(struct engine *engine, const char *why, struct err *err)
{
    char where[ENGINE_PATH_MAX];

    if (!has_files(engine)) {
        return ERR_OK;
    }
    enum err_code code =
        datadir_quarantine(engine->data_dir, engine->store_path, clock_wall_us(engine->clock),
                           where, sizeof(where), err);
    if (code == ERR_OK) {
        engine_event(engine, true, "the store's file is set aside as %s: %s", where, why);
    }
    return code;
}

static enum err_code
stop_at_file(void *ctx, const struct cold_file *file, struct err *err)
{
    (void)file;
    *(bool *)ctx = true;
    return err_set(err, ERR_CONFLICT, "one is enough");
}

/* Whether the log has everything from record 1 on. One that cannot be read does not. */
static bool
log_is_whole(const struct engine *engine)
{
    struct wal_scan scan;
    struct err ignored;

    if (engine->wal) {
        return wal_first_lsn(engine->wal) <= 1;
    }
    enum err_code code = wal_scan_dir(engine->wal_dir, wal_sys_real(), NULL, NULL, &scan, &ignored);
    bool whole = code == ERR_OK && scan.records > 0 && scan.extents[0].first_lsn <= 1;
    wal_scan_fini(&scan);
    return whole;
}

/*
 * An empty database lists no cold file, and what nobody lists is removed. So one must not take the
 * place of a database whose days are in cold files, unless the log gives all of them again.
 */
static enum err_code
refuse_empty(const struct engine *engine, struct err *err)
{
    char cold[ENGINE_PATH_MAX];
    struct err ignored;
    bool found = false;

    if (engine->options.store_volatile || engine->options.unfinished) {
        return ERR_OK;
    }
    snprintf(cold, sizeof(cold), "%.4000s/cold", engine->data_dir);
    cold_walk(cold, stop_at_file, &found, &ignored);
    if (!found || log_is_whole(engine)) {
        return ERR_OK;
    }
    return err_set(err, ERR_PRECONDITION,
                   "the database is lost, and neither a snapshot nor the log makes up for it, but "
                   "%s has files of its rows: stop the server and run \"eider check --explain\", "
                   "then \"eider check --repair\" or \"eider restore\" (docs/backup.md). To begin "
                   "an empty one, move %s away",
                   cold, cold);
}

/* Puts the newest snapshot that opens in the place of the file, or leaves the place empty; then
 * opens. Snapshots that do not open are set aside, too. */
static enum err_code
open_snapshot(struct engine *engine, struct store **ret_store, struct err *err)
{
    uint64_t lsns[ENGINE_SNAPSHOTS_KEPT];
    size_t count = engine->options.store_volatile
                       ? 0
                       : datadir_snapshots(engine->data_dir, lsns, ENGINE_SNAPSHOTS_KEPT);

    for (size_t i = 0; i < count; i++) {
        char path[ENGINE_PATH_MAX];
        datadir_snapshot_path(engine->data_dir, lsns[i], path, sizeof(path));
        enum err_code code = datadir_copy(path, engine->store_path, err);
        if (code == ERR_OK) {
            code = open_file(engine, ret_store, err);
        }
        if (code == ERR_OK) {
            engine_event(engine, false, "the store is restored from %s", path);
            return ERR_OK;
        }
        discard_copy(engine); /* or the next attempt would set it aside, again and again */
        if (!is_unusable(code)) {
            return code;
        }
        char where[ENGINE_PATH_MAX];
        struct err ignored;
        engine_event(engine, true, "the snapshot %s does not open: %s", path, err->msg);
        datadir_quarantine(engine->data_dir, path, clock_wall_us(engine->clock), where,
                           sizeof(where), &ignored);
    }
    enum err_code code = refuse_empty(engine, err);
    return code ? code : open_file(engine, ret_store, err);
}

void
rebuild_adopt(struct engine *engine, struct store *store)
{
    uint64_t applied = store_applied_lsn(store);
    uint64_t before = engine->applied_lsn; /* only this thread changes it */

    adopted_note(engine, store);
    series_file_expect(engine->series);
    if (before > 0 && applied != before) {
        /* A restored store is behind what answers were made of; one whose last commit only seemed
         * to fail is ahead, and nobody has noted by what. Nobody may read it and take a kept answer
         * for its own. */
        changes_reset(&engine->changes, before > applied ? before : applied - 1);
    }
    pthread_rwlock_wrlock(&engine->store_lock);
    engine->store = store;
    if (engine->hot) {
        hot_reset(engine->hot);
    }
    pthread_rwlock_unlock(&engine->store_lock);
    pthread_mutex_lock(&engine->lock);
    engine->applied_lsn = applied;
    pthread_mutex_unlock(&engine->lock);
}

/* Of a swap that a crash kept from happening. */
static void
discard_compact(const struct engine *engine)
{
    static const char *const endings[] = {"", ".wal", ".tmp", ".tmp.wal"};

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        char path[ENGINE_PATH_MAX];
        snprintf(path, sizeof(path), "%.4000s%s%s", engine->store_path, REBUILD_COMPACT,
                 endings[i]);
        unlink(path);
    }
}

/* Opens the file that is there. What will not do is ERR_CORRUPT, and set aside. */
static enum err_code
open_there(struct engine *engine, struct store **ret_store, struct err *err)
{
    enum err_code code = open_file(engine, ret_store, err);

    if (code == ERR_OK && store_applied_lsn(*ret_store) == 0) {
        code = refuse_empty(engine, err); /* made by a start that came to nothing */
        if (code != ERR_OK) {
            store_close(*ret_store);
            err_set(err, ERR_CORRUPT, "nothing was ever applied to it");
            code = ERR_CORRUPT;
        }
    }
    if (is_unusable(code)) {
        struct err why = *err;
        engine->rebuilds++;
        code = quarantine_file(engine, why.msg, err);
        return code ? code : ERR_CORRUPT;
    }
    return code;
}

enum err_code
rebuild_open(struct engine *engine, struct err *err)
{
    struct store *store;
    bool there = access(engine->store_path, F_OK) == 0;

    if (engine->options.store_remote) {
        return remote_open(engine, err);
    }
    discard_compact(engine);
    enum err_code code =
        there || engine->options.store_volatile ? open_there(engine, &store, err) : ERR_CORRUPT;
    if (code == ERR_CORRUPT) {
        code = there ? ERR_OK : quarantine_file(engine, "its database is missing", err);
        code = code ? code : open_snapshot(engine, &store, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    rebuild_adopt(engine, store);
    return ERR_OK;
}

/* Interrupts readers again and again: one may have begun behind the first interrupt. */
static void
close_store(struct engine *engine)
{
    struct store *store = engine->store; /* only this thread changes it */
    struct timespec until;

    if (!store) {
        return;
    }
    atomic_store(&engine->interrupting, true);
    do {
        store_interrupt(store);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)INTERRUPT_MS * NS_PER_MS;
        until.tv_sec += until.tv_nsec / NS_PER_S;
        until.tv_nsec %= NS_PER_S;
    } while (pthread_rwlock_timedwrlock(&engine->store_lock, &until) != 0);
    engine->store = NULL;
    atomic_store(&engine->interrupting, false);
    pthread_rwlock_unlock(&engine->store_lock);
    store_close(store);
}

enum err_code
rebuild_store(struct engine *engine, bool quarantine, struct err *err)
{
    struct store *store;
    struct err why = *err;

    close_store(engine);
    if (engine->options.store_remote) {
        return remote_reopen(engine, err);
    }
    if (!quarantine) {
        enum err_code code = open_file(engine, &store, err);
        if (code == ERR_OK) {
            rebuild_adopt(engine, store);
            engine_event(engine, false, "the store is open again");
            return ERR_OK;
        }
        if (!is_unusable(code)) {
            return code;
        }
        why = *err;
    }
    enum err_code code = quarantine_file(engine, why.msg, err);
    if (code == ERR_OK) {
        code = open_snapshot(engine, &store, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    rebuild_adopt(engine, store);
    pthread_mutex_lock(&engine->lock);
    engine->rebuilds++;
    pthread_mutex_unlock(&engine->lock);
    return ERR_OK;
}

/* A log that DuckDB left beside the old file is the old file's alone. */
static bool
has_log(const struct engine *engine)
{
    for (size_t i = 1; datadir_suffixes[i]; i++) {
        char path[ENGINE_PATH_MAX];
        snprintf(path, sizeof(path), "%.4000s%s", engine->store_path, datadir_suffixes[i]);
        if (access(path, F_OK) == 0) {
            return true;
        }
    }
    return false;
}

static enum err_code
replace_file(const struct engine *engine, const char *path, struct err *err)
{
    if (has_log(engine)) {
        return err_set(err, ERR_BUSY, "the database was not closed cleanly; its file stays");
    }
    enum err_code code = failpoint_fails("swap.closed", err);
    if (code == ERR_OK && rename(path, engine->store_path) != 0) {
        code = err_sys(err, errno, "cannot rename %s to %s", path, engine->store_path);
    }
    code = code ? code : failpoint_fails("swap.renamed", err);
    return code ? code : datadir_sync_parent(engine->store_path, err);
}

enum err_code
rebuild_swap(struct engine *engine, const char *path, struct err *err)
{
    struct store *store;
    struct err why = {0};

    close_store(engine);
    enum err_code code = replace_file(engine, path, &why);
    if (code != ERR_OK) {
        unlink(path);
    }
    /* Whichever file is there now is whole. */
    if (open_file(engine, &store, err) != ERR_OK) {
        return err_context(err, ERR_INTERNAL, "opening the database behind a swap");
    }
    rebuild_adopt(engine, store);
    if (code != ERR_OK) {
        *err = why;
    }
    return code;
}

/*
 * A volatile store whose copy is lost, while the log begins behind it: the samples in the log are
 * of series that nobody can name any more, and whose numbers will be given out again. It starts
 * empty, behind them.
 */
static enum err_code
skip_log(struct engine *engine, uint64_t first, struct err *err)
{
    struct wal_status status;

    wal_status(engine->wal, &status);
    uint64_t last = status.durable_lsn >= first ? status.durable_lsn : first - 1;
    const struct store_group rest = {last, last, 0, NULL};
    enum err_code code = store_apply(engine->store, &rest, err);
    if (code == ERR_OK) {
        engine_event(engine, true,
                     "the copy of the memory store is lost, and the log begins at record %llu: it "
                     "starts empty behind record %llu",
                     (unsigned long long)first, (unsigned long long)last);
        pthread_mutex_lock(&engine->lock);
        engine->applied_lsn = last;
        pthread_mutex_unlock(&engine->lock);
    }
    return code;
}

enum err_code
rebuild_gap(struct engine *engine, struct err *err)
{
    uint64_t first = wal_first_lsn(engine->wal);

    if (engine->options.store_remote) {
        return remote_gap(engine, err);
    }
    if (engine->applied_lsn + 1 >= first) {
        return ERR_OK;
    }
    if (engine->options.store_volatile) {
        return skip_log(engine, first, err);
    }
    /* The file is older than what was dropped from the log: a copy from elsewhere, most likely. */
    err_set(err, ERR_CORRUPT, "it ends at record %llu and the log begins at %llu",
            (unsigned long long)engine->applied_lsn, (unsigned long long)first);
    enum err_code code = rebuild_store(engine, true, err);
    if (code == ERR_OK && engine->applied_lsn + 1 < first) {
        engine_event(engine, true, "records %llu to %llu are neither in the log nor in a snapshot",
                     (unsigned long long)engine->applied_lsn + 1, (unsigned long long)first - 1);
        code = adopted_keep_unlisted(engine, err);
    }
    return code;
}
