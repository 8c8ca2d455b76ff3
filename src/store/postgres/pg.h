/*
 * What the files of the PostgreSQL store share; private to this folder.
 *
 *   store_postgres.c  open, close, vtable       pg_pool.c   connections of readers
 *   pg_conn.c   connect, send, wait             pg_read.c   scan, latest, statistics
 *   pg_error.c  SQLSTATEs, no passwords         pg_bucket.c buckets
 *   pg_apply.c  a group as a transaction        pg_sql.c    users' SQL
 *   pg_copy.c   batches as COPY BINARY          pg_guard.c  which of it may run at all
 *   pg_value.c  answers into batches            pg_text.c   statements being written
 *   pg_setup.c  schema, identity                pg_extend.c TimescaleDB, Citus
 *   pg_visit.c  visits, by a cursor             pg_days.c   days of rows, deleting them
 *   pg_cancel.c cancel, within a limit          pg_refused.c  database, user, password wrong
 */
#ifndef EIDER_STORE_POSTGRES_PG_H
#define EIDER_STORE_POSTGRES_PG_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hist.h"
#include "base/id.h"
#include "store/keys.h"
#include "store/postgres/store_postgres.h"
#include "store/store.h"

enum {
    PG_TIMEOUT_MS = 30000,
    PG_CONNECT_TIMEOUT_MS = 10000,
    PG_APPLY_TIMEOUT_MS = 120000,
    PG_CANCEL_WAIT_MS = 5000,
    PG_SQL_ROWS_MAX = 100000,
    PG_SQL_BYTES_MAX = 64 << 20,
    PG_IDENTITY_BYTES = 40,
    PG_KEYWORDS_MAX = 24,
    PG_SECRETS_MAX = 4
};

/* PostgreSQL counts microseconds from 2000-01-01; its earliest time is 4714-11-24 BC. */
static const int64_t pg_epoch_us = 946684800000000;
static const int64_t pg_time_min_us = -210866803200000000;

/* Object identifiers of types, as in pg_type.dat: part of the protocol. */
enum pg_oid {
    PG_BOOL = 16,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_OID = 26,
    PG_JSON = 114,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_TEXT_ARRAY = 1009,
    PG_TIMESTAMP = 1114,
    PG_TIMESTAMPTZ = 1184,
    PG_NUMERIC = 1700
};

/* One connection. `busy` is guarded by the pool's lock; the rest is of whoever has it. */
struct pg_conn {
    PGconn *pg;       /* NULL: none */
    PGcancel *cancel; /* NULL: it could not be cancelled and was given up */
    bool busy;
    bool settling; /* the writer's, before it is set up: waits no longer than the store's owner */
    atomic_bool interrupted;            /* by anybody; looked at every WAIT_TICK_MS */
    const struct store_cancel *cancels; /* looked at as often; NULL: none */
};

/* Lock: one, below no other. */
struct pg_pool {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct pg_conn *readers;
    unsigned count;
    unsigned busy;
    /* After a failed connect no other is tried before next_us (monotonic). */
    unsigned failures;
    int64_t next_us;
    struct err failure;
};

/* One table as the applier sees it. */
struct pg_table {
    const struct catalog_table *table;
    struct column_list key;
    int64_t newest_us; /* of all rows in the table; INT64_MIN: none, INT64_MAX: unknown */
};

/* What stands in the way of a connection's parameters, NULL-terminated for libpq. */
struct pg_params {
    const char *keywords[PG_KEYWORDS_MAX];
    const char *values[PG_KEYWORDS_MAX];
    size_t count;
    char *owned[PG_KEYWORDS_MAX];
    size_t owned_count;
    char *secrets[PG_SECRETS_MAX]; /* never shown */
    size_t secret_count;
    char where[256]; /* host, port and database, for messages */
    /* The settings that these values come from, or what stands in for them; constant texts. */
    const char *database_by;
    const char *user_by;
    const char *password_by;
};

