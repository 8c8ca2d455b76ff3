/* The engine's life, its waiters and its status. The applier is in applier.c, reads are in
 * engine_read.c. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/engine_private.h"
#include "store/maintain_private.h"

enum {
    SNAPSHOT_WAL_BYTES = 1 << 30,
    SNAPSHOT_SEGMENTS = 512,
    CHECKPOINT_INTERVAL_MS = 60000,
    GROUP_BYTES_MAX = 32 << 20,
    READERS = 4,
    TIMEOUT_MS = 30000,
    EVENT_BYTES = 1024,
    MS_PER_S = 1000,
    NS_PER_MS = 1000000
};

void
engine_event(const struct engine *engine, bool is_problem, const char *fmt, ...)
{
    char text[EVENT_BYTES];
    va_list ap;

    if (!engine->options.event) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    engine->options.event(engine->options.event_ctx, is_problem, text);
}

void
engine_set_state(struct engine *engine, enum engine_state state, const struct err *problem)
{
    pthread_mutex_lock(&engine->lock);
    engine->state = state;
    engine->problem = problem ? *problem : (struct err){0};
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

static void
init_locks(struct engine *engine)
{
    pthread_rwlockattr_t rwlock;
    pthread_condattr_t cond;

    pthread_rwlockattr_init(&rwlock);
    /* A rebuild must not wait for ever behind a stream of readers. */
    pthread_rwlockattr_setkind_np(&rwlock, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&engine->store_lock, &rwlock);
    pthread_rwlockattr_destroy(&rwlock);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_condattr_init(&cond);
    pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->changed, &cond);
    pthread_condattr_destroy(&cond);
}

static char *
join_path(const char *dir, const char *name)
{
    struct buf path;
    size_t len;

    buf_init(&path, 0);
    buf_add_fmt(&path, "%s/%s", dir, name);
    buf_add_char(&path, '\0');
    return buf_take(&path, &len);
}

static struct engine *
new_engine(const struct engine_options *options)
{
    struct engine *engine = mem_zalloc(1, sizeof(*engine));
    struct engine_options *o = &engine->options;

    *o = *options;
    o->snapshot_wal_bytes = o->snapshot_wal_bytes ? o->snapshot_wal_bytes : SNAPSHOT_WAL_BYTES;
    o->snapshot_segments = o->snapshot_segments ? o->snapshot_segments : SNAPSHOT_SEGMENTS;
    o->checkpoint_interval_ms =
        o->checkpoint_interval_ms ? o->checkpoint_interval_ms : CHECKPOINT_INTERVAL_MS;
    o->group_bytes_max = o->group_bytes_max ? o->group_bytes_max : GROUP_BYTES_MAX;
    o->store.readers = o->store.readers ? o->store.readers : READERS;
    o->store.timeout_ms = o->store.timeout_ms ? o->store.timeout_ms : TIMEOUT_MS;
    engine->clock = o->clock ? o->clock : clock_system();
    o->store.laps = o->laps;
    engine->data_dir = mem_strdup(slice_of(o->data_dir));
    /* What a volatile store keeps must not be taken for a database, nor a database for it. */
    engine->store_path = join_path(o->data_dir, o->store_volatile ? "memory.snapshot"
                                                : o->store_file   ? o->store_file
                                                                  : "eider.duckdb");
    engine->wal_dir = join_path(o->data_dir, "wal");
    engine->lock_fd = -1;
    if (o->hot_cache_bytes > 0 && !o->store_volatile) {
        engine->hot = hot_new(&(struct hot_options){.bytes_max = o->hot_cache_bytes,
                                                    .timeout_ms = o->store.timeout_ms});
    }
    if (!o->store_volatile && !o->store_remote) {
        char *cold = join_path(o->data_dir, "cold");
        engine->series = series_file_new(cold);
        free(cold);
    }
    init_locks(engine);
    changes_init(&engine->changes);
    return engine;
}

static void
free_engine(struct engine *engine)
{
    if (engine->lock_fd >= 0) {
        /* A child that was forked meanwhile has the same lock, and would keep it. */
        flock(engine->lock_fd, LOCK_UN);
        close(engine->lock_fd);
    }
    adopted_forget(engine);
    changes_fini(&engine->changes);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    pthread_rwlock_destroy(&engine->store_lock);
    hot_free(engine->hot);
    series_file_free(engine->series);
    free(engine->data_dir);
    free(engine->store_path);
    free(engine->wal_dir);
    free(engine);
}

