/* A DuckDB file opened for its schema alone: the tables stay as they are, no views are made. */
#ifndef EIDER_STORE_DUCKDB_DUCKDB_SCHEMA_H
#define EIDER_STORE_DUCKDB_DUCKDB_SCHEMA_H

#include "schema/schema.h"
#include "store/engine.h"

/*
 * Opens options->path, which must be there; without `change` read-only. The caller holds the lock
 * of the data directory. Errors: ERR_NOT_FOUND, ERR_CONFLICT when another process has the file,
 * ERR_CORRUPT when it is no database.
 */
enum err_code store_duckdb_schema_open(const struct store_open_options *options, bool change,
                                       struct schema_session **ret_session, struct err *err);

#endif
