/*
 * What the files of the DuckDB store share; private to this folder.
 *
 *   store_duckdb.c  open, close, the vtable          duck_pool.c    read connections, time limits
 *   duck_apply.c    groups into transactions         duck_query.c   statements into batches
 *   duck_append.c   batches into data chunks         duck_value.c   one column of a chunk
 *   duck_keys.c     which rows are late              duck_text.c    values without a column type
 *   duck_save.c     checkpoint, snapshot             duck_read.c    scan, visit, counts
 *   duck_bucket.c   buckets, from rollups and rows   duck_latest.c  the newest row of each series
 *   duck_error.c    DuckDB's errors                  duck_sql.c     users' SQL, sandboxed
 *   duck_views.c    views over hot and cold          sql_guard.c    which statements may run at all
 *   duck_cold.c     the list of cold files           duck_seal.c    days into files
 *   duck_unseal.c   files into days                  duck_drop.c    retention
 *   duck_rollup.c   aggregates of files              duck_compact.c a copy without free space
 *   duck_narrow.c   users' SQL over fewer files      sql_range.c    the times asked for
 */
#ifndef EIDER_STORE_DUCKDB_DUCK_H
#define EIDER_STORE_DUCKDB_DUCK_H

#include <duckdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hist.h"
#include "store/cold.h"
#include "store/keys.h"
#include "store/store.h"

enum {
    DUCK_TIMEOUT_MS = 30000,
    DUCK_READERS = 4,
    DUCK_READERS_MAX = 64,
    DUCK_SQL_ROWS_MAX = 100000,
    DUCK_TEXT_BYTES_MAX = 64 << 20, /* texts of one answer */
    DUCK_DECIMAL_WIDTH = 18,        /* of COL_DECIMAL, */
    DUCK_DECIMAL_SCALE = 6,
    DUCK_DECIMAL_SUM_WIDTH = 38 /* and of what DuckDB makes of a sum of it */
};

/* How the rows of a table find their place. */
enum duck_policy {
    DUCK_APPEND, /* every row is new */
    DUCK_NEWEST, /* replace by key with time: newer than the newest of its key is new */
    DUCK_KNOWN,  /* replace by key without time: an unknown key is new */
    DUCK_ONCE    /* series definitions: a known key is dropped */
};

enum duck_row { DUCK_ROW_NEW, DUCK_ROW_LATE, DUCK_ROW_DROP };

/* One table and its memory of keys. The applier's alone. */
struct duck_table {
    const struct catalog_table *table;
    enum duck_policy policy;
    struct column_list columns; /* all */
    struct column_list key;     /* all key columns */
    struct column_list series;  /* key columns but the time (DUCK_NEWEST) */
    bool loaded;                /* the memory below is what the table has */
    bool overflowed;            /* more keys than may be remembered: every row counts as late */
    struct key_map newest;      /* DUCK_NEWEST and DUCK_ONCE */
    struct key_set known;       /* DUCK_KNOWN */
    /* Days of rows that were applied, or went, and the LSN (sealed tables; see duck_seal.c). */
    struct key_map touched;
    uint64_t touched_all; /* any day may have been touched up to here */
    /* Days that had cold files when the memory was read, sorted: what the memory does not know of
     * them. Rows of these days count as late. */
    int32_t *cold_days;
    size_t cold_day_count;
    bool partly; /* DUCK_KNOWN: older files' ids are unknown, so every unknown one counts as late */
};

/* The cold files that are listed (duck_cold.h). */
struct duck_cold {
    pthread_rwlock_t lock;   /* guards files; the applier alone changes them */
    char *dir;               /* absolute */
    struct cold_file *files; /* by table, kind, day, name */
    size_t count;
    struct cold_file *pending; /* what the writer's transaction makes of it; NULL: nothing */
    size_t pending_count;

    void (*damaged)(void *ctx, const struct cold_file *file); /* as at store_open_options */
    void *damaged_ctx;
    struct cold_names told; /* the applier's: files that it told of */
};

struct duck_reader {
    struct duck_pool *pool; /* whose it is, and whose lock guards what is below the connection */
    duckdb_connection connection;
    duckdb_prepared_statement
        begin; /* a transaction that only reads: half as dear as by its text */
    duckdb_prepared_statement roll_back;
    bool busy;
    uint64_t taken; /* which taking of the pool's it was; when busy */
    bool timed_out;
    bool cancelled;              /* by the store */
    bool exhausted;              /* by the guard of memory */
    bool stuck;                  /* in a transaction that could not be ended; the holder's */
    struct store_cancel *cancel; /* of the read that has it; NULL: none */
    int64_t deadline_us;         /* monotonic; when busy */
    struct memory_statement memory;
};