static enum err_code
open_wal(struct engine *engine, struct err *err)
{
    struct wal_options options = engine->options.wal;

    options.dir = engine->wal_dir;
    options.clock = engine->clock;
    if (!engine->options.store_volatile) {
        /* What the store has need not be read to start; a rebuild reads, and checks, it. */
        options.trusted_lsn = engine->applied_lsn;
    }
    return wal_open(&options, engine->applied_lsn + 1, &engine->wal, err);
}

static enum err_code
start_applier(struct engine *engine, struct err *err)
{
    uint64_t first = wal_first_lsn(engine->wal);
    uint64_t from = engine->applied_lsn + 1 > first ? engine->applied_lsn + 1 : first;
    enum err_code code = ERR_OK;

    if (engine->store) {
        code = wal_cursor_open(engine->wal, from, &engine->cursor, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    engine->state = engine->store ? ENGINE_RUNNING : ENGINE_STALLED;
    if (pthread_create(&engine->applier, NULL, applier_main, engine) != 0) {
        return err_set(err, ERR_INTERNAL, "the applier thread cannot be started");
    }
    engine->applier_runs = true;
    return ERR_OK;
}

static void
note_snapshot(struct engine *engine)
{
    struct wal_status status;

    if (engine->options.store_volatile) {
        engine->snapshot_lsn = engine->applied_lsn;
    } else if (datadir_snapshots(engine->data_dir, &engine->snapshot_lsn, 1) == 0) {
        engine->snapshot_lsn = 0;
    }
    /* The part of the log behind the newest snapshot; bytes, not records, so an estimate. */
    wal_status(engine->wal, &status);
    uint64_t records = status.durable_lsn + 1 - status.first_lsn;
    uint64_t behind =
        status.durable_lsn > engine->snapshot_lsn ? status.durable_lsn - engine->snapshot_lsn : 0;
    engine->bytes_since_snapshot =
        behind < records ? (uint64_t)((double)status.bytes * (double)behind / (double)records)
                         : status.bytes;
}

/* Half a database must not be taken for a whole one. */
static enum err_code
check_finished(const struct engine *engine, struct err *err)
{
    char path[ENGINE_PATH_MAX];

    snprintf(path, sizeof(path), "%.4000s/%s", engine->data_dir, ENGINE_UNFINISHED);
    if (!engine->options.unfinished && access(path, F_OK) == 0) {
        return err_set(err, ERR_CONFLICT,
                       "a restore into %s has not ended: run \"eider restore\" again, it starts "
                       "over",
                       engine->data_dir);
    }
    return ERR_OK;
}

enum err_code
engine_open(const struct engine_options *options, struct engine **ret_engine, struct err *err)
{
    struct engine *engine = new_engine(options);
    enum err_code code = datadir_lock(engine->data_dir, &engine->lock_fd, err);

    if (code == ERR_OK) {
        code = check_finished(engine, err);
    }
    laps_mark(options->laps, "lock");
    if (code == ERR_OK) {
        code = rebuild_open(engine, err);
    }
    laps_mark(options->laps, "store");
    if (code == ERR_OK) {
        code = open_wal(engine, err);
    }
    if (code == ERR_OK) {
        laps_mark(options->laps, "log");
        code = rebuild_gap(engine, err);
    }
    if (code == ERR_OK) {
        engine->options.store.laps = NULL; /* of this open alone, not of the applier's */
        note_snapshot(engine);
        code = start_applier(engine, err);
    }
    if (code == ERR_OK) {
        code = maintain_start(engine, err);
    }
    laps_mark(options->laps, "maintenance");
    if (code != ERR_OK) {
        engine_close(engine);
        return code;
    }
    *ret_engine = engine;
    return ERR_OK;
}

static void
stop_applier(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    engine->closing = true;
    if (engine->cursor) {
        wal_cursor_wake(engine->cursor);
    }
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    if (engine->applier_runs) {
        pthread_join(engine->applier, NULL);
    }
}

void
engine_close(struct engine *engine)
{
    struct err err;

    if (!engine) {
        return;
    }
    maintain_stop(engine);
    stop_applier(engine);
    if (engine->store && !engine->options.store_volatile && engine->applier_runs &&
        engine->bytes_since_checkpoint > 0 && store_checkpoint(engine->store, &err) != ERR_OK) {
        /* The log still has everything. */
        engine_event(engine, true, "checkpoint at the end failed: %s", err.msg);
    }
    while (engine->waiters) {
        struct engine_waiter *waiter = engine->waiters;
        engine->waiters = waiter->next;
        waiter->fn(waiter, false);
    }
    wal_cursor_close(engine->cursor);
    wal_close(engine->wal);
    store_close(engine->store);
    free_engine(engine);
}

void
engine_set_space(struct engine *engine, uint64_t used_bytes, uint64_t max_bytes)
{
    uint64_t room = max_bytes > used_bytes ? max_bytes - used_bytes : 0;

    atomic_store(&engine->space_used, used_bytes);
    atomic_store(&engine->space_room, room < INT64_MAX ? (int64_t)room : INT64_MAX);
    atomic_store(&engine->space_max, max_bytes);
}

/* The room that is told is a second old at most; what came since is taken off it. */
static bool
has_room(struct engine *engine, const struct wal_entry *entry)
{
    int64_t bytes = 0;

    if (atomic_load(&engine->space_max) == 0) {
        return true;
    }
    for (unsigned i = 0; i < entry->part_count; i++) {
        bytes += (int64_t)entry->parts[i].len;
    }
    return atomic_fetch_sub(&engine->space_room, bytes) >= bytes;
}

void
engine_submit(struct engine *engine, struct wal_entry *entry)
{
    struct err err;

    entry->type = RECORD_BATCHES;
    if (has_room(engine, entry)) {
        wal_submit(engine->wal, entry);
        return;
    }
    err_set(&err, ERR_NO_SPACE,
            "limits.disk_bytes_max is %llu, and this database takes %llu bytes on disk: remove "
            "data, or "
            "raise the limit",
            (unsigned long long)atomic_load(&engine->space_max),
            (unsigned long long)atomic_load(&engine->space_used));
    entry->lsn = 0;
    entry->done(entry, ERR_NO_SPACE, &err);
}

void
engine_when_applied(struct engine *engine, struct engine_waiter *waiter)
{
    bool applied;
    bool closing;

    pthread_mutex_lock(&engine->lock);
    applied = engine->applied_lsn >= waiter->lsn;
    closing = engine->closing;
    if (!applied && !closing) {
        waiter->until = engine_deadline(waiter->timeout_ms);
        waiter->next = engine->waiters;
        engine->waiters = waiter;
        pthread_cond_broadcast(&engine->changed);
    }
    pthread_mutex_unlock(&engine->lock);
    if (applied || closing) {
        waiter->fn(waiter, applied);
    }
}

struct timespec
engine_deadline(int timeout_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / MS_PER_S;
    until.tv_nsec += (long)(timeout_ms % MS_PER_S) * NS_PER_MS;
    if (until.tv_nsec >= (long)MS_PER_S * NS_PER_MS) {
        until.tv_sec++;
        until.tv_nsec -= (long)MS_PER_S * NS_PER_MS;
    }
    return until;
}

enum err_code
engine_wait_applied(struct engine *engine, uint64_t lsn, int timeout_ms, struct err *err)
{
    struct timespec until = engine_deadline(timeout_ms);
    int result = 0;

    pthread_mutex_lock(&engine->lock);
    engine->waiting_threads++;
    pthread_cond_broadcast(&engine->changed);
    while (engine->applied_lsn < lsn && !engine->closing && result == 0) {
        result = pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
    }
    engine->waiting_threads--;
    uint64_t applied = engine->applied_lsn;
    bool closing = engine->closing;
    pthread_mutex_unlock(&engine->lock);
    if (applied >= lsn) {
        return ERR_OK;
    }
    if (closing) {
        return err_set(err, ERR_UNAVAILABLE, "the store is closing");
    }
    return err_set(err, ERR_TIMEOUT, "record %llu is not applied after %d ms (%llu is)",
                   (unsigned long long)lsn, timeout_ms, (unsigned long long)applied);
}

uint64_t
engine_applied_lsn(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    uint64_t applied = engine->applied_lsn;
    pthread_mutex_unlock(&engine->lock);
    return applied;
}

bool
engine_changed(struct engine *engine, enum table_id table, int64_t from_us, int64_t to_us,
               uint64_t lsn)
{
    return changes_since(&engine->changes, table, from_us, to_us, lsn);
}

void
engine_hot_invalidate(struct engine *engine, enum table_id table, int64_t from_us, int64_t to_us)
{
    changes_removed(&engine->changes, table == TABLE_METRICS ? TABLE_SAMPLES : table, from_us,
                    to_us, engine_applied_lsn(engine) + 1);
    if (engine->hot && (table == TABLE_SAMPLES || table == TABLE_METRICS)) {
        hot_invalidate(engine->hot, from_us, to_us);
    }
}

void
engine_stop_reads(struct engine *engine)
{
    atomic_store(&engine->reads_stopped, true);
    /* While the applier swaps the store it interrupts the reads itself. */
    if (pthread_rwlock_tryrdlock(&engine->store_lock) == 0) {
        if (engine->store) {
            store_interrupt(engine->store);
        }
        pthread_rwlock_unlock(&engine->store_lock);
    }
}

static void
estimate_backlog(const struct engine *engine, struct engine_status *status)
{
    uint64_t behind =
        status->durable_lsn > status->applied_lsn ? status->durable_lsn - status->applied_lsn : 0;
    uint64_t records = engine->applied_records;
    uint64_t average = records > 0 ? engine->applied_bytes / records : 0;

    status->unapplied_bytes = behind * average;
    if (behind > 0 && records == 0) {
        status->unapplied_bytes = status->wal.bytes;
    }
    if (engine->pending_since_us > 0) {
        int64_t lag_us = clock_wall_us(engine->clock) - engine->pending_since_us;
        status->apply_lag_us = lag_us > 0 ? lag_us : 0;
    }
}

void
engine_status(struct engine *engine, struct engine_status *ret_status)
{
    struct engine_status status = {.rebuilds = 0};

    wal_status(engine->wal, &status.wal);
    status.durable_lsn = status.wal.durable_lsn;
    if (pthread_rwlock_tryrdlock(&engine->store_lock) == 0) {
        if (engine->store) {
            store_stats(engine->store, &status.store);
        }
        pthread_rwlock_unlock(&engine->store_lock);
    }
    if (engine->hot) {
        hot_stats_of(engine->hot, &status.hot);
    }
    pthread_mutex_lock(&engine->lock);
    status.state = engine->state;
    status.problem = engine->problem;
    status.applied_lsn = engine->applied_lsn;
    status.rebuilds = engine->rebuilds;
    status.snapshot_lsn = engine->snapshot_lsn;
    status.records_set_aside = engine->records_set_aside;
    estimate_backlog(engine, &status);
    pthread_mutex_unlock(&engine->lock);
    engine_maintain_status(engine, &status.maintain);
    status.space_used = atomic_load(&engine->space_used);
    status.space_max = atomic_load(&engine->space_max);
    status.healthy = status.state == ENGINE_RUNNING && status.wal.healthy;
    if (!status.wal.healthy) {
        status.problem = status.wal.problem;
    }
    *ret_status = status;
}

enum err_code
engine_checkpoint(struct engine *engine, int timeout_ms, struct err *err)
{
    struct timespec until = engine_deadline(timeout_ms);
    int result = 0;

    pthread_mutex_lock(&engine->lock);
    uint64_t mine = ++engine->checkpoints_wanted;
    pthread_cond_broadcast(&engine->changed);
    while (engine->checkpoints_done < mine && !engine->closing && result == 0) {
        result = pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
    }
    bool done = engine->checkpoints_done >= mine;
    struct err outcome = engine->checkpoint_err;
    pthread_mutex_unlock(&engine->lock);
    if (!done) {
        return err_set(err, ERR_TIMEOUT, "no checkpoint within %d ms", timeout_ms);
    }
    if (outcome.code != ERR_OK) {
        *err = outcome;
    }
    return outcome.code;
}
