/*
 * The embedded store: a data directory of Eider opened in this process. No server is needed; the
 * files are the server's, so that `eider serve` takes the directory over once it is closed, and
 * gives it back.
 *
 *   struct eider_options options = {.data_dir = "./ticks"};
 *   struct eider_series series = {.name = "price", .symbol = "BTC-USD"};
 *   struct eider_error error;
 *   struct eider_db *db;
 *   uint64_t lsn;
 *
 *   if (eider_open(&options, &db, &error) != EIDER_OK) ...
 *   if (eider_append_metric(db, &series, EIDER_NOW, 64000.5, &lsn, &error) != EIDER_OK) ...
 *   eider_close(db);
 *
 * The way of a row:
 *
 *   append --> write-ahead log, synced: durable --> applied: SQL and the typed reads see it
 *                 |                      |
 *                 | refused: nothing     +--> eider_last and subscribers see it
 *                 v  was written
 *               error
 *
 * A synchronous append returns when its rows are durable; appends of many threads share one sync.
 * Each record of the log has a number, its LSN: 1, 2, 3, ... eider_wait_applied waits until reads
 * see it. One append is one record, whole or not at all.
 *
 * One opener: a data directory belongs to one handle of one process at a time, readers too. There
 * is no read-only opening beside a live writer, because the database file has one owner; ask the
 * server over HTTP instead. A second opener gets EIDER_CONFLICT, which names the other's pid.
 * Several directories may be open in one process at once; they share nothing.
 *
 * Threads: a handle may be used by any number of threads at once, unless a function says otherwise.
 * The library has threads of its own; in them all signals are blocked. It installs no signal
 * handlers, writes nothing to standard output and never calls exit. Out of memory ends the process
 * (abort, with a line on standard error). After fork only the parent may use a handle; the child
 * does not keep the directory locked once the parent has closed it. eider_open and eider_close
 * block the signals of their thread while files are opened and closed. A program that limits the
 * size of its files (RLIMIT_FSIZE) should ignore SIGXFSZ, as queries may spill on the threads of
 * callers.
 *
 * Callbacks run on a thread that is named where they are set; no lock of the library is held. In
 * them, functions that wait (named "Blocks" below) return EIDER_INVALID at once instead of waiting
 * for themselves; only a subscriber's callback may append and read. While eider_close runs, a
 * callback may still ask the handle; what it begins is EIDER_UNAVAILABLE.
 *
 * Times are microseconds since 1970-01-01 UTC, in the years 1 to 9999, or EIDER_NOW. Texts are
 * UTF-8 without NUL. `error` may be NULL everywhere; outputs are untouched on failure. Limits with
 * value 0 are their defaults.
 *
 * Later versions: structs that a program fills in or provides keep their sizes within a soname;
 * what comes new takes the place of `reserved`, with 0 meaning what there was before. So begin with
 * `= {0}`, or name the members. A program that needs a newer library than it finds is told so:
 * EIDER_INVALID, "reserved is not 0". Structs that only the library makes (struct eider_delivery,
 * struct eider_row_problem) may grow at their end, enums at theirs: take an unknown status for
 * EIDER_INTERNAL. struct eider_error, eider_label, eider_series and eider_param stay as they are.
 */
#ifndef EIDER_EIDER_H
#define EIDER_EIDER_H

#include "eider/api.h"
#include "eider/batch.h"