struct pg_store {
    struct store store; /* first */
    const struct clock *clock;
    struct pg_params params;
    int timeout_ms;
    int connect_timeout_ms;
    bool (*owner_ends)(void *ctx); /* see store_open_options */
    void *owner_ctx;
    struct pg_pool pool;
    bool is_superuser; /* users' statements run with less */

    /* The applier's. */
    struct pg_conn writer;
    struct pg_table tables[TABLE_ID_END];
    bool late_made[TABLE_ID_END]; /* temporary tables of this connection */
    uint64_t next_ord;            /* number of the next row; in eider_applied */
    struct rng rng;

    char identity[PG_IDENTITY_BYTES]; /* constant after open */
    _Atomic uint64_t applied_lsn;
    _Atomic uint64_t groups;
    _Atomic uint64_t rows;
    _Atomic uint64_t late_rows;
    _Atomic uint64_t checkpoints;
    _Atomic uint64_t queries;
    _Atomic uint64_t query_errors;
    _Atomic uint64_t size_bytes;
    struct hist apply_us;
    struct hist query_us;
};

/* pg_error.c */

/* Whose statement it was decides the code (store.h). */
enum pg_side { PG_SIDE_APPLY, PG_SIDE_READ, PG_SIDE_USER, PG_SIDE_SCHEMA };

/* The first line of a message of libpq or the server, secrets masked, becomes `err`. */
enum err_code pg_fail_result(const struct pg_store *store, enum pg_side side,
                             const PGresult *result, struct err *err);
/* The connection is gone (or never was). */
enum err_code pg_fail_conn(const struct pg_store *store, enum pg_side side, const PGconn *pg,
                           struct err *err);
/* It was not made: says what is wrong, by the setting, when the server says why (pg_refused.c). */
enum err_code pg_fail_connect(const struct pg_store *store, enum pg_side side, const PGconn *pg,
                              struct err *err);
/* The SQLSTATE in a verbose message of libpq, and the text behind it; NULL: there is none. Pure. */
const char *pg_find_state(const char *message, char ret_state[6]);
/* The code of a SQLSTATE. Pure. */
enum err_code pg_code_of_state(enum pg_side side, const char *state);

/* Replaces every secret in a text by asterisks. */
void pg_mask(const struct pg_params *params, char *text);

/* pg_conn.c */

enum err_code pg_params_init(struct pg_params *params, const struct store_postgres_options *options,
                             struct err *err);
void pg_params_fini(struct pg_params *params);

/* Connects and sets the session up. The writer's ends as if it were late when the store's owner
 * ends, until pg_setup_writer is done. */
enum err_code pg_connect(struct pg_store *store, enum pg_side side, struct pg_conn *conn,
                         struct err *err);
void pg_disconnect(struct pg_conn *conn);

/* The moment in `timeout_ms`. */
int64_t pg_deadline(const struct pg_store *store, int timeout_ms);

/* Waits until everything is sent. False when that is over or the connection gone. */
bool pg_flush(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us);

/*
 * The next result of what was sent; NULL at the end. When the deadline passes the statement is
 * cancelled, and *late set; a server that does not even answer that loses its connection. Nothing
 * is cancelled when the store's owner ends.
 */
PGresult *pg_next_result(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us,
                         bool *late);

/* Runs one or more statements without parameters; the answers are thrown away, but *ret_affected
 * (may be NULL) is the count of the last UPDATE. */
enum err_code pg_exec(struct pg_store *store, struct pg_conn *conn, enum pg_side side,
                      const char *sql, int64_t deadline_us, uint64_t *ret_affected,
                      struct err *err);

/* Reads away what is left of an answer, so that the connection can be used again. */
void pg_drain(struct pg_store *store, struct pg_conn *conn);

/* The connection was not set up yet, and the store's owner waits for it no more. */
bool pg_is_left(const struct pg_store *store, const struct pg_conn *conn);

