/*
 * The engine: one data directory, its WAL, its store, and the applier thread between them. It turns
 * WAL records into store transactions exactly once, takes snapshots so that segments can be
 * dropped, and rebuilds a store that will not open or was invalidated.
 *
 *   data_dir/  wal/  eider.duckdb  cold/  backup/eider-<lsn>.{duckdb,cold}  quarantine/  lock
 *
 * A WAL record's payload is a run of encoded batches (catalog/batch.h); its type is RECORD_BATCHES.
 *
 *   starting -> running <-> rebuilding        states of the store; writes are accepted in all of
 *                  \-> stalled (disk full)    them as long as the WAL is healthy
 *
 * A remote store (store_remote) has no files here but data_dir/database, which says which database
 * it is; it may be away, also at the open: the state is stalled then, reads are ERR_UNAVAILABLE.
 *
 * Threads: every function but open and close may be called from any thread.
 */
#ifndef EIDER_STORE_ENGINE_H
#define EIDER_STORE_ENGINE_H

#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/laps.h"
#include "store/hot.h"
#include "store/maintain.h"
#include "store/memory_guard.h"
#include "store/store.h"
#include "wal/wal.h"

struct engine;

enum { RECORD_BATCHES = 1 };

/* A file of this name in a data directory: a restore into it has not ended. */
#define ENGINE_UNFINISHED "restore-unfinished"

/* Batches of one record, at most; one with more might not fit a transaction. */
enum { ENGINE_RECORD_BATCHES_MAX = 64 };

/*
 * Where a PostgreSQL server is. What is NULL (or 0) is left to libpq: its environment (PGHOST,
 * PGSERVICE, PGPASSFILE, ...), service files, .pgpass, its defaults. The texts are the caller's.
 */
struct store_postgres_options {
    const char *dsn; /* "postgresql://..." or "host=... dbname=..."; the members below go before */
    const char *host;
    int port;
    const char *database;
    const char *user;
    const char *password;
    const char *sslmode;
    unsigned max_connections; /* the writer's included; 0: 25 */
    int connect_timeout_ms;   /* 0: 10 000 */
};

/* Opens a store of one kind; `path` is the file or ignored. Called at start and at each rebuild. */
struct store_open_options {
    const char *path;
    uint64_t memory_limit_bytes; /* 0: a share of the cgroup's limit */
    uint64_t points_max;       /* memory: points and rows to keep; 0: as many as the bytes allow */
    unsigned threads;          /* 0: from the cgroup */
    unsigned readers;          /* read connections; 0: 4 */
    int timeout_ms;            /* statement timeout; 0: 30 000 */
    const struct clock *clock; /* NULL: the system's */
    struct store_postgres_options postgres; /* for the PostgreSQL store */
    /* Tells of a listed cold file that is missing, or does not match the list, and was taken off it
     * at open; NULL: nobody. */
    void (*cold_lost)(void *ctx, const struct cold_file *file);
    void *cold_lost_ctx;
    /* Tells of a file that was lost and is there again: it is listed (why NULL), or why it is not.
     */
    void (*cold_back)(void *ctx, const struct cold_file *file, const char *why);
    void *cold_back_ctx;
    /* Tells, once, of a cold file for whose day rows came while it is missing or not what was
     * written, so that nobody knows whether they replace rows of it: they stand beside it. From the
     * thread that applies; NULL: nobody. */
    void (*cold_damaged)(void *ctx, const struct cold_file *file);
    void *cold_damaged_ctx;
    /* Says that whoever has the store ends, so that it no longer waits for a server that does not
     * answer, or is not to be had, while it opens or connects again; what is being applied is not
     * given up. NULL: it never does. */
    bool (*owner_ends)(void *ctx);
    void *owner_ctx;
    struct laps *laps;          /* of the open; NULL: nobody looks */
    struct memory_guard *guard; /* of the process' memory; must outlive; NULL: none */
};

typedef enum err_code store_open_fn(const struct store_open_options *options,
                                    struct store **ret_store, struct err *err);

/* How the engine tells of events worth a log line; from its own threads. */
typedef void engine_event_fn(void *ctx, bool is_problem, const char *text);

