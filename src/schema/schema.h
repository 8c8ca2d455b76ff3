/*
 * Schema migrations: numbered steps, `up` and `down`, that bring the tables of a database from one
 * version to the next. The steps are the files src/schema/<dialect>/NNNN_name.{up,down}.sql,
 * embedded in the program; what a database has seen stands in its ledger.
 *
 *   version 0 ── up 1 ──► 1 ── up 2 ──► 2 ...
 *           ▲             │
 *           └── down 1 ───┘
 *
 * Each arrow is one transaction: BEGIN, the lock where there is one, the ledger read again, the
 * file's statements, the ledger's new row, COMMIT. So a step is there with its row or not at all,
 * and two programs that start on one database do it once. The ledger, eider_schema_migrations, is
 * only added to: a row says "applied" or "rolled_back", the last row of a version counts.
 *
 * The part knows SQL and the catalogue, neither library: a store lends it `struct schema_db`.
 * Everything blocks for as long as the database takes, and is called by one thread at a time.
 */
#ifndef EIDER_SCHEMA_SCHEMA_H
#define EIDER_SCHEMA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "catalog/batch.h"

enum schema_dialect { SCHEMA_DUCKDB, SCHEMA_POSTGRES };

enum { SCHEMA_VERSIONS_MAX = 256, SCHEMA_NAME_MAX = 64, SCHEMA_CHECKSUM_MAX = 72 };

struct schema_migration {
    uint32_t version; /* 1, 2, 3, ... */
    const char *name;
    const char *checksum;  /* SHA-256 of the .up.sql file, 64 hex digits */
    const char *const *up; /* statements without their semicolons */
    size_t up_count;
    const char *const *down;
    size_t down_count;
};

/* Migrations 1 to count, in order. */
struct schema_list {
    const struct schema_migration *migrations;
    size_t count;
};

/* The program's own. */
const struct schema_list *schema_list(enum schema_dialect dialect);

/*
 * What a store lends. A statement that the database refuses (a name that is taken, a column that is
 * not there, SQL that raises an error) is ERR_CONFLICT with the database's own words; everything
 * else has the code that the store would give it.
 */
struct schema_db_ops {
    enum err_code (*begin)(void *ctx, struct err *err);
    /* Runs one statement; what it answers is thrown away. */
    enum err_code (*exec)(void *ctx, const char *sql, struct err *err);
    /* Runs one statement and gathers its answer, an answer batch: integers of up to 32 bits may
     * come as COL_INT32, larger ones as COL_INT64, times as COL_TIMESTAMP, texts as COL_TEXT. */
    enum err_code (*query)(void *ctx, const char *sql, struct batch *ret_rows, struct err *err);
    enum err_code (*commit)(void *ctx, struct err *err);
    /* Ends a transaction, also one that an error ended already. */
    void (*rollback)(void *ctx);
};

struct schema_db {
    const struct schema_db_ops *ops;
    void *ctx;
    enum schema_dialect dialect;
    const char *where;              /* stands before messages: a path, a server; no password */
    const struct schema_list *list; /* NULL: schema_list(dialect) */
    const struct clock *clock;      /* NULL: clock_system() */
};

/*
 * A database that is open for its schema alone, without a store's threads and without having been
 * brought up: what `eider migrate schema` works on. An implementation's own struct begins with it.
 */
struct schema_session {
    struct schema_db db;
    void (*close)(struct schema_session *session);
};

void schema_session_close(struct schema_session *session); /* NULL is fine */

/* ---- at a store's opening ---- */

/*
 * Brings the database up to the program's version, whatever it is at, and compares its tables with
 * the catalogue's. A database from before there was a ledger is taken over with its rows; columns
 * that it lacks are added. Errors: ERR_CONFLICT when the tables are somebody else's, the database
 * is newer than the program, an applied migration was changed, or the ledger has gaps; nothing has
 * been changed then by the step that found out, and `err` says what to do.
 */
enum err_code schema_open(const struct schema_db *db, struct err *err);

/* ---- going up and down by hand ---- */

/* Called behind each step's commit, or for each step that would be done in a dry run
 * (execution_ms -1). */
typedef void schema_step_fn(void *ctx, const struct schema_migration *migration, bool up,
                            int64_t execution_ms);

struct schema_move {
    bool down;
    bool has_to;
    uint32_t to;        /* version to end at; without has_to up goes to the newest, down one step */
    bool dry_run;       /* only says what would be done; down: also whether it would be refused */
    bool drop_receipts; /* down: the receipts of retention may go with their table */
    schema_step_fn *step; /* NULL: nobody is told */
    void *step_ctx;
};

/*
 * Moves the database, step by step, each in its own transaction; a step that fails leaves those
 * before it done. Nothing to do is ERR_OK. Errors: those of schema_open; ERR_INVALID for a version
 * that the program does not have or that lies the other way; what a statement failed with, named by
 * migration and statement.
 */
enum err_code schema_move(const struct schema_db *db, const struct schema_move *move,
                          struct err *err);

/* ---- looking ---- */

enum schema_state {
    SCHEMA_PENDING,     /* not in the database */
    SCHEMA_APPLIED,     /* in the database, as this program has it */
    SCHEMA_ROLLED_BACK, /* was in the database, is no more; pending */
    SCHEMA_CHANGED,     /* applied with another name or checksum */
    SCHEMA_MISSING,     /* not in the ledger though a later one is: a gap */
    SCHEMA_NEWER        /* applied, unknown to this program */
};

/* "pending", "applied", ... */
const char *schema_state_name(enum schema_state state);

struct schema_line {
    uint32_t version;
    enum schema_state state;
    char name[SCHEMA_NAME_MAX];         /* the program's, of a newer one the ledger's */
    char checksum[SCHEMA_CHECKSUM_MAX]; /* the ledger's, of a pending one the program's */
    int64_t at_us;                      /* when it was applied or rolled back; 0: never */
    int64_t execution_ms;
};

struct schema_status {
    uint32_t version; /* the highest applied; 0: none */
    uint32_t newest;  /* the program's */
    bool has_ledger;
    bool has_tables;    /* tables of the catalogue are there, with or without a ledger */
    struct err problem; /* ERR_OK, or what schema_open would refuse the ledger with */
    size_t line_count;  /* by version */
    struct schema_line lines[SCHEMA_VERSIONS_MAX];
};

/* Reads where the database stands; changes nothing. A ledger that is wrong is told by
 * ret_status->problem, not by the answer. */
enum err_code schema_status(const struct schema_db *db, struct schema_status *ret_status,
                            struct err *err);

/*
 * Reads everything that was ever done, oldest first: version (COL_INT64), name, checksum,
 * applied_at, execution_ms, status, ledger ("eider"; "original duckdb" and the like for the rows of
 * the schema_migrations table of the original's runner, which is left as it is).
 */
enum err_code schema_history(const struct schema_db *db, struct batch *ret_rows, struct err *err);

/* Compares the catalogue's tables with the database's, column by column; ERR_CONFLICT names the
 * first difference. Part of schema_open. */
enum err_code schema_check(const struct schema_db *db, struct err *err);

#endif
