/* Opening and closing a data directory; what it tells of itself. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "embed/embed_internal.h"
#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"
#include "store/postgres/store_postgres.h"

enum {
    OPEN_TIMEOUT_MS = 60000,
    ASYNC_DEFAULT = 10000,
    ASYNC_CAP = 1000000,
    SUBSCRIPTIONS_DEFAULT = 64,
    SUBSCRIPTIONS_CAP = 1024,
    POSTGRES_CONNECTIONS_CAP = 1000,
    SEGMENT_BYTES_MIN = 8192,
    SEGMENT_BYTES_CAP = 1 << 30,
    APPEND_BYTES_CAP = 1 << 30,
    APPEND_BYTES_DEFAULT = 64 << 20,
    US_PER_MS = 1000
};

/* The kinds of stores of this build; one more is one more row. */
struct storage {
    const char *type;
    store_open_fn *open;
    bool is_volatile;
    bool is_remote;
    bool has_sql;
};

static const struct storage storages[] = {
    {.type = "duckdb", .open = store_duckdb_open, .has_sql = true},
    {.type = "memory", .open = store_memory_open, .is_volatile = true},
    {.type = "postgres", .open = store_postgres_open, .is_remote = true, .has_sql = true},
};

void
embed_block_signals(sigset_t *ret_old)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, ret_old);
}

/* A write over the limit of a file's size fails with EFBIG, and leaves a signal that would end the
 * process as soon as it is let through. */