struct engine_options {
    const char *data_dir;      /* required; made if absent; locked against a second process */
    const char *store_file;    /* name within data_dir; NULL: "eider.duckdb" */
    store_open_fn *store_open; /* required */
    bool store_volatile;       /* the store keeps nothing on disk but a copy for the log's sake */
    bool store_remote;         /* a server that others run: it comes and goes, has no files here */
    uint64_t keep_wal_bytes;   /* log kept behind what a remote store has, to fill another one from;
                                  0: none */
    struct store_open_options store;
    struct wal_options wal;      /* dir is set by the engine */
    uint64_t snapshot_wal_bytes; /* log bytes between two snapshots; 0: 1 GiB */
    uint64_t snapshot_segments;  /* small segments that make one, however few bytes they hold: every
                                    open begins a segment; 0: 512 */
    int checkpoint_interval_ms;  /* 0: 60 000; a checkpoint happens only when rows came */
    size_t group_bytes_max;      /* payload bytes of one transaction; 0: 32 MiB */
    struct maintain_options maintain; /* sealing, retention */
    engine_event_fn *event;           /* called by the applier's and the maintenance thread */
    void *event_ctx;
    /* Called by the applier before segments of the log up to `lsn` are dropped, to keep them
     * elsewhere; it may block. Any answer but ERR_OK keeps them, until the next snapshot. NULL:
     * nobody wants them. */
    enum err_code (*before_release)(void *ctx, uint64_t lsn, struct err *err);
    void *release_ctx;
    bool unfinished; /* open a directory that a restore has marked; only the restore may */
    const struct clock *clock; /* NULL: the system's */
    uint64_t hot_cache_bytes;  /* recent points in memory (hot.h); 0: none. A volatile store is in
                                  memory itself and has none */
    struct laps *laps;         /* of engine_open alone; NULL: nobody looks */
};

/*
 * Locks the directory, opens (or rebuilds) store and WAL, starts the applier. Returns before the
 * backlog is applied; writes and reads work at once. Errors: ERR_CONFLICT when another process has
 * the directory or a restore into it has not ended, ERR_CORRUPT for a hole in the WAL, ERR_IO,
 * ERR_NO_SPACE.
 */
enum err_code engine_open(const struct engine_options *options, struct engine **ret_engine,
                          struct err *err);

/* Applies what is durable, checkpoints, closes. */
void engine_close(struct engine *engine);

/* Hands a record to the WAL; see wal_submit for `done`. Payload: encoded batches, one behind the
 * other. */
void engine_submit(struct engine *engine, struct wal_entry *entry);

/* Says how much space the database takes on disk and may take: once as much was submitted as there
 * was room for, engine_submit refuses with ERR_NO_SPACE, until it is said anew. max 0: no limit.
 * What was acknowledged is applied whatever the limit. */
void engine_set_space(struct engine *engine, uint64_t used_bytes, uint64_t max_bytes);

/*
 * Calls `fn` once when all records up to `lsn` are applied (at once, on this thread, if they are),
 * or with false when the engine closes first, or when the store takes nothing (its disk is full, it
 * is away) and timeout_ms are over; `late` tells the two apart. The waiter is the caller's memory
 * until then.
 */
struct engine_waiter {
    uint64_t lsn;
    void (*fn)(struct engine_waiter *waiter, bool applied);
    void *ctx;
    int timeout_ms; /* 0: none. It may take some seconds more */
    bool late;      /* from here on the engine's */
    struct timespec until;
    struct engine_waiter *next;
};

/* For timeout_ms of whoever has a client waiting. */
enum { ENGINE_APPLY_MS = 30000 };
void engine_when_applied(struct engine *engine, struct engine_waiter *waiter);

/* Blocks until `lsn` is applied or timeout_ms passed (ERR_TIMEOUT). */
enum err_code engine_wait_applied(struct engine *engine, uint64_t lsn, int timeout_ms,
                                  struct err *err);

/* Reads: as store_*, on the store of this moment; ERR_UNAVAILABLE while there is none. */
enum err_code engine_scan(struct engine *engine, const struct store_scan *scan,
                          struct batch *ret_rows, struct err *err);
enum err_code engine_bucket(struct engine *engine, const struct store_bucket *bucket,
                            struct batch *ret_rows, struct err *err);
/* As the others. The store is not swapped while it runs, so fn must come to an end, and must not
 * call the engine. */
enum err_code engine_visit(struct engine *engine, const struct store_scan *scan, store_visit_fn *fn,
                           void *ctx, struct err *err);
enum err_code engine_sql(struct engine *engine, const struct store_sql *sql, struct batch *ret_rows,
                         bool *ret_truncated, struct err *err);
enum err_code engine_latest(struct engine *engine, enum table_id table, struct batch *ret_rows,
                            struct err *err);
enum err_code engine_table_stats(struct engine *engine, enum table_id table,
                                 struct store_table_stats *ret_stats, struct err *err);

/*
 * Tells the hot cache (hot.h) and whoever keeps answers (engine_changed) that rows of a table with
 * times from from_us to to_us, both included, are no longer in the store: whoever removes rows
 * calls it behind the transaction that did. Rows that only move (to cold files, say) need no call.
 * TABLE_SAMPLES and TABLE_METRICS mean the same. Never blocks for long.
 */
void engine_hot_invalidate(struct engine *engine, enum table_id table, int64_t from_us,
                           int64_t to_us);

/*
 * Borrows the store for `fn` as a read does: it is not swapped meanwhile, and an interrupt of the
 * store (a rebuild, the end) must bring fn to its end. What fn answers is taken for the store's
 * answer: ERR_CORRUPT and ERR_UNAVAILABLE make the applier open it anew. fn must not call the
 * engine.
 */
