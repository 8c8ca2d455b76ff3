/*
 * The contract of every store: apply groups of records in LSN order, exactly once; answer scans,
 * time buckets and (where the store speaks it) SQL. The same suite, store/contract.h, runs against
 * each implementation.
 *
 * Threads: apply, checkpoint, snapshot and close are called by one thread, the applier. scan,
 * bucket, sql and stats are called by any thread beside it, may block for as long as their timeout
 * says, and must never be called from an event loop.
 */
#ifndef EIDER_STORE_STORE_H
#define EIDER_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "catalog/batch.h"
#include "store/cancel.h"
#include "store/lru.h"
#include "store/memory_guard.h"

struct store;

/* Records of consecutive LSNs for one transaction. Batches are in LSN order. */
struct store_group {
    uint64_t first_lsn;
    uint64_t last_lsn;
    size_t batch_count;
    const struct batch *batches;
};

/* column = value, or column IN (values) when there is more than one. COL_TEXT columns, and
 * COL_INT32 with whole numbers in decimal digits. */
struct store_filter {
    const char *column;
    const struct slice *values;
    size_t value_count;
};

enum { STORE_FILTERS_MAX = 4, STORE_AGGREGATES_MAX = 12, STORE_PARAMS_MAX = 64 };

struct store_scan {
    enum table_id table;
    struct store_filter filters[STORE_FILTERS_MAX];
    size_t filter_count;
    int64_t from_us; /* inclusive; INT64_MIN: no bound */
    int64_t to_us;   /* inclusive; INT64_MAX: no bound */
    bool newest_first;
    uint64_t limit; /* 0: no limit */
    uint64_t offset;
    int timeout_ms;       /* 0: the store's default */
    uint64_t column_mask; /* bit i: the answer has column i of the table; 0: all. Scans and
                             visits; buckets name their columns */
    const char
        *at_least_column; /* COL_INT64 or COL_TIMESTAMP: rows with ... >= at_least; NULL: any */
    int64_t at_least;
    struct store_cancel *cancel; /* gives this read up; NULL: none */
};

/* How long whoever asks will wait. */
struct store_patience {
    int timeout_ms;              /* 0: the store's default */
    struct store_cancel *cancel; /* gives this read up; NULL: none */
};

/* Gets the next rows of a visit; they are valid during the call. Any code but ERR_OK, with `err`
 * set, ends the visit. Must not call the store. */
typedef enum err_code store_visit_fn(void *ctx, const struct batch *rows, struct err *err);

enum { STORE_VISIT_ROWS = 8192 }; /* of one call, at most */

enum store_aggregate_fn { AGG_FIRST, AGG_LAST, AGG_MIN, AGG_MAX, AGG_SUM, AGG_AVG, AGG_COUNT };

struct store_aggregate {
    enum store_aggregate_fn fn;
    const char *column; /* NULL for AGG_COUNT of rows */
    const char *as;     /* name in the answer */
};

/*
 * Buckets of time, one row a bucket and group: columns "timestamp", the group column if any, then
 * the aggregates. first/last are by timestamp. bucket_us 0 means one bucket over everything.
 * Alignment as DuckDB's time_bucket: multiples of the width from 2000-01-03 (a Monday) UTC.
 * Aggregates skip NULLs and are NULL without a value; AGG_COUNT with a column counts its values,
 * without one rows. Empty buckets are left out. Types: AGG_AVG double, AGG_COUNT int64, AGG_SUM
 * int64 for whole numbers and exact COL_DECIMAL for decimals (DuckDB: text when it does not fit;
 * memory: ERR_TOO_LARGE), all others the column's.
 */
struct store_bucket {
    struct store_scan scan; /* table, filters, range, order, limit, timeout */
    int64_t bucket_us;
    const char *group_column; /* NULL: none */
    struct store_aggregate aggregates[STORE_AGGREGATES_MAX];
    size_t aggregate_count;
};

enum store_param_type {
    PARAM_NULL,
    PARAM_BOOL,
    PARAM_I64,
    PARAM_F64,
    PARAM_TEXT,
    PARAM_TIMESTAMP,
    PARAM_DECIMAL
};

struct store_param {
    enum store_param_type type;
    int64_t i64; /* PARAM_BOOL, PARAM_I64, PARAM_TIMESTAMP (us), PARAM_DECIMAL (millionths) */
    double f64;
    struct slice text;
};

/* One read-only statement in a sandbox: no file, no network, no settings. */
struct store_sql {
    struct slice sql;
    const struct store_param *params;
    size_t param_count;
    int timeout_ms;              /* 0: the store's default */
    uint64_t rows_max;           /* 0: the store's default; more rows are cut and `truncated` set */
    uint64_t bytes_max;          /* 0: the store's default; over it: ERR_TOO_LARGE */
    int64_t now_us;              /* what now() is about in it; 0: not known. The engine's to set */
    struct store_cancel *cancel; /* gives this read up; NULL: none */
};

