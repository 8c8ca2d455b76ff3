/*
 * What the applier does between two groups: what others ask it to do with the store, checkpoints,
 * snapshots, and dropping the log's segments.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store/cold.h"
#include "store/engine_private.h"
#include "store/failpoint.h"

enum {
    US_PER_MS = 1000,
    SNAPSHOT_RETRY_US = 60000000,
    SMALL_SEGMENT_BYTES = 64 << 10,
    BETWEEN_TICK_MS = 50,
    CHECKPOINT_BYTES = 64 << 20, /* what is not in a checkpoint stays in the store's memory */
    HELD_BYTES = 1 << 30         /* for the sake of one turn; see engine.h */
};

bool
applier_is_broken(enum err_code code)
{
    return code == ERR_CORRUPT || code == ERR_INTERNAL;
}

static void
finish_checkpoint(struct engine *engine, uint64_t wanted, enum err_code code, const struct err *err)
{
    pthread_mutex_lock(&engine->lock);
    engine->checkpoints_done = wanted;
    engine->checkpoint_err = code == ERR_OK ? (struct err){0} : *err;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

/* A checkpoint when one is asked for, or when rows came and the time or the bytes are over. */
static void
maybe_checkpoint(struct engine *engine)
{
    int64_t now_us = clock_mono_us(engine->clock);
    int64_t due_us =
        engine->checkpointed_us + (int64_t)engine->options.checkpoint_interval_ms * US_PER_MS;
    struct err err;

    pthread_mutex_lock(&engine->lock);
    uint64_t wanted = engine->checkpoints_wanted;
    bool asked = wanted != engine->checkpoints_done;
    pthread_mutex_unlock(&engine->lock);
    bool due = engine->bytes_since_checkpoint > 0 &&
               (now_us >= due_us ||
                (!engine->checkpoint_failed && engine->bytes_since_checkpoint >= CHECKPOINT_BYTES));
    if (!asked && !due) {
        return;
    }
    enum err_code code = store_checkpoint(engine->store, &err);
    engine->checkpointed_us = now_us;
    engine->checkpoint_failed = code != ERR_OK;
    if (code == ERR_OK) {
        engine->bytes_since_checkpoint = 0;
    } else {
        engine_event(engine, true, "checkpoint failed: %s", err.msg);
    }
    if (code == ERR_BUSY && engine->bytes_since_checkpoint >= HELD_BYTES) {
        engine_turn_call_off(engine);
    }
    finish_checkpoint(engine, wanted, code, &err);
    if (applier_is_broken(code) && applier_revive(engine, false, &err)) {
        engine_set_state(engine, ENGINE_RUNNING, NULL);
    }
}

/* Which cold files the snapshot lists, before it is there: a file that a snapshot may need must
 * never look like one that nobody lists. */
static enum err_code
write_sidecar(struct engine *engine, uint64_t lsn, struct err *err)
{
    char path[ENGINE_PATH_MAX];
    struct cold_file *files = NULL;
    size_t count = 0;

    if (!store_has_cold(engine->store)) {
        return ERR_OK;
    }
    enum err_code code = store_cold_list(engine->store, &files, &count, err);
    datadir_sidecar_path(engine->data_dir, lsn, path, sizeof(path));
    code = code ? code : cold_sidecar_write(path, files, count, err);
    free(files);
    return code;
}

/* Definitions of series may stand in the log alone, but for the database. */
static enum err_code
release_log(struct engine *engine, uint64_t lsn, struct err *err)
{
    enum err_code code = ERR_OK;

    if (engine->series && store_has_cold(engine->store)) {
        code = series_file_sync(engine->series, engine->store, err);
    }
    if (code == ERR_OK && engine->options.before_release) {
        code = engine->options.before_release(engine->options.release_ctx, lsn, err);
    }
    return code ? code : wal_release(engine->wal, lsn, err);
}

static void
take_snapshot(struct engine *engine)
{
    char path[ENGINE_PATH_MAX];
    struct err err;
    uint64_t lsn = store_applied_lsn(engine->store);

    enum err_code code = write_sidecar(engine, lsn, &err);
    datadir_snapshot_path(engine->data_dir, lsn, path, sizeof(path));
    code = code ? code : store_snapshot(engine->store, path, &err);
    code = code ? code : failpoint_fails("snapshot.taken", &err);
    if (code == ERR_OK) {
        engine->bytes_since_snapshot = 0;
        engine->snapshot_tried_us = 0;
        pthread_mutex_lock(&engine->lock);
        engine->snapshot_lsn = lsn;
        pthread_mutex_unlock(&engine->lock);
        datadir_drop_snapshots(engine->data_dir);
        /* Up to the older of the two: the newer one may turn out not to open. */
        uint64_t kept[ENGINE_SNAPSHOTS_KEPT];
        if (datadir_snapshots(engine->data_dir, kept, ENGINE_SNAPSHOTS_KEPT) ==
            ENGINE_SNAPSHOTS_KEPT) {
            code = release_log(engine, kept[ENGINE_SNAPSHOTS_KEPT - 1], &err);
        }
    } else {
        engine->snapshot_tried_us = clock_mono_us(engine->clock);
    }
    if (code != ERR_OK) {
        engine_event(engine, true, "snapshot at record %" PRIu64 " failed: %s", lsn, err.msg);
    }
}

/*
 * A program that opens the directory for every record leaves a segment each time, and every open
 * reads all of them. Half as many records as may be kept make a snapshot worth its cost: what is
 * kept reaches back to the one before.
 */
static bool
has_many_segments(struct engine *engine)
{
    struct wal_status status;

    wal_status(engine->wal, &status);
    return status.segments > engine->options.snapshot_segments &&
           status.bytes < status.segments * SMALL_SEGMENT_BYTES &&
           store_applied_lsn(engine->store) - engine->snapshot_lsn >
               engine->options.snapshot_segments / 2;
}

/*
 * A volatile store keeps one copy of itself, for the log's sake alone: without it the log could
 * never be shortened, for what a store defines (series, budgets) may stand in its first record. As
 * much log as the store may hold in memory is worth a copy; so the disk has twice to three times
 * that.
 */
static void
maybe_snapshot_volatile(struct engine *engine)
{
    struct store_stats stats;
    struct err err;

    store_stats(engine->store, &stats);
    uint64_t worth = stats.memory_limit_bytes < engine->options.snapshot_wal_bytes
                         ? stats.memory_limit_bytes
                         : engine->options.snapshot_wal_bytes;
    if (engine->bytes_since_snapshot < worth ||
        (engine->snapshot_tried_us > 0 &&
         clock_mono_us(engine->clock) < engine->snapshot_tried_us + SNAPSHOT_RETRY_US)) {
        return;
    }
    enum err_code code = store_snapshot(engine->store, engine->store_path, &err);
    if (code == ERR_OK) {
        engine->bytes_since_snapshot = 0;
        pthread_mutex_lock(&engine->lock);
        engine->snapshot_lsn = stats.applied_lsn;
        pthread_mutex_unlock(&engine->lock);
        code = release_log(engine, stats.applied_lsn, &err);
    }
    engine->snapshot_tried_us = code == ERR_OK ? 0 : clock_mono_us(engine->clock);
    if (code != ERR_OK) {
        engine_event(engine, true, "the copy that shortens the log failed: %s", err.msg);
    }
}

/* A snapshot costs a copy of the database, so it must free log worth at least half of that. */
static void
maybe_snapshot(struct engine *engine)
{
    struct store_stats stats;
    bool many = false;

    if (engine->options.store_volatile) {
        maybe_snapshot_volatile(engine);
        return;
    }
    if (engine->bytes_since_snapshot < engine->options.snapshot_wal_bytes) {
        many = has_many_segments(engine);
        if (!many) {
            return;
        }
    }
    if (engine->snapshot_tried_us > 0 &&
        clock_mono_us(engine->clock) < engine->snapshot_tried_us + SNAPSHOT_RETRY_US) {
        return;
    }
    store_stats(engine->store, &stats);
    if (many || engine->bytes_since_snapshot >= stats.size_bytes / 2) {
        take_snapshot(engine);
    }
}

/* ---- what others ask for ---- */

static void
finish_between(struct engine *engine, struct engine_between *request, enum err_code code)
{
    pthread_mutex_lock(&engine->lock);
    request->code = code;
    request->done = true;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

static struct engine_between *
take_between(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    struct engine_between *request = engine->between;
    if (request) {
        engine->between = request->next;
        request->begun = true;
    }
    pthread_mutex_unlock(&engine->lock);
    return request;
}

/* One a round, so that groups are not held up behind a queue of them. */
static void
run_between(struct engine *engine)
{
    struct engine_between *request = take_between(engine);

    if (!request) {
        return;
    }
    enum err_code code = request->fn(request->ctx, engine->store, &request->err);
    struct err err = request->err;
    finish_between(engine, request, code);
    if (applier_is_broken(code) && applier_revive(engine, false, &err)) {
        engine_set_state(engine, ENGINE_RUNNING, NULL);
    }
}

void
applier_refuse_between(struct engine *engine)
{
    struct engine_between *request;

    while ((request = take_between(engine))) {
        finish_between(engine, request,
                       err_set(&request->err, ERR_UNAVAILABLE, "the store is closing"));
    }
}

static void
remove_between(struct engine *engine, const struct engine_between *request)
{
    struct engine_between **at = &engine->between;

    while (*at != request) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = request->next;
}

bool
engine_is_before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

static bool
is_over(const struct timespec *until)
{
    struct timespec now = engine_deadline(0);

    return !engine_is_before(&now, until);
}

/* The applier waits for those who have borrowed the store: the caller may be one of them. */
static bool
must_give_up(const struct engine *engine)
{
    return atomic_load(&engine->interrupting) || atomic_load(&engine->reads_stopped);
}

enum err_code
engine_between_groups(struct engine *engine, engine_store_fn *fn, void *ctx, int timeout_ms,
                      struct err *err)
{
    struct engine_between request = {.fn = fn, .ctx = ctx};
    struct timespec until = engine_deadline(timeout_ms);

    pthread_mutex_lock(&engine->lock);
    if (engine->closing) {
        pthread_mutex_unlock(&engine->lock);
        return err_set(err, ERR_UNAVAILABLE, "the store is closing");
    }
    struct engine_between **at = &engine->between;
    while (*at) {
        at = &(*at)->next;
    }
    *at = &request;
    pthread_cond_broadcast(&engine->changed);
    while (!request.done) {
        /* What has begun works on the caller's memory. */
        if (request.begun) {
            pthread_cond_wait(&engine->changed, &engine->lock);
        } else if (must_give_up(engine)) {
            remove_between(engine, &request);
            request.code = err_set(&request.err, ERR_UNAVAILABLE,
                                   "the store is closing or being rebuilt; try again");
            break;
        } else if (is_over(&until)) {
            remove_between(engine, &request);
            request.code =
                err_set(&request.err, ERR_TIMEOUT,
                        "the applier came to no end of its group within %d ms", timeout_ms);
            break;
        } else {
            struct timespec tick = engine_deadline(BETWEEN_TICK_MS);
            pthread_cond_timedwait(&engine->changed, &engine->lock,
                                   engine_is_before(&until, &tick) ? &until : &tick);
        }
    }
    pthread_mutex_unlock(&engine->lock);
    if (request.code != ERR_OK) {
        *err = request.err;
    }
    return request.code;
}

void
applier_care(struct engine *engine)
{
    if (engine->store) {
        run_between(engine);
    }
    if (engine->store) {
        maybe_checkpoint(engine);
    }
    if (engine->store && engine->options.store_remote) {
        remote_release(engine);
    } else if (engine->store) {
        maybe_snapshot(engine);
    }
}
