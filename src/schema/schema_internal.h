/* What the files of the schema part share; private to this folder.
 *
 *   schema.c         the lists, the dialects' texts, opening
 *   schema_ledger.c  the ledger read and judged: status
 *   schema_move.c    up and down
 *   schema_check.c   the tables compared with the catalogue
 *   schema_history.c everything that was ever done
 */
#ifndef EIDER_SCHEMA_SCHEMA_INTERNAL_H
#define EIDER_SCHEMA_SCHEMA_INTERNAL_H

#include "schema/schema.h"

#define SCHEMA_LEDGER "eider_schema_migrations"
#define SCHEMA_ORIGINAL "schema_migrations"

/* Made by scripts/embed-schema. */
extern const struct schema_list schema_list_duckdb;
extern const struct schema_list schema_list_postgres;

/* What differs from one database to the other. */
struct schema_dialect_text {
    const char *columns; /* SELECT table, column, type of every table of ours, in order */
    const char *ledger;  /* CREATE TABLE IF NOT EXISTS of the ledger */
    const char *lock;    /* taken first in each transaction, or NULL */
    bool hot;            /* sealed tables are called x_hot from version 2 on */
    const char *types[COL_TYPE_COUNT]; /* as `columns` says them, and as ALTER TABLE takes them */
};

const struct schema_dialect_text *schema_dialect_text(enum schema_dialect dialect);

const struct schema_list *schema_list_of(const struct schema_db *db);
/* NULL for a version that the program does not have. */
const struct schema_migration *schema_find(const struct schema_db *db, uint32_t version);

/* schema_check.c: what tables the database has */

/* Reads `columns` of the dialect. */
enum err_code schema_columns(const struct schema_db *db, struct batch *ret_columns,
                             struct err *err);

/* The rows [*ret_first, *ret_end) of one table; false when there is none. */
bool schema_table(const struct batch *columns, const char *name, size_t *ret_first,
                  size_t *ret_end);

/* Whether the table has all of these columns; ends in NULL. */
bool schema_has(const struct batch *columns, const char *table, const char *const *names);

/* The columns of the ledger, of what the original's runner keeps and we show; end in NULL. */
extern const char *const schema_ledger_columns[];
extern const char *const schema_original_columns[];

/* Behind the first migration: takes over tables that were there before, adding the columns they
 * lack; ERR_CONFLICT when they are somebody else's. */
enum err_code schema_adopt(const struct schema_db *db, struct err *err);

/* schema_ledger.c */

/* schema_status, and when the ledger was last written (microseconds, INT64_MIN: never). */
enum err_code schema_ledger_read(const struct schema_db *db, struct schema_status *ret_status,
                                 int64_t *ret_last_us, struct err *err);

#endif