struct store_table_stats {
    enum table_id table;
    uint64_t rows;
    int64_t min_us; /* 0 when empty */
    int64_t max_us;
};

struct store_stats {
    const char *type; /* "memory", "duckdb", "postgres" */
    uint64_t applied_lsn;
    uint64_t groups;       /* applied since open */
    uint64_t rows;         /* applied since open */
    uint64_t late_rows;    /* that took the slow path since open */
    uint64_t size_bytes;   /* on disk, or in memory */
    uint64_t memory_bytes; /* the engine's own account, 0 if unknown */
    uint64_t memory_limit_bytes;
    uint64_t checkpoints;
    double apply_p50_us;
    double apply_p99_us;
    double query_p50_us;
    double query_p99_us;
    uint64_t queries;
    uint64_t query_errors;
    uint64_t queries_out_of_memory;  /* of those: over a bound of memory */
    struct memory_guard_stats guard; /* zeros without one */
    unsigned readers_busy;
    unsigned readers;
    struct lru_stats lru; /* of a store that evicts; zeros otherwise */
};

/* ---- cold data (docs/adr/0018-cold-data.md); a store without it has NULL in these slots, but may
 * have seal_find and cold_drop, with which retention deletes its rows ---- */

enum cold_kind { COLD_RAW, COLD_1M, COLD_5M, COLD_1H, COLD_1D, COLD_KIND_COUNT };

enum { COLD_NAME_MAX = 48, COLD_CHECKSUM_MAX = 33, COLD_PATTERN_MAX = 128 };

/* One listed file: <cold>/<table>[_1m|_5m|_1h|_1d]/date=YYYY-MM-DD/<name>. */
struct cold_file {
    char name[COLD_NAME_MAX]; /* "<UUIDv7>.parquet"; a rollup has the name of its raw file */
    enum table_id table;
    enum cold_kind kind;
    int32_t day; /* days since 1970-01-01 UTC */
    uint64_t rows;
    uint64_t bytes;
    int64_t min_us;
    int64_t max_us;
    char checksum[COLD_CHECKSUM_MAX]; /* XXH3-128 of the file, hex */
    uint64_t sealed_lsn;              /* rows of records up to here are in it, or were hot then */
    int64_t sealed_us;
};

/* Rows of one table and closed UTC day that are hot. */
struct store_day {
    enum table_id table;
    int32_t day;
    uint64_t hot_rows;
    uint64_t cold_rows;
    size_t cold_files; /* raw ones */
};

/* Which days seal_find names: those that end at or before before_us and have hot rows, at least
 * rows_min of them unless there are cold files of the day already. */
struct store_seal_find {
    int64_t before_us;
    uint64_t rows_min;
    enum table_id table; /* 0: of every sealed table */
};

struct store_seal {
    enum table_id table;
    int32_t day;
    bool merge; /* the day's files and its hot rows become one file; else the hot rows an extra one
                 */
    /* Retention by metric (TABLE_SAMPLES, merge only): rows of series whose metric_name matches
     * one of these patterns ("*" any run, "?" one character) are left out; ends in NULL; or NULL */
    const char *const *drop_metrics;
    bool keep_rollups_of_dropped; /* the rollups still have what drop_metrics leaves out of the raw
                                     file */
    int timeout_ms;               /* 0: none but interrupt */
};

/* A seal between begin and commit: files that are in their places and nobody lists yet. */
struct store_sealing;

struct store_seal_result {
    uint64_t rows;         /* in the new raw file */
    uint64_t rows_dropped; /* left out by drop_metrics */
    uint64_t bytes;        /* of all new files */
    size_t files;          /* new */
    size_t files_delisted;
};

struct cold_drop {
    const char *const *names; /* ends in NULL; or NULL */
    enum cold_kind kind;
    enum table_id table; /* with hot: */
    bool hot;
    int32_t first_day;
    int32_t last_day;
    /* TABLE_SAMPLES with hot, stores without cold data: rows of these metric_names alone; ends in
     * NULL; or NULL: all rows. Others write the day anew (store_seal.drop_metrics). */
    const char *const *metrics;
};

/* ---- backup; NULL in these slots: the store cannot ---- */

/* The day of rows without a time. */
#define STORE_DAY_NONE INT32_MIN

/* Hot rows of one table and UTC day, as a Parquet file that is removed when the call returns. */
struct store_export_file {
    enum table_id table;
    int32_t day; /* or STORE_DAY_NONE */
    uint64_t rows;
    const char *path;
};