/* Lock: one, below no other. */
struct duck_pool {
    pthread_mutex_t lock;
    pthread_cond_t freed; /* a reader is free, or the pool stops */
    pthread_cond_t watch; /* the watchdog has something new to look at */
    pthread_cond_t given; /* a reader came back: for duck_pool_wait */
    uint64_t taken;       /* how often one was */
    struct duck_reader *readers;
    unsigned count;
    unsigned busy;
    bool stopping;
    bool watching;   /* the watchdog runs */
    int64_t next_us; /* when it looks next, unless it is called */
    pthread_t watchdog;
    struct memory_guard *guard; /* NULL: none */
};

struct duck_store {
    struct store store; /* first */
    char *path;
    const struct clock *clock;
    duckdb_database database;
    duckdb_connection writer; /* the applier's */
    int snapshot_fd;          /* see duck_save.c */
    uint64_t memory_limit_bytes;
    size_t keys_bytes_max; /* of one table's memory of keys */
    int timeout_ms;
    struct duck_table tables[TABLE_ID_END];
    struct duck_pool pool;
    struct duck_pool sealers; /* one connection, for maintenance */
    duckdb_connection prober; /* the applier's, to read cold files beside its transaction */
    struct duck_cold cold;

    pthread_mutex_t refused_lock; /* guards the making of: */
    _Atomic(char **) refused;     /* table functions that users may not call, sorted, NULL ends */

    atomic_bool broken; /* DuckDB gave the database up; only closing helps */
    _Atomic uint64_t applied_lsn;
    _Atomic uint64_t groups;
    _Atomic uint64_t rows;
    _Atomic uint64_t late_rows;
    _Atomic uint64_t checkpoints;
    _Atomic uint64_t queries;
    _Atomic uint64_t query_errors;
    _Atomic uint64_t queries_out_of_memory;
    _Atomic uint64_t memory_bytes;
    int64_t sampled_us; /* when, by the applier */
    struct hist apply_us;
    struct hist query_us;
};

/* duck_error.c */

/* The message's first line becomes `err`, for a user's statement with the names that DuckDB
 * proposes; whose statement it was decides the code (store.h). */
enum duck_side { DUCK_SIDE_APPLY, DUCK_SIDE_READ, DUCK_SIDE_USER };
enum err_code duck_fail(struct duck_store *duck, enum duck_side side, duckdb_error_type type,
                        const char *message, struct err *err);
enum err_code duck_fail_result(struct duck_store *duck, enum duck_side side, duckdb_result *result,
                               struct err *err);

/* Runs a statement without an answer on the writer. */
enum err_code duck_run(struct duck_store *duck, const char *sql, struct err *err);

/* The same for one that deletes or inserts: how many rows. */
enum err_code duck_run_count(struct duck_store *duck, const char *sql, uint64_t *ret_rows,
                             struct err *err);

/* duck_pool.c */

enum err_code duck_pool_start(struct duck_pool *pool, duckdb_database database, unsigned count,
                              struct memory_guard *guard, struct err *err);

/* Interrupts what runs, waits for it, ends the watchdog, closes the connections. */
void duck_pool_stop(struct duck_pool *pool);

/* Takes a reader; its statements are interrupted once timeout_ms from now have passed, or `cancel`
 * (NULL: none) is tripped, which ends the waiting for a reader, too. */
enum err_code duck_pool_take(struct duck_pool *pool, int timeout_ms, struct store_cancel *cancel,
                             struct duck_reader **ret_reader, struct err *err);
void duck_pool_give(struct duck_reader *reader);
void duck_pool_interrupt(struct duck_pool *pool);

/* Waits until all readers that are taken now were given back, whoever takes one meanwhile. False
 * when timeout_ms passed before. */
bool duck_pool_wait(struct duck_pool *pool, int timeout_ms);

/* Whether the reader's time is over, or it was interrupted: for the time between two statements. */
bool duck_pool_is_over(struct duck_reader *reader);

/* Says in `err` why the reader's statement was interrupted. */
enum err_code duck_pool_why(const struct duck_reader *reader, struct err *err);

/* duck_query.c */

