/* The DuckDB store: one file, one writer connection, a pool of sandboxed read connections. The only
 * place that includes duckdb.h. */
#ifndef EIDER_STORE_DUCKDB_STORE_DUCKDB_H
#define EIDER_STORE_DUCKDB_STORE_DUCKDB_H

#include "store/engine.h"

/*
 * Opens (and makes) options->path, creates missing tables and views, reads the applied LSN and the
 * newest timestamp of every key. ERR_CORRUPT when the file cannot be opened as a database of ours.
 */
enum err_code store_duckdb_open(const struct store_open_options *options, struct store **ret_store,
                                struct err *err);

#endif