/* What one moment of the database is: the LSN, and the cold files that it lists. */
struct store_export_moment {
    uint64_t lsn;
    uint64_t schema; /* version */
    const struct cold_file *files;
    size_t file_count;
};

/* Gets `moment` first, once, then a file at a time, in order of tables and days. Any code but
 * ERR_OK, with `err` set, ends the export. */
struct store_export {
    enum err_code (*begin)(void *ctx, const struct store_export_moment *moment, struct err *err);
    enum err_code (*file)(void *ctx, const struct store_export_file *file, struct err *err);
    void *ctx;
    int timeout_ms;
};

struct store_ops {
    const char *type;
    /* One transaction with the applied LSN. On failure nothing of the group is in. ERR_CORRUPT and
     * ERR_INTERNAL mean the store is unusable and must be reopened or rebuilt; ERR_NO_SPACE,
     * ERR_IO, ERR_TIMEOUT that the same group may be tried again; ERR_INVALID that the rows are at
     * fault. A group that is applied already is ERR_OK and changes nothing; one that is applied in
     * part is ERR_INVALID. */
    enum err_code (*apply)(struct store *store, const struct store_group *group, struct err *err);
    enum err_code (*scan)(struct store *store, const struct store_scan *scan,
                          struct batch *ret_rows, struct err *err);
    enum err_code (*bucket)(struct store *store, const struct store_bucket *bucket,
                            struct batch *ret_rows, struct err *err);
    /* Gives the rows that match to `fn`, at most STORE_VISIT_ROWS at a time and one batch in memory
     * at a time, in the order they were appended in; where a replaced row, the rows of a view
     * and, among those of one group, the samples of different series come is not promised.
     * newest_first, limit and offset must be unset (asserted). The time limit counts what fn takes.
     * Rows that are applied meanwhile are not among them. Returns what fn did, when that was an
     * error. */
    enum err_code (*visit)(struct store *store, const struct store_scan *scan, store_visit_fn *fn,
                           void *ctx, struct err *err);
    bool speaks_duckdb; /* what is told of a statement by its text holds: its SQL is DuckDB's */
    /* NULL when the store does not speak SQL. *ret_truncated may be NULL. */
    enum err_code (*sql)(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
                         bool *ret_truncated, struct err *err);
    /* The newest row of every key but the timestamp (every symbol, every strategy, every series;
     * trades: every symbol); the last one written among equal times. ERR_INVALID for a table
     * without times. `patience` NULL: the store's own. */
    enum err_code (*latest)(struct store *store, enum table_id table,
                            const struct store_patience *patience, struct batch *ret_rows,
                            struct err *err);
    /* ERR_BUSY: a read that began before the store's list of cold files was changed has not ended;
     * nothing is wrong, try again when it has (wait_reads). */
    enum err_code (*checkpoint)(struct store *store, struct err *err);
    /* Waits until the reads that run now have ended; those that begin meanwhile do not count. False
     * when timeout_ms passed before. NULL: reads keep nothing back. */
    bool (*wait_reads)(struct store *store, int timeout_ms);
    /* Writes a complete, synced copy to `path` (temporary name, then renamed). NULL: none. */
    enum err_code (*snapshot)(struct store *store, const char *path, struct err *err);
    uint64_t (*applied_lsn)(struct store *store);
    /* Names the database, for good: another name is another database. NULL: a store whose files
     * are the data directory's. */
    const char *(*identity)(struct store *store);
    /* The database goes on with a log that ends at `lsn`: that is what it has applied from now on.
     * `anew` gives it another identity, so that whoever knows the one before is refused. Before the
     * first apply, by the one thread that has the store. NULL where identity is. */
    enum err_code (*take_over)(struct store *store, uint64_t lsn, bool anew, struct err *err);
    void (*stats)(struct store *store, struct store_stats *ret_stats);
    enum err_code (*table_stats)(struct store *store, enum table_id table,
                                 struct store_table_stats *ret_stats, struct err *err);
    void (*interrupt)(struct store *store); /* ends running queries; any thread */