struct duck_statement {
    struct slice sql;
    const struct store_param *params;
    size_t param_count;
    duckdb_extracted_statements extracted; /* when not NULL, `sql` parsed; good for one run */
    bool wide_as_text;                     /* HUGEINT and sums of credits as text */
};

/* A running statement; chunks of its answer are added to a batch one by one. */
struct duck_cursor {
    struct duck_store *duck;
    enum duck_side side;
    duckdb_prepared_statement prepared;
    duckdb_result result;
    bool has_result;
    bool too_wide; /* more than fits int64 or COL_DECIMAL: run it again with wide_as_text */
    size_t column_count;
    struct duck_column *columns;
};

enum err_code duck_cursor_open(struct duck_cursor *cursor, struct duck_store *duck,
                               duckdb_connection connection, enum duck_side side,
                               const struct duck_statement *statement, struct err *err);

/* Adds the answer's columns to an empty answer. */
void duck_cursor_columns(const struct duck_cursor *cursor, struct batch *rows);

/* Adds the next chunk, at most `room` rows of it; *ret_rows is what the chunk had, 0 at the end. */
enum err_code duck_cursor_next(struct duck_cursor *cursor, struct batch *rows, size_t room,
                               size_t *ret_rows, struct err *err);
void duck_cursor_close(struct duck_cursor *cursor);

struct duck_bounds {
    size_t rows_max;
    size_t bytes_max;
    bool cut; /* more rows are cut; otherwise they are an error */
};

/* Counts one question to the database and what came of it; start_us is monotonic. */
void duck_count_query(struct duck_store *duck, int64_t start_us, enum err_code code);

/* Runs a statement and gathers the whole answer. */
enum err_code duck_select(struct duck_store *duck, struct duck_reader *reader, enum duck_side side,
                          const struct duck_statement *statement, const struct duck_bounds *bounds,
                          struct batch *ret_rows, bool *ret_truncated, struct err *err);

/* Runs a statement and gives its answer to `fn` piece by piece (store_ops.visit). */
enum err_code duck_stream(struct duck_store *duck, struct duck_reader *reader,
                          const struct duck_statement *statement, store_visit_fn *fn, void *ctx,
                          struct err *err);

/* duck_value.c: how one column of an answer travels */

struct duck_column {
    const char *name; /* DuckDB's, until the result is destroyed */
    duckdb_logical_type logical;
    duckdb_type type;
    enum col_type target;
};

/* Chooses the target; false for a type that has none. */
bool duck_column_init(struct duck_column *column, duckdb_logical_type logical, bool wide_as_text);

/* Copies rows [0, count) of a vector to rows [first, first + count) of a column. False when a
 * HUGEINT does not fit int64, or a sum of credits COL_DECIMAL. */
bool duck_column_copy(const struct duck_column *column, duckdb_vector vector, struct batch *rows,
                      size_t index, size_t first, size_t count);

/* Values [first, first + count) of a DECIMAL vector as doubles. */
void duck_column_decimals(const struct duck_column *column, const void *data, size_t first,
                          double *to, size_t count);

/* A value's bytes; they belong to the vector. */
struct slice duck_string(const duckdb_string_t *text);

/* duck_text.c */

/* Whether duck_text_add knows the type and all types within. */
bool duck_text_supports(duckdb_logical_type logical);

/* Appends one value, not NULL, as text; lists, structs and maps as JSON. */
void duck_text_add(struct buf *out, duckdb_vector vector, duckdb_logical_type logical, idx_t row);

/* Appends value [row] of a DECIMAL vector's data, all its digits. */
void duck_text_add_decimal(struct buf *out, const void *data, duckdb_logical_type logical,
                           idx_t row);

/* Value [row] of a DECIMAL vector's data, without the point. */
duckdb_hugeint duck_column_decimal(duckdb_logical_type logical, const void *data, size_t row);

/* Two's complement 128 bits in decimal. */
void duck_text_add_hugeint(struct buf *out, duckdb_hugeint value);
void duck_text_add_uhugeint(struct buf *out, duckdb_uhugeint value);

/* duck_keys.c */

void duck_table_init(struct duck_table *table, const struct catalog_table *catalog,
                     size_t keys_bytes_max);
void duck_table_fini(struct duck_table *table);

/* Reads what the table has, unless that is known already. */
enum err_code duck_table_load(struct duck_store *duck, struct duck_table *table, struct err *err);

