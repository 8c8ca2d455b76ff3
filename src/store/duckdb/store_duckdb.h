/* The DuckDB store: one file, one writer connection, a pool of sandboxed read connections. The only
 * place that includes duckdb.h. */
#ifndef EIDER_STORE_DUCKDB_STORE_DUCKDB_H
#define EIDER_STORE_DUCKDB_STORE_DUCKDB_H

#include "store/engine.h"

/*
 * Opens (and makes) options->path, creates missing tables, views and columns, reads the applied
 * LSN. What a table's keys are is read when its first row comes. Errors: ERR_CORRUPT when the file
 * is no database or cannot be read; ERR_CONFLICT when its tables are somebody else's (it stays as
 * it is) or another process has it; ERR_IO, ERR_NO_SPACE for what says nothing about the file.
 */
enum err_code store_duckdb_open(const struct store_open_options *options, struct store **ret_store,
                                struct err *err);

/* Gives what DuckDB's own allocator keeps of freed memory back to the system. Any thread. */
void store_duckdb_trim(void);

/* What DuckDB may use: `wanted`, or for 0 a share of what the process may. */
uint64_t store_duckdb_memory_limit(uint64_t wanted);

#endif