typedef enum err_code engine_store_fn(void *ctx, struct store *store, struct err *err);
enum err_code engine_with_store(struct engine *engine, engine_store_fn *fn, void *ctx,
                                struct err *err);

/*
 * Calls `fn` on the applier's thread between two groups, and waits until it has ended: for what
 * only the applier may do. ERR_TIMEOUT, ERR_UNAVAILABLE: it was not called; so, too, when the
 * caller has borrowed the store and it is to be swapped. fn must be quick, for records wait behind
 * it, and must not call the engine.
 */
enum err_code engine_between_groups(struct engine *engine, engine_store_fn *fn, void *ctx,
                                    int timeout_ms, struct err *err);

/*
 * Turns, in the order of asking: one at a time does what reads for long in one transaction (a
 * backup's export, the sealing of a day), changes the list of cold files (retention), or needs the
 * database without either (engine_compact). For a checkpoint cannot be made while a transaction
 * reads that is older than a change of the list. Take a turn before the store is borrowed, and one
 * only. A late row that makes a sealed day hot again changes the list, too, and cannot wait: when
 * checkpoints have been kept back by one turn for a gigabyte of rows, the turn is over before its
 * time, and whoever has it should end (engine_turn_is_over).
 */
struct engine_turn {
    const char *what;            /* "a backup": for those who wait behind it */
    const atomic_bool *stopping; /* NULL, or: ends the wait when it is set */
    int64_t begun_us;            /* the rest is the engine's; monotonic */
    bool over;
    struct engine_turn *next;
};

/* Waits for its turn. ERR_TIMEOUT says what was waited for; ERR_UNAVAILABLE: the engine closes, or
 * `stopping`. On failure it has no turn. */
enum err_code engine_turn_begin(struct engine *engine, struct engine_turn *turn, int timeout_ms,
                                struct err *err);
bool engine_turn_is_over(struct engine *engine, const struct engine_turn *turn);

/* Whether somebody waits behind it. */
bool engine_turn_is_wanted(struct engine *engine, const struct engine_turn *turn);
void engine_turn_end(struct engine *engine, struct engine_turn *turn);

/*
 * Writes the database file anew without its holes and puts the copy in its place, when that gives
 * back a tenth and a megabyte at least. A checkpoint comes first, so that is made in any case that
 * is not an error, but for ERR_UNSUPPORTED from a store without a file, which has made what it
 * calls a checkpoint. It takes a turn; statements that keep the checkpoint back are waited for.
 * Nothing is applied meanwhile, reads go on but for the moment of the swap (ERR_UNAVAILABLE then).
 * timeout_ms is for the wait until it begins; ERR_TIMEOUT, ERR_BUSY: nothing was done, and why.
 */
struct engine_compacted {
    uint64_t bytes_before;
    uint64_t bytes_after;
    bool swapped;
};
enum err_code engine_compact(struct engine *engine, int timeout_ms,
                             struct engine_compacted *ret_compacted, struct err *err);

/* The LSN up to which the store has everything. */
uint64_t engine_applied_lsn(struct engine *engine);

/* Whether rows of a table with times in [from_us, to_us] may have changed behind `lsn` (see
 * changes.h): the question of whoever keeps an answer that was made at `lsn`. */
bool engine_changed(struct engine *engine, enum table_id table, int64_t from_us, int64_t to_us,
                    uint64_t lsn);

/* Ends the reads that run and refuses new ones (ERR_UNAVAILABLE), so that a close need not wait for
 * them. Writes go on. */
void engine_stop_reads(struct engine *engine);

enum engine_state { ENGINE_STARTING, ENGINE_RUNNING, ENGINE_REBUILDING, ENGINE_STALLED };

struct engine_status {
    enum engine_state state;
    bool healthy;       /* WAL healthy and store running */
    struct err problem; /* why not */
    uint64_t applied_lsn;
    uint64_t durable_lsn;
    uint64_t unapplied_bytes; /* estimate */
    int64_t apply_lag_us;     /* age of the oldest record not applied; 0 when none */
    uint64_t rebuilds;
    uint64_t snapshot_lsn;
    uint64_t records_set_aside; /* since open; kept in quarantine/ */
    uint64_t space_used;        /* bytes on disk, as engine_set_space was told last */
    uint64_t space_max;         /* 0: no limit */
    struct maintain_status maintain;
    struct wal_status wal;
    struct store_stats store; /* zeros while there is none */
    struct hot_stats hot;     /* zeros without a hot cache */
};

void engine_status(struct engine *engine, struct engine_status *ret_status);

/* Asks the applier for a checkpoint, and waits for it. */
enum err_code engine_checkpoint(struct engine *engine, int timeout_ms, struct err *err);

#endif
