/*
 * Which statements of users may reach DuckDB at all: one statement that only reads, and no call of
 * a table function that is not known to be harmless. DuckDB's own sandbox is not enough: it lets
 * its own file be read by read_blob (which would also drop the file's lock), EXPLAIN ANALYZE runs
 * what it explains, and SELECT can call functions that change the server.
 *
 * Pure; any thread.
 */
#ifndef EIDER_STORE_DUCKDB_SQL_GUARD_H
#define EIDER_STORE_DUCKDB_SQL_GUARD_H

#include "base/err.h"
#include "base/slice.h"

/*
 * ERR_INVALID naming what is not allowed. `refused` are names of functions in lower case, sorted,
 * ending in NULL.
 */
enum err_code sql_guard_check(struct slice sql, char *const *refused, struct err *err);

/* Table functions that are harmless and so must not be in `refused`. */
bool sql_guard_allows(struct slice function);

#endif