/* Says where a row belongs, and remembers it. */
enum duck_row duck_table_place(struct duck_table *table, const struct batch *batch, size_t row);

/* A transaction failed: forgets what would lose rows. */
void duck_table_undo(struct duck_table *table);

/* Notes the days of a batch's rows, which a transaction up to `lsn` applies. */
void duck_table_touch(struct duck_table *table, const struct batch *batch, uint64_t lsn);

void duck_table_touch_day(struct duck_table *table, int32_t day, uint64_t lsn);

/* The LSN of the last transaction that touched a day; 0: none since open. May be too high. */
uint64_t duck_table_touched(const struct duck_table *table, int32_t day);

/* duck_append.c */

struct duck_appender {
    struct duck_store *duck;
    duckdb_appender appender;
    duckdb_data_chunk chunk;
    const struct column_list *columns; /* of the batches, in the order of the chunk */
    idx_t used;
};

/* Appends to a table, all columns. */
enum err_code duck_appender_open(struct duck_appender *appender, struct duck_store *duck,
                                 const struct duck_table *table, struct err *err);

/* Feeds the key columns to a statement that reads them from a table called "late". */
enum err_code duck_appender_open_keys(struct duck_appender *appender, struct duck_store *duck,
                                      const struct duck_table *table, const char *sql,
                                      struct err *err);
/* Whether a row of [first, first + count) is NULL. */
bool duck_has_nulls(const struct column *column, size_t first, size_t count);
enum err_code duck_appender_rows(struct duck_appender *appender, const struct batch *batch,
                                 size_t first, size_t count, struct err *err);
enum err_code duck_appender_finish(struct duck_appender *appender, struct err *err);

/* NULL-safe, after finish and after failures. */
void duck_appender_close(struct duck_appender *appender);

/* duck_apply.c */

/* Commits the writer's transaction; the fail-point (or NULL) stands behind. ERR_INTERNAL, and the
 * store is broken, when nobody knows whether it did: opened anew, the database tells. After any
 * other failure it did not. */
enum err_code duck_run_commit(struct duck_store *duck, const char *failpoint_name, struct err *err);

/* Ends a connection's transaction, by a prepared ROLLBACK of its own where there is one (else
 * NULL). Neither an interrupt nor a want of memory keeps it from that for long: it is tried again.
 */
enum duck_rollback {
    DUCK_ROLLED_BACK,
    DUCK_ROLLBACK_NONE,  /* there was no transaction (any more) */
    DUCK_ROLLBACK_FAILED /* there may be one */
};
enum duck_rollback duck_roll_back(duckdb_connection connection, duckdb_prepared_statement prepared);

/* The vtable's functions */

enum err_code duck_apply(struct store *store, const struct store_group *group, struct err *err);
enum err_code duck_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
                        struct err *err);
enum err_code duck_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn,
                         void *ctx, struct err *err);
enum err_code duck_bucket(struct store *store, const struct store_bucket *bucket,
                          struct batch *ret_rows, struct err *err);
enum err_code duck_sql(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
                       bool *ret_truncated, struct err *err);
enum err_code duck_latest(struct store *store, enum table_id table,
                          const struct store_patience *patience, struct batch *ret_rows,
                          struct err *err);
enum err_code duck_table_stats(struct store *store, enum table_id table,
                               struct store_table_stats *ret_stats, struct err *err);
enum err_code duck_checkpoint(struct store *store, struct err *err);
bool duck_wait_reads(struct store *store, int timeout_ms);

/* What needs room for `bytes` is not begun without: a checkpoint that meets a full disk invalidates
 * the database. */
enum err_code duck_check_space(const struct duck_store *duck, uint64_t bytes, struct err *err);

/* Syncs the directory of a file. */
enum err_code duck_sync_parent(const char *path, struct err *err);

/* Looks at DuckDB's memory, at most once a second; the applier's. */
void duck_sample_memory(struct duck_store *duck);

/* The file's bytes and its log's. */
uint64_t duck_size_bytes(const struct duck_store *duck);
enum err_code duck_snapshot(struct store *store, const char *path, struct err *err);

/* duck_export.c */

enum err_code duck_export(struct store *store, const struct store_export *export, struct err *err);
enum err_code duck_import_rows(struct store *store, enum table_id table, const char *path,
                               uint64_t *ret_rows, struct err *err);
enum err_code duck_import_end(struct store *store, const struct store_export_moment *moment,
                              struct err *err);

#endif