void
embed_restore_signals(const sigset_t *old)
{
    const struct timespec at_once = {.tv_sec = 0};
    sigset_t size_limit;

    sigemptyset(&size_limit);
    sigaddset(&size_limit, SIGXFSZ);
    if (!sigismember(old, SIGXFSZ)) {
        sigtimedwait(&size_limit, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

static const struct storage *
find_storage(const char *type, struct eider_error *error)
{
    for (size_t i = 0; i < sizeof(storages) / sizeof(storages[0]); i++) {
        if (strcmp(storages[i].type, type) == 0) {
            return &storages[i];
        }
    }
    embed_refuse(error, EIDER_INVALID,
                 "unknown storage type: %.100s; storage_type is duckdb, memory or postgres", type);
    return NULL;
}

static enum eider_status
check_number(const char *name, uint64_t value, uint64_t min, uint64_t max,
             struct eider_error *error)
{
    if (value == 0 || (value >= min && value <= max)) {
        return EIDER_OK;
    }
    return embed_refuse(
        error, EIDER_INVALID, "%s is %llu; expected 0 for the default, or %llu to %llu", name,
        (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

static enum eider_status
check_options(const struct eider_options *o, struct eider_error *error)
{
    const struct {
        const char *name;
        uint64_t value, min, max;
    } numbers[] = {
        {"wal_segment_bytes", o->wal_segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_CAP},
        {"request_bytes_max", o->request_bytes_max, 1, APPEND_BYTES_CAP},
        {"async_max", o->async_max, 1, ASYNC_CAP},
        {"subscriptions_max", o->subscriptions_max, 1, SUBSCRIPTIONS_CAP},
        {"series_max", o->series_max, 1, INT32_MAX},
        {"threads", o->threads, 1, 1024},
        {"readers", o->readers, 1, 256},
        {"postgres_connections", o->postgres_connections, 2, POSTGRES_CONNECTIONS_CAP},
        {"memory_limit_bytes", o->memory_limit_bytes, 16 << 20, UINT64_C(1) << 50},
    };

    if (!o->data_dir || o->data_dir[0] == '\0') {
        return embed_refuse(error, EIDER_INVALID, "data_dir is missing; expected a directory");
    }
    if (o->query_timeout_ms < 0 || o->open_timeout_ms < 0) {
        return embed_refuse(error, EIDER_INVALID, "%s is %d; expected milliseconds from 0",
                            o->query_timeout_ms < 0 ? "query_timeout_ms" : "open_timeout_ms",
                            o->query_timeout_ms < 0 ? o->query_timeout_ms : o->open_timeout_ms);
    }
    enum eider_status status = EMBED_CHECK_RESERVED("options", o, error);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && status == EIDER_OK; i++) {
        status =
            check_number(numbers[i].name, numbers[i].value, numbers[i].min, numbers[i].max, error);
    }
    return status;
}

static void
on_engine_event(void *ctx, bool is_problem, const char *text)
{
    const struct eider_db *db = ctx;

    embed_enter_callback();
    db->on_event(db->event_ctx, is_problem, text);
    embed_leave_callback();
}

static void
on_durable(void *ctx, const struct batch *batches, size_t count, uint64_t lsn)
{
    struct eider_db *db = ctx;

    for (size_t i = 0; i < count; i++) {
        if (batches[i].table->id == TABLE_SAMPLES) {
            last_update(&db->last, &batches[i], lsn);
        }
    }
    subscribers_take(db, batches, count, lsn);
}

static struct eider_db *
db_new(const struct eider_options *options, const struct storage *storage)
{
    struct eider_db *db = mem_zalloc(1, sizeof(*db));
    pthread_condattr_t attributes;

    db->storage_type = storage->type;
    db->has_sql = storage->has_sql;
    db->on_event = options->on_event;
    db->event_ctx = options->event_ctx;
    db->pending_max = options->async_max ? options->async_max : ASYNC_DEFAULT;
    db->request_bytes_max =
        options->request_bytes_max ? options->request_bytes_max : APPEND_BYTES_DEFAULT;
    pthread_mutex_init(&db->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&db->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    last_init(&db->last);
    subscribers_init(&db->subscribers, options->subscriptions_max ? options->subscriptions_max
                                                                  : SUBSCRIPTIONS_DEFAULT);
    return db;
}

static void
db_free(struct eider_db *db)
{
    subscribers_fini(&db->subscribers);
    last_fini(&db->last);
    pthread_cond_destroy(&db->changed);
    pthread_mutex_destroy(&db->lock);
    free(db);
}

static enum err_code
open_engine(struct eider_db *db, const struct eider_options *options, const struct storage *storage,
            struct err *err)
{
    const struct engine_options engine = {
        .data_dir = options->data_dir,
        .store_open = storage->open,
        .store_volatile = storage->is_volatile,
        .store_remote = storage->is_remote,
        .store = {.memory_limit_bytes = options->memory_limit_bytes,
                  .threads = options->threads,
                  .readers = options->readers,
                  .timeout_ms = options->query_timeout_ms,
                  .postgres = {.dsn = options->postgres_dsn,
                               .max_connections = options->postgres_connections}},
        .wal = {.segment_bytes = (size_t)options->wal_segment_bytes},
        .event = options->on_event ? on_engine_event : NULL,
        .event_ctx = db,
    };

    return engine_open(&engine, &db->engine, err);
}

static int
ms_until(int64_t until_us)
{
    int64_t left_us = until_us - clock_mono_us(clock_system());

    return left_us > 0 ? (int)((left_us + US_PER_MS - 1) / US_PER_MS) : 0;
}

/* The ingest waits for the store by itself, but not for as long as the caller may want. */
static enum err_code
catch_up(struct eider_db *db, int64_t until_us, struct err *err)
{
    struct engine_status status;

    engine_status(db->engine, &status);
    return engine_wait_applied(db->engine, status.durable_lsn, ms_until(until_us), err);
}

static enum err_code
late(struct eider_db *db, int timeout_ms, struct err *err)
{
    struct engine_status status;

    engine_status(db->engine, &status);
    return err_set(err, ERR_TIMEOUT,
                   "the store has not caught up with its log within open_timeout_ms, %d%s%.300s",
                   timeout_ms, status.healthy ? "" : ": ",
                   status.healthy ? "" : status.problem.msg);
}

static enum err_code
open_ingest(struct eider_db *db, const struct eider_options *options, struct err *err)
{
    int timeout_ms = options->open_timeout_ms ? options->open_timeout_ms : OPEN_TIMEOUT_MS;
    int64_t until_us = clock_mono_us(clock_system()) + (int64_t)timeout_ms * US_PER_MS;
    const struct ingest_options ingest = {
        .engine = db->engine,
        .sink = on_durable,
        .sink_ctx = db,
        .request_bytes_max = options->request_bytes_max,
        .inflight_bytes_max = options->inflight_bytes_max,
        .unapplied_bytes_max = options->unapplied_bytes_max,
        .series_max = options->series_max,
    };
    enum err_code code;

    for (;;) {
        code = catch_up(db, until_us, err);
        if (code == ERR_OK) {
            code = ingest_open(&ingest, &db->ingest, err);
        }
        bool early = code == ERR_UNAVAILABLE || code == ERR_TIMEOUT;
        if (!early) {
            return code;
        }
        if (ms_until(until_us) == 0) {
            return late(db, timeout_ms, err);
        }
        if (code == ERR_UNAVAILABLE) {
            const struct timespec pause = {.tv_nsec = 20000000};
            nanosleep(&pause, NULL);
        }
    }
}

/* It writes on this thread, see embed_restore_signals. */
static void
close_engine(struct eider_db *db)
{
    sigset_t old;

    embed_block_signals(&old);
    engine_close(db->engine);
    embed_restore_signals(&old);
}

static enum eider_status
open_with(const struct eider_options *options, const struct storage *storage,
          struct eider_db **ret_db, struct eider_error *error)
{
    struct eider_db *db = db_new(options, storage);
    struct err err = {0};
    sigset_t old;

    /* Threads inherit the mask: the program's signals are for the program's threads. While the
     * store catches up they find this one, too. */
    embed_block_signals(&old);
    enum err_code code = open_engine(db, options, storage, &err);
    embed_restore_signals(&old);
    if (code == ERR_OK) {
        code = open_ingest(db, options, &err);
    }
    if (code != ERR_OK) {
        close_engine(db);
        db_free(db);
        return embed_fail(error, &err);
    }
    *ret_db = db;
    return EIDER_OK;
}

enum eider_status
eider_open(const struct eider_options *options, struct eider_db **ret_db, struct eider_error *error)
{
    if (!options || !ret_db) {
        return embed_refuse(error, EIDER_INVALID, "options and ret_db must not be NULL");
    }
    enum eider_status status = embed_check_wait("eider_open", error);
    if (status == EIDER_OK) {
        status = check_options(options, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    const struct storage *storage =
        find_storage(options->storage_type ? options->storage_type : "duckdb", error);
    if (!storage) {
        return EIDER_INVALID;
    }
    if (!storage->is_remote && options->postgres_dsn) {
        return embed_refuse(error, EIDER_INVALID,
                            "postgres_dsn is for storage_type postgres, not %s", storage->type);
    }
    return open_with(options, storage, ret_db, error);
}

enum eider_status
eider_close(struct eider_db *db)
{
    enum eider_status status = embed_check_end("eider_close");

    if (!db || status != EIDER_OK) {
        return status;
    }
    subscribers_end(db);
    ingest_stop(db->ingest); /* waits for all appends, and their callbacks */
    close_engine(db);        /* its last events may still ask the handle something */
    ingest_close(db->ingest);
    db_free(db);
    return EIDER_OK;
}

enum eider_status
eider_wait_applied(struct eider_db *db, uint64_t lsn, int timeout_ms, struct eider_error *error)
{
    struct err err = {0};
    enum eider_status status = embed_check_wait("eider_wait_applied", error);

    if (status != EIDER_OK) {
        return status;
    }
    if (timeout_ms < 0) {
        return embed_refuse(error, EIDER_INVALID, "timeout_ms is %d; expected milliseconds from 0",
                            timeout_ms);
    }
    enum err_code code = engine_wait_applied(db->engine, lsn, timeout_ms, &err);
    return code == ERR_OK ? EIDER_OK : embed_fail(error, &err);
}

enum eider_status
eider_checkpoint(struct eider_db *db, int timeout_ms, struct eider_error *error)
{
    struct err err = {0};
    enum eider_status status = embed_check_wait("eider_checkpoint", error);

    if (status != EIDER_OK) {
        return status;
    }
    if (timeout_ms < 0) {
        return embed_refuse(error, EIDER_INVALID, "timeout_ms is %d; expected milliseconds from 0",
                            timeout_ms);
    }
    enum err_code code = engine_checkpoint(db->engine, timeout_ms, &err);
    return code == ERR_OK ? EIDER_OK : embed_fail(error, &err);
}

void
eider_stats(struct eider_db *db, struct eider_stats *ret_stats)
{
    struct engine_status engine;
    struct ingest_stats ingest;

    engine_status(db->engine, &engine);
    ingest_stats(db->ingest, &ingest);
    *ret_stats = (struct eider_stats){
        .durable_lsn = engine.durable_lsn,
        .applied_lsn = engine.applied_lsn,
        .rows = ingest.rows,
        .syncs = engine.wal.syncs,
        .records = engine.wal.records,
        .series = ingest.series,
        .inflight_bytes = ingest.inflight_bytes,
        .log_bytes = engine.wal.bytes,
        .store_bytes = engine.store.size_bytes,
        .rebuilds = engine.rebuilds,
        .missed_batches = subscribers_missed(&db->subscribers),
        .healthy = engine.healthy,
    };
    snprintf(ret_stats->problem, sizeof(ret_stats->problem), "%s",
             engine.healthy ? "" : engine.problem.msg);
    pthread_mutex_lock(&db->lock);
    ret_stats->async_pending = db->pending;
    pthread_mutex_unlock(&db->lock);
}