#ifdef __cplusplus
extern "C" {
/* Some structs have the name of their function, as stat has: say `struct` in front of them. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

/* An open data directory. */
struct eider_db;
/* Rows on their way in, of one or more tables. */
struct eider_rows;
/* Somebody who gets every durable batch. */
struct eider_subscription;

/* What a function answers. */
enum eider_status {
    EIDER_OK = 0,
    EIDER_INVALID,     /* an argument or a row is wrong; names field, value and expectation */
    EIDER_NOT_FOUND,   /* no such table, series or file */
    EIDER_CONFLICT,    /* another opener or a newer version has the directory, or an idempotency key
                          came twice */
    EIDER_TOO_LARGE,   /* over a limit of size; names it */
    EIDER_BUSY,        /* over a limit of what waits; nothing was done; try again */
    EIDER_UNAVAILABLE, /* closing, or the store is being rebuilt; nothing was done; try again */
    EIDER_NO_SPACE,    /* the disk is full; nothing was done */
    EIDER_TIMEOUT,     /* not within the time given */
    EIDER_UNSUPPORTED, /* this storage type or build cannot do it */
    EIDER_IO,          /* a system call failed; `sys` is its errno */
    EIDER_CORRUPT,     /* stored data fails its check; names file and offset */
    EIDER_INTERNAL     /* a bug, or a library that failed for no known reason */
};

enum { EIDER_MESSAGE_MAX = 512 };

/* Why a call failed. */
struct eider_error {
    enum eider_status status;
    int sys;                         /* errno of the failed call; 0: there was none */
    char message[EIDER_MESSAGE_MAX]; /* one sentence for people */
};

/* For times: when the append is called. */
#define EIDER_NOW INT64_MIN
/* For ranges: without a bound. */
#define EIDER_FROM_START INT64_MIN
#define EIDER_TO_END INT64_MAX

/*
 * Names a status: "ok", "invalid", "not_found", ...
 * Threads: any.
 * Ownership: the text is the library's, and lasts for ever. Never NULL.
 * Errors: none; an unknown number is "unknown".
 */
EIDER_API const char *eider_status_name(enum eider_status status);

/* Gets what an operator should know (a rebuild, a full disk, a record set aside). Runs on the
 * library's applier thread, in eider_open (also before *ret_db is set) and eider_close on the
 * caller's; never two calls at once. Must be quick. */
typedef void eider_event_fn(void *ctx, bool is_problem, const char *text);

/* How a directory is opened. All zero but data_dir is the server's default. */
struct eider_options {
    const char *data_dir;          /* required; made if it is absent (its parent must exist) */
    const char *storage_type;      /* "duckdb" (NULL); "memory": rows in memory only, made anew
                                      from the log when it is opened; without SQL; "postgres": the
                                      tables are in a PostgreSQL server, the log is here */
    const char *postgres_dsn;      /* of storage_type postgres: "postgresql://..." or "host=...
                                      dbname=..."; what it leaves out, or NULL, is libpq's: PGHOST,
                                      PGPASSFILE, ... The text holds a password: no message does */
    unsigned postgres_connections; /* to it, 2 to 1000; 0: 25 */
    uint64_t memory_limit_bytes;   /* of the store's buffers; 0: a share of the machine's or the
                                      cgroup's */
    unsigned threads;              /* of the store; 0: one a processor */
    unsigned readers;              /* queries at once, others wait; 0: 4 */
    int query_timeout_ms;          /* 0: 30 000 */
    uint64_t request_bytes_max;    /* of one body; 0: 64 MiB; at most 1 GiB */
    uint64_t inflight_bytes_max;   /* appends not yet durable; 0: 256 MiB. Over it: EIDER_BUSY */
    uint64_t unapplied_bytes_max; /* log that reads do not see yet; 0: 4 GiB. Over it: EIDER_BUSY */
    uint64_t series_max;          /* 0: 10 000 000 */
    size_t async_max;             /* asynchronous appends not yet durable; 0: 10 000; at most
                                     1 000 000. Over it: EIDER_BUSY */
    size_t subscriptions_max;     /* 0: 64; at most 1024 */
    uint64_t wal_segment_bytes;   /* of a file of the log, 8192 to 1 GiB; 0: 64 MiB */
    int open_timeout_ms;          /* for a store that has much to catch up with; 0: 60 000 */
    eider_event_fn *on_event;     /* NULL: nobody is told */
    void *event_ctx;
    uint64_t reserved[8]; /* for later versions: 0 */
};

/*
 * Opens a data directory, catches up with its log, and starts the library's threads.
 * Units: see struct eider_options.
 * Threads: any; one directory by one thread. Blocks, for as long as the store needs to catch up, at
 * most open_timeout_ms.
 * Ownership: options are copied. The handle is the caller's, to be ended by eider_close.
 * Errors: EIDER_INVALID names the option; EIDER_CONFLICT when another opener has the directory,
 * with its pid, or the PostgreSQL tables; EIDER_TIMEOUT, also when the PostgreSQL server is away,
 * EIDER_IO, EIDER_NO_SPACE, EIDER_CORRUPT.
 */
EIDER_API enum eider_status eider_open(const struct eider_options *options,
                                       struct eider_db **ret_db, struct eider_error *error);

/*
 * Ends subscriptions, waits for asynchronous appends, applies what is durable, closes the files.
 * Threads: one, and no other call on the handle may be running or follow. Blocks.
 * Ownership: the handle and its subscriptions are gone; batches and Arrow data stay valid. NULL is
 * fine.
 * Errors: EIDER_INVALID when called in a callback; then nothing is closed.
 */
EIDER_API enum eider_status eider_close(struct eider_db *db);

/* ---- appending ---- */

/* What became of an append. */
struct eider_receipt {
    enum eider_status status;
    uint64_t lsn;         /* 0: nothing was written */
    uint64_t accepted;    /* rows */
    uint64_t rejected;    /* rows; with skip_bad_rows only */
    bool replayed;        /* this idempotency key was answered before; nothing was written again */
    const char *message;  /* why not; "" when all is well. In callbacks valid during the call; else
                             "", the error has it */
    uint64_t reserved[2]; /* 0 */
};

/* A label of a series. */
struct eider_label {
    const char *name;
    const char *value;
};

/* What makes a series one: name, symbol and all labels. */
struct eider_series {
    const char *name;                 /* 1 to 1024 bytes */
    const char *symbol;               /* at most 1024 bytes; NULL or "": it has none */
    const struct eider_label *labels; /* in any order; of one name the last counts */
    size_t label_count;               /* at most 128, of 16 KiB in all */
};

/*
 * Appends one value of a series and waits until it is durable. The series is made when it is new.
 * Units: timestamp_us in microseconds, or EIDER_NOW; any double, NaN and infinities too.
 * Threads: any. Blocks for one sync, which it shares with other threads.
 * Ownership: everything is borrowed for the call. *ret_lsn (may be NULL) is the record's LSN.
 * Errors: EIDER_INVALID names field, value and expectation; EIDER_BUSY over a limit (also of new
 * series); EIDER_NO_SPACE, EIDER_UNAVAILABLE. Nothing was written then.
 */
EIDER_API enum eider_status eider_append_metric(struct eider_db *db,
                                                const struct eider_series *series,
                                                int64_t timestamp_us, double value,
                                                uint64_t *ret_lsn, struct eider_error *error);

/* Many values of one series. */
struct eider_points {
    struct eider_series series;
    const int64_t *timestamps_us; /* `count` of them, in any order; NULL: all EIDER_NOW */
    const double *values;         /* `count` of them */
    size_t count;                 /* at most 1 000 000; 0 writes nothing */
    uint64_t reserved[2];         /* for later versions: 0 */
};

/*
 * Appends many values of one series as one record and waits until they are durable.
 * Units: as eider_append_metric.
 * Threads: any. Blocks for one sync.
 * Ownership: everything is borrowed for the call. *ret_lsn may be NULL.
 * Errors: as eider_append_metric; EIDER_INVALID names the point, EIDER_TOO_LARGE over the count.
 */
EIDER_API enum eider_status eider_append_points(struct eider_db *db,
                                                const struct eider_points *points,
                                                uint64_t *ret_lsn, struct eider_error *error);

/*
 * Makes an empty set of rows. Tables, columns and their rules are those of POST
 * /api/v1/ingest/{table}: market_data, strategy_metrics, execution_metrics, system_metrics, trades,
 * candles, performance_history, metrics.
 * Threads: any; one set belongs to one thread at a time.
 * Ownership: the caller's, to be ended by eider_rows_free, or taken by eider_append_rows_async.
 * Errors: none.
 */
EIDER_API struct eider_rows *eider_rows_new(void);

/*
 * Ends a set of rows.
 * Threads: whoever has it.
 * Ownership: it is gone. NULL is fine.
 * Errors: none.
 */
EIDER_API void eider_rows_free(struct eider_rows *rows);

/*
 * Forgets all rows and the error, keeps the memory for the next ones.
 * Threads: whoever has it.
 * Ownership: stays.
 * Errors: none.
 */
EIDER_API void eider_rows_reset(struct eider_rows *rows);

/*
 * Begins a row of a table. Values follow in any order, then eider_row_end. An open row is dropped.
 * Threads: whoever has the set.
 * Ownership: `table` is borrowed for the call.
 * Errors: EIDER_NOT_FOUND for an unknown table, with the nearest name; EIDER_INVALID for a table
 * that clients do not write; EIDER_TOO_LARGE over 1 000 000 rows of one table.
 */
EIDER_API enum eider_status eider_row_begin(struct eider_rows *rows, const char *table);

/*
 * Sets a text column of the open row, or a JSON column when the text is JSON, or a TIMESTAMP column
 * by an ISO 8601 text (without a zone: UTC). A later value of the same column replaces it.
 * Units: `len` in bytes; at most 65 536 (JSON: 1 MiB), of all rows 32 MiB.
 * Threads: whoever has the set.
 * Ownership: the text is copied.
 * Errors: EIDER_INVALID names column, value and expectation (unknown column, other type, not one of
 * the choices, no UTF-8); EIDER_TOO_LARGE over 32 MiB. The row is wrong then, see eider_row_end.
 */
EIDER_API enum eider_status eider_row_text(struct eider_rows *rows, const char *column,
                                           const char *text, size_t len);

/*
 * Sets a whole number: BIGINT, INTEGER, DOUBLE or DECIMAL columns.
 * Units: the column's.
 * Threads: whoever has the set.
 * Ownership: none.
 * Errors: as eider_row_text; also a number out of the column's range.
 */
EIDER_API enum eider_status eider_row_i64(struct eider_rows *rows, const char *column,
                                          int64_t value);

/*
 * Sets a DOUBLE or DECIMAL column, or an INTEGER or BIGINT one when the value is whole. NaN and
 * infinities are values of a DOUBLE without a range.
 * Units: the column's.
 * Threads: whoever has the set.
 * Ownership: none.
 * Errors: as eider_row_i64.
 */
EIDER_API enum eider_status eider_row_f64(struct eider_rows *rows, const char *column,
                                          double value);

/*
 * Sets a BOOLEAN column.
 * Threads: whoever has the set.
 * Ownership: none.
 * Errors: as eider_row_text.
 */
EIDER_API enum eider_status eider_row_bool(struct eider_rows *rows, const char *column, bool value);

/*
 * Sets a TIMESTAMP column.
 * Units: microseconds since 1970-01-01 UTC, or EIDER_NOW.
 * Threads: whoever has the set.
 * Ownership: none.
 * Errors: as eider_row_text; also a time outside of the years 1 to 9999.
 */
EIDER_API enum eider_status eider_row_time(struct eider_rows *rows, const char *column,
                                           int64_t timestamp_us);

/*
 * Ends the open row: fills columns without a value by the table's rules (NULL, 0, the time of now,
 * a new UUID).
 * Threads: whoever has the set.
 * Ownership: none.
 * Errors: the first error of the row's values, or EIDER_INVALID for a required column without one;
 * the row is dropped then, the others stay, and the next row may begin. So the answers of the
 * setters may be left unread.
 */
EIDER_API enum eider_status eider_row_end(struct eider_rows *rows);

/*
 * Tells why the last call on the set failed.
 * Threads: whoever has the set.
 * Ownership: the set's, until its next call.
 * Errors: none; status EIDER_OK when nothing failed.
 */
EIDER_API const struct eider_error *eider_rows_error(const struct eider_rows *rows);

/*
 * Counts the rows that were ended.
 * Threads: whoever has the set.
 * Ownership: none.
 * Errors: none.
 */
EIDER_API size_t eider_rows_count(const struct eider_rows *rows);

/*
 * Appends all rows of a set as one record and waits until they are durable. The set is empty
 * afterwards; when it fails it keeps its rows, to be appended again.
 * Threads: any. Blocks for one sync.
 * Ownership: the set stays the caller's. *ret_receipt may be NULL.
 * Errors: as eider_append_metric; EIDER_INVALID while a row is open; EIDER_TOO_LARGE for a record
 * over 48 MiB.
 */
EIDER_API enum eider_status eider_append_rows(struct eider_db *db, struct eider_rows *rows,
                                              struct eider_receipt *ret_receipt,
                                              struct eider_error *error);

/* Forms of a body. */
enum eider_format {
    EIDER_FORMAT_JSON, /* an object, an array of objects, or NDJSON; told apart by content */
    EIDER_FORMAT_LINE  /* InfluxDB line protocol */
};

/* Units of whole numbers that are times in a body. */
enum eider_precision {
    EIDER_PRECISION_DEFAULT, /* microseconds; of line protocol nanoseconds */
    EIDER_PRECISION_NS,
    EIDER_PRECISION_US,
    EIDER_PRECISION_MS,
    EIDER_PRECISION_S
};

/* Tells of a row that was refused. `row` counts from 0 (of NDJSON and line protocol: the line).
 * Texts need not end in NUL; they are valid during the call. Runs on the thread that completes the
 * append, see eider_done_fn; must be quick. */
struct eider_row_problem {
    uint64_t row;
    const char *field; /* "" when the row as a whole is wrong */
    size_t field_len;
    const char *value; /* cut at 100 bytes */
    size_t value_len;
    const char *expected;
    size_t expected_len;
};
typedef void eider_row_problem_fn(void *ctx, const struct eider_row_problem *problem);

/* Rows as the server takes them. */
struct eider_body {
    enum eider_format format;
    const char *table; /* EIDER_FORMAT_JSON only */
    const void *bytes;
    size_t len; /* at most request_bytes_max */
    bool gzip;  /* bytes are compressed; the limit is of what comes out */
    enum eider_precision precision;
    bool skip_bad_rows;          /* write the good rows; else one bad row refuses all */
    const char *idempotency_key; /* at most 255 bytes; the same body again writes nothing for a day;
                                    NULL: none */
    bool wait_applied;           /* done when reads see it, not only when it is durable */
    eider_row_problem_fn *on_row_problem; /* gets the first 100 bad rows; NULL: nobody */
    void *problem_ctx;
    uint64_t reserved[4]; /* for later versions: 0 */
};

/*
 * Appends the rows of a JSON, NDJSON or line protocol body as one record and waits until they are
 * durable.
 * Threads: any. Blocks for one sync, with wait_applied until reads see them.
 * Ownership: everything is borrowed for the call. *ret_receipt (may be NULL) counts rows.
 * Errors: EIDER_INVALID names the first bad row's field, value and expectation; EIDER_NOT_FOUND for
 * an unknown table; EIDER_TOO_LARGE; EIDER_CONFLICT for an idempotency key with another body; as
 * eider_append_metric.
 */
EIDER_API enum eider_status eider_append_body(struct eider_db *db, const struct eider_body *body,
                                              struct eider_receipt *ret_receipt,
                                              struct eider_error *error);

/* Tells that an asynchronous append is durable, or why not. Runs on the library's committer thread
 * (the applier's with wait_applied), and holds it up: must be quick, must not wait. Or on the
 * thread of a caller, before its call returns: eider_append_body_async of a body that writes
 * nothing, any append of a body with the same idempotency key when it is refused, and eider_close.
 * So do not append or close with a lock that `done` takes. May begin further asynchronous appends.
 */
typedef void eider_done_fn(void *ctx, const struct eider_receipt *receipt);

/*
 * Begins to append many values of one series.
 * Units: as eider_append_metric.
 * Threads: any, also callbacks. Does not wait.
 * Ownership: everything is copied before it returns. After EIDER_OK `done` (may be NULL: see
 * eider_flush) is called exactly once; after an error never.
 * Errors: EIDER_BUSY over async_max or inflight_bytes_max: nothing was begun; as
 * eider_append_points.
 */
EIDER_API enum eider_status eider_append_points_async(struct eider_db *db,
                                                      const struct eider_points *points,
                                                      eider_done_fn *done, void *ctx,
                                                      struct eider_error *error);

/*
 * Begins to append all rows of a set.
 * Threads: any, also callbacks. Does not wait.
 * Ownership: after EIDER_OK the rows are taken and *rows is empty, at once ready for the next;
 * after an error it is as it was. `done` as of eider_append_points_async.
 * Errors: as eider_append_rows; EIDER_BUSY over async_max or inflight_bytes_max.
 */
EIDER_API enum eider_status eider_append_rows_async(struct eider_db *db, struct eider_rows *rows,
                                                    eider_done_fn *done, void *ctx,
                                                    struct eider_error *error);

/*
 * Begins to append a body.
 * Threads: any, also callbacks. Does not wait; decoding runs on the caller's thread.
 * Ownership: body->bytes and problem_ctx must stay until `done` was called (with done NULL: until
 * eider_flush returned); all else is copied. `done` as of eider_append_points_async; for a body
 * that writes nothing it is called before this returns.
 * Errors: as eider_append_body; EIDER_BUSY over async_max or inflight_bytes_max.
 */
EIDER_API enum eider_status eider_append_body_async(struct eider_db *db,
                                                    const struct eider_body *body,
                                                    eider_done_fn *done, void *ctx,
                                                    struct eider_error *error);

/*
 * Waits until every asynchronous append that was begun before is durable or has failed.
 * Units: timeout_ms in milliseconds; below 0: without end.
 * Threads: any. Blocks.
 * Ownership: none.
 * Errors: EIDER_TIMEOUT; else the first failure, since the last flush, of an append without `done`.
 */
EIDER_API enum eider_status eider_flush(struct eider_db *db, int timeout_ms,
                                        struct eider_error *error);

/*
 * Waits until reads see the record with this LSN and all before it.
 * Units: timeout_ms in milliseconds, from 0.
 * Threads: any. Blocks.
 * Ownership: none.
 * Errors: EIDER_TIMEOUT; EIDER_UNAVAILABLE while it is closed.
 */
EIDER_API enum eider_status eider_wait_applied(struct eider_db *db, uint64_t lsn, int timeout_ms,
                                               struct eider_error *error);

/* ---- reading ---- */

/* Types of parameters. */
enum eider_param_type {
    EIDER_PARAM_NULL,
    EIDER_PARAM_BOOL,
    EIDER_PARAM_INT64,
    EIDER_PARAM_DOUBLE,
    EIDER_PARAM_TEXT,
    EIDER_PARAM_TIMESTAMP /* int64, microseconds */
};

/* A value for a statement's parameter. */
struct eider_param {
    enum eider_param_type type;
    int64_t int64; /* also of BOOL (0 or 1) */
    double real;
    const char *text;
    size_t text_len;
};

/* A read-only statement of SQL, in the dialect of DuckDB or, with it, PostgreSQL. All zero but sql
 * is a statement without parameters. */
struct eider_query {
    const char *sql;                  /* one statement; $1, $2, ... are the parameters */
    const struct eider_param *params; /* at most 64 */
    size_t param_count;
    int timeout_ms;       /* 0: the handle's */
    uint64_t rows_max;    /* more are cut, see eider_batch_is_truncated; 0: 100 000; at most
                             16 777 216 */
    uint64_t bytes_max;   /* of the answer; over it: EIDER_TOO_LARGE; 0: 64 MiB */
    uint64_t reserved[4]; /* for later versions: 0 */
};

/*
 * Runs a read-only statement, in a sandbox without files, network and settings.
 * Units: see struct eider_query.
 * Threads: any; `readers` at once, others wait for their turn. Blocks.
 * Ownership: the query is borrowed for the call; *ret_batch is the caller's, to be ended by
 * eider_batch_free, and may outlive the handle.
 * Errors: EIDER_INVALID with the database's message; EIDER_UNSUPPORTED for storage type memory;
 * EIDER_TIMEOUT, EIDER_TOO_LARGE, EIDER_UNAVAILABLE.
 */
EIDER_API enum eider_status eider_query(struct eider_db *db, const struct eider_query *query,
                                        struct eider_batch **ret_batch, struct eider_error *error);

/* Rows of a table, without SQL: for every storage type. */
struct eider_read {
    const char *table;
    const char *column; /* a text column that must have `value`; NULL: any rows */
    const char *value;  /* with column: required */
    int64_t from_us;    /* inclusive; EIDER_FROM_START: no bound */
    int64_t to_us;      /* inclusive; EIDER_TO_END: no bound. Both 0: no bounds */
    bool newest_first;
    uint64_t limit;       /* rows; 0: all. Over 16 777 216: EIDER_TOO_LARGE */
    uint64_t offset;      /* rows that are left out first */
    int timeout_ms;       /* 0: the handle's */
    uint64_t reserved[4]; /* for later versions: 0 */
};

/*
 * Reads rows of a table in the order of their times.
 * Units: see struct eider_read.
 * Threads: any. Blocks.
 * Ownership: as eider_query.
 * Errors: EIDER_NOT_FOUND for an unknown table, EIDER_INVALID for a column that is no text column
 * of it; EIDER_TOO_LARGE, EIDER_TIMEOUT, EIDER_UNAVAILABLE.
 */
EIDER_API enum eider_status eider_read_table(struct eider_db *db, const struct eider_read *read,
                                             struct eider_batch **ret_batch,
                                             struct eider_error *error);

/*
 * Reads the newest row of every key of a table (every symbol, every strategy; of `metrics` every
 * series), as far as they are applied.
 * Threads: any. Blocks.
 * Ownership: as eider_query.
 * Errors: EIDER_NOT_FOUND for an unknown table, EIDER_INVALID for one without times;
 * EIDER_UNAVAILABLE.
 */
EIDER_API enum eider_status eider_read_latest(struct eider_db *db, const char *table,
                                              struct eider_batch **ret_batch,
                                              struct eider_error *error);

/* A stretch of a series' history. */
struct eider_range {
    struct eider_series series;
    int64_t from_us;      /* inclusive; EIDER_FROM_START */
    int64_t to_us;        /* inclusive; EIDER_TO_END. Both 0: no bounds */
    bool newest_first;    /* else oldest first */
    uint64_t limit;       /* rows; 0: all. Over 16 777 216: EIDER_TOO_LARGE */
    int64_t bucket_us;    /* eider_read_buckets only: width, from 1 000 to a year */
    uint64_t reserved[4]; /* for later versions: 0 */
};

/*
 * Reads the values of one series: columns timestamp, value.
 * Units: see struct eider_range.
 * Threads: any. Blocks.
 * Ownership: as eider_query.
 * Errors: EIDER_NOT_FOUND when there is no such series; EIDER_INVALID, EIDER_TIMEOUT,
 * EIDER_TOO_LARGE, EIDER_UNAVAILABLE.
 */
EIDER_API enum eider_status eider_read_range(struct eider_db *db, const struct eider_range *range,
                                             struct eider_batch **ret_batch,
                                             struct eider_error *error);

/*
 * Reads the values of one series in buckets of time: columns timestamp (where the bucket begins),
 * first, last, min, max, avg, sum, count. Buckets are multiples of the width from Monday 2000-01-03
 * UTC; those without a value are left out.
 * Units: see struct eider_range.
 * Threads: any. Blocks.
 * Ownership: as eider_query.
 * Errors: as eider_read_range; EIDER_INVALID for a width out of range.
 */
EIDER_API enum eider_status eider_read_buckets(struct eider_db *db, const struct eider_range *range,
                                               struct eider_batch **ret_batch,
                                               struct eider_error *error);

/* The newest value of a series. */
struct eider_point {
    int64_t timestamp_us;
    double value;
    uint64_t lsn; /* record that it came with; 0: it was there when the directory was opened */
    uint64_t reserved[2]; /* 0 */
};

/*
 * Gives the newest durable value of a series: by time, among equal times the last one written. From
 * memory, but for the first call, which reads the last values of the store.
 * Threads: any. Blocks during the first call.
 * Ownership: the series is borrowed for the call.
 * Errors: EIDER_NOT_FOUND when there is no such series or value; EIDER_INVALID names the field;
 * EIDER_UNAVAILABLE.
 */
EIDER_API enum eider_status eider_last(struct eider_db *db, const struct eider_series *series,
                                       struct eider_point *ret_point, struct eider_error *error);

/* ---- Arrow ---- */

/* The Arrow C data interface and C stream interface, as their specification wants them copied:
 * https://arrow.apache.org/docs/format/CDataInterface.html */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif

/*
 * Describes a batch as an Arrow schema: a struct of BOOL "b", INT32 "i", INT64 "l", DOUBLE "g",
 * TIMESTAMP "tsu:", TEXT "u", JSON "u" with extension arrow.json, DECIMAL "d:18,6".
 * Threads: any.
 * Ownership: *ret_schema is filled in, and the caller's until its release was called; it does not
 * need the batch.
 * Errors: none.
 */
EIDER_API void eider_batch_schema(const struct eider_batch *batch, struct ArrowSchema *ret_schema);

/*
 * Copies rows of a batch to an Arrow struct array. Buffers are aligned to 64 bytes and padded with
 * zeros to a multiple of 64; offset is 0; a column without NULLs has no bitmap.
 * Units: `count` rows from `first`, cut at the end of the batch.
 * Threads: any.
 * Ownership: *ret_array is filled in, and the caller's until its release was called, on any thread;
 * it does not need the batch. Children may be moved out.
 * Errors: EIDER_TOO_LARGE when the texts of one column have more than 2 GiB: take fewer rows.
 */
EIDER_API enum eider_status eider_batch_array(const struct eider_batch *batch, size_t first,
                                              size_t count, struct ArrowArray *ret_array,
                                              struct eider_error *error);

/*
 * Runs a statement and gives the answer as an Arrow stream of arrays of at most `rows` rows.
 * Units: rows of one array, from 1; 0: 65 536.
 * Threads: any; the stream is one thread's at a time. Blocks as eider_query; the stream does not.
 * Ownership: *ret_stream is filled in, and the caller's until its release was called; it may
 * outlive the handle. Arrays and schemas that came from it outlive the stream.
 * Errors: as eider_query; EIDER_TOO_LARGE over rows_max, for a stream has no mark of a cut answer.
 * Functions of the stream return 0 or an errno, with text.
 */
EIDER_API enum eider_status eider_query_stream(struct eider_db *db, const struct eider_query *query,
                                               size_t rows, struct ArrowArrayStream *ret_stream,
                                               struct eider_error *error);

/* ---- subscribing ---- */

/* A durable batch of one table. */
struct eider_delivery {
    uint64_t lsn;                    /* record that it came with; grows, but for several tables
                                        of one record */
    const char *table;               /* "trades", ..., "trading_metrics" for metrics */
    const struct eider_batch *batch; /* all columns of the table; valid during the call */
    uint64_t missed_batches;         /* that were dropped before this one, since the last call */
    uint64_t missed_rows;
};

/* Gets a durable batch. Runs on the subscription's own thread, one call at a time. It may append,
 * read and wait; it must not end its own subscription or close the handle. While it runs the queue
 * fills; nothing else is held up. */
typedef void eider_delivery_fn(void *ctx, const struct eider_delivery *delivery);

/* What a subscriber gets. All zero but fn is every table. */
struct eider_subscribe_options {
    const char *table;       /* NULL: all that clients write */
    const char *metric_name; /* of table metrics (or NULL); NULL: all */
    size_t queue_batches;    /* that wait for a slow subscriber; 0: 1 024; at most 1 000 000 */
    uint64_t queue_bytes;    /* of these; 0: 64 MiB. Over one of the two: the new one is dropped and
                                counted */
    eider_delivery_fn *fn;   /* required */
    void *ctx;
    uint64_t reserved[4]; /* for later versions: 0 */
};

/*
 * Subscribes to every batch that becomes durable from now on, in the order of LSNs. Writers never
 * wait for a subscriber.
 * Units: see struct eider_subscribe_options.
 * Threads: any. Starts a thread, on which fn runs.
 * Ownership: options are copied; *ret_subscription is the caller's, to be ended by
 * eider_unsubscribe; eider_close ends it, too.
 * Errors: EIDER_INVALID names the option, EIDER_NOT_FOUND for an unknown table, EIDER_BUSY over
 * subscriptions_max, EIDER_UNAVAILABLE while the handle is closed, EIDER_INTERNAL when no thread
 * can be started.
 */
EIDER_API enum eider_status eider_subscribe(struct eider_db *db,
                                            const struct eider_subscribe_options *options,
                                            struct eider_subscription **ret_subscription,
                                            struct eider_error *error);

/*
 * Ends a subscription: waits for a call of fn that runs; what is still in the queue is dropped.
 * Threads: any but the subscription's own; once. Blocks until fn returns.
 * Ownership: the subscription is gone. NULL is fine.
 * Errors: EIDER_INVALID when called in a callback: nothing is ended then.
 */
EIDER_API enum eider_status eider_unsubscribe(struct eider_subscription *subscription);

/* Figures of a subscription, since it began. */
struct eider_subscription_stats {
    uint64_t delivered_batches; /* whose fn has returned */
    uint64_t delivered_rows;
    uint64_t missed_batches; /* dropped because the queue was full */
    uint64_t missed_rows;
    uint64_t queued_batches; /* wait now */
    uint64_t queued_bytes;
    uint64_t last_lsn;    /* delivered last */
    uint64_t reserved[4]; /* 0 */
};

/*
 * Gives the figures of a subscription.
 * Threads: any, until eider_unsubscribe is called.
 * Ownership: *ret_stats is filled in.
 * Errors: none.
 */
EIDER_API void eider_subscription_stats(struct eider_subscription *subscription,
                                        struct eider_subscription_stats *ret_stats);

/* ---- the handle ---- */

/* Figures of a handle, since it was opened. */
struct eider_stats {
    uint64_t durable_lsn;            /* the last record that is durable; 0: none yet */
    uint64_t applied_lsn;            /* the last that reads see */
    uint64_t rows;                   /* appended */
    uint64_t syncs;                  /* of the log; fewer than records when threads share them */
    uint64_t records;                /* written to the log */
    uint64_t series;                 /* known */
    uint64_t inflight_bytes;         /* appends not yet durable */
    uint64_t async_pending;          /* asynchronous appends not yet durable */
    uint64_t log_bytes;              /* on disk */
    uint64_t store_bytes;            /* on disk, or in memory */
    uint64_t rebuilds;               /* of a store that would not open */
    uint64_t missed_batches;         /* of all subscriptions */
    bool healthy;                    /* log and store work */
    char problem[EIDER_MESSAGE_MAX]; /* why not; "" */
    uint64_t reserved[8];            /* 0 */
};

/*
 * Gives the figures of a handle.
 * Threads: any.
 * Ownership: *ret_stats is filled in.
 * Errors: none.
 */
EIDER_API void eider_stats(struct eider_db *db, struct eider_stats *ret_stats);

/*
 * Writes what is applied into the database file, so that the next open has less to catch up with.
 * Happens by itself every minute, and in eider_close.
 * Units: timeout_ms in milliseconds, from 0.
 * Threads: any. Blocks.
 * Ownership: none.
 * Errors: EIDER_TIMEOUT, EIDER_IO, EIDER_NO_SPACE.
 */
EIDER_API enum eider_status eider_checkpoint(struct eider_db *db, int timeout_ms,
                                             struct eider_error *error);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