/* pg_cancel.c */

/*
 * Asks the server to end what it does for this connection; waits PG_CANCEL_WAIT_MS at most until it
 * took that. False: it did not, or could not be asked; nothing comes on this connection any more,
 * and it is of no use.
 */
bool pg_cancel(const struct pg_store *store, struct pg_conn *conn);

/* pg_text.c: a statement while it is written */

struct pg_sql {
    struct buf text;
    struct buf values; /* of the parameters, one behind the other */
    size_t count;
    size_t cap;
    struct pg_param {
        Oid type;
        size_t offset;
        int len; /* -1: NULL */
        int format;
    } * params;
};

void pg_sql_init(struct pg_sql *sql);
void pg_sql_fini(struct pg_sql *sql);
/* "name", quotes doubled. */
void pg_sql_name(struct pg_sql *sql, const char *name);
/* All columns that a row is written with: the table's, and eider_ord. */
void pg_sql_columns(struct pg_sql *sql, const struct catalog_table *table);
/* Adds a parameter; returns its number, from 1. */
size_t pg_sql_texts(struct pg_sql *sql, const struct slice *values, size_t count);
size_t pg_sql_time(struct pg_sql *sql, int64_t unix_us);
size_t pg_sql_param(struct pg_sql *sql, const struct store_param *param);

/* Sends it; the answer's values come binary or as text. */
enum err_code pg_sql_send(struct pg_store *store, struct pg_conn *conn, enum pg_side side,
                          const struct pg_sql *sql, bool binary, int64_t deadline_us,
                          struct err *err);

/* pg_value.c */

/* Adds the rows of a binary result; columns of the batch say what they become. */
enum err_code pg_add_rows(const PGresult *result, struct batch *rows, struct err *err);

/* A NUMERIC in its binary form times 10^scale, exactly; false when that does not fit or is none. */
bool pg_numeric_read(const char *data, size_t len, int scale, int64_t *ret_value);
/* Writes millionths as NUMERIC; returns the bytes. */
enum { PG_NUMERIC_BYTES_MAX = 32 };
size_t pg_numeric_write(int64_t micro, char *ret_bytes);

/* pg_apply.c */

/* A connection of the applier's that works, the database being the one that it was. */
enum err_code pg_ensure_writer(struct pg_store *store, struct err *err);

/* pg_copy.c */

struct pg_copy {
    struct pg_store *store;
    struct pg_conn *conn;
    int64_t deadline_us;
    struct buf buf;
};

enum err_code pg_copy_begin(struct pg_copy *copy, struct pg_store *store, struct pg_conn *conn,
                            const char *table, const struct catalog_table *of, int64_t deadline_us,
                            struct err *err);
enum err_code pg_copy_row(struct pg_copy *copy, const struct batch *batch, size_t row, uint64_t ord,
                          struct err *err);
enum err_code pg_copy_end(struct pg_copy *copy, struct err *err);
void pg_copy_fini(struct pg_copy *copy);

/* pg_pool.c */

void pg_pool_init(struct pg_pool *pool, unsigned count);
void pg_pool_fini(struct pg_pool *pool);
enum err_code pg_pool_take(struct pg_store *store, const struct store_cancel *cancel,
                           int64_t deadline_us, struct pg_conn **ret_conn, struct err *err);
void pg_pool_give(struct pg_store *store, struct pg_conn *conn);
void pg_pool_interrupt(struct pg_pool *pool);

/* pg_setup.c */

struct schema_db;
/* The writer's connection, for the schema's steps. */
void pg_schema_db(struct pg_store *store, struct schema_db *ret_db);

/* After the writer connected: takes the lock, reads identity, applied LSN, newest times. */
enum err_code pg_setup_writer(struct pg_store *store, bool first, struct err *err);

/* Turns empty tables into those of TimescaleDB or Citus, when the database has them. */
enum err_code pg_extend(struct pg_store *store, struct err *err);