    /* Closed days, oldest first, at most `max`. Any thread. */
    enum err_code (*seal_find)(struct store *store, const struct store_seal_find *find,
                               struct store_day *ret_days, size_t max, size_t *ret_count,
                               struct err *err);
    /* Writes, syncs and renames the files of a day. One at a time, any thread but an event loop;
     * runs beside apply. ERR_NOT_FOUND: the day has no rows (left). */
    enum err_code (*seal_begin)(struct store *store, const struct store_seal *seal,
                                struct store_sealing **ret_sealing, struct err *err);
    /* The transaction; the applier's thread. ERR_BUSY: rows of that day were applied since begin;
     * nothing changed, begin again later. */
    enum err_code (*seal_commit)(struct store *store, struct store_sealing *sealing,
                                 struct store_seal_result *ret_result, struct err *err);
    /* Ends it, committed or not; what is not listed is removed. NULL is fine. */
    void (*seal_free)(struct store *store, struct store_sealing *sealing);
    /* The listed files as of now, by table, day, name; the caller frees the array. Any thread. */
    enum err_code (*cold_list)(struct store *store, struct cold_file **ret_files, size_t *ret_count,
                               struct err *err);
    /* Takes files off the list (a raw file's name takes its rollups with it unless `kind` says
     * which alone: COLD_RAW keeps them, COLD_KIND_COUNT means all), and deletes hot rows of days
     * [first_day, last_day] of `table` when hot is set. One transaction; the applier's thread. */
    enum err_code (*cold_drop)(struct store *store, const struct cold_drop *drop, struct err *err);
    /* Writes a compact copy of the database to `path` (temporary, synced, renamed): free space
     * inside the file is not copied. The applier's thread. */
    enum err_code (*compact)(struct store *store, const char *path, struct err *err);
    /* Gives a consistent state, hot rows as Parquet, in one read transaction beside apply. Any
     * thread but an event loop; may take long. What the callbacks answer is what it returns. */
    enum err_code (*export)(struct store *store, const struct store_export *export,
                            struct err *err);
    /* Adds the rows of a Parquet file of this schema, or of an earlier one whose columns are fewer,
     * to the hot table; the file must be in the cold directory's tmp. Only for a store that nothing
     * was applied to. */
    enum err_code (*import_rows)(struct store *store, enum table_id table, const char *path,
                                 uint64_t *ret_rows, struct err *err);
    /* Lists cold files, which are in their places, and sets the applied LSN; one transaction. Close
     * and open the store behind it. */
    enum err_code (*import_end)(struct store *store, const struct store_export_moment *moment,
                                struct err *err);
    void (*close)(struct store *store);
};

/* The head of every implementation's own struct. */
struct store {
    const struct store_ops *ops;
};

/* Thin calls through the vtable; ret_rows is initialised by the callee on success only. */
enum err_code store_apply(struct store *store, const struct store_group *group, struct err *err);
enum err_code store_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
                         struct err *err);
enum err_code store_bucket(struct store *store, const struct store_bucket *bucket,
                           struct batch *ret_rows, struct err *err);
enum err_code store_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn,
                          void *ctx, struct err *err);
/* Whether a statement's text means to the store what it means to DuckDB. */
bool store_speaks_duckdb(const struct store *store);
enum err_code store_sql(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
                        bool *ret_truncated, struct err *err);
enum err_code store_latest(struct store *store, enum table_id table,
                           const struct store_patience *patience, struct batch *ret_rows,
                           struct err *err);
enum err_code store_checkpoint(struct store *store, struct err *err);
bool store_wait_reads(struct store *store, int timeout_ms);
enum err_code store_snapshot(struct store *store, const char *path, struct err *err);
uint64_t store_applied_lsn(struct store *store);
void store_stats(struct store *store, struct store_stats *ret_stats);
enum err_code store_table_stats(struct store *store, enum table_id table,
                                struct store_table_stats *ret_stats, struct err *err);
void store_interrupt(struct store *store);

/* ERR_UNSUPPORTED from a store that cannot (store_cold_list: no files). */
bool store_has_cold(const struct store *store); /* seals */
enum err_code store_seal_find(struct store *store, const struct store_seal_find *find,
                              struct store_day *ret_days, size_t max, size_t *ret_count,
                              struct err *err);
enum err_code store_seal_begin(struct store *store, const struct store_seal *seal,
                               struct store_sealing **ret_sealing, struct err *err);
enum err_code store_seal_commit(struct store *store, struct store_sealing *sealing,
                                struct store_seal_result *ret_result, struct err *err);
void store_seal_free(struct store *store, struct store_sealing *sealing);
enum err_code store_cold_list(struct store *store, struct cold_file **ret_files, size_t *ret_count,
                              struct err *err);
enum err_code store_cold_drop(struct store *store, const struct cold_drop *drop, struct err *err);
enum err_code store_compact(struct store *store, const char *path, struct err *err);
/* ERR_UNSUPPORTED from a store that cannot. */
bool store_has_export(const struct store *store);
enum err_code store_export(struct store *store, const struct store_export *export, struct err *err);
enum err_code store_import_rows(struct store *store, enum table_id table, const char *path,
                                uint64_t *ret_rows, struct err *err);
enum err_code store_import_end(struct store *store, const struct store_export_moment *moment,
                               struct err *err);
void store_close(struct store *store); /* NULL is fine */

#endif
