/*
 * A store that others run, PostgreSQL: it comes and goes, and it may be replaced.
 *
 *   at open    there -----> compare its identity with data_dir/database --> as any store
 *              away ------> no store, STALLED; the applier tries until it is there
 *   later      away ------> groups are tried again (STALLED), reads are refused, the log grows
 *              replaced --> the store says ERR_INTERNAL and is opened anew: an empty database is
 *                           filled from the log, from its beginning; one that another data
 *                           directory has written to is refused
 *
 *   the log was lost, or ends before what the database has: both stay, the database goes on behind
 *   the log's end (at open, the log behind the database)
 *
 * The log is released below what the database has for good, and of that keep_wal_bytes stay, so
 * that a database that was lost can be filled again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/engine_private.h"

enum { IDENTITY_MAX = 64, FILE_MODE = 0640, HEAL_FIRST_MS = 100, HEAL_MAX_MS = 2000 };

static void
identity_path(const struct engine *engine, const char *suffix, char ret_path[ENGINE_PATH_MAX])
{
    snprintf(ret_path, ENGINE_PATH_MAX, "%.4000s/database%s", engine->data_dir, suffix);
}

/* "" when there is none yet. */
static void
read_identity(const struct engine *engine, char ret_text[IDENTITY_MAX])
{
    char path[ENGINE_PATH_MAX];
    ssize_t len = 0;

    identity_path(engine, "", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, ret_text, IDENTITY_MAX - 1);
        close(fd);
    }
    ret_text[len > 0 ? len : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

static enum err_code
write_identity(const struct engine *engine, const char *identity, struct err *err)
{
    char path[ENGINE_PATH_MAX];
    char temporary[ENGINE_PATH_MAX];
    size_t len = strlen(identity);

    identity_path(engine, "", path);
    identity_path(engine, ".tmp", temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_sys(err, errno, "cannot make %s", temporary);
    }
    bool good = write(fd, identity, len) == (ssize_t)len && fsync(fd) == 0;
    int sys = errno;
    close(fd);
    if (!good || rename(temporary, path) != 0) {
        return err_sys(err, good ? errno : sys, "cannot write %s", path);
    }
    int dir = open(engine->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        fsync(dir);
        close(dir);
    }
    return ERR_OK;
}

/* What has been acknowledged here and is still in the log; 0 before the log is open. */
static uint64_t
logged_lsn(const struct engine *engine)
{
    return engine->wal ? wal_durable_lsn(engine->wal) : 0;
}

/*
 * A log that ends before what the database has was lost, or is an old copy. Until a database was
 * there for the first time nothing was acknowledged, so nothing stands in the log that it must yet
 * get: it goes on behind the log's end. (When the log is not open yet, the log goes on behind the
 * database.) A directory that knew no database makes it its own, so that the directory whose it
 * was does not take what is written from now on for its own records.
 */
static enum err_code
take_over(struct engine *engine, struct store *store, bool anew, struct err *err)
{
    uint64_t applied = store_applied_lsn(store);
    uint64_t logged = logged_lsn(engine);
    bool ends_early = engine->wal && applied > logged;

    if (applied == 0 || !store->ops->take_over || (!anew && !ends_early)) {
        return ERR_OK;
    }
    if (ends_early && engine->had_store) {
        return err_set(err, ERR_CONFLICT,
                       "the database has record %" PRIu64 " and the log ends at %" PRIu64
                       ": another Eider has written to it with a copy of this data directory; "
                       "stop that one, and restart this one to go on behind what it wrote",
                       applied, logged);
    }
    enum err_code code = store->ops->take_over(store, ends_early ? logged : applied, anew, err);
    if (code == ERR_OK && ends_early) {
        engine_event(engine, true,
                     "the database has record %" PRIu64 " and the log ends at %" PRIu64
                     ": the log was lost, or is an old one; what the database has stays, and "
                     "Eider goes on from the log's end",
                     applied, logged);
    }
    return code;
}

/* Whether the database is the one that the log belongs to. */
static enum err_code
check_identity(struct engine *engine, struct store *store, struct err *err)
{
    char known[IDENTITY_MAX];
    const char *is = store->ops->identity ? store->ops->identity(store) : "";
    uint64_t applied = store_applied_lsn(store);

    read_identity(engine, known);
    if (known[0] && strcmp(known, is) != 0) {
        if (applied > 0) {
            return err_set(err, ERR_CONFLICT,
                           "the database is %s, which another data directory has written to (up to "
                           "record %" PRIu64 "); this one belongs to %s: use an empty database, or "
                           "remove %s/database to go on with what is there",
                           is, applied, known, engine->data_dir);
        }
        engine_event(engine, true,
                     "the database is a new one (%s, before it was %s) and empty: it is filled "
                     "from the log",
                     is, known);
    }
    enum err_code code = take_over(engine, store, known[0] == '\0', err);
    if (code != ERR_OK) {
        return code;
    }
    is = store->ops->identity ? store->ops->identity(store) : "";
    return strcmp(known, is) == 0 ? ERR_OK : write_identity(engine, is, err);
}

static bool
engine_ends(void *ctx)
{
    struct engine *engine = ctx;

    pthread_mutex_lock(&engine->lock);
    bool closing = engine->closing;
    pthread_mutex_unlock(&engine->lock);
    const struct store_open_options *owner = &engine->options.store;
    return closing || (owner->owner_ends && owner->owner_ends(owner->owner_ctx));
}

/*
 * The gap is filled before anybody reads: definitions that went in behind a reader's look would be
 * missing from the hot cache, and from kept answers, for good. (At a start the log is not open yet;
 * nobody reads before rebuild_gap.)
 */
static enum err_code
adopt(struct engine *engine, struct store *store, struct err *err)
{
    uint64_t had = store_applied_lsn(store);
    uint64_t before = engine->applied_lsn; /* only this thread changes it */
    enum err_code code = engine->wal ? remote_fill_gap(engine, store, err) : ERR_OK;

    if (code != ERR_OK) {
        store_close(store);
        return code;
    }
    uint64_t applied = store_applied_lsn(store);
    if (applied != had) {
        changes_reset(&engine->changes, before > applied ? before : applied);
    }
    rebuild_adopt(engine, store);
    return ERR_OK;
}

static enum err_code
open_store(struct engine *engine, struct err *err)
{
    struct store *store;
    struct store_open_options options = engine->options.store;

    options.owner_ends = engine_ends;
    options.owner_ctx = engine;
    enum err_code code = engine->options.store_open(&options, &store, err);

    if (code != ERR_OK) {
        return code;
    }
    code = check_identity(engine, store, err);
    if (code != ERR_OK) {
        store_close(store);
        return code;
    }
    engine->had_store = true;
    return adopt(engine, store, err);
}

static bool
is_away(enum err_code code)
{
    return code == ERR_IO || code == ERR_TIMEOUT || code == ERR_UNAVAILABLE || code == ERR_NO_SPACE;
}

enum err_code
remote_open(struct engine *engine, struct err *err)
{
    enum err_code code = open_store(engine, err);

    if (is_away(code)) {
        engine->problem = *err;
        return ERR_OK;
    }
    return code;
}

enum err_code
remote_gap(struct engine *engine, struct err *err)
{
    if (!engine->store) {
        return ERR_OK;
    }
    enum err_code code = remote_fill_gap(engine, engine->store, err);
    if (code == ERR_OK) {
        pthread_mutex_lock(&engine->lock);
        engine->applied_lsn = store_applied_lsn(engine->store);
        pthread_mutex_unlock(&engine->lock);
    }
    return code;
}

enum err_code
remote_reopen(struct engine *engine, struct err *err)
{
    enum err_code code = open_store(engine, err);

    if (code == ERR_OK) {
        uint64_t first = wal_first_lsn(engine->wal);
        engine_event(engine, false,
                     "the database is there; it has record %" PRIu64
                     ", the log reaches from %" PRIu64 " to %" PRIu64,
                     engine->applied_lsn, first, logged_lsn(engine));
    }
    return code;
}

void
remote_heal(struct engine *engine, const struct err *why)
{
    int wait_ms = HEAL_FIRST_MS;
    struct err err = *why;
    bool told = false;

    /* Its checkpoint is a look whether it is there. */
    enum err_code code = store_checkpoint(engine->store, &err);
    while (is_away(code)) {
        engine_set_state(engine, ENGINE_STALLED, &err);
        if (!told) {
            engine_event(engine, true, "the database is away: %s", err.msg);
            told = true;
        }
        if (!applier_pause(engine, wait_ms)) {
            return;
        }
        wait_ms = wait_ms * 2 < HEAL_MAX_MS ? wait_ms * 2 : HEAL_MAX_MS;
        code = store_checkpoint(engine->store, &err);
    }
    if (code != ERR_OK && !applier_revive(engine, false, &err)) {
        return;
    }
    engine_set_state(engine, ENGINE_RUNNING, NULL);
    if (told) {
        engine_event(engine, false, "the database is back");
    }
}

void
remote_release(struct engine *engine)
{
    uint64_t applied = store_applied_lsn(engine->store);
    uint64_t spare = wal_lsn_before(engine->wal, engine->options.keep_wal_bytes);
    uint64_t lsn = applied < spare ? applied : spare;
    enum err_code code = ERR_OK;
    struct err err;

    if (lsn < wal_first_lsn(engine->wal)) {
        return;
    }
    if (engine->options.before_release) {
        code = engine->options.before_release(engine->options.release_ctx, lsn, &err);
    }
    code = code ? code : wal_release(engine->wal, lsn, &err);
    if (code != ERR_OK) {
        engine_event(engine, true, "the log below record %" PRIu64 " cannot be dropped: %s", lsn,
                     err.msg);
    }
}
