/*
 * A database of names for the tests of the runner: "MAKE x" and "DROP x" add and remove a table
 * with one column, transactions keep or lose what was done, any call can be made to fail. It
 * understands what the runner itself says by its text, and nothing else.
 */
#ifndef EIDER_SCHEMA_FAKE_SCHEMA_DB_H
#define EIDER_SCHEMA_FAKE_SCHEMA_DB_H

#include "schema/schema_internal.h"

enum { FAKE_TABLES_MAX = 16, FAKE_COLUMNS_MAX = 12, FAKE_ROWS_MAX = 32 };

struct fake_table {
    char name[48];
    char columns[FAKE_COLUMNS_MAX][2][32]; /* name and type */
    size_t column_count;
};

struct fake_row {
    int64_t version;
    char name[SCHEMA_NAME_MAX];
    char checksum[SCHEMA_CHECKSUM_MAX];
    int64_t applied_us;
    int64_t execution_ms;
    char status[32];
};

struct fake_state {
    struct fake_table tables[FAKE_TABLES_MAX];
    size_t table_count;
    struct fake_row rows[FAKE_ROWS_MAX]; /* of the ledger */
    size_t row_count;
};

struct fake_db {
    struct fake_state now;
    struct fake_state saved; /* what a rollback brings back */
    bool in_transaction;
    int begins;
    int locks;
    int calls;   /* of begin, exec, query and commit */
    int fail_at; /* the call that fails, from 1; 0: none */
    void (*on_begin)(struct fake_db *fake);
};

extern const struct schema_db_ops fake_db_ops;

/* Adds a table, "x" or "x(a INTEGER, b VARCHAR)". */
void fake_add_table(struct fake_db *fake, const char *text);
bool fake_has_table(struct fake_db *fake, const char *name);
struct fake_table *fake_table(struct fake_db *fake, const char *name);

/* Adds the ledger, if it is not there, and a row of it. */
void fake_add_row(struct fake_db *fake, int64_t version, const char *name, const char *checksum,
                  const char *status);

#endif