/* Keeps every other Eider from writing to these tables as long as the connection lasts. */
enum err_code pg_setup_lock(struct pg_store *store, struct err *err);

/* Looks at the size of the database. */
enum err_code pg_setup_size(struct pg_store *store, struct err *err);

/* pg_read.c, what pg_bucket.c and pg_visit.c share */

enum { PG_ANSWER_BYTES_MAX = 1 << 30 };

const struct catalog_table *pg_find_table(enum table_id id, struct err *err);
/* The table's name, or what stands for the view, as something to select from. */
void pg_add_source(struct pg_sql *sql, const struct catalog_table *table);
enum err_code pg_add_where(struct pg_sql *sql, const struct catalog_table *table,
                           const struct store_scan *scan, struct err *err);
void pg_add_limit(struct pg_sql *sql, const struct store_scan *scan);
/* SELECT columns FROM table WHERE what the scan asks for; and the columns of the answer. */
enum err_code pg_add_select(struct pg_sql *sql, const struct catalog_table *table,
                            const struct store_scan *scan, struct batch *rows, struct err *err);
/* Reads the answer row by row, so that it is in memory once. */
enum err_code pg_gather(struct pg_store *store, struct pg_conn *conn, int64_t deadline_us,
                        struct batch *rows, struct err *err);
/* Runs a statement on a reader; `rows` has the answer's columns and is ended on failure. */
enum err_code pg_select(struct pg_store *store, const struct pg_sql *sql,
                        const struct store_scan *scan, struct batch *rows, struct batch *ret_rows,
                        struct err *err);
void pg_note_query(struct pg_store *store, int64_t start_us, enum err_code code);

/* Why a reader's statement ended early, when it was given up. */
enum err_code pg_why(struct pg_conn *conn, enum err_code code, struct err *err);

/* The type that an aggregate of a column has. */
enum col_type pg_aggregate_type(enum store_aggregate_fn fn, enum col_type type);

/* pg_sql.c */

struct pg_bounds {
    uint64_t rows_max;
    uint64_t bytes_max;
    bool truncated; /* rows were cut */
};

/* Runs one statement whose columns are not known before, and gathers its answer. */
enum err_code pg_ask(struct pg_store *store, struct pg_conn *conn, enum pg_side side,
                     const struct pg_sql *sql, struct pg_bounds *bounds, int64_t deadline_us,
                     struct batch *ret_rows, struct err *err);

/* pg_guard.c */

/* ERR_INVALID naming what users may not do. Pure. */
enum err_code pg_guard_check(struct slice sql, struct err *err);

/* The end of the text, name or comment that begins at `at`, or `at`. Pure. */
size_t pg_guard_skip(struct slice sql, size_t at);

/* The vtable's functions */

enum err_code pg_apply(struct store *store, const struct store_group *group, struct err *err);
enum err_code pg_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
                      struct err *err);
enum err_code pg_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn,
                       void *ctx, struct err *err);
enum err_code pg_bucket(struct store *store, const struct store_bucket *bucket,
                        struct batch *ret_rows, struct err *err);
enum err_code pg_sql_run(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
                         bool *ret_truncated, struct err *err);
enum err_code pg_latest(struct store *store, enum table_id table,
                        const struct store_patience *patience, struct batch *ret_rows,
                        struct err *err);
enum err_code pg_table_stats(struct store *store, enum table_id table,
                             struct store_table_stats *ret_stats, struct err *err);
enum err_code pg_checkpoint(struct store *store, struct err *err);
enum err_code pg_take_over(struct store *store, uint64_t lsn, bool anew, struct err *err);
enum err_code pg_seal_find(struct store *store, const struct store_seal_find *find,
                           struct store_day *ret_days, size_t max, size_t *ret_count,
                           struct err *err);
enum err_code pg_cold_drop(struct store *store, const struct cold_drop *drop, struct err *err);

#endif
